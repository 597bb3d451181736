//! The workflow of the demonstration, and the valve that it closes: a device over MQTT that takes
//! its time to answer, so that the gateway can be killed in between.

use super::{Failure, LIMIT};
use crate::client::Client;
use crate::client::mqtt::Wire;
use crate::process::Edge;
use holdfast_edge::mqtt::packet::QoS;
use serde_json::{Value, json};
use std::time::Duration;

const DEFINITION: &str = r#"workflow: overflow
version: "1"
title: Closes the inlet when the tank is too full
on:
  - reading: {device: "tank-*", metric: fill, above: 3.0, clear: 2.5}
input: {device: text, value: decimal}
steps:
  - raise: overflow
    severity: critical
    device: ${device}
    text: ${device} is at ${value} m
  - command: close
    device: inlet-1
    lasts: 10m
  - wait: 1s
  - set: {device: inlet-1, path: position, value: closed}
  - clear: overflow
    device: ${device}
"#;

/// The valve, connected to its gateway.
pub(super) struct Valve {
    token: String,
    wire: Wire,
}

impl Valve {
    /// Installs the workflow, and connects the valve.
    pub(super) async fn install(edge: &Edge, client: &mut Client) -> Result<Self, Failure> {
        let answer =
            client.post_json("/v1/workflows", &json!({ "definition": DEFINITION })).await?;
        if !answer.status.is_success() {
            return Err(answer.text().into());
        }
        let begins = answer.json()["begins"][0].as_str().unwrap_or_default().to_owned();
        println!("    installed `overflow`, which begins at {begins}");
        let token = edge.device_token("inlet-1")?;
        let (mut wire, _) = Wire::open(edge.mqtt(), "inlet-1", &token).await?;
        wire.subscribe(&["devices/inlet-1/commands/+"], QoS::AtLeastOnce).await?;
        Ok(Self { token, wire })
    }

    /// The tank runs over; gives the command that reaches the valve.
    pub(super) async fn overflow(&mut self, client: &mut Client) -> Result<String, Failure> {
        let reading = json!([{ "device": "tank-1", "metric": "fill", "unit": "m", "value": 3.4 }]);
        let answer = client.post_json("/v1/readings", &reading).await?;
        if !answer.status.is_success() {
            return Err(answer.text().into());
        }
        println!("    tank-1 posts a fill of 3.4 m");
        let message = tokio::time::timeout(LIMIT, self.wire.message()).await??;
        let command: Value = serde_json::from_slice(&message.payload)?;
        let id = command["id"].as_str().unwrap_or_default().to_owned();
        println!("    inlet-1 gets `{}`, and takes its time to close", message.topic.as_str());
        Ok(id)
    }

    /// The valve comes back to its gateway and says that it is closed; gives the run.
    pub(super) async fn close(
        &mut self,
        id: &str,
        edge: &Edge,
        client: &mut Client,
    ) -> Result<(), Failure> {
        (self.wire, _) = Wire::open(edge.mqtt(), "inlet-1", &self.token).await?;
        let reply = json!({ "id": id, "result": { "percent": 0 } }).to_string();
        self.wire.say("devices/inlet-1/replies", reply).await?;
        let deadline = tokio::time::Instant::now() + LIMIT;
        loop {
            let runs = client.get("/v1/runs?workflow=overflow").await?.json();
            let run = &runs["runs"][0];
            if run["state"] == "succeeded" {
                let of = run["id"].as_str().unwrap_or_default();
                println!("    inlet-1 is closed; run {of} went on where it was, and is over");
                return Ok(());
            }
            if tokio::time::Instant::now() >= deadline {
                return Err(format!("the workflow does not come to its end: {runs}").into());
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

/// What the hub tells of the run, once the link is back.
pub(super) async fn told_at_the_hub(hub: &mut Client) -> Result<(), Failure> {
    let deadline = tokio::time::Instant::now() + LIMIT;
    let path = "/v1/runs?workflow=overflow&state=succeeded";
    let run = loop {
        let runs = hub.get(path).await?.json();
        if let Some(run) = runs["runs"].get(0) {
            break run["id"].as_str().unwrap_or_default().to_owned();
        }
        if tokio::time::Instant::now() >= deadline {
            return Err(format!("the hub does not hear of the run: {runs}").into());
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    };
    let run = hub.get(&format!("/v1/runs/{run}")).await?.json();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    println!("    run of `overflow` on {}, begun by {}:", text(&run["node"]), text(&run["by"]));
    for line in run["history"].as_array().into_iter().flatten() {
        let at = text(&line["at"]);
        let time = at.split('T').nth(1).unwrap_or(&at).trim_end_matches('Z');
        let source = line["line"].as_u64().map_or_else(String::new, |line| format!("line {line}"));
        println!(
            "      {time:<12.12} {source:<8} {:<10} {}",
            text(&line["what"]),
            text(&line["text"])
        );
    }
    Ok(())
}
