//! What the topics of MQTT bring: readings, twins and events of devices, or messages of the site.
//!
//! Topics below `devices/` are ours and mean the same on every node. Whatever else a site's things
//! publish is read by mappings of the configuration: each has topics, and says which device a topic
//! is of and which members of its payload are readings ([`Mapping`]). Those for zigbee2mqtt,
//! Tasmota and Shelly come with the program and are off until the configuration names them:
//! without a mapping a message is the site's own, which nobody here reads, stores or refuses.
//!
//! [`Rules`] are made once and shared. All of it is pure: a topic and a payload go in, items of
//! readings or an error for the publisher come out. `docs/formats/mqtt-topics.md` has every detail.

mod built_in;
mod compile;
mod mapping;
mod plain;
mod readings;
mod settings;
mod shipped;

pub use mapping::Mapping;
pub use settings::{MAPPINGS_MAX, Mappings};

use super::firmware;
use super::topic::Topic;
use crate::formats::{BodyError, Decoded, ItemError};
use holdfast_core::reading::Device;
use holdfast_core::{Metric, Reject, Timestamp};
use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

/// Characters of a wrong name that are told; the rest of a topic may be long.
const TOLD_MAX: usize = 64;

/// Which topics bring what.
#[derive(Clone, Debug)]
pub struct Rules {
    /// The first that takes a topic has it.
    mappings: Arc<[Arc<Mapping>]>,
}

impl Default for Rules {
    fn default() -> Self {
        Self::new(&Mappings::default())
    }
}

impl Rules {
    /// Our own topics, and those that `mappings` take.
    #[must_use]
    pub fn new(mappings: &Mappings) -> Self {
        Self { mappings: mappings.compiled().cloned().collect() }
    }

    /// Our own topics, and all that the shipped mappings take.
    #[must_use]
    pub fn shipped() -> Self {
        Self { mappings: shipped::all().map(|shipped| Arc::clone(&shipped.mapping)).collect() }
    }

    /// What a topic brings. It allocates nothing, unless there is something wrong.
    ///
    /// # Errors
    /// [`NameError`] when it is a topic of ours with a name that cannot be.
    pub fn purpose<'a>(&'a self, topic: &'a Topic) -> Result<Purpose<'a>, NameError> {
        if let Some(purpose) = built_in::purpose(topic.as_str()) {
            return purpose;
        }
        let mapping = self.mappings.iter().find(|mapping| mapping.takes(topic));
        Ok(mapping.map_or(Purpose::Ordinary, |mapping| Purpose::Mapped(mapping)))
    }
}

/// What a topic brings.
#[derive(Clone, Copy, Debug)]
pub enum Purpose<'a> {
    /// Readings of a device, or with a metric in the topic one plain value of it.
    Readings {
        /// The device.
        device: Device<'a>,
        /// The metric, if the topic names it.
        metric: Option<Metric<'a>>,
    },
    /// What a mapping makes of it.
    Mapped(&'a Mapping),
    /// An envelope of our firmware.
    Envelope {
        /// The device.
        device: Device<'a>,
    },
    /// What a device reports of its twin.
    Reported {
        /// The device.
        device: Device<'a>,
    },
    /// What a device answers to a command.
    Reply {
        /// The device.
        device: Device<'a>,
    },
    /// An event of a device.
    Event {
        /// The device.
        device: Device<'a>,
    },
    /// Only the node publishes here.
    Reserved,
    /// None of these: a message of the site.
    Ordinary,
}

impl<'a> Purpose<'a> {
    /// Decodes the readings of a payload; `content_type` is the property of version 5.
    ///
    /// Items of a list that are wrong stand beside the good ones, as they do over HTTP. What
    /// brings no readings by its topic has none. An empty payload that is to be retained takes the
    /// retained message away and should not be asked about.
    ///
    /// # Errors
    /// [`PayloadError`] when nothing of the payload can be taken, or it is of another device.
    pub fn decode(
        &self,
        topic: &'a Topic,
        payload: &'a [u8],
        content_type: Option<&str>,
        received: Timestamp,
    ) -> Result<Decoded<'a>, PayloadError> {
        match *self {
            Self::Readings { device, metric: None } => {
                readings::decode(device, payload, content_type, received)
            }
            Self::Readings { device, metric: Some(metric) } => {
                readings::decode_plain(device, metric, payload)
            }
            Self::Mapped(mapping) => mapping.decode(topic, payload),
            Self::Envelope { device } => firmware::decode(device, payload, received),
            Self::Reported { .. }
            | Self::Reply { .. }
            | Self::Event { .. }
            | Self::Reserved
            | Self::Ordinary => Ok(Decoded::default()),
        }
    }
}

/// Why a topic of ours cannot be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameError {
    /// What is wrong with the name.
    pub reject: Reject,
    /// The name, or its beginning.
    pub found: String,
}

impl NameError {
    fn new(reject: Reject, found: &str) -> Self {
        Self { reject, found: found.chars().take(TOLD_MAX).collect() }
    }
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let level =
            if self.reject == Reject::Metric { "behind `readings`" } else { "second level" };
        write!(f, "`{}` in the topic, {level}: {}", self.found, self.reject)
    }
}

impl std::error::Error for NameError {}

/// Why nothing of a payload was taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PayloadError {
    /// The stable code, of [`crate::formats`], of [`Reject`] or of this module.
    pub code: &'static str,
    /// What was found and what was expected.
    pub detail: Cow<'static, str>,
    /// Where in the payload; empty for all of it.
    pub at: String,
}

/// The code of a payload that follows no format that is read here.
pub const MALFORMED: &str = "malformed";
/// The code of a content type that is not read here.
pub const UNSUPPORTED_CONTENT_TYPE: &str = "unsupported-content-type";
/// The code of an item that names another device than its topic.
pub const OTHER_DEVICE: &str = "other-device";

impl PayloadError {
    fn new(code: &'static str, detail: impl Into<Cow<'static, str>>) -> Self {
        Self { code, detail: detail.into(), at: String::new() }
    }

    pub(super) fn at(mut self, at: impl Into<String>) -> Self {
        self.at = at.into();
        self
    }
}

impl fmt::Display for PayloadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.at.as_str() {
            "" => write!(f, "{}", self.detail),
            at => write!(f, "{} (at {at})", self.detail),
        }
    }
}

impl std::error::Error for PayloadError {}

impl From<Reject> for PayloadError {
    fn from(reject: Reject) -> Self {
        Self::new(reject.code(), reject.to_string())
    }
}

impl From<BodyError> for PayloadError {
    fn from(error: BodyError) -> Self {
        Self::new(MALFORMED, error.detail).at(error.at)
    }
}

impl From<&ItemError> for PayloadError {
    fn from(error: &ItemError) -> Self {
        Self::new(error.code, error.detail.clone()).at(error.at.clone())
    }
}

#[cfg(test)]
mod tests;
