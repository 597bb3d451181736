//! What a message brings beside itself: readings that are ready to be stored, a part of a twin, the
//! answer to a command, or steps of runs on a device.
//!
//! Readings go to disk in the transaction of their message. What a device reports of its twin,
//! answers, or tells of its runs is on disk when [`Door::bring`] returns, before its message is:
//! the same twice changes nothing, so where the node ends in between and the message comes again,
//! it is as if it had come once.

use super::broker::Brought;
use super::connection::Outcome;
use super::counts::MqttCounts;
use super::firmware::{self, Heard, Said, Says, Start};
use super::packet::{Publish, Topic, Utf8};
use super::reason::Reason;
use super::rules::{Purpose, Rules};
use crate::device_commands::{self, Answered, Book, CommandId, Reply};
use crate::ingest::Ingest;
use holdfast_core::Timestamp;
use holdfast_core::device::flows::Held;
use holdfast_core::device::gateway::Time;
use holdfast_core::device::reported::Joined;
use holdfast_core::reading::Device;
use holdfast_node::runs::{Desk, StepsError};
use holdfast_node::twins::{Condition, Patch, PatchError, Section, Twins};
use holdfast_sync::Fault;
use holdfast_sync::docs::DocumentName;
use holdfast_sync::store::Snapshot;
use serde_json::{Value, json};
use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// What a message has brought.
#[derive(Debug, Default)]
pub struct Brings {
    /// Its readings, if it has any.
    pub readings: Option<Brought>,
    /// What a device with our firmware is to be answered, once the message is on disk.
    pub said: Option<Box<Said>>,
}

impl From<Option<Brought>> for Brings {
    fn from(readings: Option<Brought>) -> Self {
        Self { readings, said: None }
    }
}

/// Whose message it is.
#[derive(Clone, Copy, Debug)]
pub enum Whose<'a> {
    /// That of a client, with its device, if it is one: it posts for no other.
    Client(Option<&'a str>),
    /// A will, whose client was judged when it left it here.
    Will,
}

/// The door: what topics bring, and where it goes.
#[derive(Clone)]
pub struct Door {
    ingest: Ingest,
    twins: Twins,
    commands: Book,
    desk: Desk,
    rules: Arc<Rules>,
    counts: Arc<MqttCounts>,
}

fn refused(reason: Reason, text: impl Into<Cow<'static, str>>) -> Outcome {
    Outcome { reason, text: Some(text.into()) }
}

impl Door {
    /// One for these rules.
    #[must_use]
    pub fn new(
        ingest: Ingest,
        (twins, desk): (Twins, Desk),
        commands: Book,
        rules: Arc<Rules>,
        counts: Arc<MqttCounts>,
    ) -> Self {
        Self { ingest, twins, commands, desk, rules, counts }
    }

    /// Where readings go.
    #[must_use]
    pub const fn ingest(&self) -> &Ingest {
        &self.ingest
    }

    fn purpose<'a>(&'a self, topic: &'a Topic) -> Result<Purpose<'a>, Outcome> {
        let purpose = self.rules.purpose(topic);
        purpose.map_err(|wrong| refused(Reason::TopicNameInvalid, wrong.to_string()))
    }

