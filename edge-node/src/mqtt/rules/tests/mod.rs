//! What topics and payloads become, written as lines `device metric value unit time`.

mod mappings;
mod ours;
mod settings;
mod shipped;

use super::*;
use crate::formats::{DecodedReading, DecodedValue};
use holdfast_node::time_text;
use serde::Deserialize;

/// 2026-11-20T16:38:00Z.
const RECEIVED: Timestamp = Timestamp(1_795_192_680_000_000_000);

fn topic(name: &str) -> Topic {
    Topic::try_from(name).unwrap()
}

/// The rules of a list in TOML, as it stands in a configuration.
fn rules(list: &str) -> Rules {
    Rules::new(&mappings(list).unwrap())
}

fn mappings(list: &str) -> Result<Mappings, String> {
    #[derive(Deserialize)]
    struct Section {
        mappings: Mappings,
    }
    let section = toml::from_str::<Section>(list).map_err(|error| error.message().to_owned())?;
    Ok(section.mappings)
}

fn line(device: &str, reading: &DecodedReading<'_>) -> String {
    let value = match &reading.value {
        DecodedValue::Float(number) => number.get().to_string(),
        DecodedValue::Int(int) => format!("{int}i"),
        DecodedValue::Bool(on) => on.to_string(),
        DecodedValue::Text(text) => format!("{text:?}"),
    };
    let time = reading.time.map_or_else(|| "-".to_owned(), time_text::format);
    let unit = if reading.unit.is_empty() { "-" } else { &*reading.unit };
    assert!(Metric::new(&reading.metric).is_ok() && Device::new(device).is_ok());
    format!("{device} {} {value} {unit} {time}", reading.metric)
}

/// All good items of a message; wrong ones as `! code at`, and what is wrong with all of it as the
/// error.
fn taken(
    rules: &Rules,
    name: &str,
    payload: &[u8],
    kind: Option<&str>,
) -> Result<Vec<String>, String> {
    let topic = topic(name);
    let purpose = rules.purpose(&topic).map_err(|error| error.to_string())?;
    let decoded = purpose.decode(&topic, payload, kind, RECEIVED);
    let decoded = decoded.map_err(|error| format!("{}: {error}", error.code))?;
    let mut lines = Vec::new();
    for item in &decoded.items {
        match item {
            Ok(item) => {
                let device = item.device.as_deref().unwrap();
                lines.extend(decoded.readings_of(item).iter().map(|reading| line(device, reading)));
            }
            Err(error) => lines.push(format!("! {} {}", error.code, error.at)),
        }
    }
    Ok(lines)
}

fn lines(rules: &Rules, topic: &str, payload: &str) -> Vec<String> {
    taken(rules, topic, payload.as_bytes(), None).unwrap()
}

fn error(rules: &Rules, topic: &str, payload: &str) -> String {
    taken(rules, topic, payload.as_bytes(), None).unwrap_err()
}
