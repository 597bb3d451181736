//! The bodies of packets, field by field in the order of the standard.

use super::header::{Header, Kind};
use super::property::{Ids, Properties, id};
use super::reader::Reader;
use super::{Side, Violation};
use crate::mqtt::packet::*;
use crate::mqtt::reason::Reason;
use std::num::NonZeroU32;

const CONNECT: Ids = Ids::of(&[
    id::SESSION_EXPIRY,
    id::RECEIVE_MAXIMUM,
    id::MAXIMUM_PACKET,
    id::ALIAS_MAXIMUM,
    id::REQUEST_RESPONSE,
    id::REQUEST_PROBLEM,
    id::AUTHENTICATION_METHOD,
    id::AUTHENTICATION_DATA,
    id::USER,
]);
const WILL: Ids = Ids::of(&[
    id::WILL_DELAY,
    id::PAYLOAD_FORMAT,
    id::MESSAGE_EXPIRY,
    id::CONTENT_TYPE,
    id::RESPONSE_TOPIC,
    id::CORRELATION,
    id::USER,
]);
const CONNACK: Ids = Ids::of(&[
    id::SESSION_EXPIRY,
    id::RECEIVE_MAXIMUM,
    id::MAXIMUM_QOS,
    id::RETAIN_AVAILABLE,
    id::MAXIMUM_PACKET,
    id::ASSIGNED_CLIENT_ID,
    id::ALIAS_MAXIMUM,
    id::REASON_STRING,
    id::WILDCARDS_AVAILABLE,
    id::SUBSCRIPTION_IDS_AVAILABLE,
    id::SHARED_AVAILABLE,
    id::SERVER_KEEP_ALIVE,
    id::RESPONSE_INFORMATION,
    id::SERVER_REFERENCE,
    id::AUTHENTICATION_METHOD,
    id::AUTHENTICATION_DATA,
    id::USER,
]);
const PUBLISH: Ids = Ids::of(&[
    id::PAYLOAD_FORMAT,
    id::MESSAGE_EXPIRY,
    id::ALIAS,
    id::RESPONSE_TOPIC,
    id::CORRELATION,
    id::SUBSCRIPTION_ID,
    id::CONTENT_TYPE,
    id::USER,
]);
const ACK: Ids = Ids::of(&[id::REASON_STRING, id::USER]);
const SUBSCRIBE: Ids = Ids::of(&[id::SUBSCRIPTION_ID, id::USER]);
const UNSUBSCRIBE: Ids = Ids::of(&[id::USER]);
const DISCONNECT: Ids =
    Ids::of(&[id::SESSION_EXPIRY, id::SERVER_REFERENCE, id::REASON_STRING, id::USER]);
const AUTH: Ids =
    Ids::of(&[id::AUTHENTICATION_METHOD, id::AUTHENTICATION_DATA, id::REASON_STRING, id::USER]);

/// What `kind` may say, when `sender` says it.
fn reasons(kind: Kind, sender: Side) -> &'static [u8] {
    match (kind, sender) {
        (Kind::Connack, _) => &[
            0x00, 0x80, 0x81, 0x82, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8A, 0x8C, 0x90,
            0x95, 0x97, 0x99, 0x9A, 0x9B, 0x9C, 0x9D, 0x9F,
        ],
        (Kind::Puback | Kind::Pubrec, _) => &[0x00, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99],
        (Kind::Pubrel | Kind::Pubcomp, _) => &[0x00, 0x92],
        (Kind::Suback, _) => {
            &[0x00, 0x01, 0x02, 0x80, 0x83, 0x87, 0x8F, 0x91, 0x97, 0x9E, 0xA1, 0xA2]
        }
        (Kind::Unsuback, _) => &[0x00, 0x11, 0x80, 0x83, 0x87, 0x8F, 0x91],
        (Kind::Disconnect, Side::Client) => {
            &[0x00, 0x04, 0x80, 0x81, 0x82, 0x83, 0x90, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99]
        }
        (Kind::Disconnect, Side::Server) => &[
            0x00, 0x80, 0x81, 0x82, 0x83, 0x87, 0x89, 0x8B, 0x8C, 0x8D, 0x8E, 0x8F, 0x90, 0x93,
            0x94, 0x95, 0x96, 0x97, 0x98, 0x99, 0x9A, 0x9B, 0x9C, 0x9D, 0x9E, 0x9F, 0xA0, 0xA1,
            0xA2,
        ],
        (Kind::Auth, Side::Client) => &[0x18, 0x19],
        (Kind::Auth, Side::Server) => &[0x00, 0x18],
        _ => &[],
    }
}

