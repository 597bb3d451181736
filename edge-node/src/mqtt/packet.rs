//! The packets of MQTT, in one shape for both versions.
//!
//! A packet of version 3.1.1 has empty properties, and its reasons are those of version 5 that its
//! return codes stand for. A property that is absent is `None`, and not its default: what a server
//! may change is then not lost. All strings are checked; cloning a packet counts references.

pub use super::text::{Binary, UserProperties, Utf8};
pub use super::topic::{Filter, Topic};

use super::reason::Reason;
use bytes::Bytes;
use std::num::{NonZeroU16, NonZeroU32};

/// The version of the protocol that a connection speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Version {
    /// 3.1.1, level 4.
    V311,
    /// 5, level 5.
    V5,
}

impl Version {
    /// The protocol level as it is written.
    #[must_use]
    pub const fn level(self) -> u8 {
        match self {
            Self::V311 => 4,
            Self::V5 => 5,
        }
    }
}

/// How often a message may arrive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum QoS {
    /// QoS 0: at most once.
    #[default]
    AtMostOnce = 0,
    /// QoS 1: at least once.
    AtLeastOnce = 1,
    /// QoS 2: exactly once.
    ExactlyOnce = 2,
}

impl QoS {
    /// The QoS of the two bits, unless they are 3.
    #[must_use]
    pub const fn from_bits(bits: u8) -> Option<Self> {
        match bits {
            0 => Some(Self::AtMostOnce),
            1 => Some(Self::AtLeastOnce),
            2 => Some(Self::ExactlyOnce),
            _ => None,
        }
    }
}

/// The identifier of a packet that is answered; zero is none.
pub type PacketId = NonZeroU16;

/// A packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Packet {
    /// A client introduces itself.
    Connect(Box<Connect>),
    /// The server's answer.
    Connack(Box<Connack>),
    /// A message.
    Publish(Publish),
    /// A message of QoS 1 is taken.
    Puback(Ack),
    /// A message of QoS 2 is taken.
    Pubrec(Ack),
    /// A message of QoS 2 is let go of.
    Pubrel(Ack),
    /// A message of QoS 2 is done.
    Pubcomp(Ack),
    /// Filters that a client wants the messages of.
    Subscribe(Subscribe),
    /// What became of each of them.
    Suback(Suback),
    /// Filters that a client has enough of.
    Unsubscribe(Unsubscribe),
    /// What became of each of them.
    Unsuback(Suback),
    /// Is somebody there?
    Pingreq,
    /// Somebody is.
    Pingresp,
    /// One side leaves.
    Disconnect(Disconnect),
    /// A step of enhanced authentication; only in version 5.
    Auth(Auth),
}

impl Packet {
    /// Its name in the standard.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Connect(_) => "CONNECT",
            Self::Connack(_) => "CONNACK",
            Self::Publish(_) => "PUBLISH",
            Self::Puback(_) => "PUBACK",
            Self::Pubrec(_) => "PUBREC",
            Self::Pubrel(_) => "PUBREL",
            Self::Pubcomp(_) => "PUBCOMP",
            Self::Subscribe(_) => "SUBSCRIBE",
            Self::Suback(_) => "SUBACK",
            Self::Unsubscribe(_) => "UNSUBSCRIBE",
            Self::Unsuback(_) => "UNSUBACK",
            Self::Pingreq => "PINGREQ",
            Self::Pingresp => "PINGRESP",
            Self::Disconnect(_) => "DISCONNECT",
            Self::Auth(_) => "AUTH",
        }
    }
}

/// CONNECT.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connect {
    /// The version the client speaks.
    pub version: Version,
    /// Whether a session that exists is ended first; *clean session* in 3.1.1.
    pub clean_start: bool,
    /// Seconds after which the client has sent something; 0: it need not.
    pub keep_alive: u16,
    /// Empty when the server is to choose.
    pub client_id: Utf8,
    /// What is published when the client is lost.
    pub will: Option<Will>,
    /// Who it is.
    pub user_name: Option<Utf8>,
    /// What proves it.
    pub password: Option<Binary>,
    /// What version 5 adds.
    pub properties: ConnectProperties,
}

