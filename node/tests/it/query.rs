//! Queries against a naive model: what they answer is what a plain list of all readings says,
//! whatever order the readings came in and whatever of them is in segments.
//!
//! A device posts in two units, which are two series. Times go on, leave gaps, come late and
//! repeat; windows have records at first and are only in the log later. Sliding windows and the
//! days of time zones are made of kept windows; the list knows nothing of those.

use crate::pipeline::{Node, START, key};
use holdfast_core::{SeriesKey, Timestamp};
use holdfast_node::pipeline::Rolled;
use holdfast_node::query::{self, Calendar, Shape, Span, Stretch, Windows};
use holdfast_sync::store::Snapshot;
use jiff::Timestamp as Instant;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use std::collections::BTreeMap;

const UNITS: [&str; 2] = ["m", "cm"];
const WIDTH_MS: i64 = 60_000;
/// Of sliding windows, seconds: some kept ones of ten minutes fit into none of them.
const SLIDING_S: i64 = 1_320;
const STEP_S: i64 = 120;

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

/// Windows that overlap: each reading is in several.
fn compare_sliding(model: &Model, shown: &[(Stretch, Rolled)], from_ms: i64, to_ms: i64) {
    let (width, step) = (SLIDING_S * 1_000, STEP_S * 1_000);
    let mut shown = shown.iter();
    let first = (from_ms - width).div_euclid(step) + 1;
    for start in (first..).map(|n| n * step).take_while(|start| *start <= to_ms) {
        let held: Vec<_> =
            model.iter().filter(|(ms, _)| (start..start + width).contains(ms)).collect();
        if held.is_empty() {
            continue;
        }
        let (stretch, rolled) = shown.next().expect("a window with readings is shown");
        assert_eq!(stretch.start_s - START.seconds(), start / 1_000);
        assert_eq!(stretch.end_s - stretch.start_s, SLIDING_S);
        let mut values: Vec<f64> = held.iter().map(|r| r.1).collect();
        let (n, s) = (values.len() as f64, rolled.summary);
        let mean = values.iter().sum::<f64>() / n;
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        assert_eq!((s.count, values.len()), (values.len() as u64, held.len()));
        assert!((s.mean() - mean).abs() < 1e-9);
        match s.variance() {
            None => assert_eq!(s.count, 1),
            Some(variance) => assert!((variance - squares / (n - 1.0)).abs() < 1e-6),
        }
        values.sort_by(f64::total_cmp);
        assert_eq!((s.min, s.max), (values[0], values[values.len() - 1]));
        assert_eq!(s.first.value, held.iter().min_by_key(|r| r.0).unwrap().1);
        assert_eq!(s.last.value, held.iter().max_by_key(|r| r.0).unwrap().1);
        for q in [0.0, 0.05, 0.5, 0.95, 1.0] {
            let place = ((q * n).ceil() as usize).clamp(1, values.len());
            let told = rolled.quantile(q).expect("it is known since the first reading");
            assert!((told.value - values[place - 1]).abs() <= told.error, "{q} of {values:?}");
            assert!(told.error <= ((s.max - s.min) / 63.0).max(100.0 / 2_097_152.0));
        }
    }
    assert_eq!(shown.next(), None);
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
                let kept = Shape::Fixed { width_s: 60, step_s: 60 };
                let sliding = Shape::Fixed { width_s: SLIDING_S as u32, step_s: STEP_S as u32 };
                let windows = query::windows(view, &info, &kept, span, 10_000)?;
                let sliding = query::windows(view, &info, &sliding, span, 10_000)?;
                Ok((found, points, windows, sliding))
            };
            let (found, points, shown, sliding) = node.store.read_blocking(look).unwrap();
            let Windows::Found(shown) = shown else { panic!("the width is kept") };
            let Windows::Found(sliding) = sliding else { panic!("the width is a multiple") };
            compare_sliding(model, &sliding, from, to);
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
                .map(|(stretch, Rolled { summary: s, .. })| {
                    let start = stretch.start_s - START.seconds();
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

/// A question for windows of a minute from the beginning of time to its end went through them one
/// by one, billions of them with a second each: the hub was busy for as long as anybody waited.
#[tokio::test(flavor = "multi_thread")]
async fn all_windows_of_all_times_are_found_without_going_through_the_years() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::keeping(dir.path(), &key(), 0);
    node.post_ms(UNITS[0], &[(0, 1.0), (61_000, 2.0)]).await;
    node.counted(UNITS[0], 2).await;
    let series = SeriesKey::new("tank", "level", UNITS[0]).unwrap();
    let info = node.catalog.named(&series, None).remove(0);
    let span = Span { from: Timestamp(i64::MIN), to: Timestamp(i64::MAX) };
    for (width_s, step_s, found) in [(60, 60, 2), (120, 60, 3), (1_200, 1_200, 1)] {
        let shape = Shape::Fixed { width_s, step_s };
        let look = |view: &Snapshot<'_>| query::windows(view, &info, &shape, span, 10);
        let Windows::Found(shown) = node.store.read_blocking(look).unwrap() else { panic!() };
        assert_eq!(shown.len(), found, "{width_s}");
    }
    node.close().await;
}

/// The first day of the part of a calendar that a day belongs to.
fn first_day(unit: Calendar, date: Date) -> Date {
    match unit {
        Calendar::Day => date,
        Calendar::Week => {
            let mut monday = date;
            while monday.weekday() != jiff::civil::Weekday::Monday {
                monday = monday.yesterday().unwrap();
            }
            monday
        }
        Calendar::Month => date.first_of_month(),
    }
}

/// Clocks are put forward and back in most of these, in Lord Howe by half an hour; the days of
/// Kolkata begin at half past, those of Kathmandu at a quarter to an hour of UTC. Posted over ten
/// months, so that the answer is put together in several parts.
#[tokio::test(flavor = "multi_thread")]
async fn days_of_a_zone_have_the_hours_that_clocks_showed() {
    let (dir, mut rng) = (tempfile::tempdir().unwrap(), Rng(11));
    let node = Node::keeping(dir.path(), &key(), 0);
    let hour_ms = 3_600_000;
    let mut model = Model::new();
    let mut ms = -300 * 24 * hour_ms;
    while ms < 0 {
        model.push((ms, rng.below(1_000) as f64));
        ms += rng.below(12 * hour_ms);
    }
    for part in model.chunks(100) {
        node.post_ms(UNITS[0], part).await;
    }
    node.counted(UNITS[0], model.len() as u64).await;
    node.windows_removed().await;
    let series = SeriesKey::new("tank", "level", UNITS[0]).unwrap();
    let info = node.catalog.named(&series, None).remove(0);
    let span = Span { from: START.saturating_add(-400 * 24 * hour_ms * 1_000_000), to: START };
    let zones = ["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe"];
    let mut lengths = Vec::new();
    for name in zones.into_iter().chain(["Asia/Kolkata", "Asia/Kathmandu"]) {
        let zone = TimeZone::get(name).unwrap();
        for unit in [Calendar::Day, Calendar::Week, Calendar::Month] {
            let mut wanted = BTreeMap::<Date, (u64, f64, f64)>::new();
            for (ms, value) in &model {
                let at = Instant::from_millisecond(START.millis() + ms).unwrap();
                let day = first_day(unit, at.to_zoned(zone.clone()).date());
                let entry = wanted.entry(day).or_insert((0, f64::MAX, f64::MIN));
                *entry = (entry.0 + 1, entry.1.min(*value), entry.2.max(*value));
            }
            let shape = Shape::Calendar(unit, zone.clone());
            let look = |view: &Snapshot<'_>| query::windows(view, &info, &shape, span, 10_000);
            let Windows::Found(shown) = node.store.read_blocking(look).unwrap() else {
                panic!("minutes fit into the days of {name}")
            };
            let shown: BTreeMap<_, _> = shown
                .iter()
                .map(|(stretch, Rolled { summary: s, .. })| {
                    let local = |second| {
                        Instant::from_second(second).unwrap().to_zoned(zone.clone()).datetime()
                    };
                    assert_eq!(local(stretch.start_s).time(), jiff::civil::Time::midnight());
                    assert_eq!(local(stretch.end_s).time(), jiff::civil::Time::midnight());
                    if unit == Calendar::Day {
                        lengths.push((stretch.end_s - stretch.start_s) / 60);
                    }
                    (local(stretch.start_s).date(), (s.count, s.min, s.max))
                })
                .collect();
            assert_eq!(shown, wanted, "{name}");
        }
    }
    lengths.sort_unstable();
    lengths.dedup();
    assert_eq!(lengths, [23 * 60, 23 * 60 + 30, 24 * 60, 24 * 60 + 30, 25 * 60]);
    let odd = Shape::Fixed { width_s: 90, step_s: 90 };
    let look = |view: &Snapshot<'_>| query::windows(view, &info, &odd, span, 10_000);
    assert_eq!(node.store.read_blocking(look).unwrap(), Windows::NoneFit(vec![60, 600]));
    node.close().await;
}
