//! What the broker keeps on disk: sessions, subscriptions, queues, retained messages.
//!
//! The broker decides in memory what is to become of a group of requests and hands it on as
//! [`Change`]s, which go into one transaction ([`apply`]); it takes note of its decisions only once
//! that is on disk. What it needs of the disk later (messages of a queue that is longer than what
//! memory holds) it reads from there. Messages of a group stand once, sessions refer to them.
//! Byte-exact page: `docs/formats/mqtt.md`.

mod apply;
mod read;
#[cfg(test)]
mod tests;

pub use apply::{Applied, Moved, apply};
pub use read::{Kept, KeptSession, Queued, load, load_session, queued, recent};

use super::codec::EncodeError;
use super::message::{Message, Moment};
use super::packet::{Filter, PacketId, QoS, SubscriptionOptions};
use super::packet::{RetainHandling, Topic};
use bytes::{Bytes, BytesMut};
use holdfast_core::Reject;
use holdfast_core::codec::{Reader, Sink};
use holdfast_sync::store::Table;
use std::collections::BTreeSet;
use std::num::NonZeroU32;

/// The number of a session here.
pub type SessionNo = u32;

/// The expiry of a session that never ends by itself.
pub const NEVER: u32 = u32::MAX;

/// Bytes of messages in one record; a larger message has one to itself.
const MESSAGES_BYTES: usize = 16 << 10;
const OWNER_MAX: usize = 256;
const FORMAT: u8 = 1;
/// Bit 3 of an entry's flags: identifiers follow.
const HAS_IDS: u8 = 1 << 3;
const RETAIN: u8 = 1 << 2;

/// A will that waits for the client to be lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptWill {
    /// Seconds for the client to come back.
    pub delay_s: u32,
    /// What is published then.
    pub message: Message,
}

/// A session as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionRecord {
    /// Its number.
    pub no: SessionNo,
    /// Whose it is: only the same may take it up again.
    pub owner: String,
    /// Seconds that it outlives its connection.
    pub expiry_s: u32,
    /// Since when the client is away, unless it is there.
    pub away: Option<Moment>,
    /// Its will.
    pub will: Option<KeptWill>,
}

impl SessionRecord {
    /// Its value.
    ///
    /// # Errors
    /// [`Unfit`]
    pub fn encode(&self) -> Result<Vec<u8>, Unfit> {
        let mut out = vec![FORMAT];
        out.put_uint(u64::from(self.no))?;
        out.put_bytes(self.owner.as_bytes())?;
        out.put_uint(u64::from(self.expiry_s))?;
        out.put_u8(u8::from(self.away.is_some()))?;
        if let Some(away) = &self.away {
            away.put(&mut out)?;
        }
        out.put_u8(u8::from(self.will.is_some()))?;
        if let Some(will) = &self.will {
            out.put_uint(u64::from(will.delay_s))?;
            out.extend_from_slice(&message_bytes(&will.message)?);
        }
        Ok(out)
    }

    /// Reads one.
    ///
    /// # Errors
    /// What is wrong with the bytes.
    pub fn decode(value: &[u8]) -> Result<Self, Reject> {
        let mut reader = Reader::new(value);
        if reader.u8()? != FORMAT {
            return Err(Reject::Malformed);
        }
        let no = narrow(reader.uint()?)?;
        let owner = reader.str(OWNER_MAX)?.to_owned();
        let expiry_s = narrow(reader.uint()?)?;
        let away = if flag(&mut reader)? { Some(Moment::read(&mut reader)?) } else { None };
        if !flag(&mut reader)? {
            reader.finish()?;
            return Ok(Self { no, owner, expiry_s, away, will: None });
        }
        let delay_s = narrow(reader.uint()?)?;
        // A will has no moment before it is published.
        let none = Moment { wall_ms: 0, boot: 0, steady_ms: 0 };
        let message = one_message(reader.rest(), none)?;
        Ok(Self { no, owner, expiry_s, away, will: Some(KeptWill { delay_s, message }) })
    }
}

