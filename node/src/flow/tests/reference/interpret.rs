//! The reference itself: the steps of a definition, gone through as they stand in it.
//!
//! A run is a tree of states that has the shape of the steps: a sequence knows the step at which it
//! is, that step what it does or which steps in it are under way, and branches are *lines* of their
//! own within it. A turn goes down the tree to the line that has it, an error comes back up until a
//! `catch` takes it, and what lies below is dropped. It is written from `docs/workflows.md` and
//! `docs/formats/flow.md`, knows no operation and no register, and is as slow as it likes.

use super::evaluate::{Env, Operand, Own, Stop, Wait, Walk, World};
use super::values::{Error, Value};
use crate::flow::definition::step::{Action, Awaited, Step};
use crate::flow::diagnostic::Place;
use crate::flow::expression::Expr;
use crate::flow::expression::typed::Kind;
use holdfast_core::flow::NEVER;

/// No timer is shorter.
pub(super) const TIMER_MIN_MS: i64 = 10;

/// Steps under way.
#[derive(Debug)]
pub(super) struct Seq<'d> {
    steps: &'d [Step],
    at: usize,
    inner: Option<Box<Inner<'d>>>,
}

/// What a step is doing.
#[derive(Debug)]
enum Inner<'d> {
    Own(Own<'d>),
    /// Steps of a case or of a `try`.
    Body(Seq<'d>),
    /// The steps of a `catch`, with the error.
    Clause(Error, Seq<'d>),
    /// Rounds of `repeat` or `forever`: how many are done, and the one under way.
    Rounds(u32, Own<'d>, Option<Seq<'d>>),
    /// Items one after the other: which, in which scope.
    Items(usize, usize, Seq<'d>),
    /// Branches, and the item that the next one to have none takes.
    Branches(Vec<Line<'d>>, usize),
}

/// The run itself or a branch: what has turns.
#[derive(Debug)]
pub(super) struct Line<'d> {
    pub(super) number: u8,
    pub(super) ready: bool,
    pub(super) scope: usize,
    pub(super) seq: Seq<'d>,
    /// It has no item yet.
    fresh: bool,
}

/// How a turn ended.
#[derive(Debug)]
pub(super) enum Turn {
    Waits,
    /// The line is at its end.
    Done,
    /// All branches of a step are.
    Joined,
    Failed(Error),
    Over,
}

/// Something else than a step of the definition, where one of its steps is needed.
fn misplaced(step: &Step) -> ! {
    panic!("this is no step of an accepted definition: {step:?}")
}

fn takes(names: &[crate::flow::definition::Named], error: &str) -> bool {
    match names {
        [] => error != "in-doubt",
        names => names.iter().any(|name| name.text == error),
    }
}

impl<'d> Seq<'d> {
    pub(super) const fn new(steps: &'d [Step]) -> Self {
        Self { steps, at: 0, inner: None }
    }

    /// Goes on until it waits, fails or is at its end.
    fn go(&mut self, world: &mut World<'d>, env: &Env) -> Result<(), Stop> {
        while let Some(step) = self.steps.get(self.at) {
            self.step(step, world, env)?;
            self.inner = None;
            self.at += 1;
        }
        Ok(())
    }

    fn step(&mut self, step: &'d Step, world: &mut World<'d>, env: &Env) -> Result<(), Stop> {
        let inner = match &mut self.inner {
            Some(inner) => inner,
            none => none.insert(Box::new(begun(step, world, env))),
        };
        match &mut **inner {
            Inner::Own(own) => match &step.action {
                Action::Choose { arms, otherwise } => {
                    let steps = chosen(own, arms, otherwise, world, env)?;
                    let mut body = Seq::new(steps);
                    // What is chosen stays so, whatever comes of it.
                    let done = body.go(world, env);
                    **inner = Inner::Body(body);
                    done
                }
                _ => alone(own, step, world, env),
            },
            Inner::Body(body) => body.go(world, env),
            Inner::Clause(error, body) => {
                body.go(world, &Env { caught: Some(error.clone()), ..env.clone() })
            }
            Inner::Rounds(done, own, body) => match &step.action {
                Action::Repeat { at_most, condition, body: steps } => {
                    let rounds = (*at_most, condition.as_ref(), &**steps);
                    go_round(done, own, body, rounds, world, env)
                }
                Action::Forever(steps) => {
                    go_round(done, own, body, (u32::MAX, None, steps), world, env)
                }
                _ => misplaced(step),
            },
            Inner::Items(index, scope, body) => {
                let Action::Each { items, body: steps, .. } = &step.action else { misplaced(step) };
                let env = Env { scope: *scope, ..env.clone() };
                loop {
                    body.go(world, &env)?;
                    *index += 1;
                    if *index == items.count {
                        return Ok(());
                    }
                    take_item(step, *index, *scope, world);
                    *body = Seq::new(steps);
                }
            }
            Inner::Branches(lines, _) if lines.is_empty() => Ok(()),
            Inner::Branches(..) => Err(Stop::Waits),
        }
    }

    /// Gives the line of this number, somewhere in here, its turn.
    fn pass(&mut self, number: u8, world: &mut World<'d>, env: &Env) -> Turn {
        let step = &self.steps[self.at];
        match self.inner.as_deref_mut() {
            Some(Inner::Body(seq) | Inner::Rounds(_, _, Some(seq)) | Inner::Items(_, _, seq)) => {
                seq.pass(number, world, env)
            }
            Some(Inner::Clause(error, seq)) => {
                seq.pass(number, world, &Env { caught: Some(error.clone()), ..env.clone() })
            }
            Some(Inner::Branches(lines, next)) => pass(lines, next, step, number, world, env),
            _ => misplaced(step),
        }
    }

    /// Has the innermost `catch` for the error go on; `false` where there is none.
    fn throw(&mut self, error: &Error) -> bool {
        let Some(step) = self.steps.get(self.at) else { return false };
        let within = match self.inner.as_deref_mut() {
            // What goes wrong in a `catch` is not for the same one again.
            Some(Inner::Clause(_, seq)) => return seq.throw(error),
            Some(Inner::Body(seq) | Inner::Rounds(_, _, Some(seq)) | Inner::Items(_, _, seq)) => {
                Some(seq)
            }
            _ => None,
        };
        if within.is_some_and(|seq| seq.throw(error)) {
            return true;
        }
        let clause = step.catches.iter().find(|clause| takes(&clause.on, error));
        if let Some(clause) = clause {
            self.inner = Some(Box::new(Inner::Clause(error.clone(), Seq::new(&clause.steps))));
        }
        clause.is_some()
    }

    fn within(&self) -> Option<&Self> {
        match self.inner.as_deref()? {
            Inner::Body(seq) | Inner::Clause(_, seq) | Inner::Items(_, _, seq) => Some(seq),
            Inner::Rounds(_, _, seq) => seq.as_ref(),
            _ => None,
        }
    }

    /// The scope in which the innermost step is, if not that of its line.
    pub(super) fn scope(&self) -> Option<usize> {
        let inner = self.within().and_then(Seq::scope);
        let own = match self.inner.as_deref() {
            Some(Inner::Items(_, scope, _)) => Some(*scope),
            _ => None,
        };
        inner.or(own)
    }

    /// The innermost step.
    pub(super) fn innermost(&self) -> Option<&'d Step> {
        self.within().and_then(Seq::innermost).or_else(|| self.steps.get(self.at))
    }

    pub(super) fn place(&self) -> Place {
        self.innermost().map_or_else(Place::default, |step| step.place)
    }

    /// What the innermost step has of its own.
    pub(super) fn own(&self) -> Option<&Own<'d>> {
        match (self.within(), self.inner.as_deref()?) {
            (Some(seq), _) => seq.own(),
            (None, Inner::Own(own) | Inner::Rounds(_, own, _)) => Some(own),
            _ => None,
        }
    }

    pub(super) fn own_mut(&mut self) -> Option<&mut Own<'d>> {
        match self.inner.as_deref_mut()? {
            Inner::Own(own) | Inner::Rounds(_, own, None) => Some(own),
            Inner::Body(seq) | Inner::Clause(_, seq) | Inner::Items(_, _, seq) => seq.own_mut(),
            Inner::Rounds(_, _, Some(seq)) => seq.own_mut(),
            Inner::Branches(..) => None,
        }
    }

    /// The branches that are under way.
    pub(super) fn branches(&self) -> &[Line<'d>] {
        match (self.within(), self.inner.as_deref()) {
            (Some(seq), _) => seq.branches(),
            (None, Some(Inner::Branches(lines, _))) => lines,
            _ => &[],
        }
    }

    fn branches_mut(&mut self) -> &mut [Line<'d>] {
        match self.inner.as_deref_mut() {
            Some(Inner::Body(seq) | Inner::Clause(_, seq) | Inner::Items(_, _, seq)) => {
                seq.branches_mut()
            }
            Some(Inner::Rounds(_, _, Some(seq))) => seq.branches_mut(),
            Some(Inner::Branches(lines, _)) => lines,
            _ => &mut [],
        }
    }
}

