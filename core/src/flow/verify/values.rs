//! Registers: that there are such, of the type that an operation needs, and with a value.

use super::super::error::Code;
use super::super::image::{Image, Slot, Type};
use super::super::op::{Change, Math, Op, Reg};
use super::super::signal::{Source, Word, signal};
use super::{Place, Tier, Why};

/// Checks what an operation reads and writes; `place` is what is true before it, and then after it.
pub(super) fn check(image: &Image<'_>, tier: &Tier, op: Op, place: &mut Place) -> Result<(), Why> {
    let mut it = Values { image, place };
    match op {
        Op::JumpIf { a, .. } | Op::JumpIfNot { a, .. } => it.reads(a, Type::Bool),
        Op::Sleep { a, .. } | Op::Until { a, .. } => it.reads(a, Type::Int),
        Op::Fail { error } => {
            let known = error.is_known(image.counts.errors) && error != Code::CANCELLED;
            if known { Ok(()) } else { Err(Why::Index) }
        }
        Op::Do { effect } => it.effect(tier, effect),
        Op::Listen { signal, within } => it.listens(signal, within),
        _ => it.computes(op),
    }
}

struct Values<'c, 'a> {
    image: &'c Image<'a>,
    place: &'c mut Place,
}

impl Values<'_, '_> {
    fn of(&self, reg: Reg) -> Result<Type, Why> {
        self.image.type_of(reg).ok_or(Why::Register)
    }

    /// A number register that is read, of whatever type.
    fn any(&self, reg: Reg) -> Result<Type, Why> {
        let of = self.of(reg)?;
        if self.place.has(Slot::Number(reg)) { Ok(of) } else { Err(Why::Unwritten) }
    }

    fn reads(&self, reg: Reg, wanted: Type) -> Result<(), Why> {
        if self.any(reg)? == wanted { Ok(()) } else { Err(Why::Type) }
    }

    fn reads_text(&self, reg: Reg) -> Result<(), Why> {
        if reg >= self.image.sizes.texts {
            return Err(Why::Register);
        }
        if self.place.has(Slot::Text(reg)) { Ok(()) } else { Err(Why::Unwritten) }
    }

    fn writes(&mut self, reg: Reg, value: Type) -> Result<(), Why> {
        if self.of(reg)? != value {
            return Err(Why::Type);
        }
        self.place.write(Slot::Number(reg));
        Ok(())
    }

    fn writes_text(&mut self, reg: Reg) -> Result<(), Why> {
        if reg >= self.image.sizes.texts {
            return Err(Why::Register);
        }
        self.place.write(Slot::Text(reg));
        Ok(())
    }

    /// A number register that is not a truth.
    fn writes_amount(&mut self, reg: Reg) -> Result<(), Why> {
        match self.of(reg)? {
            Type::Bool => Err(Why::Type),
            of => self.writes(reg, of),
        }
    }

    fn computes(&mut self, op: Op) -> Result<(), Why> {
        match op {
            Op::Set { d, value } => match self.of(d)? {
                Type::Bool if !matches!(value, 0 | 1) => Err(Why::Type),
                of => self.writes(d, of),
            },
            Op::Const { d, index } => {
                self.image.constant(index).ok_or(Why::Index)?;
                self.writes_amount(d)
            }
            Op::Move { d, a } => {
                let of = self.any(a)?;
                self.writes(d, of)
            }
            Op::Math { how, d, a, b } => self.math(how, d, a, b),
            Op::Change { how, d, a } => self.changes(how, d, a),
            Op::Compare { d, a, b, .. } => {
                let of = self.any(a)?;
                self.reads(b, of)?;
                self.writes(d, Type::Bool)
            }
            Op::Not { d, a } => {
                self.reads(a, Type::Bool)?;
                self.writes(d, Type::Bool)
            }
            Op::And { d, a, b } | Op::Or { d, a, b } => {
                self.reads(a, Type::Bool)?;
                self.reads(b, Type::Bool)?;
                self.writes(d, Type::Bool)
            }
            Op::Now { d } | Op::Caught { d } => self.writes(d, Type::Int),
            Op::Pick { d, a, first, count } => {
                self.reads(a, Type::Int)?;
                self.is_list(first, count, self.image.counts.constants)?;
                self.writes_amount(d)
            }
            _ => self.texts(op),
        }
    }

