//! Packets as bytes. The same code runs twice: over a counter, for lengths come before what they
//! measure, and over the output.

use super::header::{Header, variable_bytes};
use super::property::id;
use super::{EncodeError, VARIABLE_MAX};
use crate::mqtt::packet::*;
use crate::mqtt::reason::Reason;
use crate::mqtt::topic::Topic;
use bytes::BytesMut;

/// Where bytes go.
trait Sink {
    fn put(&mut self, bytes: &[u8]);
}

/// Counts them.
impl Sink for usize {
    fn put(&mut self, bytes: &[u8]) {
        *self += bytes.len();
    }
}

impl Sink for BytesMut {
    fn put(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}

/// Whether what explains a failure to people is written too.
type Explained = bool;

/// Appends a packet of at most `limit` bytes.
pub fn packet(
    packet: &Packet,
    version: Version,
    limit: u32,
    output: &mut BytesMut,
) -> Result<(), EncodeError> {
    fits_version(packet, version).map_err(EncodeError::Unfit)?;
    let measure = |explained| {
        let mut len = 0_usize;
        body(packet, version, explained, &mut len);
        len
    };
    let whole = |len: usize| {
        let len = u32::try_from(len).unwrap_or(u32::MAX).min(VARIABLE_MAX);
        1 + variable_bytes(len).1
    };
    let limit_bytes = usize::try_from(limit).unwrap_or(usize::MAX);
    let fits = |len: usize| len <= VARIABLE_MAX as usize && whole(len) + len <= limit_bytes;
    let (mut explained, mut len) = (true, measure(true));
    if !fits(len) {
        (explained, len) = (false, measure(false));
    }
    if !fits(len) {
        return Err(EncodeError::TooLarge { bytes: whole(len) + len, limit });
    }
    output.reserve(whole(len) + len);
    output.put(&[Header::write(packet)]);
    variable(u32::try_from(len).expect("at most 28 bits"), output);
    body(packet, version, explained, output);
    Ok(())
}

/// What the types let pass and no packet may say.
fn fits_version(packet: &Packet, version: Version) -> Result<(), &'static str> {
    let v311 = version == Version::V311;
    match packet {
        Packet::Publish(publish) => {
            let at_most_once = publish.qos == QoS::AtMostOnce;
            let by_alias = !v311 && publish.properties.alias.is_some();
            if at_most_once == publish.packet_id.is_some() {
                return Err("a publish has a packet identifier exactly if its QoS is not 0");
            }
            if publish.dup && at_most_once {
                return Err("a publish of QoS 0 is never a duplicate");
            }
            if publish.topic.is_empty() && !by_alias {
                return Err("a publish without topic has an alias");
            }
            let greatest = publish.properties.subscription_ids.iter().max();
            let fits = greatest.is_none_or(|id| id.get() <= VARIABLE_MAX);
            if fits { Ok(()) } else { Err("a subscription identifier has 28 bits") }
        }
        Packet::Connect(connect) => {
            let alone = connect.password.is_some() && connect.user_name.is_none();
            if v311 && alone {
                return Err("a password comes with a user name in version 3.1.1");
            }
            let will = connect.will.as_ref();
            let named = will.is_none_or(|will| !will.topic.is_empty());
            if named { Ok(()) } else { Err("a will has a topic") }
        }
        Packet::Subscribe(subscribe) if subscribe.subscriptions.is_empty() => {
            Err("a SUBSCRIBE has at least one filter")
        }
        Packet::Subscribe(subscribe) => {
            let fits = subscribe.subscription_id.is_none_or(|id| id.get() <= VARIABLE_MAX);
            if fits { Ok(()) } else { Err("a subscription identifier has 28 bits") }
        }
        Packet::Unsubscribe(unsubscribe) if unsubscribe.filters.is_empty() => {
            Err("an UNSUBSCRIBE has at least one filter")
        }
        Packet::Auth(_) if v311 => Err("version 3.1.1 has no AUTH"),
        _ => Ok(()),
    }
}