impl<'d> Line<'d> {
    pub(super) const fn new(number: u8, scope: usize, steps: &'d [Step]) -> Self {
        Self { number, ready: true, scope, seq: Seq::new(steps), fresh: false }
    }

    fn holds(&self, number: u8) -> bool {
        self.number == number || self.seq.branches().iter().any(|line| line.holds(number))
    }

    /// A turn of the line of this number, which is this one or a branch of it.
    pub(super) fn turn(&mut self, number: u8, world: &mut World<'d>, env: &Env) -> Turn {
        let env = Env { scope: self.scope, ..env.clone() };
        if self.number == number {
            return self.go(world, &env);
        }
        match self.seq.pass(number, world, &env) {
            Turn::Failed(error) if !self.seq.throw(&error) => Turn::Failed(error),
            Turn::Failed(_) | Turn::Joined => {
                self.ready = true;
                Turn::Waits
            }
            turn => turn,
        }
    }

    fn go(&mut self, world: &mut World<'d>, env: &Env) -> Turn {
        loop {
            match self.seq.go(world, env) {
                Ok(()) => return Turn::Done,
                Err(Stop::Yields) => return Turn::Waits,
                Err(Stop::Waits) => {
                    self.ready = false;
                    return Turn::Waits;
                }
                Err(Stop::Over) => return Turn::Over,
                Err(Stop::Failed(error)) if !self.seq.throw(&error) => {
                    return Turn::Failed(error);
                }
                Err(Stop::Failed(_)) => {}
            }
        }
    }

