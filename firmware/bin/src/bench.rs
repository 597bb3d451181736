//! What the rules cost on a microcontroller, in instructions.
//!
//! The emulator counts an instruction as a nanosecond (`-icount shift=0,sleep=off`), so the
//! figures are the same in every run and on every machine, and the program ends badly where that is
//! not so. Each piece of work is the code that a device runs, repeated until what the clock cannot
//! see is less than a thousandth. The flash is memory: what a part takes to write and to erase is
//! the part's, and comes on top. A line for each figure goes to the console: its name, and the
//! instructions of one.

#![no_std]
#![no_main]

use bsp_an385::uart::Console;
use bsp_an385::{exit, panicked, time};
use core::convert::Infallible;
use core::fmt::Write;
use core::hint::black_box;
use core::panic::PanicInfo;
use cortex_m::asm;
use cortex_m_rt::entry;
use embassy_time::{Duration, Instant};
use embedded_storage::nor_flash::{ErrorType, NorFlash, ReadNorFlash};
use holdfast_core::artefact::Hasher;
use holdfast_core::device::MESSAGE_MAX_BYTES;
use holdfast_core::envelope::checksum;
use holdfast_core::flow::memory::bytes_of;
use holdfast_core::flow::vectors::EVERYTHING;
use holdfast_core::flow::verify::Place;
use holdfast_core::flow::{Given, Image, Input, Moment, Outcome, Tier, start, step, verify};
use holdfast_core::hlc::Stamp;
use holdfast_core::state::{Author, Cell, Content, LwwMap, Path, Role, Value as Kept};
use holdfast_core::{NodeId, Quality, Value};
use holdfast_firmware::batch::{Batch, Times};
use holdfast_firmware::log::Name;
use holdfast_firmware::record::Record;
use holdfast_firmware::samples::Look;
use holdfast_firmware::sensors::Sensor;
use holdfast_firmware::{Log, signature};
use static_cell::StaticCell;

/// How long a piece of work is repeated at least: the clock sees microseconds.
const LONG: Duration = Duration::from_millis(10);
/// Of an instruction, which is a nanosecond.
const PER_MICROSECOND: u64 = 1_000;

#[entry]
fn main() -> ! {
    static FLASH: StaticCell<[u8; FLASH_BYTES]> = StaticCell::new();
    time::start();
    if !counts_instructions() {
        say(format_args!(
            "an instruction is not a nanosecond: -icount shift=0,sleep=off is missing"
        ));
        exit(false)
    }
    samples(FLASH.init([0xff; FLASH_BYTES]));
    bytes();
    cells();
    signatures();
    flows();
    exit(true)
}

/// Says a line.
fn say(line: core::fmt::Arguments<'_>) {
    // A console that takes nothing keeps nobody from measuring.
    let _ = writeln!(Console::open(), "{line}");
}

/// Whether time passes by instructions, a nanosecond each.
fn counts_instructions() -> bool {
    let start = Instant::now();
    // Two instructions a round.
    asm::delay(500_000);
    start.elapsed().as_micros().abs_diff(1_000) <= 2
}

/// Does a piece of work over and over, which says how many of what is measured it was, and says
/// what one of them takes.
fn measure(name: &str, mut work: impl FnMut() -> u64) {
    let (mut done, mut rounds) = (0, 1);
    let start = Instant::now();
    let took = loop {
        for _ in 0..rounds {
            done += work();
        }
        let took = start.elapsed();
        if took >= LONG {
            break took;
        }
        // Looking at the clock is work, too: it is to be seldom.
        rounds *= 2;
    };
    assert!(done > 0, "{name}: nothing was done");
    say(format_args!("{name} {}", took.as_micros() * PER_MICROSECOND / done));
}

/// Bytes of a page of the flash, and of all.
const PAGE_BYTES: usize = 4096;
const FLASH_BYTES: usize = 4 * PAGE_BYTES;

