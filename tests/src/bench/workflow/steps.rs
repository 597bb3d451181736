//! Durable steps a second: of one run at a time, of 32, and of one whose steps leave the gateway.

use super::{Gateway, ask, until_over};
use serde_json::json;
use std::io;
use std::time::Instant;

/// Rounds of a run, of two steps each.
const ROUNDS: u32 = 500;
const STEPS: f64 = 2.0 * ROUNDS as f64;
const ONE_BY_ONE: u32 = 10;
const AT_ONCE: u32 = 32;
/// Rounds of one whose steps leave the gateway, of one step each.
const OUTSIDE: u32 = 500;

/// What came of it.
pub struct Steps {
    /// Steps a second of one run at a time.
    pub single: f64,
    /// Of 32 runs at a time.
    pub parallel: f64,
    /// Of one run whose steps leave the gateway.
    pub outside: f64,
}

/// Measures them.
///
/// # Errors
/// When a run does not come to its end.
pub async fn steps() -> io::Result<Steps> {
    let local = format!(
        "workflow: local\nversion: '1'\nruns: {{at_once: {AT_ONCE}}}\ninput: {{device: text}}\n\
         steps:\n  - repeat: {{at_most: {ROUNDS}}}\n    do:\n      - raise: busy\n        \
         device: ${{device}}\n      - clear: busy\n        device: ${{device}}\n"
    );
    let outside = format!(
        "workflow: outside\nversion: '1'\nsteps:\n  - let: {{n: 0}}\n  - repeat: {{at_most: \
         {OUTSIDE}}}\n    do:\n      - let: {{n: n + 1}}\n      - emit: rounds\n        value: \
         ${{n}}\n"
    );
    let gateway = Gateway::with([local, outside]).await?;
    let mut client = gateway.client();
    let begin = |number: u32| json!({ "input": { "device": format!("d-{number}") } });
    let path = "/v1/workflows/local/runs";
    let started = Instant::now();
    for number in 0..ONE_BY_ONE {
        ask(&mut client, path, &begin(number)).await?;
        until_over(&mut client).await?;
    }
    let single = STEPS * f64::from(ONE_BY_ONE) / started.elapsed().as_secs_f64();
    let started = Instant::now();
    for number in 0..AT_ONCE {
        ask(&mut client, path, &begin(number)).await?;
    }
    until_over(&mut client).await?;
    let parallel = STEPS * f64::from(AT_ONCE) / started.elapsed().as_secs_f64();
    let started = Instant::now();
    ask(&mut client, "/v1/workflows/outside/runs", &json!({})).await?;
    until_over(&mut client).await?;
    let outside = f64::from(OUTSIDE) / started.elapsed().as_secs_f64();
    let path = "/v1/runs?state=succeeded&limit=1000";
    let over = client.get(path).await.map_err(io::Error::other)?.json();
    let over = over["runs"].as_array().map_or(0, Vec::len);
    if over != (ONE_BY_ONE + AT_ONCE + 1) as usize {
        return Err(io::Error::other(format!("{over} runs came to their end")));
    }
    Ok(Steps { single, parallel, outside })
}
