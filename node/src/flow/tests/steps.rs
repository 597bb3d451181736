//! Steps that decide, repeat, wait, fail and end.

use super::*;

#[test]
fn one_case_of_a_choice_is_taken() {
    let steps = r#"input: {n: int}
steps:
  - choose:
      - {if: n < 5, do: [{let: {x: 1}}]}
      - {if: n < 9, do: [{let: {x: 2}}]}
      - {else: [{let: {x: 3}}]}
  - let: {y: x + 1}
"#;
    for (n, wanted) in [(1, "2"), (7, "3"), (9, "4")] {
        let run = Run::with(steps, &[Some(Given::Number(n))]);
        assert_eq!((run.phase(), run.value("y")), (Phase::Succeeded, wanted.to_owned()));
    }
}

#[test]
fn a_loop_ends_at_its_limit_or_with_its_condition() {
    let steps = |limit, condition| {
        format!(
            r#"steps:
  - let: {{n: 0}}
  - repeat: {{at_most: {limit}, while: {condition}}}
    do:
      - let: {{n: n + 1}}
"#
        )
    };
    assert_eq!(Run::of(&steps(10, "n < 3")).value("n"), "3");
    assert_eq!(Run::of(&steps(10, "n < 30")).value("n"), "10");
    assert_eq!(Run::of(&steps(1, "n < 30")).value("n"), "1");
    assert_eq!(Run::of(&steps(5, "n > 0")).value("n"), "0");
    let nested = r#"steps:
  - let: {n: 0}
  - repeat: {at_most: 3}
    do:
      - repeat: {at_most: 4}
        do:
          - let: {n: n + 1}
"#;
    assert_eq!(Run::of(nested).value("n"), "12");
}

#[test]
fn it_waits_for_a_length_and_a_point_of_time() {
    let mut run = Run::of(
        r#"steps:
  - wait: 10m
  - let: {pause: "duration('1s') * 2"}
  - wait: pause * 2
  - wait_until: "1970-01-01T01:00:00Z"
  - wait_until: now() + pause
    late: {if_over: 1m, then: skip}
    catch:
      - {on: late, do: [{let: {late: true}}]}
"#,
    );
    assert_eq!(view::next_deadline(run.memory()), BEGIN + 600_000);
    run.pass(600_000);
    assert_eq!(view::next_deadline(run.memory()), BEGIN + 604_000);
    run.pass(4_000);
    assert_eq!(view::next_deadline(run.memory()), 3_600_000);
    run.now_ms = 3_600_000;
    run.pass(0);
    assert_eq!(view::next_deadline(run.memory()), 3_602_000);
    run.pass(70_000);
    assert_eq!((run.phase(), run.value("late")), (Phase::Succeeded, "true".into()));
}

