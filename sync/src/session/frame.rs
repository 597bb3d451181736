//! Frames: what travels in a session's stream.
//!
//! `[kind u8][length uint][payload]`, at most 16 KiB of payload. Unknown kinds are skipped, and
//! bytes behind the known fields of a payload are ignored, so both can grow.

use crate::docs::Cursor;
use crate::store::{ChainInfo, Frontier};
use holdfast_core::codec::{Reader, Sink};
use holdfast_core::log::Link;
use holdfast_core::{Incarnation, Reject, Stream};

/// The greatest payload of a frame.
pub const FRAME_MAX_BYTES: usize = 16 << 10;
const MEMBERSHIP_MAX: usize = 1024;
const VERSION_MAX: usize = 64;
const REASON_MAX: usize = 512;

/// Why a peer was refused; the number is part of the format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum RefusalCode {
    /// The peer is not known here.
    Unknown = 1,
    /// The peer was removed from the fleet.
    Removed = 2,
    /// The peer belongs to another fleet.
    ForeignFleet = 3,
    /// The membership is not the peer's, or not whole.
    Membership = 4,
    /// No protocol version is spoken by both.
    Version = 5,
    /// What was sent does not follow the protocol.
    Protocol = 6,
    /// A chain differs from what is held of it.
    Fork = 7,
    /// There is no room at the moment.
    NoRoom = 8,
    /// The node is stopping or cannot serve now.
    Unavailable = 9,
}

impl RefusalCode {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Unknown,
        Self::Removed,
        Self::ForeignFleet,
        Self::Membership,
        Self::Version,
        Self::Protocol,
        Self::Fork,
        Self::NoRoom,
        Self::Unavailable,
    ];

    /// The word used in logs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unknown => "unknown-node",
            Self::Removed => "removed",
            Self::ForeignFleet => "foreign-fleet",
            Self::Membership => "membership",
            Self::Version => "version",
            Self::Protocol => "protocol",
            Self::Fork => "fork",
            Self::NoRoom => "no-room",
            Self::Unavailable => "unavailable",
        }
    }

    fn from_u8(number: u8) -> Self {
        // A code of a later version still means: refused.
        Self::ALL.into_iter().find(|code| *code as u8 == number).unwrap_or(Self::Protocol)
    }
}

/// The first frame of each side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// The least and the greatest protocol version spoken.
    pub protocol: (u32, u32),
    /// The program's version, for people.
    pub version: String,
    /// The sender's wall clock, Unix milliseconds.
    pub wall_ms: i64,
    /// The sender's present start.
    pub incarnation: Incarnation,
    /// The sender's membership.
    pub membership: Vec<u8>,
    /// From the initiator: what is held of chains of starts below this boot count is the same on
    /// both sides, if the digest agrees. From the acceptor: the same number if it does, else 0.
    pub closed_below: u64,
    /// BLAKE3 over those chains.
    pub closed_digest: [u8; 16],
    /// Up to where the peer's sequence of document changes is held here.
    pub held: HeldDocuments,
}

/// What a side says of the documents that it holds of the other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HeldDocuments {
    /// It does not exchange documents.
    #[default]
    None,
    /// It does not know how far it has them: that has to be compared.
    Unknown,
    /// It has all that changed up to here.
    Upto(Cursor),
}

/// One chain in a list of what is held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// The chain's start.
    pub incarnation: Incarnation,
    /// The chain's stream.
    pub stream: Stream,
    /// What is held or explained.
    pub frontier: Frontier,
    /// The link after the greatest sequence.
    pub head: Link,
}

/// What travels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// Who I am.
    Hello(Hello),
    /// What I hold; `last` ends the list.
    Chains {
        /// Whether no more follow.
        last: bool,
        /// Some of the chains.
        held: Vec<Held>,
    },
    /// A piece of the compressed stream of history records.
    Data(Vec<u8>),
    /// What is on disk here.
    Ack {
        /// Bytes of `Data` payload consumed and committed since the start.
        consumed: u64,
        /// Bytes of records that may be sent since the start.
        granted: u64,
        /// By the sender's chain index, what is held of each chain that changed.
        chains: Vec<(u32, Frontier)>,
    },
    /// How much is waiting to be sent.
    Behind {
        /// Entries.
        entries: u64,
    },
    /// Are you there?
    Ping(u64),
    /// I am.
    Pong(u64),
    /// A fresh membership for you.
    Renewed(Vec<u8>),
    /// I end this.
    Refuse(RefusalCode, String),
}

