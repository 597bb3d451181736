//! Workflows that the device runs by itself, with a gateway or without one.
//!
//! What there is, is in flash: the images ([`shelf`]), and each run as the memory that its last
//! step left. A step is one record of the log, which the gateway is told of as well
//! ([`crate::steps`]): so whenever the power goes, a run is as it was before a step or after it,
//! and what it asks for stands in its memory until it is done. Readings begin runs and move them
//! ([`watch`]), time does, and what came of an output ([`crate::actor`] moves it).
//!
//! An image is read from flash into the stack of whatever needs it, which is 4 KB: such functions
//! are kept out of others, so that no more of the stack is taken than one after the other needs.
//!
//! Time is the gateway's, and before its first word goes on from where the last start ended: what
//! waits for a length of time waits on, and what passed without power counts once it is known.

mod run;
mod shelf;
mod watch;

#[cfg(test)]
mod tests;

use crate::log::{Fault, Log};
use crate::sensors::Sensor;
use crate::twin::Twin;
use embedded_storage::nor_flash::NorFlash;
use holdfast_core::artefact::ArtefactId;
use holdfast_core::condition::{Change, Sample};
use holdfast_core::device::flows::{Cause, FLOWS_MAX, Fetch, Held, Piece, Stands};
use holdfast_core::flow::about::Overlap;
use holdfast_core::flow::trigger::On;
use holdfast_core::flow::{Code, Image, NEVER};
use holdfast_core::id::FleetId;
use holdfast_core::log::runs::RunId;
use holdfast_core::state::Author;
use holdfast_core::{Reject, Timestamp, Value};
use run::Run;
use shelf::{IMAGE_MAX_BYTES, Shelf, about};
use watch::{For, WATCHES_MAX, Watch};

/// Runs at once.
pub const RUNS_MAX: usize = 4;
/// Sensors whose newest value is known to runs.
const SENSORS_MAX: usize = 8;

/// The key of the triggers that were found, and that of the time of the last step.
const FOUND: u8 = 5;
const TIME: u8 = 6;

/// 2020-01-01: no gateway of ours says an earlier time, so one that is earlier was counted from
/// nothing.
const DATE_MS: i64 = 1_577_836_800_000;

/// What a step needs to know of the device.
#[derive(Clone, Copy)]
pub struct Here<'h> {
    /// Its id.
    pub device: &'h str,
    /// Its sensors.
    pub sensors: &'h [Sensor],
    /// What it is and should be.
    pub twin: &'h Twin,
    /// Which start this is.
    pub boot: u64,
    /// Milliseconds since then.
    pub uptime_ms: u64,
    /// When that was, in Unix milliseconds, once a gateway has said so.
    pub anchor: Option<i64>,
}

/// An output that a run wants moved.
#[derive(Clone, Debug, PartialEq)]
pub struct Asked {
    run: usize,
    id: RunId,
    serial: u32,
    /// The output.
    pub name: heapless::String<32>,
    /// What it is to be.
    pub value: To,
}

/// What an output is to be.
#[derive(Clone, Debug, PartialEq)]
pub enum To {
    /// A number, in millionths.
    Number(i64),
    /// On or off.
    Switch(bool),
    /// A word.
    Text(heapless::String<32>),
}

/// The workflows of a device and their runs.
pub struct Flows {
    shelf: Shelf,
    runs: [Option<Run>; RUNS_MAX],
    watches: heapless::Vec<Watch, WATCHES_MAX>,
    newest: heapless::Vec<(u8, f64), SENSORS_MAX>,
    author: [u8; 4],
    fleet: Option<FleetId>,
    /// What the clock of runs showed at this start, Unix milliseconds; before [`DATE_MS`] where no
    /// gateway has ever said what time it is.
    base_ms: i64,
    /// Whether a gateway has said since this start what time it is.
    is_told: bool,
    /// Whether those in flash were taken up.
    is_taken_up: bool,
}

