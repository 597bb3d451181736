//! A message as the broker has it, and as it is kept.
//!
//! It is what was published, without what belongs to the connection that brought it or will take
//! it: packet identifier, alias, DUP. It holds on to no buffer of a connection, so it can be kept
//! for as long as a session is. As it is kept it is a PUBLISH packet of version 5, whatever the
//! version of its publisher. Byte-exact page: `docs/formats/mqtt.md`.

use super::codec::{Codec, EncodeError, Limits, VARIABLE_MAX};
use super::packet::{Packet, PacketId, Publish, PublishProperties, QoS, Topic, Version, Will};
use bytes::{Bytes, BytesMut};
use holdfast_core::codec::{Reader, Sink};
use holdfast_core::{Reject, Timestamp};
use holdfast_sync::env::Env;
use std::num::NonZeroU32;
use std::sync::Arc;

/// What a message takes beside its own bytes, in counts of memory and of queues.
pub const OVERHEAD: usize = 32;

/// A moment, from which on time is counted even if somebody sets the clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// Unix ms, as wrong as the machine's clock was.
    pub wall_ms: i64,
    /// The node's count of starts.
    pub boot: u64,
    /// ms since that start.
    pub steady_ms: u64,
}

impl Moment {
    /// This one.
    #[must_use]
    pub fn now(env: &Env, boot: u64) -> Self {
        Self { wall_ms: env.now().millis(), boot, steady_ms: env.monotonic_ms() }
    }

    /// Milliseconds from it to `now`.
    #[must_use]
    pub const fn until(&self, now: &Self) -> u64 {
        if self.boot == now.boot {
            return now.steady_ms.saturating_sub(self.steady_ms);
        }
        let passed = now.wall_ms.saturating_sub(self.wall_ms);
        if passed > 0 { passed.unsigned_abs() } else { 0 }
    }

    /// Its time of day.
    #[must_use]
    pub const fn time(&self) -> Timestamp {
        Timestamp(self.wall_ms.saturating_mul(1_000_000))
    }

    /// Appends it.
    ///
    /// # Errors
    /// [`Reject::Full`] when the sink has no room.
    pub fn put(&self, out: &mut impl Sink) -> Result<(), Reject> {
        out.put_int(self.wall_ms)?;
        out.put_uint(self.boot)?;
        out.put_uint(self.steady_ms)
    }

    /// Reads one.
    ///
    /// # Errors
    /// What is wrong with the bytes.
    pub fn read(reader: &mut Reader<'_>) -> Result<Self, Reject> {
        Ok(Self { wall_ms: reader.int()?, boot: reader.uint()?, steady_ms: reader.uint()? })
    }
}

/// A message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// What was published; DUP, packet identifier, alias and subscriptions are not set.
    publish: Publish,
    /// When it came.
    pub at: Moment,
}

/// The packet identifier of all kept messages.
const KEPT_ID: PacketId = PacketId::MIN;

impl Message {
    /// The message of a PUBLISH that came at `at`, in buffers of its own.
    #[must_use]
    pub fn new(publish: &Publish, at: Moment) -> Self {
        let own = &publish.properties;
        let properties = PublishProperties {
            response_topic: own.response_topic.as_ref().map(Topic::detached),
            correlation: own.correlation.as_ref().map(super::packet::Binary::detached),
            content_type: own.content_type.as_ref().map(super::packet::Utf8::detached),
            user: own.user.detached(),
            payload_is_text: own.payload_is_text,
            expiry_s: own.expiry_s,
            alias: None,
            subscription_ids: Vec::new(),
        };
        let publish = Publish {
            dup: false,
            qos: publish.qos,
            retain: publish.retain,
            topic: publish.topic.detached(),
            packet_id: None,
            payload: Bytes::copy_from_slice(&publish.payload),
            properties,
        };
        Self { publish, at }
    }

    /// The message of a will that is published at `at`.
    #[must_use]
    pub fn of_will(will: &Will, at: Moment) -> Self {
        let own = &will.properties;
        let properties = PublishProperties {
            payload_is_text: own.payload_is_text,
            expiry_s: own.expiry_s,
            content_type: own.content_type.clone(),
            response_topic: own.response_topic.clone(),
            correlation: own.correlation.clone(),
            user: own.user.clone(),
            alias: None,
            subscription_ids: Vec::new(),
        };
        let publish = Publish {
            dup: false,
            qos: will.qos,
            retain: will.retain,
            topic: will.topic.clone(),
            packet_id: None,
            payload: will.payload.bytes().clone(),
            properties,
        };
        Self::new(&publish, at)
    }

    /// It, published at `at` and not before.
    #[must_use]
    pub const fn published_at(mut self, at: Moment) -> Self {
        self.at = at;
        self
    }