    fn texts(&mut self, op: Op) -> Result<(), Why> {
        match op {
            Op::TextConst { d, index } => {
                self.image.text(index).ok_or(Why::Index)?;
                self.writes_text(d)
            }
            Op::TextMove { d, a } => {
                self.reads_text(a)?;
                self.writes_text(d)
            }
            Op::TextJoin { d, a, b } => {
                self.reads_text(a)?;
                self.reads_text(b)?;
                self.writes_text(d)
            }
            Op::TextOf { d, a } => {
                self.any(a)?;
                self.writes_text(d)
            }
            Op::TextCompare { d, a, b, .. } | Op::TextFind { d, a, b, .. } => {
                self.reads_text(a)?;
                self.reads_text(b)?;
                self.writes(d, Type::Bool)
            }
            Op::TextLen { d, a } => {
                self.reads_text(a)?;
                self.writes(d, Type::Int)
            }
            Op::TextPick { d, a, first, count } => {
                self.reads(a, Type::Int)?;
                self.is_list(first, count, self.image.counts.texts)?;
                self.writes_text(d)
            }
            _ => Ok(()),
        }
    }

    fn is_list(&self, first: u16, count: u8, of: u16) -> Result<(), Why> {
        let end = first.checked_add(u16::from(count)).filter(|end| count > 0 && *end <= of);
        end.map(|_| ()).ok_or(Why::Index)
    }

    fn math(&mut self, how: Math, d: Reg, a: Reg, b: Reg) -> Result<(), Why> {
        let of = match how {
            Math::Add | Math::Sub | Math::Min | Math::Max => self.any(a)?,
            Math::Mul | Math::Div | Math::Rem => Type::Int,
            Math::MulDecimal | Math::DivDecimal => Type::Decimal,
        };
        if of == Type::Bool {
            return Err(Why::Type);
        }
        self.reads(a, of)?;
        self.reads(b, of)?;
        self.writes(d, of)
    }

    fn changes(&mut self, how: Change, d: Reg, a: Reg) -> Result<(), Why> {
        let (from, to) = match how {
            Change::Neg | Change::Abs => match self.any(a)? {
                Type::Bool => return Err(Why::Type),
                of => (of, of),
            },
            Change::ToDecimal => (Type::Int, Type::Decimal),
            Change::ToInt | Change::Round => (Type::Decimal, Type::Int),
        };
        self.reads(a, from)?;
        self.writes(d, to)
    }

    fn effect(&mut self, tier: &Tier, index: u16) -> Result<(), Why> {
        let effect = self.image.effect(index).ok_or(Why::Index)?;
        if tier.effects & effect.kind.bit() == 0 {
            return Err(Why::Incapable);
        }
        let slots = effect.arguments().flat_map(|(_, template)| template);
        if !slots.filter_map(|piece| piece.slot()).all(|slot| self.place.has(slot)) {
            return Err(Why::Unwritten);
        }
        for field in effect.answers {
            self.place.write(field.slot);
        }
        Ok(())
    }

    fn listens(&mut self, index: u8, within: Option<Reg>) -> Result<(), Why> {
        if let Some(reg) = within {
            self.reads(reg, Type::Int)?;
        }
        let signal = signal(self.image, index).ok_or(Why::Index)?;
        if let Source::Condition { device, metric, .. } = signal.source {
            for word in [device, metric] {
                if let Word::Register(reg) = word {
                    self.reads_text(reg)?;
                }
            }
        }
        for field in signal.values {
            self.place.write(field.slot);
        }
        Ok(())
    }
}