    /// An error of the line of this number, between turns; whether it is caught. `None` where
    /// there is no such line.
    pub(super) fn throw(&mut self, number: u8, error: &Error) -> Option<bool> {
        if self.number != number {
            let mut branches = self.seq.branches_mut().iter_mut();
            if branches.find_map(|line| line.throw(number, error))? {
                return Some(true);
            }
        }
        let caught = self.seq.throw(error);
        self.ready |= caught;
        Some(caught)
    }

    /// This line and its branches, with the numbers of those that began them.
    pub(super) fn all(&self, parent: Option<u8>) -> Vec<(Option<u8>, &Self)> {
        let branches = self.seq.branches().iter();
        let mut all = vec![(parent, self)];
        all.extend(branches.flat_map(|line| line.all(Some(self.number))));
        all
    }

    pub(super) fn find_mut(&mut self, number: u8) -> Option<&mut Self> {
        if self.number == number {
            return Some(self);
        }
        self.seq.branches_mut().iter_mut().find_map(|line| line.find_mut(number))
    }
}

/// How a step begins.
fn begun<'d>(step: &'d Step, world: &mut World<'d>, env: &Env) -> Inner<'d> {
    match &step.action {
        Action::Repeat { .. } | Action::Forever(_) => Inner::Rounds(0, Own::default(), None),
        Action::Try(body) => Inner::Body(Seq::new(body)),
        Action::Parallel(branches) => {
            let of = |index| world.names.scopes[&(step.place, index)];
            let all: Vec<_> = branches.iter().enumerate().map(|(i, it)| (of(i), it)).collect();
            let lines = all.into_iter().map(|(of, steps)| fork(of, steps, world, env));
            Inner::Branches(lines.collect(), usize::MAX)
        }
        Action::Each { items, at_once, body, .. } => {
            let of = world.names.scopes[&(step.place, 0)];
            let at_once = items.count.min(*at_once as usize);
            if at_once == 1 {
                let scope = world.begin(of, env.scope);
                take_item(step, 0, scope, world);
                return Inner::Items(0, scope, Seq::new(body));
            }
            let mut lines: Vec<_> = (0..at_once).map(|_| fork(of, body, world, env)).collect();
            if at_once < items.count {
                lines.iter_mut().for_each(|line| line.fresh = true);
                return Inner::Branches(lines, 0);
            }
            for (index, line) in lines.iter().enumerate() {
                take_item(step, index, line.scope, world);
            }
            Inner::Branches(lines, usize::MAX)
        }
        _ => Inner::Own(Own::default()),
    }
}