/// A message that cannot be kept as a packet; what came in a packet always can.
#[derive(Debug, thiserror::Error)]
pub enum Unfit {
    /// The packet.
    #[error(transparent)]
    Packet(#[from] EncodeError),
    /// What is around it.
    #[error(transparent)]
    Record(#[from] Reject),
}

fn message_bytes(message: &Message) -> Result<Bytes, EncodeError> {
    let mut out = BytesMut::new();
    message.put(&mut out)?;
    Ok(out.freeze())
}

fn one_message(bytes: &[u8], at: Moment) -> Result<Message, Reject> {
    let mut input = BytesMut::from(bytes);
    let message = Message::read(&mut input, at)?.ok_or(Reject::Malformed)?;
    if input.is_empty() { Ok(message) } else { Err(Reject::Malformed) }
}

fn narrow(value: u64) -> Result<u32, Reject> {
    u32::try_from(value).map_err(|_| Reject::Malformed)
}

fn flag(reader: &mut Reader<'_>) -> Result<bool, Reject> {
    match reader.u8()? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(Reject::Malformed),
    }
}

/// A subscription as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubscriptionRecord {
    /// Which topics.
    pub filter: Filter,
    /// And how.
    pub options: SubscriptionOptions,
    /// What the client knows it by.
    pub id: Option<NonZeroU32>,
}

impl SubscriptionRecord {
    fn encode(&self) -> Vec<u8> {
        let options = &self.options;
        let mut out = vec![
            options.qos as u8
                | u8::from(options.no_local) << 2
                | u8::from(options.retain_as_published) << 3
                | (options.retain_handling as u8) << 4,
        ];
        out.put_uint(self.id.map_or(0, |id| u64::from(id.get()))).expect(GROWS);
        out
    }

    fn decode(filter: Filter, value: &[u8]) -> Result<Self, Reject> {
        let mut reader = Reader::new(value);
        let bits = reader.u8()?;
        let id = NonZeroU32::new(narrow(reader.uint()?)?);
        reader.finish()?;
        let retain_handling = match bits >> 4 {
            0 => RetainHandling::Send,
            1 => RetainHandling::SendIfNew,
            2 => RetainHandling::DoNotSend,
            _ => return Err(Reject::Malformed),
        };
        let options = SubscriptionOptions {
            qos: QoS::from_bits(bits & 3).ok_or(Reject::Malformed)?,
            no_local: bits & 4 != 0,
            retain_as_published: bits & 8 != 0,
            retain_handling,
        };
        Ok(Self { filter, options, id })
    }
}

const GROWS: &str = "a growing buffer is never full";

/// A message in the queue of a session, by its place in a record of messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its index there.
    pub index: u32,
    /// With which QoS it is sent: 1 or 2.
    pub qos: QoS,
    /// Whether with RETAIN.
    pub retain: bool,
    /// The identifiers of the subscriptions that it matches.
    pub ids: Vec<NonZeroU32>,
}

/// A part of a session's queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueRecord {
    /// The place of the messages.
    pub place: u64,
    /// Bytes that were ever queued before it.
    pub before: u64,
    /// Its own.
    pub bytes: u64,
    /// Its messages.
    pub entries: Vec<Entry>,
}

impl QueueRecord {
    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(16 + 3 * self.entries.len());
        for number in [self.place, self.before, self.bytes] {
            out.put_uint(number).expect(GROWS);
        }
        for entry in &self.entries {
            out.put_uint(u64::from(entry.index)).expect(GROWS);
            let ids = if entry.ids.is_empty() { 0 } else { HAS_IDS };
            out.push(entry.qos as u8 | if entry.retain { RETAIN } else { 0 } | ids);
            if ids != 0 {
                out.put_uint(entry.ids.len() as u64).expect(GROWS);
                for id in &entry.ids {
                    out.put_uint(u64::from(id.get())).expect(GROWS);
                }
            }
        }
        out
    }

    fn decode(value: &[u8]) -> Result<Self, Reject> {
        let mut reader = Reader::new(value);
        let (place, before, bytes) = (reader.uint()?, reader.uint()?, reader.uint()?);
        let mut entries = Vec::new();
        while !reader.rest().is_empty() {
            let index = narrow(reader.uint()?)?;
            let flags = reader.u8()?;
            let qos = QoS::from_bits(flags & 3).ok_or(Reject::Malformed)?;
            if qos == QoS::AtMostOnce || flags >= HAS_IDS << 1 {
                return Err(Reject::Malformed);
            }
            let mut ids = Vec::new();
            if flags & HAS_IDS != 0 {
                for _ in 0..reader.uint()?.min(u64::from(u16::MAX)) {
                    let id = NonZeroU32::new(narrow(reader.uint()?)?);
                    ids.push(id.ok_or(Reject::Malformed)?);
                }
            }
            entries.push(Entry { index, qos, retain: flags & RETAIN != 0, ids });
        }
        Ok(Self { place, before, bytes, entries })
    }
}

