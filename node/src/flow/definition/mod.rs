//! A definition as it is meant: every key known, every value of its form, expressions read.
//!
//! What is wrong with one step does not keep the others from being read, so that all of it is told
//! at once. Whether names and types fit is for `emit`, which goes through the steps in their order.

mod cron;
mod each;
pub(super) mod effect;
mod fields;
mod on;
pub(super) mod step;
pub(super) mod template;

pub(super) use each::Items;
pub(super) use fields::Named;

use super::diagnostic::{Report, Told};
use super::duration;
use super::expression::Expr;
use super::expression::typed::Kind;
use super::source::{Node, Value};
use fields::Fields;
use holdfast_core::flow::about::{Overlap, PRIORITY_MAX, Placement};
use holdfast_core::flow::{ANSWERS_MAX, NAME_MAX_BYTES, TEXT_MAX_BYTES, decimal};
use step::Step;

/// Bytes of the id of a workflow.
const ID_MAX_BYTES: usize = 64;
/// Bytes of a version.
const VERSION_MAX_BYTES: usize = 32;
/// Values that a run is given, and that it leaves, at most.
const FIELDS_MAX: usize = 32;
/// For so long a run may go on where nobody says how long: seconds of 30 days.
const LASTS_S: u32 = 30 * 86_400;

const KEYS: [&str; 14] = [
    "workflow",
    "version",
    "title",
    "placement",
    "lasts",
    "runs",
    "priority",
    "unhandled",
    "errors",
    "on",
    "input",
    "signals",
    "output",
    "steps",
];
const RUNS: [&str; 2] = ["at_once", "then"];
const DECLARED: [&str; 2] = ["type", "default"];

/// The keys of a definition, for the schema's test.
#[cfg(test)]
pub(super) const TOP: [(&str, &[&str]); 3] =
    [("", &KEYS), ("runs", &RUNS), ("declared", &DECLARED)];

