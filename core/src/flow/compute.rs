//! What operations on values do: numbers, truths and texts, with every fault an error of the run.

use super::decimal;
use super::error::Code;
use super::image::{Image, Type};
use super::memory::MemoryMut;
use super::op::{Change, Compare, Find, Math, Op, Reg};

/// What an operation may know besides the registers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Around {
    /// The time of the step, Unix milliseconds.
    pub(super) now_ms: i64,
    /// What the fiber has caught last.
    pub(super) caught: Code,
}

/// Does an operation on values; all others are for the machine.
pub(super) fn compute(
    image: &Image<'_>,
    memory: &mut MemoryMut<'_>,
    op: Op,
    around: Around,
) -> Result<(), Code> {
    let view = memory.view();
    let number = |reg: Reg| view.number(reg);
    let (d, value) = match op {
        Op::Set { d, value } => (d, i64::from(value)),
        Op::Const { d, index } => (d, image.constant(index).ok_or(Code::RANGE)?),
        Op::Move { d, a } => (d, number(a)),
        Op::Math { how, d, a, b } => (d, math(how, number(a), number(b))?),
        Op::Change { how, d, a } => (d, change(how, number(a))?),
        Op::Compare { how, d, a, b } => (d, compares(how, &number(a), &number(b))),
        Op::Not { d, a } => (d, i64::from(number(a) == 0)),
        Op::And { d, a, b } => (d, i64::from(number(a) != 0 && number(b) != 0)),
        Op::Or { d, a, b } => (d, i64::from(number(a) != 0 || number(b) != 0)),
        Op::Now { d } => (d, around.now_ms),
        Op::Caught { d } => (d, i64::from(around.caught.0)),
        Op::Pick { d, a, first, count } => {
            let index = place(number(a), first, count)?;
            (d, image.constant(index).ok_or(Code::RANGE)?)
        }
        Op::TextCompare { how, d, a, b } => (d, compares(how, view.text(a), view.text(b))),
        Op::TextFind { how, d, a, b } => (d, finds(how, view.text(a), view.text(b))),
        Op::TextLen { d, a } => (d, view.text(a).len() as i64),
        _ => return texts(image, memory, op),
    };
    memory.set_number(d, value);
    Ok(())
}

/// Does an operation that leaves a text.
fn texts(image: &Image<'_>, memory: &mut MemoryMut<'_>, op: Op) -> Result<(), Code> {
    let view = memory.view();
    let mut kept = heapless::String::<{ super::TEXT_MAX_BYTES }>::new();
    let d = match op {
        Op::TextConst { d, index } => {
            let text = image.text(index).ok_or(Code::RANGE)?;
            return written(memory.set_text(d, &[text]));
        }
        Op::TextPick { d, a, first, count } => {
            let index = place(view.number(a), first, count)?;
            let text = image.text(index).ok_or(Code::RANGE)?;
            return written(memory.set_text(d, &[text]));
        }
        Op::TextMove { d, a } => {
            kept.push_str(view.text(a)).map_err(|_| Code::TEXT)?;
            d
        }
        Op::TextJoin { d, a, b } => {
            kept.push_str(view.text(a)).map_err(|_| Code::TEXT)?;
            kept.push_str(view.text(b)).map_err(|_| Code::TEXT)?;
            d
        }
        Op::TextOf { d, a } => {
            let of = image.type_of(a).unwrap_or(Type::Int);
            let mut bytes = heapless::Vec::<u8, 24>::new();
            super::effect::put_number(&mut bytes, of, view.number(a)).map_err(|_| Code::TEXT)?;
            let text = core::str::from_utf8(&bytes).unwrap_or_default();
            kept.push_str(text).map_err(|_| Code::TEXT)?;
            d
        }
        _ => return Err(Code::INVALID),
    };
    written(memory.set_text(d, &[kept.as_str()]))
}

const fn written(fits: bool) -> Result<(), Code> {
    if fits { Ok(()) } else { Err(Code::TEXT) }
}

fn math(how: Math, a: i64, b: i64) -> Result<i64, Code> {
    let divides = matches!(how, Math::Div | Math::Rem | Math::DivDecimal);
    if divides && b == 0 {
        return Err(Code::DIVISION);
    }
    let value = match how {
        Math::Add => a.checked_add(b),
        Math::Sub => a.checked_sub(b),
        Math::Mul => a.checked_mul(b),
        Math::Div => a.checked_div(b),
        // The one that overflows has nothing left.
        Math::Rem => Some(a.wrapping_rem(b)),
        Math::MulDecimal => decimal::mul(a, b),
        Math::DivDecimal => decimal::div(a, b),
        Math::Min => Some(a.min(b)),
        Math::Max => Some(a.max(b)),
    };
    value.ok_or(Code::OVERFLOW)
}

fn change(how: Change, a: i64) -> Result<i64, Code> {
    let value = match how {
        Change::Neg => a.checked_neg(),
        Change::Abs => a.checked_abs(),
        Change::ToDecimal => decimal::of_int(a),
        Change::ToInt => Some(a / decimal::ONE),
        Change::Round => Some(decimal::round(a)),
    };
    value.ok_or(Code::OVERFLOW)
}

fn compares<T: Ord + ?Sized>(how: Compare, a: &T, b: &T) -> i64 {
    i64::from(match how {
        Compare::Eq => a == b,
        Compare::Ne => a != b,
        Compare::Lt => a < b,
        Compare::Le => a <= b,
    })
}

fn finds(how: Find, text: &str, part: &str) -> i64 {
    i64::from(match how {
        Find::Starts => text.starts_with(part),
        Find::Ends => text.ends_with(part),
        // At each place: texts are short, and a search that is fast in long ones is a kilobyte of a
        // microcontroller's program.
        Find::Has => (0..=text.len()).any(|at| text.as_bytes()[at..].starts_with(part.as_bytes())),
    })
}

/// Which entry of a table the `index`-th of a list is.
fn place(index: i64, first: u16, count: u8) -> Result<u16, Code> {
    let index = u8::try_from(index).ok().filter(|index| *index < count).ok_or(Code::RANGE)?;
    first.checked_add(u16::from(index)).ok_or(Code::RANGE)
}
