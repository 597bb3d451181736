//! One direction of the link as a queue in time: packets enter, and leave when they are due.
//!
//! Pure but for the counters: the clock is an argument. Delay, jitter and the rate limit keep the
//! order (a link is a pipe); only reordering lets a packet be overtaken.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::counters::{Counters, bump};
use super::fate::{Way, decide};
use super::profile::Direction;

/// A packet on its way, with whatever the caller needs to deliver it.
#[derive(Debug)]
pub(super) struct Packet<R> {
    pub route: R,
    pub payload: Bytes,
    number: u64,
    held_since: Option<Instant>,
}

#[derive(Debug)]
struct Due<R> {
    at: Instant,
    ticket: u64,
    packet: Packet<R>,
}

/// The packets under way in one direction.
#[derive(Debug)]
pub(super) struct Lane<R> {
    seed: u64,
    way: Way,
    numbers: u64,
    tickets: u64,
    due: BinaryHeap<Reverse<Due<R>>>,
    /// When the last packet will have left the rate limiter.
    busy_until: Option<Instant>,
    /// Due time of the last packet that kept the order.
    in_order_until: Option<Instant>,
    highest_delivered: Option<u64>,
}

impl<R: Copy> Lane<R> {
    pub fn new(seed: u64, way: Way) -> Self {
        Self {
            seed,
            way,
            numbers: 0,
            tickets: 0,
            due: BinaryHeap::new(),
            busy_until: None,
            in_order_until: None,
            highest_delivered: None,
        }
    }

    /// A packet came in at `now`.
    pub fn enter(
        &mut self,
        now: Instant,
        route: R,
        payload: Bytes,
        direction: &Direction,
        counters: &Counters,
    ) {
        bump(&counters.received);
        let number = self.numbers;
        self.numbers += 1;
        let fate = decide(self.seed, self.way, number, direction);
        if direction.cut {
            return bump(&counters.cut);
        }
        if fate.lost {
            return bump(&counters.lost);
        }
        let Some(sent) = self.through_rate_limit(now, payload.len(), direction) else {
            return bump(&counters.overflowed);
        };
        let mut at = sent + fate.delay;
        if fate.held.is_zero() {
            at = self.in_order_until.map_or(at, |earlier| at.max(earlier));
            self.in_order_until = Some(at);
        } else {
            at += fate.held;
        }
        if fate.duplicated {
            bump(&counters.duplicated);
            self.push(at, Packet { route, payload: payload.clone(), number, held_since: None });
        }
        let held_since = (at > now).then_some(now);
        self.push(at, Packet { route, payload, number, held_since });
    }

    /// When the next packet is due.
    pub fn next_due(&self) -> Option<Instant> {
        self.due.peek().map(|Reverse(due)| due.at)
    }

    /// Takes out a packet that is due at `now`; a cut link loses it instead.
    pub fn leave(
        &mut self,
        now: Instant,
        direction: &Direction,
        counters: &Counters,
    ) -> Option<Packet<R>> {
        while self.next_due().is_some_and(|at| at <= now) {
            let Reverse(due) = self.due.pop().expect("a packet is due, so there is one");
            if direction.cut {
                bump(&counters.cut);
                continue;
            }
            let packet = due.packet;
            if packet.held_since.is_some() {
                bump(&counters.delayed);
            }
            if self.highest_delivered.is_some_and(|highest| packet.number < highest) {
                bump(&counters.reordered);
            }
            self.highest_delivered = self.highest_delivered.max(Some(packet.number));
            bump(&counters.delivered);
            counters.bytes.fetch_add(packet.payload.len() as u64, Relaxed);
            return Some(packet);
        }
        None
    }

    /// When the packet has left the rate limiter; `None` if its queue is full.
    fn through_rate_limit(
        &mut self,
        now: Instant,
        len: usize,
        direction: &Direction,
    ) -> Option<Instant> {
        let Some(rate) = direction.rate else { return Some(now) };
        let rate = rate.max(1) as f64;
        let start = self.busy_until.map_or(now, |busy| busy.max(now));
        let waiting = (start - now).as_secs_f64() * rate;
        if waiting + len as f64 > direction.queue as f64 {
            return None;
        }
        let done = start + Duration::from_secs_f64(len as f64 / rate);
        self.busy_until = Some(done);
        Some(done)
    }

    fn push(&mut self, at: Instant, packet: Packet<R>) {
        let ticket = self.tickets;
        self.tickets += 1;
        self.due.push(Reverse(Due { at, ticket, packet }));
    }
}

impl<R> PartialEq for Due<R> {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.ticket) == (other.at, other.ticket)
    }
}

impl<R> Eq for Due<R> {}

impl<R> PartialOrd for Due<R> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<R> Ord for Due<R> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.ticket).cmp(&(other.at, other.ticket))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sends `count` packets of 100 bytes, one per `spacing`, and gives back the order in which
    /// they left together with what was counted.
    fn run(direction: Direction, count: u64, spacing: Duration) -> (Vec<u64>, Counters) {
        let counters = Counters::default();
        let mut lane = Lane::new(42, Way::Up);
        let start = Instant::now();
        let mut order = Vec::new();
        for n in 0..count {
            let now = start + spacing * n as u32;
            while let Some(packet) = lane.leave(now, &direction, &counters) {
                order.push(packet.number);
            }
            lane.enter(now, (), Bytes::from(vec![0; 100]), &direction, &counters);
        }
        while let Some(due) = lane.next_due() {
            order.extend(lane.leave(due, &direction, &counters).map(|p| p.number));
        }
        (order, counters)
    }

    #[test]
    fn jitter_alone_keeps_the_order_and_reordering_breaks_it() {
        let ms = Duration::from_millis;
        let jittery = Direction { delay: ms(5), jitter: ms(50), ..Direction::default() };
        let (order, counters) = run(jittery, 200, ms(1));
        assert_eq!(order, (0..200).collect::<Vec<_>>());
        assert_eq!(counters.read().reordered, 0);
        assert_eq!(counters.read().delayed, 200);

        let (order, counters) = run(Direction { reorder: 0.2, ..jittery }, 200, ms(1));
        assert_eq!(order.len(), 200);
        let overtaken = counters.read().reordered;
        assert!((10..100).contains(&overtaken), "{overtaken} of 200 overtaken");
    }

    #[test]
    fn a_full_queue_drops_at_the_tail() {
        let slow = Direction { rate: Some(1_000), queue: 500, ..Direction::default() };
        let (order, counters) = run(slow, 10, Duration::ZERO);
        assert_eq!(order, [0, 1, 2, 3, 4]);
        assert_eq!(counters.read().overflowed, 5);
        assert_eq!(counters.read().bytes, 500);
    }

    #[test]
    fn duplicates_are_extra_deliveries() {
        let (order, counters) =
            run(Direction { duplicate: 1.0, ..Direction::default() }, 3, Duration::ZERO);
        assert_eq!(order, [0, 0, 1, 1, 2, 2]);
        assert_eq!((counters.read().duplicated, counters.read().delivered), (3, 6));
    }

    #[test]
    fn a_cut_also_loses_what_is_under_way() {
        let counters = Counters::default();
        let slow = Direction { delay: Duration::from_secs(1), ..Direction::default() };
        let mut lane = Lane::new(1, Way::Down);
        let now = Instant::now();
        lane.enter(now, (), Bytes::from_static(b"x"), &slow, &counters);
        let cut = Direction { cut: true, ..slow };
        assert!(lane.leave(now + Duration::from_secs(2), &cut, &counters).is_none());
        assert_eq!(counters.read().cut, 1);
    }
}
