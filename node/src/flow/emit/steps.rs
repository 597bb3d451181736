//! Steps that decide and repeat: values, choices, loops, errors and how they are caught.

use super::super::definition::Named;
use super::super::definition::step::{Action, Catch, Step};
use super::super::diagnostic::{Place, Told};
use super::super::expression::Expr;
use super::super::expression::typed::{Kind, Names as _, convert};
use super::block::Code;
use super::{Emitter, Whose};
use holdfast_core::flow::verify::LOOPS_MAX;
use holdfast_core::flow::{Code as Error, Op};

/// Operations beyond which no node takes an image, and so none are written.
const OPS_MAX: usize = 4_096;

impl Emitter<'_> {
    /// Writes steps; whether the way goes on behind them.
    pub(super) fn steps(&mut self, steps: &[Step]) -> bool {
        let mut goes_on = true;
        for step in steps {
            if !goes_on {
                let advice = "the step before never goes on to the next one";
                self.report.advise(step.place, "this step is never reached", advice);
                return false;
            }
            if self.report.is_full() {
                return true;
            }
            let before = self.place;
            self.place = step.place;
            goes_on = self.step(step).unwrap_or(true);
            if self.program.len() > OPS_MAX {
                let message = format!("the workflow has more than {OPS_MAX} operations here");
                self.report.advise(step.place, message, "put a part into a workflow of its own");
                return true;
            }
            self.place = before;
        }
        goes_on
    }

    fn step(&mut self, step: &Step) -> Result<bool, Told> {
        let start = self.program.here();
        if let Some(label) = &step.label {
            self.check_label(label);
        }
        let mut goes_on = true;
        let done = match &step.action {
            Action::Let(values) => self.assign(values),
            Action::Effect(effect) => self.effect(effect, step.label.as_ref()),
            Action::Wait { length, late } => self.wait(length, *late, step.label.as_ref()),
            Action::WaitUntil { time, late } => self.until(time, *late, step.label.as_ref()),
            Action::WaitFor { what, within } => {
                self.listen(what, within.as_ref(), step.label.as_ref())
            }
            Action::Choose { arms, otherwise } => {
                goes_on = self.choose(arms, otherwise);
                Ok(())
            }
            Action::Parallel(branches) => self.parallel(branches, step.label.as_ref()),
            Action::Each { items, name, at_once, body } => {
                self.each(items, name, *at_once, body).map(|ends| goes_on = ends)
            }
            Action::Repeat { at_most, condition, body } => {
                self.repeat(*at_most, condition.as_ref(), body)
            }
            Action::Forever(body) => {
                self.forever(body);
                goes_on = false;
                Ok(())
            }
            Action::Try(body) => {
                goes_on = self.steps(body);
                Ok(())
            }
            Action::Fail(error) => {
                goes_on = false;
                self.fail(error)
            }
            Action::Succeed => {
                goes_on = false;
                self.end_well()
            }
            Action::Broken(names) => {
                for name in names {
                    if self.names.find(name).is_none() {
                        self.names.declare(name, step.place, None);
                    }
                }
                Ok(())
            }
        };
        let goes_on = self.catches(&step.catches, start, goes_on);
        done.map(|()| goes_on)
    }

    fn check_label(&mut self, label: &Named) {
        if self.context.copied {
            let message = format!("the label `{}` would be there several times", label.text);
            let advice = "the steps of an `each` with several branches have no labels";
            self.report.advise(label.place, message, advice);
        }
        if let Some(before) = self.labels.insert(label.text.clone(), label.place)
            && before != label.place
        {
            let message =
                format!("the label `{}` is there twice, first in line {}", label.text, before.line);
            self.report.wrong(label.place, message);
        }
    }

    /// The next operation is the one at which a run of an older version comes in.
    pub(super) fn mark(&mut self, label: Option<&Named>) {
        if let Some(label) = label {
            self.program.mark(label.text.clone());
        }
    }

    fn assign(&mut self, values: &[(Named, Expr)]) -> Result<(), Told> {
        if values.is_empty() {
            let message = "`let` gives no variable a value";
            return Err(self.report.advise(self.place, message, "leave it away"));
        }
        let mut done = Ok(());
        for (name, expr) in values {
            if self.report.is_full() {
                break;
            }
            if let Err(told) = self.assign_one(name, expr) {
                if self.names.find(&name.text).is_none() {
                    self.names.declare(&name.text, name.place, None);
                }
                done = Err(told);
            }
        }
        done
    }

    fn assign_one(&mut self, name: &Named, expr: &Expr) -> Result<(), Told> {
        let typed = self.check(expr)?;
        let Some(index) = self.names.find(&name.text) else {
            let slot = self.keep(typed.kind)?.slot;
            self.value(&typed, Some(slot))?;
            self.names.declare(&name.text, name.place, Some((typed.kind, slot)));
            return Ok(());
        };
        let (kind, slot) = self.names.all[index].meaning.ok_or(Told)?;
        let typed =
            convert(typed, kind).map_err(|typed| self.other_type(index, typed.kind, name))?;
        self.value(&typed, Some(slot)).map(|_| ())
    }

    /// A variable has one type for ever.
    pub(super) fn other_type(&mut self, index: usize, found: Kind, name: &Named) -> Told {
        let variable = &self.names.all[index];
        let (line, kind) = (variable.place.line, variable.meaning.map_or(found, |(kind, _)| kind));
        let (was, is) = (kind.name(), found.name());
        let message = format!("`{}` is {was} since line {line} and cannot become {is}", name.text);
        match (kind, found) {
            (Kind::Int, Kind::Decimal) => {
                let advice = format!("begin it as a decimal in line {line}, such as `0.0`");
                self.report.advise(name.place, message, advice)
            }
            _ => self.report.advise(name.place, message, "take another name"),
        }
    }

    fn choose(&mut self, arms: &[(Expr, Vec<Step>)], otherwise: &[Step]) -> bool {
        let end = self.program.label();
        let mut any = false;
        for (condition, steps) in arms {
            let next = self.program.label();
            if let Ok(typed) = self.wanted(condition, Kind::Bool, "a condition") {
                // What is wrong was told, and the steps are judged all the same.
                let _ = self.jump(&typed, false, next);
            }
            if self.steps(steps) {
                any = true;
                self.code(Code::Jump(end));
            }
            self.program.put(next);
        }
        any |= self.steps(otherwise);
        self.program.put(end);
        any
    }

    /// A loop's counter.
    pub(super) fn counter(&mut self) -> Result<u8, Told> {
        let counter = self.draft.counters;
        if usize::from(counter) >= LOOPS_MAX {
            let message = format!("this is more than {LOOPS_MAX} loops");
            let advice = "each branch of an `each` has the loops in it for itself";
            return Err(self.report.advise(self.place, message, advice));
        }
        self.draft.counters += 1;
        Ok(counter)
    }

    fn repeat(
        &mut self,
        at_most: u32,
        condition: Option<&Expr>,
        body: &[Step],
    ) -> Result<(), Told> {
        let limit = u16::try_from(at_most - 1).unwrap_or(u16::MAX);
        let counter = if limit > 0 { Some(self.counter()?) } else { None };
        if let Some(counter) = counter {
            self.op(Op::Loop { counter });
        }
        let (top, end) = (self.program.label(), self.program.label());
        self.program.put(top);
        if let Some(condition) = condition
            && let Ok(typed) = self.wanted(condition, Kind::Bool, "what stands behind `while`")
        {
            self.jump(&typed, false, end)?;
        }
        let goes_on = self.within(counter.map(|_| "repeat"), |this| this.steps(body));
        match counter {
            Some(counter) if goes_on => self.code(Code::Again { counter, to: top, limit }),
            _ => {}
        }
        self.program.put(end);
        if !goes_on && condition.is_none() {
            let advice = "nothing comes behind it then: leave `repeat` away";
            return Err(self.report.advise(
                self.place,
                "`repeat` never has a second round",
                advice,
            ));
        }
        Ok(())
    }

    /// Writes what stands in a loop, if it is one.
    pub(super) fn within<T>(
        &mut self,
        repeated: Option<&'static str>,
        write: impl FnOnce(&mut Self) -> T,
    ) -> T {
        let before = self.context;
        self.context.repeated = before.repeated.or(repeated);
        let out = write(self);
        self.context = before;
        out
    }

    fn forever(&mut self, body: &[Step]) {
        let top = self.program.label();
        self.program.put(top);
        if self.within(Some("forever"), |this| this.steps(body)) {
            self.code(Code::Jump(top));
        }
    }

    fn fail(&mut self, error: &Named) -> Result<(), Told> {
        let code = self.names.error(&error.text, error.place, self.report)?;
        if code == Error::CANCELLED {
            let advice = "take an error of its own, listed below `errors`";
            let message = "a run does not cancel itself";
            return Err(self.report.advise(error.place, message, advice));
        }
        self.op(Op::Fail { error: code });
        Ok(())
    }

    fn end_well(&mut self) -> Result<(), Told> {
        let advice = match self.context.whose {
            Whose::Run => return self.succeed(),
            Whose::Branch => "a branch ends with its last step",
            Whose::Undo => "an undoing ends with its last step",
        };
        let message = "`succeed` ends the whole run, and cannot stand here";
        Err(self.report.advise(self.place, message, advice))
    }

    /// Errors of the code from `start` on go to these; whether the way goes on behind all.
    fn catches(&mut self, clauses: &[Catch], start: usize, goes_on: bool) -> bool {
        if clauses.is_empty() {
            return goes_on;
        }
        let (until, end) = (self.program.here(), self.program.label());
        if goes_on {
            self.code(Code::Jump(end));
        }
        let mut any = goes_on;
        for (index, clause) in clauses.iter().enumerate() {
            let to = self.program.label();
            self.program.put(to);
            for error in self.caught_errors(&clause.on) {
                self.program.handle(start, until, to, error);
            }
            let held = if clause.asks { self.take(Kind::Int).ok() } else { None };
            if let Some(held) = held {
                self.op(Op::Caught { d: held.reg() });
            }
            self.names.begin_catch(held.map(super::compute::Held::reg));
            let goes_on = self.steps(&clause.steps);
            self.names.end_catch();
            if let Some(held) = held {
                self.give(held);
            }
            if goes_on && index + 1 < clauses.len() {
                self.code(Code::Jump(end));
            }
            any |= goes_on;
        }
        self.program.put(end);
        any
    }

    /// The errors by their names; any where none is named.
    pub(super) fn caught_errors(&mut self, names: &[Named]) -> Vec<Error> {
        if names.is_empty() {
            return vec![Error::NONE];
        }
        let mut out = Vec::new();
        for Named { text, place } in names {
            out.extend(self.names.error(text, *place, self.report));
        }
        out
    }

    pub(super) fn forbidden(&mut self, place: Place, message: &str, advice: &str) -> Told {
        self.report.advise(place, message, advice)
    }
}
