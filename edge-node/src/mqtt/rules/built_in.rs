//! Topics below `devices/` and `$`: what they bring is said by the topic alone.

use super::{NameError, Purpose};
use holdfast_core::Metric;
use holdfast_core::reading::Device;

/// What a topic of ours brings; `None` when it is none of ours.
pub(super) fn purpose(topic: &str) -> Option<Result<Purpose<'_>, NameError>> {
    if topic.starts_with('$') {
        return Some(Ok(Purpose::Reserved));
    }
    let below = topic.strip_prefix("devices/")?;
    Some(match below.split_once('/') {
        Some((id, kind)) => of_device(id, kind),
        None => Ok(Purpose::Ordinary),
    })
}

fn of_device<'a>(id: &'a str, kind: &'a str) -> Result<Purpose<'a>, NameError> {
    let device = || Device::new(id).map_err(|reject| NameError::new(reject, id));
    Ok(match kind {
        "readings" => Purpose::Readings { device: device()?, metric: None },
        "envelope" => Purpose::Envelope { device: device()? },
        "twin/reported" => Purpose::Reported { device: device()? },
        "replies" => Purpose::Reply { device: device()? },
        "events" => Purpose::Event { device: device()? },
        "twin/desired" | "watermark" => Purpose::Reserved,
        _ => match kind.strip_prefix("readings/") {
            Some(name) => {
                let metric = Metric::new(name).map_err(|reject| NameError::new(reject, name));
                Purpose::Readings { device: device()?, metric: Some(metric?) }
            }
            None => Purpose::Ordinary,
        },
    })
}
