//! Backup and restore: a node at one moment, as files that say what they are.
//!
//! A backup holds the database as one file, the keys and what else lies beside it, and the
//! configuration. Its [`Manifest`] is written last and names every file with its hash, so a backup
//! that was cut off or damaged is not taken for one. A node that is restored goes on as the same
//! node in a new start: no sequence continues, what its peers have more of it comes back, and what
//! they lack they get. Byte-exact page: `docs/formats/backup.md`.

mod filling;
mod manifest;

pub use filling::{UNFINISHED, is_unfinished};
pub use manifest::Manifest;

use crate::time_text::Time;
use filling::Filling;
use holdfast_core::{NodeId, Timestamp};
use holdfast_sync::Fault;
use holdfast_sync::store::verify::{Severity, verify};
use holdfast_sync::store::{DATABASE, MACHINE, RESTORED, VERSION, copy_database, write_private};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// What a configuration is called in a backup.
const CONFIGURATION: &str = "configuration.toml";
/// Files that belong to a machine, to a process or to a disk, not to the node.
const LEFT_OUT: [&str; 7] = ["mark", "lock", "ballast", "damaged", MACHINE, UNFINISHED, RESTORED];

/// Why there is no backup, or no restored node.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BackupError {
    /// The directory holds something.
    #[error("{0} is not empty: name a new directory")]
    NotEmpty(PathBuf),
    /// The directory is no whole backup.
    #[error("{dir} is not a whole backup: {why}")]
    NotWhole {
        /// The directory.
        dir: PathBuf,
        /// What was found.
        why: String,
    },
    /// It was made by a newer program.
    #[error(
        "the backup was made by release {version} and holds a store of version {store}; this \
         program knows up to version {VERSION}: use release {version} or a later one"
    )]
    Newer {
        /// The release.
        version: String,
        /// The version of its store.
        store: u32,
    },
    /// It is of the other kind of node.
    #[error("this is a backup of {0}: restore it with that program")]
    OtherProgram(String),
    /// A file or the database.
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// What is backed up.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// The program.
    pub program: &'a str,
    /// Its release.
    pub version: &'a str,
    /// The node.
    pub node: NodeId,
    /// Its data directory.
    pub dir: &'a Path,
    /// Its configuration file.
    pub config: &'a Path,
}

/// Backs a node up into the new directory `to`, whether it runs or not, and verifies the copy: what
/// is damaged in it comes back in sentences. `progress` is told pages of the database, done and in
/// all.
///
/// # Errors
/// [`BackupError`]; `to` is then not a backup and may be named again.
pub fn back_up(
    source: &Source<'_>,
    to: &Path,
    now: Timestamp,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<(Manifest, Vec<String>), BackupError> {
    let filling = Filling::begin(to, "a backup")?;
    let store = copy_database(source.dir, to, progress)?;
    for name in loose_files(source.dir)? {
        let path = source.dir.join(&name);
        match fs::read(&path) {
            Ok(bytes) => write_private(&to.join(&name), &bytes)?,
            // A running node has just taken it up.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(Fault::file(&path, error).into()),
        }
    }
    if let Ok(text) = fs::read(source.config) {
        write_private(&to.join(CONFIGURATION), &text)?;
    }
    let damage = look_through(to)?;
    let manifest = Manifest {
        format: manifest::FORMAT,
        program: source.program.to_owned(),
        version: source.version.to_owned(),
        store,
        node: source.node.to_string(),
        taken: Time(Timestamp::from_millis(now.millis()).unwrap_or(now)),
        files: manifest::list(to)?,
    };
    manifest.write(to)?;
    filling.finish()?;
    Ok((manifest, damage))
}

/// What is damaged in a copy.
fn look_through(dir: &Path) -> Result<Vec<String>, Fault> {
    let report = verify(dir, &mut |_| {})?;
    // Whoever reads a database leaves these beside it; nothing is in them.
    for ending in ["-wal", "-shm"] {
        let _ = fs::remove_file(dir.join(format!("{DATABASE}{ending}")));
    }
    let damaged = report.findings.iter().filter(|found| found.severity >= Severity::Suspect);
    Ok(damaged.map(ToString::to_string).collect())
}

/// The names of the small files of a data directory that belong to the node.
fn loose_files(dir: &Path) -> Result<Vec<String>, Fault> {
    let fault = |source| Fault::file(dir, source);
    let mut names = Vec::new();
    for entry in fs::read_dir(dir).map_err(fault)? {
        let entry = entry.map_err(fault)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let is_file = entry.file_type().map_err(fault)?.is_file();
        let is_kept = !name.starts_with(DATABASE) && !name.ends_with(".new");
        if is_file && is_kept && !LEFT_OUT.contains(&name.as_str()) {
            names.push(name);
        }
    }
    Ok(names)
}

/// Where a node is restored to.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    /// The program.
    pub program: &'a str,
    /// The data directory, new or empty.
    pub dir: &'a Path,
}

/// Makes a node again from the backup in `from`. `progress` is told bytes, done and in all.
///
/// # Errors
/// [`BackupError`]; the data directory is then not a node and may be named again.
pub fn restore(
    from: &Path,
    target: &Target<'_>,
    now: Timestamp,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Manifest, BackupError> {
    let manifest = Manifest::read(from)?;
    if manifest.program != target.program {
        return Err(BackupError::OtherProgram(manifest.program));
    }
    let filling = Filling::begin(target.dir, "a restore")?;
    let total = manifest.files.iter().map(|file| file.bytes).sum();
    let mut done = 0;
    for file in manifest.files.iter().filter(|file| file.name != CONFIGURATION) {
        let to = target.dir.join(&file.name);
        file.copy(from, &to, &mut |bytes| {
            done += bytes;
            progress(done, total);
        })?;
    }
    let text = format!(
        "this node was restored at {} from a backup of {}; what its peers have of it since comes \
         back from them",
        Time(now),
        manifest.taken
    );
    write_private(&target.dir.join(RESTORED), text.as_bytes())?;
    filling.finish()?;
    Ok(manifest)
}

/// The configuration in the backup `from`.
///
/// # Errors
/// When it cannot be read.
pub fn configuration(from: &Path, manifest: &Manifest) -> Result<Option<String>, BackupError> {
    if !manifest.files.iter().any(|file| file.name == CONFIGURATION) {
        return Ok(None);
    }
    let path = from.join(CONFIGURATION);
    let text = fs::read_to_string(&path).map_err(|error| Fault::file(&path, error))?;
    Ok(Some(text))
}