fn reason(reader: &mut Reader, kind: Kind, sender: Side) -> Result<Reason, Violation> {
    let at = reader.at();
    let code = reader.u8("reason code")?;
    let known = reasons(kind, sender).contains(&code);
    Reason::from_code(code).filter(|_| known).ok_or_else(|| {
        let wrong = format_args!("0x{code:02X}, expected one that this packet may have");
        reader.violation(Reason::ProtocolError, "reason code", at, wrong)
    })
}

/// Properties where the version has them.
fn properties(reader: &mut Reader, version: Version, ids: Ids) -> Result<Properties, Violation> {
    match version {
        Version::V311 => Ok(Properties::default()),
        Version::V5 => Properties::read(reader, ids),
    }
}

/// Any packet but CONNECT.
pub fn packet(
    header: Header,
    version: Version,
    sender: Side,
    reader: &mut Reader,
) -> Result<Packet, Violation> {
    let kind = header.kind;
    Ok(match kind {
        Kind::Connect => unreachable!("it has no version before it is read"),
        Kind::Connack => Packet::Connack(Box::new(connack(reader, version)?)),
        Kind::Publish => Packet::Publish(publish(reader, header, version, sender)?),
        Kind::Puback => Packet::Puback(ack(reader, kind, version)?),
        Kind::Pubrec => Packet::Pubrec(ack(reader, kind, version)?),
        Kind::Pubrel => Packet::Pubrel(ack(reader, kind, version)?),
        Kind::Pubcomp => Packet::Pubcomp(ack(reader, kind, version)?),
        Kind::Subscribe => Packet::Subscribe(subscribe(reader, version)?),
        Kind::Suback => Packet::Suback(suback(reader, kind, version)?),
        Kind::Unsubscribe => Packet::Unsubscribe(unsubscribe(reader, version)?),
        Kind::Unsuback => Packet::Unsuback(suback(reader, kind, version)?),
        Kind::Pingreq => Packet::Pingreq,
        Kind::Pingresp => Packet::Pingresp,
        Kind::Disconnect => Packet::Disconnect(disconnect(reader, version, sender)?),
        Kind::Auth => Packet::Auth(auth(reader, sender)?),
    })
}

/// Reads name and level of the protocol. `known` becomes the version in which to answer.
fn protocol(reader: &mut Reader, known: &mut Option<Version>) -> Result<Version, Violation> {
    let unsupported = Reason::UnsupportedVersion;
    let at = reader.at();
    let name = reader.utf8("protocol name")?;
    let level_at = reader.at();
    let is_old = name.as_str() == "MQIsdp";
    if name.as_str() != "MQTT" && !is_old {
        let wrong = "neither expected nor known, expected `MQTT`";
        return Err(reader.violation(unsupported, "protocol name", at, wrong));
    }
    let level = reader.u8("protocol level")?;
    // A bridge sets the highest bit and tries again without it when told so in its own version.
    let answer = if level & 0x7F < Version::V5.level() { Version::V311 } else { Version::V5 };
    *known = Some(answer);
    if level == answer.level() && !is_old {
        return Ok(answer);
    }
    let wrong = format_args!("{level} of `{name}`, expected 4 or 5 of `MQTT`");
    Err(reader.violation(unsupported, "protocol level", level_at, wrong))
}

/// The flags of a CONNECT, judged.
struct Flags {
    clean_start: bool,
    will: Option<(QoS, bool)>,
    user_name: bool,
    password: bool,
}

