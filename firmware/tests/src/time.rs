//! Time on the emulated board: it does not step back or lose a round of its counter while
//! interrupts are masked, and timers end in the order of their times, none of them early.
//!
//! The counter is given short rounds, so that there are many. The host's own clock, asked before
//! and after, says how much time must have passed.

#![no_std]
#![no_main]

use bsp_an385::{executor, exit, panicked, time};
use core::panic::PanicInfo;
use cortex_m_rt::entry;
use cortex_m_semihosting::{hprintln, nr, syscall1};
use embassy_executor::Spawner;
use embassy_futures::select::{Either, select};
use embassy_sync::blocking_mutex::raw::CriticalSectionRawMutex;
use embassy_sync::channel::Channel;
use embassy_time::{Duration, Instant, Ticker, Timer};

/// A round of the counter. An emulator that is held up for longer than this with interrupts masked
/// would lose one, so it is not as short as could be.
const ROUND_COUNTS: u64 = 10_000_000;
const ROUND: Duration = Duration::from_micros(ROUND_COUNTS * 1_000_000 / time::COUNTS_HZ);
const READINGS: u32 = 10_000;
const ROUNDS: u32 = 5;
const SLEEPERS: usize = 16;

type Ended = Channel<CriticalSectionRawMutex, (usize, Instant), SLEEPERS>;
static ENDED: Ended = Channel::new();

#[entry]
fn main() -> ! {
    assert_eq!(Instant::now().as_ticks(), 0, "time stands until it is started");
    time::start_with_reload((ROUND_COUNTS - 1) as u32);
    executor::run(|spawner| spawner.spawn(all(spawner).expect("it is spawned once")))
}

#[embassy_executor::task]
async fn all(spawner: Spawner) {
    let (earliest, before, latest) = bracketed();
    steady().await;
    order(spawner).await;
    one_shot().await;
    let (early, after, late) = bracketed();
    let passed = (after - before).as_micros();
    // Half a round is far more than either clock is read late, and less than one that is lost.
    let slack = ROUND.as_micros() / 2;
    let must = (early - latest).saturating_sub(slack)..late - earliest + slack;
    assert!(must.contains(&passed), "{passed} us passed here, {must:?} for the host");
    hprintln!("{} us passed, as for the host", passed);
    exit(true)
}

/// Our time, and the host's before and after it was read.
fn bracketed() -> (u64, Instant, u64) {
    let before = host_micros();
    let now = Instant::now();
    (before, now, host_micros())
}

fn host_micros() -> u64 {
    let mut nanoseconds = [0u32; 2];
    // SAFETY: the host writes the two words it is shown.
    unsafe { syscall1(nr::ELAPSED, nanoseconds.as_mut_ptr() as usize) };
    // SAFETY: no memory is handed over.
    let in_nanoseconds = unsafe { syscall1(nr::TICKFREQ, 0) } == 1_000_000_000;
    assert!(in_nanoseconds, "the host counts nanoseconds");
    (u64::from(nanoseconds[1]) << 32 | u64::from(nanoseconds[0])) / 1_000
}

/// Reads time over and over while the counter starts again and its interrupt is masked.
async fn steady() {
    let (mut readings, mut crossed) = (0, 0);
    let mut last = Instant::now();
    while crossed < ROUNDS {
        let round = Instant::now().as_ticks() / ROUND.as_ticks();
        let end = Instant::from_ticks((round + 1) * ROUND.as_ticks());
        Timer::at(end - Duration::from_millis(2)).await;
        critical_section::with(|_| {
            let first = Instant::now();
            let mut taken = 0;
            while taken < READINGS / ROUNDS || last < end + Duration::from_micros(500) {
                let now = Instant::now();
                assert!(now >= last, "time steps back from {last:?} to {now:?}");
                last = now;
                taken += 1;
            }
            readings += taken;
            // A host that is busy may have woken us too late.
            crossed += u32::from(first < end);
        });
    }
    hprintln!("{} readings, {} rounds ended while interrupts were masked", readings, crossed);
    assert!(readings >= READINGS);
}

#[embassy_executor::task(pool_size = SLEEPERS)]
async fn sleep(number: usize, until: Instant) {
    Timer::at(until).await;
    ENDED.send((number, Instant::now())).await;
}

/// Tasks that go to sleep in one order wake in another. An emulator that is held up for longer than
/// lies between two of them wakes both at once, in any order, and then they sleep again.
async fn order(spawner: Spawner) {
    let step = Duration::from_millis(5);
    // Seven has no divisor in common with their number, so each has a place of its own.
    let place = |number: usize| number * 7 % SLEEPERS;
    loop {
        let start = Instant::now() + step;
        let until = |number| start + step * place(number) as u32;
        for number in 0..SLEEPERS {
            spawner.spawn(sleep(number, until(number)).expect("the pool is as large"));
        }
        let (mut in_order, mut held_up) = (true, false);
        for expected in 0..SLEEPERS {
            let (number, at) = ENDED.receive().await;
            assert!(at >= until(number), "not early");
            in_order &= place(number) == expected;
            held_up |= at >= until(number) + step;
        }
        assert!(in_order || held_up, "in the order of their times");
        if !held_up {
            break;
        }
    }
    hprintln!("{} sleepers woke in order", SLEEPERS);
}

/// An alarm rings once: in the past at once, further away than a round, and not when it is off.
async fn one_shot() {
    Timer::at(Instant::from_ticks(1)).await;
    let far = Instant::now() + ROUND * 2 + ROUND / 2;
    let near = Instant::now() + Duration::from_millis(20);
    match select(Timer::at(far), Timer::at(near)).await {
        Either::First(()) => panic!("the later one came first"),
        Either::Second(()) => assert!(Instant::now() >= near),
    }
    let start = Instant::now();
    let mut ticker = Ticker::every(Duration::from_millis(1));
    for tick in 1..=100 {
        ticker.next().await;
        assert!(Instant::now() >= start + Duration::from_millis(1) * tick, "not early");
    }
    Timer::at(far).await;
    assert!(Instant::now() >= far);
    hprintln!("alarms ring once, and not early");
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    panicked(info)
}
