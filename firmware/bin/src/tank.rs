//! What the emulated board measures: a tank that fills and is pumped empty, over and over. And what
//! it moves: the valve in the tank's outlet.
//!
//! There is nothing to measure in an emulator, so this computes what there would be, from the time
//! alone and in whole numbers: the same on every run. The valve is where `valve` of the desired
//! section says, in percent, or where the commands `open` (with `percent`) and `close` put it, or a
//! workflow by `actuate: valve`; the device reports where it is, and measures it. A workflow may
//! light a `lamp`, too.

use core::sync::atomic::{AtomicU8, Ordering};
use embassy_time::{Instant, Timer};
use holdfast_core::device::command::{Command, Outcome};
use holdfast_core::flow::Code;
use holdfast_core::state::{Path, Value as Kept};
use holdfast_core::{Quality, Value};
use holdfast_firmware::actor::{Actuators, Reports, failed};
use holdfast_firmware::flows::{Asked, To};
use holdfast_firmware::sensors::{Measured, Sensor, Sensors};
use holdfast_firmware::twin::Wanted;

const LEVEL: u8 = 1;
const TEMPERATURE: u8 = 2;
const PUMP: u8 = 3;
const OUTLET: u8 = 4;

/// How far the valve is open, in percent. It stays where it is without power, but nobody knows
/// where that is until it was moved.
static VALVE: AtomicU8 = AtomicU8::new(0);
/// How long the valve takes, in milliseconds.
const STROKE_MS: u64 = 200;

/// Sensors of a tank.
pub type Table = [Sensor; 4];

/// The sensors of a tank at its usual pace.
const TABLE: Table = [
    Sensor { number: LEVEL, metric: "level", unit: "m", every_ms: 1_000 },
    Sensor { number: TEMPERATURE, metric: "temperature", unit: "Cel", every_ms: 10_000 },
    Sensor { number: PUMP, metric: "pump", unit: "", every_ms: 5_000 },
    Sensor { number: OUTLET, metric: "valve", unit: "%", every_ms: 5_000 },
];

/// Seconds in which the tank fills, and as many in which it is emptied.
const HALF_S: u64 = 120;

/// The sensors of a tank that is looked at so many times more often.
pub fn table(faster: u64) -> Table {
    TABLE.map(|sensor| Sensor { every_ms: (sensor.every_ms / faster.max(1)).max(1), ..sensor })
}

/// The tank.
#[derive(Debug)]
pub struct Tank(&'static Table);

impl Tank {
    /// One with these sensors.
    pub const fn new(table: &'static Table) -> Self {
        Self(table)
    }
}

impl Sensors for Tank {
    fn table(&self) -> &[Sensor] {
        self.0
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
            OUTLET => Value::Int(VALVE.load(Ordering::Relaxed).into()),
            _ => return None,
        };
        Some(Measured { value, quality: Quality::GOOD })
    }
}

/// What is moved.
#[derive(Debug)]
pub struct Valve;

impl Valve {
    fn put(percent: u8, reports: Reports<'_>) {
        VALVE.store(percent, Ordering::Relaxed);
        // It has room, and nothing else is to be said.
        _ = reports.say("valve", Some(Kept::Int(percent.into())));
    }
}

impl Actuators for Valve {
    fn apply(&mut self, desired: &Wanted, reports: Reports<'_>) {
        let wanted = Path::new("valve").ok().and_then(|path| desired.get(path)?.value());
        let wanted = match wanted {
            Some(Kept::Int(percent)) => {
                u8::try_from(percent).ok().filter(|percent| *percent <= 100)
            }
            _ => None,
        };
        // What makes no sense moves nothing; that it is not reported shows it.
        if let Some(percent) = wanted {
            Self::put(percent, reports);
        }
    }

    async fn actuate(&mut self, asked: &Asked, reports: Reports<'_>) -> Result<(), Code> {
        let millionths = match (asked.name.as_str(), &asked.value) {
            ("lamp", To::Switch(on)) => {
                // There is nothing to light in an emulator: that it is lit is what is said of it.
                return reports.say("lamp", Some(Kept::Bool(*on))).map_err(|_| Code::BUSY);
            }
            ("valve", To::Number(millionths)) => *millionths,
            ("lamp" | "valve", _) => return Err(Code::INVALID),
            _ => return Err(Code::MISSING),
        };
        let percent = u8::try_from(millionths / 1_000_000).map_err(|_| Code::RANGE)?;
        if percent > 100 || millionths % 1_000_000 != 0 {
            return Err(Code::RANGE);
        }
        Timer::after_millis(STROKE_MS).await;
        Self::put(percent, reports);
        Ok(())
    }

    async fn carry_out(&mut self, command: &Command<'_>, reports: Reports<'_>) -> Outcome<'static> {
        let percent = match (command.name, command.arguments.get("percent")) {
            ("close", None) => 0,
            ("open", None) => 100,
            ("open", Some(Value::Int(percent @ 0..=100))) => percent as u8,
            ("open", _) => return UNFIT,
            _ => return UNKNOWN,
        };
        Timer::after_millis(STROKE_MS).await;
        Self::put(percent, reports);
        Outcome::Done(Some(Value::Int(percent.into())))
    }
}

const UNFIT: Outcome<'static> = failed("percent is to be a whole number from 0 to 100");
const UNKNOWN: Outcome<'static> = failed("this device knows open and close");
