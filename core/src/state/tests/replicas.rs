//! Replicas of each type as the tests drive them: they act, send deltas to each other, and are
//! judged by another implementation or by what was done.

use super::super::{
    Author, CausalSet, Causality, Counter, Deltas, Lack, Lattice, LwwMap, Mark, MultiValue, Path,
    Register, Role, Tally, Value, VersionVector, Writer,
};
use crate::hlc::Stamp;
use core::fmt::Debug;
use crdts::{CmRDT, CvRDT};
use std::vec::Vec;

/// A type as a replica holds it.
pub trait Replica: Lattice + Clone + PartialEq + Debug + Default {
    /// What a delta is about.
    type Key: Clone + PartialEq + Debug;
    /// Another implementation of the same, or a record of what was done.
    type Judge: Clone + Default;

    /// Does the `step`th thing as writer `me`; answers with what changed.
    fn act(&mut self, judge: &mut Self::Judge, me: u8, step: u8) -> Vec<Self::Key>;
    /// All that it holds.
    fn keys(&self) -> Vec<Self::Key>;
    /// Takes over the part of one key.
    fn join_part(&mut self, from: &Self, key: &Self::Key) -> bool;
    /// Merges what judges.
    fn join_judge(judge: &mut Self::Judge, other: &Self::Judge);
    /// Fails when the judge says otherwise.
    fn judge(&self, judge: &Self::Judge);
}

pub fn author(me: u8) -> Author {
    Author([me + 1; 8])
}

impl Replica for Counter<3> {
    type Key = Author;
    type Judge = crdts::PNCounter<u8>;

    fn act(&mut self, judge: &mut Self::Judge, me: u8, step: u8) -> Vec<Author> {
        let by = [5, -3, 1, -1][usize::from(step) % 4];
        self.add(author(me), by).unwrap();
        let op = if by > 0 {
            judge.inc_many(me, by as u64)
        } else {
            judge.dec_many(me, by.unsigned_abs())
        };
        judge.apply(op);
        [author(me)].into()
    }

    fn keys(&self) -> Vec<Author> {
        self.tallies().iter().map(|(author, _)| *author).collect()
    }

    fn join_part(&mut self, from: &Self, key: &Author) -> bool {
        let tally: Tally = from.tally(*key);
        self.join_tally(*key, tally).unwrap()
    }

    fn join_judge(judge: &mut Self::Judge, other: &Self::Judge) {
        judge.merge(other.clone());
    }

    fn judge(&self, judge: &Self::Judge) {
        assert_eq!(self.total(), i64::try_from(judge.read()).unwrap());
    }
}

/// What was done to each element. The longest chain of acts that saw each other has the last word.
#[derive(Clone, Default)]
pub struct SetJudge {
    /// Element, whether it was added, and how long the chain was by then.
    acts: Vec<(u32, bool, usize)>,
}

impl Replica for CausalSet<u32, 3> {
    type Key = u32;
    type Judge = SetJudge;

    fn act(&mut self, judge: &mut SetJudge, me: u8, step: u8) -> Vec<u32> {
        let element = u32::from((me + step) % 3);
        let adds = step.is_multiple_of(2) || !self.contains(&element);
        let turned = if adds { self.insert(&element) } else { self.remove(&element) };
        let Some(length) = turned.unwrap() else { return Vec::new() };
        judge.acts.push((element, adds, usize::from(length)));
        [element].into()
    }

    fn keys(&self) -> Vec<u32> {
        self.lengths().iter().map(|(element, _)| *element).collect()
    }

    fn join_part(&mut self, from: &Self, key: &u32) -> bool {
        self.join_length(key, from.length(key)).unwrap()
    }

    fn join_judge(judge: &mut SetJudge, other: &SetJudge) {
        for act in &other.acts {
            if !judge.acts.contains(act) {
                judge.acts.push(*act);
            }
        }
    }

    fn judge(&self, judge: &SetJudge) {
        for element in 0..3 {
            let acts = judge.acts.iter().filter(|(of, ..)| *of == element);
            let last = acts.max_by_key(|(_, _, seen)| *seen);
            assert_eq!(self.contains(&element), last.is_some_and(|(_, adds, _)| *adds));
        }
    }
}

