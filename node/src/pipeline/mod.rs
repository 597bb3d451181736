//! The pipeline: a durable consumer of the log that keeps series, windows and rollups.
//!
//! It reads commits in log order from its cursor and writes one transaction per step: cursor,
//! series, windows, rollup entries and alerts together. After a crash it reads the same commits
//! again and comes to the same state, because a summary takes nothing twice. Ingest never waits for
//! it; its lag is the distance from cursor to head.

mod again;
mod catalog;
mod logged;
mod rolled;
mod step;
mod windows;

pub use catalog::{Catalog, Last, SeriesInfo, SeriesNo, Totals};
pub use logged::{ByWidth, WIDEST_S, horizon, is_logged, logged_windows, stand};
pub use rolled::{Quantile, Rolled, decode_window};
pub use windows::{WindowKey, window_prefix};

use crate::alerts::{Book, Plan, Watch};
use crate::runs::Waits;
use crate::trace::TracedCommit;
use holdfast_core::rollup::Window;
use holdfast_core::{NodeId, Timestamp};
use holdfast_sync::Fault;
use holdfast_sync::store::{Intact, PIPELINE, Snapshot, Store, StoredCommit, Table, WriteError};
use logged::Removal;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Bytes of commits that one step takes; bounds its transaction.
const STEP_BYTES: usize = 512 << 10;
/// How long after its end a window waits for late readings before its first rollup.
pub const GRACE_S: i64 = 10;
/// How long a window that is over waits for more late readings before it is summed up again.
const LATE_MS: u64 = 3_000;
/// Between two removals of records of windows.
const REMOVE_MS: u64 = 600_000;
/// For how long windows have records of their own: charts of the day are drawn from them.
pub const WINDOWS_KEPT_S: u64 = 2 * 86_400;
const RETRY: Duration = Duration::from_secs(2);
/// For how long a step is rested after, for each entry that it read. What a step costs goes with
/// the windows that it touches, and of a crowd of devices each touches its own: where much comes,
/// fewer and larger steps leave the writer and the processors to those that wait for an
/// acknowledgement. Where little comes, this is nothing, and what is triggered is so at once.
const REST_OF_ENTRY: Duration = Duration::from_micros(15);
/// And at most.
const REST_MAX: Duration = Duration::from_millis(25);
/// How far its thread gives way (`setpriority`): against one that does not, it gets a quarter of a
/// processor that both want, and all of one that nobody else does.
const NICENESS: i32 = 5;

/// The newest value of a series, as it is told to the pages.
#[derive(Clone, Debug)]
pub struct Live {
    /// The series.
    pub series: Arc<SeriesInfo>,
    /// Its newest value.
    pub last: Last,
}

/// Takes what changed in a step.
pub type OnLive = Arc<dyn Fn(&[Live]) + Send + Sync>;

/// Takes the traced requests that a step found, with when it began and ended.
pub type OnTraced = Arc<dyn Fn(&[TracedCommit], Timestamp, Timestamp) + Send + Sync>;

/// How a pipeline works.
#[derive(Clone)]
pub struct Options {
    /// The widths of the windows, seconds; none on a hub, whose rollups come from the edges.
    pub widths_s: Vec<u32>,
    /// For how long after its end a window has a record of its own, seconds; its rollup stays in
    /// the log.
    pub windows_kept_s: u64,
    /// Takes the newest values.
    pub on_live: OnLive,
    /// What raises alerts.
    pub alerts: Plan,
    /// Takes traced requests, when somebody wants to know.
    pub on_traced: Option<OnTraced>,
}

/// How far the pipeline is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// The position up to which the log was read.
    pub cursor: u64,
    /// Commits that could not be read, since the start.
    pub unreadable: u64,
}

