//! The stream of history records: chain names once, then commits, compressed as one stream.
//!
//! Series names and other text repeat from commit to commit; one compression window over the whole
//! session makes them cost a few bytes each, so a commit can travel in its canonical form. Messages
//! about documents and artefacts are records of the same stream.

use super::outbox::PART;
use crate::artefact;
use crate::docs::exchange::is_message;
use crate::docs::limits::{HEADS_MAX, PARCEL_BYTES};
use crate::store::{Received, StoredCommit};
use holdfast_core::codec::{Reader, Sink};
use holdfast_core::limits::COMMIT_MAX_BYTES;
use holdfast_core::log::Link;
use holdfast_core::{ChainId, Incarnation, NodeId, Reject, Seq, Stream};
use std::collections::HashMap;
use zstd::stream::raw::{CParameter, DParameter, Decoder, Encoder, Operation};
use zstd::zstd_safe::{InBuffer, OutBuffer};

const CHAIN: u8 = 1;
const COMMIT: u8 = 2;
const HAS_BEFORE: u8 = 1;
const HAS_SIGNATURE: u8 = 2;
const IS_SEGMENT: u8 = 4;
/// 128 KiB of window on either side: enough for the names of a site, little enough for 200 peers.
const WINDOW_LOG: u32 = 17;
const LEVEL: i32 = 1;
const RECORD_MAX_BYTES: usize = COMMIT_MAX_BYTES + 256;
/// A parcel, the name of its document, and its heads.
const MESSAGE_MAX_BYTES: usize = PARCEL_BYTES + 256 + 33 * HEADS_MAX;
/// Chains that one session may name. A gateway that restarted more often than this while it was
/// offline needs a second session.
const CHAINS_MAX: usize = 1 << 16;
/// What a record costs beside its bytes: a receiver holds it as a commit with its filter, so a
/// flood of tiny ones must not unfold into much more than the window allows.
const RECORD_COST: u64 = 64;

/// Writes records.
pub(super) struct Writer {
    encoder: Encoder<'static>,
    chains: HashMap<ChainId, (u32, Seq)>,
    record: Vec<u8>,
}

impl Writer {
    pub(super) fn new() -> Self {
        let mut encoder = Encoder::new(LEVEL).expect("the level is known");
        encoder
            .set_parameter(CParameter::WindowLog(WINDOW_LOG))
            .expect("the window is within the library's bounds");
        Self { encoder, chains: HashMap::new(), record: Vec::new() }
    }

    /// Whether a further chain can be named in this session.
    pub(super) fn takes(&self, chain: &ChainId) -> bool {
        self.chains.len() < CHAINS_MAX || self.chains.contains_key(chain)
    }

    /// Appends `commits` of `chain`, which follow each other, to `out` and flushes. Returns the
    /// chain's index and how many bytes of records that was.
    pub(super) fn commits(
        &mut self,
        chain: &ChainId,
        before: Link,
        commits: &[StoredCommit],
        out: &mut Vec<u8>,
    ) -> (u32, u64) {
        let mut size = 0;
        let count = self.chains.len() as u32;
        let (index, next) = *self.chains.entry(*chain).or_insert((count, 0));
        if index == count {
            size += self.put(out, |record| put_chain(record, index, chain));
        }
        let mut next = next;
        for commit in commits {
            let before = (commit.first != next || next == 0).then_some(before);
            size += self.put(out, |record| put_commit(record, index, before, commit));
            next = commit.last() + 1;
        }
        self.chains.insert(*chain, (index, next));
        self.flush(out);
        (index, size)
    }

