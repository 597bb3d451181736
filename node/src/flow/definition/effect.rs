//! Effects: one table of what each takes, by which they are read and the schema is checked.

use super::super::diagnostic::{Place, Report, Told};
use super::super::expression::typed::Kind as ValueKind;
use super::super::source::{Node, Value};
use super::fields::{self, Fields, Named};
use super::step::{Step, steps};
use super::template::{self, Template};
use super::{Constant, TYPES, constant};
use holdfast_core::flow::effect::{Argument, Kind};
use holdfast_core::flow::{ANSWERS_MAX, NAME_MAX_BYTES};

/// An effect as a definition has it.
#[derive(Clone, Debug)]
pub(in super::super) struct Effect {
    pub(in super::super) kind: Kind,
    /// In the order of their numbers.
    pub(in super::super) arguments: Vec<(Argument, Template)>,
    pub(in super::super) idempotent: bool,
    pub(in super::super) timeout_ms: u64,
    pub(in super::super) retries: Vec<Retry>,
    pub(in super::super) results: Vec<Answer>,
    pub(in super::super) undo: Option<Vec<Step>>,
}

/// What is taken from an answer.
#[derive(Clone, Debug)]
pub(in super::super) struct Answer {
    /// The variable.
    pub(in super::super) name: Named,
    /// The way through the answer.
    pub(in super::super) path: String,
    pub(in super::super) kind: ValueKind,
    pub(in super::super) default: Option<Constant>,
}

/// A rule for repeating.
#[derive(Clone, Debug)]
pub(in super::super) struct Retry {
    pub(in super::super) attempts: u8,
    pub(in super::super) jitter: u8,
    pub(in super::super) first_ms: u32,
    pub(in super::super) cap_ms: u32,
    pub(in super::super) rate: u16,
    /// Empty for any error.
    pub(in super::super) on: Vec<Named>,
}

/// How an argument is written.
#[derive(Clone, Copy)]
enum Form {
    /// A text with values in it.
    Text,
    /// Any YAML, as JSON.
    Json,
    /// A text as it is; a list or a map as JSON.
    Content,
    Qos,
    Truth,
    /// A length of time, in seconds.
    Seconds,
    Severity,
    Method,
}

/// A key of an effect.
#[derive(Clone, Copy)]
struct Key(&'static str, Argument, Form);

/// What an effect takes: its keys, or those of the map behind its name.
struct Shape {
    kind: Kind,
    /// What stands behind the name of the effect; without one it is a map of the others.
    head: Option<Key>,
    keys: &'static [Key],
}

const DEVICE: Key = Key("device", Argument::Device, Form::Text);
const ARGS: Key = Key("args", Argument::Args, Form::Json);
const VALUE: Key = Key("value", Argument::Value, Form::Json);
const TEXT: Key = Key("text", Argument::Text, Form::Text);
const NAME: Key = Key("name", Argument::Name, Form::Text);

const SHAPES: [Shape; 11] = [
    Shape {
        kind: Kind::Publish,
        head: Some(Key("topic", Argument::Topic, Form::Text)),
        keys: &[
            Key("payload", Argument::Payload, Form::Content),
            Key("qos", Argument::Qos, Form::Qos),
            Key("retain", Argument::Retain, Form::Truth),
        ],
    },
    Shape {
        kind: Kind::Twin,
        head: None,
        keys: &[DEVICE, Key("path", Argument::Path, Form::Text), VALUE],
    },
    Shape {
        kind: Kind::Command,
        head: Some(NAME),
        keys: &[DEVICE, ARGS, Key("lasts", Argument::Lasts, Form::Seconds)],
    },
    Shape {
        kind: Kind::Http,
        head: None,
        keys: &[
            Key("method", Argument::Method, Form::Method),
            Key("url", Argument::Url, Form::Text),
            Key("body", Argument::Body, Form::Content),
            Key("content_type", Argument::ContentType, Form::Text),
        ],
    },
    Shape {
        kind: Kind::Raise,
        head: Some(NAME),
        keys: &[Key("severity", Argument::Severity, Form::Severity), TEXT, DEVICE],
    },
    Shape { kind: Kind::Clear, head: Some(NAME), keys: &[DEVICE] },
    Shape {
        kind: Kind::Notify,
        head: Some(Key("target", Argument::Target, Form::Text)),
        keys: &[TEXT, DEVICE],
    },
    Shape {
        kind: Kind::Emit,
        head: Some(Key("metric", Argument::Metric, Form::Text)),
        keys: &[VALUE, Key("unit", Argument::Unit, Form::Text), DEVICE],
    },
    Shape { kind: Kind::Forward, head: Some(NAME), keys: &[ARGS] },
    Shape { kind: Kind::Flow, head: Some(NAME), keys: &[ARGS] },
    Shape { kind: Kind::Actuate, head: Some(NAME), keys: &[VALUE] },
];

/// Keys that each effect has.
const COMMON: [&str; 7] = ["timeout", "retry", "result", "label", "undo", "catch", "idempotent"];

const METHODS: [&str; 6] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"];
const SEVERITIES: [&str; 3] = ["info", "warning", "critical"];

/// The names of the effects.
pub(in super::super) fn names() -> impl Iterator<Item = &'static str> + Clone {
    SHAPES.iter().map(|shape| shape.kind.name())
}

