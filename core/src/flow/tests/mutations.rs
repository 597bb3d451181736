//! Spoiled images: none brings the verifier down, and what it accepts keeps within its bounds.

use super::super::binding::{Binding, Source};
use super::super::field::Field;
use super::super::image::{Handler, PARKS, Part};
use super::super::op::{Late, Math};
use super::super::schedule::{Calendar, Missed, Schedule};
use super::super::signal;
use super::super::trigger::{Devices, Fact, On, Statistic, Tags, put_tags};
use super::super::vectors::{Random, play};
use super::*;
use crate::codec::Sink;
use crate::condition::{Rule, Test};
use crate::log::events::Severity;

/// Spoiled images of one seed.
const PER_SEED: usize = 200;
/// Seeds of a run of the tests; `HOLDFAST_SEEDS` says another number.
const SEEDS: u64 = 5_000;

/// One of everything: branches with undoing, a loop, a signal, texts, handlers, timers.
pub(super) fn of_everything() -> Draft {
    let mut draft = Draft::new(&ABOUT);
    let [n, one] = std::array::from_fn(|_| draft.number(Type::Int));
    let (level, is_high) = (draft.number(Type::Decimal), draft.number(Type::Bool));
    draft.texts = 2;
    draft.fibers = 3;
    draft.undos = 3;
    draft.counters = 1;
    draft.signals = 1;
    draft.lasts_s = 100_000;
    let part = &mut draft.parts[Part::Signals as usize];
    signal::put_head(part, "level", &signal::Source::Outside).unwrap();
    part.put_uint(1).unwrap();
    let slot = Slot::Number(level);
    let default = Some(super::super::field::Default::Number(5));
    Field { name: "value", slot, default }.encode(part).unwrap();
    draft.field(Part::Inputs, &Field { name: "device", slot: Slot::Text(0), default: None });
    draft.field(Part::Outputs, &Field { name: "n", slot: Slot::Number(n), default: None });
    let retries = [THRICE, Retry { error: Code::BUSY, jitter: 50, ..THRICE }];
    for name in ["fill", "heat", "drain", "cool"] {
        actuate(&mut draft, name, &retries);
    }
    effect(&mut draft, "pay", 0, 700, &[]);
    draft.errors.push("dry".into());
    let word = draft.string("tank-");
    draft.ops = std::vec![
        Op::Set { d: n, value: 100 },
        Op::Set { d: one, value: 1 },
        Op::TextConst { d: 1, index: word },
        Op::TextJoin { d: 1, a: 1, b: 0 },
        Op::Loop { counter: 0 },
        Op::Math { how: Math::Add, d: n, a: n, b: one },
        Op::Again { counter: 0, to: 5, limit: 4 },
        Op::Fork { to: 19, fibers: 1, undos: 1 },
        Op::Fork { to: 22, fibers: 1, undos: 1 },
        Op::Join,
        Op::Guard { to: 30 },
        Op::Listen { signal: 0, within: Some(n) },
        Op::Compare { how: super::super::op::Compare::Lt, d: is_high, a: level, b: level },
        Op::JumpIfNot { a: is_high, to: 15 },
        Op::Fail { error: Code::own(0) },
        Op::Do { effect: 4 },
        Op::Sleep { a: n, late: Late::Skip, tolerance_s: 1 },
        Op::JumpIf { a: is_high, to: 11 },
        Op::Succeed,
        Op::Do { effect: 0 },
        Op::Guard { to: 26 },
        Op::End,
        Op::Do { effect: 1 },
        Op::Guard { to: 28 },
        Op::Sleep { a: n, late: Late::Restart, tolerance_s: 0 },
        Op::End,
        Op::Do { effect: 2 },
        Op::Undone,
        Op::Do { effect: 3 },
        Op::Undone,
        Op::Until { a: n, late: Late::Fire, tolerance_s: 0 },
        Op::Undone,
        Op::Caught { d: n },
        Op::Rethrow,
    ];
    draft.handlers.push(Handler { from: 11, last: 17, to: 32, error: Code::own(0) });
    draft.handlers.push(Handler { from: 11, last: 11, to: 18, error: Code::TIMEOUT });
    draft.label(11, "listening");
    triggers(&mut draft);
    draft
}

