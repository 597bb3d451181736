//! The gateway: the store and the pipeline as the service wires them, on a clock moved by hand.

use super::clock::Hand;
use super::site::Site;
use crate::wait::until_async;
use holdfast_node::alerts::{self, EdgeAlerts, Plan};
use holdfast_node::config;
use holdfast_node::pipeline::{self, Pipeline, Progress, WINDOWS_KEPT_S};
use holdfast_sync::env::Env;
use holdfast_sync::identity::NodeKey;
use holdfast_sync::store::{self, ItemOutcome, Overflow, SCRUB_EVERY, SEAL_AFTER, Store};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Bytes that the store may use: what this site fills in two weeks.
pub const QUOTA: u64 = 3 << 19;
/// The width of windows: of a site that samples every minute it holds about as many readings as the
/// five minutes of one that samples every second. Windows half as wide, of which none may go before
/// the hub has them, filled the quota in two weeks without a link by themselves.
pub const WINDOW_S: u32 = 6 * 3_600;
/// A step of the pipeline takes milliseconds; this is for a machine that does other things, too.
pub const PATIENCE: Duration = Duration::from_secs(120);
const SILENT_AFTER: Duration = Duration::from_secs(1_800);
const MAX_SERIES: usize = 1_000;

/// One start of the gateway.
pub struct Gateway {
    /// Its store.
    pub store: Store,
    /// Its clock.
    pub hand: Arc<Hand>,
    /// Whether there is a link; the alert about the disk asks.
    pub online: Arc<AtomicBool>,
    progress: watch::Receiver<Progress>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

/// What a post brought.
#[derive(Clone, Copy, Debug, Default)]
pub struct Posted {
    /// Readings that were acknowledged as new.
    pub readings: u64,
    /// Items that had been stored before.
    pub duplicates: u64,
}

impl Gateway {
    /// Starts it.
    ///
    /// # Panics
    /// When it does not start, or finds something wrong.
    #[must_use]
    pub fn start(dir: &Path, key: &NodeKey, hand: Arc<Hand>) -> Self {
        let options = store::Options {
            dir: dir.to_owned(),
            key: key.clone(),
            quota_bytes: QUOTA,
            overflow: Overflow::DropOldestRaw,
            max_series: MAX_SERIES,
            // Sealing keeps to the simulated hours, see `seal`.
            seal_after: 0,
            version: "year",
            scrub_every: SCRUB_EVERY,
            unsafe_normal_sync: false,
        };
        let env: Env = Arc::clone(&hand) as Env;
        let (store, report) = Store::open(options, env).expect("the store opens");
        assert!(report.findings.is_empty(), "{:?}", report.findings);
        let online = Arc::new(AtomicBool::new(false));
        let (watched, link) = (store.clone(), Arc::clone(&online));
        // A post that is kept back once is no silence here.
        let device_silent_after = config::Duration(SILENT_AFTER);
        let settings = EdgeAlerts { device_silent_after, ..EdgeAlerts::default() };
        let days = settings.disk_days;
        let observe = move || {
            let is_growing = !link.load(Ordering::SeqCst);
            vec![alerts::disk(&watched.usage(), days, is_growing)]
        };
        let plan = Plan {
            rules: settings.rules(),
            observe: Arc::new(observe),
            on_alerts: Arc::new(|_| {}),
            desk: None,
        };
        let options = pipeline::Options {
            widths_s: vec![WINDOW_S, 86_400],
            windows_kept_s: WINDOWS_KEPT_S,
            on_live: Arc::new(|_| {}),
            alerts: plan,
            on_traced: None,
        };
        let pipeline = Pipeline::load(store.clone(), options, MAX_SERIES);
        let pipeline = pipeline.expect("what the pipeline knew can be read");
        let (progress, stop) = (pipeline.progress(), CancellationToken::new());
        let task = tokio::spawn(pipeline.run(stop.clone()));
        Self { store, hand, online, progress, stop, task }
    }

    /// Posts what the site has measured, and waits until the pipeline has read it.
    ///
    /// # Panics
    /// When a post is refused, or the pipeline does not keep up.
    pub async fn post(&self, site: &mut Site, now_ms: i64) -> Posted {
        let post = site.post(&self.store, now_ms);
        let mut posted = Posted::default();
        if !post.batch.items.is_empty() {
            let (_, outcome) = self.store.ingest(post.batch).await.expect("local work goes on");
            for (outcome, readings) in outcome.items.iter().zip(post.readings) {
                match outcome {
                    ItemOutcome::Accepted => posted.readings += readings,
                    ItemOutcome::Duplicate => posted.duplicates += 1,
                    ItemOutcome::SequencesFull => panic!("a device's sequences are full"),
                }
            }
        }
        self.settle().await;
        posted
    }

    /// Waits until the pipeline has read all there is, what it wrote itself included.
    async fn settle(&self) {
        let head = self.store.watch();
        let read = async || (self.progress.borrow().cursor >= head.borrow().pos).then_some(());
        if read().await.is_none() {
            let mut progress = self.progress.clone();
            // Most of the time one step is all; polling would take longer than the step does.
            let _ = tokio::time::timeout(PATIENCE, progress.changed()).await;
            until_async("the pipeline to read the log", PATIENCE, read).await;
        }
    }

    /// Seals what can be sealed, as the background does every second.
    ///
    /// # Panics
    /// On a fault of the store.
    pub fn seal(&self) {
        self.store.seal_all(SEAL_AFTER).expect("the log is sealed");
    }

    /// Stops it in good order.
    ///
    /// # Panics
    /// When the pipeline has panicked.
    pub async fn stop(self) {
        self.stop.cancel();
        self.task.await.expect("the pipeline stops");
        self.store.close().await;
    }
}
