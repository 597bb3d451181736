//! Reading maps and scalars: every key is known, and each value is what its key takes.

use super::super::diagnostic::{Place, Report, Told, suggestion};
use super::super::duration;
use super::super::expression::{self, Expr};
use super::super::source::{Node, Scalar, Value};

/// The entries of a map whose keys were checked.
#[derive(Debug)]
pub(super) struct Fields<'n> {
    pub(super) place: Place,
    /// Of what it is, for messages.
    what: String,
    entries: &'n [(Scalar<'n>, Node<'n>)],
}

impl<'n> Fields<'n> {
    /// The entries of `node`; what is no key of `keys` is told.
    pub(super) fn read(
        node: &'n Node<'n>,
        what: &str,
        keys: &[&str],
        report: &mut Report,
    ) -> Result<Self, Told> {
        let fields = Self::of(node, what, report)?;
        fields.check(keys, report);
        Ok(fields)
    }

    /// The entries of `node`, whatever they are.
    pub(super) fn of(node: &'n Node<'n>, what: &str, report: &mut Report) -> Result<Self, Told> {
        match &node.value {
            Value::Map(entries) => Ok(Self { place: node.place, what: what.to_owned(), entries }),
            _ => Err(mismatch(node, &format!("{what} is a map"), report)),
        }
    }

    pub(super) fn check(&self, keys: &[&str], report: &mut Report) {
        for (key, _) in self.entries.iter().filter(|(key, _)| !keys.contains(&&*key.text)) {
            if report.is_full() {
                return;
            }
            let message = format!("unknown key `{}` in {}", key.text, self.what);
            let advice = match key.text.as_str() {
                "catch" => Some("put the step into a `try`, which has a `catch`".to_owned()),
                name => suggestion(name, keys.iter().copied()),
            };
            report.tell(key.place, message, advice);
        }
    }

    /// The same, as what it turned out to be.
    pub(super) fn renamed(self, what: String) -> Self {
        Self { what, ..self }
    }

    pub(super) const fn entries(&self) -> &'n [(Scalar<'n>, Node<'n>)] {
        self.entries
    }

    pub(super) fn get(&self, key: &str) -> Option<&'n Node<'n>> {
        self.entries.iter().find(|(known, _)| known.text == key).map(|(_, node)| node)
    }

    pub(super) fn need(&self, key: &str, report: &mut Report) -> Result<&'n Node<'n>, Told> {
        self.get(key)
            .ok_or_else(|| report.wrong(self.place, format!("{} lacks the key `{key}`", self.what)))
    }

    /// What `read` makes of a key, or what stands there without it; what is wrong was told, and
    /// the rest can be read on.
    pub(super) fn or<T>(
        &self,
        key: &str,
        otherwise: T,
        report: &mut Report,
        read: impl FnOnce(&'n Node<'n>, &mut Report) -> Result<T, Told>,
    ) -> T {
        match self.get(key) {
            Some(node) => read(node, report).unwrap_or(otherwise),
            None => otherwise,
        }
    }
}

/// Says that something else is expected.
pub(super) fn mismatch(node: &Node<'_>, expected: &str, report: &mut Report) -> Told {
    report.wrong(node.place, format!("{expected}, and this is {}", node.kind()))
}

pub(super) fn list<'n>(
    node: &'n Node<'n>,
    what: &str,
    report: &mut Report,
) -> Result<&'n [Node<'n>], Told> {
    match &node.value {
        Value::List(items) => Ok(items),
        _ => Err(mismatch(node, &format!("{what} is a list"), report)),
    }
}

pub(super) fn scalar<'n>(
    node: &'n Node<'n>,
    what: &str,
    report: &mut Report,
) -> Result<&'n Scalar<'n>, Told> {
    match &node.value {
        Value::Scalar(scalar) if !scalar.is_null() => Ok(scalar),
        _ => Err(mismatch(node, &format!("{what} is expected here"), report)),
    }
}

/// A text or a number as it stands, not longer than `max` bytes.
pub(super) fn short(
    node: &Node<'_>,
    what: &str,
    max: usize,
    report: &mut Report,
) -> Result<String, Told> {
    let text = &scalar(node, what, report)?.text;
    if text.len() > max {
        let message = format!("{what} has {} bytes: at most {max}", text.len());
        return Err(report.wrong(node.place, message));
    }
    Ok(text.clone())
}