/// A branch begins, under the least number that is free.
fn fork<'d>(of: usize, steps: &'d [Step], world: &mut World<'d>, env: &Env) -> Line<'d> {
    let number = (0..).find(|number| !world.taken.contains(number)).expect("few enough");
    world.taken.insert(number);
    let scope = world.begin(of, env.scope);
    Line::new(number, scope, steps)
}

fn take_item(step: &Step, index: usize, scope: usize, world: &mut World<'_>) {
    let Action::Each { items, .. } = &step.action else { misplaced(step) };
    let names = world.names;
    for (column, var) in items.columns.iter().zip(&names.items[&step.place]) {
        world.write(*var, scope, Value::constant(column.kind, &column.values[index]));
    }
}

/// A turn of one of these branches, or of a branch of theirs.
fn pass<'d>(
    lines: &mut Vec<Line<'d>>,
    next: &mut usize,
    step: &'d Step,
    number: u8,
    world: &mut World<'d>,
    env: &Env,
) -> Turn {
    let at = lines.iter().position(|line| line.holds(number)).expect("a line of this number");
    let line = &mut lines[at];
    loop {
        if line.number == number && line.fresh {
            let Action::Each { items, body, .. } = &step.action else { misplaced(step) };
            if *next >= items.count {
                break;
            }
            take_item(step, *next, line.scope, world);
            (*next, line.fresh) = (*next + 1, false);
            line.seq = Seq::new(body);
        }
        match line.turn(number, world, env) {
            Turn::Done if *next < usize::MAX => line.fresh = true,
            Turn::Done => break,
            turn => return turn,
        }
    }
    lines.remove(at);
    if lines.is_empty() { Turn::Joined } else { Turn::Waits }
}

/// The steps of the first case that is true.
fn chosen<'d>(
    own: &mut Own<'d>,
    arms: &'d [(Expr, Vec<Step>)],
    otherwise: &'d [Step],
    world: &mut World<'d>,
    env: &Env,
) -> Result<&'d [Step], Stop> {
    while let Some((condition, steps)) = arms.get(own.index) {
        let truth = Walk::new(world, own, env.clone()).value(condition, Kind::Bool)?;
        if truth.number() != 0 {
            return Ok(steps);
        }
        own.next();
    }
    Ok(otherwise)
}

