//! Bytes rot: one flipped bit or a lost tail anywhere in a data directory is named by `verify` or
//! harmless, and what is undamaged is still there after the next start.
//!
//! `HOLDFAST_TRIALS` sets how many trials each campaign has, `HOLDFAST_TRIAL` picks one by number.

use crate::support::{batch, open, options};
use holdfast_core::hlc::Stamp;
use holdfast_core::log::events::{Event, Severity as Weight, start_body};
use holdfast_core::log::{Link, rollups};
use holdfast_core::ranges::{Range, RangeSet};
use holdfast_core::rollup::{Revision, Sample, Summary, Window};
use holdfast_core::state::{Author, Path as StatePath, Policy, Role, Value};
use holdfast_core::{ChainId, Incarnation, SeriesKey, Stream, Timestamp};
use holdfast_sync::docs::{DocumentName, Documents, Edit, What, Writer};
use holdfast_sync::env::{Env, Source};
use holdfast_sync::identity::NodeKey;
use holdfast_sync::store::verify::{Place, Severity, VerifyReport, request_repair};
use holdfast_sync::store::{
    ChainNo, Idempotency, PIPELINE, Received, Snapshot, Store, StoredCommit, Table, verify,
};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Numbers from a seed (SplitMix64).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ x >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ x >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        (x ^ x >> 31) % sides
    }
}

/// A clock that the test sets and entropy from a seed: the same store for the same trial.
struct Lab {
    millis: AtomicU64,
    dice: Mutex<Dice>,
}

impl Lab {
    fn new(boot: u64) -> Arc<Self> {
        Arc::new(Self { millis: AtomicU64::new(0), dice: Mutex::new(Dice(boot)) })
    }

    fn advance(&self, millis: u64) {
        self.millis.fetch_add(millis, Ordering::Relaxed);
    }
}

impl Source for Lab {
    fn now(&self) -> Timestamp {
        Timestamp(1_790_000_000_000_000_000 + self.monotonic_ms() as i64 * 1_000_000)
    }
    fn monotonic_ms(&self) -> u64 {
        self.millis.load(Ordering::Relaxed)
    }
    fn entropy(&self) -> u64 {
        self.dice.lock().unwrap().roll(u64::MAX)
    }
    fn fill(&self, out: &mut [u8]) {
        out.iter_mut().for_each(|byte| *byte = self.entropy() as u8);
    }
}

fn notice(text: &str) -> Event<'_> {
    Event::Notice { severity: Weight::Info, code: "test", text }
}

/// A run of another node's event chain, as a peer sends it.
fn foreign_run() -> Received {
    let env: Env = Lab::new(77);
    let origin = NodeKey::generate(&env);
    let incarnation = Incarnation { boot: 4, nonce: 44 };
    let chain = ChainId { origin: origin.id(), incarnation, stream: Stream::Event };
    let mut run = Received::new(chain, Link::START);
    let mut link = Link::START;
    for first in 1..=20 {
        let mut body = Vec::new();
        start_body(&mut body, Timestamp(first as i64 * 1_000_000_000)).unwrap();
        notice("from afar").encode(&mut body, Vec::new()).unwrap();
        link = link.next(&chain, first, 1, &body);
        let message = holdfast_core::log::checkpoint_message(&chain, first, &link);
        let signature = (first % 5 == 0).then(|| origin.sign(&message));
        run.push(first, 1, signature, false, body).unwrap();
    }
    run
}

/// One start with something of everything.
async fn fill(store: &Store, key: &NodeKey, round: u64) {
    for i in 0..6 {
        store.ingest(batch(store, "ps-1", 1 + round * 10_000 + i * 50, 40)).await.unwrap();
    }
    let mut keyed = batch(store, "ps-2", 1 + round * 10_000, 1_500);
    let idempotency = Idempotency { key: round.to_be_bytes().to_vec(), body: [round as u8; 32] };
    keyed.idempotency = Some(idempotency);
    store.ingest(keyed).await.unwrap();
    for i in 0..5u64 {
        let change = store.write(move |tx| {
            let series = [SeriesKey::new("ps-1", "level", "m").unwrap()];
            let sample = Sample { time: Timestamp(1_000_000_000), value: 1.5 };
            let window = Window { width_s: 60, start_s: i as i64 * 60 };
            let summary = Summary::of(sample, Revision { boot: round + 1, seq: i + 1 });
            tx.append_rollups(&series, &[(rollups::Row { series: 0, window, summary }, None)])?;
            for table in Table::ALL {
                let own = matches!(table, Table::Chain | Table::Gap | Table::Seen | Table::Acked);
                let own = own || matches!(table, Table::Idempotency | Table::IdempotencyAge);
                let own = own || table >= Table::Document;
                if !own {
                    let name = [&[round as u8, i as u8], b"something".as_slice()].concat();
                    tx.put(table, &name, &[round as u8; 100])?;
                }
            }
            tx.put(Table::Cursor, PIPELINE, &(round * 10 + i).to_be_bytes())?;
            tx.append_events(&[notice("one"), notice("two")])?;
            Ok(())
        });
        change.await.unwrap();
    }
    let run = foreign_run();
    let peer = run.chain().origin;
    let mut acked = RangeSet::new();
    acked.add(Range::new(1, 40).unwrap()).unwrap();
    let change = store.write(move |tx| {
        tx.accept(&run)?;
        tx.set_acked(&peer, ChainNo(2), &acked)
    });
    change.await.unwrap();
    write_documents(store, key, round).await;
    store.write(|tx| tx.append_events(&[notice("last")])).await.unwrap();
}

