//! Scrubbing: a running store is read over and over, slowly, so that what has rotted is found while
//! a peer or a backup still has it.
//!
//! A round goes through the log by position and then through the records by key, in steps: a short
//! snapshot of its own, a check of what it gave, a pause in proportion. Commits are checked as
//! `verify` checks them, records by their seals. Damage is noted like damage met on reading, so
//! the next start repairs it. The place is kept on disk about once a minute and a restart goes on
//! from there. Indexes and free pages are left to `verify`.

use super::chains::ChainInfo;
use super::commits::ROW_COST;
use super::quota::used_bytes;
use super::record::{Table, unseal};
use super::rescue::{self, CommitRow, RawRecord};
use super::schema::fault;
use super::snapshot::{Snapshot, open_reader};
use super::verify::check_value;
use super::writer::WriteError;
use super::{DATABASE, Inner, Store};
use crate::Fault;
use holdfast_core::codec::{Reader, Sink};
use holdfast_core::log::Link;
use holdfast_core::{Reject, Timestamp};
use std::fs::File;
use std::sync::{Arc, PoisonError, Weak};
use std::time::Duration;

/// In how long the whole store is read: rot is rare, flash wears out by reading, too, and a week is
/// well within what a hub or a backup still has.
pub const SCRUB_EVERY: Duration = Duration::from_secs(7 * 86_400);
/// Bytes that one step reads, but for its last row: some 20 ms of a small board. With [`PAUSE`] it
/// is the greatest rate, too, a hundredth of what a memory card reads.
const STEP_BYTES: usize = 256 << 10;
/// Between two looks whether a step is due.
const PAUSE: Duration = Duration::from_secs(1);
/// After a start the node has other things to read first.
const AFTER_START_MS: u64 = 60_000;
/// A writer with work in its queue is let alone for so long, then a step is made all the same.
const YIELD_MS: u64 = 600_000;
/// The place is put on disk so often: what is read twice after a crash is less than the wear.
const KEEP_MS: u64 = 60_000;
const META_SCRUB: &[u8] = b"scrub";

/// How far a round is.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    /// In the log, behind a position.
    Commits(u64),
    /// In the records, behind a key.
    Records(u8, Vec<u8>),
}

/// What the rounds have come to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scrubbed {
    /// When the last full round was finished.
    pub finished: Option<Timestamp>,
    /// Damages found in that round and since.
    pub findings: u64,
}

/// What is kept on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
struct State {
    finished_ms: Option<i64>,
    /// Findings of the last full round.
    before: u64,
    /// Findings of the one under way.
    found: u64,
    place: Place,
}

impl State {
    const fn new() -> Self {
        Self { finished_ms: None, before: 0, found: 0, place: Place::Commits(0) }
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let mut put = || -> Result<(), Reject> {
            out.put_u8(u8::from(self.finished_ms.is_some()))?;
            out.put_int(self.finished_ms.unwrap_or(0))?;
            out.put_uint(self.before)?;
            out.put_uint(self.found)?;
            match &self.place {
                Place::Commits(pos) => {
                    out.put_u8(0)?;
                    out.put_uint(*pos)
                }
                Place::Records(table, key) => {
                    out.put_u8(1)?;
                    out.put_u8(*table)?;
                    out.put_bytes(key)
                }
            }
        };
        put().expect("a growing buffer is never full");
        out
    }

    fn decode(value: &[u8]) -> Result<Self, Reject> {
        let mut reader = Reader::new(value);
        let has_finished = reader.u8()? == 1;
        let finished_ms = Some(reader.int()?).filter(|_| has_finished);
        let (before, found) = (reader.uint()?, reader.uint()?);
        let place = match reader.u8()? {
            0 => Place::Commits(reader.uint()?),
            1 => Place::Records(reader.u8()?, reader.bytes(value.len())?.to_vec()),
            _ => return Err(Reject::Malformed),
        };
        reader.finish()?;
        Ok(Self { finished_ms, before, found, place })
    }

    fn told(&self) -> Scrubbed {
        let finished = self.finished_ms.and_then(Timestamp::from_millis);
        Scrubbed { finished, findings: self.before + self.found }
    }
}

/// The scrubbing of one store.
#[derive(Debug)]
pub(super) struct Scrubber {
    every_ms: u64,
    state: State,
    due_ms: u64,
    kept_ms: u64,
}

