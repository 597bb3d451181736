//! `command`: has a device do something, and shows what came of it.

use super::api::{CommandList, CommandShape, CommandState, NewCommand};
use super::is_name;
use crate::settings::Settings;
use clap::Subcommand;
use holdfast_core::Device;
use holdfast_node::cli::{Failure, Local};
use serde_json::{Value, json};
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Seconds of one question; the command may take longer.
const ASK_S: u64 = 20;

const SEND_HELP: &str = "\
Examples:
  holdfast-edge command send ps-017 restart
  holdfast-edge command send valve-3 open '{\"percent\":50}' --lasts 10 --wait 15

The device gets it on the topic devices/ID/commands/NAME and answers on devices/ID/replies;
docs/mqtt.md shows both. It ends with 0 once the device has done it, or without --wait once the
command is on disk.
";

/// What is done with commands.
#[derive(Subcommand)]
pub enum CommandAction {
    /// Orders a command, and waits for what comes of it if asked to.
    #[command(after_help = SEND_HELP)]
    Send {
        /// The device's id.
        device: String,
        /// What is to be done.
        name: String,
        /// With what, as JSON.
        args: Option<String>,
        /// Seconds until it is not to be begun any more.
        #[arg(long, value_name = "SECONDS", default_value_t = 60)]
        lasts: u64,
        /// Seconds to wait for the device's answer.
        #[arg(long, value_name = "SECONDS", default_value_t = 0)]
        wait: u64,
    },
    /// Lists the commands of a device, the newest first.
    #[command(after_help = "Example:\n  holdfast-edge command list valve-3\n")]
    List {
        /// The device's id.
        device: String,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Shows a command, and what came of it.
    #[command(after_help = "Example:\n  \
        holdfast-edge command show valve-3 019e2b3c4d5e8f90a1b2c3d4e5f60718\n")]
    Show {
        /// The device's id.
        device: String,
        /// The command's id, from `command list`.
        id: String,
    },
}

fn path(device: &str) -> Result<String, Failure> {
    Device::new(device)?;
    Ok(format!("/v1/devices/{device}/commands"))
}

fn shape(value: Value) -> Result<CommandShape, Failure> {
    serde_json::from_value(value).map_err(|error| format!("the node's answer: {error}").into())
}

impl CommandAction {
    /// Does it.
    ///
    /// # Errors
    /// What the node answers, or what is wrong with what was given.
    pub async fn run(self, node: &Local<Settings>) -> Result<ExitCode, Failure> {
        match self {
            Self::Send { device, name, args, lasts, wait } => {
                send(node, &device, (name, args, lasts), wait).await
            }
            Self::List { device, json } => {
                let told = node.call("GET", &path(&device)?, None).await?;
                if json {
                    println!("{told}");
                } else {
                    let list: CommandList = serde_json::from_value(told)
                        .map_err(|error| format!("the node's answer: {error}"))?;
                    print_list(&device, &list);
                }
                Ok(ExitCode::SUCCESS)
            }
            Self::Show { device, id } => {
                let told = node.call("GET", &format!("{}/{id}", path(&device)?), None).await?;
                Ok(print(&shape(told)?))
            }
        }
    }
}

async fn send(
    node: &Local<Settings>,
    device: &str,
    (name, args, lasts): (String, Option<String>, u64),
    wait: u64,
) -> Result<ExitCode, Failure> {
    if !is_name(&name) {
        let text = format!("`{name}` is no name of a command: 1 to 64 of A-Z a-z 0-9 . _ -");
        return Err(text.into());
    }
    let args = args.map(|text| {
        let read: Result<Value, _> = serde_json::from_str(&text);
        read.map_err(|error| {
            format!("the arguments are no JSON ({error}); a text needs quotes: '\"{text}\"'")
        })
    });
    let new = NewCommand { name, args: args.transpose()?, lasts_s: Some(lasts) };
    let path = path(device)?;
    let mut command = shape(node.call("POST", &path, Some(&json!(new))).await?)?;
    let until = Instant::now() + Duration::from_secs(wait);
    if wait > 0 {
        eprintln!("Ordered as {}; waiting for {device}, Ctrl-C leaves it to it.", command.id);
    }
    while command.state == CommandState::Waiting {
        let left = until.saturating_duration_since(Instant::now()).as_secs_f64().ceil() as u64;
        if left == 0 {
            break;
        }
        let ask = format!("{path}/{}?wait_s={}", command.id, left.min(ASK_S));
        command = shape(node.call("GET", &ask, None).await?)?;
    }
    let code = print(&command);
    Ok(if wait == 0 { ExitCode::SUCCESS } else { code })
}

/// Prints a command; success only where it is done.
fn print(command: &CommandShape) -> ExitCode {
    let CommandShape { id, device, name, .. } = command;
    match command.state {
        CommandState::Done => {
            let result = command.result.as_ref().map(Value::to_string).unwrap_or_default();
            println!("{device} has done `{name}`: {result}");
            return ExitCode::SUCCESS;
        }
        CommandState::Failed => {
            let text = command.error.as_deref().unwrap_or_default();
            println!("{device} could not do `{name}`: {text}");
        }
        CommandState::Expired => {
            println!("{device} did not answer to `{name}` until {}.", command.expires);
            println!("Whether it is connected: holdfast-edge mqtt clients");
        }
        CommandState::Waiting => {
            println!(
                "{device} has not answered to `{name}` yet, it has until {}.",
                command.expires
            );
            println!("What came of it: holdfast-edge command show {device} {id}");
        }
    }
    ExitCode::FAILURE
}

fn print_list(device: &str, list: &CommandList) {
    if list.commands.is_empty() {
        println!("{device} was given no command.");
        println!("Give it one: holdfast-edge command send {device} NAME");
        return;
    }
    println!("{:<34} {:<20} {:<9} {:<20} WHAT CAME OF IT", "ID", "NAME", "STATE", "ORDERED");
    for command in &list.commands {
        let state = match command.state {
            CommandState::Waiting => "waiting",
            CommandState::Done => "done",
            CommandState::Failed => "failed",
            CommandState::Expired => "expired",
        };
        let result = command.result.as_ref().map(Value::to_string);
        let told = result.or_else(|| command.error.clone()).unwrap_or_default();
        let ordered = command.ordered.to_string();
        let second = ordered.get(..19).unwrap_or(&ordered);
        println!("{:<34} {:<20} {state:<9} {second:<20} {told}", command.id, command.name);
    }
}
