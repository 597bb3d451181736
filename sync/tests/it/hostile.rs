//! Peers that do not play by the rules: each ends its session with a reason, changes nothing it has
//! no right to, and never a panic. The functions that take bytes serve a fuzz target as they are.

use crate::exchange::{Side, edge_disk, start, talk};
use crate::session::hello;
use crate::sim::disk::Disk;
use crate::sim::material::{Fleet, Rng, grant, key};
use crate::support;
use holdfast_core::codec::Sink;
use holdfast_core::log::Link;
use holdfast_core::{ChainId, Stream};
use holdfast_sync::identity::{Membership, Role};
use holdfast_sync::session::{FRAME_MAX_BYTES, Frame, Hello, Input, RefusalCode};
use holdfast_sync::store::{ChainNo, Received, StoredCommit, WriteError};
use zstd::stream::raw::{CParameter, Encoder, Operation};

/// A hub to which any bytes come; returns it for judgement.
pub fn hub_takes(fleet: &Fleet, bytes: &[u8]) -> Side {
    let mut hub = Side::new(fleet, Role::Hub, Disk::default(), 1);
    hub.bytes(bytes);
    hub
}

/// An edge to which any bytes come.
pub fn edge_takes(fleet: &Fleet, bytes: &[u8]) -> Side {
    let mut edge = Side::new(fleet, Role::Edge, edge_disk(fleet, 1..=1, 3), 1);
    edge.bytes(bytes);
    edge
}

/// A hub that has let the edge in and knows its lists: data may come.
fn open_hub(fleet: &Fleet, disk: Disk) -> Side {
    let mut hub = Side::new(fleet, Role::Hub, disk, 1);
    hub.frame(&Frame::Hello(hello(fleet)));
    hub.frame(&Frame::Chains { last: true, held: Vec::new() });
    assert!(hub.established && hub.end.is_none());
    hub
}

/// An edge with an open session at a hub that holds nothing.
fn open_edge(fleet: &Fleet, disk: Disk) -> Side {
    let mut edge = Side::new(fleet, Role::Edge, disk, 9);
    let membership = fleet.membership(Role::Hub).encode();
    edge.frame(&Frame::Hello(Hello { membership, ..hello(fleet) }));
    edge.frame(&Frame::Chains { last: true, held: Vec::new() });
    assert!(edge.established && edge.end.is_none());
    edge
}

/// Records as a stream of frames with data.
fn data(records: &[Vec<u8>], window_log: u32) -> Vec<Frame> {
    let mut encoder = Encoder::new(1).unwrap();
    encoder.set_parameter(CParameter::WindowLog(window_log)).unwrap();
    let (mut out, mut piece) = (Vec::new(), vec![0; 1 << 20]);
    for record in records {
        let mut plain = Vec::new();
        plain.put_bytes(record).unwrap();
        let mut rest = plain.as_slice();
        while !rest.is_empty() {
            let done = encoder.run_on_buffers(rest, &mut piece).unwrap();
            rest = &rest[done.bytes_read..];
            out.extend_from_slice(&piece[..done.bytes_written]);
        }
    }
    loop {
        let mut output = zstd::zstd_safe::OutBuffer::around(piece.as_mut_slice());
        let left = encoder.flush(&mut output).unwrap();
        let written = output.pos();
        out.extend_from_slice(&piece[..written]);
        if left == 0 {
            break;
        }
    }
    out.chunks(FRAME_MAX_BYTES).map(|part| Frame::Data(part.to_vec())).collect()
}

fn chain_record(index: u64, id: &ChainId) -> Vec<u8> {
    let mut out = vec![1];
    out.put_uint(index).unwrap();
    out.put(&id.origin.0).unwrap();
    out.put_uint(id.incarnation.boot).unwrap();
    out.put(&id.incarnation.nonce.to_le_bytes()).unwrap();
    out.put_u8(id.stream as u8).unwrap();
    out
}

fn commit_record(index: u64, before: Option<Link>, commit: &StoredCommit) -> Vec<u8> {
    let mut out = vec![2];
    out.put_uint(index).unwrap();
    out.put_uint(commit.first).unwrap();
    out.put_uint(u64::from(commit.count)).unwrap();
    out.put_u8(u8::from(before.is_some()) | if commit.signature.is_some() { 2 } else { 0 })
        .unwrap();
    before.iter().for_each(|link| out.put(&link.0).unwrap());
    commit.signature.iter().for_each(|signature| out.put(signature).unwrap());
    out.put(&commit.body).unwrap();
    out
}