impl Flows {
    /// None, before those in flash are taken up.
    #[must_use]
    pub fn new(author: Author, fleet: Option<FleetId>) -> Self {
        let [a, b, c, d, ..] = author.0;
        Self {
            shelf: Shelf::default(),
            runs: core::array::from_fn(|_| None),
            watches: heapless::Vec::new(),
            newest: heapless::Vec::new(),
            author: [a, b, c, d],
            fleet,
            base_ms: 0,
            is_told: false,
            is_taken_up: false,
        }
    }

    /// Takes up those in flash, once.
    ///
    /// # Errors
    /// A fault of the flash.
    #[inline(never)]
    pub fn take_up<F: NorFlash>(
        &mut self,
        log: &mut Log<F>,
        here: &Here<'_>,
    ) -> Result<(), Fault<F::Error>> {
        if core::mem::replace(&mut self.is_taken_up, true) {
            return Ok(());
        }
        self.shelf = Shelf::open(log)?;
        let time = log.get(TIME)?.and_then(|value| value.first_chunk());
        self.base_ms = time.map_or(0, |bytes| i64::from_le_bytes(*bytes));
        for slot in 0..FLOWS_MAX {
            self.watch_triggers(log, slot, here.sensors, here.device)?;
        }
        self.take_up_raised(log)?;
        for index in 0..RUNS_MAX {
            self.runs[index] = run::take_up(log, &self.shelf, index)?;
            self.watch_run(log, index, here.sensors, here.device)?;
        }
        Ok(())
    }

    /// The time by which runs go.
    fn now_ms(&self, here: &Here<'_>) -> i64 {
        here.anchor.unwrap_or(self.base_ms).saturating_add_unsigned(here.uptime_ms)
    }

    fn now(&self, here: &Here<'_>) -> Timestamp {
        Timestamp::from_millis(self.now_ms(here)).unwrap_or_default()
    }

    /// How the workflows stand.
    #[must_use]
    pub fn held(&self) -> Held {
        self.shelf.held()
    }

    /// The piece that is to be asked for.
    #[must_use]
    pub fn lacks(&self) -> Option<Fetch> {
        self.shelf.lacks()
    }

    /// Whether to say again what is here, because there is room for more.
    pub fn asks_again(&mut self) -> bool {
        self.shelf.asks_again()
    }

    /// Takes the set that the device is to have.
    ///
    /// # Errors
    /// A fault of the flash.
    pub fn want<F: NorFlash>(
        &mut self,
        log: &mut Log<F>,
        here: &Here<'_>,
        wanted: &[ArtefactId],
    ) -> Result<(), Fault<F::Error>> {
        let runs = |slot| self.runs.iter().flatten().any(|run| run.slot == slot);
        self.shelf.want(log, wanted, runs)?;
        for slot in 0..FLOWS_MAX {
            self.watch_triggers(log, slot, here.sensors, here.device)?;
        }
        Ok(())
    }

    /// Takes a piece; whether how the workflows stand is another than before.
    ///
    /// # Errors
    /// [`Reject::Malformed`] for one of another length; a fault of the flash.
    #[inline(never)]
    pub fn take<F: NorFlash>(
        &mut self,
        log: &mut Log<F>,
        here: &Here<'_>,
        piece: &Piece<'_>,
    ) -> Result<bool, Fault<F::Error>> {
        let before = self.held();
        if let Some(slot) = self.shelf.take(log, piece)?
            && self.shelf.judge(log, slot, self.fleet)?
        {
            self.watch_triggers(log, slot, here.sensors, here.device)?;
        }
        Ok(self.held() != before)
    }

    /// Takes what a sensor has measured.
    ///
    /// # Errors
    /// A fault of the flash.
    pub fn sampled<F: NorFlash>(
        &mut self,
        log: &mut Log<F>,
        here: &Here<'_>,
        sensor: u8,
        value: &Value<'_>,
    ) -> Result<(), Fault<F::Error>> {
        let number = value.number();
        if let Some(number) = number {
            match self.newest.iter_mut().find(|(known, _)| *known == sensor) {
                Some((_, newest)) => *newest = number,
                // One more than there is room for is known to no run.
                None => _ = self.newest.push((sensor, number)),
            }
        }
        let now = self.now(here);
        let sample = Sample { time: now, received: now, value: number };
        self.look(log, here, &mut |watch| {
            if watch.sensor == sensor { watch.condition.take(&watch.rule, sample) } else { None }
        })
    }

