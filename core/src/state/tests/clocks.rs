//! Wrong clocks: replicas whose clocks are years apart exchange writes, and what has seen another
//! write always beats it.

use super::super::{Author, Cell, Concurrent, Content, Lattice, LwwMap, Path, Role, Rule, Value};
use super::super::{Writer, resolve};
use crate::hlc::{Hlc, Stamp};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::vec::Vec;

const YEAR_MS: u64 = 365 * 86_400_000;

/// A write with all writes that its author had seen.
#[derive(Clone)]
struct Write {
    cell: Cell<'static>,
    seen: BTreeSet<usize>,
}

/// A node that keeps what a document engine keeps: every write, and which ones it saw.
#[derive(Clone, Default)]
struct Node {
    clock: Hlc,
    wall_ms: u64,
    known: BTreeSet<usize>,
    map: LwwMap<128>,
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Write(usize),
    Sync(usize, usize),
    Later(usize, u64),
    Set(usize, u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0usize..3).prop_map(Step::Write),
        3 => (0usize..3, 0usize..3).prop_map(|(to, from)| Step::Sync(to, from)),
        1 => (0usize..3, 1u64..5_000).prop_map(|(node, ms)| Step::Later(node, ms)),
        1 => (0usize..3, 1u64..130).prop_map(|(node, years)| Step::Set(node, years * YEAR_MS)),
    ]
}

/// The cells that no known write has seen.
fn concurrent(writes: &[Write], known: &BTreeSet<usize>) -> Vec<Cell<'static>> {
    let replaced = |at: &usize| known.iter().any(|other| writes[*other].seen.contains(at));
    known.iter().filter(|at| !replaced(at)).map(|at| writes[*at].cell).collect()
}

fn winner(mut cells: Vec<Cell<'static>>) -> Option<Cell<'static>> {
    resolve(Concurrent::sort(&mut cells), Rule::Lww).winner().copied()
}

struct World {
    nodes: [Node; 3],
    writes: Vec<Write>,
}

impl World {
    fn new(walls: [u64; 3]) -> Self {
        let node = |wall_ms| Node { wall_ms, ..Node::default() };
        Self { nodes: walls.map(node), writes: Vec::new() }
    }

    fn write(&mut self, at: usize) {
        let path = Path::new("mode").unwrap();
        let node = &mut self.nodes[at];
        let local = node.clock.tick(node.wall_ms);
        let replaced = concurrent(&self.writes, &node.known);
        let stamp = local.over(replaced.iter().map(|cell| cell.stamp));
        let value = Value::Int(self.writes.len() as i64);
        let (author, role) = (Author([at as u8; 8]), Role::Edge);
        let cell = Cell { stamp, author, role, content: Content::Value(value) };
        self.writes.push(Write { cell, seen: node.known.clone() });
        node.known.insert(self.writes.len() - 1);
        let put = node.map.put(path, value, Writer { local, author, role });
        assert_eq!(put, Ok(stamp), "a device comes to the same stamp");
    }

    fn sync(&mut self, to: usize, from: usize) {
        let (known, map) = (self.nodes[from].known.clone(), self.nodes[from].map.clone());
        let node = &mut self.nodes[to];
        for write in &known {
            node.clock.observe(self.writes[*write].cell.stamp, node.wall_ms);
        }
        node.known.extend(known);
        node.map.join(&map).unwrap();
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Write(at) => self.write(at),
            Step::Sync(to, from) => self.sync(to, from),
            Step::Later(at, ms) => self.nodes[at].wall_ms += ms,
            Step::Set(at, ms) => self.nodes[at].wall_ms = ms,
        }
    }
}

proptest! {
    #[test]
    fn what_has_seen_another_write_beats_it_whatever_the_clocks_say(
        walls in prop::array::uniform3(1u64..150 * YEAR_MS),
        steps in prop::collection::vec(step(), 0..40),
    ) {
        let mut world = World::new(walls);
        for step in steps {
            world.step(step);
        }
        for write in &world.writes {
            for seen in &write.seen {
                prop_assert!(write.cell.stamp > world.writes[*seen].cell.stamp);
            }
        }
        for (to, from) in [(0, 1), (0, 2), (1, 0), (2, 0)] {
            world.sync(to, from);
        }
        let all = winner(world.writes.iter().map(|write| write.cell).collect());
        let by_stamp = BTreeMap::from([(Path::new("mode").unwrap(), all)]);
        for node in &world.nodes {
            // The engine forgets what was replaced; who still has it comes to the same.
            prop_assert_eq!(winner(concurrent(&world.writes, &node.known)), all);
            let held: BTreeMap<_, _> = node.map.iter().map(|(at, cell)| (at, Some(cell))).collect();
            prop_assert!(all.is_none() || held == by_stamp);
        }
    }

    #[test]
    fn a_wrong_clock_elsewhere_never_drags_ours(
        wall in 1u64..60 * YEAR_MS, ahead in 60_001u64..100 * YEAR_MS, writes in 1u64..50,
    ) {
        let mut clock = Hlc::default();
        let far = Stamp::new(wall + ahead, 0);
        let mut last = far;
        for _ in 0..writes {
            prop_assert!(!clock.observe(last, wall));
            let stamp = clock.tick(wall).over([last]);
            prop_assert!(stamp > last);
            last = stamp;
        }
        prop_assert_eq!(last.0, far.0 + writes, "each of them one above the one it replaced");
        let elsewhere = clock.tick(wall).over([]);
        prop_assert_eq!(elsewhere.millis(), wall, "another path knows nothing of it");
    }
}