/// What a step has read.
enum Read {
    Commits(Vec<(CommitRow, Option<ChainInfo>, Option<Link>)>),
    Records(Vec<RawRecord>),
}

impl Scrubber {
    /// Goes on where the last start was.
    pub(super) fn load(view: &Snapshot<'_>, every: Duration, now_ms: u64) -> Result<Self, Fault> {
        let kept = view.get(Table::Meta, META_SCRUB)?;
        // A place that cannot be read is as good as none: the round begins again.
        let state = kept.and_then(|value| State::decode(&value).ok()).unwrap_or(State::new());
        let every_ms = u64::try_from(every.as_millis()).unwrap_or(u64::MAX);
        Ok(Self { every_ms, state, due_ms: now_ms + AFTER_START_MS, kept_ms: now_ms })
    }

    /// One step. Damage is not an error but counted; an error leaves the place where it was.
    fn step(&mut self, store: &Store) -> Result<(), WriteError> {
        let now_ms = store.env().monotonic_ms();
        let found = self.state.found;
        let (bytes, whole) = match read(store, &self.state.place) {
            Ok((read, whole)) => (self.check(store, read), whole),
            Err(damage) if damage.is_damage() => {
                // Behind a page that cannot be read nothing is found; the repair reads all of it.
                self.find(store, &damage);
                self.pass_on(store);
                (STEP_BYTES, store.usage().used_bytes)
            }
            Err(fault) => return Err(fault.into()),
        };
        store.counts().scrubbed.add(bytes as u64);
        let wait = bytes as u128 * u128::from(self.every_ms) / u128::from(whole.max(1));
        self.due_ms = now_ms.saturating_add(u64::try_from(wait).unwrap_or(u64::MAX));
        let began = self.state.place == Place::Commits(0);
        if began || self.state.found != found || now_ms.saturating_sub(self.kept_ms) >= KEEP_MS {
            self.kept_ms = now_ms;
            let value = self.state.encode();
            let kept = store.write(move |tx| Ok(tx.put(Table::Meta, META_SCRUB, &value)?));
            futures::executor::block_on(kept)?;
        }
        Ok(())
    }

    /// Checks what was read and goes on behind it; gives its bytes.
    fn check(&mut self, store: &Store, read: Read) -> usize {
        let mut bytes = 0;
        match read {
            Read::Commits(rows) => {
                for (row, chain, before) in &rows {
                    bytes += row.commit.body.len() + ROW_COST;
                    if let Some(fault) = wrong(row, chain.as_ref(), *before) {
                        self.find(store, &fault);
                    }
                    self.state.place = Place::Commits(row.commit.pos);
                }
                if rows.is_empty() {
                    self.pass_on(store);
                }
            }
            Read::Records(records) => {
                let at_end = records.is_empty();
                for RawRecord { table, key, sealed } in records {
                    bytes += key.len() + sealed.len() + ROW_COST;
                    let known = Table::ALL.into_iter().find(|known| *known as u8 == table);
                    let sound = unseal(table, &key, sealed)
                        .and_then(|value| known.map_or(Ok(()), |t| check_value(t, &key, &value)));
                    if let Err(fault) = sound {
                        self.find(store, &fault);
                    }
                    self.state.place = Place::Records(table, key);
                }
                if at_end {
                    self.pass_on(store);
                }
            }
        }
        bytes
    }

    fn find(&mut self, store: &Store, fault: &Fault) {
        self.state.found += 1;
        store.counts().scrub_findings.add(1);
        tracing::error!(%fault, "found by the scrub");
        store.note_damage(fault);
    }

    /// From the log to the records, from there to the next round.
    fn pass_on(&mut self, store: &Store) {
        self.state.place = match self.state.place {
            Place::Commits(_) => Place::Records(0, Vec::new()),
            Place::Records(..) => {
                self.state.finished_ms = Some(store.env().now().millis());
                (self.state.before, self.state.found) = (self.state.found, 0);
                forget_pages(store);
                Place::Commits(0)
            }
        };
    }
}

/// What is in the system's memory would be read from there, however the disk has changed since. So
/// each round begins with nothing of the file in it.
fn forget_pages(store: &Store) {
    let file = File::open(store.dir().join(DATABASE));
    // A system that does not take the advice only hides rot for longer.
    let _ = file.map(|file| rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed));
}

