//! Effects that are rows of this node's own store, done in the transaction that knows of them: what
//! a device should be, alerts, and what the node itself knows.

use super::effect::{Asked, Failure, plain};
use super::record::NAME_MAX_BYTES;
use super::step::Local;
use crate::notify::Notices;
use crate::pipeline::Catalog;
use crate::twins::{Condition, Patch, Section, Shown, Twins};
use holdfast_core::Device;
use holdfast_core::codec::{Reader, Sink};
use holdfast_core::flow::Code;
use holdfast_core::flow::effect::{Argument, Kind};
use holdfast_core::limits::{NOTE_MAX_BYTES, RULE_MAX_BYTES};
use holdfast_core::log::alerts::{AlertCleared, AlertId, AlertRaised, ClearReason, Subject};
use holdfast_core::log::events::{Event, Severity};
use holdfast_core::log::runs::{INPUT_MAX_BYTES, RunWanted};
use holdfast_core::state::Role;
use holdfast_sync::Fault;
use holdfast_sync::store::{Table, WriteError, WriteTx};
use jiff::tz::TimeZone;
use serde_json::{Map, Value as Json, json};
use std::sync::Arc;

/// What this node does by itself.
pub struct Here {
    /// The newest value of each series.
    pub catalog: Arc<Catalog>,
    /// The twins of devices.
    pub twins: Twins,
    /// Who can be told.
    pub notices: Notices,
    /// The zone of the site.
    pub zone: TimeZone,
}

impl Here {
    fn forwards(&self) -> bool {
        self.twins.role() == Role::Edge
    }
}

impl Local for Here {
    fn kinds(&self) -> u32 {
        let said = Kind::Raise.bit() | Kind::Clear.bit() | Kind::Notify.bit() | Kind::Twin.bit();
        let bits = said | Kind::Reading.bit() | Kind::State.bit() | Kind::Clock.bit();
        // On the hub there is nobody to hand it to.
        if self.forwards() { bits | Kind::Forward.bit() } else { bits }
    }

    fn has_tag(&self, device: &str, name: &str, value: &str) -> bool {
        let Some(document) = Section::Tags.document(device) else { return false };
        let shown = self.twins.store().read_blocking(|view| self.twins.shown(view, &document));
        match shown {
            Ok(shown) => is_tagged(&shown, name, value),
            Err(fault) => {
                tracing::error!(%fault, device, "the tags of a device cannot be read");
                false
            }
        }
    }

    fn apply(&self, tx: &mut WriteTx<'_>, asked: &Asked) -> Result<Result<Json, Failure>, Fault> {
        match asked.kind {
            Kind::Reading => Ok(self.reading(asked)),
            Kind::Clock => Ok(self.clock(tx)),
            Kind::State => self.state(tx, asked),
            Kind::Twin => self.set(tx, asked),
            Kind::Raise => raise(tx, asked),
            Kind::Clear => clear(tx, asked),
            Kind::Forward if self.forwards() => forward(tx, asked),
            Kind::Notify => self.notices.say(tx, asked),
            other => {
                let text = format!("this node does no `{}` by itself", other.name());
                Ok(Err(Failure::new(Code::INCAPABLE, text)))
            }
        }
    }

    fn settled(&self) {
        self.notices.settled();
    }

    fn tells(&self, target: &str) -> bool {
        self.notices.knows(target)
    }
}

/// Whether a device with these tags has this value under this one.
pub(crate) fn is_tagged(tags: &Shown, name: &str, value: &str) -> bool {
    tags.at(name).is_some_and(|leaf| plain(&leaf.value) == value)
}

impl Here {
    /// The newest value of a metric of a device, in whatever unit it came last.
    fn reading(&self, asked: &Asked) -> Result<Json, Failure> {
        let (device, metric) = (asked.need(Argument::Device)?, asked.need(Argument::Metric)?);
        let all = self.catalog.list(|info| *info.device == *device && *info.metric == *metric);
        let newest = all.into_iter().max_by_key(|(_, last)| last.time);
        let (_, last) = newest.ok_or_else(|| {
            Failure::new(Code::MISSING, format!("`{device}` has no `{metric}` here"))
        })?;
        let value = match last.value.get() {
            holdfast_core::Value::Float(number) => json!(number.get()),
            holdfast_core::Value::Int(int) => json!(int),
            holdfast_core::Value::Bool(on) => json!(on),
            holdfast_core::Value::Text(text) => json!(text.as_str()),
        };
        Ok(json!({ "value": value, "time": last.time.millis() }))
    }

