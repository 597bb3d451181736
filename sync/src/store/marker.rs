//! Writes the mark on a thread of its own. A mark is a new file, and it and its folder are synced:
//! that takes a slow disk tens of milliseconds, for which no acknowledgement is to wait.
//!
//! Only the newest mark counts, so one that was not begun when the next one comes is never written.
//! It may come to the disk late, and is never ahead of a commit.

use super::mark::Mark;
use crate::Fault;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

/// The thread, for whoever hands it marks.
pub(super) struct Marker {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    desk: Mutex<Desk>,
    changed: Condvar,
}

/// What is to be done, and how it went.
#[derive(Default)]
struct Desk {
    next: Option<Mark>,
    is_over: bool,
    has_failed: bool,
}

impl Shared {
    fn desk(&self) -> MutexGuard<'_, Desk> {
        // Each change of it is a single step.
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next mark to be written; nothing when it is over and none is left.
    fn next(&self) -> Option<Mark> {
        let mut desk = self.desk();
        loop {
            if let Some(mark) = desk.next.take() {
                return Some(mark);
            }
            if desk.is_over {
                return None;
            }
            desk = self.changed.wait(desk).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Marker {
    /// One for the store in `dir`.
    pub(super) fn start(dir: &Path) -> Result<Self, Fault> {
        let shared = Arc::<Shared>::default();
        let (its, dir) = (Arc::clone(&shared), PathBuf::from(dir));
        let work = {
            let dir = dir.clone();
            move || {
                while let Some(mark) = its.next() {
                    if let Err(error) = mark.write(&dir) {
                        tracing::warn!(%error, "the mark could not be written");
                        its.desk().has_failed = true;
                    }
                }
            }
        };
        let thread = std::thread::Builder::new().name("store-marker".to_owned()).spawn(work);
        let thread = thread.map_err(|source| Fault::file(&dir, source))?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Has a mark written, in the place of one that was not begun yet.
    pub(super) fn put(&self, mark: Mark) {
        self.shared.desk().next = Some(mark);
        self.shared.changed.notify_one();
    }

    /// Whether one could not be written since this was last asked.
    pub(super) fn has_failed(&self) -> bool {
        std::mem::take(&mut self.shared.desk().has_failed)
    }
}

impl Drop for Marker {
    /// Waits until the last one is written.
    fn drop(&mut self) {
        self.shared.desk().is_over = true;
        self.shared.changed.notify_one();
        // A panic in there was told where it happened.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}
