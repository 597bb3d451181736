//! What campaigns have in common: a runtime, exports of data directories, waiting for the hub.

use crate::client::Client;
use crate::contract;
use crate::process::{Edge, Hub, LIMIT, bin_dir};
use crate::wait::until_async;
use serde_json::{Value, json};
use std::future::Future;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// How long a fleet may take to become equal, on a slow machine under load.
pub(super) const SYNC_LIMIT: Duration = Duration::from_secs(180);

/// Runs a campaign on a runtime of its own.
pub(super) fn block_on<T>(work: impl Future<Output = T>) -> T {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(2).enable_all().build();
    runtime.expect("a runtime starts").block_on(work)
}

/// The readings of a data directory as sorted lines, each with its node and its place in the log.
///
/// # Errors
/// What the program says when it cannot export.
pub(super) fn export(program: &str, data: &Path) -> Result<Vec<String>, String> {
    let mut command = Command::new(bin_dir().join(program));
    let output = command.arg("export").arg("--data").arg(data).output();
    let output = output.map_err(|error| format!("{program}: {error}"))?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
    lines.sort_unstable();
    Ok(lines)
}

/// As [`export`] of a gateway that must be readable.
pub(super) fn export_edge(edge: &Edge) -> Vec<String> {
    export("holdfast-edge", edge.data()).expect("the gateway's data can be exported")
}

/// As [`export`] of a hub that must be readable.
pub(super) fn export_hub(hub: &Hub) -> Vec<String> {
    export("holdfast-hub", hub.data()).expect("the hub's data can be exported")
}

/// Waits until the gateway says that the hub has everything.
pub(super) async fn caught_up(client: &mut Client) {
    until_async("the hub to have everything", SYNC_LIMIT, async || {
        // A node that starts anew does not answer for a moment.
        let status = client_status(client).await?;
        let uplink = &status["uplink"];
        (uplink["state"] == "online" && uplink["behind"] == 0).then_some(())
    })
    .await;
}

/// Waits until both sides export the same readings, and gives them.
pub(super) async fn equal_exports(edge: &Edge, hub: &Hub) -> Vec<String> {
    until_async("equal exports of gateway and hub", SYNC_LIMIT, async || {
        let (here, there) = (export_edge(edge), export_hub(hub));
        (here == there).then_some(here)
    })
    .await
}

/// `GET /v1/status`, if there is an answer.
pub(super) async fn client_status(client: &mut Client) -> Option<Value> {
    let answer = client.get("/v1/status").await.ok()?;
    answer.status.is_success().then(|| answer.json())
}

/// A client with the rights of an administrator.
pub(super) fn admin_of_edge(edge: &Edge) -> Client {
    let token = edge.admin_token().expect("the admin token can be read");
    Client::new(edge.http()).with_token(token).with_limit(LIMIT).held_to(&contract::EDGE)
}

/// As [`admin_of_edge`], of a hub.
pub(super) fn admin_of_hub(hub: &Hub) -> Client {
    let token = hub.admin_token().expect("the admin token can be read");
    Client::new(hub.http()).with_token(token).with_limit(LIMIT).held_to(&contract::HUB)
}

/// `GET` that must be answered with 200.
pub(super) async fn get(client: &mut Client, path: &str) -> Value {
    let answer = client.get(path).await.unwrap_or_else(|error| panic!("GET {path}: {error}"));
    assert!(answer.status.is_success(), "GET {path}: {} {}", answer.status, answer.text());
    answer.json()
}

/// One reading of a device in the simplest form.
pub(super) fn reading(device: &str, seq: u64, value: f64) -> Value {
    json!({"device": device, "metric": "level", "unit": "m", "value": value, "boot": 1, "seq": seq})
}
