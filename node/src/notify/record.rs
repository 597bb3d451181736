//! A notice as it is kept. Byte-exact page: `docs/formats/runs.md`.

use super::settings::ADDRESSES_MAX;
use crate::runs::record::{BY_MAX_BYTES, NAME_MAX_BYTES, open, started};
use holdfast_core::codec::{Reader, Sink};
use holdfast_core::limits::{DEVICE_MAX_BYTES, NOTE_MAX_BYTES};
use holdfast_core::log::runs::RunId;
use holdfast_core::{Reject, Timestamp};
use std::fmt;

/// Bytes of the name of a channel: a mail address may have 254.
pub(super) const CHANNEL_MAX_BYTES: usize = 260;
/// Bytes of why a sending failed.
pub(super) const ERROR_MAX_BYTES: usize = 256;
/// Runs that are told of the acknowledgement; of more the oldest are forgotten.
const RUNS_MAX: usize = 16;
/// Channels of a notice.
const CHANNELS_MAX: usize = ADDRESSES_MAX + 1;

/// By which a notice is known: when it began, and what it follows from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NoticeId(pub [u8; 12]);

impl NoticeId {
    /// That of the notice that an effect with this key begins.
    pub(super) fn of(key: &str, now: Timestamp) -> Self {
        let mut id = [0; 12];
        id[..6].copy_from_slice(&now.millis().max(0).to_be_bytes()[2..]);
        id[6..].copy_from_slice(&blake3::hash(key.as_bytes()).as_bytes()[..6]);
        Self(id)
    }

    /// Reads 24 hexadecimal digits.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = data_encoding::HEXLOWER_PERMISSIVE.decode(text.as_bytes()).ok()?;
        bytes.try_into().ok().map(Self)
    }
}

impl fmt::Display for NoticeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&data_encoding::HEXLOWER.encode(&self.0))
    }
}

/// How far a notice is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum State {
    /// It is repeated.
    #[default]
    Open = 0,
    /// Somebody said that they know.
    Acknowledged = 1,
    /// Nobody did for as long as it is repeated.
    GivenUp = 2,
}

impl State {
    const ALL: [Self; 3] = [Self::Open, Self::Acknowledged, Self::GivenUp];

    /// The word in answers.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Acknowledged => "acknowledged",
            Self::GivenUp => "given-up",
        }
    }
}

/// How far a notice is on one of the ways on which it is sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Channel {
    /// `mail ADDRESS` or `webhook`.
    pub name: String,
    /// How often it was sent.
    pub sent: u32,
    /// When it was sent last, Unix milliseconds; 0 before that.
    pub sent_ms: i64,
    /// When it is sent next.
    pub due_ms: i64,
    /// How long it has been waited for in all: whatever the clock shows, so far it has come.
    pub waited_ms: u64,
    /// How often in a row it failed, and why the last time.
    pub failures: u32,
    /// Why it failed the last time; empty where it did not.
    pub error: String,
}

/// Something that somebody is to be told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Notice {
    /// The workflow that says so.
    pub workflow: String,
    /// Who is told.
    pub target: String,
    /// The device that it is about, or empty.
    pub device: String,
    /// The newest text.
    pub text: String,
    /// When it was said first, Unix milliseconds.
    pub since_ms: i64,
    /// When it was said last.
    pub said_ms: i64,
    /// How often it was said.
    pub count: u64,
    /// The runs that said so, the newest last.
    pub runs: Vec<RunId>,
    /// How far it is.
    pub state: State,
    /// When that was so, where it is over.
    pub over_ms: i64,
    /// Who acknowledged it, or empty.
    pub by: String,
    /// The ways on which it is sent.
    pub channels: Vec<Channel>,
}

impl Notice {
    /// Joins what a run says now.
    pub(super) fn join(&mut self, run: RunId, text: &str, now_ms: i64) {
        self.count += 1;
        text.clone_into(&mut self.text);
        self.said_ms = now_ms;
        self.runs.retain(|known| *known != run);
        self.runs.push(run);
        let surplus = self.runs.len().saturating_sub(RUNS_MAX);
        self.runs.drain(..surplus);
    }

    /// The channel of this name; it begins where there is none.
    pub(super) fn channel(&mut self, name: &str) -> &mut Channel {
        let known = self.channels.iter().position(|channel| channel.name == name);
        let place = known.unwrap_or_else(|| {
            let (name, due_ms) = (name.to_owned(), self.since_ms);
            self.channels.push(Channel { name, due_ms, ..Channel::default() });
            self.channels.len() - 1
        });
        &mut self.channels[place]
    }

