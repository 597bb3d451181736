//! The laws of a condition, by example and by property; a naive model recomputes it from history.

use super::*;
use crate::codec::Reader;
use proptest::prelude::*;
use std::string::String;
use std::vec::Vec;

const SECOND: i64 = 1_000_000_000;

fn at(seconds: i64) -> Timestamp {
    Timestamp(seconds * SECOND)
}

fn above(limit: f64, clear: f64, hold_s: i64, clear_hold_s: i64) -> Rule {
    let test = Test::Above { limit, clear };
    Rule { test, hold_ns: hold_s * SECOND, clear_hold_ns: clear_hold_s * SECOND }
}

fn silent(seconds: i64) -> Rule {
    Rule { test: Test::Silent { for_ns: seconds * SECOND }, hold_ns: 0, clear_hold_ns: 0 }
}

/// A reading that is received when it is measured.
fn now(seconds: i64, value: f64) -> Sample {
    Sample { time: at(seconds), received: at(seconds), value: Some(value) }
}

const fn raised(since: Timestamp) -> Option<Change> {
    Some(Change::Raised { since })
}

const fn cleared(at: Timestamp) -> Option<Change> {
    Some(Change::Cleared { at })
}

#[test]
fn between_the_levels_nothing_changes() {
    let rule = above(3.0, 2.0, 0, 0);
    let mut condition = Condition::default();
    assert_eq!(condition.take(&rule, now(1, 3.0)), None, "at the limit is not above it");
    assert_eq!(condition.take(&rule, now(2, 3.1)), raised(at(2)));
    assert_eq!(condition.take(&rule, now(3, 2.1)), None);
    assert_eq!(condition.take(&rule, now(4, 3.5)), None);
    assert_eq!(condition.take(&rule, now(5, 2.0)), cleared(at(5)));
    assert_eq!(condition.take(&rule, now(6, 2.9)), None);
}

#[test]
fn below_and_equals_are_what_they_say() {
    let below = Rule { test: Test::Below { limit: 1.0, clear: 1.5 }, ..above(0.0, 0.0, 0, 0) };
    let mut condition = Condition::default();
    let values = [1.0, 0.9, 1.4, 1.5, 0.5];
    let changes: Vec<_> =
        (0..).zip(values).map(|(s, v)| condition.take(&below, now(s, v))).collect();
    assert_eq!(changes, [None, raised(at(1)), None, cleared(at(3)), raised(at(4))]);
    let on = Rule { test: Test::Equals(1.0), ..below };
    let mut condition = Condition::default();
    assert_eq!(condition.take(&on, now(1, 0.0)), None);
    assert_eq!(condition.take(&on, now(2, 1.0)), raised(at(2)));
    assert_eq!(condition.take(&on, Sample { value: None, ..now(3, 0.0) }), None, "a text");
    assert_eq!(condition.take(&on, now(4, 0.0)), cleared(at(4)));
}

#[test]
fn a_hold_ends_by_reading_time_or_by_the_clock() {
    let rule = above(3.0, 3.0, 60, 30);
    let mut by_readings = Condition::default();
    // A backlog: measured over two minutes, received at once.
    let late = |s, value| Sample { received: at(1000), ..now(s, value) };
    assert_eq!(by_readings.take(&rule, late(1, 4.0)), None);
    assert_eq!(by_readings.take(&rule, late(31, 2.0)), None);
    assert_eq!(by_readings.take(&rule, late(40, 4.0)), None);
    assert_eq!(by_readings.take(&rule, late(99, 4.0)), None);
    assert_eq!(by_readings.take(&rule, late(100, 4.0)), raised(at(40)));
    let mut by_clock = Condition::default();
    assert_eq!(by_clock.take(&rule, now(1, 4.0)), None);
    assert_eq!(by_clock.next_deadline(&rule), Some(at(61)));
    assert_eq!(by_clock.tick(&rule, at(60)), None);
    assert_eq!(by_clock.tick(&rule, at(61)), raised(at(1)));
    assert_eq!(by_clock.next_deadline(&rule), None);
    assert_eq!(by_clock.take(&rule, now(70, 1.0)), None);
    assert_eq!(by_clock.take(&rule, now(80, 4.0)), None, "not over for long enough");
    assert_eq!(by_clock.take(&rule, now(90, 1.0)), None);
    assert_eq!(by_clock.next_deadline(&rule), Some(at(120)));
    assert_eq!(by_clock.tick(&rule, at(120)), cleared(at(90)));
}

