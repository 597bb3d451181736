//! What an alert rule looks for, as a sentence: `above 3.5 for 1m until below 3.2 for 30s`.
//!
//! `above N`, `below N`, `equals N`, `equals true`, each with `for TIME`, and `until` the other
//! side; or `silent for TIME`. Without `until` the alert ends where it began.

use crate::config::Duration;
use holdfast_core::condition::{Rule, Test};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::fmt;
use std::str::FromStr;

/// A condition as people write it.
#[derive(Clone, Debug, PartialEq)]
pub struct When {
    /// What it says.
    pub rule: Rule,
    /// The words.
    text: String,
}

const EXPECTED: &str = "expected such as `above 3.5`, `below 10 for 1m until above 12 for 30s`, \
                        `equals true` or `silent for 15m`";

impl When {
    /// Silence for so long.
    #[must_use]
    pub fn silent(after: Duration) -> Self {
        let test = Test::Silent { for_ns: nanos(after) };
        let rule = Rule { test, hold_ns: 0, clear_hold_ns: 0 };
        Self { rule, text: format!("silent for {after}") }
    }
}

fn nanos(time: Duration) -> i64 {
    i64::try_from(time.0.as_nanos()).unwrap_or(i64::MAX)
}

/// The words of a condition, read one by one.
struct Words<'a> {
    text: &'a str,
    words: std::iter::Peekable<std::str::SplitWhitespace<'a>>,
}

impl Words<'_> {
    fn wrong(&self, what: &str) -> String {
        format!("{what} in `{}`: {EXPECTED}", self.text)
    }

    fn number(&mut self, after: &str) -> Result<f64, String> {
        let word = self.words.next().unwrap_or_default();
        let number = match word {
            "true" | "on" if after == "equals" => Some(1.0),
            "false" | "off" if after == "equals" => Some(0.0),
            _ => word.parse().ok().filter(|number: &f64| number.is_finite()),
        };
        number.ok_or_else(|| self.wrong(&format!("no number after `{after}`")))
    }

    /// `for TIME`, if it is there.
    fn hold(&mut self) -> Result<i64, String> {
        if self.words.next_if_eq(&"for").is_none() {
            return Ok(0);
        }
        let word = self.words.next().unwrap_or_default();
        word.parse().map(nanos).map_err(|_| self.wrong("no time after `for`"))
    }

    /// `until above N for TIME`, if it is there: the level and the time.
    fn until(&mut self, word: &str, otherwise: f64) -> Result<(f64, i64), String> {
        if self.words.next_if_eq(&"until").is_none() {
            return Ok((otherwise, 0));
        }
        if self.words.next_if_eq(&word).is_none() {
            return Err(self.wrong(&format!("no `{word}` after `until`")));
        }
        Ok((self.number(word)?, self.hold()?))
    }
}

impl FromStr for When {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut words = Words { text, words: text.split_whitespace().peekable() };
        let first = words.words.next().unwrap_or_default();
        let rule = match first {
            "above" => {
                let (limit, hold_ns) = (words.number(first)?, words.hold()?);
                let (clear, clear_hold_ns) = words.until("below", limit)?;
                if clear > limit {
                    return Err(words.wrong("the end lies above the beginning"));
                }
                Rule { test: Test::Above { limit, clear }, hold_ns, clear_hold_ns }
            }
            "below" => {
                let (limit, hold_ns) = (words.number(first)?, words.hold()?);
                let (clear, clear_hold_ns) = words.until("above", limit)?;
                if clear < limit {
                    return Err(words.wrong("the end lies below the beginning"));
                }
                Rule { test: Test::Below { limit, clear }, hold_ns, clear_hold_ns }
            }
            "equals" => {
                let test = Test::Equals(words.number(first)?);
                Rule { test, hold_ns: words.hold()?, clear_hold_ns: 0 }
            }
            "silent" => {
                let for_ns = words.hold()?;
                if for_ns == 0 {
                    return Err(words.wrong("no time"));
                }
                Rule { test: Test::Silent { for_ns }, hold_ns: 0, clear_hold_ns: 0 }
            }
            _ => return Err(words.wrong("no condition")),
        };
        if let Some(word) = words.words.next() {
            return Err(words.wrong(&format!("`{word}` is too much")));
        }
        Ok(Self { rule, text: text.split_whitespace().collect::<Vec<_>>().join(" ") })
    }
}

impl fmt::Display for When {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Serialize for When {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for When {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000_000;

    #[test]
    fn sentences_are_read() {
        let read = |text: &str| text.parse::<When>().unwrap().rule;
        let above = |limit, clear| Test::Above { limit, clear };
        let rule = |test, hold_s: i64, clear_s: i64| Rule {
            test,
            hold_ns: hold_s * SECOND,
            clear_hold_ns: clear_s * SECOND,
        };
        assert_eq!(read("above 3.5"), rule(above(3.5, 3.5), 0, 0));
        let long = read(" above 3.5  for 1m until below 3.2 for 30s ");
        assert_eq!(long, rule(above(3.5, 3.2), 60, 30));
        let below = read("below -1 until above 2e0");
        assert_eq!(below, rule(Test::Below { limit: -1.0, clear: 2.0 }, 0, 0));
        assert_eq!(read("equals true for 5s"), rule(Test::Equals(1.0), 5, 0));
        assert_eq!(read("silent for 15m"), rule(Test::Silent { for_ns: 900 * SECOND }, 0, 0));
    }

    #[test]
    fn what_is_wrong_is_said_with_what_was_expected() {
        for (text, words) in [
            ("", "no condition"),
            ("over 3", "no condition"),
            ("above", "no number after `above`"),
            ("above NaN", "no number"),
            ("above true", "no number"),
            ("above 3 for", "no time after `for`"),
            ("above 3 for 5", "no time after `for`"),
            ("above 3 until above 2", "no `below` after `until`"),
            ("above 3 until below 4", "the end lies above the beginning"),
            ("below 3 until above 2", "the end lies below the beginning"),
            ("silent", "no time"),
            ("equals 1 until below 2", "`until` is too much"),
        ] {
            let error = text.parse::<When>().unwrap_err();
            assert!(error.contains(words) && error.contains("`silent for 15m`"), "{error}");
        }
    }
}
