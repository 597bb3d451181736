//! Who a client is, and which topics it may publish and subscribe to.
//!
//! A password is a token of the node, as over HTTP. What a token may is told by its scope: a
//! device's reaches the topics of that device, one for readings all topics of the site, a viewer's
//! may only subscribe. The configuration can add to that, by the name of a token or for all of a
//! kind; `%d` in a filter stands for the client's device.

use super::packet::{Filter, Topic};
use crate::settings::Access;
use holdfast_node::auth::{Grant, Scope};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// A filter of the configuration; `%d` in it stands for the client's device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct FilterText(String);

impl TryFrom<String> for FilterText {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        // Whatever device stands there, the filter has the same levels.
        match Filter::try_from(text.replace("%d", "d").as_str()) {
            Ok(_) => Ok(Self(text)),
            Err(fault) => Err(format!("`{text}` is no topic filter: {fault}")),
        }
    }
}

impl From<FilterText> for String {
    fn from(text: FilterText) -> Self {
        text.0
    }
}

/// Whom a rule is for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Whom {
    /// Everybody.
    All,
    /// Clients without a token.
    Anonymous,
    /// Those with a device's token.
    Devices,
    /// The token with this name.
    Token(String),
}

impl TryFrom<String> for Whom {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match text.as_str() {
            "everybody" => Ok(Self::All),
            "anonymous" => Ok(Self::Anonymous),
            "devices" => Ok(Self::Devices),
            _ => match text.strip_prefix("token:") {
                Some(name) if !name.is_empty() => Ok(Self::Token(name.to_owned())),
                _ => Err(format!(
                    "expected `everybody`, `anonymous`, `devices` or `token:NAME`, got `{text}`"
                )),
            },
        }
    }
}

impl From<Whom> for String {
    fn from(whom: Whom) -> Self {
        match whom {
            Whom::All => "everybody".to_owned(),
            Whom::Anonymous => "anonymous".to_owned(),
            Whom::Devices => "devices".to_owned(),
            Whom::Token(name) => format!("token:{name}"),
        }
    }
}

/// A client that was let in.
#[derive(Clone, Debug)]
pub struct User {
    /// What names it in the log and owns its session; never a secret.
    pub owner: String,
    /// Its device, if it is one.
    pub device: Option<String>,
    publish: Vec<Filter>,
    subscribe: Vec<Filter>,
    /// What its scope does not reach of `publish`: a rule of the configuration has to name it.
    unless: Option<Filter>,
}

/// Who has a token to post readings does not move valves with it.
const COMMANDS: &str = "devices/+/commands/#";

impl User {
    /// One with a token.
    #[must_use]
    pub fn of(grant: &Arc<Grant>, rules: &[Access]) -> Self {
        let (publish, subscribe): (&[&str], &[&str]) = match &grant.scope {
            Scope::Admin => (&["#"], &["#", "$SYS/#"]),
            Scope::Viewer => (&[], &["#", "$SYS/#"]),
            Scope::Ingest => (&["#"], &["#"]),
            Scope::Device(_) => (&["devices/%d/#"], &["devices/%d/#"]),
        };
        let device = grant.scope.device().map(ToOwned::to_owned);
        let is_mine = |rule: &&Access| match &rule.who {
            Whom::All => true,
            Whom::Devices => device.is_some(),
            Whom::Token(name) => *name == grant.name,
            Whom::Anonymous => false,
        };
        let owner = match &device {
            // A device may get another token and keep its session.
            Some(device) => format!("device {device}"),
            None => format!("token {}", grant.id),
        };
        let mut user = Self::without(owner, device.clone());
        if grant.scope == Scope::Ingest {
            user.unless = Filter::try_from(COMMANDS).ok();
        }
        user.add(publish.iter().copied(), subscribe.iter().copied());
        rules.iter().filter(is_mine).for_each(|rule| user.add_rule(rule));
        user
    }

    /// One without a token.
    #[must_use]
    pub fn anonymous(rules: &[Access]) -> Self {
        let is_mine = |rule: &&Access| matches!(rule.who, Whom::All | Whom::Anonymous);
        let mut user = Self::without("anonymous".to_owned(), None);
        rules.iter().filter(is_mine).for_each(|rule| user.add_rule(rule));
        user
    }

    /// One that may nothing.
    const fn without(owner: String, device: Option<String>) -> Self {
        Self { owner, device, publish: Vec::new(), subscribe: Vec::new(), unless: None }
    }

