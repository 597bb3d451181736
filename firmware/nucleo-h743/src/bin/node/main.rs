//! A whole device on the STM32H743ZI Nucleo-144: a button, a thermometer and a light, at a gateway
//! that somebody tells it of over the serial line.
//!
//! It waits there for who it is when it does not know, and takes it anew at any time; it remembers
//! that and starts again. What happens is said on the same line. A fault of the flash starts the
//! board again. The loader starts this program, and may have put it where another was: then it is
//! on trial until its gateway answers.

#![no_std]
#![no_main]

mod console;
mod panel;

use console::{Lines, say};
use core::cell::RefCell;
use core::fmt::Write;
use core::panic::PanicInfo;
use core::ptr;
use cortex_m_rt::{ExceptionFrame, entry, exception};
use embassy_executor::{Executor, SpawnError, Spawner};
use embassy_net::{Runner, StackResources};
use embassy_stm32::eth::{self, Ethernet, GenericPhy, PacketQueue, Sma};
use embassy_stm32::peripherals::{ETH, ETH_SMA, RNG};
use embassy_stm32::rcc::{
    AHBPrescaler, APBPrescaler, HSIPrescaler, Pll, PllDiv, PllMul, PllPreDiv, PllSource, Sysclk,
    VoltageScale, mux,
};
use embassy_stm32::rng::{self, Rng};
use embassy_stm32::{Config, Peri, Peripherals, bind_interrupts, pac, uid};
use embassy_sync::blocking_mutex::Mutex;
use embassy_time::{Duration, Ticker};
use holdfast_firmware::node::Event;
use holdfast_firmware::provision::USAGE;
use holdfast_firmware::uplink::{self, Pace, Room};
use holdfast_firmware::{About, Log, Node, actor, boot, sampler, update};
use holdfast_firmware_net::{self as net, Network, SOCKETS};
use nucleo_h743::flash::Flash;
use nucleo_h743::places::{self, Part, Places, Shared};
use nucleo_h743::reset;
use nucleo_h743::watchdog::Watchdog;
use static_cell::{ConstStaticCell, StaticCell};

/// What it is, so that whoever has the image finds it there.
const VERSION: &str = concat!("holdfast-firmware ", env!("CARGO_PKG_VERSION")).split_at(18).1;
/// Frames that may wait, each way.
const FRAMES: usize = 4;

bind_interrupts!(struct Irqs {
    ETH => eth::InterruptHandler;
    RNG => rng::InterruptHandler<RNG>;
});

type Device = Node<Part>;
type Wire = Ethernet<'static, ETH, GenericPhy<Sma<'static, ETH_SMA>>>;

#[entry]
fn main() -> ! {
    static EXECUTOR: StaticCell<Executor> = StaticCell::new();
    let parts = embassy_stm32::init(clocks());
    read_one_by_one();
    // SAFETY: nothing else has the processor's own devices.
    let mut core = unsafe { cortex_m::Peripherals::steal() };
    // Data is not cached: the Ethernet controller would not see what is.
    core.SCB.enable_icache();
    EXECUTOR.init(Executor::new()).run(|spawner| {
        if let Err(wrong) = begin(spawner, parts) {
            end(wrong)
        }
    })
}

/// 400 MHz from the oscillator inside, which all revisions of the processor can do, half of it for
/// its buses, a quarter for its devices, and 25 MHz for the converter.
fn clocks() -> Config {
    let pll = |divp| Pll {
        source: PllSource::HSI,
        prediv: PllPreDiv::DIV4,
        mul: PllMul::MUL50,
        fracn: None,
        divp: Some(divp),
        divq: None,
        divr: None,
    };
    let mut config = Config::default();
    config.rcc.hsi = Some(HSIPrescaler::DIV1);
    config.rcc.pll1 = Some(pll(PllDiv::DIV2));
    config.rcc.pll2 = Some(pll(PllDiv::DIV32));
    config.rcc.sys = Sysclk::PLL1_P;
    config.rcc.ahb_pre = AHBPrescaler::DIV2;
    config.rcc.apb1_pre = APBPrescaler::DIV2;
    config.rcc.apb2_pre = APBPrescaler::DIV2;
    config.rcc.apb3_pre = APBPrescaler::DIV2;
    config.rcc.apb4_pre = APBPrescaler::DIV2;
    config.rcc.voltage_scale = VoltageScale::Scale1;
    config.rcc.mux.adcsel = mux::Adcsel::PLL2_P;
    config
}

