//! The command line: `init`, `serve`, `token`, `node`, `status`, `verify`, `export`.

use crate::service::{self, KEY_FILE, ROOT_FILE};
use crate::settings::{Settings, TEMPLATE};
use clap::{Args, Parser, Subcommand};
use holdfast_node::auth::Scope;
use holdfast_node::cli::{self, ExportArgs, Failure, VerifyArgs};
use holdfast_node::config::Layers;
use holdfast_node::{api, client, logs};
use holdfast_sync::env::System;
use holdfast_sync::identity::NodeKey;
use holdfast_sync::store::Store;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

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
    #[command(subcommand)]
    command: Command,
}

#[derive(Args)]
struct Place {
    /// The configuration file.
    #[arg(long, global = true, default_value = "holdfast-hub.toml")]
    config: PathBuf,
    /// The data directory, instead of the configured one.
    #[arg(long, global = true)]
    data: Option<PathBuf>,
}

#[derive(Subcommand)]
enum Command {
    /// Makes a new hub and with it a new fleet: configuration, data directory, keys, admin token.
    #[command(after_help = "Example:\n  holdfast-hub init --advertise hub.example.com:4585\n")]
    Init {
        #[command(flatten)]
        place: Place,
        /// Where browsers reach it, such as 0.0.0.0:8585; this machine only otherwise.
        #[arg(long)]
        listen: Option<String>,
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
        #[command(flatten)]
        place: Place,
        /// Only checks the configuration.
        #[arg(long)]
        check_config: bool,
    },
    /// Invites gateways, and makes access tokens for people and programs.
    #[command(after_help = "Examples:\n  holdfast-hub token new --site north --name ps-017\n  \
        holdfast-hub token new --viewer --name 'control room'\n  holdfast-hub token list\n")]
    Token {
        #[command(flatten)]
        place: Place,
        #[command(subcommand)]
        action: TokenAction,
    },
    /// Lists, shows and removes gateways.
    #[command(after_help = "Examples:\n  holdfast-hub node list\n  \
        holdfast-hub node remove north/ps-017\n")]
    Node {
        #[command(flatten)]
        place: Place,
        #[command(subcommand)]
        action: NodeAction,
    },
    /// Shows how the running hub is.
    #[command(after_help = "Example:\n  holdfast-hub status\n")]
    Status {
        #[command(flatten)]
        place: Place,
    },
    /// Reads every file of the data directory and names each damage.
    #[command(after_help = "Example:\n  holdfast-hub verify\n")]
    Verify {
        #[command(flatten)]
        place: Place,
        #[command(flatten)]
        args: VerifyArgs,
    },
    /// Writes readings of the fleet as lines of JSON or CSV.
    #[command(after_help = "Example:\n  holdfast-hub export --format csv > readings.csv\n")]
    Export {
        #[command(flatten)]
        place: Place,
        #[command(flatten)]
        args: ExportArgs,
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
    /// Lists tokens, without their texts.
    List,
    /// Makes a new admin token for commands on this machine; the node must not run.
    Renew,
    /// Takes a token back.
    Remove {
        /// Its id, from `token list`.
        id: String,
    },
}

#[derive(Subcommand)]
enum NodeAction {
    /// Lists the gateways, those in trouble first.
    List {
        /// As JSON.
        #[arg(long)]
        json: bool,
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
    cli::run(async { command(Cli::parse().command).await })
}

async fn command(command: Command) -> Result<ExitCode, Failure> {
    match command {
        Command::Init { place, listen, advertise } => init(&place, listen, advertise).await,
        Command::Serve { place, check_config } => serve(&place, check_config).await,
        Command::Token { place, action } => token(&place, action).await,
        Command::Node { place, action } => node(&place, action).await,
        Command::Status { place } => {
            let hub = Hub::of(&place)?;
            println!("{:#}", hub.call("GET", "/v1/status", None).await?);
            Ok(ExitCode::SUCCESS)
        }
        Command::Verify { place, args } => cli::verify(&load(&place)?.1, &args),
        Command::Export { place, args } => cli::export(&load(&place)?.1, &args, &|_| None),
    }
}

fn layers(place: &Place) -> Result<Layers, Failure> {
    let layers = Layers::default();
    let layers = if place.config.exists() { layers.file(&place.config)? } else { layers };
    let data = place.data.as_ref().map(|path| path.display());
    Ok(layers.environment(std::env::vars()).flag("node.data", data))
}

/// The settings in force and the data directory they name.
fn load(place: &Place) -> Result<(Settings, PathBuf), Failure> {
    let loaded = layers(place)?.load::<Settings>()?;
    let dir = cli::data_dir(&place.config, &loaded.config.node.data);
    Ok((loaded.config, dir))
}

/// The running hub, as its own commands reach it.
struct Hub {
    settings: Settings,
    token: String,
}

impl Hub {
    fn of(place: &Place) -> Result<Self, Failure> {
        let (settings, dir) = load(place)?;
        Ok(Self { settings, token: cli::admin_token(&dir)? })
    }