/// The events of the edge's first start: their chain and commits of three entries each.
fn events(fleet: &Fleet) -> (ChainId, Vec<StoredCommit>) {
    let disk = edge_disk(fleet, 1..=1, 4);
    let chain = disk.chains.values().find(|c| c.info.id.stream == Stream::Event).unwrap();
    (chain.info.id, chain.commits.values().map(|commit| StoredCommit::clone(commit)).collect())
}

fn feed(side: &mut Side, frames: &[Frame]) {
    frames.iter().for_each(|frame| side.frame(frame));
}

#[test]
fn random_bytes_end_in_a_refusal_or_wait_for_more() {
    let fleet = Fleet::new(1);
    let mut ended = 0;
    for seed in 0..3_000 {
        let mut rng = Rng(seed);
        let len = rng.within(1, 400);
        let mut bytes: Vec<u8> = (0..len).map(|_| rng.next() as u8).collect();
        // Half of them begin like a frame of a known kind.
        if rng.percent(50) {
            bytes[0] = rng.within(1, 10) as u8;
        }
        for side in [hub_takes(&fleet, &bytes), edge_takes(&fleet, &bytes)] {
            ended += u64::from(side.end.is_some());
            assert!(
                !side.established
                    && side.code().is_none_or(
                        |c| c == RefusalCode::Protocol || side.end.as_ref().unwrap().by_peer
                    )
            );
        }
    }
    println!("struck: random bytes refused {ended}");
    assert!(ended > 1_000);
}

/// One place of a conversation is changed.
fn mutate(conversation: &[u8], rng: &mut Rng) -> Vec<u8> {
    let mut out = conversation.to_vec();
    let at = rng.within(0, out.len() as u64) as usize;
    let to = (at + rng.within(1, 40) as usize).min(out.len());
    match rng.within(0, 5) {
        0 => out[at] ^= 1 << rng.within(0, 8),
        1 => drop(out.drain(at..to)),
        2 => {
            let part = out[at..to].to_vec();
            out.splice(at..at, part);
        }
        3 => out[at..to].reverse(),
        _ => out[at..to].fill(rng.next() as u8),
    }
    out
}

#[test]
fn mutated_conversations_never_break_what_is_stored() {
    let fleet = Fleet::new(1);
    let mut edge = Side::new(&fleet, Role::Edge, edge_disk(&fleet, 1..=2, 12), 2);
    let mut hub = Side::new(&fleet, Role::Hub, Disk::default(), 1);
    let conversation = talk(&mut edge, &mut hub);
    let (mut refused, mut stored) = (0, 0);
    for seed in 0..3_000 {
        let mut rng = Rng(seed);
        let mut hub = hub_takes(&fleet, &mutate(&conversation, &mut rng));
        refused += u64::from(hub.end.is_some());
        stored += u64::from(!hub.disk.chains.is_empty());
        for chain in hub.disk.chains.values() {
            assert_eq!(chain.info.id.origin, fleet.edge.id());
            let commits: u64 = chain.commits.values().map(|c| u64::from(c.count)).sum();
            assert_eq!(chain.info.frontier.count(), commits);
        }
        // Whatever is left open ends by its deadline.
        for _ in 0..40 {
            if hub.end.is_none() {
                hub.wait();
            }
        }
        assert!(hub.end.is_some(), "seed {seed}");
    }
    println!("struck: mutation refused {refused}");
    println!("struck: mutation after something was stored {stored}");
    assert!(refused > 1_000 && stored > 1_000);
}

#[test]
fn whoever_does_not_belong_is_told_why() {
    let fleet = Fleet::new(1);
    let other = key(77);
    let foreign = Membership::sign(&other, grant(fleet.edge.id(), Role::Edge, 1)).unwrap();
    let stolen = Membership::sign(&fleet.root, grant(other.id(), Role::Edge, 1)).unwrap();
    let mut forged = fleet.membership(Role::Edge).encode();
    *forged.last_mut().unwrap() ^= 1;
    for (membership, code) in [
        (Vec::new(), RefusalCode::Membership),
        (forged, RefusalCode::Membership),
        (foreign.encode(), RefusalCode::ForeignFleet),
        (stolen.encode(), RefusalCode::ForeignFleet),
    ] {
        let hub = hub_takes(&fleet, &Frame::Hello(Hello { membership, ..hello(&fleet) }).encode());
        assert_eq!((hub.code(), hub.established), (Some(code), false));
    }
}

