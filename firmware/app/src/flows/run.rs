//! A run, and its steps: what comes is told to the machine, what it asks of the device itself is
//! answered at once, and what it is then goes to flash in one record.

use super::shelf::{IMAGE_MAX_BYTES, Shelf};
use super::watch::{For, Watch, sensors};
use super::{Asked, FOUND, Flows, Here, RUNS_MAX, TIME, To, image_of};
use crate::log::{Fault, Log};
use embedded_storage::nor_flash::NorFlash;
use holdfast_core::device::flows::{Cause, MEMORY_MAX_BYTES, STEP_MAX_BYTES, Stands, Step};
use holdfast_core::flow::binding::Source as Bound;
use holdfast_core::flow::effect::{Argument, Effect, Kind, Piece, Template};
use holdfast_core::flow::memory::bytes_of;
use holdfast_core::flow::signal::{Signal, Source, Word, signal};
use holdfast_core::flow::trigger::Fact;
use holdfast_core::flow::view::{self, Pending, Wait};
use holdfast_core::flow::{
    ANSWERS_MAX, Code, Given, Image, Input, Memory, Moment, NEVER, Outcome, Refusal, Slot, Type,
    clock_set, decimal, start, step,
};
use holdfast_core::log::runs::RunId;
use holdfast_core::state::{Path, Value as Kept};
use holdfast_core::{Reject, Value};

/// The key of the first run.
const FIRST: u8 = 96;
/// Questions and turns of a run in one step; what is left goes into the next.
const AT_ONCE: usize = 64;
/// Fields that a run is given.
const INPUTS_MAX: usize = 8;
/// Bytes of an argument.
const ARGUMENT_MAX_BYTES: usize = 64;

/// A run.
#[derive(Clone, Debug)]
pub struct Run {
    pub id: RunId,
    /// The slot of its workflow.
    pub slot: usize,
    count: u32,
    pub memory: heapless::Vec<u8, MEMORY_MAX_BYTES>,
    /// When it is to be told that time has passed.
    pub deadline: i64,
    /// Whether it wants an output moved.
    pub asks: bool,
}

impl Run {
    /// One that is to begin with step number `number`.
    pub fn new(author: [u8; 4], here: &Here<'_>, number: u64, now_ms: i64, slot: usize) -> Self {
        let mut id = RunId::new(now_ms, [0, 0]).0;
        id[6..10].copy_from_slice(&author);
        id[10..12].copy_from_slice(&(here.boot as u16).to_be_bytes());
        id[12..].copy_from_slice(&(number as u32).to_be_bytes());
        let memory = heapless::Vec::new();
        Self { id: RunId(id), slot, count: 0, memory, deadline: NEVER, asks: false }
    }

    /// The next output that it wants moved; where that cannot be said, its number and the error.
    pub fn asked(&self, image: &Image<'_>, run: usize) -> Result<Option<Asked>, (u32, Code)> {
        let Some(memory) = Memory::new(&self.memory, image.sizes) else { return Ok(None) };
        let mut all = view::pending(image, memory);
        let is_outward = |effect: &Effect<'_>| !effect.kind.is_question();
        let found = all
            .find_map(|pending| Some((pending, image.effect(pending.effect).filter(is_outward)?)));
        let Some((Pending { serial, .. }, effect)) = found else { return Ok(None) };
        let read = || {
            if effect.kind != Kind::Actuate {
                return Err(Code::INCAPABLE);
            }
            let name = effect.argument(Argument::Name).ok_or(Code::INVALID)?;
            let name = render(name, image, &memory)?;
            let value = effect.argument(Argument::Value).ok_or(Code::INVALID)?;
            Ok((name.as_str().try_into().map_err(|_| Code::TEXT)?, to(value, image, &memory)?))
        };
        let (name, value) = read().map_err(|code| (serial, code))?;
        Ok(Some(Asked { run, id: self.id, serial, name, value }))
    }
}

fn render(
    template: Template<'_>,
    image: &Image<'_>,
    memory: &Memory<'_>,
) -> Result<heapless::String<ARGUMENT_MAX_BYTES>, Code> {
    let mut out = heapless::Vec::<u8, ARGUMENT_MAX_BYTES>::new();
    template.render(image, memory, &mut out).map_err(|_| Code::TEXT)?;
    heapless::String::from_utf8(out).map_err(|_| Code::TEXT)
}

