//! The name of a chain whose record is lost: found by trying the names that occur elsewhere.
//!
//! A link runs over the chain's name, and a checkpoint is signed by its origin, so a wrong name can
//! not pass.

use super::copy::Salvaged;
use crate::Fault;
use crate::store::chains::ChainNo;
use crate::store::mark::Mark;
use crate::store::received::check_signature;
use crate::store::snapshot::Snapshot;
use holdfast_core::log::Link;
use holdfast_core::log::events::{self, Event};
use holdfast_core::{ChainId, Incarnation, NodeId, Stream};
use std::collections::BTreeSet;

/// Bytes of commits that a name is tried on.
const SAMPLE_BYTES: usize = 1 << 20;

/// Origins and their starts that are known of.
pub(super) struct Names {
    starts: BTreeSet<(NodeId, Incarnation)>,
}

impl Names {
    pub(super) fn collect(
        view: &Snapshot<'_>,
        node: NodeId,
        salvaged: &Salvaged,
        mark: Option<&Mark>,
    ) -> Result<Self, Fault> {
        let chains = salvaged.chains.values();
        let mut starts: BTreeSet<_> =
            chains.clone().map(|info| (info.id.origin, info.id.incarnation)).collect();
        let gaps = salvaged.gaps.values().flatten();
        starts.extend(gaps.map(|gap| (node, gap.incarnation)));
        let marked = mark.into_iter().flat_map(|mark| &mark.chains);
        starts.extend(marked.map(|chain| (node, chain.incarnation)));
        // A start names the starts before it.
        for info in chains.filter(|info| info.id.stream == Stream::Event) {
            for commit in view.commits_from(info.no, 1, 1)? {
                let Ok((_, mut found)) = events::read(&commit.body) else { continue };
                if let Some(Ok(Event::Start { ends, .. })) = found.next() {
                    starts.extend(ends.iter().map(|end| (info.id.origin, end.incarnation)));
                }
            }
        }
        Ok(Self { starts })
    }

    /// The name that fits the commits of chain `no`.
    pub(super) fn of(&self, view: &Snapshot<'_>, no: ChainNo) -> Result<Option<ChainId>, Fault> {
        let commits = view.commits_from(no, 1, SAMPLE_BYTES)?;
        let fits = |id: &ChainId| {
            let begins = commits.iter().any(|c| c.first == 1 && c.intact(id, Link::START));
            let signed = commits.iter().any(|commit| {
                let (seq, link) = (commit.last(), &commit.link);
                commit.signature.is_some_and(|s| check_signature(id, seq, link, &s).is_ok())
            });
            let follows = commits
                .windows(2)
                .any(|two| two[0].last() + 1 == two[1].first && two[1].intact(id, two[0].link));
            begins || signed || follows
        };
        let candidates = self.starts.iter().flat_map(|&(origin, incarnation)| {
            Stream::ALL.map(|stream| ChainId { origin, incarnation, stream })
        });
        Ok(candidates.into_iter().find(fits))
    }
}