    /// Appends a record as it is and flushes. Returns how many bytes of records that was.
    pub(super) fn record(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> u64 {
        let size = self.put(out, |record| record.put(bytes));
        self.flush(out);
        size
    }

    fn put(
        &mut self,
        out: &mut Vec<u8>,
        fill: impl FnOnce(&mut Vec<u8>) -> Result<(), Reject>,
    ) -> u64 {
        let mut record = std::mem::take(&mut self.record);
        record.clear();
        fill(&mut record).expect("a growing buffer is never full");
        let mut length = Vec::with_capacity(5);
        length.put_uint(record.len() as u64).expect("a growing buffer is never full");
        self.compress(&length, out);
        self.compress(&record, out);
        let size = record.len() as u64 + RECORD_COST;
        self.record = record;
        size
    }

    fn compress(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        let mut input = InBuffer::around(bytes);
        while input.pos < bytes.len() {
            step(out, |output| self.encoder.run(&mut input, output));
        }
    }

    fn flush(&mut self, out: &mut Vec<u8>) {
        while step(out, |output| self.encoder.flush(output)) > 0 {}
    }
}

/// Lets the compressor write behind `out`.
fn step(
    out: &mut Vec<u8>,
    run: impl FnOnce(&mut OutBuffer<'_, Vec<u8>>) -> std::io::Result<usize>,
) -> usize {
    let at = out.len();
    out.reserve(16 << 10);
    let mut output = OutBuffer::around_pos(out, at);
    run(&mut output).expect("compression has no bad input")
}

fn put_chain(out: &mut Vec<u8>, index: u32, chain: &ChainId) -> Result<(), Reject> {
    out.put_u8(CHAIN)?;
    out.put_uint(u64::from(index))?;
    out.put(&chain.origin.0)?;
    out.put_uint(chain.incarnation.boot)?;
    out.put(&chain.incarnation.nonce.to_le_bytes())?;
    out.put_u8(chain.stream as u8)
}

fn put_commit(
    out: &mut Vec<u8>,
    index: u32,
    before: Option<Link>,
    commit: &StoredCommit,
) -> Result<(), Reject> {
    let has_before = if before.is_some() { HAS_BEFORE } else { 0 };
    let has_signature = if commit.signature.is_some() { HAS_SIGNATURE } else { 0 };
    out.put_u8(COMMIT)?;
    out.put_uint(u64::from(index))?;
    out.put_uint(commit.first)?;
    out.put_uint(u64::from(commit.count))?;
    let is_segment = if commit.sealed { IS_SEGMENT } else { 0 };
    out.put_u8(has_before | has_signature | is_segment)?;
    if let Some(before) = before {
        out.put(&before.0)?;
    }
    if let Some(signature) = &commit.signature {
        out.put(signature)?;
    }
    out.put(&commit.body)
}

/// Reads records.
pub(super) struct HistoryReader {
    decoder: Decoder<'static>,
    plain: Vec<u8>,
    chains: Vec<Incoming>,
    /// The parts of a message that have come.
    parts: Vec<u8>,
    origin: NodeId,
    own: Option<Incarnation>,
}

struct Incoming {
    id: ChainId,
    next: Seq,
    link: Link,
}

/// What a piece of the stream brought.
#[derive(Debug, Default)]
pub(super) struct Arrived {
    /// Runs of chains, each with the sender's index of its chain.
    pub runs: Vec<(u32, Received)>,
    /// Messages about documents.
    pub messages: Vec<Vec<u8>>,
    /// Bytes of records.
    pub bytes: u64,
}

impl HistoryReader {
    /// Reads chains of `origin`. With `own`, a start of this very node, nothing is taken of that
    /// start: what runs now has lost nothing, and nobody else may continue it.
    pub(super) fn new(origin: NodeId, own: Option<Incarnation>) -> Self {
        let mut decoder = Decoder::new().expect("a decoder needs only memory");
        decoder
            .set_parameter(DParameter::WindowLogMax(WINDOW_LOG))
            .expect("the window is within the library's bounds");
        let (plain, chains, parts) = (Vec::new(), Vec::new(), Vec::new());
        Self { decoder, plain, chains, parts, origin, own }
    }

    /// Takes a piece of the compressed stream. More than `allowed` bytes of records in it are an
    /// offence: a small piece must not unfold into all memory.
    pub(super) fn take(&mut self, bytes: &[u8], allowed: u64) -> Result<Arrived, Reject> {
        let mut arrived = Arrived::default();
        let mut input = InBuffer::around(bytes);
        loop {
            let at = self.plain.len();
            self.plain.reserve(64 << 10);
            let mut output = OutBuffer::around_pos(&mut self.plain, at);
            self.decoder.run(&mut input, &mut output).map_err(|_| Reject::Malformed)?;
            let progress = self.plain.len() > at;
            self.records(&mut arrived)?;
            if arrived.bytes > allowed {
                return Err(Reject::Full);
            }
            if input.pos == bytes.len() && !progress {
                return Ok(arrived);
            }
        }
    }

    /// Whether everything taken so far was whole records.
    pub(super) fn at_rest(&self) -> bool {
        self.plain.is_empty()
    }

    fn records(&mut self, arrived: &mut Arrived) -> Result<(), Reject> {
        let plain = std::mem::take(&mut self.plain);
        let mut reader = Reader::new(&plain);
        let mut rest = plain.as_slice();
        let result = loop {
            match reader.bytes(RECORD_MAX_BYTES) {
                Ok(record) => {
                    rest = reader.rest();
                    arrived.bytes += record.len() as u64 + RECORD_COST;
                    if let Err(reject) = self.record(record, arrived) {
                        break Err(reject);
                    }
                }
                Err(Reject::Truncated) => break Ok(()),
                Err(reject) => break Err(reject),
            }
        };
        self.plain = rest.to_vec();
        result
    }

    fn record(&mut self, record: &[u8], arrived: &mut Arrived) -> Result<(), Reject> {
        let mut reader = Reader::new(record);
        match reader.u8()? {
            CHAIN => {
                let index = reader.uint()?;
                self.name_chain(index, &mut reader)
            }
            PART => {
                let last = reader.u8()? == 1;
                self.parts.extend_from_slice(reader.rest());
                if self.parts.len() > MESSAGE_MAX_BYTES {
                    return Err(Reject::Full);
                }
                if last {
                    arrived.messages.push(std::mem::take(&mut self.parts));
                }
                Ok(())
            }
            kind if is_message(kind) || artefact::is_message(kind) => {
                arrived.messages.push(record.to_vec());
                Ok(())
            }
            COMMIT => {
                let index = reader.uint()?;
                let index = usize::try_from(index).map_err(|_| Reject::Malformed)?;
                let chain = self.chains.get_mut(index).ok_or(Reject::Malformed)?;
                read_commit(chain, index as u32, &mut reader, arrived)
            }
            // A record of a later version.
            _ => Ok(()),
        }
    }

    fn name_chain(&mut self, index: u64, reader: &mut Reader<'_>) -> Result<(), Reject> {
        let id = ChainId {
            origin: NodeId(reader.array()?),
            incarnation: Incarnation {
                boot: reader.uint()?,
                nonce: u64::from_le_bytes(reader.array()?),
            },
            stream: Stream::from_u8(reader.u8()?).ok_or(Reject::Malformed)?,
        };
        reader.finish()?;
        if index != self.chains.len() as u64 || self.chains.len() >= CHAINS_MAX {
            return Err(Reject::Malformed);
        }
        // Whose history this session carries was settled in the hello.
        if id.origin != self.origin || self.own == Some(id.incarnation) {
            return Err(Reject::Malformed);
        }
        self.chains.push(Incoming { id, next: 0, link: Link::START });
        Ok(())
    }
}

fn read_commit(
    chain: &mut Incoming,
    index: u32,
    reader: &mut Reader<'_>,
    arrived: &mut Arrived,
) -> Result<(), Reject> {
    let first = reader.uint()?;
    let count = u32::try_from(reader.uint()?).map_err(|_| Reject::Malformed)?;
    let flags = reader.u8()?;
    let before = match flags & HAS_BEFORE {
        0 if chain.next == first && first > 0 => None,
        0 => return Err(Reject::Sequence),
        _ => Some(Link(reader.array()?)),
    };
    let signature = match flags & HAS_SIGNATURE {
        0 => None,
        _ => Some(reader.array()?),
    };
    let body = reader.rest().to_vec();
    let open = arrived.runs.last_mut().filter(|(at, _)| *at == index && before.is_none());
    let run = if let Some((_, run)) = open {
        run
    } else {
        let before = before.unwrap_or(chain.link);
        arrived.runs.push((index, Received::new(chain.id, before)));
        &mut arrived.runs.last_mut().expect("it was just pushed").1
    };
    run.push(first, count, signature, flags & IS_SEGMENT != 0, body)?;
    chain.next = first + u64::from(count);
    chain.link = run.link();
    Ok(())
}