/// Properties of CONNECT.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConnectProperties {
    /// Seconds that the session outlives the connection; absent: 0; `u32::MAX`: for ever.
    pub session_expiry_s: Option<u32>,
    /// Messages of QoS 1 and 2 that the client takes at a time; absent: 65,535.
    pub receive_maximum: Option<NonZeroU16>,
    /// Bytes of the largest packet that the client takes; absent: any.
    pub maximum_packet: Option<NonZeroU32>,
    /// The greatest topic alias that the client takes; absent: 0, none.
    pub alias_maximum: Option<u16>,
    /// Whether the client wants response information; absent: no.
    pub request_response: Option<bool>,
    /// Whether the client wants reason strings and user properties with failures; absent: yes.
    pub request_problem: Option<bool>,
    /// How the client wants to authenticate beyond a password.
    pub authentication_method: Option<Utf8>,
    /// Its first word for that.
    pub authentication_data: Option<Binary>,
    /// User properties.
    pub user: UserProperties,
}

/// What is published when a client is lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Will {
    /// With this QoS.
    pub qos: QoS,
    /// Whether it is retained.
    pub retain: bool,
    /// To this topic.
    pub topic: Topic,
    /// The message.
    pub payload: Binary,
    /// What version 5 adds.
    pub properties: WillProperties,
}

/// Properties of a will.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WillProperties {
    /// Seconds that the server waits for the client to come back; absent: 0.
    pub delay_s: Option<u32>,
    /// Whether the payload is UTF-8; absent: nothing is said.
    pub payload_is_text: Option<bool>,
    /// Seconds after which nobody wants the message any more.
    pub expiry_s: Option<u32>,
    /// What the payload is.
    pub content_type: Option<Utf8>,
    /// Where an answer is to go.
    pub response_topic: Option<Topic>,
    /// What an answer is to carry.
    pub correlation: Option<Binary>,
    /// User properties.
    pub user: UserProperties,
}

/// CONNACK.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connack {
    /// Whether the server knew the session.
    pub session_present: bool,
    /// Whether the client is let in, and why not.
    pub reason: Reason,
    /// What version 5 adds.
    pub properties: ConnackProperties,
}

/// Properties of CONNACK.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConnackProperties {
    /// Seconds that the session outlives the connection; absent: as the client asked.
    pub session_expiry_s: Option<u32>,
    /// Messages of QoS 1 and 2 that the server takes at a time; absent: 65,535.
    pub receive_maximum: Option<NonZeroU16>,
    /// The greatest QoS that the server does, 0 or 1; absent: 2.
    pub maximum_qos: Option<QoS>,
    /// Whether the server retains messages; absent: yes.
    pub retain_available: Option<bool>,
    /// Bytes of the largest packet that the server takes; absent: any.
    pub maximum_packet: Option<NonZeroU32>,
    /// The client identifier that the server chose.
    pub assigned_client_id: Option<Utf8>,
    /// The greatest topic alias that the server takes; absent: 0, none.
    pub alias_maximum: Option<u16>,
    /// Why, in words.
    pub reason_string: Option<Utf8>,
    /// Whether the server takes wildcards; absent: yes.
    pub wildcards_available: Option<bool>,
    /// Whether the server takes subscription identifiers; absent: yes.
    pub subscription_ids_available: Option<bool>,
    /// Whether the server takes shared subscriptions; absent: yes.
    pub shared_available: Option<bool>,
    /// The keep alive that holds instead of the client's.
    pub server_keep_alive: Option<u16>,
    /// From which the client makes response topics.
    pub response_information: Option<Utf8>,
    /// Another server to use.
    pub server_reference: Option<Utf8>,
    /// The authentication method of the client.
    pub authentication_method: Option<Utf8>,
    /// The server's last word for that.
    pub authentication_data: Option<Binary>,
    /// User properties.
    pub user: UserProperties,
}

/// PUBLISH.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publish {
    /// Whether it may have been sent before.
    pub dup: bool,
    /// How often it may arrive.
    pub qos: QoS,
    /// Whether it is kept for those who subscribe later, or was.
    pub retain: bool,
    /// Where it is published; empty only when an alias stands for it.
    pub topic: Topic,
    /// Present exactly if the QoS is not 0.
    pub packet_id: Option<PacketId>,
    /// The message.
    pub payload: Bytes,
    /// What version 5 adds.
    pub properties: PublishProperties,
}