    /// Looks at the time.
    ///
    /// # Errors
    /// A fault of the flash.
    pub fn tick<F: NorFlash>(
        &mut self,
        log: &mut Log<F>,
        here: &Here<'_>,
    ) -> Result<(), Fault<F::Error>> {
        let (now, now_ms) = (self.now(here), self.now_ms(here));
        self.look(log, here, &mut |watch| watch.condition.tick(&watch.rule, now))?;
        for index in 0..RUNS_MAX {
            if self.runs[index].as_ref().is_some_and(|run| run.deadline <= now_ms) {
                self.advance(log, here, index, Cause::Time)?;
            }
        }
        Ok(())
    }

    /// When the time is to be looked at, Unix milliseconds.
    #[must_use]
    pub fn next_at(&self) -> Option<i64> {
        let runs = self.runs.iter().flatten().map(|run| run.deadline);
        let conditions = self.watches.iter().filter_map(|watch| {
            // Not before it: a millisecond is cut off.
            Some(watch.condition.next_deadline(&watch.rule)?.millis().saturating_add(1))
        });
        runs.chain(conditions).min().filter(|at| *at != NEVER)
    }

    /// In how many milliseconds that is.
    #[must_use]
    pub fn next_ms(&self, here: &Here<'_>) -> Option<u64> {
        let left = self.next_at()?.saturating_sub(self.now_ms(here));
        Some(u64::try_from(left).unwrap_or(0))
    }

    /// The gateway has said what time it is, and this start was then at `anchor`, not at
    /// `before`.
    ///
    /// # Errors
    /// A fault of the flash.
    pub fn clock_set<F: NorFlash>(
        &mut self,
        log: &mut Log<F>,
        here: &Here<'_>,
        before: Option<i64>,
    ) -> Result<(), Fault<F::Error>> {
        let Some(anchor) = here.anchor else { return Ok(()) };
        let by_ms = anchor.saturating_sub(before.unwrap_or(self.base_ms));
        let is_first = !core::mem::replace(&mut self.is_told, true);
        let now = self.now(here);
        // What conditions have seen they have seen since this start.
        for watch in &mut self.watches {
            watch.condition.clock_set(by_ms.saturating_mul(1_000_000), now);
        }
        // For runs time has passed without power; at no other moment has it without this clock.
        if is_first && by_ms >= 0 && self.base_ms >= DATE_MS {
            return Ok(());
        }
        for index in 0..RUNS_MAX {
            if self.runs[index].is_some() {
                self.advance(log, here, index, Cause::ClockSet { by_ms })?;
            }
        }
        Ok(())
    }

    /// The next output that a run wants moved.
    ///
    /// # Errors
    /// A fault of the flash.
    #[inline(never)]
    pub fn asked<F: NorFlash>(
        &mut self,
        log: &mut Log<F>,
        here: &Here<'_>,
    ) -> Result<Option<Asked>, Fault<F::Error>> {
        for index in 0..RUNS_MAX {
            while let Some(run) = self.runs[index].as_ref().filter(|run| run.asks) {
                let mut room = [0; IMAGE_MAX_BYTES];
                let image = image_of(&self.shelf, log, run.slot, &mut room)?;
                match run.asked(&image, index) {
                    Ok(None) => break,
                    Ok(asked) => return Ok(asked),
                    Err((serial, error)) => {
                        if !self.advance(log, here, index, Cause::Failed { serial, error })? {
                            break;
                        }
                    }
                }
            }
        }
        Ok(None)
    }

    /// Tells a run what came of an output.
    ///
    /// # Errors
    /// A fault of the flash.
    pub fn moved<F: NorFlash>(
        &mut self,
        log: &mut Log<F>,
        here: &Here<'_>,
        asked: &Asked,
        outcome: Result<(), Code>,
    ) -> Result<(), Fault<F::Error>> {
        if self.runs[asked.run].as_ref().is_none_or(|run| run.id != asked.id) {
            return Ok(());
        }
        let serial = asked.serial;
        let cause = match outcome {
            Ok(()) => Cause::Done { serial },
            Err(error) => Cause::Failed { serial, error },
        };
        self.advance(log, here, asked.run, cause).map(drop)
    }

