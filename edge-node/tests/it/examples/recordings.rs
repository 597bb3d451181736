//! The recordings of the examples: what the sites of `docs/examples` measured, made by rule.
//!
//! Each site is a function of the minute, with noise that follows from its number, so a recording
//! is the same whenever it is made, and as long as it is asked for: a day goes on as it went on.

use jiff::{Timestamp, ToSpan as _};
use std::fmt::Write as _;

/// A recording.
pub struct Recording {
    /// The name of its files.
    pub name: &'static str,
    /// When it begins.
    from: &'static str,
    /// How many rows a device has in it.
    rows: u32,
    /// Seconds between two rows.
    every_s: u32,
    /// The columns behind device and time.
    columns: &'static str,
    devices: &'static [&'static str],
    /// The columns of a device, so many minutes after midnight of the first day.
    measure: fn(&str, f64) -> String,
}

/// All of them.
pub const ALL: [Recording; 6] = [
    Recording {
        name: "pump-dry-run",
        from: "2026-03-02T06:00:00Z",
        rows: 8 * 60,
        every_s: 60,
        columns: "flow [m3/h],current [A],level [m]",
        devices: &["ps-017", "ps-018"],
        measure: pump,
    },
    Recording {
        name: "cold-chain",
        from: "2026-03-02T00:00:00Z",
        rows: 24 * 20,
        every_s: 180,
        columns: "temperature [Cel]",
        devices: &["cold-1", "cold-2"],
        measure: cold_room,
    },
    Recording {
        name: "irrigation",
        from: "2026-06-15T00:00:00Z",
        rows: 48 * 6,
        every_s: 600,
        columns: "moisture [%]",
        devices: &["soil-north", "soil-south", "soil-roses"],
        measure: soil,
    },
    Recording {
        name: "generator-start",
        from: "2026-03-02T09:00:00Z",
        rows: 3 * 60,
        every_s: 60,
        columns: "voltage [V]",
        devices: &["grid-1", "genset-1"],
        measure: supply,
    },
    Recording {
        name: "leak-detection",
        from: "2026-03-02T18:00:00Z",
        rows: 12 * 60,
        every_s: 60,
        columns: "flow [L/min]",
        devices: &["meter-1", "meter-2"],
        measure: water,
    },
    Recording {
        name: "batch-heaters",
        from: "2026-03-02T06:00:00Z",
        rows: 2 * 60,
        every_s: 60,
        columns: "temperature [Cel]",
        devices: &["heater-1", "heater-2", "heater-3", "heater-4"],
        measure: heater,
    },
];

impl Recording {
    /// The file as it is kept.
    pub fn csv(&self) -> String {
        self.rows(self.from, self.rows)
    }

    /// `hours` of it from `from` on, in as many rows as that takes.
    pub fn hours(&self, from: &str, hours: u32) -> String {
        self.rows(from, hours * 3_600 / self.every_s)
    }

    fn rows(&self, from: &str, count: u32) -> String {
        let from: Timestamp = from.parse().unwrap();
        let midnight = from.as_second().div_euclid(86_400) * 86_400;
        let mut out = format!("device,time,{}\n", self.columns);
        for row in 0..count {
            let at = from + (i64::from(row) * i64::from(self.every_s)).seconds();
            let minute = (at.as_second() - midnight) as f64 / 60.0;
            for device in self.devices {
                let _ = writeln!(out, "{device},{at},{}", (self.measure)(device, minute));
            }
        }
        out
    }
}

