//! The device as a whole: what its tasks share, and how it starts.
//!
//! Three tasks live on it for ever, on one executor: [`crate::sampler`] measures and keeps,
//! [`crate::actor`] acts, [`crate::uplink`] hands on and lets go. They meet in what is in flash
//! ([`crate::log`]), never elsewhere: a gateway that is away, slow or hostile costs no sample, and
//! a sensor or a valve that hangs no message.

use crate::boot::Places;
use crate::clock::Clock;
use crate::commands::{Commands, Waiting};
use crate::flows::{Flows, Here};
use crate::log::{Fault, Log};
use crate::memory::{Identity, Losses};
use crate::sensors::Sensor;
use crate::twin::Twin;
use crate::update::Update;
use core::cell::{Cell, RefCell};
use core::fmt;
use embassy_sync::blocking_mutex::raw::NoopRawMutex;
use embassy_sync::signal::Signal;
use embassy_time::Instant;
use embedded_storage::nor_flash::NorFlash;
use holdfast_core::device::command::{Command, CommandId, Outcome};
use holdfast_core::device::desired::Desired;
use holdfast_core::device::firmware::Firmware;
use holdfast_core::device::gateway::Time;
use holdfast_core::device::health::Reason;
use holdfast_core::device::reported::Joined;
use holdfast_core::state::{Author, Path, Value};
use holdfast_core::{Device, Value as Measure};

/// What firmware says of itself.
#[derive(Clone, Copy, Debug)]
pub struct About {
    /// Its version.
    pub firmware: &'static str,
    /// Why this start was, as the board knows it.
    pub reason: Reason,
    /// What the board measures.
    pub sensors: &'static [Sensor],
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
    /// The gateway says that the device should be something else.
    Desired,
    /// It begins to do what it was told, and that is in flash.
    Begun {
        /// The command.
        id: CommandId,
    },
    /// How its workflows stand has changed.
    Flows,
    /// A run did a step, and that is in flash.
    Stepped,
    /// How its update stands has changed.
    Update,
    /// It has other firmware, which the next start runs.
    Ready,
    /// The gateway listens.
    Connected,
    /// It does not, or does no more. Said once, not at each attempt.
    Lost,
    /// It does not let the device in.
    Denied,
    /// It does not take what it is sent.
    Refused,
}

/// A line for whoever reads a console.
impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line = match self {
            Self::Kept { boot, sequence } => return write!(f, "kept {boot} {sequence}"),
            Self::Freed { boot, sequence } => return write!(f, "freed {boot} {sequence}"),
            Self::Begun { id } => return write!(f, "begun {:032x}", u128::from_be_bytes(*id)),
            Self::Desired => "the gateway wants something else",
            Self::Flows => "how its workflows stand has changed",
            Self::Stepped => "a run did a step",
            Self::Update => "how its firmware stands has changed",
            Self::Ready => "it starts again, for other firmware",
            Self::Connected => "connected to the gateway",
            Self::Lost => "the gateway is not there; trying on",
            Self::Denied => "the gateway does not let this device in: it needs a valid token",
            Self::Refused => "the gateway refuses what it is sent",
        };
        f.write_str(line)
    }
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
    pub(crate) twin: RefCell<Twin>,
    pub(crate) commands: RefCell<Commands>,
    pub(crate) flows: RefCell<Flows>,
    update: RefCell<Option<Update<F>>>,
    pub(crate) clock: Cell<Clock>,
    /// There is something to do.
    pub(crate) work: Signal<NoopRawMutex, ()>,
    /// There is something to hand on beside samples.
    pub(crate) news: Signal<NoopRawMutex, ()>,
    /// The gateway did not take an answer or what is reported, for now.
    pub(crate) state_refused: Cell<bool>,
    lost: Cell<Losses>,
}

impl<F: NorFlash> Node<F> {
    /// Starts the device: counts the start, and takes up who it is. `told` is what it was given
    /// with this start, if anything: that it remembers. With `places` it takes other firmware.
    ///
    /// # Errors
    /// [`Start::Nobody`] when it was never told who it is; a fault of the flash.
    #[inline(never)]
    pub fn start(
        mut log: Log<F>,
        about: About,
        told: Option<Identity>,
        places: Option<Places<F>>,
    ) -> Result<Self, Start<F::Error>> {
        let boot = log.count_start()?;
        if let Some(told) = &told {
            log.tell(told)?;
        }
        let identity = log.identity()?.ok_or(Start::Nobody)?;
        let device = Device::new(&identity.device).map_err(Fault::Reject)?;
        let twin = RefCell::new(Twin::open(&mut log, device)?);
        let commands = RefCell::new(Commands::open(&mut log)?);
        let flows = RefCell::new(Flows::new(Author::device(device), identity.fleet));
        let open = |places| Update::open(&mut log, places, identity.fleet);
        let update = RefCell::new(places.map(open).transpose()?);
        let (log, clock, lost) = (RefCell::new(log), Cell::default(), Cell::default());
        let (work, news, state_refused) = (Signal::new(), Signal::new(), Cell::default());
        Ok(Self {
            boot,
            identity,
            about,
            log,
            twin,
            commands,
            flows,
            update,
            clock,
            work,
            news,
            state_refused,
            lost,
        })
    }

    /// Remembers who it is to be from the next start on.
    ///
    /// # Errors
    /// A fault of the flash.
    pub fn tell(&self, identity: &Identity) -> Result<(), Fault<F::Error>> {
        self.log.borrow_mut().tell(identity)
    }

    /// What it keeps, when its tasks are over.
    #[must_use]
    pub fn into_log(self) -> Log<F> {
        self.log.into_inner()
    }