/// What an output is to be.
fn to(template: Template<'_>, image: &Image<'_>, memory: &Memory<'_>) -> Result<To, Code> {
    let mut pieces = template;
    if let (Some(Piece::Number(reg)), None) = (pieces.next(), pieces.next()) {
        let number = memory.number(reg);
        return match image.type_of(reg) {
            Some(Type::Bool) => Ok(To::Switch(number != 0)),
            Some(Type::Decimal) => Ok(To::Number(number)),
            _ => decimal::of_int(number).map(To::Number).ok_or(Code::RANGE),
        };
    }
    let text = render(template, image, memory)?;
    Ok(match text.as_str() {
        "true" => To::Switch(true),
        "false" => To::Switch(false),
        text => match millionths(text) {
            Some(number) => To::Number(number),
            None => To::Text(text.try_into().map_err(|_| Code::TEXT)?),
        },
    })
}

/// The millionths that a number has, as people write it.
fn millionths(text: &str) -> Option<i64> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let (whole, part) = digits.split_once('.').unwrap_or((digits, "0"));
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if !is_number(whole) || !is_number(part) || part.len() > 6 {
        return None;
    }
    let mut out = whole.parse::<i64>().ok()?.checked_mul(1_000_000)?;
    let scale = 10_i64.pow(6 - part.len() as u32);
    out = out.checked_add(part.parse::<i64>().ok()? * scale)?;
    Some(if digits.len() < text.len() { -out } else { out })
}

/// Takes up a run as its last step left it; none where its workflow is not here.
#[inline(never)]
pub fn take_up<F: NorFlash>(
    log: &mut Log<F>,
    shelf: &Shelf,
    index: usize,
) -> Result<Option<Run>, Fault<F::Error>> {
    let Some(bytes) = log.get(FIRST + index as u8)? else { return Ok(None) };
    let Ok(last) = Step::decode(bytes) else { return Ok(None) };
    let is_of = |slot: &Option<super::shelf::Slot>| {
        slot.is_some_and(|slot| {
            slot.tag == last.tag && matches!(slot.stands, Stands::On | Stands::Ends)
        })
    };
    let Some(slot) = shelf.slots.iter().position(is_of) else { return Ok(None) };
    let (id, count) = (last.run, last.count);
    let memory = heapless::Vec::from_slice(last.memory).map_err(|_| Reject::Long)?;
    let mut run = Run { id, slot, count, memory, deadline: NEVER, asks: false };
    let mut room = [0; IMAGE_MAX_BYTES];
    let image = image_of(shelf, log, slot, &mut room)?;
    if view::check(&image, &run.memory).is_err() {
        return Ok(None);
    }
    settle_waits(&image, &mut run);
    Ok(Some(run))
}

/// Notes what a run waits for.
fn settle_waits(image: &Image<'_>, run: &mut Run) {
    let Some(memory) = Memory::new(&run.memory, image.sizes) else { return };
    run.deadline = view::next_deadline(memory);
    run.asks = view::pending(image, memory).next().is_some();
}

impl Flows {
    /// Tells a run something; whether it took it.
    pub(super) fn advance<F: NorFlash>(
        &mut self,
        log: &mut Log<F>,
        here: &Here<'_>,
        index: usize,
        cause: Cause<'_>,
    ) -> Result<bool, Fault<F::Error>> {
        self.step(log, here, index, &cause, None)
    }

