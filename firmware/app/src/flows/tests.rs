//! Workflows come whole or not at all, runs go on where they were, and what they want moved is.

use super::*;
use crate::chip::{Broken, Draw, Outside};
use crate::published::{Published, fleet};
use crate::samples::Look;
use crate::twin::Twin;
use holdfast_core::Device;
use holdfast_core::codec::Sink;
use holdfast_core::condition::{Rule, Test};
use holdfast_core::device::flows::Step;
use holdfast_core::flow::about::{About, Placement};
use holdfast_core::flow::draft::Draft;
use holdfast_core::flow::effect::{Argument, Head, IDEMPOTENT, Kind, Piece as Words, encode};
use holdfast_core::flow::image::{Part, Type};
use holdfast_core::flow::op::{Late, Op};
use holdfast_core::flow::signal::{Source, Word, put_head};
use holdfast_core::flow::trigger::{Devices, Tags};
use std::collections::BTreeMap;
use std::format;
use std::string::String;
use std::vec::Vec;

const LEVEL: u8 = 1;
const SENSORS: &[Sensor] = &[Sensor { number: LEVEL, metric: "level", unit: "m", every_ms: 1_000 }];
/// 2027-01-15 08:00:00.
const ANCHOR: i64 = 1_800_000_000_000;

fn above(limit: f64, clear: f64) -> Rule {
    Rule { test: Test::Above { limit, clear }, hold_ns: 0, clear_hold_ns: 0 }
}

fn below(limit: f64, clear: f64) -> Rule {
    Rule { test: Test::Below { limit, clear }, hold_ns: 0, clear_hold_ns: 0 }
}

