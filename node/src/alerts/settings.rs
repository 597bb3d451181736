//! Alerts in the configuration: the built-in rules, each with a switch, and rules of one's own.

use super::rule::{Backlog, Rule, Scope};
use super::when::When;
use super::{RULES_MAX, observe};
use crate::config::Duration;
use holdfast_core::condition::{self, Test};
use holdfast_core::limits::{NOTE_MAX_BYTES, RULE_MAX_BYTES};
use holdfast_core::log::events::Severity;
use serde::{Deserialize, Serialize};

/// The names of the built-in rules.
pub(super) const DEVICE_SILENT: &str = "device-silent";
pub(super) const BUILT_IN: [&str; 5] = [
    DEVICE_SILENT,
    observe::DISK_FILLING,
    observe::CLOCK_WRONG,
    observe::GATEWAY_SILENT,
    observe::KEY_TWICE,
];
const MINUTE_NS: i64 = 60 * 1_000_000_000;

/// Alerts of a gateway.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EdgeAlerts {
    /// Whether a device that falls silent is told.
    pub device_silent: bool,
    /// How long it has to be silent.
    pub device_silent_after: Duration,
    /// Whether a disk that fills up is told.
    pub disk_filling: bool,
    /// For fewer days than this it has to last.
    pub disk_days: u32,
    /// Whether a wrong clock of the node is told.
    pub clock_wrong: bool,
    /// Rules of one's own.
    pub rules: Rules,
}

/// Alerts of a hub.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HubAlerts {
    /// Whether a gateway that falls silent is told.
    pub gateway_silent: bool,
    /// How long it has to be offline.
    pub gateway_silent_after: Duration,
    /// Whether two nodes with one key are told.
    pub key_twice: bool,
    /// Whether a disk that fills up is told.
    pub disk_filling: bool,
    /// For fewer days than this it has to last.
    pub disk_days: u32,
}

fn minutes(minutes: u64) -> Duration {
    Duration(std::time::Duration::from_secs(60 * minutes))
}

impl Default for EdgeAlerts {
    fn default() -> Self {
        Self {
            device_silent: true,
            device_silent_after: minutes(15),
            disk_filling: true,
            disk_days: 7,
            clock_wrong: true,
            rules: Rules::default(),
        }
    }
}

impl Default for HubAlerts {
    fn default() -> Self {
        Self {
            gateway_silent: true,
            gateway_silent_after: minutes(10),
            key_twice: true,
            disk_filling: true,
            disk_days: 7,
        }
    }
}

impl EdgeAlerts {
    /// All rules that are on.
    #[must_use]
    pub fn rules(&self) -> Vec<Rule> {
        let mut out = Vec::new();
        if self.device_silent {
            let when = When::silent(self.device_silent_after);
            let rule = built_in(DEVICE_SILENT, when.rule, &when.to_string());
            out.push(Rule { scope: Scope::Device, ..rule });
        }
        if self.disk_filling {
            out.push(disk_filling());
        }
        if self.clock_wrong {
            let rule = condition::Rule { test: Test::Equals(1.0), hold_ns: 0, clear_hold_ns: 0 };
            out.push(built_in(observe::CLOCK_WRONG, rule, "the clock is known wrong"));
        }
        out.extend(self.rules.0.iter().map(RuleSettings::rule));
        out
    }
}

impl HubAlerts {
    /// All rules that are on.
    #[must_use]
    pub fn rules(&self) -> Vec<Rule> {
        let mut out = Vec::new();
        if self.gateway_silent {
            let when = When::silent(self.gateway_silent_after);
            out.push(built_in(observe::GATEWAY_SILENT, when.rule, &when.to_string()));
        }
        if self.key_twice {
            let rule = condition::Rule { test: Test::Equals(1.0), hold_ns: 0, clear_hold_ns: 0 };
            let rule = built_in(observe::KEY_TWICE, rule, "two nodes run with one key");
            out.push(Rule { severity: Severity::Critical, ..rule });
        }
        if self.disk_filling {
            out.push(disk_filling());
        }
        out
    }
}

fn disk_filling() -> Rule {
    // The danger is 1 at the limit; a little less of it does not end the alert.
    let test = Test::Above { limit: 1.0, clear: 0.95 };
    let rule = condition::Rule { test, hold_ns: MINUTE_NS, clear_hold_ns: MINUTE_NS };
    built_in(observe::DISK_FILLING, rule, "the disk fills up")
}

