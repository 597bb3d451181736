//! What the store promises: acknowledged is there after a restart, once, in a checkable chain.

use crate::support::{Hand, batch, key, open, options};
use holdfast_core::Stream;
use holdfast_core::log::events::{self, Event, Severity};
use holdfast_core::log::readings;
use holdfast_core::log::trace::{SpanContext, Traced};
use holdfast_core::ranges::Range;
use holdfast_sync::Fault;
use holdfast_sync::env::{Env, System};
use holdfast_sync::store::{
    Idempotency, IngestBatch, ItemOutcome, Options, Overflow, Snapshot, Store, Table, WriteError,
    WriteTx,
};
use rustix::fs::{CWD, FileType, Mode, OFlags, mknodat, open as open_file};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

/// All readings of the store, in the order of their arrival: device sequences.
fn sequences(store: &Store) -> Vec<u64> {
    store.read_blocking(sequences_in).unwrap()
}

fn sequences_in(view: &Snapshot<'_>) -> Result<Vec<u64>, holdfast_sync::Fault> {
    let (commits, chains) = (view.commits_after(0, usize::MAX)?, view.chains()?);
    let mut out = Vec::new();
    for commit in commits {
        let chain = chains.iter().find(|chain| chain.no == commit.chain).unwrap();
        if chain.id.stream == Stream::Reading {
            let body = readings::Body::new(&commit.body).unwrap();
            out.extend(body.rows().map(|row| row.unwrap().source.unwrap().seq));
        }
    }
    Ok(out)
}

#[tokio::test]
async fn what_was_acknowledged_is_there_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let key = key();
    let (store, report) = open(dir.path(), &key);
    assert!(report.created);
    let first = store.incarnation();
    store.ingest(batch(&store, "d", 1, 10)).await.unwrap();
    store.ingest(batch(&store, "d", 11, 5)).await.unwrap();
    store.close().await;
    drop(store);
    let (store, report) = open(dir.path(), &key);
    assert!(!report.created && report.findings.is_empty(), "{report:?}");
    assert!(store.incarnation().boot == first.boot + 1 && store.incarnation().nonce != first.nonce);
    assert_eq!(sequences(&store), (1..=15).collect::<Vec<_>>());
}

/// The mark is a file of its own, and syncing that may take a slow disk long. Here it takes for
/// ever: whoever opens a pipe to write into it waits for somebody who reads.
#[tokio::test]
async fn no_acknowledgement_waits_for_the_mark() {
    let dir = tempfile::tempdir().unwrap();
    let hand = Arc::new(Hand::default());
    let (store, _) = Store::open(options(dir.path(), &key()), hand.clone()).unwrap();
    let pipe = dir.path().join("mark.new");
    let _ = std::fs::remove_file(&pipe);
    let mode = Mode::RUSR | Mode::WUSR;
    mknodat(CWD, &pipe, FileType::Fifo, mode, 0).unwrap();
    for n in 0..3 {
        hand.pass(2_000);
        let stored = store.ingest(batch(&store, "d", 1 + n * 10, 10));
        let stored = tokio::time::timeout(Duration::from_secs(20), stored).await;
        stored.expect("it does not wait").unwrap();
    }
    assert!(std::fs::metadata(&pipe).is_ok(), "no mark was written meanwhile");
    // Opened under another name, it lets go of the mark that waits; the next one is a file again.
    let aside = dir.path().join("aside");
    std::fs::rename(pipe, &aside).unwrap();
    let aside = open_file(aside, OFlags::RDONLY | OFlags::NONBLOCK, Mode::empty()).unwrap();
    let closed = tokio::time::timeout(Duration::from_secs(20), store.close()).await;
    closed.expect("it ends when the mark is written");
    let waited = std::io::copy(&mut std::fs::File::from(aside), &mut std::io::sink()).unwrap();
    assert!(waited > 0, "no mark waited");
    assert!(std::fs::metadata(dir.path().join("mark")).unwrap().len() > 0);
}