impl Flags {
    fn read(reader: &mut Reader, version: Version) -> Result<Self, Violation> {
        const FIELD: &str = "connect flags";
        let at = reader.at();
        let bits = reader.u8(FIELD)?;
        let has = |bit: u8| bits >> bit & 1 == 1;
        let malformed = |wrong| reader.violation(Reason::MalformedPacket, FIELD, at, wrong);
        if has(0) {
            return Err(malformed("the reserved bit is set, expected 0"));
        }
        let qos = QoS::from_bits(bits >> 3 & 0b11);
        let qos = qos.ok_or_else(|| malformed("QoS 3 of the will, expected 0, 1 or 2"))?;
        let retain = has(5);
        if !has(2) && (retain || qos != QoS::AtMostOnce) {
            return Err(malformed("QoS or retain of a will, expected none without a will"));
        }
        let (user_name, password) = (has(7), has(6));
        if password && !user_name && version == Version::V311 {
            return Err(malformed("a password, expected a user name with it in version 3.1.1"));
        }
        let will = has(2).then_some((qos, retain));
        Ok(Self { clean_start: has(1), will, user_name, password })
    }
}

/// CONNECT; `known` becomes the version in which to speak.
pub fn connect(reader: &mut Reader, known: &mut Option<Version>) -> Result<Packet, Violation> {
    let version = protocol(reader, known)?;
    let flags = Flags::read(reader, version)?;
    let keep_alive = reader.u16("keep alive")?;
    let all = properties(reader, version, CONNECT)?;
    all.check_authentication(reader)?;
    let at = reader.at();
    let client_id = reader.utf8("client identifier")?;
    if client_id.is_empty() && !flags.clean_start && version == Version::V311 {
        let wrong = "empty, expected one with a session that is not clean";
        let reason = Reason::ClientIdInvalid;
        return Err(reader.violation(reason, "client identifier", at, wrong));
    }
    let will = flags.will.map(|(qos, retain)| will(reader, version, qos, retain)).transpose()?;
    let user_name = flags.user_name.then(|| reader.utf8("user name")).transpose()?;
    let password = flags.password.then(|| reader.binary("password")).transpose()?;
    Ok(Packet::Connect(Box::new(Connect {
        version,
        clean_start: flags.clean_start,
        keep_alive,
        client_id,
        will,
        user_name,
        password,
        properties: ConnectProperties {
            session_expiry_s: all.session_expiry,
            receive_maximum: all.receive_maximum,
            maximum_packet: all.maximum_packet,
            alias_maximum: all.alias_maximum,
            request_response: all.request_response,
            request_problem: all.request_problem,
            authentication_method: all.authentication_method,
            authentication_data: all.authentication_data,
            user: all.user,
        },
    })))
}

fn will(reader: &mut Reader, version: Version, qos: QoS, retain: bool) -> Result<Will, Violation> {
    let all = properties(reader, version, WILL)?;
    Ok(Will {
        qos,
        retain,
        topic: reader.topic("will topic")?,
        payload: reader.binary("will payload")?,
        properties: WillProperties {
            delay_s: all.will_delay,
            payload_is_text: all.payload_is_text,
            expiry_s: all.message_expiry,
            content_type: all.content_type,
            response_topic: all.response_topic,
            correlation: all.correlation,
            user: all.user,
        },
    })
}