/// The keys that a step with this effect has, and those of the map behind its name.
#[cfg(test)]
pub(in super::super) fn keys_of(name: &str) -> (Vec<&'static str>, Vec<&'static str>) {
    let shape = SHAPES.iter().find(|shape| shape.kind.name() == name).expect("an effect");
    let own = shape.keys.iter().map(|key| key.0).collect();
    let mut step = vec![shape.kind.name()];
    step.extend(COMMON);
    match shape.head {
        Some(_) => {
            step.extend::<Vec<_>>(own);
            (step, Vec::new())
        }
        None => (step, own),
    }
}

/// The keys that each effect has.
#[cfg(test)]
pub(in super::super) const RETRY_KEYS: [&str; 6] = RETRY;
#[cfg(test)]
pub(in super::super) const RESULT_KEYS: [&str; 3] = RESULT;

const RETRY: [&str; 6] = ["attempts", "first", "factor", "at_most", "jitter", "on"];
const RESULT: [&str; 3] = ["path", "type", "default"];

/// Reads the effect that the step is.
pub(super) fn read(
    name: &str,
    head: &Node<'_>,
    step: &Fields<'_>,
    report: &mut Report,
) -> Option<Result<Effect, Told>> {
    let shape = SHAPES.iter().find(|shape| shape.kind.name() == name)?;
    Some(read_as(shape, head, step, report))
}

fn read_as(
    shape: &Shape,
    head: &Node<'_>,
    step: &Fields<'_>,
    report: &mut Report,
) -> Result<Effect, Told> {
    let name = shape.kind.name();
    let own: Vec<_> = shape.keys.iter().map(|key| key.0).collect();
    let mut step_keys = vec![name];
    step_keys.extend(COMMON);
    let inner;
    let fields = if shape.head.is_some() {
        step_keys.extend(own);
        step
    } else {
        inner = Fields::read(head, &format!("`{name}`"), &own, report)?;
        &inner
    };
    step.check(&step_keys, report);
    let mut arguments = Vec::new();
    let mut wrong = None;
    let mut take =
        |Key(_, argument, form): Key, node: &Node<'_>, report: &mut Report| match read_argument(
            form, node, report,
        ) {
            Ok(template) => arguments.push((argument, template)),
            Err(told) => wrong = Some(told),
        };
    if let Some(key) = shape.head {
        take(key, head, report);
    }
    for key in shape.keys {
        match fields.get(key.0) {
            Some(node) => take(*key, node, report),
            None if needs(shape.kind, key.1) => {
                fields.need(key.0, report)?;
            }
            None => {}
        }
    }
    arguments.sort_by_key(|(argument, _)| *argument);
    let idempotent = is_idempotent(shape.kind, &arguments);
    let effect = Effect {
        kind: shape.kind,
        idempotent: step.or("idempotent", idempotent, report, fields::truth),
        timeout_ms: step.or("timeout", 0, report, fields::length),
        retries: step.or("retry", Vec::new(), report, retries),
        results: step.or("result", Vec::new(), report, results),
        undo: step.or("undo", None, report, |node, report| steps(node, "undo", report).map(Some)),
        arguments,
    };
    wrong.map_or(Ok(effect), Err)
}

