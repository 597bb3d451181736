//! What the disk alone makes a message wait that is acknowledged once it is synced.
//!
//! Writes as long as those of a commit follow each other in a file that is as long as a write-ahead
//! log, each synced. A message that comes at any moment is in the write that begins next, and
//! waits for its end: no broker that syncs is faster on this disk than that.

use super::histogram::Histogram;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::time::{Duration, Instant};

/// Bytes of a write, eight pages of a database.
const WRITE: usize = 32 << 10;
/// Bytes of the file.
const FILE: usize = 32 << 20;
/// Between two messages.
const EVERY: Duration = Duration::from_micros(100);

/// How long messages wait that come within `time`, on the disk of temporary files.
///
/// # Errors
/// When the disk cannot be written.
pub fn alone(time: Duration) -> io::Result<Histogram> {
    let file = tempfile::tempfile()?;
    let write = vec![0x5a; WRITE];
    // A log that begins anew has its place on the disk.
    for at in places() {
        file.write_all_at(&write, at)?;
    }
    file.sync_all()?;
    let mut waits = Waits::default();
    let began = Instant::now();
    for at in places().cycle() {
        let from = began.elapsed();
        if from >= time {
            break;
        }
        synced(&file, &write, at)?;
        waits.written(from, began.elapsed());
    }
    Ok(waits.histogram)
}

fn places() -> impl Iterator<Item = u64> + Clone {
    (0..FILE as u64).step_by(WRITE)
}

fn synced(file: &File, write: &[u8], at: u64) -> io::Result<()> {
    file.write_all_at(write, at)?;
    file.sync_data()
}

/// Messages that came, and how long they waited.
#[derive(Default)]
struct Waits {
    /// When the next one comes.
    next: Duration,
    histogram: Histogram,
}

impl Waits {
    /// A write took from one moment to another: it had all that had come until it began.
    fn written(&mut self, from: Duration, to: Duration) {
        while self.next <= from {
            self.histogram.record(to - self.next);
            self.next += EVERY;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_comes_while_the_disk_stands_waits_for_the_write_behind_it() {
        let ms = Duration::from_millis;
        let mut waits = Waits::default();
        waits.written(ms(0), ms(1));
        // It stands for 98 ms, and 980 messages come meanwhile.
        waits.written(ms(1), ms(99));
        waits.written(ms(99), ms(100));
        let median = waits.histogram.quantile(0.5).unwrap();
        assert!(median > ms(49) && median < ms(53), "{median:?}");
        let longest = waits.histogram.quantile(1.0).unwrap();
        assert!(longest >= ms(99) && longest < ms(104), "{longest:?}");
    }
}