/// One of each kind; the field `device` gets a fact, a text, a part of a message.
fn triggers(draft: &mut Draft) {
    let mut tags = std::vec::Vec::new();
    put_tags(&mut tags, &[("room", "3")]).unwrap();
    let of = Devices { pattern: "tank-*", tags: Tags::new(&tags).unwrap() };
    let rule = |test| Rule { test, hold_ns: 10_000_000_000, clear_hold_ns: 0 };
    let above = rule(Test::Above { limit: 3.0, clear: 2.5 });
    let (fact, text) = (|fact| Source::Fact(fact), Source::Text("tank-1"));
    let calendar = Calendar { minutes: 1, hours: 1 << 6, weekdays: 0x3e, ..Calendar::ALWAYS };
    let schedule = |schedule, zone| On::Schedule { schedule, zone, missed: Missed::Once };
    let all = [
        (On::Reading { of, metric: "level", rule: above, max_age_ms: 300_000 }, fact(Fact::Device)),
        (
            On::Rollup { of, metric: "*", width_s: 60, statistic: Statistic::Mean, rule: above },
            fact(Fact::Metric),
        ),
        (On::Twin { of, path: "reported/state" }, fact(Fact::Text)),
        (On::Message { filter: "farm/+/start" }, fact(Fact::Level(2))),
        (On::Message { filter: "#" }, Source::Path("device/id")),
        (On::Alert { rule: "*", of, least: Severity::Warning, ends: false }, fact(Fact::Node)),
        (schedule(Schedule::Every { seconds: 900 }, ""), text),
        (schedule(Schedule::At(calendar), "Europe/Berlin"), text),
    ];
    for (on, source) in all {
        let mut out = std::vec::Vec::new();
        on.encode(&mut out).unwrap();
        Binding { input: 0, source }.encode(&mut out).unwrap();
        draft.triggers.push(out);
    }
}

fn spoil(good: &[u8], random: &mut Random) -> Vec<u8> {
    let mut bytes = good.to_vec();
    for _ in 0..=random.below(4) {
        let at = random.below(bytes.len() as u64) as usize;
        match random.below(8) {
            0 => bytes[at] = random.bits() as u8,
            1 => bytes[at] = bytes[at].wrapping_add(1),
            2 => bytes[at] = bytes[at].wrapping_sub(1),
            3 => bytes[at] = 0,
            4 => bytes.truncate(at.max(1)),
            // One operation in the place of another is more often an image than other bytes are.
            _ => {
                let ops = (bytes.len().saturating_sub(36) / 8).min(34);
                let mut any = || 36 + random.below(ops as u64) as usize * 8;
                let (from, to) = (any(), any());
                if from.max(to) + 8 <= bytes.len() {
                    bytes.copy_within(from..from + 8, to);
                }
            }
        }
    }
    bytes
}

/// Runs an image with whatever comes; it must not fail by its own bounds.
fn run(bytes: &[u8], image: &Image<'_>, random: &mut Random) -> u64 {
    let says_so = (0..image.counts.ops)
        .any(|pc| matches!(image.op(pc), Some(Op::Fail { error: Code::EXHAUSTED })));
    let mut memory = std::vec![0; bytes_of(image.sizes)];
    let mut steps = 0;
    play(image, &mut memory, random, |memory| {
        view::check(image, memory).unwrap_or_else(|reject| panic!("{reject} in {bytes:?}"));
        let sight = Memory::new(memory, image.sizes).unwrap();
        let exhausted = sight.fibers().any(|(_, fiber)| fiber.error == Code::EXHAUSTED);
        let exhausted = exhausted || sight.cause() == Code::EXHAUSTED;
        assert!(!exhausted || says_so, "over its bounds: {bytes:?}");
        steps += 1;
    });
    steps
}

#[test]
fn no_spoiled_image_crashes_and_what_is_accepted_keeps_its_bounds() {
    let seeds = std::env::var("HOLDFAST_SEEDS").ok().and_then(|text| text.parse().ok());
    let mut park = of_everything();
    park.flags = PARKS;
    let good = [of_everything(), park].map(|draft| draft.encode().unwrap());
    let mut places = std::vec![Place::NOWHERE; 4_096];
    let (mut accepted, mut steps) = (0, 0);
    for seed in 0..seeds.unwrap_or(SEEDS) {
        let mut random = Random(seed);
        for _ in 0..PER_SEED {
            let bytes = spoil(&good[random.below(2) as usize], &mut random);
            if let Ok(image) = verify(&bytes, &Tier::NODE, &mut places) {
                accepted += 1;
                steps += run(&bytes, &image, &mut random);
            }
        }
    }
    let all = seeds.unwrap_or(SEEDS) * PER_SEED as u64;
    std::println!("{all} images, {accepted} accepted, {steps} steps");
    assert!(accepted > all / 100, "{accepted} of {all}: too few to tell anything");
}

/// A run from a disk that is no run of its image is noticed, whatever byte is wrong, or it is one.
#[test]
fn no_spoiled_memory_crashes() {
    let bytes = of_everything().encode().unwrap();
    let image = Image::parse(&bytes).unwrap();
    let mut memory = std::vec![0; bytes_of(image.sizes)];
    let moment = Moment { now_ms: 1_000, entropy: 1 };
    start(&image, &mut memory, &[Some(Given::Text("7"))], moment).unwrap();
    let mut random = Random(1);
    for _ in 0..20_000 {
        let mut spoiled = memory.clone();
        for _ in 0..=random.below(3) {
            let at = random.below(spoiled.len() as u64) as usize;
            spoiled[at] = random.bits() as u8;
        }
        if view::check(&image, &spoiled).is_ok() {
            for now_ms in [1_000, 5_000, i64::MAX] {
                let _ = step(&image, &mut spoiled, &Input::Tick, Moment { now_ms, entropy: 0 });
            }
        }
    }
}