impl Default for Register<u8> {
    fn default() -> Self {
        Self::new(0)
    }
}

impl Replica for Register<u8> {
    type Key = ();
    type Judge = crdts::LWWReg<u8, (u64, [u8; 8])>;

    fn act(&mut self, judge: &mut Self::Judge, me: u8, step: u8) -> Vec<()> {
        let value = me * 16 + step;
        // The clocks of the three are years apart, and one of them steps back.
        let wall = [5, 1 << 40, 1 << 30][usize::from(me)] - u64::from(me) * u64::from(step);
        let stamp = self.set(value, Stamp::new(wall, 0), author(me));
        judge.update(value, (stamp.0, author(me).0));
        [()].into()
    }

    fn keys(&self) -> Vec<()> {
        [()].into()
    }

    fn join_part(&mut self, from: &Self, (): &()) -> bool {
        self.join(from).unwrap()
    }

    fn join_judge(judge: &mut Self::Judge, other: &Self::Judge) {
        judge.merge(other.clone());
    }

    fn judge(&self, judge: &Self::Judge) {
        assert_eq!(*self.get(), judge.val);
    }
}

/// The greatest write to each path, of those made directly.
pub type MapJudge = Vec<(&'static str, (Stamp, Author), u8)>;

const PATHS: [&str; 4] = ["a", "a/b", "c", "a/b"];

impl Replica for LwwMap<256> {
    type Key = &'static str;
    type Judge = MapJudge;

    fn act(&mut self, judge: &mut MapJudge, me: u8, step: u8) -> Vec<&'static str> {
        let at = PATHS[usize::from(me + step) % 4];
        let path = Path::new(at).unwrap();
        let local = Stamp::new([9, 1 << 40, 1 << 30][usize::from(me)], 0);
        let writer = Writer { local, author: author(me), role: Role::Edge };
        let value = me * 16 + step;
        if step == 3 {
            self.delete(path, writer);
        } else {
            let stamp = self.put(path, Value::Int(i64::from(value)), writer).unwrap();
            judge.push((at, (stamp, author(me)), value));
        }
        ["a", "a/b"]
            .into_iter()
            .filter(|_| at != "c")
            .chain(["c"].into_iter().filter(|c| at == *c))
            .collect()
    }

    fn keys(&self) -> Vec<&'static str> {
        PATHS[..3].to_vec()
    }

    fn join_part(&mut self, from: &Self, key: &&'static str) -> bool {
        let path = Path::new(key).unwrap();
        from.get(path).is_some_and(|cell| self.join_cell(path, &cell).unwrap())
    }

    fn join_judge(judge: &mut MapJudge, other: &MapJudge) {
        for write in other {
            if !judge.contains(write) {
                judge.push(*write);
            }
        }
    }

    fn judge(&self, judge: &MapJudge) {
        for (path, cell) in self.iter().filter(|(_, cell)| cell.is_live()) {
            let writes = judge.iter().filter(|(at, ..)| *at == path.as_str());
            let (_, write, value) = writes.max_by_key(|(_, write, _)| *write).unwrap();
            assert_eq!((cell.stamp, cell.author), *write);
            assert_eq!(cell.value(), Some(Value::Int(i64::from(*value))));
        }
    }
}

impl Replica for MultiValue<u8, u8, 4, 3> {
    type Key = ();
    type Judge = crdts::MVReg<u8, u8>;

    fn act(&mut self, judge: &mut Self::Judge, me: u8, step: u8) -> Vec<()> {
        let value = me * 16 + step;
        self.set(&me, value).unwrap();
        judge.apply(judge.write(value, judge.read_ctx().derive_add_ctx(me)));
        [()].into()
    }

    fn keys(&self) -> Vec<()> {
        [()].into()
    }

    fn join_part(&mut self, from: &Self, (): &()) -> bool {
        self.join(from).unwrap()
    }

    fn join_judge(judge: &mut Self::Judge, other: &Self::Judge) {
        judge.merge(other.clone());
    }

    fn judge(&self, judge: &Self::Judge) {
        let mut judged = judge.read().val;
        judged.sort_unstable();
        let mut values: Vec<u8> = self.values().copied().collect();
        values.sort_unstable();
        assert_eq!(values, judged);
    }
}

