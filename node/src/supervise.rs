//! The life of the process: tasks that are restarted, a stop that has an end, lines that tell.
//!
//! A supervised task that fails or panics is started again after a full-jitter delay. One that
//! fails too often takes the process down, with the reason: a supervisor outside can do more than
//! a loop inside. SIGINT and SIGTERM cancel one token that everything listens to.

use crate::manager::Manager;
use crate::sources::Sources;
use holdfast_core::backoff::Backoff;
use std::collections::VecDeque;
use std::fmt::Display;
use std::future::Future;
use std::io::Write;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How often a task may fail before the process gives up.
#[derive(Clone, Copy, Debug)]
pub struct Restarts {
    /// Failures within `within` that are survived.
    pub most: usize,
    /// The time in which they are counted.
    pub within: Duration,
    /// The ceiling of the first delay.
    pub delay: Duration,
    /// The ceiling of any delay.
    pub delay_max: Duration,
}

impl Default for Restarts {
    fn default() -> Self {
        Self {
            most: 10,
            within: Duration::from_secs(600),
            delay: Duration::from_millis(200),
            delay_max: Duration::from_secs(30),
        }
    }
}

/// How long tasks have to end once the process stops.
pub const GRACE: Duration = Duration::from_secs(30);

/// Starts tasks, restarts them, and ends them together.
#[derive(Clone, Debug)]
pub struct Supervisor {
    sources: Sources,
    restarts: Restarts,
    stop: CancellationToken,
    tasks: TaskTracker,
    fatal: Arc<Mutex<Option<String>>>,
}

impl Supervisor {
    /// Ends its tasks when `stop` is cancelled.
    #[must_use]
    pub fn new(sources: Sources, restarts: Restarts, stop: CancellationToken) -> Self {
        Self { sources, restarts, stop, tasks: TaskTracker::new(), fatal: Arc::default() }
    }

    /// The token that stops everything.
    #[must_use]
    pub const fn stop(&self) -> &CancellationToken {
        &self.stop
    }

    /// Runs what `start` makes, anew after each failure. `Ok` means that it is done.
    pub fn spawn<F, E>(
        &self,
        name: &'static str,
        start: impl Fn(CancellationToken) -> F + Send + 'static,
    ) where
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: Display + Send + 'static,
    {
        let this = self.clone();
        self.tasks.spawn(async move { this.keep_running(name, start).await });
    }

    async fn keep_running<F, E>(self, name: &'static str, start: impl Fn(CancellationToken) -> F)
    where
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: Display + Send + 'static,
    {
        let Restarts { most, within, delay, delay_max } = self.restarts;
        let mut backoff = Backoff::new(millis(delay), millis(delay_max));
        let mut failures = VecDeque::new();
        loop {
            let reason = match tokio::spawn(start(self.stop.clone())).await {
                Ok(Ok(())) => return,
                Ok(Err(error)) => error.to_string(),
                Err(panic) => format!("{panic}"),
            };
            if self.stop.is_cancelled() {
                tracing::warn!(task = name, reason, "a task failed while stopping");
                return;
            }
            let now_ms = (self.sources.monotonic_ms)();
            failures.retain(|&at_ms| now_ms.saturating_sub(at_ms) < millis(within));
            if failures.is_empty() {
                backoff.reset();
            }
            failures.push_back(now_ms);
            if failures.len() > most {
                let minutes = within.as_secs().div_ceil(60);
                self.give_up(format!(
                    "task {name} failed {} times within {minutes} min: {reason}",
                    failures.len()
                ));
                return;
            }
            let wait = Duration::from_millis(backoff.next_ms(self.sources.entropy()));
            tracing::error!(task = name, reason, wait_ms = millis(wait), "a task failed");
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = self.stop.cancelled() => return,
            }
        }
    }

    /// Runs a task that owns its state, so that it cannot be started a second time: when it panics
    /// the process ends with the reason, and whoever supervises it starts it anew.
    pub fn run_once<F>(&self, name: &'static str, start: impl FnOnce(CancellationToken) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let task = tokio::spawn(start(self.stop.clone()));
        let this = self.clone();
        self.tasks.spawn(async move {
            if let Err(panic) = task.await {
                this.give_up(format!("task {name}: {panic}"));
            }
        });
    }

    /// Stops the process with a reason; the first one counts.
    pub fn give_up(&self, reason: String) {
        tracing::error!(reason, "giving up");
        self.fatal.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(reason);
        self.stop.cancel();
    }

