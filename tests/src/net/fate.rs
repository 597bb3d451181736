//! What happens to one packet: a pure function of seed, direction, number and impairments.
//!
//! Timing on a real machine is never repeatable, but which packets are struck is: the tenth packet
//! upwards is lost in every run with that seed and profile.

use std::time::Duration;

use super::profile::Direction;
use crate::rng::Rng;

/// Which way a packet goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// From the client to the target.
    Up,
    /// From the target to the client.
    Down,
}

/// The decision on one packet. Rate and cut are not part of it: they depend on other packets.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Fate {
    /// The packet is lost.
    pub lost: bool,
    /// It arrives twice.
    pub duplicated: bool,
    /// Delay and jitter, which keep the order.
    pub delay: Duration,
    /// Held back on top of that, out of order.
    pub held: Duration,
}

/// Decides on packet `number` of one direction.
#[must_use]
pub fn decide(seed: u64, way: Way, number: u64, direction: &Direction) -> Fate {
    let mut rng = Rng::keyed(seed, &[way as u64, number]);
    // All draws are made in a fixed order, so that changing one impairment leaves the others.
    let lost = rng.chance(direction.loss);
    let duplicated = rng.chance(direction.duplicate);
    let reordered = rng.chance(direction.reorder);
    let jitter = direction.jitter.mul_f64(rng.unit());
    let held = if reordered { direction.reorder_hold } else { Duration::ZERO };
    Fate { lost, duplicated, delay: direction.delay + jitter, held }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fate_depends_on_seed_way_and_number_alone() {
        let link = Direction { loss: 0.3, duplicate: 0.2, reorder: 0.2, ..Direction::default() };
        let run = |seed, way| (0..500).map(|n| decide(seed, way, n, &link)).collect::<Vec<_>>();
        assert_eq!(run(1, Way::Up), run(1, Way::Up));
        assert_ne!(run(1, Way::Up), run(1, Way::Down));
        assert_ne!(run(1, Way::Up), run(2, Way::Up));

        let lost = run(1, Way::Up).iter().filter(|f| f.lost).count();
        assert!((100..200).contains(&lost), "{lost} of 500 lost at 30 %");
        let calmer = Direction { duplicate: 0.0, ..link };
        let still = (0..500).map(|n| decide(1, Way::Up, n, &calmer)).filter(|f| f.lost).count();
        assert_eq!(lost, still, "loss moved when duplication changed");
    }
}
