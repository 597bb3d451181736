//! A file on its way: opened, and read by a thread of its own.
//!
//! An input may keep silent for ever, so nobody but that thread waits for it. Between it and who
//! posts there are at most two portions.

use super::{FileFormat, Options, Portion, ReadError, read};
use crate::formats::line::Precision;
use holdfast_core::Timestamp;
use holdfast_sync::env::System;
use std::fs::File;
use std::io::{self, Read};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;
use tokio::sync::mpsc;

/// A file that is open.
pub struct Source {
    name: String,
    input: Box<dyn Read + Send>,
    length: Option<u64>,
    options: Options,
}

impl Source {
    /// Opens a file; `-` is standard input, and without a format the name tells it.
    ///
    /// # Errors
    /// A sentence about what is wrong with it.
    pub fn open(
        path: &Path,
        format: Option<FileFormat>,
        precision: Precision,
    ) -> Result<Self, String> {
        let name = path.display().to_string();
        if name == "-" {
            let format = format.ok_or("standard input has no name: --format says what it is")?;
            let options = Options { format, now: System::env().now(), precision };
            return Ok(Self { name, input: Box::new(io::stdin()), length: None, options });
        }
        let format = format.or_else(|| FileFormat::of(path)).ok_or_else(|| {
            let endings = FileFormat::ENDINGS;
            format!("{name}: the name does not tell the format ({endings}): --format does")
        })?;
        let explain = |error: io::Error| format!("{name}: {error}");
        let file = File::open(path).map_err(explain)?;
        let about = file.metadata().map_err(explain)?;
        if about.is_dir() {
            return Err(format!("{name} is a directory; name the files in it"));
        }
        let now = timestamp(about.modified().map_err(explain)?);
        let options = Options { format, now, precision };
        Ok(Self { name, input: Box::new(file), length: Some(about.len()), options })
    }

    /// What it is called.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Begins to read.
    #[must_use]
    pub fn start(self) -> Reading {
        let (sender, steps) = mpsc::channel(2);
        let bytes = Arc::new(AtomicU64::new(0));
        let input = Counted { input: self.input, bytes: Arc::clone(&bytes) };
        std::thread::spawn(move || {
            let end =
                read(input, self.options, &mut |portion| match sender.blocking_send(Ok(portion)) {
                    Ok(()) => ControlFlow::Continue(()),
                    Err(_) => ControlFlow::Break(()),
                });
            if let Err(error) = end {
                // Who does not listen any more does not want to know.
                let _ = sender.blocking_send(Err(error));
            }
        });
        Reading { name: self.name, length: self.length, bytes, steps }
    }
}

fn timestamp(time: SystemTime) -> Timestamp {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Timestamp(i64::try_from(since.as_nanos()).unwrap_or(i64::MAX))
}

/// A file that is being read.
pub struct Reading {
    /// What it is called.
    pub name: String,
    length: Option<u64>,
    bytes: Arc<AtomicU64>,
    steps: mpsc::Receiver<Result<Portion, ReadError>>,
}

impl Reading {
    /// The next portion; an error is the last thing that comes.
    pub async fn next(&mut self) -> Option<Result<Portion, ReadError>> {
        self.steps.recv().await
    }

    /// How much of it has been read, in per cent, if its length is known.
    #[must_use]
    pub fn percent(&self) -> Option<u64> {
        let length = self.length.filter(|&length| length > 0)?;
        Some((100 * self.bytes.load(Ordering::Relaxed) / length).min(100))
    }
}

struct Counted {
    input: Box<dyn Read + Send>,
    bytes: Arc<AtomicU64>,
}

impl Read for Counted {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let read = self.input.read(out)?;
        self.bytes.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}
