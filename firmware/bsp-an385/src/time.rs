//! Time for `embassy-time`: one counter that is never stopped, and one alarm.
//!
//! TIMER0 counts down from a reload value, 25 million times a second, and starts again; its
//! interrupt counts how often. TIMER1 is set to how long the next task in the queue sleeps and
//! counts down once. A tick is a microsecond, 25 counts: a whole number of counts, so no error adds
//! up, and the unit programs give their durations in, so none is rounded. A finer one would only
//! be longer to divide.
//!
//! The counter stands at zero for one count before it starts again, and that is when the device
//! raises its interrupt. Time at zero is not read but waited out, because an emulated counter may
//! stand there before its interrupt is seen. At any other count the device's interrupt status says
//! whether a restart is not counted yet, so time does not step back while interrupts are masked. It
//! would if they were masked for a whole round, which is 171 seconds.

use crate::interrupt::{self, Interrupt};
use crate::register::Register;
use core::cell::{Cell, RefCell};
use core::sync::atomic::AtomicBool;
use core::task::Waker;
use critical_section::{CriticalSection, Mutex};
use embassy_time_driver::{Driver, TICK_HZ};
use embassy_time_queue_utils::Queue;

/// How often the timers count in a second.
pub const COUNTS_HZ: u64 = 25_000_000;
const COUNTS_PER_TICK: u64 = COUNTS_HZ / TICK_HZ;
const _: () = assert!(COUNTS_HZ.is_multiple_of(TICK_HZ));

/// An alarm further away than this is set again when it rings, so that it fits the timer.
const FURTHEST: u64 = 1 << 31;

const ENABLED: u32 = 1;
const WITH_INTERRUPT: u32 = 1 << 3;

struct Timer {
    control: Register,
    value: Register,
    reload: Register,
    /// Reads whether it has come to zero; a one written to it clears that.
    status: Register,
}

const fn timer(base: usize) -> Timer {
    Timer {
        control: Register::at(base),
        value: Register::at(base + 4),
        reload: Register::at(base + 8),
        status: Register::at(base + 12),
    }
}

const COUNTER: Timer = timer(0x4000_0000);
const ALARM: Timer = timer(0x4000_1000);

struct Clock {
    /// What the counter starts from again; zero until time runs.
    reload: Mutex<Cell<u32>>,
    rounds: Mutex<Cell<u32>>,
    queue: Mutex<RefCell<Queue>>,
}

embassy_time_driver::time_driver_impl!(static CLOCK: Clock = Clock {
    reload: Mutex::new(Cell::new(0)),
    rounds: Mutex::new(Cell::new(0)),
    queue: Mutex::new(RefCell::new(Queue::new())),
});

static OWNED: AtomicBool = AtomicBool::new(false);

/// Starts time at zero. Before this it stands.
///
/// # Panics
/// Time runs already.
pub fn start() {
    start_with_reload(u32::MAX);
}

/// As [`start`], with a counter that starts again from `reload`. A program that wants to see many
/// rounds takes a small one; its critical sections have to be shorter than a round.
///
/// # Panics
/// Time runs already, or a round were shorter than a millisecond, which an emulator cannot keep.
pub fn start_with_reload(reload: u32) {
    assert!(u64::from(reload) >= COUNTS_HZ / 1_000, "a round is a millisecond or longer");
    interrupt::claim(&OWNED);
    critical_section::with(|cs| {
        for timer in [COUNTER, ALARM] {
            timer.control.write(0);
            timer.status.write(1);
        }
        CLOCK.reload.borrow(cs).set(reload);
        COUNTER.reload.write(reload);
        COUNTER.value.write(reload);
        COUNTER.control.write(ENABLED | WITH_INTERRUPT);
        // With nothing to start again from, a timer counts down once and stops.
        ALARM.reload.write(0);
        CLOCK.set_next_alarm(cs, &mut CLOCK.queue.borrow_ref_mut(cs));
    });
    interrupt::enable(Interrupt::Timer0);
    interrupt::enable(Interrupt::Timer1);
}

/// Lets the alarm ring at once, whenever it was to ring; that sets the next one.
pub(crate) fn ring() {
    critical_section::with(|_| {
        ALARM.control.write(0);
        ALARM.value.write(COUNTS_PER_TICK as u32);
        ALARM.control.write(ENABLED | WITH_INTERRUPT);
    });
}

impl Clock {
    fn ticks(&self, cs: CriticalSection<'_>) -> u64 {
        let reload = self.reload.borrow(cs).get();
        if reload == 0 {
            return 0;
        }
        let (uncounted, value) = loop {
            let before = COUNTER.status.read();
            let value = COUNTER.value.read();
            if value != 0 && COUNTER.status.read() == before {
                break (before & 1, value);
            }
        };
        let rounds = u64::from(self.rounds.borrow(cs).get()) + u64::from(uncounted);
        // Zero is a count, too, so a round is one longer than where it starts.
        let counts = rounds * (u64::from(reload) + 1) + u64::from(reload - value);
        counts / COUNTS_PER_TICK
    }

    /// Wakes who has slept long enough, and sets the alarm for the next one.
    fn set_next_alarm(&self, cs: CriticalSection<'_>, queue: &mut Queue) {
        let mut next = queue.next_expiration(self.ticks(cs));
        while !self.set_alarm(cs, next) {
            next = queue.next_expiration(self.ticks(cs));
        }
    }

    /// Whether `at` is still to come.
    fn set_alarm(&self, cs: CriticalSection<'_>, at: u64) -> bool {
        ALARM.control.write(0);
        ALARM.status.write(1);
        if at == u64::MAX || self.reload.borrow(cs).get() == 0 {
            return true;
        }
        let now = self.ticks(cs);
        if at <= now {
            return false;
        }
        // `now` is rounded down, so the alarm does not ring early.
        let wait = (at - now).saturating_mul(COUNTS_PER_TICK).min(FURTHEST);
        ALARM.value.write(wait as u32);
        ALARM.control.write(ENABLED | WITH_INTERRUPT);
        true
    }
}

impl Driver for Clock {
    fn now(&self) -> u64 {
        critical_section::with(|cs| self.ticks(cs))
    }

    fn schedule_wake(&self, at: u64, waker: &Waker) {
        critical_section::with(|cs| {
            let mut queue = self.queue.borrow_ref_mut(cs);
            if queue.schedule_wake(at, waker) {
                self.set_next_alarm(cs, &mut queue);
            }
        });
    }
}

/// The counter starts another round.
pub extern "C" fn on_wrap() {
    critical_section::with(|cs| {
        COUNTER.status.write(1);
        let rounds = CLOCK.rounds.borrow(cs);
        rounds.set(rounds.get() + 1);
    });
}

/// The alarm rings, or has reached as far as it can be set.
pub extern "C" fn on_alarm() {
    critical_section::with(|cs| CLOCK.set_next_alarm(cs, &mut CLOCK.queue.borrow_ref_mut(cs)));
}
