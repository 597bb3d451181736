//! Expressions of the reference: a walk over the tree that can be broken off and gone again.
//!
//! A walk stops where the node is asked for something, and begins anew when the answer is there.
//! What was worked out before is kept in the order in which it came, so that a second walk finds
//! the same: an expression is worked out once, from the left, each part when it is needed. A name
//! that stands alone is looked up by whatever uses it, at the time when it is used.

use super::resolve::Names;
use super::values::{Error, Value, alike, binary, coerced, extreme, found, function, negative};
use crate::flow::definition::Definition;
use crate::flow::definition::effect::{Answer, Effect};
use crate::flow::definition::step::{Lateness, Step};
use crate::flow::definition::template::{Piece, Template};
use crate::flow::duration;
use crate::flow::expression::typed::Kind;
use crate::flow::expression::{Binary, Expr, Node};
use holdfast_core::flow::NEVER;
use holdfast_core::flow::effect::Argument;
use std::collections::{BTreeMap, BTreeSet};

/// Why something does not go on.
#[derive(Debug)]
pub(super) enum Stop {
    /// It waits for something from outside.
    Waits,
    /// What it waited for was there already; it goes on with its next turn.
    Yields,
    Failed(Error),
    /// The run ended well.
    Over,
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

/// A value, or the variable that will be looked up.
#[derive(Clone, Debug)]
pub(super) enum Operand {
    Now(Value),
    /// And as what its number is taken.
    Later(usize, Kind),
}

/// Part of what is said with an effect.
#[derive(Debug)]
pub(super) enum Bit {
    Text(String),
    /// What a signal brought, as it is when somebody looks: another one may come meanwhile.
    Live(usize, Form),
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Form {
    Plain,
    Json,
    Escaped,
}

impl Form {
    fn of(self, value: &Value) -> String {
        match self {
            Self::Plain => value.shown(),
            Self::Json => value.json(),
            Self::Escaped => value.escaped(),
        }
    }
}

/// What the answer to an effect is for.
#[derive(Debug)]
pub(super) enum Purpose<'d> {
    /// A step; its answer sets variables.
    Step(&'d Effect),
    /// A part of an expression.
    Part(Kind),
}

/// An effect that was asked for.
#[derive(Debug)]
pub(super) struct Asked<'d> {
    pub(super) serial: u32,
    pub(super) kind: &'static str,
    pub(super) said: Vec<(Argument, Vec<Bit>)>,
    pub(super) purpose: Purpose<'d>,
    pub(super) scope: usize,
    pub(super) attempt: u8,
    pub(super) until: i64,
    /// The error for which it waits to be asked for again.
    pub(super) again: Option<Error>,
}

impl Asked<'_> {
    pub(super) const fn timeout_ms(&self) -> u64 {
        match &self.purpose {
            Purpose::Step(effect) => effect.timeout_ms,
            Purpose::Part(_) => 0,
        }
    }
}

/// What a step waits for.
#[derive(Debug)]
pub(super) enum Wait<'d> {
    Effect(Asked<'d>),
    Time { until: i64, length: Option<Operand>, scope: usize, late: Lateness },
    Signal { which: usize, until: i64 },
}

/// A step under way that has no steps in it, or has not come to them.
#[derive(Debug, Default)]
pub(super) struct Own<'d> {
    /// What was worked out of the expression that is being gone through.
    log: Vec<Value>,
    /// How far the step is.
    pub(super) index: usize,
    pub(super) wait: Option<Wait<'d>>,
    pub(super) parked: Option<Error>,
    /// What it has put together.
    pub(super) values: Vec<Operand>,
}

impl Own<'_> {
    /// It goes on, behind what it waited for.
    pub(super) fn go_on(&mut self, value: Option<Value>) {
        (self.wait, self.parked) = (None, None);
        match value {
            Some(value) => self.log.push(value),
            None => self.index += 1,
        }
    }

    /// An expression is done with.
    pub(super) fn next(&mut self) {
        self.log.clear();
        self.index += 1;
    }

    /// It stands in the middle of an expression.
    pub(super) const fn is_computing(&self) -> bool {
        match &self.wait {
            None => true,
            Some(Wait::Effect(asked)) => matches!(asked.purpose, Purpose::Part(_)),
            Some(_) => false,
        }
    }
}

/// Variables that are there for as long as something goes on.
#[derive(Debug)]
struct Scope {
    of: usize,
    around: Option<usize>,
    values: BTreeMap<usize, Value>,
}

