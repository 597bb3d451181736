//! The command line: `init`, `serve`, `token`, `node`, `status`, `alert`, `twin`, `conflict`,
//! `policy`, `artefact`, `workflow`, `publisher`, `openapi`, `verify`, `export`.

use crate::VERSION;
use crate::publish::{self, HubArtefactAction, PublisherAction};
use crate::report;
use crate::routes;
use crate::service::{self, ROOT_FILE};
use crate::settings::Settings;
use crate::workflows;
use clap::{Parser, Subcommand};
use holdfast_node::cli::{
    self, AlertAction, BackupArgs, ConflictAction, ExportArgs, Failure, Local, Place, PolicyAction,
    Reach, RestoreArgs, TokenBook, TwinAction, VerifyArgs, WorkflowCommand,
};
use holdfast_node::logs::Format;
use holdfast_sync::env::System;
use holdfast_sync::identity::NodeKey;
use serde_json::{Value, json};
use std::process::ExitCode;

/// The hub: where a fleet of gateways is seen, enrolled and queried.
#[derive(Parser)]
#[command(
    name = "holdfast-hub",
    version,
    after_help = "Example, on a new machine:\n  \
    holdfast-hub init\n  holdfast-hub serve &\n  \
    holdfast-hub token new --site north --name ps-017\n"
)]
struct Cli {
    #[command(flatten)]
    place: Place,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Makes a new hub and with it a new fleet: configuration, data directory, keys, admin token.
    #[command(
        after_help = "Example:\n  holdfast-hub init --listen lan --advertise hub.example.com:4585\n"
    )]
    Init {
        #[command(flatten)]
        reach: Reach,
        /// Where gateways reach it, host:port, as invitations say it.
        #[arg(long)]
        advertise: Option<String>,
    },
    /// Runs the hub until SIGINT or SIGTERM.
    #[command(
        after_help = "Prints `listening http ADDRESS`, `listening sync ADDRESS` and `ready` \
        on standard output, its log on standard error.\n\nExample:\n  holdfast-hub serve\n"
    )]
    Serve {
        /// Only checks the configuration.
        #[arg(long)]
        check_config: bool,
        /// How the log looks, instead of as configured.
        #[arg(long, value_name = "FORMAT")]
        log: Option<Format>,
    },
    /// Invites gateways, and makes access tokens for people and programs.
    #[command(after_help = "Examples:\n  holdfast-hub token new --site north --name ps-017\n  \
        holdfast-hub token new --viewer --name 'control room'\n  holdfast-hub token login\n")]
    Token {
        #[command(subcommand)]
        action: TokenAction,
    },
    /// Lists, shows and removes gateways.
    #[command(after_help = "Examples:\n  holdfast-hub node list\n  \
        holdfast-hub node remove north/ps-017\n")]
    Node {
        #[command(subcommand)]
        action: NodeAction,
    },
    /// Shows how the running hub is.
    #[command(after_help = "Examples:\n  holdfast-hub status\n  holdfast-hub status --json\n")]
    Status {
        /// As JSON: the status, the gateways and the active alerts.
        #[arg(long)]
        json: bool,
    },
    /// Lists alerts, and takes note of them.
    #[command(after_help = "Examples:\n  holdfast-hub alert list\n  \
        holdfast-hub alert ack ID --note 'pump is being replaced'\n")]
    Alert {
        #[command(subcommand)]
        action: AlertAction,
    },
    /// Shows and changes the twins of devices.
    #[command(after_help = "Examples:\n  holdfast-hub twin get ps-017\n  \
        holdfast-hub twin set ps-017 mode=auto net/mtu=1400\n  \
        holdfast-hub twin diff ps-017\n")]
    Twin {
        #[command(subcommand)]
        action: TwinAction,
    },
    /// What was written at once in two places, and choosing what stays of it.
    #[command(after_help = "Examples:\n  holdfast-hub conflict list\n  \
        holdfast-hub conflict resolve ID --use 1\n")]
    Conflict {
        #[command(subcommand)]
        action: ConflictAction,
    },
    /// How writes at once are resolved at a site.
    #[command(after_help = "Example:\n  \
        holdfast-hub policy set north 10-limits 'device/*/desired' 'limits/**' min\n")]
    Policy {
        #[command(subcommand)]
        action: PolicyAction,
    },
    /// Artefacts: files that a publisher has signed, and which sites use them.
    #[command(after_help = "Examples:\n  \
        holdfast-hub artefact publish guard.flow --kind flow --version 1.2.0 --key works.key\n  \
        holdfast-hub artefact assign north guard e67a962bacae\n")]
    Artefact {
        #[command(subcommand)]
        action: HubArtefactAction,
    },
    /// Workflows: definitions checked, compiled and explained without a running hub; installed,
    /// run and looked after on a running one.
    #[command(after_help = "Examples:\n  holdfast-hub workflow check restock.yaml\n  \
        holdfast-hub workflow add restock.yaml\n  \
        holdfast-hub workflow runs\n\n\
        What is for gateways is published and assigned: `holdfast-hub artefact publish --help`.")]
    Workflow {
        #[command(subcommand)]
        action: HubWorkflowCommand,
    },
    /// Names who may publish artefacts.
    #[command(after_help = "Example:\n  holdfast-hub publisher new works --kind flow\n")]
    Publisher {
        #[command(subcommand)]
        action: PublisherAction,
    },
    /// Backs the node up, running or not: readings, keys, tokens and configuration.
    #[command(after_help = "Example:\n  holdfast-hub backup /media/usb/hub-2026-11-20\n")]
    Backup {
        #[command(flatten)]
        args: BackupArgs,
    },
    /// Makes the node again from a backup, on this machine or another one.
    #[command(
        after_help = "The node of the backup must not run anywhere any more. A configuration \
        that is there\nalready stays as it is.\n\nExample:\n  \
        holdfast-hub restore /media/usb/hub-2026-11-20\n"
    )]
    Restore {
        #[command(flatten)]
        args: RestoreArgs,
    },
    /// Says that a node that was moved to this machine belongs here from now on.
    #[command(after_help = "Example:\n  holdfast-hub adopt\n")]
    Adopt,
    /// Prints the description of all routes as OpenAPI 3.1, as `GET /openapi.json` serves it.
    #[command(after_help = "Example:\n  holdfast-hub openapi > openapi.json\n")]
    Openapi,
    /// Reads every file of the data directory and names each damage.
    #[command(after_help = "Example:\n  holdfast-hub verify\n")]
    Verify {
        #[command(flatten)]
        args: VerifyArgs,
    },
    /// Writes readings of the fleet as lines of JSON or CSV.
    #[command(after_help = "Example:\n  holdfast-hub export --format csv > readings.csv\n")]
    Export {
        #[command(flatten)]
        args: ExportArgs,
    },
}

