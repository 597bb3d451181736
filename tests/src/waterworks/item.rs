//! One item of a post: the readings a device took at one moment, under one sequence number.

use std::fmt::Write;
use std::sync::Arc;

/// A measured value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value {
    /// A finite number.
    Number(f64),
    /// On or off.
    Switch(bool),
}

/// One value of one metric.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Reading {
    /// The metric.
    pub metric: &'static str,
    /// Its unit, if the device says one.
    pub unit: Option<&'static str>,
    /// The value.
    pub value: Value,
}

/// By what a repeated post is recognised.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// The device.
    pub device: Arc<str>,
    /// How often it was started.
    pub boot: u32,
    /// Number of the item since then, from 1.
    pub seq: u64,
}

/// An item.
#[derive(Debug, Clone, PartialEq)]
pub struct Item {
    /// Its identity.
    pub key: Key,
    /// When it was measured, in milliseconds since 1970 by the device's clock.
    pub time_ms: i64,
    /// What was measured. One reading is posted in the single form, several as `values`, which
    /// takes numbers without units.
    pub readings: Vec<Reading>,
}

impl Item {
    /// Appends the item as JSON.
    ///
    /// # Panics
    /// When the time lies outside of what RFC 3339 can say.
    pub fn write_json(&self, out: &mut String) {
        let Key { device, boot, seq } = &self.key;
        let time = jiff::Timestamp::from_millisecond(self.time_ms)
            .expect("devices live between the years -9999 and 9999");
        let done = match self.readings.as_slice() {
            [Reading { metric, unit, value }] => {
                let unit = unit.map(|u| format!(r#","unit":"{u}""#)).unwrap_or_default();
                write!(out, r#"{{"device":"{device}","metric":"{metric}","value":{value}{unit}"#)
            }
            several => {
                let values: Vec<_> =
                    several.iter().map(|r| format!(r#""{}":{}"#, r.metric, r.value)).collect();
                write!(out, r#"{{"device":"{device}","values":{{{}}}"#, values.join(","))
            }
        };
        done.and_then(|()| write!(out, r#","time":"{time}","boot":{boot},"seq":{seq}}}"#))
            .expect("writing to a string cannot fail");
    }
}

impl std::fmt::Display for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Number(number) => write!(f, "{number}"),
            Self::Switch(on) => write!(f, "{on}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_are_json_with_identity_and_time() {
        let key = Key { device: "ps-001".into(), boot: 2, seq: 7 };
        let level = Reading { metric: "level", unit: None, value: Value::Number(2.5) };
        let pump = Reading { metric: "pump", unit: Some("1"), value: Value::Switch(true) };
        let json = |readings: &[Reading]| {
            let mut text = String::new();
            let (key, readings) = (key.clone(), readings.to_vec());
            Item { key, time_ms: 1_700_000_000_250, readings }.write_json(&mut text);
            serde_json::from_str::<serde_json::Value>(&text).unwrap()
        };
        assert_eq!(
            json(&[pump]),
            serde_json::json!({"device": "ps-001", "metric": "pump", "value": true, "unit": "1",
                "time": "2023-11-14T22:13:20.25Z", "boot": 2, "seq": 7})
        );
        let flow = Reading { metric: "flow", unit: None, value: Value::Number(0.0) };
        assert_eq!(json(&[level, flow])["values"], serde_json::json!({"level": 2.5, "flow": 0}));
    }
}
