//! What is on disk: for a start, for a client that is far behind, for a message that came again.

use super::{
    Progress, QueueRecord, Seen, SessionNo, SessionRecord, SubscriptionRecord, decode_retained,
    decode_seen, number_of, numbered_key, session_key, unpack,
};
use crate::mqtt::message::{Delivery, Message};
use crate::mqtt::packet::{Filter, PacketId};
use holdfast_core::Reject;
use holdfast_core::codec::Reader;
use holdfast_sync::Fault;
use holdfast_sync::store::{ReadRecords as _, Snapshot, Table};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Parts of a queue that are looked up at a time.
const PARTS: usize = 64;

/// A session as it was found.
#[derive(Debug)]
pub struct KeptSession {
    /// Its client.
    pub client: String,
    /// The session.
    pub record: SessionRecord,
    /// What it has subscribed to.
    pub subscriptions: Vec<SubscriptionRecord>,
    /// How far its client is.
    pub progress: Progress,
    /// The number of its next message.
    pub next: u64,
    /// Bytes that were ever queued, and those of them that were queued before what waits.
    pub bytes: (u64, u64),
    /// Identifiers of messages of QoS 2 that are not released.
    pub held: BTreeSet<PacketId>,
}

/// All that a broker starts with.
#[derive(Debug, Default)]
pub struct Kept {
    /// The sessions.
    pub sessions: Vec<KeptSession>,
    /// The retained messages.
    pub retained: Vec<Message>,
    /// Sessions that are over and not yet removed.
    pub ended: Vec<SessionNo>,
    /// The place of the next messages.
    pub place: u64,
}

/// Reads what a start needs; of a queue it reads the ends only.
///
/// # Errors
/// A database fault, or [`Fault::Damaged`].
pub fn load(view: &Snapshot<'_>) -> Result<Kept, Fault> {
    let mut kept = Kept::default();
    for (key, value) in view.scan(Table::MqttSession, &[], &[], usize::MAX)? {
        let client = String::from_utf8(key).map_err(|_| damaged("client identifier"))?;
        let record = SessionRecord::decode(&value).map_err(|_| damaged("session"))?;
        kept.sessions.push(session(view, client, record)?);
    }
    for (_, value) in view.scan(Table::MqttRetained, &[], &[], usize::MAX)? {
        let message = decode_retained(&value).map_err(|_| damaged("retained message"))?;
        kept.retained.push(message);
    }
    for (key, _) in view.scan(Table::MqttEnded, &[], &[], usize::MAX)? {
        kept.ended.extend(key.first_chunk().map(|no| SessionNo::from_be_bytes(*no)));
    }
    let last = view.scan_back(Table::MqttMessages, None, 1)?.pop();
    if let Some((key, value)) = last
        && let Some(place) = key.first_chunk()
    {
        let messages = unpack(value).map_err(|_| damaged("messages"))?;
        kept.place = u64::from_be_bytes(*place) + messages.len() as u64;
    }
    Ok(kept)
}

/// Reads one session, if it is there.
///
/// # Errors
/// A database fault, or [`Fault::Damaged`].
pub fn load_session(view: &Snapshot<'_>, client: &str) -> Result<Option<KeptSession>, Fault> {
    let Some(value) = view.get(Table::MqttSession, client.as_bytes())? else { return Ok(None) };
    let record = SessionRecord::decode(&value).map_err(|_| damaged("session"))?;
    session(view, client.to_owned(), record).map(Some)
}

fn damaged(what: &str) -> Fault {
    Fault::damaged(format!("{what} of MQTT"), "it does not read")
}

fn session(
    view: &Snapshot<'_>,
    client: String,
    record: SessionRecord,
) -> Result<KeptSession, Fault> {
    let key = session_key(record.no);
    let mut subscriptions = Vec::new();
    for (key, value) in view.scan(Table::MqttSubscription, &key, &[], usize::MAX)? {
        let filter = Filter::new(key[4..].to_vec()).map_err(|_| damaged("subscription"))?;
        let read = SubscriptionRecord::decode(filter, &value);
        subscriptions.push(read.map_err(|_| damaged("subscription"))?);
    }
    let progress = view.get(Table::MqttProgress, &key)?;
    let progress = progress.map(|value| Progress::decode(&value)).transpose();
    let mut progress = progress.map_err(|_| damaged("progress"))?.unwrap_or_default();
    let held = view.get(Table::MqttHeld, &key)?.unwrap_or_default();
    let held = read_held(&held).map_err(|_| damaged("held messages"))?;
    let (mut next, mut bytes) = (progress.done, (0, 0));
    if let Some((first, head)) = first_part(view, record.no)? {
        progress.skip_to(first);
        let after = numbered_key(record.no, u64::MAX);
        let last = view.scan_back(Table::MqttQueue, Some(&after), 1)?.pop();
        let last = last.map(|(key, value)| part(&key, &value)).transpose()?;
        let (number, tail) = last.unwrap_or((first, head.clone()));
        next = number + tail.entries.len() as u64;
        bytes = (tail.before + tail.bytes, head.before);
    }
    progress.skip_to(progress.done);
    let next = next.max(progress.done);
    Ok(KeptSession { client, record, subscriptions, progress, next, bytes, held })
}

