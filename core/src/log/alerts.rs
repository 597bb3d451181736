//! What the event stream says of alerts: raised, cleared, acknowledged.
//!
//! Three facts about one alert, which its node names by 64 random bits. They join in any order: a
//! reader that learns of the end before the beginning comes to the same.

use super::events::Severity;
use super::value;
use crate::codec::{Reader, Sink};
use crate::limits::{
    DEVICE_MAX_BYTES, METRIC_MAX_BYTES, NOTE_MAX_BYTES, RULE_MAX_BYTES, TEXT_MAX_BYTES,
    UNIT_MAX_BYTES,
};
use crate::{Device, NodeId, Reject, SeriesKey, Timestamp, Value};

/// The name of an alert, unique among those of its node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AlertId(pub u64);

/// What an alert is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Subject<'a> {
    /// The node that says it.
    Node,
    /// A device of it.
    Device(Device<'a>),
    /// A series of it.
    Series(SeriesKey<'a>),
    /// Another node.
    Peer(NodeId),
}

const NODE: u8 = 0;
const DEVICE: u8 = 1;
const SERIES: u8 = 2;
const PEER: u8 = 3;
/// Stands for no value where a value's kind is expected.
const NO_VALUE: u8 = 255;

impl<'a> Subject<'a> {
    /// Appends the subject.
    ///
    /// # Errors
    /// [`Reject::Full`] when the sink has no room.
    pub fn encode(&self, out: &mut impl Sink) -> Result<(), Reject> {
        match self {
            Self::Node => out.put_u8(NODE),
            Self::Device(device) => {
                out.put_u8(DEVICE)?;
                out.put_bytes(device.as_str().as_bytes())
            }
            Self::Series(series) => {
                out.put_u8(SERIES)?;
                out.put_bytes(series.device.as_str().as_bytes())?;
                out.put_bytes(series.metric.as_str().as_bytes())?;
                out.put_bytes(series.unit.as_str().as_bytes())
            }
            Self::Peer(node) => {
                out.put_u8(PEER)?;
                out.put(&node.0)
            }
        }
    }

    /// Reads what [`Subject::encode`] wrote.
    ///
    /// # Errors
    /// What is wrong with the bytes.
    pub fn decode(reader: &mut Reader<'a>) -> Result<Self, Reject> {
        match reader.u8()? {
            NODE => Ok(Self::Node),
            DEVICE => Ok(Self::Device(Device::new(reader.str(DEVICE_MAX_BYTES)?)?)),
            SERIES => Ok(Self::Series(SeriesKey::new(
                reader.str(DEVICE_MAX_BYTES)?,
                reader.str(METRIC_MAX_BYTES)?,
                reader.str(UNIT_MAX_BYTES)?,
            )?)),
            PEER => Ok(Self::Peer(NodeId(reader.array()?))),
            _ => Err(Reject::Malformed),
        }
    }
}

/// An alert begins.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AlertRaised<'a> {
    /// Its name.
    pub id: AlertId,
    /// How much it matters.
    pub severity: Severity,
    /// The rule that raised it.
    pub rule: &'a str,
    /// What it is about.
    pub subject: Subject<'a>,
    /// Since when it is so, by the readings' time where there are readings.
    pub since: Timestamp,
    /// The value that raised it, where there is one.
    pub value: Option<Value<'a>>,
    /// What people read.
    pub text: &'a str,
}

/// Why an alert ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum ClearReason {
    /// It is no longer so.
    Over = 0,
    /// Nothing watches it any more: the rule was removed or changed, or what it is about is gone.
    Unwatched = 1,
}

impl ClearReason {
    /// The word used in answers and on pages.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Over => "over",
            Self::Unwatched => "unwatched",
        }
    }
}

/// An alert ends.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AlertCleared<'a> {
    /// Its name.
    pub id: AlertId,
    /// Why.
    pub reason: ClearReason,
    /// Since when it is over.
    pub at: Timestamp,
    /// The value that cleared it, where there is one.
    pub value: Option<Value<'a>>,
}

