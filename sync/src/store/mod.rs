//! The store: one SQLite database, one writer, many readers.
//!
//! Two tables. `commits` is the log: one row per commit or per segment, never per reading.
//! `records` is everything else (windows, cursors, tokens, members) as sealed values under ordered
//! byte keys. All changes go through the [`Store`]'s one writer thread, which groups what is
//! waiting into one transaction with `synchronous=FULL` and only then hands out [`Committed`]
//! tokens. Readers see snapshots and never block the writer. Byte-exact page:
//! `docs/formats/store.md`.

mod admit;
mod answers;
mod backup;
mod ballast;
mod chains;
mod commits;
mod cover;
mod damage;
mod growth;
mod ingest;
mod intact;
mod lock;
mod lookin;
mod machine;
mod mark;
mod marker;
#[cfg(test)]
pub(crate) mod memory;
mod merge;
mod open;
mod quota;
mod received;
mod record;
mod repair;
mod rescue;
mod schema;
mod scrub;
mod seal;
mod series;
mod shorten;
mod size;
mod snapshot;
mod tx;
pub mod verify;
mod wal;
mod writer;

pub use backup::copy_database;
pub use chains::{ChainInfo, ChainNo, Frontier};
pub use commits::{CommitFilter, StoredCommit, series_bits};
pub use ingest::{
    Draft, Idempotency, IngestBatch, Interner, Item, ItemOutcome, Outcome, OwnedValue, Series,
};
pub use intact::Intact;
pub use lookin::look_into;
pub use machine::{MACHINE, read_machine, write_machine};
pub use mark::{Mark, MarkedChain, give_to_owner, write_private, write_whole};
pub use open::{OpenReport, Options};
pub use quota::{Overflow, Usage};
pub use received::Received;
pub use record::{ReadRecords, Records, Table};
pub use schema::VERSION;
pub use scrub::{SCRUB_EVERY, Scrubbed};
pub use seal::SEAL_AFTER;
pub use size::Sizes;
pub use snapshot::{Record, Snapshot};
pub use tx::WriteTx;
pub use verify::verify;
pub use writer::{Committed, WriteError};

use crate::Fault;
use crate::counts::Counts;
use crate::env::Env;
use ballast::BALLAST;
use holdfast_core::{ChainId, Incarnation, NodeId, Seq};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use tokio::sync::{mpsc, oneshot, watch};

/// The file name of the database in a data directory.
pub const DATABASE: &str = "holdfast.db";

/// The file with the text of the token that `init` made for commands on this machine. The book of
/// tokens ([`Table::Token`]) is keyed by the BLAKE3 hashes of the texts.
pub const ADMIN_TOKEN: &str = "admin.token";

/// The file with the invitation that waits to be taken up.
pub const INVITATION: &str = "invitation";

/// The file that a restore leaves: text, which the next start tells in the event stream.
pub const RESTORED: &str = "restored";

/// The cursor of the pipeline in [`Table::Cursor`]: a position, big-endian.
pub const PIPELINE: &[u8] = b"pipeline";

/// What changed last: the position of the newest commit and a count of record changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Head {
    /// Position of the newest commit in this store.
    pub pos: u64,
    /// How many transactions were committed since the start.
    pub transactions: u64,
}

/// How far this start's own chains are: number, name and last sequence of each.
pub type OwnHeads = Vec<(ChainNo, ChainId, Seq)>;

/// A handle to the store; clones share it.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    path: PathBuf,
    node: NodeId,
    incarnation: Incarnation,
    env: Env,
    jobs: mpsc::Sender<writer::Job>,
    head: watch::Receiver<Head>,
    own_heads: watch::Receiver<OwnHeads>,
    documents: watch::Receiver<u64>,
    usage: watch::Receiver<Usage>,
    counts: Arc<Counts>,
    readers: snapshot::Pool,
    scrub: Mutex<scrub::Scrubber>,
    /// Unsealed entries of a chain from which on they are sealed.
    seal_after: u64,
    interner: Interner,
}

impl Store {
    /// Opens the store in `options.dir`, making it if there is none, and starts its writer.
    ///
    /// # Errors
    /// [`Fault::InUse`], [`Fault::Newer`], [`Fault::File`] or [`Fault::Full`].
    pub fn open(options: Options, env: Env) -> Result<(Self, OpenReport), Fault> {
        open::open(options, env)
    }

    /// The node that owns this store.
    #[must_use]
    pub fn node(&self) -> NodeId {
        self.inner.node
    }

    /// This start of the node.
    #[must_use]
    pub fn incarnation(&self) -> Incarnation {
        self.inner.incarnation
    }

    /// Where time and entropy come from.
    #[must_use]
    pub fn env(&self) -> &Env {
        &self.inner.env
    }

