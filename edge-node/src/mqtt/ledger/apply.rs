//! Changes go into the transaction of the store's writer, and what only it can tell comes back.

use super::{
    Change, Progress, QueueRecord, Seen, SessionNo, encode_seen, filter_key, holder_key, number_of,
    numbered_key, session_key,
};
use holdfast_sync::Fault;
use holdfast_sync::store::{ReadRecords as _, Table, WriteTx};
use std::collections::BTreeSet;

/// Messages of QoS 1 that are known again in one session: no client has more unanswered.
const RECENT_MAX: usize = 1024;
/// Records that one step of removing a session takes: others wait for it.
const SWEPT_AT_A_TIME: usize = 256;
/// Records read at a time where most often one or two are wanted.
const FEW: usize = 8;

/// What came of changes that depend on what is on disk.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// Queues that were looked at.
    pub queues: Vec<Moved>,
    /// Sessions of which nothing is left.
    pub swept: Vec<SessionNo>,
}

/// How far a queue is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moved {
    /// Of which session.
    pub no: SessionNo,
    /// The first number that may still have to be sent.
    pub first: u64,
    /// Bytes that were queued before what waits; nothing when nothing waits.
    pub before: Option<u64>,
    /// Messages that were dropped, because the queue is full.
    pub dropped: u64,
}

/// Makes the changes.
///
/// # Errors
/// A database fault.
pub fn apply(tx: &mut WriteTx<'_>, changes: &[Change]) -> Result<Applied, Fault> {
    let mut applied = Applied::default();
    for change in changes {
        one(tx, change, &mut applied)?;
    }
    Ok(applied)
}

fn one(tx: &mut WriteTx<'_>, change: &Change, applied: &mut Applied) -> Result<(), Fault> {
    match change {
        Change::Session(client, value) => tx.put(Table::MqttSession, client.as_bytes(), value)?,
        Change::End(client, no) => {
            tx.delete(Table::MqttSession, client.as_bytes())?;
            tx.put(Table::MqttEnded, &session_key(*no), &[])?;
        }
        Change::Subscribe(no, record) => {
            let key = filter_key(*no, &record.filter);
            tx.put(Table::MqttSubscription, &key, &record.encode())?;
        }
        Change::Unsubscribe(no, filter) => {
            tx.delete(Table::MqttSubscription, &filter_key(*no, filter))?;
        }
        Change::Messages(place, value) => {
            tx.put(Table::MqttMessages, &place.to_be_bytes(), value)?;
        }
        Change::Queue(no, number, record) => {
            tx.put(Table::MqttQueue, &numbered_key(*no, *number), &record.encode())?;
            tx.put(Table::MqttHolder, &holder_key(record.place, *no), &[])?;
        }
        Change::Progress { no, progress, next, below } => {
            applied.queues.push(progress_to(tx, *no, progress, *next, *below)?);
        }
        Change::Held(no, held) => {
            let value: Vec<u8> = held.iter().flat_map(|id| id.get().to_le_bytes()).collect();
            if held.is_empty() {
                tx.delete(Table::MqttHeld, &session_key(*no))?;
            } else {
                tx.put(Table::MqttHeld, &session_key(*no), &value)?;
            }
        }
        Change::Recent(no, seen) => remember(tx, *no, seen)?,
        Change::Retain(topic, Some(value)) => tx.put(Table::MqttRetained, topic.bytes(), value)?,
        Change::Retain(topic, None) => {
            tx.delete(Table::MqttRetained, topic.bytes())?;
        }
        Change::Record(table, key, Some(value)) => tx.put(*table, key, value)?,
        Change::Record(table, key, None) => {
            tx.delete(*table, key)?;
        }
        Change::Sweep(no) => {
            if sweep(tx, *no)? {
                applied.swept.push(*no);
            }
        }
    }
    Ok(())
}

