//! What is not accepted, each with its reason and its place.

use super::super::binding::{Binding, Source};
use super::super::field::{Default, Field};
use super::super::image::{Handler, Part};
use super::super::op::{Late, Math};
use super::super::schedule::{Calendar, Missed, Schedule};
use super::super::trigger::{self, Devices, Fact, On, Tags};
use super::*;
use crate::condition::{Rule, Test};

/// What a plain draft has: a number of each type, two effects, a loop, a signal.
fn base() -> Draft {
    let mut draft = Draft::new(&ABOUT);
    for of in [Type::Int, Type::Decimal, Type::Bool] {
        draft.number(of);
    }
    draft.texts = 1;
    draft.fibers = 2;
    draft.undos = 1;
    draft.counters = 1;
    actuate(&mut draft, "open", &[THRICE]);
    draft
}

fn judged(draft: &Draft) -> Result<(), Rejection> {
    judged_by(draft, &Tier::NODE)
}

fn judged_by(draft: &Draft, tier: &Tier) -> Result<(), Rejection> {
    let bytes = draft.encode().unwrap();
    let mut places = std::vec![Place::NOWHERE; draft.ops.len().max(1)];
    verify(&bytes, tier, &mut places).map(|_| ())
}

fn code(ops: &[Op]) -> Result<(), Rejection> {
    let mut draft = base();
    draft.ops.extend_from_slice(ops);
    judged(&draft)
}

const INT: u8 = 0;
const DECIMAL: u8 = 1;
const BOOL: u8 = 2;
const SLEEP: Op = Op::Sleep { a: INT, late: Late::Fire, tolerance_s: 0 };
const ZERO: Op = Op::Set { d: INT, value: 0 };
const TRUE: Op = Op::Set { d: BOOL, value: 1 };