    /// Has all conditions looked at, and does what follows from those that came true.
    fn look<F: NorFlash>(
        &mut self,
        log: &mut Log<F>,
        here: &Here<'_>,
        look: &mut dyn FnMut(&mut Watch) -> Option<Change>,
    ) -> Result<(), Fault<F::Error>> {
        let mut true_now = heapless::Vec::<(For, u8), WATCHES_MAX>::new();
        let before: [Option<RunId>; RUNS_MAX] =
            core::array::from_fn(|index| self.runs[index].as_ref().map(|run| run.id));
        let mut has_cleared = false;
        for watch in &mut self.watches {
            match look(watch) {
                Some(Change::Raised { .. }) => _ = true_now.push((watch.of, watch.sensor)),
                Some(Change::Cleared { .. }) => {
                    has_cleared |= core::mem::take(&mut watch.is_found);
                }
                None => {}
            }
        }
        if has_cleared {
            self.write_found(log)?;
        }
        for (of, sensor) in true_now {
            match of {
                For::Trigger { slot, trigger } => self.begin(log, here, slot, trigger, sensor)?,
                For::Run { run, signal } => {
                    let run = usize::from(run);
                    // One that has taken its place meanwhile waits for itself.
                    if self.runs[run].as_ref().map(|run| run.id) == before[run] {
                        self.advance(log, here, run, Cause::Condition { signal })?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Begins a run by a trigger, if another one may be under way.
    #[inline(never)]
    fn begin<F: NorFlash>(
        &mut self,
        log: &mut Log<F>,
        here: &Here<'_>,
        slot: u8,
        trigger: u8,
        sensor: u8,
    ) -> Result<(), Fault<F::Error>> {
        let has_place = self.has_place(log, here, slot.into())?;
        self.note(For::Trigger { slot, trigger }, sensor, true);
        if !has_place {
            // It stands all the same: it is not to be found again and again.
            return self.write_found(log);
        }
        let Some(index) = self.runs.iter().position(Option::is_none) else { return Ok(()) };
        let value = self.newest_of(sensor).unwrap_or_default();
        let value = Value::float(value).unwrap_or(Value::Int(0));
        let run = Run::new(self.author, here, log.last_step + 1, self.now_ms(here), slot.into());
        self.runs[index] = Some(run);
        let begun = self.step(log, here, index, &Cause::Began { trigger, value }, Some(sensor));
        if !matches!(begun, Ok(true)) {
            self.runs[index] = None;
            self.note(For::Trigger { slot, trigger }, sensor, false);
        }
        begun.map(drop)
    }

    /// Notes whether a trigger was found.
    fn note(&mut self, of: For, sensor: u8, is_found: bool) {
        let is_it = |watch: &&mut Watch| watch.of == of && watch.sensor == sensor;
        if let Some(watch) = self.watches.iter_mut().find(is_it) {
            watch.is_found = is_found;
        }
    }

    /// Whether a run of a workflow may begin; of as many as may be, the oldest is ended where the
    /// workflow says so.
    #[inline(never)]
    fn has_place<F: NorFlash>(
        &mut self,
        log: &mut Log<F>,
        here: &Here<'_>,
        slot: usize,
    ) -> Result<bool, Fault<F::Error>> {
        let mut room = [0; IMAGE_MAX_BYTES];
        let image = image_of(&self.shelf, log, slot, &mut room)?;
        let Some(about) = about(&image) else { return Ok(false) };
        let mut same = heapless::Vec::<usize, RUNS_MAX>::new();
        for index in 0..RUNS_MAX {
            let Some(run) = &self.runs[index] else { continue };
            let mut other = [0; IMAGE_MAX_BYTES];
            let is_same = run.slot == slot || {
                let other = image_of(&self.shelf, log, run.slot, &mut other)?;
                shelf::about(&other).is_some_and(|other| other.id == about.id)
            };
            if is_same {
                _ = same.push(index);
            }
        }
        if same.len() >= usize::from(about.concurrent) {
            if about.overlap != Overlap::Replace {
                return Ok(false);
            }
            let oldest = same.iter().min_by_key(|index| self.runs[**index].as_ref().map(|r| r.id));
            if let Some(index) = oldest {
                self.advance(log, here, *index, Cause::Replaced)?;
            }
        }
        Ok(self.runs.iter().any(Option::is_none))
    }

    fn newest_of(&self, sensor: u8) -> Option<f64> {
        self.newest.iter().find(|(known, _)| *known == sensor).map(|(_, value)| *value)
    }

    /// Writes down which triggers were found.
    fn write_found<F: NorFlash>(&self, log: &mut Log<F>) -> Result<(), Fault<F::Error>> {
        log.put(&[(FOUND, &self.found())])
    }

    /// Which triggers were found and have not ended: slot, trigger and sensor of each.
    fn found(&self) -> heapless::Vec<u8, { 3 * WATCHES_MAX }> {
        let all = self.watches.iter().filter(|watch| watch.is_found);
        all.filter_map(|watch| match watch.of {
            For::Trigger { slot, trigger } => Some([slot, trigger, watch.sensor]),
            For::Run { .. } => None,
        })
        .flatten()
        .collect()
    }

    /// What was found before this start is not found again while it lasts.
    fn take_up_raised<F: NorFlash>(&mut self, log: &mut Log<F>) -> Result<(), Fault<F::Error>> {
        let since = Timestamp::from_millis(self.base_ms).unwrap_or_default();
        let raised = log.get(FOUND)?.unwrap_or_default();
        for watch in &mut self.watches {
            let For::Trigger { slot, trigger } = watch.of else { continue };
            if raised.chunks_exact(3).any(|one| one == [slot, trigger, watch.sensor]) {
                watch.condition = watch.condition.raised_since(since);
                watch.is_found = true;
            }
        }
        Ok(())
    }

    /// Watches the triggers of a workflow that is on, and none of one that is not.
    #[inline(never)]
    fn watch_triggers<F: NorFlash>(
        &mut self,
        log: &mut Log<F>,
        slot: usize,
        sensors: &[Sensor],
        device: &str,
    ) -> Result<(), Fault<F::Error>> {
        let is_of = |watch: &Watch| match watch.of {
            For::Trigger { slot: of, .. } => usize::from(of) == slot,
            For::Run { .. } => false,
        };
        let is_on = self.shelf.slots[slot].is_some_and(|slot| slot.stands == Stands::On);
        if !is_on {
            let has_found = self.watches.iter().any(|watch| is_of(watch) && watch.is_found);
            self.watches.retain(|watch| !is_of(watch));
            // What is in this place next has found nothing.
            return if has_found { self.write_found(log) } else { Ok(()) };
        }
        if self.watches.iter().any(is_of) {
            return Ok(());
        }
        let mut room = [0; IMAGE_MAX_BYTES];
        let image = image_of(&self.shelf, log, slot, &mut room)?;
        for (number, trigger) in image.triggers() {
            let On::Reading { of, metric, rule, .. } = trigger.on else { continue };
            if !watch::fits(of.pattern, device) {
                continue;
            }
            for sensor in watch::sensors(sensors, metric) {
                let of = For::Trigger { slot: slot as u8, trigger: number as u8 };
                // Beyond what can be watched nothing is found.
                _ = self.watches.push(Watch::new(of, sensor, rule));
            }
        }
        Ok(())
    }
}

/// The image of a slot.
fn image_of<'r, F: NorFlash>(
    shelf: &Shelf,
    log: &mut Log<F>,
    slot: usize,
    room: &'r mut shelf::Room,
) -> Result<Image<'r>, Fault<F::Error>> {
    let tag = shelf.slots[slot].ok_or(Reject::Malformed)?.tag;
    Ok(Image::reopen(shelf.load(log, slot, room)?, tag)?)
}
