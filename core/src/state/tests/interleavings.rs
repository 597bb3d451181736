//! Every order in which three replicas can do four things each: 34,650 schedules per type.
//!
//! Each acts twice and twice gets what another has, as deltas that are checked against the whole
//! state. In the end all get everything and agree with each other and with their judge.

use super::super::{CausalSet, Counter, LwwMap, MultiValue, Register, VersionVector};
use super::replicas::{Replica, Sent, Trio};

const REPLICAS: usize = 3;
const STEPS: usize = 4;

/// Explores all schedules from here on; answers with how many there are.
fn explore<R: Replica>(trio: &Trio<R>, done: [usize; REPLICAS], sent: &mut Sent) -> u64 {
    let mut schedules = 0;
    for me in 0..REPLICAS {
        let mut next = trio.clone();
        match done[me] {
            STEPS => continue,
            0 => next.act(me, 0),
            1 => next.pull(me, (me + 1) % REPLICAS, sent),
            2 => next.act(me, 3),
            _ => next.pull(me, (me + 2) % REPLICAS, sent),
        }
        let mut done = done;
        done[me] += 1;
        schedules += explore(&next, done, sent);
    }
    if done == [STEPS; REPLICAS] {
        trio.clone().settle(sent);
        schedules = 1;
    }
    schedules
}

fn all_agree<R: Replica>() {
    let mut sent = Sent::default();
    let schedules = explore(&Trio::<R>::default(), [0; REPLICAS], &mut sent);
    assert_eq!(schedules, 34_650, "12! / (4! 4! 4!)");
    assert!(sent.deltas > 0 && sent.everything > 0, "both ways were taken: {sent:?}");
}

#[test]
fn counters_agree_in_every_schedule() {
    all_agree::<Counter<3>>();
}

#[test]
fn sets_agree_in_every_schedule() {
    all_agree::<CausalSet<u32, 3>>();
}

#[test]
fn registers_agree_in_every_schedule() {
    all_agree::<Register<u8>>();
}

#[test]
fn maps_agree_in_every_schedule() {
    all_agree::<LwwMap<256>>();
}

#[test]
fn registers_of_many_values_agree_in_every_schedule() {
    all_agree::<MultiValue<u8, u8, 4, 3>>();
}

#[test]
fn version_vectors_agree_in_every_schedule() {
    all_agree::<VersionVector<u8, 3>>();
}
