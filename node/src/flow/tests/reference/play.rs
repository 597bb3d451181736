//! A run of a definition: the machine and the reference are told the same, and have to come to the
//! same after every input.
//!
//! What they are told follows from the seed and from what the run waits for: answers in any order,
//! wrong ones, ones that nobody waits for, time that passes too late, signals, decisions, an end in
//! the middle, a clock that is set.
//!
//! Two things are not told, because the machine does there what the guide does not say. A variable
//! that is set while an effect waits is in its next attempt where it stands alone, and is not where
//! something is computed with it; so variables are set only while no effect is asked for. Where an
//! effect is skipped, what its answer has no default for keeps what its register had, be it that of
//! a scope that ended; so such an effect is not skipped.

use super::compare::{of_machine, of_reference, registers};
use super::evaluate::Wait;
use super::generate::Random;
use super::resolve::Names;
use super::run::{self, Run};
use crate::flow::definition::Definition;
use crate::flow::definition::step::{Action, Step};
use holdfast_core::flow::field::Fields;
use holdfast_core::flow::memory::bytes_of;
use holdfast_core::flow::view::{self, Waiting};
use holdfast_core::flow::{
    Code, Given, Image, Input, Memory, Moment, NEVER, Outcome, Phase, Refusal, Resolution, Slot,
    Type, clock_set, signal, start, step,
};
use std::collections::BTreeMap;

/// When runs begin, or somewhat later.
const BEGIN_MS: i64 = 1_000_000;
/// Inputs of a run.
const INPUTS: usize = 60;
/// What lies further ahead is seldom waited for, and then not longer: milliseconds.
const SOON_MS: i64 = 86_400_000;
const EVER_MS: i64 = 365 * SOON_MS;

const FAILURES: [Code; 8] = [
    Code::BUSY,
    Code::REFUSED,
    Code::TIMEOUT,
    Code::UNREACHABLE,
    Code::DOUBT,
    Code::MISSING,
    Code::own(0),
    Code::own(1),
];
const TEXTS: [&str; 6] =
    ["", "ps-7", "a\"b\\c", "é\n", "low", "0123456789012345678901234567890123456789"];

/// A value of its own.
#[derive(Clone, Debug)]
enum Owned {
    Number(i64),
    Text(String),
}

impl Owned {
    fn given(&self) -> Given<'_> {
        match self {
            Self::Number(number) => Given::Number(*number),
            Self::Text(text) => Given::Text(text),
        }
    }
}

/// What both are told.
#[derive(Clone, Debug)]
enum Told {
    Tick,
    Done(u32, Vec<Option<Owned>>),
    Failed(u32, Code),
    Signal(u8, Vec<Option<Owned>>),
    Retry(u8),
    Skip(u8),
    Set(u8, String, Slot, Owned),
    Compensate(u8),
    Cancel,
    ClockSet(i64),
}

impl Told {
    fn values(&self) -> Vec<Option<Given<'_>>> {
        match self {
            Self::Done(_, values) | Self::Signal(_, values) => given(values),
            _ => Vec::new(),
        }
    }
}

fn given(values: &[Option<Owned>]) -> Vec<Option<Given<'_>>> {
    values.iter().map(|value| value.as_ref().map(Owned::given)).collect()
}

/// How often what happened.
pub(super) type Struck = BTreeMap<String, u64>;

/// A run, twice.
struct Play<'d> {
    image: &'d Image<'d>,
    memory: Vec<u8>,
    run: Run<'d>,
    random: Random,
    now_ms: i64,
    more: bool,
    history: Vec<String>,
}

