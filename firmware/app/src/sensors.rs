//! What a device measures: a table of its sensors, and the board's way of asking one.
//!
//! A sensor has a number that stands in flash in the place of its names. It is never given to
//! another sensor, not by later firmware either: samples of the one before may still be there.

use holdfast_core::{Quality, Value};

/// One sensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sensor {
    /// Its number.
    pub number: u8,
    /// What it measures.
    pub metric: &'static str,
    /// In which unit, a UCUM code.
    pub unit: &'static str,
    /// How often, in milliseconds.
    pub every_ms: u64,
}

/// What came out of a sensor.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Measured {
    /// The value.
    pub value: Value<'static>,
    /// How far to trust it.
    pub quality: Quality,
}

/// The sensors of a board.
pub trait Sensors {
    /// All of them.
    fn table(&self) -> &[Sensor];

    /// Asks one; `None` when it does not answer, and then there is no sample.
    fn measure(&mut self, number: u8) -> impl Future<Output = Option<Measured>>;
}

/// When the next of them is to be asked, if all were that were due at `last`.
#[must_use]
pub fn next_due(table: &[Sensor], last_ms: u64) -> Option<u64> {
    let each = table.iter().filter(|sensor| sensor.every_ms > 0);
    each.map(|sensor| (last_ms / sensor.every_ms + 1) * sensor.every_ms).min()
}

/// Those that are to be asked at a moment that [`next_due`] gave.
pub fn due(table: &[Sensor], at_ms: u64) -> impl Iterator<Item = &Sensor> {
    table.iter().filter(move |sensor| sensor.every_ms > 0 && at_ms.is_multiple_of(sensor.every_ms))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    const fn sensor(number: u8, every_ms: u64) -> Sensor {
        Sensor { number, metric: "m", unit: "", every_ms }
    }

    #[test]
    fn each_is_asked_at_its_own_pace() {
        let table = [sensor(1, 1_000), sensor(2, 2_500), sensor(3, 0)];
        let (mut last, mut seen) = (0, Vec::new());
        while let Some(at) = next_due(&table, last).filter(|at| *at <= 5_000) {
            seen.extend(due(&table, at).map(|sensor| (at, sensor.number)));
            last = at;
        }
        let expected =
            [(1_000, 1), (2_000, 1), (2_500, 2), (3_000, 1), (4_000, 1), (5_000, 1), (5_000, 2)];
        assert_eq!(seen, expected);
        assert_eq!(next_due(&[sensor(3, 0)], 0), None);
    }
}
