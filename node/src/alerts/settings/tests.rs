//! Rules in a file: what is read, and what is said about what is wrong.

use super::*;
use crate::config::Layers;

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Sample {
    alerts: EdgeAlerts,
}

fn read(text: &str) -> Result<Vec<Rule>, String> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.toml");
    std::fs::write(&path, text).unwrap();
    let loaded = Layers::default().file(&path).unwrap().load::<Sample>();
    loaded.map(|loaded| loaded.config.alerts.rules()).map_err(|error| error.to_string())
}

#[test]
fn rules_of_ones_own_stand_beside_the_built_in_ones() {
    let rules = read(
        "[alerts]\ndisk_filling = false\n\n[[alerts.rules]]\nname = \"high\"\nmetric = \"level\"\n\
         when = \"above 3.5\"\nseverity = \"critical\"\nbacklog = \"replay\"\n\
         [[alerts.rules]]\nname = \"quiet\"\ndevice = \"tank-*\"\nwhen = \"silent for 1m\"\n",
    );
    let rules = rules.unwrap();
    let names: Vec<_> = rules.iter().map(|rule| &*rule.name).collect();
    assert_eq!(names, ["device-silent", "clock-wrong", "high", "quiet"]);
    let scopes = [Scope::Device, Scope::Told, Scope::Series, Scope::Device];
    assert_eq!(rules.iter().map(|rule| rule.scope).collect::<Vec<_>>(), scopes);
    assert_eq!((rules[2].severity, rules[2].backlog), (Severity::Critical, Backlog::Replay));
    assert!(rules[2].fits("any", "level") && !rules[2].fits("any", "flow"));
    assert!(!rules[1].fits("any", "level"), "nothing that is posted concerns it");
}

#[test]
fn what_is_wrong_with_a_rule_is_said_with_its_line() {
    let rule = "[alerts]\n\n[[alerts.rules]]\nname = \"high\"\n";
    for (rest, line, words) in [
        ("when = \"over 3\"", 5, "`when`: no condition in `over 3`: expected such as `above 3.5`"),
        ("when = \"above 3\"\nserverity = \"info\"", 6, "unknown field `serverity`"),
        ("when = \"above 3\"\nseverity = \"bad\"", 6, "expected one of `info`"),
        ("", 3, "missing field `when`"),
        (
            "when = \"above 3\"\n[[alerts.rules]]\nname = \"high\"\nwhen = \"below 1\"",
            3,
            "two rules",
        ),
        ("when = \"above 3\"\n[[alerts.rules]]\nname = \"a b\"\nwhen = \"below 1\"", 3, "`a b`"),
        (
            "when = \"above 3\"\n[[alerts.rules]]\nname = \"clock-wrong\"\nwhen = \"below 1\"",
            3,
            "a built-in rule",
        ),
    ] {
        let error = read(&format!("{rule}{rest}")).unwrap_err();
        assert!(error.contains(words), "{error}");
        assert!(error.contains(&format!(":{line}: ")), "{line}: {error}");
    }
}