    fn add<'a>(
        &mut self,
        publish: impl Iterator<Item = &'a str>,
        subscribe: impl Iterator<Item = &'a str>,
    ) {
        let device = self.device.clone();
        let filter = |text: &str| filter_for(text, device.as_deref());
        self.publish.extend(publish.filter_map(filter));
        self.subscribe.extend(subscribe.filter_map(filter));
    }

    fn add_rule(&mut self, rule: &Access) {
        let publish = rule.publish.iter().map(|text| text.0.as_str());
        self.add(publish, rule.subscribe.iter().map(|text| text.0.as_str()));
    }

    /// Whether it may publish to a topic.
    #[must_use]
    pub fn may_publish(&self, topic: &Topic) -> bool {
        let is_excepted = self.unless.as_ref().is_some_and(|unless| unless.matches(topic));
        // The first filter is that of the scope, those of rules follow.
        let filters = self.publish.iter().skip(usize::from(is_excepted));
        filters.into_iter().any(|filter| filter.matches(topic))
    }

    /// Whether it may have all that a filter matches.
    #[must_use]
    pub fn may_subscribe(&self, filter: &Filter) -> bool {
        self.subscribe.iter().any(|allowed| allowed.covers(filter))
    }
}

/// The filter for a client; nothing for one of a device when the client is none.
fn filter_for(text: &str, device: Option<&str>) -> Option<Filter> {
    if !text.contains("%d") {
        return Filter::try_from(text).ok();
    }
    Filter::try_from(text.replace("%d", device?).as_str()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grant(scope: Scope) -> Arc<Grant> {
        let (id, name) = ("t1".to_owned(), "gate".to_owned());
        Arc::new(Grant { id, scope, name, expires: None })
    }

    fn topic(text: &str) -> Topic {
        Topic::try_from(text).unwrap()
    }

    fn filter(text: &str) -> Filter {
        Filter::try_from(text).unwrap()
    }

    #[test]
    fn a_device_reaches_its_own_topics_and_no_others() {
        let user = User::of(&grant(Scope::Device("pump-7".to_owned())), &[]);
        assert!(user.may_publish(&topic("devices/pump-7/readings")));
        assert!(!user.may_publish(&topic("devices/pump-70/readings")));
        assert!(!user.may_publish(&topic("site/light")));
        assert!(user.may_subscribe(&filter("devices/pump-7/commands/+")));
        for not in ["#", "devices/+/commands/+", "devices/#", "+/pump-7/#", "$SYS/#"] {
            assert!(!user.may_subscribe(&filter(not)), "{not}");
        }
        let shared = filter("$share/g/devices/pump-7/#");
        assert!(user.may_subscribe(&shared));
        assert!(!user.may_subscribe(&filter("$share/g/devices/#")));
    }

    #[test]
    fn a_token_for_readings_moves_no_valve_unless_a_rule_says_so() {
        let open = topic("devices/valve-3/commands/open");
        let ingest = grant(Scope::Ingest);
        let user = User::of(&ingest, &[]);
        assert!(!user.may_publish(&open) && user.may_publish(&topic("devices/valve-3/readings")));
        assert!(user.may_subscribe(&filter("devices/+/commands/#")));
        let (who, subscribe) = (Whom::Token("gate".to_owned()), Vec::new());
        let publish = vec![FilterText("devices/+/commands/open".to_owned())];
        let user = User::of(&ingest, &[Access { who, publish, subscribe }]);
        assert!(user.may_publish(&open));
        assert!(!user.may_publish(&topic("devices/valve-3/commands/shut")));
        assert!(User::of(&grant(Scope::Admin), &[]).may_publish(&open));
    }

    #[test]
    fn rules_add_what_a_token_does_not_allow() {
        let rule = |who, publish: &str| Access {
            who,
            publish: vec![FilterText(publish.to_owned())],
            subscribe: Vec::new(),
        };
        let rules = [
            rule(Whom::Devices, "gates/%d/state"),
            rule(Whom::Token("gate".to_owned()), "gates/all"),
            rule(Whom::Anonymous, "open"),
            rule(Whom::All, "hello/%d"),
        ];
        let device = User::of(&grant(Scope::Device("g1".to_owned())), &rules);
        assert!(device.may_publish(&topic("gates/g1/state")));
        assert!(device.may_publish(&topic("gates/all")) && !device.may_publish(&topic("open")));
        assert!(device.may_publish(&topic("hello/g1")));
        let nobody = User::anonymous(&rules);
        assert!(nobody.may_publish(&topic("open")) && !nobody.may_publish(&topic("gates/all")));
        assert!(!nobody.may_publish(&topic("hello/%d")), "there is no device to put there");
        assert!(!User::of(&grant(Scope::Viewer), &[]).may_publish(&topic("a")));
    }
}
