//! The operations of a flow image: eight bytes each, every one with exactly one encoding.
//!
//! An operation is `[code][d][a][b][imm u32 LE]`: `d` is written, `a` and `b` are read, `imm` is a
//! place, an index or a small number. What an operation does not use is zero, so that a spoiled
//! byte is noticed. Registers of numbers and registers of texts are counted apart.

use super::error::Code;

/// Bytes of an operation.
pub const OP_BYTES: usize = 8;
/// A register, of the kind that the operation says.
pub type Reg = u8;
/// A place in the code: the number of an operation.
pub type Pc = u16;

/// What becomes of two numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Math {
    /// The sum.
    Add = 0,
    /// The difference.
    Sub = 1,
    /// The product of integers.
    Mul = 2,
    /// The quotient of integers, towards zero.
    Div = 3,
    /// What is left of that, with the sign of the dividend.
    Rem = 4,
    /// The product of decimals, to the nearest, halves away from zero.
    MulDecimal = 5,
    /// The quotient of decimals, to the nearest, halves away from zero.
    DivDecimal = 6,
    /// The lesser.
    Min = 7,
    /// The greater.
    Max = 8,
}

impl Math {
    const ALL: [Self; 9] = [
        Self::Add,
        Self::Sub,
        Self::Mul,
        Self::Div,
        Self::Rem,
        Self::MulDecimal,
        Self::DivDecimal,
        Self::Min,
        Self::Max,
    ];
}

/// What becomes of one number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Change {
    /// Its opposite.
    Neg = 0,
    /// Its distance from zero.
    Abs = 1,
    /// An integer as a decimal.
    ToDecimal = 2,
    /// A decimal without its places, towards zero.
    ToInt = 3,
    /// The integer nearest to a decimal, halves away from zero.
    Round = 4,
}

impl Change {
    const ALL: [Self; 5] = [Self::Neg, Self::Abs, Self::ToDecimal, Self::ToInt, Self::Round];
}

/// How two numbers of one type, or two texts, compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Compare {
    /// Equal.
    Eq = 0,
    /// Not equal.
    Ne = 1,
    /// The first is less.
    Lt = 2,
    /// The first is not greater.
    Le = 3,
}

impl Compare {
    const ALL: [Self; 4] = [Self::Eq, Self::Ne, Self::Lt, Self::Le];
}

/// Whether a text has another one in it, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Find {
    /// At its start.
    Starts = 0,
    /// At its end.
    Ends = 1,
    /// Anywhere.
    Has = 2,
}

impl Find {
    const ALL: [Self; 3] = [Self::Starts, Self::Ends, Self::Has];
}

/// What becomes of a timer that is noticed later than it may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Late {
    /// It fires all the same.
    Fire = 0,
    /// It fails with `late`.
    Skip = 1,
    /// It waits once more for as long; of a point in time that is the same as `Skip`.
    Restart = 2,
}

impl Late {
    const ALL: [Self; 3] = [Self::Fire, Self::Skip, Self::Restart];
}

