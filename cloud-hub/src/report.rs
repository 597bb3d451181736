//! `status`: how the fleet is, in words. Trouble comes first, with its reason: which gateways are
//! silent, which are far behind, whose clock is wrong; then the disk and the alerts.

use crate::settings::Settings;
use holdfast_core::Timestamp;
use holdfast_node::cli::words::{self, counted, moment, text};
use holdfast_node::cli::{Failure, Local};
use holdfast_sync::env::System;
use serde_json::Value;

/// Gateways in trouble that are named; the rest is counted.
const NAMED: usize = 10;
/// Fewer entries are the ordinary way of live readings; the page says it alike (`fleet.js`).
const FAR_BEHIND: u64 = 1_000;
/// A clock further off is worth a word; the page says it alike (`parts.js`).
const CLOCK_OFF_MS: i64 = 2_000;

/// Prints it, as JSON with the gateways as `gateways` and the active alerts as `active`.
pub async fn status(hub: &Local<Settings>, as_json: bool) -> Result<(), Failure> {
    let mut status = hub.call("GET", "/v1/status", None).await?;
    let listed = hub.call("GET", "/v1/nodes", None).await?;
    let alerts = hub.call("GET", "/v1/alerts?state=active", None).await?;
    if as_json {
        status["gateways"] = listed["nodes"].clone();
        status["active"] = alerts["alerts"].clone();
        println!("{status}");
        return Ok(());
    }
    let now = System::env().now();
    let nodes = listed["nodes"].as_array().map(Vec::as_slice).unwrap_or_default();
    let hub = &status["node"];
    words::print("hub", [format!("{}, fleet {}", text(&hub["id"]), text(&hub["fleet"]))]);
    words::print("gateways", gateways(&status["nodes"], nodes, now));
    words::print("sync", [format!("over {}", text(&status["transport"]))]);
    words::print("behind", [behind(nodes)]);
    words::print("disk", [words::disk(&status["store"])]);
    words::print("scrub", [words::scrub(&status["store"], now)]);
    words::print("alerts", words::alerts(&alerts, "holdfast-hub", now));
    words::print("https", words::https(&status["http"], now));
    let lag = status["pipeline"]["lag"].as_u64().unwrap_or(0);
    words::print("pipeline", [format!("{} behind", counted(lag, "commit", "commits"))]);
    let findings = status["findings"].as_array().into_iter().flatten();
    words::print("found", findings.map(|finding| text(finding).to_owned()));
    Ok(())
}

/// How many are how, and which are in trouble.
fn gateways(counts: &Value, nodes: &[Value], now: Timestamp) -> Vec<String> {
    let number = |state: &str| counts[state].as_u64().unwrap_or(0);
    let mut lines = vec![format!(
        "{} online, {} silent, {} never came",
        number("online"),
        number("stale"),
        number("never")
    )];
    let mut troubled: Vec<_> = nodes.iter().filter_map(|node| trouble(node, now)).collect();
    troubled.sort();
    let more = troubled.len().saturating_sub(NAMED);
    lines.extend(troubled.into_iter().take(NAMED).map(|(_, line)| line));
    if more > 0 {
        lines.push(format!("and {more} more: holdfast-hub node list"));
    }
    lines
}

/// What is wrong with a gateway, if anything, and how much that matters: less is more.
fn trouble(node: &Value, now: Timestamp) -> Option<(u8, String)> {
    let called = format!("{}/{}", text(&node["site"]), text(&node["name"]));
    let label = node["label"].as_str().map(|label| format!(" ({label})")).unwrap_or_default();
    let says = |rank, what: String| Some((rank, format!("{called}{label}: {what}")));
    let behind = node["behind"].as_u64().unwrap_or(0);
    let ahead_ms = node["clock_ahead_ms"].as_i64().unwrap_or(0);
    match node["state"].as_str() {
        Some("stale") => {
            let reason = node["end_reason"].as_str();
            let reason = reason.map(|reason| format!(", {reason}")).unwrap_or_default();
            says(0, format!("silent since {}{reason}", moment(&node["since"], now)))
        }
        Some("never") => says(3, "enrolled and has not connected".to_owned()),
        _ if behind >= FAR_BEHIND => says(
            1,
            format!(
                "{behind} entries behind, last reading {}",
                moment(&node["last_received"], now)
            ),
        ),
        _ if ahead_ms.abs() > CLOCK_OFF_MS => {
            let side = if ahead_ms > 0 { "ahead" } else { "behind" };
            says(2, format!("its clock is {} {side}", words::span(ahead_ms / 1_000)))
        }
        _ => None,
    }
}

/// What is still at the gateways.
fn behind(nodes: &[Value]) -> String {
    let known = nodes.iter().filter_map(|node| node["behind"].as_u64());
    let entries: u64 = known.clone().sum();
    let gateways = known.filter(|entries| *entries > 0).count() as u64;
    let at = match entries {
        0 => "nothing that the hub knows of".to_owned(),
        _ => format!(
            "{} still at {}",
            counted(entries, "entry", "entries"),
            counted(gateways, "gateway", "gateways")
        ),
    };
    let unknown = nodes.iter().filter(|n| n["state"] == "stale" && n["behind"].is_null()).count();
    match unknown {
        0 => at,
        _ => format!("{at}; not known of {unknown} that are silent"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const NOW: Timestamp = Timestamp(1_763_656_680_000_000_000);

    fn node(name: &str, state: &str, behind: Option<u64>, clock_ahead_ms: i64) -> Value {
        json!({
            "site": "north", "name": name, "label": null, "state": state, "behind": behind,
            "since": "2025-11-20T14:02:00Z", "end_reason": "unreachable: timed out",
            "clock_ahead_ms": clock_ahead_ms, "last_received": "2025-11-20T16:37:00Z",
        })
    }

    #[test]
    fn trouble_is_told_with_its_reason_the_worst_first() {
        let nodes = [
            node("ps-1", "online", Some(3), 100),
            node("ps-2", "never", None, 0),
            node("ps-3", "online", Some(0), -184_000),
            node("ps-4", "online", Some(9_000), 0),
            node("ps-5", "stale", None, 0),
        ];
        let counts = json!({ "online": 3, "stale": 1, "never": 1 });
        assert_eq!(
            gateways(&counts, &nodes, NOW),
            [
                "3 online, 1 silent, 1 never came",
                "north/ps-5: silent since 2025-11-20 14:02:00 UTC (2 h ago), unreachable: timed \
                 out",
                "north/ps-4: 9000 entries behind, last reading 2025-11-20 16:37:00 UTC (1 min \
                 ago)",
                "north/ps-3: its clock is 3 min behind",
                "north/ps-2: enrolled and has not connected",
            ]
        );
        let told = "9003 entries still at 2 gateways; not known of 1 that are silent";
        assert_eq!(behind(&nodes), told);
    }

    #[test]
    fn of_much_trouble_the_first_is_named_and_the_rest_counted() {
        let nodes: Vec<_> = (0..25).map(|n| node(&format!("ps-{n}"), "stale", None, 0)).collect();
        let lines = gateways(&json!({ "stale": 25 }), &nodes, NOW);
        assert_eq!(lines.len(), NAMED + 2);
        assert_eq!(lines.last().expect("a line"), "and 15 more: holdfast-hub node list");
        assert_eq!(behind(&[]), "nothing that the hub knows of");
    }
}