    /// A step of a run: the machine's, and its record.
    #[inline(never)]
    pub(super) fn step<F: NorFlash>(
        &mut self,
        log: &mut Log<F>,
        here: &Here<'_>,
        index: usize,
        cause: &Cause<'_>,
        found: Option<u8>,
    ) -> Result<bool, Fault<F::Error>> {
        let Some(mut run) = self.runs[index].clone() else { return Ok(false) };
        let mut room = [0; IMAGE_MAX_BYTES];
        let image = image_of(&self.shelf, log, run.slot, &mut room)?;
        let number = log.last_step + 1;
        let moment = Moment { now_ms: self.now_ms(here), entropy: entropy(run.id, number) };
        let before = run.memory.clone();
        if tell(&image, &mut run, cause, (here, found), moment).is_err() {
            return Ok(false);
        }
        self.answer(&image, &mut run, here, moment);
        if run.memory == before {
            // Nothing came of it that anybody would have to know.
            return Ok(false);
        }
        run.count += 1;
        let is_over = Memory::new(&run.memory, image.sizes)
            .and_then(|memory| memory.phase())
            .is_none_or(|phase| phase.is_over());
        settle_waits(&image, &mut run);
        let slot = run.slot;
        self.write(log, here, (index, &run, is_over), (number, image.tag(), cause), moment)?;
        self.runs[index] = (!is_over).then_some(run);
        self.watch_of_run(&image, index, here.sensors, here.device);
        let still = self.runs.iter().flatten().any(|run| run.slot == slot);
        let ends = self.shelf.slots[slot].is_some_and(|slot| slot.stands == Stands::Ends);
        if ends && !still {
            self.shelf.remove(log, slot)?;
        }
        Ok(true)
    }

    /// Writes a step down.
    fn write<F: NorFlash>(
        &mut self,
        log: &mut Log<F>,
        here: &Here<'_>,
        (index, run, is_over): (usize, &Run, bool),
        (number, tag, cause): (u64, u32, &Cause<'_>),
        moment: Moment,
    ) -> Result<(), Fault<F::Error>> {
        let mut bytes = heapless::Vec::<u8, STEP_MAX_BYTES>::new();
        let (id, count, memory) = (run.id, run.count, &run.memory[..]);
        Step { number, run: id, count, tag, cause: *cause, memory }.encode(&mut bytes)?;
        let time = moment.now_ms.to_le_bytes();
        let found = self.found();
        let key = FIRST + index as u8;
        let mut values = heapless::Vec::<(u8, &[u8]), 4>::new();
        let mut put = |key, value| values.push((key, value)).map_err(|_| Reject::Full);
        put(key, &bytes[..])?;
        put(TIME, &time[..])?;
        if matches!(cause, Cause::Began { .. }) {
            put(FOUND, &found[..])?;
        }
        if is_over {
            put(key, &[])?;
        }
        log.put_step((here.boot, here.uptime_ms), &values)?;
        log.last_step = number;
        Ok(())
    }

    /// Answers what the run asks of the device itself, and has it go on, until it waits.
    fn answer(&self, image: &Image<'_>, run: &mut Run, here: &Here<'_>, moment: Moment) {
        for _ in 0..AT_ONCE {
            let Some(memory) = Memory::new(&run.memory, image.sizes) else { return };
            let question = view::pending(image, memory).find_map(|pending| {
                let effect = image.effect(pending.effect)?;
                effect.kind.is_question().then_some((pending.serial, effect))
            });
            let input = match question {
                Some((serial, effect)) => {
                    let answer = self.known(image, &memory, &effect, here);
                    self.reply(image, run, (serial, &effect), answer, moment);
                    continue;
                }
                None if view::next_deadline(memory) == i64::MIN => Input::Tick,
                None => return,
            };
            if step(image, &mut run.memory, &input, moment).is_err() {
                return;
            }
        }
    }

    /// Gives a run the answer to a question.
    fn reply(
        &self,
        image: &Image<'_>,
        run: &mut Run,
        (serial, effect): (u32, &Effect<'_>),
        answer: Result<Answer<'_>, Code>,
        moment: Moment,
    ) {
        let mut values = heapless::Vec::<Option<Given<'_>>, ANSWERS_MAX>::new();
        let outcome = match &answer {
            Ok(answer) => {
                for field in effect.answers {
                    let value = (field.name == "value").then(|| answer.given(image, field.slot));
                    _ = values.push(value.flatten());
                }
                Outcome::Done(&values)
            }
            Err(code) => Outcome::Failed(*code),
        };
        // It stands in the memory, so it is waited for.
        _ = step(image, &mut run.memory, &Input::Result { serial, outcome }, moment);
    }

    /// What the device knows of something that is asked.
    fn known<'h>(
        &self,
        image: &Image<'_>,
        memory: &Memory<'_>,
        effect: &Effect<'_>,
        here: &Here<'h>,
    ) -> Result<Answer<'h>, Code> {
        let argument = |of| {
            let template = effect.argument(of).ok_or(Code::INVALID)?;
            render(template, image, memory)
        };
        if argument(Argument::Device)?.as_str() != here.device {
            return Err(Code::MISSING);
        }
        match effect.kind {
            Kind::Reading => {
                let metric = argument(Argument::Metric)?;
                let sensor = here.sensors.iter().find(|sensor| sensor.metric == metric.as_str());
                let sensor = sensor.ok_or(Code::MISSING)?.number;
                self.newest_of(sensor).map(Answer::Number).ok_or(Code::MISSING)
            }
            Kind::State => {
                let path = argument(Argument::Path)?;
                let (section, path) = path.split_once('/').ok_or(Code::INVALID)?;
                let path = Path::new(path).map_err(|_| Code::INVALID)?;
                let value = match section {
                    "desired" => here.twin.desired().get(path).and_then(|cell| cell.value()),
                    "reported" => here.twin.says(path),
                    _ => return Err(Code::INCAPABLE),
                };
                value.map(Answer::Kept).ok_or(Code::MISSING)
            }
            _ => Err(Code::INCAPABLE),
        }
    }

