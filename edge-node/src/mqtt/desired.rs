//! Tells devices what they should be: the desired section of a twin is the retained message of
//! `devices/ID/twin/desired`.
//!
//! It follows the changes of twins from the place up to which all has been told, wherever they were
//! made: here, at the hub, or in a merge of both. A message is the section as a whole, so a device
//! needs the newest only, and nobody has to know which one it had before.

use super::broker::Reach;
use super::packet::{Publish, PublishProperties, QoS, Topic, Utf8};
use bytes::Bytes;
use holdfast_node::twins::{Followed, Section, Twins};
use holdfast_sync::Fault;
use holdfast_sync::store::{Snapshot, Table, WriteError};
use std::borrow::Cow;
use tokio_util::sync::CancellationToken;

/// The record, in the table Meta, of the place up to which all has been told.
const TOLD: &[u8] = b"mqtt desired";

/// Why telling ends.
#[derive(Debug, thiserror::Error)]
pub enum TellError {
    /// The store or the broker failed.
    #[error(transparent)]
    Fault(#[from] Fault),
    /// The place could not be noted.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// The broker did not take a message.
    #[error("what is desired of `{device}` cannot be retained: {reason}")]
    Refused {
        /// Whose it is.
        device: String,
        /// What the broker says.
        reason: Cow<'static, str>,
    },
}

/// Tells devices until `stop`. Where it fails it is to be begun again: it goes on from the place
/// that was noted last, and so does the next start of the node.
///
/// # Errors
/// [`TellError`]
pub async fn tell(twins: Twins, reach: Reach, stop: CancellationToken) -> Result<(), TellError> {
    let read = |view: &Snapshot<'_>| view.get(Table::Meta, TOLD);
    let told = twins.store().read(read).await?;
    let told = told.and_then(|value| value.try_into().ok()).map_or(0, u64::from_be_bytes);
    let mut feed = twins.follow(Followed::Desired, Some(told)).await?;
    loop {
        let change = tokio::select! {
            change = feed.next() => change?,
            () = stop.cancelled() => None,
        };
        let Some(change) = change else { return Ok(()) };
        publish(&twins, &reach, &change.device).await?;
        let place = change.place.to_be_bytes();
        twins.store().write(move |tx| Ok(tx.put(Table::Meta, TOLD, &place)?)).await?;
    }
}

/// Publishes what is desired of a device, unless that is what is retained already.
async fn publish(twins: &Twins, reach: &Reach, device: &str) -> Result<(), TellError> {
    let Some(document) = Section::Desired.document(device) else { return Ok(()) };
    let Ok(topic) = Topic::try_from(format!("devices/{device}/twin/desired").as_str()) else {
        return Ok(());
    };
    let part = twins.part(document).await?;
    let text = |text: &str| Utf8::try_from(text).expect("short and without U+0000");
    let properties = PublishProperties {
        content_type: Some(text("application/json")),
        user: std::iter::once((text("version"), text(&part.version.to_string()))).collect(),
        ..PublishProperties::default()
    };
    let payload = Bytes::from(serde_json::json!(part.shown.object()).to_string());
    let of = topic.clone();
    let retained = reach.look(move |broker, _| broker.retained(&of)).await?;
    if retained.is_some_and(|there| {
        *there.payload() == payload && there.as_publish().properties.user == properties.user
    }) {
        return Ok(());
    }
    let (dup, qos, retain, packet_id) = (false, QoS::AtLeastOnce, true, None);
    let message = Publish { dup, qos, retain, topic, packet_id, payload, properties };
    let outcome = reach.steer(&message, Vec::new()).await?;
    if outcome.reason.is_failure() {
        let (device, reason) = (device.to_owned(), outcome.reason.name().into());
        return Err(TellError::Refused { device, reason: outcome.text.unwrap_or(reason) });
    }
    Ok(())
}