    /// Where it was published.
    #[must_use]
    pub const fn topic(&self) -> &Topic {
        &self.publish.topic
    }

    /// What was published.
    #[must_use]
    pub const fn payload(&self) -> &Bytes {
        &self.publish.payload
    }

    /// With which QoS.
    #[must_use]
    pub const fn qos(&self) -> QoS {
        self.publish.qos
    }

    /// Whether it is to be retained.
    #[must_use]
    pub const fn retain(&self) -> bool {
        self.publish.retain
    }

    /// As it was published.
    #[must_use]
    pub const fn as_publish(&self) -> &Publish {
        &self.publish
    }

    /// Roughly the memory that it takes.
    #[must_use]
    pub fn size(&self) -> usize {
        let Publish { topic, payload, properties, .. } = &self.publish;
        let more = properties.user.written().len()
            + properties.correlation.as_ref().map_or(0, |data| data.bytes().len());
        OVERHEAD + topic.bytes().len() + payload.len() + more
    }

    /// Whether nobody wants it any more.
    #[must_use]
    pub fn is_expired(&self, now: &Moment) -> bool {
        let expiry = self.publish.properties.expiry_s;
        expiry.is_some_and(|seconds| self.at.until(now) > u64::from(seconds) * 1_000)
    }

    /// Seconds until it expires, if it does.
    fn left(&self, now: &Moment) -> Option<u32> {
        let expiry = self.publish.properties.expiry_s?;
        let passed = u32::try_from(self.at.until(now) / 1_000).unwrap_or(u32::MAX);
        Some(expiry.saturating_sub(passed))
    }

    /// As it is sent on.
    #[must_use]
    pub fn publish(&self, sent: &Sent<'_>, now: &Moment) -> Publish {
        let mut publish = self.publish.clone();
        publish.dup = sent.dup;
        publish.qos = sent.qos;
        publish.retain = sent.retain;
        publish.packet_id = sent.packet_id;
        publish.properties.expiry_s = self.left(now);
        publish.properties.subscription_ids = sent.ids.to_vec();
        publish
    }

    /// Appends it as it is kept, its moment apart.
    ///
    /// # Errors
    /// What no PUBLISH packet holds; of one that came in a packet there is nothing.
    pub fn put(&self, out: &mut BytesMut) -> Result<(), EncodeError> {
        let mut publish = self.publish.clone();
        publish.packet_id = (publish.qos != QoS::AtMostOnce).then_some(KEPT_ID);
        codec().encode(&Packet::Publish(publish), out)
    }

    /// Reads one as it was kept; `None` at the end of the bytes.
    ///
    /// # Errors
    /// [`Reject::Malformed`]
    pub fn read(input: &mut BytesMut, at: Moment) -> Result<Option<Self>, Reject> {
        if input.is_empty() {
            return Ok(None);
        }
        match codec().decode(input) {
            Ok(Some(Packet::Publish(publish))) => {
                let publish = Publish { packet_id: None, ..publish };
                Ok(Some(Self { publish, at }))
            }
            _ => Err(Reject::Malformed),
        }
    }
}

/// The codec for what is kept; no limit of a connection holds for it.
const fn codec() -> Codec {
    Codec::for_client(Version::V5, Limits { before_connect: 0, packet: VARIABLE_MAX + 5 })
}

/// How a message is sent to one client.
#[derive(Clone, Copy, Debug)]
pub struct Sent<'a> {
    /// With which QoS.
    pub qos: QoS,
    /// Under which identifier, unless the QoS is 0.
    pub packet_id: Option<PacketId>,
    /// Whether it may have been sent before.
    pub dup: bool,
    /// Whether it is one that was retained, or RETAIN is passed on.
    pub retain: bool,
    /// The identifiers of the subscriptions that it matches.
    pub ids: &'a [NonZeroU32],
}

/// A message on its way to one client.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// The message.
    pub message: Arc<Message>,
    /// With which QoS it is sent.
    pub qos: QoS,
    /// Whether with RETAIN.
    pub retain: bool,
    /// The identifiers of the subscriptions that it matches.
    pub ids: Vec<NonZeroU32>,
}

impl Delivery {
    /// Whether it is sent under a packet identifier.
    #[must_use]
    pub fn packet_needed(&self) -> bool {
        self.qos != QoS::AtMostOnce
    }

    /// The bytes by which it counts in a queue.
    #[must_use]
    pub fn size(&self) -> usize {
        self.message.size()
    }

    /// Whether it is not to be sent because nobody wants it any more. One of QoS 2 that its client
    /// may have, `may_be_known`, has to be sent to its end: only that frees its identifier there.
    #[must_use]
    pub fn is_given_up(&self, may_be_known: bool, now: &Moment) -> bool {
        let has_begun = may_be_known && self.qos == QoS::ExactlyOnce;
        !has_begun && self.message.is_expired(now)
    }
}