fn connack(reader: &mut Reader, version: Version) -> Result<Connack, Violation> {
    let at = reader.at();
    let flags = reader.u8("acknowledge flags")?;
    if flags > 1 {
        let wrong = format_args!("{flags:08b}, expected no reserved bit");
        return Err(reader.violation(Reason::MalformedPacket, "acknowledge flags", at, wrong));
    }
    let reason = match version {
        Version::V5 => reason(reader, Kind::Connack, Side::Server)?,
        Version::V311 => {
            let code = reader.u8("return code")?;
            Reason::from_connack_311(code).ok_or_else(|| {
                let wrong = format_args!("{code}, expected 0 to 5");
                reader.violation(Reason::ProtocolError, "return code", at + 1, wrong)
            })?
        }
    };
    let session_present = flags == 1;
    if session_present && reason.is_failure() {
        let wrong = "session present, expected none with a refusal";
        return Err(reader.violation(Reason::ProtocolError, "acknowledge flags", at, wrong));
    }
    let all = properties(reader, version, CONNACK)?;
    all.check_authentication(reader)?;
    let properties = ConnackProperties {
        session_expiry_s: all.session_expiry,
        receive_maximum: all.receive_maximum,
        maximum_qos: all.maximum_qos,
        retain_available: all.retain_available,
        maximum_packet: all.maximum_packet,
        assigned_client_id: all.assigned_client_id,
        alias_maximum: all.alias_maximum,
        reason_string: all.reason_string,
        wildcards_available: all.wildcards_available,
        subscription_ids_available: all.subscription_ids_available,
        shared_available: all.shared_available,
        server_keep_alive: all.server_keep_alive,
        response_information: all.response_information,
        server_reference: all.server_reference,
        authentication_method: all.authentication_method,
        authentication_data: all.authentication_data,
        user: all.user,
    };
    Ok(Connack { session_present, reason, properties })
}

fn publish(
    reader: &mut Reader,
    header: Header,
    version: Version,
    sender: Side,
) -> Result<Publish, Violation> {
    let Header { dup, qos, retain, .. } = header;
    let at = reader.at();
    let topic = reader.topic_or_none(version)?;
    let packet_id = (qos != QoS::AtMostOnce).then(|| reader.packet_id()).transpose()?;
    let properties_at = reader.at();
    let all = properties(reader, version, PUBLISH)?;
    if topic.is_empty() && all.alias.is_none() {
        let wrong = "empty, expected a topic or its alias";
        return Err(reader.violation(Reason::ProtocolError, "topic name", at, wrong));
    }
    if sender == Side::Client && !all.subscription_ids.is_empty() {
        let wrong = "a subscription identifier, expected none from a client";
        let reason = Reason::ProtocolError;
        return Err(reader.violation(reason, "properties", properties_at, wrong));
    }
    let properties = PublishProperties {
        payload_is_text: all.payload_is_text,
        expiry_s: all.message_expiry,
        alias: all.alias,
        response_topic: all.response_topic,
        correlation: all.correlation,
        subscription_ids: all.subscription_ids,
        content_type: all.content_type,
        user: all.user,
    };
    Ok(Publish { dup, qos, retain, topic, packet_id, payload: reader.rest(), properties })
}

fn answer(reader: &mut Reader) -> Result<AckProperties, Violation> {
    let all = Properties::read(reader, ACK)?;
    Ok(AckProperties { reason_string: all.reason_string, user: all.user })
}

fn ack(reader: &mut Reader, kind: Kind, version: Version) -> Result<Ack, Violation> {
    let mut ack = Ack::new(reader.packet_id()?, Reason::Success);
    if version == Version::V5 && reader.left() > 0 {
        ack.reason = reason(reader, kind, Side::Server)?;
        if reader.left() > 0 {
            ack.properties = answer(reader)?;
        }
    }
    Ok(ack)
}

fn subscribe(reader: &mut Reader, version: Version) -> Result<Subscribe, Violation> {
    let packet_id = reader.packet_id()?;
    let all = properties(reader, version, SUBSCRIBE)?;
    let subscriptions = reader.filters(version, 1, |reader, filter| {
        let options = options(reader, version, &filter)?;
        Ok(Subscription { filter, options })
    })?;
    let subscription_id: Option<NonZeroU32> = all.subscription_ids.first().copied();
    Ok(Subscribe { packet_id, subscriptions, subscription_id, user: all.user })
}

