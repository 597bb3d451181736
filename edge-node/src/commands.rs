//! The command line: `init`, `join`, `run`, `status`, `alert`, `twin`, `command`, `conflict`,
//! `policy`, `artefact`, `workflow`, `openapi`, `verify`, `export`, `import`, `mqtt`, `token`.

use crate::VERSION;
use crate::device_commands::cli::CommandAction;
use crate::devices::{self, CsvArgs, DeviceAction};
use crate::import::{ImportArgs, import};
use crate::mqtt::commands::MqttAction;
use crate::report;
use crate::routes;
use crate::service;
use crate::settings::Settings;
use crate::simulate::{HELP as SIMULATE_HELP, SimulateArgs};
use crate::uplink::leave_invitation;
use clap::{Parser, Subcommand};
use holdfast_node::cli::{
    self, AlertAction, ArtefactAction, BackupArgs, ConflictAction, ExportArgs, Failure, Local,
    Place, PolicyAction, Reach, RestoreArgs, TokenBook, TokenKind, TwinAction, VerifyArgs,
    WorkflowCommand,
};
use holdfast_node::logs::Format;
use holdfast_sync::identity::Invitation;
use holdfast_sync::store::INVITATION;
use std::process::ExitCode;
use std::time::Duration;

/// How long `join` waits for the running node to be let in before it leaves it to try on.
const JOIN_WAIT: Duration = Duration::from_secs(20);

const IMPORT_HELP: &str = "\
Examples:
  holdfast-edge import readings.csv history.ndjson.gz
  zcat old.lp.gz | holdfast-edge import --format line --precision s -
  holdfast-edge export | holdfast-edge import --config other.toml --format ndjson -

A CSV file has a header with the columns device, time, metric, value, unit, or one
column per metric, such as: device,time,level [m],flow [m3/h]. Lines that are wrong are
named and left out. An import that was interrupted is simply run again: for 24 hours the
node recognises what is stored already.
";

