//! Tells devices what they should be: the desired section of a twin is the retained message of
//! `devices/ID/twin/desired`.
//!
//! It follows the changes of twins from the place up to which all has been told, wherever they were
//! made: here, at the hub, or in a merge of both. A message is the section as a whole, so a device
//! needs the newest only, and nobody has to know which one it had before. Devices with our firmware
//! that have asked are told in their own way ([`Downlink`]). The place goes to disk with the
//! message. A section that the broker has no room for keeps nobody else's waiting: it is
//! tried again, and until then the place stays where it is.

use super::broker::Reach;
use super::firmware::Downlink;
use super::ledger::Change;
use super::packet::{Publish, PublishProperties, QoS, Topic, Utf8};
use bytes::Bytes;
use holdfast_node::artefacts::{Here, Images, SiteChanges};
use holdfast_node::runs::Desk;
use holdfast_node::twins::{Followed, Section, Twins};
use holdfast_sync::Fault;
use holdfast_sync::store::{Snapshot, Table};
use std::collections::BTreeSet;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// The record, in the table Meta, of the place up to which all has been told.
const TOLD: &[u8] = b"mqtt desired";

/// How often those are tried again that the broker had no room for.
const AGAIN: Duration = Duration::from_secs(30);
/// How often it is looked whether an image of firmware has come whole.
const LOOK: Duration = Duration::from_secs(2);
/// How often where none is to come: for what nobody tells of.
const LOOK_AGAIN: Duration = Duration::from_secs(30);

/// Tells devices until `stop`. Where it fails it is to be begun again: it goes on from the place
/// that was noted last, and so does the next start of the node.
///
/// # Errors
/// A fault of the store or the broker.
pub async fn tell(
    twins: Twins,
    (reach, downlink): (Reach, Downlink),
    stop: CancellationToken,
) -> Result<(), Fault> {
    let read = |view: &Snapshot<'_>| view.get(Table::Meta, TOLD);
    let told = twins.store().read(read).await?;
    let told = told.and_then(|value| value.try_into().ok()).map_or(0, u64::from_be_bytes);
    let mut feed = twins.follow(Followed::Desired, Some(told)).await?;
    let mut refused: BTreeSet<String> = BTreeSet::new();
    let mut again = tokio::time::interval(AGAIN);
    loop {
        let change = tokio::select! {
            change = feed.next() => change?,
            () = stop.cancelled() => None,
            _ = again.tick(), if !refused.is_empty() => {
                for device in std::mem::take(&mut refused) {
                    if !publish(&twins, &reach, &device, None).await? {
                        refused.insert(device);
                    }
                }
                continue;
            }
        };
        let Some(change) = change else { return Ok(()) };
        downlink.section_changed(&change.device).await;
        let place = Some(change.place).filter(|_| refused.is_empty());
        if publish(&twins, &reach, &change.device, place).await? {
            refused.remove(&change.device);
        } else {
            refused.insert(change.device);
        }
    }
}

/// Tells devices with our firmware which workflows they are to have, whenever that changes: by what
/// is installed, or by their tags. Where it fails it is to be begun again.
///
/// # Errors
/// A fault of the store.
pub async fn tell_flows(
    twins: Twins,
    (desk, downlink): (Desk, Downlink),
    stop: CancellationToken,
) -> Result<(), Fault> {
    let mut installed = desk.watch();
    let mut tags = twins.follow(Followed::Tags, None).await?;
    // What changes from here on is told; what changed before it is looked at once.
    installed.mark_changed();
    loop {
        tokio::select! {
            changed = installed.changed() => {
                if changed.is_err() {
                    return Ok(());
                }
                for device in downlink.holders() {
                    downlink.flows_changed(&device).await;
                }
            }
            change = tags.next() => match change? {
                Some(change) => downlink.flows_changed(&change.device).await,
                None => return Ok(()),
            },
            () = stop.cancelled() => return Ok(()),
        }
    }
}

/// Tells devices with our firmware which firmware they are to have, whenever that changes: by what
/// sites use, once it is here, or by their tags. Where it fails it is to be begun again.
///
/// # Errors
/// A fault of the store.
pub async fn tell_images(
    twins: Twins,
    (images, downlink): (Images, Downlink),
    stop: CancellationToken,
) -> Result<(), Fault> {
    let mut sites = SiteChanges::follow(twins.store()).await?;
    let mut tags = twins.follow(Followed::Tags, None).await?;
    let mut before = Here::default();
    let mut is_changed = true;
    loop {
        let here = images.here().await?;
        if is_changed || here != before {
            for device in downlink.updatable() {
                downlink.image_changed(&device).await;
            }
        }
        let pause = if here.lacks { LOOK } else { LOOK_AGAIN };
        before = here;
        is_changed = tokio::select! {
            changed = sites.next() => match changed? {
                true => true,
                false => return Ok(()),
            },
            change = tags.next() => match change? {
                Some(change) => {
                    downlink.image_changed(&change.device).await;
                    false
                }
                None => return Ok(()),
            },
            () = tokio::time::sleep(pause) => false,
            () = stop.cancelled() => return Ok(()),
        };
    }
}

/// Publishes what is desired of a device, with the place up to which all is told then, unless it is
/// what is retained already. `false` where the broker has no room for it.
async fn publish(
    twins: &Twins,
    reach: &Reach,
    device: &str,
    place: Option<u64>,
) -> Result<bool, Fault> {
    let Some(document) = Section::Desired.document(device) else { return Ok(true) };
    let Ok(topic) = Topic::try_from(format!("devices/{device}/twin/desired").as_str()) else {
        return Ok(true);
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
        return Ok(true);
    }
    let (dup, qos, retain, packet_id) = (false, QoS::AtLeastOnce, true, None);
    let message = Publish { dup, qos, retain, topic, packet_id, payload, properties };
    let note =
        |place: u64| Change::Record(Table::Meta, TOLD.to_vec(), Some(place.to_be_bytes().to_vec()));
    let outcome = reach.steer(&message, place.map(note).into_iter().collect()).await?;
    if outcome.reason.is_failure() {
        let reason = outcome.text.unwrap_or_else(|| outcome.reason.name().into());
        tracing::error!(device, %reason, "what is desired of a device cannot be retained");
        return Ok(false);
    }
    Ok(true)
}
