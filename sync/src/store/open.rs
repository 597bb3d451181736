//! Opening: lock, check the tail against the mark, draw a new incarnation, start the writer.
//!
//! Nothing here reads more than the chains' records and the ends of the own chains: a start costs
//! the same with an empty store and with a full one.

use super::ballast::Ballast;
use super::chains::{ChainInfo, ChainNo};
use super::lock::DirLock;
use super::mark::Mark;
use super::marker::Marker;
use super::quota::{Overflow, Quota, Usage};
use super::record::Table;
use super::repair::{self, NOTES, Notes};
use super::schema::META_PROGRAM;
use super::scrub::{self, Scrubber};
use super::shorten::Log;
use super::snapshot::{Pool, Snapshot};
use super::tx::WriteTx;
use super::wal::WalState;
use super::writer::{Job, State, WriteError, Writer};
use super::{DATABASE, Head, Inner, Interner, RESTORED, Store, damage, schema, seal};
use crate::Fault;
use crate::counts::Fresh;
use crate::env::Env;
use crate::identity::NodeKey;
use holdfast_core::log::events::{ChainEnd, Ends, Event, Gap, Severity, put_end};
use holdfast_core::{Incarnation, NodeId, Stream};
use rusqlite::Connection;
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::{mpsc, watch};

const QUEUE: usize = 4096;
const META_BOOT: &[u8] = b"boot";
/// A restored node's count of starts goes on at the next multiple of this.
const RESTORE_STEP: u64 = 1 << 16;

/// How a store is opened.
#[derive(Debug)]
pub struct Options {
    /// The data directory.
    pub dir: PathBuf,
    /// The node's key, which signs its log.
    pub key: NodeKey,
    /// Bytes the database may use.
    pub quota_bytes: u64,
    /// What happens when they are used.
    pub overflow: Overflow,
    /// Series names that ingest may bring at most.
    pub max_series: usize,
    /// Entries of a chain that are put together into a segment once there are so many; 0 for never.
    pub seal_after: u64,
    /// In how long the whole store is read in the background to find what has rotted; zero for
    /// never.
    pub scrub_every: Duration,
    /// The program's version, for the start entry.
    pub version: &'static str,
    /// Weakens `synchronous` to NORMAL, which loses acknowledged data in a power cut: only for the
    /// campaign that shows that it would be noticed.
    pub unsafe_normal_sync: bool,
}

/// What was found on opening.
#[derive(Clone, Debug, Default)]
pub struct OpenReport {
    /// Whether the store was made by this call.
    pub created: bool,
    /// Sentences about what is not as it should be; each is in the event stream too.
    pub findings: Vec<String>,
}

pub(super) fn open(options: Options, env: Env) -> Result<(Store, OpenReport), Fault> {
    let dir = options.dir.clone();
    std::fs::create_dir_all(&dir).map_err(|source| Fault::file(&dir, source))?;
    let lock = DirLock::acquire(&dir)?;
    repair::complete(&dir)?;
    let path = dir.join(DATABASE);
    let created = !path.exists();
    if created {
        damage::clear(&dir)?;
    }
    let log = super::wal::inspect(&path)?;
    if let Some(why) = damage::flagged(&dir).or_else(|| emptied(&path)) {
        repair(&dir, &options.key, &why)?;
    }
    let opened = match attempt(&options, &env, &log) {
        Err(fault) if fault.is_damage() => {
            repair(&dir, &options.key, &fault.to_string())?;
            attempt(&options, &env, &log)?
        }
        other => other?,
    };
    let counts = Arc::clone(&opened.writer.counts);
    let Opened { writer, jobs, head, own_heads, documents, usage, scrub, findings } = opened;
    let incarnation = writer.state.incarnation;
    start_thread(writer, lock, &dir)?;
    let readers = Pool::new(path, synchronous(&options));
    let interner = Interner::new(options.max_series);
    let node = options.key.id();
    let path = dir;
    let seal_after = options.seal_after;
    let scrub_every = options.scrub_every;
    let inner = Arc::new(Inner {
        path,
        node,
        incarnation,
        env,
        jobs,
        head,
        own_heads,
        documents,
        usage,
        counts,
        readers,
        scrub: Mutex::new(scrub),
        seal_after,
        interner,
    });
    seal::start(&inner)?;
    scrub::start(&inner, scrub_every)?;
    Ok((Store { inner }, OpenReport { created, findings }))
}

const fn synchronous(options: &Options) -> &'static str {
    if options.unsafe_normal_sync { "NORMAL" } else { "FULL" }
}