fn built_in(name: &str, condition: condition::Rule, words: &str) -> Rule {
    Rule {
        name: name.into(),
        device: "*".into(),
        metric: "*".into(),
        condition,
        words: words.into(),
        severity: Severity::Warning,
        text: "".into(),
        backlog: Backlog::Skip { max_age_ns: 5 * MINUTE_NS },
        scope: Scope::Told,
        begins: None,
    }
}

/// The words for [`Severity`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SeverityWord {
    /// For the record.
    Info,
    /// Someone should look in working hours.
    #[default]
    Warning,
    /// Someone should look now.
    Critical,
}

impl From<SeverityWord> for Severity {
    fn from(word: SeverityWord) -> Self {
        match word {
            SeverityWord::Info => Self::Info,
            SeverityWord::Warning => Self::Warning,
            SeverityWord::Critical => Self::Critical,
        }
    }
}

/// The words for [`Backlog`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BacklogWord {
    /// What is older than `max_age` raises nothing.
    #[default]
    Skip,
    /// It is judged like fresh readings.
    Replay,
}

fn any() -> String {
    "*".to_owned()
}

fn max_age() -> Duration {
    minutes(5)
}

/// One `[[alerts.rules]]`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RuleSettings {
    /// Its name.
    pub name: String,
    /// Devices, with `*`.
    #[serde(default = "any")]
    pub device: String,
    /// Metrics, with `*`.
    #[serde(default = "any")]
    pub metric: String,
    /// What it looks for.
    pub when: When,
    /// How much it matters.
    #[serde(default)]
    pub severity: SeverityWord,
    /// What people read.
    #[serde(default)]
    pub text: String,
    /// How old a reading may be on arrival at the rule.
    #[serde(default = "max_age")]
    pub max_age: Duration,
    /// What becomes of older ones.
    #[serde(default)]
    pub backlog: BacklogWord,
}

impl RuleSettings {
    fn rule(&self) -> Rule {
        let max_age_ns = i64::try_from(self.max_age.0.as_nanos()).unwrap_or(i64::MAX);
        let silent = matches!(self.when.rule.test, Test::Silent { .. });
        Rule {
            name: self.name.as_str().into(),
            device: self.device.as_str().into(),
            metric: self.metric.as_str().into(),
            condition: self.when.rule,
            words: self.when.to_string().into(),
            severity: self.severity.into(),
            text: self.text.as_str().into(),
            backlog: match self.backlog {
                BacklogWord::Skip => Backlog::Skip { max_age_ns },
                BacklogWord::Replay => Backlog::Replay,
            },
            // Any metric: a device is silent when none of its series speaks.
            scope: if silent && self.metric == "*" { Scope::Device } else { Scope::Series },
            begins: None,
        }
    }
}

/// Rules of one's own, their names checked.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(try_from = "Vec<RuleSettings>")]
pub struct Rules(Vec<RuleSettings>);

impl TryFrom<Vec<RuleSettings>> for Rules {
    type Error = String;

    fn try_from(rules: Vec<RuleSettings>) -> Result<Self, String> {
        if rules.len() > RULES_MAX {
            return Err(format!("{} rules: expected at most {RULES_MAX}", rules.len()));
        }
        for (at, rule) in rules.iter().enumerate() {
            let name = &rule.name;
            let plain = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
            if !(1..=RULE_MAX_BYTES).contains(&name.len()) || !name.bytes().all(plain) {
                return Err(format!(
                    "`{name}` is not a name of a rule: expected 1 to {RULE_MAX_BYTES} characters \
                     of A-Z a-z 0-9 . _ -"
                ));
            }
            if BUILT_IN.contains(&name.as_str()) {
                return Err(format!("`{name}` is a built-in rule: expected another name"));
            }
            if rules[..at].iter().any(|other| other.name == *name) {
                return Err(format!("two rules are called `{name}`: expected different names"));
            }
            if rule.text.len() > NOTE_MAX_BYTES {
                let length = rule.text.len();
                return Err(format!(
                    "the text of rule `{name}` has {length} bytes: expected at most \
                     {NOTE_MAX_BYTES}"
                ));
            }
        }
        Ok(Self(rules))
    }
}

#[cfg(test)]
mod tests;
