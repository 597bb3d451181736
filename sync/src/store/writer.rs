//! The one writer: groups what is waiting into one transaction, then answers after the fsync.
//!
//! Whatever waits in the queue when a transaction begins goes into it: all ingest batches become
//! one commit of readings, each other change runs in a savepoint of its own, so that its failure
//! undoes nothing else. [`Committed`] is made here and nowhere else, which makes the promise
//! "acknowledged means on disk" a matter of types.

use super::admit::admit;
use super::ballast::Ballast;
use super::chains::{ChainInfo, ChainNo};
use super::ingest::{IngestBatch, Outcome, Places};
use super::mark::{Mark, MarkedChain};
use super::marker::Marker;
use super::quota::{self, Quota, Usage};
use super::schema::fault;
use super::shorten::Log;
use super::tx::{CHECKPOINT_MS, WriteTx};
use super::{Head, OwnHeads};
use crate::Fault;
use crate::counts::{Counts, Fresh};
use crate::env::Env;
use crate::identity::NodeKey;
use holdfast_core::limits::DEVICE_RANGES;
use holdfast_core::ranges::RangeSet;
use holdfast_core::{ChainId, Incarnation, NodeId, Reject, Seq};
use rusqlite::Connection;
use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};

/// Jobs that one transaction takes at most; bounds how long the first waits for the last.
const GROUP_JOBS: usize = 1024;
/// Readings that one transaction takes at most.
const GROUP_READINGS: usize = 50_000;
const TICK: Duration = Duration::from_millis(500);
const MARK_MS: u64 = 1000;

/// Proof that a change is on disk: only the writer can make one, after the fsync.
#[derive(Clone, Copy, Debug)]
pub struct Committed {
    head: Head,
}

impl Committed {
    /// The store's head right after the commit.
    #[must_use]
    pub const fn head(&self) -> Head {
        self.head
    }
}

