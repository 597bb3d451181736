//! Runs of all nodes, as their logs tell of them: what a hub knows of what its gateways do, and in
//! the same way of what it does itself.
//!
//! The lines of a run come in whatever order their log does, the newest first after an outage, and
//! each may come twice. A line is known by its place in the log, and what is known of a run is what
//! its lines come to in any order. Byte-exact page: `docs/formats/runs.md`.

use super::record::{Line, NAME_MAX_BYTES, open, started};
use holdfast_core::codec::Sink;
use holdfast_core::log::runs::{RunId, RunStep, What};
use holdfast_core::{ChainId, NodeId, Reject, Seq, Timestamp};
use holdfast_sync::Fault;
use holdfast_sync::store::{Snapshot, Table, WriteTx};

/// Runs of other nodes that are kept; beyond, the oldest go.
pub const TOLD_MAX: u64 = 100_000;
/// Lines of a run that are kept.
const LINES_MAX: u64 = 1_000;
/// Runs that go in one transaction.
const SURPLUS_AT_ONCE: usize = 100;
/// How many there are.
const COUNT: &[u8] = b"runs-told";

/// Where a line stands in the event stream of its node: the start of the node, and the sequence.
type Place = (u64, Seq);

/// A line of the history of a run of another node.
#[derive(Clone, Debug)]
pub(crate) struct ToldLine {
    origin: NodeId,
    place: Place,
    at_ms: i64,
    run: RunId,
    workflow: String,
    version: String,
    line: Line,
}

impl ToldLine {
    /// One that stands in a chain under a sequence.
    pub(crate) fn of(step: &RunStep<'_>, chain: &ChainId, seq: Seq, at: Timestamp) -> Self {
        let (origin, place) = (chain.origin, (chain.incarnation.boot, seq));
        let line = Line { what: step.what, line: step.line, text: step.text.to_owned() };
        let (workflow, version) = (step.workflow.to_owned(), step.version.to_owned());
        Self { origin, place, at_ms: at.millis(), run: step.run, workflow, version, line }
    }
}

/// What is known of a run of another node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// Its workflow.
    pub workflow: String,
    /// The version to which it is pinned.
    pub version: String,
    /// Who or what began it; empty until that line has come.
    pub by: String,
    /// How many lines are known.
    pub lines: u64,
    /// When the newest of them was written, Unix milliseconds.
    pub stepped_ms: i64,
    /// How far it is: the last of [`What::Started`], [`What::Undoing`] and the ends.
    pub phase: u8,
    /// How often a part of it was parked, and how often somebody has decided about one.
    parked: u64,
    decided: u64,
    /// Where in the log the newest line stands that says that something is parked.
    parked_at: Place,
    /// Why it fails, failed, or is parked.
    pub why: String,
}

impl Told {
    /// How far it is.
    #[must_use]
    pub fn phase(&self) -> What {
        What::from_u8(self.phase).unwrap_or(What::Started)
    }

    /// Whether something of it waits for somebody who decides.
    #[must_use]
    pub fn is_parked(&self) -> bool {
        self.parked > self.decided && !is_end(self.phase())
    }

    fn take(&mut self, told: &ToldLine) {
        self.lines += 1;
        self.stepped_ms = self.stepped_ms.max(told.at_ms);
        let text = &told.line.text;
        match told.line.what {
            What::Started => self.by = text.strip_prefix("by ").unwrap_or(text).to_owned(),
            What::Parked => {
                self.parked += 1;
                if told.place >= self.parked_at {
                    self.parked_at = told.place;
                    if self.phase() == What::Started {
                        self.why.clone_from(text);
                    }
                }
            }
            // Another value for a variable leaves it parked.
            What::Decided if !text.starts_with("set ") => self.decided += 1,
            what @ (What::Undoing
            | What::Succeeded
            | What::Ended
            | What::Cancelled
            | What::Forwarded)
                // An undoing comes before an end, whichever line comes first here.
                if what as u8 > self.phase =>
            {
                self.phase = what as u8;
                self.why.clone_from(text);
            }
            _ => {}
        }
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = started();
        let put = |out: &mut Vec<u8>| -> Result<(), Reject> {
            for text in [&self.workflow, &self.version, &self.by, &self.why] {
                out.put_bytes(text.as_bytes())?;
            }
            out.put_uint(self.lines)?;
            out.put_int(self.stepped_ms)?;
            out.put_u8(self.phase)?;
            out.put_uint(self.parked)?;
            out.put_uint(self.decided)?;
            out.put_uint(self.parked_at.0)?;
            out.put_uint(self.parked_at.1)
        };
        put(&mut out).expect("a vector has room");
        out
    }