/// The triggers, with the keys beside each and in it, for the schema's test.
#[cfg(test)]
pub(super) fn triggers()
-> impl Iterator<Item = (&'static str, &'static [&'static str], &'static [&'static str])> {
    on::SHAPES.iter().map(|(kind, beside, inside)| (kind.name(), *beside, *inside))
}

/// The words for types.
const TYPES: [(&str, Kind); 6] = {
    let mut out = [("", Kind::Int); 6];
    let mut at = 0;
    while at < out.len() {
        out[at] = (Kind::ALL[at].name(), Kind::ALL[at]);
        at += 1;
    }
    out
};

/// A value that stands in a definition, as its register has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Constant {
    Number(i64),
    Text(String),
}

/// A name with a type.
#[derive(Clone, Debug)]
pub(super) struct Declared {
    pub(super) name: Named,
    pub(super) kind: Kind,
    pub(super) default: Option<Constant>,
}

/// A workflow.
#[derive(Clone, Debug)]
pub(super) struct Definition {
    pub(super) id: String,
    pub(super) version: String,
    pub(super) title: String,
    pub(super) placement: Placement,
    pub(super) lasts_s: u32,
    pub(super) concurrent: u16,
    pub(super) overlap: Overlap,
    pub(super) priority: u8,
    pub(super) parks: bool,
    pub(super) errors: Vec<Named>,
    pub(super) inputs: Vec<Declared>,
    /// As an image has them.
    pub(super) triggers: Vec<Vec<u8>>,
    pub(super) signals: Vec<(Named, Vec<Declared>)>,
    pub(super) outputs: Vec<(Named, Expr)>,
    pub(super) steps: Vec<Step>,
}

/// Reads a definition. What is wrong is told; without an id or steps there is none.
pub(super) fn read(root: &Node<'_>, report: &mut Report) -> Result<Definition, Told> {
    let fields = Fields::read(root, "a workflow", &KEYS, report)?;
    let id = fields
        .need("workflow", report)
        .and_then(|node| fields::plain_name(node, "the id of a workflow", ID_MAX_BYTES, report));
    let version = fields
        .need("version", report)
        .and_then(|node| fields::plain_name(node, "a version", VERSION_MAX_BYTES, report));
    let placements = Placement::ALL.map(|placement| (placement.name(), placement));
    let placement = |node: &Node<'_>, report: &mut Report| fields::word(node, &placements, report);
    let priority = |node: &Node<'_>, report: &mut Report| {
        let number = fields::whole(node, 0, u32::from(PRIORITY_MAX), report)?;
        Ok(u8::try_from(number).unwrap_or(PRIORITY_MAX))
    };
    let (concurrent, overlap) = fields.or("runs", (1, Overlap::Queue), report, runs);
    let inputs = match fields.get("input") {
        Some(node) => declared(node, report).and_then(|all| bounded(all, node, report)),
        None => Ok(Vec::new()),
    };
    let known = inputs.as_deref().ok();
    let placement = fields.or("placement", Placement::Any, report, placement);
    let triggers = fields
        .or("on", Vec::new(), report, |node, report| on::read(node, placement, known, report));
    let mut definition = Definition {
        title: fields.or("title", String::new(), report, |node, report| {
            fields::short(node, "the title", NAME_MAX_BYTES, report)
        }),
        placement,
        lasts_s: fields.or("lasts", LASTS_S, report, lasts),
        priority: fields.or("priority", 5, report, priority),
        parks: fields.or("unhandled", false, report, |node, report| parks(node, placement, report)),
        concurrent,
        overlap,
        errors: fields.or("errors", Vec::new(), report, errors),
        inputs: inputs.unwrap_or_default(),
        triggers,
        signals: fields.or("signals", Vec::new(), report, signals),
        outputs: fields.or("output", Vec::new(), report, |node, report| {
            bounded(outputs(node, report)?, node, report)
        }),
        id: id.map(|id| id.text).unwrap_or_default(),
        version: version.map(|version| version.text).unwrap_or_default(),
        steps: Vec::new(),
    };
    // Steps are not judged by names that could not be read.
    let is_sound = report.is_clean();
    let steps = fields.need("steps", report)?;
    definition.steps = step::some_steps(steps, "steps", report)?;
    if is_sound { Ok(definition) } else { Err(Told) }
}

/// Not more values than a run can be given, or leave.
fn bounded<T>(all: Vec<T>, node: &Node<'_>, report: &mut Report) -> Result<Vec<T>, Told> {
    if all.len() > FIELDS_MAX {
        let message = format!("{} values stand here: at most {FIELDS_MAX} can", all.len());
        return Err(report.wrong(node.place, message));
    }
    Ok(all)
}

fn lasts(node: &Node<'_>, report: &mut Report) -> Result<u32, Told> {
    let text = &fields::scalar(node, "a length of time", report)?.text;
    if text == "forever" {
        return Ok(0);
    }
    let ms = duration::parse(text).filter(|ms| *ms > 0 && ms % 1_000 == 0);
    ms.and_then(|ms| u32::try_from(ms / 1_000).ok()).ok_or_else(|| {
        let expected = "whole seconds such as `90s`, `2h` or `30d`, or `forever`";
        report.wrong(node.place, format!("expected {expected}, got `{text}`"))
    })
}

fn runs(node: &Node<'_>, report: &mut Report) -> Result<(u16, Overlap), Told> {
    let fields = Fields::read(node, "`runs`", &RUNS, report)?;
    let most = u32::from(u16::MAX);
    let at_once =
        fields.or("at_once", 1, report, |node, report| fields::whole(node, 1, most, report));
    let words = Overlap::ALL.map(|overlap| (overlap.name(), overlap));
    let overlap = fields
        .or("then", Overlap::Queue, report, |node, report| fields::word(node, &words, report));
    Ok((u16::try_from(at_once).unwrap_or(u16::MAX), overlap))
}

fn parks(node: &Node<'_>, placement: Placement, report: &mut Report) -> Result<bool, Told> {
    let parks = fields::word(node, &[("fail", false), ("park", true)], report)?;
    if parks && placement == Placement::Device {
        let message = "nobody decides on a device: what is parked there stays so until `lasts`";
        report.warn(node.place, message.to_owned(), "catch the error, or have the run fail");
    }
    Ok(parks)
}

