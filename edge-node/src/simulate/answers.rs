//! What the outside answers in a simulation, where it is not simply done: `--answer`.
//!
//! An answer is for the effects of a kind whose name fits; one of a device says so behind an `@`.
//! It may be a list: of each run's effect, or of each attempt at it, the next word counts, and the
//! last one stays.

use holdfast_core::flow::effect::{Argument, Kind};
use holdfast_node::runs::Asked;
use serde_json::Value as Json;
use std::str::FromStr;

/// The kinds that have an outside, with the argument that names one.
const KINDS: [(Kind, Argument); 6] = [
    (Kind::Publish, Argument::Topic),
    (Kind::Command, Argument::Name),
    (Kind::Http, Argument::Url),
    (Kind::Notify, Argument::Target),
    (Kind::Emit, Argument::Metric),
    (Kind::Forward, Argument::Name),
];

/// What becomes of an effect.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// It is done.
    Done,
    /// It is done, and this is the answer.
    With(Json),
    /// It fails.
    Fail,
    /// Nothing is heard of it.
    Never,
}

/// What effects of a kind and a name are answered.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    kind: Kind,
    name: String,
    device: Option<String>,
    /// At least one.
    answers: Vec<Answer>,
}

impl FromStr for Rule {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = |what: &str| {
            let example = "command:stop=never or command:stop@ps-017=never,ok";
            format!("`{text}`: {what}; expected KIND:NAME=ok|fail|never|JSON such as {example}")
        };
        let (kind, rest) = text.split_once(':').ok_or_else(|| wrong("there is no `:`"))?;
        let known = KINDS.iter().find(|(known, _)| known.name() == kind);
        let (kind, _) = known.ok_or_else(|| {
            let names: Vec<_> = KINDS.iter().map(|(known, _)| known.name()).collect();
            wrong(&format!("`{kind}` is not among {}", names.join(", ")))
        })?;
        // A name may have an `=` in it, an address does.
        let words = rest.rsplit_once('=').and_then(|(name, words)| Some((name, listed(words)?)));
        let json = || {
            let mut places = rest.match_indices('=');
            places.find_map(|(at, _)| {
                let answer = serde_json::from_str(&rest[at + 1..]).ok()?;
                Some((&rest[..at], vec![Answer::With(answer)]))
            })
        };
        let found = words.or_else(json);
        let (name, answers) =
            found.ok_or_else(|| wrong("what stands behind `=` is none of these"))?;
        let (name, device) = match name.split_once('@') {
            Some((name, device)) if *kind == Kind::Command => (name, Some(device.to_owned())),
            _ => (name, None),
        };
        if name.is_empty() {
            return Err(wrong("the name is empty"));
        }
        Ok(Self { kind: *kind, name: name.to_owned(), device, answers })
    }
}

/// Answers in words, with commas between them.
fn listed(text: &str) -> Option<Vec<Answer>> {
    let word = |word: &str| match word {
        "ok" => Some(Answer::Done),
        "fail" => Some(Answer::Fail),
        "never" => Some(Answer::Never),
        _ => None,
    };
    text.split(',').map(word).collect()
}

impl Rule {
    fn is_for(&self, asked: &Asked) -> bool {
        let named = KINDS.iter().find(|(kind, _)| *kind == asked.kind);
        let name = named.and_then(|(_, argument)| asked.get(*argument)).unwrap_or_default();
        let of = self.device.as_deref().is_none_or(|of| asked.get(Argument::Device) == Some(of));
        self.kind == asked.kind && of && holdfast_node::glob::fits(&self.name, name)
    }
}

/// All rules, and how often each was asked.
#[derive(Debug, Default)]
pub struct Answers {
    rules: Vec<(Rule, usize)>,
}

impl Answers {
    /// None was asked yet.
    #[must_use]
    pub fn new(rules: Vec<Rule>) -> Self {
        Self { rules: rules.into_iter().map(|rule| (rule, 0)).collect() }
    }

    /// The kinds that have an outside, a bit each.
    #[must_use]
    pub fn kinds() -> u32 {
        KINDS.iter().fold(0, |bits, (kind, _)| bits | kind.bit())
    }

    /// What becomes of an effect: what the first rule for it says.
    pub fn to(&mut self, asked: &Asked) -> Answer {
        let Some((rule, times)) = self.rules.iter_mut().find(|(rule, _)| rule.is_for(asked)) else {
            return Answer::Done;
        };
        let place = (*times).min(rule.answers.len() - 1);
        *times += 1;
        rule.answers[place].clone()
    }

    /// Rules that nothing has asked for.
    pub fn unasked(&self) -> impl Iterator<Item = String> {
        self.rules.iter().filter(|(_, times)| *times == 0).map(|(rule, _)| {
            let device = rule.device.as_ref().map(|device| format!("@{device}"));
            format!("{}:{}{}", rule.kind.name(), rule.name, device.unwrap_or_default())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn answers_are_read() {
        let read = |text: &str| text.parse::<Rule>().unwrap();
        let rule = read("command:stop@ps-1=never,ok");
        assert_eq!((rule.kind, rule.name.as_str()), (Kind::Command, "stop"));
        assert_eq!(rule.device.as_deref(), Some("ps-1"));
        assert_eq!(rule.answers, [Answer::Never, Answer::Done]);
        let rule = read("http:http://a/b?c=d={\"e\":1}");
        assert_eq!(rule.name, "http://a/b?c=d");
        assert_eq!(rule.answers, [Answer::With(json!({"e": 1}))]);
        assert_eq!(read("notify:on-call=fail").answers, [Answer::Fail]);
    }

    #[test]
    fn what_is_no_answer_is_told_with_what_is_expected() {
        let wrong = |text: &str| text.parse::<Rule>().unwrap_err();
        assert!(wrong("stop").starts_with("`stop`: there is no `:`; expected KIND:NAME="));
        let kinds = "is not among publish, command, http, notify, emit, forward";
        assert!(wrong("raise:a=ok").contains(kinds), "{}", wrong("raise:a=ok"));
        assert!(wrong("command:stop=maybe").contains("none of these"));
        assert!(wrong("command:=ok").contains("the name is empty"));
    }
}
