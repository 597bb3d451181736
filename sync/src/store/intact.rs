//! Checking commits as they are read, before they are used or sent on.
//!
//! Each costs one hash: the link before it is remembered from the commit read just before, and
//! looked up only where a chain is entered or continued after a hole.

use super::{ChainNo, Snapshot, Store, StoredCommit};
use crate::Fault;
use holdfast_core::log::Link;
use holdfast_core::{ChainId, Seq};
use std::collections::HashMap;

/// Chains whose ends are remembered; one that is forgotten costs a look-up.
const REMEMBERED: usize = 4096;

/// Where the commits read so far ended, per chain.
#[derive(Debug, Default)]
pub struct Intact {
    ends: HashMap<ChainNo, (Seq, Link)>,
}

impl Intact {
    /// Whether a commit is what was stored. One that is not is noted, so that the next start
    /// repairs the store; the reader passes over it.
    ///
    /// # Errors
    /// A database fault.
    pub fn check(
        &mut self,
        store: &Store,
        view: &Snapshot<'_>,
        chain: &ChainId,
        commit: &StoredCommit,
    ) -> Result<bool, Fault> {
        let before = match self.ends.get(&commit.chain) {
            Some((end, link)) if *end + 1 == commit.first => Some(*link),
            _ => view.link_before(commit.chain, commit.first)?,
        };
        if self.ends.len() >= REMEMBERED {
            self.ends.clear();
        }
        self.ends.insert(commit.chain, (commit.last(), commit.link));
        let intact = match before {
            Some(before) => commit.intact(chain, before),
            // What precedes it has not arrived; when it does, the link between them is checked.
            None => commit.check(chain.stream).is_ok(),
        };
        if !intact {
            let range = format!("{}..{}", commit.first, commit.last());
            let what = format!("commit {} ({chain} {range})", commit.pos);
            let fault = Fault::damaged(what, "its body and its link do not belong together");
            tracing::error!(%fault, "passed over");
            store.note_damage(&fault);
        }
        Ok(intact)
    }
}