/// Documents of several changes, by as many actors as there are rounds.
async fn write_documents(store: &Store, key: &NodeKey, round: u64) {
    let documents = Arc::new(Documents::new(store, key.clone(), Role::Edge));
    let author = Author::node(&key.id());
    for i in 0..12u64 {
        let documents = Arc::clone(&documents);
        let change = store.write(move |tx| {
            let name = DocumentName::new(["device/ps-1/reported", "site/north"][i as usize % 2])?;
            let writer = Writer { author, role: Role::Edge, clock: Stamp(round * 100 + i) };
            let path = ["mode", "net/ip", "level"][i as usize % 3];
            let what = What::Put(Value::Int(i64::try_from(round * 100 + i).unwrap()));
            let edit = Edit { path: StatePath::new(path).unwrap(), what };
            documents.write(tx, &name, &Policy::LWW, writer, &[edit])
        });
        change.await.unwrap();
    }
}

/// Puts what is there of readings into segments.
async fn seal(store: &Store) {
    let head = store.read_blocking(|view: &Snapshot<'_>| view.head()).unwrap();
    let read = store.write(move |tx| Ok(tx.put(Table::Cursor, PIPELINE, &head.to_be_bytes())?));
    read.await.unwrap();
    store.seal_all(600).unwrap();
    let rows = |view: &Snapshot<'_>| {
        let chains = view.chains()?.into_iter();
        let rows = chains.map(|chain| view.rows_from(chain.no, 1, usize::MAX));
        rows.collect::<Result<Vec<_>, _>>()
    };
    let rows = store.read_blocking(rows).unwrap();
    assert!(rows.iter().flatten().any(|row| row.sealed), "nothing was sealed");
}