#[test]
fn silence_is_counted_by_the_receiver_and_ends_with_any_reading() {
    let rule = silent(60);
    let mut condition = Condition::default();
    assert_eq!(condition.next_deadline(&rule), None, "what never spoke is not silent");
    let old = Sample { time: at(-1_000_000), received: at(10), value: None };
    assert_eq!(condition.take(&rule, old), None);
    assert_eq!(condition.tick(&rule, at(69)), None);
    assert_eq!(condition.tick(&rule, at(70)), raised(at(10)));
    assert_eq!(condition.tick(&rule, at(700)), None);
    assert_eq!(condition.take(&rule, Sample { received: at(800), ..old }), cleared(at(800)));
    assert_eq!(condition.next_deadline(&rule), Some(at(860)));
}

#[test]
fn stragglers_do_not_flap_it_and_a_clock_set_back_is_believed_in_the_end() {
    let rule = above(3.0, 3.0, 0, 0);
    let mut condition = Condition::default();
    assert_eq!(condition.take(&rule, now(1_000, 4.0)), raised(at(1_000)));
    let late = |s, received| Sample { time: at(s), received: at(received), value: Some(1.0) };
    assert_eq!(condition.take(&rule, late(900, 1_001)), None);
    assert_eq!(condition.take(&rule, now(1_002, 4.0)), None);
    // From here on the device's clock is 500 s behind where it was.
    for received in [1_010, 1_100, 1_300] {
        assert_eq!(condition.take(&rule, late(received - 500, received)), None);
    }
    assert_eq!(condition.take(&rule, late(810, 1_310)), cleared(at(810)));
}

// A gateway woke up in 2036 and had its clock set right. What it had received without a device
// time was filed ten years ahead, and every later reading would have been late for ten years.
#[test]
fn the_receivers_clock_may_be_set_back_by_years() {
    let year = 31_556_952;
    let rule = above(3.0, 3.0, 60, 0);
    let mut condition = Condition::default();
    assert_eq!(condition.take(&rule, now(10 * year, 4.0)), None);
    assert_eq!(condition.take(&rule, now(100, 4.0)), None);
    assert_eq!(condition.next_deadline(&rule), Some(at(160)));
    assert_eq!(condition.tick(&rule, at(160)), raised(at(100)));
    let rule = silent(60);
    let mut condition = Condition::default();
    condition.take(&rule, now(10 * year, 4.0));
    assert_eq!(condition.tick(&rule, at(100)), None);
    assert_eq!(condition.tick(&rule, at(160)), raised(at(100)));
}

#[test]
fn a_clock_that_is_set_forward_makes_nobody_silent_when_it_is_told() {
    let rule = silent(60);
    let mut condition = Condition::default();
    condition.take(&rule, now(100, 1.0));
    condition.clock_set(86_400 * SECOND, at(86_400 + 101));
    assert_eq!(condition.tick(&rule, at(86_400 + 159)), None);
    assert_eq!(condition.tick(&rule, at(86_400 + 160)), raised(at(86_400 + 100)));
}

#[test]
fn a_clock_that_is_set_back_leaves_no_reading_in_the_way_when_it_is_told() {
    let rule = above(3.0, 3.0, 0, 0);
    let mut condition = Condition::default();
    condition.take(&rule, now(200, 1.0));
    condition.clock_set(-120 * SECOND, at(80));
    assert_eq!(condition.take(&rule, now(81, 4.0)), raised(at(81)));
}

fn hex(condition: &Condition) -> String {
    let mut out = Vec::new();
    condition.encode(&mut out).unwrap();
    out.iter().map(|b| std::format!("{b:02x}")).collect()
}