fn options(
    reader: &mut Reader,
    version: Version,
    filter: &Filter,
) -> Result<SubscriptionOptions, Violation> {
    const FIELD: &str = "subscription options";
    let at = reader.at();
    let bits = reader.u8(FIELD)?;
    let wrong = |reason, text| reader.violation(reason, FIELD, at, text);
    let (reserved, of_qos) = match version {
        Version::V311 => (0b1111_1100, Reason::MalformedPacket),
        Version::V5 => (0b1100_0000, Reason::ProtocolError),
    };
    if bits & reserved != 0 {
        return Err(wrong(Reason::MalformedPacket, "a reserved bit is set, expected 0"));
    }
    let qos = QoS::from_bits(bits & 0b11);
    let qos = qos.ok_or_else(|| wrong(of_qos, "QoS 3, expected 0, 1 or 2"))?;
    let retain_handling = match bits >> 4 {
        0 => RetainHandling::Send,
        1 => RetainHandling::SendIfNew,
        2 => RetainHandling::DoNotSend,
        _ => return Err(wrong(Reason::ProtocolError, "retain handling 3, expected 0, 1 or 2")),
    };
    let no_local = bits & 0b100 != 0;
    if no_local && filter.share().is_some() {
        let text = "no local, expected unset with a shared subscription";
        return Err(wrong(Reason::ProtocolError, text));
    }
    Ok(SubscriptionOptions {
        qos,
        no_local,
        retain_as_published: bits & 0b1000 != 0,
        retain_handling,
    })
}

fn suback(reader: &mut Reader, kind: Kind, version: Version) -> Result<Suback, Violation> {
    let packet_id = reader.packet_id()?;
    let mut answered =
        Suback { packet_id, reasons: Vec::new(), properties: AckProperties::default() };
    if version == Version::V311 {
        if kind == Kind::Unsuback {
            return Ok(answered);
        }
    } else {
        answered.properties = answer(reader)?;
    }
    if reader.left() == 0 {
        let wrong = "none, expected one for each filter";
        return Err(reader.violation(Reason::ProtocolError, "reason codes", reader.at(), wrong));
    }
    answered.reasons.reserve_exact(reader.left());
    while reader.left() > 0 {
        let at = reader.at();
        let read = reason(reader, kind, Side::Server)?;
        if version == Version::V311 && read.is_failure() && read != Reason::Unspecified {
            let wrong = format_args!("0x{:02X}, expected 0, 1, 2 or 0x80", read.code());
            return Err(reader.violation(Reason::ProtocolError, "return code", at, wrong));
        }
        answered.reasons.push(read);
    }
    Ok(answered)
}

fn unsubscribe(reader: &mut Reader, version: Version) -> Result<Unsubscribe, Violation> {
    let packet_id = reader.packet_id()?;
    let all = properties(reader, version, UNSUBSCRIBE)?;
    let filters = reader.filters(version, 0, |_, filter| Ok(filter))?;
    Ok(Unsubscribe { packet_id, filters, user: all.user })
}

fn disconnect(
    reader: &mut Reader,
    version: Version,
    sender: Side,
) -> Result<Disconnect, Violation> {
    let mut leaving = Disconnect::new(Reason::Success);
    if version == Version::V311 || reader.left() == 0 {
        return Ok(leaving);
    }
    leaving.reason = reason(reader, Kind::Disconnect, sender)?;
    if reader.left() == 0 {
        return Ok(leaving);
    }
    let at = reader.at();
    let all = Properties::read(reader, DISCONNECT)?;
    if sender == Side::Server && all.session_expiry.is_some() {
        let wrong = "a session expiry interval, expected none from a server";
        return Err(reader.violation(Reason::ProtocolError, "properties", at, wrong));
    }
    leaving.properties = DisconnectProperties {
        session_expiry_s: all.session_expiry,
        server_reference: all.server_reference,
        reason_string: all.reason_string,
        user: all.user,
    };
    Ok(leaving)
}

fn auth(reader: &mut Reader, sender: Side) -> Result<Auth, Violation> {
    let at = reader.at();
    if reader.left() == 0 && sender == Side::Server {
        let user = UserProperties::default();
        let reason = Reason::Success;
        return Ok(Auth { reason, method: None, data: None, reason_string: None, user });
    }
    let reason = reason(reader, Kind::Auth, sender)?;
    let all = Properties::read(reader, AUTH)?;
    if all.authentication_method.is_none() {
        let wrong = "no authentication method, expected one";
        return Err(reader.violation(Reason::ProtocolError, "properties", at + 1, wrong));
    }
    Ok(Auth {
        reason,
        method: all.authentication_method,
        data: all.authentication_data,
        reason_string: all.reason_string,
        user: all.user,
    })
}