/// A flash in memory.
struct Ram(&'static mut [u8; FLASH_BYTES]);

impl ErrorType for Ram {
    type Error = Infallible;
}

impl ReadNorFlash for Ram {
    const READ_SIZE: usize = 1;

    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), Infallible> {
        let at = offset as usize;
        bytes.copy_from_slice(&self.0[at..at + bytes.len()]);
        Ok(())
    }

    fn capacity(&self) -> usize {
        FLASH_BYTES
    }
}

impl NorFlash for Ram {
    const WRITE_SIZE: usize = 4;
    const ERASE_SIZE: usize = PAGE_BYTES;

    fn erase(&mut self, from: u32, to: u32) -> Result<(), Infallible> {
        self.0[from as usize..to as usize].fill(0xff);
        Ok(())
    }

    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), Infallible> {
        let at = offset as usize;
        self.0[at..at + bytes.len()].copy_from_slice(bytes);
        Ok(())
    }
}

/// What is measured, and in which start of the device.
const TABLE: [Sensor; 1] = [Sensor { number: 1, metric: "level", unit: "m", every_ms: 1_000 }];
const BOOT: u64 = 4;

/// The sample of a second.
fn sample(sequence: u64) -> Record<'static> {
    let value = Value::float((50 + sequence % 240) as f64 / 100.0).expect("it is finite");
    let uptime_ms = sequence * 1_000;
    Record { boot: BOOT, sequence, uptime_ms, sensor: 1, quality: Quality::GOOD, value }
}

/// A sample goes into the log, and later into a message. There are many more than fit, so the
/// turns of pages are in the figure.
#[inline(never)]
fn samples(flash: &'static mut [u8; FLASH_BYTES]) {
    let mut log = Log::open(Ram(flash), 0..FLASH_BYTES as u32).expect("memory has no faults");
    let mut sequence = 0;
    measure("sample_into_log", || {
        sequence += 1;
        log.push(&sample(sequence)).expect("memory has no faults");
        1
    });
    let mut payload = [0; MESSAGE_MAX_BYTES];
    let uptime_ms = sequence * 1_000;
    let times = Times { boot: BOOT, uptime_ms, anchor: Some(1_800_000_000_000) };
    let (last, count) = gather(&mut log, times, &mut payload);
    let (boot, first) = (last.0, last.1 + 1 - count);
    assert!(boot == BOOT && first > 1, "the oldest have made room");
    measure("sample_into_message", || gather(&mut log, times, &mut payload).1);
}

/// A message of the oldest samples, as the uplink puts it together: the last of them, and how many
/// there are.
fn gather(log: &mut Log<Ram>, times: Times, payload: &mut [u8]) -> (Name, u64) {
    let boot = log.oldest_boot().expect("memory has no faults").expect("samples are there");
    let mut batch = Batch::new(payload, &TABLE, boot, times).expect("there is room for a head");
    let mut count = 0;
    let looked = log.look(|record| {
        let look = batch.take(record);
        count += u64::from(look == Look::On);
        look
    });
    looked.expect("memory has no faults");
    let made = batch.finish().expect("samples are in it");
    ((boot, made.last), count)
}

/// What goes over each byte that comes and goes, and over each of a workflow or of firmware.
#[inline(never)]
fn bytes() {
    let kib: [u8; 1 << 10] = core::array::from_fn(|at| (at * 7 % 251) as u8);
    measure("checksum_of_kib", || {
        black_box(checksum(black_box(&kib)));
        1
    });
    measure("blake3_of_kib", || {
        let mut hasher = Hasher::default();
        hasher.update(black_box(&kib));
        black_box(hasher.finish());
        1
    });
}

/// What the device is or should be, in as many paths.
const PATHS: [&str; 16] = [
    "alarm/high",
    "alarm/low",
    "fan",
    "filter/age",
    "flow",
    "lamp",
    "level",
    "mode",
    "pump/power",
    "pump/speed",
    "setpoint/high",
    "setpoint/low",
    "tank/area",
    "temperature",
    "valve",
    "zone",
];

