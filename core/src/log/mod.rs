//! History: entries in hash-chained commits.
//!
//! A *commit* is what one transaction appended to one chain: a first sequence, a count and a
//! canonical body. The chain's link runs over commits and over content, never over stored bytes, so
//! encodings may change and the chain stays checkable. A *checkpoint* is a signature of a link by
//! the origin. Bodies: [`readings`], [`rollups`], [`events`], of which some are
//! about [`alerts`] and [`runs`]. Byte-exact page: `docs/formats/log.md`.

pub mod alerts;
mod chain;
pub mod events;
pub mod readings;
pub mod rollups;
pub mod runs;
mod series;
pub mod trace;
mod value;

pub use chain::{CHECKPOINT_BYTES, CHECKPOINT_CONTEXT, Link, checkpoint_message};
pub use series::SeriesIter;
pub use value::{put_value, read_value};

use crate::codec::{Reader, Sink};
use crate::{Reject, Stream, Timestamp};

/// The version of the canonical bodies, but for [`rollups`], which have had two. What a chain has
/// can never change: links run over these bytes.
pub const FORMAT: u8 = 1;

fn put_head(out: &mut impl Sink, format: u8, received: Timestamp) -> Result<(), Reject> {
    out.put_u8(format)?;
    out.put_int(received.millis())
}

/// The format, at most `newest`, and the time received.
fn read_head(reader: &mut Reader<'_>, newest: u8) -> Result<(u8, Timestamp), Reject> {
    let format = reader.u8()?;
    if !(1..=newest).contains(&format) {
        return Err(Reject::Version);
    }
    Ok((format, Timestamp::from_millis(reader.int()?).ok_or(Reject::Time)?))
}

/// When a commit was received by its origin's clock, from the head of any canonical body.
///
/// # Errors
/// [`Reject::Version`] for another format, [`Reject::Truncated`] or [`Reject::Time`] for bad bytes.
pub fn received(body: &[u8]) -> Result<Timestamp, Reject> {
    read_head(&mut Reader::new(body), rollups::FORMAT).map(|(_, received)| received)
}

/// Checks that `body` is a canonical body of `stream` with `count` entries.
///
/// # Errors
/// The first thing that is wrong with it.
pub fn check(stream: Stream, body: &[u8], count: u32) -> Result<(), Reject> {
    let found = match stream {
        Stream::Reading => readings::check(body)?,
        Stream::Rollup => rollups::check(body)?,
        Stream::Event | Stream::Log => events::check(body)?,
    };
    if found == u64::from(count) && count > 0 { Ok(()) } else { Err(Reject::Malformed) }
}
