//! `workflow add`, `start`, `runs`, `show` and so on: workflows and runs of the running node.

use super::{Failure, Local, Service, WorkflowAction};
use crate::client::encoded;
use clap::Subcommand;
use serde_json::{Map, Value, json};
use std::path::PathBuf;
use std::process::ExitCode;

/// What is done with workflows, by files alone or on the running node.
#[derive(Subcommand)]
pub enum WorkflowCommand {
    /// By files alone.
    #[command(flatten)]
    File(WorkflowAction),
    /// On the running node.
    #[command(flatten)]
    Node(RunAction),
}

impl WorkflowCommand {
    /// Does it.
    ///
    /// # Errors
    /// What is wrong with a file, or what the node answers.
    pub async fn run<S: Service>(
        self,
        node: impl FnOnce() -> Result<Local<S>, Failure>,
    ) -> Result<ExitCode, Failure> {
        match self {
            Self::File(action) => action.run(),
            Self::Node(action) => action.run(&node()?).await.map(|()| ExitCode::SUCCESS),
        }
    }
}

/// What is done with workflows and runs of the running node.
#[derive(Subcommand)]
pub enum RunAction {
    /// Compiles a definition on the node and installs it.
    #[command(after_help = "A version never changes: what is changed gets another one.\n\n\
        Example:\n  holdfast-edge workflow add pump-guard.yaml")]
    Add {
        /// The file with the definition, YAML or JSON.
        file: PathBuf,
    },
    /// Lists the workflows that are installed.
    #[command(after_help = "Example:\n  holdfast-edge workflow list")]
    List {
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Lets new runs of a version begin again.
    #[command(after_help = "Example:\n  holdfast-edge workflow enable pump-guard 1")]
    Enable {
        /// The workflow.
        workflow: String,
        /// Its version.
        version: String,
    },
    /// Lets no new runs of a version begin; those that are under way go on.
    #[command(after_help = "Example:\n  holdfast-edge workflow disable pump-guard 1")]
    Disable {
        /// The workflow.
        workflow: String,
        /// Its version.
        version: String,
    },
    /// Removes a version to which no run is pinned.
    #[command(after_help = "Example:\n  holdfast-edge workflow remove pump-guard 1")]
    Remove {
        /// The workflow.
        workflow: String,
        /// Its version.
        version: String,
    },
    /// Begins a run.
    #[command(after_help = "Example:\n  \
        holdfast-edge workflow start pump-guard '{\"device\":\"ps-017\"}'")]
    Start {
        /// The workflow.
        workflow: String,
        /// What it is given, as a JSON object.
        input: Option<String>,
        /// The version; the newest that is enabled otherwise.
        #[arg(long)]
        version: Option<String>,
    },
    /// Lists runs, the newest first.
    #[command(after_help = "Example:\n  holdfast-edge workflow runs --state parked")]
    Runs {
        /// Only those of this workflow.
        #[arg(long)]
        workflow: Option<String>,
        /// Only those in this state: waiting, running, undoing, succeeded, failed, cancelled,
        /// forwarded or parked.
        #[arg(long)]
        state: Option<String>,
        /// At most so many, the newest.
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=1000))]
        limit: u16,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Shows a run: what it waits for, and what it did.
    #[command(after_help = "Example:\n  \
        holdfast-edge workflow show 01a228a3236ceb3c9de84a1ac6b3a557")]
    Show {
        /// The run's id, from `workflow runs`.
        run: String,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Ends a run; what it did is undone.
    #[command(after_help = "Example:\n  \
        holdfast-edge workflow cancel 01a228a3236ceb3c9de84a1ac6b3a557")]
    Cancel {
        /// The run's id.
        run: String,
    },
    /// Sends a run a signal.
    #[command(after_help = "Example:\n  holdfast-edge workflow signal \
        01a228a3236ceb3c9de84a1ac6b3a557 acknowledged '{\"by\":\"ann\"}'")]
    Signal {
        /// The run's id.
        run: String,
        /// The signal.
        name: String,
        /// What it brings, as a JSON object.
        values: Option<String>,
    },
    /// Has runs of one version go on as ones of another.
    #[command(after_help = "A run can change where it waits at a label that both versions have. \
        Those that cannot stay as\nthey are; with --dry-run nothing is changed.\n\nExample:\n  \
        holdfast-edge workflow migrate pump-guard 1 2 --dry-run")]
    Migrate {
        /// The workflow.
        workflow: String,
        /// Of which version the runs are.
        from: String,
        /// Of which version they are to be.
        to: String,
        /// Only says what would become of each.
        #[arg(long)]
        dry_run: bool,
    },
    /// Lists what somebody is told until they say that they know.
    #[command(after_help = "Example:\n  holdfast-edge workflow notices")]
    Notices {
        /// Those that are over, too.
        #[arg(long)]
        all: bool,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Says that somebody knows: a notice is not repeated any more.
    #[command(after_help = "A run that waits for the signal `acknowledged` goes on.\n\n\
        Example:\n  holdfast-edge workflow acknowledge 01a1ad8d4d00f05f8a3c2b71")]
    Acknowledge {
        /// The notice's id, from `workflow notices`.
        notice: String,
    },
    /// Decides about what is parked: retry, skip, set or compensate.
    #[command(after_help = "Example:\n  \
        holdfast-edge workflow decide 01a228a3236ceb3c9de84a1ac6b3a557 retry")]
    Decide {
        /// The run's id.
        run: String,
        /// retry: try again under the same key. skip: go on behind it. set: give variables other
        /// values. compensate: undo what the run did.
        how: String,
        /// With set, or skip: variables and values, as a JSON object.
        values: Option<String>,
        /// Which part of the run, if more than one is parked.
        #[arg(long)]
        fiber: Option<u8>,
    },
}

impl RunAction {
    /// Does it.
    ///
    /// # Errors
    /// What the node answers, or what is wrong with what was given.
    pub async fn run<S: Service>(self, node: &Local<S>) -> Result<(), Failure> {
        let program = S::PROGRAM;
        match self {
            Self::Add { file } => add(node, &file).await,
            Self::List { json } => list(node, json).await,
            Self::Enable { workflow, version } => enable(node, &workflow, &version, true).await,
            Self::Disable { workflow, version } => enable(node, &workflow, &version, false).await,
            Self::Remove { workflow, version } => {
                node.call("DELETE", &path(&workflow, &version), None).await?;
                println!("Removed `{workflow}` version {version}.");
                Ok(())
            }
            Self::Start { workflow, input, version } => {
                let body = json!({ "input": object(input.as_deref())?, "version": version });
                let path = format!("/v1/workflows/{}/runs", encoded(&workflow));
                let begun = node.call("POST", &path, Some(&body)).await?;
                let run = begun["run"].as_str().unwrap_or_default();
                let is = |key: &str| begun[key].as_bool() == Some(true);
                let word = match (is("forwarded"), is("waits")) {
                    (true, _) => "Handed to the hub:",
                    (_, true) => "Waits for room:",
                    _ => "Begun:",
                };
                println!("{word} {run}");
                let program = if is("forwarded") { "holdfast-hub" } else { program };
                println!("What it does: {program} workflow show {run}");
                Ok(())
            }
            Self::Runs { workflow, state, limit, json } => {
                runs(node, (workflow, state), limit, json).await
            }
            Self::Show { run, json } => show(node, &run, json).await,
            Self::Cancel { run } => {
                node.call("POST", &format!("/v1/runs/{}/cancel", encoded(&run)), None).await?;
                println!("Cancelled. Whether all was undone: {program} workflow show {run}");
                Ok(())
            }
            Self::Signal { run, name, values } => {
                let path = format!("/v1/runs/{}/signals/{}", encoded(&run), encoded(&name));
                let values = Value::Object(object(values.as_deref())?);
                node.call("POST", &path, Some(&values)).await?;
                println!("Sent `{name}`.");
                Ok(())
            }
            Self::Migrate { workflow, from, to, dry_run } => {
                migrate(node, &workflow, (from, to), dry_run).await
            }
            Self::Notices { all, json } => notices(node, all, json).await,
            Self::Acknowledge { notice } => {
                let path = format!("/v1/notices/{}/acknowledge", encoded(&notice));
                let noted = node.call("POST", &path, None).await?;
                let text = |key: &str| noted[key].as_str().unwrap_or_default().to_owned();
                println!("Acknowledged by {}: {}", text("acknowledged_by"), text("text"));
                Ok(())
            }
            Self::Decide { run, how, values, fiber } => {
                let values = object(values.as_deref())?;
                let body = json!({ "how": how, "values": values, "fiber": fiber });
                let path = format!("/v1/runs/{}/decisions", encoded(&run));
                node.call("POST", &path, Some(&body)).await?;
                println!("Decided: {how}. What comes of it: {program} workflow show {run}");
                Ok(())
            }
        }
    }
}

async fn migrate<S: Service>(
    node: &Local<S>,
    workflow: &str,
    (from, to): (String, String),
    dry_run: bool,
) -> Result<(), Failure> {
    let body = json!({ "from": from, "to": to, "dry_run": dry_run });
    let path = format!("/v1/workflows/{}/migrations", encoded(workflow));
    let done = node.call("POST", &path, Some(&body)).await?;
    let (changed, stay) = (&done["changed"], &done["stay"]);
    let would = if dry_run { "would go on" } else { "go on" };
    println!("{changed} runs of `{workflow}` version {from} {would} as ones of {to}; {stay} stay.");
    for one in done["staying"].as_array().into_iter().flatten() {
        let text = |key: &str| one[key].as_str().unwrap_or_default();
        println!("{} stays: {}", text("run"), text("why"));
    }
    if dry_run && done["changed"] != 0 {
        println!("Do it: {} workflow migrate {workflow} {from} {to}", S::PROGRAM);
    }
    Ok(())
}

fn path(workflow: &str, version: &str) -> String {
    format!("/v1/workflows/{}/{}", encoded(workflow), encoded(version))
}

/// What was given as an object of JSON.
fn object(text: Option<&str>) -> Result<Map<String, Value>, Failure> {
    let Some(text) = text else { return Ok(Map::new()) };
    serde_json::from_str(text)
        .map_err(|error| format!("`{text}` is no JSON object ({error}): '{{\"a\": 1}}'").into())
}

async fn add<S: Service>(node: &Local<S>, file: &std::path::Path) -> Result<(), Failure> {
    let text =
        std::fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
    let added = node.call("POST", "/v1/workflows", Some(&json!({ "definition": text }))).await?;
    let told = |key: &str| added[key].as_str().unwrap_or_default().to_owned();
    for warning in added["warnings"].as_array().into_iter().flatten() {
        eprintln!("{}:{}", file.display(), warning.as_str().unwrap_or_default());
    }
    let (id, program) = (told("id"), S::PROGRAM);
    println!("Installed `{id}` version {}.", told("version"));
    println!("Begin a run: {program} workflow start {id}");
    Ok(())
}

async fn enable<S: Service>(
    node: &Local<S>,
    workflow: &str,
    version: &str,
    enabled: bool,
) -> Result<(), Failure> {
    let body = json!({ "enabled": enabled });
    node.call("PATCH", &path(workflow, version), Some(&body)).await?;
    let word = if enabled { "may begin" } else { "do not begin any more" };
    println!("New runs of `{workflow}` version {version} {word}.");
    Ok(())
}

async fn list<S: Service>(node: &Local<S>, json: bool) -> Result<(), Failure> {
    let listed = node.call("GET", "/v1/workflows", None).await?;
    if json {
        println!("{listed}");
        return Ok(());
    }
    let all = listed["workflows"].as_array().map(Vec::as_slice).unwrap_or_default();
    if all.is_empty() {
        println!("No workflow is installed.");
        println!("Install one: {} workflow add FILE", S::PROGRAM);
        return Ok(());
    }
    let (of, begins, most) = ("RUNS ON", "NEW RUNS", "AT ONCE");
    println!("{:<24} {:<10} {of:<8} {begins:<9} {most:<8} TITLE", "WORKFLOW", "VERSION");
    for one in all {
        let text = |key: &str| one[key].as_str().unwrap_or("-");
        let begins = if one["enabled"].as_bool() == Some(true) { "yes" } else { "no" };
        let (id, version, title) = (text("id"), text("version"), text("title"));
        let (of, most) = (text("placement"), one["at_once"].to_string());
        println!("{id:<24} {version:<10} {of:<8} {begins:<9} {most:<8} {title}");
        let triggers = one["begins"].as_array().map(Vec::as_slice).unwrap_or_default();
        for trigger in triggers.iter().filter_map(|trigger| trigger.as_str()) {
            println!("    begins at {trigger}");
        }
    }
    Ok(())
}

async fn runs<S: Service>(
    node: &Local<S>,
    (workflow, state): (Option<String>, Option<String>),
    limit: u16,
    json: bool,
) -> Result<(), Failure> {
    let mut query = String::new();
    for (name, value) in [("workflow", workflow), ("state", state)] {
        if let Some(value) = value {
            query.push_str(&format!("&{name}={}", encoded(&value)));
        }
    }
    let listed = node.call("GET", &format!("/v1/runs?limit={limit}{query}"), None).await?;
    if json {
        println!("{listed}");
        return Ok(());
    }
    let all = listed["runs"].as_array().map(Vec::as_slice).unwrap_or_default();
    if all.is_empty() {
        println!("No run. Begin one: {} workflow start WORKFLOW", S::PROGRAM);
        return Ok(());
    }
    // A hub tells of the runs of all nodes, a gateway of its own and of those on its devices.
    let has = |key: &str| all.iter().any(|one| one[key].is_string());
    let (has_nodes, has_devices) = (has("node"), has("device"));
    let column = |is_there: bool, text: &str| match is_there {
        true => format!("{text:<20} "),
        false => String::new(),
    };
    let of = |node: &str, device: &str| column(has_nodes, node) + &column(has_devices, device);
    let (run, workflow, state, began) = ("RUN", "WORKFLOW", "STATE", "BEGAN");
    let on = of("NODE", "DEVICE");
    println!("{run:<34} {on}{workflow:<24} {state:<10} {began:<20} WHAT IT WAITS FOR");
    for one in all {
        let text = |key: &str| one[key].as_str().unwrap_or("-");
        let began = text("began").get(..19).unwrap_or_default();
        let wait = one["waits"][0]["text"].as_str().or(one["error"].as_str()).unwrap_or_default();
        let (run, workflow, state) = (text("id"), text("workflow"), text("state"));
        let on = of(text("node"), text("device"));
        println!("{run:<34} {on}{workflow:<24} {state:<10} {began:<20} {wait}");
    }
    if listed["more"].as_bool() == Some(true) {
        println!("... and more");
    }
    Ok(())
}

async fn notices<S: Service>(node: &Local<S>, all: bool, json: bool) -> Result<(), Failure> {
    let state = if all { "all" } else { "open" };
    let listed = node.call("GET", &format!("/v1/notices?state={state}"), None).await?;
    if json {
        println!("{listed}");
        return Ok(());
    }
    let found = listed["notices"].as_array().map(Vec::as_slice).unwrap_or_default();
    if found.is_empty() {
        println!("No notice{}.", if all { " so far" } else { " is open" });
        return Ok(());
    }
    println!("{:<25} {:<13} {:<16} {:<21} {:<6} TEXT", "ID", "STATE", "TARGET", "SINCE", "TIMES");
    for one in found {
        let text = |key: &str| one[key].as_str().unwrap_or("-");
        let since = text("since").get(..19).unwrap_or_default();
        println!(
            "{:<25} {:<13} {:<16} {since:<21} {:<6} {}",
            text("id"),
            text("state"),
            text("target"),
            one["count"],
            text("text")
        );
        for channel in one["channels"].as_array().into_iter().flatten() {
            let told = |key: &str| channel[key].as_str().unwrap_or_default();
            let error = channel["last_error"].as_str().map(|error| format!(", last: {error}"));
            let (name, error) = (told("name"), error.unwrap_or_default());
            println!("    {name}: sent {}, due {}{error}", channel["sent"], told("due"));
        }
    }
    println!("Say that you know: {} workflow acknowledge ID", S::PROGRAM);
    Ok(())
}

async fn show<S: Service>(node: &Local<S>, run: &str, json: bool) -> Result<(), Failure> {
    let shown = node.call("GET", &format!("/v1/runs/{}", encoded(run)), None).await?;
    if json {
        println!("{shown}");
        return Ok(());
    }
    let text = |key: &str| shown[key].as_str().unwrap_or("-");
    let error = shown["error"].as_str().map(|error| format!(" ({error})")).unwrap_or_default();
    println!("{} version {}: {}{error}", text("workflow"), text("version"), text("state"));
    println!("begun {} by {}", text("began"), text("by"));
    for of in [&shown["node"], &shown["device"]].into_iter().filter_map(|of| of.as_str()) {
        println!("on {of}");
    }
    for (name, value) in shown["output"].as_object().into_iter().flatten() {
        println!("left {name} = {value}");
    }
    for (name, value) in shown["variables"].as_object().into_iter().flatten() {
        println!("  {name} = {value}");
    }
    for wait in shown["waits"].as_array().into_iter().flatten() {
        let line = wait["line"].as_u64().map(|line| format!("line {line}: ")).unwrap_or_default();
        let until = wait["until"].as_str().map(|until| format!(", until {until}"));
        let text = wait["text"].as_str().unwrap_or_default();
        println!("{line}{text}{}", until.unwrap_or_default());
        if wait["for"] == "decision" {
            println!("Decide: {} workflow decide {run} retry|skip|compensate", S::PROGRAM);
        }
    }
    println!();
    for line in shown["history"].as_array().into_iter().flatten() {
        let told = |key: &str| line[key].as_str().unwrap_or_default();
        // Of a whole second there is no fraction.
        let at = told("at");
        let at = at.get(..23).unwrap_or(at.trim_end_matches('Z'));
        let of = line["line"].as_u64().map_or(String::new(), |line| format!("line {line}"));
        let by = line["node"].as_str().map(|node| format!("{node:<20} ")).unwrap_or_default();
        println!("{at:<24} {by}{of:<9} {:<10} {}", told("what"), told("text"));
    }
    Ok(())
}
