//! The laws of every type that merges, over states that replicas really reach: joining commutes,
//! associates, repeats without effect and only grows; and what does not fit changes nothing.

use super::super::{
    CausalSet, Causality, Counter, Lattice, LwwMap, MultiValue, Register, Tally, VersionVector,
};
use super::replicas::{Replica, Sent, Trio, author, causality};
use crate::Reject;
use core::fmt::Debug;
use proptest::prelude::*;
use std::vec::Vec;

/// What happens: who acts, or who gets the state of whom.
#[derive(Clone, Copy, Debug)]
enum Step {
    Act(usize, u8),
    Pull(usize, usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        (0usize..3, 0u8..4).prop_map(|(me, step)| Step::Act(me, step)),
        (0usize..3, 0usize..3).prop_map(|(to, from)| Step::Pull(to, from)),
    ];
    prop::collection::vec(step, 0..24)
}

fn run<R: Replica>(steps: &[Step]) -> Trio<R> {
    let mut trio = Trio::<R>::default();
    let mut sent = Sent::default();
    for step in steps {
        match *step {
            Step::Act(me, step) => trio.act(me, step),
            Step::Pull(to, from) if to != from => trio.pull(to, from, &mut sent),
            Step::Pull(..) => {}
        }
    }
    trio
}

fn joined<L: Lattice + Clone>(a: &L, b: &L) -> L {
    let mut joined = a.clone();
    joined.join(b).unwrap();
    joined
}

fn laws<L: Lattice + Clone + PartialEq + Debug>(a: &L, b: &L, c: &L) {
    assert_eq!(joined(a, b), joined(b, a), "commutes");
    assert_eq!(joined(&joined(a, b), c), joined(a, &joined(b, c)), "associates");
    let mut again = a.clone();
    assert_eq!(again.join(a), Ok(false), "a repeat changes nothing");
    assert_eq!(&again, a);
    let mut ab = joined(a, b);
    let grew = a.clone().join(b).unwrap();
    assert_eq!(grew, ab != *a, "says whether it changed");
    assert_eq!(ab.join(a), Ok(false), "has grown beyond both");
    assert_eq!(ab.join(b), Ok(false), "has grown beyond both");
}

fn laws_of<R: Replica>(steps: &[Step]) {
    let [a, b, c] = run::<R>(steps).nodes.map(|node| node.state);
    laws(&a, &b, &c);
}

proptest! {
    #[test]
    fn joining_obeys_the_laws(steps in steps()) {
        laws_of::<Counter<3>>(&steps);
        laws_of::<CausalSet<u32, 3>>(&steps);
        laws_of::<Register<u8>>(&steps);
        laws_of::<LwwMap<256>>(&steps);
        laws_of::<MultiValue<u8, u8, 4, 3>>(&steps);
        laws_of::<VersionVector<u8, 3>>(&steps);
    }

    #[test]
    fn tallies_obey_the_laws(
        a in any::<(u64, u64)>(), b in any::<(u64, u64)>(), c in any::<(u64, u64)>(),
    ) {
        let [a, b, c] = [a, b, c].map(|(plus, minus)| Tally { plus, minus });
        laws(&a, &b, &c);
    }

    #[test]
    fn vectors_compare_as_another_implementation_does(steps in steps()) {
        let trio = run::<VersionVector<u8, 3>>(&steps);
        for a in &trio.nodes {
            for b in &trio.nodes {
                prop_assert_eq!(a.state.compare(&b.state), causality(&a.judge, &b.judge));
            }
        }
    }

    /// Types with too little room, driven into their bounds from all sides.
    #[test]
    fn what_does_not_fit_changes_nothing(
        acts in prop::collection::vec((0u8..5, 0u8..5, any::<bool>()), 0..20),
    ) {
        let mut counters = [Counter::<2>::new(), Counter::new()];
        let mut sets = [CausalSet::<u8, 2>::new(), CausalSet::new()];
        let mut vectors = [VersionVector::<u8, 2>::new(), VersionVector::new()];
        let mut registers = [MultiValue::<u8, u8, 1, 2>::new(), MultiValue::new()];
        for (id, what, first) in acts {
            let mine = usize::from(!first);
            or_nothing(&mut counters, mine, what, |it| it.add(author(id), i64::MAX).map(drop));
            or_nothing(&mut sets, mine, what, |it| it.insert(&id).map(drop));
            or_nothing(&mut vectors, mine, what, |it| it.advance(&id).map(drop));
            or_nothing(&mut registers, mine, what, |it| it.set(&id, what).map(drop));
        }
    }
}

/// Acts on one of two states, or joins the other into it; if that fails it must not show.
fn or_nothing<L: Lattice + Clone + PartialEq + Debug>(
    both: &mut [L; 2],
    mine: usize,
    what: u8,
    act: impl Fn(&mut L) -> Result<(), Reject>,
) {
    let other = both[1 - mine].clone();
    let it = &mut both[mine];
    let before = it.clone();
    let done = if what == 0 { it.join(&other).map(drop) } else { act(it) };
    if let Err(reject) = done {
        assert_eq!(reject, Reject::Full);
        assert_eq!(*it, before, "refused, and yet something changed");
    }
}

#[test]
fn every_bound_is_met_and_refuses() {
    let mut counter = Counter::<1>::new();
    counter.add(author(0), 1).unwrap();
    assert_eq!(counter.add(author(1), 1), Err(Reject::Full));
    assert_eq!(counter.join_tally(author(1), Tally::default()), Err(Reject::Full));
    for _ in 0..2 {
        counter.add(author(0), i64::MAX).unwrap();
    }
    assert_eq!(counter.add(author(0), i64::MAX), Err(Reject::Full), "64 bits are used up");

    let mut set = CausalSet::<u8, 1>::new();
    set.insert(&7).unwrap();
    assert_eq!(set.insert(&8), Err(Reject::Full));
    set.join_length(&7, u16::MAX).unwrap();
    assert_eq!(set.remove(&7), Err(Reject::Full), "its length is used up");
    assert!(set.contains(&7));

    let mut vector = VersionVector::<u8, 1>::new();
    vector.advance(&1).unwrap();
    assert_eq!(vector.advance(&2), Err(Reject::Full));

    let mut register = MultiValue::<u8, u8, 1, 3>::new();
    register.set(&1, 10).unwrap();
    let mut other = MultiValue::new();
    other.set(&2, 20).unwrap();
    assert_eq!(register.join(&other), Err(Reject::Full));
    // Once one of them has seen the other and chosen, there is room again.
    let mut roomy = MultiValue::<u8, u8, 2, 3>::new();
    roomy.set(&1, 10).unwrap();
    assert_eq!(roomy.values().len(), 1);
}

#[test]
fn absent_means_zero() {
    let mut seen = VersionVector::<u8, 2>::new();
    let nothing = VersionVector::<u8, 2>::new();
    assert_eq!(seen.see(&super::super::Dot { id: 1, seq: 0 }), Ok(false));
    assert_eq!(seen.compare(&nothing), Causality::Equal);
    let dot = seen.advance(&1).unwrap();
    assert!(seen.contains(&dot) && !nothing.contains(&dot));
    assert_eq!(seen.compare(&nothing), Causality::After);
    assert_eq!(nothing.compare(&seen), Causality::Before);
    let mut other = VersionVector::<u8, 2>::new();
    other.advance(&2).unwrap();
    assert_eq!(seen.compare(&other), Causality::Concurrent);
    let mut set = CausalSet::<u8, 1>::new();
    assert_eq!(set.join_length(&1, 0), Ok(false));
    assert!(set.lengths().is_empty(), "what was never added takes no room");
}
