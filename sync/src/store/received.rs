//! Runs of a chain as they come from a peer: checked before anything is stored.

use super::chains::ChainNo;
use super::commits::{CommitFilter, StoredCommit};
use ed25519_dalek::{Signature, VerifyingKey};
use holdfast_core::limits::COMMIT_MAX_BYTES;
use holdfast_core::log::{Link, checkpoint_message};
use holdfast_core::{ChainId, Reject, Seq};

/// A run of a chain as it came from a peer, checked but not stored.
#[derive(Clone, Debug)]
pub struct Received {
    pub(super) chain: ChainId,
    pub(super) before: Link,
    pub(super) commits: Vec<(StoredCommit, CommitFilter)>,
    proven: bool,
}

impl Received {
    /// Begins a run of `chain` after `before`, the link the sender names.
    #[must_use]
    pub const fn new(chain: ChainId, before: Link) -> Self {
        Self { chain, before, commits: Vec::new(), proven: false }
    }

    /// Adds the next commit, or the next ones as a segment: the body must be canonical, the
    /// sequence must follow, the signature, if there is one, must be the origin's.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn push(
        &mut self,
        first: Seq,
        count: u32,
        signature: Option<[u8; 64]>,
        sealed: bool,
        body: Vec<u8>,
    ) -> Result<(), Reject> {
        let end = first.checked_add(u64::from(count)).ok_or(Reject::Sequence)?;
        let follows = self.commits.last().is_none_or(|(last, _)| last.last() + 1 == first);
        if first == 0 || end > i64::MAX as u64 || !follows || body.len() > COMMIT_MAX_BYTES {
            return Err(Reject::Sequence);
        }
        let before = self.commits.last().map_or(self.before, |(last, _)| last.link);
        let (pos, chain, link) = (0, ChainNo(0), Link::START);
        let mut commit = StoredCommit { pos, chain, first, count, link, signature, sealed, body };
        let filter = commit.filter(self.chain.stream)?;
        commit.link = commit.link_after(&self.chain, before)?;
        if let Some(signature) = &signature {
            check_signature(&self.chain, end - 1, &commit.link, signature)?;
        }
        self.proven = signature.is_some();
        self.commits.push((commit, filter));
        Ok(())
    }

    /// The chain.
    #[must_use]
    pub const fn chain(&self) -> ChainId {
        self.chain
    }

    /// Its commits, ascending; their chain number is not yet given.
    pub fn commits(&self) -> impl Iterator<Item = &StoredCommit> {
        self.commits.iter().map(|(commit, _)| commit)
    }

    /// The link after its last commit.
    #[must_use]
    pub fn link(&self) -> Link {
        self.commits.last().map_or(self.before, |(last, _)| last.link)
    }

    /// How many entries it has.
    #[must_use]
    pub fn entries(&self) -> u64 {
        self.commits.iter().map(|(commit, _)| u64::from(commit.count)).sum()
    }

    /// Whether it ends in a checkpoint of its origin, and so needs no trust in who relays it.
    #[must_use]
    pub const fn proven(&self) -> bool {
        self.proven
    }
}

/// Checks a checkpoint's signature against the origin, whose id is its key.
pub(super) fn check_signature(
    chain: &ChainId,
    seq: Seq,
    link: &Link,
    signature: &[u8; 64],
) -> Result<(), Reject> {
    let key = VerifyingKey::from_bytes(&chain.origin.0).map_err(|_| Reject::Checksum)?;
    let message = checkpoint_message(chain, seq, link);
    key.verify_strict(&message, &Signature::from_bytes(signature)).map_err(|_| Reject::Checksum)
}
