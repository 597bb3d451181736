//! Repair: what can still be read and proven of a damaged database goes into a new one.
//!
//! The new database is built beside the old one and takes its place by renames that are finished at
//! the next start if the power goes in between. The old one is kept. What was lost is named, and
//! ranges of this node's own chains that no peer has become declared gaps; both wait in a record of
//! the new database until the first transaction of the start has put them into the event stream.

mod chains;
mod copy;
mod documents;
mod names;
mod notes;
mod seen;
mod walk;

pub(super) use notes::{NOTES, Notes};

use super::{DATABASE, rescue, schema, wal};
use crate::Fault;
use crate::identity::NodeKey;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// Damaged databases that are kept: the newest of them.
const KEPT: usize = 2;

fn building(dir: &Path) -> PathBuf {
    dir.join(format!("{DATABASE}.repairing"))
}

fn built(dir: &Path) -> PathBuf {
    dir.join(format!("{DATABASE}.repaired"))
}

fn kept(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{DATABASE}.damaged-{number}"))
}

/// Whether a file of this name is a damaged database that was put aside, or its log.
pub(super) fn is_kept(name: &str) -> bool {
    kept_number(name).is_some()
}

fn kept_number(name: &str) -> Option<(u64, bool)> {
    let rest = name.strip_prefix(DATABASE)?.strip_prefix(".damaged-")?;
    let (digits, log) = rest.strip_suffix("-wal").map_or((rest, false), |digits| (digits, true));
    digits.parse().ok().map(|number| (number, log))
}

/// Builds a new database from what the damaged one in `dir` still gives, puts it in its place and
/// keeps the old one aside.
pub(super) fn salvage(dir: &Path, key: &NodeKey, why: &str) -> Result<(), Fault> {
    let path = building(dir);
    remove_database(&path)?;
    // The copy needs room, and the database that is damaged now will be one of those kept.
    forget_oldest(dir, KEPT - 1)?;
    let result = build(dir, &path, key, why);
    if result.is_err() {
        // Half a copy is of no use, and room is what may be missing.
        let _ = remove_database(&path);
    }
    result?;
    rename(&path, &built(dir))?;
    sync(dir)?;
    complete(dir)
}

fn build(dir: &Path, path: &Path, key: &NodeKey, why: &str) -> Result<(), Fault> {
    let number = next_number(dir)?;
    let fresh = copy::create(path)?;
    let mut notes = Notes::default();
    notes.find(format!(
        "the store was damaged and has been repaired: {why}; the damaged database is kept as \
         {DATABASE}.damaged-{number}"
    ));
    let old = rescue::open(&dir.join(DATABASE)).and_then(|old| {
        schema::pragma::<i64>(&old, "schema_version")?;
        Ok(old)
    });
    match old {
        Ok(old) => {
            let salvaged = copy::everything(&old, &fresh, &mut notes)?;
            chains::rebuild(&old, &fresh, dir, key, &salvaged, &mut notes)?;
            documents::mend(&fresh, &salvaged.documents, &mut notes)?;
        }
        Err(fault) => notes.find(format!("nothing of the database can be read: {fault}")),
    }
    notes.put(&fresh)?;
    copy::finish(fresh)?;
    sync(path)
}

/// Puts a database that was built completely into its place, if there is one. May be repeated.
pub(super) fn complete(dir: &Path) -> Result<(), Fault> {
    let (built, path) = (built(dir), dir.join(DATABASE));
    if !built.exists() {
        return Ok(());
    }
    // The log first: the new database must never stand beside the old one's log.
    let aside = kept(dir, next_number(dir)?);
    rename_if_there(&wal::path_of(&path), &wal::path_of(&aside))?;
    sync(dir)?;
    rename_if_there(&path, &aside)?;
    remove(&shm_of(&path))?;
    sync(dir)?;
    rename(&built, &path)?;
    sync(dir)?;
    forget_oldest(dir, KEPT)
}

fn shm_of(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push("-shm");
    name.into()
}

