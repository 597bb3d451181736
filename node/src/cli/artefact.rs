//! `artefact`: what was published, and which sites use it.

use super::{Failure, Local, Service};
use clap::Subcommand;
use holdfast_sync::identity::valid_name;
use serde_json::{Map, Value, json};

/// Digits of an id that a table shows, and the fewest that name one.
const SHORT: usize = 12;

/// What is done with artefacts on either node.
#[derive(Subcommand)]
pub enum ArtefactAction {
    /// Lists artefacts, how much of each is here, and which sites use it.
    #[command(after_help = "Example (holdfast-hub has the same):\n  holdfast-edge artefact list\n")]
    List {
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Has a site use an artefact: its gateways fetch it and keep it.
    #[command(after_help = "What a site used under that name before, its gateways drop.\n\n\
        A workflow is installed on the gateways as soon as it is there; with --only it looks only \
        at\ndevices that have these tags. Firmware is offered to devices of its board; with --only \
        to those\nthat have these tags.\n\n\
        Examples (holdfast-hub has the same):\n  \
        holdfast-hub artefact assign north pump-guard e67a962bacae\n  \
        holdfast-hub artefact assign north pump-guard e67a962bacae --only kind=sewage\n  \
        holdfast-hub artefact assign north mps2-an385-pilot 0f3cc1a72b9e --only pilot=yes\n")]
    Assign {
        /// The site.
        site: String,
        /// What the site calls it.
        name: String,
        /// The artefact's id, or the first digits of it.
        id: String,
        /// A tag that a device must have: for what is found of it to begin a run of a workflow, or
        /// to be offered an image of firmware.
        #[arg(long, value_name = "TAG=VALUE", value_parser = tag)]
        only: Vec<(String, String)>,
    },
    /// Has a site use an artefact no more: its gateways drop it.
    #[command(after_help = "Example (holdfast-hub has the same):\n  \
        holdfast-hub artefact unassign north pump-guard\n")]
    Unassign {
        /// The site.
        site: String,
        /// What the site calls it.
        name: String,
    },
}

impl ArtefactAction {
    /// Does it.
    ///
    /// # Errors
    /// What the node answers.
    pub async fn run<S: Service>(self, node: &Local<S>) -> Result<(), Failure> {
        match self {
            Self::List { json } => {
                let listed = node.call("GET", "/v1/artefacts", None).await?;
                if json { println!("{listed}") } else { print(&listed, S::PROGRAM) }
            }
            Self::Assign { site, name, id, only } => {
                let path = site_path(&site)?;
                let id = find_artefact(node, &id).await?;
                let only: Map<String, Value> =
                    only.into_iter().map(|(name, value)| (name, value.into())).collect();
                let body = json!({"name": name, "id": id, "only": only});
                let used = node.call("POST", &path, Some(&body)).await?;
                print_used(&used);
            }
            Self::Unassign { site, name } => {
                if !valid_name(&name) {
                    return Err(format!("`{name}` is no name of an artefact").into());
                }
                let path = format!("{}/{name}", site_path(&site)?);
                print_used(&node.call("DELETE", &path, None).await?);
            }
        }
        Ok(())
    }
}

fn tag(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("a tag is NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

fn site_path(site: &str) -> Result<String, Failure> {
    match valid_name(site) {
        true => Ok(format!("/v1/sites/{site}/artefacts")),
        false => Err(format!("`{site}` is no name of a site").into()),
    }
}

/// The id of the artefact whose id begins with `digits`.
///
/// # Errors
/// When there is none or more than one, or what the node answers.
pub async fn find_artefact<S: Service>(node: &Local<S>, digits: &str) -> Result<String, Failure> {
    let listed = node.call("GET", "/v1/artefacts", None).await?;
    let ids = listed["artefacts"].as_array().into_iter().flatten();
    let ids = ids.filter_map(|one| one["id"].as_str()).filter(|id| id.starts_with(digits));
    let ids: Vec<_> = ids.collect();
    match ids.as_slice() {
        [id] if digits.len() >= SHORT => Ok((*id).to_owned()),
        [_] => Err(format!("`{digits}` are too few digits of an id: at least {SHORT}").into()),
        [] => {
            let program = S::PROGRAM;
            Err(format!(
                "no artefact `{digits}` is here: `{program} artefact list` tells which are"
            )
            .into())
        }
        _ => Err(format!("{} artefacts begin with `{digits}`: more digits", ids.len()).into()),
    }
}

/// The first digits of an id.
#[must_use]
pub fn short_artefact(id: &str) -> &str {
    id.get(..SHORT).unwrap_or(id)
}

fn print(listed: &Value, program: &str) {
    let all = listed["artefacts"].as_array().map(Vec::as_slice).unwrap_or_default();
    if all.is_empty() {
        println!("No artefacts are here.");
        if program == "holdfast-hub" {
            println!("`holdfast-hub artefact publish --help` tells how to publish one.");
        }
        return;
    }
    println!(
        "{:<12}  {:<10} {:<20} {:<12} {:>10}  {:<6} {:<12} SITES",
        "ID", "KIND", "NAME", "VERSION", "BYTES", "HERE", "PUBLISHER"
    );
    for one in all {
        let text = |key: &str| one[key].as_str().unwrap_or("-");
        let number = |key: &str| one[key].as_u64().unwrap_or_default();
        let here = match (number("held"), number("blocks").max(1)) {
            (held, blocks) if held >= blocks => "whole".to_owned(),
            (held, blocks) => format!("{} %", held * 100 / blocks),
        };
        let sites = one["sites"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let sites: Vec<_> = sites.collect();
        let sites = if sites.is_empty() { "-".to_owned() } else { sites.join(", ") };
        println!(
            "{:<12}  {:<10} {:<20} {:<12} {:>10}  {here:<6} {:<12} {sites}",
            short_artefact(text("id")),
            text("kind"),
            text("name"),
            text("version"),
            number("size"),
            text("publisher")
        );
    }
}

fn print_used(used: &Value) {
    let site = used["site"].as_str().unwrap_or_default();
    let all = used["artefacts"].as_array().map(Vec::as_slice).unwrap_or_default();
    if all.is_empty() {
        println!("{site} uses no artefacts.");
        return;
    }
    println!("{site} uses:");
    for one in all {
        let text = |key: &str| one[key].as_str().unwrap_or("-");
        let only = one["only"].as_object().into_iter().flatten();
        let only: Vec<_> = only
            .map(|(name, value)| format!("{name}={}", value.as_str().unwrap_or_default()))
            .collect();
        let only =
            if only.is_empty() { String::new() } else { format!("  only {}", only.join(" ")) };
        println!("  {:<24} {}{only}", text("name"), text("id"));
    }
    println!("`artefact list` at its gateways tells how much of it is there.");
}
