//! What two sessions agree on: who is let in, what an idle reconnect costs, what is sent back.

use crate::exchange::{Side, WALL_MS, edge_disk, same, start, talk};
use crate::sim::disk::Disk;
use crate::sim::material::{Fleet, Rng, body, grant, key};
use holdfast_core::{ChainId, NodeId, Stream, Timestamp};
use holdfast_sync::identity::{Membership, Role};
use holdfast_sync::session::{
    Admission, Backfill, Frame, FrameReader, HeldDocuments, Hello, Input, Policy, RefusalCode,
};
use std::sync::Arc;

fn pair(fleet: &Fleet, edge: Disk, hub: Disk, boot: u64) -> (Side, Side) {
    let edge = Side::new(fleet, Role::Edge, edge, boot);
    (edge, Side::new(fleet, Role::Hub, hub, 1))
}

/// What is left of two sides after a session.
fn disks((edge, hub): (Side, Side)) -> (Disk, Disk) {
    assert_eq!((edge.end, hub.end), (None, None));
    (edge.disk, hub.disk)
}

#[test]
fn an_idle_reconnect_lists_no_closed_chain_and_costs_few_bytes() {
    let fleet = Fleet::new(1);
    let (mut edge, mut hub) = pair(&fleet, edge_disk(&fleet, 1..=300, 2), Disk::default(), 300);
    talk(&mut edge, &mut hub);
    assert!(same(&edge.disk, &hub.disk));
    let (edge, hub) = disks((edge, hub));
    let (mut edge, mut hub) = pair(&fleet, edge, hub, 300);
    talk(&mut edge, &mut hub);
    let membership = fleet.membership(Role::Edge).encode().len() as u64;
    let (up, down) = (edge.sent - membership, hub.sent - membership);
    println!("idle reconnect beyond the memberships of {membership} bytes: {up} up, {down} down");
    assert!(up <= 512 && down <= 512, "{up} {down}");
    assert_eq!(edge.behind, Some(0));
    assert!(edge.reads.is_empty() && hub.reads.is_empty());
}

#[test]
fn a_digest_that_disagrees_falls_back_to_full_lists() {
    let fleet = Fleet::new(1);
    let (mut edge, mut hub) = pair(&fleet, edge_disk(&fleet, 1..=20, 2), Disk::default(), 20);
    talk(&mut edge, &mut hub);
    let (edge, hub) = disks((edge, hub));
    let whole = hub.clone();
    let lost = edge_disk(&fleet, 1..=7, 1);
    let (mut edge, mut hub) = pair(&fleet, edge, lost, 20);
    talk(&mut edge, &mut hub);
    assert!(same(&edge.disk, &hub.disk) && same(&hub.disk, &whole), "the tail came again");
    edge.wait();
    assert_eq!(edge.behind, Some(0));
}

#[test]
fn an_edge_that_lost_its_tail_gets_it_back() {
    let fleet = Fleet::new(1);
    let whole = edge_disk(&fleet, 1..=5, 6);
    for lost in [Disk::default(), edge_disk(&fleet, 1..=3, 6), edge_disk(&fleet, 1..=5, 4)] {
        let (mut edge, mut hub) = pair(&fleet, lost, whole.clone(), 6);
        talk(&mut edge, &mut hub);
        assert!(same(&edge.disk, &whole) && same(&hub.disk, &whole));
    }
}

#[test]
fn a_hole_that_both_sides_have_costs_no_lists() {
    let fleet = Fleet::new(1);
    let mut holed = edge_disk(&fleet, 1..=50, 4);
    for chain in holed.chains.values_mut() {
        // As if damage had taken the second commit before it could be sent.
        chain.commits.remove(&4);
        let mut frontier = holdfast_sync::store::Frontier::new();
        for (from, to) in [(1, 3), (7, 12)] {
            frontier.add(holdfast_core::ranges::Range { from, to }).unwrap();
        }
        chain.info.frontier = frontier;
    }
    let (mut edge, mut hub) = pair(&fleet, holed.clone(), holed, 51);
    talk(&mut edge, &mut hub);
    let (edge, hub) = disks((edge, hub));
    let (mut edge, mut hub) = pair(&fleet, edge, hub, 51);
    talk(&mut edge, &mut hub);
    assert!(edge.sent < 600 && hub.sent < 600, "{} {}", edge.sent, hub.sent);
}

