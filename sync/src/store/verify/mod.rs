//! Verification: reads every byte of a data directory and names each damage.
//!
//! Works on a stopped or a running node, from a snapshot, and changes nothing but SQLite's own
//! bookkeeping files. A finding says where, what was found, what was expected and how bad it is.
//! Memory is bounded: commits are streamed, findings are limited and counted. The next start
//! repairs what was found in the database, once [`request_repair`] has left it a note.

mod commits;
mod database;
mod files;

pub(super) use database::check_value;

use super::mark::Mark;
use super::{DATABASE, damage};
use crate::Fault;
use holdfast_core::ChainId;
use holdfast_core::ranges::Range;
use std::fmt;
use std::path::Path;

/// Findings that a report holds at most; the rest is counted.
const FINDINGS_MAX: usize = 10_000;

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Worth knowing: a file that is not ours.
    Info,
    /// Not as it was written, and nothing depends on it.
    Harmless,
    /// May be damage, or what a power cut leaves behind.
    Suspect,
    /// Stored data is not what was stored.
    Damaged,
}

impl Severity {
    /// The word for tables and logs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Harmless => "harmless",
            Self::Suspect => "suspect",
            Self::Damaged => "damaged",
        }
    }
}

/// Where in a file a finding is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// The file as such.
    File,
    /// Its structure: header, schema, pages, frames.
    Structure,
    /// A commit, or a row that was one.
    Commit {
        /// Its position.
        pos: u64,
        /// Its chain, where that is known.
        chain: Option<ChainId>,
        /// Its sequences; `None` when the row cannot be read.
        range: Option<Range>,
    },
    /// Entries that a chain should hold.
    Entries {
        /// The chain.
        chain: ChainId,
        /// Which.
        range: Range,
    },
    /// A chain's own account of itself.
    Chain(ChainId),
    /// A record.
    Record {
        /// The number of its table.
        table: u8,
        /// Its key.
        key: Vec<u8>,
    },
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File => f.write_str("file"),
            Self::Structure => f.write_str("structure"),
            Self::Commit { pos, chain, range } => {
                write!(f, "commit {pos}")?;
                if let (Some(chain), Some(range)) = (chain, range) {
                    write!(f, " ({chain} {}..{})", range.from, range.to)?;
                }
                Ok(())
            }
            Self::Entries { chain, range } => {
                write!(f, "entries {}..{} of {chain}", range.from, range.to)
            }
            Self::Chain(chain) => write!(f, "chain {chain}"),
            Self::Record { table, key } => write!(f, "record {table}/{}", key.escape_ascii()),
        }
    }
}

/// Something that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// The file's name in the data directory.
    pub file: String,
    /// Where in it.
    pub place: Place,
    /// What was found.
    pub found: String,
    /// What was expected.
    pub expected: String,
}

impl Finding {
    fn is_broken_database(&self) -> bool {
        self.severity == Severity::Damaged && self.file == DATABASE
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { severity, file, place, found, expected } = self;
        write!(f, "{}: {file}, {place}: {found}; expected {expected}", severity.name())
    }
}

/// How far a verification is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Bytes read.
    pub bytes: u64,
    /// Bytes there are, as far as is known.
    pub bytes_total: u64,
    /// Commits checked.
    pub commits: u64,
}

/// What was looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Files of the data directory.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Chains known.
    pub chains: u64,
    /// Commits read, those of a segment as one.
    pub commits: u64,
    /// Segments among them.
    pub segments: u64,
    /// Entries in them.
    pub entries: u64,
    /// Bytes of their bodies.
    pub body_bytes: u64,
    /// Signatures checked.
    pub signatures: u64,
    /// Commits that follow a part of their chain that has not arrived: they are well formed, and
    /// cannot be checked against a link before it has.
    pub unproven: u64,
    /// Records read.
    pub records: u64,
}

/// What a verification found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VerifyReport {
    /// What is not as it should be, in the order in which it was found.
    pub findings: Vec<Finding>,
    /// Findings beyond the limit, which are not listed.
    pub left_out: u64,
    /// What was looked at.
    pub summary: Summary,
}

impl VerifyReport {
    /// The worst finding's severity, if there is a finding.
    #[must_use]
    pub fn worst(&self) -> Option<Severity> {
        self.findings.iter().map(|finding| finding.severity).max()
    }

    /// Whether the next start should repair the database.
    #[must_use]
    pub fn wants_repair(&self) -> bool {
        self.findings.iter().any(Finding::is_broken_database)
    }
}

/// Reads every file of the data directory `dir` and names each damage. Call it off the async
/// threads.
///
/// # Errors
/// [`Fault::File`] when a file cannot be read at all. Damage is not an error but a finding.
pub fn verify(dir: &Path, progress: &mut dyn FnMut(Progress)) -> Result<VerifyReport, Fault> {
    let mut check = Check { report: VerifyReport::default(), done: Progress::default(), progress };
    // Before the snapshot is taken, since the mark is never ahead of a commit.
    let mark = files::mark(&mut check, dir)?;
    files::all(&mut check, dir)?;
    if dir.join(DATABASE).exists() {
        files::wal(&mut check, dir)?;
        database::check(&mut check, dir, mark.as_ref())?;
    } else {
        missing_database(&mut check, mark.as_ref());
    }
    check.report.summary.bytes = check.done.bytes_total;
    (check.progress)(check.done);
    Ok(check.report)
}

fn missing_database(check: &mut Check<'_>, mark: Option<&Mark>) {
    if mark.is_some() {
        let found = "there is none, and the mark speaks of one";
        check.damaged(DATABASE, Place::File, found, "the database");
    }
}

/// Leaves a note that makes the next start repair the database, if `report` has a reason for it.
/// Returns whether it had.
pub fn request_repair(dir: &Path, report: &VerifyReport) -> bool {
    let first = report.findings.iter().find(|finding| finding.is_broken_database());
    if let Some(first) = first {
        damage::flag(dir, &Fault::damaged(DATABASE, first.to_string()));
    }
    first.is_some()
}

/// A verification under way.
struct Check<'a> {
    report: VerifyReport,
    done: Progress,
    progress: &'a mut dyn FnMut(Progress),
}

impl Check<'_> {
    fn find(
        &mut self,
        severity: Severity,
        file: &str,
        place: Place,
        found: impl Into<String>,
        expected: impl Into<String>,
    ) {
        if self.report.findings.len() >= FINDINGS_MAX {
            self.report.left_out += 1;
            return;
        }
        let (file, found, expected) = (file.to_owned(), found.into(), expected.into());
        self.report.findings.push(Finding { severity, file, place, found, expected });
    }

    fn damaged(
        &mut self,
        file: &str,
        place: Place,
        found: impl Into<String>,
        expected: impl Into<String>,
    ) {
        self.find(Severity::Damaged, file, place, found, expected);
    }

    /// Counts bytes read and now and then says so.
    fn advance(&mut self, bytes: u64) {
        const STEP: u64 = 1 << 20;
        let before = self.done.bytes / STEP;
        self.done.bytes += bytes;
        if self.done.bytes / STEP != before {
            (self.progress)(self.done);
        }
    }
}
