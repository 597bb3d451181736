//! `conflict`: what was written at once in two places, and choosing what stays of it.

use super::{Failure, Local, Service};
use clap::Subcommand;
use serde_json::{Value, json};

/// What is done with conflicts.
#[derive(Subcommand)]
pub enum ConflictAction {
    /// Lists conflicts that wait for somebody to choose, or with --settled those that have ended.
    #[command(
        after_help = "Examples (holdfast-hub has the same):\n  holdfast-edge conflict list\n  \
        holdfast-edge conflict list --settled --prefix device/ps-017/\n\n\
        `holdfast-edge conflict resolve ID --use 1` chooses."
    )]
    List {
        /// Those that have ended by their rule, the newest first.
        #[arg(long)]
        settled: bool,
        /// Only of documents whose names begin so: device/ID/desired, site/NAME, node/ID.
        #[arg(long, default_value = "")]
        prefix: String,
        /// How many, at most 1000.
        #[arg(long, default_value_t = 50)]
        limit: usize,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Chooses what stays of a conflict that waits; everywhere, once there is a link.
    #[command(after_help = "Examples (holdfast-hub has the same):\n  \
        holdfast-edge conflict resolve 6f0c... --use 1\n  \
        holdfast-edge conflict resolve 6f0c... --value 42")]
    Resolve {
        /// Its id, from `conflict list`.
        id: String,
        /// Which of the values there are: 0 for the one that is shown, then the others.
        #[arg(long = "use", conflicts_with = "value", required_unless_present = "value")]
        at: Option<usize>,
        /// Another value: JSON, or else a text; null for none.
        #[arg(long)]
        value: Option<String>,
    },
}

impl ConflictAction {
    /// Does it.
    ///
    /// # Errors
    /// What the node answers.
    pub async fn run<S: Service>(self, node: &Local<S>) -> Result<(), Failure> {
        match self {
            Self::List { settled, prefix, limit, json } => {
                let state = if settled { "settled" } else { "open" };
                let fits = |c: char| c.is_ascii_alphanumeric() || "._:/-".contains(c);
                if !prefix.chars().all(fits) {
                    return Err(format!("no document's name begins with `{prefix}`").into());
                }
                let path = format!("/v1/conflicts?state={state}&prefix={prefix}&limit={limit}");
                let listed = node.call("GET", &path, None).await?;
                if json {
                    println!("{listed}");
                } else {
                    print::<S>(&listed, settled);
                }
            }
            Self::Resolve { id, at, value } => {
                let choice = match (at, value) {
                    (Some(at), _) => json!({ "use": at }),
                    (None, value) => {
                        let text = value.unwrap_or_default();
                        let value = serde_json::from_str(&text).unwrap_or(Value::String(text));
                        json!({ "value": value })
                    }
                };
                let path = format!("/v1/conflicts/{id}/resolve");
                let settled = node.call("POST", &path, Some(&choice)).await?;
                let text = |key: &str| settled[key].as_str().unwrap_or("-").to_owned();
                let shown = &settled["shown"]["value"];
                println!("{} {} is {shown} now.", text("document"), text("path"));
            }
        }
        Ok(())
    }
}

fn print<S: Service>(listed: &Value, settled: bool) {
    let conflicts = listed["conflicts"].as_array().map(Vec::as_slice).unwrap_or_default();
    let program = S::PROGRAM;
    if conflicts.is_empty() && settled {
        println!("No conflict has been settled here.");
        return;
    }
    if conflicts.is_empty() {
        println!("No conflict waits for anybody.");
        println!("Those that were settled by their rules: {program} conflict list --settled");
        return;
    }
    for conflict in conflicts {
        let text = |key: &str| conflict[key].as_str().unwrap_or("-");
        println!("{} {}  ({}: {})", text("document"), text("path"), text("rule"), text("why"));
        let at = text("at").get(..19).map(|at| format!(", {at}Z")).unwrap_or_default();
        let outcome = conflict["outcome"].as_str().map(|outcome| format!(", {outcome}"));
        println!("  id {}{}{at}", text("id"), outcome.unwrap_or_default());
        let others = conflict["others"].as_array().map(Vec::as_slice).unwrap_or_default();
        let shown = std::iter::once(&conflict["shown"]).filter(|shown| !shown.is_null());
        for (number, written) in shown.chain(others).enumerate() {
            let is_shown = number == 0 && !conflict["shown"].is_null();
            let word = match (settled, is_shown) {
                (true, true) => "stays".to_owned(),
                (true, false) => "lost".to_owned(),
                (false, true) => format!("{number} (shown)"),
                (false, false) => number.to_string(),
            };
            println!("  {word:<10} {}", told(written));
        }
    }
    if !settled {
        println!("Choose: {program} conflict resolve ID --use NUMBER");
    }
}

/// A value with who wrote it and when.
fn told(written: &Value) -> String {
    let value = match &written["value"] {
        Value::Null => "(deleted)".to_owned(),
        value => value.to_string(),
    };
    let text = |key: &str| written[key].as_str().unwrap_or("-");
    let at = text("at").get(..19).unwrap_or_default();
    format!("{value}, by {} ({}) at {at}Z", text("author"), text("role"))
}