/// Reads the next piece in a snapshot of its own; gives the bytes of the whole, too.
fn read(store: &Store, place: &Place) -> Result<(Read, u64), Fault> {
    let connection = open_reader(&store.dir().join(DATABASE), "FULL")?;
    connection.execute_batch("BEGIN").map_err(fault)?;
    let whole = used_bytes(&connection)?;
    let read = match place {
        Place::Commits(pos) => {
            let view = Snapshot { connection: &connection };
            let rows = rescue::rows_after(&connection, *pos, STEP_BYTES)?;
            let each = rows.into_iter().map(|row| {
                let chain = view.chain(row.commit.chain)?;
                let before = view.link_before(row.commit.chain, row.commit.first)?;
                Ok((row, chain, before))
            });
            Read::Commits(each.collect::<Result<_, Fault>>()?)
        }
        Place::Records(table, key) => {
            let behind = (*table, key.as_slice());
            Read::Records(rescue::records_after(&connection, behind, STEP_BYTES)?)
        }
    };
    Ok((read, whole))
}

/// What is wrong with a commit, if anything.
fn wrong(row: &CommitRow, chain: Option<&ChainInfo>, before: Option<Link>) -> Option<Fault> {
    let commit = &row.commit;
    let (first, last) = (commit.first, commit.last());
    let Some(info) = chain else {
        let found = format!("its chain, number {}, has no record", commit.chain.0);
        return Some(Fault::damaged(format!("commit {}", commit.pos), found));
    };
    let found = match before {
        _ if let Some((found, _)) = row.body_fault(info.id.stream) => found,
        Some(before) if !commit.follows(&info.id, before) => {
            "its link does not follow from its body and the link before".to_owned()
        }
        None if first > 1 && info.frontier.contains(first - 1) => {
            "the link before it is lost".to_owned()
        }
        _ if !row.is_signed_well(&info.id) => "its signature does not fit its link".to_owned(),
        _ => return None,
    };
    Some(Fault::damaged(format!("commit {} ({} {first}..{last})", commit.pos, info.id), found))
}

/// Starts the thread. It ends soon after the last handle to the store is gone or the writer has
/// stopped.
pub(super) fn start(inner: &Arc<Inner>, every: Duration) -> Result<(), Fault> {
    if every.is_zero() {
        return Ok(());
    }
    let weak = Arc::downgrade(inner);
    let started =
        std::thread::Builder::new().name("store-scrub".to_owned()).spawn(move || run(&weak));
    started.map(drop).map_err(|source| Fault::file(&inner.path, source))
}

fn run(store: &Weak<Inner>) {
    loop {
        std::thread::sleep(PAUSE);
        let Some(inner) = store.upgrade() else { return };
        match (Store { inner }).scrub_if_due() {
            Ok(_) => {}
            Err(WriteError::Fault(Fault::Stopping)) => return,
            Err(error) => tracing::warn!(%error, "the store is not scrubbed now"),
        }
    }
}

impl Store {
    /// One step of the scrub, if it is due by the store's clock; `false` when it is not. It is done
    /// in the background anyway; a test moves the clock by itself.
    ///
    /// # Errors
    /// A fault of the store other than damage, which is noted and counted.
    pub fn scrub_if_due(&self) -> Result<bool, WriteError> {
        let mut scrubber = self.inner.scrub.lock().unwrap_or_else(PoisonError::into_inner);
        let now_ms = self.env().monotonic_ms();
        let busy = self.waiting() > 0 && now_ms < scrubber.due_ms.saturating_add(YIELD_MS);
        if scrubber.every_ms == 0 || now_ms < scrubber.due_ms || busy {
            return Ok(false);
        }
        scrubber.step(self)?;
        Ok(true)
    }

    /// What the scrub has come to.
    #[must_use]
    pub fn scrubbed(&self) -> Scrubbed {
        self.inner.scrub.lock().unwrap_or_else(PoisonError::into_inner).state.told()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_reads_back_and_is_as_the_format_says() {
        let state = State {
            finished_ms: Some(1_800_000_000_000),
            before: 1,
            found: 0,
            place: Place::Records(10, b"a".to_vec()),
        };
        let hex: String = state.encode().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, "0180c0e285e3680100010a0161");
        let commits = State { finished_ms: None, place: Place::Commits(300), ..state.clone() };
        for state in [state, commits, State::new()] {
            assert_eq!(State::decode(&state.encode()), Ok(state));
        }
        assert!(State::decode(b"what").is_err());
    }
}