/// What surrounds the lines of a run.
#[derive(Debug)]
pub(super) struct World<'d> {
    pub(super) definition: &'d Definition,
    pub(super) names: &'d Names,
    pub(super) now: i64,
    pub(super) serial: u32,
    /// Signals that came and that nobody has taken.
    pub(super) kept: BTreeSet<usize>,
    /// What is to be undone, in which scope; the last one first.
    pub(super) undos: Vec<(&'d [Step], usize)>,
    /// Numbers of lines.
    pub(super) taken: BTreeSet<u8>,
    pub(super) outputs: Vec<Value>,
    scopes: Vec<Scope>,
}

impl<'d> World<'d> {
    pub(super) fn new(definition: &'d Definition, names: &'d Names) -> Self {
        Self {
            definition,
            names,
            now: 0,
            serial: 0,
            kept: BTreeSet::new(),
            undos: Vec::new(),
            taken: BTreeSet::new(),
            outputs: Vec::new(),
            scopes: vec![Scope { of: 0, around: None, values: BTreeMap::new() }],
        }
    }

    pub(super) const fn after(&self, ms: i64) -> i64 {
        self.now.saturating_add(ms)
    }

    pub(super) const fn until(&self, timeout_ms: u64) -> i64 {
        if timeout_ms == 0 { NEVER } else { self.after(timeout_ms as i64) }
    }

    /// A scope begins.
    pub(super) fn begin(&mut self, of: usize, around: usize) -> usize {
        self.scopes.push(Scope { of, around: Some(around), values: BTreeMap::new() });
        self.scopes.len() - 1
    }

    /// Where a variable is, as seen from a scope.
    fn holder(&self, var: usize, from: usize) -> usize {
        let mut at = from;
        while self.scopes[at].of != self.names.vars[var].scope {
            at = self.scopes[at].around.expect("a variable of a scope around");
        }
        at
    }

    pub(super) fn read(&self, var: usize, from: usize) -> Value {
        let found = self.scopes[self.holder(var, from)].values.get(&var);
        found.cloned().unwrap_or_else(|| Value::nothing(self.names.vars[var].kind))
    }

    pub(super) fn write(&mut self, var: usize, from: usize, value: Value) {
        let at = self.holder(var, from);
        self.scopes[at].values.insert(var, value);
    }

    /// The variables that were set, as seen from a scope.
    pub(super) fn known(&self, from: usize) -> Vec<(&str, &Value)> {
        let (mut out, mut next) = (Vec::new(), Some(from));
        while let Some(at) = next {
            let named = |(var, value): (&usize, _)| (self.names.vars[*var].name.as_str(), value);
            out.extend(self.scopes[at].values.iter().map(named));
            next = self.scopes[at].around;
        }
        out
    }

    pub(super) fn value(&self, operand: &Operand, scope: usize) -> Value {
        match operand {
            Operand::Now(value) => value.clone(),
            Operand::Later(var, kind) => match self.read(*var, scope) {
                Value::Number(_, number) => Value::Number(*kind, number),
                text => text,
            },
        }
    }

    /// What is said with an effect, as it is now.
    pub(super) fn said(&self, asked: &Asked<'_>) -> Vec<(Argument, String)> {
        let text = |bit: &Bit| match bit {
            Bit::Text(text) => text.clone(),
            Bit::Live(var, form) => form.of(&self.read(*var, asked.scope)),
        };
        let said = asked.said.iter();
        said.map(|(argument, bits)| (*argument, bits.iter().map(text).collect())).collect()
    }
}

/// Where something is worked out.
#[derive(Clone, Debug)]
pub(super) struct Env {
    pub(super) scope: usize,
    pub(super) caught: Option<Error>,
}

/// A walk over an expression.
pub(super) struct Walk<'w, 'd> {
    pub(super) world: &'w mut World<'d>,
    own: &'w mut Own<'d>,
    env: Env,
    at: usize,
}

impl<'w, 'd> Walk<'w, 'd> {
    pub(super) const fn new(world: &'w mut World<'d>, own: &'w mut Own<'d>, env: Env) -> Self {
        Self { world, own, env, at: 0 }
    }

    /// A value that is worked out once, from values that are known.
    fn once(
        &mut self,
        work: impl FnOnce(&mut Self) -> Result<Value, Error>,
    ) -> Result<Operand, Stop> {
        if self.own.log.len() == self.at {
            let value = work(self)?;
            self.own.log.push(value);
        }
        self.at += 1;
        Ok(Operand::Now(self.own.log[self.at - 1].clone()))
    }