#[test]
fn frames_out_of_turn_end_the_session() {
    let fleet = Fleet::new(1);
    let early = [
        Frame::Data(vec![1]),
        Frame::Chains { last: true, held: Vec::new() },
        Frame::Ack { consumed: 0, granted: 0, chains: Vec::new() },
        Frame::Behind { entries: 1 },
        Frame::Renewed(fleet.membership(Role::Hub).encode()),
    ];
    for frame in &early {
        assert_eq!(hub_takes(&fleet, &frame.encode()).code(), Some(RefusalCode::Protocol));
        assert_eq!(edge_takes(&fleet, &frame.encode()).code(), Some(RefusalCode::Protocol));
    }
    let mut hub = open_hub(&fleet, Disk::default());
    hub.frame(&Frame::Hello(hello(&fleet)));
    assert_eq!(hub.code(), Some(RefusalCode::Protocol));
}

#[test]
fn more_is_acknowledged_than_was_sent() {
    let fleet = Fleet::new(1);
    let lies = [
        Frame::Ack { consumed: 1 << 40, granted: 0, chains: Vec::new() },
        Frame::Ack { consumed: 0, granted: 0, chains: vec![(40, Default::default())] },
    ];
    for lie in lies {
        let mut edge = open_edge(&fleet, edge_disk(&fleet, 1..=1, 3));
        edge.frame(&lie);
        assert_eq!(edge.code(), Some(RefusalCode::Protocol));
        assert!(edge.disk.chains.values().all(|chain| chain.acked.count() == 0));
    }
}

#[test]
fn a_chain_of_another_origin_is_not_taken() {
    let fleet = Fleet::new(1);
    let (id, commits) = events(&fleet);
    let foreign = ChainId { origin: key(5).id(), ..id };
    let mut hub = open_hub(&fleet, Disk::default());
    let records = [chain_record(0, &foreign), commit_record(0, Some(Link::START), &commits[0])];
    feed(&mut hub, &data(&records, 17));
    assert_eq!(hub.code(), Some(RefusalCode::Protocol));
    assert!(hub.disk.chains.is_empty());
}

#[test]
fn nobody_continues_the_start_that_is_running() {
    let fleet = Fleet::new(1);
    let (id, commits) = events(&fleet);
    let mut edge = open_edge(&fleet, Disk::default());
    let running = ChainId { incarnation: start(9), ..id };
    let records = [chain_record(0, &running), commit_record(0, Some(Link::START), &commits[0])];
    feed(&mut edge, &data(&records, 17));
    assert_eq!(edge.code(), Some(RefusalCode::Protocol));
    assert!(edge.disk.chains.is_empty());
}

#[test]
fn a_forged_signature_and_a_body_that_is_none_are_not_taken() {
    let fleet = Fleet::new(1);
    let (id, commits) = events(&fleet);
    let mut forged = commits[0].clone();
    forged.signature.as_mut().unwrap()[9] ^= 1;
    let mut other_body = commits[0].clone();
    other_body.body = commits[1].body.clone();
    let mut no_body = StoredCommit { signature: None, ..commits[0].clone() };
    no_body.body = vec![1, 2, 3];
    let miscounted = StoredCommit { signature: None, count: 2, ..commits[0].clone() };
    let zero = StoredCommit { signature: None, first: 0, ..commits[0].clone() };
    let last = StoredCommit { signature: None, first: u64::MAX - 1, ..commits[0].clone() };
    for bad in [forged, other_body, no_body, miscounted, zero, last] {
        let mut hub = open_hub(&fleet, Disk::default());
        let records = [chain_record(0, &id), commit_record(0, Some(Link::START), &bad)];
        feed(&mut hub, &data(&records, 17));
        assert_eq!(hub.code(), Some(RefusalCode::Protocol));
        assert!(hub.disk.chains.is_empty());
    }
}

#[test]
fn another_past_than_the_one_held_is_a_fork() {
    let fleet = Fleet::new(1);
    let (id, commits) = events(&fleet);
    let mut held = Disk::default();
    let mut run = Received::new(id, Link::START);
    for commit in &commits[..2] {
        run.push(commit.first, commit.count, commit.signature, commit.sealed, commit.body.clone())
            .unwrap();
    }
    held.accept(&run, crate::sim::Bug::None).unwrap();
    let wrong_link = StoredCommit { signature: None, ..commits[2].clone() };
    let overlapping = StoredCommit { first: 5, signature: None, ..commits[2].clone() };
    for (before, bad) in [(Link([7; 32]), wrong_link), (Link([7; 32]), overlapping)] {
        let mut hub = open_hub(&fleet, held.clone());
        let records = [chain_record(0, &id), commit_record(0, Some(before), &bad)];
        feed(&mut hub, &data(&records, 17));
        assert_eq!(hub.code(), Some(RefusalCode::Fork));
        assert!(crate::exchange::same(&hub.disk, &held));
    }
}

