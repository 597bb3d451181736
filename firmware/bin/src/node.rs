//! A whole device on the emulated board: a tank with a level, a temperature, a pump and a valve, at
//! a gateway that it finds by its arguments or remembers from the last time.
//!
//! The emulator hands over `flash=FILE` and, at least once, `device=`, `token=` and
//! `gateway=ADDRESS:PORT`; with `fleet=` it takes workflows, too. What happens goes to the console, a line each; with `say=all` every
//! sample, too, and with `faster=10` there are ten times as many. A fault
//! of the flash ends the program, as it would reset a board.

#![no_std]
#![no_main]

mod network;
mod tank;

use bsp_an385::arguments::{self, Arguments};
use bsp_an385::ethernet::Ethernet;
use bsp_an385::flash::{Flash, PAGE_BYTES};
use bsp_an385::uart::Console;
use bsp_an385::{crashed, executor, exit, time};
use core::fmt::Write;
use core::panic::PanicInfo;
use core::sync::atomic::{AtomicBool, Ordering};
use cortex_m_rt::entry;
use embassy_executor::Spawner;
use embassy_futures::select::{Either4, select4};
use embassy_time::{Duration, Ticker};
use holdfast_core::device::health::Reason;
use holdfast_core::id::FleetId;
use holdfast_firmware::memory::Identity;
use holdfast_firmware::node::{Event, Start};
use holdfast_firmware::uplink::{self, Pace, Room};
use holdfast_firmware::{About, Log, Node, actor, sampler};
use static_cell::StaticCell;

/// Pages of the flash: 1 MiB, as a small part beside a microcontroller has.
const PAGES: usize = 256;
/// Pages for what the device keeps: some twenty thousand samples, and what it must know.
const LOG_PAGES: usize = 136;

/// Whether samples are said, too.
static SAYS_ALL: AtomicBool = AtomicBool::new(false);

#[entry]
fn main() -> ! {
    time::start();
    executor::run(|spawner| match device(spawner) {
        Ok(task) => spawner.spawn(task),
        Err(_) => say(format_args!("there is no room for the task")),
    })
}

/// Says a line.
fn say(line: core::fmt::Arguments<'_>) {
    // A console that takes nothing keeps nobody from working.
    let _ = writeln!(Console::open(), "{line}");
}

#[embassy_executor::task]
async fn device(spawner: Spawner) {
    match begin(spawner).await {
        Ok(never) => match never {},
        Err(wrong) => say(format_args!("{wrong}")),
    }
    exit(false)
}

/// Why a device does not run.
enum Wrong {
    Arguments(arguments::Error),
    Identity(holdfast_core::Reject),
    Fleet,
    NoNetwork,
    Nobody,
    Flash,
}

impl core::fmt::Display for Wrong {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Arguments(error) => write!(f, "{error}"),
            Self::Identity(reject) => write!(f, "device, token or gateway: {reject}"),
            Self::Fleet => f.write_str("fleet: expected its id, 64 hexadecimal digits"),
            Self::NoNetwork => f.write_str("there is no Ethernet controller"),
            Self::Nobody => f.write_str(
                "nobody has told this device who it is: device=, token= and gateway= are missing",
            ),
            Self::Flash => f.write_str("the flash does not keep what it is given"),
        }
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

async fn begin(spawner: Spawner) -> Result<core::convert::Infallible, Wrong> {
    static ROOM: StaticCell<Room> = StaticCell::new();
    static TABLE: StaticCell<tank::Table> = StaticCell::new();

    let arguments = Arguments::read().map_err(Wrong::Arguments)?;
    SAYS_ALL.store(arguments.find("say") == Some("all"), Ordering::Relaxed);
    let faster = match arguments.find("faster") {
        Some(_) => arguments.value("faster").map_err(Wrong::Arguments)?,
        None => 1,
    };
    let file = arguments.text("flash").map_err(Wrong::Arguments)?;
    let flash = Flash::<PAGES>::open(file).map_err(|_| Wrong::Flash)?;
    let log = Log::open(flash, 0..(LOG_PAGES * PAGE_BYTES) as u32).map_err(|_| Wrong::Flash)?;
    let table = TABLE.init_with(|| tank::table(faster));
    let (firmware, reason) = (env!("CARGO_PKG_VERSION"), Reason::POWER);
    let about = About { firmware, reason, sensors: table, tell };
    let node = Node::start(log, about, told(&arguments)?);
    let node = node.map_err(|wrong| match wrong {
        Start::Nobody => Wrong::Nobody,
        Start::Fault(_) => Wrong::Flash,
    })?;
    say(format_args!("boot {} of {}", node.boot, node.identity.device));

    let device = &node.identity.device;
    let ethernet = Ethernet::new(network::address(device)).map_err(|_| Wrong::NoNetwork)?;
    let mut dial = network::open(spawner, ethernet, network::seed(device, node.boot))
        .ok_or(Wrong::NoNetwork)?;
    let mut tank = tank::Tank::new(table);
    let room = ROOM.init_with(Room::new);
    let up = uplink::run(&node, table, &mut dial, Pace::default(), room);
    let measure = sampler::run(&node, &mut tank);
    // The emulator's network looks at its sockets when the processor wakes: without a tick a
    // connection would take a second.
    let ticks = async {
        let mut ticker = Ticker::every(Duration::from_millis(10));
        loop {
            ticker.next().await;
        }
    };
    let mut valve = tank::Valve;
    let act = actor::run(&node, &mut valve);
    match select4(up, measure, act, ticks).await {
        Either4::First(Ok(never)) | Either4::Third(Ok(never)) => match never {},
        _ => Err(Wrong::Flash),
    }
}

/// Says what happens.
fn tell(event: Event) {
    match event {
        Event::Kept { boot, sequence } => {
            if SAYS_ALL.load(Ordering::Relaxed) {
                say(format_args!("kept {boot} {sequence}"));
            }
        }
        Event::Freed { boot, sequence } => {
            if SAYS_ALL.load(Ordering::Relaxed) {
                say(format_args!("freed {boot} {sequence}"));
            }
        }
        Event::Desired => say(format_args!("the gateway wants something else")),
        Event::Begun { id } => say(format_args!("begun {:032x}", u128::from_be_bytes(id))),
        Event::Flows => say(format_args!("how its workflows stand has changed")),
        Event::Stepped => say(format_args!("a run did a step")),
        Event::Connected => say(format_args!("connected to the gateway")),
        Event::Lost => say(format_args!("the gateway is not there; trying on")),
        Event::Denied => say(format_args!(
            "the gateway does not let this device in: give it a token that is valid, with token="
        )),
        Event::Refused => say(format_args!("the gateway refuses what it is sent")),
    }
}

#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    // The reasons of all panics that there may be would take a sixth of the program.
    crashed()
}