#[tokio::test]
async fn a_traced_batch_says_which_entries_it_left_and_a_repeated_one_says_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path(), &key());
    let context = SpanContext { trace: [1; 16], span: [2; 8] };
    store.ingest(batch(&store, "d", 1, 4)).await.unwrap();
    for _ in 0..2 {
        let traced = IngestBatch { trace: Some(context), ..batch(&store, "d", 5, 3) };
        store.ingest(traced).await.unwrap();
    }
    let commits = store.read_blocking(|view| view.commits_after(0, usize::MAX)).unwrap();
    let chains = store.read_blocking(|view: &Snapshot<'_>| view.chains()).unwrap();
    let events = commits.iter().filter(|commit| {
        chains.iter().any(|c| c.no == commit.chain && c.id.stream == Stream::Event)
    });
    let bodies: Vec<_> = events.map(|commit| commit.body.clone()).collect();
    let events = bodies.iter().flat_map(|body| events::read(body).unwrap().1);
    let traced: Vec<_> = events.filter(|e| matches!(e, Ok(Event::Traced(_)))).collect();
    let range = Range { from: 5, to: 7 };
    assert_eq!(traced, [Ok(Event::Traced(Traced { stream: Stream::Reading, range, context }))]);
}

#[tokio::test]
async fn a_device_sequence_is_stored_once_over_restarts_too() {
    let dir = tempfile::tempdir().unwrap();
    let key = key();
    let (store, _) = open(dir.path(), &key);
    let (_, outcome) = store.ingest(batch(&store, "d", 1, 3)).await.unwrap();
    assert_eq!(outcome.items, [ItemOutcome::Accepted; 3]);
    let (_, outcome) = store.ingest(batch(&store, "d", 3, 2)).await.unwrap();
    assert_eq!(outcome.items, [ItemOutcome::Duplicate, ItemOutcome::Accepted]);
    store.close().await;
    drop(store);
    let (store, _) = open(dir.path(), &key);
    let (_, outcome) = store.ingest(batch(&store, "d", 1, 4)).await.unwrap();
    assert_eq!(outcome.items, [ItemOutcome::Duplicate; 4]);
    let (_, other) = store.ingest(batch(&store, "e", 1, 1)).await.unwrap();
    assert_eq!(other.items, [ItemOutcome::Accepted]);
}

#[tokio::test]
async fn a_device_whose_sequences_are_full_of_holes_is_told_so() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path(), &key());
    for i in 0..64 {
        store.ingest(batch(&store, "d", 1 + 2 * i, 1)).await.unwrap();
    }
    let (_, outcome) = store.ingest(batch(&store, "d", 1_000, 1)).await.unwrap();
    assert_eq!(outcome.items, [ItemOutcome::SequencesFull]);
    let (_, outcome) = store.ingest(batch(&store, "d", 2, 1)).await.unwrap();
    assert_eq!(outcome.items, [ItemOutcome::Accepted], "a hole can still be filled");
}

#[tokio::test]
async fn an_idempotency_key_answers_once_and_refuses_another_body() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path(), &key());
    let keyed = |from, body| {
        let mut batch = batch(&store, "d", from, 2);
        batch.items.iter_mut().for_each(|item| item.source = None);
        batch.idempotency = Some(Idempotency { key: b"t1/k".to_vec(), body: [body; 32] });
        batch
    };
    let (_, first) = store.ingest(keyed(1, 1)).await.unwrap();
    let (_, again) = store.ingest(keyed(1, 1)).await.unwrap();
    assert_eq!(first.items, again.items);
    assert!(!first.replayed && again.replayed);
    assert!(matches!(store.ingest(keyed(9, 2)).await, Err(WriteError::KeyReused)));
    let head = store.read_blocking(|view: &Snapshot<'_>| view.head()).unwrap();
    assert_eq!(head, 2, "the start and one commit of readings");
}

#[tokio::test]
async fn kept_answers_take_a_bounded_number_of_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path(), &key());
    // Keys of a mebibyte stand for many of the usual size; the fortieth is past the bound twice.
    let keyed = |number: u8, body| {
        let mut batch = batch(&store, "d", u64::from(number), 1);
        let key = vec![number; 1 << 20];
        batch.idempotency = Some(Idempotency { key, body: [body; 32] });
        batch
    };
    for number in 1..=40 {
        store.ingest(keyed(number, 1)).await.unwrap();
    }
    let kept = store
        .read_blocking(|view: &Snapshot<'_>| view.scan(Table::Idempotency, &[], &[], 100))
        .unwrap();
    assert!((8..=16).contains(&kept.len()), "{} answers of 2 MiB are kept", kept.len());
    let (_, newest) = store.ingest(keyed(40, 1)).await.unwrap();
    let (_, oldest) = store.ingest(keyed(1, 1)).await.unwrap();
    assert!(newest.replayed && !oldest.replayed, "the oldest make room");
}