impl Replica for VersionVector<u8, 3> {
    type Key = u8;
    type Judge = crdts::VClock<u8>;

    fn act(&mut self, judge: &mut Self::Judge, me: u8, _: u8) -> Vec<u8> {
        self.advance(&me).unwrap();
        judge.apply(judge.inc(me));
        [me].into()
    }

    fn keys(&self) -> Vec<u8> {
        self.seen().iter().map(|(id, _)| *id).collect()
    }

    fn join_part(&mut self, from: &Self, key: &u8) -> bool {
        self.see(&super::super::Dot { id: *key, seq: from.get(key) }).unwrap()
    }

    fn join_judge(judge: &mut Self::Judge, other: &Self::Judge) {
        judge.merge(other.clone());
    }

    fn judge(&self, judge: &Self::Judge) {
        let judged: Vec<_> = judge.iter().map(|dot| (*dot.actor, dot.counter)).collect();
        assert_eq!(self.seen(), judged);
    }
}

/// Compares two vectors as the other implementation does.
pub fn causality(a: &crdts::VClock<u8>, b: &crdts::VClock<u8>) -> Causality {
    match a.partial_cmp(b) {
        Some(core::cmp::Ordering::Equal) => Causality::Equal,
        Some(core::cmp::Ordering::Less) => Causality::Before,
        Some(core::cmp::Ordering::Greater) => Causality::After,
        None => Causality::Concurrent,
    }
}

/// Three replicas that send each other what they have not acknowledged.
#[derive(Clone)]
pub struct Trio<R: Replica> {
    pub nodes: [Node<R>; 3],
}

#[derive(Clone)]
pub struct Node<R: Replica> {
    pub state: R,
    pub judge: R::Judge,
    /// Too small for all keys, so that whole states are sent, too.
    deltas: Deltas<R::Key, 2>,
    marks: [Option<Mark>; 3],
}

impl<R: Replica> Default for Trio<R> {
    fn default() -> Self {
        let node = |epoch| Node {
            state: R::default(),
            judge: R::Judge::default(),
            deltas: Deltas::new(epoch),
            marks: [None; 3],
        };
        Self { nodes: [node(1), node(2), node(3)] }
    }
}

/// How often a peer got deltas, and how often everything.
#[derive(Clone, Copy, Default, Debug)]
pub struct Sent {
    pub deltas: u64,
    pub everything: u64,
}

impl<R: Replica> Trio<R> {
    pub fn act(&mut self, me: usize, step: u8) {
        let node = &mut self.nodes[me];
        for key in node.state.act(&mut node.judge, me as u8, step) {
            node.deltas.note(key);
        }
        node.state.judge(&node.judge);
    }

    /// `to` gets from `from` what it lacks. The deltas have to do what the whole state does.
    pub fn pull(&mut self, to: usize, from: usize, sent: &mut Sent) {
        let source = self.nodes[from].clone();
        let node = &mut self.nodes[to];
        let mut whole = node.state.clone();
        whole.join(&source.state).unwrap();
        let keys = match source.deltas.since(node.marks[from]) {
            Lack::Keys(keys) => {
                sent.deltas += 1;
                keys.iter().map(|(key, _)| key.clone()).collect()
            }
            Lack::Everything => {
                sent.everything += 1;
                source.state.keys()
            }
        };
        for key in keys {
            if node.state.join_part(&source.state, &key) {
                node.deltas.note(key);
            }
        }
        assert_eq!(node.state, whole, "deltas do what the whole state does");
        node.marks[from] = Some(source.deltas.mark());
        R::join_judge(&mut node.judge, &source.judge);
        node.state.judge(&node.judge);
    }

    /// Everybody gets everything; they agree, and further exchange changes nothing.
    pub fn settle(&mut self, sent: &mut Sent) {
        for (to, from) in [(0, 1), (0, 2), (1, 0), (2, 0)] {
            self.pull(to, from, sent);
        }
        let [a, b, c] = &self.nodes;
        assert_eq!(a.state, b.state);
        assert_eq!(a.state, c.state);
    }
}