#[test]
fn code_is_rejected_with_the_reason_and_the_place() {
    use Op::{
        Again, Const, Do, End, Fail, Fork, Guard, Join, Jump, JumpIf, Listen, Loop, Move, Set,
        Succeed, TextConst, Undone,
    };
    let cases: &[(&[Op], Why, Pc)] = &[
        (&[ZERO], Why::Falls, 0),
        (&[Jump { to: 7 }], Why::Jump, 0),
        (&[Jump { to: 0 }], Why::Endless, 0),
        (&[ZERO, TRUE, JumpIf { a: BOOL, to: 1 }, Succeed], Why::Endless, 2),
        // It waited, but before the place that it leads back to.
        (&[ZERO, SLEEP, ZERO, Jump { to: 2 }], Why::Endless, 3),
        // One of two ways does not wait.
        (&[ZERO, TRUE, JumpIf { a: BOOL, to: 4 }, SLEEP, Jump { to: 1 }], Why::Endless, 4),
        (&[Succeed, Succeed], Why::Unreachable, 1),
        (&[Do { effect: 1 }, Succeed], Why::Index, 0),
        (&[Const { d: INT, index: 0 }, Succeed], Why::Index, 0),
        (&[TextConst { d: 0, index: 0 }, Succeed], Why::Index, 0),
        (&[Fail { error: Code(300) }], Why::Index, 0),
        (&[Fail { error: Code::CANCELLED }], Why::Index, 0),
        (&[Listen { signal: 0, within: None }, Succeed], Why::Index, 0),
        (&[Set { d: 3, value: 0 }, Succeed], Why::Register, 0),
        (&[Move { d: INT, a: INT }, Succeed], Why::Unwritten, 0),
        (&[SLEEP, Succeed], Why::Unwritten, 0),
        (&[ZERO, Move { d: DECIMAL, a: INT }, Succeed], Why::Type, 1),
        (&[Set { d: BOOL, value: 2 }, Succeed], Why::Type, 0),
        (&[ZERO, JumpIf { a: INT, to: 2 }, Succeed], Why::Type, 1),
        (&[TRUE, Op::Math { how: Math::Add, d: BOOL, a: BOOL, b: BOOL }, Succeed], Why::Type, 1),
        // Written on one of two ways only.
        (
            &[TRUE, JumpIf { a: BOOL, to: 3 }, ZERO, Move { d: INT, a: INT }, Succeed],
            Why::Unwritten,
            3,
        ),
        (&[Loop { counter: 1 }, Succeed], Why::Loop, 0),
        (&[Loop { counter: 0 }, Again { counter: 0, to: 1, limit: 0 }, Succeed], Why::Loop, 1),
        (&[Again { counter: 0, to: 1, limit: 5 }, Succeed], Why::Loop, 0),
        // A loop that begins anew within itself, and two that cross.
        (
            &[ZERO, Loop { counter: 0 }, Again { counter: 0, to: 1, limit: 5 }, Succeed],
            Why::Loop,
            2,
        ),
        (
            &[
                ZERO,
                ZERO,
                Again { counter: 0, to: 0, limit: 5 },
                Again { counter: 0, to: 1, limit: 5 },
                Succeed,
            ],
            Why::Loop,
            2,
        ),
        (&[End], Why::Ends, 0),
        (&[Undone], Why::Ends, 0),
        (&[Fork { to: 3, fibers: 1, undos: 0 }, Join, Succeed, Succeed], Why::Ends, 3),
        (&[Guard { to: 2 }, Succeed, Succeed], Why::Ends, 2),
        (&[Fork { to: 2, fibers: 2, undos: 0 }, Succeed, End], Why::Fibers, 0),
        (&[Fork { to: 2, fibers: 0, undos: 0 }, Succeed, End], Why::Fibers, 0),
        (&[Fork { to: 2, fibers: 1, undos: 2 }, Succeed, End], Why::Undos, 0),
        (&[Guard { to: 3 }, Guard { to: 3 }, Succeed, Undone], Why::Undos, 1),
        // A branch and the run come to the same place.
        (&[Fork { to: 1, fibers: 1, undos: 0 }, End], Why::Context, 0),
        // Each time round there is one more to undo.
        (&[ZERO, SLEEP, Guard { to: 5 }, SLEEP, Jump { to: 1 }, Undone], Why::Grows, 4),
        // What undoes something cannot begin branches.
        (
            &[Guard { to: 2 }, Succeed, Fork { to: 5, fibers: 1, undos: 0 }, Join, Undone, End],
            Why::Fibers,
            2,
        ),
    ];
    for (ops, why, pc) in cases {
        assert_eq!(code(ops), Err(Rejection { why: *why, pc: Some(*pc) }), "{ops:?}");
    }
}

#[test]
fn code_that_waits_each_time_round_is_accepted() {
    use Op::{Again, Fork, Join, Jump, JumpIf, Loop, Succeed};
    code(&[ZERO, SLEEP, Jump { to: 1 }]).unwrap();
    code(&[ZERO, TRUE, JumpIf { a: BOOL, to: 5 }, SLEEP, Jump { to: 6 }, SLEEP, Jump { to: 1 }])
        .unwrap();
    code(&[ZERO, Loop { counter: 0 }, ZERO, Again { counter: 0, to: 2, limit: 8 }, Succeed])
        .unwrap();
    // Branches that are waited for can be begun anew.
    let branch = Fork { to: 5, fibers: 1, undos: 0 };
    code(&[ZERO, SLEEP, branch, Join, Jump { to: 1 }, Op::End]).unwrap();
}

