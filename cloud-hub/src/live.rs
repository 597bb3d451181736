//! How each member is at the moment: what its session reports, kept in memory.

use holdfast_core::{Incarnation, NodeId, Timestamp};
use holdfast_sync::net::PeerEvent;
use holdfast_sync::session::End;
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Starts of a member that are remembered.
const STARTS: usize = 8;

/// How a member is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Live {
    /// Whether it has a session.
    pub online: bool,
    /// Since when it has, or has no more.
    pub since: Option<Timestamp>,
    /// When something came from it last.
    pub heard: Option<Timestamp>,
    /// How many of its entries are not here, as it last said.
    pub behind: Option<u64>,
    /// Its clock less ours at its last hello, milliseconds.
    pub clock_ahead_ms: Option<i64>,
    /// Its program's version.
    pub version: Option<String>,
    /// Why its last session ended.
    pub end: Option<End>,
    /// The starts that came in, the present one last.
    starts: Vec<Incarnation>,
    /// When a start came back that another one had followed: two nodes run with this key.
    pub doubled: Option<Timestamp>,
}

impl Live {
    /// Takes the start that a session is of. A process keeps its start, and no later one goes back
    /// to it: one that returns has been running all the time.
    fn came(&mut self, start: Incarnation, now: Timestamp) {
        let known = self.starts.iter().position(|known| *known == start);
        if known.is_some_and(|at| at + 1 < self.starts.len()) {
            self.doubled = Some(now);
        }
        self.starts.retain(|known| *known != start);
        self.starts.push(start);
        let surplus = self.starts.len().saturating_sub(STARTS);
        self.starts.drain(..surplus);
    }
}

/// How all members are.
#[derive(Debug, Default)]
pub struct LiveBook(Mutex<HashMap<NodeId, Live>>);

impl LiveBook {
    fn book(&self) -> MutexGuard<'_, HashMap<NodeId, Live>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How a member is.
    #[must_use]
    pub fn get(&self, node: &NodeId) -> Live {
        self.book().get(node).cloned().unwrap_or_default()
    }

    /// Notes when members were heard before this start.
    pub fn remember(&self, heard: impl IntoIterator<Item = (NodeId, Timestamp)>) {
        let mut book = self.book();
        for (node, time) in heard {
            let live = Live { since: Some(time), heard: Some(time), ..Live::default() };
            book.insert(node, live);
        }
    }

    /// Takes what a session reports.
    pub fn note(&self, node: NodeId, event: PeerEvent, now: Timestamp) {
        let mut book = self.book();
        let live = book.entry(node).or_default();
        live.heard = Some(now);
        match event {
            PeerEvent::Established { incarnation, version, clock_ahead_ms, .. } => {
                live.came(incarnation, now);
                if !live.online {
                    live.since = Some(now);
                }
                live.online = true;
                live.version = Some(version);
                live.clock_ahead_ms = Some(clock_ahead_ms);
            }
            PeerEvent::PeerBehind(entries) => live.behind = Some(entries),
            PeerEvent::Ended(end) => {
                live.online = false;
                live.since = Some(now);
                live.end = Some(end);
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_start_that_comes_back_after_another_one_runs_beside_it() {
        let start = |boot| Incarnation { boot, nonce: boot * 7 };
        let came = |boots: &[u64]| {
            let mut live = Live::default();
            boots.iter().zip(1..).for_each(|(boot, at)| live.came(start(*boot), Timestamp(at)));
            live.doubled
        };
        assert_eq!(came(&[1, 1, 1]), None, "one node, three sessions");
        assert_eq!(came(&[1, 2, 3, 3]), None, "a node that was started anew");
        assert_eq!(came(&[1, 2, 1]), Some(Timestamp(3)));
        assert_eq!(came(&[1, 2, 2, 1, 1, 1]), Some(Timestamp(4)));
        assert_eq!(came(&[5, 2]), None, "a restored node has a lower boot count");
    }
}