/// Somebody has taken note of an alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AlertAcknowledged<'a> {
    /// The node whose alert it is.
    pub origin: NodeId,
    /// Its name.
    pub id: AlertId,
    /// Who.
    pub who: &'a str,
    /// What they say about it.
    pub note: &'a str,
}

fn put_value(out: &mut impl Sink, value: Option<&Value<'_>>) -> Result<(), Reject> {
    let Some(value) = value else { return out.put_u8(NO_VALUE) };
    let (kind, decimal) = value::kind(value);
    out.put_u8(kind)?;
    value::put(out, value, decimal)
}

fn read_value<'a>(reader: &mut Reader<'a>) -> Result<Option<Value<'a>>, Reject> {
    match reader.u8()? {
        NO_VALUE => Ok(None),
        kind => value::read(reader, kind).map(Some),
    }
}

fn put_id(out: &mut impl Sink, id: AlertId) -> Result<(), Reject> {
    out.put(&id.0.to_le_bytes())
}

fn read_id(reader: &mut Reader<'_>) -> Result<AlertId, Reject> {
    reader.array().map(|bytes| AlertId(u64::from_le_bytes(bytes)))
}

impl<'a> AlertRaised<'a> {
    /// Appends the payload.
    ///
    /// # Errors
    /// [`Reject::Full`] when the sink has no room.
    pub fn encode(&self, out: &mut impl Sink) -> Result<(), Reject> {
        put_id(out, self.id)?;
        out.put_u8(self.severity as u8)?;
        out.put_bytes(self.rule.as_bytes())?;
        self.subject.encode(out)?;
        out.put_int(self.since.0)?;
        put_value(out, self.value.as_ref())?;
        out.put_bytes(self.text.as_bytes())
    }

    /// Reads what [`AlertRaised::encode`] wrote.
    ///
    /// # Errors
    /// What is wrong with the bytes.
    pub fn decode(reader: &mut Reader<'a>) -> Result<Self, Reject> {
        Ok(Self {
            id: read_id(reader)?,
            severity: Severity::from_u8(reader.u8()?).ok_or(Reject::Malformed)?,
            rule: reader.str(RULE_MAX_BYTES)?,
            subject: Subject::decode(reader)?,
            since: Timestamp(reader.int()?),
            value: read_value(reader)?,
            text: reader.str(NOTE_MAX_BYTES)?,
        })
    }
}

impl<'a> AlertCleared<'a> {
    /// Appends the payload.
    ///
    /// # Errors
    /// [`Reject::Full`] when the sink has no room.
    pub fn encode(&self, out: &mut impl Sink) -> Result<(), Reject> {
        put_id(out, self.id)?;
        out.put_u8(self.reason as u8)?;
        out.put_int(self.at.0)?;
        put_value(out, self.value.as_ref())
    }

    /// Reads what [`AlertCleared::encode`] wrote.
    ///
    /// # Errors
    /// What is wrong with the bytes.
    pub fn decode(reader: &mut Reader<'a>) -> Result<Self, Reject> {
        let id = read_id(reader)?;
        let reason = match reader.u8()? {
            0 => ClearReason::Over,
            1 => ClearReason::Unwatched,
            _ => return Err(Reject::Malformed),
        };
        Ok(Self { id, reason, at: Timestamp(reader.int()?), value: read_value(reader)? })
    }
}

impl<'a> AlertAcknowledged<'a> {
    /// Appends the payload.
    ///
    /// # Errors
    /// [`Reject::Full`] when the sink has no room.
    pub fn encode(&self, out: &mut impl Sink) -> Result<(), Reject> {
        out.put(&self.origin.0)?;
        put_id(out, self.id)?;
        out.put_bytes(self.who.as_bytes())?;
        out.put_bytes(self.note.as_bytes())
    }

    /// Reads what [`AlertAcknowledged::encode`] wrote.
    ///
    /// # Errors
    /// What is wrong with the bytes.
    pub fn decode(reader: &mut Reader<'a>) -> Result<Self, Reject> {
        Ok(Self {
            origin: NodeId(reader.array()?),
            id: read_id(reader)?,
            who: reader.str(TEXT_MAX_BYTES)?,
            note: reader.str(NOTE_MAX_BYTES)?,
        })
    }
}