    /// The data directory.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.inner.path
    }

    /// The series names seen by ingest, each once.
    #[must_use]
    pub fn interner(&self) -> &Interner {
        &self.inner.interner
    }

    /// Follows what was committed last.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<Head> {
        self.inner.head.clone()
    }

    /// How far this start's own chains are.
    #[must_use]
    pub fn own_heads(&self) -> OwnHeads {
        self.inner.own_heads.borrow().clone()
    }

    /// Follows changes of documents: whoever is woken looks where their sequence is now.
    #[must_use]
    pub fn watch_documents(&self) -> watch::Receiver<u64> {
        self.inner.documents.clone()
    }

    /// How full the store is.
    #[must_use]
    pub fn usage(&self) -> Usage {
        self.inner.usage.borrow().clone()
    }

    /// What it and its sessions have done since the start.
    #[must_use]
    pub fn counts(&self) -> &Counts {
        &self.inner.counts
    }

    /// Changes that wait for the writer.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.inner.jobs.max_capacity() - self.inner.jobs.capacity()
    }

    /// Commits readings; the token comes after the fsync.
    ///
    /// # Errors
    /// [`WriteError`]; nothing of the batch is then stored.
    pub async fn ingest(&self, batch: IngestBatch) -> Result<(Committed, Outcome), WriteError> {
        let (reply, answer) = oneshot::channel();
        let job = writer::IngestJob { batch, beside: None, reply };
        self.send(writer::Job::Ingest(Box::new(job))).await?;
        answer.await.map_err(|_| WriteError::Fault(Fault::Stopping))?
    }

    /// Commits readings and a change beside them, both or neither.
    ///
    /// # Errors
    /// What `change` returned, or [`WriteError`]; nothing of either is then stored.
    pub async fn ingest_with<T, F>(
        &self,
        batch: IngestBatch,
        change: F,
    ) -> Result<(Committed, Outcome, T), WriteError>
    where
        T: Send + 'static,
        F: FnOnce(&mut WriteTx<'_>) -> Result<T, WriteError> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let (beside_reply, beside) = oneshot::channel();
        let change = <dyn writer::Task>::boxed(change, beside_reply);
        let job = writer::IngestJob { batch, beside: Some(change), reply };
        self.send(writer::Job::Ingest(Box::new(job))).await?;
        let stopping = |_| WriteError::Fault(Fault::Stopping);
        let (_, value) = beside.await.map_err(stopping)??;
        let (committed, outcome) = answer.await.map_err(stopping)??;
        Ok((committed, outcome, value))
    }

    /// Runs `change` in the next transaction; what it returns comes back after the fsync. An error
    /// undoes this change and no other.
    ///
    /// # Errors
    /// What `change` returned, or [`WriteError::Fault`].
    pub async fn write<T, F>(&self, change: F) -> Result<(Committed, T), WriteError>
    where
        T: Send + 'static,
        F: FnOnce(&mut WriteTx<'_>) -> Result<T, WriteError> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let job = <dyn writer::Task>::boxed(change, reply);
        self.send(writer::Job::Task(job)).await?;
        answer.await.map_err(|_| WriteError::Fault(Fault::Stopping))?
    }

    async fn send(&self, job: writer::Job) -> Result<(), WriteError> {
        let sent = self.inner.jobs.send(job).await;
        sent.map_err(|_| WriteError::Fault(Fault::Stopping))
    }

    /// Reads from a snapshot of what is committed. Blocks: call it off the async threads, or use
    /// [`Self::read`].
    ///
    /// # Errors
    /// What `look` returned, or a database fault.
    pub fn read_blocking<T>(
        &self,
        look: impl FnOnce(&Snapshot<'_>) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        self.inner.readers.with(look)
    }

    /// Reads from a snapshot of what is committed, on a thread for blocking work.
    ///
    /// # Errors
    /// What `look` returned, or a database fault.
    pub async fn read<T, F>(&self, look: F) -> Result<T, Fault>
    where
        T: Send + 'static,
        F: FnOnce(&Snapshot<'_>) -> Result<T, Fault> + Send + 'static,
    {
        let inner = Arc::clone(&self.inner);
        let done = tokio::task::spawn_blocking(move || inner.readers.with(look)).await;
        done.map_err(|_| Fault::Stopping)?
    }

    /// Notes damage that a reader found in what it read, so that the next start repairs the store.
    /// The process goes on with the rest.
    pub fn note_damage(&self, fault: &Fault) {
        self.inner.readers.note(fault);
    }

    /// The damage that was noted since the start, for which the next start repairs the store.
    #[must_use]
    pub fn noted_damage(&self) -> Option<String> {
        damage::flagged(&self.inner.path)
    }

    /// Waits until everything sent so far is on disk, then closes the database.
    pub async fn close(&self) {
        let (reply, done) = oneshot::channel();
        if self.inner.jobs.send(writer::Job::Close(reply)).await.is_ok() {
            // A writer that ended before it could answer has closed the database too.
            let _ = done.await;
        }
    }
}
