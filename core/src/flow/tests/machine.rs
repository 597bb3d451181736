//! What runs do: effects, timers, signals, branches, errors.

use super::super::field::Field;
use super::super::image::{Handler, PARKS, Part};
use super::super::op::{Change, Compare, Late, Math};
use super::super::signal::{self, Source};
use super::*;
use crate::codec::Sink;

#[test]
fn effects_are_asked_for_one_after_the_other() {
    let mut draft = Draft::new(&ABOUT);
    let (open, close) = (actuate(&mut draft, "open", &[]), actuate(&mut draft, "close", &[]));
    let minute = draft.number(Type::Int);
    draft.push(Op::Do { effect: open });
    draft.push(Op::Set { d: minute, value: 60_000 });
    draft.push(Op::Sleep { a: minute, late: Late::Fire, tolerance_s: 0 });
    draft.push(Op::Do { effect: close });
    draft.push(Op::Succeed);
    let mut run = Bench::start(&draft);
    assert_eq!(run.asked(), [(1, open, 1)]);
    run.done(1);
    assert_eq!((run.asked(), run.waits()), (Vec::new(), std::vec![Wait::Timer]));
    assert_eq!(view::next_deadline(run.memory()), 61_000);
    run.at(60_999);
    assert_eq!(run.waits(), [Wait::Timer]);
    run.at(61_000);
    assert_eq!(run.asked(), [(2, close, 1)]);
    run.done(2);
    assert_eq!(run.phase(), Phase::Succeeded);
    assert_eq!(run.put(Input::Tick), Err(Refusal::Over));
}

#[test]
fn what_was_asked_for_stands_in_the_memory_alone() {
    let mut draft = Draft::new(&ABOUT);
    let open = actuate(&mut draft, "open", &[]);
    draft.push(Op::Do { effect: open });
    draft.push(Op::Succeed);
    let run = Bench::start(&draft);
    // A copy of the bytes is the run: after a crash the effect is asked for under the same number.
    let mut again = Bench { bytes: run.bytes.clone(), memory: run.memory.clone(), now_ms: 9_000 };
    assert_eq!(again.asked(), [(1, open, 1)]);
    again.done(1);
    assert_eq!(again.phase(), Phase::Succeeded);
    assert_eq!(
        again.put(Input::Result { serial: 1, outcome: Outcome::Done(&[]) }),
        Err(Refusal::Over)
    );
}

#[test]
fn an_effect_is_tried_again_under_the_same_number() {
    let mut draft = Draft::new(&ABOUT);
    let open = actuate(&mut draft, "open", &[THRICE]);
    draft.push(Op::Do { effect: open });
    draft.push(Op::Succeed);
    let mut run = Bench::start(&draft);
    run.failed(1, Code::UNREACHABLE);
    assert!(run.asked().is_empty());
    assert_eq!(view::next_deadline(run.memory()), 2_000);
    run.at(2_000);
    assert_eq!(run.asked(), [(1, open, 2)]);
    run.failed(1, Code::UNREACHABLE);
    assert_eq!(view::next_deadline(run.memory()), 4_000, "twice as long");
    run.at(4_000);
    assert_eq!(run.asked(), [(1, open, 3)]);
    run.failed(1, Code::UNREACHABLE);
    assert_eq!((run.phase(), run.memory().cause()), (Phase::Failed, Code::UNREACHABLE));
}

#[test]
fn an_effect_that_takes_too_long_is_tried_again_if_it_may_be_done_twice() {
    let mut draft = Draft::new(&ABOUT);
    let open = effect(&mut draft, "open", IDEMPOTENT, 500, &[THRICE]);
    draft.push(Op::Do { effect: open });
    draft.push(Op::Succeed);
    let mut run = Bench::start(&draft);
    run.at(1_500);
    assert!(matches!(run.waits()[..], [Wait::Retry { error: Code::TIMEOUT, .. }]));
    // That the first attempt failed is told once more, and is no failure of the next one.
    let late = Input::Result { serial: 1, outcome: Outcome::Failed(Code::TIMEOUT) };
    assert_eq!(run.put(late), Err(Refusal::Unasked));
    // The answer may still come, and then counts.
    run.done(1);
    assert_eq!(run.phase(), Phase::Succeeded);
}

