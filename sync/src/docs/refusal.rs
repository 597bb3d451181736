//! Why a document did not take something: a closed set with stable codes.
//!
//! Either what a peer sent is not what a member may send, or a local write does not fit. Nothing is
//! ever refused for its time.

use super::limits::{HARD_BYTES, LIVE_KEYS, OWN_CHANGES_MAX};
use holdfast_core::Reject;
use std::fmt;

/// Why a document did not take something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// It names no document.
    Name,
    /// It is longer than anything that is sent.
    Size,
    /// Its bytes do not follow the format.
    Framing,
    /// A chunk is of a kind that is not taken.
    Kind,
    /// A chunk's bytes are not what its checksum says.
    Checksum,
    /// It inflates to more than a document can hold.
    Inflates,
    /// It has more operations, changes, actors or heads than are allowed.
    Count,
    /// An operation is something else than a cell put at a key of the root.
    Operation,
    /// A cell or its key cannot be read.
    Cell(Reject),
    /// A cell stands under a key that does not admit it.
    Key,
    /// A cell says it is somebody else's, or of another role.
    Author,
    /// An actor belongs to nobody that was introduced.
    Actor,
    /// Whoever wrote it may not write this document.
    Entitled,
    /// The changes of an actor are not numbered one after another.
    Sequence,
    /// Operations are not numbered behind those they depend on.
    Counter,
    /// It replaces something that it has not seen, or that is not there.
    Unseen,
    /// Not from its author, and no signed head of the author's covers it.
    Relayed,
    /// A signature does not fit.
    Signature,
    /// A filter has other parameters than the ones all nodes send.
    Filter,
    /// The engine could not take it; it is in quarantine.
    Engine,
    /// Changes are needed that depend on others which are not held here.
    Diverged,
    /// The document would be larger than a document may be.
    Full,
    /// The document would have more live keys than one may have.
    Keys,
    /// The document has been changed too often since its last epoch.
    History,
    /// A cut does not lead from what is held here to what it says.
    Cut,
    /// It is of another epoch than the document is in here.
    Epoch,
    /// The path is declared to be of another type.
    Type,
    /// A counter, a set or a stamp has no room for another step.
    Exhausted,
}

impl Refusal {
    /// The stable code, as it appears in problems, logs and metrics.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Name => "invalid-document",
            Self::Size => "document-message-too-long",
            Self::Framing => "document-malformed",
            Self::Kind => "document-chunk-kind",
            Self::Checksum => "document-checksum",
            Self::Inflates => "document-inflates",
            Self::Count => "document-count",
            Self::Operation => "document-operation",
            Self::Cell(_) => "document-cell",
            Self::Key => "document-key",
            Self::Author => "document-author",
            Self::Actor => "document-actor",
            Self::Entitled => "document-not-entitled",
            Self::Sequence => "document-sequence",
            Self::Counter => "document-counter",
            Self::Unseen => "document-unseen",
            Self::Relayed => "document-relayed",
            Self::Signature => "document-signature",
            Self::Filter => "document-filter",
            Self::Engine => "document-engine",
            Self::Diverged => "document-diverged",
            Self::Full => "document-full",
            Self::Keys => "document-keys",
            Self::History => "document-history",
            Self::Cut => "document-cut",
            Self::Epoch => "document-epoch",
            Self::Type => "document-type",
            Self::Exhausted => "document-exhausted",
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Name => {
                "a document is device/<id>/reported, desired or tags, node/<id> or site/<id>"
            }
            Self::Size => "a message about a document is too long",
            Self::Framing => "the bytes do not follow the format of documents",
            Self::Kind => "only changes and whole documents are taken",
            Self::Checksum => "the checksum does not match the chunk",
            Self::Inflates => "the chunk inflates to more than a document can hold",
            Self::Count => "it has more parts than a document can have",
            Self::Operation => "a change may only put cells at keys of the root",
            Self::Cell(reject) => return write!(f, "a cell or its key is not valid: {reject}"),
            Self::Key => "the key does not admit the cell",
            Self::Author => "a cell's author or role is not that of whoever wrote it",
            Self::Actor => "an actor was not introduced",
            Self::Entitled => "whoever wrote it may not write this document",
            Self::Sequence => "the changes of an actor do not follow one another",
            Self::Counter => "operations are not numbered behind those they depend on",
            Self::Unseen => "a change replaces something that it has not seen",
            Self::Relayed => "no signed head of its author covers the change",
            Self::Signature => "the signature is wrong",
            Self::Filter => "the filter has other parameters than 10 bits and 7 probes",
            Self::Engine => "the change could not be applied and is in quarantine",
            Self::Diverged => "the heads are not known here",
            Self::Full => {
                return write!(f, "a document has at most {HARD_BYTES} bytes of keys and cells");
            }
            Self::Keys => return write!(f, "a document has at most {LIVE_KEYS} live keys"),
            Self::History => {
                return write!(f, "a document takes {OWN_CHANGES_MAX} changes in an epoch");
            }
            Self::Cut => "the cut does not lead to the base that it names",
            Self::Epoch => "it is of another epoch of the document",
            Self::Type => "the path is declared to be of another type",
            Self::Exhausted => "there is no greater number for this counter, set or stamp",
        })
    }
}

impl std::error::Error for Refusal {}

impl From<Reject> for Refusal {
    fn from(_: Reject) -> Self {
        Self::Framing
    }
}
