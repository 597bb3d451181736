//! A program with known habits of writing, to try the harness on before nodes are judged by it.
//!
//! `records` acknowledges each record after a proper sync, `careless` before any; `sqlite` keeps
//! rows with the given `synchronous` level; `wander` changes files at random; `server` only says
//! what a node says when it starts, `harness` starts one, and `fleet` has a fleet built from
//! whatever binaries it is given.
//!
//! An acknowledgement is the line `ack N LEN` on standard output, LEN being how long the power-cut
//! journal was at that moment: exact, where an outside observer could only look later.

use std::error::Error;
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use clap::Parser;
use holdfast_tests::process::{FleetPlan, LIMIT, Launch};
use holdfast_tests::rng::Rng;

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
    /// Several threads, each changing files of a directory of its own at random.
    Wander { dir: PathBuf, count: u32, seed: u64 },
    /// Says that it listens, and serves nobody until it is ended.
    Server,
    /// Starts a server of its own through the harness, says its number, and waits to be killed.
    Harness,
    /// Builds a fleet of two gateways, kills and restarts its hub, and says what it found.
    Fleet,
}

fn main() -> Result<(), Box<dyn Error>> {
    match Habit::parse() {
        Habit::Records { dir, count } => records(&dir, count, true),
        Habit::Careless { dir, count } => records(&dir, count, false),
        Habit::Sqlite { dir, count, synchronous } => sqlite(&dir, count, &synchronous),
        Habit::Wander { dir, count, seed } => wander(&dir, count, seed),
        Habit::Server => server(),
        Habit::Harness => harness(),
        Habit::Fleet => fleet(),
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

fn wander(dir: &Path, count: u32, seed: u64) -> Result<(), Box<dyn Error>> {
    std::thread::scope(|scope| {
        let walks: Vec<_> = (0..4)
            .map(|thread| {
                let own = dir.join(format!("walk-{thread}"));
                scope.spawn(move || walk(&own, count, Rng::keyed(seed, &[thread])))
            })
            .collect();
        walks.into_iter().try_for_each(|walk| walk.join().expect("no walk panics"))
    })?;
    acknowledge(0)?;
    Ok(())
}

/// Changes a few files by few names, so that names are reused and calls often have no object.
fn walk(dir: &Path, count: u32, mut rng: Rng) -> std::io::Result<()> {
    fs::create_dir(dir)?;
    let mut kept = File::create(dir.join("kept"))?;
    for _ in 0..count {
        let mut name = || dir.join(["a", "b", "sub/a", "sub/c"][rng.index(4)]);
        let (one, two) = (name(), name());
        let done = match rng.index(10) {
            0 => fs::create_dir(dir.join("sub")),
            1 => fs::remove_dir_all(dir.join("sub")),
            2 => fs::rename(&one, &two),
            3 => fs::rename(dir.join("sub"), dir.join("moved")),
            4 => fs::remove_file(&one),
            5 => fs::hard_link(&one, &two),
            6 => fs::write(&one, vec![rng.next_u64() as u8; rng.index(3_000)]),
            7 => OpenOptions::new()
                .write(true)
                .open(&one)
                .and_then(|file| file.set_len(rng.below(2_000)).and_then(|()| file.sync_all())),
            8 => File::open(one.parent().unwrap_or(dir)).and_then(|dir| dir.sync_all()),
            _ => kept
                .seek(SeekFrom::Start(rng.below(5_000)))
                .and_then(|_| kept.write_all(&[rng.next_u64() as u8; 700])),
        };
        // What cannot be done here and now is part of the walk.
        if let Err(error) = done
            && error.raw_os_error().is_none()
        {
            return Err(error);
        }
    }
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
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    eprintln!("scribe: by its clock it is {now}");
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

fn fleet() -> Result<(), Box<dyn Error>> {
    let mut fleet = FleetPlan::new(2, 1).build()?;
    for (edge, link) in fleet.edges.iter().zip(&fleet.links) {
        let joined = fs::read_to_string(fleet.dir().join(edge.name()).join("edge.toml.joined"))?;
        let through = format!(":{}", link.address());
        let enrolment = joined.trim().strip_suffix(&through).ok_or("not through its link")?;
        println!("{} joined by {enrolment} through its link", edge.name());
        assert_eq!(
            edge.device_token("d")?,
            "token for token new --device d --config ".to_owned()
                + &fleet.dir().join(edge.name()).join("edge.toml").to_string_lossy()
        );
    }
    let before = fleet.hub.sync();
    fleet.hub.kill9()?;
    fleet.restart_hub()?;
    assert_ne!(fleet.hub.sync(), before, "the stand-in's port follows from its process number");
    println!("the hub came back and its token is {}", fleet.hub.admin_token()?);
    Ok(())
}
