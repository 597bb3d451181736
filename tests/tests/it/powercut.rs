//! Power cuts of a program whose habits are known: what it synced is always there, and what it
//! did not is sometimes gone. A campaign that could not find a loss would prove nothing.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use holdfast_tests::faults::Tally;
use holdfast_tests::powercut::{Aftermath, DataRule, Journal, NameRule, Recording};
use holdfast_tests::process::{LIMIT, Launch, Settings};
use rusqlite::Connection;
use tempfile::TempDir;

const RECORD: usize = 5_000;

/// A recorded run of the scribe and what it acknowledged: (number, operations done by then).
struct Run {
    home: TempDir,
    recording: Recording,
    journal: Journal,
    acks: Vec<(u32, usize)>,
}

impl Run {
    fn of(habit: &[&str], count: u32, rest: &[&str]) -> Self {
        let home = tempfile::tempdir().unwrap();
        let data = home.path().join("data");
        fs::create_dir(&data).unwrap();
        fs::write(data.join("before"), b"was there").unwrap();
        let recording = Recording::begin(&data, &home.path().join("work")).unwrap();
        let lens = scribe(&recording, habit, count, rest);
        let journal = recording.load().unwrap();
        let acks = lens.into_iter().map(|(n, len)| (n, journal.ops_within(len))).collect();
        let run = Self { home, recording, journal, acks };
        run.assert_complete();
        run
    }

    fn assert_complete(&self) {
        let scratch = self.scratch("complete");
        let unseen = self.journal.unseen(self.recording.data(), &scratch).unwrap();
        assert_eq!(unseen, Vec::<PathBuf>::new(), "changes that the shim did not see");
    }

    /// Cuts after `cut` operations and gives the directory with what must be in it: the number
    /// of records acknowledged by then.
    fn cut(&self, cut: usize, seed: u64) -> (PathBuf, Aftermath, usize) {
        let out = self.scratch(&format!("cut-{cut}-{seed}"));
        let aftermath = self.journal.cut(cut, seed, &out).unwrap();
        assert_eq!(fs::read(out.join("before")).unwrap(), b"was there");
        (out, aftermath, self.acks.iter().filter(|(_, ops)| *ops <= cut).count())
    }

    fn scratch(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }
}

fn scribe(recording: &Recording, habit: &[&str], count: u32, rest: &[&str]) -> Vec<(u32, u64)> {
    let done = Launch::binary("holdfast-scribe")
        .args(habit)
        .args([recording.data()])
        .args([count.to_string()])
        .args(rest)
        .settings(&Settings::default().envs(recording.environment()))
        .run(LIMIT)
        .unwrap();
    let acks: Vec<_> = done
        .stdout
        .iter()
        .filter_map(|line| line.strip_prefix("ack ")?.split_once(' '))
        .map(|(n, len)| (n.parse().unwrap(), len.parse().unwrap()))
        .collect();
    assert!(!acks.is_empty(), "{:?}", done.stderr);
    acks
}

/// How many records from the first on are whole, and what the pointer says.
fn records_in(dir: &Path) -> (usize, Option<u32>) {
    let log = fs::read(dir.join("records/log")).unwrap_or_default();
    let whole = log
        .chunks_exact(RECORD)
        .enumerate()
        .take_while(|(n, record)| record.iter().all(|b| *b == *n as u8 + 1))
        .count();
    let pointer = fs::read(dir.join("records/current")).ok();
    (whole, pointer.and_then(|p| Some(u32::from_le_bytes(p.try_into().ok()?))))
}

#[test]
fn what_was_synced_survives_a_cut_at_every_operation() {
    let run = Run::of(&["records"], 20, &[]);
    let tally = Tally::of(&["lost", "torn", "name undone", "strict", "ordered"]);
    for cut in 0..=run.journal.ops() {
        for seed in 0..4 {
            let (dir, aftermath, acked) = run.cut(cut, seed * 1_000_003 + cut as u64);
            let (whole, pointer) = records_in(&dir);
            assert!(whole >= acked, "cut {cut}, seed {seed}: {whole} of {acked} records");
            let pointed = pointer.map_or(0, |n| n as usize + 1);
            assert!(pointed >= acked, "cut {cut}, seed {seed}: pointer at {pointer:?} of {acked}");
            assert!(pointed <= whole, "the pointer was renamed after the record was synced");
            tally.add("lost", aftermath.lost);
            tally.add("torn", aftermath.torn);
            tally.add("name undone", aftermath.names_undone);
            tally.strike(if aftermath.strict { "strict" } else { "ordered" });
            fs::remove_dir_all(dir).unwrap();
        }
    }
    tally.finish().unwrap();
}

