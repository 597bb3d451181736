//! The command line: `init`, `join`, `run`, `status`, `verify`, `export`, `token`.

use crate::service::{self, KEY_FILE};
use crate::settings::{Settings, TEMPLATE};
use crate::uplink::leave_invitation;
use clap::{Args, Parser, Subcommand};
use holdfast_node::auth::Scope;
use holdfast_node::cli::{self, ExportArgs, Failure, VerifyArgs};
use holdfast_node::config::Layers;
use holdfast_node::{api, client, logs};
use holdfast_sync::env::System;
use holdfast_sync::identity::{Invitation, NodeKey};
use holdfast_sync::store::{INVITATION, Store};
use serde_json::Value;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

/// How long `join` waits for the running node to be let in before it leaves it to try on.
const JOIN_WAIT: Duration = Duration::from_secs(20);

/// The gateway: takes readings from devices, keeps them, and syncs with a hub whenever it can.
#[derive(Parser)]
#[command(
    name = "holdfast-edge",
    version,
    after_help = "Example, on a new machine:\n  \
    holdfast-edge init\n  holdfast-edge run &\n  holdfast-edge join holdfast-...\n"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Args)]
struct Place {
    /// The configuration file.
    #[arg(long, global = true, default_value = "holdfast-edge.toml")]
    config: PathBuf,
    /// The data directory, instead of the configured one.
    #[arg(long, global = true)]
    data: Option<PathBuf>,
}

#[derive(Subcommand)]
enum Command {
    /// Makes a new node: configuration file, data directory, key and admin token.
    #[command(after_help = "Example:\n  holdfast-edge init --config /etc/holdfast/edge.toml \
        --data /var/lib/holdfast\n")]
    Init {
        #[command(flatten)]
        place: Place,
        /// Where devices and browsers reach it, such as 0.0.0.0:8484; this machine only otherwise.
        #[arg(long)]
        listen: Option<String>,
    },
    /// Joins the fleet that the string of `holdfast-hub token new` invites to.
    #[command(after_help = "It works while the node runs and without a link: the node keeps \
        trying.\n\nExample:\n  holdfast-edge join holdfast-aebagbaf...\n")]
    Join {
        #[command(flatten)]
        place: Place,
        /// The string.
        invitation: String,
    },
    /// Runs the node until SIGINT or SIGTERM.
    #[command(after_help = "Prints `listening http ADDRESS` and `ready` on standard output, its \
        log on standard error.\n\nExample:\n  \
        holdfast-edge run --config /etc/holdfast/edge.toml\n")]
    Run {
        #[command(flatten)]
        place: Place,
        /// Only checks the configuration.
        #[arg(long)]
        check_config: bool,
    },
    /// Shows how the running node is.
    #[command(after_help = "Example:\n  holdfast-edge status --json\n")]
    Status {
        #[command(flatten)]
        place: Place,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Reads every file of the data directory and names each damage.
    #[command(after_help = "Example:\n  holdfast-edge verify\n")]
    Verify {
        #[command(flatten)]
        place: Place,
        #[command(flatten)]
        args: VerifyArgs,
    },
    /// Writes readings as lines of JSON or CSV.
    #[command(
        after_help = "Example:\n  holdfast-edge export --format csv --device ps-017 > out.csv\n"
    )]
    Export {
        #[command(flatten)]
        place: Place,
        #[command(flatten)]
        args: ExportArgs,
    },
    /// Makes, lists and removes access tokens.
    #[command(after_help = "Examples:\n  holdfast-edge token new --device ps-017\n  \
        holdfast-edge token new --ingest --name 'the PLC'\n  holdfast-edge token list\n")]
    Token {
        #[command(flatten)]
        place: Place,
        #[command(subcommand)]
        action: TokenAction,
    },
}

