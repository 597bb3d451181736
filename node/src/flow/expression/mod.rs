//! Expressions: what a step computes, compares or puts into a text, in a subset of CEL's syntax.
//!
//! `lexer` makes words of the text, `parser` a tree of them, `typed` gives every part of the tree
//! its type and says what does not fit, with the place. What CEL has and this has not is named as
//! such, so that nobody looks for a typing error in what is simply not there.

mod lexer;
mod parser;
pub(super) mod typed;

pub(super) use parser::{is_name, parse};

use super::diagnostic::Place;

/// Bytes of an expression.
const TEXT_MAX_BYTES: usize = 4_096;
/// Parts of an expression in each other: bounds what going through one takes of the stack.
const DEPTH_MAX: usize = 100;
/// Bytes of a name: a signal's and a field's, with a point between and the number of a branch
/// behind, fit into the name of a register.
pub(super) const NAME_BYTES: usize = 30;

/// What is wrong with the text of an expression, and at which byte of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) at: usize,
    pub(super) message: String,
    pub(super) advice: Option<String>,
}

impl Fault {
    fn new(at: usize, message: impl Into<String>) -> Self {
        Self { at, message: message.into(), advice: None }
    }

    fn advised(at: usize, message: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { at, message: message.into(), advice: Some(advice.into()) }
    }
}

/// An expression, with its place.
#[derive(Clone, Debug)]
pub(super) struct Expr {
    pub(super) place: Place,
    pub(super) node: Node,
    /// How many parts lie in each other here.
    depth: usize,
}

impl Expr {
    /// A length of time that stands there without `duration(..)`.
    pub(super) const fn duration(place: Place, ms: i64) -> Self {
        Self { place, node: Node::Duration(ms), depth: 1 }
    }

    /// A point in time that stands there.
    pub(super) const fn time(place: Place, ms: i64) -> Self {
        Self { place, node: Node::Time(ms), depth: 1 }
    }
}

/// What an expression is made of.
#[derive(Clone, Debug)]
pub(super) enum Node {
    Int(i64),
    /// Of so many millionths.
    Decimal(i64),
    Text(String),
    Bool(bool),
    Duration(i64),
    Time(i64),
    /// A variable, or a field of what `each` goes through or a signal brings: `heater.valve`.
    Name(String),
    Call(String, Vec<Expr>),
    /// A function of a text, behind it: `t.contains(u)`.
    Method(Box<Expr>, String, Vec<Expr>),
    Negative(Box<Expr>),
    Not(Box<Expr>),
    Binary(Binary, Box<Expr>, Box<Expr>),
    Choice(Box<Expr>, Box<Expr>, Box<Expr>),
}

/// What stands between two operands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Binary {
    Or,
    And,
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
    Add,
    Sub,
    Mul,
    Div,
    Rem,
}

impl Node {
    /// How many parts lie in each other here, itself included.
    fn depth(&self) -> usize {
        let of = |parts: &[Expr]| parts.iter().map(|part| part.depth).max().unwrap_or(0);
        1 + match self {
            Self::Call(_, parts) => of(parts),
            Self::Method(text, _, parts) => text.depth.max(of(parts)),
            Self::Negative(part) | Self::Not(part) => part.depth,
            Self::Binary(_, a, b) => a.depth.max(b.depth),
            Self::Choice(a, b, c) => a.depth.max(b.depth).max(c.depth),
            _ => 0,
        }
    }
}

impl Binary {
    const ALL: [(Self, &'static str); 13] = [
        (Self::Or, "||"),
        (Self::And, "&&"),
        (Self::Eq, "=="),
        (Self::Ne, "!="),
        (Self::Lt, "<"),
        (Self::Le, "<="),
        (Self::Gt, ">"),
        (Self::Ge, ">="),
        (Self::Add, "+"),
        (Self::Sub, "-"),
        (Self::Mul, "*"),
        (Self::Div, "/"),
        (Self::Rem, "%"),
    ];

    fn of(sign: &str) -> Option<Self> {
        Self::ALL.iter().find(|(_, known)| *known == sign).map(|(binary, _)| *binary)
    }

    /// As it is written.
    fn sign(self) -> &'static str {
        Self::ALL.iter().find(|(binary, _)| *binary == self).map_or("", |(_, sign)| *sign)
    }

    /// How strongly it binds, as in CEL.
    const fn power(self) -> u8 {
        match self {
            Self::Or => 1,
            Self::And => 2,
            Self::Eq | Self::Ne | Self::Lt | Self::Le | Self::Gt | Self::Ge => 3,
            Self::Add | Self::Sub => 4,
            Self::Mul | Self::Div | Self::Rem => 5,
        }
    }
}