fn repair(dir: &Path, key: &NodeKey, why: &str) -> Result<(), Fault> {
    tracing::warn!(why, "the store is damaged and is being repaired");
    repair::salvage(dir, key, why)?;
    damage::clear(dir)
}

/// SQLite takes a file of no bytes for a new database and throws its log away.
fn emptied(path: &Path) -> Option<String> {
    let empty = std::fs::metadata(path).is_ok_and(|meta| meta.len() == 0);
    let log = std::fs::metadata(super::wal::path_of(path)).is_ok_and(|meta| meta.len() > 0);
    (empty && log).then(|| "the database file is empty".to_owned())
}

/// A store whose first transaction is on disk.
struct Opened {
    writer: Writer,
    jobs: mpsc::Sender<Job>,
    head: watch::Receiver<Head>,
    own_heads: watch::Receiver<super::OwnHeads>,
    documents: watch::Receiver<u64>,
    usage: watch::Receiver<Usage>,
    scrub: Scrubber,
    findings: Vec<String>,
}

/// Opens the database and commits the start. Damage it meets is an error.
fn attempt(options: &Options, env: &Env, log: &WalState) -> Result<Opened, Fault> {
    let dir = &options.dir;
    let connection = Connection::open(dir.join(DATABASE)).map_err(schema::fault)?;
    schema::configure(&connection, synchronous(options))?;
    schema::prepare(&connection)?;
    let mut findings: Vec<String> = log.finding().into_iter().collect();
    if log.stray > 0 {
        // What is behind the damage must not be taken for this round's at the next start.
        let sql = "PRAGMA wal_checkpoint(TRUNCATE)";
        connection.query_row(sql, [], |_| Ok(())).map_err(schema::fault)?;
    }
    let mut quota = Quota::new(options.quota_bytes, options.overflow);
    let pages: i64 = schema::pragma(&connection, "page_count")?;
    let limit = quota.max_pages().max(pages as u64 + 64);
    connection.execute_batch(&format!("PRAGMA max_page_count={limit}")).map_err(schema::fault)?;
    let mark = Mark::read(dir).unwrap_or_else(|fault| {
        findings.push(fault.to_string());
        None
    });
    let node = options.key.id();
    let view = Snapshot { connection: &connection };
    let chains = view.chains()?;
    findings.extend(lost_tails(&chains, node, mark.as_ref()));
    let notes = view.get(Table::Meta, NOTES)?.map(|value| Notes::decode(&value)).transpose()?;
    let notes = notes.unwrap_or_default();
    findings.extend(notes.findings);
    let state = state(options, env, &view, &chains, mark.as_ref())?;
    let usage = quota.measure(&connection)?;
    let scrub = Scrubber::load(&view, options.scrub_every, env.monotonic_ms())?;
    let (jobs, waiting) = mpsc::channel(QUEUE);
    let (head_sender, head) = watch::channel(Head { pos: state.next_pos - 1, transactions: 0 });
    let (own_sender, own_heads) = watch::channel(Vec::new());
    let (documents_sender, documents) = watch::channel(0);
    let (usage_sender, usage) = watch::channel::<Usage>(usage);
    let mut writer = Writer {
        connection,
        state,
        jobs: waiting,
        head: head_sender,
        own_heads: own_sender,
        documents: documents_sender,
        usage: usage_sender,
        counts: Arc::default(),
        quota,
        ballast: Ballast::find(dir),
        log: Log::of(dir),
        dir: dir.clone(),
        marker: Marker::start(dir)?,
        marked_ms: 0,
        mark_due: true,
    };
    let ends = chain_ends(&chains, node);
    let restored = std::fs::read_to_string(dir.join(RESTORED)).ok();
    let told = Told { findings: &findings, gaps: &notes.gaps, restored: restored.as_deref() };
    writer.begin(|tx| start(tx, options.version, &ends, &told))?;
    if restored.is_some() {
        // Told twice it does no harm.
        let _ = std::fs::remove_file(dir.join(RESTORED));
    }
    Ok(Opened { writer, jobs, head, own_heads, documents, usage, scrub, findings })
}

fn start_thread(writer: Writer, lock: DirLock, dir: &Path) -> Result<(), Fault> {
    let run = move || {
        let asked = writer.run();
        drop(lock);
        if let Some(done) = asked {
            // Whoever asked may have stopped waiting.
            let _ = done.send(());
        }
    };
    let started = std::thread::Builder::new().name("store-writer".to_owned()).spawn(run);
    started.map(drop).map_err(|source| Fault::file(dir, source))
}