#[test]
fn tables_are_rejected_with_the_reason() {
    fn with(change: impl FnOnce(&mut Draft)) -> Why {
        let mut draft = base();
        draft.push(Op::Do { effect: 0 });
        draft.push(Op::Succeed);
        judged(&draft).unwrap();
        change(&mut draft);
        judged(&draft).unwrap_err().why
    }
    assert_eq!(with(|draft| draft.flags = 2), Why::Sizes);
    assert_eq!(with(|draft| draft.fibers = 0), Why::Sizes);
    assert_eq!(with(|draft| draft.types = std::vec![Type::Int; 65]), Why::Sizes);
    assert_eq!(with(|draft| draft.ops.clear()), Why::Ops);
    assert_eq!(with(|draft| draft.strings.push("x".repeat(65))), Why::Text);
    assert_eq!(with(|draft| draft.errors.push(std::string::String::new())), Why::Text);
    assert_eq!(with(|draft| draft.retries[0].attempts = 0), Why::Retry);
    assert_eq!(with(|draft| draft.retries[0].rate = 255), Why::Retry);
    assert_eq!(with(|draft| draft.retries.clear()), Why::Effect);
    assert_eq!(with(|draft| draft.effects[0][0] = 99), Why::Effect);
    assert_eq!(with(|draft| draft.effects[0].push(0)), Why::Effect);
    assert_eq!(with(|draft| draft.signals = 1), Why::Signal);
    assert_eq!(with(|draft| draft.parts[Part::About as usize].clear()), Why::Part);
    assert_eq!(with(|draft| draft.parts[Part::Names as usize].push(9)), Why::Part);
    assert_eq!(with(|draft| draft.parts[Part::Lines as usize].push(9)), Why::Part);
    assert_eq!(with(|draft| draft.label(1, "end")), Why::Label);
    let handler = Handler { from: 0, last: 1, to: 1, error: Code::NONE };
    assert_eq!(with(|draft| draft.handlers.push(handler)), Why::Handler);
    let slot = Slot::Number(INT);
    let output = Field { name: "level", slot, default: None };
    assert_eq!(with(|draft| draft.field(Part::Outputs, &output)), Why::Output);
    let input = Field { name: "level", slot: Slot::Number(9), default: None };
    assert_eq!(with(|draft| draft.field(Part::Inputs, &input)), Why::Part);
}

/// A draft whose runs are given a device, a level and a switch, that one with a default.
fn given(on: &On<'_>, bindings: &[(u8, Source<'_>)]) -> Draft {
    let mut draft = base();
    for (name, slot, default) in [
        ("device", Slot::Text(0), None),
        ("level", Slot::Number(DECIMAL), None),
        ("on", Slot::Number(BOOL), Some(Default::Number(0))),
    ] {
        draft.field(Part::Inputs, &Field { name, slot, default });
    }
    draft.push(Op::Do { effect: 0 });
    draft.push(Op::Succeed);
    let mut out = std::vec::Vec::new();
    on.encode(&mut out).unwrap();
    for (input, source) in bindings {
        Binding { input: *input, source: *source }.encode(&mut out).unwrap();
    }
    draft.triggers.push(out);
    draft
}

#[test]
fn a_trigger_gives_each_field_what_it_takes() {
    let of = Devices { pattern: "*", tags: Tags::new(&[0]).unwrap() };
    let rule = Rule { test: Test::Equals(1.0), hold_ns: 0, clear_hold_ns: 0 };
    let reading = On::Reading { of, metric: "level", rule, max_age_ms: 0 };
    let message = On::Message { filter: "#" };
    let (device, value) = (Source::Fact(Fact::Device), Source::Fact(Fact::Value));
    let path = Source::Path("level");
    let accepted: [(&On<'_>, &[(u8, Source<'_>)]); 4] = [
        (&reading, &[(0, device), (1, value)]),
        (&reading, &[(0, Source::Text("tank-1")), (1, Source::Number(5)), (2, Source::Number(1))]),
        (&message, &[(0, Source::Fact(Fact::Level(1))), (1, path)]),
        (&message, &[(0, Source::Fact(Fact::Payload)), (1, path), (2, path)]),
    ];
    for (on, bindings) in accepted {
        assert_eq!(judged(&given(on, bindings)), Ok(()), "{bindings:?}");
    }
    let rejected: [(&On<'_>, &[(u8, Source<'_>)]); 9] = [
        (&reading, &[(0, device)]),
        (&reading, &[(1, value)]),
        (&reading, &[(1, value), (0, device)]),
        (&reading, &[(0, device), (1, value), (3, value)]),
        (&reading, &[(0, device), (1, value), (2, Source::Number(2))]),
        (&reading, &[(0, value), (1, value)]),
        (&reading, &[(0, device), (1, Source::Fact(Fact::Time))]),
        (&reading, &[(0, Source::Fact(Fact::Topic)), (1, value)]),
        (&reading, &[(0, device), (1, path)]),
    ];
    for (on, bindings) in rejected {
        assert_eq!(judged(&given(on, bindings)), Err(Why::Trigger.into()), "{bindings:?}");
    }
}