    /// Watches the conditions that a run waits for, after a start.
    #[inline(never)]
    pub(super) fn watch_run<F: NorFlash>(
        &mut self,
        log: &mut Log<F>,
        index: usize,
        sensors: &[crate::sensors::Sensor],
        device: &str,
    ) -> Result<(), Fault<F::Error>> {
        let Some(run) = &self.runs[index] else { return Ok(()) };
        let mut room = [0; IMAGE_MAX_BYTES];
        let image = image_of(&self.shelf, log, run.slot, &mut room)?;
        self.watch_of_run(&image, index, sensors, device);
        Ok(())
    }

    /// Watches what a run waits for now; what it went on waiting for stays as it is.
    #[inline(never)]
    fn watch_of_run(
        &mut self,
        image: &Image<'_>,
        index: usize,
        table: &[crate::sensors::Sensor],
        device: &str,
    ) {
        let mut awaited = 0_u32;
        if let Some(run) = &self.runs[index]
            && let Some(memory) = Memory::new(&run.memory, image.sizes)
        {
            for waiting in view::waits(image, memory) {
                if let Wait::Signal(number) = waiting.wait {
                    awaited |= 1u32.unbounded_shl(number.into());
                }
            }
        }
        let of_run = |watch: &Watch| match watch.of {
            For::Run { run, signal } if usize::from(run) == index => Some(signal),
            _ => None,
        };
        let is_awaited = |signal: u8| awaited & 1u32.unbounded_shl(signal.into()) != 0;
        self.watches.retain(|watch| of_run(watch).is_none_or(is_awaited));
        let Some(run) = &self.runs[index] else { return };
        let Some(memory) = Memory::new(&run.memory, image.sizes) else { return };
        for number in (0..image.sizes.signals).filter(|number| is_awaited(*number)) {
            if self.watches.iter().any(|watch| of_run(watch) == Some(number)) {
                continue;
            }
            let Some(Signal { source: Source::Condition { device: of, metric, rule }, .. }) =
                signal(image, number)
            else {
                continue;
            };
            let text = |word| match word {
                Word::Literal(text) => text,
                Word::Register(reg) => memory.text(reg),
            };
            if text(of) != device {
                continue;
            }
            for sensor in sensors(table, text(metric)) {
                let of = For::Run { run: index as u8, signal: number };
                // Beyond what can be watched nothing is found: it waits until its timeout.
                _ = self.watches.push(Watch::new(of, sensor, rule));
            }
        }
    }
}

/// An answer of the device itself.
enum Answer<'h> {
    Number(f64),
    Kept(Kept<'h>),
}

