//! A command as it is kept. Byte-exact page: `docs/formats/commands.md`.

use crate::mqtt::message::Moment;
use data_encoding::HEXLOWER;
use holdfast_core::codec::{Reader, Sink};
use holdfast_core::{Reject, Timestamp};
use serde_json::Value as Json;
use std::fmt;

/// Bytes of arguments, and of an answer.
pub const JSON_MAX: usize = 8 << 10;
/// Bytes of a name.
pub const NAME_MAX: usize = 64;
/// Bytes of what a device says of its failure.
pub const ERROR_MAX: usize = 1_024;
/// Bytes of an Idempotency-Key.
pub const KEY_MAX: usize = 128;
/// Seconds that a command may last.
pub const LASTS_MAX_S: u64 = 7 * 86_400;
/// Bytes of the name of who ordered it.
pub const BY_MAX: usize = 128;
const FORMAT: u8 = 1;

/// What a command is called: when it was ordered, and something random.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CommandId(pub [u8; 16]);

impl CommandId {
    /// One for a command that is ordered at `wall_ms`.
    #[must_use]
    pub fn new(wall_ms: i64, entropy: [u64; 2]) -> Self {
        let mut out = [0; 16];
        out[..6].copy_from_slice(&wall_ms.max(0).to_be_bytes()[2..]);
        out[6..8].copy_from_slice(&entropy[0].to_be_bytes()[..2]);
        out[8..].copy_from_slice(&entropy[1].to_be_bytes());
        Self(out)
    }

    /// Reads 32 hexadecimal digits.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        HEXLOWER.decode(text.to_ascii_lowercase().as_bytes()).ok()?.try_into().ok().map(Self)
    }
}

impl fmt::Display for CommandId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER.encode(&self.0))
    }
}

/// What a device answered.
#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    /// It has done it, and this came of it.
    Done(Json),
    /// It has not, and says why.
    Failed(String),
}

/// A command.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// What is to be done.
    pub name: String,
    /// With what.
    pub args: Option<Json>,
    /// Who ordered it.
    pub by: String,
    /// And when.
    pub ordered: Moment,
    /// Seconds until it is not to be begun any more.
    pub lasts_s: u64,
    /// By which its order is known when it comes again; empty for none.
    pub key: String,
    /// What the device answered, and when.
    pub reply: Option<(Moment, Reply)>,
}

impl Record {
    /// Milliseconds until it expires; nothing once it has.
    #[must_use]
    pub fn left_ms(&self, now: &Moment) -> Option<u64> {
        let passed_ms = self.ordered.until(now);
        (self.lasts_s * 1_000).checked_sub(passed_ms).filter(|left| *left > 0)
    }

    /// Seconds until it expires; nothing once it has.
    #[must_use]
    pub fn left_s(&self, now: &Moment) -> Option<u64> {
        let passed_s = self.ordered.until(now) / 1_000;
        self.lasts_s.checked_sub(passed_s).filter(|left| *left > 0)
    }

    /// When it does, by the clock that was there when it was ordered.
    #[must_use]
    pub fn expires(&self) -> Timestamp {
        Timestamp(self.ordered.time().0.saturating_add_unsigned(self.lasts_s * 1_000_000_000))
    }

    /// Whether the device may still be asked to do it.
    #[must_use]
    pub fn is_waiting(&self, now: &Moment) -> bool {
        self.reply.is_none() && self.left_s(now).is_some()
    }

