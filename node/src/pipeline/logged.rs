//! Windows of the past: only in the log.
//!
//! A window's record is worth its room while readings still come for it and charts of the day are
//! drawn from it. Once its rollup is in the log and it has been over for some time the record goes.
//! How far that has got, the *horizon*, stands in the store before the first record is removed.
//! What ends before the horizon is looked up in the log, where it takes a tenth of the room.

use super::catalog::SeriesInfo;
use super::rolled::Rolled;
use super::windows::{PENDING, WindowKey, sortable};
use holdfast_core::log::rollups::{Body, Row};
use holdfast_core::rollup::Window;
use holdfast_core::sketch::Sketch;
use holdfast_core::{Stream, Timestamp};
use holdfast_sync::Fault;
use holdfast_sync::store::{Snapshot, StoredCommit, Table, WriteError, WriteTx, series_bits};
use std::collections::{BTreeMap, BTreeSet};

const HORIZON: &[u8] = b"windows";
/// The widest window that a node keeps, seconds.
pub const WIDEST_S: i64 = 86_400;
/// Series and widths that one transaction goes through; bounds how long it holds the writer.
const STEP: usize = 200;

/// Windows that end at or before this, Unix seconds, may have no record any more.
///
/// # Errors
/// A fault of the store.
pub fn horizon(view: &Snapshot<'_>) -> Result<i64, Fault> {
    let value = view.get(Table::Meta, HORIZON)?;
    let bytes = value.as_deref().and_then(|value| value.first_chunk::<8>());
    Ok(bytes.map_or(i64::MIN, |bytes| i64::from_be_bytes(*bytes)))
}

/// Windows of a series by their width and their start, in seconds.
pub type ByWidth = BTreeMap<u32, BTreeMap<i64, Rolled>>;

/// The windows of a series in the log, of one width or of all, that begin within `from_s` to
/// `to_s`: the last word of each.
///
/// # Errors
/// A fault of the store.
pub fn logged_windows(
    view: &Snapshot<'_>,
    series: &SeriesInfo,
    width_s: Option<u32>,
    (from_s, to_s): (i64, i64),
) -> Result<ByWidth, Fault> {
    let (key, mut out) = (series.key(), ByWidth::new());
    let mut take = |row: Row, sketch: Option<Sketch>| {
        let Window { width_s: width, start_s } = row.window;
        if width_s.is_none_or(|wanted| wanted == width) && (from_s..=to_s).contains(&start_s) {
            stand(&mut out, row.window, Rolled::from((row, sketch)));
        }
    };
    let span = (from_s, to_s.saturating_add(width_s.map_or(WIDEST_S, i64::from)));
    commits(view, series, span, |commit| {
        if commit.sealed {
            // What of it is damaged is left out; `verify` names it.
            let _ = commit.segment().map(|segment| segment.each_rollup(&key, &mut take));
            return true;
        }
        let Ok(body) = Body::new(&commit.body) else { return true };
        let Some(place) = body.series().position(|series| series == key) else { return true };
        let rows = body.rows().flatten().filter(|(row, _)| row.series as usize == place);
        rows.for_each(|(row, sketch)| take(row, sketch));
        true
    })?;
    Ok(out)
}

/// Whether the log may hold windows of a series with readings from `from_s` to `to_s`.
///
/// # Errors
/// A fault of the store.
pub fn is_logged(
    view: &Snapshot<'_>,
    series: &SeriesInfo,
    span_s: (i64, i64),
) -> Result<bool, Fault> {
    let mut found = false;
    commits(view, series, span_s, |_| {
        found = true;
        false
    })?;
    Ok(found)
}

/// Commits of rollups that may hold a series and have readings from `from_s` to `to_s`.
fn commits(
    view: &Snapshot<'_>,
    series: &SeriesInfo,
    (from_s, to_s): (i64, i64),
    each: impl FnMut(StoredCommit) -> bool,
) -> Result<(), Fault> {
    let mut chains = view.chains()?;
    chains.retain(|c| c.id.origin == series.origin && c.id.stream == Stream::Rollup);
    let numbers: Vec<_> = chains.iter().map(|chain| chain.no).collect();
    let span = (from_s.saturating_mul(1_000), to_s.saturating_mul(1_000).saturating_add(999));
    view.commits_matching(&numbers, span, Some(series_bits(&series.key())), each)
}

/// Takes what is told of a window, unless what is known goes further.
pub fn stand(windows: &mut ByWidth, window: Window, told: Rolled) {
    let windows = windows.entry(window.width_s).or_default();
    let stands = match windows.remove(&window.start_s) {
        Some(known) => known.later(told),
        None => told,
    };
    windows.insert(window.start_s, stands);
}