#[derive(Subcommand)]
enum HubWorkflowCommand {
    #[command(flatten)]
    Either(WorkflowCommand),
    /// Lists which workflows the gateways of a site have, and how they stand there.
    #[command(after_help = "Example:\n  holdfast-hub workflow site north\n\n\
        `holdfast-hub artefact assign` has a site use one.")]
    Site {
        /// The site.
        site: String,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
}

#[derive(Subcommand)]
enum TokenAction {
    /// Prints an invitation (with --site and --name) or a token, as the last line.
    New {
        /// The gateway's site.
        #[arg(long, requires = "name")]
        site: Option<String>,
        /// The gateway's name within the site, or what people call the token.
        #[arg(long)]
        name: Option<String>,
        /// A token for reading only.
        #[arg(long, conflicts_with_all = ["site", "admin"])]
        viewer: bool,
        /// A token for everything.
        #[arg(long, conflicts_with = "site")]
        admin: bool,
    },
    #[command(flatten)]
    Book(TokenBook),
}

#[derive(Subcommand)]
enum NodeAction {
    /// Lists the gateways, those in trouble first.
    List {
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Gives a gateway a label, which is shown beside its name; without a text it is taken away.
    #[command(
        after_help = "Example:\n  holdfast-hub node label north/ps-017 'Station, Mill Road'\n"
    )]
    Label {
        /// SITE/NAME.
        node: String,
        /// The label.
        label: Option<String>,
    },
    /// Removes a gateway: its connection is closed and it is not let in any more.
    Remove {
        /// SITE/NAME.
        node: String,
    },
}

/// Runs the command line.
#[must_use]
pub fn main() -> ExitCode {
    let Cli { place, command } = cli::parse::<Settings, Cli>();
    cli::run(run(place, command))
}