/// Waits until the ends of the store's chains are signed and marked: nothing is under way then.
async fn settled(store: &Store, lab: &Lab) {
    lab.advance(5_000);
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let chains = store.read_blocking(|view: &Snapshot<'_>| view.chains()).unwrap();
        let mark = fs::read(store.dir().join("mark")).unwrap_or_default();
        let open = chains.iter().filter(|c| c.id.incarnation == store.incarnation());
        let mut quiet = true;
        for chain in open {
            let last = Range { from: 1, to: chain.last() };
            let last = store.read_blocking(|view| view.rows_back(chain.no, last, 1)).unwrap();
            quiet &= last[0].signature.is_some() && mark.windows(32).any(|w| w == chain.head.0);
        }
        if quiet {
            return;
        }
        assert!(Instant::now() < deadline, "the store never comes to rest");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn copy(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

/// A store as it is on disk: stopped, or as kill -9 leaves it.
async fn build(dir: &Path, clean: bool) {
    let work = tempfile::tempdir().unwrap();
    let env: Env = Lab::new(0);
    let key = NodeKey::generate(&env);
    key.write(&work.path().join("node.key")).unwrap();
    for round in 0..3 {
        let lab = Lab::new(round + 1);
        let (store, report) = Store::open(options(work.path(), &key), lab.clone()).unwrap();
        assert!(report.findings.is_empty(), "{report:?}");
        fill(&store, &key, round).await;
        if round == 0 {
            seal(&store).await;
        }
        if round == 2 && !clean {
            settled(&store, &lab).await;
            copy(work.path(), dir);
        }
        store.close().await;
    }
    if clean {
        copy(work.path(), dir);
    }
}

type Records = BTreeMap<(Table, Vec<u8>), Vec<u8>>;

/// Everything a store holds, the start that looked left out.
#[derive(PartialEq, Eq)]
struct Contents {
    /// By chain and first sequence: those of a segment share a position.
    commits: BTreeMap<(ChainId, u64), StoredCommit>,
    records: Records,
}

fn contents(store: &Store) -> Contents {
    let now = store.incarnation().boot;
    let read = |view: &Snapshot<'_>| {
        let chains: BTreeMap<_, _> = view.chains()?.into_iter().map(|c| (c.no, c.id)).collect();
        let opened = chains.iter().filter(|(_, id)| id.incarnation.boot == now);
        let opened: Vec<_> = opened.map(|(no, _)| (Table::Chain, no.key().to_vec())).collect();
        let commits = view.commits_after(0, usize::MAX)?.into_iter();
        let commits = commits.map(|commit| ((chains[&commit.chain], commit.first), commit));
        let mut records = Records::new();
        for table in Table::ALL {
            for (key, value) in view.scan(table, &[], &[], usize::MAX)? {
                records.insert((table, key), value);
            }
        }
        records.retain(|key, _| !opened.contains(key));
        Ok((commits.collect(), records))
    };
    let (commits, records): (BTreeMap<_, _>, _) = store.read_blocking(read).unwrap();
    let before = |((chain, _), _): &((ChainId, u64), StoredCommit)| chain.incarnation.boot < now;
    Contents { commits: commits.into_iter().filter(before).collect(), records }
}

impl Contents {
    /// Whether all of it is in `other`, which one more start has written to.
    fn is_in(&self, other: &Self) -> bool {
        let boot = (Table::Meta, b"boot".to_vec());
        let same = |(key, value): (&_, &_)| *key == boot || other.records.get(key) == Some(value);
        self.commits.iter().all(|(pos, it)| other.commits.get(pos) == Some(it))
            && self.records.iter().all(same)
    }
}

fn bytes_of(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let list = fs::read_dir(dir).unwrap().map(Result::unwrap);
    list.map(|e| (e.file_name().into_string().unwrap(), fs::read(e.path()).unwrap())).collect()
}

/// Verifies and checks that nothing was changed by it.
fn look(dir: &Path) -> VerifyReport {
    let before = bytes_of(dir);
    let mut last = None;
    let report = verify(dir, &mut |progress| last = Some(progress)).unwrap();
    assert_eq!(last.unwrap().commits, report.summary.commits);
    let mut after = bytes_of(dir);
    after.retain(|name, bytes| before.contains_key(name) || !bytes.is_empty());
    let shm = "holdfast.db-shm";
    assert!(before.iter().all(|(name, bytes)| name == shm || after.get(name) == Some(bytes)));
    assert!(after.keys().all(|name| name == shm || before.contains_key(name)));
    report
}

/// Whether `report` names the commit.
fn names(report: &VerifyReport, id: ChainId, commit: &StoredCommit) -> bool {
    let within = |range: &Range| range.from <= commit.last() && commit.first <= range.to;
    report.findings.iter().any(|finding| match &finding.place {
        Place::Commit { pos, .. } if *pos == commit.pos => true,
        Place::Commit { chain: Some(chain), range: Some(range), .. }
        | Place::Entries { chain, range } => *chain == id && within(range),
        Place::File => finding.file == "holdfast.db" && finding.severity == Severity::Damaged,
        _ => false,
    })
}

/// How often what happened.
#[derive(Debug, Default)]
struct Struck {
    named: u32,
    harmless: u32,
    repaired: u32,
    key_refused: u32,
    files: BTreeMap<String, u32>,
    commits_lost: usize,
}

/// Damages one file; returns its name and what was done.
fn damage(dir: &Path, dice: &mut Dice) -> (String, String) {
    const FILES: [&str; 10] = [
        "holdfast.db",
        "holdfast.db",
        "holdfast.db",
        "holdfast.db",
        "holdfast.db-wal",
        "holdfast.db-wal",
        "holdfast.db-shm",
        "mark",
        "node.key",
        "ballast",
    ];
    loop {
        let name = FILES[dice.roll(FILES.len() as u64) as usize];
        let path = dir.join(name);
        let Ok(mut bytes) = fs::read(&path) else { continue };
        if bytes.is_empty() {
            continue;
        }
        let len = bytes.len() as u64;
        let what = if dice.roll(4) == 0 {
            let most = if dice.roll(2) == 0 { len } else { len.min(5_000) };
            let keep = len - 1 - dice.roll(most);
            bytes.truncate(keep as usize);
            format!("{name} cut from {len} to {keep} bytes")
        } else {
            // One in four near the head, where one bit means most.
            let near = if dice.roll(4) == 0 { len.min(128) } else { len };
            let bit = dice.roll(near * 8);
            bytes[bit as usize / 8] ^= 1 << (bit % 8);
            format!("{name}: bit {} of byte {} flipped", bit % 8, bit / 8)
        };
        fs::write(&path, bytes).unwrap();
        return (name.to_owned(), what);
    }
}

async fn trial(base: &Path, whole: &Contents, number: u64, struck: &mut Struck) {
    let dir = tempfile::tempdir().unwrap();
    copy(base, dir.path());
    let (file, what) = damage(dir.path(), &mut Dice(number));
    let what = format!("HOLDFAST_TRIAL={number}: {what}");
    *struck.files.entry(file.clone()).or_default() += 1;
    let first = look(dir.path());
    let named = first.worst().is_some_and(|worst| worst >= Severity::Suspect);
    let key = match NodeKey::read(&dir.path().join("node.key")) {
        Ok(key) => key.unwrap(),
        Err(fault) => {
            assert!(fault.is_damage() && fault.to_string().contains("node.key"), "{what}: {fault}");
            assert!(named, "{what}");
            struck.key_refused += 1;
            return;
        }
    };
    let (store, _) = open(dir.path(), &key);
    store.close().await;
    drop(store);
    let second = look(dir.path());
    if request_repair(dir.path(), &second) {
        struck.repaired += 1;
    }
    let (store, report) = open(dir.path(), &key);
    let found = contents(&store);
    store.close().await;
    drop(store);
    let third = look(dir.path());
    let bad: Vec<_> = third.findings.iter().filter(|f| f.severity == Severity::Damaged).collect();
    assert!(bad.is_empty(), "{what}: still damaged: {bad:#?}, after {report:#?}");
    if !named {
        assert!(whole.is_in(&found), "{what}: not named, and not harmless");
        struck.harmless += 1;
        return;
    }
    struck.named += 1;
    let log = first.findings.iter().any(|finding| finding.file == "holdfast.db-wal");
    let kept = |place: &(ChainId, u64), commit: &StoredCommit| {
        let it = found.commits.get(place)?;
        ((it.count, &it.body) == (commit.count, &commit.body)).then_some(it.pos)
    };
    let newest = whole.commits.iter().filter_map(|(place, it)| kept(place, it)).max();
    for (place, commit) in &whole.commits {
        let (chain, lost) = (place.0, kept(place, commit).is_none());
        // The damaged log is named as such, and what is lost with it is the end of everything.
        let tail = log && Some(commit.pos) > newest;
        struck.commits_lost += usize::from(lost);
        assert!(
            !lost || tail || names(&first, chain, commit),
            "{what}: commit {} of {chain} is lost and not named: {:#?}, {report:#?}",
            commit.pos,
            first.findings
        );
    }
}

async fn campaign(clean: bool) -> Struck {
    let base = tempfile::tempdir().unwrap();
    build(base.path(), clean).await;
    let report = look(base.path());
    assert_eq!(report.worst(), None, "{:#?}", report.findings);
    assert_eq!((report.summary.chains, report.summary.unproven), (10, 0));
    let untouched = tempfile::tempdir().unwrap();
    copy(base.path(), untouched.path());
    let key = NodeKey::read(&base.path().join("node.key")).unwrap().unwrap();
    let (store, report) = open(untouched.path(), &key);
    assert!(report.findings.is_empty(), "{report:?}");
    let whole = contents(&store);
    store.close().await;
    drop(store);
    let mut struck = Struck::default();
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    if let Some(one) = number("HOLDFAST_TRIAL") {
        trial(base.path(), &whole, one, &mut struck).await;
        return struck;
    }
    for number in 0..number("HOLDFAST_TRIALS").unwrap_or(60) {
        trial(base.path(), &whole, number, &mut struck).await;
    }
    println!("clean stop: {clean}: {struck:?}");
    assert!(struck.files["holdfast.db"] > 0 && struck.repaired > 0 && struck.harmless > 0);
    struck
}

#[tokio::test]
async fn damage_to_a_stopped_store_is_named_or_harmless_and_the_rest_lives() {
    campaign(true).await;
}

#[tokio::test]
async fn damage_to_a_killed_store_is_named_or_harmless_and_the_rest_lives() {
    let struck = campaign(false).await;
    let one = std::env::var("HOLDFAST_TRIAL").is_ok();
    assert!(one || struck.files["holdfast.db-wal"] > 0, "the log was never struck");
}
