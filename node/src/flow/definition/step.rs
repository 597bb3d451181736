//! Steps: each is a map with one key that says what it is, and the keys that this one has.

use super::super::diagnostic::{Place, Report, Told, closest};
use super::super::expression::Expr;
use super::super::source::{Node, Value};
use super::each::Items;
use super::effect::{self, Effect};
use super::fields::{self, Fields, Named};
use super::template::{self, Template};
use holdfast_core::condition::{Rule, Test};
use holdfast_core::flow::NAME_MAX_BYTES;
use holdfast_core::flow::op::Late;

/// One step.
#[derive(Clone, Debug)]
pub(in super::super) struct Step {
    pub(in super::super) place: Place,
    pub(in super::super) action: Action,
    pub(in super::super) label: Option<Named>,
    pub(in super::super) catches: Vec<Catch>,
}

/// What is done with an error.
#[derive(Clone, Debug)]
pub(in super::super) struct Catch {
    /// Empty for any error.
    pub(in super::super) on: Vec<Named>,
    pub(in super::super) steps: Vec<Step>,
    /// Whether anything in it asks which error it was.
    pub(in super::super) asks: bool,
}

/// What a step does.
#[derive(Clone, Debug)]
pub(in super::super) enum Action {
    Let(Vec<(Named, Expr)>),
    Effect(Box<Effect>),
    Wait {
        length: Expr,
        late: Lateness,
    },
    WaitUntil {
        time: Expr,
        late: Lateness,
    },
    WaitFor {
        what: Awaited,
        within: Option<Expr>,
    },
    Choose {
        arms: Vec<(Expr, Vec<Step>)>,
        otherwise: Vec<Step>,
    },
    Parallel(Vec<Vec<Step>>),
    Each {
        items: Items,
        name: Named,
        at_once: u32,
        body: Vec<Step>,
    },
    Repeat {
        at_most: u32,
        condition: Option<Expr>,
        body: Vec<Step>,
    },
    Forever(Vec<Step>),
    Try(Vec<Step>),
    Fail(Named),
    Succeed,
    /// What is wrong with it has been told; these are the variables that it would have set.
    Broken(Vec<String>),
}

/// What becomes of a timer that is noticed too late.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct Lateness {
    pub(in super::super) late: Late,
    pub(in super::super) tolerance_s: u32,
}

/// What is waited for.
#[derive(Clone, Debug)]
pub(in super::super) enum Awaited {
    Signal(Named),
    Condition { device: Template, metric: Template, rule: Rule, words: String },
}

/// Steps that are not effects, and the keys that each has.
const OTHERS: [(&str, &[&str]); 12] = [
    ("let", &["let"]),
    ("wait", &["wait", "late", "label", "catch"]),
    ("wait_until", &["wait_until", "late", "label", "catch"]),
    ("wait_for", &["wait_for", "within", "label", "catch"]),
    ("choose", &["choose"]),
    ("parallel", &["parallel", "label"]),
    ("each", &["each", "do"]),
    ("repeat", &["repeat", "do"]),
    ("forever", &["forever"]),
    ("try", &["try", "catch"]),
    ("fail", &["fail"]),
    ("succeed", &["succeed"]),
];

pub(super) const EACH: [&str; 3] = ["in", "as", "at_once"];
const REPEAT: [&str; 2] = ["at_most", "while"];
const LATE: [&str; 2] = ["if_over", "then"];
const CATCH: [&str; 2] = ["on", "do"];
const CONDITION: [&str; 8] =
    ["device", "metric", "above", "below", "clear", "equals", "silent", "hold"];

/// Every step with its keys, for the schema's test.
#[cfg(test)]
pub(in super::super) fn shapes() -> Vec<(&'static str, Vec<&'static str>, Vec<&'static str>)> {
    let inner = |name| match name {
        "each" => EACH.to_vec(),
        "repeat" => REPEAT.to_vec(),
        "wait_for" => CONDITION.to_vec(),
        _ => Vec::new(),
    };
    let others = OTHERS.iter().map(|(name, keys)| (*name, keys.to_vec(), inner(name)));
    let effects = effect::names().map(|name| {
        let (step, own) = effect::keys_of(name);
        (name, step, own)
    });
    others.chain(effects).collect()
}

#[cfg(test)]
pub(in super::super) const SMALL: [(&str, &[&str]); 4] = [
    ("late", &LATE),
    ("catch", &CATCH),
    ("retry", &effect::RETRY_KEYS),
    ("result", &effect::RESULT_KEYS),
];

