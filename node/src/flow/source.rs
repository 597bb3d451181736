//! The text of a definition as a tree in which everything knows its place.
//!
//! JSON is YAML, so one parser reads both. What can make a short text mean a long one, or one text
//! two things (aliases, tags, a second document, a key twice), is refused: a definition means what
//! stands there.

use super::diagnostic::{Place, Report, Told};
use saphyr_parser::{Event, Marker, Parser, ScalarStyle, Span};
use std::collections::BTreeMap;

/// Bytes of a definition: some thousand steps.
pub(super) const TEXT_MAX_BYTES: usize = 256 << 10;
/// Lists and maps in each other: bounds what reading a tree can take of the stack.
const DEPTH_MAX: usize = 32;

/// A list, a map or a scalar, and where it begins.
#[derive(Clone, Debug)]
pub(super) struct Node<'t> {
    pub(super) place: Place,
    pub(super) value: Value<'t>,
}

#[derive(Clone, Debug)]
pub(super) enum Value<'t> {
    Scalar(Scalar<'t>),
    List(Vec<Node<'t>>),
    Map(Vec<(Scalar<'t>, Node<'t>)>),
}

/// A text, a number, a truth or nothing.
#[derive(Clone, Debug)]
pub(super) struct Scalar<'t> {
    pub(super) place: Place,
    pub(super) text: String,
    /// It stands there as it is, without quotes: a number may be one.
    pub(super) plain: bool,
    style: ScalarStyle,
    /// The source from where it begins.
    source: &'t str,
}

impl Node<'_> {
    /// What it is, for messages.
    pub(super) const fn kind(&self) -> &'static str {
        match &self.value {
            Value::Scalar(scalar) if scalar.is_null() => "nothing",
            Value::Scalar(_) => "a text or a number",
            Value::List(_) => "a list",
            Value::Map(_) => "a map",
        }
    }
}

impl Node<'_> {
    /// Whether a text in it has `word` in it.
    pub(super) fn mentions(&self, word: &str) -> bool {
        match &self.value {
            Value::Scalar(scalar) => scalar.text.contains(word),
            Value::List(items) => items.iter().any(|item| item.mentions(word)),
            Value::Map(entries) => entries.iter().any(|(_, value)| value.mentions(word)),
        }
    }

    /// The variables that steps in it set.
    pub(super) fn names_set(&self, out: &mut Vec<String>) {
        match &self.value {
            Value::Scalar(_) => {}
            Value::List(items) => items.iter().for_each(|item| item.names_set(out)),
            Value::Map(entries) => {
                for (key, value) in entries {
                    match (key.text.as_str(), &value.value) {
                        ("let" | "result", Value::Map(set)) => {
                            out.extend(set.iter().map(|(name, _)| name.text.clone()));
                        }
                        _ => value.names_set(out),
                    }
                }
            }
        }
    }
}

impl Scalar<'_> {
    /// Whether there is nothing.
    pub(super) const fn is_null(&self) -> bool {
        self.plain && matches!(self.text.as_bytes(), b"" | b"~" | b"null")
    }

    /// The place in the source of the byte at `offset` of the text.
    pub(super) fn place_at(&self, offset: usize) -> Place {
        self.places(offset, 0).pop().unwrap_or(self.place)
    }

    /// The places in the source of the bytes of the text from `start` on, and of the one behind.
    ///
    /// The text is the source without quotes, with escapes resolved and lines folded. Both are gone
    /// through side by side; white space counts as equal whatever became of it.
    pub(super) fn places(&self, start: usize, len: usize) -> Vec<Place> {
        let mut walk = Walk { place: self.place, rest: self.source };
        match self.style {
            ScalarStyle::SingleQuoted | ScalarStyle::DoubleQuoted => walk.take(),
            // A block begins with its first line, not with the sign before.
            ScalarStyle::Plain | ScalarStyle::Literal | ScalarStyle::Folded => {}
        }
        let mut out = Vec::new();
        for (at, wanted) in self.text.char_indices() {
            if at > start + len {
                break;
            }
            if !wanted.is_whitespace() {
                walk.skip_space();
            }
            if at >= start {
                out.resize(at - start + 1, walk.place);
            }
            if !wanted.is_whitespace() {
                walk.take_one(self.style);
            }
        }
        out.resize(len + 1, walk.place);
        out
    }
}

/// A way through the source.
struct Walk<'t> {
    place: Place,
    rest: &'t str,
}

