//! Bytes into packets and back, and the refusal of everything that a strict server refuses.
//!
//! A [`Codec`] belongs to one connection. It learns the version from the CONNECT that it reads, and
//! what it reads next has to be of that version. It keeps no bytes: a packet that is not complete
//! stays in the caller's buffer, and a length is a claim for which nothing is reserved. Feeding
//! byte by byte gives the same as feeding at once.
//!
//! All of it is our own. The codecs that there are take too much: the strictest of them lets pass
//! wildcards and U+0000 in topic names, will flags without a will and bytes behind a packet,
//! refuses an expiry of 0, and says of nothing where it was wrong, or with which reason to refuse
//! it. With all that to be checked before it, nothing was left for it to do.
//!
//! [`Codec::decode`] does not know the session. That an alias is known, that an identifier is in
//! use, how much may be in flight is judged by whoever has it.

mod decode;
mod encode;
mod header;
mod property;
mod reader;

use super::packet::{Packet, Version};
use super::reason::Reason;
use bytes::BytesMut;
use header::{Header, Kind};
use reader::Reader;
use std::borrow::Cow;
use std::fmt;

/// The greatest number that the variable length of one to four bytes holds.
pub const VARIABLE_MAX: u32 = 268_435_455;
/// Filters in one SUBSCRIBE or UNSUBSCRIBE: a filter takes four bytes to write and twelve times as
/// many to hold.
pub const FILTERS_MAX: usize = 1_000;

/// How large packets may be, in bytes with their header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Of the CONNECT, which comes from who knows whom.
    pub before_connect: u32,
    /// Of each packet after it; what the server announces as its maximum packet size.
    pub packet: u32,
}

impl Default for Limits {
    /// 64 KiB for a CONNECT, which leaves room for any will that makes sense, and 1 MiB after it.
    fn default() -> Self {
        Self { before_connect: 64 * 1024, packet: 1024 * 1024 }
    }
}

/// A packet that must not have been sent. The connection is to be closed, in version 5 with the
/// reason in a CONNACK or DISCONNECT before.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}: {what}")]
pub struct Violation {
    /// What a strict server of version 5 says.
    pub reason: Reason,
    /// What was wrong, where, and what was expected.
    pub what: Cow<'static, str>,
}

impl Violation {
    pub(super) fn new(reason: Reason, what: impl fmt::Display) -> Self {
        Self { reason, what: Cow::Owned(what.to_string()) }
    }
}

/// Why a packet is not sent; nothing of it was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// It is larger than the other side takes.
    #[error("{bytes} bytes, the other side takes {limit}")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The limit.
        limit: u32,
    },
    /// It contradicts itself or its version.
    #[error("{0}")]
    Unfit(&'static str),
}

/// One end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// That which connects.
    Client,
    /// That which is connected to.
    Server,
}

/// Reads and writes the packets of one connection.
#[derive(Clone, Debug)]
pub struct Codec {
    sender: Side,
    version: Option<Version>,
    connected: bool,
    limits: Limits,
    outgoing: u32,
}

impl Codec {
    /// That of a server: the first packet it reads has to be a CONNECT.
    #[must_use]
    pub const fn new(limits: Limits) -> Self {
        let outgoing = u32::MAX;
        Self { sender: Side::Client, version: None, connected: false, limits, outgoing }
    }

    /// That of a client of `version`.
    #[must_use]
    pub const fn for_client(version: Version, limits: Limits) -> Self {
        let outgoing = u32::MAX;
        Self { sender: Side::Server, version: Some(version), connected: true, limits, outgoing }
    }

    /// The version in which to speak, once it is known. After a CONNECT of a version that is not
    /// spoken it is the one nearest to it, in which the refusal can be understood.
    #[must_use]
    pub const fn version(&self) -> Option<Version> {
        self.version
    }

    /// Bytes of the largest packet that the other side takes.
    pub const fn set_outgoing_limit(&mut self, bytes: u32) {
        self.outgoing = bytes;
    }

    /// Takes the next packet off `input`, or nothing before it is complete.
    ///
    /// # Errors
    /// [`Violation`], as soon as the bytes that are there show it. What is in `input` then is of no
    /// use any more.
    pub fn decode(&mut self, input: &mut BytesMut) -> Result<Option<Packet>, Violation> {
        let Some(first) = input.first() else {
            return Ok(None);
        };
        let header = Header::read(*first)?;
        self.expect(header.kind)?;
        let (name, limit) = (header.kind.name(), self.limit());
        let violation = |wrong| {
            let what = format_args!("{name}: remaining length at byte 1: {wrong}").to_string();
            Violation::new(Reason::MalformedPacket, what)
        };
        let Some((length, written)) = header::variable(&input[1..]).map_err(violation)? else {
            return Ok(None);
        };
        let begins = 1 + written;
        let whole = begins + usize::try_from(length).expect("28 bits fit");
        if whole > usize::try_from(limit).unwrap_or(usize::MAX) {
            let what = format!("{name}: {whole} bytes, expected at most {limit}");
            return Err(Violation::new(Reason::PacketTooLarge, what));
        }
        if input.len() < whole {
            return Ok(None);
        }
        let mut reader = Reader::new(header.kind, input.split_to(whole).freeze(), begins);
        let packet = match header.kind {
            Kind::Connect => decode::connect(&mut reader, &mut self.version)?,
            _ => {
                let version = self.version.unwrap_or(Version::V311);
                decode::packet(header, version, self.sender, &mut reader)?
            }
        };
        reader.end()?;
        self.connected = true;
        Ok(Some(packet))
    }

    const fn limit(&self) -> u32 {
        if self.connected { self.limits.packet } else { self.limits.before_connect }
    }

    /// Whether a packet of this kind may come now, from the side that sends.
    fn expect(&self, kind: Kind) -> Result<(), Violation> {
        let name = kind.name();
        let wrong = match kind {
            Kind::Connect if self.connected => "comes once, from the client, before all others",
            Kind::Connect => return Ok(()),
            _ if !self.connected => "before CONNECT",
            Kind::Auth if self.version == Some(Version::V311) => {
                let what = format!("{name}: packet type 15 is reserved in version 3.1.1");
                return Err(Violation::new(Reason::MalformedPacket, what));
            }
            Kind::Disconnect
                if self.sender == Side::Server && self.version != Some(Version::V5) =>
            {
                "no server sends it in version 3.1.1"
            }
            _ if !kind.is_sent_by(self.sender) => "comes only from the other side",
            _ => return Ok(()),
        };
        Err(Violation::new(Reason::ProtocolError, format_args!("{name}: {wrong}")))
    }

    /// Appends `packet` to `output`. In version 3.1.1 its properties are left out. Reason strings
    /// and user properties of answers are left out where only then the other side takes the packet.
    ///
    /// # Errors
    /// [`EncodeError`]; then nothing was appended.
    pub fn encode(&self, packet: &Packet, output: &mut BytesMut) -> Result<(), EncodeError> {
        let version = match packet {
            Packet::Connect(connect) => connect.version,
            _ => self.version.unwrap_or(Version::V311),
        };
        encode::packet(packet, version, self.outgoing, output)
    }
}

#[cfg(test)]
mod tests;
