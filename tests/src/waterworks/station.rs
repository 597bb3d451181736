//! A pumping station: a tank that demand empties and a pump fills.
//!
//! The day is divided into equal cycles, each with its own demand. A cycle begins with the pump on
//! for just as long as it takes to bring in what the cycle will use, so the level returns to where
//! it began and every quantity has a closed form: any moment can be measured without simulating
//! the time before it. Sensors add noise of up to two steps of their resolution; the counter and
//! the switch have none.

use std::f64::consts::TAU;

use super::item::Value;
use crate::rng::{Rng, hash};

const DAY_MS: i64 = 86_400_000;
const DAY_HOURS: f64 = 24.0;

/// What is measured at a station.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Measure {
    /// Level of the tank in metres.
    Level,
    /// Pressure at the outlet in bar.
    Pressure,
    /// Inflow in cubic metres per hour.
    Flow,
    /// Water temperature in degrees Celsius.
    Temperature,
    /// Energy the pump has used, in kilowatt hours; only grows.
    Energy,
    /// Whether the pump runs.
    Pump,
}

impl Measure {
    /// The numeric ones.
    pub const NUMBERS: [Self; 5] =
        [Self::Level, Self::Pressure, Self::Flow, Self::Temperature, Self::Energy];

    /// The metric's name.
    #[must_use]
    pub fn metric(self) -> &'static str {
        match self {
            Self::Level => "level",
            Self::Pressure => "pressure",
            Self::Flow => "flow",
            Self::Temperature => "temperature",
            Self::Energy => "energy",
            Self::Pump => "pump",
        }
    }

    /// Steps per unit of the sensor, a power of ten.
    fn resolution(self) -> f64 {
        match self {
            Self::Flow | Self::Temperature => 10.0,
            Self::Level | Self::Pressure | Self::Energy | Self::Pump => 100.0,
        }
    }

    fn is_noisy(self) -> bool {
        !matches!(self, Self::Energy | Self::Pump)
    }
}

/// One station; everything about it follows from seed and index.
#[derive(Debug, Clone)]
pub struct Station {
    seed: u64,
    index: u64,
    id: String,
    /// Tank area in square metres.
    area: f64,
    /// Level at the beginning of each cycle in metres.
    floor: f64,
    /// What the pump brings, in cubic metres per hour.
    capacity: f64,
    /// What the pump takes, in kilowatts.
    power: f64,
    cycles: Vec<Cycle>,
}

#[derive(Debug, Clone, Copy)]
struct Cycle {
    /// Demand in cubic metres per hour.
    demand: f64,
    /// Share of the cycle for which the pump is on.
    on: f64,
    /// Hours the pump ran since midnight when the cycle begins.
    ran: f64,
}

/// A moment within the day's cycles.
struct Moment {
    days: i64,
    cycle: Cycle,
    /// Share of the cycle that has passed.
    phase: f64,
}

impl Station {
    /// Station number `index` of the waterworks `seed`.
    #[must_use]
    pub fn new(seed: u64, index: u64) -> Self {
        let mut rng = Rng::keyed(seed, &[index]);
        let mut between = |low: f64, high: f64| low + (high - low) * rng.unit();
        let count = between(16.0, 48.0).floor();
        let mean_demand = between(10.0, 40.0);
        let capacity = mean_demand * between(1.8, 3.0);
        let hours = DAY_HOURS / count;
        let mut ran = 0.0;
        let cycles = (0..count as u32)
            .map(|n| {
                let of_day = f64::from(n) / count;
                let demand = mean_demand * (1.0 + 0.4 * (TAU * (of_day - 0.25)).sin());
                let cycle = Cycle { demand, on: demand / capacity, ran };
                ran += cycle.on * hours;
                cycle
            })
            .collect();
        let (area, floor) = (between(20.0, 80.0), between(0.8, 2.0));
        let power = between(2.0, 9.0);
        Self { seed, index, id: format!("ps-{index:03}"), area, floor, capacity, power, cycles }
    }

    /// Its device id.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// What the sensor shows at a time in milliseconds since 1970.
    #[must_use]
    pub fn measure(&self, measure: Measure, time_ms: i64) -> Value {
        let exact = self.exact(measure, time_ms);
        if measure == Measure::Pump {
            return Value::Switch(exact > 0.5);
        }
        let resolution = measure.resolution();
        let mut steps = (exact * resolution).round();
        if measure.is_noisy() {
            let bits = hash(self.seed, &[self.index, measure as u64, time_ms as u64]);
            steps += (bits % 5) as f64 - 2.0;
        }
        // Dividing by a power of ten gives the double nearest to the decimal, so it prints short.
        Value::Number(steps / resolution)
    }

