//! What both `status` commands say alike, and how they say times and sizes.
//!
//! An answer of a node is read as it came: a member that an older node does not send is not told.

use crate::time_text::parse;
use holdfast_core::Timestamp;
use serde_json::Value;

/// Alerts that `status` names; the rest is counted.
const NAMED: usize = 5;

/// A text of an answer, `-` where there is none.
#[must_use]
pub fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("-")
}

/// `1 entry`, `12 entries`.
#[must_use]
pub fn counted(number: u64, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

/// `12 s`, `47 min`, `5 h`, `3 days`.
#[must_use]
pub fn span(seconds: i64) -> String {
    let seconds = seconds.unsigned_abs();
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3_600 => format!("{} min", seconds / 60),
        3_600..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    }
}

/// `2026-11-20 14:02:11 UTC (47 min ago)`, by the clock of this machine.
#[must_use]
pub fn moment(time: &Value, now: Timestamp) -> String {
    let Some((said, then)) = time.as_str().and_then(|said| Some((said, parse(said).ok()?))) else {
        return "not known".to_owned();
    };
    let seconds = now.seconds().saturating_sub(then.seconds());
    let distance = match seconds {
        0.. => format!("{} ago", span(seconds)),
        _ => format!("in {}", span(seconds)),
    };
    let shown = said.get(..19).unwrap_or(said).replace('T', " ");
    format!("{shown} UTC ({distance})")
}

/// Bytes as disks are sold: `13.4 GB`.
#[must_use]
pub fn bytes(size: u64) -> String {
    let (mut rest, mut unit) = (size as f64, "B");
    for next in ["kB", "MB", "GB", "TB"] {
        if rest < 1_000.0 {
            break;
        }
        (rest, unit) = (rest / 1_000.0, next);
    }
    if unit == "B" { format!("{size} B") } else { format!("{rest:.1} {unit}") }
}

/// How full a store is, and for how long it lasts.
#[must_use]
pub fn disk(store: &Value) -> String {
    let [used, quota] = ["used_bytes", "quota_bytes"].map(|key| store[key].as_u64().unwrap_or(0));
    let full = format!("{} of {} used", bytes(used), bytes(quota));
    if store["refusing"] == true {
        return format!("{full}: FULL, new readings are refused");
    }
    match (store["growth_per_day"].as_u64(), store["days_left"].as_f64()) {
        (None, _) => format!("{full}; for how long it lasts is known after an hour"),
        (Some(0), _) | (_, None) => format!("{full}; it does not grow"),
        (Some(growth), Some(days)) => {
            let days = if days < 1.0 {
                "less than a day".to_owned()
            } else {
                counted(days as u64, "day", "days")
            };
            format!("{full}; {days} left at {} a day", bytes(growth))
        }
    }
}

/// What the scrub of a store has come to.
#[must_use]
pub fn scrub(store: &Value, now: Timestamp) -> String {
    let whole = match store["scrubbed"].as_str() {
        Some(_) => format!("all was read by {}", moment(&store["scrubbed"], now)),
        None => "the first round is under way".to_owned(),
    };
    match store["scrub_findings"].as_u64() {
        None | Some(0) => format!("{whole}; no damage"),
        Some(n) => format!("{whole}; {} FOUND, see the log", counted(n, "damage", "damages")),
    }
}

/// What the listing of active alerts says, a line each; `program` has the rest.
#[must_use]
pub fn alerts(listed: &Value, program: &str, now: Timestamp) -> Vec<String> {
    let alerts = listed["alerts"].as_array().map(Vec::as_slice).unwrap_or_default();
    let total = listed["total"].as_u64().unwrap_or(alerts.len() as u64);
    if total == 0 {
        return vec!["none is active".to_owned()];
    }
    let mut lines = vec![counted(total, "is active", "are active")];
    lines.extend(alerts.iter().take(NAMED).map(|alert| {
        let node = alert["node"].as_str().map(|node| format!("{node}: ")).unwrap_or_default();
        let (severity, said) = (text(&alert["severity"]), text(&alert["text"]));
        format!("{severity}  {node}{said}, since {}", moment(&alert["since"], now))
    }));
    let more = total.saturating_sub(NAMED as u64);
    let rest = if more > 0 { format!("and {more} more: ") } else { "all of them: ".to_owned() };
    lines.push(format!("{rest}{program} alert list"));
    lines
}

