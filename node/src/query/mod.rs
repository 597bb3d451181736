//! Queries over what the store holds: readings of a series, raw or down-sampled, and rollups.
//!
//! Every answer says as of when it is: the head of the log and how far the pipeline has read.

mod sample;
mod tiles;
mod windows;

pub use sample::{Downsampler, Point};
pub use windows::{Calendar, Shape, Stretch, Windows, windows};

use holdfast_core::log::readings::Row;
use holdfast_core::reading::DeviceSeq;
use holdfast_core::{NodeId, Quality, SeriesKey, Stream, Timestamp};
use holdfast_sync::Fault;
use holdfast_sync::segment::Want;
use holdfast_sync::store::{ChainNo, OwnedValue, Snapshot};
use std::collections::HashSet;

/// A span of effective time, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// The first moment.
    pub from: Timestamp,
    /// The last moment.
    pub to: Timestamp,
}

impl Span {
    fn millis(self) -> (i64, i64) {
        (self.from.millis(), self.to.millis())
    }

    const fn holds(self, time: Timestamp) -> bool {
        self.from.0 <= time.0 && time.0 <= self.to.0
    }
}

/// A reading as a query returns it.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// The time under which it is filed.
    pub time: Timestamp,
    /// The device's time, if it gave one.
    pub device_time: Option<Timestamp>,
    /// When its origin received it.
    pub received: Timestamp,
    /// Its value.
    pub value: OwnedValue,
    /// How far to trust it.
    pub quality: Quality,
    /// The device's own name for the message.
    pub source: Option<DeviceSeq>,
}

/// The chains of readings of the given origins.
fn reading_chains(view: &Snapshot<'_>, origins: &[NodeId]) -> Result<Vec<ChainNo>, Fault> {
    let mut chains = view.chains()?;
    chains.retain(|c| c.id.stream == Stream::Reading && origins.contains(&c.id.origin));
    chains.sort_by_key(|chain| (chain.id.origin, chain.id.incarnation));
    Ok(chains.iter().map(|chain| chain.no).collect())
}

/// Hands every reading of a series within `span` to `each`, in no particular order, once even when
/// a device posted it through several gateways. Unless `whole`, only time, value and quality are
/// right, which costs much less.
///
/// # Errors
/// A fault of the store.
pub fn each_reading(
    view: &Snapshot<'_>,
    origins: &[NodeId],
    key: &SeriesKey<'_>,
    span: Span,
    whole: bool,
    mut each: impl FnMut(Found),
) -> Result<(), Fault> {
    let want = Want { received: whole, source: whole || origins.len() > 1 };
    let chains = reading_chains(view, origins)?;
    // One origin has removed its doubles on the way in.
    let mut seen = (origins.len() > 1).then(HashSet::new);
    let take = |received: Timestamp, row: &Row<'_>| {
        let time = row.effective_time(received);
        let new = match (&mut seen, row.source) {
            (Some(seen), Some(source)) => seen.insert((source, row.time)),
            _ => true,
        };
        if new && span.holds(time) {
            each(Found {
                time,
                device_time: row.time,
                received,
                value: row.value.into(),
                quality: row.quality,
                source: row.source,
            });
        }
    };
    view.each_reading(&chains, span.millis(), key, want, take)
}

/// At most `limit` readings of a series within `span`, by time, the earliest or the latest ones.
///
/// # Errors
/// A fault of the store.
pub fn readings(
    view: &Snapshot<'_>,
    origins: &[NodeId],
    key: &SeriesKey<'_>,
    span: Span,
    limit: usize,
    latest: bool,
) -> Result<Vec<Found>, Fault> {
    let mut found = Vec::new();
    let keep = |found: &mut Vec<Found>| {
        // Of equal times the order of the log stands: the sort is stable.
        found.sort_by_key(|reading| reading.time);
        if latest {
            found.drain(..found.len().saturating_sub(limit));
        } else {
            found.truncate(limit);
        }
    };
    each_reading(view, origins, key, span, true, |reading| {
        found.push(reading);
        if found.len() >= 2 * limit + 4096 {
            keep(&mut found);
        }
    })?;
    keep(&mut found);
    Ok(found)
}

/// A series within `span` as about `points` points that keep its extremes.
///
/// # Errors
/// A fault of the store.
pub fn downsampled(
    view: &Snapshot<'_>,
    origins: &[NodeId],
    key: &SeriesKey<'_>,
    span: Span,
    points: usize,
) -> Result<Vec<Point>, Fault> {
    let mut sampler = Downsampler::new(span, points);
    each_reading(view, origins, key, span, false, |reading| {
        if let Some(value) = reading.value.get().number() {
            sampler.push(Point { time: reading.time, value });
        }
    })?;
    Ok(sampler.finish())
}