#[derive(Subcommand)]
enum TokenAction {
    /// Makes a token and prints it as the last line; it is shown only once.
    New {
        #[command(flatten)]
        kind: cli::TokenKind,
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

/// Runs the command line.
#[must_use]
pub fn main() -> ExitCode {
    cli::run(async { command(Cli::parse().command).await })
}

async fn command(command: Command) -> Result<ExitCode, Failure> {
    match command {
        Command::Init { place, listen } => init(&place, listen).await,
        Command::Join { place, invitation } => join(&place, &invitation).await,
        Command::Run { place, check_config } => run(&place, check_config).await,
        Command::Status { place, json } => status(&place, json).await,
        Command::Verify { place, args } => {
            let (_, dir) = load(&place)?;
            cli::verify(&dir, &args)
        }
        Command::Export { place, args } => {
            let (_, dir) = load(&place)?;
            cli::export(&dir, &args, &|_| None)
        }
        Command::Token { place, action } => token(&place, action).await,
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

async fn init(place: &Place, listen: Option<String>) -> Result<ExitCode, Failure> {
    let edits =
        [("data", place.data.as_ref().map(|path| path.display().to_string())), ("listen", listen)];
    cli::write_config(&place.config, TEMPLATE, &edits)?;
    let (settings, dir) = load(place)?;
    cli::new_data_dir(&dir)?;
    let env = System::env();
    let key = NodeKey::generate(&env);
    key.write(&dir.join(KEY_FILE))?;
    let options = service::store_options(&settings, dir.to_owned(), key.clone());
    let (store, _) = Store::open(options, Arc::clone(&env))?;
    let token = api::create_token(&store, Scope::Admin, "made by init").await?;
    store.close().await;
    cli::write_admin_token(&dir, &token)?;
    println!("Node {} is ready.", key.id());
    println!("  configuration  {}", place.config.display());
    println!("  data           {}", dir.display());
    println!("  admin token    {}", cli::admin_token_path(&dir).display());
    println!("Devices and browsers will reach it at http://{}/", settings.http.listen.0);
    if settings.http.listen.0.ip().is_loopback() {
        println!("  (from this machine only; --listen 0.0.0.0:8484 opens it to the site)");
    }
    println!("Next: holdfast-edge run --config {}", place.config.display());
    println!("Then: holdfast-edge join STRING, with the string of `holdfast-hub token new`");
    Ok(ExitCode::SUCCESS)
}

async fn run(place: &Place, check_config: bool) -> Result<ExitCode, Failure> {
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

async fn join(place: &Place, text: &str) -> Result<ExitCode, Failure> {
    let invitation = Invitation::from_text(text).map_err(|reject| {
        format!(
            "this is not an invitation ({reject}): copy the whole string that \
                 `holdfast-hub token new` printed, from `holdfast-` to the end"
        )
    })?;
    let (settings, dir) = load(place)?;
    if !dir.join(KEY_FILE).exists() {
        return Err(
            format!("{} holds no node: run `holdfast-edge init` first", dir.display()).into()
        );
    }
    leave_invitation(&dir, &invitation)?;
    println!(
        "Invited to fleet {} at {}.",
        invitation.fleet.short(),
        invitation.addresses.join(", ")
    );
    let token = cli::admin_token(&dir)?;
    let deadline = tokio::time::Instant::now() + JOIN_WAIT;
    let mut told = String::new();
    while tokio::time::Instant::now() < deadline {
        let asked = client::call(settings.http.listen.0, &token, "GET", "/v1/status", None).await;
        let Ok(status) = asked else {
            println!("The node does not run now; it will join when it does:");
            println!("  holdfast-edge run --config {}", place.config.display());
            return Ok(ExitCode::SUCCESS);
        };
        let waits = dir.join(INVITATION).exists();
        if status["node"]["site"].is_string() && !waits {
            let called = [&status["node"]["site"], &status["node"]["name"]];
            let called: Vec<_> = called.iter().filter_map(|part| part.as_str()).collect();
            println!("Joined: this node is {} of the fleet now.", called.join("/"));
            return Ok(ExitCode::SUCCESS);
        }
        let error = status["uplink"]["last_error"].as_str().unwrap_or_default();
        if error != told {
            error.clone_into(&mut told);
            println!("  not yet: {error}");
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    println!("The hub was not reached yet. The node keeps trying; `holdfast-edge status` tells.");
    Ok(ExitCode::SUCCESS)
}

async fn status(place: &Place, as_json: bool) -> Result<ExitCode, Failure> {
    let (settings, dir) = load(place)?;
    let token = cli::admin_token(&dir)?;
    let status = client::call(settings.http.listen.0, &token, "GET", "/v1/status", None).await?;
    if as_json {
        println!("{status}");
        return Ok(ExitCode::SUCCESS);
    }
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let (node, uplink, store) = (&status["node"], &status["uplink"], &status["store"]);
    println!("node      {} ({}/{})", text(&node["id"]), text(&node["site"]), text(&node["name"]));
    println!("uplink    {} since {}", text(&uplink["state"]), text(&uplink["since"]));
    if let Some(error) = uplink["last_error"].as_str() {
        println!("          {error}");
    }
    match uplink["behind"].as_u64() {
        Some(0) => println!("behind    nothing: the hub has everything"),
        Some(n) => println!("behind    {n} entries are not at the hub yet"),
        None => println!("behind    not known while offline"),
    }
    let megabytes = |value: &Value| value.as_u64().unwrap_or(0) >> 20;
    print!(
        "disk      {} of {} MiB",
        megabytes(&store["used_bytes"]),
        megabytes(&store["quota_bytes"])
    );
    match store["days_left"].as_f64() {
        Some(days) => println!(", at the present rate for {days:.0} days"),
        None => println!(", the rate is not known yet"),
    }
    println!("series    {} of {} devices", status["series"], status["devices"]);
    println!("pipeline  {} commits behind", status["pipeline"]["lag"]);
    for finding in status["findings"].as_array().into_iter().flatten() {
        println!("found     {}", text(finding));
    }
    Ok(ExitCode::SUCCESS)
}

async fn token(place: &Place, action: TokenAction) -> Result<ExitCode, Failure> {
    let (settings, dir) = load(place)?;
    let admin = || cli::admin_token(&dir);
    let address = settings.http.listen.0;
    match action {
        TokenAction::New { kind } => {
            let body = kind.request();
            let made = client::call(address, &admin()?, "POST", "/v1/tokens", Some(&body)).await?;
            cli::print_new_token(&made);
        }
        TokenAction::Renew => {
            let key = service::read_key(&dir)?;
            let options = service::store_options(&settings, dir.clone(), key);
            return cli::renew_admin_token(options, System::env()).await;
        }
        TokenAction::List => {
            let listed = client::call(address, &admin()?, "GET", "/v1/tokens", None).await?;
            cli::print_tokens(&listed);
        }
        TokenAction::Remove { id } => {
            let path = format!("/v1/tokens/{id}");
            client::call(address, &admin()?, "DELETE", &path, None).await?;
            println!("Token {id} is no longer valid.");
        }
    }
    Ok(ExitCode::SUCCESS)
}