    /// Waits for the stop and then, within `grace`, for all tasks.
    ///
    /// # Errors
    /// Why the process did not end as it should.
    pub async fn finish(self, grace: Duration) -> Result<(), String> {
        self.stop.cancelled().await;
        self.tasks.close();
        let all = tokio::time::timeout(grace, self.tasks.wait()).await;
        if let Some(reason) = self.fatal.lock().unwrap_or_else(PoisonError::into_inner).take() {
            return Err(reason);
        }
        let left = self.tasks.len();
        all.map_err(|_| format!("{left} tasks did not end within {} s", grace.as_secs()))
    }

    /// [`Supervisor::finish`] as the exit of a process: 0, or 1 with the reason in the log.
    pub async fn run(self) -> ExitCode {
        match self.finish(GRACE).await {
            Ok(()) => ExitCode::SUCCESS,
            Err(reason) => {
                tracing::error!(reason, "ending with an error");
                ExitCode::FAILURE
            }
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Cancels `stop` on SIGINT or SIGTERM and tells `manager`. It is not told of a stop of our own,
/// after which the process wants to be started again.
///
/// # Errors
/// When the operating system does not let signals be handled.
pub fn stop_on_signals(stop: &CancellationToken, manager: Manager) -> std::io::Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let stop = stop.clone();
    tokio::spawn(async move {
        let name = tokio::select! {
            _ = interrupt.recv() => "SIGINT",
            _ = terminate.recv() => "SIGTERM",
            () = stop.cancelled() => return,
        };
        tracing::info!(signal = name, "stopping");
        manager.stopping();
        stop.cancel();
    });
    Ok(())
}

/// The lines on standard output by which others find a service.
pub mod announce {
    use super::{Display, SocketAddr, Write};

    /// `listening <name> <address>`.
    pub fn listening(name: &str, address: SocketAddr) {
        line(format_args!("listening {name} {address}"));
    }

    /// `fingerprint <SHA-256>`: by which certificate whoever connects recognises it.
    pub fn fingerprint(fingerprint: impl Display) {
        line(format_args!("fingerprint {fingerprint}"));
    }

    /// `ready`: everything serves.
    pub fn ready() {
        line("ready");
    }

    /// Whoever started us may have closed its end; that is no reason to stop.
    fn line(text: impl Display) {
        let mut out = std::io::stdout().lock();
        if let Err(error) = writeln!(out, "{text}").and_then(|()| out.flush()) {
            tracing::warn!(%error, line = %text, "nobody reads standard output");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sources::by_hand::Hand;
    use std::sync::atomic::{AtomicUsize, Ordering};

    fn supervisor(most: usize) -> (Supervisor, Arc<AtomicUsize>) {
        let short = Duration::from_millis(1);
        let restarts =
            Restarts { most, within: Duration::from_secs(60), delay: short, delay_max: short };
        let sources = Hand::default().sources();
        let supervisor = Supervisor::new(sources, restarts, CancellationToken::new());
        (supervisor, Arc::default())
    }

    const PATIENCE: Duration = Duration::from_secs(20);

    #[tokio::test]
    async fn a_task_that_fails_and_panics_is_restarted_until_it_is_done() {
        let (supervisor, starts) = supervisor(5);
        let (counted, stop) = (Arc::clone(&starts), supervisor.stop().clone());
        supervisor.spawn("shaky", move |_| {
            let (start, stop) = (counted.fetch_add(1, Ordering::SeqCst), stop.clone());
            async move {
                match start {
                    0 => Err("no luck"),
                    1 => panic!("worse"),
                    _ => {
                        stop.cancel();
                        Ok(())
                    }
                }
            }
        });
        assert_eq!(supervisor.finish(PATIENCE).await, Ok(()));
        assert_eq!(starts.load(Ordering::SeqCst), 3);
    }

    #[tokio::test]
    async fn a_task_that_fails_too_often_stops_the_process() {
        let (supervisor, starts) = supervisor(3);
        let counted = Arc::clone(&starts);
        supervisor.spawn("broken", move |_| {
            counted.fetch_add(1, Ordering::SeqCst);
            async { Err("still broken") }
        });
        supervisor.spawn("patient", |stop| async move {
            stop.cancelled().await;
            Ok::<_, String>(())
        });
        let reason = supervisor.finish(PATIENCE).await.unwrap_err();
        assert_eq!(reason, "task broken failed 4 times within 1 min: still broken");
        assert_eq!(starts.load(Ordering::SeqCst), 4);
    }

    #[tokio::test]
    async fn a_task_that_does_not_end_is_named_in_the_exit() {
        let (supervisor, _) = supervisor(3);
        supervisor.spawn("deaf", |_| std::future::pending::<Result<(), String>>());
        supervisor.stop().cancel();
        let reason = supervisor.finish(Duration::from_millis(20)).await.unwrap_err();
        assert!(reason.starts_with("1 tasks did not end"), "{reason}");
    }
}