/// The vectors of `docs/formats/condition.md`.
#[test]
fn golden_vectors() {
    let rule = above(3.0, 3.0, 60, 30);
    let mut condition = Condition::default();
    assert_eq!(hex(&condition), "0100");
    condition.take(&rule, now(1, 4.0));
    assert_eq!(hex(&condition), "010d80a8d6b90780a8d6b90780a8d6b90780a8d6b907");
    condition.tick(&rule, at(61));
    assert_eq!(hex(&condition), "010e80a8d6b90780a8d6b90780a8d6b907");
    condition.take(&rule, now(62, 1.0));
    let clearing = "010f80b0e7f7cd0380b0e7f7cd0380a8d6b90780b0e7f7cd0380b0e7f7cd03";
    assert_eq!(hex(&condition), clearing);
    condition.take(&rule, Sample { time: at(61), ..now(62, 1.0) });
    assert_eq!(
        hex(&condition),
        clearing.replacen("010f", "011f", 1).replacen(
            "80b0e7f7cd0380a8",
            "80b0e7f7cd0380b0e7f7cd0380a8",
            1
        )
    );
}

#[derive(Clone, Copy, Debug)]
enum Input {
    Take(Sample),
    Tick(Timestamp),
    Set(i64),
}

fn inputs() -> impl Strategy<Value = Vec<Input>> {
    let time = (-500i64..500, 0i64..400, prop::option::weighted(0.9, 0u8..6));
    let take = time.prop_map(|(age, received, value)| {
        let received = at(received);
        let time = received.saturating_add(-age * SECOND);
        Input::Take(Sample { time, received, value: value.map(f64::from) })
    });
    let tick = (0i64..600).prop_map(|s| Input::Tick(at(s)));
    let set = (-100i64..100).prop_map(|s| Input::Set(s * SECOND));
    prop::collection::vec(prop_oneof![6 => take, 3 => tick, 1 => set], 0..60)
}

fn rules() -> impl Strategy<Value = Rule> {
    let tests = prop_oneof![
        (0u8..6, 0u8..6).prop_map(|(a, b)| Test::Above {
            limit: f64::from(a.max(b)),
            clear: f64::from(a.min(b))
        }),
        (0u8..6, 0u8..6).prop_map(|(a, b)| Test::Below {
            limit: f64::from(a.min(b)),
            clear: f64::from(a.max(b))
        }),
        (0u8..6).prop_map(|v| Test::Equals(f64::from(v))),
        (1i64..100).prop_map(|s| Test::Silent { for_ns: s * SECOND }),
    ];
    let hold = || prop_oneof![Just(0), (1i64..100).prop_map(|s| s * SECOND)];
    (tests, hold(), hold()).prop_map(|(test, hold_ns, clear_hold_ns)| {
        let is_silence = matches!(test, Test::Silent { .. });
        let held = |ns| if is_silence { 0 } else { ns };
        Rule { test, hold_ns: held(hold_ns), clear_hold_ns: held(clear_hold_ns) }
    })
}

fn thresholds() -> impl Strategy<Value = Rule> {
    rules().prop_filter("a threshold", |rule| !matches!(rule.test, Test::Silent { .. }))
}

fn feed(condition: &mut Condition, rule: &Rule, input: Input) -> Option<Change> {
    match input {
        Input::Take(sample) => condition.take(rule, sample),
        Input::Tick(now) => condition.tick(rule, now),
        Input::Set(by_ns) => {
            condition.clock_set(by_ns, at(200));
            None
        }
    }
}

fn decoded(condition: &Condition) -> Condition {
    let mut out = heapless::Vec::<u8, ENCODED_MAX>::new();
    condition.encode(&mut out).unwrap();
    let mut reader = Reader::new(&out);
    let read = Condition::decode(&mut reader).unwrap();
    reader.finish().unwrap();
    read
}