    fn now(&self, operand: &Operand) -> Value {
        self.world.value(operand, self.env.scope)
    }

    /// The value as it is at this time, for good.
    fn settled(&mut self, operand: Operand) -> Result<Value, Stop> {
        let operand = self.once(|walk| Ok(walk.now(&operand)))?;
        Ok(self.now(&operand))
    }

    fn truth(&mut self, expr: &'d Expr) -> Result<bool, Stop> {
        let operand = self.operand(expr)?;
        Ok(self.settled(operand)?.number() != 0)
    }

    /// An expression as a value of a kind.
    pub(super) fn value(&mut self, expr: &'d Expr, kind: Kind) -> Result<Value, Stop> {
        let operand = self.of_kind(expr, kind)?;
        Ok(self.now(&operand))
    }

    pub(super) fn of_kind(&mut self, expr: &'d Expr, kind: Kind) -> Result<Operand, Stop> {
        let operand = self.operand(expr)?;
        if kind == self.world.names.kind(expr) {
            return Ok(operand);
        }
        self.once(|walk| coerced(walk.now(&operand), kind))
    }

    /// Two expressions as values of the kind that they have in common.
    fn pair(&mut self, a: &'d Expr, b: &'d Expr) -> Result<[Operand; 2], Stop> {
        let names = self.world.names;
        let kinds = [names.kind(a), names.kind(b)];
        let common = |kind| match (kind, alike(kinds[0], kinds[1])) {
            (Kind::Int, Kind::Decimal) => Kind::Decimal,
            (kind, _) => kind,
        };
        Ok([self.of_kind(a, common(kinds[0]))?, self.of_kind(b, common(kinds[1]))?])
    }

    fn operand(&mut self, expr: &'d Expr) -> Result<Operand, Stop> {
        let number = |kind, number: i64| Ok(Operand::Now(Value::Number(kind, number.into())));
        match &expr.node {
            Node::Int(value) => number(Kind::Int, *value),
            Node::Decimal(value) => number(Kind::Decimal, *value),
            Node::Duration(value) => number(Kind::Duration, *value),
            Node::Time(value) => number(Kind::Time, *value),
            Node::Bool(value) => number(Kind::Bool, (*value).into()),
            Node::Text(text) => Ok(Operand::Now(Value::Text(text.clone()))),
            Node::Name(_) => {
                let var = self.world.names.var(expr.place);
                Ok(Operand::Later(var, self.world.names.vars[var].kind))
            }
            Node::Call(name, parts) => self.call(name, parts),
            Node::Method(text, name, parts) => {
                let (text, part) = (self.operand(text)?, self.operand(&parts[0])?);
                self.once(|walk| Ok(found(name, &walk.now(&text), &walk.now(&part))))
            }
            Node::Negative(of) => {
                let of = self.operand(of)?;
                self.once(|walk| negative(&walk.now(&of)))
            }
            Node::Not(of) => {
                let of = self.operand(of)?;
                self.once(|walk| Ok(Value::truth(walk.now(&of).number() == 0)))
            }
            Node::Binary(sign @ (Binary::And | Binary::Or), a, b) => {
                let decided = self.truth(a)? == (*sign == Binary::Or);
                let truth = if decided { *sign == Binary::Or } else { self.truth(b)? };
                Ok(Operand::Now(Value::truth(truth)))
            }
            Node::Binary(sign, a, b) => {
                let [a, b] = self.pair(a, b)?;
                self.once(|walk| binary(*sign, &walk.now(&a), &walk.now(&b)))
            }
            Node::Choice(condition, yes, no) => {
                let names = self.world.names;
                let kind = alike(names.kind(yes), names.kind(no));
                let taken = if self.truth(condition)? { yes } else { no };
                let operand = self.of_kind(taken, kind)?;
                Ok(Operand::Now(self.settled(operand)?))
            }
        }
    }