#[test]
fn an_effect_that_may_have_been_done_and_must_not_be_twice_waits_for_somebody() {
    let mut draft = Draft::new(&ABOUT);
    let pay = effect(&mut draft, "pay", 0, 500, &[THRICE]);
    draft.push(Op::Do { effect: pay });
    draft.push(Op::Succeed);
    draft.push(Op::Succeed);
    // A handler for any error is not one for a doubt.
    draft.handlers.push(Handler { from: 0, last: 0, to: 2, error: Code::NONE });
    let mut run = Bench::start(&draft);
    run.at(1_500);
    assert_eq!(run.waits(), [Wait::Decision(Code::DOUBT)]);
    run.put(Input::Resolve { fiber: 0, how: Resolution::Retry }).unwrap();
    assert_eq!(run.asked(), [(1, pay, 1)], "under the same number");
}

#[test]
fn an_error_goes_to_the_first_handler_that_takes_it() {
    let mut draft = Draft::new(&ABOUT);
    let open = actuate(&mut draft, "open", &[]);
    let (refused, other) = (actuate(&mut draft, "refused", &[]), actuate(&mut draft, "other", &[]));
    draft.push(Op::Do { effect: open });
    draft.push(Op::Succeed);
    draft.push(Op::Do { effect: refused });
    draft.push(Op::Rethrow);
    draft.push(Op::Do { effect: other });
    draft.push(Op::Succeed);
    draft.handlers.push(Handler { from: 0, last: 0, to: 2, error: Code::REFUSED });
    draft.handlers.push(Handler { from: 0, last: 0, to: 4, error: Code::NONE });
    let mut run = Bench::start(&draft);
    run.failed(1, Code::REFUSED);
    assert_eq!(run.asked(), [(2, refused, 1)]);
    run.done(2);
    assert_eq!((run.phase(), run.memory().cause()), (Phase::Failed, Code::REFUSED));
    let mut run = Bench::start(&draft);
    run.failed(1, Code::TIMEOUT);
    assert_eq!(run.asked(), [(2, other, 1)]);
}

/// Two branches, each with one effect, and one behind them.
fn two_branches() -> Draft {
    let mut draft = Draft::new(&ABOUT);
    draft.fibers = 3;
    let effects = ["left", "right", "then"].map(|name| actuate(&mut draft, name, &[]));
    draft.push(Op::Fork { to: 5, fibers: 1, undos: 0 });
    draft.push(Op::Fork { to: 7, fibers: 1, undos: 0 });
    draft.push(Op::Join);
    draft.push(Op::Do { effect: effects[2] });
    draft.push(Op::Succeed);
    draft.push(Op::Do { effect: effects[0] });
    draft.push(Op::End);
    draft.push(Op::Do { effect: effects[1] });
    draft.push(Op::End);
    draft
}

#[test]
fn branches_run_beside_each_other_and_are_waited_for() {
    let mut run = Bench::start(&two_branches());
    assert_eq!(run.asked(), [(1, 0, 1), (2, 1, 1)]);
    run.done(2);
    assert_eq!(run.asked(), [(1, 0, 1)]);
    run.done(1);
    assert_eq!(run.asked(), [(3, 2, 1)]);
}

#[test]
fn a_branch_that_fails_takes_the_others_with_it() {
    let mut draft = two_branches();
    let mut run = Bench::start(&draft);
    run.failed(1, Code::FAILED);
    assert_eq!((run.phase(), run.memory().cause()), (Phase::Failed, Code::FAILED));
    // With a handler around the branches the run goes on, and the other one's answer is not asked
    // for any more.
    let after = actuate(&mut draft, "after", &[]);
    draft.push(Op::Do { effect: after });
    draft.push(Op::Succeed);
    draft.handlers.push(Handler { from: 0, last: 2, to: 9, error: Code::NONE });
    let mut run = Bench::start(&draft);
    run.failed(1, Code::FAILED);
    assert_eq!(run.asked(), [(3, after, 1)]);
    let late = Input::Result { serial: 2, outcome: Outcome::Done(&[]) };
    assert_eq!(run.put(late), Err(Refusal::Unasked));
}

