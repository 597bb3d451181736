//! What begins a run by itself: a list of triggers, each a map with one key that says what it is,
//! the keys that this one has, and `with`, which says what the run is given.
//!
//! An input that nobody mentions gets the fact that has its name and its type.

use super::super::diagnostic::{Place, Report, Told, closest};
use super::super::expression::typed::Kind;
use super::super::judge::tier_of;
use super::super::source::{Node, Value};
use super::fields::{self, Fields};
use super::step::{self, Tested};
use super::{Constant, Declared, cron};
use holdfast_core::condition::Rule;
use holdfast_core::flow::about::Placement;
use holdfast_core::flow::binding::{Binding, Source};
use holdfast_core::flow::trigger::{
    self, Devices, FILTER_MAX_BYTES, Fact, LEVELS_MAX, On, RULE_MAX_BYTES, Statistic, TAGS_MAX,
    TRIGGERS_MAX, Tags, put_tags,
};
use holdfast_core::flow::{NAME_MAX_BYTES, TEXT_MAX_BYTES};
use holdfast_core::limits::{DEVICE_MAX_BYTES, METRIC_MAX_BYTES, PATH_MAX_BYTES};
use holdfast_core::log::events::Severity;

/// How old a reading may be when it is looked at: milliseconds of 5 min.
const MAX_AGE_MS: u64 = 300_000;

const READING: [&str; 9] =
    ["device", "tags", "metric", "above", "below", "clear", "equals", "silent", "hold"];
const ROLLUP: [&str; 10] =
    ["device", "tags", "metric", "width", "of", "above", "below", "clear", "equals", "hold"];
const TWIN: [&str; 3] = ["device", "tags", "path"];
const ALERT: [&str; 5] = ["rule", "device", "tags", "severity", "when"];
const PATH: [&str; 1] = ["path"];

/// Each trigger, the keys beside it, and those in it.
pub(super) const SHAPES: [(trigger::Kind, &[&str], &[&str]); 6] = [
    (trigger::Kind::Reading, &["reading", "max_age", "backlog", "with"], &READING),
    (trigger::Kind::Rollup, &["rollup", "with"], &ROLLUP),
    (trigger::Kind::Twin, &["twin", "with"], &TWIN),
    (trigger::Kind::Message, &["message", "with"], &[]),
    (trigger::Kind::Alert, &["alert", "with"], &ALERT),
    (trigger::Kind::Schedule, &["schedule", "zone", "missed", "with"], &[]),
];

/// Reads the triggers of a workflow that is placed there, as an image has them. `inputs` are what a
/// run is given, if that could be read.
pub(super) fn read(
    node: &Node<'_>,
    placement: Placement,
    inputs: Option<&[Declared]>,
    report: &mut Report,
) -> Result<Vec<Vec<u8>>, Told> {
    let items = fields::list(node, "`on`", report)?;
    if items.len() > usize::from(TRIGGERS_MAX) {
        let message = format!("{} triggers stand here: at most {TRIGGERS_MAX} can", items.len());
        return Err(report.wrong(node.place, message));
    }
    let all: Vec<Result<_, Told>> =
        items.iter().map(|item| one(item, placement, inputs, report)).collect();
    all.into_iter().collect()
}

