//! Turns of a connection: what goes up, what is heard, and what a hostile gateway says.

use super::super::message::PAYLOAD_BYTES;
use super::*;
use crate::chip::{Draw, Outside};
use crate::log::Log;
use crate::memory::Identity;
use crate::node::About;
use crate::record::Record;
use holdfast_core::device::health::Reason;
use holdfast_core::device::vectors;
use holdfast_core::{Quality, Value};
use std::vec::Vec;

const ABOUT: About = About { firmware: "0.1.0", reason: Reason::POWER, sensors: &[], tell: |_| () };

fn node(log: Log<Outside>) -> Node<Outside> {
    let told = Identity::new("pump-1", "hft_1", "10.0.2.2:1883").unwrap();
    Node::start(log, ABOUT, Some(told), None).ok().unwrap()
}

fn turns(what: Option<What>) -> Turns {
    let now = Instant::now();
    let flight = what.map(|what| Flight { what, again_at: now });
    Turns { flight, hello_at: now, looks_at: now, state_waits: false }
}

fn record(boot: u64, sequence: u64) -> Record<'static> {
    let (quality, value) = (Quality::GOOD, Value::Int(7));
    Record { boot, sequence, uptime_ms: 0, sensor: 1, quality, value }
}

fn rejected(node: &Node<Outside>) -> u64 {
    node.note_losses().unwrap().rejected
}

#[test]
fn a_gateway_is_heard_up_to_what_is_damaged() {
    let node = node(Outside::new(4).open());
    node.log.borrow_mut().push(&record(4, 12)).unwrap();
    let what = What::Samples { last: (4, 12), has_more: true };
    let mut damaged = vectors::DOWN.to_vec();
    *damaged.last_mut().unwrap() ^= 1;
    let mut turns = turns(Some(what));
    assert!(turns.hear(&node, Pace::default(), &damaged).unwrap());
    assert_eq!(node.clock.get().anchor(), None, "the time was damaged");
    assert_eq!(rejected(&node), 1);
    assert!(!turns.hear(&node, Pace::default(), vectors::DOWN).unwrap());
    assert!(node.clock.get().anchor().is_some());
    assert!(!turns.hear(&node, Pace::default(), b"{\"json\":true}").unwrap());
    assert_eq!(rejected(&node), 2);
}

#[test]
fn a_watermark_frees_only_what_was_handed_on() {
    let node = node(Outside::new(4).open());
    for sequence in 1..=12 {
        node.log.borrow_mut().push(&record(4, sequence)).unwrap();
    }
    let left = || {
        let mut left = 0;
        let count = |_: &Record<'_>| {
            left += 1;
            Look::On
        };
        node.log.borrow_mut().look(count).unwrap();
        left
    };
    for (under_way, freed) in [
        (None, 0),
        (Some(What::Hello), 0),
        (Some(What::Samples { last: (4, 13), has_more: false }), 0),
        (Some(What::Samples { last: (3, 12), has_more: false }), 0),
        (Some(What::Samples { last: (4, 5), has_more: false }), 5),
    ] {
        let before = left();
        turns(under_way).hear(&node, Pace::default(), vectors::DOWN).unwrap();
        assert_eq!(before - left(), freed, "{under_way:?}");
    }
}

/// What comes next, each time after the gateway's word for the one before.
fn order(turns: &mut Turns, node: &Node<Outside>, count: usize) -> Vec<What> {
    let mut payload = [0; PAYLOAD_BYTES];
    let mut next = || {
        let now = Instant::now();
        turns.compose(node, &[], Pace::default(), &mut payload, now).unwrap()
    };
    (0..count).map_while(|_| next().map(|(what, _)| what)).collect()
}

#[test]
fn a_hello_without_an_answer_is_said_again_and_does_not_keep_samples_waiting_for_ever() {
    let node = node(Outside::new(4).open());
    node.log.borrow_mut().push(&record(1, 1)).unwrap();
    let mut turns = turns(None);
    let said = order(&mut turns, &node, 1);
    assert_eq!(said, [What::Hello]);
    turns.flight = Some(Flight { what: What::Hello, again_at: Instant::now() });
    let samples = What::Samples { last: (1, 1), has_more: false };
    assert_eq!(order(&mut turns, &node, 2), [What::Hello, samples]);
}