/// From -1 to 1, the same for the same device and minute.
fn noise(device: &str, minute: f64) -> f64 {
    let seed = device.bytes().fold(0_u64, |sum, byte| sum.wrapping_mul(31) + u64::from(byte));
    let mut mixed = seed.wrapping_add((minute * 4.0) as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed ^= mixed >> 27;
    (mixed % 2_001) as f64 / 1_000.0 - 1.0
}

/// How far `minute` is from `a` to `b`; 0 before and 1 after.
fn along(minute: f64, a: f64, b: f64) -> f64 {
    ((minute - a) / (b - a)).clamp(0.0, 1.0)
}

fn day(minute: f64) -> f64 {
    minute.rem_euclid(1_440.0)
}

/// The sump of `ps-017` runs empty at 7:40, that of `ps-018`, which is off from 10 to 10:20, at
/// 11:10.
fn pump(device: &str, minute: f64) -> String {
    let (at, n) = (day(minute), noise(device, minute));
    let (dry, wet) = if device == "ps-017" { (460.0, 505.0) } else { (670.0, 730.0) };
    let is_off = device == "ps-018" && (600.0..620.0).contains(&at);
    // Somebody switches it off by hand a quarter of an hour later.
    let was_stopped = (dry + 15.0..wet + 20.0).contains(&at);
    let level = 1.8 - 1.6 * along(at, dry - 70.0, dry) + 1.5 * along(at, dry + 15.0, wet);
    let (flow, current) = if is_off || was_stopped {
        (0.0, 0.1)
    } else if (dry..dry + 15.0).contains(&at) {
        (0.4 + 0.3 * n, 6.2 + 0.2 * n)
    } else {
        (42.0 + 1.5 * n, 11.8 + 0.3 * n)
    };
    format!("{flow:.1},{current:.1},{level:.2}")
}

/// The compressor of `cold-1` stands from 2 to 3:30; goods come in at 8 for nine minutes. The door
/// of `cold-2` is open at 14.
fn cold_room(device: &str, minute: f64) -> String {
    let (at, n) = (day(minute), noise(device, minute));
    let warm = |a: f64, up: f64, b: f64, down: f64| along(at, a, up) - along(at, b, down);
    let over = if device == "cold-1" {
        5.4 * warm(120.0, 150.0, 210.0, 250.0) + 4.6 * warm(480.0, 483.0, 489.0, 492.0)
    } else {
        5.0 * warm(840.0, 852.0, 885.0, 900.0)
    };
    format!("{:.1}", 4.4 + 0.3 * n + over)
}

/// All dry out by day. `soil-north` is watered at half past five in summer time of Madrid, `soil-
/// roses` does not get wet that way, and is so dry in the afternoon that it is watered at once.
fn soil(device: &str, minute: f64) -> String {
    let (at, n) = (day(minute), noise(device, minute));
    let base = match device {
        // 3:30 in UTC.
        "soil-north" => 22.0 + 12.0 * along(at, 215.0, 240.0) - 12.0 * along(at, 480.0, 1_200.0),
        "soil-south" => 29.0 - 2.0 * along(at, 480.0, 1_200.0) + 2.0 * along(at, 1_210.0, 1_440.0),
        _ => {
            19.0 - 6.5 * along(at, 600.0, 840.0) + 21.5 * along(at, 805.0, 835.0)
                - 15.0 * along(at, 860.0, 1_440.0)
        }
    };
    format!("{:.1}", base + 0.3 * n)
}

/// The mains are down from 9:12 to 9:40 and from 11:05 to 11:20. The second time the generator does
/// not start.
fn supply(device: &str, minute: f64) -> String {
    let (at, n) = (day(minute), noise(device, minute));
    let is_down = (552.0..580.0).contains(&at) || (665.0..680.0).contains(&at);
    let is_on = match device {
        "grid-1" => !is_down,
        _ => (553.0..591.0).contains(&at),
    };
    let volts = if is_on { 230.0 + 2.0 * n } else { 0.0 };
    format!("{volts:.0}")
}

/// Somebody showers now and then; from 22:10 to 5 a tap of `meter-1` drips. At 19:20 a pipe of
/// `meter-2` bursts, and is closed twelve minutes later.
fn water(device: &str, minute: f64) -> String {
    let (at, n) = (day(minute), noise(device, minute));
    let is_tap = n > 0.86 && !(0.0..330.0).contains(&at);
    let drips = device == "meter-1" && !(300.0..1_330.0).contains(&at);
    let bursts = device == "meter-2" && (1_160.0..1_172.0).contains(&at);
    let tap = if is_tap { 9.0 } else { 0.0 };
    let drip = if drips { 0.08 } else { 0.0 };
    let burst = if bursts { 35.0 + n } else { 0.0 };
    format!("{:.2}", tap + drip + burst)
}

/// From 6 on all four heat up, `heater-3` from a little later on and more slowly; they cool down
/// from 7:40 on.
fn heater(device: &str, minute: f64) -> String {
    let (at, n) = (day(minute), noise(device, minute));
    let (begin, end) = if device == "heater-3" { (365.0, 428.0) } else { (362.0, 415.0) };
    let over = 48.5 * along(at, begin, end) - 40.0 * along(at, 460.0, 900.0);
    format!("{:.1}", 18.0 + 0.2 * n + over)
}