/// One operation.
#[allow(missing_docs, reason = "the first lines of this module say what d, a, b and to are")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// Goes on at `to`.
    Jump { to: Pc },
    /// Goes on at `to` where `a` is true.
    JumpIf { a: Reg, to: Pc },
    /// Goes on at `to` where `a` is false.
    JumpIfNot { a: Reg, to: Pc },
    /// Begins a branch at `to`, which needs so many fibers, itself included, and so much room for
    /// what undoes it.
    Fork { to: Pc, fibers: u8, undos: u8 },
    /// Waits until the branches begun here are over.
    Join,
    /// Ends a branch.
    End,
    /// Ends the run well.
    Succeed,
    /// Fails.
    Fail { error: Code },
    /// Fails once more with what was caught last.
    Rethrow,
    /// From here on what begins at `to` undoes what was done.
    Guard { to: Pc },
    /// Ends what undoes something.
    Undone,
    /// Begins a loop.
    Loop { counter: u8 },
    /// Goes back to `to`, at most `limit` times since the loop began, then on.
    Again { counter: u8, to: Pc, limit: u16 },
    /// Asks for an effect and waits for its result.
    Do { effect: u16 },
    /// Waits for `a` milliseconds.
    Sleep { a: Reg, late: Late, tolerance_s: u32 },
    /// Waits until `a`, Unix milliseconds.
    Until { a: Reg, late: Late, tolerance_s: u32 },
    /// Waits for a signal, for at most as many milliseconds as `within` says.
    Listen { signal: u8, within: Option<Reg> },
    /// A small number.
    Set { d: Reg, value: i32 },
    /// A number of the image.
    Const { d: Reg, index: u16 },
    /// A copy.
    Move { d: Reg, a: Reg },
    /// Two numbers into one.
    Math { how: Math, d: Reg, a: Reg, b: Reg },
    /// One number into another.
    Change { how: Change, d: Reg, a: Reg },
    /// Compares two numbers.
    Compare { how: Compare, d: Reg, a: Reg, b: Reg },
    /// The opposite truth.
    Not { d: Reg, a: Reg },
    /// Both.
    And { d: Reg, a: Reg, b: Reg },
    /// Either.
    Or { d: Reg, a: Reg, b: Reg },
    /// The time of this step, Unix milliseconds.
    Now { d: Reg },
    /// The number of what was caught last.
    Caught { d: Reg },
    /// The `a`-th of `count` numbers of the image from `first` on.
    Pick { d: Reg, a: Reg, first: u16, count: u8 },
    /// A text of the image.
    TextConst { d: Reg, index: u16 },
    /// A copy of a text.
    TextMove { d: Reg, a: Reg },
    /// One text and then another.
    TextJoin { d: Reg, a: Reg, b: Reg },
    /// A number as text.
    TextOf { d: Reg, a: Reg },
    /// Compares two texts, byte by byte.
    TextCompare { how: Compare, d: Reg, a: Reg, b: Reg },
    /// Looks for text `b` in text `a`.
    TextFind { how: Find, d: Reg, a: Reg, b: Reg },
    /// How many bytes a text has.
    TextLen { d: Reg, a: Reg },
    /// The `a`-th of `count` texts of the image from `first` on.
    TextPick { d: Reg, a: Reg, first: u16, count: u8 },
}

/// The fields of an operation as they stand.
#[derive(Clone, Copy, Default)]
struct Raw {
    code: u8,
    d: u8,
    a: u8,
    b: u8,
    imm: u32,
}

/// No register: there can be no more than 128 of a kind.
const NONE: u8 = 0xff;

mod code {
    pub const JUMP: u8 = 0x01;
    pub const JUMP_IF: u8 = 0x02;
    pub const JUMP_IF_NOT: u8 = 0x03;
    pub const FORK: u8 = 0x04;
    pub const JOIN: u8 = 0x05;
    pub const END: u8 = 0x06;
    pub const SUCCEED: u8 = 0x07;
    pub const FAIL: u8 = 0x08;
    pub const RETHROW: u8 = 0x09;
    pub const GUARD: u8 = 0x0a;
    pub const UNDONE: u8 = 0x0b;
    pub const LOOP: u8 = 0x0c;
    pub const AGAIN: u8 = 0x0d;
    pub const DO: u8 = 0x10;
    pub const SLEEP: u8 = 0x11;
    pub const UNTIL: u8 = 0x12;
    pub const LISTEN: u8 = 0x13;
    pub const SET: u8 = 0x20;
    pub const CONST: u8 = 0x21;
    pub const MOVE: u8 = 0x22;
    pub const NOT: u8 = 0x23;
    pub const AND: u8 = 0x24;
    pub const OR: u8 = 0x25;
    pub const NOW: u8 = 0x26;
    pub const CAUGHT: u8 = 0x27;
    pub const PICK: u8 = 0x28;
    pub const MATH: u8 = 0x30;
    pub const CHANGE: u8 = 0x40;
    pub const COMPARE: u8 = 0x48;
    pub const TEXT_CONST: u8 = 0x50;
    pub const TEXT_MOVE: u8 = 0x51;
    pub const TEXT_JOIN: u8 = 0x52;
    pub const TEXT_OF: u8 = 0x53;
    pub const TEXT_LEN: u8 = 0x54;
    pub const TEXT_PICK: u8 = 0x55;
    pub const TEXT_COMPARE: u8 = 0x58;
    pub const TEXT_FIND: u8 = 0x5c;
}

impl Op {
    /// The operation as bytes.
    #[must_use]
    pub const fn encode(self) -> [u8; OP_BYTES] {
        let raw = self.raw();
        let [i0, i1, i2, i3] = raw.imm.to_le_bytes();
        [raw.code, raw.d, raw.a, raw.b, i0, i1, i2, i3]
    }

