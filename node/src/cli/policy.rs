//! `policy`: how writes at once are resolved at a site.

use super::{Failure, Local, Service};
use clap::Subcommand;
use clap::builder::PossibleValuesParser;
use holdfast_core::state::Rule;
use holdfast_sync::identity::valid_name;
use serde_json::{Value, json};

fn rules() -> PossibleValuesParser {
    PossibleValuesParser::new(Rule::ALL.map(Rule::name))
}

/// What is done with policies.
#[derive(Subcommand)]
pub enum PolicyAction {
    /// Lists the lines of a site's policy, in the order in which they are tried.
    #[command(after_help = "Example (holdfast-hub has the same):\n  \
        holdfast-edge policy list north\n")]
    List {
        /// The site.
        site: String,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Adds a line to a site's policy, or replaces the one of that name.
    #[command(after_help = "Lines are tried in the order of their names; the first that matches \
        counts, and where none does the last write wins. In patterns * stands for one name and ** \
        at the end for all that follows.\n\nExamples (holdfast-hub has the same):\n  \
        holdfast-edge policy set north 10-limits 'device/*/desired' 'limits/**' min\n  \
        holdfast-edge policy set north 20-mode 'device/*/desired' mode keep-all\n\n\
        `holdfast-edge conflict list` tells what waits for somebody to choose.")]
    Set {
        /// The site.
        site: String,
        /// The line's name.
        name: String,
        /// Which documents.
        documents: String,
        /// Which paths in them.
        paths: String,
        /// How they are resolved.
        #[arg(value_parser = rules())]
        rule: String,
    },
    /// Takes a line out of a site's policy.
    #[command(after_help = "Example (holdfast-hub has the same):\n  \
        holdfast-edge policy remove north 10-limits\n")]
    Remove {
        /// The site.
        site: String,
        /// The line's name.
        name: String,
    },
}

impl PolicyAction {
    /// Does it.
    ///
    /// # Errors
    /// What the node answers.
    pub async fn run<S: Service>(self, node: &Local<S>) -> Result<(), Failure> {
        let path = |site: &str| match valid_name(site) {
            true => Ok(format!("/v1/sites/{site}/policies")),
            false => Err(format!("`{site}` is no name of a site")),
        };
        let listed = match self {
            Self::List { site, json: true } => {
                println!("{}", node.call("GET", &path(&site)?, None).await?);
                return Ok(());
            }
            Self::List { site, json: false } => node.call("GET", &path(&site)?, None).await?,
            Self::Set { site, name, documents, paths, rule } => {
                let line = json!({
                    "name": name, "documents": documents, "paths": paths, "rule": rule,
                });
                node.call("POST", &path(&site)?, Some(&line)).await?
            }
            Self::Remove { site, name } => {
                if !valid_name(&name) {
                    return Err(format!("`{name}` is no name of a line").into());
                }
                node.call("DELETE", &format!("{}/{name}", path(&site)?), None).await?
            }
        };
        print(&listed);
        Ok(())
    }
}

fn print(listed: &Value) {
    let lines = listed["policies"].as_array().map(Vec::as_slice).unwrap_or_default();
    let site = listed["site"].as_str().unwrap_or_default();
    if lines.is_empty() {
        println!("{site} has no policy: the last write wins everywhere.");
        return;
    }
    println!("{:<20} {:<28} {:<28} RULE", "LINE", "DOCUMENTS", "PATHS");
    for line in lines {
        let text = |key: &str| line[key].as_str().unwrap_or("-");
        let (name, documents) = (text("name"), text("documents"));
        println!("{name:<20} {documents:<28} {:<28} {}", text("paths"), text("rule"));
    }
    println!("Where none matches, the last write wins.");
}