    /// The quantity itself, before the sensor.
    fn exact(&self, measure: Measure, time_ms: i64) -> f64 {
        let at = self.moment(time_ms);
        let pumping = at.phase < at.cycle.on;
        match measure {
            Measure::Level => self.level(&at),
            Measure::Pressure => 1.5 + 0.0981 * self.level(&at) + if pumping { 2.0 } else { 0.0 },
            Measure::Flow => {
                if pumping {
                    self.capacity
                } else {
                    0.0
                }
            }
            Measure::Temperature => {
                let of_day = time_ms.rem_euclid(DAY_MS) as f64 / DAY_MS as f64;
                11.0 + 3.0 * (TAU * (of_day - 0.4)).sin() + (self.index % 7) as f64 * 0.3
            }
            Measure::Energy => {
                let in_cycle = at.phase.min(at.cycle.on) * self.cycle_hours();
                let per_day: f64 = self.cycles.iter().map(|c| c.on * self.cycle_hours()).sum();
                self.power * (at.days as f64 * per_day + at.cycle.ran + in_cycle)
            }
            Measure::Pump => f64::from(u8::from(pumping)),
        }
    }

    /// The level rises by what the pump brings beyond demand, and falls by demand.
    fn level(&self, at: &Moment) -> f64 {
        let pumped = self.capacity * at.phase.min(at.cycle.on);
        let used = at.cycle.demand * at.phase;
        self.floor + (pumped - used) * self.cycle_hours() / self.area
    }

    fn moment(&self, time_ms: i64) -> Moment {
        let of_day = time_ms.rem_euclid(DAY_MS) as f64 / DAY_MS as f64;
        let cycles = of_day * self.cycles.len() as f64;
        let number = (cycles as usize).min(self.cycles.len() - 1);
        Moment {
            days: time_ms.div_euclid(DAY_MS),
            cycle: self.cycles[number],
            phase: cycles - number as f64,
        }
    }

    fn cycle_hours(&self) -> f64 {
        DAY_HOURS / self.cycles.len() as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: i64 = 1_700_000_000_000;
    const SECOND: i64 = 1_000;

    #[test]
    fn the_level_integrates_inflow_less_demand() {
        for index in 0..20 {
            let station = Station::new(1, index);
            let mut integrated = station.exact(Measure::Level, NOON);
            let mut switched = 0;
            for second in 0..7_200 {
                let now = NOON + second * SECOND;
                let at = station.moment(now);
                let inflow = station.exact(Measure::Flow, now);
                integrated += (inflow - at.cycle.demand) / 3600.0 / station.area;
                switched += i32::from(
                    station.exact(Measure::Pump, now) != station.exact(Measure::Pump, now + SECOND),
                );
            }
            let level = station.exact(Measure::Level, NOON + 7_200 * SECOND);
            assert!((level - integrated).abs() < 0.01, "{index}: {level} and {integrated}");
            assert!(switched >= 2, "{index}: the pump switched {switched} times in two hours");
        }
    }

    #[test]
    fn sensors_are_coarse_and_noisy_and_the_counter_only_grows() {
        let station = Station::new(2, 3);
        let mut off = std::collections::BTreeSet::new();
        let mut last = 0.0;
        for n in 0..5_000 {
            let now = NOON + n * 10 * SECOND;
            let Value::Number(level) = station.measure(Measure::Level, now) else { panic!() };
            let steps = level * 100.0;
            assert!((steps - steps.round()).abs() < 1e-6, "{level} is no multiple of 0.01");
            assert!((0.5..8.0).contains(&level), "{level}");
            off.insert(
                (steps.round() - (station.exact(Measure::Level, now) * 100.0).round()) as i8,
            );
            let Value::Number(energy) = station.measure(Measure::Energy, now) else { panic!() };
            assert!(energy >= last);
            last = energy;
        }
        assert_eq!(off.into_iter().collect::<Vec<_>>(), [-2, -1, 0, 1, 2]);
    }

    #[test]
    fn any_time_can_be_measured_and_measured_again() {
        let station = Station::new(3, 1);
        for time in [i64::MIN / 2, -1, 0, 1, NOON, 4_300_000_000_000] {
            for measure in Measure::NUMBERS {
                let first = station.measure(measure, time);
                assert_eq!(first, Station::new(3, 1).measure(measure, time));
                assert!(matches!(first, Value::Number(n) if n.is_finite()));
            }
        }
        assert_ne!(
            Station::new(3, 1).exact(Measure::Level, NOON),
            Station::new(3, 2).exact(Measure::Level, NOON)
        );
    }
}