const HELLO: u8 = 1;
const CHAINS: u8 = 2;
const DATA: u8 = 3;
const ACK: u8 = 4;
const BEHIND: u8 = 5;
const PING: u8 = 6;
const PONG: u8 = 7;
const RENEWED: u8 = 8;
const REFUSE: u8 = 9;

impl Frame {
    /// The frame as bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut payload = Vec::new();
        let kind = self.put(&mut payload).expect("a growing buffer is never full");
        debug_assert!(payload.len() <= FRAME_MAX_BYTES, "frames are cut before they are encoded");
        let mut out = Vec::with_capacity(payload.len() + 4);
        out.push(kind);
        out.put_bytes(&payload).expect("a growing buffer is never full");
        out
    }

    fn put(&self, out: &mut Vec<u8>) -> Result<u8, Reject> {
        match self {
            Self::Hello(hello) => {
                out.put_uint(u64::from(hello.protocol.0))?;
                out.put_uint(u64::from(hello.protocol.1))?;
                out.put_bytes(hello.version.as_bytes())?;
                out.put_int(hello.wall_ms)?;
                out.put_uint(hello.incarnation.boot)?;
                out.put(&hello.incarnation.nonce.to_le_bytes())?;
                out.put_bytes(&hello.membership)?;
                out.put_uint(hello.closed_below)?;
                out.put(&hello.closed_digest)?;
                match hello.held {
                    HeldDocuments::None => {}
                    HeldDocuments::Unknown => out.put_u8(0)?,
                    HeldDocuments::Upto(cursor) => {
                        out.put_u8(1)?;
                        cursor.put(out)?;
                    }
                }
                Ok(HELLO)
            }
            Self::Chains { last, held } => {
                out.put_u8(u8::from(*last))?;
                out.put_uint(held.len() as u64)?;
                held.iter().try_for_each(|held| put_held(out, held))?;
                Ok(CHAINS)
            }
            Self::Data(bytes) => out.put(bytes).map(|()| DATA),
            Self::Ack { consumed, granted, chains } => {
                out.put_uint(*consumed)?;
                out.put_uint(*granted)?;
                out.put_uint(chains.len() as u64)?;
                for (index, frontier) in chains {
                    out.put_uint(u64::from(*index))?;
                    frontier.encode(out)?;
                }
                Ok(ACK)
            }
            Self::Behind { entries } => out.put_uint(*entries).map(|()| BEHIND),
            Self::Ping(nonce) => out.put_uint(*nonce).map(|()| PING),
            Self::Pong(nonce) => out.put_uint(*nonce).map(|()| PONG),
            Self::Renewed(membership) => out.put(membership).map(|()| RENEWED),
            Self::Refuse(code, reason) => {
                out.put_u8(*code as u8)?;
                let end = reason.floor_char_boundary(REASON_MAX);
                out.put_bytes(&reason.as_bytes()[..end])?;
                Ok(REFUSE)
            }
        }
    }

    /// Reads a payload; `None` for a kind of a later version.
    fn decode(kind: u8, payload: &[u8]) -> Result<Option<Self>, Reject> {
        let mut reader = Reader::new(payload);
        let frame = match kind {
            HELLO => Self::Hello(read_hello(&mut reader)?),
            CHAINS => {
                let last = reader.u8()? == 1;
                let count = reader.uint()?;
                let held = (0..count).map(|_| read_held(&mut reader)).collect::<Result<_, _>>()?;
                Self::Chains { last, held }
            }
            DATA => Self::Data(payload.to_vec()),
            ACK => {
                let (consumed, granted, count) = (reader.uint()?, reader.uint()?, reader.uint()?);
                let one = |reader: &mut Reader<'_>| {
                    let index = u32::try_from(reader.uint()?).map_err(|_| Reject::Malformed)?;
                    Ok((index, Frontier::decode(reader)?))
                };
                let chains = (0..count).map(|_| one(&mut reader)).collect::<Result<_, Reject>>()?;
                Self::Ack { consumed, granted, chains }
            }
            BEHIND => Self::Behind { entries: reader.uint()? },
            PING => Self::Ping(reader.uint()?),
            PONG => Self::Pong(reader.uint()?),
            RENEWED => Self::Renewed(payload.to_vec()),
            REFUSE => {
                let code = RefusalCode::from_u8(reader.u8()?);
                Self::Refuse(code, reader.str(REASON_MAX)?.to_owned())
            }
            _ => return Ok(None),
        };
        Ok(Some(frame))
    }
}

