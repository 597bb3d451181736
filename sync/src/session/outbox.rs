//! Messages about documents on their way to the peer.
//!
//! A message can be large and an alert must not wait for it, so it leaves in parts with room for
//! other records between them. What the peer has of a document is noted when the last part of the
//! message about it is acknowledged. Parts of artefacts leave when nothing of a document waits.

use super::frame::HeldDocuments;
use crate::docs::exchange::{Batch, Pushed};
use std::collections::VecDeque;

/// Bytes of a message that leave together: two seconds of the thinnest link.
const PART_BYTES: usize = 4 << 10;
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
    /// Small records that leave when nothing else waits.
    bulk: VecDeque<Vec<u8>>,
    under_way: VecDeque<(u64, Pushed)>,
}

impl Outbox {
    /// Whether both sides exchange documents.
    pub(super) fn is_on(&self) -> bool {
        self.held != HeldDocuments::None && self.theirs != HeldDocuments::None
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Whether it is time to gather more.
    pub(super) fn wants(&self) -> bool {
        self.is_on() && self.changed && !self.gathering && self.is_empty()
    }

    pub(super) fn add(&mut self, batch: Batch) {
        let Batch { records, pushed, bulk, more } = batch;
        self.changed |= more;
        self.bulk.extend(bulk);
        for record in records {
            if record.len() <= PART_BYTES {
                self.queue.push_back((record, Vec::new()));
                continue;
            }
            let mut parts = record.chunks(PART_BYTES).peekable();
            while let Some(part) = parts.next() {
                let last = u8::from(parts.peek().is_none());
                self.queue.push_back(([&[PART, last], part].concat(), Vec::new()));
            }
        }
        if let Some((_, last)) = self.queue.back_mut() {
            last.extend(pushed);
        }
    }

    /// The next record to send.
    pub(super) fn next(&mut self) -> Option<(Vec<u8>, Pushed)> {
        let bulk = |bulk: &mut VecDeque<_>| bulk.pop_front().map(|record| (record, Vec::new()));
        self.queue.pop_front().or_else(|| bulk(&mut self.bulk))
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
