//! The canonical body of a commit of events: what a node noticed and did, in envelopes.
//!
//! A reader skips kinds it does not know and relays them unchanged. Kinds known today: the start of
//! an incarnation, a declared gap, a changed unit, a notice for people, what became of alerts,
//! which entries a traced request left, what runs of workflows did, and which ones the hub is to
//! begin.

use super::alerts::{AlertAcknowledged, AlertCleared, AlertRaised};
use super::runs::{RunStep, RunWanted};
use super::trace::Traced;
use super::{FORMAT, Link, put_head, read_head};
use crate::codec::{Reader, Sink};
use crate::envelope::Envelope;
use crate::limits::{
    DEVICE_MAX_BYTES, METRIC_MAX_BYTES, NOTE_MAX_BYTES, TEXT_MAX_BYTES, UNIT_MAX_BYTES,
};
use crate::ranges::Range;
use crate::{Incarnation, Reject, Seq, SeriesKey, Stream, Timestamp, Unit};

const KIND_START: u8 = 1;
const KIND_GAP: u8 = 2;
const KIND_UNIT: u8 = 3;
const KIND_NOTICE: u8 = 4;
const KIND_RAISED: u8 = 5;
const KIND_CLEARED: u8 = 6;
const KIND_ACKNOWLEDGED: u8 = 7;
const KIND_TRACED: u8 = 8;
const KIND_RUN: u8 = 9;
const KIND_WANTED: u8 = 10;
/// Streams times the incarnations one start may have to close.
const MAX_ENDS: u64 = 1024;

/// Where a chain of the same origin was found to end when an incarnation started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChainEnd {
    /// The earlier incarnation.
    pub incarnation: Incarnation,
    /// Which of its streams.
    pub stream: Stream,
    /// Its last sequence found.
    pub seq: Seq,
    /// The link after it.
    pub link: Link,
}

/// Why a range of a chain is no longer there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum GapReason {
    /// The store's quota was reached and the site sheds its oldest raw readings.
    Quota = 1,
    /// The entries were damaged on disk and could not be read back.
    Damaged = 2,
    /// A peer has the entries on disk; noted where they were removed, never sent.
    Acknowledged = 3,
}

impl GapReason {
    /// The word used in tables and logs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Quota => "quota",
            Self::Damaged => "damaged",
            Self::Acknowledged => "acknowledged",
        }
    }
}

/// A range that was dropped before every peer had it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// The chain's incarnation.
    pub incarnation: Incarnation,
    /// The chain's stream.
    pub stream: Stream,
    /// What is missing.
    pub range: Range,
    /// The link after the range, so that the chain stays checkable across it.
    pub link_after: Link,
    /// Why.
    pub reason: GapReason,
}

/// How much a notice matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Severity {
    /// For the record.
    Info = 0,
    /// Someone should look in working hours.
    Warning = 1,
    /// Someone should look now.
    Critical = 2,
}

impl Severity {
    /// All of them, the mildest first.
    pub const ALL: [Self; 3] = [Self::Info, Self::Warning, Self::Critical];

    /// The word used in configuration and answers.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }

    /// Reads the number under which a severity is stored.
    #[must_use]
    pub const fn from_u8(number: u8) -> Option<Self> {
        match number {
            0 => Some(Self::Info),
            1 => Some(Self::Warning),
            2 => Some(Self::Critical),
            _ => None,
        }
    }
}

