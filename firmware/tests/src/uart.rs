//! The serial lines of the emulated board: UART1 carries bytes to the host and back, more than its
//! buffers hold and faster than they are read, and UART0 says something.

#![no_std]
#![no_main]

use bsp_an385::uart::{Console, Receiver, Sender, Serial};
use bsp_an385::{executor, exit, panicked, time};
use core::fmt::Write as _;
use core::panic::PanicInfo;
use cortex_m_rt::entry;
use cortex_m_semihosting::hprintln;
use embassy_futures::join::join;
use embassy_time::{Duration, Instant, Timer};
use embedded_io_async::{Read, Write};
use static_cell::ConstStaticCell;

const BYTES: usize = 16 * 1024;

static RECEIVED: ConstStaticCell<[u8; 48]> = ConstStaticCell::new([0; 48]);
static TO_SEND: ConstStaticCell<[u8; 64]> = ConstStaticCell::new([0; 64]);

#[entry]
fn main() -> ! {
    time::start();
    executor::run(|spawner| spawner.spawn(all().expect("it is spawned once")))
}

#[embassy_executor::task]
async fn all() {
    let start = Instant::now();
    let (mut receiver, mut sender) = Serial::new(RECEIVED.take(), TO_SEND.take()).split();
    join(send(&mut sender), receive(&mut receiver)).await;
    let took = start.elapsed().as_millis();
    // The host reads this line on the console and ends the test well only then.
    writeln!(Console::open(), "{BYTES} bytes came back in {took} ms").expect("it cannot fail");
    hprintln!("{} bytes came back in {} ms", BYTES, took);
    exit(true)
}

fn pattern(place: usize) -> u8 {
    (place % 251) as u8
}

async fn send(sender: &mut Sender) {
    let mut piece = [0; 100];
    for start in (0..BYTES).step_by(piece.len()) {
        let piece = &mut piece[..(BYTES - start).min(100)];
        for (place, byte) in (start..).zip(piece.iter_mut()) {
            *byte = pattern(place);
        }
        let Ok(()) = sender.write_all(piece).await;
    }
    let Ok(()) = sender.flush().await;
}

async fn receive(receiver: &mut Receiver) {
    let (mut piece, mut place) = ([0; 30], 0);
    while place < BYTES {
        let Ok(read) = receiver.read(&mut piece).await;
        for byte in &piece[..read] {
            assert_eq!(*byte, pattern(place), "at {place}");
            place += 1;
        }
        // Now and then nobody reads, and the buffer fills.
        if place % 512 < read {
            Timer::after(Duration::from_millis(2)).await;
        }
    }
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    panicked(info)
}