/// Plays a run of a definition, and says where the two are not the same.
pub(super) fn play(
    definition: &Definition,
    image: &Image<'_>,
    mut random: Random,
    struck: &mut Struck,
) -> Result<(), String> {
    let mut steps = definition.steps.clone();
    // Behind the last step a run ends well.
    let place = steps.last().map(|step| step.place).unwrap_or_default();
    steps.push(Step { place, action: Action::Succeed, label: None, catches: Vec::new() });
    let names = Names::of(definition);
    let now_ms = BEGIN_MS + random.below(5_000_000) as i64;
    let mut memory = vec![0; bytes_of(image.sizes)];
    // A start that is refused is tried once more, with other values.
    loop {
        let values = drawn(image, image.inputs(), &mut random);
        let given = given(&values);
        let moment = Moment { now_ms, entropy: random.bits() };
        let ours = start(image, &mut memory, &given, moment);
        let theirs = Run::start(definition, &steps, &names, &given, moment);
        let history = vec![format!("start at {now_ms} with {values:?}")];
        let (run, more) = match (ours, theirs) {
            (Ok(ours), Ok((run, theirs))) if ours == theirs => (run, ours),
            (Err(ours), Err(theirs)) if ours == theirs => {
                *struck.entry("start refused".to_owned()).or_default() += 1;
                continue;
            }
            (ours, theirs) => {
                let theirs = theirs.map(|(_, more)| more);
                return Err(format!("{history:?}: machine {ours:?}, reference {theirs:?}"));
            }
        };
        let mut play = Play { image, memory, run, random, now_ms, more, history };
        return play.all(struck).map_err(|wrong| {
            let history = play.history.join("\n");
            format!("{history}\n{wrong}")
        });
    }
}

/// Values for fields, most of them good.
fn drawn(image: &Image<'_>, fields: Fields<'_>, random: &mut Random) -> Vec<Option<Owned>> {
    let values = fields.map(|field| match random.below(40) {
        0 => None,
        1 => Some(Owned::Number(random.bits() as i64)),
        2 => Some(Owned::Text("x".repeat(60 + random.below(10)))),
        3..6 if field.default.is_some() => None,
        _ => Some(value_for(image, field.slot, random)),
    });
    values.collect()
}

/// A value that a register takes.
fn value_for(image: &Image<'_>, slot: Slot, random: &mut Random) -> Owned {
    let Slot::Number(reg) = slot else { return Owned::Text(random.pick(&TEXTS).to_owned()) };
    Owned::Number(match image.type_of(reg) {
        Some(Type::Bool) => random.below(2) as i64,
        _ if random.often(8) => random.pick(&[i64::MAX, i64::MIN, i64::MAX / 1_000_000]),
        Some(Type::Decimal) => random.pick(&[0, 500_000, -2_250_000, 3_000_000, 1, 999_999]),
        _ => random.pick(&[0, 1, 2, -3, 7, 1_000, 60_000, 1_000_000]),
    })
}