/// The gateway: takes readings from devices, keeps them, and syncs with a hub whenever it can.
#[derive(Parser)]
#[command(
    name = "holdfast-edge",
    version,
    after_help = "Example, on a new machine:\n  \
    holdfast-edge init\n  holdfast-edge run &\n  holdfast-edge join holdfast-...\n"
)]
struct Cli {
    #[command(flatten)]
    place: Place,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Makes a new node: configuration file, data directory, key and admin token.
    #[command(after_help = "Examples:\n  holdfast-edge init --listen lan\n  \
        holdfast-edge init --config /etc/holdfast/edge.toml --data /var/lib/holdfast\n")]
    Init {
        #[command(flatten)]
        reach: Reach,
    },
    /// Joins the fleet that the string of `holdfast-hub token new` invites to.
    #[command(after_help = "It works while the node runs and without a link: the node keeps \
        trying.\n\nExample:\n  holdfast-edge join holdfast-aebagbaf...\n")]
    Join {
        /// The string.
        invitation: String,
    },
    /// Runs the node until SIGINT or SIGTERM.
    #[command(after_help = "Prints `listening http ADDRESS` and `ready` on standard output, its \
        log on standard error.\n\nExample:\n  \
        holdfast-edge run --config /etc/holdfast/edge.toml\n")]
    Run {
        /// Only checks the configuration.
        #[arg(long)]
        check_config: bool,
        /// How the log looks, instead of as configured.
        #[arg(long, value_name = "FORMAT")]
        log: Option<Format>,
    },
    /// Shows how the running node is.
    #[command(after_help = "Examples:\n  holdfast-edge status\n  holdfast-edge status --json\n")]
    Status {
        /// As JSON: the status and the active alerts.
        #[arg(long)]
        json: bool,
    },
    /// Lists alerts, and takes note of them.
    #[command(after_help = "Examples:\n  holdfast-edge alert list\n  \
        holdfast-edge alert ack ID --note 'pump is being replaced'\n")]
    Alert {
        #[command(subcommand)]
        action: AlertAction,
    },
    /// Shows and changes the twins of devices.
    #[command(after_help = "Examples:\n  holdfast-edge twin get ps-017\n  \
        holdfast-edge twin set ps-017 mode=auto net/mtu=1400\n  \
        holdfast-edge twin diff ps-017\n")]
    Twin {
        #[command(subcommand)]
        action: TwinAction,
    },
    /// Has a device do something, and shows what came of it.
    #[command(
        name = "command",
        after_help = "Examples:\n  \
        holdfast-edge command send valve-3 open '{\"percent\":50}' --wait 15\n  \
        holdfast-edge command list valve-3\n"
    )]
    Order {
        #[command(subcommand)]
        action: CommandAction,
    },
    /// What was written at once in two places, and choosing what stays of it.
    #[command(after_help = "Examples:\n  holdfast-edge conflict list\n  \
        holdfast-edge conflict resolve ID --use 1\n")]
    Conflict {
        #[command(subcommand)]
        action: ConflictAction,
    },
    /// How writes at once are resolved at a site.
    #[command(after_help = "Example:\n  \
        holdfast-edge policy set north 10-limits 'device/*/desired' 'limits/**' min\n")]
    Policy {
        #[command(subcommand)]
        action: PolicyAction,
    },
    /// Artefacts: files that a publisher has signed, and which sites use them.
    #[command(after_help = "Example:\n  holdfast-edge artefact list\n")]
    Artefact {
        #[command(subcommand)]
        action: ArtefactAction,
    },
    /// Workflows: definitions checked, compiled, explained and simulated without a running node;
    /// installed, begun and looked at on the one that runs.
    #[command(after_help = "Examples:\n  holdfast-edge workflow check pump-guard.yaml\n  \
        holdfast-edge workflow add pump-guard.yaml\n  \
        holdfast-edge workflow start pump-guard '{\"device\":\"ps-017\"}'\n  \
        holdfast-edge workflow runs\n")]
    Workflow {
        #[command(subcommand)]
        action: EdgeWorkflowCommand,
    },
    /// Backs the node up, running or not: readings, keys, tokens and configuration.
    #[command(after_help = "Example:\n  holdfast-edge backup /media/usb/edge-2026-11-20\n")]
    Backup {
        #[command(flatten)]
        args: BackupArgs,
    },
    /// Makes the node again from a backup, on this machine or another one.
    #[command(
        after_help = "The node of the backup must not run anywhere any more. A configuration \
        that is there\nalready stays as it is.\n\nExample:\n  \
        holdfast-edge restore /media/usb/edge-2026-11-20\n"
    )]
    Restore {
        #[command(flatten)]
        args: RestoreArgs,
    },
    /// Says that a node that was moved to this machine belongs here from now on.
    #[command(after_help = "Example:\n  holdfast-edge adopt\n")]
    Adopt,
    /// Prints the description of all routes as OpenAPI 3.1, as `GET /openapi.json` serves it.
    #[command(after_help = "Example:\n  holdfast-edge openapi > openapi.json\n")]
    Openapi,
    /// Reads every file of the data directory and names each damage.
    #[command(after_help = "Example:\n  holdfast-edge verify\n")]
    Verify {
        #[command(flatten)]
        args: VerifyArgs,
    },
    /// Writes readings as lines of JSON or CSV.
    #[command(
        after_help = "Example:\n  holdfast-edge export --format csv --device ps-017 > out.csv\n"
    )]
    Export {
        #[command(flatten)]
        args: ExportArgs,
    },
    /// Takes readings from files into the running node.
    #[command(after_help = IMPORT_HELP)]
    Import {
        #[command(flatten)]
        args: ImportArgs,
    },
    /// Lists devices, and gives them labels.
    #[command(after_help = "Examples:\n  holdfast-edge device list\n  \
        holdfast-edge device label ps-017 'Pump, north gate'\n")]
    Device {
        #[command(subcommand)]
        action: DeviceAction,
    },
    /// Who is connected over MQTT, what is retained, what becomes of messages.
    #[command(after_help = "Example:\n  \
        holdfast-edge mqtt map test zigbee2mqtt/hall '{\"temperature\":21.5}'\n")]
    Mqtt {
        #[command(subcommand)]
        action: MqttAction,
    },
    /// Makes, lists and removes access tokens.
    #[command(after_help = "Examples:\n  holdfast-edge token new --device ps-017\n  \
        holdfast-edge token new --ingest --name 'the PLC'\n  \
        holdfast-edge token new --csv devices.csv --out tokens.csv\n  \
        holdfast-edge token login\n")]
    Token {
        #[command(subcommand)]
        action: TokenAction,
    },
}

#[derive(Subcommand)]
enum EdgeWorkflowCommand {
    #[command(flatten)]
    Either(WorkflowCommand),
    /// Tells what workflows would have done on recorded readings, and when.
    #[command(after_help = SIMULATE_HELP)]
    Simulate {
        #[command(flatten)]
        args: Box<SimulateArgs>,
    },
}

#[derive(Subcommand)]
enum TokenAction {
    /// Makes a token and prints it as the last line, or one for each device of a list; it is shown
    /// only once.
    #[command(after_help = "Examples:\n  holdfast-edge token new --device ps-017\n  \
        holdfast-edge token new --csv devices.csv --out tokens.csv\n\n\
        A list has a line per device, `device` or `device,name`, with or without that header. When \
        a\nline is wrong nothing is made. A device that has a token keeps it and gets no other.")]
    New {
        #[command(flatten)]
        kind: TokenKind,
        #[command(flatten)]
        list: CsvArgs,
    },
    #[command(flatten)]
    Book(TokenBook),
}

