//! Branches, and what is done with each item of a list.

use super::*;

#[test]
fn branches_run_beside_each_other() {
    let mut run = Run::of(
        r#"steps:
  - let: {n: 1}
  - parallel:
      - - publish: a
          payload: "${n * 2}"
        - publish: a2
          payload: x
      - - publish: b
          payload: "${n * 3}"
        - let: {n: n + 10}
  - publish: c
    payload: "${n}"
"#,
    );
    assert_eq!(run.asked(), ["1 publish topic=a payload=2", "2 publish topic=b payload=3"]);
    run.done(1);
    run.done(2);
    assert_eq!(run.asked(), ["3 publish topic=a2 payload=x"]);
    run.done(3);
    assert_eq!(run.asked(), ["4 publish topic=c payload=11"]);
}

#[test]
fn an_error_of_a_branch_goes_to_the_step_around_it() {
    let mut run = Run::of(
        r#"errors: [dry]
steps:
  - try:
      - parallel:
          - - wait: 1h
          - - command: c
              device: d
    catch:
      - {on: busy, do: [{fail: dry}]}
"#,
    );
    run.failed(1, Code::BUSY);
    assert_eq!(run.end(), (Phase::Failed, "dry".to_owned()));
}

#[test]
fn one_item_is_done_after_the_other() {
    let mut run = Run::of(
        r#"steps:
  - each: {in: [h1, h2, h3], as: heater}
    do:
      - command: stop
        device: ${heater}
  - publish: done
    payload: x
"#,
    );
    assert_eq!(run.image().sizes.fibers, 1);
    for (serial, device) in [(1, "h1"), (2, "h2"), (3, "h3")] {
        assert_eq!(run.asked(), [format!("{serial} command device={device} name=stop")]);
        run.done(serial);
    }
    assert_eq!(run.asked(), ["4 publish topic=done payload=x"]);
}

#[test]
fn as_many_items_are_done_at_once_as_may_be() {
    let mut run = Run::of(
        r#"steps:
  - let: {sum: 0}
  - each: {in: [1, 2, 3, 4, 5], as: n, at_once: 2}
    do:
      - let: {twice: n * 2}
      - command: stop
        device: h${n}
      - let: {sum: sum + twice}
"#,
    );
    let mut order = Vec::new();
    while run.phase() == Phase::Running {
        let asked = run.asked();
        assert!(asked.len() <= 2);
        // The last one is done first, so that one branch takes more than the other.
        let last = asked.last().unwrap();
        order.push(last.split(' ').nth(2).unwrap().to_owned());
        run.done(last.split(' ').next().unwrap().parse().unwrap());
    }
    order.sort();
    assert_eq!(order, ["device=h1", "device=h2", "device=h3", "device=h4", "device=h5"]);
    assert_eq!(run.value("sum"), "30");
}

#[test]
fn items_can_have_fields() {
    let run = Run::of(
        r#"steps:
  - each: {in: [{name: a, limit: 1}, {name: b, limit: 2.5}], as: it, at_once: 2}
    do:
      - publish: "${it.name}"
        payload: "${it.limit}"
"#,
    );
    assert_eq!(run.asked(), ["1 publish topic=a payload=1", "2 publish topic=b payload=2.5"]);
}

#[test]
fn branches_within_branches_are_counted() {
    let mut run = Run::of(
        r#"steps:
  - each: {in: [a, b], as: x, at_once: 2}
    do:
      - parallel:
          - - publish: "${x}1"
              payload: x
          - - publish: "${x}2"
              payload: x
  - parallel:
      - - wait: 1s
      - - wait: 2s
"#,
    );
    assert_eq!(run.image().sizes.fibers, 7);
    let mut asked = run.asked();
    asked.sort();
    assert_eq!(asked.len(), 4);
    for serial in 1..=4 {
        run.done(serial);
    }
    assert_eq!(run.waits().len(), 3);
    run.pass(1_000);
    run.pass(1_000);
    assert_eq!(run.phase(), Phase::Succeeded);
}

#[test]
fn registers_to_compute_with_are_not_shared_by_branches() {
    // Each branch asks twice before it computes; whatever comes first must not disturb the other.
    let mut run = Run::of(
        r#"steps:
  - let: {a: 0.0, b: 0.0}
  - parallel:
      - - let: {a: "reading('p', 'x') - reading('p', 'y')"}
      - - let: {b: "reading('q', 'x') - reading('q', 'y')"}
"#,
    );
    run.answer(1, &[Some(Given::Number(10_000_000))]);
    run.answer(2, &[Some(Given::Number(50_000_000))]);
    run.answer(3, &[Some(Given::Number(1_000_000))]);
    run.answer(4, &[Some(Given::Number(2_000_000))]);
    assert_eq!((run.value("a"), run.value("b")), ("9".to_owned(), "48".to_owned()));
    // What comes behind the branches has their registers again.
    let once = run.image().sizes.numbers;
    let twice = Run::of(
        r#"steps:
  - let: {a: 0.0, b: 0.0}
  - parallel:
      - - let: {a: "reading('p', 'x') - reading('p', 'y')"}
      - - let: {b: "reading('q', 'x') - reading('q', 'y')"}
  - parallel:
      - - let: {a: "reading('p', 'x') - reading('p', 'y')"}
      - - let: {b: "reading('q', 'x') - reading('q', 'y')"}
"#,
    );
    assert_eq!(twice.image().sizes.numbers, once);
}

#[test]
fn what_was_asked_for_stays_whatever_another_branch_sets() {
    // An effect is filled in anew for each attempt, under the key of the first one: it has to be
    // the same then, though the variable in it is not.
    let mut run = Run::of(
        r#"steps:
  - let: {n: 1, word: "'a'"}
  - parallel:
      - - publish: first
          payload: "${n} ${word}"
      - - wait: 1s
        - let: {n: 2, word: "'b'"}
        - publish: second
          payload: "${n} ${word}"
"#,
    );
    assert_eq!(run.asked(), ["1 publish topic=first payload=1 a"]);
    run.pass(1_000);
    assert_eq!(
        run.asked(),
        ["1 publish topic=first payload=1 a", "2 publish topic=second payload=2 b"]
    );
}