/// Reads steps. One that cannot be read is told and stands for itself, so that the others are
/// judged.
pub(super) fn steps(node: &Node<'_>, what: &str, report: &mut Report) -> Result<Vec<Step>, Told> {
    let items = fields::list(node, &format!("`{what}`"), report)?;
    let read = |item| match step(item, report) {
        Ok(step) => step,
        Err(Told) => {
            let mut names = Vec::new();
            item.names_set(&mut names);
            let (place, action) = (item.place, Action::Broken(names));
            Step { place, action, label: None, catches: Vec::new() }
        }
    };
    Ok(items.iter().map(read).collect())
}

fn step(node: &Node<'_>, report: &mut Report) -> Result<Step, Told> {
    let fields = Fields::of(node, "a step", report)?;
    let others = || OTHERS.iter().map(|(name, _)| *name);
    let names = || others().chain(effect::names());
    let mut found = fields.entries().iter().filter(|(key, _)| names().any(|name| name == key.text));
    let Some((key, head)) = found.next() else {
        let Some((key, _)) = fields.entries().first() else {
            return Err(report.wrong(node.place, "a step says what is done, and this is empty"));
        };
        let message = format!("unknown step `{}`", key.text);
        let advice = closest(&key.text, names()).map(|name| format!("did you mean `{name}`?"));
        return Err(report.tell(key.place, message, advice));
    };
    if let Some((other, _)) = found.next() {
        let message =
            format!("a step is one thing, and this is `{}` and `{}`", key.text, other.text);
        return Err(report.advise(
            other.place,
            message,
            "begin the second one with a `-` of its own",
        ));
    }
    let place = key.place;
    let fields = Fields::of(node, "a step", report)?.renamed(format!("`{}`", key.text));
    let action = match effect::read(&key.text, head, &fields, report) {
        Some(effect) => effect.map(|effect| Action::Effect(Box::new(effect))),
        None => {
            let keys = OTHERS.iter().find(|(name, _)| *name == key.text).map(|(_, keys)| *keys);
            fields.check(keys.unwrap_or_default(), report);
            action(&key.text, head, &fields, report)
        }
    };
    let label = match fields.get("label") {
        Some(node) => Some(fields::plain_name(node, "a label", NAME_MAX_BYTES, report)?),
        None => None,
    };
    let catches = fields.or("catch", Vec::new(), report, catches);
    Ok(Step { place, action: action?, label, catches })
}

fn action(
    name: &str,
    head: &Node<'_>,
    fields: &Fields<'_>,
    report: &mut Report,
) -> Result<Action, Told> {
    let on_time = Lateness { late: Late::Fire, tolerance_s: 0 };
    Ok(match name {
        "let" => Action::Let(assignments(head, report)?),
        "wait" => {
            let late = fields.or("late", on_time, report, lateness);
            Action::Wait { length: fields::delay(head, report)?, late }
        }
        "wait_until" => {
            let late = fields.or("late", on_time, report, lateness);
            Action::WaitUntil { time: moment(head, report)?, late }
        }
        "wait_for" => {
            let within = fields.get("within").map(|node| fields::delay(node, report));
            Action::WaitFor { what: awaited(head, report)?, within: within.transpose()? }
        }
        "choose" => choose(head, report)?,
        "parallel" => {
            let branches = fields::list(head, "`parallel`", report)?;
            if branches.is_empty() {
                return Err(report.wrong(head.place, "`parallel` has no branches"));
            }
            let all: Vec<_> =
                branches.iter().map(|branch| steps(branch, "a branch", report)).collect();
            Action::Parallel(all.into_iter().collect::<Result<_, _>>()?)
        }
        "each" => super::each::read(head, fields, report)?,
        "repeat" => repeat(head, fields, report)?,
        "forever" => Action::Forever(some_steps(head, "forever", report)?),
        "try" => {
            fields.need("catch", report)?;
            Action::Try(some_steps(head, "try", report)?)
        }
        "fail" => {
            Action::Fail(fields::plain_name(head, "the name of an error", NAME_MAX_BYTES, report)?)
        }
        _ => {
            if !fields::truth(head, report)? {
                let advice = "`fail` ends a run with an error";
                return Err(report.advise(head.place, "`succeed` is only ever `true`", advice));
            }
            Action::Succeed
        }
    })
}

