//! What the event stream says of traces: which entries a traced request left in the log.
//!
//! A trace that follows a reading to the hub must not need the link to be up when the reading
//! comes, so its context travels as the data does. Identifiers are those of W3C Trace Context.

use crate::codec::{Reader, Sink};
use crate::ranges::Range;
use crate::{Reject, Stream};

/// A span of a trace: what comes of it is its child.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SpanContext {
    /// The trace; not zero.
    pub trace: [u8; 16],
    /// The span; not zero.
    pub span: [u8; 8],
}

/// Entries that came of a span. They are of the incarnation that says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Traced {
    /// The stream of the entries.
    pub stream: Stream,
    /// The commits in which they are; others may be in them, too.
    pub range: Range,
    /// The span.
    pub context: SpanContext,
}

impl Traced {
    /// Appends it.
    ///
    /// # Errors
    /// [`Reject::Full`] when the sink has no room.
    pub fn encode(&self, out: &mut impl Sink) -> Result<(), Reject> {
        out.put_u8(self.stream as u8)?;
        out.put_uint(self.range.from)?;
        out.put_uint(self.range.to - self.range.from)?;
        out.put(&self.context.trace)?;
        out.put(&self.context.span)
    }

    /// Reads what [`Traced::encode`] wrote.
    ///
    /// # Errors
    /// What is wrong with the bytes.
    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, Reject> {
        let stream = Stream::from_u8(reader.u8()?).ok_or(Reject::Malformed)?;
        let from = reader.uint()?;
        let to = from.checked_add(reader.uint()?).ok_or(Reject::Malformed)?;
        let range = Range::new(from, to).ok_or(Reject::Malformed)?;
        let context = SpanContext { trace: reader.array()?, span: reader.array()? };
        if context.trace == [0; 16] || context.span == [0; 8] {
            return Err(Reject::Malformed);
        }
        Ok(Self { stream, range, context })
    }
}