/// Waits for a signal, for at most five seconds, and keeps the level that it brings.
fn listener() -> Draft {
    let mut draft = Draft::new(&ABOUT);
    let (within, level) = (draft.number(Type::Int), draft.number(Type::Decimal));
    draft.signals = 1;
    let part = &mut draft.parts[Part::Signals as usize];
    signal::put_head(part, "level", &Source::Outside).unwrap();
    part.put_uint(1).unwrap();
    Field { name: "value", slot: Slot::Number(level), default: None }.encode(part).unwrap();
    let field = Field { name: "level", slot: Slot::Number(level), default: None };
    draft.field(Part::Outputs, &field);
    draft.push(Op::Set { d: within, value: 5_000 });
    draft.push(Op::Listen { signal: 0, within: Some(within) });
    draft.push(Op::Succeed);
    draft
}

#[test]
fn a_signal_is_waited_for_and_brings_values() {
    let mut run = Bench::start(&listener());
    assert_eq!(run.waits(), [Wait::Signal(0)]);
    let nothing = Input::Signal { signal: 0, values: &[] };
    assert_eq!(run.put(nothing), Err(Refusal::Field(0)));
    let text = Input::Signal { signal: 0, values: &[Some(Given::Text("3"))] };
    assert_eq!(run.put(text), Err(Refusal::Field(0)));
    run.put(Input::Signal { signal: 0, values: &[Some(Given::Number(2_500_000))] }).unwrap();
    assert_eq!((run.phase(), run.memory().number(1)), (Phase::Succeeded, 2_500_000));

    let mut run = Bench::start(&listener());
    run.at(6_000);
    assert_eq!((run.phase(), run.memory().cause()), (Phase::Failed, Code::TIMEOUT));
}

#[test]
fn a_signal_that_comes_early_is_kept_once() {
    let mut draft = listener();
    let open = actuate(&mut draft, "open", &[]);
    draft.ops.insert(0, Op::Do { effect: open });
    let mut run = Bench::start(&draft);
    for level in [1, 2] {
        run.put(Input::Signal { signal: 0, values: &[Some(Given::Number(level))] }).unwrap();
    }
    run.done(1);
    assert_eq!((run.phase(), run.memory().number(1)), (Phase::Succeeded, 2));
}

fn sleeper(late: Late) -> Draft {
    let mut draft = Draft::new(&ABOUT);
    let hour = draft.number(Type::Int);
    draft.push(Op::Set { d: hour, value: 3_600_000 });
    draft.push(Op::Sleep { a: hour, late, tolerance_s: 60 });
    draft.push(Op::Succeed);
    draft
}

#[test]
fn a_timer_that_is_noticed_late_follows_its_policy() {
    const HOUR: i64 = 3_600_000;
    const MONTH: i64 = 30 * 24 * HOUR;
    for late in [Late::Fire, Late::Skip, Late::Restart] {
        let mut run = Bench::start(&sleeper(late));
        run.at(1_000 + HOUR + 60_000);
        assert_eq!(run.phase(), Phase::Succeeded, "{late:?}: not too late");
    }
    let mut run = Bench::start(&sleeper(Late::Fire));
    run.at(MONTH);
    assert_eq!(run.phase(), Phase::Succeeded);
    let mut run = Bench::start(&sleeper(Late::Skip));
    run.at(MONTH);
    assert_eq!((run.phase(), run.memory().cause()), (Phase::Failed, Code::LATE));
    let mut run = Bench::start(&sleeper(Late::Restart));
    run.at(MONTH);
    assert_eq!(
        (run.waits(), view::next_deadline(run.memory())),
        (std::vec![Wait::Timer], MONTH + HOUR)
    );
    run.at(MONTH + HOUR);
    assert_eq!(run.phase(), Phase::Succeeded);
}

