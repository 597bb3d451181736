//! The fixed header: the kind of a packet, its flags, and lengths of one to four bytes.
//!
//! Flags and kind are judged by the first byte alone, so that what has nothing to do with MQTT is
//! refused with it.

use super::{Side, VARIABLE_MAX, Violation};
use crate::mqtt::packet::{Packet, QoS};
use crate::mqtt::reason::Reason;

macro_rules! kinds {
    ($($kind:ident = $code:literal, $name:literal, $flags:literal;)*) => {
        /// The kind of a packet, with its number.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u8)]
        pub enum Kind {
            $($kind = $code,)*
        }

        impl Kind {
            const fn from_code(code: u8) -> Option<Self> {
                match code {
                    $($code => Some(Self::$kind),)*
                    _ => None,
                }
            }

            /// Its name in the standard.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$kind => $name,)*
                }
            }

            /// The flags that it must have; those of PUBLISH mean something.
            const fn flags(self) -> u8 {
                match self {
                    $(Self::$kind => $flags,)*
                }
            }

            /// The kind of a packet.
            pub const fn of(packet: &Packet) -> Self {
                match packet {
                    $(Packet::$kind { .. } => Self::$kind,)*
                }
            }
        }
    };
}

kinds! {
    Connect = 1, "CONNECT", 0;
    Connack = 2, "CONNACK", 0;
    Publish = 3, "PUBLISH", 0;
    Puback = 4, "PUBACK", 0;
    Pubrec = 5, "PUBREC", 0;
    Pubrel = 6, "PUBREL", 2;
    Pubcomp = 7, "PUBCOMP", 0;
    Subscribe = 8, "SUBSCRIBE", 2;
    Suback = 9, "SUBACK", 0;
    Unsubscribe = 10, "UNSUBSCRIBE", 2;
    Unsuback = 11, "UNSUBACK", 0;
    Pingreq = 12, "PINGREQ", 0;
    Pingresp = 13, "PINGRESP", 0;
    Disconnect = 14, "DISCONNECT", 0;
    Auth = 15, "AUTH", 0;
}

impl Kind {
    /// Whether that side may send it.
    pub const fn is_sent_by(self, side: Side) -> bool {
        let other = match self {
            Self::Connect | Self::Subscribe | Self::Unsubscribe | Self::Pingreq => Side::Server,
            Self::Connack | Self::Suback | Self::Unsuback | Self::Pingresp => Side::Client,
            _ => return true,
        };
        !matches!((other, side), (Side::Server, Side::Server) | (Side::Client, Side::Client))
    }
}

const DUP: u8 = 0b1000;
const RETAIN: u8 = 0b0001;

/// The first byte of a packet, judged.
#[derive(Clone, Copy, Debug)]
pub struct Header {
    /// The kind.
    pub kind: Kind,
    /// Of a publish: whether it may have been sent before.
    pub dup: bool,
    /// Of a publish.
    pub qos: QoS,
    /// Of a publish: whether it is retained.
    pub retain: bool,
}

impl Header {
    /// Judges the first byte.
    pub fn read(first: u8) -> Result<Self, Violation> {
        let malformed = |what: &str| Violation::new(Reason::MalformedPacket, what);
        let flags = first & 0b1111;
        let Some(kind) = Kind::from_code(first >> 4) else {
            return Err(malformed("packet type at byte 0: 0 is reserved, expected 1 to 15"));
        };
        if kind != Kind::Publish {
            if flags != kind.flags() {
                let (name, expected) = (kind.name(), kind.flags());
                return Err(malformed(&format!(
                    "{name}: flags at byte 0: {flags:04b}, expected {expected:04b}"
                )));
            }
            return Ok(Self { kind, dup: false, qos: QoS::AtMostOnce, retain: false });
        }
        let qos = QoS::from_bits(flags >> 1 & 0b11)
            .ok_or_else(|| malformed("PUBLISH: QoS at byte 0: 3, expected 0, 1 or 2"))?;
        let dup = flags & DUP != 0;
        if dup && qos == QoS::AtMostOnce {
            return Err(malformed("PUBLISH: DUP at byte 0: set, expected unset with QoS 0"));
        }
        Ok(Self { kind, dup, qos, retain: flags & RETAIN != 0 })
    }

    /// The first byte of `packet`.
    pub const fn write(packet: &Packet) -> u8 {
        let kind = Kind::of(packet);
        let flags = match packet {
            Packet::Publish(publish) => {
                let dup = if publish.dup { DUP } else { 0 };
                let retain = if publish.retain { RETAIN } else { 0 };
                dup | (publish.qos as u8) << 1 | retain
            }
            _ => kind.flags(),
        };
        (kind as u8) << 4 | flags
    }
}

/// A number of one to four bytes at the front of `bytes`, with how many it takes; nothing when more
/// have to come.
pub fn variable(bytes: &[u8]) -> Result<Option<(u32, usize)>, &'static str> {
    let mut value = 0;
    for (index, byte) in bytes.iter().take(4).enumerate() {
        value |= u32::from(byte & 0x7F) << (7 * index);
        if byte & 0x80 == 0 {
            let padded = index > 0 && *byte == 0;
            let minimal = "padded with zeros, expected as few bytes as it takes";
            return if padded { Err(minimal) } else { Ok(Some((value, index + 1))) };
        }
    }
    if bytes.len() < 4 { Ok(None) } else { Err("a fifth byte, expected at most four") }
}

/// The same number as bytes, of which so many count.
pub const fn variable_bytes(value: u32) -> ([u8; 4], usize) {
    debug_assert!(value <= VARIABLE_MAX);
    let mut bytes = [0; 4];
    let mut rest = value;
    let mut len = 0;
    loop {
        bytes[len] = (rest & 0x7F) as u8;
        rest >>= 7;
        if rest == 0 || len == 3 {
            return (bytes, len + 1);
        }
        bytes[len] |= 0x80;
        len += 1;
    }
}
