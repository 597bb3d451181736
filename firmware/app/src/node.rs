//! The device as a whole: what its tasks share, and how it starts.
//!
//! Two tasks live on it for ever, on one executor: [`crate::sampler`] measures and keeps,
//! [`crate::uplink`] hands on and lets go. They meet in the log ([`crate::log`]), never elsewhere:
//! a gateway that is away, slow or hostile costs no sample, and a sensor that hangs no message.

use crate::clock::Clock;
use crate::log::{Fault, Log};
use crate::memory::{Identity, Losses};
use core::cell::{Cell, RefCell};
use embassy_time::Instant;
use embedded_storage::nor_flash::NorFlash;
use holdfast_core::device::health::Reason;

/// What firmware says of itself.
#[derive(Clone, Copy, Debug)]
pub struct About {
    /// Its version.
    pub firmware: &'static str,
    /// Why this start was, as the board knows it.
    pub reason: Reason,
    /// What the board does when something happens: a light, a line on a console.
    pub tell: fn(Event),
}

/// What happens to a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A sample is in flash.
    Kept {
        /// Its boot.
        boot: u64,
        /// Its number in that boot.
        sequence: u64,
    },
    /// Samples up to this one are on the gateway's disk, and no longer in flash.
    Freed {
        /// Their boot.
        boot: u64,
        /// The number of the last.
        sequence: u64,
    },
    /// The gateway listens.
    Connected,
    /// It does not, or does no more. Said once, not at each attempt.
    Lost,
    /// It does not let the device in.
    Denied,
    /// It does not take what it is sent.
    Refused,
}

/// A device that has started.
pub struct Node<F: NorFlash> {
    /// Its starts, this one included.
    pub boot: u64,
    /// Who it is.
    pub identity: Identity,
    /// What it runs and why it started.
    pub about: About,
    /// What it keeps. Nobody holds it over a wait.
    pub(crate) log: RefCell<Log<F>>,
    pub(crate) clock: Cell<Clock>,
    lost: Cell<Losses>,
}

impl<F: NorFlash> Node<F> {
    /// Starts the device: counts the start, and takes up who it is. `told` is what it was given
    /// with this start, if anything: that it remembers.
    ///
    /// # Errors
    /// [`Start::Nobody`] when it was never told who it is; a fault of the flash.
    pub fn start(
        mut log: Log<F>,
        about: About,
        told: Option<Identity>,
    ) -> Result<Self, Start<F::Error>> {
        let boot = log.count_start()?;
        if let Some(told) = &told {
            log.tell(told)?;
        }
        let identity = log.identity()?.ok_or(Start::Nobody)?;
        let (log, clock, lost) = (RefCell::new(log), Cell::default(), Cell::default());
        Ok(Self { boot, identity, about, log, clock, lost })
    }

    /// Milliseconds since the start.
    #[must_use]
    pub fn uptime_ms(&self) -> u64 {
        Instant::now().as_millis()
    }

    /// Counts a message of the gateway that does not follow the format.
    pub(crate) fn reject(&self) {
        let lost = self.lost.get();
        self.lost.set(Losses { rejected: lost.rejected.saturating_add(1), ..lost });
    }

    /// Writes down what was lost since this was last done, and says what was lost in all.
    pub(crate) fn note_losses(&self) -> Result<Losses, Fault<F::Error>> {
        let mut log = self.log.borrow_mut();
        let (dropped, damaged) = log.lost();
        let rejected = self.lost.take().rejected;
        log.lose(Losses { dropped: dropped.into(), damaged: damaged.into(), rejected })?;
        log.losses()
    }
}

/// Why a device cannot start.
#[derive(Debug)]
pub enum Start<E> {
    /// It was never told who it is.
    Nobody,
    /// Its flash.
    Fault(Fault<E>),
}

impl<E> From<Fault<E>> for Start<E> {
    fn from(fault: Fault<E>) -> Self {
        Self::Fault(fault)
    }
}