    fn clock(&self, tx: &WriteTx<'_>) -> Result<Json, Failure> {
        let now = jiff::Timestamp::from_millisecond(tx.now().millis());
        let now = now.map_err(|error| Failure::new(Code::RANGE, error.to_string()))?;
        let at = now.to_zoned(self.zone.clone());
        let weekday = at.weekday().to_monday_one_offset();
        Ok(json!({ "hour": at.hour(), "minute": at.minute(), "weekday": weekday }))
    }

    /// What stands at `desired/...`, `reported/...` or `tags/...` of a device.
    fn state(&self, tx: &WriteTx<'_>, asked: &Asked) -> Result<Result<Json, Failure>, Fault> {
        let found = || {
            let (device, path) = (asked.need(Argument::Device)?, asked.need(Argument::Path)?);
            let (section, rest) = path.split_once('/').unwrap_or((path, ""));
            let section = Section::from_name(section).filter(|_| !rest.is_empty());
            let name = section.and_then(|section| section.document(device));
            name.map(|name| (name, rest)).ok_or_else(|| {
                let text = format!("`{path}` of `{device}` is nothing: expected reported/NAME");
                Failure::new(Code::INVALID, text)
            })
        };
        let (name, path) = match found() {
            Ok(found) => found,
            Err(failure) => return Ok(Err(failure)),
        };
        let shown = self.twins.shown(tx, &name)?;
        Ok(match shown.at(path) {
            Some(leaf) => Ok(json!({ "value": leaf.value })),
            None => Err(Failure::new(Code::MISSING, format!("nothing stands at `{path}`"))),
        })
    }

    /// What a device should be.
    fn set(&self, tx: &mut WriteTx<'_>, asked: &Asked) -> Result<Result<Json, Failure>, Fault> {
        let read = || {
            let (device, path) = (asked.need(Argument::Device)?, asked.need(Argument::Path)?);
            let value = asked.json(Argument::Value).unwrap_or(Json::Null);
            let patch = path.rsplit('/').fold(value, |inner, name| {
                Json::Object(Map::from_iter([(name.to_owned(), inner)]))
            });
            let invalid = |text: String| Failure::new(Code::INVALID, text);
            let patch = Patch::read(&patch).map_err(|wrong| invalid(wrong.detail))?;
            let name = Section::Desired.document(device);
            let name = name.ok_or_else(|| invalid(format!("`{device}` is no device's id")))?;
            Ok((name, patch))
        };
        let (name, patch) = match read() {
            Ok(read) => read,
            Err(failure) => return Ok(Err(failure)),
        };
        let written =
            tx.attempt(|tx| self.twins.patch_in(tx, &name, &patch, &Condition::default()))?;
        match written {
            Ok(_) => Ok(Ok(Json::Null)),
            Err(WriteError::Fault(fault)) => Err(fault),
            Err(error) => Ok(Err(Failure::new(Code::REFUSED, error.to_string()))),
        }
    }
}

/// The hub is to begin a run, under an id that this effect alone has.
fn forward(tx: &mut WriteTx<'_>, asked: &Asked) -> Result<Result<Json, Failure>, Fault> {
    let run = asked.child();
    let read = || {
        let workflow = asked.need(Argument::Name)?;
        let input = match asked.json(Argument::Args) {
            None => Json::Object(Map::new()),
            Some(Json::Object(input)) => Json::Object(input),
            Some(_) => {
                return Err(Failure::new(Code::INVALID, "what a run is given is an object"));
            }
        };
        Ok((workflow, input.to_string()))
    };
    let (workflow, input) = match read() {
        Ok(read) => read,
        Err(failure) => return Ok(Err(failure)),
    };
    if workflow.len() > NAME_MAX_BYTES || input.len() > INPUT_MAX_BYTES {
        let text = format!("a name has {NAME_MAX_BYTES} bytes, an input {INPUT_MAX_BYTES}");
        return Ok(Err(Failure::new(Code::INVALID, text)));
    }
    let by = format!("run {}", asked.run);
    let wanted = RunWanted { run, workflow, version: "", by: &by, input: &input };
    let said = said(tx, &Event::Wanted(wanted))?;
    Ok(said.map(|_| json!({ "run": run.to_string() })))
}

