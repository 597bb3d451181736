//! A run of the reference: what each input does to it.
//!
//! Inputs are those that the step machine takes. First the input does what it does to whoever waits
//! for it, then each line that can go on has one turn, in the order of their numbers.

use super::evaluate::{Asked, Env, Purpose, Wait, World, taken};
use super::generate::Random;
use super::interpret::{Line, TIMER_MIN_MS, Turn, timer};
use super::resolve::Names;
use super::values::{Error, Value};
use crate::flow::definition::effect::Retry;
use crate::flow::definition::step::{Action, Step};
use crate::flow::definition::{Constant, Declared, Definition};
use crate::flow::diagnostic::Place;
use holdfast_core::flow::op::Late;
use holdfast_core::flow::{Given, Moment, NEVER, Phase, Refusal};

/// Lines at once, and one more than the greatest of their numbers.
const LINES: u8 = 32;

/// What came of an effect.
#[derive(Clone, Debug)]
pub(super) enum Outcome<'a> {
    Done(&'a [Option<Given<'a>>]),
    Failed(Error),
}

/// What somebody decides.
#[derive(Clone, Debug)]
pub(super) enum Resolution<'a> {
    Retry,
    Skip,
    Set(&'a str, Given<'a>),
    Compensate,
}

#[derive(Debug)]
pub(super) struct Run<'d> {
    pub(super) world: World<'d>,
    pub(super) root: Option<Line<'d>>,
    pub(super) phase: Phase,
    /// Why it failed, and at which step; it may have been between two.
    pub(super) cause: Option<(Error, Option<Place>)>,
    /// Until when it may go on.
    until: i64,
    entropy: u64,
}

impl<'d> Run<'d> {
    /// Begins a run. `steps` are those of the definition, with the end behind them.
    pub(super) fn start(
        definition: &'d Definition,
        steps: &'d [Step],
        names: &'d Names,
        values: &[Option<Given<'_>>],
        moment: Moment,
    ) -> Result<(Self, bool), Refusal> {
        let mut world = World::new(definition, names);
        world.now = moment.now_ms;
        let inputs = brought(&definition.inputs, values)?;
        for (input, value) in definition.inputs.iter().zip(inputs) {
            world.write(names.var(input.name.place), 0, value);
        }
        let until = match definition.lasts_s {
            0 => NEVER,
            lasts_s => world.after(i64::from(lasts_s) * 1_000),
        };
        let root = Some(Line::new(0, 0, steps));
        let entropy = moment.entropy;
        let mut run = Self { world, root, phase: Phase::Running, cause: None, until, entropy };
        let more = run.advance();
        Ok((run, more))
    }

    /// Does an input at a moment, and gives each line its turn.
    pub(super) fn take(
        &mut self,
        moment: Moment,
        input: impl FnOnce(&mut Self) -> Result<(), Refusal>,
    ) -> Result<bool, Refusal> {
        if self.phase.is_over() {
            return Err(Refusal::Over);
        }
        (self.world.now, self.entropy) = (moment.now_ms, moment.entropy);
        input(self)?;
        Ok(self.advance())
    }

    /// The lines there are, in the order of their numbers.
    pub(super) fn lines(&self) -> Vec<(Option<u8>, &Line<'d>)> {
        let mut all = self.root.as_ref().map(|root| root.all(None)).unwrap_or_default();
        all.sort_by_key(|(_, line)| line.number);
        all
    }

    fn is_ready(&self, number: u8) -> bool {
        self.lines().iter().any(|(_, line)| line.number == number && line.ready)
    }

    fn advance(&mut self) -> bool {
        for number in 0..LINES {
            while self.is_ready(number) {
                self.world.taken = self.lines().iter().map(|(_, line)| line.number).collect();
                let Some(root) = &mut self.root else { break };
                match root.turn(number, &mut self.world, &Env { scope: 0, caught: None }) {
                    Turn::Waits | Turn::Joined => break,
                    Turn::Over => {
                        self.finish(Phase::Succeeded);
                        break;
                    }
                    // Only an undoing comes to an end without saying so.
                    Turn::Done => {
                        self.undo_next();
                        break;
                    }
                    Turn::Failed(error) => self.unhandled(number, error),
                }
                // What the first line fails with is undone by it, still in its turn.
                if number > 0 {
                    break;
                }
            }
        }
        (0..LINES).any(|number| self.is_ready(number))
    }

    fn place(&self, number: u8) -> Place {
        let lines = self.lines();
        let line = lines.iter().find(|(_, line)| line.number == number);
        line.map_or_else(Place::default, |(_, line)| line.seq.place())
    }

    /// An error between turns.
    fn raise(&mut self, number: u8, error: Error) {
        let caught = self.root.as_mut().and_then(|root| root.throw(number, &error));
        if caught == Some(false) {
            self.unhandled(number, error);
        }
    }

    /// Nobody catches it.
    fn unhandled(&mut self, number: u8, error: Error) {
        let undoing = self.phase == Phase::Undoing;
        if !undoing && !self.world.definition.parks && &*error != "in-doubt" {
            return self.fail(error, Some(self.place(number)));
        }
        let line = self.root.as_mut().and_then(|root| root.find_mut(number));
        let line = line.expect("the line that failed");
        line.ready = false;
        line.seq.own_mut().expect("a step that failed").parked = Some(error);
    }

    /// The run fails where its first line is.
    fn fail_at_root(&mut self, error: &str) {
        let place = if self.is_ready(0) { None } else { Some(self.place(0)) };
        self.fail(error.into(), place);
    }

    fn fail(&mut self, error: Error, place: Option<Place>) {
        self.cause = Some((error, place));
        self.world.kept.clear();
        self.phase = Phase::Undoing;
        self.undo_next();
    }

    fn undo_next(&mut self) {
        match self.world.undos.pop() {
            Some((steps, scope)) => self.root = Some(Line::new(0, scope, steps)),
            None => self.finish_undoing(),
        }
    }

    fn finish_undoing(&mut self) {
        let cancelled = self.cause.as_ref().is_some_and(|(error, _)| &**error == "cancelled");
        self.finish(if cancelled { Phase::Cancelled } else { Phase::Failed });
    }

    fn finish(&mut self, phase: Phase) {
        self.root = None;
        self.world.undos.clear();
        self.phase = phase;
    }

    /// Time has passed.
    pub(super) fn tick(&mut self) {
        if self.phase == Phase::Running && self.until <= self.world.now {
            return self.fail_at_root("timeout");
        }
        for number in 0..LINES {
            if self.waiting(number).is_some_and(|wait| until_of(wait) <= self.world.now) {
                self.due(number);
            }
        }
    }

    /// What a line waits for.
    fn waiting(&self, number: u8) -> Option<&Wait<'d>> {
        let lines = self.lines();
        let (_, line) = lines.into_iter().find(|(_, line)| line.number == number)?;
        let own = line.seq.own().filter(|own| !line.ready && own.parked.is_none())?;
        own.wait.as_ref()
    }