/// Prints lines under one name, the rest of them indented.
pub fn print(name: &str, lines: impl IntoIterator<Item = String>) {
    let mut name = name;
    for line in lines {
        println!("{name:<10}{line}");
        name = "";
    }
}

/// How HTTP is served. The end of a certificate that the node made itself is nobody's concern.
#[must_use]
pub fn https(http: &Value, now: Timestamp) -> Vec<String> {
    let Some(fingerprint) = http["fingerprint"].as_str() else {
        return vec!["off: http.tls".to_owned()];
    };
    let mut lines = vec![format!("{} {fingerprint}", text(&http["tls"]))];
    if http["tls"] == "files" {
        lines.push(format!("good until {}", moment(&http["expires"], now)));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const NOW: Timestamp = Timestamp(1_763_656_680_000_000_000);

    #[test]
    fn times_are_told_with_their_distance() {
        let told = |seconds: i64| {
            let then = Timestamp(NOW.0 - seconds * 1_000_000_000);
            moment(&json!(crate::time_text::format(then)), NOW)
        };
        assert_eq!(told(12), "2025-11-20 16:37:48 UTC (12 s ago)");
        assert_eq!(told(-90), "2025-11-20 16:39:30 UTC (in 1 min)");
        assert_eq!(told(3 * 86_400), "2025-11-17 16:38:00 UTC (3 days ago)");
        assert_eq!(moment(&json!(null), NOW), "not known");
        assert_eq!(moment(&json!("\u{20ac}noon"), NOW), "not known");
    }

    #[test]
    fn a_disk_is_told_in_days_only_when_its_rate_is_known() {
        let store = |growth: Option<u64>, days: Option<f64>| {
            disk(&json!({
                "used_bytes": 13_400_000_000_u64, "quota_bytes": 32_000_000_000_u64,
                "growth_per_day": growth, "days_left": days, "refusing": false,
            }))
        };
        let full = "13.4 GB of 32.0 GB used";
        assert_eq!(
            store(None, None),
            format!("{full}; for how long it lasts is known after an hour")
        );
        assert_eq!(store(Some(0), None), format!("{full}; it does not grow"));
        let days = store(Some(210_000_000), Some(88.5));
        assert_eq!(days, format!("{full}; 88 days left at 210.0 MB a day"));
        assert!(store(Some(1), Some(0.4)).contains("less than a day left"));
        let refusing = disk(&json!({ "used_bytes": 9, "quota_bytes": 10, "refusing": true }));
        assert_eq!(refusing, "9 B of 10 B used: FULL, new readings are refused");
    }

    #[test]
    fn the_end_of_a_certificate_from_files_is_told() {
        let http =
            |tls| json!({ "tls": tls, "fingerprint": "AB", "expires": "2025-11-27T16:38:00Z" });
        let told = ["files AB", "good until 2025-11-27 16:38:00 UTC (in 7 days)"];
        assert_eq!(https(&http("files"), NOW), told);
        assert_eq!(https(&http("self"), NOW), ["self AB"]);
    }

    #[test]
    fn a_scrub_is_told_with_what_it_found() {
        let told = |done: Option<&str>, findings: u64| {
            scrub(&json!({ "scrubbed": done, "scrub_findings": findings }), NOW)
        };
        assert_eq!(told(None, 0), "the first round is under way; no damage");
        assert_eq!(
            told(Some("2025-11-18T16:38:00Z"), 1),
            "all was read by 2025-11-18 16:38:00 UTC (2 days ago); 1 damage FOUND, see the log"
        );
    }

    #[test]
    fn alerts_are_named_up_to_a_few_and_the_rest_counted() {
        assert_eq!(alerts(&json!({ "total": 0 }), "p", NOW), ["none is active"]);
        let one = json!({ "node": "a/b", "severity": "warning", "text": "x", "since": null });
        let many = json!({ "total": 7, "alerts": vec![one; 7] });
        let lines = alerts(&many, "holdfast-hub", NOW);
        assert_eq!(lines.len(), NAMED + 2);
        assert_eq!(lines[0], "7 are active");
        assert_eq!(lines[1], "warning  a/b: x, since not known");
        assert_eq!(lines.last().expect("a line"), "and 2 more: holdfast-hub alert list");
    }
}
