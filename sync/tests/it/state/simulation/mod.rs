//! Documents under any schedule: a hub and gateways in virtual time, under seeded faults.
//!
//! Everything that decides is real: the documents, the exchange, the session. What carries and
//! stores them is a model: disks that lose what is not synced and are put back to copies, links
//! that are slow, dark and cut at any byte, clocks that are years off. Writers put, delete and
//! count on paths under every rule. A judge watches what must hold at any time, and in the end,
//! when nothing goes wrong any more: all have the same, down to the byte, and nothing is lost that
//! was acknowledged and that any replica still had. Planted bugs show that it can find something.
//! Histories are cut after a few changes already, so that late writers and copies of earlier epochs
//! are nothing rare.

pub mod crash;
mod disk;
mod draft;
mod faults;
mod fleet;
mod judge;
mod link;
mod node;
mod rng;
mod world;

use judge::{Judge, differs};
use link::Line;
pub use rng::Rng;
use std::collections::BTreeMap;
use std::ops::Range;
use world::World;

/// A bug planted at a seam of the simulator.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Bug {
    #[default]
    None,
    /// A gateway resolves by a policy of its own.
    OwnPolicy,
    /// Clocks give one stamp for ever, the greatest there is.
    ClockAtTheEnd,
    /// The store answers before what it answers is on disk.
    AnswersBeforeItSyncs,
    /// The store loses a cell now and then.
    LosesCells,
    /// A restored node keeps its cursors of others.
    RestoreKeepsCursors,
    /// A node that was killed goes on as the same start.
    CrashKeepsStart,
    /// A node that was restored goes on as the start of its copy.
    RestoreKeepsStart,
    /// A session loses messages about documents.
    LosesMessages,
    /// A session loses changes of documents and says that the peer has them.
    LosesPushes,
    /// Whatever place a peer says to be at, it is taken for one of this store's.
    BelievesAnyCursor,
    /// Sessions that are open do not learn that documents have changed.
    HearsNoChanges,
    /// The journal has no room for some of what lost.
    ForgetsLosers,
    /// The hub shows nobody's membership to others.
    VouchesForNobody,
    /// The hub cuts histories of which it does not know who has what.
    CutsAlone,
}

pub const BUGS: [Bug; 14] = [
    Bug::OwnPolicy,
    Bug::ClockAtTheEnd,
    Bug::AnswersBeforeItSyncs,
    Bug::LosesCells,
    Bug::RestoreKeepsCursors,
    Bug::CrashKeepsStart,
    Bug::RestoreKeepsStart,
    Bug::LosesMessages,
    Bug::LosesPushes,
    Bug::BelievesAnyCursor,
    Bug::HearsNoChanges,
    Bug::ForgetsLosers,
    Bug::VouchesForNobody,
    Bug::CutsAlone,
];

/// What may strike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing, so that things come to rest.
    Quiet,
    /// A connection is lost at some byte, both sides see it.
    Cut,
    /// A gateway gives up a connection and dials anew; what it had sent goes on to arrive.
    GiveUp,
    /// The network of one gateway, or of all, swallows everything and nobody is told.
    Dark,
    /// A node loses its power, and what it had not synced.
    Kill,
    /// A copy of a disk is made.
    BackUp,
    /// A disk is put back to its copy.
    Restore,
    /// A clock is set.
    Clock,
}

impl Fault {
    const fn name(self) -> &'static str {
        match self {
            Self::Quiet => "quiet",
            Self::Cut => "connection cut",
            Self::GiveUp => "connection given up",
            Self::Dark => "darkness",
            Self::Kill => "power lost",
            Self::BackUp => "copy made",
            Self::Restore => "copy put back",
            Self::Clock => "clock set",
        }
    }
}

/// What a seed has drawn.
#[derive(Clone, Debug)]
pub struct Plan {
    pub bug: Bug,
    pub gateways: usize,
    pub sites: usize,
    pub faults: Vec<Fault>,
    /// The only node that is ever restored; without it any may be.
    pub restored: Option<usize>,
    pub line: Line,
    pub sync_ms: u64,
    pub write_ms: u64,
    /// Writers put long texts, so that messages leave in parts and documents are compacted.
    pub long: bool,
    pub strike_ms: u64,
    pub first_connect_ms: u64,
    pub heal_ms: u64,
    /// By how much clocks are off at most.
    pub clock_ms: u64,
    /// Changes from which on the hub cuts a history.
    pub cut_at: u64,
    /// Changes from which on a gateway folds what nobody else has seen.
    pub fold_at: u64,
    /// For how long deletions outlive cuts: no time, or where copies are put back, as in a fleet.
    pub remembered_ms: u64,
}

/// Longer than clocks are off.
pub const ALWAYS_MS: u64 = 100 * 365 * 86_400_000;
const TEN_YEARS_MS: u64 = 10 * 365 * 86_400_000;

