//! What was done is undone.

use super::*;

const TWO: &str = r#"errors: [dry]
steps:
  - command: open
    device: a
    undo:
      - command: close
        device: a
  - command: open
    device: b
    undo:
      - wait: 1s
      - command: close
        device: b
  - fail: dry
"#;

#[test]
fn what_was_done_is_undone_in_reverse() {
    let mut run = Run::of(TWO);
    run.done(1);
    run.done(2);
    assert_eq!((run.phase(), run.waits()), (Phase::Undoing, vec![Wait::Timer]));
    run.pass(1_000);
    assert_eq!(run.asked(), ["3 command device=b name=close"]);
    run.done(3);
    assert_eq!(run.asked(), ["4 command device=a name=close"]);
    run.done(4);
    assert_eq!(run.end(), (Phase::Failed, "dry".to_owned()));
}

#[test]
fn what_was_not_done_is_not_undone() {
    let mut run = Run::of(TWO);
    run.done(1);
    run.failed(2, Code::REFUSED);
    assert_eq!(run.asked(), ["3 command device=a name=close"]);
    assert_eq!(run.image().sizes.undos, 2);
}

#[test]
fn each_item_is_undone_by_itself() {
    let mut run = Run::of(
        r#"steps:
  - each: {in: [a, b, c], as: x, at_once: 3}
    do:
      - command: open
        device: ${x}
        undo:
          - command: close
            device: ${x}
  - fail: failed
"#,
    );
    assert_eq!(run.image().sizes.undos, 3);
    run.done(2);
    run.done(1);
    run.done(3);
    let mut closed = Vec::new();
    for serial in 4..7 {
        closed.extend(run.asked());
        run.done(serial);
    }
    let wanted = ["4 command device=c", "5 command device=a", "6 command device=b"];
    assert_eq!(closed, wanted.map(|text| format!("{text} name=close")));
    assert_eq!(run.end(), (Phase::Failed, "failed".to_owned()));
}