#[test]
fn oldest_first_sends_a_stream_as_it_happened() {
    let fleet = Fleet::new(1);
    let config = fleet.config(Role::Edge, start(4), Backfill::OldestFirst);
    let disk = edge_disk(&fleet, 1..=3, 300);
    let mut edge = Side::with(config, fleet.policy(Role::Edge), disk);
    let mut hub = Side::new(&fleet, Role::Hub, Disk::default(), 1);
    talk(&mut edge, &mut hub);
    assert!(same(&edge.disk, &hub.disk) && edge.reads.len() > 9);
    assert!(edge.reads.is_sorted_by_key(|(stream, ..)| *stream));
    let readings = edge.reads.iter().filter(|(stream, ..)| *stream == Stream::Reading);
    let mut next = 1;
    for (_, from, to, _) in readings {
        assert!(*from == next || *from == 1, "each chain from its start on");
        next = to + 1;
    }
}

/// A commit between the loading of the chains and the opening of the session was told too early,
/// forgotten, and left only with the next one.
#[test]
fn an_entry_committed_during_the_handshake_leaves_first() {
    let fleet = Fleet::new(1);
    let mut edge = Side::new(&fleet, Role::Edge, edge_disk(&fleet, 1..=1, 40), 1);
    let mut hub = Side::new(&fleet, Role::Hub, Disk::default(), 1);
    let id = ChainId { origin: fleet.edge.id(), incarnation: start(1), stream: Stream::Reading };
    let received = Timestamp::from_millis(WALL_MS).unwrap();
    edge.disk.append(id, 1, body(Stream::Reading, 1, received, &mut Rng(1)), None);
    edge.heads();
    talk(&mut edge, &mut hub);
    assert_eq!(edge.reads.first(), Some(&(Stream::Reading, 121, 121, true)));
    assert!(same(&edge.disk, &hub.disk));
    edge.wait();
    assert_eq!(edge.behind, Some(0));
}

#[test]
fn protocol_versions_that_do_not_meet_are_refused_with_both_ranges() {
    let fleet = Fleet::new(1);
    for (low, high) in [(2, 9), (0, 0), (7, 1)] {
        let mut hub = Side::new(&fleet, Role::Hub, Disk::default(), 1);
        hub.frame(&Frame::Hello(Hello { protocol: (low, high), ..hello(&fleet) }));
        let end = hub.end.unwrap();
        assert_eq!((end.by_peer, end.code), (false, RefusalCode::Version));
        assert_eq!(end.reason, format!("it speaks protocol {low} to {high}, we speak 1 to 1"));
    }
    let mut hub = Side::new(&fleet, Role::Hub, Disk::default(), 1);
    hub.frame(&Frame::Hello(Hello { protocol: (0, 9), ..hello(&fleet) }));
    assert!(hub.established && hub.end.is_none());
}

/// The hello of the fleet's edge.
pub fn hello(fleet: &Fleet) -> Hello {
    Hello {
        protocol: (1, 1),
        version: "x".to_owned(),
        wall_ms: WALL_MS,
        incarnation: start(1),
        membership: fleet.membership(Role::Edge).encode(),
        closed_below: 0,
        closed_digest: [0; 16],
        held: HeldDocuments::None,
    }
}

/// A hub that renews whoever's membership ends within a week, by its own clock.
struct Renews(Membership, i64);

impl Policy for Renews {
    fn admit(&self, _: NodeId, shown: &Membership) -> Admission {
        if shown.grant().not_after_s - self.1 / 1000 > 7 * 86_400 {
            return Admission::Admit;
        }
        Admission::Renew(Box::new(self.0.clone()))
    }
}

