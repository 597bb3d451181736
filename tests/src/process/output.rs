//! Lines that a process writes, read by a thread as they come.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Lines kept per stream; older ones go, and a node that logs forever stays cheap.
const KEPT: usize = 10_000;

/// The lines of one stream.
#[derive(Debug)]
pub(super) struct Output {
    shared: Arc<Shared>,
    reader: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    lines: Mutex<Lines>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Lines {
    kept: VecDeque<String>,
    ended: bool,
}

impl Output {
    /// Reads `stream` until its end.
    pub fn read(stream: impl Read + Send + 'static) -> Self {
        let shared = Arc::new(Shared::default());
        let for_thread = Arc::clone(&shared);
        let reader = std::thread::spawn(move || for_thread.fill(stream));
        Self { shared, reader: Some(reader) }
    }

    /// Waits for a line from which `find` takes something; `None` when the stream has ended or
    /// the limit has passed without one.
    pub fn find<T>(&self, limit: Duration, find: impl Fn(&str) -> Option<T>) -> Option<T> {
        let deadline = Instant::now() + limit;
        let mut lines = self.shared.lock();
        loop {
            if let Some(found) = lines.kept.iter().find_map(|line| find(line)) {
                return Some(found);
            }
            let left = deadline.checked_duration_since(Instant::now())?;
            if lines.ended {
                return None;
            }
            let waited = self.shared.changed.wait_timeout(lines, left);
            lines = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// The lines so far.
    pub fn lines(&self) -> Vec<String> {
        self.shared.lock().kept.iter().cloned().collect()
    }

    /// The last lines so far, for a message.
    pub fn tail(&self, count: usize) -> String {
        let lines = self.shared.lock();
        let skip = lines.kept.len().saturating_sub(count);
        lines.kept.iter().skip(skip).cloned().collect::<Vec<_>>().join("\n")
    }

    /// All lines, once the process has ended. A grandchild that still holds the pipe open must
    /// not block the harness, so this waits for the end of the stream only so long.
    pub fn finish(mut self, limit: Duration) -> Vec<String> {
        self.find(limit, |_| None::<()>);
        if self.shared.lock().ended
            && let Some(reader) = self.reader.take()
        {
            // The reader has marked the end as its last deed.
            let _ = reader.join();
        }
        self.lines()
    }
}

impl Shared {
    fn fill(&self, stream: impl Read) {
        let mut stream = BufReader::new(stream);
        let mut line = Vec::new();
        // A read error on a pipe is its end.
        while matches!(stream.read_until(b'\n', &mut line), Ok(1..)) {
            let text = String::from_utf8_lossy(line.trim_ascii_end()).into_owned();
            let mut lines = self.lock();
            if lines.kept.len() == KEPT {
                lines.kept.pop_front();
            }
            lines.kept.push_back(text);
            drop(lines);
            self.changed.notify_all();
            line.clear();
        }
        self.lock().ended = true;
        self.changed.notify_all();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Lines> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
