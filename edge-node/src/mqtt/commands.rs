//! `mqtt`: who is connected, what is retained, and what a message would become.
//!
//! For `map test` the configuration is read and a message decoded as the node would; nothing is
//! stored, and no node has to run. All else is asked of the running node.

mod running;

use super::rules::{Mapping, PayloadError, Purpose, Rules};
use super::topic::Topic;
use crate::formats::{Decoded, DecodedReading};
use crate::settings::Settings;
use clap::Subcommand;
use holdfast_core::{Timestamp, Value};
use holdfast_node::cli::{Failure, Local};
use holdfast_node::time_text;
use holdfast_sync::env::System;
use std::fmt::Write as _;
use std::io::Read as _;
use std::process::ExitCode;

const TEST_HELP: &str = "\
Examples:
  holdfast-edge mqtt map test zigbee2mqtt/hall '{\"temperature\":21.5}'
  holdfast-edge mqtt map test devices/ps-017/readings/level 3.2
  mosquitto_sub -t tele/boiler/SENSOR -C 1 | \\
    holdfast-edge mqtt map test tele/boiler/SENSOR - --config /etc/holdfast/edge.toml

It ends with 0 when the message brings something. Settings are those of the configuration file,
in force or not.
";

/// What is asked about MQTT.
#[derive(Subcommand)]
pub enum MqttAction {
    /// Lists sessions: who is connected, what waits for whom.
    #[command(after_help = "Example:\n  holdfast-edge mqtt clients pump\n")]
    Clients {
        /// Only clients whose identifier contains this.
        #[arg(default_value = "")]
        text: String,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Ends the connection of a client.
    #[command(after_help = "Example:\n  holdfast-edge mqtt kick pump-7\n")]
    Kick {
        /// Its identifier, from `mqtt clients`.
        client: String,
    },
    /// Lists retained messages.
    #[command(after_help = "Example:\n  holdfast-edge mqtt retained 'site/#'\n")]
    Retained {
        /// A topic filter.
        #[arg(default_value = "#")]
        filter: String,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Takes the retained message of a topic away.
    #[command(after_help = "Example:\n  holdfast-edge mqtt forget site/old\n")]
    Forget {
        /// The topic, from `mqtt retained`.
        topic: String,
    },
    /// Which messages become which readings.
    #[command(after_help = TEST_HELP)]
    Map {
        /// What is asked.
        #[command(subcommand)]
        action: MapAction,
    },
}

/// What is asked about topics and payloads.
#[derive(Subcommand)]
pub enum MapAction {
    /// Shows what becomes of a message, and which mapping takes it.
    #[command(after_help = TEST_HELP)]
    Test {
        /// The topic.
        topic: String,
        /// The payload; `-` is standard input, `@FILE` a file.
        #[arg(allow_hyphen_values = true)]
        payload: String,
        /// The content type that the message says, as only version 5 can.
        #[arg(long, value_name = "TYPE")]
        content_type: Option<String>,
    },
}

impl MqttAction {
    /// Does it.
    ///
    /// # Errors
    /// When the message brings nothing, with what to do next, or what the node answers.
    pub async fn run(self, node: &Local<Settings>) -> Result<ExitCode, Failure> {
        let (topic, payload, content_type) = match self {
            Self::Map { action: MapAction::Test { topic, payload, content_type } } => {
                (topic, payload, content_type)
            }
            Self::Clients { text, json } => {
                running::clients(node, &text, json).await?;
                return Ok(ExitCode::SUCCESS);
            }
            Self::Kick { client } => {
                running::kick(node, &client).await?;
                return Ok(ExitCode::SUCCESS);
            }
            Self::Retained { filter, json } => {
                running::retained(node, &filter, json).await?;
                return Ok(ExitCode::SUCCESS);
            }
            Self::Forget { topic } => {
                running::forget(node, &topic).await?;
                return Ok(ExitCode::SUCCESS);
            }
        };
        let payload = read(&payload)?;
        let rules = Rules::new(&node.settings.mqtt.mappings);
        let now = System::env().now();
        let message =
            Message { topic: &topic, payload: &payload, content_type: content_type.as_deref() };
        print!("{}", explain(&rules, &message, now)?);
        Ok(ExitCode::SUCCESS)
    }
}

fn read(payload: &str) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    match payload.strip_prefix('@') {
        Some(path) => {
            return std::fs::read(path).map_err(|error| format!("{path}: {error}").into());
        }
        None if payload == "-" => {
            std::io::stdin().lock().read_to_end(&mut bytes)?;
        }
        None => bytes.extend_from_slice(payload.as_bytes()),
    }
    Ok(bytes)
}

/// A message as it is asked about.
struct Message<'a> {
    topic: &'a str,
    payload: &'a [u8],
    content_type: Option<&'a str>,
}