fn one(
    node: &Node<'_>,
    placement: Placement,
    inputs: Option<&[Declared]>,
    report: &mut Report,
) -> Result<Vec<u8>, Told> {
    let fields = Fields::of(node, "a trigger", report)?;
    let names = || SHAPES.iter().map(|(kind, ..)| kind.name());
    let found = fields.entries().iter().find_map(|(key, head)| {
        let shape = SHAPES.iter().find(|(kind, ..)| kind.name() == key.text)?;
        Some((shape, key.place, head))
    });
    let Some(((kind, keys, _), place, head)) = found else {
        let first = fields.entries().first().map_or("", |(key, _)| key.text.as_str());
        let advice = match closest(first, names()) {
            Some(name) => format!("did you mean `{name}`?"),
            None => format!("a trigger is one of {}", names().collect::<Vec<_>>().join(", ")),
        };
        return Err(report.advise(fields.place, "this is no trigger", advice));
    };
    if placement == Placement::Device {
        on_device(*kind, place, head, report)?;
    }
    let fields = fields.renamed(format!("`{}`", kind.name()));
    fields.check(keys, report);
    let (mut out, mut facts) = (Vec::new(), &[][..]);
    let mut put = |on: &On<'_>| {
        facts = on.facts();
        // A vector takes whatever comes.
        let _ = on.encode(&mut out);
    };
    match kind {
        trigger::Kind::Reading => reading(head, &fields, report, &mut put)?,
        trigger::Kind::Rollup => rollup(head, report, &mut put)?,
        trigger::Kind::Twin => twin(head, report, &mut put)?,
        trigger::Kind::Message => message(head, report, &mut put)?,
        trigger::Kind::Alert => alert(head, report, &mut put)?,
        trigger::Kind::Schedule => schedule(head, &fields, report, &mut put)?,
    }
    if let Some(inputs) = inputs {
        for binding in bindings((*kind, facts), inputs, &fields, report)? {
            let _ = binding.as_binding().encode(&mut out);
        }
    }
    Ok(out)
}

/// That a device finds what a trigger is for: it looks at its own readings, and knows no tags.
fn on_device(
    kind: trigger::Kind,
    place: Place,
    head: &Node<'_>,
    report: &mut Report,
) -> Result<(), Told> {
    if tier_of(Placement::Device).triggers & kind.bit() == 0 {
        let message = format!("a device does not look for `{}`: it has its readings", kind.name());
        let advice = "begin it by a `reading`, or have a workflow of the gateway do it";
        return Err(report.advise(place, message, advice));
    }
    let Value::Map(entries) = &head.value else { return Ok(()) };
    let Some((tags, _)) = entries.iter().find(|(key, _)| key.text == "tags") else { return Ok(()) };
    let message = "a device does not know its tags";
    let advice = "leave them away, and say `--only NAME=VALUE` where the workflow is assigned";
    Err(report.advise(tags.place, message, advice))
}

/// Devices by their ids and tags.
struct Whose {
    pattern: String,
    tags: Vec<u8>,
}

impl Whose {
    fn read(
        fields: &Fields<'_>,
        otherwise: Option<&str>,
        report: &mut Report,
    ) -> Result<Self, Told> {
        let pattern = match (fields.get("device"), otherwise) {
            (None, Some(otherwise)) => otherwise.to_owned(),
            _ => pattern(fields, "device", DEVICE_MAX_BYTES, report)?,
        };
        let mut all = Vec::new();
        if let Some(node) = fields.get("tags") {
            let tags = Fields::of(node, "`tags`", report)?;
            if tags.entries().len() as u64 > TAGS_MAX {
                let message = format!("a device is looked for by at most {TAGS_MAX} tags");
                return Err(report.wrong(node.place, message));
            }
            for (name, value) in tags.entries() {
                if !(1..=NAME_MAX_BYTES).contains(&name.text.len()) {
                    let message = format!("the name of a tag has 1 to {NAME_MAX_BYTES} bytes");
                    return Err(report.wrong(name.place, message));
                }
                let value = fields::short(value, "the value of a tag", TEXT_MAX_BYTES, report)?;
                all.push((name.text.clone(), value));
            }
        }
        let all: Vec<_> = all.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let mut tags = Vec::new();
        // A vector takes whatever comes.
        let _ = put_tags(&mut tags, &all);
        Ok(Self { pattern, tags })
    }

    fn devices(&self) -> Devices<'_> {
        let tags = Tags::new(&self.tags).expect("it was just written");
        Devices { pattern: &self.pattern, tags }
    }
}

/// A text with `*`, of 1 to so many bytes.
fn pattern(
    fields: &Fields<'_>,
    key: &str,
    max: usize,
    report: &mut Report,
) -> Result<String, Told> {
    let node = fields.need(key, report)?;
    let text = fields::short(node, &format!("the {key}"), max, report)?;
    if text.is_empty() || text.contains("${") {
        let advice =
            format!("a plain text in which `*` stands for any text, or `*` for each {key}");
        return Err(report.advise(node.place, format!("`{text}` is no {key}"), advice));
    }
    Ok(text)
}