    /// Milliseconds since the start.
    #[must_use]
    pub fn uptime_ms(&self) -> u64 {
        Instant::now().as_millis()
    }

    /// Says what the device is.
    pub(crate) fn report(
        &self,
        path: Path<'_>,
        value: Option<Value<'_>>,
    ) -> Result<(), Fault<F::Error>> {
        let start = self.clock.get().anchor();
        let now = start.map_or(0, |start| start.saturating_add_unsigned(self.uptime_ms()));
        let mut log = self.log.borrow_mut();
        let now = u64::try_from(now).unwrap_or(0);
        if self.twin.borrow_mut().report(&mut log, path, value, now)? {
            self.news.signal(());
        }
        Ok(())
    }

    /// Takes what the gateway says the device should be.
    pub(crate) fn desire(&self, desired: &Desired<'_>) -> Result<(), Fault<F::Error>> {
        if self.twin.borrow_mut().take(&mut self.log.borrow_mut(), desired)? {
            (self.about.tell)(Event::Desired);
            self.work.signal(());
        }
        Ok(())
    }

    /// Takes what the gateway says of what it was told.
    pub(crate) fn joined(&self, joined: &Joined) -> Result<(), Fault<F::Error>> {
        self.twin.borrow_mut().joined(&mut self.log.borrow_mut(), joined)
    }

    /// Takes a command.
    pub(crate) fn command(
        &self,
        command: &Command<'_>,
        payload: &[u8],
    ) -> Result<(), Fault<F::Error>> {
        let mut log = self.log.borrow_mut();
        if self.commands.borrow_mut().take(&mut log, command, payload)? {
            self.work.signal(());
        }
        self.news.signal(());
        Ok(())
    }

    pub(crate) fn begin_command(&self) -> Result<Option<Waiting>, Fault<F::Error>> {
        self.commands.borrow_mut().begin(&mut self.log.borrow_mut())
    }

    pub(crate) fn end_command(
        &self,
        id: CommandId,
        outcome: Outcome<'_>,
    ) -> Result<(), Fault<F::Error>> {
        self.commands.borrow_mut().end(&mut self.log.borrow_mut(), id, outcome)?;
        self.news.signal(());
        Ok(())
    }

    /// Takes up its workflows and their runs, once: before any of its tasks does anything else.
    pub(crate) fn take_up(&self) -> Result<(), Fault<F::Error>> {
        self.with_flows(Flows::take_up)
    }

    /// Does something with the workflows, and has done what follows from it.
    pub(crate) fn with_flows<T>(
        &self,
        act: impl FnOnce(&mut Flows, &mut Log<F>, &Here<'_>) -> Result<T, Fault<F::Error>>,
    ) -> Result<T, Fault<F::Error>> {
        let twin = self.twin.borrow();
        let here = Here {
            device: &self.identity.device,
            sensors: self.about.sensors,
            twin: &twin,
            boot: self.boot,
            uptime_ms: self.uptime_ms(),
            anchor: self.clock.get().anchor(),
        };
        let mut log = self.log.borrow_mut();
        let mut flows = self.flows.borrow_mut();
        let before = (log.last_step, flows.next_at());
        let done = act(&mut flows, &mut log, &here);
        if log.last_step > before.0 {
            (self.about.tell)(Event::Stepped);
            self.news.signal(());
        }
        if before != (log.last_step, flows.next_at()) {
            self.work.signal(());
        }
        done
    }

    /// Has workflows see what was measured.
    pub(crate) fn sampled(&self, sensor: u8, value: &Measure<'_>) -> Result<(), Fault<F::Error>> {
        self.with_flows(|flows, log, here| flows.sampled(log, here, sensor, value))
    }

    /// Takes the gateway's word of what time it is.
    pub(crate) fn set_clock(&self, time: Time) -> Result<(), Fault<F::Error>> {
        let before = self.clock.get().anchor();
        if !time.is_trusted || !self.note_time(time.unix_ms)? {
            return Ok(());
        }
        // What waits for a time may have less to wait for.
        self.work.signal(());
        self.with_flows(|flows, log, here| flows.clock_set(log, here, before))
    }

    /// Remembers when this start was; whether that is news.
    pub(crate) fn note_time(&self, unix_ms: i64) -> Result<bool, Fault<F::Error>> {
        let mut clock = self.clock.get();
        let Some(anchor) = clock.set(unix_ms, self.uptime_ms()) else { return Ok(false) };
        self.clock.set(clock);
        self.log.borrow_mut().set_anchor(self.boot, anchor)?;
        Ok(true)
    }

    /// Does something with the update and what is kept, where the device takes other firmware.
    pub(crate) fn with_update<T: Default>(
        &self,
        act: impl FnOnce(&mut Update<F>, &mut Log<F>) -> Result<T, Fault<F::Error>>,
    ) -> Result<T, Fault<F::Error>> {
        match &mut *self.update.borrow_mut() {
            Some(update) => act(update, &mut self.log.borrow_mut()),
            None => Ok(T::default()),
        }
    }

    /// What the gateway is told of its firmware; nothing where it takes no other.
    pub(crate) fn firmware(&self) -> Option<Firmware<'static>> {
        self.update.borrow().as_ref().map(Update::said)
    }

    /// Whether the device is to start again, for the image that it has made ready.
    pub(crate) fn is_ready(&self) -> bool {
        self.update.borrow().as_ref().is_some_and(Update::is_ready)
    }

    /// Whether the image that runs goes again when no gateway is heard.
    #[must_use]
    pub fn is_on_trial(&self) -> bool {
        self.update.borrow().as_ref().is_some_and(Update::is_on_trial)
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