#[test]
fn what_was_not_synced_is_sometimes_lost() {
    let run = Run::of(&["careless"], 20, &[]);
    let (mut losses, mut survivals) = (0, 0);
    for seed in 0..100 {
        let cut = run.acks[run.acks.len() / 2].1 + seed as usize % 20;
        let (dir, _, acked) = run.cut(cut, seed);
        let lost = records_in(&dir).0 < acked;
        losses += u32::from(lost);
        survivals += u32::from(!lost);
        fs::remove_dir_all(dir).unwrap();
    }
    assert!(losses > 10 && survivals > 5, "{losses} losses, {survivals} survivals");
}

#[test]
fn equal_seeds_give_equal_aftermaths_and_rules_can_be_chosen() {
    let run = Run::of(&["careless"], 5, &[]);
    let tree = |name: &str, seed| {
        let out = run.scratch(name);
        run.journal.cut(run.journal.ops(), seed, &out).unwrap();
        Journal::unseen(&run.journal, &out, &run.scratch(&format!("{name}-all"))).unwrap()
    };
    assert_eq!(tree("a", 3), tree("b", 3), "the same files differ from the full directory");

    let bare = run.scratch("bare");
    let all = run.journal.ops();
    run.journal.cut_by(all, 1, NameRule::Strict, DataRule::Lost, &bare).unwrap();
    let (whole, _) = records_in(&bare);
    assert_eq!(whole, 0, "without any sync no data may be required to survive");
}

#[test]
fn no_sequence_of_calls_confuses_shim_or_model() {
    for seed in 0..10 {
        // `of` has compared the journal's end with the real directory.
        let run = Run::of(&["wander"], 150, &[&seed.to_string()]);
        for cut in (0..=run.journal.ops()).step_by(97) {
            fs::remove_dir_all(run.cut(cut, seed).0).unwrap();
        }
    }
}

#[test]
fn one_journal_covers_several_processes() {
    let run = Run::of(&["records"], 3, &[]);
    let before = run.journal.ops();
    // What a process leaves that is killed while it writes a record.
    let journal = run.home.path().join("work/journal");
    fs::OpenOptions::new()
        .append(true)
        .open(journal)
        .unwrap()
        .write_all(&[99, 0, 0, 0, 2])
        .unwrap();
    assert_eq!(run.recording.load().unwrap().ops(), before);
    scribe(&run.recording, &["sqlite"], 5, &["FULL"]);
    let journal = run.recording.load().unwrap();
    assert!(journal.ops() > before);
    let run = Run { journal, ..run };
    fs::remove_dir_all(run.scratch("complete")).unwrap();
    run.assert_complete();
}

/// Cuts a run of SQLite at 300 points and counts those at which an acknowledged row is gone.
fn sqlite_losses(synchronous: &str) -> usize {
    let run = Run::of(&["sqlite"], 60, &[synchronous]);
    let first = run.acks[0].1;
    let mut losses = 0;
    for seed in 0..300 {
        let cut = first + (seed as usize * 7919) % (run.journal.ops() - first + 1);
        let (dir, _, acked) = run.cut(cut, seed);
        let rows = Connection::open(dir.join("rows.db"))
            .and_then(|db| db.query_row("SELECT count(*) FROM rows", [], |r| r.get::<_, u32>(0)));
        losses += usize::from(rows.unwrap_or(0) < acked as u32);
        fs::remove_dir_all(dir).unwrap();
    }
    losses
}

#[test]
fn sqlite_keeps_every_row_with_full_sync_and_loses_some_with_normal() {
    assert_eq!(sqlite_losses("FULL"), 0);
    let lost = sqlite_losses("NORMAL");
    println!("{lost} of 300 cuts lost a row with NORMAL");
    assert!(lost > 10, "only {lost} of 300 cuts lost a row");
}