async fn run(place: Place, command: Command) -> Result<ExitCode, Failure> {
    let hub = || place.load::<Settings>();
    match command {
        Command::Init { reach, advertise } => init(&place, &reach, advertise).await,
        Command::Serve { check_config: true, .. } => hub()?.valid(),
        Command::Serve { check_config: false, log } => {
            Ok(service::run(place.begin::<Settings>(log)?).await?)
        }
        Command::Token { action } => token(&hub()?, action).await,
        Command::Node { action } => node(&hub()?, action).await,
        Command::Status { json } => {
            report::status(&hub()?, json).await?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Alert { action } => {
            action.run(&hub()?).await?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Twin { action } => {
            action.run(&hub()?).await?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Conflict { action } => {
            action.run(&hub()?).await?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Policy { action } => {
            action.run(&hub()?).await?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Artefact { action } => {
            publish::artefact(&hub()?, action).await?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Workflow { action: HubWorkflowCommand::Either(action) } => action.run(hub).await,
        Command::Workflow { action: HubWorkflowCommand::Site { site, json } } => {
            workflows::print_site(&hub()?, &site, json).await?;
            Ok(ExitCode::SUCCESS)
        }

        Command::Publisher { action } => {
            publish::publisher(&hub()?, action)?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Backup { args } => hub()?.back_up(&args, VERSION),
        Command::Restore { args } => place.restore::<Settings>(&args, "serve"),
        Command::Adopt => hub()?.adopt(),
        Command::Openapi => {
            println!("{:#}", routes::routes().document(&routes::ABOUT));
            Ok(ExitCode::SUCCESS)
        }
        Command::Verify { args } => cli::verify(&hub()?.dir, &args),
        Command::Export { args } => cli::export(&hub()?.dir, &args),
    }
}

async fn init(
    place: &Place,
    reach: &Reach,
    advertise: Option<String>,
) -> Result<ExitCode, Failure> {
    let [listen, tls] = reach.keys::<Settings>();
    let keys = [listen, tls, ("sync.advertise", advertise)];
    let (hub, key) = place.create::<Settings>(&keys)?;
    let (id, root) = (key.id(), hub.dir.join(ROOT_FILE));
    NodeKey::generate(&System::env()).write(&root)?;
    hub.make_admin_token(key, "made by init").await?;
    println!("Hub {id} is ready.");
    println!("  configuration  {}", hub.config.display());
    println!("  data           {}", hub.dir.display());
    println!("  admin token    {}", hub.admin_token_path().display());
    println!("  fleet key      {} (keep a copy: it makes members)", root.display());
    hub.print_reach("Browsers and programs", "Programs")?;
    println!("Gateways will reach it at UDP port {}", hub.settings.sync.listen.0.port());
    println!("Next: holdfast-hub serve --config {}", hub.config.display());
    println!("Look: holdfast-hub token login --config {}, and open", hub.config.display());
    println!("      the address that it prints in a browser");
    println!("Then: holdfast-hub token new --site SITE --name NAME, for each gateway");
    Ok(ExitCode::SUCCESS)
}

async fn token(hub: &Local<Settings>, action: TokenAction) -> Result<ExitCode, Failure> {
    match action {
        TokenAction::New { site: Some(site), name, .. } => {
            let advertise = hub.settings.sync.advertise.split(',').map(str::trim);
            let addresses: Vec<_> = advertise.filter(|address| !address.is_empty()).collect();
            let body = json!({ "site": site, "name": name, "addresses": addresses });
            let made = hub.call("POST", "/v1/enrolments", Some(&body)).await?;
            let named = made["addresses"].as_array().into_iter().flatten();
            let named: Vec<_> = named.filter_map(Value::as_str).collect();
            println!("Invitation for {site}/{}, to be used once.", name.unwrap_or_default());
            println!("It names this hub as {} (sync.advertise changes that).", named.join(", "));
            println!("On the gateway: holdfast-edge join STRING, with this string:");
            println!("{}", made["invitation"].as_str().unwrap_or_default());
        }
        TokenAction::New { site: None, name, viewer, admin } => {
            if !viewer && !admin {
                let text = "say what for: --site and --name invite a gateway, --viewer or --admin \
                            make an access token";
                return Err(text.into());
            }
            let scope = if admin { "admin" } else { "viewer" };
            let body = json!({ "scope": scope, "name": name.unwrap_or_default() });
            cli::print_new_token(&hub.call("POST", "/v1/tokens", Some(&body)).await?);
        }
        TokenAction::Book(book) => book.run(hub).await?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn node(hub: &Local<Settings>, action: NodeAction) -> Result<ExitCode, Failure> {
    match action {
        NodeAction::List { json: true } => {
            println!("{}", hub.call("GET", "/v1/nodes", None).await?);
        }
        NodeAction::List { json: false } => {
            print_nodes(&hub.call("GET", "/v1/nodes", None).await?);
        }
        NodeAction::Label { node, label } => {
            let path = format!("/v1/nodes/{node}");
            let made = hub.call("PATCH", &path, Some(&json!({ "label": label }))).await?;
            match made["label"].as_str() {
                Some(label) => println!("{node} is shown as {label}."),
                None => println!("{node} has no label."),
            }
        }
        NodeAction::Remove { node } => {
            hub.call("DELETE", &format!("/v1/nodes/{node}"), None).await?;
            println!("{node} is no longer a member; its history stays.");
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn print_nodes(listed: &Value) {
    println!(
        "{:<30} {:<8} {:<26} {:>10} {:>12}  LABEL",
        "NODE", "STATE", "SINCE", "BEHIND", "READINGS"
    );
    let mut nodes: Vec<_> = listed["nodes"].as_array().into_iter().flatten().collect();
    nodes.sort_by_key(|node| match node["state"].as_str() {
        Some("stale") => 0,
        Some("never") => 1,
        _ => 2,
    });
    for node in nodes {
        let text = |key: &str| node[key].as_str().unwrap_or("-").to_owned();
        let called = format!("{}/{}", text("site"), text("name"));
        let behind = node["behind"].as_u64().map_or("-".to_owned(), |n| n.to_string());
        let (state, since) = (text("state"), text("since"));
        let label = node["label"].as_str().unwrap_or("");
        // A JSON value does not keep to a width.
        let readings = node["readings"].to_string();
        println!("{called:<30} {state:<8} {since:<26} {behind:>10} {readings:>12}  {label}");
    }
}
