//! What each name of a definition means: which variable, of which kind, in which scope.
//!
//! The steps are gone through as they stand in the text. A variable begins with its first `let` (or
//! `result`) in the text, in the innermost scope; branches, undoings and the steps of an `each`
//! have scopes of their own. A name is known by its place, which no other name has.

use super::values::{alike, made_of};
use crate::flow::definition::step::{Action, Awaited, Step};
use crate::flow::definition::template::{Piece, Template};
use crate::flow::definition::{Definition, Named};
use crate::flow::diagnostic::Place;
use crate::flow::expression::typed::Kind;
use crate::flow::expression::{Expr, Node};
use std::collections::BTreeMap;

/// A variable.
#[derive(Debug)]
pub(super) struct Var {
    pub(super) name: String,
    pub(super) kind: Kind,
    /// The scope that it belongs to; 0 is that of the run.
    pub(super) scope: usize,
    /// A signal brings it.
    pub(super) signalled: bool,
}

#[derive(Debug, Default)]
pub(super) struct Names {
    pub(super) vars: Vec<Var>,
    /// The variable that a name at this place is.
    at: BTreeMap<Place, usize>,
    /// The variables of an item, by the place of the `each`.
    pub(super) items: BTreeMap<Place, Vec<usize>>,
    /// The scopes that a step begins.
    pub(super) scopes: BTreeMap<(Place, usize), usize>,
    /// The number of the signal that a condition is, by the place of the step.
    pub(super) conditions: BTreeMap<Place, usize>,
    open: Vec<(usize, BTreeMap<String, usize>)>,
    begun: usize,
}

impl Names {
    pub(super) fn of(definition: &Definition) -> Self {
        let mut names = Self { begun: 1, ..Self::default() };
        names.open.push((0, BTreeMap::new()));
        for input in &definition.inputs {
            names.declare(&input.name.text, input.name.place, input.kind);
        }
        for (signal, brings) in &definition.signals {
            for field in brings {
                let name = format!("{}.{}", signal.text, field.name.text);
                let var = names.declare(&name, field.name.place, field.kind);
                names.vars[var].signalled = true;
            }
        }
        names.steps(&definition.steps, definition.signals.len());
        for (_, expr) in &definition.outputs {
            names.expr(expr);
        }
        names
    }

    /// The variable that is meant by the name at this place.
    pub(super) fn var(&self, place: Place) -> usize {
        *self.at.get(&place).unwrap_or_else(|| panic!("no name at {place:?}"))
    }

    /// The variable of the run that is called so.
    pub(super) fn of_run(&self, name: &str) -> Option<usize> {
        self.vars.iter().position(|var| var.scope == 0 && var.name == name)
    }

    fn declare(&mut self, name: &str, place: Place, kind: Kind) -> usize {
        let var = self.vars.len();
        let (scope, known) = self.open.last_mut().expect("the run's");
        known.insert(name.to_owned(), var);
        self.vars.push(Var { name: name.to_owned(), kind, scope: *scope, signalled: false });
        self.at.insert(place, var);
        var
    }

    fn find(&self, name: &str) -> Option<usize> {
        self.open.iter().rev().find_map(|(_, known)| known.get(name)).copied()
    }

    /// Something is set: a variable that there is, or a new one.
    fn set(&mut self, name: &Named, kind: Kind) {
        match self.find(&name.text) {
            Some(var) => drop(self.at.insert(name.place, var)),
            None => drop(self.declare(&name.text, name.place, kind)),
        }
    }

    fn within(&mut self, key: (Place, usize), walk: impl FnOnce(&mut Self)) {
        let scope = self.begun;
        self.begun += 1;
        self.scopes.insert(key, scope);
        self.open.push((scope, BTreeMap::new()));
        walk(self);
        self.open.pop();
    }

    fn steps(&mut self, steps: &[Step], signals: usize) {
        steps.iter().for_each(|step| self.step(step, signals));
    }

