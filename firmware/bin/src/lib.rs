//! What the programs for the emulated board have in common: a tank with a level, a temperature, a
//! pump and a valve ([`tank`]), at a gateway that the device finds by its arguments or remembers
//! from the last time.
//!
//! The emulator hands over `flash=FILE` and, at least once, `device=`, `token=` and
//! `gateway=ADDRESS:PORT`. What happens goes to the console, a line each; with `say=all` every
//! sample, too, and with `faster=10` there are ten times as many. A fault of the flash ends the
//! program, as it would reset a board.

#![no_std]

pub mod tank;

use bsp_an385::arguments::{self, Arguments};
use bsp_an385::ethernet::Ethernet;
use bsp_an385::flash::Flash;
use bsp_an385::places::{self, Part, Places, Shared};
use bsp_an385::restart;
use bsp_an385::uart::Console;
use bsp_an385::{crashed, executor, exit, time, watchdog};
use core::cell::RefCell;
use core::fmt::Write;
use core::panic::PanicInfo;
use core::sync::atomic::{AtomicBool, Ordering};
use embassy_executor::{SpawnError, Spawner};
use embassy_net::{Runner, StackResources};
use embassy_sync::blocking_mutex::Mutex;
use embassy_time::{Duration, Ticker};
use holdfast_core::device::health::Reason;
use holdfast_core::id::FleetId;
use holdfast_firmware::boot;
use holdfast_firmware::memory::Identity;
use holdfast_firmware::node::{Event, Start};
use holdfast_firmware::{About, Log, Node};
use holdfast_firmware_net::{self as net, Network, SOCKETS};
use static_cell::StaticCell;

/// What it is, so that whoever has the image finds it there.
const VERSION: &str = concat!("holdfast-firmware ", env!("CARGO_PKG_VERSION")).split_at(18).1;

/// Whether samples are said, too.
static SAYS_ALL: AtomicBool = AtomicBool::new(false);

/// Says a line.
fn say(line: core::fmt::Arguments<'_>) {
    // A console that takes nothing keeps nobody from working.
    let _ = writeln!(Console::open(), "{line}");
}

/// Runs a device that `begin` starts; where that cannot be, the console says why.
pub fn run(begin: fn(Spawner) -> Result<(), Wrong>) -> ! {
    time::start();
    executor::run(|spawner| {
        if let Err(wrong) = begin(spawner) {
            say(format_args!("{wrong}"));
            exit(false)
        }
    })
}

/// What a device keeps and shares between its tasks.
pub type Device = Node<Part>;

#[embassy_executor::task]
async fn drive(mut runner: Runner<'static, &'static mut Ethernet>) -> ! {
    runner.run().await
}

/// The emulator's network looks at its sockets when the processor wakes: without a tick a
/// connection would take a second. As long as tasks come to their turn, so does the watchdog's
/// food.
#[embassy_executor::task]
async fn tick() {
    let mut ticker = Ticker::every(Duration::from_millis(10));
    loop {
        ticker.next().await;
        watchdog::feed();
    }
}

/// A fault of the flash ends a task, and with it the device: a start brings it back to what is
/// there.
pub fn end() -> ! {
    say(format_args!("{}", Wrong::Flash));
    exit(false)
}

/// Why a device does not run.
pub enum Wrong {
    /// What it is to be told is not there, or cannot be read.
    Arguments(arguments::Error),
    /// Nobody can be called that.
    Identity(holdfast_core::Reject),
    /// It is no fleet's id.
    Fleet,
    /// There is no Ethernet controller.
    NoNetwork,
    /// A task has no room.
    NoRoom,
    /// It was never told who it is.
    Nobody,
    /// The flash.
    Flash,
}

impl core::fmt::Display for Wrong {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Arguments(error) => write!(f, "{error}"),
            Self::Identity(reject) => write!(f, "device, token or gateway: {reject}"),
            Self::Fleet => f.write_str("fleet: expected its id, 64 hexadecimal digits"),
            Self::NoNetwork => f.write_str("there is no Ethernet controller"),
            Self::NoRoom => f.write_str("there is no room for its tasks"),
            Self::Nobody => f.write_str(
                "nobody has told this device who it is: device=, token= and gateway= are missing",
            ),
            Self::Flash => f.write_str("the flash does not keep what it is given"),
        }
    }
}

impl From<SpawnError> for Wrong {
    fn from(_: SpawnError) -> Self {
        Self::NoRoom
    }
}