fn variable(value: u32, out: &mut impl Sink) {
    let (bytes, len) = variable_bytes(value);
    out.put(&bytes[..len]);
}

/// A string behind its length.
fn string(bytes: &[u8], out: &mut impl Sink) {
    let len = u16::try_from(bytes.len()).expect("no string of MQTT is longer");
    out.put(&len.to_be_bytes());
    out.put(bytes);
}

/// A value of a property.
trait Value {
    fn write(&self, out: &mut impl Sink);
}

impl Value for bool {
    fn write(&self, out: &mut impl Sink) {
        out.put(&[u8::from(*self)]);
    }
}

impl Value for u16 {
    fn write(&self, out: &mut impl Sink) {
        out.put(&self.to_be_bytes());
    }
}

impl Value for u32 {
    fn write(&self, out: &mut impl Sink) {
        out.put(&self.to_be_bytes());
    }
}

impl Value for std::num::NonZeroU16 {
    fn write(&self, out: &mut impl Sink) {
        self.get().write(out);
    }
}

impl Value for std::num::NonZeroU32 {
    fn write(&self, out: &mut impl Sink) {
        self.get().write(out);
    }
}

impl Value for QoS {
    fn write(&self, out: &mut impl Sink) {
        out.put(&[*self as u8]);
    }
}

impl Value for Utf8 {
    fn write(&self, out: &mut impl Sink) {
        string(self.bytes(), out);
    }
}

impl Value for Topic {
    fn write(&self, out: &mut impl Sink) {
        string(self.bytes(), out);
    }
}

impl Value for Binary {
    fn write(&self, out: &mut impl Sink) {
        string(self.bytes(), out);
    }
}

fn one(id: u8, value: Option<&impl Value>, out: &mut impl Sink) {
    if let Some(value) = value {
        out.put(&[id]);
        value.write(out);
    }
}

/// Properties of one packet.
trait Properties {
    fn write(&self, explained: Explained, out: &mut impl Sink);

    /// With their length in front.
    fn write_all(&self, explained: Explained, out: &mut impl Sink) {
        let len = self.measure(explained);
        variable(u32::try_from(len).unwrap_or(u32::MAX).min(VARIABLE_MAX), out);
        self.write(explained, out);
    }

    fn measure(&self, explained: Explained) -> usize {
        let mut len = 0_usize;
        self.write(explained, &mut len);
        len
    }
}

impl Properties for ConnectProperties {
    fn write(&self, _: Explained, out: &mut impl Sink) {
        one(id::SESSION_EXPIRY, self.session_expiry_s.as_ref(), out);
        one(id::RECEIVE_MAXIMUM, self.receive_maximum.as_ref(), out);
        one(id::MAXIMUM_PACKET, self.maximum_packet.as_ref(), out);
        one(id::ALIAS_MAXIMUM, self.alias_maximum.as_ref(), out);
        one(id::REQUEST_RESPONSE, self.request_response.as_ref(), out);
        one(id::REQUEST_PROBLEM, self.request_problem.as_ref(), out);
        one(id::AUTHENTICATION_METHOD, self.authentication_method.as_ref(), out);
        one(id::AUTHENTICATION_DATA, self.authentication_data.as_ref(), out);
        out.put(self.user.written());
    }
}

impl Properties for WillProperties {
    fn write(&self, _: Explained, out: &mut impl Sink) {
        one(id::WILL_DELAY, self.delay_s.as_ref(), out);
        one(id::PAYLOAD_FORMAT, self.payload_is_text.as_ref(), out);
        one(id::MESSAGE_EXPIRY, self.expiry_s.as_ref(), out);
        one(id::CONTENT_TYPE, self.content_type.as_ref(), out);
        one(id::RESPONSE_TOPIC, self.response_topic.as_ref(), out);
        one(id::CORRELATION, self.correlation.as_ref(), out);
        out.put(self.user.written());
    }
}