    async fn call(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Value, Failure> {
        let address = self.settings.http.listen.0;
        Ok(client::call(address, &self.token, method, path, body).await?)
    }
}

async fn init(
    place: &Place,
    listen: Option<String>,
    advertise: Option<String>,
) -> Result<ExitCode, Failure> {
    let data = place.data.as_ref().map(|path| path.display().to_string());
    let edits = [("data", data), ("listen", listen), ("advertise", advertise)];
    cli::write_config(&place.config, TEMPLATE, &edits)?;
    let (settings, dir) = load(place)?;
    cli::new_data_dir(&dir)?;
    let env = System::env();
    let key = NodeKey::generate(&env);
    key.write(&dir.join(KEY_FILE))?;
    NodeKey::generate(&env).write(&dir.join(ROOT_FILE))?;
    let options = service::store_options(&settings, dir.clone(), key.clone());
    let (store, _) = Store::open(options, Arc::clone(&env))?;
    let token = api::create_token(&store, Scope::Admin, "made by init").await?;
    store.close().await;
    cli::write_admin_token(&dir, &token)?;
    println!("Hub {} is ready.", key.id());
    println!("  configuration  {}", place.config.display());
    println!("  data           {}", dir.display());
    println!("  admin token    {}", cli::admin_token_path(&dir).display());
    println!("  fleet key      {} (keep a copy: it makes members)", dir.join(ROOT_FILE).display());
    println!("Browsers will reach it at http://{}/", settings.http.listen.0);
    println!("Gateways will reach it at UDP port {}", settings.sync.listen.0.port());
    println!("Next: holdfast-hub serve --config {}", place.config.display());
    println!("Then: holdfast-hub token new --site SITE --name NAME, for each gateway");
    Ok(ExitCode::SUCCESS)
}

async fn serve(place: &Place, check_config: bool) -> Result<ExitCode, Failure> {
    let loaded = layers(place)?.load::<Settings>()?;
    if check_config {
        println!("The configuration is valid.");
        return Ok(ExitCode::SUCCESS);
    }
    logs::init(&loaded.config.log.filter)?;
    for name in loaded.unused {
        tracing::warn!(name, "this variable sets nothing here");
    }
    let dir = cli::data_dir(&place.config, &loaded.config.node.data);
    Ok(service::run(loaded.config, &dir).await?)
}

async fn token(place: &Place, action: TokenAction) -> Result<ExitCode, Failure> {
    let hub = || Hub::of(place);
    match action {
        TokenAction::New { site: Some(site), name, .. } => {
            let settings = hub()?.settings;
            let advertise = settings.sync.advertise.split(',').map(str::trim);
            let addresses: Vec<_> = advertise.filter(|address| !address.is_empty()).collect();
            let body = json!({ "site": site, "name": name, "addresses": addresses });
            let made = hub()?.call("POST", "/v1/enrolments", Some(&body)).await?;
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
            let made = hub()?.call("POST", "/v1/tokens", Some(&body)).await?;
            cli::print_new_token(&made);
        }
        TokenAction::Renew => {
            let (settings, dir) = load(place)?;
            let key = service::read_key(&dir.join(KEY_FILE))?;
            let options = service::store_options(&settings, dir, key);
            return cli::renew_admin_token(options, System::env()).await;
        }
        TokenAction::List => cli::print_tokens(&hub()?.call("GET", "/v1/tokens", None).await?),
        TokenAction::Remove { id } => {
            hub()?.call("DELETE", &format!("/v1/tokens/{id}"), None).await?;
            println!("Token {id} is no longer valid.");
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn node(place: &Place, action: NodeAction) -> Result<ExitCode, Failure> {
    let hub = Hub::of(place)?;
    match action {
        NodeAction::List { json: true } => {
            println!("{}", hub.call("GET", "/v1/nodes", None).await?);
        }
        NodeAction::List { json: false } => {
            print_nodes(&hub.call("GET", "/v1/nodes", None).await?);
        }
        NodeAction::Remove { node } => {
            hub.call("DELETE", &format!("/v1/nodes/{node}"), None).await?;
            println!("{node} is no longer a member; its history stays.");
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn print_nodes(listed: &Value) {
    println!("{:<30} {:<8} {:<26} {:>10} {:>12}", "NODE", "STATE", "SINCE", "BEHIND", "READINGS");
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
        println!("{called:<30} {state:<8} {since:<26} {behind:>10} {:>12}", node["readings"]);
    }
}