#[test]
fn a_clock_that_is_set_moves_lengths_of_time_and_no_points() {
    let mut draft = Draft::new(&ABOUT);
    draft.lasts_s = 7_200;
    draft.fibers = 2;
    let (length, point) = (draft.number(Type::Int), draft.number(Type::Int));
    draft.push(Op::Set { d: length, value: 60_000 });
    draft.push(Op::Set { d: point, value: 90_000 });
    draft.push(Op::Fork { to: 6, fibers: 1, undos: 0 });
    draft.push(Op::Sleep { a: length, late: Late::Fire, tolerance_s: 0 });
    draft.push(Op::Join);
    draft.push(Op::Succeed);
    draft.push(Op::Until { a: point, late: Late::Fire, tolerance_s: 0 });
    draft.push(Op::End);
    let mut run = Bench::start(&draft);
    let image = Image::parse(&run.bytes).unwrap();
    clock_set(&image, &mut run.memory, 1_000_000).unwrap();
    let until: Vec<_> = view::waits(&image, run.memory()).map(|waiting| waiting.until).collect();
    assert_eq!(until, [1_061_000, 90_000]);
    assert_eq!(run.memory().deadline(), 1_000 + 7_200_000 + 1_000_000);
}

#[test]
fn a_run_that_takes_too_long_fails() {
    let mut draft = sleeper(Late::Fire);
    draft.lasts_s = 60;
    let mut run = Bench::start(&draft);
    assert_eq!(view::next_deadline(run.memory()), 61_000);
    run.at(61_000);
    assert_eq!((run.phase(), run.memory().cause()), (Phase::Failed, Code::TIMEOUT));
}

#[test]
fn numbers_that_do_not_fit_are_errors() {
    type Case = (Math, Type, i64, i64, Result<i64, Code>);
    let cases: [Case; 10] = [
        (Math::Add, Type::Int, 2, 3, Ok(5)),
        (Math::Add, Type::Int, i64::MAX, 1, Err(Code::OVERFLOW)),
        (Math::Sub, Type::Decimal, i64::MIN, 1, Err(Code::OVERFLOW)),
        (Math::Mul, Type::Int, i64::MAX, 2, Err(Code::OVERFLOW)),
        (Math::Div, Type::Int, -7, 2, Ok(-3)),
        (Math::Div, Type::Int, i64::MIN, -1, Err(Code::OVERFLOW)),
        (Math::Div, Type::Int, 1, 0, Err(Code::DIVISION)),
        (Math::Rem, Type::Int, i64::MIN, -1, Ok(0)),
        (Math::MulDecimal, Type::Decimal, 1_500_000, 2_000_000, Ok(3_000_000)),
        (Math::DivDecimal, Type::Decimal, 1_000_000, 0, Err(Code::DIVISION)),
    ];
    for (how, of, a, b, wanted) in cases {
        let mut draft = Draft::new(&ABOUT);
        let [x, y, z] = std::array::from_fn(|_| draft.number(of));
        let (first, second) = (draft.constant(a), draft.constant(b));
        draft.push(Op::Const { d: x, index: first });
        draft.push(Op::Const { d: y, index: second });
        draft.push(Op::Math { how, d: z, a: x, b: y });
        draft.push(Op::Succeed);
        let run = Bench::start(&draft);
        let got = match run.phase() {
            Phase::Succeeded => Ok(run.memory().number(z)),
            _ => Err(run.memory().cause()),
        };
        assert_eq!(got, wanted, "{how:?} {a} {b}");
    }
}

#[test]
fn a_loop_goes_round_as_often_as_it_may() {
    let mut draft = Draft::new(&ABOUT);
    draft.counters = 1;
    let (sum, one) = (draft.number(Type::Int), draft.number(Type::Int));
    draft.push(Op::Set { d: sum, value: 0 });
    draft.push(Op::Set { d: one, value: 1 });
    draft.push(Op::Loop { counter: 0 });
    draft.push(Op::Math { how: Math::Add, d: sum, a: sum, b: one });
    draft.push(Op::Again { counter: 0, to: 3, limit: 9 });
    draft.push(Op::Succeed);
    let run = Bench::start(&draft);
    assert_eq!((run.phase(), run.memory().number(sum)), (Phase::Succeeded, 10));
    assert_eq!(run.image().sizes.fuel, 4 + 2 * 10);
}