/// How far a client is with its queue.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// All numbers below are done.
    pub done: u64,
    /// Numbers above that are done.
    pub above: BTreeSet<u64>,
    /// Numbers that the client has with QoS 2 and that are to be released.
    pub received: BTreeSet<u64>,
}

impl Progress {
    /// Notes that `number` is done; `false` if it was before.
    pub fn note_done(&mut self, number: u64) -> bool {
        self.received.remove(&number);
        if number < self.done || !self.above.insert(number) {
            return false;
        }
        self.close_up();
        true
    }

    /// All numbers below `number` are done.
    pub fn skip_to(&mut self, number: u64) {
        self.done = self.done.max(number);
        self.above = self.above.split_off(&self.done);
        self.received = self.received.split_off(&self.done);
        self.close_up();
    }

    fn close_up(&mut self) {
        while self.above.remove(&self.done) {
            self.done += 1;
        }
    }

    /// Whether `number` is not to be sent any more.
    #[must_use]
    pub fn is_settled(&self, number: u64) -> bool {
        number < self.done || self.above.contains(&number) || self.received.contains(&number)
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        out.put_uint(self.done).expect(GROWS);
        for set in [&self.above, &self.received] {
            out.put_uint(set.len() as u64).expect(GROWS);
            let mut before = 0;
            for number in set {
                out.put_uint(number - before).expect(GROWS);
                before = *number;
            }
        }
        out
    }

    fn decode(value: &[u8]) -> Result<Self, Reject> {
        let mut reader = Reader::new(value);
        let done = reader.uint()?;
        let mut sets = [BTreeSet::new(), BTreeSet::new()];
        for set in &mut sets {
            let mut before: u64 = 0;
            for _ in 0..reader.uint()? {
                before = before.checked_add(reader.uint()?).ok_or(Reject::Malformed)?;
                set.insert(before);
            }
        }
        reader.finish()?;
        let [above, received] = sets;
        Ok(Self { done, above, received })
    }
}

/// A message of QoS 1 by which it is known when it comes again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Its packet identifier.
    pub packet_id: PacketId,
    /// The hash of its topic and payload.
    pub hash: u64,
}

impl Seen {
    /// How a message is known.
    #[must_use]
    pub fn of(packet_id: PacketId, topic: &Topic, payload: &[u8]) -> Self {
        let mut hash = blake3::Hasher::new();
        let length = u16::try_from(topic.bytes().len()).expect("no string is longer");
        hash.update(&length.to_le_bytes()).update(topic.bytes()).update(payload);
        let bytes = *hash.finalize().as_bytes().first_chunk().expect("32 are more than 8");
        Self { packet_id, hash: u64::from_le_bytes(bytes) }
    }
}

fn encode_seen(seen: &[Seen]) -> Vec<u8> {
    let mut out = Vec::with_capacity(10 * seen.len());
    for one in seen {
        out.extend_from_slice(&one.packet_id.get().to_le_bytes());
        out.extend_from_slice(&one.hash.to_le_bytes());
    }
    out
}

fn decode_seen(value: &[u8], into: &mut Vec<Seen>) -> Result<(), Reject> {
    let mut reader = Reader::new(value);
    while !reader.rest().is_empty() {
        let packet_id = PacketId::new(u16::from_le_bytes(reader.array()?));
        let packet_id = packet_id.ok_or(Reject::Malformed)?;
        into.push(Seen { packet_id, hash: u64::from_le_bytes(reader.array()?) });
    }
    Ok(())
}

/// The packet identifier under which message `number` of a session is sent.
#[must_use]
pub fn packet_id(number: u64) -> PacketId {
    let id = u16::try_from(number % u64::from(u16::MAX)).expect("the rest is smaller") + 1;
    PacketId::new(id).expect("at least one")
}