/// Why a change was not made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// Our own fault.
    #[error(transparent)]
    Fault(#[from] Fault),
    /// The change itself is not valid.
    #[error(transparent)]
    Reject(#[from] Reject),
    /// The same idempotency key came with another body.
    #[error("this Idempotency-Key was used before with another body")]
    KeyReused,
    /// A chain differs from what is held of it.
    #[error("chain {chain} differs at sequence {seq} from what is held")]
    Fork {
        /// The chain.
        chain: ChainId,
        /// Where.
        seq: Seq,
    },
    /// A document did not take it.
    #[error(transparent)]
    Document(#[from] crate::docs::Refusal),
    /// The change was refused by what it found, for the reason given.
    #[error("{0}")]
    Refused(String),
}

pub(super) type Reply<T> = oneshot::Sender<Result<(Committed, T), WriteError>>;

pub(super) struct IngestJob {
    pub batch: IngestBatch,
    /// A change that is made with the readings, or neither is.
    pub beside: Option<Box<dyn Task>>,
    pub reply: Reply<Outcome>,
}

impl IngestJob {
    /// Makes the change beside the readings; where it fails they are left out too.
    fn run_beside(&mut self, tx: &mut WriteTx<'_>) -> Result<(), WriteError> {
        if let Some(task) = &mut self.beside
            && !run_task(tx, task.as_mut())?
        {
            self.batch = IngestBatch::default();
        }
        Ok(())
    }
}

pub(super) enum Job {
    Ingest(Box<IngestJob>),
    Task(Box<dyn Task>),
    Close(oneshot::Sender<()>),
}

/// A change of any kind: run inside a savepoint, answered after the commit.
pub(super) trait Task: Send {
    fn run(&mut self, tx: &mut WriteTx<'_>) -> Result<(), Option<Fault>>;
    fn finish(self: Box<Self>, committed: Result<Committed, Fault>);
}

impl dyn Task {
    pub(super) fn boxed<T, F>(change: F, reply: Reply<T>) -> Box<dyn Task>
    where
        T: Send + 'static,
        F: FnOnce(&mut WriteTx<'_>) -> Result<T, WriteError> + Send + 'static,
    {
        Box::new(Change { change: Some(change), result: None, reply })
    }
}

struct Change<T, F> {
    change: Option<F>,
    result: Option<Result<T, WriteError>>,
    reply: Reply<T>,
}

impl<T, F> Task for Change<T, F>
where
    T: Send + 'static,
    F: FnOnce(&mut WriteTx<'_>) -> Result<T, WriteError> + Send + 'static,
{
    fn run(&mut self, tx: &mut WriteTx<'_>) -> Result<(), Option<Fault>> {
        let change = self.change.take().expect("a task runs once");
        let result = change(tx);
        let outcome = match &result {
            Ok(_) => Ok(()),
            Err(WriteError::Fault(Fault::Full(text))) => Err(Some(Fault::Full(text.clone()))),
            Err(error) => {
                tx.state.met(error);
                Err(None)
            }
        };
        self.result = Some(result);
        outcome
    }

    fn finish(self: Box<Self>, committed: Result<Committed, Fault>) {
        let answer = match (self.result, committed) {
            (Some(Err(error)), _) => Err(error),
            (_, Err(fault)) => Err(WriteError::Fault(fault)),
            (Some(Ok(value)), Ok(committed)) => Ok((committed, value)),
            (None, Ok(_)) => Err(WriteError::Fault(Fault::Stopping)),
        };
        // Whoever asked may have gone away; the change stands all the same.
        let _ = self.reply.send(answer);
    }
}

/// What the writer keeps in memory between transactions.
pub(super) struct State {
    pub env: Env,
    pub key: NodeKey,
    pub node: NodeId,
    pub incarnation: Incarnation,
    pub chain_numbers: HashMap<ChainId, ChainNo>,
    pub chains: HashMap<ChainNo, ChainInfo>,
    pub next_chain: u32,
    pub next_pos: u64,
    /// Bytes of bodies appended since the store was measured.
    pub appended: u64,
    /// What the present transaction adds to the counts.
    pub fresh: Fresh,
    /// When each own chain was signed last.
    pub checkpoints: HashMap<ChainNo, u64>,
    /// Own chains whose last commit is not signed, with its last sequence.
    pub unsigned: BTreeMap<ChainNo, Seq>,
    pub seen: HashMap<Vec<u8>, RangeSet<DEVICE_RANGES>>,
    pub places: Places,
    /// Damage that a job met and that did not stop the others.
    pub damage: Option<String>,
    /// Counts changes of documents.
    pub documents: u64,
}

impl State {
    /// Remembers damage, to be noted when the transaction is done.
    pub(super) fn met(&mut self, error: &WriteError) {
        if let WriteError::Fault(fault) = error
            && fault.is_damage()
        {
            self.damage = Some(fault.to_string());
        }
    }

    /// Forgets what a transaction that was undone may have changed; the disk has the truth.
    fn forget(&mut self) {
        self.chains.clear();
        self.seen.clear();
    }
}

pub(super) struct Writer {
    pub connection: Connection,
    pub state: State,
    pub jobs: mpsc::Receiver<Job>,
    pub head: watch::Sender<Head>,
    pub own_heads: watch::Sender<OwnHeads>,
    pub documents: watch::Sender<u64>,
    pub usage: watch::Sender<Usage>,
    pub counts: Arc<Counts>,
    pub quota: Quota,
    pub ballast: Ballast,
    pub log: Log,
    pub dir: PathBuf,
    pub marker: Marker,
    pub marked_ms: u64,
    pub mark_due: bool,
}

impl Writer {
    /// Works until the last handle to the store is gone or it is told to close.
    ///
    /// Returns whom to tell that all is closed, if someone asked.
    pub(super) fn run(mut self) -> Option<oneshot::Sender<()>> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
        let runtime = runtime.expect("a timer needs no resources that could be missing");
        let mut close = None;
        while close.is_none() {
            let jobs = &mut self.jobs;
            let next = runtime.block_on(async { tokio::time::timeout(TICK, jobs.recv()).await });
            match next {
                Ok(Some(Job::Close(done))) => close = Some(done),
                Ok(Some(first)) => close = self.group(first),
                Ok(None) => break,
                Err(_) => {}
            }
            self.maintain();
        }
        self.transaction(|tx| Ok(tx.sign_tails()?)).unwrap_or_else(|error| {
            tracing::warn!(%error, "the ends of the chains could not be signed at the stop");
        });
        self.put_mark();
        self.empty_log();
        if let Err((_, error)) = self.connection.close() {
            tracing::warn!(%error, "the database did not close cleanly");
        }
        drop(self.marker);
        close
    }

    /// Brings the write-ahead log into the database. SQLite does so by itself only when the last
    /// connection closes, and readers keep theirs: the next start would read through all of it.
    fn empty_log(&self) {
        // Whoever still reads is not waited for: then the next start does it.
        let sql = "PRAGMA busy_timeout=0; PRAGMA wal_checkpoint(TRUNCATE)";
        if let Err(error) = self.connection.execute_batch(sql) {
            tracing::debug!(%error, "the write-ahead log stays for the next start");
        }
    }

    /// One transaction of `first` and what waits behind it.
    fn group(&mut self, first: Job) -> Option<oneshot::Sender<()>> {
        let (mut ingests, mut tasks, mut close) = (Vec::new(), Vec::new(), None);
        let (mut next, mut readings) = (Some(first), 0);
        while let Some(job) = next {
            match job {
                Job::Ingest(job) if self.quota.refusing && !job.batch.drafts.is_empty() => {
                    let full = || Fault::Full("the store's quota is used up".to_owned());
                    let IngestJob { beside, reply, .. } = *job;
                    let _ = reply.send(Err(WriteError::Fault(full())));
                    if let Some(task) = beside {
                        task.finish(Err(full()));
                    }
                }
                Job::Ingest(job) => {
                    readings += job.batch.drafts.len();
                    ingests.push(*job);
                }
                Job::Task(task) => tasks.push(task),
                Job::Close(done) => close = Some(done),
            }
            let full = ingests.len() + tasks.len() >= GROUP_JOBS || readings >= GROUP_READINGS;
            next = if full || close.is_some() { None } else { self.jobs.try_recv().ok() };
        }
        if !ingests.is_empty() || !tasks.is_empty() {
            self.commit(ingests, tasks);
        }
        close
    }

    fn commit(&mut self, mut ingests: Vec<IngestJob>, mut tasks: Vec<Box<dyn Task>>) {
        let mut outcomes = Vec::new();
        let result = self.transaction(|tx| {
            for job in &mut ingests {
                job.run_beside(tx)?;
            }
            if !ingests.is_empty() {
                outcomes = admit(tx, &ingests)?;
            }
            for task in &mut tasks {
                run_task(tx, task.as_mut())?;
            }
            Ok(())
        });
        if let Some(text) = self.state.damage.take() {
            super::damage::flag(&self.dir, &Fault::damaged(super::DATABASE, text));
        }
        let committed = match result {
            Ok(()) => Ok(self.published()),
            Err(WriteError::Fault(fault)) => Err(self.failed(fault)),
            Err(other) => Err(Fault::Database(other.to_string())),
        };
        let copy = |fault: &Fault| match fault {
            Fault::Full(text) => Fault::Full(text.clone()),
            other => Fault::Database(other.to_string()),
        };
        let mut outcomes = outcomes.into_iter();
        for job in ingests {
            let answer = match &committed {
                Ok(committed) => outcomes
                    .next()
                    .expect("an outcome for each batch")
                    .map(|outcome| (*committed, outcome)),
                Err(fault) => Err(WriteError::Fault(copy(fault))),
            };
            let _ = job.reply.send(answer);
            if let Some(task) = job.beside {
                task.finish(committed.as_ref().copied().map_err(copy));
            }
        }
        for task in tasks {
            task.finish(committed.as_ref().copied().map_err(copy));
        }
    }

    /// The first transaction of a start, before the writer has a thread.
    pub(super) fn begin(
        &mut self,
        body: impl FnOnce(&mut WriteTx<'_>) -> Result<(), WriteError>,
    ) -> Result<(), Fault> {
        match self.transaction(body) {
            Ok(()) => {
                self.published();
                Ok(())
            }
            Err(WriteError::Fault(fault)) => Err(self.failed(fault)),
            Err(other) => Err(Fault::Database(other.to_string())),
        }
    }

    /// Runs `body` in a transaction that is on disk when this returns `Ok`.
    fn transaction(
        &mut self,
        body: impl FnOnce(&mut WriteTx<'_>) -> Result<(), WriteError>,
    ) -> Result<(), WriteError> {
        self.connection.execute_batch("BEGIN IMMEDIATE").map_err(fault)?;
        let next_pos = self.state.next_pos;
        let mut tx = WriteTx { connection: &self.connection, state: &mut self.state };
        let result = body(&mut tx).and_then(|()| {
            let env = &self.state.env;
            let began_us = env.monotonic_us();
            self.connection.execute_batch("COMMIT").map_err(fault)?;
            self.counts.commits.note(env.monotonic_us().saturating_sub(began_us));
            Ok(())
        });
        let fresh = std::mem::take(&mut self.state.fresh);
        if result.is_ok() {
            fresh.count(&self.counts);
        } else {
            // After some errors SQLite has rolled back by itself; then this does nothing.
            let _ = self.connection.execute_batch("ROLLBACK");
            self.state.next_pos = next_pos;
            self.state.forget();
        }
        result
    }

    fn published(&mut self) -> Committed {
        self.mark_due = true;
        let pos = self.state.next_pos - 1;
        self.own_heads.send_modify(|heads| {
            let own = self.state.chains.values().filter(|chain| {
                chain.id.origin == self.state.node && chain.id.incarnation == self.state.incarnation
            });
            for chain in own {
                match heads.iter_mut().find(|(no, ..)| *no == chain.no) {
                    Some((_, _, last)) => *last = chain.last(),
                    None => heads.push((chain.no, chain.id, chain.last())),
                }
            }
        });
        let documents = self.state.documents;
        self.documents.send_if_modified(|known| std::mem::replace(known, documents) != documents);
        self.head.send_modify(|head| {
            head.pos = pos;
            head.transactions += 1;
        });
        Committed { head: *self.head.borrow() }
    }

    fn failed(&mut self, fault: Fault) -> Fault {
        if fault.is_full() && self.ballast.release() {
            tracing::warn!("the disk is full: the ballast was released to make room");
        }
        if fault.is_damage() {
            super::damage::flag(&self.dir, &fault);
        }
        fault
    }

    /// What is done between groups: marks, checkpoints, shedding, ballast, a log that is too long.
    fn maintain(&mut self) {
        let now = self.state.env.monotonic_ms();
        let newest = self.state.checkpoints.values().max().copied().unwrap_or(0);
        if !self.state.unsigned.is_empty() && now.saturating_sub(newest) >= CHECKPOINT_MS {
            match self.transaction(|tx| Ok(tx.sign_tails()?)) {
                Ok(()) => {
                    self.published();
                }
                Err(error) => tracing::warn!(%error, "the ends of the chains were not signed"),
            }
        }
        self.mark_due |= self.marker.has_failed();
        if self.mark_due && now.saturating_sub(self.marked_ms) >= MARK_MS {
            self.put_mark();
        }
        self.shed(now);
        if let Err(error) = self.log.shorten(&self.connection, now) {
            tracing::warn!(%error, "the write-ahead log does not begin anew");
        }
    }

    fn shed(&mut self, now: u64) {
        if !self.quota.due(now, self.state.appended) {
            return;
        }
        self.state.appended = 0;
        self.ballast.restore();
        let usage = match self.quota.measure(&self.connection) {
            Ok(usage) => usage,
            Err(error) => return tracing::warn!(%error, "the store's size is not known"),
        };
        // A stage that has nothing to give rests, and the next one is asked at once.
        while let Some(stage) = self.quota.stage(&usage) {
            let mut shed = quota::Shed::default();
            let step = self.quota.step();
            let result = self.transaction(|tx| {
                shed = quota::shed(tx, stage, step)?;
                Ok(())
            });
            match result {
                Ok(()) if shed.commits > 0 => {
                    self.published();
                    self.quota.shed(&shed);
                }
                Ok(()) => {
                    self.quota.nothing_to_shed(stage);
                    continue;
                }
                Err(WriteError::Fault(fault)) => {
                    let fault = self.failed(fault);
                    tracing::warn!(%fault, "nothing could be shed");
                }
                Err(error) => tracing::warn!(%error, "nothing could be shed"),
            }
            break;
        }
        self.usage.send_replace(self.quota.usage(usage));
    }

    /// Hands on how far this node's chains are, to be written where nobody waits for it.
    fn put_mark(&mut self) {
        self.marked_ms = self.state.env.monotonic_ms();
        let own = self.state.chains.values().filter(|chain| {
            chain.id.origin == self.state.node && chain.id.incarnation == self.state.incarnation
        });
        let chains = own.filter(|chain| chain.last() > 0).map(|chain| MarkedChain {
            incarnation: chain.id.incarnation,
            stream: chain.id.stream,
            seq: chain.last(),
            link: chain.head,
        });
        let mark = Mark { chains: chains.collect() };
        if mark.chains.is_empty() {
            return;
        }
        self.mark_due = false;
        self.marker.put(mark);
    }
}

/// Runs a task in a savepoint; `false` when it failed and was undone.
fn run_task(tx: &mut WriteTx<'_>, task: &mut dyn Task) -> Result<bool, WriteError> {
    match tx.attempt(|tx| task.run(tx))? {
        Ok(()) => Ok(true),
        // A full disk concerns the whole transaction: nothing of it could be committed.
        Err(Some(full)) => Err(full.into()),
        Err(None) => Ok(false),
    }
}

impl WriteTx<'_> {
    /// Makes a change wholly, or, where it fails, not at all; what else the transaction has changed
    /// stays.
    ///
    /// # Errors
    /// A database fault.
    pub fn attempt<T, E>(
        &mut self,
        change: impl FnOnce(&mut WriteTx<'_>) -> Result<T, E>,
    ) -> Result<Result<T, E>, Fault> {
        self.connection.execute_batch("SAVEPOINT attempt").map_err(fault)?;
        let (before, fresh) = (self.state.next_pos, self.state.fresh);
        let result = change(self);
        if result.is_err() {
            self.connection.execute_batch("ROLLBACK TO attempt").map_err(fault)?;
            (self.state.next_pos, self.state.fresh) = (before, fresh);
            self.state.forget();
        }
        self.connection.execute_batch("RELEASE attempt").map_err(fault)?;
        Ok(result)
    }
}
