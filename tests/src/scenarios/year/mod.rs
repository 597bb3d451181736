//! A simulated year of one gateway: what is bounded stays bounded, for as long as it runs.
//!
//! No process lives a year for a test, so this one runs in the process of the test: the store, the
//! pipeline and the alerts as the service wires them, on a clock that is moved by hand. Twenty
//! stations post through 365 days with a restart each night. The hub is away for days, and now and
//! then for so long that readings go which only the gateway had. Each hour disk, files and memory
//! are looked at; in the end every reading that was acknowledged is at the hub or in a gap that was
//! declared, and the windows sum up all of them.

mod clock;
mod gateway;
mod hub;
mod measure;
mod site;

use super::{Scale, tell};
use crate::faults::Tally;
use crate::rng::Rng;
use crate::wait::until_async;
use clock::Hand;
use gateway::{Gateway, PATIENCE, Posted};
use holdfast_sync::identity::NodeKey;
use holdfast_sync::store::Table;
use hub::Hub;
use measure::{Predictions, Quarter, read_so_far};
use site::{POST_MS, Site};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tempfile::TempDir;

const DAYS: u64 = 365;
const DAY_MS: i64 = 86_400_000;
const POSTS_OF_A_DAY: i64 = DAY_MS / POST_MS;
const POSTS_OF_AN_HOUR: i64 = POSTS_OF_A_DAY / 24;
/// 2027-01-01.
const BEGIN_MS: i64 = 1_798_761_600_000;
/// Days with and without a link, by turns. It begins without: nobody has invited the gateway yet,
/// so the store fills up for the first time with nothing that may go.
const LINK: [(u64, bool); 4] = [(14, false), (3, true), (1, false), (2, true)];

/// Days after which a prediction is held to its word: on the first the rate is that of an empty
/// store that makes its tables.
const LEARNING_DAYS: usize = 2;
/// By what factor it may be wrong.
const PREDICTED: f64 = 2.0;
/// Bytes of records that a start of the gateway leaves for good: three chains, what the hub has of
/// them, and what of them was removed.
const START_COST: u64 = 700;
/// Bytes of records that a start of a device leaves for good.
const DEVICE_START_COST: u64 = 40;
/// Bytes that a start reads more for each start before it: the records of its chains.
const START_READS: u64 = 1_500;
/// What the allocator keeps may differ by this from quarter to quarter.
const MEMORY_SLACK: u64 = 8 << 20;

/// The year, in its state between two days.
struct Year {
    dir: PathBuf,
    key: NodeKey,
    site: Site,
    hub: Hub,
    posted: Posted,
    shed: (u64, u64),
    quarters: [Quarter; 4],
    predictions: Predictions,
    tally: Tally,
    seed: u64,
    days: u64,
}

/// Whether there is a link on a day.
fn is_online(day: u64) -> bool {
    let of_round = day % LINK.iter().map(|(days, _)| days).sum::<u64>();
    let mut end = 0;
    let stretch = LINK.iter().find(|(days, _)| {
        end += days;
        of_round < end
    });
    stretch.is_some_and(|(_, online)| *online)
}

/// Runs the year, or the part of it that the scale says.
///
/// # Panics
/// When something grows that should not, something is lost, or a fault never struck.
pub fn year(scale: Scale) {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(2).enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let dir = room();
        let days = scale.of(DAYS, 19);
        let hand = Hand::new(BEGIN_MS, Rng::keyed(scale.seed, &[0]));
        let env: holdfast_sync::env::Env = Arc::new(hand);
        let mut year = Year {
            dir: dir.path().to_owned(),
            key: NodeKey::generate(&env),
            site: Site::new(scale.seed),
            hub: Hub::default(),
            posted: Posted::default(),
            shed: (0, 0),
            quarters: Default::default(),
            predictions: Predictions::default(),
            tally: Tally::of(&[
                "acknowledged readings removed",
                "unacknowledged readings removed",
                "days without a link",
                "messages repeated",
                "messages late",
                "alerts raised",
            ]),
            seed: scale.seed,
            days,
        };
        for day in 0..days {
            year.day(day).await;
            tell("year", day + 1, days);
        }
        year.end().await;
    });
}

/// Where the gateway lives: in memory where the machine has a place for that, since nobody cuts
/// the power here.
fn room() -> TempDir {
    let builder = || {
        let mut builder = tempfile::Builder::new();
        builder.prefix("holdfast-year-");
        builder
    };
    let memory = builder().tempdir_in(Path::new("/dev/shm"));
    memory.or_else(|_| builder().tempdir()).expect("a directory")
}

impl Year {
    fn start(&self, day: u64, quarter: &mut Quarter) -> Gateway {
        let began_ms = BEGIN_MS + day as i64 * DAY_MS;
        let hand = Arc::new(Hand::new(began_ms, Rng::keyed(self.seed, &[1, day])));
        let before = read_so_far();
        let gateway = Gateway::start(&self.dir, &self.key, hand);
        quarter.starts.push(read_so_far() - before);
        gateway
    }