/// A newer cell takes the place of the one at its path, each path in turn.
#[inline(never)]
fn cells() {
    let mut map = LwwMap::<1024>::new();
    let mut join = |number: u64| {
        let text = PATHS[number as usize % PATHS.len()];
        let path = Path::new(text).expect("it is one");
        let content = Content::Value(Kept::Int(number as i64 % 100));
        let stamp = Stamp::new(1_800_000_000_000 + number, 0);
        let cell = Cell { stamp, author: Author([1; 8]), role: Role::Edge, content };
        assert_eq!(map.join_cell(path, &cell), Ok(true), "it is newer, and has room");
    };
    let mut number = 0;
    let mut next = || {
        join(number);
        number += 1;
        1
    };
    for _ in PATHS {
        next();
    }
    measure("cell_into_map", next);
}

/// What the key of the seed 32 times `07` makes of 32 times `01` (RFC 8032).
const SIGNATURE: [u8; 64] = [
    0x01, 0x3f, 0x9d, 0x90, 0x3c, 0x1a, 0x0a, 0x90, 0xb0, 0xbe, 0xea, 0x25, 0x34, 0x58, 0x2e, 0x2b,
    0xb6, 0x94, 0x71, 0x25, 0x03, 0x21, 0x52, 0x36, 0x62, 0x28, 0x51, 0xf5, 0xaf, 0xd5, 0x4a, 0xd5,
    0xf2, 0xa8, 0x99, 0x83, 0x96, 0x5e, 0x19, 0x2e, 0xdd, 0x92, 0x8d, 0x48, 0x4b, 0xdb, 0x1e, 0x1e,
    0x52, 0x1b, 0xa7, 0x04, 0xfb, 0xe3, 0x79, 0x68, 0x37, 0x1a, 0x11, 0x59, 0x73, 0x63, 0xfb, 0x0d,
];
/// That key.
const KEY: NodeId = NodeId([
    0xea, 0x4a, 0x6c, 0x63, 0xe2, 0x9c, 0x52, 0x0a, 0xbe, 0xf5, 0x50, 0x7b, 0x13, 0x2e, 0xc5, 0xf9,
    0x95, 0x47, 0x76, 0xae, 0xbe, 0xbe, 0x7b, 0x92, 0x42, 0x1e, 0xea, 0x69, 0x14, 0x46, 0xd2, 0x2c,
]);

/// A workflow or firmware has two of them: the root key's and the publisher's.
#[inline(never)]
fn signatures() {
    measure("signature", || {
        let is_by = signature::is_by(black_box(&KEY), black_box(&[1; 32]), &SIGNATURE);
        assert!(is_by, "it is signed by that key");
        1
    });
}

/// Room for the operations of the image, and for the memory of a run.
const OPS: usize = 40;
const MEMORY_BYTES: usize = 512;

/// An image with one of everything is judged, and begun to run.
#[inline(never)]
fn flows() {
    let mut places = [Place::NOWHERE; OPS];
    measure("workflow_judged", || {
        black_box(judge(&mut places));
        1
    });
    let image = judge(&mut places);
    let mut memory = [0; MEMORY_BYTES];
    let memory = &mut memory[..bytes_of(image.sizes)];
    measure("step_of_run", || run(&image, memory));
}

/// Begins a run and answers the first two effects that it asks for; how many steps that is.
fn run(image: &Image<'_>, memory: &mut [u8]) -> u64 {
    let values = [Some(Given::Text("7")), Some(Given::Number(1))];
    let mut moment = Moment { now_ms: 1_800_000_000_000, entropy: 1 };
    start(image, memory, black_box(&values), moment).expect("its inputs fit");
    for serial in 1..=2 {
        moment.now_ms += 1_000;
        let input = Input::Result { serial, outcome: Outcome::Done(&values) };
        step(image, memory, black_box(&input), moment).expect("it waits for that");
    }
    3
}

fn judge(places: &mut [Place]) -> Image<'static> {
    verify(black_box(EVERYTHING), &Tier::NODE, places).expect("it is accepted")
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    panicked(info)
}
