//! What was found that begins a run or has one go on, from when it is found to when it is taken.
//!
//! It is written in the transaction of what it was found in, and goes in the one in which the
//! engine takes it: in between, nothing that stops the node loses it. Byte-exact page:
//! `docs/formats/runs.md`.

use super::library::Flow;
use super::record::{BY_MAX_BYTES, INPUT_MAX_BYTES, NAME_MAX_BYTES, open, started};
use holdfast_core::codec::{Reader, Sink};
use holdfast_core::log::runs::{RunId, RunWanted};
use holdfast_core::{Reject, Timestamp};
use holdfast_sync::Fault;
use holdfast_sync::env::Env;
use holdfast_sync::store::{Table, WriteTx};
use serde_json::{Map, Value as Json, json};

/// Bytes of the facts of what was found, as JSON.
pub const FACTS_MAX_BYTES: usize = 16 << 10;
const BEGIN: u8 = 0;
const WANTED: u8 = 1;

/// Something that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Due {
    /// The run that it begins, or that waits for it.
    pub run: RunId,
    /// What it does.
    pub what: DueWhat,
}

/// What something that was found does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DueWhat {
    /// It begins a run.
    Begin {
        /// Of which workflow.
        workflow: String,
        /// Of which version.
        version: String,
        /// By which of its triggers.
        trigger: u16,
        /// What is known of it, JSON.
        facts: String,
    },
    /// A gateway wants it to begin.
    Wanted {
        /// Of which workflow.
        workflow: String,
        /// Of which version; empty for the newest.
        version: String,
        /// Who or what wants it.
        by: String,
        /// What it is given, JSON.
        input: String,
    },
    /// A condition that the run waits for came true: the number of the signal.
    Condition(u8),
}

/// What is known of what was found, by the names of facts.
#[derive(Clone, Debug, Default)]
pub struct Facts(Map<String, Json>);

impl Facts {
    /// It was so, or came, then.
    #[must_use]
    pub fn at(time: Timestamp) -> Self {
        Self::default().with("time", time.millis())
    }

    /// One more.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Json>) -> Self {
        self.0.insert(name.to_owned(), value.into());
        self
    }

    pub(super) const fn map(&self) -> &Map<String, Json> {
        &self.0
    }

    /// A message on a topic.
    #[must_use]
    pub fn message(topic: &str, payload: &str, at: Timestamp) -> Self {
        let levels = json!(topic.split('/').collect::<Vec<_>>());
        Self::at(at).with("topic", topic).with("payload", payload).with("level", levels)
    }
}

impl Due {
    /// A run of a workflow begins by a trigger of it.
    #[must_use]
    pub fn begin(flow: &Flow, trigger: u16, facts: Facts, env: &Env) -> Self {
        let run = RunId::new(env.now().millis(), [env.entropy(), env.entropy()]);
        let (workflow, version) = (flow.id.clone(), flow.version.clone());
        let facts = Json::Object(facts.0).to_string();
        Self { run, what: DueWhat::Begin { workflow, version, trigger, facts } }
    }

    /// A run of a workflow that a gateway wants, as its log tells.
    #[must_use]
    pub fn wanted(wanted: &RunWanted<'_>) -> Self {
        let RunWanted { run, workflow, version, by, input } = *wanted;
        let [workflow, version, by, input] = [workflow, version, by, input].map(str::to_owned);
        Self { run, what: DueWhat::Wanted { workflow, version, by, input } }
    }

    /// The workflow of which a gateway wants a run.
    pub(super) fn wanted_of(&self) -> Option<&str> {
        match &self.what {
            DueWhat::Wanted { workflow, .. } => Some(workflow),
            _ => None,
        }
    }

    /// Its key.
    #[must_use]
    pub fn key(&self) -> Vec<u8> {
        match self.what {
            DueWhat::Begin { .. } | DueWhat::Wanted { .. } => self.run.0.to_vec(),
            DueWhat::Condition(signal) => [&self.run.0[..], &[signal]].concat(),
        }
    }

    /// Its key and its value.
    #[must_use]
    pub fn record(&self) -> (Vec<u8>, Vec<u8>) {
        let mut out = started();
        self.what.put(&mut out).expect("a vector has room");
        (self.key(), out)
    }

    /// Writes it into the transaction of what it was found in.
    ///
    /// # Errors
    /// A fault of the store.
    pub fn put(&self, tx: &mut WriteTx<'_>) -> Result<(), Fault> {
        let (key, value) = self.record();
        tx.put(Table::RunDue, &key, &value)
    }

    /// Reads a record.
    ///
    /// # Errors
    /// What is wrong with the bytes.
    pub fn decode(key: &[u8], value: &[u8]) -> Result<Self, Reject> {
        let mut reader = open(value)?;
        let (run, rest) = key.split_first_chunk().ok_or(Reject::Malformed)?;
        let run = RunId(*run);
        let what = match rest {
            [] => DueWhat::read(&mut reader)?,
            [signal] => DueWhat::Condition(*signal),
            _ => return Err(Reject::Malformed),
        };
        reader.finish()?;
        Ok(Self { run, what })
    }
}

impl DueWhat {
    fn put(&self, out: &mut Vec<u8>) -> Result<(), Reject> {
        match self {
            Self::Begin { workflow, version, trigger, facts } => {
                out.put_u8(BEGIN)?;
                out.put_bytes(workflow.as_bytes())?;
                out.put_bytes(version.as_bytes())?;
                out.put_uint(u64::from(*trigger))?;
                out.put_bytes(facts.as_bytes())
            }
            Self::Wanted { workflow, version, by, input } => {
                out.put_u8(WANTED)?;
                let mut texts = [workflow, version, by, input].into_iter();
                texts.try_for_each(|text| out.put_bytes(text.as_bytes()))
            }
            Self::Condition(_) => Ok(()),
        }
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, Reject> {
        let kind = reader.u8()?;
        let workflow = reader.str(NAME_MAX_BYTES)?.to_owned();
        let version = reader.str(NAME_MAX_BYTES)?.to_owned();
        match kind {
            BEGIN => {
                let trigger = u16::try_from(reader.uint()?).map_err(|_| Reject::Malformed)?;
                let facts = reader.str(FACTS_MAX_BYTES)?.to_owned();
                Ok(Self::Begin { workflow, version, trigger, facts })
            }
            WANTED => {
                let by = reader.str(BY_MAX_BYTES)?.to_owned();
                let input = reader.str(INPUT_MAX_BYTES)?.to_owned();
                Ok(Self::Wanted { workflow, version, by, input })
            }
            _ => Err(Reject::Malformed),
        }
    }
}
