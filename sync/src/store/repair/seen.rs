//! The sequences seen of each device, made anew from the readings that are still there.

use crate::Fault;
use crate::store::admit::seen_key;
use crate::store::commits::StoredCommit;
use crate::store::cover::Cover;
use crate::store::record::Table;
use crate::store::snapshot::Snapshot;
use holdfast_core::codec::Reader;
use holdfast_core::limits::DEVICE_RANGES;
use holdfast_core::log::readings::Body;
use holdfast_core::ranges::{Range, RangeSet};
use std::collections::BTreeMap;

/// Sequences by the key of their record.
#[derive(Debug, Default)]
pub(super) struct Seen {
    devices: BTreeMap<Vec<u8>, Cover>,
}

impl Seen {
    /// Takes the device sequences of a commit of readings.
    pub(super) fn take(&mut self, commit: &StoredCommit) {
        for part in commit.parts().unwrap_or_default() {
            self.take_body(&part.body);
        }
    }

    fn take_body(&mut self, body: &[u8]) {
        let Ok(body) = Body::new(body) else { return };
        let series: Vec<_> = body.series().collect();
        for row in body.rows().flatten() {
            if let (Some(source), Some(key)) = (row.source, series.get(row.series as usize))
                && let Some(range) = Range::new(source.seq, source.seq)
            {
                let key = seen_key(key.device.as_str(), source.boot);
                self.devices.entry(key).or_default().add(range);
            }
        }
    }

    /// The records, each joined with the one that was salvaged. When there are too many ranges the
    /// greatest stay: devices repeat what is recent.
    pub(super) fn records(
        self,
        view: &Snapshot<'_>,
    ) -> Result<Vec<(Vec<u8>, RangeSet<DEVICE_RANGES>)>, Fault> {
        let mut out = Vec::with_capacity(self.devices.len());
        for (key, mut cover) in self.devices {
            if let Some(value) = view.get(Table::Seen, &key)?
                && let Ok(set) = RangeSet::<DEVICE_RANGES>::decode(&mut Reader::new(&value))
            {
                cover.extend(set.as_slice().iter().copied());
            }
            let mut set = RangeSet::new();
            for range in cover.ranges().rev().take(DEVICE_RANGES) {
                set.add(range).expect("as many ranges as it has room for");
            }
            out.push((key, set));
        }
        Ok(out)
    }
}