    async fn day(&mut self, day: u64) {
        let number = (day * 4 / self.days) as usize;
        let mut quarter = std::mem::take(&mut self.quarters[number]);
        let gateway = self.start(day, &mut quarter);
        let (began_ms, online) = (BEGIN_MS + day as i64 * DAY_MS, is_online(day));
        gateway.online.store(online, Ordering::SeqCst);
        self.tally.add("days without a link", u64::from(!online));
        let silent_from = 1 + (day * 37 % 100) as i64;
        // The last post of the day is the next one's first: the machine is off in between.
        for post in 1..POSTS_OF_A_DAY {
            let now_ms = began_ms + post * POST_MS;
            gateway.hand.set(now_ms);
            if post == silent_from {
                self.site.silence_one();
            }
            let posted = gateway.post(&mut self.site, now_ms).await;
            self.note(posted);
            if post % POSTS_OF_AN_HOUR == 0 {
                self.hour(&gateway, &mut quarter, online).await;
            }
        }
        let now_ms = began_ms + DAY_MS - POST_MS;
        self.predictions.note(now_ms, &gateway.store.usage());
        quarter.count(&gateway);
        self.stop(gateway).await;
        self.quarters[number] = quarter;
    }

    async fn hour(&mut self, gateway: &Gateway, quarter: &mut Quarter, online: bool) {
        gateway.seal();
        if online {
            self.hub.take(&gateway.store).await;
        }
        quarter.look(&self.dir, gateway);
    }

    fn note(&mut self, posted: Posted) {
        self.posted.readings += posted.readings;
        self.posted.duplicates += posted.duplicates;
    }

    async fn stop(&mut self, gateway: Gateway) {
        let store = gateway.store.clone();
        gateway.stop().await;
        let usage = store.usage();
        self.shed.0 += usage.shed_acknowledged;
        self.shed.1 += usage.shed_unacknowledged;
    }

    /// A last day with a link, on which the windows come to their end; then the accounts.
    async fn end(mut self) {
        let mut quarter = Quarter::default();
        let gateway = self.start(self.days, &mut quarter);
        let began_ms = BEGIN_MS + self.days as i64 * DAY_MS;
        for hour in 1..=3 {
            let now_ms = began_ms + hour * POST_MS * POSTS_OF_AN_HOUR;
            gateway.hand.set(now_ms);
            let posted = gateway.post(&mut self.site, now_ms).await;
            self.note(posted);
        }
        // The acknowledgements wake the pipeline, which finds that the last windows are over.
        gateway.hand.set(began_ms + DAY_MS / 2);
        let readings = self.posted.readings;
        let (hub, store) = (&mut self.hub, &gateway.store);
        let summed = async || {
            hub.take(store).await;
            (hub.summed() >= readings).then_some(())
        };
        until_async("the windows to sum up every reading", PATIENCE, summed).await;
        self.stop(gateway).await;
        self.tell();
        self.accounts();
        self.bounds();
        self.tally.finish().unwrap_or_else(|never| panic!("{never}"));
    }

    fn tell(&self) {
        let Posted { readings, duplicates, .. } = self.posted;
        println!("{} days: {readings} readings, {duplicates} messages known", self.days);
        self.quarters.iter().enumerate().for_each(|(at, quarter)| quarter.tell(at + 1));
        for (said, took) in self.predictions.compared(0) {
            println!("told that there is room for {said:.1} days; it took {took:.1}");
        }
        self.tally.add("acknowledged readings removed", self.shed.0);
        self.tally.add("unacknowledged readings removed", self.shed.1);
        self.tally.add("messages repeated", self.site.repeated);
        self.tally.add("messages late", self.site.late);
        self.tally.add("alerts raised", self.hub.raised);
    }

    /// Every reading that was acknowledged is at the hub or declared, and in its windows.
    fn accounts(&self) {
        assert_eq!(self.hub.known(), self.posted.readings, "at the hub, or declared as gone");
        assert_eq!(self.hub.lost(), self.shed.1, "what was removed and what was declared");
        assert_eq!(self.hub.summed(), self.posted.readings, "each is in one window");
        assert_eq!(self.hub.starts, self.days + 1, "each start is told");
    }

    /// What may not grow does not, and what does is as little as is promised.
    fn bounds(&self) {
        let compared = self.predictions.compared(LEARNING_DAYS);
        assert!(!compared.is_empty(), "the store was never full");
        for (said, took) in compared {
            let factor = (said / took).max(took / said);
            assert!(factor < PREDICTED, "told {said:.1} days, it took {took:.1}");
        }
        let last = &self.quarters[3];
        let starts = last.bytes(&[Table::Chain, Table::Acked, Table::Gap]);
        assert!(starts <= START_COST * self.days, "{starts} bytes of {} starts", self.days);
        let seen = last.bytes(&[Table::Seen]);
        assert!(seen <= DEVICE_START_COST * self.site.starts, "{seen} bytes");
        let round: u64 = LINK.iter().map(|(days, _)| days).sum();
        if self.days / 4 < round {
            return;
        }
        let before = &self.quarters[1];
        let fixed = [Table::Meta, Table::Cursor, Table::Series, Table::Window];
        let (early, late) = (before.bytes(&fixed), last.bytes(&fixed));
        assert!(late <= early + early / 10, "records grow: {early} and {late} bytes");
        let (early, late) = (before.memory, last.memory);
        assert!(late <= early + MEMORY_SLACK, "memory grows: {early} and {late} bytes");
        let more = START_READS * self.days / 2;
        let (early, late) = (before.start(), last.start());
        assert!(late <= early + more, "starts read more and more: {early} and {late} bytes");
    }
}
