//! Queries against a naive model: what they answer is what a plain list of all readings says,
//! whatever order the readings came in and whatever of them is in segments.
//!
//! A device posts in two units, which are two series. Times go on, leave gaps, come late and
//! repeat; windows have records at first and are only in the log later.

use crate::pipeline::{Node, START, key};
use holdfast_core::{SeriesKey, Timestamp};
use holdfast_node::query::{self, Span};
use holdfast_sync::store::Snapshot;

const UNITS: [&str; 2] = ["m", "cm"];
const WIDTH_MS: i64 = 60_000;

/// SplitMix64 (Steele and others, 2014).
struct Rng(u64);

impl Rng {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: i64) -> i64 {
        (self.next() % n as u64) as i64
    }
}

/// All readings of a unit in the order of the log: milliseconds from the start and values.
type Model = Vec<(i64, f64)>;

/// What came to a window: start in seconds, count, sum in the order of the log, least, greatest,
/// first and last by time.
type Window = (i64, u64, f64, f64, f64, f64, f64);

fn windows(model: &Model, from_ms: i64, to_ms: i64) -> Vec<Window> {
    let mut starts: Vec<i64> = model.iter().map(|(ms, _)| ms.div_euclid(WIDTH_MS)).collect();
    starts.sort_unstable();
    starts.dedup();
    let touched = |n: &i64| n * WIDTH_MS <= to_ms && (n + 1) * WIDTH_MS > from_ms;
    let of = |n: i64| {
        let held: Vec<_> = model.iter().filter(|(ms, _)| ms.div_euclid(WIDTH_MS) == n).collect();
        let fold = |f: fn(f64, f64) -> f64| held.iter().map(|r| r.1).reduce(f).unwrap();
        // Of equal times the first one in the log is first, the last one last.
        let first = held.iter().min_by_key(|r| r.0).unwrap().1;
        let last = held.iter().max_by_key(|r| r.0).unwrap().1;
        let sum = fold(|a, b| a + b);
        (n * 60, held.len() as u64, sum, fold(f64::min), fold(f64::max), first, last)
    };
    starts.into_iter().filter(touched).map(of).collect()
}

async fn compare(node: &Node, models: &[Model; 2], rng: &mut Rng) {
    for (unit, model) in UNITS.iter().zip(models) {
        let key = SeriesKey::new("tank", "level", unit).unwrap();
        let info = node.catalog.named(&key, None).remove(0);
        let end = model.iter().map(|(ms, _)| *ms).max().unwrap();
        for _ in 0..12 {
            let from = rng.below(end + 100_000) - 50_000;
            let to = from + rng.below(end / 2 + 1);
            let at = |ms: i64| START.saturating_add(ms * 1_000_000);
            let span = Span { from: at(from), to: at(to) };
            let ms = |time: Timestamp| time.millis() - START.millis();
            let mut all: Model =
                model.iter().filter(|(ms, _)| (from..=to).contains(ms)).copied().collect();
            all.sort_by_key(|(ms, _)| *ms);
            let (limit, latest) = (1 + rng.below(200) as usize, rng.below(2) == 0);
            let look = |view: &Snapshot<'_>| {
                let origins = [info.origin];
                let found = query::readings(view, &origins, &key, span, limit, latest)?;
                let points = query::downsampled(view, &origins, &key, span, 40)?;
                let windows = query::windows(view, &info, 60, span, 10_000)?;
                Ok((found, points, windows))
            };
            let (found, points, shown) = node.store.read_blocking(look).unwrap();
            let found: Model =
                found.iter().map(|r| (ms(r.time), r.value.get().number().unwrap())).collect();
            let skipped = if latest { all.len().saturating_sub(limit) } else { 0 };
            let wanted: Model = all.iter().skip(skipped).take(limit).copied().collect();
            assert_eq!(found, wanted, "{unit} from {from} to {to}, {limit}, latest {latest}");

            let points: Model = points.iter().map(|p| (ms(p.time), p.value)).collect();
            assert!(points.len() <= 40 && points.iter().all(|point| all.contains(point)));
            let value = |(_, value): &(i64, f64)| *value;
            for extreme in [f64::min, f64::max] {
                let of = |list: &Model| list.iter().map(value).reduce(extreme);
                assert_eq!(of(&points), of(&all), "{unit} from {from} to {to}");
            }
            let ends = |list: &Model| Some((list.first()?.0, list.last()?.0));
            assert_eq!(ends(&points), ends(&all), "{unit} from {from} to {to}");

            let shown: Vec<Window> = shown
                .iter()
                .map(|(window, s)| {
                    let start = window.start_s - START.seconds();
                    (start, s.count, s.sum, s.min, s.max, s.first.value, s.last.value)
                })
                .collect();
            assert_eq!(shown, windows(model, from, to), "{unit} from {from} to {to}");
        }
    }
}

/// With a seed, so that a failure can be looked at again.
async fn round(seed: u64) {
    let (dir, mut rng) = (tempfile::tempdir().unwrap(), Rng(seed));
    let key = key();
    let mut node = Node::keeping(dir.path(), &key, 0);
    let (mut models, mut now_ms) = ([Model::new(), Model::new()], 0);
    for batch in 0..40 {
        let unit = usize::from(rng.below(5) == 0);
        let mut readings = Vec::new();
        for _ in 0..1 + rng.below(60) {
            now_ms += match rng.below(100) {
                0 => 600_000,
                1..10 => 0,
                _ => rng.below(3_000),
            };
            let late = if rng.below(20) == 0 { rng.below(300_000) } else { 0 };
            let value = rng.below(20_001) as f64 / 100.0 - 100.0;
            readings.push(((now_ms - late).max(0), value));
        }
        node.post_ms(UNITS[unit], &readings).await;
        models[unit].extend(&readings);
        if batch % 13 == 12 {
            for (unit, model) in UNITS.iter().zip(&models).filter(|(_, m)| !m.is_empty()) {
                node.counted(unit, model.len() as u64).await;
            }
            node.store.seal_all(1).unwrap();
        }
        if batch == 20 {
            node.close().await;
            node = Node::keeping(dir.path(), &key, 0);
        }
    }
    for (unit, model) in UNITS.iter().zip(&models) {
        node.counted(unit, model.len() as u64).await;
    }
    compare(&node, &models, &mut rng).await;
    node.windows_removed().await;
    compare(&node, &models, &mut rng).await;
    node.store.seal_all(1).unwrap();
    compare(&node, &models, &mut rng).await;
    node.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn queries_answer_what_a_plain_list_says() {
    let seeds: Vec<_> = (1..=6).map(|seed| tokio::spawn(round(seed))).collect();
    for (seed, round) in (1..).zip(seeds) {
        assert!(round.await.is_ok(), "seed {seed}");
    }
}
