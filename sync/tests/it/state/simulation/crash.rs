//! One fixed exchange, and a loss of power behind each step of it.
//!
//! A step is whatever happens next: a packet arrives, the writer has done or synced a transaction,
//! a session is told of it. Both sides have written, the same documents too, and the gateway has
//! been there before.

use super::fleet::HUB;
use super::link::Line;
use super::world::World;
use super::{ALWAYS_MS, Bug, Plan, differs, rest, settle};

/// Writes of either side before the two meet for the first time, and again before they do once
/// more.
const WRITES: usize = 6;

fn begin() -> World {
    let plan = Plan {
        gateways: 1,
        sites: 1,
        faults: Vec::new(),
        line: Line { rate: 100_000, delay_ms: 20, packet: 600, loss: 0 },
        sync_ms: 20,
        long: true,
        heal_ms: 0,
        remembered_ms: ALWAYS_MS,
        ..Plan::draw(1, Bug::None)
    };
    let mut world = World::new(5, plan);
    write(&mut world);
    world.start_dialling();
    rest(&mut world);
    for node in [HUB, 1] {
        world.nodes[node].copy = Some(world.nodes[node].disk.copy());
    }
    world.part(WRITES as u64 * 300);
    write(&mut world);
    world
}

fn write(world: &mut World) {
    for node in [HUB, 1].repeat(WRITES) {
        world.write(node);
        world.run_for(100);
    }
}

/// Lets `node` lose its power behind each step, and all heal. Says how many steps there are, and
/// what was wrong.
pub fn everywhere(node: usize, synced: bool, restored: bool) -> (u64, Option<String>) {
    for steps in 1.. {
        let mut world = begin();
        for _ in 0..steps {
            world.step(u64::MAX);
        }
        let over = world.is_quiet() && differs(&world.nodes).is_none();
        world.lose_power(node, synced, restored);
        settle(&mut world);
        if let Some(wrong) = world.judge.wrong {
            return (steps, Some(format!("behind step {steps}: {wrong}")));
        }
        if over {
            return (steps, None);
        }
    }
    unreachable!("an exchange comes to an end")
}