fn go_round<'d>(
    done: &mut u32,
    own: &mut Own<'d>,
    body: &mut Option<Seq<'d>>,
    (at_most, condition, steps): (u32, Option<&'d Expr>, &'d [Step]),
    world: &mut World<'d>,
    env: &Env,
) -> Result<(), Stop> {
    while *done < at_most {
        let round = match body {
            Some(round) => round,
            None => {
                if let Some(condition) = condition {
                    let truth = Walk::new(world, own, env.clone()).value(condition, Kind::Bool)?;
                    own.next();
                    if truth.number() == 0 {
                        return Ok(());
                    }
                }
                body.insert(Seq::new(steps))
            }
        };
        round.go(world, env)?;
        *body = None;
        *done += u32::from(at_most < u32::MAX);
    }
    Ok(())
}

/// A step without steps in it.
fn alone<'d>(
    own: &mut Own<'d>,
    step: &'d Step,
    world: &mut World<'d>,
    env: &Env,
) -> Result<(), Stop> {
    match &step.action {
        Action::Let(values) => {
            while let Some((name, expr)) = values.get(own.index) {
                let var = world.names.var(name.place);
                let kind = world.names.vars[var].kind;
                let value = Walk::new(world, own, env.clone()).value(expr, kind)?;
                world.write(var, env.scope, value);
                own.next();
            }
            Ok(())
        }
        Action::Effect(effect) => {
            if own.index == 0 {
                return Walk::new(world, own, env.clone()).effect(effect);
            }
            if let Some(undo) = &effect.undo {
                let of = world.names.scopes[&(step.place, 0)];
                let scope = world.begin(of, env.scope);
                world.undos.push((undo, scope));
            }
            Ok(())
        }
        Action::Wait { .. } | Action::WaitUntil { .. } | Action::WaitFor { .. } => {
            if own.index == 0 {
                return waits(own, step, world, env);
            }
            Ok(())
        }
        Action::Fail(error) => Err(Stop::Failed(error.text.as_str().into())),
        Action::Succeed => {
            let definition = world.definition;
            while let Some((_, expr)) = definition.outputs.get(own.index) {
                let kind = world.names.kind(expr);
                let operand = Walk::new(world, own, env.clone()).of_kind(expr, kind)?;
                own.values.push(operand);
                own.next();
            }
            world.outputs = own.values.iter().map(|it| world.value(it, env.scope)).collect();
            Err(Stop::Over)
        }
        _ => misplaced(step),
    }
}

/// Begins to wait.
fn waits<'d>(
    own: &mut Own<'d>,
    step: &'d Step,
    world: &mut World<'d>,
    env: &Env,
) -> Result<(), Stop> {
    let mut walk = |expr, kind| Walk::new(world, own, env.clone()).of_kind(expr, kind);
    let wait = match &step.action {
        Action::Wait { length, late } => {
            let length = walk(length, Kind::Duration)?;
            let until = timer(world, &length, env.scope);
            Wait::Time { until, length: Some(length), scope: env.scope, late: *late }
        }
        Action::WaitUntil { time, late } => {
            let time = walk(time, Kind::Time)?;
            let time = world.value(&time, env.scope).number() as i64;
            let until = time.max(world.after(TIMER_MIN_MS));
            Wait::Time { until, length: None, scope: env.scope, late: *late }
        }
        Action::WaitFor { what, within } => {
            let within = within.as_ref().map(|expr| walk(expr, Kind::Duration)).transpose()?;
            let which = match what {
                Awaited::Signal(name) => {
                    let mut signals = world.definition.signals.iter();
                    signals.position(|(known, _)| known.text == name.text).expect("a signal")
                }
                Awaited::Condition { .. } => world.names.conditions[&step.place],
            };
            if world.kept.remove(&which) {
                own.go_on(None);
                return Err(Stop::Yields);
            }
            let until = within.map_or(NEVER, |length| timer(world, &length, env.scope));
            Wait::Signal { which, until }
        }
        _ => misplaced(step),
    };
    own.wait = Some(wait);
    Err(Stop::Waits)
}

/// When a length of time is over that begins now.
pub(super) fn timer(world: &World<'_>, length: &Operand, scope: usize) -> i64 {
    let ms = world.value(length, scope).number() as i64;
    world.after(ms.max(TIMER_MIN_MS))
}