    /// Reads an operation; `None` where the bytes are not one.
    #[must_use]
    pub fn decode(bytes: [u8; OP_BYTES]) -> Option<Self> {
        let [code, d, a, b, i0, i1, i2, i3] = bytes;
        let op = Self::of(Raw { code, d, a, b, imm: u32::from_le_bytes([i0, i1, i2, i3]) })?;
        // What an operation does not use has to be zero.
        (op.encode() == bytes).then_some(op)
    }

    /// Whether it can go on with the operation behind this one.
    #[must_use]
    pub const fn falls_through(self) -> bool {
        !matches!(
            self,
            Self::Jump { .. }
                | Self::End
                | Self::Succeed
                | Self::Fail { .. }
                | Self::Rethrow
                | Self::Undone
        )
    }

    /// Whether a fiber stops here and goes on in a later step.
    #[must_use]
    pub const fn blocks(self) -> bool {
        matches!(
            self,
            Self::Do { .. }
                | Self::Sleep { .. }
                | Self::Until { .. }
                | Self::Listen { .. }
                | Self::Join
        )
    }

    const fn raw(self) -> Raw {
        match self {
            Self::Jump { to } => raw(code::JUMP, 0, 0, 0, to as u32),
            Self::JumpIf { a, to } => raw(code::JUMP_IF, 0, a, 0, to as u32),
            Self::JumpIfNot { a, to } => raw(code::JUMP_IF_NOT, 0, a, 0, to as u32),
            Self::Fork { to, fibers, undos } => raw(code::FORK, 0, fibers, undos, to as u32),
            Self::Join => raw(code::JOIN, 0, 0, 0, 0),
            Self::End => raw(code::END, 0, 0, 0, 0),
            Self::Succeed => raw(code::SUCCEED, 0, 0, 0, 0),
            Self::Fail { error } => raw(code::FAIL, 0, 0, 0, error.0 as u32),
            Self::Rethrow => raw(code::RETHROW, 0, 0, 0, 0),
            Self::Guard { to } => raw(code::GUARD, 0, 0, 0, to as u32),
            Self::Undone => raw(code::UNDONE, 0, 0, 0, 0),
            Self::Loop { counter } => raw(code::LOOP, 0, counter, 0, 0),
            Self::Again { counter, to, limit } => raw(code::AGAIN, 0, counter, 0, two(to, limit)),
            Self::Do { effect } => raw(code::DO, 0, 0, 0, effect as u32),
            Self::Sleep { a, late, tolerance_s } => raw(code::SLEEP, 0, a, late as u8, tolerance_s),
            Self::Until { a, late, tolerance_s } => raw(code::UNTIL, 0, a, late as u8, tolerance_s),
            Self::Listen { signal, within } => {
                let within = match within {
                    Some(reg) => reg,
                    None => NONE,
                };
                raw(code::LISTEN, 0, within, 0, signal as u32)
            }
            _ => self.raw_of_values(),
        }
    }

    const fn raw_of_values(self) -> Raw {
        match self {
            Self::Set { d, value } => raw(code::SET, d, 0, 0, value as u32),
            Self::Const { d, index } => raw(code::CONST, d, 0, 0, index as u32),
            Self::Move { d, a } => raw(code::MOVE, d, a, 0, 0),
            Self::Math { how, d, a, b } => raw(code::MATH + how as u8, d, a, b, 0),
            Self::Change { how, d, a } => raw(code::CHANGE + how as u8, d, a, 0, 0),
            Self::Compare { how, d, a, b } => raw(code::COMPARE + how as u8, d, a, b, 0),
            Self::Not { d, a } => raw(code::NOT, d, a, 0, 0),
            Self::And { d, a, b } => raw(code::AND, d, a, b, 0),
            Self::Or { d, a, b } => raw(code::OR, d, a, b, 0),
            Self::Now { d } => raw(code::NOW, d, 0, 0, 0),
            Self::Caught { d } => raw(code::CAUGHT, d, 0, 0, 0),
            Self::Pick { d, a, first, count } => raw(code::PICK, d, a, 0, two(first, count as u16)),
            Self::TextConst { d, index } => raw(code::TEXT_CONST, d, 0, 0, index as u32),
            Self::TextMove { d, a } => raw(code::TEXT_MOVE, d, a, 0, 0),
            Self::TextJoin { d, a, b } => raw(code::TEXT_JOIN, d, a, b, 0),
            Self::TextOf { d, a } => raw(code::TEXT_OF, d, a, 0, 0),
            Self::TextCompare { how, d, a, b } => raw(code::TEXT_COMPARE + how as u8, d, a, b, 0),
            Self::TextFind { how, d, a, b } => raw(code::TEXT_FIND + how as u8, d, a, b, 0),
            Self::TextLen { d, a } => raw(code::TEXT_LEN, d, a, 0, 0),
            Self::TextPick { d, a, first, count } => {
                raw(code::TEXT_PICK, d, a, 0, two(first, count as u16))
            }
            // Everything else is said by the caller.
            _ => raw(0, 0, 0, 0, 0),
        }
    }

