//! A filter whose wildcards are asked for: what each of them stands for in a topic.

use crate::mqtt::topic::{Filter, Topic};

/// A topic filter and where its wildcards are.
#[derive(Debug)]
pub(in crate::mqtt::rules) struct Shape {
    filter: Filter,
    /// Bytes in front of the first wildcard and its slash.
    literal: usize,
    /// The levels that are `+`, from 0.
    any: Vec<usize>,
    /// The level that is `#`.
    rest: Option<usize>,
}

impl Shape {
    pub(in crate::mqtt::rules) fn new(filter: Filter) -> Self {
        let pattern = filter.pattern();
        let levels = || pattern.split('/').enumerate();
        let of = |wanted| levels().filter(move |(_, level)| *level == wanted).map(|(at, _)| at);
        let first = pattern.find(['+', '#']).unwrap_or(pattern.len());
        let literal = pattern[..first].strip_suffix('/').unwrap_or(&pattern[..first]).len();
        Self { any: of("+").collect(), rest: of("#").next(), literal, filter }
    }

    pub(in crate::mqtt::rules) fn filter(&self) -> &Filter {
        &self.filter
    }

    /// How many `+` there are.
    pub(in crate::mqtt::rules) fn places(&self) -> usize {
        self.any.len()
    }

    /// Whether it ends with `#`.
    pub(in crate::mqtt::rules) const fn has_rest(&self) -> bool {
        self.rest.is_some()
    }

    /// Whether it matches. Most topics differ in their beginning, which is quickly seen.
    pub(super) fn matches(&self, topic: &Topic) -> bool {
        let literal = &self.filter.pattern().as_bytes()[..self.literal];
        topic.bytes().starts_with(literal) && self.filter.matches(topic)
    }

    /// What the `+` of this number stands for, from 1.
    pub(super) fn level<'t>(&self, topic: &'t str, number: usize) -> Option<&'t str> {
        topic.split('/').nth(*self.any.get(number.checked_sub(1)?)?)
    }

    /// What `#` stands for; nothing where it stands for no level.
    pub(super) fn rest<'t>(&self, topic: &'t str) -> Option<&'t str> {
        let level = self.rest?;
        topic.splitn(level + 1, '/').nth(level)
    }
}