/// Revisions up to Y may read their memory wrongly while another read of it is under way (ES0392,
/// "Reading from AXI SRAM may lead to data read corruption"): there the bus has one at a time.
fn read_one_by_one() {
    /// In `AXI_TARG7_FN_MOD`: one read at a time.
    const READ_ISSUE: u32 = 1;
    let port = 0x5100_8108 as *mut u32;
    if pac::DBGMCU.idc().read().rev_id() < 0x2000 {
        // SAFETY: it is a register of the bus, which nobody else writes.
        unsafe { ptr::write_volatile(port, READ_ISSUE) };
    }
}

#[embassy_executor::task]
async fn measure(node: &'static Device, mut gauges: panel::Gauges) {
    _ = sampler::run(node, &mut gauges).await;
    end(Wrong::Flash)
}

#[embassy_executor::task]
async fn act(node: &'static Device, mut lamp: panel::Lamp) {
    _ = actor::run(node, &mut lamp).await;
    end(Wrong::Flash)
}

#[embassy_executor::task]
async fn hand_on(node: &'static Device, dial: &'static mut Network, room: &'static mut Room) {
    match uplink::run(node, node.about.sensors, dial, Pace::default(), room).await {
        Ok(()) => restart(),
        Err(_) => end(Wrong::Flash),
    }
}

/// Goes back to the firmware before this one, if no gateway is heard.
#[embassy_executor::task]
async fn prove(node: &'static Device) {
    update::trial(node).await;
    say(format_args!("no gateway was heard; it goes back to the firmware before this one"));
    restart()
}

#[embassy_executor::task]
async fn drive(mut runner: Runner<'static, Wire>) -> ! {
    runner.run().await
}

/// As long as tasks come to their turn, so does the watchdog's food.
#[embassy_executor::task]
async fn feed(mut dog: Watchdog) {
    let mut ticker = Ticker::every(Duration::from_secs(1));
    loop {
        ticker.next().await;
        dog.feed();
    }
}

/// Takes who the device is to be, at any time.
#[embassy_executor::task]
async fn listen(mut lines: Lines, node: &'static Device) {
    loop {
        match lines.next().await {
            Ok(told) if told == node.identity => say(format_args!("that is who it is already")),
            Ok(told) => match node.tell(&told) {
                Ok(()) => break,
                Err(_) => end(Wrong::Flash),
            },
            Err(wrong) => say(format_args!("{wrong}; expected {USAGE}")),
        }
    }
    say(format_args!("it starts again, as what it was told"));
    restart()
}

/// Waits to be told who the device is, for the first time.
#[embassy_executor::task]
async fn ask(mut lines: Lines, mut log: Log<Part>) {
    say(format_args!("nobody has told this device who it is; expected {USAGE}"));
    loop {
        match lines.next().await {
            Ok(told) if log.tell(&told).is_ok() => break,
            Ok(_) => end(Wrong::Flash),
            Err(wrong) => say(format_args!("{wrong}; expected {USAGE}")),
        }
    }
    say(format_args!("it starts again, as what it was told"));
    restart()
}

fn restart() -> ! {
    console::flush();
    reset::restart()
}

/// Why a device does not run.
enum Wrong {
    NoLine,
    NoRoom,
    Flash,
}

impl From<SpawnError> for Wrong {
    fn from(_: SpawnError) -> Self {
        Self::NoRoom
    }
}

/// A start brings the device back to what is there.
fn end(wrong: Wrong) -> ! {
    say(format_args!(
        "{}",
        match wrong {
            Wrong::NoLine => "the serial line cannot be turned on",
            Wrong::NoRoom => "there is no room for its tasks",
            Wrong::Flash => "the flash does not keep what it is given",
        }
    ));
    console::flush();
    reset::broke()
}

