//! `alert`: what is wrong, and that somebody has taken note of it.

use super::{Failure, Local, Service};
use clap::Subcommand;
use serde_json::{Value, json};

/// What is done with alerts.
#[derive(Subcommand)]
pub enum AlertAction {
    /// Lists alerts, those that are active first.
    List {
        /// Those that are over as well.
        #[arg(long)]
        all: bool,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Takes note of an alert; it stays active until its cause is gone.
    Ack {
        /// Its id, from `alert list`.
        id: String,
        /// What you know or do about it.
        #[arg(long, default_value = "")]
        note: String,
    },
}

impl AlertAction {
    /// Does it.
    ///
    /// # Errors
    /// What the node answers.
    pub async fn run<S: Service>(self, node: &Local<S>) -> Result<(), Failure> {
        match self {
            Self::List { all, json } => {
                let state = if all { "all" } else { "active" };
                let listed = node.call("GET", &format!("/v1/alerts?state={state}"), None).await?;
                if json {
                    println!("{listed}");
                } else {
                    print_alerts::<S>(&listed, all);
                }
            }
            Self::Ack { id, note } => {
                let path = format!("/v1/alerts/{id}/ack");
                let alert = node.call("POST", &path, Some(&json!({ "note": note }))).await?;
                let text = alert["text"].as_str().unwrap_or_default();
                println!("Acknowledged: {text}");
            }
        }
        Ok(())
    }
}

fn print_alerts<S: Service>(listed: &Value, all: bool) {
    let alerts = listed["alerts"].as_array().map(Vec::as_slice).unwrap_or_default();
    if alerts.is_empty() {
        let program = S::PROGRAM;
        println!("No alert{}.", if all { " so far" } else { " is active" });
        if !all {
            println!("Those that are over: {program} alert list --all");
        }
        return;
    }
    println!("{:<14} {:<9} {:<24} {:<16} {:<12} TEXT", "ID", "SEVERITY", "SINCE", "NODE", "STATE");
    for alert in alerts {
        let text = |key: &str| alert[key].as_str().unwrap_or("-");
        let noted = alert["acknowledged"].as_array().is_some_and(|acks| !acks.is_empty());
        let state = match (text("state"), noted) {
            ("active", true) => "acknowledged",
            (state, _) => state,
        };
        // To the second; the rest is in the JSON.
        let since = text("since").get(..19).map(|since| format!("{since}Z")).unwrap_or_default();
        println!(
            "{:<14} {:<9} {since:<24} {:<16} {state:<12} {}",
            text("id"),
            text("severity"),
            text("node"),
            text("text")
        );
    }
    let total = listed["total"].as_u64().unwrap_or_default();
    if total > alerts.len() as u64 {
        println!("... and {} more", total - alerts.len() as u64);
    }
    println!("Take note of one: {} alert ack ID --note 'what you do about it'", S::PROGRAM);
}
