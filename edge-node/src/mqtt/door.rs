//! From a message to readings that are ready to be stored.

use super::broker::Brought;
use super::connection::Outcome;
use super::counts::MqttCounts;
use super::packet::{Publish, Utf8};
use super::reason::Reason;
use super::rules::{Purpose, Rules};
use crate::ingest::Ingest;
use std::sync::Arc;

/// The door for readings: what topics bring, and where readings go.
#[derive(Clone)]
pub struct Door {
    ingest: Ingest,
    rules: Arc<Rules>,
    counts: Arc<MqttCounts>,
}

impl Door {
    /// One for these rules.
    #[must_use]
    pub const fn new(ingest: Ingest, rules: Arc<Rules>, counts: Arc<MqttCounts>) -> Self {
        Self { ingest, rules, counts }
    }

    /// Where readings go.
    #[must_use]
    pub const fn ingest(&self) -> &Ingest {
        &self.ingest
    }

    /// The readings of a message; none when its topic brings none. `own_device` is the device of
    /// the client, if it is one: it posts for no other.
    ///
    /// # Errors
    /// What its publisher is told when the message is not to be taken.
    pub async fn bring(
        &self,
        publish: &Publish,
        own_device: Option<&str>,
    ) -> Result<Option<Brought>, Outcome> {
        let purpose = self.rules.purpose(&publish.topic).map_err(|wrong| Outcome {
            reason: Reason::TopicNameInvalid,
            text: Some(wrong.to_string().into()),
        })?;
        match purpose {
            Purpose::Readings { .. } | Purpose::Mapped(_) => {}
            Purpose::Reserved => {
                let text = "only the node publishes to this topic";
                return Err(Outcome { reason: Reason::NotAuthorized, text: Some(text.into()) });
            }
            _ => return Ok(None),
        }
        if publish.payload.is_empty() && publish.retain {
            return Ok(None);
        }
        let received = self.ingest.now();
        let content_type = publish.properties.content_type.as_ref().map(Utf8::as_str);
        let wrong = |text: String| Outcome {
            reason: Reason::PayloadFormatInvalid,
            text: Some(text.into()),
        };
        let decoded = match purpose.decode(&publish.topic, &publish.payload, content_type, received)
        {
            Ok(decoded) => decoded,
            Err(error) => return self.unless_foreign(&purpose, publish, wrong(error.to_string())),
        };
        let prepared = self.ingest.prepare(own_device, &decoded, received).await;
        let prepared = prepared.map_err(|problem| Outcome {
            reason: Reason::NotAuthorized,
            text: Some(problem.to_string().into()),
        })?;
        if prepared.batch.items.is_empty()
            && let Some(first) = prepared.rejected().first()
        {
            let text = format!("{} (at {})", first.detail, first.at);
            self.ingest.settle(prepared, &[], false);
            return self.unless_foreign(&purpose, publish, wrong(text));
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
}