impl Properties for ConnackProperties {
    fn write(&self, explained: Explained, out: &mut impl Sink) {
        one(id::SESSION_EXPIRY, self.session_expiry_s.as_ref(), out);
        one(id::RECEIVE_MAXIMUM, self.receive_maximum.as_ref(), out);
        one(id::MAXIMUM_QOS, self.maximum_qos.filter(|q| *q < QoS::ExactlyOnce).as_ref(), out);
        one(id::RETAIN_AVAILABLE, self.retain_available.as_ref(), out);
        one(id::MAXIMUM_PACKET, self.maximum_packet.as_ref(), out);
        one(id::ASSIGNED_CLIENT_ID, self.assigned_client_id.as_ref(), out);
        one(id::ALIAS_MAXIMUM, self.alias_maximum.as_ref(), out);
        one(id::WILDCARDS_AVAILABLE, self.wildcards_available.as_ref(), out);
        one(id::SUBSCRIPTION_IDS_AVAILABLE, self.subscription_ids_available.as_ref(), out);
        one(id::SHARED_AVAILABLE, self.shared_available.as_ref(), out);
        one(id::SERVER_KEEP_ALIVE, self.server_keep_alive.as_ref(), out);
        one(id::RESPONSE_INFORMATION, self.response_information.as_ref(), out);
        one(id::SERVER_REFERENCE, self.server_reference.as_ref(), out);
        one(id::AUTHENTICATION_METHOD, self.authentication_method.as_ref(), out);
        one(id::AUTHENTICATION_DATA, self.authentication_data.as_ref(), out);
        explanation(explained, self.reason_string.as_ref(), &self.user, out);
    }
}

impl Properties for PublishProperties {
    fn write(&self, _: Explained, out: &mut impl Sink) {
        one(id::PAYLOAD_FORMAT, self.payload_is_text.as_ref(), out);
        one(id::MESSAGE_EXPIRY, self.expiry_s.as_ref(), out);
        one(id::ALIAS, self.alias.as_ref(), out);
        one(id::RESPONSE_TOPIC, self.response_topic.as_ref(), out);
        one(id::CORRELATION, self.correlation.as_ref(), out);
        for subscription in &self.subscription_ids {
            out.put(&[id::SUBSCRIPTION_ID]);
            variable(subscription.get(), out);
        }
        one(id::CONTENT_TYPE, self.content_type.as_ref(), out);
        out.put(self.user.written());
    }
}

impl Properties for AckProperties {
    fn write(&self, explained: Explained, out: &mut impl Sink) {
        explanation(explained, self.reason_string.as_ref(), &self.user, out);
    }
}

impl Properties for Subscribe {
    fn write(&self, _: Explained, out: &mut impl Sink) {
        if let Some(subscription) = self.subscription_id {
            out.put(&[id::SUBSCRIPTION_ID]);
            variable(subscription.get(), out);
        }
        out.put(self.user.written());
    }
}

impl Properties for Unsubscribe {
    fn write(&self, _: Explained, out: &mut impl Sink) {
        out.put(self.user.written());
    }
}

impl Properties for DisconnectProperties {
    fn write(&self, explained: Explained, out: &mut impl Sink) {
        one(id::SESSION_EXPIRY, self.session_expiry_s.as_ref(), out);
        one(id::SERVER_REFERENCE, self.server_reference.as_ref(), out);
        explanation(explained, self.reason_string.as_ref(), &self.user, out);
    }
}

impl Properties for Auth {
    fn write(&self, explained: Explained, out: &mut impl Sink) {
        one(id::AUTHENTICATION_METHOD, self.method.as_ref(), out);
        one(id::AUTHENTICATION_DATA, self.data.as_ref(), out);
        explanation(explained, self.reason_string.as_ref(), &self.user, out);
    }
}

fn explanation(
    explained: Explained,
    reason_string: Option<&Utf8>,
    user: &UserProperties,
    out: &mut impl Sink,
) {
    if explained {
        one(id::REASON_STRING, reason_string, out);
        out.put(user.written());
    }
}