fn actuate(draft: &mut Draft, percent: &str) -> u16 {
    let head = Head { kind: Kind::Actuate, flags: IDEMPOTENT, timeout_ms: 0, retries: (0, 0) };
    let arguments: [(Argument, &[Words<'_>]); 2] = [
        (Argument::Value, &[Words::Literal(percent)]),
        (Argument::Name, &[Words::Literal("valve")]),
    ];
    let mut bytes = Vec::new();
    encode(&mut bytes, &head, &arguments, &[]).unwrap();
    draft.effects.push(bytes);
    (draft.effects.len() - 1) as u16
}

fn draft(version: &str, overlap: Overlap) -> Draft {
    let about = About {
        id: "tank-guard",
        version,
        title: "Tank guard",
        placement: Placement::Device,
        concurrent: 1,
        overlap,
        priority: 5,
    };
    let mut draft = Draft::new(&about);
    draft.triggers.push(trigger(above(2.0, 1.5)));
    draft
}

fn trigger(rule: Rule) -> Vec<u8> {
    let mut trigger = Vec::new();
    let of = Devices { pattern: "pump-*", tags: Tags::new(&[0]).unwrap() };
    On::Reading { of, metric: "level", rule, max_age_ms: 0 }.encode(&mut trigger).unwrap();
    trigger
}

/// Closes the valve above 2.0 m, waits until it is below 1.0 m and an hour more, and opens it.
fn guard(version: &str, overlap: Overlap) -> Vec<u8> {
    let mut draft = draft(version, overlap);
    let (close, open) = (actuate(&mut draft, "0"), actuate(&mut draft, "100"));
    let part = &mut draft.parts[Part::Signals as usize];
    let (device, metric) = (Word::Literal("pump-1"), Word::Literal("level"));
    put_head(part, "low", &Source::Condition { device, metric, rule: below(1.0, 1.0) }).unwrap();
    part.put_uint(0).unwrap();
    draft.signals = 1;
    let hour = draft.number(Type::Int);
    draft.push(Op::Do { effect: close });
    draft.push(Op::Listen { signal: 0, within: None });
    draft.push(Op::Set { d: hour, value: 3_600_000 });
    draft.push(Op::Sleep { a: hour, late: Late::Fire, tolerance_s: 0 });
    draft.push(Op::Do { effect: open });
    draft.push(Op::Succeed);
    draft.encode().unwrap()
}

/// As [`guard`], but of many operations, so that it comes in several pieces.
fn long_guard() -> Vec<u8> {
    let mut draft = draft("long", Overlap::Skip);
    let close = actuate(&mut draft, "0");
    let number = draft.number(Type::Int);
    for value in 0..200 {
        draft.push(Op::Set { d: number, value });
    }
    draft.push(Op::Do { effect: close });
    draft.push(Op::Succeed);
    draft.encode().unwrap()
}

/// What the key `seed` signs of an image.
fn published(image: &[u8], seed: u8) -> Published {
    Published::new("flow", "tank-guard", 0, image, seed)
}

/// A device with its flash, its time and its valve.
struct Bench {
    chip: Outside,
    log: Log<Outside>,
    flows: Flows,
    twin: Twin,
    boot: u64,
    uptime_ms: u64,
    anchor: Option<i64>,
    /// Where the valve was put, one after the other.
    valve: Vec<i64>,
}

type Faulty<T> = Result<T, Fault<Broken>>;

impl Bench {
    fn new(chip: Outside, boot: u64) -> Faulty<Self> {
        let mut log = chip.try_open()?;
        let device = Device::new("pump-1").unwrap();
        let flows = Flows::new(Author::device(device), Some(fleet()));
        let twin = Twin::open(&mut log, device)?;
        let valve = Vec::new();
        let mut bench = Self { chip, log, flows, twin, boot, uptime_ms: 0, anchor: None, valve };
        bench.with(Flows::take_up)?;
        Ok(bench)
    }

    fn with<T>(
        &mut self,
        act: impl FnOnce(&mut Flows, &mut Log<Outside>, &Here<'_>) -> Faulty<T>,
    ) -> Faulty<T> {
        let Self { boot, uptime_ms, anchor, .. } = *self;
        let (device, sensors, twin) = ("pump-1", SENSORS, &self.twin);
        let here = Here { device, sensors, twin, boot, uptime_ms, anchor };
        act(&mut self.flows, &mut self.log, &here)
    }

    /// The power goes and comes.
    fn restart(self) -> Self {
        let (chip, boot, valve) = (self.chip.clone(), self.boot + 1, self.valve);
        Self { valve, ..Self::new(chip, boot).unwrap() }
    }

    fn want(&mut self, wanted: &[&Published]) -> Faulty<()> {
        let ids: Vec<_> = wanted.iter().map(|one| one.id).collect();
        self.with(|flows, log, here| flows.want(log, here, &ids))
    }

    /// Fetches all that is lacking.
    fn fetch(&mut self, from: &[&Published]) -> Faulty<()> {
        while let Some(of) = self.flows.lacks() {
            let one = from.iter().find(|one| one.id == of.id).unwrap();
            let piece = Piece { of, bytes: one.part(of.part) };
            self.with(|flows, log, here| flows.take(log, here, &piece))?;
        }
        Ok(())
    }

    fn has(&mut self, published: &Published) {
        self.want(&[published]).unwrap();
        self.fetch(&[published]).unwrap();
        assert_eq!(self.stands(), [Stands::On]);
    }

    fn stands(&self) -> Vec<Stands> {
        self.flows.held().0.iter().map(|(_, stands)| *stands).collect()
    }

    /// A level is measured, and all that follows is done.
    fn level(&mut self, level: f64) -> Faulty<()> {
        let value = Value::float(level).unwrap();
        self.with(|flows, log, here| flows.sampled(log, here, LEVEL, &value))?;
        self.act()
    }

    fn act(&mut self) -> Faulty<()> {
        self.with(Flows::tick)?;
        while let Some(asked) = self.with(Flows::asked)? {
            assert_eq!(asked.name, "valve");
            let To::Number(millionths) = asked.value else { panic!("{asked:?}") };
            self.valve.push(millionths / 1_000_000);
            self.with(|flows, log, here| flows.moved(log, here, &asked, Ok(())))?;
        }
        Ok(())
    }

    /// So many seconds pass.
    fn pass(&mut self, seconds: u64) -> Faulty<()> {
        self.uptime_ms += seconds * 1_000;
        self.act()
    }

    /// The gateway says what time it is.
    fn told(&mut self, now_ms: i64) {
        let before = self.anchor.replace(now_ms - self.uptime_ms as i64);
        self.with(|flows, log, here| flows.clock_set(log, here, before)).unwrap();
        self.act().unwrap();
    }

    fn runs(&self) -> usize {
        self.flows.runs.iter().flatten().count()
    }

    /// The steps that the gateway lacks: the run, its count, why, and whether it is over.
    fn steps(&mut self) -> Vec<(RunId, u32, String, bool)> {
        let mut out = Vec::new();
        let look = |kept: &crate::steps::Kept<'_>| {
            let step = Step::decode(kept.bytes).unwrap();
            assert_eq!(step.number, kept.number);
            let cause = format!("{:?}", step.cause);
            let cause = cause.split([' ', '(']).next().unwrap_or_default().into();
            let phase = holdfast_core::flow::Phase::from_u8(step.memory[1]).unwrap();
            out.push((step.run, step.count, cause, phase.is_over()));
            Look::On
        };
        self.log.look_at_steps(look).unwrap();
        out
    }

    fn causes(&mut self) -> Vec<String> {
        self.steps().into_iter().map(|(_, _, cause, _)| cause).collect()
    }
}

fn bench() -> Bench {
    Bench::new(Outside::new(8), 1).unwrap()
}

#[test]
fn a_workflow_comes_in_pieces_and_goes_on_coming_after_a_power_cut() {
    let published = published(&long_guard(), 7);
    let mut bench = bench();
    bench.want(&[&published]).unwrap();
    let mut parts = Vec::new();
    while let Some(of) = bench.flows.lacks() {
        parts.push(of.part);
        let piece = Piece { of, bytes: published.part(of.part) };
        bench.with(|flows, log, here| flows.take(log, here, &piece)).unwrap();
        bench = bench.restart();
    }
    assert_eq!(parts, [0, 1, 2], "each once");
    assert_eq!(bench.stands(), [Stands::On]);
    bench.level(2.5).unwrap();
    assert_eq!(bench.valve, [0]);
}

#[test]
fn what_is_not_there_is_asked_for_again_later() {
    let published = published(&guard("1", Overlap::Skip), 7);
    let mut bench = bench();
    bench.want(&[&published]).unwrap();
    let of = bench.flows.lacks().unwrap();
    bench.with(|flows, log, here| flows.take(log, here, &Piece { of, bytes: &[] })).unwrap();
    assert_eq!(bench.flows.lacks(), None);
    bench.has(&published);
}

#[test]
fn what_nobody_of_the_fleet_has_signed_or_somebody_has_changed_does_not_run() {
    let good = published(&guard("1", Overlap::Skip), 7);
    let stranger = published(&good.bytes, 8);
    let mut changed = published(&good.bytes, 7);
    *changed.bytes.last_mut().unwrap() ^= 1;
    let mut other = good.bytes.clone();
    other[0] = 9;
    let unfit = published(&other, 7);
    for (published, stands) in
        [(stranger, Stands::Untrusted), (changed, Stands::Damaged), (unfit, Stands::Unfit)]
    {
        let mut bench = bench();
        bench.want(&[&published]).unwrap();
        bench.fetch(&[&published]).unwrap();
        assert_eq!(bench.stands(), [stands]);
        bench.level(3.0).unwrap();
        assert_eq!(bench.runs(), 0);
        // A later firmware may take it.
        let bench = bench.restart();
        assert_eq!(bench.flows.lacks().map(|of| of.part), Some(0));
    }
}

#[test]
fn a_run_begins_once_waits_for_a_level_and_for_time_and_is_over() {
    let mut bench = bench();
    bench.has(&published(&guard("1", Overlap::Skip), 7));
    for level in [1.9, 2.1, 2.5, 1.8, 2.2] {
        bench.level(level).unwrap();
    }
    assert_eq!(bench.valve, [0], "found once, for it has not ended since");
    bench.level(0.9).unwrap();
    bench.pass(3_599).unwrap();
    assert_eq!(bench.valve, [0]);
    bench.pass(1).unwrap();
    assert_eq!(bench.valve, [0, 100]);
    assert_eq!(bench.runs(), 0);
    let steps = bench.steps();
    let told = steps.iter().map(|(_, count, cause, over)| (*count, &cause[..], *over));
    let told: Vec<_> = told.collect();
    let expected = [
        (1, "Began", false),
        (2, "Done", false),
        (3, "Condition", false),
        (4, "Time", false),
        (5, "Done", true),
    ];
    assert_eq!(told, expected);
    bench.level(2.1).unwrap();
    assert_eq!(bench.valve, [0, 100, 0], "and found again");
    let before = bench.steps().len();
    bench.log.release_steps(5).unwrap();
    assert_eq!(bench.steps().len(), before - 5);
    let mut bench = bench.restart();
    assert_eq!(bench.steps().len(), before - 5, "also after a start");
}

#[test]
fn time_without_power_counts_once_it_is_known() {
    let mut bench = bench();
    bench.has(&published(&guard("1", Overlap::Skip), 7));
    bench.told(ANCHOR);
    bench.level(2.5).unwrap();
    bench.level(0.5).unwrap();
    let mut bench = bench.restart();
    bench.pass(1_800).unwrap();
    assert_eq!(bench.valve, [0], "nobody has told how long it was off");
    bench.told(ANCHOR + 3_600_000);
    assert_eq!(bench.valve, [0, 100]);
}

#[test]
fn before_the_first_word_of_a_gateway_no_time_has_passed_whatever_the_starts() {
    let mut bench = bench();
    bench.has(&published(&guard("1", Overlap::Skip), 7));
    bench.pass(5).unwrap();
    bench.level(2.5).unwrap();
    bench.level(0.5).unwrap();
    let mut bench = bench.restart();
    bench.pass(1_000).unwrap();
    bench.told(ANCHOR);
    assert_eq!(bench.valve, [0], "seconds since a start are no date");
    bench.pass(2_599).unwrap();
    assert_eq!(bench.valve, [0]);
    bench.pass(1).unwrap();
    assert_eq!(bench.valve, [0, 100]);
}

#[test]
fn what_has_to_be_so_for_a_while_is_not_so_for_the_time_without_power() {
    let mut draft = draft("1", Overlap::Skip);
    draft.triggers = [trigger(Rule { hold_ns: 10_000_000_000, ..above(2.0, 1.5) })].into();
    let close = actuate(&mut draft, "0");
    draft.push(Op::Do { effect: close });
    draft.push(Op::Succeed);
    let mut bench = bench();
    bench.has(&published(&draft.encode().unwrap(), 7));
    bench.told(ANCHOR);
    bench.level(2.5).unwrap();
    bench.pass(10).unwrap();
    assert_eq!(bench.valve, [0]);
    bench.level(1.0).unwrap();
    let mut bench = bench.restart();
    bench.level(2.5).unwrap();
    bench.told(ANCHOR + 3_600_000);
    assert_eq!(bench.valve, [0], "it was seen a moment ago");
    bench.pass(9).unwrap();
    assert_eq!(bench.valve, [0]);
    bench.pass(1).unwrap();
    assert_eq!(bench.valve, [0, 0]);
}

#[test]
fn a_clock_that_is_set_moves_what_waits_for_a_length_of_time() {
    let mut bench = bench();
    bench.has(&published(&guard("1", Overlap::Skip), 7));
    bench.level(2.5).unwrap();
    bench.level(0.5).unwrap();
    bench.pass(1_000).unwrap();
    bench.told(ANCHOR);
    assert_eq!(bench.valve, [0], "it never knew the time: that is no time that passed");
    bench.told(ANCHOR + 86_400_000);
    bench.pass(2_599).unwrap();
    assert_eq!(bench.valve, [0], "and neither is a gateway's clock that was wrong");
    bench.pass(1).unwrap();
    assert_eq!(bench.valve, [0, 100]);
    assert!(bench.causes().contains(&"ClockSet".into()));
}

#[test]
fn of_as_many_runs_as_may_be_one_more_is_left_out_or_takes_the_place_of_the_oldest() {
    for (overlap, count) in [(Overlap::Skip, 1), (Overlap::Queue, 1), (Overlap::Replace, 2)] {
        let mut bench = bench();
        bench.has(&published(&guard("1", overlap), 7));
        for level in [2.5, 1.4, 2.5] {
            bench.level(level).unwrap();
        }
        assert_eq!(bench.valve.len(), count, "{overlap:?}");
        assert_eq!(bench.runs(), 1);
        assert_eq!(bench.causes().contains(&"Replaced".into()), count == 2);
    }
}

#[test]
fn a_version_that_is_given_up_ends_with_its_last_run_beside_the_next_one() {
    let (one, two) =
        (published(&guard("1", Overlap::Skip), 7), published(&guard("2", Overlap::Skip), 7));
    let mut bench = bench();
    bench.has(&one);
    bench.level(2.5).unwrap();
    bench.want(&[&two]).unwrap();
    bench.fetch(&[&two]).unwrap();
    assert_eq!(bench.stands(), [Stands::Ends, Stands::On]);
    bench.level(1.4).unwrap();
    bench.level(2.5).unwrap();
    assert_eq!(bench.runs(), 1, "both are one workflow, of which one run may be under way");
    let mut bench = bench.restart();
    bench.level(0.5).unwrap();
    bench.pass(3_600).unwrap();
    assert_eq!(bench.valve, [0, 100]);
    assert_eq!(bench.stands(), [Stands::On]);
    bench.level(2.5).unwrap();
    assert_eq!(bench.valve, [0, 100, 0]);
    bench.want(&[]).unwrap();
    assert_eq!(bench.stands(), [Stands::Ends]);
}

#[test]
fn more_than_there_is_room_for_is_asked_for_once_there_is() {
    let all: Vec<_> =
        (0..5).map(|n| published(&guard(&format!("{n}"), Overlap::Skip), 7)).collect();
    let all: Vec<_> = all.iter().collect();
    let mut bench = bench();
    bench.want(&all[..4]).unwrap();
    bench.fetch(&all).unwrap();
    bench.level(2.5).unwrap();
    assert!(!bench.flows.asks_again());
    bench.want(&all[1..]).unwrap();
    assert_eq!(bench.stands().len(), 4, "the first has a run");
    bench.level(0.5).unwrap();
    bench.pass(3_600).unwrap();
    assert!(bench.flows.asks_again());
    assert!(!bench.flows.asks_again(), "once");
}

/// Two triggers that one reading ends and begins: whenever the power goes in between, what it began
/// is begun, if not before then after the next start.
#[test]
fn what_was_found_and_not_begun_is_found_again() {
    let mut draft = draft("1", Overlap::Skip);
    draft.triggers.push(trigger(below(1.5, 1.5)));
    let close = actuate(&mut draft, "0");
    draft.push(Op::Do { effect: close });
    draft.push(Op::Succeed);
    let published = published(&draft.encode().unwrap(), 7);
    for left in 0..200 {
        let mut bench = bench();
        bench.has(&published);
        bench.level(2.5).unwrap();
        bench.chip.left.set(left);
        let cut = bench.level(1.0);
        bench.chip.left.set(u64::MAX);
        let mut bench = bench.restart();
        bench.level(1.0).unwrap();
        let began = bench.causes().iter().filter(|cause| *cause == "Began").count();
        assert_eq!(began, 2, "the power went after {left} words: {cut:?}");
    }
}

#[test]
fn what_another_workflow_had_found_in_the_same_place_says_nothing_of_the_next() {
    let mut bench = bench();
    bench.has(&published(&long_guard(), 7));
    bench.level(2.5).unwrap();
    bench.want(&[]).unwrap();
    assert_eq!(bench.stands(), []);
    bench.has(&published(&guard("1", Overlap::Skip), 7));
    let mut bench = bench.restart();
    bench.valve.clear();
    bench.level(2.5).unwrap();
    assert_eq!(bench.valve, [0]);
}

/// The life of a device in which the power goes at any word, over and over: all that was found is
/// done, the valve is where it is to be, and the gateway hears of each step once and in order.
#[test]
fn the_power_goes_at_any_word() {
    let published = published(&guard("1", Overlap::Skip), 7);
    let chip = Outside::new(4);
    let mut draw = Draw(11);
    let (mut cuts, mut boot, mut heard) = (0, 0, BTreeMap::<RunId, (u32, bool)>::new());
    let (mut rounds, mut now_ms) = (0, ANCHOR);
    let mut valve: Vec<i64> = Vec::new();
    // What happens, in turn; after a power cut from where it was.
    let mut at = 0;
    while cuts < 500 {
        boot += 1;
        chip.left.set(draw.below(3_000));
        let mut life = |at: &mut usize| -> Faulty<()> {
            let mut bench = Bench::new(chip.clone(), boot)?;
            bench.anchor = Some(now_ms);
            bench.want(&[&published])?;
            bench.fetch(&[&published])?;
            bench.act().inspect_err(|_| valve.append(&mut bench.valve))?;
            loop {
                let done = match *at % 4 {
                    0 => bench.level(2.5),
                    1 => bench.level(0.5),
                    2 => bench.pass(3_600),
                    _ => bench.level(1.2),
                };
                valve.append(&mut bench.valve);
                done?;
                now_ms = bench.now_ms();
                *at += 1;
                for (run, count, _, is_over) in bench.steps() {
                    let known = heard.entry(run).or_default();
                    assert!(count <= known.0 + 1, "{run} {count} after {}", known.0);
                    if count > known.0 {
                        *known = (count, is_over);
                    }
                }
                let last = bench.log.last_step;
                bench.log.release_steps(last)?;
            }
        };
        match life(&mut at) {
            Err(Fault::Flash(Broken::Power)) => cuts += 1,
            other => panic!("{other:?}"),
        }
        rounds = at / 4;
    }
    assert!(rounds > 500, "{rounds}");
    let over = heard.values().filter(|(_, is_over)| *is_over).count();
    assert!(over >= rounds - 1, "{over} of {rounds}");
    assert!(heard.len() <= rounds + 1, "none begins twice: {} of {rounds}", heard.len());
    valve.dedup();
    assert!(valve.chunks(2).all(|pair| pair[0] == 0 && pair.get(1).is_none_or(|to| *to == 100)));
}

impl Bench {
    fn now_ms(&self) -> i64 {
        self.anchor.unwrap_or(0) + self.uptime_ms as i64
    }
}

/// Images with bytes changed, each signed as it is: what the verifier lets through does no more
/// than a workflow may.
#[test]
fn a_signed_image_that_makes_no_sense_harms_nothing() {
    let good = guard("1", Overlap::Skip);
    let (mut draw, mut refused, mut ran) = (Draw(3), 0, 0);
    for _ in 0..250 {
        let mut image = good.clone();
        for _ in 0..=draw.below(3) {
            let at = draw.below(image.len() as u64) as usize;
            image[at] = draw.below(256) as u8;
        }
        image.truncate(image.len() - (draw.below(8) / 7) as usize);
        let published = published(&image, 7);
        let mut bench = bench();
        bench.want(&[&published]).unwrap();
        bench.fetch(&[&published]).unwrap();
        refused += u32::from(bench.stands() == [Stands::Unfit]);
        for level in [0.4, 2.5, 0.5, 1.2, 2.5] {
            let value = Value::float(level).unwrap();
            bench.with(|flows, log, here| flows.sampled(log, here, LEVEL, &value)).unwrap();
            for _ in 0..20 {
                bench.uptime_ms += 600_000;
                bench.with(Flows::tick).unwrap();
                while let Some(asked) = bench.with(Flows::asked).unwrap() {
                    bench.with(|flows, log, here| flows.moved(log, here, &asked, Ok(()))).unwrap();
                }
            }
        }
        ran += u32::from(!bench.steps().is_empty());
        assert!(Bench::new(bench.chip.clone(), 2).is_ok());
    }
    assert!(refused > 50 && ran > 20, "{refused} refused, {ran} ran");
}