#[tokio::test]
async fn many_writers_share_commits_and_none_is_lost() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path(), &key());
    let mut tasks = tokio::task::JoinSet::new();
    for device in 0..20 {
        let store = store.clone();
        tasks.spawn(async move {
            for i in 0..25 {
                let name = format!("d{device}");
                store.ingest(batch(&store, &name, 1 + i, 1)).await.unwrap();
            }
        });
    }
    tasks.join_all().await;
    assert_eq!(sequences(&store).len(), 500);
    let commits = store.read_blocking(|view: &Snapshot<'_>| view.head()).unwrap();
    assert!(commits < 400, "group commit joins what waits: {commits}");
}

#[tokio::test]
async fn a_failed_change_undoes_itself_and_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path(), &key());
    let good = store.write(|tx| Ok(tx.put(Table::Meta, b"a", b"1")?));
    let bad = store.write(|tx| {
        tx.put(Table::Meta, b"b", b"2")?;
        Err::<(), _>(WriteError::Refused("on purpose".into()))
    });
    let (good, bad) = tokio::join!(good, bad);
    assert!(good.is_ok() && matches!(bad, Err(WriteError::Refused(_))));
    let (a, b) = store
        .read_blocking(|view| Ok((view.get(Table::Meta, b"a")?, view.get(Table::Meta, b"b")?)))
        .unwrap();
    assert_eq!((a.as_deref(), b), (Some(b"1".as_slice()), None));
}

#[tokio::test]
async fn a_second_process_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let key = key();
    let (_store, _) = open(dir.path(), &key);
    let second = Store::open(options(dir.path(), &key), System::env());
    assert!(matches!(second, Err(Fault::InUse(_))));
}

#[tokio::test]
async fn a_lost_tail_is_noticed_at_the_next_start() {
    let dir = tempfile::tempdir().unwrap();
    let copy = tempfile::tempdir().unwrap();
    let key = key();
    let (store, _) = open(dir.path(), &key);
    store.ingest(batch(&store, "d", 1, 5)).await.unwrap();
    store.close().await;
    drop(store);
    std::fs::copy(dir.path().join("holdfast.db"), copy.path().join("holdfast.db")).unwrap();
    let (store, _) = open(dir.path(), &key);
    store.ingest(batch(&store, "d", 6, 5)).await.unwrap();
    store.close().await;
    drop(store);
    // The database of before with the mark of after: a tail that the disk has dropped.
    std::fs::copy(copy.path().join("holdfast.db"), dir.path().join("holdfast.db")).unwrap();
    let (store, report) = open(dir.path(), &key);
    assert!(report.findings.iter().any(|f| f.contains("reading stream")), "{report:?}");
    let notices = store.read_blocking(|view| view.commits_after(0, usize::MAX)).unwrap();
    let last = notices.last().unwrap();
    let (_, events) = holdfast_core::log::events::read(&last.body).unwrap();
    let notices = events.flatten().filter(|event| matches!(event, Event::Notice { .. }));
    assert_eq!(notices.count(), report.findings.len());
    assert_eq!(store.incarnation().boot, 3, "the mark remembers the boot count");
}

#[tokio::test]
async fn a_full_quota_sheds_the_oldest_readings_and_explains_each_hole() {
    let dir = tempfile::tempdir().unwrap();
    let mut options = options(dir.path(), &key());
    options.quota_bytes = 2 << 20;
    let (store, _) = Store::open(options, System::env()).unwrap();
    // Nothing goes before the pipeline has read it.
    store
        .write(|tx| Ok(tx.put(Table::Cursor, b"pipeline", &u64::MAX.to_be_bytes())?))
        .await
        .unwrap();
    let mut from = 1;
    while store.usage().shed_unacknowledged == 0 {
        store.ingest(batch(&store, "d", from, 1_000)).await.unwrap();
        from += 1_000;
        assert!(from < 10_000_000, "the quota is never reached");
    }
    // More may go meanwhile: all of it has to be of one moment.
    let look = |view: &Snapshot<'_>| {
        let mut chains = view.chains()?.into_iter();
        let chain = chains.find(|chain| chain.id.stream == Stream::Reading).unwrap();
        Ok((sequences_in(view)?, view.gaps(chain.no)?, chain))
    };
    let (seqs, gaps, chain) = store.read_blocking(look).unwrap();
    assert!(*seqs.first().unwrap() > 1 && *seqs.last().unwrap() == from - 1);
    let mut explained = holdfast_core::ranges::RangeSet::<64>::new();
    gaps.iter().for_each(|gap| explained.add(gap.range).unwrap());
    assert_eq!(explained.count() + seqs.len() as u64, from - 1);
    assert_eq!(chain.frontier.count(), from - 1);
}

