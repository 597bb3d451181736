//! Messages about documents on their way to the peer.
//!
//! A message can be large and an alert must not wait for it, so it leaves in parts with room for
//! other records between them. What the peer has of a document is noted when the last part of the
//! message about it is acknowledged. Parts of artefacts leave when nothing of a document waits; a
//! peer has one answer about them under way, whatever it asks, so that no flood of questions fills
//! the memory of this node.

use super::frame::HeldDocuments;
use crate::docs::exchange::{Batch, Pushed};
use std::collections::VecDeque;

/// Bytes of a message that leave together: two seconds of the thinnest link.
const PART_BYTES: usize = 4 << 10;
/// Bytes of messages that wait to leave at most. Large answers wait as names; what two sides tell
/// each other of 100,000 documents that one has lost is a third of this.
const WAITING_BYTES_MAX: usize = 32 << 20;
/// A part of a message in the stream of records: kind, then 1 for the last and 0 for others.
pub(super) const PART: u8 = 15;

#[derive(Debug, Default)]
pub(super) struct Outbox {
    /// What this side holds of the peer's documents.
    pub held: HeldDocuments,
    /// What the peer holds of this side's.
    pub theirs: HeldDocuments,
    /// Something may have changed that was not gathered.
    pub changed: bool,
    /// It is being gathered.
    pub gathering: bool,
    queue: VecDeque<(Vec<u8>, Pushed)>,
    /// Parts of an artefact: small records that leave when nothing else waits.
    parts: VecDeque<Vec<u8>>,
    under_way: VecDeque<(u64, Pushed)>,
    bytes: usize,
}

impl Outbox {
    /// Whether both sides exchange documents.
    pub(super) fn is_on(&self) -> bool {
        self.held != HeldDocuments::None && self.theirs != HeldDocuments::None
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Whether more waits than any exchange leaves waiting: the peer asks and takes nothing.
    pub(super) const fn is_overfull(&self) -> bool {
        self.bytes > WAITING_BYTES_MAX
    }

    /// Whether it is time to gather more.
    pub(super) fn wants(&self) -> bool {
        self.is_on() && self.changed && !self.gathering && self.is_empty()
    }

    pub(super) fn add(&mut self, batch: Batch) {
        let Batch { records, pushed, parts, more } = batch;
        self.changed |= more;
        if let Some(parts) = parts {
            self.parts = parts.into();
        }
        for record in records {
            self.bytes += record.len();
            if record.len() <= PART_BYTES {
                self.queue.push_back((record, Vec::new()));
                continue;
            }
            let mut parts = record.chunks(PART_BYTES).peekable();
            while let Some(part) = parts.next() {
                let last = u8::from(parts.peek().is_none());
                self.bytes += 2;
                self.queue.push_back(([&[PART, last], part].concat(), Vec::new()));
            }
        }
        if let Some((_, last)) = self.queue.back_mut() {
            last.extend(pushed);
        }
    }

    /// The next record to send.
    pub(super) fn next(&mut self) -> Option<(Vec<u8>, Pushed)> {
        let Some(next) = self.queue.pop_front() else {
            return Some((self.parts.pop_front()?, Vec::new()));
        };
        self.bytes -= next.0.len();
        Some(next)
    }

    /// Notes that what `pushed` is about ends at `end` of the stream.
    pub(super) fn sent(&mut self, end: u64, pushed: Pushed) {
        if !pushed.is_empty() {
            self.under_way.push_back((end, pushed));
        }
    }

    /// What the peer has once it has consumed the stream so far.
    pub(super) fn acked(&mut self, consumed: u64) -> Pushed {
        let mut out = Vec::new();
        while let Some((_, pushed)) = self.under_way.pop_front_if(|(end, _)| *end <= consumed) {
            out.extend(pushed);
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_is_counted_until_it_leaves() {
        let mut outbox = Outbox::default();
        for _ in 0..40 {
            assert!(!outbox.is_overfull());
            outbox.add(Batch { records: vec![vec![3; 1 << 20]], ..Batch::default() });
            if outbox.is_overfull() {
                break;
            }
        }
        assert!(outbox.is_overfull());
        while outbox.next().is_some() {}
        assert_eq!(outbox.bytes, 0);
    }

    /// A gateway that asked again and again, and took nothing, had the hub keep 256 KiB for each.
    #[test]
    fn whoever_asks_again_is_given_what_it_asked_for_last() {
        let mut outbox = Outbox::default();
        for ask in 0..100 {
            let parts = Some(vec![vec![ask; 4096]; 64]);
            outbox.add(Batch { parts, ..Batch::default() });
        }
        outbox.add(Batch { records: vec![vec![200]], ..Batch::default() });
        let left: Vec<_> = std::iter::from_fn(|| outbox.next()).map(|(record, _)| record).collect();
        assert_eq!(left[0], [200], "a message about a document goes first");
        assert_eq!(left.len(), 1 + 64);
        assert!(left[1..].iter().all(|part| part[0] == 99));
    }
}