/// The pipeline and what it knows.
pub struct Pipeline {
    store: Store,
    options: Options,
    catalog: Arc<Catalog>,
    progress: watch::Sender<Progress>,
    chains: HashMap<holdfast_sync::store::ChainNo, holdfast_core::ChainId>,
    /// Windows that have readings behind their last rollup, by the time they are due.
    pending: BTreeMap<WindowKey, Pending>,
    windows: windows::Cache,
    watch: Watch,
    waits: Waits,
    /// Up to here the log was read before: the cursor was lost with a repair.
    again_to: u64,
    intact: Intact,
    /// Records of windows that are on their way out.
    removal: Option<Removal>,
    /// When the last removal began, by the clock that only goes forward.
    removed_ms: u64,
}

#[derive(Clone, Copy, Debug)]
struct Pending {
    /// When it became pending, by the clock that only goes forward.
    since_ms: u64,
}

impl Pipeline {
    /// Loads what the pipeline knew when the node stopped.
    ///
    /// # Errors
    /// A fault of the store.
    pub fn load(store: Store, options: Options, max_series: usize) -> Result<Self, Fault> {
        let now = store.env().monotonic_ms();
        let plan = options.alerts.clone();
        let about = (store.node(), Arc::clone(store.env()));
        let look = |view: &Snapshot<'_>| {
            let Some(catalog) = Catalog::load(view, max_series)? else { return Ok(None) };
            let cursor = cursor(view)?;
            let watch = Watch::load(view, plan.clone(), about.clone(), &catalog, cursor == 0)?;
            let waits = Waits::load(view, plan.desk.clone())?;
            let pending = windows::load_pending(view)?;
            Ok(Some((catalog, cursor, pending, (watch, waits), view.head()?)))
        };
        let mut found = store.read_blocking(look)?;
        if found.is_none() {
            tracing::error!("the record of a series is lost: all are read from the log again");
            begin_anew(&store)?;
            found = store.read_blocking(look)?;
        }
        let lost = || Fault::damaged("series records", "a number is lost");
        let (catalog, cursor, pending, (watch, waits), head) = found.ok_or_else(lost)?;
        let pending = pending.into_iter().map(|key| (key, Pending { since_ms: now })).collect();
        Ok(Self {
            store,
            options,
            catalog: Arc::new(catalog),
            progress: watch::channel(Progress { cursor, unreadable: 0 }).0,
            chains: HashMap::new(),
            pending,
            windows: windows::Cache::default(),
            watch,
            waits,
            again_to: if cursor == 0 { head } else { 0 },
            intact: Intact::default(),
            removal: None,
            removed_ms: now,
        })
    }

    /// The series it knows.
    #[must_use]
    pub fn catalog(&self) -> Arc<Catalog> {
        Arc::clone(&self.catalog)
    }

    /// The alerts it knows.
    #[must_use]
    pub fn book(&self) -> Arc<Book> {
        Arc::clone(self.watch.book())
    }

    /// Follows how far it is.
    #[must_use]
    pub fn progress(&self) -> watch::Receiver<Progress> {
        self.progress.subscribe()
    }

    /// Works until told to stop, on a thread of its own that gives way to those that answer
    /// devices: whatever is being summed up, an acknowledgement does not wait behind it for a
    /// processor.
    ///
    /// # Panics
    /// When the pipeline does, or no thread can be had.
    pub async fn run(self, stop: CancellationToken) {
        let (done, over) = tokio::sync::oneshot::channel();
        let runtime = tokio::runtime::Handle::current();
        let thread = std::thread::Builder::new().name("pipeline".to_owned());
        let begun = thread.spawn(move || {
            // Of a thread that may not, the pipeline is as fast as everything else.
            let _ = rustix::process::setpriority_process(None, NICENESS);
            runtime.block_on(self.work_until(stop));
            // Whoever waited may have gone away.
            let _ = done.send(());
        });
        begun.expect("there is room for a thread");
        over.await.expect("the pipeline ends when it is told to");
    }

    /// A fault is retried: a full disk may have room again.
    async fn work_until(mut self, stop: CancellationToken) {
        let mut head = self.store.watch();
        let desk = self.options.alerts.desk.clone();
        let waits_change = || async {
            match &desk {
                Some(desk) => desk.waits_change().await,
                None => std::future::pending().await,
            }
        };
        let mut tick = tokio::time::interval(Duration::from_secs(1));
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        while !stop.is_cancelled() {
            let rest = self.work().await.unwrap_or_else(|error| {
                tracing::warn!(%error, "the pipeline waits");
                Some(RETRY)
            });
            match rest {
                None => tokio::select! {
                    () = stop.cancelled() => {}
                    _ = tick.tick() => {}
                    () = waits_change() => {}
                    Ok(()) = head.changed() => head.mark_unchanged(),
                },
                Some(Duration::ZERO) => {}
                Some(rest) => tokio::select! {
                    () = stop.cancelled() => {}
                    () = tokio::time::sleep(rest) => {}
                },
            }
        }
    }

    /// Does all that there is to do, for whoever has the time in hand; whether there was anything.
    ///
    /// # Errors
    /// What the store does not take.
    pub async fn come_to_rest(&mut self) -> Result<bool, WriteError> {
        let mut any = false;
        while self.work().await?.is_some() {
            any = true;
        }
        Ok(any)
    }

    /// When there is something to do if nothing comes until then, Unix milliseconds.
    #[must_use]
    pub fn next_ms(&self) -> i64 {
        let env = self.store.env();
        let (now_ms, steady) = (env.now().millis(), env.monotonic_ms());
        let wall = |at: u64| now_ms.saturating_add_unsigned(at.saturating_sub(steady));
        let windows = self.pending.iter().map(|(key, pending)| {
            let over_ms = key.window.end_s().saturating_add(GRACE_S).saturating_mul(1_000);
            let late_ms = wall(pending.since_ms.saturating_add(LATE_MS));
            let patient_ms = wall(pending.since_ms.saturating_add(patience_ms(key.window)));
            over_ms.max(late_ms).min(patient_ms)
        });
        let judged = self.watch.next_deadline().into_iter().chain(self.waits.next_deadline());
        let judged = judged.min().map(|at| {
            let at_ms = at.0.saturating_add(999_999).div_euclid(1_000_000);
            at_ms.max(wall(self.watch.next_scan_ms()))
        });
        windows.chain(judged).min().unwrap_or(i64::MAX)
    }

    /// One step, if there is anything to do, and for how long to rest after it.
    async fn work(&mut self) -> Result<Option<Duration>, WriteError> {
        let from = self.progress.borrow().cursor;
        let head = self.store.watch().borrow().pos;
        let commits = self.store.read(move |view| view.commits_after(from, STEP_BYTES)).await?;
        let due = self.due();
        if commits.is_empty()
            && due.is_empty()
            && !self.watch.is_due(self.store.env().monotonic_ms())
            && !self.waits.is_due()
        {
            return Ok(self.remove().await?.then_some(Duration::ZERO));
        }
        let rest = rest(&commits, head);
        self.step(commits, due).await?;
        Ok(Some(rest))
    }

    /// Removes records of windows of the past, a step at a time and when there is nothing else to
    /// do; `false` when there is nothing to remove.
    async fn remove(&mut self) -> Result<bool, WriteError> {
        let env = self.store.env();
        let (now, steady) = (env.now(), env.monotonic_ms());
        let every = self.options.windows_kept_s.saturating_mul(1_000).min(REMOVE_MS);
        if self.removal.is_none() && steady.saturating_sub(self.removed_ms) >= every {
            let kept_s = self.options.windows_kept_s;
            self.removal = Some(Removal::new(now, kept_s));
            self.removed_ms = steady;
        }
        let Some(removal) = self.removal.take() else { return Ok(false) };
        let waiting = removal.waiting(self.pending.keys());
        let step = self.store.write(move |tx| removal.step(tx, &waiting));
        let (_committed, rest) = step.await?;
        self.removal = rest;
        Ok(true)
    }

    /// Pending windows whose time has come: by the wall clock, or when it does not move, by the one
    /// that only goes forward. One that late readings revise waits a little for more of them, or a
    /// backlog would write a rollup for nearly each of its readings.
    fn due(&self) -> Vec<WindowKey> {
        let env = self.store.env();
        let (now, mono) = (env.now(), env.monotonic_ms());
        let due = self.pending.iter().filter(|(key, pending)| {
            let patience = patience_ms(key.window);
            let waited = mono.saturating_sub(pending.since_ms);
            (is_due(key.window, now) && waited >= LATE_MS) || waited >= patience
        });
        due.map(|(key, _)| *key).take(windows::ROLLUPS_MAX).collect()
    }
}