/// What a message brings, in lines for people.
fn explain(rules: &Rules, message: &Message<'_>, now: Timestamp) -> Result<String, String> {
    let topic = Topic::try_from(message.topic)
        .map_err(|fault| format!("`{}` is no topic: {fault}", message.topic))?;
    let purpose = rules.purpose(&topic).map_err(|error| {
        format!("{error}\n  a message there is refused; correct the topic of whatever publishes it")
    })?;
    let mut out = format!("topic   {topic}\n");
    let brings = |what: &str| format!("{out}brings  {what}\n");
    match purpose {
        Purpose::Ordinary => return Err(ordinary(&topic)),
        Purpose::Reserved => {
            return Err("only the node itself publishes here; clients may subscribe".to_owned());
        }
        Purpose::Event { .. } => {
            return Err("a message like any other: this name is kept for later use".to_owned());
        }
        Purpose::Reported { device } => {
            return Ok(brings(&format!("what device {device} reports of its twin")));
        }
        Purpose::Reply { device } => {
            return Ok(brings(&format!("what device {device} answers to a command")));
        }
        Purpose::Readings { .. } | Purpose::Envelope { .. } => {
            out.push_str("taken   by the node, as readings\n");
        }
        Purpose::Mapped(mapping) => {
            let _ = writeln!(out, "taken   by the mapping `{}`", mapping.name());
        }
    }
    let decoded = purpose.decode(&topic, message.payload, message.content_type, now);
    let decoded = decoded.map_err(|error| wrong(&purpose, &error))?;
    if decoded.readings.is_empty() {
        return Err(match purpose {
            Purpose::Mapped(mapping) => nothing(mapping),
            _ => "there is no reading in it: nothing would be stored".to_owned(),
        });
    }
    out.push_str(&table(&decoded));
    Ok(out)
}

/// What to do about a topic that nothing takes.
fn ordinary(topic: &Topic) -> String {
    let shipped = Rules::shipped();
    let next = match shipped.purpose(topic) {
        Ok(Purpose::Mapped(mapping)) => {
            let family = mapping.name().split('/').next().unwrap_or_default();
            format!("the mapping `{family}` would take it: add it to the list `mqtt.mappings`")
        }
        _ => "a table in `mqtt.mappings` with this topic would make readings of it; readings of \
              our own format go to devices/ID/readings"
            .to_owned(),
    };
    format!("nothing takes `{topic}`: it is an ordinary message of the site\n  {next}")
}

fn wrong(purpose: &Purpose<'_>, error: &PayloadError) -> String {
    match purpose {
        Purpose::Mapped(mapping) => format!(
            "the mapping `{}` takes the topic, but not this payload: {error}\n  correct the \
             mapping if it is wrong, or leave the topic out with `except`",
            mapping.name()
        ),
        _ => format!("{error}\n  nothing of it is stored; correct the payload"),
    }
}

fn nothing(mapping: &Mapping) -> String {
    format!(
        "the mapping `{}` takes the topic, but nothing of this payload becomes a reading\n  it \
         takes {}",
        mapping.name(),
        mapping.takes_what()
    )
}

/// The readings, each with its device.
fn table(decoded: &Decoded<'_>) -> String {
    let header = ["DEVICE", "METRIC", "VALUE", "UNIT", "TIME"].map(str::to_owned);
    let mut rows = vec![header];
    let mut refused = String::new();
    for item in &decoded.items {
        match item {
            Ok(item) => {
                let device = item.device.as_deref().unwrap_or("-");
                rows.extend(decoded.readings_of(item).iter().map(|reading| row(device, reading)));
            }
            Err(error) => {
                let _ = writeln!(refused, "refused {} (at {})", error.detail, error.at);
            }
        }
    }
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
    let widths: Vec<usize> = (0..5).map(|column| width(column).unwrap_or_default()).collect();
    let mut out = String::new();
    for row in &rows {
        let cells = row.iter().zip(&widths).map(|(cell, &width)| format!("{cell:<width$}"));
        out.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        out.push('\n');
    }
    out + &refused
}

fn row(device: &str, reading: &DecodedReading<'_>) -> [String; 5] {
    let value = match reading.value.get() {
        Value::Float(number) => number.get().to_string(),
        Value::Int(int) => int.to_string(),
        Value::Bool(on) => on.to_string(),
        Value::Text(text) => format!("{:?}", text.as_str()),
    };
    let unit = if reading.unit.is_empty() { "-" } else { &reading.unit };
    let time = reading.time.map_or_else(|| "of receipt".to_owned(), time_text::format);
    [device.to_owned(), reading.metric.to_string(), value, unit.to_owned(), time]
}

#[cfg(test)]
mod tests;