fn read_held(value: &[u8]) -> Result<BTreeSet<PacketId>, Reject> {
    let mut reader = Reader::new(value);
    let mut out = BTreeSet::new();
    while !reader.rest().is_empty() {
        let id = PacketId::new(u16::from_le_bytes(reader.array()?));
        out.insert(id.ok_or(Reject::Malformed)?);
    }
    Ok(out)
}

fn part(key: &[u8], value: &[u8]) -> Result<(u64, QueueRecord), Fault> {
    let (_, number) = number_of(key).ok_or_else(|| damaged("queue"))?;
    Ok((number, QueueRecord::decode(value).map_err(|_| damaged("queue"))?))
}

fn first_part(view: &Snapshot<'_>, no: SessionNo) -> Result<Option<(u64, QueueRecord)>, Fault> {
    let found = view.scan(Table::MqttQueue, &session_key(no), &[], 1)?.pop();
    found.map(|(key, value)| part(&key, &value)).transpose()
}

/// Messages of a queue.
#[derive(Debug, Default)]
pub struct Queued {
    /// With their numbers, ascending; a number that is left out waits no longer.
    pub messages: Vec<(u64, Delivery)>,
    /// What was read up to: the next to ask for.
    pub next: u64,
    /// Messages that are damaged: their numbers are left out.
    pub lost: u64,
}

/// Reads messages of a queue from number `from` on, until they have `bytes` or come to an end.
///
/// # Errors
/// A database fault.
pub fn queued(
    view: &Snapshot<'_>,
    no: SessionNo,
    from: u64,
    bytes: usize,
) -> Result<Queued, Fault> {
    let mut out = Queued { next: from, ..Queued::default() };
    let mut size = 0;
    // The part that `from` is in begins at or before it.
    let behind = numbered_key(no, from.saturating_add(1));
    let before = view.scan_back(Table::MqttQueue, Some(&behind), 1)?.pop();
    let before = before.filter(|(key, _)| number_of(key).is_some_and(|(of, _)| of == no));
    let mut parts: Vec<_> = before.into_iter().collect();
    let mut after = numbered_key(no, from).to_vec();
    loop {
        for (key, value) in parts {
            let (number, record) = part(&key, &value)?;
            take(view, number, &record, &mut out, &mut size)?;
            if size >= bytes {
                return Ok(out);
            }
            after = after.max(key);
        }
        parts = view.scan(Table::MqttQueue, &session_key(no), &after, PARTS)?;
        if parts.is_empty() {
            return Ok(out);
        }
    }
}

fn take(
    view: &Snapshot<'_>,
    number: u64,
    record: &QueueRecord,
    out: &mut Queued,
    size: &mut usize,
) -> Result<(), Fault> {
    let end = number + record.entries.len() as u64;
    if end <= out.next {
        return Ok(());
    }
    let place = record.place.to_be_bytes();
    let messages = match view.get(Table::MqttMessages, &place) {
        Ok(value) => value.and_then(|value| unpack(value).ok()),
        Err(fault) if fault.is_damage() => None,
        Err(fault) => return Err(fault),
    };
    let messages: Vec<Arc<Message>> = messages.into_iter().flatten().map(Arc::new).collect();
    for (entry, number) in record.entries.iter().zip(number..) {
        if number < out.next {
            continue;
        }
        let Some(message) = messages.get(entry.index as usize) else {
            out.lost += 1;
            continue;
        };
        let delivery = Delivery {
            message: Arc::clone(message),
            qos: entry.qos,
            retain: entry.retain,
            ids: entry.ids.clone(),
        };
        *size += delivery.size();
        out.messages.push((number, delivery));
    }
    out.next = end;
    Ok(())
}

/// The messages of QoS 1 by which a client's repetitions are known.
///
/// # Errors
/// A database fault, or [`Fault::Damaged`].
pub fn recent(view: &Snapshot<'_>, no: SessionNo) -> Result<Vec<Seen>, Fault> {
    let mut out = Vec::new();
    for (_, value) in view.scan(Table::MqttRecent, &session_key(no), &[], usize::MAX)? {
        decode_seen(&value, &mut out).map_err(|_| damaged("recent messages"))?;
    }
    Ok(out)
}
