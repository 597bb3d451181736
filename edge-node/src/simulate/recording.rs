//! Recorded readings, in the order in which they were measured.
//!
//! A recording is played, so each reading needs its time, and one that is wrong is no recording:
//! what is not simulated as it was would only mislead.

use crate::files::{Entry, Refusal, Source};
use crate::formats::line::Precision;
use holdfast_core::{Device, Metric, Quality, SeriesKey, Timestamp, Unit};
use holdfast_sync::store::OwnedValue;
use std::path::PathBuf;

/// Readings of a recording: half a gigabyte in memory.
const READINGS_MAX: usize = 2_000_000;
/// What is wrong is named one by one up to here.
const SHOWN: usize = 10;

/// A reading that was recorded.
#[derive(Clone, Debug, PartialEq)]
pub struct Recorded {
    /// When it was measured.
    pub time: Timestamp,
    /// Of which device.
    pub device: String,
    /// What.
    pub metric: String,
    /// In which unit.
    pub unit: String,
    /// What came out.
    pub value: OwnedValue,
    /// What the device said about it.
    pub quality: Quality,
}

impl Recorded {
    /// Its series.
    ///
    /// # Panics
    /// Where its names are none, which reading it has ruled out.
    #[must_use]
    pub fn key(&self) -> SeriesKey<'_> {
        SeriesKey::new(&self.device, &self.metric, &self.unit).expect("it was checked when read")
    }
}

/// Reads files, of devices that they name or `device`.
///
/// # Errors
/// Sentences about what is wrong, each with file and line.
pub async fn read(files: &[PathBuf], device: Option<&str>) -> Result<Vec<Recorded>, String> {
    let (mut out, mut wrong) = (Vec::new(), Vec::new());
    for file in files {
        let mut reading = Source::open(file, None, Precision::default())?.start();
        let name = reading.name.clone();
        while let Some(portion) = reading.next().await {
            let portion = portion.map_err(|error| format!("{name}: {error}"))?;
            wrong.extend(portion.refused.iter().map(|refusal| refusal.in_file(&name).to_string()));
            for entry in &portion.entries {
                match recorded(entry, device, &mut out) {
                    Ok(()) => {}
                    Err(refusal) => wrong.push(refusal.in_file(&name).to_string()),
                }
            }
            if out.len() > READINGS_MAX {
                return Err(format!("{name}: there are more than {READINGS_MAX} readings"));
            }
        }
    }
    if wrong.is_empty() {
        // Of one moment they stay in the order of the file.
        out.sort_by_key(|recorded| recorded.time);
        return Ok(out);
    }
    let more = wrong.len().saturating_sub(SHOWN);
    wrong.truncate(SHOWN);
    if more > 0 {
        wrong.push(format!("and {more} more"));
    }
    Err(wrong.join("\n       "))
}

fn recorded(entry: &Entry, own: Option<&str>, out: &mut Vec<Recorded>) -> Result<(), Refusal> {
    let refusal = |detail: String| Refusal { place: entry.place, path: String::new(), detail };
    let device = entry.device.as_deref().or(own);
    let device = device.ok_or_else(|| refusal("no device is named: --device does".to_owned()))?;
    for reading in &entry.readings {
        let time = reading.time.ok_or_else(|| {
            refusal("it has no time, and a recording is played by its times".to_owned())
        })?;
        let key = Device::new(device)
            .and_then(|_| Metric::new(&reading.metric))
            .and_then(|_| Unit::new(&reading.unit));
        key.map_err(|reject| refusal(format!("`{device}` `{}`: {reject}", reading.metric)))?;
        out.push(Recorded {
            time,
            device: device.to_owned(),
            metric: reading.metric.clone().into_owned(),
            unit: reading.unit.clone().into_owned(),
            value: reading.value.get().into(),
            quality: reading.quality,
        });
    }
    Ok(())
}