/// Whether an effect makes no sense without an argument.
fn needs(kind: Kind, argument: Argument) -> bool {
    kind.needs().contains(&argument) || (kind == Kind::Command && argument == Argument::Device)
}

/// Whether it may be done twice where nobody says so: whoever does it knows it by its key, but for
/// servers elsewhere, and for what the hub is to go on with.
fn is_idempotent(kind: Kind, arguments: &[(Argument, Template)]) -> bool {
    let method = arguments.iter().find(|(argument, _)| *argument == Argument::Method);
    match (kind, method) {
        (Kind::Forward, _) => false,
        (Kind::Http, Some((_, method))) => {
            matches!(method.plain(), Some("GET" | "HEAD" | "PUT" | "DELETE"))
        }
        _ => true,
    }
}

fn read_argument(form: Form, node: &Node<'_>, report: &mut Report) -> Result<Template, Told> {
    match form {
        Form::Text => template::text(node, "a text", report),
        Form::Json => template::json(node, report),
        Form::Content => template::content(node, report),
        Form::Qos => {
            fields::whole(node, 0, 2, report).map(|qos| Template::literal(&qos.to_string()))
        }
        Form::Truth => {
            fields::truth(node, report).map(|truth| Template::literal(&truth.to_string()))
        }
        Form::Seconds => {
            let ms = fields::length(node, report)?;
            if ms == 0 || ms % 1_000 != 0 {
                let message = "expected whole seconds, at least one";
                return Err(report.wrong(node.place, message));
            }
            Ok(Template::literal(&(ms / 1_000).to_string()))
        }
        Form::Severity => one_of(node, &SEVERITIES, report),
        Form::Method => one_of(node, &METHODS, report),
    }
}

/// One of some words, or what an expression makes.
fn one_of(node: &Node<'_>, words: &[&str], report: &mut Report) -> Result<Template, Told> {
    let template = template::text(node, "a word", report)?;
    match template.plain() {
        Some(plain) if !words.contains(&plain) => {
            let message = format!("expected {}, got `{plain}`", words.join(", "));
            Err(report.wrong(node.place, message))
        }
        _ => Ok(template),
    }
}

/// One rule or several.
fn retries(node: &Node<'_>, report: &mut Report) -> Result<Vec<Retry>, Told> {
    match &node.value {
        Value::List(rules) => {
            let rules: Vec<_> = rules.iter().map(|rule| retry(rule, report)).collect();
            rules.into_iter().collect()
        }
        _ => Ok(vec![retry(node, report)?]),
    }
}

fn retry(node: &Node<'_>, report: &mut Report) -> Result<Retry, Told> {
    let rule = Fields::read(node, "`retry`", &RETRY, report)?;
    let attempts = rule.need("attempts", report)?;
    let attempts = fields::whole(attempts, 1, u32::from(u8::MAX), report)?;
    let delay = |node: &Node<'_>, report: &mut Report| {
        let ms = fields::length(node, report)?;
        u32::try_from(ms).map_err(|_| report.wrong(node.place, "expected at most 49 days"))
    };
    let first_ms = rule.or("first", 1_000, report, delay);
    let cap_ms = rule.or("at_most", first_ms.max(300_000), report, delay);
    if cap_ms < first_ms {
        let place = rule.get("at_most").map_or(rule.place, |node| node.place);
        return Err(report.wrong(place, "`at_most` is less than the first delay"));
    }
    Ok(Retry {
        attempts: u8::try_from(attempts).unwrap_or(u8::MAX),
        jitter: rule.or("jitter", 20, report, percent),
        first_ms,
        cap_ms,
        rate: rule.or("factor", 512, report, factor),
        on: rule.or("on", Vec::new(), report, errors),
    })
}

