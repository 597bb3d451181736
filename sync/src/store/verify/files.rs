//! The files around the database.

use super::{Check, Place, Severity};
use crate::Fault;
use crate::identity::{Invitation, NodeKey};
use crate::store::ballast::{BALLAST_BYTE, BALLAST_BYTES};
use crate::store::mark::Mark;
use crate::store::{
    ADMIN_TOKEN, DATABASE, INVITATION, MACHINE, RESTORED, read_machine, repair, wal,
};
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{ErrorKind, Read};
use std::path::Path;
use std::time::Duration;

/// Reads the mark.
pub(super) fn mark(check: &mut Check<'_>, dir: &Path) -> Result<Option<Mark>, Fault> {
    match Mark::read(dir) {
        Ok(mark) => Ok(mark),
        Err(Fault::Damaged { detail, .. }) => {
            check.damaged("mark", Place::File, detail, "an envelope with the ends of the chains");
            Ok(None)
        }
        Err(fault) => Err(fault),
    }
}

/// Looks at every file but the mark's content and the database.
pub(super) fn all(check: &mut Check<'_>, dir: &Path) -> Result<(), Fault> {
    let list = fs::read_dir(dir).map_err(|source| Fault::file(dir, source))?;
    for entry in list {
        let entry = entry.map_err(|source| Fault::file(dir, source))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let meta = match entry.metadata() {
            Ok(meta) => meta,
            // A running node replaces and removes files.
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            Err(source) => return Err(Fault::file(&entry.path(), source)),
        };
        check.report.summary.files += 1;
        check.done.bytes_total += meta.len();
        if name != DATABASE {
            check.advance(meta.len());
        }
        file(check, &entry.path(), &name, &meta)?;
    }
    Ok(())
}

fn file(check: &mut Check<'_>, path: &Path, name: &str, meta: &fs::Metadata) -> Result<(), Fault> {
    let wal = name.strip_prefix(DATABASE).is_some_and(|rest| rest == "-wal" || rest == "-shm");
    match name {
        DATABASE | "mark" => {}
        _ if wal => {}
        "ballast" => ballast(check, path)?,
        "lock" if meta.len() > 0 => {
            let found = format!("{} bytes", meta.len());
            check.find(Severity::Harmless, name, Place::File, found, "an empty file");
        }
        "lock" => {}
        "damaged" => {
            let note = fs::read(path).map_err(|source| Fault::file(path, source))?;
            let note = String::from_utf8_lossy(&note).into_owned();
            let found = format!("the node noticed damage: {note}");
            check.find(Severity::Suspect, name, Place::File, found, "no such file");
        }
        "node.key" | "fleet.key" => match NodeKey::read(path) {
            Err(Fault::Damaged { detail, .. }) => {
                check.damaged(name, Place::File, detail, "an envelope with a key");
            }
            other => drop(other?),
        },
        // Checked against the book of tokens, once that is read.
        ADMIN_TOKEN | RESTORED => {}
        MACHINE => machine(check, path)?,
        INVITATION => invitation(check, path)?,
        _ if repair::is_kept(name) => {
            let found = "a damaged database that a repair has put aside";
            check.find(Severity::Info, name, Place::File, found, "nothing: it may be removed");
        }
        _ if Path::new(name).extension().is_some_and(|ending| ending == "new") => {
            let found = "a file whose writing was cut off";
            check.find(Severity::Info, name, Place::File, found, "nothing: it may be removed");
        }
        _ => check.find(Severity::Info, name, Place::File, "not a file of the store", "nothing"),
    }
    Ok(())
}

fn machine(check: &mut Check<'_>, path: &Path) -> Result<(), Fault> {
    match read_machine(path.parent().unwrap_or(path)) {
        Err(Fault::Damaged { detail, .. }) => {
            let expected =
                "an envelope with the hash of this machine's id: the next start makes it";
            check.damaged(MACHINE, Place::File, detail, expected);
            Ok(())
        }
        other => other.map(drop),
    }
}

