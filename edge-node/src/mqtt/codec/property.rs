//! The properties of version 5: which there are, and how they are read.
//!
//! All 27 are read in one place, with the set of those that the packet may have. Each comes once,
//! but for user properties, which may come as often as they like, and the subscription identifiers
//! of a publish.

use super::reader::Reader;
use super::{FILTERS_MAX, Violation};
use crate::mqtt::packet::{QoS, UserProperties};
use crate::mqtt::reason::Reason;
use crate::mqtt::text::{Binary, USER_PROPERTY, Utf8};
use crate::mqtt::topic::Topic;
use bytes::{Bytes, BytesMut};
use std::num::{NonZeroU16, NonZeroU32};
use std::ops::Range;

/// Identifiers of properties.
pub mod id {
    pub const PAYLOAD_FORMAT: u8 = 0x01;
    pub const MESSAGE_EXPIRY: u8 = 0x02;
    pub const CONTENT_TYPE: u8 = 0x03;
    pub const RESPONSE_TOPIC: u8 = 0x08;
    pub const CORRELATION: u8 = 0x09;
    pub const SUBSCRIPTION_ID: u8 = 0x0B;
    pub const SESSION_EXPIRY: u8 = 0x11;
    pub const ASSIGNED_CLIENT_ID: u8 = 0x12;
    pub const SERVER_KEEP_ALIVE: u8 = 0x13;
    pub const AUTHENTICATION_METHOD: u8 = 0x15;
    pub const AUTHENTICATION_DATA: u8 = 0x16;
    pub const REQUEST_PROBLEM: u8 = 0x17;
    pub const WILL_DELAY: u8 = 0x18;
    pub const REQUEST_RESPONSE: u8 = 0x19;
    pub const RESPONSE_INFORMATION: u8 = 0x1A;
    pub const SERVER_REFERENCE: u8 = 0x1C;
    pub const REASON_STRING: u8 = 0x1F;
    pub const RECEIVE_MAXIMUM: u8 = 0x21;
    pub const ALIAS_MAXIMUM: u8 = 0x22;
    pub const ALIAS: u8 = 0x23;
    pub const MAXIMUM_QOS: u8 = 0x24;
    pub const RETAIN_AVAILABLE: u8 = 0x25;
    pub const USER: u8 = super::USER_PROPERTY;
    pub const MAXIMUM_PACKET: u8 = 0x27;
    pub const WILDCARDS_AVAILABLE: u8 = 0x28;
    pub const SUBSCRIPTION_IDS_AVAILABLE: u8 = 0x29;
    pub const SHARED_AVAILABLE: u8 = 0x2A;
}

/// A set of identifiers, one bit each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ids(u64);

impl Ids {
    /// These.
    pub const fn of(ids: &[u8]) -> Self {
        let mut bits = 0;
        let mut at = 0;
        while at < ids.len() {
            bits |= 1 << ids[at];
            at += 1;
        }
        Self(bits)
    }

    /// Whether `id` is among them.
    pub const fn has(self, id: u8) -> bool {
        id < 64 && self.0 >> id & 1 == 1
    }
}

/// The properties of one packet or will, as they came.
#[derive(Default)]
pub struct Properties {
    pub payload_is_text: Option<bool>,
    pub message_expiry: Option<u32>,
    pub content_type: Option<Utf8>,
    pub response_topic: Option<Topic>,
    pub correlation: Option<Binary>,
    pub subscription_ids: Vec<NonZeroU32>,
    pub session_expiry: Option<u32>,
    pub assigned_client_id: Option<Utf8>,
    pub server_keep_alive: Option<u16>,
    pub authentication_method: Option<Utf8>,
    pub authentication_data: Option<Binary>,
    pub request_problem: Option<bool>,
    pub will_delay: Option<u32>,
    pub request_response: Option<bool>,
    pub response_information: Option<Utf8>,
    pub server_reference: Option<Utf8>,
    pub reason_string: Option<Utf8>,
    pub receive_maximum: Option<NonZeroU16>,
    pub alias_maximum: Option<u16>,
    pub alias: Option<NonZeroU16>,
    pub maximum_qos: Option<QoS>,
    pub retain_available: Option<bool>,
    pub maximum_packet: Option<NonZeroU32>,
    pub wildcards_available: Option<bool>,
    pub subscription_ids_available: Option<bool>,
    pub shared_available: Option<bool>,
    pub user: UserProperties,
}

