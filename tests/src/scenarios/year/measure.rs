//! What is measured of a gateway from outside, and how the quarters of a year compare.

use super::gateway::{Gateway, QUOTA};
use holdfast_sync::store::{Snapshot, Table, Usage};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// The ballast, and the write-ahead log: its limit, and as much again for what one transaction
/// and one reader may add to it.
const BESIDE_THE_QUOTA: u64 = (4 << 20) + 2 * (8 << 20);
/// What a data directory has in it while a node runs.
const FILES: [&str; 6] =
    ["ballast", "holdfast.db", "holdfast.db-shm", "holdfast.db-wal", "lock", "mark"];

/// One stretch of the year.
#[derive(Clone, Debug, Default)]
pub struct Quarter {
    /// The greatest use of the store's room.
    pub used: u64,
    /// The greatest size of all files together.
    pub files: u64,
    /// The greatest resident memory of the process.
    pub memory: u64,
    /// For each start, the bytes that it read.
    pub starts: Vec<u64>,
    /// Records at the end by table, with their bytes, and the chains.
    pub records: Vec<(Table, usize, usize)>,
}

impl Quarter {
    /// Looks at the running gateway.
    ///
    /// # Panics
    /// When the store takes more room than it may, or keeps a file that it should not.
    pub fn look(&mut self, dir: &Path, gateway: &Gateway) {
        let usage = gateway.store.usage();
        assert!(usage.used_bytes <= QUOTA, "the quota is kept: {usage:?}");
        assert!(!usage.refusing, "local work is not refused: {usage:?}");
        self.used = self.used.max(usage.used_bytes);
        self.memory = self.memory.max(resident());
        let (mut bytes, mut names) = (0, BTreeSet::new());
        for entry in fs::read_dir(dir).expect("the data directory").flatten() {
            // One that is just being replaced may be gone.
            bytes += entry.metadata().map_or(0, |meta| meta.len());
            names.insert(entry.file_name().to_string_lossy().into_owned());
        }
        names.remove("mark.new");
        assert_eq!(names.iter().collect::<Vec<_>>(), FILES, "no file more, no file less");
        assert!(bytes <= QUOTA + BESIDE_THE_QUOTA, "{bytes} bytes on disk");
        self.files = self.files.max(bytes);
    }

    /// Counts the records.
    ///
    /// # Panics
    /// On a fault of the store.
    pub fn count(&mut self, gateway: &Gateway) {
        let look = |view: &Snapshot<'_>| {
            let each = Table::ALL.into_iter().map(|table| {
                let records = view.scan(table, &[], &[], usize::MAX)?;
                let bytes = records.iter().map(|(key, value)| key.len() + value.len()).sum();
                Ok((table, records.len(), bytes))
            });
            each.collect()
        };
        self.records = gateway.store.read_blocking(look).expect("the records can be read");
    }

    /// Bytes that half of the starts read at most.
    #[must_use]
    pub fn start(&self) -> u64 {
        let mut starts = self.starts.clone();
        starts.sort_unstable();
        starts.get(starts.len() / 2).copied().unwrap_or(0)
    }

    /// Bytes of the records of some tables.
    #[must_use]
    pub fn bytes(&self, tables: &[Table]) -> u64 {
        let some = self.records.iter().filter(|(table, ..)| tables.contains(table));
        some.map(|(_, _, bytes)| *bytes as u64).sum()
    }

    /// Prints it as two lines.
    pub fn tell(&self, number: usize) {
        let mb = |bytes: u64| bytes as f64 / 1e6;
        println!(
            "quarter {number}: {:.2} MB used at most, {:.2} MB on disk, {:.1} MB of memory, a \
             start reads {:.0} kB",
            mb(self.used),
            mb(self.files),
            mb(self.memory),
            self.start() as f64 / 1e3
        );
        let held = self.records.iter().filter(|(_, count, _)| *count > 0);
        let each: Vec<_> =
            held.map(|(table, count, bytes)| format!("{table:?} {count} ({bytes} B)")).collect();
        println!("  records: {}", each.join(", "));
    }
}

/// Resident bytes of this process.
#[must_use]
pub fn resident() -> u64 {
    let pages = fs::read_to_string("/proc/self/statm").ok();
    let pages = pages.and_then(|text| text.split(' ').nth(1)?.parse::<u64>().ok());
    pages.expect("Linux tells of a process's memory") * 4096
}

/// Bytes that this process has read so far, from files and whatever else can be read.
#[must_use]
pub fn read_so_far() -> u64 {
    let text = fs::read_to_string("/proc/self/io").ok();
    let line = text.as_deref().and_then(|text| text.lines().find(|l| l.starts_with("rchar: ")));
    let bytes = line.and_then(|line| line[7..].parse().ok());
    bytes.expect("Linux tells what a process has read")
}

/// What `status` said of the days that are left, and when.
#[derive(Debug, Default)]
pub struct Predictions {
    said: Vec<(i64, f64)>,
    full_at: Option<i64>,
}

impl Predictions {
    /// Takes a day's word; the store is full when what nobody else has must go.
    pub fn note(&mut self, now_ms: i64, usage: &Usage) {
        if self.full_at.is_some() {
            return;
        }
        if usage.shed_unacknowledged > 0 {
            self.full_at = Some(now_ms);
        } else if let Some(days) = usage.days_left() {
            self.said.push((now_ms, days));
        }
    }

    /// Compares it with what came: for each word from the day `from` on, the days that were told
    /// and the days that it took.
    /// Of the last two days it is not asked: a whole segment may go at once.
    #[must_use]
    pub fn compared(&self, from: usize) -> Vec<(f64, f64)> {
        let Some(full) = self.full_at else { return Vec::new() };
        let took = |at: i64| (full - at) as f64 / 86_400_000.0;
        let said = self.said.iter().skip(from);
        said.map(|(at, days)| (*days, took(*at))).filter(|(_, took)| *took > 2.0).collect()
    }
}