#[test]
fn a_membership_is_renewed_in_time_and_when_it_has_expired() {
    let fleet = Fleet::new(1);
    let long = i64::from(u32::MAX);
    let fresh = Membership::sign(
        &fleet.root,
        holdfast_sync::identity::Grant {
            not_after_s: long,
            ..grant(fleet.edge.id(), Role::Edge, 2)
        },
    )
    .unwrap();
    let end_ms = 1_900_000_000_000;
    for (now, renewed) in
        [(end_ms - 86_400_000, true), (end_ms + 86_400_000, true), (WALL_MS, false)]
    {
        let config = fleet.config(Role::Hub, start(1), Backfill::NewestFirst);
        let mut hub = Side::with(config, Arc::new(Renews(fresh.clone(), now)), Disk::default());
        let mut edge = Side::new(&fleet, Role::Edge, edge_disk(&fleet, 1..=1, 2), 1);
        talk(&mut edge, &mut hub);
        assert_eq!(edge.renewed.as_deref(), renewed.then_some(&fresh), "at {now}");
        assert!(same(&edge.disk, &hub.disk), "then everything is served");
    }
}

#[test]
fn a_renewal_for_another_node_fleet_or_role_is_refused() {
    let fleet = Fleet::new(1);
    let (edge, other) = (fleet.edge.id(), key(99));
    for fresh in [
        Membership::sign(&other, grant(edge, Role::Edge, 2)).unwrap(),
        Membership::sign(&fleet.root, grant(other.id(), Role::Edge, 2)).unwrap(),
        Membership::sign(&fleet.root, grant(edge, Role::Hub, 2)).unwrap(),
    ] {
        let mut edge = Side::new(&fleet, Role::Edge, Disk::default(), 1);
        let membership = fleet.membership(Role::Hub).encode();
        edge.frame(&Frame::Hello(Hello { membership, ..hello(&fleet) }));
        edge.frame(&Frame::Renewed(fresh.encode()));
        assert_eq!(edge.code(), Some(RefusalCode::Protocol));
        assert!(edge.renewed.is_none());
    }
}

#[test]
fn an_acknowledgement_of_many_chains_is_cut_to_frames() {
    let fleet = Fleet::new(1);
    let mut hub = Side::new(&fleet, Role::Hub, Disk::default(), 1);
    let mut edge = Side::new(&fleet, Role::Edge, edge_disk(&fleet, 1..=1, 1), 1);
    talk(&mut edge, &mut hub);
    edge.frames.clear();
    let mut wide = holdfast_sync::store::Frontier::new();
    (0..64).for_each(|i| {
        wide.add(holdfast_core::ranges::Range { from: 1 + i * (1 << 40), to: 1 + i * (1 << 40) })
            .unwrap();
    });
    // What the store says of a batch that touched a thousand chains full of holes.
    let id = ChainId { origin: fleet.edge.id(), incarnation: start(1), stream: Stream::Event };
    let received = Timestamp::from_millis(WALL_MS).unwrap();
    edge.disk.append(id, 1, body(Stream::Event, 1, received, &mut Rng(1)), None);
    edge.heads();
    let data = std::mem::take(&mut edge.frames);
    let mut reader = FrameReader::default();
    data.iter().for_each(|bytes| reader.push(bytes));
    let data = std::iter::from_fn(|| reader.next_frame().unwrap())
        .find(|frame| matches!(frame, Frame::Data(_)))
        .unwrap();
    let now = holdfast_sync::session::Now { mono_ms: 1, wall_ms: WALL_MS };
    hub.session.handle(now, Input::Frame(data));
    while hub.session.poll().is_some() {}
    let wide = (0..1_000).map(|index| (index, wide.clone())).collect();
    hub.give(Input::Stored(wide, Vec::new()));
    assert!(hub.frames.len() > 10);
    let mut reader = FrameReader::default();
    hub.frames.iter().for_each(|bytes| reader.push(bytes));
    let (mut chains, mut last) = (0, 0);
    while let Some(frame) = reader.next_frame().unwrap() {
        let Frame::Ack { consumed, chains: some, .. } = frame else { panic!("{frame:?}") };
        chains += some.len();
        assert!(consumed >= last);
        last = consumed;
    }
    assert_eq!(chains, 1_000);
}