/// A condition over readings in order, from its whole history: each judged anew, runs measured
/// from their first reading.
fn naive(rule: &Rule, samples: &[Sample]) -> Vec<Option<Change>> {
    let (mut raised, mut run, mut out) = (false, None, Vec::new());
    for sample in samples {
        let is_so = is_so(&rule.test, sample.value.unwrap(), raised);
        let needed = if raised { rule.clear_hold_ns } else { rule.hold_ns };
        if is_so == raised {
            run = None;
            out.push(None);
            continue;
        }
        let began: Timestamp = *run.get_or_insert(sample.time);
        if sample.time.saturating_since(began) < needed {
            out.push(None);
            continue;
        }
        raised = is_so;
        run = None;
        let change =
            if raised { Change::Raised { since: began } } else { Change::Cleared { at: began } };
        out.push(Some(change));
    }
    out
}

proptest! {
    #[test]
    fn raised_and_cleared_take_turns(rule in rules(), inputs in inputs()) {
        let (mut condition, mut raised) = (Condition::default(), false);
        for input in inputs {
            match feed(&mut condition, &rule, input) {
                Some(Change::Raised { .. }) => {
                    prop_assert!(!raised);
                    raised = true;
                }
                Some(Change::Cleared { .. }) => {
                    prop_assert!(raised);
                    raised = false;
                }
                None => {}
            }
            prop_assert_eq!(condition.is_raised().is_some(), raised);
        }
    }

    #[test]
    fn a_restart_at_any_moment_changes_nothing(rule in rules(), inputs in inputs()) {
        let (mut running, mut restarted) = (Condition::default(), Condition::default());
        for input in inputs {
            let change = feed(&mut running, &rule, input);
            prop_assert_eq!(change, feed(&mut restarted, &rule, input));
            restarted = decoded(&restarted);
            prop_assert_eq!(running, restarted);
        }
    }

    #[test]
    fn in_order_it_is_what_the_naive_model_says(
        rule in thresholds(),
        steps in prop::collection::vec((0i64..60, 0u8..6), 0..60),
    ) {
        let mut seconds = 0;
        let samples: Vec<_> = steps.iter().map(|(step, value)| {
            seconds += step;
            now(seconds, f64::from(*value))
        }).collect();
        let mut condition = Condition::default();
        let changes: Vec<_> = samples.iter().map(|s| condition.take(&rule, *s)).collect();
        prop_assert_eq!(changes, naive(&rule, &samples));
    }

    #[test]
    fn nothing_is_raised_before_its_hold(rule in rules(), inputs in inputs()) {
        let mut condition = Condition::default();
        for input in inputs {
            let deadline = condition.next_deadline(&rule);
            let before = condition.phase;
            let change = feed(&mut condition, &rule, input);
            match (before, input, change) {
                (Phase::Pending { since, .. }, Input::Take(sample), Some(_)) => {
                    prop_assert!(sample.time.saturating_since(since) >= rule.hold_ns);
                }
                // A step back of the clock may move the deadline, never to an earlier wait.
                (_, Input::Tick(now), Some(_)) => prop_assert!(deadline.unwrap() <= now),
                (Phase::Normal, Input::Take(_), Some(_)) => prop_assert_eq!(rule.hold_ns, 0),
                _ => {}
            }
        }
    }

    #[test]
    fn after_its_deadline_a_tick_leaves_none(rule in rules(), inputs in inputs()) {
        let mut condition = Condition::default();
        for input in inputs {
            feed(&mut condition, &rule, input);
        }
        if let Some(deadline) = condition.next_deadline(&rule) {
            prop_assert!(condition.tick(&rule, deadline).is_some());
        }
    }

    #[test]
    fn any_bytes_are_read_without_panic_and_written_the_same(
        bytes in prop::collection::vec(any::<u8>(), 0..64),
    ) {
        let mut reader = Reader::new(&bytes);
        if let Ok(condition) = Condition::decode(&mut reader) {
            let mut out = Vec::new();
            condition.encode(&mut out).unwrap();
            prop_assert_eq!(&out[..], &bytes[..bytes.len() - reader.rest().len()]);
        }
    }
}
