//! What has changed since a peer last acknowledged: a bounded list of keys, newest last.
//!
//! Because every part of a state only grows, the present part of a key says all its earlier ones
//! said. So what is remembered of a change is its key and a number; sending the parts of all keys
//! above the acknowledged number does the same as sending the whole state. A key that changes
//! again moves to the end, and when there is no room the oldest is forgotten: a peer that has not
//! acknowledged that far gets the whole state.
//!
//! The list does not survive a restart. It begins with an epoch drawn anew, and an acknowledgement
//! of another epoch counts as none.

use crate::Seq;

/// How far a peer has what this list names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Mark {
    /// Which list.
    pub epoch: u64,
    /// Up to which change.
    pub seq: Seq,
}

/// What a peer lacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lack<'a, K> {
    /// The parts of these keys, oldest change first; none when it has everything.
    Keys(&'a [(K, Seq)]),
    /// More than is remembered: it needs the whole state.
    Everything,
}

/// The last changes, of at most `N` keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deltas<K, const N: usize> {
    epoch: u64,
    last: Seq,
    /// Changes up to here are no longer known one by one.
    forgotten: Seq,
    changes: heapless::Vec<(K, Seq), N>,
}

impl<K: PartialEq, const N: usize> Deltas<K, N> {
    /// An empty list over a state that peers may lack; `epoch` is drawn at the start.
    #[must_use]
    pub const fn new(epoch: u64) -> Self {
        // The state that was there before has number 1: a peer that acknowledged nothing lacks it.
        Self { epoch, last: 1, forgotten: 1, changes: heapless::Vec::new() }
    }

    /// What to acknowledge after everything up to now was received.
    #[must_use]
    pub const fn mark(&self) -> Mark {
        Mark { epoch: self.epoch, seq: self.last }
    }

    /// Notes that the part of `key` has changed.
    pub fn note(&mut self, key: K) {
        self.last += 1;
        if let Some(at) = self.changes.iter().position(|(held, _)| *held == key) {
            self.changes.remove(at);
        } else if self.changes.is_full() && !self.changes.is_empty() {
            self.forgotten = self.changes.remove(0).1;
        }
        if self.changes.push((key, self.last)).is_err() {
            self.forgotten = self.last;
        }
    }

    /// What a peer lacks that acknowledged `mark`, or nothing yet.
    #[must_use]
    pub fn since(&self, mark: Option<Mark>) -> Lack<'_, K> {
        match mark.filter(|mark| mark.epoch == self.epoch) {
            Some(Mark { seq, .. }) if (self.forgotten..=self.last).contains(&seq) => {
                let from = self.changes.partition_point(|(_, changed)| *changed <= seq);
                Lack::Keys(&self.changes[from..])
            }
            _ => Lack::Everything,
        }
    }

    /// Forgets what every peer has: `mark` is the least that any of them acknowledged.
    pub fn acknowledge(&mut self, mark: Mark) {
        if mark.epoch != self.epoch {
            return;
        }
        let seq = mark.seq.min(self.last);
        let has = self.changes.partition_point(|(_, changed)| *changed <= seq);
        for _ in 0..has {
            self.changes.remove(0);
        }
        self.forgotten = self.forgotten.max(seq);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    fn keys(lack: Lack<'_, u8>) -> Option<Vec<u8>> {
        match lack {
            Lack::Keys(keys) => Some(keys.iter().map(|(key, _)| *key).collect()),
            Lack::Everything => None,
        }
    }

    #[test]
    fn a_peer_gets_what_changed_since_it_acknowledged() {
        let mut deltas = Deltas::<u8, 4>::new(7);
        assert_eq!(keys(deltas.since(None)), None, "the state of before");
        let start = deltas.mark();
        assert_eq!(keys(deltas.since(Some(start))), Some([].into()));
        deltas.note(1);
        deltas.note(2);
        let mark = deltas.mark();
        deltas.note(3);
        deltas.note(1);
        assert_eq!(keys(deltas.since(Some(start))), Some([2, 3, 1].into()), "each key once");
        assert_eq!(keys(deltas.since(Some(mark))), Some([3, 1].into()));
        deltas.acknowledge(mark);
        assert_eq!(keys(deltas.since(Some(mark))), Some([3, 1].into()));
        assert_eq!(keys(deltas.since(Some(start))), None, "no longer known one by one");
    }

    #[test]
    fn a_peer_that_is_too_far_behind_gets_everything() {
        let mut deltas = Deltas::<u8, 2>::new(7);
        let start = deltas.mark();
        deltas.note(1);
        let mark = deltas.mark();
        deltas.note(2);
        deltas.note(3);
        assert_eq!(keys(deltas.since(Some(start))), None);
        assert_eq!(keys(deltas.since(Some(mark))), Some([2, 3].into()));
    }

    #[test]
    fn a_mark_of_another_start_counts_as_none() {
        let mut before = Deltas::<u8, 2>::new(7);
        before.note(1);
        let mut after = Deltas::<u8, 2>::new(8);
        after.note(2);
        after.acknowledge(before.mark());
        assert_eq!(keys(after.since(Some(before.mark()))), None);
        assert_eq!(keys(after.since(Some(Mark { epoch: 8, seq: 1 }))), Some([2].into()));
    }

    #[test]
    fn a_mark_from_the_future_forgets_nothing_that_is_to_come() {
        let mut deltas = Deltas::<u8, 2>::new(7);
        let wrong = Mark { epoch: 7, seq: u64::MAX };
        assert_eq!(keys(deltas.since(Some(wrong))), None, "nobody can have that");
        deltas.acknowledge(wrong);
        let mark = deltas.mark();
        deltas.note(5);
        assert_eq!(keys(deltas.since(Some(mark))), Some([5].into()));
    }

    #[test]
    fn a_list_without_room_sends_everything() {
        let mut deltas = Deltas::<u8, 0>::new(7);
        let mark = deltas.mark();
        deltas.note(1);
        assert_eq!(keys(deltas.since(Some(mark))), None);
        assert_eq!(keys(deltas.since(Some(deltas.mark()))), Some([].into()));
    }
}