/// What one window comes to in the log.
pub(super) fn logged(
    view: &Snapshot<'_>,
    series: &SeriesInfo,
    window: Window,
) -> Result<Option<Rolled>, Fault> {
    let (width, start) = (window.width_s, window.start_s);
    let found = logged_windows(view, series, Some(width), (start, start))?;
    Ok(found.into_values().flatten().map(|(_, rolled)| rolled).next())
}

/// The removal of records up to a horizon, in steps.
#[derive(Debug)]
pub(super) struct Removal {
    horizon_s: i64,
    /// Keys before this have been gone through.
    at: Vec<u8>,
}

impl Removal {
    /// Removes what ended `kept_s` ago.
    pub(super) fn new(now: Timestamp, kept_s: u64) -> Self {
        let kept_s = i64::try_from(kept_s).unwrap_or(i64::MAX);
        Self { horizon_s: now.seconds().saturating_sub(kept_s), at: Vec::new() }
    }

    /// Series and widths with windows so old whose rollup is still to come: their records stay. A
    /// late reading may have revised one since the step before.
    pub(super) fn waiting<'a>(
        &self,
        pending: impl Iterator<Item = &'a WindowKey>,
    ) -> BTreeSet<[u8; 8]> {
        let old = pending.filter(|key| key.window.end_s() <= self.horizon_s);
        old.filter_map(|key| key.record().first_chunk::<8>().copied()).collect()
    }

    /// Goes on; the next step, if there is one.
    pub(super) fn step(
        mut self,
        tx: &mut WriteTx<'_>,
        waiting: &BTreeSet<[u8; 8]>,
    ) -> Result<Option<Self>, WriteError> {
        let known = horizon(&tx.view())?;
        if known < self.horizon_s {
            tx.put(Table::Meta, HORIZON, &self.horizon_s.to_be_bytes())?;
        }
        for _ in 0..STEP {
            let mut found = None;
            let view = tx.view();
            view.scan_from(Table::Window, &self.at, false, Some(&PENDING), |key, _| {
                found = key.first_chunk::<8>().copied();
                false
            })?;
            let Some(prefix) = found else { return Ok(None) };
            let width_s = u32::from_be_bytes([prefix[4], prefix[5], prefix[6], prefix[7]]);
            if !waiting.contains(&prefix) {
                let start_s = self.horizon_s.saturating_sub(i64::from(width_s));
                let end = [prefix.as_slice(), &sortable(start_s.saturating_add(1))].concat();
                tx.delete_range(Table::Window, &prefix, &end)?;
            }
            self.at = (u64::from_be_bytes(prefix) + 1).to_be_bytes().to_vec();
        }
        Ok(Some(self))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::SeriesNo;
    use holdfast_sync::env::System;
    use holdfast_sync::identity::NodeKey;
    use holdfast_sync::store::{Options, Overflow, SEAL_AFTER, Store};

    /// The step before knew nothing of the reading: without its record the rollup that is still to
    /// come would be the old one.
    #[tokio::test]
    async fn a_record_that_a_late_reading_revised_between_two_steps_stays() {
        let dir = tempfile::tempdir().unwrap();
        let options = Options {
            dir: dir.path().to_owned(),
            key: NodeKey::generate(&System::env()),
            quota_bytes: 1 << 30,
            overflow: Overflow::DropOldestRaw,
            max_series: 10,
            seal_after: SEAL_AFTER,
            version: "test",
            scrub_every: std::time::Duration::ZERO,
            unsafe_normal_sync: false,
        };
        let (store, _) = Store::open(options, System::env()).unwrap();
        let key =
            |no| WindowKey { window: Window { width_s: 60, start_s: 600 }, series: SeriesNo(no) };
        let last = STEP as u32 + 1;
        let fill = move |tx: &mut WriteTx<'_>| {
            (1..=last).try_for_each(|no| Ok(tx.put(Table::Window, &key(no).record(), b"x")?))
        };
        store.write(fill).await.unwrap();
        let mut removal = Some(Removal::new(Timestamp(10_000_000_000_000), 0));
        let mut pending = Vec::new();
        while let Some(step) = removal.take() {
            let waiting = step.waiting(pending.iter());
            removal = store.write(move |tx| step.step(tx, &waiting)).await.unwrap().1;
            pending = vec![key(last)];
        }
        let left = |view: &Snapshot<'_>| view.scan(Table::Window, &[], &[], usize::MAX);
        let left: Vec<_> = store.read_blocking(left).unwrap().into_iter().map(|r| r.0).collect();
        assert_eq!(left, [key(last).record()]);
        store.close().await;
    }
}