    /// Its value.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = started();
        self.put(&mut out).expect("a vector has room");
        out
    }

    fn put(&self, out: &mut Vec<u8>) -> Result<(), Reject> {
        for text in [&self.workflow, &self.target, &self.device, &self.text] {
            out.put_bytes(text.as_bytes())?;
        }
        out.put_int(self.since_ms)?;
        out.put_int(self.said_ms)?;
        out.put_uint(self.count)?;
        out.put_uint(self.runs.len() as u64)?;
        for run in &self.runs {
            out.put(&run.0)?;
        }
        out.put_u8(self.state as u8)?;
        out.put_int(self.over_ms)?;
        out.put_bytes(self.by.as_bytes())?;
        out.put_uint(self.channels.len() as u64)?;
        for channel in &self.channels {
            out.put_bytes(channel.name.as_bytes())?;
            out.put_uint(channel.sent.into())?;
            out.put_int(channel.sent_ms)?;
            out.put_int(channel.due_ms)?;
            out.put_uint(channel.waited_ms)?;
            out.put_uint(channel.failures.into())?;
            out.put_bytes(channel.error.as_bytes())?;
        }
        Ok(())
    }

    /// Reads one.
    ///
    /// # Errors
    /// What is wrong with the bytes.
    pub fn decode(value: &[u8]) -> Result<Self, Reject> {
        let mut reader = open(value)?;
        let workflow = reader.str(NAME_MAX_BYTES)?.to_owned();
        let target = reader.str(NAME_MAX_BYTES)?.to_owned();
        let device = reader.str(DEVICE_MAX_BYTES)?.to_owned();
        let text = reader.str(NOTE_MAX_BYTES)?.to_owned();
        let (since_ms, said_ms, count) = (reader.int()?, reader.int()?, reader.uint()?);
        let runs = list(&mut reader, RUNS_MAX, |reader| Ok(RunId(reader.array()?)))?;
        let state = usize::from(reader.u8()?);
        let state = *State::ALL.get(state).ok_or(Reject::Malformed)?;
        let over_ms = reader.int()?;
        let by = reader.str(BY_MAX_BYTES)?.to_owned();
        let channels = list(&mut reader, CHANNELS_MAX, read_channel)?;
        reader.finish()?;
        let said = Self { workflow, target, device, text, since_ms, said_ms, ..Self::default() };
        Ok(Self { count, runs, state, over_ms, by, channels, ..said })
    }
}

fn read_channel(reader: &mut Reader<'_>) -> Result<Channel, Reject> {
    let name = reader.str(CHANNEL_MAX_BYTES)?.to_owned();
    let sent = small(reader)?;
    let (sent_ms, due_ms, waited_ms) = (reader.int()?, reader.int()?, reader.uint()?);
    let failures = small(reader)?;
    let error = reader.str(ERROR_MAX_BYTES)?.to_owned();
    Ok(Channel { name, sent, sent_ms, due_ms, waited_ms, failures, error })
}

fn small(reader: &mut Reader<'_>) -> Result<u32, Reject> {
    u32::try_from(reader.uint()?).map_err(|_| Reject::Malformed)
}

fn list<T>(
    reader: &mut Reader<'_>,
    most: usize,
    one: impl Fn(&mut Reader<'_>) -> Result<T, Reject>,
) -> Result<Vec<T>, Reject> {
    let count = usize::try_from(reader.uint()?).map_err(|_| Reject::Malformed)?;
    if count > most {
        return Err(Reject::Full);
    }
    (0..count).map(|_| one(reader)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use data_encoding::HEXLOWER;

    fn notice() -> Notice {
        Notice {
            workflow: "dry".to_owned(),
            target: "on-call".to_owned(),
            device: "ps-1".to_owned(),
            text: "dry again".to_owned(),
            since_ms: 1_000,
            said_ms: 2_000,
            count: 2,
            runs: vec![RunId([1; 16])],
            state: State::Acknowledged,
            over_ms: 3_000,
            by: "ann".to_owned(),
            channels: vec![Channel {
                name: "webhook".to_owned(),
                sent: 1,
                sent_ms: 1_500,
                due_ms: 4_000,
                waited_ms: 300,
                failures: 2,
                error: "no".to_owned(),
            }],
        }
    }

    #[test]
    fn a_notice_is_kept_as_the_page_of_the_format_has_it() {
        let page = include_str!("../../../docs/formats/runs.md");
        let bytes = HEXLOWER.encode(&notice().encode());
        assert!(page.contains(&format!("    {bytes}\n")), "{bytes}");
        assert_eq!(Notice::decode(&notice().encode()), Ok(notice()));
    }

    #[test]
    fn no_bytes_of_a_notice_that_are_cut_or_too_many_are_one() {
        let bytes = notice().encode();
        for end in 0..bytes.len() {
            assert!(Notice::decode(&bytes[..end]).is_err(), "{end}");
        }
        assert!(Notice::decode(&[&bytes[..], &[0]].concat()).is_err());
    }

    #[test]
    fn what_is_said_again_counts_and_the_newest_text_stays() {
        let mut notice = notice();
        for run in 0..40 {
            notice.join(RunId([run; 16]), "newest", 9_000);
        }
        assert_eq!((notice.count, notice.text.as_str(), notice.since_ms), (42, "newest", 1_000));
        assert_eq!((notice.runs.len(), notice.runs[15]), (16, RunId([39; 16])));
    }

    #[test]
    fn an_id_reads_back() {
        let at = Timestamp::from_millis(1_793_880_000_000).unwrap();
        let id = NoticeId::of("run-1", at);
        assert_eq!(NoticeId::parse(&id.to_string()), Some(id));
        assert_eq!(NoticeId::of("run-1", at), id);
        assert_ne!(NoticeId::of("run-2", at), id);
        assert_eq!(NoticeId::parse("12"), None);
    }
}