impl Answer<'_> {
    /// As a register has it.
    fn given(&self, image: &Image<'_>, slot: Slot) -> Option<Given<'_>> {
        let of = |reg| image.type_of(reg);
        match (self, slot) {
            (Self::Number(number), Slot::Number(reg)) => number_for(*number, of(reg)?),
            (Self::Kept(Kept::Text(text)), Slot::Text(_)) => Some(Given::Text(text.as_str())),
            (Self::Kept(Kept::Bool(on)), Slot::Number(reg)) if of(reg) == Some(Type::Bool) => {
                Some(Given::Number((*on).into()))
            }
            (Self::Kept(Kept::Int(int)), Slot::Number(reg)) => match of(reg)? {
                Type::Int => Some(Given::Number(*int)),
                Type::Decimal => decimal::of_int(*int).map(Given::Number),
                Type::Bool => None,
            },
            (Self::Kept(Kept::Float(number)), Slot::Number(reg)) => {
                number_for(number.get(), of(reg)?)
            }
            _ => None,
        }
    }
}

fn number_for<'g>(number: f64, of: Type) -> Option<Given<'g>> {
    let millionths = decimal::of(number)?;
    match of {
        Type::Decimal => Some(Given::Number(millionths)),
        Type::Int => (millionths % 1_000_000 == 0).then_some(Given::Number(millionths / 1_000_000)),
        Type::Bool => None,
    }
}

/// Tells a run what came.
fn tell(
    image: &Image<'_>,
    run: &mut Run,
    cause: &Cause<'_>,
    (here, found): (&Here<'_>, Option<u8>),
    moment: Moment,
) -> Result<(), Refusal> {
    let memory = &mut run.memory;
    let input = match *cause {
        Cause::Began { trigger, value } => {
            memory.resize(bytes_of(image.sizes), 0).map_err(|_| Refusal::Foreign)?;
            return begin(image, memory, (trigger, value), (here, found), moment);
        }
        Cause::ClockSet { by_ms } => return clock_set(image, memory, by_ms),
        Cause::Time => Input::Tick,
        Cause::Done { serial } => Input::Result { serial, outcome: Outcome::Done(&[]) },
        Cause::Failed { serial, error } => {
            Input::Result { serial, outcome: Outcome::Failed(error) }
        }
        Cause::Condition { signal } => Input::Signal { signal, values: &[] },
        Cause::Replaced => Input::Cancel,
    };
    step(image, memory, &input, moment).map(drop)
}

/// Begins a run with what its trigger found.
fn begin(
    image: &Image<'_>,
    memory: &mut [u8],
    (trigger, value): (u8, Value<'_>),
    (here, found): (&Here<'_>, Option<u8>),
    moment: Moment,
) -> Result<(), Refusal> {
    let sensor = here.sensors.iter().find(|sensor| Some(sensor.number) == found);
    let trigger = image.trigger(trigger.into()).ok_or(Refusal::Unknown)?;
    let mut values = heapless::Vec::<Option<Given<'_>>, INPUTS_MAX>::new();
    for _ in image.inputs() {
        values.push(None).map_err(|_| Refusal::Unknown)?;
    }
    for binding in trigger.bindings {
        let given = match binding.source {
            Bound::Number(number) => Some(Given::Number(number)),
            Bound::Text(text) => Some(Given::Text(text)),
            Bound::Fact(Fact::Device) => Some(Given::Text(here.device)),
            Bound::Fact(Fact::Metric) => sensor.map(|sensor| Given::Text(sensor.metric)),
            Bound::Fact(Fact::Unit) => sensor.map(|sensor| Given::Text(sensor.unit)),
            Bound::Fact(Fact::Value) => {
                value.number().and_then(|number| number_for(number, Type::Decimal))
            }
            Bound::Fact(Fact::Time) => Some(Given::Number(moment.now_ms)),
            _ => None,
        };
        if let Some(place) = values.get_mut(usize::from(binding.input)) {
            *place = given;
        }
    }
    start(image, memory, &values, moment).map(drop)
}

/// Bits by which a delay is drawn: the same for the same step, and others for each.
fn entropy(run: RunId, number: u64) -> u64 {
    // splitmix64, Steele and others, "Fast splittable pseudorandom number generators", 2014.
    let mut seed =
        run.0[6..14].iter().fold(number, |seed, byte| seed.rotate_left(8) ^ u64::from(*byte));
    seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    seed = (seed ^ (seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    seed = (seed ^ (seed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    seed ^ (seed >> 31)
}

const _: () = assert!(FIRST as usize + RUNS_MAX <= u8::MAX as usize);
