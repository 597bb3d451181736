//! Looking for the readings of one series: of a commit its body is read, of a segment the directory
//! and the columns of that series.
//!
//! A segment holds all series of a stretch of the log. SQLite is asked for the parts that are
//! needed in place of the whole, which saves most of the copying, and what they are read into is
//! used again for the next segment.

use super::chains::ChainNo;
use super::commits::{CommitFilter, series_bits};
use super::schema::fault;
use super::snapshot::Snapshot;
use crate::Fault;
use crate::segment::{Segment, SegmentError, Source, Want};
use holdfast_core::log::readings::{Body, Row};
use holdfast_core::{SeriesKey, Timestamp};
use rusqlite::blob::Blob;
use rusqlite::{Connection, MAIN_DB, params};
use std::cell::Cell;
use std::fmt;

/// The body of a row of the log, wherever SQLite has its pages.
struct StoredBody<'c> {
    blob: Blob<'c>,
    /// What kept it from being read.
    failed: Cell<Option<rusqlite::Error>>,
}

impl fmt::Debug for StoredBody<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoredBody").field("len", &self.blob.len()).finish_non_exhaustive()
    }
}

impl Source for StoredBody<'_> {
    fn size(&self) -> usize {
        self.blob.len()
    }

    fn read(&self, at: usize, into: &mut [u8]) -> Result<(), SegmentError> {
        self.blob.read_at_exact(into, at).map_err(|error| {
            self.failed.set(Some(error));
            SegmentError::Frame
        })
    }
}

/// Reads segments one after another.
struct Segments<'c> {
    connection: &'c Connection,
    body: Option<StoredBody<'c>>,
    directory: Vec<u8>,
}

impl<'c> Segments<'c> {
    const fn new(connection: &'c Connection) -> Self {
        Self { connection, body: None, directory: Vec::new() }
    }

    /// Hands the readings of a series in the segment at `pos` to `each`. What of it is damaged is
    /// left out; `verify` names it.
    fn each_row(
        &mut self,
        pos: i64,
        key: &SeriesKey<'_>,
        want: Want,
        each: &mut impl FnMut(Timestamp, &Row<'_>),
    ) -> Result<(), Fault> {
        let mut body = match self.body.take() {
            Some(body) => body,
            None => {
                let blob = self.connection.blob_open(MAIN_DB, "commits", "body", pos, true);
                StoredBody { blob: blob.map_err(fault)?, failed: Cell::new(None) }
            }
        };
        body.blob.reopen(pos).map_err(fault)?;
        let _ = Segment::open_at(&body, &mut self.directory)
            .and_then(|segment| segment.each_row(key, want, each));
        let failed = body.failed.take();
        self.body = Some(body);
        failed.map_or(Ok(()), |error| Err(fault(error)))
    }
}

impl Snapshot<'_> {
    /// Hands every reading of a series in the commits and segments of `chains` that may hold any in
    /// a span of effective time (Unix milliseconds, both included) to `each`, with the time it was
    /// received, in no particular order. There may be some beyond the span among them.
    ///
    /// # Errors
    /// A database fault.
    pub fn each_reading(
        &self,
        chains: &[ChainNo],
        (t_from, t_to): (i64, i64),
        key: &SeriesKey<'_>,
        want: Want,
        mut each: impl FnMut(Timestamp, &Row<'_>),
    ) -> Result<(), Fault> {
        let sql = "SELECT pos, sealed, filter, CASE WHEN sealed THEN x'' ELSE body END FROM commits
                   WHERE chain=?1 AND t_max>=?2 AND t_min<=?3 ORDER BY t_max";
        let mut statement = self.connection.prepare_cached(sql).map_err(fault)?;
        let mut segments = Segments::new(self.connection);
        let bits = series_bits(key);
        for chain in chains {
            let mut rows = statement.query(params![chain.0, t_from, t_to]).map_err(fault)?;
            while let Some(row) = rows.next().map_err(fault)? {
                let bytes = |column| row.get_ref(column).map(|value| value.as_blob());
                let filter = bytes(2).map_err(fault)?.unwrap_or_default();
                if !CommitFilter::may_hold(filter, bits) {
                    continue;
                }
                if row.get(1).map_err(fault)? {
                    segments.each_row(row.get(0).map_err(fault)?, key, want, &mut each)?;
                } else {
                    of_body(bytes(3).map_err(fault)?.unwrap_or_default(), key, &mut each);
                }
            }
        }
        Ok(())
    }
}

/// Hands the readings of a series in a canonical body to `each`.
fn of_body(body: &[u8], key: &SeriesKey<'_>, each: &mut impl FnMut(Timestamp, &Row<'_>)) {
    let Ok(body) = Body::new(body) else { return };
    let Some(place) = body.series().position(|series| series == *key) else { return };
    for row in body.rows().flatten().filter(|row| row.series as usize == place) {
        each(body.received(), &row);
    }
}
