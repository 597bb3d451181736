//! Rules a second that are judged and find nothing: readings of ten devices, of which a hundred
//! workflows look at each.

use super::{Gateway, ask};
use crate::bench::until_read;
use serde_json::{Value, json};
use std::io;
use std::time::Instant;

const RULES: u64 = 100;
const DEVICES: u64 = 10;
const READINGS: u64 = 200_000;
/// Readings of a request.
const AT_ONCE: u64 = 1_000;

/// Measures them.
///
/// # Errors
/// When readings are not taken.
pub async fn rules() -> io::Result<f64> {
    let definitions = (0..RULES).map(|number| {
        format!(
            "workflow: never-{number}\nversion: '1'\non:\n  - reading: {{device: '*', metric: \
             level, above: {}.5}}\nsteps: [{{wait: 1s}}]\n",
            1_000_000 + number
        )
    });
    let gateway = Gateway::with(definitions).await?;
    let mut client = gateway.client();
    let some: Vec<Vec<Value>> = (0..READINGS / AT_ONCE)
        .map(|request| {
            let numbers = request * AT_ONCE..(request + 1) * AT_ONCE;
            let reading = |number| {
                let device = format!("pump-{}", number % DEVICES);
                json!({"device": device, "metric": "level", "value": number % 1_000})
            };
            numbers.map(reading).collect()
        })
        .collect();
    let started = Instant::now();
    for readings in some {
        ask(&mut client, "/v1/readings", &Value::from(readings)).await?;
    }
    until_read(&gateway.edge).await?;
    let rate = (READINGS * RULES) as f64 / started.elapsed().as_secs_f64();
    let begun = client.get("/v1/runs?limit=1").await.map_err(io::Error::other)?.json();
    match begun["runs"].as_array() {
        Some(runs) if runs.is_empty() => Ok(rate),
        _ => Err(io::Error::other("a rule found something")),
    }
}