fn errors(node: &Node<'_>, report: &mut Report) -> Result<Vec<Named>, Told> {
    let mut out: Vec<Named> = Vec::new();
    for item in fields::list(node, "`errors`", report)? {
        let name = fields::plain_name(item, "the name of an error", TEXT_MAX_BYTES, report)?;
        let known = holdfast_core::flow::Code::by_name(&name.text).is_some();
        if known || name.text == "any" {
            let message = format!("`{}` is an error that there is anyway", name.text);
            report.advise(name.place, message, "leave it away, or take another name");
        } else if out.iter().any(|other| other.text == name.text) {
            report.wrong(name.place, format!("the error `{}` is there twice", name.text));
        } else {
            out.push(name);
        }
    }
    Ok(out)
}

/// Names with their types.
fn declared(node: &Node<'_>, report: &mut Report) -> Result<Vec<Declared>, Told> {
    let fields = Fields::of(node, "a list of names", report)?;
    let all: Vec<Result<_, Told>> = fields
        .entries()
        .iter()
        .map(|(key, value)| {
            let name = fields::name(key, "a value", report)?;
            if let Value::Scalar(_) = value.value {
                let kind = fields::word(value, &TYPES, report)?;
                return Ok(Declared { name, kind, default: None });
            }
            let declared = Fields::read(value, "a value", &DECLARED, report)?;
            let kind = fields::word(declared.need("type", report)?, &TYPES, report)?;
            let default = declared.get("default").map(|node| constant(node, kind, report));
            Ok(Declared { name, kind, default: default.transpose()? })
        })
        .collect();
    all.into_iter().collect()
}

fn signals(node: &Node<'_>, report: &mut Report) -> Result<Vec<(Named, Vec<Declared>)>, Told> {
    let fields = Fields::of(node, "`signals`", report)?;
    let all: Vec<Result<_, Told>> = fields
        .entries()
        .iter()
        .map(|(key, value)| {
            let name = fields::name(key, "a signal", report)?;
            let brings = match &value.value {
                Value::Scalar(scalar) if scalar.is_null() => Vec::new(),
                _ => declared(value, report)?,
            };
            if brings.len() > ANSWERS_MAX {
                let message =
                    format!("a signal brings at most {ANSWERS_MAX} values, not {}", brings.len());
                return Err(report.wrong(value.place, message));
            }
            Ok((name, brings))
        })
        .collect();
    all.into_iter().collect()
}

fn outputs(node: &Node<'_>, report: &mut Report) -> Result<Vec<(Named, Expr)>, Told> {
    let fields = Fields::of(node, "`output`", report)?;
    let all: Vec<Result<_, Told>> = fields
        .entries()
        .iter()
        .map(|(key, value)| {
            let name = fields::name(key, "an output", report)?;
            Ok((name, fields::expr(value, report)?))
        })
        .collect();
    all.into_iter().collect()
}

/// A value of a kind as it stands.
fn constant(node: &Node<'_>, kind: Kind, report: &mut Report) -> Result<Constant, Told> {
    if kind == Kind::Text {
        return fields::short(node, "a text", TEXT_MAX_BYTES, report).map(Constant::Text);
    }
    let text = &fields::scalar(node, "a value", report)?.text;
    let number = match kind {
        Kind::Int => text.parse().ok(),
        Kind::Bool => match text.as_str() {
            "true" => Some(1),
            "false" => Some(0),
            _ => None,
        },
        Kind::Duration => duration::parse(text),
        Kind::Time => crate::time_text::parse(text).ok().map(|time| time.0.div_euclid(1_000_000)),
        _ => text.parse().ok().and_then(decimal::of),
    };
    number.map(Constant::Number).ok_or_else(|| {
        report.wrong(node.place, format!("expected a value of type {}, got `{text}`", kind.name()))
    })
}
