//! Code of expressions: each value into a register, and conditions as jumps.
//!
//! A variable is read where it is. Everything else is computed into registers that are given back
//! when the value was used; the register that a value is for is written by the last operation
//! alone, so that a computation that fails leaves it as it was.

use super::super::diagnostic::Told;
use super::super::expression::Expr;
use super::super::expression::typed::{self, Asked, Kind, Typed, Value, convert};
use super::Emitter;
use super::block::{Code, Label};
use super::registers::Register;
use holdfast_core::flow::effect::{Argument, Head, IDEMPOTENT, Kind as EffectKind, Piece, encode};
use holdfast_core::flow::field::Field;
use holdfast_core::flow::op::Compare;
use holdfast_core::flow::{Op, Reg, Slot};

/// A value in a register; one that was taken for it is to be given back.
#[derive(Clone, Copy, Debug)]
pub(super) struct Held {
    pub(super) slot: Slot,
    taken: Option<Register>,
}

impl Held {
    /// The number of the register, whichever sort it is of.
    pub(super) const fn reg(self) -> Reg {
        match self.slot {
            Slot::Number(reg) | Slot::Text(reg) => reg,
        }
    }
}

impl Emitter<'_> {
    pub(super) fn op(&mut self, op: Op) {
        self.program.push(Code::Op(op), self.place);
    }

    pub(super) fn code(&mut self, code: Code) {
        self.program.push(code, self.place);
    }

    /// Gives an expression its type.
    pub(super) fn check(&mut self, expr: &Expr) -> Result<Typed, Told> {
        typed::check(expr, &mut self.names, self.report)
    }

    /// An expression that has to be of a kind.
    pub(super) fn wanted(&mut self, expr: &Expr, kind: Kind, what: &str) -> Result<Typed, Told> {
        let typed = self.check(expr)?;
        convert(typed, kind).map_err(|typed| {
            let (found, wanted) = (typed.kind.name(), kind.name());
            let message = format!("{what} is {wanted}, and this is {found}");
            match (kind, typed.kind) {
                (Kind::Duration, Kind::Int | Kind::Decimal) => {
                    let advice = "such as `10m`, or `duration(\"1s\") * n`";
                    self.report.advise(typed.place, message, advice)
                }
                _ => self.report.wrong(typed.place, message),
            }
        })
    }

    /// A register to compute with.
    pub(super) fn take(&mut self, kind: Kind) -> Result<Held, Told> {
        match self.registers.take(kind.register()) {
            Some(register) => Ok(Held { slot: register.slot, taken: Some(register) }),
            None => Err(self.no_register(kind)),
        }
    }

    pub(super) fn give(&mut self, held: Held) {
        if let Some(register) = held.taken {
            self.registers.give(register);
        }
    }

    /// Where a value goes: the register that it is for, or one to compute with.
    fn target(&mut self, kind: Kind, into: Option<Slot>) -> Result<Held, Told> {
        match into {
            Some(slot) => Ok(Held { slot, taken: None }),
            None => self.take(kind),
        }
    }

    /// Computes a value, into a register that it is for or wherever it is.
    pub(super) fn value(&mut self, typed: &Typed, into: Option<Slot>) -> Result<Held, Told> {
        match &typed.value {
            Value::Variable(slot) => match into {
                Some(target) => {
                    let a = Held { slot: *slot, taken: None }.reg();
                    self.op(match target {
                        Slot::Number(d) => Op::Move { d, a },
                        Slot::Text(d) => Op::TextMove { d, a },
                    });
                    Ok(Held { slot: target, taken: None })
                }
                None => Ok(Held { slot: *slot, taken: None }),
            },
            Value::Number(number) => {
                let target = self.target(typed.kind, into)?;
                self.number(target.reg(), *number);
                Ok(target)
            }
            Value::Text(text) => {
                let target = self.target(Kind::Text, into)?;
                let index = self.draft.string(text);
                self.op(Op::TextConst { d: target.reg(), index });
                Ok(target)
            }
            Value::And(_) | Value::Or(_) => self.truth(typed, into),
            Value::Choice(parts) => self.choice(typed.kind, parts, into),
            Value::Ask(asked, arguments) => {
                self.check_asked(*asked, typed.place)?;
                self.ask(typed.kind, *asked, arguments, into)
            }
            Value::Now => {
                let target = self.target(Kind::Time, into)?;
                self.op(Op::Now { d: target.reg() });
                Ok(target)
            }
            Value::Caught(reg, code) => {
                let wanted = self.take(Kind::Int)?;
                self.number(wanted.reg(), i64::from(code.0));
                self.give(wanted);
                let target = self.target(Kind::Bool, into)?;
                let (d, a, b) = (target.reg(), *reg, wanted.reg());
                self.op(Op::Compare { how: Compare::Eq, d, a, b });
                Ok(target)
            }
            Value::Math(_, pair)
            | Value::Compare(_, pair)
            | Value::Reversed(_, pair)
            | Value::Find(_, pair)
            | Value::Join(pair) => self.of_two(typed, pair, into),
            Value::Change(_, of) | Value::Not(of) | Value::Shown(of) | Value::Length(of) => {
                self.of_one(typed, of, into)
            }
        }
    }

    pub(super) fn number(&mut self, d: Reg, number: i64) {
        match i32::try_from(number) {
            Ok(value) => self.op(Op::Set { d, value }),
            Err(_) => {
                let index = self.draft.constant(number);
                self.op(Op::Const { d, index });
            }
        }
    }

    fn of_two(
        &mut self,
        typed: &Typed,
        pair: &[Typed; 2],
        into: Option<Slot>,
    ) -> Result<Held, Told> {
        let (left, right) = (self.value(&pair[0], None)?, self.value(&pair[1], None)?);
        self.give(left);
        self.give(right);
        let target = self.target(typed.kind, into)?;
        let (d, a, b) = (target.reg(), left.reg(), right.reg());
        let texts = pair[0].kind == Kind::Text;
        self.op(match typed.value {
            Value::Math(how, _) => Op::Math { how, d, a, b },
            Value::Compare(how, _) if texts => Op::TextCompare { how, d, a, b },
            Value::Compare(how, _) => Op::Compare { how, d, a, b },
            Value::Reversed(how, _) if texts => Op::TextCompare { how, d, a: b, b: a },
            Value::Reversed(how, _) => Op::Compare { how, d, a: b, b: a },
            Value::Find(how, _) => Op::TextFind { how, d, a, b },
            _ => Op::TextJoin { d, a, b },
        });
        Ok(target)
    }

    fn of_one(&mut self, typed: &Typed, of: &Typed, into: Option<Slot>) -> Result<Held, Told> {
        let held = self.value(of, None)?;
        self.give(held);
        let target = self.target(typed.kind, into)?;
        let (d, a) = (target.reg(), held.reg());
        self.op(match typed.value {
            Value::Change(how, _) => Op::Change { how, d, a },
            Value::Not(_) => Op::Not { d, a },
            Value::Length(_) => Op::TextLen { d, a },
            _ => Op::TextOf { d, a },
        });
        Ok(target)
    }

    /// `&&` and `||` as a value: 1 or 0, once it is decided.
    fn truth(&mut self, typed: &Typed, into: Option<Slot>) -> Result<Held, Told> {
        let (no, end) = (self.program.label(), self.program.label());
        self.jump(typed, false, no)?;
        let target = self.target(Kind::Bool, into)?;
        let d = target.reg();
        self.op(Op::Set { d, value: 1 });
        self.code(Code::Jump(end));
        self.program.put(no);
        self.op(Op::Set { d, value: 0 });
        self.program.put(end);
        Ok(target)
    }

    fn choice(
        &mut self,
        kind: Kind,
        [condition, yes, no]: &[Typed; 3],
        into: Option<Slot>,
    ) -> Result<Held, Told> {
        let (other, end) = (self.program.label(), self.program.label());
        self.jump(condition, false, other)?;
        let target = self.target(kind, into)?;
        self.value(yes, Some(target.slot))?;
        self.code(Code::Jump(end));
        self.program.put(other);
        self.value(no, Some(target.slot))?;
        self.program.put(end);
        Ok(target)
    }

    /// Goes to the label where the condition is as `wanted`, and on otherwise.
    pub(super) fn jump(&mut self, typed: &Typed, wanted: bool, to: Label) -> Result<(), Told> {
        match &typed.value {
            Value::Not(of) => self.jump(of, !wanted, to),
            // Either side decides alone.
            Value::And(pair) if !wanted => self.jump_if_either(pair, wanted, to),
            Value::Or(pair) if wanted => self.jump_if_either(pair, wanted, to),
            Value::And(pair) | Value::Or(pair) => {
                let on = self.program.label();
                self.jump(&pair[0], !wanted, on)?;
                self.jump(&pair[1], wanted, to)?;
                self.program.put(on);
                Ok(())
            }
            _ => {
                let held = self.value(typed, None)?;
                let a = held.reg();
                self.code(if wanted { Code::JumpIf(a, to) } else { Code::JumpIfNot(a, to) });
                self.give(held);
                Ok(())
            }
        }
    }

    fn jump_if_either(&mut self, pair: &[Typed; 2], wanted: bool, to: Label) -> Result<(), Told> {
        self.jump(&pair[0], wanted, to)?;
        self.jump(&pair[1], wanted, to)
    }

    /// What the node is asked: an effect whose answer is the value.
    fn ask(
        &mut self,
        kind: Kind,
        asked: Asked,
        arguments: &[Typed],
        into: Option<Slot>,
    ) -> Result<Held, Told> {
        let (of, names): (_, &[Argument]) = match asked {
            Asked::Reading => (EffectKind::Reading, &[Argument::Device, Argument::Metric]),
            Asked::Twin => (EffectKind::State, &[Argument::Device, Argument::Path]),
            Asked::Clock(_) => (EffectKind::Clock, &[]),
        };
        let field = match asked {
            Asked::Clock(part) => part,
            _ => "value",
        };
        let mut helds = Vec::new();
        let mut pieces = Vec::new();
        for typed in arguments {
            if let Value::Text(text) = &typed.value {
                pieces.push([Piece::Literal(text)]);
                continue;
            }
            let held = self.asked_with(typed)?;
            pieces.push([Piece::Text(held.reg())]);
            helds.push(held);
        }
        let target = self.target(kind, into)?;
        let mut said: Vec<_> =
            names.iter().zip(&pieces).map(|(name, piece)| (*name, piece.as_slice())).collect();
        said.sort_by_key(|(name, _)| *name);
        let head = Head { kind: of, flags: IDEMPOTENT, timeout_ms: 0, retries: (0, 0) };
        let answer = Field { name: field, slot: target.slot, default: None };
        let mut bytes = Vec::new();
        // A vector takes whatever comes.
        let _ = encode(&mut bytes, &head, &said, &[answer]);
        self.ask_for(bytes);
        for held in helds {
            self.give(held);
        }
        Ok(target)
    }

    /// Asks for an effect, which is in the image once however often it is asked for.
    pub(super) fn ask_for(&mut self, bytes: Vec<u8>) {
        let known = self.draft.effects.iter().position(|known| *known == bytes);
        let effect = known.unwrap_or_else(|| {
            self.draft.effects.push(bytes);
            self.draft.effects.len() - 1
        });
        self.op(Op::Do { effect: u16::try_from(effect).unwrap_or(u16::MAX) });
    }
}