    fn waiting_mut(&mut self, number: u8) -> Option<&mut Wait<'d>> {
        let line = self.root.as_mut()?.find_mut(number)?;
        line.seq.own_mut()?.wait.as_mut()
    }

    fn go_on(&mut self, number: u8, value: Option<Value>) {
        let Some(line) = self.root.as_mut().and_then(|root| root.find_mut(number)) else { return };
        line.ready = true;
        if let Some(own) = line.seq.own_mut() {
            own.go_on(value);
        }
    }

    fn due(&mut self, number: u8) {
        let now = self.world.now;
        match self.waiting(number) {
            Some(Wait::Effect(asked)) if asked.again.is_some() => {
                let until = self.world.until(asked.timeout_ms());
                if let Some(Wait::Effect(asked)) = self.waiting_mut(number) {
                    (asked.attempt, asked.until, asked.again) = (asked.attempt + 1, until, None);
                }
            }
            Some(Wait::Effect(_)) => self.effect_failed(number, "timeout".into()),
            Some(Wait::Signal { .. }) => self.raise(number, "timeout".into()),
            Some(Wait::Time { until, length, scope, late }) => {
                let is_late = now - until > i64::from(late.tolerance_s) * 1_000;
                match (late.late, length) {
                    (Late::Skip, _) | (Late::Restart, None) if is_late => {
                        self.raise(number, "late".into());
                    }
                    (Late::Restart, Some(length)) if is_late => {
                        let again = timer(&self.world, length, *scope);
                        if let Some(Wait::Time { until, .. }) = self.waiting_mut(number) {
                            *until = again;
                        }
                    }
                    _ => self.go_on(number, None),
                }
            }
            None => {}
        }
    }

    fn effect_failed(&mut self, number: u8, error: Error) {
        let Some(Wait::Effect(asked)) = self.waiting(number) else { return };
        let (retries, idempotent): (&[Retry], bool) = match asked.purpose {
            Purpose::Step(effect) => (&effect.retries, effect.idempotent),
            Purpose::Part(_) => (&[], true),
        };
        let error = match &*error {
            "timeout" if !idempotent => "in-doubt".into(),
            _ => error,
        };
        let is_for = |rule: &&Retry| match rule.on.as_slice() {
            [] => &*error != "in-doubt",
            names => names.iter().any(|name| *name.text == *error),
        };
        let rule = retries.iter().find(is_for).filter(|rule| asked.attempt < rule.attempts);
        let Some(rule) = rule else { return self.raise(number, error) };
        let again_at = self.world.after(self.pause(rule, asked));
        if let Some(Wait::Effect(asked)) = self.waiting_mut(number) {
            (asked.again, asked.until) = (Some(error), again_at);
        }
    }

    /// How long it is until an effect is tried again: as long as the rule says, and up to so many
    /// percent less, by the number of the effect among those that the moment's entropy begins.
    fn pause(&self, rule: &Retry, asked: &Asked<'_>) -> i64 {
        let (first, cap) = (i128::from(rule.first_ms), i128::from(rule.cap_ms));
        let longer =
            (1..asked.attempt).fold(first, |ms, _| cap.min(ms * i128::from(rule.rate) / 256));
        let ms = longer.min(cap);
        let choices = (ms * i128::from(rule.jitter) / 100 + 1) as u128;
        let mut random = Random(self.entropy);
        let drawn = (0..asked.serial).map(|_| random.bits()).last().unwrap_or_default();
        (ms - ((u128::from(drawn) * choices) >> 64) as i128) as i64
    }

    pub(super) fn result(&mut self, serial: u32, outcome: &Outcome<'_>) -> Result<(), Refusal> {
        let asks = |number: &u8| match self.waiting(*number) {
            Some(Wait::Effect(asked)) => asked.serial == serial,
            _ => false,
        };
        let number = (0..LINES).find(asks).ok_or(Refusal::Unasked)?;
        let Some(Wait::Effect(asked)) = self.waiting(number) else { return Ok(()) };
        match (outcome, &asked.purpose) {
            // That this attempt failed is known already.
            (Outcome::Failed(_), _) if asked.again.is_some() => return Err(Refusal::Unasked),
            (Outcome::Failed(error), _) => self.effect_failed(number, error.clone()),
            (Outcome::Done(values), Purpose::Part(kind)) => {
                let given = values.first().copied().flatten();
                match given.and_then(|given| Value::given(*kind, given)) {
                    Some(value) => self.go_on(number, Some(value)),
                    None => self.raise(number, "missing".into()),
                }
            }
            (Outcome::Done(values), Purpose::Step(effect)) => {
                let (effect, scope) = (*effect, asked.scope);
                let Some(values) = taken(&effect.results, values) else {
                    self.raise(number, "missing".into());
                    return Ok(());
                };
                for (answer, value) in effect.results.iter().zip(values) {
                    self.world.write(self.world.names.var(answer.name.place), scope, value);
                }
                self.go_on(number, None);
            }
        }
        Ok(())
    }

    pub(super) fn signal(
        &mut self,
        signal: usize,
        values: &[Option<Given<'_>>],
    ) -> Result<(), Refusal> {
        let (definition, names) = (self.world.definition, self.world.names);
        if signal >= definition.signals.len() + names.conditions.len() {
            return Err(Refusal::Unknown);
        }
        if let Some((_, fields)) = definition.signals.get(signal) {
            let brought = brought(fields, values)?;
            for (field, value) in fields.iter().zip(brought) {
                self.world.write(names.var(field.name.place), 0, value);
            }
        }
        let listens = |number: &u8| match self.waiting(*number) {
            Some(Wait::Signal { which, .. }) => *which == signal,
            _ => false,
        };
        match (0..LINES).find(listens) {
            Some(number) => self.go_on(number, None),
            None => drop(self.world.kept.insert(signal)),
        }
        Ok(())
    }

    pub(super) fn resolve(&mut self, number: u8, how: &Resolution<'_>) -> Result<(), Refusal> {
        let (running, place) = (self.phase == Phase::Running, Some(self.place(number)));
        let line = self.root.as_mut().and_then(|root| root.find_mut(number));
        let line = line.ok_or(Refusal::Unasked)?;
        let step = line.seq.innermost();
        let own = line.seq.own_mut().ok_or(Refusal::Unasked)?;
        let error = own.parked.clone().ok_or(Refusal::Unasked)?;
        match how {
            Resolution::Retry => {
                own.parked = None;
                match &mut own.wait {
                    Some(Wait::Effect(asked)) => {
                        let until = self.world.until(asked.timeout_ms());
                        (asked.attempt, asked.until, asked.again) = (1, until, None);
                    }
                    wait => {
                        if wait.take().is_some() {
                            own.index = 0;
                        }
                        line.ready = true;
                    }
                }
            }
            Resolution::Skip => {
                match (&own.wait, step.map(|step| &step.action)) {
                    // Behind a failure there is nothing, and no value for what is computed.
                    _ if own.is_computing() => return Err(Refusal::Unknown),
                    (Some(Wait::Effect(asked)), Some(Action::Effect(effect))) => {
                        let with = effect.results.iter();
                        let defaults = with.filter_map(|it| Some((it, it.default.as_ref()?)));
                        for (answer, default) in defaults {
                            let value = Value::constant(answer.kind, default);
                            let var = self.world.names.var(answer.name.place);
                            self.world.write(var, asked.scope, value);
                        }
                    }
                    _ => {}
                }
                self.go_on(number, None);
            }
            Resolution::Set(name, given) => {
                let var = self.world.names.of_run(name).ok_or(Refusal::Unknown)?;
                let kind = self.world.names.vars[var].kind;
                let value = Value::given(kind, *given).ok_or(Refusal::Unknown)?;
                self.world.write(var, 0, value);
            }
            Resolution::Compensate if running => self.fail(error, place),
            Resolution::Compensate => return Err(Refusal::Unknown),
        }
        Ok(())
    }

    pub(super) fn cancel(&mut self) {
        let is_parked = |run: &Self| {
            let own = run.root.as_ref().and_then(|root| root.seq.own());
            own.is_some_and(|own| own.parked.is_some())
        };
        match self.phase {
            Phase::Running => self.fail_at_root("cancelled"),
            Phase::Undoing if is_parked(self) => self.finish_undoing(),
            _ => {}
        }
    }

    /// The clock was set; what waits for a length of time waits as long as before.
    pub(super) fn clock_set(&mut self, by_ms: i64) {
        let move_it = |until: &mut i64| {
            if *until != NEVER {
                *until = until.saturating_add(by_ms);
            }
        };
        move_it(&mut self.until);
        for number in 0..LINES {
            match self.waiting_mut(number) {
                Some(Wait::Time { length: None, .. }) | None => {}
                Some(
                    Wait::Effect(Asked { until, .. })
                    | Wait::Time { until, .. }
                    | Wait::Signal { until, .. },
                ) => move_it(until),
            }
        }
    }

    /// When it has to be told that time has passed.
    pub(super) fn next_deadline(&self) -> i64 {
        if (0..LINES).any(|number| self.is_ready(number)) {
            return i64::MIN;
        }
        let own = if self.phase == Phase::Running { self.until } else { NEVER };
        let all = (0..LINES).filter_map(|number| self.waiting(number)).map(until_of);
        all.fold(own, i64::min)
    }
}

/// Until when something is waited for.
pub(super) const fn until_of(wait: &Wait<'_>) -> i64 {
    match wait {
        Wait::Effect(Asked { until, .. })
        | Wait::Time { until, .. }
        | Wait::Signal { until, .. } => *until,
    }
}

/// Values from outside, as those that are declared.
fn brought(declared: &[Declared], given: &[Option<Given<'_>>]) -> Result<Vec<Value>, Refusal> {
    let values = declared.iter().enumerate().map(|(index, field)| {
        let constant = |constant: &Constant| Value::constant(field.kind, constant);
        let given = given.get(index).copied().flatten();
        let value = match given {
            Some(given) => Value::given(field.kind, given),
            None => field.default.as_ref().map(constant),
        };
        value.ok_or_else(|| Refusal::Field(u8::try_from(index).expect("few enough")))
    });
    values.collect()
}

const _: () = assert!(TIMER_MIN_MS == holdfast_core::flow::machine::TIMER_MIN_MS);