impl Play<'_> {
    fn memory(&self) -> Memory<'_> {
        Memory::new(&self.memory, self.image.sizes).expect("as many bytes as it takes")
    }

    fn all(&mut self, struck: &mut Struck) -> Result<(), String> {
        self.compare()?;
        for _ in 0..INPUTS {
            let phase = self.run.phase;
            let told = if self.more && self.random.often(96) { Told::Tick } else { self.draw() };
            self.tell(&told, struck)?;
            if phase.is_over() {
                break;
            }
        }
        *struck.entry(format!("ended {:?}", self.run.phase)).or_default() += 1;
        if let Some((error, _)) = &self.run.cause {
            *struck.entry(format!("failed {error}")).or_default() += 1;
        }
        Ok(())
    }

    fn compare(&self) -> Result<(), String> {
        let image = self.image;
        let ours = of_machine(image, self.memory(), &self.run);
        let theirs = of_reference(image, &self.run);
        if ours == theirs {
            return view::check(image, &self.memory)
                .map(drop)
                .map_err(|reject| format!("the memory is not accepted: {reject:?}"));
        }
        let at = ours.iter().zip(&theirs).position(|(a, b)| a != b);
        let at = at.unwrap_or(ours.len().min(theirs.len()));
        let line = |all: &[String]| all.get(at).cloned().unwrap_or_default();
        Err(format!("machine:   {}\nreference: {}", line(&ours), line(&theirs)))
    }

    fn tell(&mut self, told: &Told, struck: &mut Struck) -> Result<(), String> {
        let moment = Moment { now_ms: self.now_ms, entropy: self.random.bits() };
        self.history.push(format!("at {} {told:?}", self.now_ms));
        for (parent, line) in self.run.lines() {
            if parent.is_some() {
                *struck.entry("a branch waits".to_owned()).or_default() += 1;
            }
            let Some(own) = line.seq.own() else { continue };
            let word = match (&own.wait, &own.parked) {
                (_, Some(_)) => "parked",
                (Some(Wait::Effect(asked)), _) if asked.again.is_some() => "waits to repeat",
                (Some(Wait::Effect(asked)), _) => asked.purpose.word(),
                (Some(Wait::Time { .. }), _) => "waits for a time",
                (Some(Wait::Signal { .. }), _) => "waits for a signal",
                (None, None) => "goes on",
            };
            *struck.entry(word.to_owned()).or_default() += 1;
        }
        if self.run.phase == Phase::Undoing {
            *struck.entry("undoing waits".to_owned()).or_default() += 1;
        }
        let ours = self.tell_machine(told, moment);
        let theirs = self.tell_reference(told, moment);
        if ours != theirs {
            return Err(format!("machine:   {ours:?}\nreference: {theirs:?}"));
        }
        let word = format!("{told:?}");
        let word = word.split(['(', ' ']).next().unwrap_or_default();
        let word = match ours {
            Ok(more) => {
                self.more = more;
                word.to_lowercase()
            }
            Err(refusal) => format!("{} refused as {refusal:?}", word.to_lowercase()),
        };
        *struck.entry(word).or_default() += 1;
        self.compare()
    }

    fn tell_machine(&mut self, told: &Told, moment: Moment) -> Result<bool, Refusal> {
        let values = told.values();
        let resolve = |fiber: &u8, how| Input::Resolve { fiber: *fiber, how };
        let input = match told {
            Told::Tick => Input::Tick,
            Told::Done(serial, _) => {
                Input::Result { serial: *serial, outcome: Outcome::Done(&values) }
            }
            Told::Failed(serial, error) => {
                Input::Result { serial: *serial, outcome: Outcome::Failed(*error) }
            }
            Told::Signal(signal, _) => Input::Signal { signal: *signal, values: &values },
            Told::Retry(fiber) => resolve(fiber, Resolution::Retry),
            Told::Skip(fiber) => resolve(fiber, Resolution::Skip),
            Told::Set(fiber, _, slot, value) => {
                resolve(fiber, Resolution::Set(*slot, value.given()))
            }
            Told::Compensate(fiber) => resolve(fiber, Resolution::Compensate),
            Told::Cancel => Input::Cancel,
            Told::ClockSet(by_ms) => {
                return clock_set(self.image, &mut self.memory, *by_ms).map(|()| self.more);
            }
        };
        step(self.image, &mut self.memory, &input, moment)
    }

    fn tell_reference(&mut self, told: &Told, moment: Moment) -> Result<bool, Refusal> {
        let values = told.values();
        let (run, image, more) = (&mut self.run, self.image, self.more);
        if let Told::ClockSet(by_ms) = told {
            run.clock_set(*by_ms);
            return Ok(more);
        }
        run.take(moment, |run| match told {
            Told::Tick => {
                run.tick();
                Ok(())
            }
            Told::Done(serial, _) => run.result(*serial, &run::Outcome::Done(&values)),
            Told::Failed(serial, code) => {
                let error = image.error_name(*code).unwrap_or_default();
                run.result(*serial, &run::Outcome::Failed(error.into()))
            }
            Told::Signal(signal, _) => run.signal((*signal).into(), &values),
            Told::Retry(line) => run.resolve(*line, &run::Resolution::Retry),
            Told::Skip(line) => run.resolve(*line, &run::Resolution::Skip),
            Told::Set(line, name, _, value) => {
                run.resolve(*line, &run::Resolution::Set(name, value.given()))
            }
            Told::Compensate(line) => run.resolve(*line, &run::Resolution::Compensate),
            Told::Cancel | Told::ClockSet(_) => {
                run.cancel();
                Ok(())
            }
        })
    }

    /// What is told next.
    fn draw(&mut self) -> Told {
        let waits: Vec<_> = view::waits(self.image, self.memory()).collect();
        let parked = |it: &&Waiting| matches!(it.wait, view::Wait::Decision(_));
        let parked: Vec<_> = waits.iter().filter(parked).map(|it| it.fiber).collect();
        let asked = waits.iter().filter_map(|waiting| match &waiting.wait {
            view::Wait::Effect(of) | view::Wait::Retry { of, .. } => Some((of.serial, of.effect)),
            _ => None,
        });
        let asked: Vec<_> = asked.collect();
        match self.random.below(100) {
            0..30 if !parked.is_empty() => {
                let line = self.random.pick(&parked);
                self.decision(line)
            }
            0..70 if !asked.is_empty() => {
                let (serial, effect) = self.random.pick(&asked);
                self.answer(serial, effect)
            }
            62..78 => self.signal(),
            78..80 => Told::Done(self.random.below(12) as u32, Vec::new()),
            80..81 => Told::Failed(self.random.below(12) as u32, self.random.pick(&FAILURES)),
            81 => Told::Cancel,
            82..85 => {
                let by_ms = self.random.pick(&[-1, 1]) * self.random.below(90_000) as i64;
                self.now_ms += by_ms;
                Told::ClockSet(by_ms)
            }
            85..88 => {
                let line = self.random.below(4) as u8;
                self.decision(line)
            }
            _ => self.time(),
        }
    }

    fn answer(&mut self, serial: u32, effect: u16) -> Told {
        if self.random.often(22) {
            return Told::Failed(serial, self.random.pick(&FAILURES));
        }
        let effect = self.image.effect(effect).expect("an effect that is asked for");
        Told::Done(serial, drawn(self.image, effect.answers, &mut self.random))
    }

    fn signal(&mut self) -> Told {
        let count = usize::from(self.image.sizes.signals);
        // One that there is not, now and then, and where there is none.
        let unknown = count == 0 || self.random.often(4);
        let awaited = view::waits(self.image, self.memory()).find_map(|it| match it.wait {
            view::Wait::Signal(signal) => Some(usize::from(signal)),
            _ => None,
        });
        let index = match awaited {
            Some(signal) if !unknown && self.random.often(60) => signal,
            _ if unknown => count,
            _ => self.random.below(count),
        };
        let index = index as u8;
        let values = match signal::signal(self.image, index) {
            Some(signal) => drawn(self.image, signal.values, &mut self.random),
            None => Vec::new(),
        };
        Told::Signal(index, values)
    }

    fn time(&mut self) -> Told {
        let next = view::next_deadline(self.memory());
        let ahead = next.saturating_sub(self.now_ms);
        if ahead > SOON_MS && self.random.often(90) {
            return self.signal();
        }
        let near = next != NEVER && (0..EVER_MS).contains(&ahead);
        let past = self.random.below(4_000) as i64;
        self.now_ms = match self.random.below(10) {
            0..5 if near => next,
            5..7 if near => next + past,
            7 if near => next + past * 100,
            _ => self.now_ms + past,
        };
        Told::Tick
    }

    fn decision(&mut self, line: u8) -> Told {
        match self.random.below(10) {
            0..4 => Told::Retry(line),
            4..6 if self.may_skip(line) => Told::Skip(line),
            6..8 if self.may_set() => self.set(line),
            8 => Told::Compensate(line),
            _ => Told::Retry(line),
        }
    }

    /// Whether nothing would be without a value.
    fn may_skip(&self, number: u8) -> bool {
        let lines = self.run.lines();
        let line = lines.into_iter().find(|(_, line)| line.number == number);
        line.is_none_or(|(_, line)| match line.seq.innermost().map(|step| &step.action) {
            Some(Action::Effect(effect)) => effect.results.iter().all(|it| it.default.is_some()),
            _ => true,
        })
    }

    /// Whether no effect is asked for, nor about to be.
    fn may_set(&self) -> bool {
        self.run.lines().into_iter().all(|(_, line)| {
            let asks = |step: &Step| matches!(step.action, Action::Effect(_));
            let waits = line.seq.own().is_some_and(|own| matches!(own.wait, Some(Wait::Effect(_))));
            !waits && !line.seq.innermost().is_some_and(asks)
        })
    }

    fn set(&mut self, line: u8) -> Told {
        let known = registers(self.image, &self.run).into_iter();
        let known = known.filter(|(name, _)| self.run.world.names.of_run(name).is_some());
        let known: Vec<_> = known.collect();
        if known.is_empty() {
            return Told::Retry(line);
        }
        let (name, slot) = self.random.pick(&known);
        let value = match self.random.below(10) {
            0 => Owned::Text("x".repeat(65)),
            1 => Owned::Number(3),
            _ => value_for(self.image, slot, &mut self.random),
        };
        Told::Set(line, name.to_owned(), slot, value)
    }
}
