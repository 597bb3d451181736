//! Cells that a gateway takes in a second over HTTP, each on disk before its answer: one request
//! at a time, and many of them under way.

use super::Told;
use super::site::name;
use crate::bench::load::{Load, Speaks};
use crate::client::Client;
use crate::process::{Edge, Settings};
use serde_json::json;
use std::fmt::Write;
use std::io;
use std::sync::Arc;
use std::time::Duration;

const CONNECTIONS: usize = 50;
/// Devices that a connection writes in turn, so that no document is the same all the time.
const DEVICES: usize = 32;
const TIME: Duration = Duration::from_secs(8);

/// Runs this part of the bench.
pub async fn measure(told: &Told) -> io::Result<()> {
    for (name, connections, cells) in [
        ("docs_cells_one_at_a_time", 1, 1),
        ("docs_cells_in_flight", CONNECTIONS, 1),
        ("docs_cells_in_flight_by_20", CONNECTIONS, 20),
    ] {
        told.seen(name, rate(connections, cells).await?, "cells/s");
    }
    Ok(())
}

/// Cells a second in patches of so many.
async fn rate(connections: usize, cells: usize) -> io::Result<f64> {
    let dir = tempfile::tempdir()?;
    let mut edge = Edge::init("bench", dir.path(), Settings::default())?;
    edge.start()?;
    let token = edge.admin_token()?;
    let mut client = Client::new(edge.http()).with_token(&token);
    let all = (connections * DEVICES) as u64;
    let devices: Vec<_> = (0..all).map(|number| json!({ "device": name(number) })).collect();
    let answer = client.post_json("/v1/tokens/devices", &json!({ "devices": devices })).await;
    let answer = answer.map_err(io::Error::other)?;
    answer.status.is_success().then_some(()).ok_or_else(|| io::Error::other(answer.text()))?;
    let load = Load {
        address: edge.http(),
        connections,
        requests: Arc::new(move |connection| {
            // Each device is given two states in turn: what it has already would be no change.
            let one = |turn: usize| {
                let device = (connection * DEVICES + turn % DEVICES) as u64;
                patch(&name(device), &token, &body(cells, turn / DEVICES))
            };
            (0..2 * DEVICES).map(one).collect()
        }),
        readings: cells as u64,
        speaks: Speaks::Http,
    };
    load.run(Duration::from_secs(1), u64::MAX).await?;
    let (count, took) = load.run(TIME, u64::MAX).await?;
    edge.stop()?;
    Ok(count as f64 / took.as_secs_f64())
}

fn body(cells: usize, state: usize) -> String {
    let mut out = String::from("{");
    for key in 0..cells {
        let comma = if key == 0 { "" } else { "," };
        write!(out, r#"{comma}"k{key:02}":{}"#, state * 1_000 + key).expect("a string has room");
    }
    out + "}"
}

fn patch(device: &str, token: &str, body: &str) -> Vec<u8> {
    format!(
        "PATCH /v1/devices/{device}/twin/desired HTTP/1.1\r\nHost: bench\r\n\
         Authorization: Bearer {token}\r\nContent-Type: application/merge-patch+json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}