    fn step(&mut self, step: &Step, signals: usize) {
        match &step.action {
            Action::Let(values) => {
                for (name, expr) in values {
                    self.expr(expr);
                    self.set(name, self.kind(expr));
                }
            }
            Action::Effect(effect) => {
                effect.arguments.iter().for_each(|(_, template)| self.template(template));
                effect.results.iter().for_each(|answer| self.set(&answer.name, answer.kind));
                if let Some(undo) = &effect.undo {
                    self.within((step.place, 0), |names| names.steps(undo, signals));
                }
            }
            Action::Wait { length, .. } => self.expr(length),
            Action::WaitUntil { time, .. } => self.expr(time),
            Action::WaitFor { what, within } => {
                within.iter().for_each(|expr| self.expr(expr));
                if let Awaited::Condition { device, metric, .. } = what {
                    self.template(device);
                    self.template(metric);
                    let number = signals + self.conditions.len();
                    self.conditions.insert(step.place, number);
                }
            }
            Action::Choose { arms, otherwise } => {
                for (condition, steps) in arms {
                    self.expr(condition);
                    self.steps(steps, signals);
                }
                self.steps(otherwise, signals);
            }
            Action::Parallel(branches) => {
                for (index, steps) in branches.iter().enumerate() {
                    self.within((step.place, index), |names| names.steps(steps, signals));
                }
            }
            Action::Each { items, name, body, .. } => self.within((step.place, 0), |names| {
                let columns = items.columns.iter().map(|column| {
                    let called = match &column.name {
                        Some(field) => format!("{}.{field}", name.text),
                        None => name.text.clone(),
                    };
                    names.declare(&called, name.place, column.kind)
                });
                let columns = columns.collect();
                names.items.insert(step.place, columns);
                names.steps(body, signals);
            }),
            Action::Repeat { condition, body, .. } => {
                condition.iter().for_each(|expr| self.expr(expr));
                self.steps(body, signals);
            }
            Action::Forever(body) | Action::Try(body) => self.steps(body, signals),
            Action::Fail(_) | Action::Succeed => {}
            Action::Broken(_) => panic!("it was accepted"),
        }
        step.catches.iter().for_each(|clause| self.steps(&clause.steps, signals));
    }

    fn template(&mut self, template: &Template) {
        for piece in &template.0 {
            match piece {
                Piece::Literal(_) => {}
                Piece::Value(expr) | Piece::Json(expr) | Piece::Escaped(expr) => self.expr(expr),
            }
        }
    }

    fn expr(&mut self, expr: &Expr) {
        match &expr.node {
            Node::Name(name) => {
                let var = self.find(name).unwrap_or_else(|| panic!("no variable `{name}`"));
                self.at.insert(expr.place, var);
            }
            Node::Call(_, parts) => parts.iter().for_each(|part| self.expr(part)),
            Node::Method(text, _, parts) => {
                self.expr(text);
                parts.iter().for_each(|part| self.expr(part));
            }
            Node::Negative(of) | Node::Not(of) => self.expr(of),
            Node::Binary(_, a, b) => [a, b].into_iter().for_each(|part| self.expr(part)),
            Node::Choice(a, b, c) => [a, b, c].into_iter().for_each(|part| self.expr(part)),
            _ => {}
        }
    }

    /// The kind of an expression whose names are known.
    pub(super) fn kind(&self, expr: &Expr) -> Kind {
        match &expr.node {
            Node::Int(_) => Kind::Int,
            Node::Decimal(_) => Kind::Decimal,
            Node::Text(_) => Kind::Text,
            Node::Duration(_) => Kind::Duration,
            Node::Time(_) => Kind::Time,
            Node::Bool(_) | Node::Not(_) | Node::Method(..) => Kind::Bool,
            Node::Name(_) => self.vars[self.var(expr.place)].kind,
            Node::Negative(of) => self.kind(of),
            Node::Binary(sign, a, b) => made_of(*sign, self.kind(a), self.kind(b)),
            Node::Choice(_, a, b) => alike(self.kind(a), self.kind(b)),
            Node::Call(name, parts) => match name.as_str() {
                "now" => Kind::Time,
                "duration" => Kind::Duration,
                "error_is" | "twin_bool" => Kind::Bool,
                "reading" | "twin_decimal" | "decimal" => Kind::Decimal,
                "text" | "twin_text" => Kind::Text,
                "abs" => self.kind(&parts[0]),
                "min" | "max" => alike(self.kind(&parts[0]), self.kind(&parts[1])),
                _ => Kind::Int,
            },
        }
    }
}