/// Identifiers that may come more than once where they may come at all.
const REPEATED_IN_PUBLISH: Ids = Ids::of(&[id::USER, id::SUBSCRIPTION_ID]);
const REPEATED: Ids = Ids::of(&[id::USER]);

impl Properties {
    /// Reads the properties that begin here, of which the packet may have those of `allowed`.
    pub fn read(reader: &mut Reader, allowed: Ids) -> Result<Self, Violation> {
        let mut all = Self::default();
        let len = reader.variable("property length")?;
        if len == 0 {
            return Ok(all);
        }
        let len = usize::try_from(len).expect("28 bits fit");
        let mut part = reader.part(len, "properties")?;
        let repeated = if allowed.has(id::ALIAS) { REPEATED_IN_PUBLISH } else { REPEATED };
        let mut seen = Ids::default();
        let mut user = UserRun::default();
        while part.left() > 0 {
            let at = part.at();
            let wrong = |reason, part: &Reader, wrong: &str| {
                Err(part.violation(reason, "property", at, wrong))
            };
            let id = part.variable("property identifier")?;
            let Some(id) = u8::try_from(id).ok().filter(|id| allowed.has(*id)) else {
                let text = format!("identifier 0x{id:02X}, expected one that this packet may have");
                return wrong(Reason::MalformedPacket, &part, &text);
            };
            if seen.has(id) && !repeated.has(id) {
                let text = format!("identifier 0x{id:02X} again, expected once");
                return wrong(Reason::ProtocolError, &part, &text);
            }
            seen.0 |= 1 << id;
            if id == id::USER {
                part.utf8("name of a user property")?;
                part.utf8("value of a user property")?;
                user.add(&part, at..part.at());
            } else {
                all.value(id, &mut part)?;
            }
        }
        all.user = UserProperties::checked(user.finish(&part));
        Ok(all)
    }

    /// Reads the value of the property `id`, which is allowed here.
    fn value(&mut self, id: u8, part: &mut Reader) -> Result<(), Violation> {
        match id {
            id::PAYLOAD_FORMAT => self.payload_is_text = Some(flag(part, "payload format")?),
            id::MESSAGE_EXPIRY => self.message_expiry = Some(part.u32("message expiry interval")?),
            id::CONTENT_TYPE => self.content_type = Some(part.utf8("content type")?),
            id::RESPONSE_TOPIC => self.response_topic = Some(part.topic("response topic")?),
            id::CORRELATION => self.correlation = Some(part.binary("correlation data")?),
            id::SUBSCRIPTION_ID => self.add_subscription_id(part)?,
            id::WILL_DELAY => self.will_delay = Some(part.u32("will delay interval")?),
            id::ALIAS => {
                let reason = Reason::TopicAliasInvalid;
                self.alias = Some(count(part, "topic alias", reason, Reader::u16)?);
            }
            _ => return self.value_of_session(id, part),
        }
        Ok(())
    }

