//! The guards by a clock that the test sets.

#![allow(clippy::unwrap_used, reason = "a failed step of a test is its failure")]

use super::*;
use proptest::prelude::*;

const LIMITS: Limits = Limits { at_once: 8, rate: 50 };

/// Asks a target and has its place, or is refused.
fn ask(gate: &mut Gate<u32>, target: &str, now_ms: u64) -> Result<Pass, Refused> {
    gate.enter(0, (target, 5), now_ms)?;
    gate.next(now_ms).expect("there is a place").1
}

/// Asks a target that fails, so often.
fn fail(gate: &mut Gate<u32>, times: u32, now_ms: u64) -> bool {
    let mut opened = false;
    for _ in 0..times {
        let place = ask(gate, "a", now_ms).unwrap();
        opened = gate.leave(&place, Outcome::Failed, now_ms);
    }
    opened
}

#[test]
fn a_circuit_opens_after_five_failures_in_a_row_and_not_before() {
    let mut gate = Gate::new(LIMITS);
    assert!(!fail(&mut gate, 4, 0));
    let place = ask(&mut gate, "a", 0).unwrap();
    assert!(!gate.leave(&place, Outcome::Answered, 0));
    assert!(!fail(&mut gate, 4, 0));
    assert!(fail(&mut gate, 1, 10));
    assert_eq!(ask(&mut gate, "a", 10), Err(Refused::Open(30_000)));
    assert_eq!(ask(&mut gate, "a", 30_009), Err(Refused::Open(1)));
    // Another target has nothing to do with it.
    assert!(ask(&mut gate, "b", 10).is_ok());
    assert_eq!(gate.counts(), (1, 0, 1));
}

#[test]
fn one_probe_closes_the_circuit_or_opens_it_for_twice_as_long() {
    let mut gate = Gate::new(LIMITS);
    assert!(fail(&mut gate, 5, 0));
    let (mut now_ms, mut waits) = (0, Vec::new());
    for _ in 0..6 {
        let Err(Refused::Open(for_ms)) = ask(&mut gate, "a", now_ms) else { panic!("it is open") };
        waits.push(for_ms / 1_000);
        now_ms += for_ms;
        let probe = ask(&mut gate, "a", now_ms).unwrap();
        assert_eq!(ask(&mut gate, "a", now_ms), Err(Refused::Probing));
        assert!(gate.leave(&probe, Outcome::Failed, now_ms));
    }
    assert_eq!(waits, [30, 60, 120, 240, 300, 300]);
    now_ms += 300_000;
    // A probe that was given up leaves its turn to the next.
    let probe = ask(&mut gate, "a", now_ms).unwrap();
    assert!(!gate.leave(&probe, Outcome::Unknown, now_ms));
    let probe = ask(&mut gate, "a", now_ms).unwrap();
    gate.leave(&probe, Outcome::Answered, now_ms);
    assert!(!fail(&mut gate, 4, now_ms) && fail(&mut gate, 1, now_ms));
    assert_eq!(ask(&mut gate, "a", now_ms), Err(Refused::Open(30_000)));
}

#[test]
fn what_began_before_a_circuit_opened_does_not_close_it() {
    let mut gate = Gate::new(LIMITS);
    let old = ask(&mut gate, "a", 0).unwrap();
    assert!(fail(&mut gate, 5, 0));
    gate.leave(&old, Outcome::Answered, 1);
    assert!(matches!(ask(&mut gate, "a", 1), Err(Refused::Open(_))));
    // And who waits for a place meanwhile is refused as well.
    let mut gate = Gate::new(Limits { at_once: 5, rate: 50 });
    let all: Vec<_> = (0..5).map(|_| ask(&mut gate, "a", 0).unwrap()).collect();
    gate.enter(9, ("a", 5), 0).unwrap();
    assert_eq!(gate.next(0), None);
    for place in &all {
        gate.leave(place, Outcome::Failed, 1);
    }
    assert_eq!(gate.next(1), Some((9, Err(Refused::Open(30_000)))));
}

#[test]
fn the_rate_allows_so_many_at_once_and_then_gives_turns() {
    let mut gate = Gate::new(LIMITS);
    let answered = |gate: &mut Gate<u32>, now_ms| {
        ask(gate, "a", now_ms).map(|place| gate.leave(&place, Outcome::Answered, now_ms))
    };
    for _ in 0..50 {
        answered(&mut gate, 0).unwrap();
    }
    // Whoever comes then has a turn in the order in which they came.
    assert_eq!((gate.enter(1, ("a", 9), 0), gate.enter(2, ("a", 9), 0)), (Ok(20), Ok(40)));
    assert_eq!(gate.next(19), None);
    assert_eq!(gate.next(20).map(|(who, _)| who), Some(1));
    assert_eq!(gate.next(39), None);
    assert_eq!(gate.next(40).map(|(who, _)| who), Some(2));
    // Turns are given for a minute ahead.
    let ahead = (0..4_000).filter(|_| gate.enter(3, ("a", 5), 40).is_ok()).count();
    assert_eq!(ahead, 50 * 60);
    assert_eq!(gate.enter(3, ("a", 5), 40), Err(Refused::Rate));
    // An endless pause allows no more at once than a second does.
    let mut gate = Gate::new(LIMITS);
    ask(&mut gate, "a", 0).unwrap();
    let at_once = (0..100).filter(|_| gate.enter(0, ("a", 5), u64::MAX) == Ok(0)).count();
    assert_eq!(at_once, 50);
}