#[test]
fn texts_are_made_compared_and_no_longer_than_they_may_be() {
    let mut draft = Draft::new(&ABOUT);
    draft.texts = 2;
    let (level, same) = (draft.number(Type::Decimal), draft.number(Type::Bool));
    let (word, wanted) = (draft.string("level "), draft.string("level 21.5"));
    let number = draft.constant(21_500_000);
    draft.push(Op::Const { d: level, index: number });
    draft.push(Op::TextConst { d: 0, index: word });
    draft.push(Op::TextOf { d: 1, a: level });
    draft.push(Op::TextJoin { d: 0, a: 0, b: 1 });
    draft.push(Op::TextConst { d: 1, index: wanted });
    draft.push(Op::TextCompare { how: Compare::Eq, d: same, a: 0, b: 1 });
    draft.push(Op::Succeed);
    let run = Bench::start(&draft);
    assert_eq!((run.phase(), run.memory().number(same)), (Phase::Succeeded, 1));
    assert_eq!(run.memory().text(0), "level 21.5");
    // Joined with itself, it does not fit for long.
    draft.ops.truncate(5);
    for _ in 0..3 {
        draft.push(Op::TextJoin { d: 0, a: 0, b: 0 });
    }
    draft.push(Op::Succeed);
    let run = Bench::start(&draft);
    assert_eq!((run.phase(), run.memory().cause()), (Phase::Failed, Code::TEXT));
}

#[test]
fn what_nobody_catches_is_parked_where_the_workflow_says_so() {
    let mut draft = Draft::new(&ABOUT);
    draft.flags = PARKS;
    let (a, b) = (draft.number(Type::Int), draft.number(Type::Decimal));
    draft.field(Part::Inputs, &Field { name: "a", slot: Slot::Number(a), default: None });
    draft.push(Op::Change { how: Change::ToDecimal, d: b, a });
    draft.push(Op::Succeed);
    let mut run = Bench::start_with(&draft, &[Some(Given::Number(i64::MAX))]);
    assert_eq!(run.waits(), [Wait::Decision(Code::OVERFLOW)]);
    let set = |value| Input::Resolve { fiber: 0, how: Resolution::Set(Slot::Number(a), value) };
    assert_eq!(run.put(set(Given::Text("7"))), Err(Refusal::Unknown));
    run.put(set(Given::Number(7))).unwrap();
    run.put(Input::Resolve { fiber: 0, how: Resolution::Retry }).unwrap();
    assert_eq!((run.phase(), run.memory().number(b)), (Phase::Succeeded, 7_000_000));
}

#[test]
fn an_error_at_the_last_operation_of_the_longest_turn_is_that_error() {
    // The turn takes as many operations as the image says it can, and its last one fails: what was
    // parked for that was parked anew, because the turn was too long.
    let mut draft = Draft::new(&ABOUT);
    draft.flags = PARKS;
    draft.push(Op::Fail { error: Code::REFUSED });
    let run = Bench::start(&draft);
    assert_eq!(run.waits(), [Wait::Decision(Code::REFUSED)]);
}

#[test]
fn what_leads_nowhere_is_not_skipped() {
    let mut draft = Draft::new(&ABOUT);
    draft.flags = PARKS;
    draft.push(Op::Fail { error: Code::FAILED });
    let mut run = Bench::start(&draft);
    let skip = Input::Resolve { fiber: 0, how: Resolution::Skip };
    assert_eq!(run.put(skip), Err(Refusal::Unknown));
}

#[test]
fn a_run_is_not_begun_without_what_it_needs() {
    let mut draft = Draft::new(&ABOUT);
    draft.texts = 1;
    draft.field(Part::Inputs, &Field { name: "device", slot: Slot::Text(0), default: None });
    draft.push(Op::Succeed);
    let bytes = draft.encode().unwrap();
    let image = Image::parse(&bytes).unwrap();
    let mut memory = std::vec![0; bytes_of(image.sizes)];
    let moment = Moment { now_ms: 0, entropy: 0 };
    let mut begin = |values: &[_]| start(&image, &mut memory, values, moment);
    assert_eq!(begin(&[]), Err(Refusal::Field(0)));
    assert_eq!(begin(&[Some(Given::Number(1))]), Err(Refusal::Field(0)));
    let long = "x".repeat(TEXT_MAX_BYTES + 1);
    assert_eq!(begin(&[Some(Given::Text(&long))]), Err(Refusal::Field(0)));
    assert_eq!(begin(&[Some(Given::Text(&long[1..]))]), Ok(false));
    let mut short = std::vec![0; 7];
    assert_eq!(start(&image, &mut short, &[], moment), Err(Refusal::Foreign));
}
