//! What is wrong with a definition, and where: a sentence, and what to do about it.
//!
//! Whoever finds something tells the [`Report`] and is given a [`Told`], so that it is told once
//! and the rest is read on: a definition with three faults has three diagnostics.

use std::fmt;

/// Diagnostics that are kept; what follows more than these follows from them.
const KEPT: usize = 100;

/// A place in a definition: line and column, from 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The line.
    pub line: u32,
    /// The column, in characters.
    pub column: u32,
}

/// What is wrong, and where.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Diagnostic {
    /// The line, from 1.
    pub line: u32,
    /// The column in characters, from 1.
    pub column: u32,
    /// What was found, and what was expected.
    pub message: String,
    /// What to do about it.
    pub advice: Option<String>,
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.line, self.column, self.message)?;
        match &self.advice {
            Some(advice) => write!(f, "\n    {advice}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Diagnostic {}

/// That something is wrong has been told already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Told;

/// What was found so far.
#[derive(Debug, Default)]
pub(super) struct Report {
    errors: Vec<Diagnostic>,
    warnings: Vec<Diagnostic>,
}

impl Report {
    pub(super) fn wrong(&mut self, place: Place, message: impl Into<String>) -> Told {
        self.tell(place, message.into(), None)
    }

    /// The same, with what to do about it.
    pub(super) fn advise(
        &mut self,
        place: Place,
        message: impl Into<String>,
        advice: impl Into<String>,
    ) -> Told {
        self.tell(place, message.into(), Some(advice.into()))
    }

    pub(super) fn tell(&mut self, place: Place, message: String, advice: Option<String>) -> Told {
        let Place { line, column } = place;
        let diagnostic = Diagnostic { line, column, message, advice };
        // What `each` repeats in several branches is wrong once.
        if self.errors.len() < KEPT && !self.errors.contains(&diagnostic) {
            self.errors.push(diagnostic);
        }
        Told
    }

    pub(super) fn warn(&mut self, place: Place, message: String, advice: &str) {
        let Place { line, column } = place;
        let advice = Some(advice.to_owned());
        self.warnings.push(Diagnostic { line, column, message, advice });
    }

    /// Whether nothing more is kept, so that nobody need look for more.
    pub(super) const fn is_full(&self) -> bool {
        self.errors.len() >= KEPT
    }

    pub(super) const fn is_clean(&self) -> bool {
        self.errors.is_empty()
    }

    /// The errors in the order of their places.
    pub(super) fn into_errors(mut self) -> Vec<Diagnostic> {
        self.errors.sort();
        self.errors
    }

    /// The warnings in the order of their places.
    pub(super) fn into_warnings(mut self) -> Vec<Diagnostic> {
        self.warnings.sort();
        self.warnings
    }
}

/// The name that is most like `name`, if one is.
pub(super) fn closest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let scored = known.map(|known| (strsim::jaro_winkler(name, known), known));
    let alike = scored.filter(|(likeness, _)| *likeness > 0.75);
    alike.max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, known)| known)
}

/// `did you mean `x`?`, or else what there is.
pub(super) fn suggestion<'a>(
    name: &str,
    known: impl Iterator<Item = &'a str> + Clone,
) -> Option<String> {
    let listed: Vec<_> = known.clone().collect();
    match closest(name, known) {
        Some(known) => Some(format!("did you mean `{known}`?")),
        None if listed.is_empty() => None,
        None => Some(format!("known are {}", listed.join(", "))),
    }
}
