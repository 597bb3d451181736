//! A day without a gateway, in virtual time: a sample a second, and at the end all of them are in
//! the flash or counted as given up.
//!
//! `file` is the flash, which is not there yet, `hours` how long it takes. The emulator counts
//! instructions for time, so two runs do the same to the byte: the host compares their flashes.

#![no_std]
#![no_main]

use bsp_an385::arguments::Arguments;
use bsp_an385::flash::{Flash, PAGE_BYTES};
use bsp_an385::{executor, exit, panicked, time};
use core::panic::PanicInfo;
use cortex_m_rt::entry;
use cortex_m_semihosting::hprintln;
use embassy_futures::select::select;
use embassy_time::{Duration, Timer};
use holdfast_core::device::health::Reason;
use holdfast_core::{Quality, Value};
use holdfast_firmware::memory::Identity;
use holdfast_firmware::record::Record;
use holdfast_firmware::samples::Look;
use holdfast_firmware::sensors::{Measured, Sensor, Sensors};
use holdfast_firmware::{About, Log, Node, sampler};

const PAGES: usize = 64;
const RANGE: core::ops::Range<u32> = 0..(PAGES * PAGE_BYTES) as u32;

/// Counts how often it was asked.
struct Counter(i64);

const TABLE: [Sensor; 1] = [Sensor { number: 1, metric: "n", unit: "", every_ms: 1_000 }];

impl Sensors for Counter {
    fn table(&self) -> &[Sensor] {
        &TABLE
    }

    async fn measure(&mut self, _: u8) -> Option<Measured> {
        self.0 += 1;
        Some(Measured { value: Value::Int(self.0), quality: Quality::GOOD })
    }
}

#[entry]
fn main() -> ! {
    time::start();
    executor::run(|spawner| spawner.spawn(all().expect("it is spawned once")))
}

#[embassy_executor::task]
async fn all() {
    let arguments = Arguments::read().unwrap_or_else(|error| panic!("{error}"));
    let file = arguments.text("file").unwrap_or_else(|error| panic!("{error}"));
    let hours: u64 = arguments.value("hours").unwrap_or_else(|error| panic!("{error}"));
    let told = Identity::new("mcu-1", "hft_1", "10.0.2.2:1883").expect("it can be");
    let about = About { firmware: "0.1.0", reason: Reason::POWER, sensors: &[], tell: |_| () };
    let node = Node::start(open(file), about, Some(told), None);
    let node = node.unwrap_or_else(|fault| panic!("{fault:?}"));
    // Half a second more, for the last one.
    let end = Timer::after(Duration::from_millis(hours * 3_600_000 + 500));
    let mut counter = Counter(0);
    select(sampler::run(&node, &mut counter), end).await;
    let (dropped, damaged) = node.into_log().lost();
    let (mut count, mut last) = (0_u64, None);
    let look = |record: &Record<'_>| {
        assert_eq!(record.value, Value::Int(record.sequence as i64), "it is what was measured");
        assert!(last.is_none_or(|last| record.sequence == last + 1), "in their order");
        last = Some(record.sequence);
        count += 1;
        Look::On
    };
    open(file).look(look).expect("the flash is sound");
    assert_eq!(count + u64::from(dropped), hours * 3_600, "each is there or counted");
    assert_eq!((last, damaged), (Some(hours * 3_600), 0));
    hprintln!("{} h: {} samples are there, {} were given up", hours, count, dropped);
    exit(true)
}

fn open(file: &str) -> Log<Flash<PAGES>> {
    let flash = Flash::open(file).unwrap_or_else(|error| panic!("{file}: {error:?}"));
    Log::open(flash, RANGE).unwrap_or_else(|fault| panic!("{fault:?}"))
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    panicked(info)
}
