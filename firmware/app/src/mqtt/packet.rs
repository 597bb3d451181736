//! The packets of MQTT 5 (OASIS, 2019) that a server sends to a client: where one ends, and what it
//! says. The numbers in brackets are the standard's sections.

use core::ops::Range;
use holdfast_core::Reject;
use holdfast_core::codec::Reader;

/// First bytes of packets, of the type and its flags [2.1].
pub const CONNECT: u8 = 0x10;
pub const CONNACK: u8 = 0x20;
/// With QoS 1, neither repeated nor retained.
pub const PUBLISH: u8 = 0x32;
pub const PUBACK: u8 = 0x40;
pub const SUBSCRIBE: u8 = 0x82;
pub const SUBACK: u8 = 0x90;
pub const PINGREQ: u8 = 0xc0;
pub const PINGRESP: u8 = 0xd0;
pub const DISCONNECT: u8 = 0xe0;

/// Identifiers of properties [2.2.2.2].
pub const SERVER_KEEP_ALIVE: u8 = 0x13;
pub const RECEIVE_MAXIMUM: u8 = 0x21;
pub const MAXIMUM_QOS: u8 = 0x24;
pub const USER_PROPERTY: u8 = 0x26;
pub const MAXIMUM_PACKET_SIZE: u8 = 0x27;

/// From this reason code on it says that something failed [2.4].
pub const FAILED: u8 = 0x80;
/// The reason code for a payload that is not what its format says.
pub const PAYLOAD_FORMAT_INVALID: u8 = 0x99;

/// What a server wants of a client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Terms {
    /// Seconds of silence, where they are not to be those that the client said.
    pub keep_alive_s: Option<u16>,
    /// Bytes of the longest packet that it takes, where that is not any.
    pub packet_max: Option<u32>,
}

/// A packet from a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packet<'p> {
    Connack {
        reason: u8,
        terms: Terms,
    },
    /// With QoS 1 if it has an identifier.
    Publish {
        id: Option<u16>,
        payload: &'p [u8],
    },
    Puback {
        id: u16,
        reason: u8,
    },
    Suback {
        id: u16,
        reason: u8,
    },
    Pingresp,
    Disconnect {
        reason: u8,
    },
}

/// Where the body of the packet lies that begins with `front`. As long as its length is not all
/// there, where it would lie if it were empty and one byte more were the last of its length: that
/// is always behind `front`.
///
/// # Errors
/// [`Reject::Malformed`] when the length has more than four bytes.
pub fn body(front: &[u8]) -> Result<Range<usize>, Reject> {
    let mut len = 0;
    for at in 1..5 {
        let Some(byte) = front.get(at) else { return Ok(at + 1..at + 1) };
        len |= usize::from(byte & 0x7f) << (7 * (at - 1));
        if byte & 0x80 == 0 {
            return Ok(at + 1..at + 1 + len);
        }
    }
    Err(Reject::Malformed)
}

impl<'p> Packet<'p> {
    /// Reads a packet by its first byte and its body.
    ///
    /// # Errors
    /// [`Reject::Truncated`] and [`Reject::Malformed`] for one that a server must not send to a
    /// client that takes QoS 0 and 1, and no topic aliases.
    pub fn read(first: u8, body: &'p [u8]) -> Result<Self, Reject> {
        let mut reader = Reader::new(body);
        let packet = match first {
            CONNACK => connack(&mut reader)?,
            0x30..=0x3f => return publish(first, reader),
            PUBACK => {
                let id = u16(&mut reader)?;
                Self::Puback { id, reason: reason(&mut reader)? }
            }
            SUBACK => {
                let id = u16(&mut reader)?;
                properties(&mut reader)?;
                // One filter was asked for, so one reason comes.
                Self::Suback { id, reason: reader.u8()? }
            }
            PINGRESP => Self::Pingresp,
            DISCONNECT => Self::Disconnect { reason: reason(&mut reader)? },
            _ => return Err(Reject::Malformed),
        };
        if reader.rest().is_empty() { Ok(packet) } else { Err(Reject::Malformed) }
    }
}

fn u16(reader: &mut Reader<'_>) -> Result<u16, Reject> {
    reader.array().map(u16::from_be_bytes)
}

/// Text or bytes with their length [1.5.4, 1.5.6].
fn string<'p>(reader: &mut Reader<'p>) -> Result<&'p [u8], Reject> {
    let len = u16(reader)?;
    reader.take(len.into())
}

/// The properties of a packet, as they lie there [2.2.2].
fn properties<'p>(reader: &mut Reader<'p>) -> Result<Reader<'p>, Reject> {
    reader.bytes(usize::MAX).map(Reader::new)
}

/// A reason at the end of a packet, which may leave out the properties behind it, or both
/// [3.4.2.1, 3.14.2.1].
fn reason(reader: &mut Reader<'_>) -> Result<u8, Reject> {
    if reader.rest().is_empty() {
        return Ok(0);
    }
    let reason = reader.u8()?;
    if !reader.rest().is_empty() {
        properties(reader)?;
    }
    Ok(reason)
}

fn connack<'p>(reader: &mut Reader<'p>) -> Result<Packet<'p>, Reject> {
    let [flags, reason] = reader.array()?;
    let properties = properties(reader)?;
    if reason >= FAILED {
        return Ok(Packet::Connack { reason, terms: Terms::default() });
    }
    // A session that was asked to be new cannot have been there before [3.2.2.1.1].
    if [flags, reason] != [0, 0] {
        return Err(Reject::Malformed);
    }
    Ok(Packet::Connack { reason, terms: terms(properties)? })
}

/// What the properties of a CONNACK say that matters here [3.2.2.3].
fn terms(mut properties: Reader<'_>) -> Result<Terms, Reject> {
    let mut terms = Terms::default();
    while !properties.rest().is_empty() {
        match properties.u8()? {
            SERVER_KEEP_ALIVE => terms.keep_alive_s = Some(u16(&mut properties)?),
            MAXIMUM_PACKET_SIZE => {
                terms.packet_max = Some(u32::from_be_bytes(properties.array()?));
            }
            // One that takes QoS 0 only is none to hand samples to.
            MAXIMUM_QOS if properties.u8()? == 1 => {}
            // What it retains, wildcards, identifiers of subscriptions, shared ones: one byte.
            0x25 | 0x28..=0x2a => _ = properties.u8()?,
            // What it receives at once, the greatest topic alias.
            RECEIVE_MAXIMUM | 0x22 => _ = u16(&mut properties)?,
            // When its session expires.
            0x11 => _ = properties.take(4)?,
            // An identifier, how to authenticate and with what, where to answer, another server, a
            // reason in words.
            0x12 | 0x15 | 0x16 | 0x1a | 0x1c | 0x1f => _ = string(&mut properties)?,
            USER_PROPERTY => {
                string(&mut properties)?;
                string(&mut properties)?;
            }
            _ => return Err(Reject::Malformed),
        }
    }
    Ok(terms)
}

fn publish(first: u8, mut reader: Reader<'_>) -> Result<Packet<'_>, Reject> {
    string(&mut reader)?;
    // All of the flags but that it was retained: that it may have come before, and its QoS [3.3.1].
    let id = match first & 0x0e {
        0x00 => None,
        0x02 | 0x0a => match u16(&mut reader)? {
            0 => return Err(Reject::Malformed),
            id => Some(id),
        },
        _ => return Err(Reject::Malformed),
    };
    properties(&mut reader)?;
    Ok(Packet::Publish { id, payload: reader.rest() })
}
