//! The last starts of a device, as people see them: when, why, and with which firmware.
//!
//! A device tells of the start that it is in only. The gateway that hears of one for the first time
//! puts it before those that stand there already, in one value of what the device reports: so the
//! list goes wherever that goes. A start of which no gateway has heard is missing in it, and can be
//! told from the numbers.

use holdfast_core::Timestamp;
use holdfast_core::device::health::Health;
use holdfast_core::device::reported::RESERVED;
use holdfast_node::time_text::Time;
use holdfast_node::twins::Shown;
use serde_json::{Map, Value as Json, json};

/// Starts that are shown.
const STARTS_MAX: usize = 10;
/// Bytes of them: half of what a value may have, whatever a device calls its firmware.
const STARTS_MAX_BYTES: usize = 2_048;

/// A start of a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Start {
    boot: u64,
    uptime_ms: u64,
    reason: &'static str,
    firmware: String,
}

impl From<&Health<'_>> for Start {
    fn from(health: &Health<'_>) -> Self {
        let (reason, firmware) = (health.reason.word(), health.firmware.to_owned());
        Self { boot: health.boot, uptime_ms: health.uptime_ms, reason, firmware }
    }
}

impl Start {
    /// The last starts with this one before those that are shown, as a patch; nothing where it is
    /// the newest of them. `now` is when it was told; none where the gateway does not know.
    #[must_use]
    pub fn before(self, shown: &Shown, now: Option<Timestamp>) -> Option<Json> {
        let known = shown.at(&format!("{RESERVED}/starts")).and_then(|leaf| leaf.value.as_array());
        let known = known.map(Vec::as_slice).unwrap_or_default();
        if known.first().is_some_and(|last| last["boot"] == self.boot) {
            return None;
        }
        let mut all: Vec<Json> =
            std::iter::once(self.json(now)).chain(known.iter().cloned()).collect();
        all.truncate(STARTS_MAX);
        while all.len() > 1 && Json::from(all.clone()).to_string().len() > STARTS_MAX_BYTES {
            all.pop();
        }
        Some(json!({ RESERVED: { "starts": all } }))
    }

    fn json(self, now: Option<Timestamp>) -> Json {
        let mut out = Map::new();
        out.insert("boot".to_owned(), self.boot.into());
        let uptime_ms = i64::try_from(self.uptime_ms).unwrap_or(i64::MAX);
        // To the second: what is told takes its time to come.
        let started = |now: Timestamp| {
            let ms = now.millis().checked_sub(uptime_ms)?;
            Timestamp::from_millis(ms.checked_sub(ms.rem_euclid(1_000))?)
        };
        let at = now.and_then(started);
        out.extend(at.map(|at| ("at".to_owned(), Time(at).to_string().into())));
        out.insert("reason".to_owned(), self.reason.into());
        out.insert("firmware".to_owned(), self.firmware.into());
        out.into()
    }
}