#[test]
fn triggers_are_rejected_with_the_reason() {
    let whole = given(
        &On::Message { filter: "#" },
        &[(0, Source::Fact(Fact::Topic)), (1, Source::Path("level"))],
    );
    judged(&whole).unwrap();
    for len in 0..whole.triggers[0].len() {
        let mut draft = whole.clone();
        draft.triggers[0].truncate(len);
        assert_eq!(judged(&draft), Err(Why::Trigger.into()), "{len} bytes");
    }
    let mut draft = whole.clone();
    draft.triggers = std::vec![whole.triggers[0].clone(); 17];
    assert_eq!(judged(&draft), Err(Why::Sizes.into()));
    let tier = Tier { triggers: trigger::Kind::Schedule.bit(), ..Tier::NODE };
    assert_eq!(judged_by(&whole, &tier), Err(Why::Blind.into()));
    let mut never = std::vec::Vec::new();
    let schedule = Schedule::At(Calendar { minutes: 0, ..Calendar::ALWAYS });
    On::Schedule { schedule, zone: "", missed: Missed::Skip }.encode(&mut never).unwrap();
    let mut draft = base();
    draft.push(Op::Do { effect: 0 });
    draft.push(Op::Succeed);
    draft.triggers.push(never);
    assert_eq!(judged(&draft), Err(Why::Trigger.into()));
}

#[test]
fn a_node_takes_no_more_than_it_can() {
    let mut draft = base();
    draft.push(Op::Do { effect: 0 });
    draft.push(Op::Succeed);
    let tier = Tier { effects: Kind::Publish.bit(), ..Tier::NODE };
    assert_eq!(judged_by(&draft, &tier), Err(Rejection { why: Why::Incapable, pc: Some(0) }));
    let tier = Tier { memory_bytes: 100, ..Tier::NODE };
    assert_eq!(judged_by(&draft, &tier), Err(Why::Memory.into()));
    let tier = Tier { ops: 1, ..Tier::NODE };
    assert_eq!(judged_by(&draft, &tier), Err(Why::Ops.into()));
    let tier = Tier { fuel: 1, ..Tier::NODE };
    assert_eq!(judged_by(&draft, &tier), Err(Why::Fuel.into()));
    let tier = Tier { image_bytes: 50, ..Tier::NODE };
    assert_eq!(judged_by(&draft, &tier), Err(Why::Long.into()));
}

#[test]
fn bytes_that_are_no_image_are_rejected() {
    let mut draft = base();
    draft.push(Op::Succeed);
    let good = draft.encode().unwrap();
    let mut places = [Place::NOWHERE; 4];
    for len in 0..good.len() {
        assert!(verify(&good[..len], &Tier::NODE, &mut places).is_err(), "{len} bytes");
    }
    let mut other = good.clone();
    other[0] = 2;
    let judged = verify(&other, &Tier::NODE, &mut places).unwrap_err();
    assert_eq!(judged, Why::Version.into());
    other[0] = 1;
    other.push(0);
    assert_eq!(verify(&other, &Tier::NODE, &mut places).unwrap_err(), Why::Tables.into());
    assert_eq!(verify(&good, &Tier::NODE, &mut []).unwrap_err(), Why::Ops.into());
}

#[test]
fn an_image_tells_where_an_operation_comes_from() {
    use crate::codec::Sink;
    let mut draft = base();
    draft.push(Op::Do { effect: 0 });
    draft.push(ZERO);
    draft.push(Op::Succeed);
    let lines = &mut draft.parts[Part::Lines as usize];
    for number in [0, 4, 7, 2, 6, 3] {
        lines.put_uint(number).unwrap();
    }
    judged(&draft).unwrap();
    let bytes = draft.encode().unwrap();
    let image = Image::parse(&bytes).unwrap();
    assert_eq!([0, 1, 2].map(|pc| image.line_of(pc)), [Some((4, 7)), Some((4, 7)), Some((6, 3))]);
}