/// For how long to rest after a step of these, where the log went up to `head`: a backlog, of which
/// a step takes what it can, is read on at once.
fn rest(commits: &[StoredCommit], head: u64) -> Duration {
    if commits.last().is_some_and(|last| last.pos < head) {
        return Duration::ZERO;
    }
    let entries: u32 = commits.iter().map(|commit| commit.count).sum();
    let rest = REST_OF_ENTRY.saturating_mul(entries).min(REST_MAX);
    // The timer counts milliseconds, and would round up.
    if rest < Duration::from_millis(1) { Duration::ZERO } else { rest }
}

/// For how long a window is waited for whose end does not come by the wall clock.
fn patience_ms(window: Window) -> u64 {
    u64::from(window.width_s) * 1000 + GRACE_S as u64 * 1000
}

fn is_due(window: Window, now: Timestamp) -> bool {
    window.end_s().saturating_add(GRACE_S) <= now.seconds()
}

fn cursor(view: &Snapshot<'_>) -> Result<u64, Fault> {
    let value = view.get(Table::Cursor, PIPELINE)?;
    let bytes = value.as_deref().and_then(|value| value.first_chunk::<8>());
    Ok(bytes.map_or(0, |bytes| u64::from_be_bytes(*bytes)))
}

/// Forgets the series, and what is known by their numbers, and goes back to the beginning of the
/// log: there all of them are.
fn begin_anew(store: &Store) -> Result<(), Fault> {
    let forget = store.write(|tx| {
        for table in [Table::Series, Table::Window] {
            tx.delete_range(table, &[], &[u8::MAX; 5])?;
        }
        Ok(tx.delete(Table::Cursor, PIPELINE)?)
    });
    match futures::executor::block_on(forget) {
        Ok(_) => Ok(()),
        Err(WriteError::Fault(fault)) => Err(fault),
        Err(error) => Err(Fault::Database(error.to_string())),
    }
}

/// Whose history a series belongs to.
pub type Origin = NodeId;

#[cfg(test)]
mod tests {
    use super::*;
    use holdfast_core::log::Link;
    use holdfast_sync::store::ChainNo;

    fn commit(pos: u64, count: u32) -> StoredCommit {
        StoredCommit {
            pos,
            chain: ChainNo(1),
            first: 1,
            count,
            link: Link([0; 32]),
            signature: None,
            sealed: false,
            body: Vec::new(),
        }
    }

    #[test]
    fn a_step_is_rested_after_by_what_came_and_never_in_a_backlog() {
        let ms = Duration::from_millis;
        assert_eq!(rest(&[], 9), ms(0), "windows that were due");
        assert_eq!(rest(&[commit(9, 1)], 9), ms(0), "what one device says is acted on at once");
        assert_eq!(rest(&[commit(8, 100), commit(9, 300)], 9), ms(6));
        assert_eq!(rest(&[commit(9, 50_000)], 9), ms(25));
        assert_eq!(rest(&[commit(7, 50_000)], 9), ms(0), "there is more to read");
    }
}
