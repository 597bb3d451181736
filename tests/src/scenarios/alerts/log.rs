//! What two logs say of alerts, read from outside: the database's rows and the bytes in them.

use std::collections::BTreeMap;
use std::path::Path;

use rusqlite::{Connection, OpenFlags};

const EVENT: u8 = 0;
const READING: u8 = 2;
const RAISED: u8 = 5;
const CLEARED: u8 = 6;
const READABLE: &str = "the store can be read from outside";

/// A commit as it stands in a store, in the order of arrival.
struct Commit {
    /// The start of the node that wrote it.
    boot: u64,
    stream: u8,
    body: Vec<u8>,
}

/// How often each alert was raised and cleared, by its id.
pub(super) type Said = BTreeMap<u64, (usize, usize)>;

fn take<'a>(bytes: &mut &'a [u8], len: usize) -> &'a [u8] {
    let (head, rest) = bytes.split_at(len);
    *bytes = rest;
    head
}

fn uint(bytes: &mut &[u8]) -> u64 {
    let mut out = 0;
    for shift in (0..64).step_by(7) {
        let byte = take(bytes, 1)[0];
        out |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            break;
        }
    }
    out
}

fn commits(data: &Path) -> rusqlite::Result<Vec<Commit>> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY;
    let database = Connection::open_with_flags(data.join("holdfast.db"), flags)?;
    // Both of one moment: the node may run.
    database.execute_batch("BEGIN")?;
    let mut chains = BTreeMap::new();
    let mut statement = database.prepare("SELECT key, value FROM records WHERE tab=2")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let (key, value): (Vec<u8>, Vec<u8>) = (row.get(0)?, row.get(1)?);
        let no = u32::from_be_bytes(key.try_into().expect("a chain's number"));
        let mut rest = &value[32..];
        let boot = uint(&mut rest);
        take(&mut rest, 8);
        chains.insert(no, (boot, rest[0]));
    }
    let mut statement = database.prepare("SELECT chain, body FROM commits ORDER BY pos")?;
    let rows = statement.query_map([], |row| {
        let (boot, stream) = chains[&row.get::<_, u32>(0)?];
        Ok(Commit { boot, stream, body: row.get(1)? })
    })?;
    rows.collect()
}

/// The alerts that a body of events raises and clears.
fn said_in(body: &[u8]) -> Vec<(u8, u64)> {
    let mut rest = &body[1..];
    uint(&mut rest);
    let mut out = Vec::new();
    while !rest.is_empty() {
        let kind = take(&mut rest, 3)[1];
        let len = uint(&mut rest) as usize;
        let payload = take(&mut rest, len);
        take(&mut rest, 4);
        if let (RAISED | CLEARED, Some(id)) = (kind, payload.first_chunk::<8>()) {
            out.push((kind, u64::from_le_bytes(*id)));
        }
    }
    out
}

/// What the log of a store says of alerts.
pub(super) fn said(data: &Path) -> Said {
    let mut out = Said::new();
    let commits = commits(data).expect(READABLE);
    for commit in commits.iter().filter(|commit| commit.stream == EVENT) {
        for (kind, id) in said_in(&commit.body) {
            let counts = out.entry(id).or_default();
            *(if kind == RAISED { &mut counts.0 } else { &mut counts.1 }) += 1;
        }
    }
    out
}

/// How many commits of readings of the newest start came before the first alert of that start.
pub(super) fn readings_before_alert(data: &Path) -> Option<usize> {
    let commits = commits(data).expect(READABLE);
    let newest = commits.iter().map(|commit| commit.boot).max()?;
    let of_start: Vec<_> = commits.iter().filter(|commit| commit.boot == newest).collect();
    let raises = |commit: &&Commit| {
        commit.stream == EVENT && said_in(&commit.body).iter().any(|(kind, _)| *kind == RAISED)
    };
    let at = of_start.iter().position(raises)?;
    Some(of_start[..at].iter().filter(|commit| commit.stream == READING).count())
}