    /// Reads one.
    ///
    /// # Errors
    /// What is wrong with the bytes.
    pub fn decode(value: &[u8]) -> Result<Self, Reject> {
        let mut reader = open(value)?;
        let workflow = reader.str(NAME_MAX_BYTES)?.to_owned();
        let version = reader.str(NAME_MAX_BYTES)?.to_owned();
        let by = reader.str(holdfast_core::limits::NOTE_MAX_BYTES)?.to_owned();
        let why = reader.str(holdfast_core::limits::NOTE_MAX_BYTES)?.to_owned();
        let (lines, stepped_ms, phase) = (reader.uint()?, reader.int()?, reader.u8()?);
        let (parked, decided) = (reader.uint()?, reader.uint()?);
        let parked_at = (reader.uint()?, reader.uint()?);
        reader.finish()?;
        let read = Self { workflow, version, by, lines, stepped_ms, phase, ..Self::default() };
        Ok(Self { parked, decided, parked_at, why, ..read })
    }
}

const fn is_end(what: What) -> bool {
    matches!(what, What::Succeeded | What::Ended | What::Cancelled | What::Forwarded)
}

/// The key of a run of a node.
fn key(run: RunId, origin: &NodeId) -> Vec<u8> {
    [&run.0[..], &origin.0].concat()
}

/// The run and the node of such a key.
#[must_use]
pub fn told_of(key: &[u8]) -> Option<(RunId, NodeId)> {
    let (run, node) = key.split_first_chunk()?;
    Some((RunId(*run), NodeId(node.try_into().ok()?)))
}

/// Writes lines down with what their runs come to, each once. Of more runs than are kept the oldest
/// go.
pub(crate) fn write(tx: &mut WriteTx<'_>, lines: &[ToldLine]) -> Result<(), Fault> {
    let mut begun = 0;
    for told in lines {
        let run = key(told.run, &told.origin);
        let (boot, seq) = told.place;
        let step = [&run[..], &boot.to_be_bytes(), &seq.to_be_bytes()].concat();
        if tx.view().get(Table::RunToldStep, &step)?.is_some() {
            continue;
        }
        let damaged = |reject: Reject| Fault::damaged("run of another node", reject.code());
        let known = tx.view().get(Table::RunTold, &run)?;
        let mut of = match known {
            Some(value) => Told::decode(&value).map_err(damaged)?,
            None => {
                begun += 1;
                let (workflow, version) = (told.workflow.clone(), told.version.clone());
                Told { workflow, version, ..Told::default() }
            }
        };
        if of.lines < LINES_MAX {
            tx.put(Table::RunToldStep, &step, &told.line.encode(told.at_ms))?;
        }
        of.take(told);
        tx.put(Table::RunTold, &run, &of.encode())?;
    }
    if begun > 0 { forget(tx, begun) } else { Ok(()) }
}

