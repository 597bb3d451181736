//! An effect as it is handed to whoever brings it about: filled in, with its key and what is wanted
//! of its answer.

use holdfast_core::flow::about::About;
use holdfast_core::flow::decimal;
use holdfast_core::flow::effect::{Argument, Effect, Kind};
use holdfast_core::flow::field::{Field, Fields};
use holdfast_core::flow::image::Part;
use holdfast_core::flow::view::Pending;
use holdfast_core::flow::{Code, Given, Image, Memory, Slot, TEXT_MAX_BYTES, Type};
use holdfast_core::log::runs::RunId;
use serde_json::{Map, Value as Json};

/// Bytes of an argument, filled in.
pub const ARGUMENT_MAX_BYTES: usize = 16 << 10;

/// What a run asks for.
#[derive(Clone, Debug)]
pub struct Asked {
    /// The run.
    pub run: RunId,
    /// The number of the effect in it.
    pub serial: u32,
    /// The attempt, from 1.
    pub attempt: u8,
    /// What is to be done.
    pub kind: Kind,
    /// The workflow.
    pub workflow: String,
    /// How long it may take, milliseconds; 0 for as long as it takes.
    pub timeout_ms: u64,
    /// How much its workflow matters where others wait, too: 0 to 9.
    pub priority: u8,
    arguments: Vec<(Argument, String)>,
}

impl Asked {
    /// Fills in what stands in the memory of a run.
    ///
    /// # Errors
    /// [`Failure`] for an argument that is too long.
    pub fn of(
        run: RunId,
        workflow: &str,
        pending: &Pending,
        (image, memory): (&Image<'_>, Memory<'_>),
    ) -> Result<Self, Failure> {
        let invalid = |text: &str| Failure { code: Code::INVALID, text: text.to_owned() };
        let effect = image.effect(pending.effect).ok_or_else(|| invalid("no such effect"))?;
        let mut arguments = Vec::new();
        for (argument, template) in effect.arguments() {
            let mut out = Vec::new();
            let rendered = template.render(image, &memory, &mut out);
            let text = String::from_utf8(out).ok().filter(|_| rendered.is_ok());
            let text = text.ok_or_else(|| invalid("an argument is not text"))?;
            if text.len() > ARGUMENT_MAX_BYTES {
                return Err(invalid("an argument is over 16 KiB"));
            }
            arguments.push((argument, text));
        }
        Ok(Self {
            run,
            serial: pending.serial,
            attempt: pending.attempt,
            kind: effect.kind,
            workflow: workflow.to_owned(),
            timeout_ms: effect.timeout_ms,
            priority: About::read(image.part(Part::About)).map_or(0, |about| about.priority),
            arguments,
        })
    }

    /// By which it is done once, however often it is asked for.
    #[must_use]
    pub fn key(&self) -> String {
        format!("{}-{}", self.run, self.serial)
    }

    /// The id of the run that this effect begins.
    #[must_use]
    pub fn child(&self) -> RunId {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&self.run.0).update(&self.serial.to_be_bytes());
        let mut id = self.run.0;
        id[6..].copy_from_slice(&hasher.finalize().as_bytes()[..10]);
        RunId(id)
    }

    /// An argument, where it is said.
    #[must_use]
    pub fn get(&self, argument: Argument) -> Option<&str> {
        self.arguments.iter().find(|(known, _)| *known == argument).map(|(_, text)| text.as_str())
    }

    /// An argument that every effect of its kind has.
    ///
    /// # Errors
    /// [`Failure`] where it has not.
    pub fn need(&self, argument: Argument) -> Result<&str, Failure> {
        self.get(argument).ok_or_else(|| {
            let text = format!("a `{}` needs {argument:?}", self.kind.name());
            Failure { code: Code::INVALID, text }
        })
    }

    /// An argument that is JSON; what is not is a text.
    #[must_use]
    pub fn json(&self, argument: Argument) -> Option<Json> {
        let text = self.get(argument)?;
        Some(serde_json::from_str(text).unwrap_or_else(|_| Json::from(text)))
    }

    /// What it is, in a line for people.
    #[must_use]
    pub fn words(&self) -> String {
        let first = [
            Argument::Topic,
            Argument::Name,
            Argument::Url,
            Argument::Target,
            Argument::Metric,
            Argument::Path,
        ];
        let what = first.iter().find_map(|argument| self.get(*argument)).unwrap_or_default();
        let device = self.get(Argument::Device).map(|device| format!(" of {device}"));
        // An output is nothing without what it is to be.
        let value = self.get(Argument::Value).filter(|_| self.kind == Kind::Actuate);
        let value = value.map(|value| format!(" {value}"));
        let of = value.or(device).unwrap_or_default();
        format!("{} {what}{of}", self.kind.name()).trim_end().to_owned()
    }
}

/// Why an effect was not brought about.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {text}")]
pub struct Failure {
    /// The error of the run.
    pub code: Code,
    /// In words.
    pub text: String,
}