/// Runs the command line.
#[must_use]
pub fn main() -> ExitCode {
    let Cli { place, command } = cli::parse::<Settings, Cli>();
    cli::run(run(place, command))
}

async fn run(place: Place, command: Command) -> Result<ExitCode, Failure> {
    let node = || place.load::<Settings>();
    match command {
        Command::Init { reach } => init(&place, &reach).await,
        Command::Join { invitation } => join(&node()?, &invitation).await,
        Command::Run { check_config: true, .. } => node()?.valid(),
        Command::Run { check_config: false, log } => {
            Ok(service::run(place.begin::<Settings>(log)?).await?)
        }
        Command::Status { json } => {
            report::status(&node()?, json).await?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Alert { action } => {
            action.run(&node()?).await?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Twin { action } => {
            action.run(&node()?).await?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Order { action } => action.run(&node()?).await,
        Command::Conflict { action } => {
            action.run(&node()?).await?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Policy { action } => {
            action.run(&node()?).await?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Artefact { action } => {
            action.run(&node()?).await?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Workflow { action: EdgeWorkflowCommand::Either(action) } => action.run(node).await,
        Command::Workflow { action: EdgeWorkflowCommand::Simulate { args } } => args.run().await,
        Command::Device { action } => {
            action.run(&node()?).await?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Backup { args } => node()?.back_up(&args, VERSION),
        Command::Restore { args } => place.restore::<Settings>(&args, "run"),
        Command::Adopt => node()?.adopt(),
        Command::Openapi => {
            println!("{:#}", routes::routes().document(&routes::ABOUT));
            Ok(ExitCode::SUCCESS)
        }
        Command::Verify { args } => cli::verify(&node()?.dir, &args),
        Command::Export { args } => cli::export(&node()?.dir, &args),
        Command::Import { args } => import(&node()?, &args).await,
        Command::Mqtt { action } => action.run(&node()?).await,
        Command::Token { action } => token(&node()?, action).await,
    }
}

async fn init(place: &Place, reach: &Reach) -> Result<ExitCode, Failure> {
    let (node, key) = place.create::<Settings>(&reach.keys::<Settings>())?;
    let id = key.id();
    node.make_admin_token(key, "made by init").await?;
    println!("Node {id} is ready.");
    println!("  configuration  {}", node.config.display());
    println!("  data           {}", node.dir.display());
    println!("  admin token    {}", node.admin_token_path().display());
    node.print_reach("Devices and browsers", "Devices")?;
    println!("Next: holdfast-edge run --config {}", node.config.display());
    println!("Look: holdfast-edge token login --config {}, and open", node.config.display());
    println!("      the address that it prints in a browser");
    println!("Then: holdfast-edge join STRING, with the string of `holdfast-hub token new`");
    Ok(ExitCode::SUCCESS)
}

async fn join(node: &Local<Settings>, text: &str) -> Result<ExitCode, Failure> {
    let invitation = Invitation::from_text(text).map_err(|reject| {
        format!(
            "this is not an invitation ({reject}): copy the whole string that \
                 `holdfast-hub token new` printed, from `holdfast-` to the end"
        )
    })?;
    node.key()?;
    leave_invitation(&node.dir, &invitation)?;
    println!(
        "Invited to fleet {} at {}.",
        invitation.fleet.short(),
        invitation.addresses.join(", ")
    );
    let deadline = tokio::time::Instant::now() + JOIN_WAIT;
    let mut told = String::new();
    while tokio::time::Instant::now() < deadline {
        let Ok(status) = node.call("GET", "/v1/status", None).await else {
            println!("The node does not run now; it will join when it does:");
            println!("  holdfast-edge run --config {}", node.config.display());
            return Ok(ExitCode::SUCCESS);
        };
        let waits = node.dir.join(INVITATION).exists();
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

async fn token(node: &Local<Settings>, action: TokenAction) -> Result<ExitCode, Failure> {
    match action {
        TokenAction::New { list: CsvArgs { csv: Some(csv), out }, .. } => {
            devices::tokens_of_list(node, &csv, out.as_deref()).await?;
        }
        TokenAction::New { kind, .. } => {
            let made = node.call("POST", "/v1/tokens", Some(&kind.request())).await?;
            cli::print_new_token(&made);
        }
        TokenAction::Book(book) => book.run(node).await?,
    }
    Ok(ExitCode::SUCCESS)
}
