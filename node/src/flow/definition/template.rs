//! Texts with `${expression}` in them, and YAML that becomes JSON with values in it.
//!
//! In a text a value stands as people write it. In JSON a text that is nothing but `${x}` becomes
//! the value of x with its type, and within a longer text it is escaped. `$${` stands for `${`.

use super::super::diagnostic::{Report, Told};
use super::super::expression::Expr;
use super::super::source::{Node, Scalar, Value};
use super::fields;
use holdfast_core::flow::PIECES_MAX;

/// A piece of a template.
#[derive(Clone, Debug)]
pub(in super::super) enum Piece {
    Literal(String),
    /// As it is.
    Value(Expr),
    /// As a value of JSON.
    Json(Expr),
    /// Within a text of JSON.
    Escaped(Expr),
}

/// An argument, as pieces one behind the other.
#[derive(Clone, Debug, Default)]
pub(in super::super) struct Template(pub(in super::super) Vec<Piece>);

impl Template {
    pub(super) fn literal(text: &str) -> Self {
        Self(vec![Piece::Literal(text.to_owned())])
    }

    /// The text, if it is one without values.
    pub(in super::super) fn plain(&self) -> Option<&str> {
        match self.0.as_slice() {
            [] => Some(""),
            [Piece::Literal(text)] => Some(text),
            _ => None,
        }
    }

    fn push(&mut self, text: &str) {
        if let Some(Piece::Literal(before)) = self.0.last_mut() {
            before.push_str(text);
        } else if !text.is_empty() {
            self.0.push(Piece::Literal(text.to_owned()));
        }
    }
}

/// A text with values in it.
pub(super) fn text(node: &Node<'_>, what: &str, report: &mut Report) -> Result<Template, Told> {
    let scalar = fields::scalar(node, what, report)?;
    let mut out = Template::default();
    for part in parts(scalar, report)? {
        match part {
            Part::Literal(text) => out.push(&text),
            Part::Expr(expr) => out.0.push(Piece::Value(expr)),
        }
    }
    Ok(out)
}

/// A text as it is, or a list or a map as JSON.
pub(super) fn content(node: &Node<'_>, report: &mut Report) -> Result<Template, Told> {
    match &node.value {
        Value::Scalar(scalar) if scalar.is_null() => Ok(Template::literal("null")),
        Value::Scalar(_) => text(node, "a content", report),
        _ => json(node, report),
    }
}

/// Any YAML as JSON.
pub(super) fn json(node: &Node<'_>, report: &mut Report) -> Result<Template, Told> {
    let mut out = Template::default();
    write(node, &mut out, report)?;
    Ok(out)
}

fn write(node: &Node<'_>, out: &mut Template, report: &mut Report) -> Result<(), Told> {
    match &node.value {
        Value::Scalar(scalar) => write_scalar(scalar, out, report),
        Value::List(items) => {
            for (index, item) in items.iter().enumerate() {
                out.push(if index == 0 { "[" } else { "," });
                write(item, out, report)?;
            }
            out.push(if items.is_empty() { "[]" } else { "]" });
            Ok(())
        }
        Value::Map(entries) => {
            for (index, (key, value)) in entries.iter().enumerate() {
                if key.text.contains("${") {
                    let message = format!("the key `{}` cannot have a value in it", key.text);
                    return Err(report.wrong(key.place, message));
                }
                out.push(if index == 0 { "{" } else { "," });
                out.push(&quoted(&key.text));
                out.push(":");
                write(value, out, report)?;
            }
            out.push(if entries.is_empty() { "{}" } else { "}" });
            Ok(())
        }
    }
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn escaped(text: &str) -> String {
    let quoted = quoted(text);
    quoted[1..quoted.len() - 1].to_owned()
}

fn write_scalar(scalar: &Scalar<'_>, out: &mut Template, report: &mut Report) -> Result<(), Told> {
    if let Some(literal) = plain_json(scalar) {
        out.push(&literal);
        return Ok(());
    }
    let mut parts = parts(scalar, report)?;
    if let [Part::Expr(_)] = parts.as_slice()
        && let Some(Part::Expr(expr)) = parts.pop()
    {
        out.0.push(Piece::Json(expr));
        return Ok(());
    }
    out.push("\"");
    for part in parts {
        match part {
            Part::Literal(text) => out.push(&escaped(&text)),
            Part::Expr(expr) => out.0.push(Piece::Escaped(expr)),
        }
    }
    out.push("\"");
    Ok(())
}

/// What is no text in YAML, as JSON writes it.
fn plain_json(scalar: &Scalar<'_>) -> Option<String> {
    if scalar.is_null() {
        return Some("null".to_owned());
    }
    let text = scalar.plain.then_some(scalar.text.as_str())?;
    if matches!(text, "true" | "false") {
        return Some(text.to_owned());
    }
    let is_number = text.starts_with(|c: char| c.is_ascii_digit() || "+-.".contains(c))
        && text.bytes().all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte));
    let number: f64 = is_number.then(|| text.parse().ok())??;
    // What JSON reads stays as it stands, with all its digits.
    let as_it_is = serde_json::from_str::<serde_json::Number>(text).is_ok();
    number.is_finite().then(|| if as_it_is { text.to_owned() } else { number.to_string() })
}

enum Part {
    Literal(String),
    Expr(Expr),
}

/// Divides a text into what stands there and the expressions in it.
fn parts(scalar: &Scalar<'_>, report: &mut Report) -> Result<Vec<Part>, Told> {
    let text = &scalar.text;
    let (mut out, mut literal, mut at) = (Vec::new(), String::new(), 0);
    let mut told = None;
    while let Some(next) = text[at..].find("${") {
        let begin = at + next;
        literal.push_str(&text[at..begin]);
        if literal.ends_with('$') {
            literal.pop();
            literal.push_str("${");
            at = begin + 2;
            continue;
        }
        let inner = begin + 2;
        if out.len() as u64 >= PIECES_MAX {
            let message = format!("an argument has more than {PIECES_MAX} pieces");
            return Err(report.advise(scalar.place_at(begin), message, "send less at once"));
        }
        let Some(len) = end_of(&text[inner..]) else {
            let message = "`${` has no closing `}`";
            let advice = "`$${` stands for `${` as it is";
            return Err(report.advise(scalar.place_at(begin), message, advice));
        };
        if !literal.is_empty() {
            out.push(Part::Literal(std::mem::take(&mut literal)));
        }
        match fields::part(scalar, inner, &text[inner..inner + len], report) {
            Ok(expr) => out.push(Part::Expr(expr)),
            Err(error) => told = Some(error),
        }
        at = inner + len + 1;
    }
    literal.push_str(&text[at..]);
    if !literal.is_empty() || out.is_empty() {
        out.push(Part::Literal(literal));
    }
    told.map_or(Ok(out), Err)
}

/// Where the expression ends: at the first `}` outside of its texts.
fn end_of(text: &str) -> Option<usize> {
    let (mut quote, mut escapes) = (None, false);
    for (at, c) in text.char_indices() {
        match (quote, c) {
            _ if escapes => escapes = false,
            (Some(_), '\\') => escapes = true,
            (Some(open), c) if c == open => quote = None,
            (None, '"' | '\'') => quote = Some(c),
            (None, '}') => return Some(at),
            _ => {}
        }
    }
    None
}