/// While two connections overlap, the hub may hold more of the running start than the newer one's
/// list says. It is not to send that back: the edge would take it for an attack.
#[test]
fn nothing_of_the_running_start_is_sent_back() {
    let fleet = Fleet::new(1);
    let mut hub = Side::new(&fleet, Role::Hub, edge_disk(&fleet, 1..=3, 2), 1);
    let mut edge = Side::new(&fleet, Role::Edge, edge_disk(&fleet, 1..=2, 1), 3);
    talk(&mut edge, &mut hub);
    assert_eq!((edge.code(), hub.code()), (None, None));
    let starts: Vec<_> = edge.disk.chains.values().map(|c| c.info.id.incarnation.boot).collect();
    assert_eq!(starts, [1, 1, 1, 2, 2, 2]);
    assert!(edge.disk.chains.values().all(|chain| chain.info.last() == 6));
}

/// A hub has a log of its own, too, and its driver says how far it is. Heads that came before the
/// session was open were kept and sent from: every edge took the hub for an attacker and never came
/// back online.
#[test]
fn the_acceptor_sends_nothing_of_its_own_history() {
    let fleet = Fleet::new(1);
    let own = ChainId { origin: key(9).id(), incarnation: start(1), stream: Stream::Event };
    let mut hub = Side::new(&fleet, Role::Hub, Disk::default(), 1);
    hub.give(Input::Head(ChainNo(7), own, 3));
    hub.frame(&Frame::Hello(hello(&fleet)));
    hub.give(Input::Head(ChainNo(7), own, 3));
    hub.frame(&Frame::Chains { last: true, held: Vec::new() });
    hub.give(Input::Head(ChainNo(7), own, 4));
    assert!(hub.established && hub.end.is_none());
    assert_eq!(hub.reads, [], "nothing of it is even read");
}

/// A fork against the store itself.
#[tokio::test]
async fn the_store_refuses_another_past_whole() {
    let fleet = Fleet::new(1);
    let (id, commits) = events(&fleet);
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = support::open(dir.path(), &support::key());
    let run = |before, parts: &[StoredCommit]| {
        let mut run = Received::new(id, before);
        for part in parts {
            run.push(part.first, part.count, None, part.sealed, part.body.clone()).unwrap();
        }
        run
    };
    let good = run(Link::START, &commits[..2]);
    store.write(move |tx| tx.accept(&good)).await.unwrap();
    let chains = || store.read_blocking(|view| Ok((view.chains()?, view.head()?))).unwrap();
    let before = chains();
    let overlapping = StoredCommit { first: 5, ..commits[2].clone() };
    let (link, other) = (commits[1].link, commits[2].clone());
    let after = StoredCommit { first: other.last() + 1, ..commits[3].clone() };
    for bad in [
        run(Link([7; 32]), std::slice::from_ref(&other)),
        run(Link([7; 32]), &[overlapping]),
        run(Link([7; 32]), &[commits[1].clone(), other.clone()]),
    ] {
        let answer = store.write(move |tx| tx.accept(&bad)).await;
        assert!(matches!(answer, Err(WriteError::Fork { .. })));
        assert_eq!(chains(), before);
    }
    // A part further on is taken; then what should lie between does not fit it.
    let apart = run(Link([9; 32]), &[after]);
    store.write(move |tx| tx.accept(&apart)).await.unwrap();
    let before = chains();
    let between = run(link, &[other]);
    let answer = store.write(move |tx| tx.accept(&between)).await;
    assert!(matches!(answer, Err(WriteError::Fork { .. })));
    assert_eq!(chains(), before);
}