/// One event.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Event<'a> {
    /// An incarnation starts: always the first entry of its event chain.
    Start {
        /// The program's version.
        version: &'a str,
        /// Where the chains of earlier incarnations ended.
        ends: Ends<'a>,
    },
    /// A range was dropped.
    Gap(Gap),
    /// A metric of a device changed its unit: a new series began.
    UnitChanged {
        /// The series as it was.
        before: SeriesKey<'a>,
        /// Its new unit.
        unit: Unit<'a>,
    },
    /// Something people should know.
    Notice {
        /// How much it matters.
        severity: Severity,
        /// A stable word for the kind of notice.
        code: &'a str,
        /// The text.
        text: &'a str,
    },
    /// An alert begins.
    AlertRaised(AlertRaised<'a>),
    /// An alert ends.
    AlertCleared(AlertCleared<'a>),
    /// Somebody has taken note of an alert.
    AlertAcknowledged(AlertAcknowledged<'a>),
    /// Entries came of a traced request.
    Traced(Traced),
    /// A run of a workflow went on.
    Run(RunStep<'a>),
    /// The hub is to begin a run.
    Wanted(RunWanted<'a>),
    /// A kind of a later version, kept as it is.
    Unknown(Envelope<'a>),
}

/// The chain ends of a start, encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ends<'a>(&'a [u8]);

impl<'a> Ends<'a> {
    /// No earlier chains.
    pub const NONE: Self = Self(&[]);

    /// Over what [`put_end`] wrote, one end after another.
    ///
    /// # Errors
    /// What is wrong with the bytes.
    pub fn new(bytes: &'a [u8]) -> Result<Self, Reject> {
        let mut reader = Reader::new(bytes);
        let mut count = 0;
        while !reader.rest().is_empty() {
            read_end(&mut reader)?;
            count += 1;
        }
        if count > MAX_ENDS { Err(Reject::Full) } else { Ok(Self(bytes)) }
    }

    /// The ends, in order.
    pub fn iter(self) -> impl Iterator<Item = ChainEnd> + 'a {
        let mut reader = Reader::new(self.0);
        core::iter::from_fn(move || read_end(&mut reader).ok())
    }
}

/// Appends one chain end.
///
/// # Errors
/// [`Reject::Full`] when the sink has no room.
pub fn put_end(out: &mut impl Sink, end: &ChainEnd) -> Result<(), Reject> {
    put_chain(out, end.incarnation, end.stream)?;
    out.put_uint(end.seq)?;
    out.put(&end.link.0)
}

fn read_end(reader: &mut Reader<'_>) -> Result<ChainEnd, Reject> {
    let (incarnation, stream) = read_chain(reader)?;
    Ok(ChainEnd { incarnation, stream, seq: reader.uint()?, link: Link(reader.array()?) })
}

fn put_chain(out: &mut impl Sink, incarnation: Incarnation, stream: Stream) -> Result<(), Reject> {
    out.put_uint(incarnation.boot)?;
    out.put(&incarnation.nonce.to_le_bytes())?;
    out.put_u8(stream as u8)
}

fn read_chain(reader: &mut Reader<'_>) -> Result<(Incarnation, Stream), Reject> {
    let boot = reader.uint()?;
    let nonce = u64::from_le_bytes(reader.array()?);
    let stream = Stream::from_u8(reader.u8()?).ok_or(Reject::Malformed)?;
    Ok((Incarnation { boot, nonce }, stream))
}

/// Writes the head of a body; events follow by [`Event::encode`].
///
/// # Errors
/// [`Reject::Full`] when the sink has no room.
pub fn start_body(out: &mut impl Sink, received: Timestamp) -> Result<(), Reject> {
    put_head(out, FORMAT, received)
}

impl<'a> Event<'a> {
    /// Appends the event in its envelope. `scratch` holds the payload in between.
    ///
    /// # Errors
    /// [`Reject::Full`] when a sink has no room or the payload is over the envelope's limit.
    pub fn encode<S: Sink + AsRef<[u8]>>(
        &self,
        out: &mut impl Sink,
        mut scratch: S,
    ) -> Result<(), Reject> {
        let kind = match self {
            Self::Start { version, ends } => {
                scratch.put_bytes(version.as_bytes())?;
                scratch.put(ends.0)?;
                KIND_START
            }
            Self::Gap(gap) => {
                put_chain(&mut scratch, gap.incarnation, gap.stream)?;
                scratch.put_uint(gap.range.from)?;
                scratch.put_uint(gap.range.to - gap.range.from)?;
                scratch.put(&gap.link_after.0)?;
                scratch.put_u8(gap.reason as u8)?;
                KIND_GAP
            }
            Self::UnitChanged { before, unit } => {
                for part in [before.device.as_str(), before.metric.as_str(), before.unit.as_str()] {
                    scratch.put_bytes(part.as_bytes())?;
                }
                scratch.put_bytes(unit.as_str().as_bytes())?;
                KIND_UNIT
            }
            Self::Notice { severity, code, text } => {
                scratch.put_u8(*severity as u8)?;
                scratch.put_bytes(code.as_bytes())?;
                scratch.put_bytes(text.as_bytes())?;
                KIND_NOTICE
            }
            Self::AlertRaised(alert) => {
                alert.encode(&mut scratch)?;
                KIND_RAISED
            }
            Self::AlertCleared(alert) => {
                alert.encode(&mut scratch)?;
                KIND_CLEARED
            }
            Self::AlertAcknowledged(alert) => {
                alert.encode(&mut scratch)?;
                KIND_ACKNOWLEDGED
            }
            Self::Traced(traced) => {
                traced.encode(&mut scratch)?;
                KIND_TRACED
            }
            Self::Run(step) => {
                step.encode(&mut scratch)?;
                KIND_RUN
            }
            Self::Wanted(wanted) => {
                wanted.encode(&mut scratch)?;
                KIND_WANTED
            }
            Self::Unknown(envelope) => return envelope.encode(out),
        };
        Envelope { kind, flags: 0, payload: scratch.as_ref() }.encode(out)
    }

    fn decode(envelope: Envelope<'a>) -> Result<Self, Reject> {
        let mut reader = Reader::new(envelope.payload);
        let event = match envelope.kind {
            KIND_START => {
                let version = reader.str(TEXT_MAX_BYTES)?;
                return Ok(Self::Start { version, ends: Ends::new(reader.rest())? });
            }
            KIND_GAP => Self::Gap(read_gap(&mut reader)?),
            KIND_UNIT => Self::UnitChanged {
                before: SeriesKey::new(
                    reader.str(DEVICE_MAX_BYTES)?,
                    reader.str(METRIC_MAX_BYTES)?,
                    reader.str(UNIT_MAX_BYTES)?,
                )?,
                unit: Unit::new(reader.str(UNIT_MAX_BYTES)?)?,
            },
            KIND_NOTICE => Self::Notice {
                severity: Severity::from_u8(reader.u8()?).ok_or(Reject::Malformed)?,
                code: reader.str(TEXT_MAX_BYTES)?,
                text: reader.str(NOTE_MAX_BYTES)?,
            },
            KIND_RAISED => Self::AlertRaised(AlertRaised::decode(&mut reader)?),
            KIND_CLEARED => Self::AlertCleared(AlertCleared::decode(&mut reader)?),
            KIND_ACKNOWLEDGED => Self::AlertAcknowledged(AlertAcknowledged::decode(&mut reader)?),
            KIND_TRACED => Self::Traced(Traced::decode(&mut reader)?),
            KIND_RUN => Self::Run(RunStep::decode(&mut reader)?),
            KIND_WANTED => Self::Wanted(RunWanted::decode(&mut reader)?),
            _ => return Ok(Self::Unknown(envelope)),
        };
        reader.finish()?;
        Ok(event)
    }
}

fn read_gap(reader: &mut Reader<'_>) -> Result<Gap, Reject> {
    let (incarnation, stream) = read_chain(reader)?;
    let from = reader.uint()?;
    let to = from.checked_add(reader.uint()?).ok_or(Reject::Malformed)?;
    Ok(Gap {
        incarnation,
        stream,
        range: Range::new(from, to).ok_or(Reject::Malformed)?,
        link_after: Link(reader.array()?),
        reason: match reader.u8()? {
            1 => GapReason::Quota,
            2 => GapReason::Damaged,
            _ => return Err(Reject::Malformed),
        },
    })
}

/// The events of a body, in log order, with the time they were written. An error ends them.
///
/// # Errors
/// What is wrong with the head.
pub fn read(
    body: &[u8],
) -> Result<(Timestamp, impl Iterator<Item = Result<Event<'_>, Reject>>), Reject> {
    let mut reader = Reader::new(body);
    let (_, received) = read_head(&mut reader, FORMAT)?;
    let events = core::iter::from_fn(move || {
        if reader.rest().is_empty() {
            return None;
        }
        let event = Envelope::decode(&mut reader).and_then(Event::decode);
        if event.is_err() {
            reader = Reader::new(&[]);
        }
        Some(event)
    });
    Ok((received, events))
}

/// Reads a body to its end and says how many events it has.
///
/// # Errors
/// What is wrong with it.
pub fn check(body: &[u8]) -> Result<u64, Reject> {
    let (_, events) = read(body)?;
    let mut count = 0;
    for event in events {
        event?;
        count += 1;
    }
    Ok(count)
}

#[cfg(test)]
mod tests {
    use super::super::alerts::{AlertId, ClearReason, Subject};
    use super::super::runs::{RunId, RunWanted, What};
    use super::super::trace::SpanContext;
    use super::*;
    use crate::{Device, NodeId, Value};
    use proptest::prelude::*;
    use std::string::String;
    use std::vec::Vec;

    const BEFORE: Incarnation = Incarnation { boot: 2, nonce: 0x1122_3344_5566_7788 };

    fn body(events: &[Event<'_>]) -> Vec<u8> {
        let mut out = Vec::new();
        start_body(&mut out, Timestamp(5_000_000)).unwrap();
        for event in events {
            event.encode(&mut out, Vec::new()).unwrap();
        }
        out
    }

    #[test]
    fn every_kind_reads_back() {
        let mut ends = Vec::new();
        let end =
            ChainEnd { incarnation: BEFORE, stream: Stream::Reading, seq: 9, link: Link([3; 32]) };
        put_end(&mut ends, &end).unwrap();
        put_end(&mut ends, &ChainEnd { stream: Stream::Event, ..end }).unwrap();
        let events = [
            Event::Start { version: "0.1.0", ends: Ends::new(&ends).unwrap() },
            Event::Gap(Gap {
                incarnation: BEFORE,
                stream: Stream::Reading,
                range: Range::new(4, 90).unwrap(),
                link_after: Link([9; 32]),
                reason: GapReason::Quota,
            }),
            Event::UnitChanged {
                before: SeriesKey::new("p1", "t", "Cel").unwrap(),
                unit: Unit::new("K").unwrap(),
            },
            Event::Notice { severity: Severity::Warning, code: "clock-wrong", text: "off by 3 h" },
            Event::AlertRaised(AlertRaised { subject: Subject::Node, value: None, ..RAISED }),
            Event::AlertRaised(AlertRaised {
                subject: Subject::Device(Device::new("p1").unwrap()),
                ..RAISED
            }),
            Event::AlertRaised(AlertRaised { subject: Subject::Peer(NodeId([7; 32])), ..RAISED }),
            Event::AlertCleared(AlertCleared {
                id: RAISED.id,
                reason: ClearReason::Unwatched,
                at: Timestamp(-1),
                value: None,
            }),
            Event::Unknown(Envelope { kind: 200, flags: 9, payload: b"from the future" }),
        ];
        let bytes = body(&events);
        assert_eq!(check(&bytes), Ok(9));
        let (time, read) = read(&bytes).unwrap();
        let read: Vec<_> = read.map(Result::unwrap).collect();
        assert_eq!(time, Timestamp(5_000_000));
        assert_eq!(read, events);
        let Event::Start { ends, .. } = read[0] else { panic!("a start") };
        assert_eq!(ends.iter().count(), 2);
    }

    /// The vector of `docs/formats/log.md`: a first start and a gap.
    #[test]
    fn golden_vector() {
        let gap = Gap {
            incarnation: BEFORE,
            stream: Stream::Reading,
            range: Range::new(4, 90).unwrap(),
            link_after: Link([9; 32]),
            reason: GapReason::Quota,
        };
        let events = [Event::Start { version: "0.1.0", ends: Ends::NONE }, Event::Gap(gap)];
        let hex: String = body(&events).iter().map(|b| std::format!("{b:02x}")).collect();
        assert_eq!(hex, GOLDEN);
    }

    const RAISED: AlertRaised<'static> = AlertRaised {
        id: AlertId(0x1122_3344_5566_7788),
        severity: Severity::Critical,
        rule: "too-hot",
        subject: Subject::Node,
        since: Timestamp(1_000_000_000),
        value: Some(Value::Bool(true)),
        text: "hot",
    };

    /// The vector of `docs/formats/log.md`: an alert from its beginning to its end.
    #[test]
    fn golden_vector_of_an_alert() {
        let series = SeriesKey::new("p1", "t", "Cel").unwrap();
        let value = Some(Value::float(81.5).unwrap());
        let raised = AlertRaised { subject: Subject::Series(series), value, ..RAISED };
        let acknowledged =
            AlertAcknowledged { origin: NodeId([7; 32]), id: RAISED.id, who: "Ann", note: "fan" };
        let cleared = AlertCleared {
            id: RAISED.id,
            reason: ClearReason::Over,
            at: Timestamp(62_000_000_000),
            value: Some(Value::Int(70)),
        };
        let events = [
            Event::AlertRaised(raised),
            Event::AlertAcknowledged(acknowledged),
            Event::AlertCleared(cleared),
        ];
        let bytes = body(&events);
        let read: Vec<_> = read(&bytes).unwrap().1.map(Result::unwrap).collect();
        assert_eq!(read, events);
        let hex: String = bytes.iter().map(|b| std::format!("{b:02x}")).collect();
        assert_eq!(hex, GOLDEN_ALERT);
    }

    /// The vector of `docs/formats/log.md`: three readings of a traced request.
    #[test]
    fn golden_vector_of_a_trace() {
        let context = SpanContext { trace: [0xab; 16], span: [0xcd; 8] };
        let range = Range::new(300, 302).unwrap();
        let events = [Event::Traced(Traced { stream: Stream::Reading, range, context })];
        let bytes = body(&events);
        let read: Vec<_> = read(&bytes).unwrap().1.map(Result::unwrap).collect();
        assert_eq!(read, events);
        let hex: String = bytes.iter().map(|b| std::format!("{b:02x}")).collect();
        assert_eq!(hex, GOLDEN_TRACE);
        let nobody = SpanContext { trace: [0; 16], ..context };
        let nobody = Event::Traced(Traced { stream: Stream::Reading, range, context: nobody });
        assert_eq!(check(&body(&[nobody])), Err(Reject::Malformed));
    }

    fn run() -> RunId {
        let mut run = [0xab; 16];
        run[..6].copy_from_slice(&1_800_000_000_000u64.to_be_bytes()[2..]);
        RunId(run)
    }

    /// The vector of `docs/formats/log.md`: a run that is wanted of the hub.
    #[test]
    fn golden_vector_of_a_run_that_is_wanted() {
        let wanted = RunWanted {
            run: run(),
            workflow: "restock",
            version: "",
            by: "ann",
            input: "{\"n\":1}",
        };
        let bytes = body(&[Event::Wanted(wanted)]);
        let read: Vec<_> = read(&bytes).unwrap().1.map(Result::unwrap).collect();
        assert_eq!(read, [Event::Wanted(wanted)]);
        let hex: String = bytes.iter().map(|b| std::format!("{b:02x}")).collect();
        assert_eq!(hex, GOLDEN_WANTED);
    }

    const GOLDEN_WANTED: &str = concat!(
        "010a010a002501a3185c5000abababababababababab",
        "07726573746f636b0003616e6e077b226e223a317d33fea82c"
    );

    /// The vector of `docs/formats/log.md`: a line of the history of a run.
    #[test]
    fn golden_vector_of_a_run() {
        let step = RunStep {
            run: run(),
            what: What::Done,
            workflow: "pump-guard",
            version: "1",
            line: 7,
            text: "effect 1",
        };
        let bytes = body(&[Event::Run(step)]);
        let read: Vec<_> = read(&bytes).unwrap().1.map(Result::unwrap).collect();
        assert_eq!(read, [Event::Run(step)]);
        let hex: String = bytes.iter().map(|b| std::format!("{b:02x}")).collect();
        assert_eq!(hex, GOLDEN_RUN);
    }

    const GOLDEN_RUN: &str = concat!(
        "010a0109002801a3185c5000abababababababababab",
        "020a70756d702d67756172640131070865666665637420310a9c0f67"
    );

    const GOLDEN_TRACE: &str =
        concat!("010a0108001c02ac0202abababababababababababababababab", "cdcdcdcdcdcdcdcdc71e6401");

    const GOLDEN_ALERT: &str = concat!(
        "010a0105002788776655443322110207746f6f2d686f74",
        "0202703101740343656c80a8d6b90706de0c03686f74060d7513",
        "010700300707070707070707070707070707070707070707070707070707070707070707",
        "887766554433221103416e6e0366616efaf9ab91",
        "0106001288776655443322110080b0e7f7cd03018c01a7673ce1"
    );

    const GOLDEN: &str = concat!(
        "010a0101000605302e312e302e6595c10102002d028877665544332211020456",
        "0909090909090909090909090909090909090909090909090909090909090909",
        "01e3272685"
    );

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let _ = check(&bytes);
        }
    }
}
