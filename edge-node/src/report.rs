//! `status`: how the running gateway is, in words. The first lines answer what somebody asks who
//! looks: is the hub reached, what does it lack, how long does the disk last, who is silent.

use crate::settings::Settings;
use holdfast_core::Timestamp;
use holdfast_node::cli::words::{self, counted, moment, text};
use holdfast_node::cli::{Failure, Local};
use holdfast_sync::env::System;
use serde_json::Value;

/// Silent devices that are named; the rest is counted.
const NAMED: usize = 5;
const ACTIVE: &str = "/v1/alerts?state=active";

/// Prints it, as JSON with the active alerts as `active`.
pub async fn status(node: &Local<Settings>, as_json: bool) -> Result<(), Failure> {
    let mut status = node.call("GET", "/v1/status", None).await?;
    let alerts = node.call("GET", ACTIVE, None).await?;
    if as_json {
        status["active"] = alerts["alerts"].clone();
        println!("{status}");
        return Ok(());
    }
    let silent = node.call("GET", &format!("{ACTIVE}&rule=device-silent"), None).await?;
    let now = System::env().now();
    let (node, uplink) = (&status["node"], &status["uplink"]);
    let called = match (node["site"].as_str(), node["name"].as_str()) {
        (Some(site), Some(name)) => format!("{site}/{name}, {}", text(&node["id"])),
        _ => text(&node["id"]).to_owned(),
    };
    words::print("node", [called]);
    words::print("fleet", node["fleet"].as_str().map(str::to_owned));
    words::print("uplink", link(uplink, now));
    words::print("behind", [behind(uplink, now)]);
    words::print("disk", [words::disk(&status["store"])]);
    words::print("scrub", [words::scrub(&status["store"], now)]);
    words::print("devices", devices(&status, &silent, now));
    words::print("alerts", words::alerts(&alerts, "holdfast-edge", now));
    words::print("https", words::https(&status["http"], now));
    let lag = status["pipeline"]["lag"].as_u64().unwrap_or(0);
    words::print("pipeline", [format!("{} behind", counted(lag, "commit", "commits"))]);
    let findings = status["findings"].as_array().into_iter().flatten();
    words::print("found", findings.map(|finding| text(finding).to_owned()));
    Ok(())
}

/// The link: since when it is so, why, and what comes next.
fn link(uplink: &Value, now: Timestamp) -> Vec<String> {
    let since = moment(&uplink["since"], now);
    let over = uplink["transport"].as_str().map(|name| format!(", over {name}"));
    let over = over.unwrap_or_default();
    let mut lines = match uplink["state"].as_str() {
        Some("online") => vec![format!("connected since {since}{over}")],
        Some("not-joined") => {
            vec!["not joined to a hub: holdfast-edge join STRING, with a string of the hub".into()]
        }
        _ => vec![format!("offline since {since}")],
    };
    if uplink["state"] != "online" {
        lines.extend(uplink["last_error"].as_str().map(str::to_owned));
        let attempts = uplink["attempts"].as_u64().unwrap_or(0);
        if attempts > 0 {
            let next = match uplink["next_attempt"].as_str() {
                Some(_) => format!("the next one {}", moment(&uplink["next_attempt"], now)),
                None => "the next one is under way".to_owned(),
            };
            lines.push(format!("{} so far, {next}", counted(attempts, "attempt", "attempts")));
        }
    }
    if let Some(entries) = uplink["ahead"].as_u64() {
        lines.push(format!(
            "the hub had {entries} entries of this node that were not here: was it put back from a \
             copy, or does another node run with its key?"
        ));
    }
    lines
}

/// What the hub lacks, as a number and as a time.
fn behind(uplink: &Value, now: Timestamp) -> String {
    let (lacks, entries) = (&uplink["lacks"], uplink["behind"].as_u64());
    match (lacks["readings"].as_u64(), entries) {
        (Some(0), Some(0) | None) => "nothing: the hub has every reading".to_owned(),
        (Some(0), Some(n)) => format!(
            "the hub has every reading; {} of other kinds to go",
            counted(n, "entry is", "entries are")
        ),
        (Some(n), _) => format!(
            "{} not at the hub; it has everything up to {}",
            counted(n, "reading is", "readings are"),
            moment(&lacks["since"], now)
        ),
        (None, _) => "not known: the store could not be read".to_owned(),
    }
}

/// How many devices there are, and which are silent.
fn devices(status: &Value, silent: &Value, now: Timestamp) -> Vec<String> {
    let (devices, series) = (&status["devices"], &status["series"]);
    let listed = silent["alerts"].as_array().map(Vec::as_slice).unwrap_or_default();
    let total = silent["total"].as_u64().unwrap_or(listed.len() as u64);
    let quiet = if total == 0 { "none is".to_owned() } else { counted(total, "is", "are") };
    let mut lines = vec![format!("{devices} with {series} series; {quiet} silent")];
    lines.extend(
        listed.iter().take(NAMED).map(|alert| {
            format!("{} since {}", text(&alert["device"]), moment(&alert["since"], now))
        }),
    );
    let more = total.saturating_sub(NAMED as u64);
    if more > 0 {
        lines.push(format!("and {more} more: holdfast-edge alert list"));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const NOW: Timestamp = Timestamp(1_763_656_680_000_000_000);
    const EARLIER: &str = "2025-11-20T14:02:00Z";

    #[test]
    fn a_link_that_is_down_says_since_when_why_and_what_is_next() {
        let uplink = json!({
            "state": "offline", "since": EARLIER, "last_error": "no answer within 5 s",
            "attempts": 41, "next_attempt": "2025-11-20T16:38:20Z",
        });
        assert_eq!(
            link(&uplink, NOW),
            [
                "offline since 2025-11-20 14:02:00 UTC (2 h ago)",
                "no answer within 5 s",
                "41 attempts so far, the next one 2025-11-20 16:38:20 UTC (in 20 s)",
            ]
        );
        let online = json!({ "state": "online", "since": EARLIER, "last_error": "old" });
        assert_eq!(link(&online, NOW), ["connected since 2025-11-20 14:02:00 UTC (2 h ago)"]);
    }

    #[test]
    fn what_the_hub_lacks_is_told_in_readings_and_in_time() {
        let told = |readings: u64, entries: Option<u64>| {
            let lacks = json!({ "readings": readings, "since": EARLIER });
            behind(&json!({ "lacks": lacks, "behind": entries }), NOW)
        };
        assert_eq!(told(0, None), "nothing: the hub has every reading");
        assert_eq!(
            told(3, None),
            "3 readings are not at the hub; it has everything up to 2025-11-20 14:02:00 UTC (2 h \
             ago)"
        );
        assert_eq!(told(0, Some(1)), "the hub has every reading; 1 entry is of other kinds to go");
    }

    #[test]
    fn silent_devices_are_named_up_to_a_few() {
        let status = json!({ "devices": 9, "series": 20 });
        let one = json!({ "device": "pump-10", "since": EARLIER });
        let many = json!({ "total": 7, "alerts": vec![one; 7] });
        let lines = devices(&status, &many, NOW);
        assert_eq!(lines[0], "9 with 20 series; 7 are silent");
        assert_eq!(lines[1], "pump-10 since 2025-11-20 14:02:00 UTC (2 h ago)");
        assert_eq!(lines.last().expect("a line"), "and 2 more: holdfast-edge alert list");
        assert_eq!(devices(&status, &json!({}), NOW), ["9 with 20 series; none is silent"]);
    }
}
