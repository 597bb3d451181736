//! `twin`: what a device should be, what it says it is, and what people call it.

use super::words::counted;
use super::{Failure, Local, Service};
use crate::client;
use clap::Subcommand;
use clap::builder::PossibleValuesParser;
use holdfast_core::Device;
use serde_json::{Map, Value, json};

const SECTIONS: [&str; 3] = ["desired", "reported", "tags"];

/// What is done with twins.
#[derive(Subcommand)]
pub enum TwinAction {
    /// Shows the twin of a device: what it should be, what it says it is, what people call it.
    #[command(
        after_help = "Examples (holdfast-hub has the same):\n  holdfast-edge twin get ps-017\n  \
        holdfast-edge twin get ps-017 --section desired --json\n"
    )]
    Get {
        /// The device's id.
        device: String,
        /// Only this section.
        #[arg(long, value_parser = PossibleValuesParser::new(SECTIONS))]
        section: Option<String>,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Says what a device should be, or with --tags what people call it; what is not named stays.
    #[command(after_help = "A path is names split by /. A value is JSON, or else a text; null \
        takes away what is there.\n\nExamples (holdfast-hub has the same):\n  \
        holdfast-edge twin set ps-017 mode=auto net/mtu=1400 limits=[1,5]\n  \
        holdfast-edge twin set ps-017 mode=null\n  \
        holdfast-edge twin set ps-017 --tags room=3 owner='Ann, north gate'\n\n\
        Then `holdfast-edge twin diff ps-017` tells what the device has not taken yet.")]
    Set {
        /// The device's id.
        device: String,
        /// What is to stand where.
        #[arg(required = true, value_name = "PATH=VALUE")]
        values: Vec<String>,
        /// Tags instead of what is desired.
        #[arg(long)]
        tags: bool,
    },
    /// Shows changes of twins as they happen, until Ctrl-C.
    #[command(after_help = "Examples (holdfast-hub has the same):\n  holdfast-edge twin watch\n  \
        holdfast-edge twin watch ps-\n")]
    Watch {
        /// Only devices whose ids begin so.
        #[arg(default_value = "")]
        prefix: String,
    },
    /// Shows who changed a section of a twin, when, and from what to what.
    #[command(after_help = "Examples (holdfast-hub has the same):\n  \
        holdfast-edge twin history ps-017\n  \
        holdfast-edge twin history ps-017 --section reported --limit 5\n")]
    History {
        /// The device's id.
        device: String,
        /// The section.
        #[arg(long, default_value = "desired", value_parser = PossibleValuesParser::new(SECTIONS))]
        section: String,
        /// How many changes, at most 100.
        #[arg(long, default_value_t = 20)]
        limit: usize,
        /// Only what came before this change.
        #[arg(long, value_name = "CHANGE")]
        before: Option<String>,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Shows what is desired of a device and not reported by it.
    #[command(after_help = "Example (holdfast-hub has the same):\n  \
        holdfast-edge twin diff ps-017\n")]
    Diff {
        /// The device's id.
        device: String,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
}

impl TwinAction {
    /// Does it.
    ///
    /// # Errors
    /// What the node answers.
    pub async fn run<S: Service>(self, node: &Local<S>) -> Result<(), Failure> {
        match self {
            Self::Get { device, section: Some(section), json: true } => {
                let path = format!("{}/{section}", path(&device)?);
                println!("{}", node.call("GET", &path, None).await?);
            }
            Self::Get { device, section, json } => {
                let told = if json { "" } else { "?metadata=true" };
                let twin = node.call("GET", &format!("{}{told}", path(&device)?), None).await?;
                if json {
                    println!("{twin}");
                } else {
                    print_twin::<S>(&twin, section.as_deref());
                }
            }
            Self::Set { device, values, tags } => {
                let section = if tags { "tags" } else { "desired" };
                let (path, patch) = (format!("{}/{section}", path(&device)?), patch(&values)?);
                let now = node.call("PATCH", &path, Some(&Value::Object(patch))).await?;
                println!("{device}, {section} now:");
                print_values(&now, &Value::Null);
                if !tags {
                    let program = S::PROGRAM;
                    println!("What the device has not taken yet: {program} twin diff {device}");
                }
            }
            Self::Watch { prefix } => watch(node, &prefix).await?,
            Self::History { device, section, limit, before, json } => {
                let before = before.map(|change| format!("&before={change}")).unwrap_or_default();
                let asked = format!("history?section={section}&limit={limit}{before}");
                let told = node.call("GET", &format!("{}/{asked}", path(&device)?), None).await?;
                if json {
                    println!("{told}");
                } else {
                    print_past::<S>(&told);
                }
            }
            Self::Diff { device, json } => {
                let told = node.call("GET", &format!("{}/diff", path(&device)?), None).await?;
                if json {
                    println!("{told}");
                } else {
                    print_differences::<S>(&told);
                }
            }
        }
        Ok(())
    }
}

fn path(device: &str) -> Result<String, Failure> {
    Device::new(device)?;
    Ok(format!("/v1/devices/{device}/twin"))
}

/// The merge patch that puts values at paths.
fn patch(values: &[String]) -> Result<Map<String, Value>, Failure> {
    let mut out = Map::new();
    for text in values {
        let Some((path, value)) = text.split_once('=') else {
            let text = format!("`{text}` is no PATH=VALUE, such as mode=auto or net/mtu=1400");
            return Err(text.into());
        };
        let value = serde_json::from_str(value).unwrap_or_else(|_| Value::from(value));
        let (mut place, mut names) = (&mut out, path.split('/'));
        let name = names.next_back().unwrap_or(path);
        let twice = || format!("{path} lies below another path that is set, or above one");
        for parent in names {
            let inner = place.entry(parent).or_insert_with(|| json!({}));
            place = inner.as_object_mut().ok_or_else(twice)?;
        }
        if place.insert(name.to_owned(), value).is_some() {
            return Err(twice().into());
        }
    }
    Ok(out)
}

/// The leaves of an object, by path.
fn leaves(values: &Value) -> Vec<(String, &Value)> {
    let mut out = Vec::new();
    for (name, value) in values.as_object().into_iter().flatten() {
        match value {
            Value::Object(_) => {
                let below = leaves(value).into_iter();
                out.extend(below.map(|(path, value)| (format!("{name}/{path}"), value)));
            }
            value => out.push((name.clone(), value)),
        }
    }
    out
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or("-")
}

/// A time to the second; the rest is in the JSON.
fn second(time: &str) -> String {
    time.get(..19).map(|time| format!("{time}Z")).unwrap_or_default()
}

/// A name of a node as it fits a line; one that is in no fleet is called by its key.
fn short(name: &str) -> String {
    match name.len() {
        64 => name.get(..12).map(|begin| format!("{begin}...")).unwrap_or_default(),
        _ => name.to_owned(),
    }
}

/// Prints paths with their values, and who wrote each where that is told.
fn print_values(values: &Value, metadata: &Value) {
    let leaves = leaves(values);
    if leaves.is_empty() {
        println!("  (nothing)");
    }
    for (path, value) in leaves {
        let value = value.to_string();
        match &metadata[&path] {
            Value::Null => println!("  {path:<24} {value}"),
            by => {
                let (at, author) = (second(text(by, "at")), short(text(by, "author")));
                println!("  {path:<24} {value:<20} {at} {author}");
            }
        }
    }
}

fn print_twin<S: Service>(twin: &Value, only: Option<&str>) {
    for section in SECTIONS {
        let part = &twin[section];
        if part.is_null() || only.is_some_and(|only| only != section) {
            continue;
        }
        println!("{section}, version {}", text(part, "version"));
        print_values(&part["values"], &part["metadata"]);
    }
    let (program, device) = (S::PROGRAM, text(twin, "device"));
    let paths = twin["differences"].as_array().map_or(0, Vec::len) as u64;
    match paths {
        0 => println!("Change what it should be: {program} twin set {device} PATH=VALUE"),
        _ => {
            let paths = counted(paths, "path", "paths");
            println!("It does not report {paths} as desired: {program} twin diff {device}");
        }
    }
}

fn print_differences<S: Service>(told: &Value) {
    let (program, device) = (S::PROGRAM, text(told, "device"));
    let differences = told["differences"].as_array().map(Vec::as_slice).unwrap_or_default();
    if differences.is_empty() {
        println!("{device} reports all that is desired.");
        println!("Change what it should be: {program} twin set {device} PATH=VALUE");
        return;
    }
    println!("{:<24} {:<24} REPORTED", "PATH", "DESIRED");
    for one in differences {
        let reported = one.get("reported").map_or("(nothing)".to_owned(), Value::to_string);
        println!("{:<24} {:<24} {reported}", text(one, "path"), one["desired"].to_string());
    }
    println!("Who asked for it, and when: {program} twin history {device}");
}

fn print_past<S: Service>(told: &Value) {
    let (program, device) = (S::PROGRAM, text(told, "device"));
    let changes = told["changes"].as_array().map(Vec::as_slice).unwrap_or_default();
    if changes.is_empty() {
        println!("No change so far.");
    }
    let value = |value: &Value| match value {
        Value::Null => "(nothing)".to_owned(),
        value => value.to_string(),
    };
    for change in changes {
        println!("{}  by {}", second(text(change, "at")), short(text(change, "node")));
        for put in change["paths"].as_array().into_iter().flatten() {
            let (from, to) = (value(&put["from"]), value(&put["to"]));
            println!("  {:<24} {from} -> {to}", text(put, "path"));
        }
    }
    if let (true, Some(last)) = (told["more"] == true, changes.last()) {
        let (section, last) = (text(told, "section"), text(last, "change"));
        println!("Older: {program} twin history {device} --section {section} --before {last}");
    }
}

async fn watch<S: Service>(node: &Local<S>, prefix: &str) -> Result<(), Failure> {
    if !prefix.is_empty() {
        Device::new(prefix)?;
    }
    eprintln!("Changes of twins from now on; Ctrl-C ends it.");
    let (target, token) = (node.target()?, node.admin_token()?);
    let path = format!("/v1/twins/events?prefix={prefix}");
    client::follow(&target, &token, &path, print_change).await?;
    Err("the node has ended it: start `twin watch` again when it runs".into())
}

/// Prints a line of the events.
fn print_change(line: &str) {
    let change = line.strip_prefix("data:").map(|data| serde_json::from_str(data.trim()));
    let Some(Ok(change)) = change else { return };
    let change: Value = change;
    let (device, section) = (text(&change, "device"), text(&change, "section"));
    if change["whole"] == true {
        println!("{device} {section} as a whole:");
    }
    for (path, value) in leaves(&change["patch"]) {
        match value {
            Value::Null => println!("{device} {section} {path} is gone"),
            value => println!("{device} {section} {path} = {value}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(values: &[&str]) -> Result<Value, String> {
        let values: Vec<_> = values.iter().map(|value| (*value).to_owned()).collect();
        patch(&values).map(Value::Object).map_err(|Failure(text)| text)
    }

    #[test]
    fn values_are_json_or_else_texts_and_paths_are_nested() {
        assert_eq!(
            made(&["mode=auto", "net/mtu=1400", "net/ip=::1", "off=null", "list=[1,2]", "a=b=c"]),
            Ok(json!({
                "mode": "auto", "net": {"mtu": 1400, "ip": "::1"}, "off": null, "list": [1, 2],
                "a": "b=c",
            }))
        );
        assert_eq!(made(&["text=\"5\"", "empty="]), Ok(json!({"text": "5", "empty": ""})));
    }

    #[test]
    fn what_says_two_things_of_a_path_is_refused() {
        for wrong in [&["a=1", "a=2"][..], &["a=1", "a/b=2"], &["a/b=2", "a=1"]] {
            assert!(made(wrong).unwrap_err().contains("below another path"), "{wrong:?}");
        }
        assert!(made(&["mode"]).unwrap_err().contains("PATH=VALUE"));
    }

    #[test]
    fn leaves_are_told_by_path() {
        let values = json!({"b": {"c": {"d": 1}, "e": []}, "a": null});
        let told: Vec<_> = leaves(&values).into_iter().map(|(path, _)| path).collect();
        assert_eq!(told, ["a", "b/c/d", "b/e"]);
    }
}
