//! What the emulated board measures: a tank that fills and is pumped empty, over and over.
//!
//! There is nothing to measure in an emulator, so this computes what there would be, from the time
//! alone and in whole numbers: the same on every run.

use embassy_time::Instant;
use holdfast_core::{Quality, Value};
use holdfast_firmware::sensors::{Measured, Sensor, Sensors};

const LEVEL: u8 = 1;
const TEMPERATURE: u8 = 2;
const PUMP: u8 = 3;

/// The sensors of a tank at its usual pace.
const TABLE: [Sensor; 3] = [
    Sensor { number: LEVEL, metric: "level", unit: "m", every_ms: 1_000 },
    Sensor { number: TEMPERATURE, metric: "temperature", unit: "Cel", every_ms: 10_000 },
    Sensor { number: PUMP, metric: "pump", unit: "", every_ms: 5_000 },
];

/// Seconds in which the tank fills, and as many in which it is emptied.
const HALF_S: u64 = 120;

/// The sensors of a tank that is looked at so many times more often.
pub fn table(faster: u64) -> [Sensor; 3] {
    TABLE.map(|sensor| Sensor { every_ms: (sensor.every_ms / faster.max(1)).max(1), ..sensor })
}

/// The tank.
#[derive(Debug)]
pub struct Tank([Sensor; 3]);

impl Tank {
    /// One with these sensors.
    pub const fn new(table: [Sensor; 3]) -> Self {
        Self(table)
    }
}

impl Sensors for Tank {
    fn table(&self) -> &[Sensor] {
        &self.0
    }

    async fn measure(&mut self, number: u8) -> Option<Measured> {
        let phase = Instant::now().as_secs() % (2 * HALF_S);
        let (is_pumped, height) =
            if phase < HALF_S { (false, phase) } else { (true, 2 * HALF_S - phase) };
        let value = match number {
            // 0.50 to 2.90 m, in centimetres.
            LEVEL => Value::float((50 + 2 * height) as f64 / 100.0).ok()?,
            TEMPERATURE => Value::float((112 + height / 20) as f64 / 10.0).ok()?,
            PUMP => Value::Bool(is_pumped),
            _ => return None,
        };
        Some(Measured { value, quality: Quality::GOOD })
    }
}
