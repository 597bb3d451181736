//! Weeks of readings at once: what a gateway holds after a long outage, with device times.

use std::sync::Arc;

use super::item::{Item, Key, Reading};
use super::station::{Measure, Station};

/// A regular backlog of five series per device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backlog {
    /// Seed of the waterworks.
    pub seed: u64,
    /// Number of devices.
    pub devices: u64,
    /// Boot count under which it is posted.
    pub boot: u32,
    /// Time between two items of a device, in milliseconds.
    pub every_ms: i64,
    /// Time of the first item.
    pub from_ms: i64,
    /// The last item is before this time.
    pub to_ms: i64,
}

impl Backlog {
    /// Twenty devices every ten seconds for `days` up to `to_ms`.
    #[must_use]
    pub fn days(seed: u64, days: u32, to_ms: i64) -> Self {
        let from_ms = to_ms - i64::from(days) * 86_400_000;
        Self { seed, devices: 20, boot: 1, every_ms: 10_000, from_ms, to_ms }
    }

    /// Items of one device.
    #[must_use]
    pub fn items_per_device(&self) -> u64 {
        let span = (self.to_ms - self.from_ms).max(0) as u64;
        span.div_ceil(self.every_ms.max(1) as u64)
    }

    /// Readings in all.
    #[must_use]
    pub fn readings(&self) -> u64 {
        self.devices * self.items_per_device() * Measure::NUMBERS.len() as u64
    }

    /// The items of a device in the order of time; sequence `n` is at `from + (n - 1) * every`.
    pub fn items(&self, device: u64) -> impl Iterator<Item = Item> + Send + use<> {
        let plan = *self;
        let station = Station::new(plan.seed, device);
        let id: Arc<str> = station.id().into();
        (0..plan.items_per_device()).map(move |n| {
            let time_ms = plan.from_ms + n as i64 * plan.every_ms;
            let readings = Measure::NUMBERS
                .into_iter()
                .map(|measure| Reading {
                    metric: measure.metric(),
                    unit: None,
                    value: station.measure(measure, time_ms),
                })
                .collect();
            let key = Key { device: Arc::clone(&id), boot: plan.boot, seq: n + 1 };
            Item { key, time_ms, readings }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_has_its_readings() {
        let backlog = Backlog::days(1, 1, 1_700_000_000_000);
        assert_eq!(backlog.readings(), 20 * 8_640 * 5);
        let items: Vec<_> = backlog.items(7).collect();
        assert_eq!(items.len() as u64, backlog.items_per_device());
        assert_eq!(items[0].time_ms, backlog.from_ms);
        assert_eq!(items.last().unwrap().key.seq, 8_640);
        assert!(items.last().unwrap().time_ms < backlog.to_ms);
    }
}