impl Walk<'_> {
    fn next(&self) -> Option<char> {
        self.rest.chars().next()
    }

    fn take(&mut self) {
        let Some(taken) = self.next() else { return };
        self.rest = &self.rest[taken.len_utf8()..];
        if taken == '\n' {
            self.place = Place { line: self.place.line + 1, column: 1 };
        } else {
            self.place.column += 1;
        }
    }

    /// What stands for one character of the text.
    fn take_one(&mut self, style: ScalarStyle) {
        match (style, self.next()) {
            (ScalarStyle::DoubleQuoted, Some('\\')) => self.take_escape(),
            (ScalarStyle::SingleQuoted, Some('\'')) => {
                self.take();
                self.take();
            }
            _ => self.take(),
        }
    }

    fn skip_space(&mut self) {
        while self.next().is_some_and(char::is_whitespace) {
            self.take();
        }
    }

    fn take_escape(&mut self) {
        self.take();
        let digits = match self.next() {
            Some('x') => 2,
            Some('u') => 4,
            Some('U') => 8,
            _ => 0,
        };
        for _ in 0..=digits {
            self.take();
        }
    }
}

/// Reads a definition.
pub(super) fn parse<'t>(text: &'t str, report: &mut Report) -> Result<Node<'t>, Told> {
    let start = Place { line: 1, column: 1 };
    if text.len() > TEXT_MAX_BYTES {
        let message =
            format!("the definition has {} bytes: at most {TEXT_MAX_BYTES} are read", text.len());
        return Err(report.advise(start, message, "divide it, and `run` one from the other"));
    }
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut tree = Tree { text, at: (0, 0), open: Vec::new(), root: None, report };
    let mut documents = 0;
    for event in Parser::new_from_str(text) {
        let (event, span) = match event {
            Ok(event) => event,
            Err(error) => {
                let place = place_of(*error.marker());
                let message = format!("this is not YAML: {}", error.info());
                return Err(tree.report.wrong(place, message));
            }
        };
        if let Event::DocumentStart(_) = event {
            documents += 1;
            if documents > 1 {
                let place = place_of(span.start);
                let message = "a second document begins here: a file holds one workflow";
                return Err(tree.report.advise(place, message, "give each its own file"));
            }
        }
        tree.take(event, span)?;
    }
    let Tree { root, report, .. } = tree;
    root.ok_or_else(|| report.wrong(start, "there is no definition here: the text is empty"))
}

fn place_of(marker: Marker) -> Place {
    let number = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    Place { line: number(marker.line()), column: number(marker.col()).saturating_add(1) }
}