fn percent(node: &Node<'_>, report: &mut Report) -> Result<u8, Told> {
    let text = &fields::scalar(node, "a percentage", report)?.text;
    let digits = text.strip_suffix('%').unwrap_or(text);
    let number = digits.trim().parse().ok().filter(|number| *number <= 100u8);
    number.ok_or_else(|| {
        let message = format!("expected a percentage from 0% to 100%, got `{text}`");
        report.wrong(node.place, message)
    })
}

/// How much longer each delay is, in 256ths.
fn factor(node: &Node<'_>, report: &mut Report) -> Result<u16, Told> {
    let text = &fields::scalar(node, "a factor", report)?.text;
    let number = text.parse::<f64>().ok().filter(|number| (1.0..=255.0).contains(number));
    number.map(|number| (number * 256.0) as u16).ok_or_else(|| {
        report.wrong(node.place, format!("expected a factor from 1 to 255, got `{text}`"))
    })
}

/// Names of errors: one, a list, or `any`, which is no name.
pub(super) fn errors(node: &Node<'_>, report: &mut Report) -> Result<Vec<Named>, Told> {
    let one = |node: &Node<'_>, report: &mut Report| {
        fields::plain_name(node, "the name of an error", NAME_MAX_BYTES, report)
    };
    let all = match &node.value {
        Value::List(names) => {
            if names.is_empty() {
                return Err(report.advise(node.place, "no error is named here", "or say `any`"));
            }
            let names: Vec<_> = names.iter().map(|name| one(name, report)).collect();
            names.into_iter().collect::<Result<Vec<_>, _>>()?
        }
        _ => vec![one(node, report)?],
    };
    let any = all.iter().any(|name| name.text == "any");
    if any && all.len() > 1 {
        return Err(report.wrong(node.place, "`any` stands for all errors: name no others"));
    }
    Ok(if any { Vec::new() } else { all })
}

fn results(node: &Node<'_>, report: &mut Report) -> Result<Vec<Answer>, Told> {
    let fields = Fields::of(node, "`result`", report)?;
    let count = fields.entries().len();
    if count > ANSWERS_MAX {
        let message = format!("{count} values are taken: at most {ANSWERS_MAX} can be");
        return Err(report.wrong(node.place, message));
    }
    let all = fields.entries().iter().map(|(key, value)| {
        let name = fields::name(key, "a variable", report)?;
        if let Value::Scalar(_) = &value.value {
            let kind = fields::word(value, &TYPES, report)?;
            return Ok(Answer { path: name.text.clone(), name, kind, default: None });
        }
        let taken = Fields::read(value, "what is taken", &RESULT, report)?;
        let kind = fields::word(taken.need("type", report)?, &TYPES, report)?;
        let path = taken.or("path", name.text.clone(), report, |node, report| {
            fields::short(node, "a path", NAME_MAX_BYTES, report)
        });
        let default = match taken.get("default") {
            Some(node) => Some(constant(node, kind, report)?),
            None => None,
        };
        Ok(Answer { name, path, kind, default })
    });
    let all: Vec<Result<_, Told>> = all.collect();
    all.into_iter().collect()
}

/// The place of the first step that undoes something, within steps.
pub(in super::super) fn first_undo(steps: &[Step]) -> Option<Place> {
    super::step::walk(steps, &|step| match &step.action {
        super::step::Action::Effect(effect) => effect.undo.is_some(),
        _ => false,
    })
}