    fn of(raw: Raw) -> Option<Self> {
        let Raw { a, b, imm, .. } = raw;
        let (low, high) = (imm as u16, (imm >> 16) as u16);
        Some(match raw.code {
            code::JUMP => Self::Jump { to: low },
            code::JUMP_IF => Self::JumpIf { a, to: low },
            code::JUMP_IF_NOT => Self::JumpIfNot { a, to: low },
            code::FORK => Self::Fork { to: low, fibers: a, undos: b },
            code::JOIN => Self::Join,
            code::END => Self::End,
            code::SUCCEED => Self::Succeed,
            code::FAIL => Self::Fail { error: Code(low) },
            code::RETHROW => Self::Rethrow,
            code::GUARD => Self::Guard { to: low },
            code::UNDONE => Self::Undone,
            code::LOOP => Self::Loop { counter: a },
            code::AGAIN => Self::Again { counter: a, to: low, limit: high },
            code::DO => Self::Do { effect: low },
            code::SLEEP => Self::Sleep { a, late: pick(&Late::ALL, b)?, tolerance_s: imm },
            code::UNTIL => Self::Until { a, late: pick(&Late::ALL, b)?, tolerance_s: imm },
            code::LISTEN => Self::Listen { signal: low as u8, within: (a != NONE).then_some(a) },
            _ => return Self::of_values(raw),
        })
    }

    fn of_values(raw: Raw) -> Option<Self> {
        let Raw { code, d, a, b, imm } = raw;
        let (low, high) = (imm as u16, (imm >> 16) as u16);
        Some(match code {
            code::SET => Self::Set { d, value: imm as i32 },
            code::CONST => Self::Const { d, index: low },
            code::MOVE => Self::Move { d, a },
            code::NOT => Self::Not { d, a },
            code::AND => Self::And { d, a, b },
            code::OR => Self::Or { d, a, b },
            code::NOW => Self::Now { d },
            code::CAUGHT => Self::Caught { d },
            code::PICK => Self::Pick { d, a, first: low, count: high as u8 },
            code::MATH..code::CHANGE => {
                Self::Math { how: pick(&Math::ALL, code - code::MATH)?, d, a, b }
            }
            code::CHANGE..code::COMPARE => {
                Self::Change { how: pick(&Change::ALL, code - code::CHANGE)?, d, a }
            }
            code::COMPARE..code::TEXT_CONST => {
                Self::Compare { how: pick(&Compare::ALL, code - code::COMPARE)?, d, a, b }
            }
            code::TEXT_CONST => Self::TextConst { d, index: low },
            code::TEXT_MOVE => Self::TextMove { d, a },
            code::TEXT_JOIN => Self::TextJoin { d, a, b },
            code::TEXT_OF => Self::TextOf { d, a },
            code::TEXT_LEN => Self::TextLen { d, a },
            code::TEXT_PICK => Self::TextPick { d, a, first: low, count: high as u8 },
            code::TEXT_COMPARE..code::TEXT_FIND => {
                Self::TextCompare { how: pick(&Compare::ALL, code - code::TEXT_COMPARE)?, d, a, b }
            }
            code::TEXT_FIND.. => {
                Self::TextFind { how: pick(&Find::ALL, code - code::TEXT_FIND)?, d, a, b }
            }
            _ => return None,
        })
    }
}

const fn raw(code: u8, d: u8, a: u8, b: u8, imm: u32) -> Raw {
    Raw { code, d, a, b, imm }
}

const fn two(low: u16, high: u16) -> u32 {
    low as u32 | (high as u32) << 16
}

fn pick<T: Copy>(all: &[T], number: u8) -> Option<T> {
    all.get(usize::from(number)).copied()
}