    /// The same for what is said when a session begins, and with an answer.
    fn value_of_session(&mut self, id: u8, part: &mut Reader) -> Result<(), Violation> {
        let protocol = Reason::ProtocolError;
        match id {
            id::SESSION_EXPIRY => self.session_expiry = Some(part.u32("session expiry interval")?),
            id::ASSIGNED_CLIENT_ID => {
                self.assigned_client_id = Some(part.utf8("assigned client identifier")?);
            }
            id::SERVER_KEEP_ALIVE => self.server_keep_alive = Some(part.u16("server keep alive")?),
            id::AUTHENTICATION_METHOD => {
                self.authentication_method = Some(part.utf8("authentication method")?);
            }
            id::AUTHENTICATION_DATA => {
                self.authentication_data = Some(part.binary("authentication data")?);
            }
            id::REQUEST_PROBLEM => {
                self.request_problem = Some(flag(part, "request problem information")?);
            }
            id::REQUEST_RESPONSE => {
                self.request_response = Some(flag(part, "request response information")?);
            }
            id::RESPONSE_INFORMATION => {
                self.response_information = Some(part.utf8("response information")?);
            }
            id::SERVER_REFERENCE => self.server_reference = Some(part.utf8("server reference")?),
            id::REASON_STRING => self.reason_string = Some(part.utf8("reason string")?),
            id::RECEIVE_MAXIMUM => {
                self.receive_maximum = Some(count(part, "receive maximum", protocol, Reader::u16)?);
            }
            id::ALIAS_MAXIMUM => self.alias_maximum = Some(part.u16("topic alias maximum")?),
            id::MAXIMUM_QOS => {
                let least = flag(part, "maximum QoS")?;
                self.maximum_qos = Some(if least { QoS::AtLeastOnce } else { QoS::AtMostOnce });
            }
            id::RETAIN_AVAILABLE => self.retain_available = Some(flag(part, "retain available")?),
            id::MAXIMUM_PACKET => {
                let read = count(part, "maximum packet size", protocol, Reader::u32)?;
                self.maximum_packet = Some(read);
            }
            id::WILDCARDS_AVAILABLE => {
                self.wildcards_available = Some(flag(part, "wildcard subscription available")?);
            }
            id::SUBSCRIPTION_IDS_AVAILABLE => {
                let read = flag(part, "subscription identifiers available")?;
                self.subscription_ids_available = Some(read);
            }
            id::SHARED_AVAILABLE => {
                self.shared_available = Some(flag(part, "shared subscription available")?);
            }
            _ => unreachable!("no packet may have any other"),
        }
        Ok(())
    }

    /// There are as many as subscriptions that match. A number takes two bytes to write and four to
    /// hold, so somebody who sends nothing else must not be listened to for long.
    fn add_subscription_id(&mut self, part: &mut Reader) -> Result<(), Violation> {
        let (at, id) = (part.at(), subscription_id(part)?);
        if self.subscription_ids.len() == FILTERS_MAX {
            let wrong = "one more, expected at most 1,000";
            let reason = Reason::QuotaExceeded;
            return Err(part.violation(reason, "subscription identifier", at, wrong));
        }
        self.subscription_ids.push(id);
        Ok(())
    }

    /// Authentication data means nothing without the method.
    pub fn check_authentication(&self, reader: &Reader) -> Result<(), Violation> {
        if self.authentication_data.is_none() || self.authentication_method.is_some() {
            return Ok(());
        }
        let wrong = "authentication data, expected an authentication method too";
        Err(reader.violation(Reason::ProtocolError, "properties end", reader.at(), wrong))
    }
}

fn flag(part: &mut Reader, field: &'static str) -> Result<bool, Violation> {
    let at = part.at();
    match part.u8(field)? {
        0 => Ok(false),
        1 => Ok(true),
        other => {
            let wrong = format_args!("{other}, expected 0 or 1");
            Err(part.violation(Reason::ProtocolError, field, at, wrong))
        }
    }
}

/// A number that must not be zero.
fn count<T, N: TryFrom<T>>(
    part: &mut Reader,
    field: &'static str,
    reason: Reason,
    read: impl Fn(&mut Reader, &'static str) -> Result<T, Violation>,
) -> Result<N, Violation> {
    let at = part.at();
    let value = read(part, field)?;
    N::try_from(value).map_err(|_| part.violation(reason, field, at, "0, expected at least 1"))
}

fn subscription_id(part: &mut Reader) -> Result<NonZeroU32, Violation> {
    count(part, "subscription identifier", Reason::ProtocolError, Reader::variable)
}

/// User properties as they lie in a packet: mostly behind each other, and then they are a slice.
#[derive(Default)]
struct UserRun {
    earlier: BytesMut,
    last: Range<usize>,
}

impl UserRun {
    fn add(&mut self, part: &Reader, range: Range<usize>) {
        if self.last.is_empty() {
            self.last = range;
        } else if self.last.end == range.start {
            self.last.end = range.end;
        } else {
            if self.earlier.is_empty() {
                self.earlier.reserve(self.last.len() + range.len() + part.left());
            }
            self.earlier.extend_from_slice(&part.slice(self.last.clone()));
            self.last = range;
        }
    }

    fn finish(mut self, part: &Reader) -> Bytes {
        let last = part.slice(self.last);
        if self.earlier.is_empty() {
            return last;
        }
        self.earlier.extend_from_slice(&last);
        self.earlier.freeze()
    }
}