    /// Its value.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![FORMAT];
        self.put(&mut out).expect("a vector has room");
        out
    }

    fn put(&self, out: &mut Vec<u8>) -> Result<(), Reject> {
        let json = |json: &Json| json.to_string().into_bytes();
        out.put_bytes(self.name.as_bytes())?;
        out.put_bytes(&self.args.as_ref().map(json).unwrap_or_default())?;
        out.put_bytes(self.by.as_bytes())?;
        self.ordered.put(out)?;
        out.put_uint(self.lasts_s)?;
        out.put_bytes(self.key.as_bytes())?;
        let Some((at, reply)) = &self.reply else { return out.put_u8(0) };
        let (state, answer) = match reply {
            Reply::Done(result) => (1, json(result)),
            Reply::Failed(text) => (2, text.clone().into_bytes()),
        };
        out.put_u8(state)?;
        at.put(out)?;
        out.put_bytes(&answer)
    }

    /// Reads one.
    ///
    /// # Errors
    /// What is wrong with the bytes.
    pub fn decode(value: &[u8]) -> Result<Self, Reject> {
        let json = |text: &str| serde_json::from_str(text).map_err(|_| Reject::Malformed);
        let mut reader = Reader::new(value);
        if reader.u8()? != FORMAT {
            return Err(Reject::Malformed);
        }
        let name = reader.str(NAME_MAX)?.to_owned();
        let args = match reader.str(JSON_MAX)? {
            "" => None,
            text => Some(json(text)?),
        };
        let by = reader.str(BY_MAX)?.to_owned();
        let ordered = Moment::read(&mut reader)?;
        let lasts_s = reader.uint()?;
        if lasts_s > LASTS_MAX_S {
            return Err(Reject::Malformed);
        }
        let key = reader.str(KEY_MAX)?.to_owned();
        let reply = match reader.u8()? {
            0 => None,
            state @ (1 | 2) => {
                let at = Moment::read(&mut reader)?;
                let text = reader.str(JSON_MAX)?;
                let reply = match state {
                    1 => Reply::Done(json(text)?),
                    _ => Reply::Failed(text.to_owned()),
                };
                Some((at, reply))
            }
            _ => return Err(Reject::Malformed),
        };
        reader.finish()?;
        Ok(Self { name, args, by, ordered, lasts_s, key, reply })
    }
}

/// Whether something can be the name of a command: it is a level of a topic.
#[must_use]
pub fn is_name(text: &str) -> bool {
    let is_fit = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    (1..=NAME_MAX).contains(&text.len()) && text.bytes().all(is_fit)
}

/// The key of a device's commands in either table, to which an id or an Idempotency-Key is added.
#[must_use]
pub fn key(device: &str, rest: &[u8]) -> Vec<u8> {
    [device.as_bytes(), &[0], rest].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const OPEN: &str = "01046f70656e0e7b2270657263656e74223a35307d07746f6b656e207480c0e285e36803dc\
                        0b3c016b";

    fn record() -> Record {
        Record {
            name: "open".to_owned(),
            args: Some(json!({ "percent": 50 })),
            by: "token t".to_owned(),
            ordered: Moment { wall_ms: 1_800_000_000_000, boot: 3, steady_ms: 1_500 },
            lasts_s: 60,
            key: "k".to_owned(),
            reply: None,
        }
    }

    #[test]
    fn records_are_as_the_page_has_them() {
        let mut open = record();
        assert_eq!(HEXLOWER.encode(&open.encode()), format!("{OPEN}00"));
        assert_eq!(Record::decode(&open.encode()), Ok(open.clone()));
        open.reply = Some((open.ordered, Reply::Done(json!(true))));
        let done = format!("{OPEN}0180c0e285e36803dc0b0474727565");
        assert_eq!(HEXLOWER.encode(&open.encode()), done);
        assert_eq!(Record::decode(&open.encode()), Ok(open.clone()));
        open.reply = Some((open.ordered, Reply::Failed("stuck".to_owned())));
        open.args = None;
        assert_eq!(Record::decode(&open.encode()), Ok(open));
    }

    #[test]
    fn what_is_no_record_is_told() {
        let whole = record().encode();
        for len in 0..whole.len() {
            assert!(Record::decode(&whole[..len]).is_err(), "{len}");
        }
        let more = [whole.as_slice(), &[0]].concat();
        assert!(Record::decode(&more).is_err());
    }

    #[test]
    fn a_command_expires_by_the_steady_clock_whatever_the_other_does() {
        let (open, at) = (record(), record().ordered);
        let later = |steady_ms| Moment { wall_ms: 0, steady_ms: at.steady_ms + steady_ms, ..at };
        assert_eq!(open.left_s(&later(59_999)), Some(1));
        assert_eq!(open.left_ms(&later(59_999)), Some(1));
        assert_eq!(open.left_s(&later(60_000)), None);
        assert_eq!(open.left_ms(&later(60_000)), None);
        let next_start = Moment { boot: 4, steady_ms: 0, wall_ms: at.wall_ms + 10_000 };
        assert_eq!(open.left_s(&next_start), Some(50));
    }

    #[test]
    fn an_id_reads_back_and_later_ones_are_greater() {
        let id = CommandId::new(1_800_000_000_000, [1, 2]);
        assert_eq!(CommandId::parse(&id.to_string()), Some(id));
        assert_eq!(CommandId::parse(&id.to_string().to_uppercase()), Some(id));
        assert!(CommandId::new(1_800_000_000_001, [0, 0]) > id);
        assert_eq!(CommandId::parse("12"), None);
    }
}
