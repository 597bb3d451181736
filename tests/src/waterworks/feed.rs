//! In what order and how late a device's items come out.
//!
//! Time is divided into slots, slots into groups. A group is sent as it is measured, or it is kept
//! back and sent shuffled in the middle of the next group (the radio was off), or it is not
//! measured at all (the sensor was off). Sequence numbers follow the order of measuring, so a late
//! batch carries lower ones than what was sent before it, and a gap leaves no hole in them.

use std::sync::Arc;

use super::item::{Item, Key, Reading};
use super::station::{Measure, Station};
use crate::rng::Rng;

/// Slots of a group.
const GROUP: i64 = 12;

/// How regular a device is. Probabilities are per group of twelve slots.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Habits {
    /// Time between two moments of measuring, in milliseconds.
    pub every_ms: i64,
    /// Each moment is up to this much later than its slot; must be less than `every_ms`.
    pub jitter_ms: i64,
    /// Probability that a group is not measured.
    pub gap: f64,
    /// Probability that a group is sent late and shuffled.
    pub late: f64,
}

impl Default for Habits {
    fn default() -> Self {
        Self { every_ms: 10_000, jitter_ms: 800, gap: 0.03, late: 0.10 }
    }
}

/// Items sent together.
#[derive(Debug, Clone, PartialEq)]
pub struct Batch {
    /// When it is sent, in the device's time.
    pub due_ms: i64,
    /// Its items.
    pub items: Vec<Item>,
}

/// The endless sequence of batches of one device since one of its starts.
#[derive(Debug, Clone)]
pub struct Feed {
    station: Station,
    device: Arc<str>,
    seed: u64,
    boot: u32,
    habits: Habits,
    start_ms: i64,
    group: i64,
    seq: u64,
    pumping: Option<super::item::Value>,
    kept_back: Option<Batch>,
    /// Batches of the present group, last first.
    ready: Vec<Batch>,
}

impl Feed {
    /// What station `index` of the waterworks `seed` sends after it starts at `start_ms`.
    #[must_use]
    pub fn new(seed: u64, index: u64, boot: u32, habits: Habits, start_ms: i64) -> Self {
        assert!(habits.jitter_ms < habits.every_ms, "jitter must not change the order of slots");
        let station = Station::new(seed, index);
        Self {
            device: station.id().into(),
            station,
            seed: crate::rng::hash(seed, &[index, u64::from(boot)]),
            boot,
            habits,
            start_ms,
            group: 0,
            seq: 0,
            pumping: None,
            kept_back: None,
            ready: Vec::new(),
        }
    }

    fn next_group(&mut self) {
        let mut rng = Rng::keyed(self.seed, &[self.group as u64]);
        let (gap, late) = (rng.chance(self.habits.gap), rng.chance(self.habits.late));
        let first = self.group * GROUP;
        self.group += 1;
        self.ready.extend(self.kept_back.take());
        if !gap {
            let batches: Vec<_> = (first..first + GROUP).map(|n| self.slot(n, &mut rng)).collect();
            if late {
                let mut items: Vec<_> = batches.into_iter().flat_map(|b| b.items).collect();
                rng.shuffle(&mut items);
                let slots = first + GROUP + GROUP / 2;
                let due_ms = self.start_ms + slots * self.habits.every_ms;
                self.kept_back = Some(Batch { due_ms, items });
            } else {
                self.ready.extend(batches);
            }
        }
        self.ready.sort_by_key(|batch| std::cmp::Reverse(batch.due_ms));
    }

    fn slot(&mut self, slot: i64, rng: &mut Rng) -> Batch {
        let jitter = rng.below(self.habits.jitter_ms.max(0) as u64 + 1) as i64;
        let time_ms = self.start_ms + slot * self.habits.every_ms + jitter;
        let reading = |measure: Measure, unit| {
            let value = self.station.measure(measure, time_ms);
            Reading { metric: measure.metric(), unit, value }
        };
        let plain = [Measure::Level, Measure::Pressure, Measure::Flow, Measure::Energy];
        let mut groups = vec![
            plain.into_iter().map(|m| reading(m, None)).collect(),
            vec![reading(Measure::Temperature, Some("Cel"))],
        ];
        // A switch is told when it changes.
        let pump = reading(Measure::Pump, None);
        if self.pumping != Some(pump.value) {
            groups.push(vec![pump]);
        }
        self.pumping = Some(pump.value);
        let items = groups.into_iter().map(|readings| self.item(time_ms, readings)).collect();
        Batch { due_ms: time_ms, items }
    }

    fn item(&mut self, time_ms: i64, readings: Vec<Reading>) -> Item {
        self.seq += 1;
        let key = Key { device: Arc::clone(&self.device), boot: self.boot, seq: self.seq };
        Item { key, time_ms, readings }
    }
}

impl Iterator for Feed {
    type Item = Batch;

    fn next(&mut self) -> Option<Batch> {
        while self.ready.is_empty() {
            self.next_group();
        }
        self.ready.pop()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: i64 = 1_700_000_000_000;

    fn feed(seed: u64) -> Feed {
        Feed::new(seed, 4, 1, Habits { gap: 0.1, late: 0.3, ..Habits::default() }, START)
    }

    #[test]
    fn equal_seeds_give_equal_feeds() {
        assert!(feed(1).take(500).eq(feed(1).take(500)));
        assert!(!feed(1).take(500).eq(feed(2).take(500)));
    }

    #[test]
    fn batches_are_due_in_order_and_sequences_have_no_hole() {
        let batches: Vec<_> = feed(3).take(2_000).collect();
        assert!(batches.is_sorted_by_key(|batch| batch.due_ms));
        let items: Vec<_> = batches.iter().flat_map(|batch| &batch.items).collect();
        let sent: Vec<_> = items.iter().map(|item| item.key.seq).collect();
        assert!(!sent.is_sorted(), "something came late");
        let mut sorted = sent.clone();
        sorted.sort_unstable();
        // Only what is kept back at the end may be missing.
        let missing = *sorted.last().unwrap() - sorted.len() as u64;
        assert!(missing <= 3 * GROUP as u64, "{missing}");

        let mut times: Vec<_> = items.iter().map(|item| item.time_ms).collect();
        times.sort_unstable();
        times.dedup();
        let longest = times.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap();
        assert!(longest > GROUP * 10_000, "there was a gap");
        assert!(items.iter().any(|i| i.readings[0].metric == "pump"));
        assert!(batches.iter().all(|b| b.items.iter().all(|i| i.time_ms <= b.due_ms)));
    }
}