fn kept_numbers(dir: &Path) -> Result<Vec<(u64, bool)>, Fault> {
    let list = fs::read_dir(dir).map_err(|source| Fault::file(dir, source))?;
    let names =
        list.flatten().filter_map(|entry| kept_number(&entry.file_name().to_string_lossy()));
    let mut out: Vec<_> = names.collect();
    out.sort_unstable();
    Ok(out)
}

/// The number under which the next damaged database is kept: that of a move which was cut off after
/// its log, else a new one.
fn next_number(dir: &Path) -> Result<u64, Fault> {
    let numbers = kept_numbers(dir)?;
    let last = numbers.last().map_or(0, |(number, _)| *number);
    let half_moved = numbers.contains(&(last, true)) && !numbers.contains(&(last, false));
    Ok(if half_moved { last } else { last + 1 })
}

fn forget_oldest(dir: &Path, keep: usize) -> Result<(), Fault> {
    let mut numbers: Vec<_> = kept_numbers(dir)?.into_iter().map(|(number, _)| number).collect();
    numbers.dedup();
    let surplus = numbers.len().saturating_sub(keep);
    for number in numbers.into_iter().take(surplus) {
        remove_database(&kept(dir, number))?;
    }
    Ok(())
}

/// Removes a database with the files that SQLite keeps beside it.
fn remove_database(path: &Path) -> Result<(), Fault> {
    for file in [path.to_owned(), wal::path_of(path), shm_of(path)] {
        remove(&file)?;
    }
    Ok(())
}

fn remove(path: &Path) -> Result<(), Fault> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(Fault::file(path, error)),
        _ => Ok(()),
    }
}

fn rename(from: &Path, to: &Path) -> Result<(), Fault> {
    fs::rename(from, to).map_err(|source| Fault::file(from, source))
}

fn rename_if_there(from: &Path, to: &Path) -> Result<(), Fault> {
    match fs::rename(from, to) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(Fault::file(from, error)),
        _ => Ok(()),
    }
}

fn sync(path: &Path) -> Result<(), Fault> {
    let synced = fs::File::open(path).and_then(|file| file.sync_all());
    synced.map_err(|source| Fault::file(path, source))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_kept_databases_are_told_from_others() {
        assert_eq!(kept_number("holdfast.db.damaged-12"), Some((12, false)));
        assert_eq!(kept_number("holdfast.db.damaged-12-wal"), Some((12, true)));
        for other in ["holdfast.db", "holdfast.db-wal", "holdfast.db.damaged-", "x.damaged-1"] {
            assert_eq!(kept_number(other), None, "{other}");
        }
    }

    /// The power went after the new database was complete: wherever in the renames that was, the
    /// next start ends with the new one in place and nothing of the old one's log beside it.
    #[test]
    fn a_cut_off_exchange_is_finished_wherever_it_was_cut() {
        for steps in 0..3 {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join(DATABASE);
            fs::write(&path, "old").unwrap();
            fs::write(wal::path_of(&path), "old log").unwrap();
            fs::write(built(dir.path()), "new").unwrap();
            let aside = kept(dir.path(), 1);
            if steps > 0 {
                fs::rename(wal::path_of(&path), wal::path_of(&aside)).unwrap();
            }
            if steps > 1 {
                fs::rename(&path, &aside).unwrap();
            }
            complete(dir.path()).unwrap();
            complete(dir.path()).unwrap();
            assert_eq!(fs::read(&path).unwrap(), b"new", "cut after {steps} steps");
            assert!(!wal::path_of(&path).exists());
            assert_eq!(fs::read(&aside).unwrap(), b"old");
            assert_eq!(fs::read(wal::path_of(&aside)).unwrap(), b"old log");
        }
    }

    #[test]
    fn only_the_newest_two_damaged_databases_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        for round in 0..4 {
            fs::write(dir.path().join(DATABASE), format!("{round}")).unwrap();
            fs::write(built(dir.path()), "new").unwrap();
            complete(dir.path()).unwrap();
        }
        let numbers = kept_numbers(dir.path()).unwrap();
        assert_eq!(numbers, [(3, false), (4, false)]);
    }
}