impl Failure {
    /// One with a reason in words.
    #[must_use]
    pub fn new(code: Code, text: impl Into<String>) -> Self {
        Self { code, text: text.into() }
    }
}

/// A value for a register, owned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Owned {
    /// A number, as the type of its register has it.
    Number(i64),
    /// A text.
    Text(String),
}

impl Owned {
    /// The value, borrowed.
    #[must_use]
    pub fn get(&self) -> Given<'_> {
        match self {
            Self::Number(number) => Given::Number(*number),
            Self::Text(text) => Given::Text(text),
        }
    }
}

/// What the fields of `effect` are in an answer.
#[must_use]
pub fn answers(image: &Image<'_>, effect: &Effect<'_>, answer: &Json) -> Vec<Option<Owned>> {
    effect.answers.map(|field| value_of(image, &field, at(answer, field.name))).collect()
}

/// What fields are in an object; a name that no field has is told.
///
/// # Errors
/// What is wrong, for people.
pub fn given(
    image: &Image<'_>,
    fields: Fields<'_>,
    input: &Map<String, Json>,
) -> Result<Vec<Option<Owned>>, String> {
    let names: Vec<&str> = fields.map(|field| field.name).collect();
    if let Some(unknown) = input.keys().find(|name| !names.contains(&name.as_str())) {
        let known = if names.is_empty() { "nothing".to_owned() } else { names.join(", ") };
        return Err(format!("`{unknown}` is not among what it takes: {known}"));
    }
    let mut out = Vec::with_capacity(names.len());
    for field in fields {
        let value = input.get(field.name);
        let owned = value_of(image, &field, value);
        if owned.is_none() && (value.is_some() || field.default.is_none()) {
            let wanted = type_name(image, field.slot);
            return Err(match value {
                Some(value) => format!("`{}` is to be {wanted}, not {value}", field.name),
                None => format!("`{}` is missing: {wanted}", field.name),
            });
        }
        out.push(owned);
    }
    Ok(out)
}

/// What a register takes, for people.
#[must_use]
pub fn type_name(image: &Image<'_>, slot: Slot) -> &'static str {
    match slot {
        Slot::Text(_) => "a text of at most 64 bytes",
        Slot::Number(reg) => match image.type_of(reg) {
            Some(Type::Decimal) => "a number",
            Some(Type::Bool) => "true or false",
            _ => "an integer",
        },
    }
}

/// The way through an answer: names with `/` between them; the whole for `.`.
pub(super) fn at<'j>(answer: &'j Json, path: &str) -> Option<&'j Json> {
    if path == "." {
        return Some(answer);
    }
    path.split('/').try_fold(answer, |at, name| match at {
        Json::Array(items) => items.get(name.parse::<usize>().ok()?),
        other => other.get(name),
    })
}

fn value_of(image: &Image<'_>, field: &Field<'_>, value: Option<&Json>) -> Option<Owned> {
    owned(image, field.slot, value?)
}

/// A value as a register takes it, if it does.
#[must_use]
pub fn owned(image: &Image<'_>, slot: Slot, value: &Json) -> Option<Owned> {
    match slot {
        Slot::Text(_) => {
            let text = match value {
                Json::String(text) => text.clone(),
                Json::Number(_) | Json::Bool(_) => value.to_string(),
                _ => return None,
            };
            (text.len() <= TEXT_MAX_BYTES).then_some(Owned::Text(text))
        }
        Slot::Number(reg) => {
            let number = match image.type_of(reg)? {
                Type::Int => value.as_i64().or_else(|| whole(value.as_f64()?)),
                Type::Decimal => match value.as_i64() {
                    Some(int) => decimal::of_int(int),
                    None => decimal::of(value.as_f64()?),
                },
                Type::Bool => value.as_bool().map(i64::from),
            };
            number.map(Owned::Number)
        }
    }
}

/// A double that is an integer, as one.
fn whole(value: f64) -> Option<i64> {
    // Up to here every integer is a double.
    (value.fract() == 0.0 && value.abs() < 9_007_199_254_740_992.0).then_some(value as i64)
}

/// A value as plain text: a text as it is, nothing for nothing.
pub(super) fn plain(value: &Json) -> String {
    match value {
        Json::String(text) => text.clone(),
        Json::Null => String::new(),
        other => other.to_string(),
    }
}

/// What stands in a register, as JSON.
#[must_use]
pub fn shown(image: &Image<'_>, memory: Memory<'_>, slot: Slot) -> Json {
    match slot {
        Slot::Text(reg) => Json::from(memory.text(reg)),
        Slot::Number(reg) => number_shown(image, slot, memory.number(reg)),
    }
}

/// A number as a register has it, as JSON.
pub(super) fn number_shown(image: &Image<'_>, slot: Slot, number: i64) -> Json {
    let of = match slot {
        Slot::Number(reg) => image.type_of(reg),
        Slot::Text(_) => None,
    };
    match of {
        Some(Type::Decimal) => Json::from(decimal::value(number)),
        Some(Type::Bool) => Json::from(number != 0),
        _ => Json::from(number),
    }
}
