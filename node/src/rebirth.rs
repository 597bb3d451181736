//! Starting anew in place, so that a damaged store is repaired without anybody's help.
//!
//! A repair needs the database closed. A node that meets damage while it runs therefore stops in
//! good order, or gives up the start that met it, and executes its own program again, as the same
//! process and at the same addresses. It does so rarely: a disk that damages more and more must not
//! keep a node from serving what is left.

use crate::cli::Failure;
use holdfast_core::Timestamp;
use holdfast_sync::store::Store;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio_util::sync::CancellationToken;

/// Seconds between two starts of this kind.
const EVERY_S: i64 = 600;
/// Tells the next start when this one was left; not a setting, so without the settings' prefix.
const LEFT_AT: &str = "REBIRTH_OF_HOLDFAST_AT";

/// Whether enough time has passed since the process started itself anew.
fn is_due(now: Timestamp) -> bool {
    due(std::env::var(LEFT_AT).ok().as_deref(), now)
}

fn due(left_at: Option<&str>, now: Timestamp) -> bool {
    let left_at = left_at.and_then(|text| text.parse::<i64>().ok());
    // A clock that was set back must not put it off for years.
    left_at.is_none_or(|at| now.seconds().saturating_sub(at).unsigned_abs() >= EVERY_S as u64)
}

/// Stops the process when its store has noted damage and it is time to start anew; `reborn` says so
/// to whoever closes everything.
pub fn when_damaged(store: &Store, reborn: &AtomicBool, stop: &CancellationToken) {
    let Some(damage) = store.noted_damage() else { return };
    if is_due(store.env().now()) && !reborn.swap(true, Ordering::Relaxed) {
        tracing::error!(damage, "starting anew to repair the store");
        stop.cancel();
    }
}

/// What a start that failed with `failure` ends with: where its store has noted damage and it is
/// time, the process starts anew, and this does not return.
pub async fn unless_damaged(
    failure: String,
    store: &Store,
    settings: &[(&str, String)],
) -> Failure {
    let now = store.env().now();
    let Some(damage) = store.noted_damage().filter(|_| is_due(now)) else { return failure.into() };
    tracing::error!(damage, failure, "starting anew to repair the store");
    store.close().await;
    start_anew(now, settings).into()
}

/// Executes the program again with the same arguments; `settings` are added to the environment, so
/// that it comes back where it was. Everything must be closed before.
///
/// # Errors
/// Why it could not be done; otherwise this does not return.
pub fn start_anew(now: Timestamp, settings: &[(&str, String)]) -> String {
    let failed = |error: std::io::Error| format!("the program cannot be started anew: {error}");
    let program = match std::env::current_exe() {
        Ok(program) => program,
        Err(error) => return failed(error),
    };
    let mut command = Command::new(program);
    command.args(std::env::args_os().skip(1)).env(LEFT_AT, now.seconds().to_string());
    command.envs(settings.iter().map(|(name, value)| (*name, value)));
    failed(command.exec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_not_done_twice_within_minutes_whatever_the_clock_does() {
        let at = |seconds: i64| Timestamp(seconds * 1_000_000_000);
        assert!(due(None, at(5)));
        assert!(due(Some("nonsense"), at(5)));
        assert!(!due(Some("1000"), at(1000)));
        assert!(!due(Some("1000"), at(1599)));
        assert!(due(Some("1000"), at(1600)));
        assert!(due(Some("1000000"), at(1000)));
    }
}