fn reading(
    head: &Node<'_>,
    beside: &Fields<'_>,
    report: &mut Report,
    put: &mut dyn FnMut(&On<'_>),
) -> Result<(), Told> {
    let fields = Fields::read(head, "`reading`", &READING, report)?;
    let whose = Whose::read(&fields, None, report);
    let metric = pattern(&fields, "metric", METRIC_MAX_BYTES, report);
    let rule = rule(&fields, report);
    let max_age_ms = match (beside.get("max_age"), beside.get("backlog")) {
        (Some(_), Some(backlog)) => {
            let advice = "with `backlog: replay` readings of any age begin runs";
            let message = "`backlog` and `max_age` say the same thing in two ways";
            return Err(report.advise(backlog.place, message, advice));
        }
        (Some(node), None) => fields::length(node, report)?.max(1),
        (None, Some(node)) => fields::word(node, &[("skip", MAX_AGE_MS), ("replay", 0)], report)?,
        (None, None) => MAX_AGE_MS,
    };
    let (whose, metric) = (whose?, metric?);
    put(&On::Reading { of: whose.devices(), metric: &metric, rule: rule?, max_age_ms });
    Ok(())
}

fn rule(fields: &Fields<'_>, report: &mut Report) -> Result<Rule, Told> {
    step::rule(fields, report).map(|Tested { rule, .. }| rule)
}

fn rollup(head: &Node<'_>, report: &mut Report, put: &mut dyn FnMut(&On<'_>)) -> Result<(), Told> {
    let fields = Fields::read(head, "`rollup`", &ROLLUP, report)?;
    let whose = Whose::read(&fields, None, report);
    let metric = pattern(&fields, "metric", METRIC_MAX_BYTES, report);
    let words = Statistic::ALL.map(|statistic| (statistic.name(), statistic));
    let statistic = fields.need("of", report).and_then(|node| fields::word(node, &words, report));
    let width = fields.need("width", report).and_then(|node| {
        let ms = fields::length(node, report)?;
        let width_s = u32::try_from(ms / 1_000).ok().filter(|_| ms > 0 && ms % 1_000 == 0);
        width_s.ok_or_else(|| report.wrong(node.place, "a window is whole seconds wide"))
    });
    let rule = rule(&fields, report);
    let (whose, metric) = (whose?, metric?);
    let (width_s, statistic, rule) = (width?, statistic?, rule?);
    put(&On::Rollup { of: whose.devices(), metric: &metric, width_s, statistic, rule });
    Ok(())
}

fn twin(head: &Node<'_>, report: &mut Report, put: &mut dyn FnMut(&On<'_>)) -> Result<(), Told> {
    let fields = Fields::read(head, "`twin`", &TWIN, report)?;
    let whose = Whose::read(&fields, None, report);
    let node = fields.need("path", report)?;
    let path = fields::short(node, "the path", PATH_MAX_BYTES, report)?;
    let section = path.split_once('/').map(|(section, _)| section);
    let is_known = matches!(section, Some("desired" | "reported" | "tags"));
    if !is_known || path.split('/').any(str::is_empty) {
        let message = format!("`{path}` is no value of a twin");
        let advice = "a section and the way in it: `reported/state`, `desired/...`, `tags/...`";
        return Err(report.advise(node.place, message, advice));
    }
    put(&On::Twin { of: whose?.devices(), path: &path });
    Ok(())
}

fn message(head: &Node<'_>, report: &mut Report, put: &mut dyn FnMut(&On<'_>)) -> Result<(), Told> {
    let filter = fields::short(head, "a topic filter", FILTER_MAX_BYTES, report)?;
    let levels: Vec<&str> = filter.split('/').collect();
    let last = levels.len() - 1;
    let is_level = |(at, level): (usize, &&str)| match *level {
        "+" => true,
        "#" => at == last,
        level => !level.contains(['+', '#', '\0']),
    };
    let is_filter = !filter.is_empty() && levels.iter().enumerate().all(is_level);
    if !is_filter || filter.starts_with('$') {
        let message = format!("`{filter}` is no topic filter");
        let advice = "levels with `/` between them; `+` is any level, `#` all that follow; none \
                      begins with `$`";
        return Err(report.advise(head.place, message, advice));
    }
    put(&On::Message { filter: &filter });
    Ok(())
}

