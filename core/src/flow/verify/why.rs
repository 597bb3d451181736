//! Why an image is not accepted: a closed set with stable codes.

use super::super::op::Pc;
use core::fmt;

/// What is wrong with an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Why {
    /// It is longer than this node takes.
    Long,
    /// Its format is not known.
    Version,
    /// Its tables do not fill it.
    Tables,
    /// It wants more registers, fibers, loops or signals than there can be, or sets unknown flags.
    Sizes,
    /// A run takes more memory than this node gives.
    Memory,
    /// It has no operations, or more than this node takes.
    Ops,
    /// A turn can take longer than it says, or than this node lets it.
    Fuel,
    /// A part that describes it is not in its form.
    Part,
    /// The type of a register is not one.
    RegisterType,
    /// A text is too long or not UTF-8.
    Text,
    /// A handler does not lead forward out of what it covers, or is for an error that there is not.
    Handler,
    /// A rule for repeating makes no sense.
    Retry,
    /// An effect is not in its form, or lacks what it needs.
    Effect,
    /// An effect is none that this node can bring about.
    Incapable,
    /// A signal is not in its form.
    Signal,
    /// A trigger is not in its form, or leaves what a run is given without a value.
    Trigger,
    /// A trigger is none that this node looks for.
    Blind,
    /// A label stands where nothing waits.
    Label,
    /// These bytes are no operation.
    Op,
    /// No way leads here.
    Unreachable,
    /// The way goes on behind the last operation.
    Falls,
    /// It leads to where there is nothing, or begins a branch further back.
    Jump,
    /// It leads back without waiting for a time or a signal.
    Endless,
    /// It leads into a branch, or into what undoes something, from elsewhere.
    Context,
    /// Each time that it leads back there are more branches or more to undo, or a register without
    /// a value.
    Grows,
    /// A loop has no counter, no limit, or does not lead back.
    Loop,
    /// There is no such register.
    Register,
    /// A register is read that may not have a value.
    Unwritten,
    /// A register is not of the type that this needs.
    Type,
    /// There is no such number, text, effect, signal or error.
    Index,
    /// There are more branches than it says.
    Fibers,
    /// There is more to undo than it says.
    Undos,
    /// This is not how a run, a branch or what undoes something ends.
    Ends,
    /// A run can end well without a value that it is to leave.
    Output,
}

impl Why {
    /// The stable code, as it appears in problems, logs and tests.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Long => "image-too-long",
            Self::Version => "unknown-version",
            Self::Tables => "bad-tables",
            Self::Sizes => "bad-sizes",
            Self::Memory => "too-much-memory",
            Self::Ops => "too-many-operations",
            Self::Fuel => "turn-too-long",
            Self::Part => "bad-part",
            Self::RegisterType => "bad-register-type",
            Self::Text => "bad-text",
            Self::Handler => "bad-handler",
            Self::Retry => "bad-retry",
            Self::Effect => "bad-effect",
            Self::Incapable => "incapable",
            Self::Signal => "bad-signal",
            Self::Trigger => "bad-trigger",
            Self::Blind => "blind",
            Self::Label => "bad-label",
            Self::Op => "bad-operation",
            Self::Unreachable => "unreachable",
            Self::Falls => "no-end",
            Self::Jump => "bad-jump",
            Self::Endless => "endless",
            Self::Context => "bad-context",
            Self::Grows => "growing-loop",
            Self::Loop => "bad-loop",
            Self::Register => "no-register",
            Self::Unwritten => "unwritten-register",
            Self::Type => "wrong-type",
            Self::Index => "no-entry",
            Self::Fibers => "too-many-branches",
            Self::Undos => "too-much-to-undo",
            Self::Ends => "wrong-end",
            Self::Output => "missing-output",
        }
    }

    const fn text(self) -> &'static str {
        match self {
            Self::Long => "the image is longer than this node takes",
            Self::Version => "the format of the image is not known to this program",
            Self::Tables => "the tables of the image do not fill it",
            Self::Sizes => "the image wants more registers, branches or signals than there can be",
            Self::Memory => "a run takes more memory than this node gives",
            Self::Ops => "the image has no operations, or more than this node takes",
            Self::Fuel => "a turn can take longer than the image says or this node lets it",
            Self::Part => "a part that describes the workflow is not in its form",
            Self::RegisterType => "the type of a register is not one",
            Self::Text => "a text is too long or not UTF-8",
            Self::Handler => "a handler must lead forward out of what it covers, for a known error",
            Self::Retry => "a rule for repeating must have attempts, and delays that grow to a cap",
            Self::Effect => "an effect is not in its form, or lacks what it needs",
            Self::Incapable => "this node cannot bring about that kind of effect",
            Self::Signal => "a signal is not in its form",
            Self::Trigger => "a trigger is not in its form, or a run lacks what it is given",
            Self::Blind => "this node does not look for that kind of trigger",
            Self::Label => "a label must stand where something waits",
            Self::Op => "these bytes are no operation",
            Self::Unreachable => "no way leads here",
            Self::Falls => "the way goes on behind the last operation",
            Self::Jump => "it leads to where there is nothing, or begins a branch further back",
            Self::Endless => "it leads back without waiting for a time or a signal",
            Self::Context => "it leads into a branch, or into an undoing, from elsewhere",
            Self::Grows => "each time that it leads back, more is begun or less has a value",
            Self::Loop => "a loop must have a counter and a limit and lead back",
            Self::Register => "there is no such register",
            Self::Unwritten => "a register is read that may not have a value",
            Self::Type => "a register is not of the type that this needs",
            Self::Index => "there is no such number, text, effect, signal or error",
            Self::Fibers => "there are more branches than the image says",
            Self::Undos => "there is more to undo than the image says",
            Self::Ends => "this is not how a run, a branch or what undoes something ends",
            Self::Output => "a run can end well without a value that it is to leave",
        }
    }
}

/// What is wrong, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// What.
    pub why: Why,
    /// At which operation, where it is about one; the image says where that comes from.
    pub pc: Option<Pc>,
}

impl Rejection {
    pub(super) const fn at(why: Why, pc: Pc) -> Self {
        Self { why, pc: Some(pc) }
    }
}

impl From<Why> for Rejection {
    fn from(why: Why) -> Self {
        Self { why, pc: None }
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.why.text())?;
        match self.pc {
            Some(pc) => write!(f, " (operation {pc})"),
            None => Ok(()),
        }
    }
}

impl core::error::Error for Rejection {}