/// A look at the store asked one kind of what may go, and rested when there was none of it: with
/// seconds between posts it came to the oldest readings only at every fourth, and had no room for
/// new ones while there was enough to remove.
#[tokio::test]
async fn a_post_now_and_then_is_never_refused_while_anything_may_go() {
    let dir = tempfile::tempdir().unwrap();
    let mut options = options(dir.path(), &key());
    options.quota_bytes = 1 << 20;
    let hand: Arc<Hand> = Arc::default();
    let (store, _) = Store::open(options, Arc::clone(&hand) as Env).unwrap();
    store
        .write(|tx| Ok(tx.put(Table::Cursor, b"pipeline", &u64::MAX.to_be_bytes())?))
        .await
        .unwrap();
    for post in 0..1_500 {
        hand.pass(10_000);
        let posted = store.ingest(batch(&store, "d", 1 + post * 200, 200)).await;
        posted.unwrap_or_else(|error| panic!("post {post}: {error}: {:?}", store.usage()));
    }
    assert!(store.usage().shed_unacknowledged > 100_000, "{:?}", store.usage());
}

/// Events went nowhere: alerts and the gaps of each outage took up a little more of a gateway's
/// room every day, until there was none for readings.
#[tokio::test]
async fn events_that_the_hub_has_go_last_and_those_it_lacks_stay() {
    let dir = tempfile::tempdir().unwrap();
    let mut options = options(dir.path(), &key());
    options.quota_bytes = 1 << 20;
    let (store, _) = Store::open(options, System::env()).unwrap();
    store
        .write(|tx| Ok(tx.put(Table::Cursor, b"pipeline", &u64::MAX.to_be_bytes())?))
        .await
        .unwrap();
    let text = "a".repeat(900);
    let mut acked = 0;
    while store.usage().shed_acknowledged == 0 {
        let notice = text.clone();
        let heads = store.own_heads();
        let (no, ..) = heads.into_iter().find(|(_, id, _)| id.stream == Stream::Event).unwrap();
        let write = store.write(move |tx| {
            let event = Event::Notice { severity: Severity::Info, code: "test", text: &notice };
            let range = tx.append_events(&[event])?;
            let mut held = holdfast_core::ranges::RangeSet::new();
            // The hub is always ten behind.
            held.add(Range { from: 1, to: range.to.saturating_sub(10).max(1) })?;
            tx.set_acked(&holdfast_core::NodeId([9; 32]), no, &held)?;
            Ok(range.to)
        });
        let (_, last) = write.await.unwrap();
        acked = last.saturating_sub(10);
        assert!(last < 10_000, "the quota is never reached");
    }
    let look = |view: &Snapshot<'_>| {
        let chain = view.chains()?.into_iter().find(|chain| chain.id.stream == Stream::Event);
        let chain = chain.unwrap();
        Ok((view.commits_from(chain.no, 1, usize::MAX)?, view.gaps(chain.no)?, chain))
    };
    let (commits, gaps, chain) = store.read_blocking(look).unwrap();
    assert!(gaps.len() == 1 && gaps[0].range.to <= acked, "{gaps:?} of {acked}");
    assert_eq!(commits.first().unwrap().first, gaps[0].range.to + 1, "the oldest went");
    assert_eq!(commits.last().unwrap().last(), chain.last(), "the newest stay");
}

/// Each piece that retention removed had a record of its own, for good.
#[tokio::test]
async fn what_is_removed_piece_by_piece_is_one_gap_in_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let mut options = options(dir.path(), &key());
    options.quota_bytes = 1 << 20;
    let (store, _) = Store::open(options, System::env()).unwrap();
    store
        .write(|tx| Ok(tx.put(Table::Cursor, b"pipeline", &u64::MAX.to_be_bytes())?))
        .await
        .unwrap();
    let mut from = 1;
    // Several times what the store holds, and about as many steps as there are commits.
    while store.usage().shed_unacknowledged < 300_000 {
        match store.ingest(batch(&store, "d", from, 500)).await {
            Ok(_) => from += 500,
            // So small a store makes room more slowly than this comes in.
            Err(WriteError::Fault(Fault::Full(_))) => {}
            Err(error) => panic!("{error}"),
        }
        assert!(from < 10_000_000, "the quota is never reached");
    }
    let look = |view: &Snapshot<'_>| {
        let chains = view.chains()?.into_iter();
        let each = chains.map(|chain| Ok((view.gaps(chain.no)?, view.rows_from(chain.no, 1, 1)?)));
        each.collect::<Result<Vec<_>, holdfast_sync::Fault>>()
    };
    let gaps: Vec<_> = store.read_blocking(look).unwrap();
    let gaps: Vec<_> = gaps.into_iter().filter(|(gaps, _)| !gaps.is_empty()).collect();
    let [(gap, rows)] = gaps.as_slice() else { panic!("{gaps:?}") };
    assert_eq!((gap.len(), gap[0].range.from), (1, 1), "{gap:?}");
    assert_eq!(rows[0].first, gap[0].range.to + 1, "the readings go on behind it");
}

