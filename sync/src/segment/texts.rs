//! Events and logs: their bodies as they are, packed together.

use super::column::{ColumnNo, ColumnReader, Columns};
use super::{Commit, Plan, SegmentError};
use holdfast_core::Reject;
use holdfast_core::codec::Reader;
use holdfast_core::log::events;

/// Writes the content of the commits and returns when each was received, in milliseconds.
pub(super) fn encode(
    commits: &[Commit],
    columns: &mut Columns,
    out: &mut Vec<u8>,
) -> Result<Vec<i64>, SegmentError> {
    let mut received = Vec::with_capacity(commits.len());
    let (mut lengths, mut bodies) = (Vec::with_capacity(commits.len()), Vec::new());
    for commit in commits {
        if events::check(&commit.body)? != u64::from(commit.count) {
            return Err(Reject::Malformed.into());
        }
        received.push(holdfast_core::log::received(&commit.body)?.millis());
        lengths.push(commit.body.len() as i64);
        bodies.extend_from_slice(&commit.body);
    }
    columns.ints(&lengths).put(out)?;
    columns.bytes(&bodies).put(out)?;
    Ok(received)
}

/// Hands out the bodies again.
pub(super) fn decode(
    columns: &ColumnReader<'_>,
    mut content: Reader<'_>,
    plan: &Plan<'_>,
    made: &mut impl FnMut(u32, Vec<u8>) -> Result<(), SegmentError>,
) -> Result<(), SegmentError> {
    let (lengths, bodies) = (ColumnNo::read(&mut content)?, ColumnNo::read(&mut content)?);
    content.finish()?;
    let lengths = columns.ints(lengths, plan.counts.len())?;
    let bodies = columns.bytes(bodies)?;
    let mut rest = Reader::new(&bodies);
    for (count, length) in plan.counts.iter().zip(lengths) {
        let length = usize::try_from(length).map_err(|_| Reject::Malformed)?;
        made(*count, rest.take(length)?.to_vec())?;
    }
    Ok(rest.finish()?)
}