/// Steps of which there has to be one.
pub(super) fn some_steps(
    node: &Node<'_>,
    what: &str,
    report: &mut Report,
) -> Result<Vec<Step>, Told> {
    let all = steps(node, what, report)?;
    if all.is_empty() {
        return Err(report.wrong(node.place, format!("`{what}` has no steps")));
    }
    Ok(all)
}

fn assignments(node: &Node<'_>, report: &mut Report) -> Result<Vec<(Named, Expr)>, Told> {
    let fields = Fields::of(node, "`let`", report)?;
    let all: Vec<Result<_, Told>> = fields
        .entries()
        .iter()
        .map(|(key, value)| {
            let name = fields::name(key, "a variable", report);
            let expr = fields::expr(value, report);
            Ok((name?, expr?))
        })
        .collect();
    all.into_iter().collect()
}

/// A point in time as it stands, or an expression.
fn moment(node: &Node<'_>, report: &mut Report) -> Result<Expr, Told> {
    let scalar = fields::scalar(node, "a time", report)?;
    match crate::time_text::parse(&scalar.text) {
        Ok(time) => Ok(Expr::time(node.place, time.0.div_euclid(1_000_000))),
        Err(_) => fields::expr(node, report),
    }
}

fn lateness(node: &Node<'_>, report: &mut Report) -> Result<Lateness, Told> {
    let fields = Fields::read(node, "`late`", &LATE, report)?;
    let over = fields.need("if_over", report)?;
    let ms = fields::length(over, report)?;
    let tolerance_s = u32::try_from(ms / 1_000).ok().filter(|_| ms % 1_000 == 0);
    let tolerance_s =
        tolerance_s.ok_or_else(|| report.wrong(over.place, "expected whole seconds"))?;
    let words = [("fire", Late::Fire), ("skip", Late::Skip), ("restart", Late::Restart)];
    let late = fields::word(fields.need("then", report)?, &words, report)?;
    Ok(Lateness { late, tolerance_s })
}

fn catches(node: &Node<'_>, report: &mut Report) -> Result<Vec<Catch>, Told> {
    let clauses = fields::list(node, "`catch`", report)?;
    if clauses.is_empty() {
        return Err(report.wrong(node.place, "`catch` catches nothing"));
    }
    let all: Vec<Result<_, Told>> = clauses
        .iter()
        .map(|clause| {
            let fields = Fields::read(clause, "`catch`", &CATCH, report)?;
            let on = effect::errors(fields.need("on", report)?, report);
            let body = fields.need("do", report)?;
            let steps = steps(body, "do", report);
            Ok(Catch { on: on?, steps: steps?, asks: body.mentions("error_is") })
        })
        .collect();
    all.into_iter().collect()
}

fn choose(node: &Node<'_>, report: &mut Report) -> Result<Action, Told> {
    let cases = fields::list(node, "`choose`", report)?;
    let (mut arms, mut otherwise, mut wrong) = (Vec::new(), None, None);
    for case in cases {
        let mut read = || -> Result<(), Told> {
            let fields = Fields::of(case, "a case", report)?;
            if otherwise.is_some() {
                let message = "nothing comes behind `else`";
                return Err(report.wrong(case.place, message));
            }
            if let Some(node) = fields.get("else") {
                fields.check(&["else"], report);
                otherwise = Some(steps(node, "else", report)?);
                return Ok(());
            }
            fields.check(&["if", "do"], report);
            let condition = fields::expr(fields.need("if", report)?, report);
            let steps = steps(fields.need("do", report)?, "do", report);
            arms.push((condition?, steps?));
            Ok(())
        };
        wrong = read().err().or(wrong);
    }
    if arms.is_empty() && wrong.is_none() {
        return Err(report.wrong(node.place, "`choose` has no case with `if`"));
    }
    wrong.map_or(Ok(Action::Choose { arms, otherwise: otherwise.unwrap_or_default() }), Err)
}

fn repeat(head: &Node<'_>, step: &Fields<'_>, report: &mut Report) -> Result<Action, Told> {
    let fields = Fields::read(head, "`repeat`", &REPEAT, report)?;
    let at_most = fields.get("at_most").ok_or_else(|| {
        let advice = "a run that goes on for ever is `forever`";
        report.advise(head.place, "`repeat` lacks the key `at_most`", advice)
    })?;
    let at_most = fields::whole(at_most, 1, u32::from(u16::MAX), report);
    let condition = fields.get("while").map(|node| fields::expr(node, report)).transpose();
    let body = some_steps(step.need("do", report)?, "do", report);
    Ok(Action::Repeat { at_most: at_most?, condition: condition?, body: body? })
}