/// Counts the runs that are new, and removes the oldest of too many.
fn forget(tx: &mut WriteTx<'_>, begun: u64) -> Result<(), Fault> {
    let count = tx.view().get(Table::Meta, COUNT)?;
    let count = count.and_then(|value| value.try_into().ok()).map_or(0, u64::from_be_bytes) + begun;
    let surplus = usize::try_from(count.saturating_sub(TOLD_MAX)).unwrap_or(usize::MAX);
    let oldest = match surplus.min(SURPLUS_AT_ONCE) {
        0 => Vec::new(),
        some => tx.view().scan(Table::RunTold, &[], &[], some)?,
    };
    for (run, _) in &oldest {
        let end = [&run[..], &[u8::MAX; 9]].concat();
        tx.delete_range(Table::RunToldStep, run, &end)?;
        tx.delete(Table::RunTold, run)?;
    }
    tx.put(Table::Meta, COUNT, &(count - oldest.len() as u64).to_be_bytes())
}

/// The lines of a run of a node, in the order of its log.
///
/// # Errors
/// A fault of the store.
pub fn told_lines(
    view: &Snapshot<'_>,
    run: RunId,
    origin: &NodeId,
) -> Result<Vec<(i64, Line)>, Fault> {
    let rows = view.scan(Table::RunToldStep, &key(run, origin), &[], usize::MAX)?;
    Ok(rows.iter().filter_map(|(_, value)| Line::decode(value).ok()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines() -> Vec<ToldLine> {
        let all = [
            (What::Started, "by reading pump-1 level 3.2 m"),
            (What::Parked, "timeout: no answer in time"),
            (What::Decided, "skip by ann"),
            (What::Undoing, "unreachable"),
            (What::Done, "effect 3"),
            (What::Ended, "unreachable"),
        ];
        let line = |(seq, (what, text)): (usize, &(What, &str))| ToldLine {
            origin: NodeId([7; 32]),
            place: (1, seq as u64 + 1),
            at_ms: 1_000 + seq as i64,
            run: RunId([1; 16]),
            workflow: "valve".to_owned(),
            version: "1".to_owned(),
            line: Line { what: *what, line: 4, text: (*text).to_owned() },
        };
        all.iter().enumerate().map(line).collect()
    }

    fn of<'l>(lines: impl Iterator<Item = &'l ToldLine>) -> Told {
        let mut told = Told::default();
        lines.for_each(|line| told.take(line));
        told
    }

    #[test]
    fn lines_come_to_the_same_in_any_order() {
        let lines = lines();
        let whole = of(lines.iter());
        assert_eq!((whole.phase(), whole.why.as_str()), (What::Ended, "unreachable"));
        assert_eq!((whole.lines, whole.stepped_ms), (6, 1_005));
        assert_eq!(whole.by, "reading pump-1 level 3.2 m");
        assert!(!whole.is_parked());
        assert_eq!(of(lines.iter().rev()), whole);
        for turn in 1..lines.len() {
            let turned = lines[turn..].iter().chain(&lines[..turn]);
            assert_eq!(of(turned), whole, "from line {turn} on");
        }
    }

    #[test]
    fn what_is_parked_is_so_until_somebody_has_decided() {
        let lines = lines();
        // Two parts of it, of which one is decided about, and one has another value.
        let set = Line { text: "set by ann".to_owned(), ..lines[2].line.clone() };
        let set = ToldLine { place: (1, 9), line: set, ..lines[2].clone() };
        let twice = ToldLine { place: (1, 8), ..lines[1].clone() };
        let both = [&lines[0], &lines[1], &twice, &lines[2], &set];
        assert!(of(both.into_iter()).is_parked());
        assert!(of(both.into_iter().rev()).is_parked());
        assert!(of(lines[..2].iter()).is_parked());
        assert_eq!(of(lines[..2].iter()).why, "timeout: no answer in time");
        assert!(!of(lines[..3].iter()).is_parked());
        assert!(!of(lines[..3].iter().rev()).is_parked());
    }

    #[test]
    fn what_is_known_of_a_run_reads_back() {
        let told = of(lines().iter());
        assert_eq!(Told::decode(&told.encode()), Ok(told));
    }
}
