//! `mqtt clients`, `kick` and `retained`: asked of the running node, shown as tables.

use crate::mqtt::api::{ClientList, RetainedList};
use crate::settings::Settings;
use holdfast_node::cli::{Failure, Local};
use holdfast_node::client::encoded;

/// Characters of a payload in a table.
const SHOWN: usize = 60;

/// Lists sessions.
///
/// # Errors
/// What the node answers.
pub async fn clients(node: &Local<Settings>, text: &str, json: bool) -> Result<(), Failure> {
    let path = format!("/v1/mqtt/clients?text={}", encoded(text));
    let listed = node.call("GET", &path, None).await?;
    if json {
        println!("{listed}");
        return Ok(());
    }
    let list: ClientList = serde_json::from_value(listed).map_err(|error| error.to_string())?;
    let (connected, sessions) = (list.connected, list.sessions);
    println!("{connected} connected, {sessions} sessions, {} bytes wait", list.queued_bytes);
    if list.clients.is_empty() {
        println!("Devices connect with a token as their password: docs/mqtt.md.");
        return Ok(());
    }
    let header =
        ["CLIENT", "OWNER", "FROM", "MQTT", "LAST PACKET", "WAIT", "DROPPED", "SUBSCRIBED"];
    let mut rows = vec![header.map(str::to_owned)];
    for client in list.clients {
        let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
        let peer = if client.connected { or_dash(client.peer) } else { "away".to_owned() };
        rows.push([
            client.client,
            client.owner,
            peer,
            or_dash(client.version),
            or_dash(client.last_packet.map(|time| time.to_string())),
            client.queued.to_string(),
            client.dropped.to_string(),
            client.subscriptions.join(" "),
        ]);
    }
    print_table(&rows);
    println!("End a connection: holdfast-edge mqtt kick CLIENT");
    Ok(())
}

/// Ends a connection.
///
/// # Errors
/// What the node answers.
pub async fn kick(node: &Local<Settings>, client: &str) -> Result<(), Failure> {
    node.call("DELETE", &format!("/v1/mqtt/clients/{}", encoded(client)), None).await?;
    println!(
        "The connection of {client} is ended; it may come again, unless its token is removed:"
    );
    println!("  holdfast-edge token list");
    Ok(())
}

/// Lists retained messages.
///
/// # Errors
/// What the node answers.
pub async fn retained(node: &Local<Settings>, filter: &str, json: bool) -> Result<(), Failure> {
    let path = format!("/v1/mqtt/retained?filter={}", encoded(filter));
    let listed = node.call("GET", &path, None).await?;
    if json {
        println!("{listed}");
        return Ok(());
    }
    let list: RetainedList = serde_json::from_value(listed).map_err(|error| error.to_string())?;
    println!("{} topics have a retained message, {} bytes", list.topics, list.bytes);
    if list.messages.is_empty() {
        return Ok(());
    }
    let mut rows = vec![["TOPIC", "AT", "QOS", "PAYLOAD"].map(str::to_owned)];
    for message in list.messages {
        let payload = message.text.or(message.base64).unwrap_or_default();
        let mut shown: String = payload.chars().take(SHOWN).collect();
        if shown.len() < payload.len() {
            shown.push_str("...");
        }
        rows.push([message.topic, message.at.to_string(), message.qos.to_string(), shown]);
    }
    print_table(&rows);
    println!("Take one away: holdfast-edge mqtt forget TOPIC");
    Ok(())
}

/// Takes a retained message away.
///
/// # Errors
/// What the node answers.
pub async fn forget(node: &Local<Settings>, topic: &str) -> Result<(), Failure> {
    node.call("DELETE", &format!("/v1/mqtt/retained?topic={}", encoded(topic)), None).await?;
    println!("Nothing is retained of {topic} any more.");
    Ok(())
}

fn print_table<const N: usize>(rows: &[[String; N]]) {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
    let widths: Vec<usize> = (0..N).map(|column| width(column).unwrap_or_default()).collect();
    for row in rows {
        let cells = row.iter().zip(&widths).map(|(cell, &width)| format!("{cell:<width$}"));
        println!("{}", cells.collect::<Vec<_>>().join("  ").trim_end());
    }
}