fn awaited(node: &Node<'_>, report: &mut Report) -> Result<Awaited, Told> {
    if let Value::Scalar(scalar) = &node.value {
        return Ok(Awaited::Signal(fields::name(scalar, "a signal", report)?));
    }
    let fields = Fields::read(node, "a condition", &CONDITION, report)?;
    let text =
        |key, report: &mut Report| template::text(fields.need(key, report)?, "a text", report);
    let (device, metric) = (text("device", report), text("metric", report));
    let Tested { rule, words } = rule(&fields, report)?;
    Ok(Awaited::Condition { device: device?, metric: metric?, rule, words })
}

/// A condition, and its test in words.
pub(super) struct Tested {
    pub(super) rule: Rule,
    words: String,
}

pub(super) fn rule(fields: &Fields<'_>, report: &mut Report) -> Result<Tested, Told> {
    let tests = ["above", "below", "equals", "silent"];
    let mut found = tests.iter().filter_map(|key| Some((*key, fields.get(key)?)));
    let (Some((test, node)), None) = (found.next(), found.next()) else {
        let message = "a condition has one of `above`, `below`, `equals` and `silent`";
        return Err(report.wrong(fields.place, message));
    };
    let clear = fields.get("clear");
    let hold = fields.get("hold");
    let misplaced = match test {
        "above" | "below" => None,
        "equals" => clear.map(|node| ("clear", node)),
        _ => clear.map(|node| ("clear", node)).or(hold.map(|node| ("hold", node))),
    };
    if let Some((key, node)) = misplaced {
        return Err(report.wrong(node.place, format!("`{key}` does not go with `{test}`")));
    }
    let nanos = |ms: u64| i64::try_from(ms).unwrap_or(i64::MAX).saturating_mul(1_000_000);
    let hold_ns =
        fields.or("hold", 0, report, |node, report| fields::length(node, report).map(nanos));
    let word = &fields::scalar(node, "a number", report)?.text;
    let test = match test {
        "silent" => Test::Silent { for_ns: nanos(fields::length(node, report)?).max(1) },
        "equals" => Test::Equals(limit(node, true, report)?),
        _ => {
            let edge = limit(node, false, report)?;
            let clear_at = match clear {
                Some(node) => limit(node, false, report)?,
                None => edge,
            };
            let above = test == "above";
            if (above && clear_at > edge) || (!above && clear_at < edge) {
                let place = clear.map_or(fields.place, |node| node.place);
                let message = "`clear` lies on the wrong side of the limit";
                return Err(report.wrong(place, message));
            }
            match above {
                true => Test::Above { limit: edge, clear: clear_at },
                false => Test::Below { limit: edge, clear: clear_at },
            }
        }
    };
    let words = format!("{} {word}", tests_word(&test));
    Ok(Tested { rule: Rule { test, hold_ns, clear_hold_ns: 0 }, words })
}

const fn tests_word(test: &Test) -> &'static str {
    match test {
        Test::Above { .. } => "above",
        Test::Below { .. } => "below",
        Test::Equals(_) => "equals",
        Test::Silent { .. } => "silent",
    }
}

fn limit(node: &Node<'_>, truths: bool, report: &mut Report) -> Result<f64, Told> {
    let text = &fields::scalar(node, "a number", report)?.text;
    let number = match text.as_str() {
        "true" if truths => Some(1.0),
        "false" if truths => Some(0.0),
        _ => text.parse::<f64>().ok().filter(|number| number.is_finite()),
    };
    number.ok_or_else(|| report.wrong(node.place, format!("expected a number, got `{text}`")))
}

/// The first step, in any depth, of which `is` is true.
pub(in super::super) fn walk(steps: &[Step], is: &dyn Fn(&Step) -> bool) -> Option<Place> {
    steps.iter().find_map(|step| {
        if is(step) {
            return Some(step.place);
        }
        let inner: Vec<&[Step]> = match &step.action {
            Action::Choose { arms, otherwise } => {
                arms.iter().map(|(_, steps)| &**steps).chain([&**otherwise]).collect()
            }
            Action::Parallel(branches) => branches.iter().map(|steps| &**steps).collect(),
            Action::Each { body, .. } | Action::Repeat { body, .. } => vec![body],
            Action::Forever(body) | Action::Try(body) => vec![body],
            _ => Vec::new(),
        };
        let caught = step.catches.iter().map(|clause| &*clause.steps);
        inner.into_iter().chain(caught).find_map(|steps| walk(steps, is))
    })
}
