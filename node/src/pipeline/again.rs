//! Windows made anew from the log.
//!
//! A summary takes the readings of its node in the order of the log. When a node gets back what it
//! had lost, readings come that belong before some that were taken already; the windows they fall
//! into are made anew from all that the log holds.

use super::catalog::Catalog;
use super::rolled::Rolled;
use super::windows::WindowKey;
use holdfast_core::log::readings;
use holdfast_core::rollup::{Revision, Sample, Window};
use holdfast_core::{ChainId, Incarnation, NodeId, Seq, Stream};
use holdfast_sync::Fault;
use holdfast_sync::store::{ChainNo, Snapshot, StoredCommit};
use std::collections::{BTreeSet, HashMap};

/// Samples by their place in the log: start of the node and entry.
type Taken = HashMap<WindowKey, Vec<((Incarnation, Seq), Sample)>>;

/// The summaries of `windows` of the node `here`, from its readings in the log.
pub(super) fn summarise(
    view: &Snapshot<'_>,
    here: NodeId,
    catalog: &Catalog,
    windows: &BTreeSet<WindowKey>,
) -> Result<HashMap<WindowKey, Rolled>, Fault> {
    let starts = windows.iter().map(|key| key.window.start_s).min();
    let ends = windows.iter().map(|key| key.window.end_s()).max();
    let (Some(from_s), Some(to_s)) = (starts, ends) else { return Ok(HashMap::new()) };
    let mut chains = view.chains()?;
    chains.retain(|chain| chain.id.origin == here && chain.id.stream == Stream::Reading);
    let ids: HashMap<ChainNo, ChainId> = chains.iter().map(|c| (c.no, c.id)).collect();
    let numbers: Vec<_> = chains.iter().map(|chain| chain.no).collect();
    let mut widths: Vec<u32> = windows.iter().map(|key| key.window.width_s).collect();
    widths.sort_unstable();
    widths.dedup();
    let mut taken = Taken::new();
    let span = (from_s.saturating_mul(1_000), to_s.saturating_mul(1_000));
    view.commits_matching(&numbers, span, None, |commit| {
        // What of it is damaged is left out; `verify` names it.
        let id = ids[&commit.chain];
        for part in commit.parts().unwrap_or_default() {
            take(&part, &id, catalog, (windows, &widths), &mut taken);
        }
        true
    })?;
    let made = taken.into_iter().filter_map(|(key, mut all)| {
        all.sort_by_key(|(place, _)| *place);
        let revision = |(start, seq): (Incarnation, Seq)| Revision { boot: start.boot, seq };
        let mut all = all.into_iter();
        let (place, sample) = all.next()?;
        let mut rolled = Rolled::of(sample, revision(place));
        all.for_each(|(place, sample)| rolled.take(sample, revision(place)));
        Some((key, rolled))
    });
    Ok(made.collect())
}

fn take(
    commit: &StoredCommit,
    chain: &ChainId,
    catalog: &Catalog,
    (windows, widths): (&BTreeSet<WindowKey>, &[u32]),
    taken: &mut Taken,
) {
    let Ok(body) = readings::Body::new(&commit.body) else { return };
    let received = body.received();
    let series: Vec<_> = body.series().map(|key| catalog.number(&chain.origin, &key)).collect();
    for (row, seq) in body.rows().flatten().zip(commit.first..) {
        let (Some(info), Some(value)) = (&series[row.series as usize], row.value.number()) else {
            continue;
        };
        let time = row.effective_time(received);
        for width in widths {
            let key = WindowKey { window: Window::tumbling(*width, time), series: info.no };
            if windows.contains(&key) {
                let place = (chain.incarnation, seq);
                taken.entry(key).or_default().push((place, Sample { time, value }));
            }
        }
    }
}