fn lost_tails(chains: &[ChainInfo], node: NodeId, mark: Option<&Mark>) -> Vec<String> {
    let marked = mark.map(|mark| mark.chains.as_slice()).unwrap_or_default();
    let lost = marked.iter().filter_map(|marked| {
        let found = chains.iter().find(|chain| {
            chain.id.origin == node
                && chain.id.incarnation == marked.incarnation
                && chain.id.stream == marked.stream
        });
        let last = found.map_or(0, ChainInfo::last);
        let name = marked.stream.name();
        if last < marked.seq {
            Some(format!(
                "the end of the {name} stream of start {} is lost: entries {} to {} were committed \
                 and are not there",
                marked.incarnation.boot,
                last + 1,
                marked.seq
            ))
        } else if last == marked.seq && found.is_some_and(|chain| chain.head != marked.link) {
            Some(format!("the {name} stream ends in another entry than it did before the stop"))
        } else {
            None
        }
    });
    lost.collect()
}

fn state(
    options: &Options,
    env: &Env,
    view: &Snapshot<'_>,
    chains: &[ChainInfo],
    mark: Option<&Mark>,
) -> Result<State, Fault> {
    let node = options.key.id();
    let stored = view.get(Table::Meta, META_BOOT)?;
    let stored = stored.as_deref().and_then(|value| value.first_chunk::<8>());
    let own = chains.iter().filter(|chain| chain.id.origin == node);
    let last = stored
        .map_or(0, |bytes| u64::from_be_bytes(*bytes))
        .max(mark.map_or(0, Mark::boot))
        .max(own.map(|chain| chain.id.incarnation.boot).max().unwrap_or(0));
    // Starts since the backup are not known here; the count goes beyond all of them.
    let restored = options.dir.join(RESTORED).exists();
    let boot = if restored { (last / RESTORE_STEP + 1) * RESTORE_STEP } else { last + 1 };
    let mut newest = view.head()?;
    for (_, value) in view.scan(Table::Cursor, &[], &[], usize::MAX)? {
        let cursor = value.first_chunk::<8>().map_or(0, |bytes| u64::from_be_bytes(*bytes));
        newest = newest.max(cursor);
    }
    Ok(State {
        env: Arc::clone(env),
        node,
        incarnation: Incarnation { boot, nonce: env.entropy() },
        key: options.key.clone(),
        chain_numbers: chains.iter().map(|chain| (chain.id, chain.no)).collect(),
        chains: HashMap::new(),
        next_chain: chains.iter().map(|chain| chain.no).max().map_or(1, |ChainNo(no)| no + 1),
        next_pos: newest + 1,
        appended: 0,
        fresh: Fresh::default(),
        checkpoints: HashMap::new(),
        unsigned: BTreeMap::new(),
        seen: HashMap::new(),
        places: super::ingest::Places::default(),
        damage: None,
        documents: 0,
    })
}

/// For each stream, where the last start that wrote to it ended.
fn chain_ends(chains: &[ChainInfo], node: NodeId) -> Vec<u8> {
    let mut out = Vec::new();
    for stream in Stream::ALL {
        let last = chains
            .iter()
            .filter(|c| c.id.origin == node && c.id.stream == stream && c.last() > 0)
            .max_by_key(|chain| chain.id.incarnation);
        if let Some(chain) = last {
            let incarnation = chain.id.incarnation;
            let end = ChainEnd { incarnation, stream, seq: chain.last(), link: chain.head };
            put_end(&mut out, &end).expect("a growing buffer is never full");
        }
    }
    out
}

/// What a start has to tell.
struct Told<'a> {
    findings: &'a [String],
    gaps: &'a [Gap],
    restored: Option<&'a str>,
}

/// The first transaction of an incarnation: the boot count, the start entry, what was found.
fn start(
    tx: &mut WriteTx<'_>,
    version: &str,
    ends: &[u8],
    told: &Told<'_>,
) -> Result<(), WriteError> {
    let boot = tx.state.incarnation.boot;
    tx.put(Table::Meta, META_BOOT, &boot.to_be_bytes())?;
    tx.put(Table::Meta, META_PROGRAM, version.as_bytes())?;
    let mut events = vec![Event::Start { version, ends: Ends::new(ends)? }];
    let notices =
        told.findings.iter().map(|text| (Severity::Critical, "store-damage", text.as_str()));
    let notices = notices.chain(told.restored.map(|text| (Severity::Warning, "restored", text)));
    events.extend(notices.map(|(severity, code, text)| {
        let text = &text[..text.floor_char_boundary(1000)];
        Event::Notice { severity, code, text }
    }));
    tx.append_events(&events)?;
    tx.declare(told.gaps)?;
    tx.delete(Table::Meta, NOTES)?;
    Ok(())
}