#[test]
fn it_waits_for_a_signal_and_takes_what_it_brings() {
    let steps = r#"signals: {acknowledged: {by: text, note: {type: text, default: none}}}
steps:
  - wait_for: acknowledged
    within: 15m
    catch:
      - {on: timeout, do: [{fail: refused}]}
  - publish: done
    payload: {by: "${acknowledged.by}", note: "${acknowledged.note}"}
"#;
    let mut run = Run::of(steps);
    assert_eq!(run.waits(), [Wait::Signal(0)]);
    run.signal("acknowledged", &[Some(Given::Text("o\"k"))]);
    assert_eq!(run.asked(), [r#"1 publish topic=done payload={"by":"o\"k","note":"none"}"#]);
    let mut run = Run::of(steps);
    run.pass(900_000);
    assert_eq!(run.end(), (Phase::Failed, "refused".to_owned()));
}

#[test]
fn it_waits_for_a_condition() {
    let mut run = Run::of(
        r#"input: {device: {type: text, default: ps-1}}
steps:
  - wait_for: {device: "${device}", metric: level, above: 3.0, clear: 2.5, hold: 10s}
  - wait_for: {device: ps-2, metric: level, silent: 15m}
"#,
    );
    let image = run.image();
    let first = signal::signal(&image, 0).unwrap();
    assert_eq!(first.name, "level above 3.0");
    let source = format!("{:?}", first.source);
    assert!(source.contains("Register(0)") && source.contains("10000000000"), "{source}");
    assert!(source.contains("Above { limit: 3.0, clear: 2.5 }"), "{source}");
    run.signal("level above 3.0", &[]);
    assert_eq!(run.waits(), [Wait::Signal(1)]);
    run.signal("level silent 15m", &[]);
    assert_eq!(run.phase(), Phase::Succeeded);
}

#[test]
fn for_ever_is_for_ever() {
    let mut run = Run::of(
        r#"lasts: forever
steps:
  - let: {n: 0}
  - forever:
      - wait: 1s
      - let: {n: n + 1}
"#,
    );
    for _ in 0..5 {
        run.pass(1_000);
    }
    assert_eq!((run.phase(), run.value("n")), (Phase::Running, "5".into()));
}

#[test]
fn errors_go_to_the_innermost_that_takes_them() {
    let steps = r#"errors: [dry]
input: {n: int}
steps:
  - try:
      - try:
          - choose:
              - {if: n == 1, do: [{fail: dry}]}
              - {if: n == 2, do: [{fail: busy}]}
              - {else: [{fail: late}]}
        catch:
          - {on: dry, do: [{let: {x: "'inner'"}}]}
    catch:
      - {on: [busy, refused], do: [{let: {x: "'outer'"}}]}
      - {on: any, do: [{let: {x: "error_is('late') ? 'late' : 'other'"}}]}
"#;
    for (n, wanted) in [(1, "inner"), (2, "outer"), (3, "late")] {
        let run = Run::with(steps, &[Some(Given::Number(n))]);
        assert_eq!((run.phase(), run.value("x")), (Phase::Succeeded, wanted.to_owned()), "{n}");
    }
}

#[test]
fn which_error_it_was_is_known_to_the_end_of_the_catch() {
    let mut run = Run::of(
        r#"steps:
  - command: open
    device: v
    catch:
      - on: any
        do:
          - notify: ops
            text: failed
            retry: {attempts: 2, jitter: 0%}
          - let: {late: error_is('timeout')}
"#,
    );
    run.failed(1, Code::TIMEOUT);
    assert_eq!(run.asked(), ["2 notify text=failed target=ops"]);
    run.failed(2, Code::BUSY);
    run.pass(1_000);
    run.done(2);
    assert_eq!((run.phase(), run.value("late")), (Phase::Succeeded, "true".into()));
}

#[test]
fn a_run_fails_with_what_nobody_catches_or_is_parked() {
    let run = Run::of(
        r#"errors: [dry]
steps:
  - fail: dry
"#,
    );
    assert_eq!(run.end(), (Phase::Failed, "dry".to_owned()));
    let run = Run::of(
        r#"errors: [dry]
unhandled: park
steps:
  - fail: dry
"#,
    );
    assert_eq!(run.waits(), [Wait::Decision(Code::own(0))]);
}

#[test]
fn a_run_leaves_its_outputs_at_each_end() {
    let steps = r#"input: {n: int}
output: {closed: n + 1, name: who}
steps:
  - let: {who: "'a'"}
  - choose:
      - {if: n > 5, do: [{let: {who: "'b'"}}, {succeed: true}]}
  - let: {n: n * 2}
"#;
    let outputs = |n| {
        let run = Run::with(steps, &[Some(Given::Number(n))]);
        assert_eq!(run.phase(), Phase::Succeeded);
        let image = run.image();
        let all = image.outputs().map(|field| match field.slot {
            Slot::Number(reg) => format!("{}={}", field.name, run.memory().number(reg)),
            Slot::Text(reg) => format!("{}={}", field.name, run.memory().text(reg)),
        });
        all.collect::<Vec<_>>()
    };
    assert_eq!(outputs(7), ["closed=8", "name=b"]);
    assert_eq!(outputs(3), ["closed=7", "name=a"]);
}

#[test]
fn the_head_says_how_runs_are_handled() {
    let compiled = compile(
        r#"workflow: pump-guard
version: 1.2
title: Guards
placement: edge
lasts: 2h
runs: {at_once: 4, then: replace}
priority: 9
unhandled: park
errors: [dry]
on: []
input: {device: text, n: {type: int, default: 3}}
steps:
  - fail: dry
"#,
    );
    let compiled = compiled.unwrap();
    assert_eq!((compiled.id.as_str(), compiled.version.as_str()), ("pump-guard", "1.2"));
    let warned: Vec<_> = compiled.warnings.iter().map(ToString::to_string).collect();
    assert_eq!(warned[0], "11:9: the input `device` is not used\n    leave it away, or use it");
    assert_eq!(warned.len(), 2);
    let image = Image::parse(&compiled.image).unwrap();
    assert_eq!((image.lasts_s, image.flags), (7_200, holdfast_core::flow::image::PARKS));
    let part = image.part(holdfast_core::flow::image::Part::About);
    let about = holdfast_core::flow::about::About::read(part).unwrap();
    assert_eq!((about.title, about.concurrent, about.priority), ("Guards", 4, 9));
    assert_eq!(format!("{:?} {:?}", about.placement, about.overlap), "Edge Replace");
    assert_eq!(image.error_by_name("dry"), Some(Code::own(0)));
}

#[test]
fn json_is_read_as_well() {
    let compiled = compile(
        r#"{"workflow": "j", "version": "1",
            "steps": [{"publish": "a/b", "payload": {"x": [1, null]}}]}"#,
    );
    assert!(compiled.is_ok(), "{compiled:?}");
}

#[test]
fn labels_and_lines_lead_back_to_the_steps() {
    let run = Run::of(
        r#"steps:
  - let: {n: 1}
  - wait: 1m
    label: pause
  - let: {n: 2}
"#,
    );
    let image = run.image();
    let labels: Vec<_> = image.labels().collect();
    assert_eq!(labels, [(2, "pause")]);
    let lines: Vec<_> = (0..image.counts.ops).map(|pc| image.line_of(pc).unwrap()).collect();
    assert_eq!(lines, [(4, 5), (5, 5), (5, 5), (7, 5), (7, 5)]);
}

#[test]
fn what_could_not_be_computed_is_not_skipped() {
    // Behind it the register was read that it should have gone to: x became 10.
    let mut run = Run::of(
        r#"unhandled: park
steps:
  - let: {n: 2, zero: 0}
  - let: {y: (n + 1) * (n + 40)}
  - let: {x: (n + 5) + n / zero}
"#,
    );
    assert_eq!(run.waits(), [Wait::Decision(Code::DIVISION)]);
    assert_eq!(run.skip(0), Err(Refusal::Unknown));
    let mut run = Run::of(
        r#"unhandled: park
steps:
  - let: {n: 2}
  - let: {x: "(n + 5) * twin_int('p', 'm')"}
"#,
    );
    run.failed(1, Code::UNREACHABLE);
    assert_eq!(run.skip(0), Err(Refusal::Unknown));
}
