//! What a replica has done since its start, in numbers that only grow.
//!
//! Each is an atomic that is added to where the thing happens and read when somebody asks. Nothing
//! is sent and nothing depends on them; a restart begins at zero, as readers of counters expect.

use crate::session::{End, RefusalCode};
use holdfast_core::Stream;
use std::sync::atomic::{AtomicU64, Ordering};

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds to it.
    pub fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    /// What it is.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// How long something took: how often, by upper bounds in microseconds, and all together.
#[derive(Debug)]
pub struct Durations {
    bounds_us: &'static [u64],
    /// One for each bound and one for what is above them all.
    counts: Box<[Counter]>,
    sum_us: Counter,
}

impl Durations {
    /// Counts by these bounds, which ascend.
    #[must_use]
    pub fn new(bounds_us: &'static [u64]) -> Self {
        let counts = (0..=bounds_us.len()).map(|_| Counter::default()).collect();
        Self { bounds_us, counts, sum_us: Counter::default() }
    }

    /// Notes one more.
    pub fn note(&self, took_us: u64) {
        let place = self.bounds_us.partition_point(|bound| *bound < took_us);
        self.counts[place].add(1);
        self.sum_us.add(took_us);
    }

    /// Each bound with how many took no longer, and how many there are.
    #[must_use]
    pub fn cumulated(&self) -> (Vec<(u64, u64)>, u64) {
        let mut so_far = 0;
        let each = self.bounds_us.iter().zip(&self.counts).map(|(bound, count)| {
            so_far += count.get();
            (*bound, so_far)
        });
        let each = each.collect();
        (each, so_far + self.counts[self.bounds_us.len()].get())
    }

    /// All together, in microseconds.
    #[must_use]
    pub fn sum_us(&self) -> u64 {
        self.sum_us.get()
    }
}

/// A counter for each stream.
#[derive(Debug, Default)]
pub struct ByStream([Counter; Stream::ALL.len()]);

impl ByStream {
    /// The counter of a stream.
    #[must_use]
    pub fn of(&self, stream: Stream) -> &Counter {
        &self.0[stream as usize]
    }
}

/// What happens to documents and is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OfDocuments {
    /// A change was written here.
    Written,
    /// A change came from elsewhere and was new.
    Received,
    /// Changes were handed to a session, those of one document.
    Sent,
    /// A conflict was settled by a change from elsewhere.
    Settled,
    /// A change broke the engine and was put aside.
    Quarantined,
    /// A history was cut, here or at the hub.
    Cut,
    /// A history that nobody else had seen was folded.
    Folded,
}

impl OfDocuments {
    const COUNT: usize = Self::Folded as usize + 1;
}

/// A counter for each thing that happens to documents.
#[derive(Debug, Default)]
pub struct ByDocuments([Counter; OfDocuments::COUNT]);

impl ByDocuments {
    /// The counter of one of them.
    #[must_use]
    pub fn of(&self, what: OfDocuments) -> &Counter {
        &self.0[what as usize]
    }
}

/// From what a memory card needs at its best to what it needs when it is worn out.
const COMMIT_US: &[u64] =
    &[250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 1_000_000];
/// From a link that breaks at once to one that holds for a week.
const SESSION_US: &[u64] = &[
    1_000_000,
    10_000_000,
    60_000_000,
    600_000_000,
    3_600_000_000,
    21_600_000_000,
    86_400_000_000,
    604_800_000_000,
];

/// All counts of a replica.
#[derive(Debug)]
pub struct Counts {
    /// Transactions that were committed, and how long their commits with the sync to disk took.
    pub commits: Durations,
    /// Entries appended to this node's own streams.
    pub appended: ByStream,
    /// Entries that came from peers and were new here.
    pub received: ByStream,
    /// Entries handed to sessions to be sent.
    pub sent: ByStream,
    /// What happened to documents.
    pub documents: ByDocuments,
    /// Entries put into segments.
    pub sealed: Counter,
    /// Bytes of commits and records that the scrub has read.
    pub scrubbed: Counter,
    /// Damages that it found.
    pub scrub_findings: Counter,
    /// Bytes of the session protocol sent to peers, above QUIC.
    pub bytes_sent: Counter,
    /// The same received.
    pub bytes_received: Counter,
    /// Attempts to reach the hub.
    pub attempts: Counter,
    /// Those that ended before the peer let this node in.
    pub failures: Counter,
    /// Sessions in which both sides let each other in.
    pub connected: Counter,
    /// How long those that are over were.
    pub sessions: Durations,
    /// Why sessions ended, by the number of the code.
    ended: [Counter; RefusalCode::ALL.len()],
}

impl Default for Counts {
    fn default() -> Self {
        Self {
            commits: Durations::new(COMMIT_US),
            appended: ByStream::default(),
            received: ByStream::default(),
            sent: ByStream::default(),
            documents: ByDocuments::default(),
            sealed: Counter::default(),
            scrubbed: Counter::default(),
            scrub_findings: Counter::default(),
            bytes_sent: Counter::default(),
            bytes_received: Counter::default(),
            attempts: Counter::default(),
            failures: Counter::default(),
            connected: Counter::default(),
            sessions: Durations::new(SESSION_US),
            ended: Default::default(),
        }
    }
}

impl Counts {
    /// Notes the end of a session, `lasted_us` after the peer was let in, if it was.
    pub(crate) fn ended(&self, end: &End, lasted_us: Option<u64>) {
        let code = RefusalCode::ALL.iter().position(|code| *code == end.code);
        self.ended[code.expect("all codes are listed")].add(1);
        if let Some(lasted) = lasted_us {
            self.sessions.note(lasted);
        }
    }

    /// Why sessions ended: each code's name and how often.
    pub fn endings(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        RefusalCode::ALL.iter().zip(&self.ended).map(|(code, count)| (code.name(), count.get()))
    }
}

/// What one transaction adds; it counts once the transaction is on disk.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Fresh {
    pub appended: [u64; Stream::ALL.len()],
    pub received: [u64; Stream::ALL.len()],
    pub documents: [u64; OfDocuments::COUNT],
    pub sealed: u64,
}

impl Fresh {
    pub(crate) fn count(self, counts: &Counts) {
        for stream in Stream::ALL {
            counts.appended.of(stream).add(self.appended[stream as usize]);
            counts.received.of(stream).add(self.received[stream as usize]);
        }
        for (counter, more) in counts.documents.0.iter().zip(self.documents) {
            counter.add(more);
        }
        counts.sealed.add(self.sealed);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed step of a test is its failure")]
mod tests {
    use super::*;

    #[test]
    fn a_duration_counts_in_every_bound_it_keeps_to() {
        let took = Durations::new(&[10, 20]);
        for us in [0, 10, 11, 20, 21, 500] {
            took.note(us);
        }
        assert_eq!(took.cumulated(), (vec![(10, 2), (20, 4)], 6));
        assert_eq!(took.sum_us(), 562);
    }

    #[test]
    fn each_code_has_a_count_of_its_own() {
        let counts = Counts::default();
        for (times, code) in RefusalCode::ALL.into_iter().enumerate() {
            let end = End { by_peer: true, code, reason: String::new() };
            (0..times).for_each(|_| counts.ended(&end, None));
        }
        let told: Vec<_> = counts.endings().map(|(_, count)| count).collect();
        assert_eq!(told, (0..9).collect::<Vec<u64>>());
        assert_eq!(counts.sessions.cumulated().1, 0);
    }
}