/// Who the arguments say it is, if they do.
fn told(arguments: &Arguments) -> Result<Option<Identity>, Wrong> {
    if arguments.find("token").is_none() {
        return Ok(None);
    }
    let text = |key| arguments.text(key).map_err(Wrong::Arguments);
    let identity = Identity::new(text("device")?, text("token")?, text("gateway")?);
    let mut identity = identity.map_err(Wrong::Identity)?;
    if let Some(id) = arguments.find("fleet") {
        identity.fleet = Some(FleetId::from_hex(id).ok_or(Wrong::Fleet)?);
    }
    Ok(Some(identity))
}

/// Starts the device, and turns its network on; with `updates` it takes other
/// firmware. What lives for ever lies where it stays, and nothing of a start stays on the stack:
/// that is for steps of runs. So each part of it is a function of its own.
///
/// # Errors
/// Why it does not run.
#[inline(never)]
pub fn begin(
    spawner: Spawner,
    updates: bool,
) -> Result<(&'static Device, &'static mut Network, tank::Tank), Wrong> {
    static TABLE: StaticCell<tank::Table> = StaticCell::new();

    let arguments = Arguments::read().map_err(Wrong::Arguments)?;
    SAYS_ALL.store(arguments.find("say") == Some("all"), Ordering::Relaxed);
    let faster = match arguments.find("faster") {
        Some(_) => arguments.value("faster").map_err(Wrong::Arguments)?,
        None => 1,
    };
    let table = TABLE.init_with(|| tank::table(faster));
    let node = open(&arguments, table, updates)?;
    say(format_args!("boot {} of {}", node.boot, node.identity.device));
    let trial = if node.is_on_trial() { ", on trial" } else { "" };
    say(format_args!("firmware {VERSION}{trial}"));
    let network = connect(spawner, node).ok_or(Wrong::NoNetwork)?;
    spawner.spawn(tick()?);
    Ok((node, network, tank::Tank::new(table)))
}

/// Opens what it keeps.
#[inline(never)]
fn open(
    arguments: &Arguments,
    sensors: &'static tank::Table,
    updates: bool,
) -> Result<&'static Device, Wrong> {
    static FLASH: StaticCell<Shared> = StaticCell::new();
    static NODE: StaticCell<Device> = StaticCell::new();
    let file = arguments.text("flash").map_err(Wrong::Arguments)?;
    let told = told(arguments)?;
    let flash = Flash::open(file).map_err(|_| Wrong::Flash)?;
    let Places { log, next, state, .. } = Places::of(FLASH.init(Mutex::new(RefCell::new(flash))));
    let (all, room) = (0..log.size(), places::IMAGE_BYTES as u32);
    let log = Log::open(log, all).map_err(|_| Wrong::Flash)?;
    let next = || boot::Places::open(places::BOARD, room, next, state).map_err(|_| Wrong::Flash);
    let next = if updates { Some(next()?) } else { None };
    let reason = match restart::reason() {
        restart::Reason::Power => Reason::POWER,
        restart::Reason::Watchdog => Reason::WATCHDOG,
        restart::Reason::Asked => Reason::SOFTWARE,
    };
    match Node::start(log, About { firmware: VERSION, reason, sensors, tell }, told, next) {
        Ok(node) => Ok(NODE.init(node)),
        Err(Start::Nobody) => Err(Wrong::Nobody),
        Err(Start::Fault(_)) => Err(Wrong::Flash),
    }
}

/// Turns its network on. Nothing on the board is random: what must differ between devices and
/// between starts comes of the device's id and the number of its start.
#[inline(never)]
fn connect(spawner: Spawner, node: &Device) -> Option<&'static mut Network> {
    static ETHERNET: StaticCell<Ethernet> = StaticCell::new();
    static RESOURCES: StaticCell<StackResources<SOCKETS>> = StaticCell::new();
    static NETWORK: StaticCell<Network> = StaticCell::new();
    let device = &node.identity.device;
    let ethernet = ETHERNET.init(Ethernet::new(net::address(device)).ok()?);
    let resources = RESOURCES.init_with(StackResources::new);
    let (network, runner) = net::configure(ethernet, resources, net::seed(device, node.boot));
    spawner.spawn(drive(runner).ok()?);
    Some(NETWORK.init(network))
}

/// Says what happens; of samples only where all is to be said.
fn tell(event: Event) {
    let is_of_a_sample = matches!(event, Event::Kept { .. } | Event::Freed { .. });
    if !is_of_a_sample || SAYS_ALL.load(Ordering::Relaxed) {
        say(format_args!("{event}"));
    }
}

/// What is done when the program is wrong. The reasons of all panics that there may be would take a
/// sixth of a program.
#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    crashed()
}
