//! Branches: steps beside each other, and what is done with each item of a list.
//!
//! `each` with several at once is unrolled into as many branches, which take the next item in turn:
//! a turn of a branch is not interrupted, so no two take the same one.

use super::super::definition::step::Step;
use super::super::definition::{Constant, Items, Named};
use super::super::diagnostic::Told;
use super::super::expression::typed::Kind;
use super::block::Code;
use super::compute::Held;
use super::{Emitter, Whose, needs};
use holdfast_core::flow::op::{Compare, Math};
use holdfast_core::flow::{Op, Slot};

impl Emitter<'_> {
    pub(super) fn parallel(
        &mut self,
        branches: &[Vec<Step>],
        label: Option<&Named>,
    ) -> Result<(), Told> {
        self.check_branches()?;
        let mut fork = self.registers.fork();
        for steps in branches {
            self.registers.next_branch(&mut fork);
            self.branch(needs::of(steps), |this| {
                let goes_on = this.steps(steps);
                Ok(goes_on)
            })?;
        }
        self.registers.join(fork);
        self.mark(label);
        self.op(Op::Join);
        Ok(())
    }

    fn check_branches(&mut self) -> Result<(), Told> {
        if self.context.whose != Whose::Undo {
            return Ok(());
        }
        let message = "an undoing has no branches";
        Err(self.forbidden(self.place, message, "let its steps follow each other"))
    }

    /// Begins a branch, whose code `write` writes; it says whether the way goes on to its end.
    fn branch(
        &mut self,
        needs: needs::Needs,
        write: impl FnOnce(&mut Self) -> Result<bool, Told>,
    ) -> Result<(), Told> {
        let byte = |number: u32| u8::try_from(number).unwrap_or(u8::MAX);
        let (block, before) = self.program.begin();
        self.program.resume(before);
        let (fibers, undos) = (byte(1 + needs.fibers), byte(needs.undos));
        self.code(Code::Fork { block, fibers, undos });
        self.program.resume(block);
        let context = self.context;
        self.context.whose = Whose::Branch;
        self.names.begin_scope();
        let goes_on = write(self);
        self.names.end_scope("its branch");
        self.context = context;
        if goes_on.unwrap_or(true) {
            self.op(Op::End);
        }
        self.program.resume(before);
        goes_on.map(|_| ())
    }

    /// Does steps for each item; whether the way goes on behind them.
    pub(super) fn each(
        &mut self,
        items: &Items,
        name: &Named,
        at_once: u32,
        body: &[Step],
    ) -> Result<bool, Told> {
        let branches = (at_once as usize).min(items.count);
        if branches < items.count
            && let Some(place) = super::super::definition::effect::first_undo(body)
        {
            let message = "`undo` stands in an `each` whose branches do several items each";
            let advice = format!("set `at_once: {}`, so that each item has a branch", items.count);
            return Err(self.forbidden(place, message, &advice));
        }
        if branches == 1 {
            self.names.begin_scope();
            let done = self.one_by_one(items, name, body);
            self.names.end_scope("the `each`");
            return done;
        }
        self.check_branches()?;
        let next = if branches < items.count { Some(self.take(Kind::Int)?) } else { None };
        if let Some(next) = next {
            self.op(Op::Set { d: next.reg(), value: 0 });
        }
        let copied = std::mem::replace(&mut self.context.copied, true);
        let needs = needs::of(body);
        let mut fork = self.registers.fork();
        let mut done = Ok(());
        for index in 0..branches {
            self.registers.next_branch(&mut fork);
            let branch = self.branch(needs, |this| match next {
                Some(next) => this.next_items(items, name, next, body),
                None => {
                    this.item(items, name, index)?;
                    Ok(this.steps(body))
                }
            });
            done = done.and(branch);
        }
        self.registers.join(fork);
        self.context.copied = copied;
        self.op(Op::Join);
        if let Some(next) = next {
            self.give(next);
        }
        done.map(|()| true)
    }

    /// The variables of an item, one for each field.
    fn variables(&mut self, items: &Items, name: &Named) -> Result<Vec<Slot>, Told> {
        let mut slots = Vec::new();
        for column in &items.columns {
            let slot = self.keep(column.kind)?.slot;
            let variable = match &column.name {
                Some(field) => format!("{}.{field}", name.text),
                None => name.text.clone(),
            };
            self.names.declare(&variable, name.place, Some((column.kind, slot)));
            slots.push(slot);
        }
        Ok(slots)
    }

    /// One item, known beforehand.
    fn item(&mut self, items: &Items, name: &Named, index: usize) -> Result<(), Told> {
        let slots = self.variables(items, name)?;
        for (column, slot) in items.columns.iter().zip(slots) {
            match (&column.values[index], slot) {
                (Constant::Number(number), Slot::Number(d)) => self.number(d, *number),
                (Constant::Text(text), Slot::Text(d)) => {
                    let index = self.draft.string(text);
                    self.op(Op::TextConst { d, index });
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// The item whose number a register has.
    fn pick(&mut self, items: &Items, slots: &[Slot], at: Held) {
        let a = at.reg();
        let count = u8::try_from(items.count).unwrap_or(u8::MAX);
        for (column, slot) in items.columns.iter().zip(slots) {
            match *slot {
                Slot::Number(d) => {
                    let numbers = column.values.iter().map(|value| match value {
                        Constant::Number(number) => *number,
                        Constant::Text(_) => 0,
                    });
                    let first = placed(&mut self.draft.constants, numbers.collect());
                    self.op(Op::Pick { d, a, first, count });
                }
                Slot::Text(d) => {
                    let texts = column.values.iter().map(|value| match value {
                        Constant::Text(text) => text.clone(),
                        Constant::Number(_) => String::new(),
                    });
                    let first = placed(&mut self.draft.strings, texts.collect());
                    self.op(Op::TextPick { d, a, first, count });
                }
            }
        }
    }

    /// One more.
    fn count_up(&mut self, held: Held) -> Result<(), Told> {
        let one = self.take(Kind::Int)?;
        self.op(Op::Set { d: one.reg(), value: 1 });
        let (a, b) = (held.reg(), one.reg());
        self.op(Op::Math { how: Math::Add, d: a, a, b });
        self.give(one);
        Ok(())
    }

    /// All items, in the code in which `each` stands.
    fn one_by_one(&mut self, items: &Items, name: &Named, body: &[Step]) -> Result<bool, Told> {
        if items.count == 1 {
            self.item(items, name, 0)?;
            return Ok(self.steps(body));
        }
        let counter = self.counter()?;
        let at = self.take(Kind::Int)?;
        self.op(Op::Set { d: at.reg(), value: 0 });
        self.op(Op::Loop { counter });
        let top = self.program.label();
        self.program.put(top);
        let slots = self.variables(items, name)?;
        self.pick(items, &slots, at);
        let goes_on = self.within(Some("each"), |this| this.steps(body));
        if !goes_on {
            let message = "`each` never comes to its second item";
            return Err(self.forbidden(self.place, message, "its last step has to go on"));
        }
        self.count_up(at)?;
        self.give(at);
        let limit = u16::try_from(items.count - 1).unwrap_or(u16::MAX);
        self.code(Code::Again { counter, to: top, limit });
        Ok(true)
    }

    /// The items that are left, one after the other, in a branch.
    fn next_items(
        &mut self,
        items: &Items,
        name: &Named,
        next: Held,
        body: &[Step],
    ) -> Result<bool, Told> {
        let counter = self.counter()?;
        self.op(Op::Loop { counter });
        let (top, end) = (self.program.label(), self.program.label());
        self.program.put(top);
        let (count, is_left) = (self.take(Kind::Int)?, self.take(Kind::Bool)?);
        let value = i32::try_from(items.count).unwrap_or(i32::MAX);
        self.op(Op::Set { d: count.reg(), value });
        let (d, a, b) = (is_left.reg(), next.reg(), count.reg());
        self.op(Op::Compare { how: Compare::Lt, d, a, b });
        self.code(Code::JumpIfNot(d, end));
        self.give(count);
        self.give(is_left);
        let slots = self.variables(items, name)?;
        self.pick(items, &slots, next);
        self.count_up(next)?;
        let goes_on = self.within(Some("each"), |this| this.steps(body));
        if goes_on {
            let limit = u16::try_from(items.count - 1).unwrap_or(u16::MAX);
            self.code(Code::Again { counter, to: top, limit });
        }
        self.program.put(end);
        Ok(true)
    }
}

/// The place of some entries among those of a table, one behind the other.
fn placed<T: PartialEq + Clone>(table: &mut Vec<T>, entries: Vec<T>) -> u16 {
    let known = table.windows(entries.len()).position(|window| window == entries);
    let at = known.unwrap_or(table.len());
    if known.is_none() {
        table.extend(entries);
    }
    u16::try_from(at).unwrap_or(u16::MAX)
}