    /// What a topic brings, if a client with this device may bring it at all.
    ///
    /// # Errors
    /// What the client is told.
    pub fn check<'a>(
        &'a self,
        topic: &'a Topic,
        own: Option<&str>,
    ) -> Result<Purpose<'a>, Outcome> {
        let purpose = self.purpose(topic)?;
        let text = match purpose {
            Purpose::Reserved => "only the node publishes to this topic",
            Purpose::Reported { device }
            | Purpose::Reply { device }
            | Purpose::Envelope { device }
                if own != Some(device.as_str()) =>
            {
                "what a device says of itself is published with the device's own token only"
            }
            _ => return Ok(purpose),
        };
        Err(refused(Reason::NotAuthorized, text))
    }

    /// What a message brings; nothing when its topic brings nothing. What it tells of a twin, or
    /// answers, is on disk then.
    ///
    /// # Errors
    /// What its publisher is told when the message is not to be taken.
    pub async fn bring(&self, publish: &Publish, whose: Whose<'_>) -> Result<Brings, Outcome> {
        let (purpose, own) = match whose {
            Whose::Client(own) => (self.check(&publish.topic, own)?, own),
            Whose::Will => (self.purpose(&publish.topic)?, None),
        };
        if publish.payload.is_empty() && publish.retain {
            return Ok(Brings::default());
        }
        match purpose {
            Purpose::Readings { .. } | Purpose::Mapped(_) => {
                self.readings(publish, &purpose, own).await.map(Brings::from)
            }
            Purpose::Envelope { device } => {
                // Of a device that says how it is nothing is to be lost by its samples.
                let said = Box::pin(self.hear(device, &publish.payload)).await?;
                let readings = self.readings(publish, &purpose, own).await?;
                Ok(Brings { readings, said: Some(said) })
            }
            Purpose::Reported { device } => {
                Box::pin(self.report(device, &publish.payload)).await?;
                Ok(Brings::default())
            }
            Purpose::Reply { device } => {
                Box::pin(self.reply(device, publish)).await?;
                Ok(Brings::default())
            }
            _ => Ok(Brings::default()),
        }
    }

    async fn readings(
        &self,
        publish: &Publish,
        purpose: &Purpose<'_>,
        own: Option<&str>,
    ) -> Result<Option<Brought>, Outcome> {
        let received = self.ingest.now();
        let content_type = publish.properties.content_type.as_ref().map(Utf8::as_str);
        let wrong = |text: String| refused(Reason::PayloadFormatInvalid, text);
        let decoded = match purpose.decode(&publish.topic, &publish.payload, content_type, received)
        {
            Ok(decoded) => decoded,
            Err(error) => return self.unless_foreign(purpose, publish, wrong(error.to_string())),
        };
        let prepared = self.ingest.prepare(own, &decoded, received).await;
        let prepared =
            prepared.map_err(|problem| refused(Reason::NotAuthorized, problem.to_string()))?;
        if prepared.batch.items.is_empty()
            && let Some(first) = prepared.rejected().first()
        {
            let text = format!("{} (at {})", first.detail, first.at);
            self.ingest.settle(prepared, &[], false);
            return self.unless_foreign(purpose, publish, wrong(text));
        }
        Ok(Some(prepared).filter(|prepared| !prepared.batch.items.is_empty()))
    }

    /// A payload that cannot be read is refused on a topic of ours. Whoever publishes what a
    /// mapping takes has never heard of us: that message stays one of the site, without readings.
    fn unless_foreign(
        &self,
        purpose: &Purpose<'_>,
        publish: &Publish,
        wrong: Outcome,
    ) -> Result<Option<Brought>, Outcome> {
        let Purpose::Mapped(mapping) = purpose else { return Err(wrong) };
        self.counts.unread.add(1);
        let (topic, mapping) = (&publish.topic, mapping.name());
        let reason = wrong.text.unwrap_or_default();
        tracing::warn!(%topic, mapping, %reason, "a message brings no readings");
        Ok(None)
    }

    /// What time it is, for devices.
    #[must_use]
    pub fn time(&self) -> Time {
        let is_trusted = !self.ingest.clock_wrong().load(Ordering::Relaxed);
        Time { unix_ms: self.ingest.now().millis(), is_trusted }
    }

    /// Does what a device with our firmware says beside its samples; what it is to be answered.
    async fn hear(&self, device: Device<'_>, payload: &[u8]) -> Result<Box<Said>, Outcome> {
        let wrong = |text: String| refused(Reason::PayloadFormatInvalid, text);
        let heard = Heard::read(device, payload).map_err(|error| wrong(error.to_string()))?;
        let Heard { health, start, reported, replies, held, firmware, steps, mut said } = heard;
        // First what may not be the device's to say: then nothing of the message is taken.
        if !steps.is_empty() {
            self.take_steps(device, &steps).await?;
        }
        if let Some(held) = held {
            self.stand(device, held).await?;
        }
        if let Some(patch) = self.of_itself(device, health, start, firmware).await? {
            self.patch(device, &patch).await?;
        }
        for reported in reported {
            let cells = reported.cells.as_bytes().to_vec();
            let joined = self.twins.join(document(device)?, cells).await.map_err(not_written)?;
            let (mark, is_stale, above) = (reported.mark, joined.is_stale, joined.above);
            said.joined.push(Joined { mark, is_stale, above });
        }
        for reply in &replies {
            let (id, reply) = firmware::reply(reply);
            if self.answer(device, id, reply).await? == Answered::Unknown {
                // Nothing will ever come of it: the device is to be rid of it.
                self.counts.unasked.add(1);
                tracing::warn!(device = device.as_str(), %id, "an answer to no command is let go");
            }
            said.replied.push(id.0);
        }
        Ok(Box::new(said))
    }

    /// Takes steps of the runs of a device.
    async fn take_steps(
        &self,
        device: Device<'_>,
        steps: &[(usize, &[u8])],
    ) -> Result<(), Outcome> {
        let payloads = steps.iter().map(|(number, payload)| (*number, payload.to_vec())).collect();
        let taken = self.desk.take_steps(self.twins.store(), device.as_str(), payloads).await;
        taken.map_err(|error| match error {
            StepsError::Wrong { .. } => refused(Reason::PayloadFormatInvalid, error.to_string()),
            StepsError::Write(error) => {
                refused(Reason::QuotaExceeded, format!("the steps were not stored: {error}"))
            }
        })
    }

    /// Puts how the workflows of a device stand into its twin, where that has changed.
    async fn stand(&self, device: Device<'_>, held: Held) -> Result<(), Outcome> {
        let desk = self.desk.clone();
        let read = move |view: &Snapshot<'_>| firmware::standing(view, &desk, &held);
        let unread = |fault: Fault| refused(Reason::QuotaExceeded, fault.to_string());
        let standing = self.twins.store().read(read).await.map_err(unread)?;
        let shown = self.twins.part(document(device)?).await.map_err(unread)?.shown;
        match firmware::change(&shown, &standing) {
            Some(change) => self.patch(device, &change).await,
            None => Ok(()),
        }
    }

    /// What a device says of itself beside its own cells, as one patch of its twin.
    async fn of_itself(
        &self,
        device: Device<'_>,
        mut health: Option<Value>,
        start: Option<Start>,
        firmware: Option<Says>,
    ) -> Result<Option<Value>, Outcome> {
        if health.is_none() && firmware.is_none() {
            return Ok(None);
        }
        let unread = |fault: Fault| refused(Reason::QuotaExceeded, fault.to_string());
        let shown = self.twins.part(document(device)?).await.map_err(unread)?.shown;
        let patch = health.get_or_insert_default();
        if let Some(start) = start {
            let Time { unix_ms, is_trusted } = self.time();
            let now = Timestamp::from_millis(unix_ms).filter(|_| is_trusted);
            merge(patch, start.before(&shown, now).unwrap_or_else(|| json!({})));
        }
        if let Some(says) = firmware {
            let of = says.clone();
            let read = move |view: &Snapshot<'_>| of.version(view);
            let version = self.twins.store().read(read).await.map_err(unread)?;
            merge(patch, says.patch(version, &shown));
        }
        Ok(health)
    }

    /// Puts what a device says of itself into its twin.
    async fn report(&self, device: Device<'_>, payload: &[u8]) -> Result<(), Outcome> {
        let wrong = |text: String| refused(Reason::PayloadFormatInvalid, text);
        let json: Value = serde_json::from_slice(payload)
            .map_err(|error| wrong(format!("the payload is no JSON: {error}")))?;
        self.patch(device, &json).await
    }

    async fn patch(&self, device: Device<'_>, json: &Value) -> Result<(), Outcome> {
        let patch = Patch::read(json).map_err(|bad| {
            let text = format!("{} (at `{}`); expected {}", bad.detail, bad.at, bad.expected);
            refused(Reason::PayloadFormatInvalid, text)
        })?;
        let patched = self.twins.patch(document(device)?, patch, Condition::default()).await;
        patched.map(drop).map_err(not_written)
    }

    /// Puts down what a device answers to a command.
    async fn reply(&self, device: Device<'_>, publish: &Publish) -> Result<(), Outcome> {
        let wrong = |text: String| refused(Reason::PayloadFormatInvalid, text);
        let correlation = publish.properties.correlation.as_ref().map(|data| &data.bytes()[..]);
        let (id, reply) = device_commands::reply(&publish.payload, correlation)
            .map_err(|error| wrong(error.to_string()))?;
        match self.answer(device, id, reply).await? {
            Answered::Now | Answered::Before => Ok(()),
            Answered::Unknown => Err(wrong(format!("`{}` has no command `{id}`", device.as_str()))),
        }
    }

    async fn answer(
        &self,
        device: Device<'_>,
        id: CommandId,
        reply: Reply,
    ) -> Result<Answered, Outcome> {
        self.commands.answer(device.as_str(), id, reply).await.map_err(|error| {
            refused(Reason::QuotaExceeded, format!("the answer was not stored: {error}"))
        })
    }
}

/// Adds the members of `more`, a patch of other paths, to a patch.
fn merge(patch: &mut Value, more: Value) {
    match (patch, more) {
        (Value::Object(members), Value::Object(more)) => {
            for (name, value) in more {
                merge(members.entry(name).or_insert(Value::Null), value);
            }
        }
        (patch, more) => *patch = more,
    }
}

/// The document of what a device reports.
fn document(device: Device<'_>) -> Result<DocumentName, Outcome> {
    let document = Section::Reported.document(device.as_str());
    document.ok_or_else(|| refused(Reason::TopicNameInvalid, "this device can have no twin"))
}

/// What a device is told whose twin did not take what it says.
fn not_written(error: PatchError) -> Outcome {
    let problem = error.problem();
    let reason = match problem.status().is_server_error() {
        true => Reason::QuotaExceeded,
        false => Reason::PayloadFormatInvalid,
    };
    refused(reason, problem.to_string())
}
