//! `device` and `token new --csv`: the devices of a gateway, one by one and by the list.

use crate::settings::Settings;
use clap::{Args, Subcommand};
use holdfast_node::api::{NewDevice, check_devices};
use holdfast_node::cli::{Failure, Local};
use serde_json::{Value, json};
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// Lines of a wrong file that are told; there may be thousands of one kind.
const TOLD_MAX: usize = 20;

/// What is done with devices.
#[derive(Subcommand)]
pub enum DeviceAction {
    /// Lists the devices that are known, with their labels.
    List {
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Gives a device a label, which is shown beside its id; without a text it is taken away.
    #[command(after_help = "Example:\n  holdfast-edge device label ps-017 'Pump, north gate'\n")]
    Label {
        /// The device's id.
        device: String,
        /// The label.
        label: Option<String>,
    },
}

impl DeviceAction {
    /// Does it.
    ///
    /// # Errors
    /// What the node answers.
    pub async fn run(self, node: &Local<Settings>) -> Result<(), Failure> {
        match self {
            Self::List { json: true } => {
                println!("{}", node.call("GET", "/v1/devices", None).await?);
            }
            Self::List { json: false } => print(&node.call("GET", "/v1/devices", None).await?),
            Self::Label { device, label } => {
                let path = format!("/v1/devices/{device}");
                let made = node.call("PATCH", &path, Some(&json!({ "label": label }))).await?;
                match made["label"].as_str() {
                    Some(label) => println!("{device} is shown as {label}."),
                    None => println!("{device} has no label."),
                }
            }
        }
        Ok(())
    }
}

fn print(listed: &Value) {
    println!("{:<24} {:<26} {:>6}  LABEL", "DEVICE", "LAST HEARD", "SERIES");
    for device in listed["devices"].as_array().into_iter().flatten() {
        let text = |key: &str| device[key].as_str().unwrap_or("-").to_owned();
        let (id, heard) = (text("id"), text("last_heard"));
        // A JSON value does not keep to a width.
        let (series, label) = (device["series"].to_string(), text("label"));
        println!("{id:<24} {heard:<26} {series:>6}  {label}");
    }
}

/// Where a list of devices comes from, and where their tokens go.
#[derive(Args)]
pub struct CsvArgs {
    /// Makes a token for each device of a CSV file with the columns device and, if you like, name;
    /// `-` is standard input.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["kind", "name", "expires"])]
    pub csv: Option<PathBuf>,
    /// Where the tokens are written to, a new file that only you can read; standard output
    /// otherwise.
    #[arg(long, value_name = "FILE", requires = "csv")]
    pub out: Option<PathBuf>,
}

/// Makes the tokens that the list in `csv` asks for.
///
/// # Errors
/// Every wrong line, with its place; then nothing was made.
pub async fn tokens_of_list(
    node: &Local<Settings>,
    csv: &Path,
    out: Option<&Path>,
) -> Result<(), Failure> {
    let devices = read(csv)?;
    let asked: Vec<_> =
        devices.iter().map(|new| json!({ "device": new.device, "name": new.name })).collect();
    // Before anything is made: tokens that nobody could read would be lost.
    let file = out.map(new_file).transpose()?;
    let made = node.call("POST", "/v1/tokens/devices", Some(&json!({ "devices": asked }))).await;
    let is_empty =
        made.as_ref().map_or(true, |made| made["made"].as_array().is_none_or(Vec::is_empty));
    if let Some(path) = out.filter(|_| is_empty) {
        // It was made for this; an empty one would be in the way of the next attempt.
        let _ = std::fs::remove_file(path);
    }
    let made = made?;
    let table = table(&made);
    match (file, out) {
        (Some(mut file), Some(path)) if !is_empty => {
            let written = file.write_all(table.as_bytes()).and_then(|()| file.sync_all());
            if let Err(error) = written {
                print!("{table}");
                return Err(format!("{}: {error}; the tokens are above", path.display()).into());
            }
        }
        _ if !is_empty => print!("{table}"),
        _ => {}
    }
    tell(&made, out);
    Ok(())
}

fn new_file(path: &Path) -> Result<File, Failure> {
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    Ok(file.map_err(|error| format!("{}: {error}", path.display()))?)
}

/// The tokens as CSV.
fn table(made: &Value) -> String {
    let mut out = "device,token\n".to_owned();
    for token in made["made"].as_array().into_iter().flatten() {
        // Neither can hold a comma or a quote.
        let text = |key: &str| token[key].as_str().unwrap_or_default().to_owned();
        out += &format!("{},{}\n", text("device"), text("token"));
    }
    out
}

/// What was done, on standard error: standard output is for the tokens.
fn tell(made: &Value, out: Option<&Path>) {
    let list = |key: &str| made[key].as_array().cloned().unwrap_or_default();
    let (new, known) = (list("made"), list("known"));
    if new.is_empty() {
        eprintln!("No token was made.");
    } else {
        let place = out.map(|path| format!(", in {}", path.display())).unwrap_or_default();
        eprintln!("{} tokens made{place}; they are shown only here.", new.len());
    }
    if known.is_empty() {
        return;
    }
    eprintln!("{} devices have a token already and keep it:", known.len());
    for token in known.iter().take(TOLD_MAX) {
        let text = |key: &str| token[key].as_str().unwrap_or_default().to_owned();
        eprintln!("  {} (token {})", text("device"), text("id"));
    }
    if known.len() > TOLD_MAX {
        eprintln!("  and {} more: `holdfast-edge token list`", known.len() - TOLD_MAX);
    }
}

/// The devices of a file, or everything that is wrong with it.
fn read(path: &Path) -> Result<Vec<NewDevice>, Failure> {
    let name = path.display().to_string();
    let mut content = Vec::new();
    let read = match name.as_str() {
        "-" => std::io::stdin().read_to_end(&mut content),
        _ => File::open(path).and_then(|mut file| file.read_to_end(&mut content)),
    };
    read.map_err(|error| format!("{name}: {error}"))?;
    let name = if name == "-" { "standard input" } else { &name };
    parse(&content).map_err(|wrong| {
        let more = wrong.len().saturating_sub(TOLD_MAX);
        let mut told: Vec<_> = wrong
            .into_iter()
            .take(TOLD_MAX)
            .map(|(line, reason)| format!("{name}:{line}: {reason}"))
            .collect();
        if more > 0 {
            told.push(format!("and {more} more"));
        }
        told.push("No token was made.".to_owned());
        told.join("\n").into()
    })
}

/// Devices by line, or the wrong lines.
fn parse(content: &[u8]) -> Result<Vec<NewDevice>, Vec<(u64, String)>> {
    let content = content.strip_prefix(b"\xef\xbb\xbf").unwrap_or(content);
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .trim(csv::Trim::All)
        .from_reader(content);
    let (mut devices, mut lines, mut wrong) = (Vec::new(), Vec::new(), Vec::new());
    for record in reader.records() {
        let record = match record {
            Ok(record) => record,
            Err(error) => {
                let line = error.position().map_or(0, csv::Position::line);
                wrong.push((line, format!("no CSV in UTF-8: {error}")));
                continue;
            }
        };
        let line = record.position().map_or(0, csv::Position::line);
        let cells: Vec<_> = record.iter().collect();
        let is_header = lines.is_empty() && wrong.is_empty() && matches!(cells[..], ["device", ..]);
        match cells[..] {
            ["device"] | ["device", "name"] if is_header => continue,
            [device] => devices.push(NewDevice { device: device.into(), name: String::new() }),
            [device, name] => devices.push(NewDevice { device: device.into(), name: name.into() }),
            _ => {
                wrong.push((line, format!("{} columns, expected device,name", cells.len())));
                continue;
            }
        }
        lines.push(line);
    }
    wrong.extend(check_devices(&devices).into_iter().map(|(at, why)| (lines[at], why)));
    wrong.sort_by_key(|(line, _)| *line);
    match (wrong.is_empty(), devices.is_empty()) {
        (true, false) => Ok(devices),
        (true, true) => Err(vec![(1, "there is no device in it".to_owned())]),
        (false, _) => Err(wrong),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn devices(text: &str) -> Vec<(String, String)> {
        let read = parse(text.as_bytes()).unwrap();
        read.into_iter().map(|new| (new.device, new.name)).collect()
    }

    #[test]
    fn a_header_and_names_may_be_there_or_not() {
        let pair = |device: &str, name: &str| (device.to_owned(), name.to_owned());
        let two = [pair("ps-1", ""), pair("ps-2", "")];
        assert_eq!(devices("ps-1\nps-2"), two);
        assert_eq!(devices("device\r\nps-1\r\nps-2\r\n"), two);
        assert_eq!(devices("\u{feff}device,name\nps-1\n\n ps-2 ,\n"), two);
        assert_eq!(devices("ps-1,\"Pump, north\"\n"), [pair("ps-1", "Pump, north")]);
    }

    #[test]
    fn every_wrong_line_is_named_and_nothing_is_taken() {
        let wrong = parse(b"device,name\nps-1\nps 2\nps-1\na,b,c\n\xff\n").unwrap_err();
        let lines: Vec<_> = wrong.iter().map(|(line, _)| *line).collect();
        assert_eq!(lines, [3, 4, 5, 6], "{wrong:?}");
        assert!(wrong[0].1.contains("`ps 2` is no device"), "{wrong:?}");
        assert!(wrong[1].1.contains("twice"), "{wrong:?}");
        assert!(wrong[2].1.contains("3 columns"), "{wrong:?}");
        assert!(wrong[3].1.contains("UTF-8"), "{wrong:?}");
        for empty in ["", "\n", "device,name\n"] {
            assert!(parse(empty.as_bytes()).unwrap_err()[0].1.contains("no device"), "{empty:?}");
        }
    }
}