/// An alert begins, unless it is there already. The pipeline hears of it in the log, as of one of
/// another node, and nothing watches it.
fn raise(tx: &mut WriteTx<'_>, asked: &Asked) -> Result<Result<Json, Failure>, Fault> {
    let about = match About::of(asked) {
        Ok(about) => about,
        Err(failure) => return Ok(Err(failure)),
    };
    let severity = match asked.get(Argument::Severity) {
        None => Severity::Warning,
        Some(word) => match Severity::ALL.into_iter().find(|known| known.name() == word) {
            Some(severity) => severity,
            None => {
                let text = format!("`{word}` is no severity: info, warning or critical");
                return Ok(Err(Failure::new(Code::INVALID, text)));
            }
        },
    };
    if tx.view().get(Table::RunAlert, &about.key)?.is_some() {
        return Ok(Ok(Json::Null));
    }
    let digest = blake3::hash(asked.key().as_bytes());
    let id = u64::from_le_bytes(*digest.as_bytes().first_chunk().expect("a hash is longer"));
    let text = asked.get(Argument::Text).unwrap_or_default();
    let raised = AlertRaised {
        id: AlertId(id),
        severity,
        rule: &about.rule,
        subject: about.subject(),
        since: tx.now(),
        value: None,
        text: &text[..text.floor_char_boundary(NOTE_MAX_BYTES)],
    };
    tx.put(Table::RunAlert, &about.key, &id.to_le_bytes())?;
    said(tx, &Event::AlertRaised(raised))
}

fn clear(tx: &mut WriteTx<'_>, asked: &Asked) -> Result<Result<Json, Failure>, Fault> {
    let about = match About::of(asked) {
        Ok(about) => about,
        Err(failure) => return Ok(Err(failure)),
    };
    let known = tx.view().get(Table::RunAlert, &about.key)?;
    let Some(id) = known.as_deref().and_then(|value| value.first_chunk::<8>().copied()) else {
        return Ok(Ok(Json::Null));
    };
    tx.delete(Table::RunAlert, &about.key)?;
    let id = AlertId(u64::from_le_bytes(id));
    let (reason, at) = (ClearReason::Over, tx.now());
    said(tx, &Event::AlertCleared(AlertCleared { id, reason, at, value: None }))
}

/// Nothing of a workflow is there any more that could clear its alerts.
pub(super) fn clear_all(tx: &mut WriteTx<'_>, workflow: &str) -> Result<(), WriteError> {
    let prefix = format!("{workflow}/");
    let is_of = |key: &[u8]| {
        let rule = Reader::new(key).str(RULE_MAX_BYTES);
        rule.is_ok_and(|rule| rule.starts_with(&prefix))
    };
    let all = tx.view().scan(Table::RunAlert, &[], &[], usize::MAX)?;
    for (key, id) in all.iter().filter(|(key, _)| is_of(key)) {
        tx.delete(Table::RunAlert, key)?;
        let Some(id) = id.first_chunk().map(|id| AlertId(u64::from_le_bytes(*id))) else {
            continue;
        };
        let (reason, at) = (ClearReason::Unwatched, tx.now());
        tx.append_events(&[Event::AlertCleared(AlertCleared { id, reason, at, value: None })])?;
    }
    Ok(())
}

fn said(tx: &mut WriteTx<'_>, event: &Event<'_>) -> Result<Result<Json, Failure>, Fault> {
    match tx.append_events(&[*event]) {
        Ok(_) => Ok(Ok(Json::Null)),
        Err(WriteError::Fault(fault)) => Err(fault),
        Err(error) => Ok(Err(Failure::new(Code::INVALID, error.to_string()))),
    }
}

/// What an alert of a workflow is about.
struct About {
    rule: String,
    device: Option<String>,
    key: Vec<u8>,
}

impl About {
    fn of(asked: &Asked) -> Result<Self, Failure> {
        let name = asked.need(Argument::Name)?;
        let rule = format!("{}/{name}", asked.workflow);
        if rule.len() > RULE_MAX_BYTES {
            let text = format!("`{rule}` is longer than the {RULE_MAX_BYTES} bytes of a rule");
            return Err(Failure::new(Code::INVALID, text));
        }
        let device = asked.get(Argument::Device).filter(|device| !device.is_empty());
        if let Some(device) = device
            && Device::new(device).is_err()
        {
            return Err(Failure::new(Code::INVALID, format!("`{device}` is no device's id")));
        }
        let mut key = Vec::new();
        for part in [rule.as_str(), device.unwrap_or_default()] {
            key.put_bytes(part.as_bytes()).expect("a vector has room");
        }
        Ok(Self { rule, device: device.map(str::to_owned), key })
    }

    fn subject(&self) -> Subject<'_> {
        match self.device.as_deref().and_then(|device| Device::new(device).ok()) {
            Some(device) => Subject::Device(device),
            None => Subject::Node,
        }
    }
}