    fn call(&mut self, name: &str, parts: &'d [Expr]) -> Result<Operand, Stop> {
        const READING: [Argument; 2] = [Argument::Device, Argument::Metric];
        const TWIN: [Argument; 2] = [Argument::Device, Argument::Path];
        let (kind, effect, arguments): (_, _, &[Argument]) = match (name, parts) {
            ("now", _) => {
                return self.once(|walk| Ok(Value::Number(Kind::Time, walk.world.now.into())));
            }
            ("duration", [Expr { node: Node::Text(text), .. }]) => {
                let ms = duration::parse(text).expect("it was accepted");
                return Ok(Operand::Now(Value::Number(Kind::Duration, ms.into())));
            }
            ("error_is", [Expr { node: Node::Text(text), .. }]) => {
                let is = self.env.caught.as_deref() == Some(text.as_str());
                return Ok(Operand::Now(Value::truth(is)));
            }
            ("min" | "max", [a, b]) => {
                let [a, b] = self.pair(a, b)?;
                return self.once(|walk| Ok(extreme(name, &walk.now(&a), &walk.now(&b))));
            }
            (name, [of]) => return self.function(name, of),
            ("reading", _) => (Kind::Decimal, "reading", &READING),
            ("twin_int", _) => (Kind::Int, "twin", &TWIN),
            ("twin_text", _) => (Kind::Text, "twin", &TWIN),
            ("twin_bool", _) => (Kind::Bool, "twin", &TWIN),
            ("twin_decimal", _) => (Kind::Decimal, "twin", &TWIN),
            _ => (Kind::Int, "clock", &[]),
        };
        let mut said = Vec::new();
        for (argument, part) in arguments.iter().zip(parts) {
            said.push((*argument, vec![self.bit(part, Form::Plain)?]));
        }
        if self.own.log.len() == self.at {
            self.ask(effect, said, Purpose::Part(kind));
            return Err(Stop::Waits);
        }
        self.at += 1;
        Ok(Operand::Now(self.own.log[self.at - 1].clone()))
    }

    fn function(&mut self, name: &str, of: &'d Expr) -> Result<Operand, Stop> {
        let operand = self.operand(of)?;
        match (name, self.world.names.kind(of)) {
            // It is what it is, and stays a name if it is one.
            ("int", Kind::Int) | ("decimal", Kind::Decimal) | ("text", Kind::Text) => Ok(operand),
            ("int", Kind::Duration | Kind::Time) => Ok(match operand {
                Operand::Now(value) => Operand::Now(Value::Number(Kind::Int, value.number())),
                Operand::Later(var, _) => Operand::Later(var, Kind::Int),
            }),
            _ => self.once(|walk| function(name, &walk.now(&operand))),
        }
    }

    fn ask(&mut self, kind: &'static str, said: Vec<(Argument, Vec<Bit>)>, purpose: Purpose<'d>) {
        self.world.serial += 1;
        let (serial, scope, attempt) = (self.world.serial, self.env.scope, 1);
        let mut asked =
            Asked { serial, kind, said, purpose, scope, attempt, until: NEVER, again: None };
        asked.until = self.world.until(asked.timeout_ms());
        self.own.wait = Some(Wait::Effect(asked));
    }

    /// A value within what is said with an effect.
    fn bit(&mut self, expr: &'d Expr, form: Form) -> Result<Bit, Stop> {
        match self.operand(expr)? {
            Operand::Later(var, _) if self.world.names.vars[var].signalled => {
                Ok(Bit::Live(var, form))
            }
            operand => Ok(Bit::Text(form.of(&self.settled(operand)?))),
        }
    }

    fn bits(&mut self, template: &'d Template) -> Result<Vec<Bit>, Stop> {
        let bits = template.0.iter().map(|piece| match piece {
            Piece::Literal(text) => Ok(Bit::Text(text.clone())),
            Piece::Value(expr) => self.bit(expr, Form::Plain),
            Piece::Json(expr) => self.bit(expr, Form::Json),
            Piece::Escaped(expr) => self.bit(expr, Form::Escaped),
        });
        bits.collect()
    }

    /// Asks for the effect of a step, when all is known that is to be said.
    pub(super) fn effect(&mut self, effect: &'d Effect) -> Result<(), Stop> {
        let mut said = Vec::new();
        for (argument, template) in &effect.arguments {
            said.push((*argument, self.bits(template)?));
        }
        self.ask(effect.kind.name(), said, Purpose::Step(effect));
        self.own.log.clear();
        Err(Stop::Waits)
    }
}

/// What an answer has of what is wanted; `None` where something is not there.
pub(super) fn taken(
    answers: &[Answer],
    given: &[Option<holdfast_core::flow::Given<'_>>],
) -> Option<Vec<Value>> {
    let values = answers.iter().enumerate().map(|(index, answer)| {
        match (given.get(index).copied().flatten(), &answer.default) {
            (Some(given), _) => Value::given(answer.kind, given),
            (None, Some(default)) => Some(Value::constant(answer.kind, default)),
            (None, None) => None,
        }
    });
    values.collect()
}