fn invitation(check: &mut Check<'_>, path: &Path) -> Result<(), Fault> {
    let text = match fs::read(path) {
        Ok(text) => text,
        // A running node has just taken it up.
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(Fault::file(path, source)),
    };
    if let Err(reject) = Invitation::from_text(&String::from_utf8_lossy(&text)) {
        let found = format!("the invitation that waits is not whole: {reject}");
        let expected = "the string that the hub gave: run `join` with it again";
        check.find(Severity::Suspect, INVITATION, Place::File, found, expected);
    }
    Ok(())
}

/// Compares the admin token with the book of tokens: another text opens nothing.
pub(super) fn admin_token(
    check: &mut Check<'_>,
    dir: &Path,
    tokens: &BTreeSet<Vec<u8>>,
) -> Result<(), Fault> {
    let path = dir.join(ADMIN_TOKEN);
    let text = match fs::read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(Fault::file(&path, source)),
    };
    let hash = blake3::hash(text.trim_ascii());
    if !tokens.contains(hash.as_bytes().as_slice()) {
        let found = "its text is none of the tokens that were made here";
        let expected = "a valid token: stop the node and run `token renew` to make a new one";
        check.damaged(ADMIN_TOKEN, Place::File, found, expected);
    }
    Ok(())
}

/// The ballast only takes up room: what it says does not matter, but a difference means that
/// the disk changes bytes.
fn ballast(check: &mut Check<'_>, path: &Path) -> Result<(), Fault> {
    let fault = |source| Fault::file(path, source);
    let mut file = match File::open(path) {
        Ok(file) => file,
        // A running node gives it up when the disk is full.
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(fault(error)),
    };
    let mut block = vec![0; 64 << 10];
    let (mut len, mut wrong) = (0, None);
    loop {
        let n = file.read(&mut block).map_err(fault)?;
        if n == 0 {
            break;
        }
        let at = block[..n].iter().position(|&byte| byte != BALLAST_BYTE);
        wrong = wrong.or(at.map(|at| (len + at, block[at])));
        len += n;
    }
    let expected = format!("{BALLAST_BYTES} bytes of {BALLAST_BYTE:#04x}");
    let found = match wrong {
        Some((at, byte)) => format!("byte {at} is {byte:#04x}: the disk changes bytes"),
        None if len != BALLAST_BYTES => format!("{len} bytes"),
        None => return Ok(()),
    };
    check.find(Severity::Harmless, "ballast", Place::File, found, expected);
    Ok(())
}

/// The state of the log, looked at again while a running node is just writing to its end.
fn resting_wal(path: &Path) -> Result<wal::WalState, Fault> {
    const PAUSE: Duration = Duration::from_millis(50);
    let mut state = wal::inspect(path)?;
    for _ in 0..3 {
        if state.finding().is_none() && state.unfinished == 0 {
            return Ok(state);
        }
        std::thread::sleep(PAUSE);
        let again = wal::inspect(path)?;
        if again.committed == state.committed {
            return Ok(again);
        }
        state = again;
    }
    // It is whole up to an end that moves on: what is behind the end is under way.
    Ok(wal::WalState { committed: state.committed, ..wal::WalState::default() })
}

/// Looks through the write-ahead log, whose damaged end SQLite would leave out without a word.
pub(super) fn wal(check: &mut Check<'_>, dir: &Path) -> Result<(), Fault> {
    let state = resting_wal(&dir.join(DATABASE))?;
    let name = format!("{DATABASE}-wal");
    let expected = "frames of whole transactions";
    if let Some(finding) = state.finding() {
        let severity = if state.header_damaged { Severity::Damaged } else { Severity::Suspect };
        check.find(severity, &name, Place::Structure, finding, expected);
    } else if state.unfinished > 0 {
        let found = format!(
            "it ends in {} bytes of an unfinished transaction: cut off before it was acknowledged, \
             or its end is lost",
            state.unfinished
        );
        check.find(Severity::Suspect, &name, Place::Structure, found, expected);
    }
    Ok(())
}