#[test]
fn a_slow_target_takes_its_places_and_no_others() {
    let mut gate = Gate::new(LIMITS);
    for who in 0..30 {
        gate.enter(who, ("slow", 9), 0).unwrap();
    }
    gate.enter(99, ("other", 0), 0).unwrap();
    let begun: Vec<_> = std::iter::from_fn(|| gate.next(0)).map(|(who, _)| who).collect();
    assert_eq!(begun, [0, 1, 2, 3, 4, 5, 6, 7, 99]);
    assert_eq!(gate.counts(), (9, 22, 0));
}

#[test]
fn the_greater_priority_goes_first_and_waiting_raises_it() {
    let mut gate = Gate::new(Limits { at_once: 1, rate: 50 });
    let first = ask(&mut gate, "a", 0).unwrap();
    gate.enter(1, ("a", 1), 0).unwrap();
    gate.enter(2, ("a", 9), 5).unwrap();
    gate.enter(3, ("a", 9), 6).unwrap();
    gate.leave(&first, Outcome::Answered, 7);
    let (who, place) = gate.next(7).unwrap();
    assert_eq!(who, 2);
    // Whoever came eighty seconds ago is as urgent as the most urgent now, and came first.
    gate.enter(4, ("a", 9), 80_006).unwrap();
    gate.leave(&place.unwrap(), Outcome::Answered, 80_006);
    let (who, place) = gate.next(80_006).unwrap();
    assert_eq!(who, 3);
    gate.leave(&place.unwrap(), Outcome::Answered, 80_006);
    assert_eq!(gate.next(80_006).unwrap().0, 1);
}

#[test]
fn so_many_targets_are_known_and_those_in_use_stay() {
    let mut gate = Gate::new(LIMITS);
    let used = ask(&mut gate, "used", 0).unwrap();
    for number in 0..TARGETS_MAX as u64 + 5 {
        let place = ask(&mut gate, &format!("t{number}"), number + 1).unwrap();
        gate.leave(&place, Outcome::Answered, number + 1);
    }
    assert_eq!(gate.targets.len(), TARGETS_MAX);
    assert!(gate.targets.contains_key("used") && !gate.targets.contains_key("t5"));
    assert!(gate.targets.contains_key("t6"));
    assert!(!gate.leave(&used, Outcome::Answered, 9_999));
    assert_eq!(gate.counts(), (0, 0, 0));
}

/// What happens to a gate.
#[derive(Clone, Debug)]
enum Do {
    Ask(u8, u8),
    End(usize, Outcome),
    Pass(u64),
}

fn any_do() -> impl Strategy<Value = Do> {
    let outcome = prop_oneof![
        Just(Outcome::Answered),
        Just(Outcome::Failed),
        Just(Outcome::Failed),
        Just(Outcome::Unknown)
    ];
    prop_oneof![
        4 => (0..3u8, 0..10u8).prop_map(|(target, priority)| Do::Ask(target, priority)),
        3 => (any::<usize>(), outcome).prop_map(|(place, outcome)| Do::End(place, outcome)),
        1 => (0..40_000u64).prop_map(Do::Pass),
    ]
}

proptest! {
    #[test]
    fn no_limit_is_passed_and_nobody_is_forgotten(
        all in prop::collection::vec(any_do(), 0..400),
    ) {
        let limits = Limits { at_once: 3, rate: 5 };
        let mut gate = Gate::new(limits);
        let (mut now_ms, mut waiting, mut places) = (1, 0usize, Vec::<Pass>::new());
        let mut begun: HashMap<String, Vec<u64>> = HashMap::new();
        for one in all {
            match one {
                Do::Ask(target, priority) => {
                    let name = format!("t{target}");
                    if let Ok(wait_ms) = gate.enter(0, (&name, priority), now_ms) {
                        waiting += 1;
                        begun.entry(name).or_default().push(now_ms + wait_ms);
                    }
                }
                Do::End(place, outcome) if !places.is_empty() => {
                    let place = places.remove(place % places.len());
                    gate.leave(&place, outcome, now_ms);
                }
                Do::End(..) => {}
                Do::Pass(ms) => now_ms += ms,
            }
            while let Some((_, outcome)) = gate.next(now_ms) {
                waiting -= 1;
                places.extend(outcome.ok());
            }
            prop_assert_eq!((gate.counts().0, gate.counts().1), (places.len(), waiting));
            for target in ["t0", "t1", "t2"] {
                let of = places.iter().filter(|pass| pass.target == target);
                prop_assert!(of.clone().count() <= limits.at_once);
                prop_assert!(of.filter(|place| place.is_probe).count() <= 1);
            }
        }
        // In any second no more than what had been saved up and what comes in it.
        for times in begun.values() {
            for (first, from) in times.iter().enumerate() {
                let within = times[first..].iter().take_while(|at| **at < from + 1_000).count();
                prop_assert!(within <= 2 * limits.rate as usize);
            }
        }
        // Once all is answered and time passes, whoever waits has a place or an answer.
        for place in places.drain(..) {
            gate.leave(&place, Outcome::Answered, now_ms);
        }
        now_ms += OPEN_MAX_MS;
        for _ in 0..1_000 {
            while let Some((_, outcome)) = gate.next(now_ms) {
                places.extend(outcome.ok());
            }
            for place in places.drain(..) {
                gate.leave(&place, Outcome::Answered, now_ms);
            }
        }
        prop_assert_eq!((gate.counts().0, gate.counts().1), (0, 0));
    }
}