fn put_held(out: &mut Vec<u8>, held: &Held) -> Result<(), Reject> {
    out.put_uint(held.incarnation.boot)?;
    out.put(&held.incarnation.nonce.to_le_bytes())?;
    out.put_u8(held.stream as u8)?;
    held.frontier.encode(out)?;
    out.put(&held.head.0)
}

fn read_held(reader: &mut Reader<'_>) -> Result<Held, Reject> {
    let boot = reader.uint()?;
    let nonce = u64::from_le_bytes(reader.array()?);
    let stream = Stream::from_u8(reader.u8()?).ok_or(Reject::Malformed)?;
    let frontier = Frontier::decode(reader)?;
    let head = Link(reader.array()?);
    Ok(Held { incarnation: Incarnation { boot, nonce }, stream, frontier, head })
}

fn read_hello(reader: &mut Reader<'_>) -> Result<Hello, Reject> {
    let number = |n: u64| u32::try_from(n).map_err(|_| Reject::Malformed);
    Ok(Hello {
        protocol: (number(reader.uint()?)?, number(reader.uint()?)?),
        version: reader.str(VERSION_MAX)?.to_owned(),
        wall_ms: reader.int()?,
        incarnation: Incarnation {
            boot: reader.uint()?,
            nonce: u64::from_le_bytes(reader.array()?),
        },
        membership: reader.bytes(MEMBERSHIP_MAX)?.to_vec(),
        closed_below: reader.uint()?,
        closed_digest: reader.array()?,
        held: match reader.rest().first() {
            None => HeldDocuments::None,
            Some(_) if reader.u8()? == 1 => HeldDocuments::Upto(Cursor::read(reader)?),
            Some(_) => HeldDocuments::Unknown,
        },
    })
}

/// The digest over chains of which both sides are to hold the same.
#[must_use]
pub(super) fn closed_digest<'a>(chains: impl Iterator<Item = &'a ChainInfo>) -> [u8; 16] {
    let mut sorted: Vec<_> = chains.collect();
    sorted.sort_by_key(|chain| (chain.id.incarnation, chain.id.stream));
    let mut hash = blake3::Hasher::new_derive_key("holdfast 2026-11 closed chains v1");
    for chain in sorted {
        let mut bytes = Vec::new();
        let held = Held {
            incarnation: chain.id.incarnation,
            stream: chain.id.stream,
            frontier: chain.frontier.clone(),
            head: chain.head,
        };
        put_held(&mut bytes, &held).expect("a growing buffer is never full");
        hash.update(&bytes);
    }
    *hash.finalize().as_bytes().first_chunk().expect("a hash has 32 bytes")
}

/// Cuts a stream of bytes into frames.
#[derive(Debug, Default)]
pub struct FrameReader {
    buffer: Vec<u8>,
    start: usize,
}

