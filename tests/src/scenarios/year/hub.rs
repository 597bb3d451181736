//! The hub, as far as a gateway can tell it apart: it takes what the gateway has while there is a
//! link, and acknowledges it. It keeps account of what it was told.

use super::gateway::WINDOW_S;
use holdfast_core::log::events::{self, Event, GapReason};
use holdfast_core::log::rollups;
use holdfast_core::ranges::Range;
use holdfast_core::{ChainId, NodeId, Stream};
use holdfast_sync::store::{ChainInfo, ChainNo, Frontier, Snapshot, Store, StoredCommit};
use std::collections::{BTreeMap, BTreeSet};

/// Windows for which a revision may come: two days of them.
const OPEN: i64 = 2 * 86_400 / WINDOW_S as i64;
/// What it is called.
const HUB: NodeId = NodeId([9; 32]);
const ALL: usize = usize::MAX;

/// What the hub knows.
#[derive(Default)]
pub struct Hub {
    acked: BTreeMap<ChainId, Frontier>,
    declared: BTreeMap<ChainId, Vec<Range>>,
    /// Count of the readings in each window that may still be revised.
    open: BTreeMap<(i64, String), u64>,
    /// Readings in the windows before.
    summed: u64,
    /// Alerts that were raised and not cleared.
    pub active: BTreeSet<u64>,
    /// Alerts that were raised.
    pub raised: u64,
    /// Starts that it heard of.
    pub starts: u64,
}

/// What is new of a chain.
struct News {
    chain: ChainInfo,
    held: Vec<Range>,
    commits: Vec<StoredCommit>,
}

/// What of `ranges` is in none of `gaps`; both ascend.
fn without(ranges: &[Range], gaps: &[Range]) -> Vec<Range> {
    let mut out = Vec::new();
    for range in ranges {
        let mut from = range.from;
        for gap in gaps.iter().filter(|gap| gap.from <= range.to && range.from <= gap.to) {
            out.extend(Range::new(from, gap.from.saturating_sub(1)));
            from = from.max(gap.to + 1);
        }
        out.extend(Range::new(from, range.to));
    }
    out
}

impl Hub {
    /// Takes what is there and acknowledges it.
    ///
    /// # Panics
    /// When what it is told does not fit to what it was told before.
    pub async fn take(&mut self, store: &Store) {
        let news = store.read_blocking(|view| self.look(view)).expect("the log can be read");
        let mut acked: Vec<(ChainNo, Frontier)> = Vec::new();
        // Events come first, and tell what of the others is gone.
        for new in &news {
            new.commits.iter().for_each(|commit| match new.chain.id.stream {
                Stream::Event => self.events(new.chain.id.origin, commit),
                _ => self.rollups(commit),
            });
        }
        for new in news {
            let known = self.acked.entry(new.chain.id).or_default();
            let declared = self.declared.get(&new.chain.id).map_or(&[][..], Vec::as_slice);
            for range in new.held.iter().chain(declared) {
                known.add(*range).expect("what is held or declared is in few pieces");
            }
            acked.push((new.chain.no, known.clone()));
        }
        let note = store.write(move |tx| {
            acked.iter().try_for_each(|(no, frontier)| tx.set_acked(&HUB, *no, frontier))
        });
        note.await.expect("an acknowledgement is noted");
        let newest = self.open.keys().map(|(window, _)| *window).max().unwrap_or(0);
        let over = self.open.split_off(&(newest - OPEN, String::new()));
        self.summed += std::mem::replace(&mut self.open, over).into_values().sum::<u64>();
    }

    fn look(&self, view: &Snapshot<'_>) -> Result<Vec<News>, holdfast_sync::Fault> {
        let mut news = Vec::new();
        let mut chains = view.chains()?;
        chains.retain(|chain| self.acked.get(&chain.id) != Some(&chain.frontier));
        chains.sort_by_key(|chain| chain.id.stream);
        for chain in chains {
            let mut gaps: Vec<_> = view.gaps(chain.no)?.iter().map(|gap| gap.range).collect();
            gaps.sort_unstable();
            let held = without(chain.frontier.as_slice(), &gaps);
            let known = self.acked.get(&chain.id).map_or(0, Frontier::max);
            let commits = match chain.id.stream {
                Stream::Event | Stream::Rollup => view.commits_from(chain.no, known + 1, ALL)?,
                Stream::Reading | Stream::Log => Vec::new(),
            };
            news.push(News { chain, held, commits });
        }
        Ok(news)
    }

    fn events(&mut self, origin: NodeId, commit: &StoredCommit) {
        let (_, events) = events::read(&commit.body).expect("a commit of events");
        for event in events {
            match event.expect("an event") {
                Event::Start { .. } => self.starts += 1,
                Event::Gap(gap) => {
                    assert_eq!(gap.reason, GapReason::Quota, "nothing was damaged");
                    assert_eq!(gap.stream, Stream::Reading, "rollups and events stay");
                    let (incarnation, stream) = (gap.incarnation, gap.stream);
                    let id = ChainId { origin, incarnation, stream };
                    self.declared.entry(id).or_default().push(gap.range);
                }
                Event::AlertRaised(raised) => {
                    assert!(self.active.insert(raised.id.0), "an alert is raised once");
                    self.raised += 1;
                }
                Event::AlertCleared(cleared) => {
                    assert!(self.active.remove(&cleared.id.0), "an alert ends once");
                }
                other => panic!("nobody said {other:?}"),
            }
        }
    }

    fn rollups(&mut self, commit: &StoredCommit) {
        let body = rollups::Body::new(&commit.body).expect("a commit of rollups");
        let names: Vec<_> =
            body.series().map(|key| format!("{}/{}", key.device.as_str(), key.metric)).collect();
        for row in body.rows() {
            let (row, _) = row.expect("a rollup");
            if row.window.width_s == WINDOW_S {
                let window = row.window.start_s / i64::from(WINDOW_S);
                let name = names[row.series as usize].clone();
                // Commits of a chain come in their order, and a later start has the later word.
                self.open.insert((window, name), row.summary.count);
            }
        }
    }

    /// Readings that the windows have in them.
    #[must_use]
    pub fn summed(&self) -> u64 {
        self.summed + self.open.values().sum::<u64>()
    }

    /// Readings that were declared as gone before the hub had them.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.declared.values().flatten().map(|range| range.count()).sum()
    }

    /// Readings that it has or knows to be gone.
    ///
    /// # Panics
    /// When there is a hole that nobody has explained.
    #[must_use]
    pub fn known(&self) -> u64 {
        let readings = self.acked.iter().filter(|(id, _)| id.stream == Stream::Reading);
        let each = readings.map(|(id, set)| {
            assert!(set.as_slice().len() <= 1, "{id} has a hole that was not explained: {set:?}");
            set.count()
        });
        each.sum()
    }
}