/// Everything behind the remaining length.
fn body(packet: &Packet, version: Version, explained: Explained, out: &mut impl Sink) {
    let v5 = version == Version::V5;
    match packet {
        Packet::Connect(packet) => connect(packet, out),
        Packet::Connack(packet) => {
            let code = if v5 { packet.reason.code() } else { packet.reason.connack_311() };
            out.put(&[u8::from(packet.session_present && !packet.reason.is_failure()), code]);
            if v5 {
                packet.properties.write_all(explained, out);
            }
        }
        Packet::Publish(packet) => {
            packet.topic.write(out);
            if let Some(id) = packet.packet_id {
                id.write(out);
            }
            if v5 {
                packet.properties.write_all(explained, out);
            }
            out.put(&packet.payload);
        }
        Packet::Puback(ack) | Packet::Pubrec(ack) | Packet::Pubrel(ack) | Packet::Pubcomp(ack) => {
            ack.packet_id.write(out);
            if v5 {
                reason_last(ack.reason, &ack.properties, explained, out);
            }
        }
        Packet::Subscribe(packet) => subscribe(packet, version, out),
        Packet::Suback(packet) => {
            packet.packet_id.write(out);
            if v5 {
                packet.properties.write_all(explained, out);
            }
            for reason in &packet.reasons {
                out.put(&[if v5 { reason.code() } else { reason.suback_311() }]);
            }
        }
        Packet::Unsubscribe(packet) => {
            packet.packet_id.write(out);
            if v5 {
                packet.write_all(explained, out);
            }
            for filter in &packet.filters {
                string(filter.bytes(), out);
            }
        }
        Packet::Unsuback(packet) => {
            packet.packet_id.write(out);
            if v5 {
                packet.properties.write_all(explained, out);
                for reason in &packet.reasons {
                    out.put(&[reason.code()]);
                }
            }
        }
        Packet::Pingreq | Packet::Pingresp => {}
        Packet::Disconnect(packet) => {
            if v5 {
                reason_last(packet.reason, &packet.properties, explained, out);
            }
        }
        Packet::Auth(packet) => {
            if packet.reason != Reason::Success || packet.measure(explained) > 0 {
                out.put(&[packet.reason.code()]);
                packet.write_all(explained, out);
            }
        }
    }
}

/// A reason and properties at the end of a packet, each left out if it says nothing.
fn reason_last(
    reason: Reason,
    properties: &impl Properties,
    explained: Explained,
    out: &mut impl Sink,
) {
    let bare = properties.measure(explained) == 0;
    if bare && reason == Reason::Success {
        return;
    }
    out.put(&[reason.code()]);
    if !bare {
        properties.write_all(explained, out);
    }
}

fn connect(packet: &Connect, out: &mut impl Sink) {
    string(b"MQTT", out);
    let bit = |is: bool, bit: u8| u8::from(is) << bit;
    let mut flags = bit(packet.clean_start, 1)
        | bit(packet.password.is_some(), 6)
        | bit(packet.user_name.is_some(), 7);
    if let Some(will) = &packet.will {
        flags |= bit(true, 2) | (will.qos as u8) << 3 | bit(will.retain, 5);
    }
    out.put(&[packet.version.level(), flags]);
    packet.keep_alive.write(out);
    let v5 = packet.version == Version::V5;
    if v5 {
        packet.properties.write_all(true, out);
    }
    packet.client_id.write(out);
    if let Some(will) = &packet.will {
        if v5 {
            will.properties.write_all(true, out);
        }
        will.topic.write(out);
        will.payload.write(out);
    }
    if let Some(user_name) = &packet.user_name {
        user_name.write(out);
    }
    if let Some(password) = &packet.password {
        password.write(out);
    }
}

fn subscribe(packet: &Subscribe, version: Version, out: &mut impl Sink) {
    packet.packet_id.write(out);
    if version == Version::V5 {
        packet.write_all(true, out);
    }
    for Subscription { filter, options } in &packet.subscriptions {
        string(filter.bytes(), out);
        let mut bits = options.qos as u8;
        if version == Version::V5 {
            bits |= u8::from(options.no_local) << 2
                | u8::from(options.retain_as_published) << 3
                | (options.retain_handling as u8) << 4;
        }
        out.put(&[bits]);
    }
}