/// A change of what is kept.
#[derive(Clone, Debug)]
pub enum Change {
    /// A session is new, or changed: its client and its encoded record.
    Session(String, Vec<u8>),
    /// A session is over: its client knows it no more, and what is left of it goes bit by bit.
    End(String, SessionNo),
    /// A subscription is new, or changed.
    Subscribe(SessionNo, SubscriptionRecord),
    /// A subscription is over.
    Unsubscribe(SessionNo, Filter),
    /// Messages for queues, from a place on.
    Messages(u64, Vec<u8>),
    /// A part of a queue, from a number on.
    Queue(SessionNo, u64, QueueRecord),
    /// How far a client is; what is done goes, and what is too old for a full queue.
    Progress {
        /// Of which session.
        no: SessionNo,
        /// How far.
        progress: Progress,
        /// The number of its next message.
        next: u64,
        /// Parts of the queue go that end at or before this byte of all that was ever queued.
        below: u64,
    },
    /// Identifiers of messages of QoS 2 that are not released.
    Held(SessionNo, BTreeSet<PacketId>),
    /// Messages of QoS 1 to know again.
    Recent(SessionNo, Vec<Seen>),
    /// The message of a topic, or none.
    Retain(Topic, Option<Vec<u8>>),
    /// Another step of removing what is left of a session.
    Sweep(SessionNo),
    /// A record that stands or falls with a message: its table, key, and value, if it has one.
    Record(Table, Vec<u8>, Option<Vec<u8>>),
}

/// The value of a retained message.
///
/// # Errors
/// [`Unfit`]
pub fn retained(message: &Message) -> Result<Vec<u8>, Unfit> {
    let mut out = Vec::new();
    message.at.put(&mut out)?;
    out.extend_from_slice(&message_bytes(message)?);
    Ok(out)
}

/// Reads a retained message.
///
/// # Errors
/// What is wrong with the bytes.
pub fn decode_retained(value: &[u8]) -> Result<Message, Reject> {
    let mut reader = Reader::new(value);
    let at = Moment::read(&mut reader)?;
    one_message(reader.rest(), at)
}

/// Messages of one commit, as they are kept.
#[derive(Debug)]
pub struct Pack {
    place: u64,
    bytes: BytesMut,
    count: u32,
}

impl Pack {
    /// An empty one whose first message gets this place.
    #[must_use]
    pub fn new(place: u64) -> Self {
        Self { place, bytes: BytesMut::new(), count: 0 }
    }

    /// Whether `message` belongs into the next one.
    #[must_use]
    pub fn is_full(&self, message: &Message) -> bool {
        self.count > 0 && self.bytes.len() + message.size() > MESSAGES_BYTES
    }

    /// Takes a message and gives its index.
    ///
    /// # Errors
    /// [`Unfit`]
    pub fn push(&mut self, message: &Message) -> Result<u32, Unfit> {
        if self.count == 0 {
            let mut at = Vec::new();
            message.at.put(&mut at)?;
            self.bytes.extend_from_slice(&at);
        }
        message.put(&mut self.bytes)?;
        self.count += 1;
        Ok(self.count - 1)
    }

    /// Its first place, that of the next pack, and its value; nothing if it is empty.
    #[must_use]
    pub fn finish(self) -> Option<(u64, u64, Vec<u8>)> {
        let next = self.place + u64::from(self.count);
        (self.count > 0).then(|| (self.place, next, self.bytes.to_vec()))
    }
}

/// Reads the messages of one commit.
///
/// # Errors
/// What is wrong with the bytes.
pub fn unpack(value: Vec<u8>) -> Result<Vec<Message>, Reject> {
    let mut reader = Reader::new(&value);
    let at = Moment::read(&mut reader)?;
    let mut input = BytesMut::from(reader.rest());
    let mut out = Vec::new();
    while let Some(message) = Message::read(&mut input, at)? {
        out.push(message);
    }
    Ok(out)
}

fn session_key(no: SessionNo) -> [u8; 4] {
    no.to_be_bytes()
}

fn filter_key(no: SessionNo, filter: &Filter) -> Vec<u8> {
    [&no.to_be_bytes(), filter.bytes().as_ref()].concat()
}

fn numbered_key(no: SessionNo, number: u64) -> [u8; 12] {
    let mut key = [0; 12];
    key[..4].copy_from_slice(&no.to_be_bytes());
    key[4..].copy_from_slice(&number.to_be_bytes());
    key
}

fn holder_key(place: u64, no: SessionNo) -> [u8; 12] {
    let mut key = [0; 12];
    key[..8].copy_from_slice(&place.to_be_bytes());
    key[8..].copy_from_slice(&no.to_be_bytes());
    key
}

/// Takes a key of session and number apart.
fn number_of(key: &[u8]) -> Option<(SessionNo, u64)> {
    let (no, number) = key.split_first_chunk::<4>()?;
    Some((SessionNo::from_be_bytes(*no), u64::from_be_bytes(*number.first_chunk()?)))
}