/// Notes how far a client is, and takes away the parts of its queue that are done, or that stand
/// before the byte `below` of all that was ever queued for it.
fn progress_to(
    tx: &mut WriteTx<'_>,
    no: SessionNo,
    progress: &Progress,
    next: u64,
    below: u64,
) -> Result<Moved, Fault> {
    let mut moved = Moved { no, first: next, before: None, dropped: 0 };
    'reading: loop {
        let records = tx.view().scan(Table::MqttQueue, &session_key(no), &[], FEW)?;
        if records.is_empty() {
            break;
        }
        for (key, value) in records {
            let (number, record) = read_queue(&key, &value)?;
            let end = number + record.entries.len() as u64;
            let is_done = end <= progress.done;
            if !is_done && record.before + record.bytes > below {
                moved.first = number.max(progress.done);
                moved.before = Some(record.before);
                break 'reading;
            }
            if !is_done {
                let waiting = (number..end).filter(|number| !progress.is_settled(*number));
                moved.dropped += waiting.count() as u64;
            }
            tx.delete(Table::MqttQueue, &key)?;
            let_go(tx, record.place, no)?;
        }
    }
    let mut progress = progress.clone();
    progress.skip_to(moved.first);
    tx.put(Table::MqttProgress, &session_key(no), &progress.encode())?;
    Ok(moved)
}

fn read_queue(key: &[u8], value: &[u8]) -> Result<(u64, QueueRecord), Fault> {
    let number = number_of(key).map(|(_, number)| number);
    let record = QueueRecord::decode(value);
    match (number, record) {
        (Some(number), Ok(record)) => Ok((number, record)),
        _ => Err(Fault::damaged("queue of an MQTT session", "a record of it does not read")),
    }
}

/// A session needs messages no more: whoever is the last takes them away.
fn let_go(tx: &mut WriteTx<'_>, place: u64, no: SessionNo) -> Result<(), Fault> {
    tx.delete(Table::MqttHolder, &holder_key(place, no))?;
    let place = place.to_be_bytes();
    if tx.view().scan(Table::MqttHolder, &place, &[], 1)?.is_empty() {
        tx.delete(Table::MqttMessages, &place)?;
    }
    Ok(())
}

fn remember(tx: &mut WriteTx<'_>, no: SessionNo, seen: &[Seen]) -> Result<(), Fault> {
    let after = numbered_key(no, u64::MAX);
    let last = tx.view().scan_back(Table::MqttRecent, Some(&after), 1)?;
    let last = last.first().and_then(|(key, _)| number_of(key)).filter(|(of, _)| *of == no);
    let count = last.map_or(0, |(_, count)| count + 1);
    // A count is that of messages, so what is older than the newest 1,024 is told by its key.
    let newest = count + seen.len() as u64;
    let end = numbered_key(no, newest.saturating_sub(RECENT_MAX as u64));
    tx.delete_range(Table::MqttRecent, &numbered_key(no, 0), &end)?;
    tx.put(Table::MqttRecent, &numbered_key(no, newest - 1), &encode_seen(seen))
}

/// Takes away some of what is left of a session; `true` once that was all.
fn sweep(tx: &mut WriteTx<'_>, no: SessionNo) -> Result<bool, Fault> {
    let key = session_key(no);
    let records = tx.view().scan(Table::MqttQueue, &key, &[], SWEPT_AT_A_TIME)?;
    let is_last = records.len() < SWEPT_AT_A_TIME;
    for (key, value) in records {
        let (_, record) = read_queue(&key, &value)?;
        tx.delete(Table::MqttQueue, &key)?;
        let_go(tx, record.place, no)?;
    }
    if !is_last {
        return Ok(false);
    }
    for table in [Table::MqttSubscription, Table::MqttRecent] {
        let records = tx.view().scan(table, &key, &[], usize::MAX)?;
        let keys: BTreeSet<Vec<u8>> = records.into_iter().map(|(key, _)| key).collect();
        for key in keys {
            tx.delete(table, &key)?;
        }
    }
    for table in [Table::MqttProgress, Table::MqttHeld, Table::MqttEnded] {
        tx.delete(table, &key)?;
    }
    Ok(true)
}