#[test]
fn state_goes_first_but_behind_samples_when_the_gateway_did_not_take_it() {
    let node = node(Outside::new(4).open());
    node.log.borrow_mut().push(&record(1, 1)).unwrap();
    let valve = holdfast_core::state::Path::new("valve").unwrap();
    node.report(valve, Some(holdfast_core::state::Value::Int(5))).unwrap();
    let reported = What::Reported(node.twin.borrow().mark());
    let samples = What::Samples { last: (1, 1), has_more: false };
    assert_eq!(order(&mut turns(None), &node, 2), [What::Hello, reported]);
    let mut waits = Turns { state_waits: true, ..turns(None) };
    assert_eq!(order(&mut waits, &node, 2), [What::Hello, samples]);
    waits.flight = Some(Flight { what: samples, again_at: Instant::now() });
    waits.let_go(&node, Pace::default(), Watermark { boot: 1, sequence: 1 }).unwrap();
    assert_eq!(order(&mut waits, &node, 1), [reported]);
    let mut alone = Turns { state_waits: true, ..turns(None) };
    assert_eq!(order(&mut alone, &node, 2), [What::Hello, reported], "there are no samples");
    // What cannot be read is not said again until it is something else.
    let mark = node.twin.borrow().mark();
    node.twin.borrow_mut().refused(mark);
    node.twin.borrow_mut().connect();
    assert_eq!(order(&mut turns(None), &node, 2), [What::Hello]);
    node.report(valve, Some(holdfast_core::state::Value::Int(6))).unwrap();
    assert!(node.twin.borrow().is_ahead());
}

/// What is sent by a gateway that is broken or worse: whole messages with bytes that were
/// changed, cut off, repeated or put together from others. With the checksums made right again
/// in every other one, so that what is within is looked at.
#[test]
fn what_the_gateway_does_not_have_is_asked_for_again_soon() {
    let node = node(Outside::new(8).open());
    let id = holdfast_core::artefact::ArtefactId([1; 32]);
    let wanted = [id];
    node.with_flows(|flows, log, here| flows.want(log, here, &wanted)).unwrap();
    let of = Fetch { id, part: 0 };
    assert_eq!(node.flows.borrow().lacks(), Some(of));
    let mut turns = turns(Some(What::Fetch(of)));
    turns.hello_at += Duration::from_secs(900);
    let (mut said, mut message) = (Vec::new(), [0; 128]);
    Piece { of, bytes: &[] }.encode(&mut said).unwrap();
    let len = device::put(&mut message, device::PIECE, &said).unwrap();
    let latest = Instant::now() + Pace::default().patience + Duration::from_secs(5);
    assert!(turns.hear(&node, Pace::default(), &message[..len]).unwrap());
    assert_eq!(node.flows.borrow().lacks(), None);
    // With the answer to its next hello comes what it is to have.
    assert!(turns.hello_at <= latest);
    node.with_flows(|flows, log, here| flows.want(log, here, &wanted)).unwrap();
    assert_eq!(node.flows.borrow().lacks(), Some(of));
}

#[test]
fn a_hostile_gateway_breaks_nothing_and_is_counted() {
    let good: [&[u8]; 10] = [
        vectors::DOWN,
        vectors::DESIRED_WHOLE,
        vectors::DESIRED_LARGE,
        vectors::JOINED_STALE,
        vectors::COMMAND_OPEN,
        vectors::REPLIED_OPEN,
        vectors::COMMANDS_OPEN,
        vectors::WANTED_ONE,
        vectors::PIECE_FOUR,
        vectors::STEPPED_EIGHT,
    ];
    let (chip, mut draw) = (Outside::new(6), Draw(1));
    let node = node(chip.open());
    let mut refused = 0;
    for round in 0..20_000_u64 {
        let mut message: Vec<u8> = Vec::new();
        for _ in 0..=draw.below(3) {
            let part = good[draw.below(good.len() as u64) as usize];
            let mut part = part.to_vec();
            for _ in 0..draw.below(4) {
                let at = draw.below(part.len() as u64) as usize;
                part[at] = draw.below(256) as u8;
            }
            if draw.below(5) == 0 {
                part.truncate(draw.below(part.len() as u64) as usize);
            }
            if round % 2 == 0 && part.len() > 8 {
                let end = part.len() - 4;
                let sum = holdfast_core::envelope::checksum(&part[..end]);
                part[end..].copy_from_slice(&sum.to_le_bytes());
            }
            message.append(&mut part);
        }
        let what = match draw.below(4) {
            0 => What::Hello,
            1 => What::Reported(7),
            2 => What::Samples { last: (4, 12), has_more: false },
            _ => What::Reply([draw.below(256) as u8; 16]),
        };
        turns(Some(what)).hear(&node, Pace::default(), &message).unwrap();
        let mut out = [0; PAYLOAD_BYTES];
        node.twin.borrow().lacking(&mut out).unwrap();
        if round % 100 == 0 {
            refused = rejected(&node);
            assert!(node.begin_command().is_ok());
        }
    }
    assert!(refused > 5_000, "{refused}");
    // It starts with what came of that as with anything else.
    let log = chip.open();
    assert_eq!(Node::start(log, ABOUT, None, None).ok().unwrap().boot, 2);
}
