//! Writes the mark on a thread of its own. A mark is a new file, and it and its folder are synced:
//! that takes a slow disk tens of milliseconds, for which no acknowledgement is to wait.
//!
//! Only the newest mark counts, so one that was not begun when the next one comes is never written.
//! It may come to the disk late, and is never ahead of a commit.

use super::mark::Mark;
use crate::Fault;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

/// The thread, for whoever hands it marks.
pub(super) struct Marker {
    /// Gone when it is over.
    marks: Option<Sender<Mark>>,
    has_failed: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Marker {
    /// One for the store in `dir`.
    pub(super) fn start(dir: &Path) -> Result<Self, Fault> {
        let (marks, wanted) = channel();
        let has_failed = Arc::<AtomicBool>::default();
        let (its, to) = (Arc::clone(&has_failed), dir.to_owned());
        let thread = std::thread::Builder::new().name("store-marker".to_owned());
        let thread = thread.spawn(move || write(&wanted, &to, &its));
        let thread = thread.map_err(|source| Fault::file(dir, source))?;
        Ok(Self { marks: Some(marks), has_failed, thread: Some(thread) })
    }

    /// Has a mark written, in the place of one that was not begun yet.
    pub(super) fn put(&self, mark: Mark) {
        let sent = self.marks.as_ref().is_some_and(|marks| marks.send(mark).is_ok());
        if !sent {
            self.has_failed.store(true, Ordering::Relaxed);
        }
    }

    /// Whether one could not be written since this was last asked.
    pub(super) fn has_failed(&self) -> bool {
        self.has_failed.swap(false, Ordering::Relaxed)
    }
}

impl Drop for Marker {
    /// Waits until the last one is written.
    fn drop(&mut self) {
        drop(self.marks.take());
        // A panic in there was told where it happened.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// Writes what comes until it is over.
fn write(wanted: &Receiver<Mark>, dir: &Path, has_failed: &AtomicBool) {
    while let Ok(mark) = wanted.recv() {
        let newest = wanted.try_iter().last().unwrap_or(mark);
        if let Err(error) = newest.write(dir) {
            tracing::warn!(%error, "the mark could not be written");
            has_failed.store(true, Ordering::Relaxed);
        }
    }
}