/// A list or a map that is being read, the key that waits for its value, and the lines of its keys.
enum Open<'t> {
    List(Place, Vec<Node<'t>>),
    Map(Place, Vec<(Scalar<'t>, Node<'t>)>, Option<Scalar<'t>>, BTreeMap<String, u32>),
}

struct Tree<'t, 'r> {
    text: &'t str,
    /// A character of the text by its number, and the byte at which it stands.
    at: (usize, usize),
    open: Vec<Open<'t>>,
    root: Option<Node<'t>>,
    report: &'r mut Report,
}

impl<'t> Tree<'t, '_> {
    fn take(&mut self, event: Event<'_>, span: Span) -> Result<(), Told> {
        let place = place_of(span.start);
        let (anchor, tag) = match &event {
            Event::Alias(_) => (1, &None),
            Event::Scalar(_, _, anchor, tag)
            | Event::SequenceStart(anchor, tag)
            | Event::MappingStart(anchor, tag) => (*anchor, tag),
            _ => (0, &None),
        };
        if anchor != 0 {
            let message = "anchors (`&`) and aliases (`*`) are not read";
            return Err(self.report.advise(place, message, "write out what is meant, or quote it"));
        }
        if let Some(tag) = tag {
            let tag = tag.to_string().replace("tag:yaml.org,2002:!", "!!");
            let message = format!("tags are not read: `{tag}`");
            return Err(self.report.advise(place, message, "leave it away, or quote the text"));
        }
        match event {
            Event::Scalar(text, style, ..) => {
                let scalar = self.scalar(place, text.into_owned(), style, span.start);
                self.put_scalar(scalar)
            }
            Event::SequenceStart(..) => self.begin(Open::List(place, Vec::new()), place),
            Event::MappingStart(..) => {
                self.begin(Open::Map(place, Vec::new(), None, BTreeMap::new()), place)
            }
            Event::SequenceEnd | Event::MappingEnd => self.end(),
            _ => Ok(()),
        }
    }

    fn scalar(
        &mut self,
        place: Place,
        text: String,
        style: ScalarStyle,
        start: Marker,
    ) -> Scalar<'t> {
        let (number, byte) = self.at;
        let (number, byte) = if start.index() < number { (0, 0) } else { (number, byte) };
        let ahead = self.text[byte..].chars().take(start.index() - number);
        let byte = byte + ahead.map(char::len_utf8).sum::<usize>();
        self.at = (start.index().min(self.text.len()), byte);
        let plain = style == ScalarStyle::Plain;
        Scalar { place, text, plain, style, source: &self.text[byte..] }
    }

    fn begin(&mut self, open: Open<'t>, place: Place) -> Result<(), Told> {
        if self.open.len() >= DEPTH_MAX {
            let message = format!("more than {DEPTH_MAX} lists and maps lie in each other here");
            return Err(self.report.advise(place, message, "put the inner steps into a workflow"));
        }
        if let Some(Open::Map(_, _, None, _)) = self.open.last() {
            return Err(self.report.wrong(place, "a key has to be a text"));
        }
        self.open.push(open);
        Ok(())
    }

    fn put_scalar(&mut self, scalar: Scalar<'t>) -> Result<(), Told> {
        if let Some(Open::Map(_, _, key @ None, lines)) = self.open.last_mut() {
            if let Some(line) = lines.insert(scalar.text.clone(), scalar.place.line) {
                let message =
                    format!("the key `{}` is there twice, first in line {line}", scalar.text);
                return Err(self.report.wrong(scalar.place, message));
            }
            *key = Some(scalar);
            return Ok(());
        }
        self.put(Node { place: scalar.place, value: Value::Scalar(scalar) });
        Ok(())
    }

    fn end(&mut self) -> Result<(), Told> {
        let node = match self.open.pop() {
            Some(Open::List(place, items)) => Node { place, value: Value::List(items) },
            Some(Open::Map(place, entries, ..)) => Node { place, value: Value::Map(entries) },
            None => return Ok(()),
        };
        self.put(node);
        Ok(())
    }

    fn put(&mut self, node: Node<'t>) {
        match self.open.last_mut() {
            Some(Open::List(_, items)) => items.push(node),
            Some(Open::Map(_, entries, key, _)) => {
                if let Some(key) = key.take() {
                    entries.push((key, node));
                }
            }
            None => self.root = Some(node),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Node<'_> {
        parse(text, &mut Report::default()).unwrap()
    }

    /// The place of `needle` in the text of the value of the first key.
    fn place_of_word(text: &str, needle: &str) -> (u32, u32) {
        let Value::Map(entries) = read(text).value else { panic!("a map") };
        let Value::Scalar(scalar) = &entries[0].1.value else { panic!("a scalar") };
        let place = scalar.place_at(scalar.text.find(needle).unwrap());
        (place.line, place.column)
    }

    #[test]
    fn a_place_in_a_text_is_that_of_the_source() {
        assert_eq!(place_of_word("a: one two", "two"), (1, 8));
        assert_eq!(place_of_word("# é\na: 'it''s two'", "two"), (2, 11));
        assert_eq!(place_of_word(r#"{"a": "\"x\" \u00e9 two"}"#, "two"), (1, 21));
        assert_eq!(place_of_word("a: >-\n  one\n  two", "two"), (3, 3));
        assert_eq!(place_of_word("a: |\n  one\n    two\n", "two"), (3, 5));
        assert_eq!(place_of_word("é: ü two", "two"), (1, 6));
        assert_eq!(place_of_word("a: one\n  two", "two"), (2, 3));
    }

    #[test]
    fn what_could_mean_something_else_is_refused() {
        let wrong = |text: &str| {
            let mut report = Report::default();
            parse(text, &mut report).unwrap_err();
            report.into_errors().remove(0).to_string()
        };
        assert!(wrong("a: &x 1").starts_with("1:"), "{}", wrong("a: &x 1"));
        assert!(wrong("a: &x 1\nb: *x").contains("anchors"));
        assert!(wrong("a: !!int 1").contains("tags are not read"));
        assert!(wrong("a: 1\n---\nb: 2").starts_with("2:1: a second document"));
        assert_eq!(wrong("a: 1\nb: 2\na: 3"), "3:1: the key `a` is there twice, first in line 1");
        assert!(wrong("? [a]\n: 1").contains("a key has to be a text"));
        assert!(wrong("").contains("there is no definition"));
        assert!(wrong("a: [1").contains("this is not YAML"));
        assert!(wrong(&"[".repeat(33)).starts_with("1:33: more than 32"));
        assert!(wrong(&" ".repeat(TEXT_MAX_BYTES + 1)).contains("262145 bytes"));
    }
}