fn alert(head: &Node<'_>, report: &mut Report, put: &mut dyn FnMut(&On<'_>)) -> Result<(), Told> {
    if let Value::Scalar(_) = head.value {
        let rule = fields::short(head, "the rule of an alert", RULE_MAX_BYTES, report)?;
        if rule.is_empty() {
            let message = "an alert is looked for by the name of its rule";
            return Err(report.advise(head.place, message, "`*` is each rule"));
        }
        let tags = Tags::new(&[0]).expect("it says that there are none");
        let of = Devices { pattern: "*", tags };
        put(&On::Alert { rule: &rule, of, least: Severity::Info, ends: false });
        return Ok(());
    }
    let fields = Fields::read(head, "`alert`", &ALERT, report)?;
    let whose = Whose::read(&fields, Some("*"), report);
    let rule = match fields.get("rule") {
        Some(_) => pattern(&fields, "rule", RULE_MAX_BYTES, report),
        None => Ok("*".to_owned()),
    };
    let words = Severity::ALL.map(|severity| (severity.name(), severity));
    let least = fields
        .or("severity", Severity::Info, report, |node, report| fields::word(node, &words, report));
    let words = [("raised", false), ("cleared", true)];
    let ends = fields.or("when", false, report, |node, report| fields::word(node, &words, report));
    let (whose, rule) = (whose?, rule?);
    put(&On::Alert { rule: &rule, of: whose.devices(), least, ends });
    Ok(())
}

fn schedule(
    head: &Node<'_>,
    beside: &Fields<'_>,
    report: &mut Report,
    put: &mut dyn FnMut(&On<'_>),
) -> Result<(), Told> {
    use holdfast_core::flow::schedule::Missed;
    let text = &fields::scalar(head, "a schedule", report)?.text;
    let schedule = cron::parse(text).map_err(|message| report.wrong(head.place, message));
    let zone = beside.or("zone", String::new(), report, |node, report| {
        let zone = fields::short(node, "a time zone", TEXT_MAX_BYTES, report)?;
        if jiff::tz::TimeZone::get(&zone).is_err() {
            let message = format!("there is no time zone `{zone}`");
            let advice = "expected a name such as `Europe/Berlin` or `UTC`; without one it is \
                          that of the site";
            return Err(report.advise(node.place, message, advice));
        }
        Ok(zone)
    });
    let words = Missed::ALL.map(|missed| (missed.name(), missed));
    let missed = beside
        .or("missed", Missed::Skip, report, |node, report| fields::word(node, &words, report));
    put(&On::Schedule { schedule: schedule?, zone: &zone, missed });
    Ok(())
}

/// What an input gets.
enum Gets {
    Constant(Constant),
    Fact(Fact),
    Path(String),
}

struct Bound {
    input: u8,
    gets: Gets,
}

impl Bound {
    fn as_binding(&self) -> Binding<'_> {
        let source = match &self.gets {
            Gets::Constant(Constant::Number(number)) => Source::Number(*number),
            Gets::Constant(Constant::Text(text)) => Source::Text(text),
            Gets::Fact(fact) => Source::Fact(*fact),
            Gets::Path(path) => Source::Path(path),
        };
        Binding { input: self.input, source }
    }
}

