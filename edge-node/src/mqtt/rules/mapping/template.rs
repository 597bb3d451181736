//! Names put together from the levels of a topic and from texts of the payload.
//!
//! `{1}` is what the first `+` of the topic's filter stands for, `{#}` what its `#` does, and
//! `{/path}` the text at that JSON pointer; all else stands for itself.

use std::fmt;

/// A text with places to fill in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Template {
    parts: Vec<Part>,
}

/// A piece of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::mqtt::rules) enum Part {
    /// Itself.
    Said(Box<str>),
    /// What the `+` of this number stands for, from 1.
    Level(usize),
    /// What `#` stands for.
    Rest,
    /// The text at a JSON pointer.
    At(Box<str>),
}

impl Template {
    /// Reads a template.
    pub(in crate::mqtt::rules) fn parse(text: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            let (said, place) = rest.split_at(at);
            if !said.is_empty() {
                parts.push(Part::Said(said.into()));
            }
            let inside = place.strip_prefix('{').and_then(|place| place.split_once('}'));
            let Some((inside, after)) = inside else {
                return Err(format!("`{text}` has a brace without its other one"));
            };
            parts.push(Part::parse(inside)?);
            rest = after;
        }
        if !rest.is_empty() {
            parts.push(Part::Said(rest.into()));
        }
        Ok(Self { parts })
    }

    pub(in crate::mqtt::rules) const fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    pub(in crate::mqtt::rules) fn parts(&self) -> &[Part] {
        &self.parts
    }
}

impl Part {
    fn parse(inside: &str) -> Result<Self, String> {
        match inside {
            "#" => return Ok(Self::Rest),
            pointer if pointer.starts_with('/') => return Ok(Self::At(pointer.into())),
            _ => {}
        }
        match inside.parse() {
            Ok(number @ 1..) => Ok(Self::Level(number)),
            _ => Err(format!(
                "`{{{inside}}}` stands for nothing: expected `{{1}}` for the first `+` of the \
                 topic, `{{#}}` for its `#`, or `{{/path}}` for a text of the payload"
            )),
        }
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.parts.iter().try_for_each(|part| match part {
            Part::Said(text) => f.write_str(text),
            Part::Level(number) => write!(f, "{{{number}}}"),
            Part::Rest => f.write_str("{#}"),
            Part::At(pointer) => write!(f, "{{{pointer}}}"),
        })
    }
}