#[tokio::test]
async fn with_refuse_a_full_quota_refuses_and_sheds_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut options = options(dir.path(), &key());
    options.quota_bytes = 1 << 20;
    options.overflow = Overflow::Refuse;
    let (store, _) = Store::open(options, System::env()).unwrap();
    let mut from = 1;
    let error = loop {
        match store.ingest(batch(&store, "d", from, 500)).await {
            Ok(_) => from += 500,
            Err(error) => break error,
        }
        assert!(from < 10_000_000, "the quota is never reached");
    };
    assert!(matches!(error, WriteError::Fault(Fault::Full(_))), "{error}");
    assert_eq!(sequences(&store).len() as u64, from - 1);
}

#[tokio::test]
async fn a_store_of_a_newer_release_is_refused_by_its_name_and_left_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let newer = Options { version: "7.1.0", ..options(dir.path(), &key()) };
    let (store, _) = Store::open(newer, System::env()).unwrap();
    store.close().await;
    let path = dir.path().join("holdfast.db");
    // A later version of the tables, as one would look.
    let later = "CREATE TABLE later (x); PRAGMA user_version=9;";
    rusqlite::Connection::open(&path).unwrap().execute_batch(later).unwrap();
    let before = std::fs::read(&path).unwrap();
    let refused = Store::open(options(dir.path(), &key()), System::env());
    let refused = refused.map(|_| ()).unwrap_err().to_string();
    assert!(refused.contains("version 9"), "{refused}");
    assert!(refused.contains("use release 7.1.0 or a later one"), "{refused}");
    assert_eq!(std::fs::read(&path).unwrap(), before);
}

/// While a gateway was flooded with texts and sealed them, somebody read from its write-ahead log
/// at every moment, so that SQLite never began it anew: it came to 440 MB, and the next start took
/// six seconds.
#[tokio::test]
async fn readers_that_take_turns_do_not_make_the_log_grow() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path(), &key());
    let ((tell_two, by_two), (tell_one, by_one)) = (channel::<()>(), channel::<()>());
    let done = Arc::new(AtomicBool::new(false));
    let turns = |tell: Sender<()>, told: Receiver<()>, comes_second: bool| {
        let (store, done) = (store.clone(), Arc::clone(&done));
        std::thread::spawn(move || {
            let mut taken = 0;
            if comes_second && told.recv().is_err() {
                return taken;
            }
            // Each goes when the other has come.
            while store
                .read_blocking(|view| {
                    // For as long as some commits take.
                    for _ in 0..20 {
                        view.get(Table::Meta, b"large")?;
                    }
                    let goes_on = !done.load(Ordering::Relaxed);
                    Ok(goes_on && tell.send(()).is_ok() && told.recv().is_ok())
                })
                .unwrap()
            {
                taken += 1;
            }
            taken
        })
    };
    let readers = [turns(tell_two, by_one, false), turns(tell_one, by_two, true)];
    let log = dir.path().join("holdfast.db-wal");
    let (mut shortened, mut before, mut written) = (0, 0, 0u64);
    let began = Instant::now();
    while shortened < 2 && began.elapsed() < Duration::from_secs(60) {
        if before > 64 << 20 {
            // The writer rests where it has waited in vain, on a fast disk for hundreds of these.
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let body = vec![(written >> 20) as u8; 1 << 20];
        written += body.len() as u64;
        let put = move |tx: &mut WriteTx<'_>| Ok(tx.put(Table::Meta, b"large", &body)?);
        store.write(put).await.unwrap();
        let length = std::fs::metadata(&log).unwrap().len();
        shortened += u32::from(length < before);
        before = length;
    }
    done.store(true, Ordering::Relaxed);
    let taken: Vec<u32> = readers.into_iter().map(|reader| reader.join().unwrap()).collect();
    println!("struck: readers that took turns {taken:?}");
    assert!(taken.iter().all(|taken| *taken > 2), "{taken:?}");
    assert_eq!(shortened, 2, "{before} bytes of {written} that were written");
    store.close().await;
}
