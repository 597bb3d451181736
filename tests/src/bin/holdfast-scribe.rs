//! A program with known habits of writing, to try the harness on before nodes are judged by it.
//!
//! `records` acknowledges each record after a proper sync, `careless` before any; `sqlite` keeps
//! rows with the given `synchronous` level; `server` only says what a node says when it starts, and
//! `harness` starts one.
//! An acknowledgement is the line `ack N LEN` on standard output, LEN being how long the power-cut
//! journal was at that moment: exact, where an outside observer could only look later.

use std::error::Error;
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};

use clap::Parser;
use holdfast_tests::process::{LIMIT, Launch};

/// Bytes of a record: more than a page, and no multiple of a sector.
const RECORD: usize = 5_000;

#[derive(Parser)]
enum Habit {
    /// Appends records, syncs each, keeps a pointer file by rename; syncs directories.
    Records { dir: PathBuf, count: u32 },
    /// The same without any sync.
    Careless { dir: PathBuf, count: u32 },
    /// One row per transaction.
    Sqlite { dir: PathBuf, count: u32, synchronous: String },
    /// Says that it listens, and serves nobody until it is ended.
    Server,
    /// Starts a server of its own through the harness, says its number, and waits to be killed.
    Harness,
}

fn main() -> Result<(), Box<dyn Error>> {
    match Habit::parse() {
        Habit::Records { dir, count } => records(&dir, count, true),
        Habit::Careless { dir, count } => records(&dir, count, false),
        Habit::Sqlite { dir, count, synchronous } => sqlite(&dir, count, &synchronous),
        Habit::Server => server(),
        Habit::Harness => harness(),
    }
}

fn acknowledge(n: u32) -> std::io::Result<()> {
    let journal = std::env::var_os("HOLDFAST_POWERCUT_JOURNAL");
    let len = journal.map_or(Ok(0), |path| fs::metadata(path).map(|meta| meta.len()))?;
    let mut out = std::io::stdout().lock();
    writeln!(out, "ack {n} {len}")?;
    out.flush()
}

fn records(dir: &Path, count: u32, careful: bool) -> Result<(), Box<dyn Error>> {
    let inner = dir.join("records");
    fs::create_dir_all(&inner)?;
    let mut log = OpenOptions::new().append(true).create(true).open(inner.join("log"))?;
    if careful {
        File::open(dir)?.sync_all()?;
        File::open(&inner)?.sync_all()?;
    }
    for n in 0..count {
        log.write_all(&[n as u8 + 1; RECORD])?;
        let (draft, current) = (inner.join("current.new"), inner.join("current"));
        let mut pointer = File::create(&draft)?;
        pointer.write_all(&n.to_le_bytes())?;
        if careful {
            log.sync_data()?;
            pointer.sync_all()?;
        }
        fs::rename(&draft, &current)?;
        if careful {
            File::open(&inner)?.sync_all()?;
        }
        acknowledge(n)?;
    }
    every_other_call(dir)
}

/// The calls that records do not need, so that the shim is tried on them as well.
fn every_other_call(dir: &Path) -> Result<(), Box<dyn Error>> {
    let (odd, copy) = (dir.join("odd"), dir.join("copy"));
    let mut file = OpenOptions::new().read(true).write(true).create_new(true).open(&odd)?;
    let parts = [std::io::IoSlice::new(b"one "), std::io::IoSlice::new(b"two")];
    assert_eq!(file.write_vectored(&parts)?, 7, "a regular file takes all of a short write");
    file.seek(SeekFrom::Start(100))?;
    file.try_clone()?.write_all(b"through a duplicate")?;
    file.set_len(110)?;
    std::os::unix::fs::FileExt::write_at(&file, b"elsewhere", 4_000)?;
    fs::copy(&odd, &copy)?;
    let mut read = String::new();
    File::open(&copy)?.take(7).read_to_string(&mut read)?;
    fs::write(dir.join("read"), read)?;
    fs::hard_link(&copy, dir.join("linked"))?;
    fs::remove_file(&copy)?;
    fs::create_dir_all(dir.join("deep/er"))?;
    fs::write(dir.join("deep/er/file"), b"moved with its directory")?;
    fs::rename(dir.join("deep"), dir.join("moved"))?;
    fs::create_dir_all(dir.join("gone/with/all"))?;
    fs::write(dir.join("gone/with/all/below"), b"it")?;
    fs::remove_dir_all(dir.join("gone"))?;
    Ok(())
}

fn sqlite(dir: &Path, count: u32, synchronous: &str) -> Result<(), Box<dyn Error>> {
    let db = rusqlite::Connection::open(dir.join("rows.db"))?;
    db.pragma_update(None, "journal_mode", "WAL")?;
    db.pragma_update(None, "synchronous", synchronous)?;
    db.pragma_update(None, "wal_autocheckpoint", 20)?;
    db.execute_batch("CREATE TABLE IF NOT EXISTS rows (n INTEGER PRIMARY KEY, filler BLOB)")?;
    for n in 0..count {
        db.execute("INSERT INTO rows VALUES (?1, zeroblob(700))", [n])?;
        acknowledge(n)?;
    }
    // Killed rather than closed: closing would checkpoint and sync.
    std::process::abort();
}

fn server() -> Result<(), Box<dyn Error>> {
    let http = TcpListener::bind("127.0.0.1:0")?;
    eprintln!("scribe: started as {}", std::process::id());
    println!("listening http {}", http.local_addr()?);
    println!("ready");
    loop {
        // Nobody is served; the program waits here for its signal.
        drop(http.accept()?);
    }
}

fn harness() -> Result<(), Box<dyn Error>> {
    let server = Launch::binary("holdfast-scribe").args(["server"]).start()?;
    server.ready(LIMIT)?;
    println!("{}", server.pid());
    loop {
        std::thread::park();
    }
}