/// Starts the device, or what asks who it is. What lives for ever lies where it stays, and nothing
/// of a start stays on the stack.
#[inline(never)]
fn begin(spawner: Spawner, parts: Peripherals) -> Result<(), Wrong> {
    static FLASH: StaticCell<Shared> = StaticCell::new();
    static NODE: StaticCell<Device> = StaticCell::new();
    static ROOM: ConstStaticCell<Room> = ConstStaticCell::new(Room::new());
    static PACKETS: ConstStaticCell<PacketQueue<FRAMES, FRAMES>> =
        ConstStaticCell::new(PacketQueue::new());

    let reason = reset::reason();
    spawner.spawn(feed(Watchdog::start(parts.IWDG1))?);
    let lines = console::open(parts.USART3, parts.PD8, parts.PD9).ok_or(Wrong::NoLine)?;
    let Places { log, next, state, .. } =
        Places::of(FLASH.init(Mutex::new(RefCell::new(Flash::new(parts.FLASH)))));
    let all = 0..log.size();
    let mut log = Log::open(log, all).map_err(|_| Wrong::Flash)?;
    if log.identity().map_err(|_| Wrong::Flash)?.is_none() {
        spawner.spawn(ask(lines, log)?);
        return Ok(());
    }
    let next = boot::Places::open(places::BOARD, places::IMAGE_BYTES, next, state);
    let next = next.map_err(|_| Wrong::Flash)?;
    let about = About { firmware: VERSION, reason, sensors: panel::TABLE, tell };
    let node = Node::start(log, about, None, Some(next)).map_err(|_| Wrong::Flash)?;
    let node: &Device = NODE.init(node);
    say(format_args!("boot {} of {} ({})", node.boot, node.identity.device, reason.word()));
    let trial = if node.is_on_trial() { ", on trial" } else { "" };
    say(format_args!("firmware {VERSION}{trial}"));

    // The transceiver is a LAN8742A with its address strapped to 0.
    let phy = GenericPhy::new(Sma::new(parts.ETH_SMA, parts.PA2, parts.PC1), 0);
    let wire = Ethernet::new_with_phy(
        PACKETS.take(),
        parts.ETH,
        Irqs,
        parts.PA1,
        parts.PA7,
        parts.PC4,
        parts.PC5,
        parts.PG13,
        parts.PB13,
        parts.PG11,
        net::address(uid::uid_hex()),
        phy,
    );
    let network = connect(spawner, wire, parts.RNG)?;
    spawner.spawn(measure(node, panel::Gauges::new(parts.PC13, parts.ADC3))?);
    spawner.spawn(act(node, panel::Lamp::new(parts.PB0))?);
    spawner.spawn(hand_on(node, network, ROOM.take())?);
    spawner.spawn(prove(node)?);
    spawner.spawn(listen(lines, node)?);
    Ok(())
}

/// Turns its network on, with ports and waits that begin at a random number.
fn connect(
    spawner: Spawner,
    wire: Wire,
    random: Peri<'static, RNG>,
) -> Result<&'static mut Network, Wrong> {
    static RESOURCES: StaticCell<StackResources<SOCKETS>> = StaticCell::new();
    static NETWORK: StaticCell<Network> = StaticCell::new();
    let drawn = Rng::new(random, Irqs).next_u64();
    let resources = RESOURCES.init_with(StackResources::new);
    let (network, runner) = net::configure(wire, resources, drawn);
    spawner.spawn(drive(runner)?);
    Ok(NETWORK.init(network))
}

/// Says what happens, but for each sample.
fn tell(event: Event) {
    if !matches!(event, Event::Kept { .. } | Event::Freed { .. }) {
        say(format_args!("{event}"));
    }
}

#[exception]
unsafe fn HardFault(frame: &ExceptionFrame) -> ! {
    let _ = write!(console::ByHand, "\r\na fault at {:#010x}\r\n", frame.pc());
    reset::broke()
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    cortex_m::interrupt::disable();
    let _ = write!(console::ByHand, "\r\n{info}\r\n");
    reset::broke()
}