impl FrameReader {
    /// Takes bytes as they come.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.start > 0 {
            self.buffer.drain(..self.start);
            self.start = 0;
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole frame; frames of unknown kinds are passed over.
    ///
    /// # Errors
    /// [`Reject`] when the bytes are not frames.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, Reject> {
        loop {
            let rest = &self.buffer[self.start..];
            let mut reader = Reader::new(rest);
            let whole = reader.u8().and_then(|kind| Ok((kind, reader.bytes(FRAME_MAX_BYTES)?)));
            let (kind, payload) = match whole {
                Ok(whole) => whole,
                Err(Reject::Truncated) => return Ok(None),
                Err(reject) => return Err(reject),
            };
            self.start += rest.len() - reader.rest().len();
            if let Some(frame) = Frame::decode(kind, payload)? {
                return Ok(Some(frame));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use holdfast_core::ranges::Range;
    use proptest::prelude::*;

    fn frontier() -> Frontier {
        let mut set = Frontier::new();
        set.add(Range::new(1, 40).unwrap()).unwrap();
        set.add(Range::new(90, 100).unwrap()).unwrap();
        set
    }

    fn samples() -> Vec<Frame> {
        let incarnation = Incarnation { boot: 3, nonce: 9 };
        let hello = Hello {
            protocol: (1, 2),
            version: "0.1.0".to_owned(),
            wall_ms: -5,
            incarnation,
            membership: vec![1, 2, 3],
            closed_below: 2,
            closed_digest: [7; 16],
            held: HeldDocuments::Upto(Cursor { start: incarnation, place: 300 }),
        };
        let head = Link([4; 32]);
        let held = Held { incarnation, stream: Stream::Rollup, frontier: frontier(), head };
        vec![
            Frame::Hello(hello),
            Frame::Chains { last: true, held: vec![held.clone(), held] },
            Frame::Data(vec![0; FRAME_MAX_BYTES]),
            Frame::Ack { consumed: 5, granted: 1 << 40, chains: vec![(3, frontier())] },
            Frame::Behind { entries: 12 },
            Frame::Ping(8),
            Frame::Pong(8),
            Frame::Renewed(vec![5; 200]),
            Frame::Refuse(RefusalCode::Removed, "removed by ann".to_owned()),
        ]
    }

    /// The vectors of `docs/formats/session.md`.
    #[test]
    fn golden_vectors() {
        let bytes: Vec<u8> = samples().iter().flat_map(Frame::encode).collect();
        let hash = data_encoding::HEXLOWER.encode(blake3::hash(&bytes).as_bytes());
        assert_eq!(hash, "2c41550e106cde23e6ec2c96a663119d88dda22a9d91e811b62a883e22846daf");
        assert_eq!(Frame::Ping(300).encode(), [PING, 2, 0xac, 0x02]);
    }

    /// One vector for each kind of frame, as the page lists them.
    #[test]
    fn golden_vector_of_each_kind() {
        let fours = "04".repeat(32);
        let mut frames = samples();
        frames.remove(2);
        let Frame::Chains { held, .. } = &mut frames[1] else { panic!("the order of samples") };
        held.truncate(1);
        frames[2] = Frame::Ack { consumed: 5, granted: 300, chains: vec![(3, frontier())] };
        frames[6] = Frame::Renewed(vec![5, 5]);
        frames[7] = Frame::Refuse(RefusalCode::Removed, "by ann".to_owned());
        let hello = "01330102 05302e312e30 09 03 0900000000000000 03010203 02";
        let vectors = [
            format!("{hello} {} 01 03 0900000000000000 ac02", "07".repeat(16)),
            format!("0231 01 01 03 0900000000000000 01 02 0127 320a {fours}"),
            "040a 05 ac02 01 03 02 0127 320a".to_owned(),
            "0501 0c".to_owned(),
            "0602 ac02".to_owned(),
            "0701 08".to_owned(),
            "0802 0505".to_owned(),
            "0908 02 06 627920616e6e".to_owned(),
        ];
        frames[4] = Frame::Ping(300);
        for (frame, vector) in frames.iter().zip(vectors) {
            let hex = data_encoding::HEXLOWER.encode(&frame.encode());
            assert_eq!(hex, vector.replace(' ', ""), "{frame:?}");
        }
    }

    #[test]
    fn frames_come_out_however_the_bytes_are_cut() {
        let frames = samples();
        let bytes: Vec<u8> = frames.iter().flat_map(Frame::encode).collect();
        for piece in [1, 7, 1000, bytes.len()] {
            let mut reader = FrameReader::default();
            let mut out = Vec::new();
            for part in bytes.chunks(piece) {
                reader.push(part);
                while let Some(frame) = reader.next_frame().unwrap() {
                    out.push(frame);
                }
            }
            assert_eq!(out, frames);
        }
    }

    #[test]
    fn a_kind_of_a_later_version_is_passed_over() {
        let mut reader = FrameReader::default();
        reader.push(&[200, 2, 1, 1]);
        reader.push(&Frame::Ping(1).encode());
        assert_eq!(reader.next_frame(), Ok(Some(Frame::Ping(1))));
    }

    #[test]
    fn a_frame_over_the_limit_is_refused_by_its_length() {
        let mut reader = FrameReader::default();
        reader.push(&[DATA, 0x81, 0x80, 0x01]);
        assert_eq!(reader.next_frame(), Err(Reject::Malformed));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            let mut reader = FrameReader::default();
            reader.push(&bytes);
            while let Ok(Some(_)) = reader.next_frame() {}
        }
    }
}