#[test]
fn a_small_frame_does_not_unfold_into_all_memory() {
    let fleet = Fleet::new(1);
    // 500 records of a kind of the future, 1 MiB of zeros each.
    let mut record = vec![0; 1 << 20];
    record[0] = 200;
    let frames = data(&vec![record; 500], 17);
    let bytes: usize = frames.iter().map(|frame| frame.encode().len()).sum();
    println!("struck: 500 MiB in {} frames, {bytes} bytes", frames.len());
    assert!(bytes < 256 << 10);
    let mut hub = open_hub(&fleet, Disk::default());
    feed(&mut hub, &frames);
    assert_eq!(hub.code(), Some(RefusalCode::Protocol));
    assert!(hub.end.unwrap().reason.contains("no room"));
    // A record over the limit, and a window that would need more memory than we give.
    let mut hub = open_hub(&fleet, Disk::default());
    feed(&mut hub, &data(&[vec![9; 3 << 20]], 17));
    assert_eq!(hub.code(), Some(RefusalCode::Protocol));
    let mut rng = Rng(1);
    let noise = (0..1 << 20).map(|_| rng.next() as u8).collect();
    let mut hub = open_hub(&fleet, Disk::default());
    feed(&mut hub, &data(&[noise], 24));
    assert_eq!(hub.code(), Some(RefusalCode::Protocol));
}

#[test]
fn a_flood_of_tiny_commits_stays_within_the_window() {
    let fleet = Fleet::new(1);
    let (id, commits) = events(&fleet);
    let tiny = StoredCommit { signature: None, ..commits[0].clone() };
    let mut records = vec![chain_record(0, &id)];
    for i in 0..200_000 {
        let next = StoredCommit { first: 1 + 3 * i, ..tiny.clone() };
        records.push(commit_record(0, (i == 0).then_some(Link::START), &next));
    }
    let mut hub = open_hub(&fleet, Disk::default());
    let now = holdfast_sync::session::Now::default();
    // A store that never gets done: nothing is taken beyond the window.
    let mut waiting = 0;
    for frame in data(&records, 17) {
        hub.session.handle(now, Input::Frame(frame));
        while let Some(output) = hub.session.poll() {
            if let holdfast_sync::session::Output::Store(runs, _) = output {
                waiting += runs.iter().map(|(_, run)| run.commits().count()).sum::<usize>();
            }
        }
    }
    println!("struck: tiny commits taken before the window was full {waiting}");
    assert!(hub.session.ended() && waiting < 120_000);
}

#[test]
fn an_endless_list_of_chains_is_refused() {
    let fleet = Fleet::new(1);
    let hello = Frame::Hello(hello(&fleet)).encode();
    let mut hub = hub_takes(&fleet, &hello);
    hub.frame(&Frame::Chains { last: false, held: Vec::new() });
    assert_eq!(hub.code(), Some(RefusalCode::Protocol));
    let mut hub = hub_takes(&fleet, &hello);
    let held = holdfast_sync::session::Held {
        incarnation: start(1),
        stream: Stream::Event,
        frontier: Default::default(),
        head: Link::START,
    };
    let frame = Frame::Chains { last: false, held: vec![held; 300] }.encode();
    for _ in 0..1_000 {
        hub.bytes(&frame);
    }
    assert_eq!(hub.code(), Some(RefusalCode::Protocol));
}

#[test]
fn a_peer_that_never_acknowledges_gets_one_burst_and_is_left() {
    let fleet = Fleet::new(1);
    let mut edge = open_edge(&fleet, edge_disk(&fleet, 1..=3, 400));
    let sent: usize = edge.frames.iter().map(Vec::len).sum();
    assert!(sent < 24 << 10, "{sent} bytes to a peer that never acknowledged any");
    edge.now = 19_999;
    edge.give(Input::Tick);
    assert!(edge.end.is_none());
    edge.now = 20_000;
    edge.give(Input::Tick);
    assert_eq!(edge.code(), Some(RefusalCode::Unavailable));
    assert_eq!(edge.end.unwrap().reason, "nothing was heard for 20 s");
}

#[test]
fn a_hello_that_drips_is_cut_by_its_deadline() {
    let fleet = Fleet::new(1);
    let mut hub = Side::new(&fleet, Role::Hub, Disk::default(), 1);
    let hello = Frame::Hello(hello(&fleet)).encode();
    // That it lives is not enough: it has to say who it is.
    (0..10).for_each(|_| hub.frame(&Frame::Ping(1)));
    let mut drops = hello.iter();
    while hub.end.is_none() {
        hub.bytes(&[*drops.next().expect("the deadline comes first")]);
        hub.now += 1_000;
        hub.give(Input::Tick);
    }
    assert_eq!(hub.now, 20_000);
    assert_eq!(hub.code(), Some(RefusalCode::Unavailable));
    assert!(!hub.established);
}
