//! The windows: summaries by series, width and start, and which of them wait for their rollup.

use super::catalog::{Catalog, SeriesNo};
use super::logged;
use super::rolled::{Rolled, decode_window};
use holdfast_core::rollup::Window;
use holdfast_sync::Fault;
use holdfast_sync::store::{Snapshot, Table};
use std::collections::HashMap;

/// Rollups in one commit: each takes at most about 900 bytes, the name of its series and 64 buckets
/// included, and together they have to fit into one.
pub(super) const ROLLUPS_MAX: usize = 1_000;
/// Records of pending windows stand behind all series, which never reach this number.
pub(super) const PENDING: [u8; 4] = [0xff; 4];
/// With a sketch each takes a little more than a kilobyte.
const CACHE_MAX: usize = 10_000;

/// One window of one series.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WindowKey {
    /// The window; first, so that pending windows sort by time.
    pub window: Window,
    /// The series.
    pub series: SeriesNo,
}

/// The start of the keys of a series' windows of one width.
#[must_use]
pub fn window_prefix(series: SeriesNo, width_s: u32) -> [u8; 8] {
    let mut out = [0; 8];
    out[..4].copy_from_slice(&series.0.to_be_bytes());
    out[4..].copy_from_slice(&width_s.to_be_bytes());
    out
}

/// A start so that byte order is time order before 1970 too.
pub(super) fn sortable(start_s: i64) -> [u8; 8] {
    (start_s as u64 ^ 1 << 63).to_be_bytes()
}

impl WindowKey {
    /// The key of the window's record.
    #[must_use]
    pub fn record(&self) -> Vec<u8> {
        let prefix = window_prefix(self.series, self.window.width_s);
        [prefix.as_slice(), &sortable(self.window.start_s)].concat()
    }

    pub(super) fn pending_record(&self) -> Vec<u8> {
        [PENDING.as_slice(), &self.record()].concat()
    }

    fn parse(record: &[u8]) -> Option<Self> {
        let (series, rest) = record.split_first_chunk::<4>()?;
        let (width, rest) = rest.split_first_chunk::<4>()?;
        let start = rest.first_chunk::<8>()?;
        let start_s = (u64::from_be_bytes(*start) ^ 1 << 63) as i64;
        let window = Window { width_s: u32::from_be_bytes(*width), start_s };
        Some(Self { window, series: SeriesNo(u32::from_be_bytes(*series)) })
    }
}

pub(super) fn load_pending(view: &Snapshot<'_>) -> Result<Vec<WindowKey>, Fault> {
    let records = view.scan(Table::Window, &PENDING, &[], usize::MAX)?;
    Ok(records.iter().filter_map(|(key, _)| WindowKey::parse(&key[PENDING.len()..])).collect())
}

/// Windows used lately.
#[derive(Debug, Default)]
pub(super) struct Cache {
    rolled: HashMap<WindowKey, Rolled>,
}

impl Cache {
    pub(super) fn get(
        &self,
        view: &Snapshot<'_>,
        key: &WindowKey,
        catalog: &Catalog,
    ) -> Result<Option<Rolled>, Fault> {
        if let Some(rolled) = self.rolled.get(key) {
            return Ok(Some(rolled.clone()));
        }
        match view.get(Table::Window, &key.record())? {
            Some(value) => Ok(Some(decode_window(&value)?.1)),
            None if key.window.end_s() <= logged::horizon(view)? => {
                let series = catalog.info(key.series);
                series.map_or(Ok(None), |series| logged::logged(view, &series, key.window))
            }
            None => Ok(None),
        }
    }

    pub(super) fn put(&mut self, key: WindowKey, rolled: Rolled) {
        if self.rolled.len() >= CACHE_MAX {
            self.rolled.clear();
        }
        self.rolled.insert(key, rolled);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn window_records_sort_by_time_and_read_back() {
        let key =
            |start_s| WindowKey { window: Window { width_s: 60, start_s }, series: SeriesNo(7) };
        let starts = [i64::MIN / 2, -60, 0, 60, 1 << 40];
        let records: Vec<_> = starts.iter().map(|s| key(*s).record()).collect();
        assert!(records.is_sorted());
        for (start, record) in starts.iter().zip(&records) {
            assert_eq!(WindowKey::parse(record), Some(key(*start)));
            assert!(record.starts_with(&window_prefix(SeriesNo(7), 60)));
        }
    }
}
