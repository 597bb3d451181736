//! What the hub lacks, by what it has acknowledged. It is on disk, so it can be told without a
//! link and after a restart, too: how many readings, and from when on.

use holdfast_core::log::readings::Body;
use holdfast_core::ranges::Range;
use holdfast_core::{NodeId, Stream, Timestamp};
use holdfast_sync::Fault;
use holdfast_sync::store::{ChainInfo, Snapshot};

/// The readings of this node that the hub has not acknowledged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lacks {
    /// How many.
    pub readings: u64,
    /// When the oldest of them was received.
    pub since: Option<Timestamp>,
}

impl Lacks {
    /// Of the node `node`. What is in a declared gap will not come and is not lacked.
    ///
    /// # Errors
    /// A fault of the store.
    pub fn look(view: &Snapshot<'_>, node: NodeId) -> Result<Self, Fault> {
        let (mut lacks, mut acked) = (Self::default(), view.acked_by_any()?);
        let own = |c: &ChainInfo| c.id.origin == node && c.id.stream == Stream::Reading;
        for chain in view.chains()?.iter().filter(|chain| own(chain)) {
            let Some(all) = Range::new(1, chain.frontier.max()) else { continue };
            let mut known = acked.remove(&chain.no).unwrap_or_default();
            for gap in view.gaps(chain.no)? {
                // A set that is full leaves the rest of the gaps in: some too many are told.
                let _ = known.add(gap.range);
            }
            let mut oldest = None;
            for hole in known.missing(all) {
                lacks.readings += hole.count();
                if oldest.is_none() {
                    oldest = received(view, chain, hole)?;
                }
            }
            lacks.since = match (lacks.since, oldest) {
                (Some(before), Some(oldest)) => Some(before.min(oldest)),
                (before, oldest) => before.or(oldest),
            };
        }
        Ok(lacks)
    }
}

/// When the first commit of a range was received; a commit is acknowledged as a whole.
fn received(
    view: &Snapshot<'_>,
    chain: &ChainInfo,
    range: Range,
) -> Result<Option<Timestamp>, Fault> {
    let commits = view.commits_from(chain.no, range.from, 1)?;
    let first = commits.first().filter(|commit| commit.first <= range.to);
    Ok(first.and_then(|commit| Some(Body::new(&commit.body).ok()?.received())))
}