impl Plan {
    /// A seed's own mix: some faults and not others, so that rare ones meet.
    pub fn draw(seed: u64, bug: Bug) -> Self {
        let mut rng = Rng(seed ^ 0x5eed);
        let mut faults = vec![Fault::Quiet];
        let some = [Fault::Cut, Fault::GiveUp, Fault::Dark, Fault::Kill, Fault::Clock];
        faults.extend(some.into_iter().filter(|_| rng.percent(60)));
        // What such a hub does wrong is seen where a cut forgets deletions.
        if rng.percent(60) && bug != Bug::CutsAlone {
            faults.extend([Fault::BackUp, Fault::Restore]);
        }
        let is_restored = faults.contains(&Fault::Restore);
        let gateways = rng.pick(&[1, 2, 2, 3, 3, 4, 5, 6]);
        let restored = rng.within(0, gateways as u64 + 1) as usize;
        Self {
            bug,
            gateways,
            sites: rng.pick(&[1, 1, 2]),
            faults,
            restored: rng.percent(70).then_some(restored),
            line: Line {
                rate: rng.pick(&[2_000, 20_000, 1_000_000]),
                delay_ms: rng.pick(&[1, 20, 300]),
                packet: 1_400,
                loss: rng.pick(&[0, 0, 5, 30]),
            },
            sync_ms: rng.pick(&[2, 20, 500]),
            write_ms: rng.pick(&[2_000, 6_000, 15_000]) / gateways.min(3) as u64,
            long: rng.percent(15),
            strike_ms: rng.pick(&[1_000, 4_000, 10_000]),
            first_connect_ms: rng.pick(&[1, 10_000, 30_000]),
            heal_ms: rng.within(20_000, 60_000),
            clock_ms: rng.pick(&[0, 60_000, TEN_YEARS_MS, TEN_YEARS_MS]),
            cut_at: rng.pick(&[4, 8, 20, 1_000_000]),
            fold_at: rng.pick(&[4, 12, 1_000_000]),
            remembered_ms: if is_restored { ALWAYS_MS } else { 0 },
        }
    }

    /// By how much a clock is off.
    fn clock(&self, rng: &mut Rng) -> i64 {
        rng.within(0, 2 * self.clock_ms + 1) as i64 - self.clock_ms as i64
    }
}

/// Far more than any seed's backlog needs over healed links.
const PROGRESS_MS: u64 = 300_000;

/// Runs a seed to its end; the judge tells what was wrong and the hash what happened.
pub fn run(seed: u64, bug: Bug) -> (Judge, [u8; 32]) {
    let plan = Plan::draw(seed, bug);
    let heal = plan.heal_ms;
    let mut world = World::new(seed, plan);
    world.start_dialling();
    while world.judge.wrong.is_none() && world.step(heal) {}
    settle(&mut world);
    (world.judge, *world.trace.finalize().as_bytes())
}

/// Lets a world heal, and judges it.
pub fn settle(world: &mut World) {
    world.heal();
    rest(world);
    world.judge.finish(&mut world.nodes);
    // Where a node was put back to a copy, what a connection of its life before still delivered may
    // have moved a cursor: the next connection compares, and with that all is said.
    let restored = world.nodes.iter().any(|node| node.restores > 0);
    for _ in 0..1 + u32::from(restored) {
        world.messages = 0;
        world.reconnect();
        rest(world);
    }
    if world.messages > 0 {
        let messages = world.messages;
        world.judge.find(format!("connections between equals said {messages} messages"));
    }
}

/// Runs until all are the same and have nothing to say.
fn rest(world: &mut World) {
    let end = world.now + PROGRESS_MS;
    while world.judge.wrong.is_none() {
        let until = world.now + 1_000;
        while world.judge.wrong.is_none() && world.step(until) {}
        if world.is_quiet() && differs(&world.nodes).is_none() {
            return;
        }
        if world.now >= end {
            let why =
                differs(&world.nodes).unwrap_or_else(|| "they do not come to rest".to_owned());
            return world.judge.find(format!("no progress: {why}"));
        }
    }
}

/// What must have struck in a campaign of many seeds.
const STRUCK: [&str; 19] = [
    "all compared",
    "clock set",
    "connection cut",
    "connection given up",
    "copy made",
    "copy put back",
    "cut told with its base",
    "cut told without its base",
    "darkness",
    "engines talked",
    "hub not reached",
    "history cut",
    "losing cell in a journal",
    "packet held up in the dark",
    "packet of an old connection beside a new one",
    "power lost",
    "silence noticed",
    "something wanted",
    "writes lost that were not synced",
];

/// Runs seeds one after the other and says what struck; `tell` hears how many are done.
///
/// # Panics
/// At the first seed with which something is wrong, and when something never struck.
pub fn campaign(seeds: Range<u64>, mut tell: impl FnMut(u64)) {
    let mut struck: BTreeMap<&str, u64> = STRUCK.iter().map(|what| (*what, 0)).collect();
    let (mut writes, mut lost) = (0, 0);
    let count = seeds.end - seeds.start;
    for (done, seed) in seeds.enumerate() {
        let (judge, _) = run(seed, Bug::None);
        if let Some(wrong) = &judge.wrong {
            let plan = Plan::draw(seed, Bug::None);
            panic!(
                "seed {seed}: {wrong}\n{plan:?}\nreplay: HOLDFAST_SEED={seed} \
                 cargo test -p holdfast-sync --test it state::all_agree_whatever_strikes"
            );
        }
        (writes, lost) = (writes + judge.writes(), lost + judge.lost());
        judge.struck.iter().for_each(|(what, times)| *struck.entry(what).or_default() += times);
        tell(done as u64 + 1);
    }
    for (what, times) in &struck {
        println!("struck: {what} {times}");
    }
    println!("{count} seeds, {writes} writes, {lost} of them forgotten by all that had them");
    let never: Vec<_> = struck.iter().filter(|(_, times)| **times == 0).collect();
    assert!(count < 500 || never.is_empty(), "never struck: {never:?}");
}