/// Properties of PUBLISH.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PublishProperties {
    /// Whether the payload is UTF-8; absent: nothing is said.
    pub payload_is_text: Option<bool>,
    /// Seconds after which nobody wants the message any more; 0 is legal.
    pub expiry_s: Option<u32>,
    /// The number that stands for the topic on this connection.
    pub alias: Option<NonZeroU16>,
    /// Where an answer is to go.
    pub response_topic: Option<Topic>,
    /// What an answer is to carry.
    pub correlation: Option<Binary>,
    /// Which subscriptions matched; only from server to client.
    pub subscription_ids: Vec<NonZeroU32>,
    /// What the payload is.
    pub content_type: Option<Utf8>,
    /// User properties.
    pub user: UserProperties,
}

/// PUBACK, PUBREC, PUBREL and PUBCOMP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ack {
    /// Of the message.
    pub packet_id: PacketId,
    /// What became of it; in 3.1.1 always [`Reason::Success`].
    pub reason: Reason,
    /// What version 5 adds.
    pub properties: AckProperties,
}

impl Ack {
    /// One without properties.
    #[must_use]
    pub fn new(packet_id: PacketId, reason: Reason) -> Self {
        Self { packet_id, reason, properties: AckProperties::default() }
    }
}

/// Properties of all that answers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AckProperties {
    /// Why, in words.
    pub reason_string: Option<Utf8>,
    /// User properties.
    pub user: UserProperties,
}

/// SUBSCRIBE.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscribe {
    /// Which the answer bears.
    pub packet_id: PacketId,
    /// At least one.
    pub subscriptions: Vec<Subscription>,
    /// What the client knows them by, at most 268,435,455; only in version 5.
    pub subscription_id: Option<NonZeroU32>,
    /// User properties.
    pub user: UserProperties,
}

/// One filter of a SUBSCRIBE.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscription {
    /// Which topics.
    pub filter: Filter,
    /// And how.
    pub options: SubscriptionOptions,
}

/// How messages are to be sent; version 3.1.1 knows only the QoS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SubscriptionOptions {
    /// The greatest QoS.
    pub qos: QoS,
    /// Whether the client's own messages are left out.
    pub no_local: bool,
    /// Whether the retain flag is passed on as it was published.
    pub retain_as_published: bool,
    /// What happens with retained messages.
    pub retain_handling: RetainHandling,
}

/// When retained messages are sent to a subscriber.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum RetainHandling {
    /// With every SUBSCRIBE.
    #[default]
    Send = 0,
    /// Only if the subscription is new.
    SendIfNew = 1,
    /// Never.
    DoNotSend = 2,
}

/// SUBACK and UNSUBACK.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Suback {
    /// Of the question.
    pub packet_id: PacketId,
    /// One for each filter, in their order; an UNSUBACK of 3.1.1 has none.
    pub reasons: Vec<Reason>,
    /// What version 5 adds.
    pub properties: AckProperties,
}

/// UNSUBSCRIBE.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsubscribe {
    /// Which the answer bears.
    pub packet_id: PacketId,
    /// At least one.
    pub filters: Vec<Filter>,
    /// User properties.
    pub user: UserProperties,
}

/// DISCONNECT.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disconnect {
    /// Why; in 3.1.1 always [`Reason::Success`].
    pub reason: Reason,
    /// What version 5 adds.
    pub properties: DisconnectProperties,
}

impl Disconnect {
    /// One without properties.
    #[must_use]
    pub fn new(reason: Reason) -> Self {
        Self { reason, properties: DisconnectProperties::default() }
    }
}

/// Properties of DISCONNECT.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DisconnectProperties {
    /// Seconds that the session is to be kept from now on; only from client to server.
    pub session_expiry_s: Option<u32>,
    /// Another server to use.
    pub server_reference: Option<Utf8>,
    /// Why, in words.
    pub reason_string: Option<Utf8>,
    /// User properties.
    pub user: UserProperties,
}

/// AUTH.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Auth {
    /// Which step it is.
    pub reason: Reason,
    /// The method; absent only in the two bytes that say that it succeeded.
    pub method: Option<Utf8>,
    /// What the step says.
    pub data: Option<Binary>,
    /// Why, in words.
    pub reason_string: Option<Utf8>,
    /// User properties.
    pub user: UserProperties,
}