pub(super) fn truth(node: &Node<'_>, report: &mut Report) -> Result<bool, Told> {
    match &node.value {
        Value::Scalar(scalar) if scalar.plain && scalar.text == "true" => Ok(true),
        Value::Scalar(scalar) if scalar.plain && scalar.text == "false" => Ok(false),
        Value::Scalar(scalar) => {
            let message = format!("expected `true` or `false`, got `{}`", scalar.text);
            Err(report.wrong(node.place, message))
        }
        _ => Err(mismatch(node, "`true` or `false` is expected here", report)),
    }
}

/// A whole number within bounds.
pub(super) fn whole(
    node: &Node<'_>,
    least: u32,
    most: u32,
    report: &mut Report,
) -> Result<u32, Told> {
    let text = &scalar(node, "a whole number", report)?.text;
    let number = text.parse().ok().filter(|number| (least..=most).contains(number));
    number.ok_or_else(|| {
        let message = format!("expected a whole number from {least} to {most}, got `{text}`");
        report.wrong(node.place, message)
    })
}

/// A length of time as it stands, in milliseconds.
pub(super) fn length(node: &Node<'_>, report: &mut Report) -> Result<u64, Told> {
    let text = &scalar(node, "a length of time", report)?.text;
    let ms = duration::parse(text).and_then(|ms| u64::try_from(ms).ok());
    ms.ok_or_else(|| {
        let message = format!("expected {}, got `{text}`", duration::EXPECTED);
        report.wrong(node.place, message)
    })
}

/// One of some words.
pub(super) fn word<T: Copy>(
    node: &Node<'_>,
    words: &[(&str, T)],
    report: &mut Report,
) -> Result<T, Told> {
    let text = &scalar(node, "a word", report)?.text;
    let found = words.iter().find(|(word, _)| word == text);
    found.map(|(_, meaning)| *meaning).ok_or_else(|| {
        let all: Vec<_> = words.iter().map(|(word, _)| *word).collect();
        let message = format!("expected {}, got `{text}`", all.join(", "));
        report.wrong(node.place, message)
    })
}

/// Something that has a name, and where that stands.
#[derive(Clone, Debug)]
pub(in super::super) struct Named {
    pub(in super::super) text: String,
    pub(in super::super) place: Place,
}

/// A name of a variable, an input, a signal or a field.
pub(super) fn name(scalar: &Scalar<'_>, what: &str, report: &mut Report) -> Result<Named, Told> {
    let text = scalar.text.clone();
    if !expression::is_name(&text) {
        let most = expression::NAME_BYTES;
        let message = format!("`{text}` cannot be the name of {what}");
        let advice = format!("a name is letters, digits and `_`, up to {most}, no digit first");
        return Err(report.advise(scalar.place, message, advice));
    }
    Ok(Named { text, place: scalar.place })
}

/// A name such as that of a workflow, a version, an error or a label.
pub(super) fn plain_name(
    node: &Node<'_>,
    what: &str,
    max: usize,
    report: &mut Report,
) -> Result<Named, Told> {
    let text = scalar(node, what, report)?.text.clone();
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    if !(1..=max).contains(&text.len()) || !text.bytes().all(plain) {
        let message = format!("`{text}` is not {what}");
        let advice = format!("expected 1 to {max} characters of A-Z a-z 0-9 . _ -");
        return Err(report.advise(node.place, message, advice));
    }
    Ok(Named { text, place: node.place })
}

/// An expression.
pub(super) fn expr(node: &Node<'_>, report: &mut Report) -> Result<Expr, Told> {
    let scalar = scalar(node, "an expression", report)?;
    part(scalar, 0, &scalar.text, report)
}

/// An expression that begins at `start` of a text.
pub(super) fn part(
    scalar: &Scalar<'_>,
    start: usize,
    text: &str,
    report: &mut Report,
) -> Result<Expr, Told> {
    let places = scalar.places(start, text.len());
    let place_at = |offset: usize| places.get(offset).copied().unwrap_or(scalar.place);
    expression::parse(text, place_at)
        .map_err(|fault| report.tell(place_at(fault.at), fault.message, fault.advice))
}

/// A length of time: as it stands, or as an expression.
pub(super) fn delay(node: &Node<'_>, report: &mut Report) -> Result<Expr, Told> {
    let scalar = scalar(node, "a length of time", report)?;
    match duration::parse(&scalar.text) {
        Some(ms) => Ok(Expr::duration(node.place, ms)),
        None => expr(node, report),
    }
}
