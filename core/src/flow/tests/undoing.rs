//! What a run did is undone when it fails, in reverse.

use super::super::op::Late;
use super::*;

/// Two effects, each with what undoes it, and then an hour.
fn saga() -> Draft {
    let mut draft = Draft::new(&ABOUT);
    draft.undos = 2;
    let hour = draft.number(Type::Int);
    let effects = ["fill", "heat", "drain", "cool"].map(|name| actuate(&mut draft, name, &[]));
    draft.push(Op::Do { effect: effects[0] });
    draft.push(Op::Guard { to: 7 });
    draft.push(Op::Do { effect: effects[1] });
    draft.push(Op::Guard { to: 9 });
    draft.push(Op::Set { d: hour, value: 3_600_000 });
    draft.push(Op::Sleep { a: hour, late: Late::Fire, tolerance_s: 0 });
    draft.push(Op::Succeed);
    draft.push(Op::Do { effect: effects[2] });
    draft.push(Op::Undone);
    draft.push(Op::Do { effect: effects[3] });
    draft.push(Op::Undone);
    draft
}

const DRAIN: u16 = 2;
const COOL: u16 = 3;

#[test]
fn what_was_done_is_undone_in_reverse() {
    let mut run = Bench::start(&saga());
    run.done(1);
    run.done(2);
    run.put(Input::Cancel).unwrap();
    assert_eq!((run.phase(), run.asked()), (Phase::Undoing, std::vec![(3, COOL, 1)]));
    // It is being undone already.
    run.put(Input::Cancel).unwrap();
    run.done(3);
    assert_eq!(run.asked(), [(4, DRAIN, 1)]);
    run.done(4);
    assert_eq!((run.phase(), run.memory().cause()), (Phase::Cancelled, Code::CANCELLED));
}

#[test]
fn only_what_was_done_is_undone() {
    let mut run = Bench::start(&saga());
    run.done(1);
    run.failed(2, Code::REFUSED);
    assert_eq!((run.phase(), run.asked()), (Phase::Undoing, std::vec![(3, DRAIN, 1)]));
    run.done(3);
    assert_eq!((run.phase(), run.memory().cause()), (Phase::Failed, Code::REFUSED));
    assert_eq!(run.memory().place(), 2);
}

#[test]
fn what_cannot_be_undone_waits_for_somebody() {
    let mut run = Bench::start(&saga());
    run.done(1);
    run.done(2);
    run.put(Input::Cancel).unwrap();
    run.failed(3, Code::UNREACHABLE);
    assert_eq!(run.waits(), [Wait::Decision(Code::UNREACHABLE)]);
    let compensate = Input::Resolve { fiber: 0, how: Resolution::Compensate };
    assert_eq!(run.put(compensate), Err(Refusal::Unknown), "it is being undone already");
    run.put(Input::Resolve { fiber: 0, how: Resolution::Retry }).unwrap();
    assert_eq!(run.asked(), [(3, COOL, 1)]);
    run.failed(3, Code::UNREACHABLE);
    run.put(Input::Resolve { fiber: 0, how: Resolution::Skip }).unwrap();
    assert_eq!(run.asked(), [(4, DRAIN, 1)]);
    run.failed(4, Code::UNREACHABLE);
    // Somebody has seen it and ends it as it is.
    run.put(Input::Cancel).unwrap();
    assert_eq!(run.phase(), Phase::Cancelled);
}

#[test]
fn a_parked_run_can_be_undone() {
    let mut draft = saga();
    draft.flags = super::super::image::PARKS;
    let mut run = Bench::start(&draft);
    run.done(1);
    run.failed(2, Code::REFUSED);
    assert_eq!(run.waits(), [Wait::Decision(Code::REFUSED)]);
    run.put(Input::Resolve { fiber: 0, how: Resolution::Compensate }).unwrap();
    assert_eq!((run.phase(), run.asked()), (Phase::Undoing, std::vec![(3, DRAIN, 1)]));
}