/// What is known of what a trigger finds.
type Found = (trigger::Kind, &'static [Fact]);

/// What each input gets.
fn bindings(
    found: Found,
    inputs: &[Declared],
    beside: &Fields<'_>,
    report: &mut Report,
) -> Result<Vec<Bound>, Told> {
    let with = beside.get("with").map(|node| Fields::of(node, "`with`", report)).transpose()?;
    let given = with.as_ref().map_or(&[][..], |with| with.entries());
    let mut wrong = None;
    for (key, _) in given {
        if !inputs.iter().any(|input| input.name.text == key.text) {
            let message = format!("`{}` is not among what a run is given", key.text);
            let advice = match closest(&key.text, inputs.iter().map(|input| &*input.name.text)) {
                Some(known) => format!("did you mean `{known}`?"),
                None => "inputs stand below `input`".to_owned(),
            };
            wrong = Some(report.advise(key.place, message, advice));
        }
    }
    let mut out = Vec::new();
    for (index, input) in inputs.iter().enumerate() {
        let said = with.as_ref().and_then(|with| with.get(&input.name.text));
        let gets = match said {
            Some(node) => value(found, node, input, report).map(Some),
            None => unsaid(found, input, beside.place, report),
        };
        match gets {
            Ok(Some(gets)) => out.push(Bound { input: index as u8, gets }),
            Ok(None) => {}
            Err(told) => wrong = Some(told),
        }
    }
    wrong.map_or(Ok(out), Err)
}

/// What an input gets that nobody mentions: the fact of its name, or nothing where it has a
/// default.
fn unsaid(
    (_, facts): Found,
    input: &Declared,
    place: Place,
    report: &mut Report,
) -> Result<Option<Gets>, Told> {
    let name = &input.name.text;
    let mut same =
        facts.iter().copied().filter(|fact| fact.name() == name && kind_of(*fact) == input.kind);
    if let Some(fact) = same.next() {
        return Ok(Some(Gets::Fact(fact)));
    }
    if input.default.is_some() {
        return Ok(None);
    }
    let message = format!("a run that this begins is not given `{name}`");
    let advice = format!("say what it gets in `with: {{{name}: ...}}`, or give it a default");
    Err(report.advise(place, message, advice))
}

const fn kind_of(fact: Fact) -> Kind {
    match fact {
        Fact::Value => Kind::Decimal,
        Fact::Time => Kind::Time,
        _ => Kind::Text,
    }
}

/// What stands in `with`: a value as it is, `${fact}`, or the way through a message.
fn value(
    (kind, facts): Found,
    node: &Node<'_>,
    input: &Declared,
    report: &mut Report,
) -> Result<Gets, Told> {
    if let Value::Map(_) = node.value {
        let fields = Fields::read(node, "a value from a message", &PATH, report)?;
        let path = fields.need("path", report)?;
        if kind != trigger::Kind::Message {
            let message = format!("there is no content in what `{}` finds", kind.name());
            return Err(report.advise(path.place, message, "`path` goes with `message`"));
        }
        return fields::short(path, "the path", NAME_MAX_BYTES, report).map(Gets::Path);
    }
    let text = &fields::scalar(node, "a value", report)?.text;
    let Some(inner) = text.strip_prefix("${").and_then(|rest| rest.strip_suffix('}')) else {
        return super::constant(node, input.kind, report).map(Gets::Constant);
    };
    let fact = fact((kind, facts), inner).ok_or_else(|| {
        let mut known: Vec<_> = facts.iter().map(|fact| fact.name()).collect();
        if kind == trigger::Kind::Message {
            known.push("level(1)");
        }
        let message = format!("`{}` does not say `{inner}`", kind.name());
        report.advise(node.place, message, format!("what is known here: {}", known.join(", ")))
    })?;
    if kind_of(fact) != input.kind {
        let (is, takes) = (kind_of(fact).name(), input.kind.name());
        let message = format!("`{inner}` is {is}, and the input `{}` {takes}", input.name.text);
        return Err(report.wrong(node.place, message));
    }
    Ok(Gets::Fact(fact))
}

fn fact((kind, facts): Found, word: &str) -> Option<Fact> {
    if let Some(level) = word.strip_prefix("level(").and_then(|rest| rest.strip_suffix(')')) {
        let level = level.parse().ok().filter(|level| (1..=LEVELS_MAX).contains(level));
        return level.filter(|_| kind == trigger::Kind::Message).map(Fact::Level);
    }
    facts.iter().copied().find(|fact| fact.name() == word)
}
