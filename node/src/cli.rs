//! What the command lines of both services share.

use crate::api;
use crate::auth::Scope;
use crate::export::{self, Shape, Wanted};
use clap::Args;
use holdfast_core::NodeId;
use holdfast_sync::Fault;
use holdfast_sync::env::Env;
use holdfast_sync::store::verify::{Severity, VerifyReport, request_repair, verify as verify_dir};
use holdfast_sync::store::{ADMIN_TOKEN, Options, Store, look_into, write_private, write_whole};
use serde_json::{Value, json};
use std::fmt::Display;
use std::io::{self, BufWriter, IsTerminal as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Why a command did not do its work, in a sentence for people.
#[derive(Debug)]
pub struct Failure(String);

impl<E: Display> From<E> for Failure {
    fn from(error: E) -> Self {
        Self(error.to_string())
    }
}

/// Runs a command line to its exit code; a failure is one line on standard error.
pub fn run(work: impl Future<Output = Result<ExitCode, Failure>>) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        // The machines this is for have two to four slow cores.
        .worker_threads(2)
        .max_blocking_threads(8)
        .enable_all()
        .build();
    let result = match runtime {
        Ok(runtime) => runtime.block_on(work),
        Err(error) => Err(error.into()),
    };
    result.unwrap_or_else(|Failure(text)| {
        eprintln!("error: {text}");
        ExitCode::FAILURE
    })
}

/// The data directory named in the configuration file at `config`: a relative one lies beside it.
#[must_use]
pub fn data_dir(config: &Path, data: &str) -> PathBuf {
    config.parent().unwrap_or(Path::new("")).join(data)
}

/// Writes a new configuration file: `template` with some of its keys set.
///
/// # Errors
/// When there is one already, or it cannot be written.
pub fn write_config(
    path: &Path,
    template: &str,
    edits: &[(&str, Option<String>)],
) -> Result<(), Failure> {
    if path.exists() {
        let path = path.display();
        return Err(
            format!("{path} exists already; remove it or name another with --config").into()
        );
    }
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        std::fs::create_dir_all(parent).map_err(|error| Fault::file(parent, error))?;
    }
    let mut text = template.to_owned();
    for (key, value) in edits {
        if let Some(value) = value {
            let shown = format!("#{key} = ");
            let at = text.find(&shown).expect("the template shows every key");
            let end = text[at..].find('\n').map_or(text.len(), |end| at + end);
            text.replace_range(at..end, &format!("{key} = {}", toml::Value::from(value.as_str())));
        }
    }
    Ok(write_whole(path, text.as_bytes())?)
}

/// Makes a new data directory that only its owner can enter.
///
/// # Errors
/// When something is there already, or it cannot be made.
pub fn new_data_dir(dir: &Path) -> Result<(), Failure> {
    use std::os::unix::fs::DirBuilderExt as _;
    if std::fs::read_dir(dir).is_ok_and(|mut entries| entries.next().is_some()) {
        return Err(format!("{} is not empty: it may hold a node already", dir.display()).into());
    }
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir);
    Ok(made.map_err(|error| Fault::file(dir, error))?)
}

/// Where the admin token lies.
#[must_use]
pub fn admin_token_path(dir: &Path) -> PathBuf {
    dir.join(ADMIN_TOKEN)
}

/// Writes the admin token so that only its owner can read it.
///
/// # Errors
/// A fault of the file.
pub fn write_admin_token(dir: &Path, token: &str) -> Result<(), Fault> {
    write_private(&admin_token_path(dir), format!("{token}\n").as_bytes())
}

/// Reads the admin token of a data directory.
///
/// # Errors
/// When it cannot be read.
pub fn admin_token(dir: &Path) -> Result<String, Failure> {
    let path = admin_token_path(dir);
    let text = std::fs::read_to_string(&path).map_err(|error| Fault::file(&path, error))?;
    Ok(text.trim().to_owned())
}

/// Makes a new admin token in the store of a node that does not run: for one whose file was lost or
/// damaged. Whoever can write the data directory could do so anyway.
///
/// # Errors
/// When the node runs, or a fault of the store or the file.
pub async fn renew_admin_token(options: Options, env: Env) -> Result<ExitCode, Failure> {
    let dir = options.dir.clone();
    let (store, _) = Store::open(options, env)?;
    let token = api::create_token(&store, Scope::Admin, "made by token renew").await?;
    store.close().await;
    write_admin_token(&dir, &token)?;
    println!("There is a new admin token in {}.", admin_token_path(&dir).display());
    Ok(ExitCode::SUCCESS)
}

/// What a new token is for.
#[derive(Args)]
pub struct TokenKind {
    /// Readings of this device.
    #[arg(long, value_name = "ID", group = "kind")]
    device: Option<String>,
    /// Readings of any device.
    #[arg(long, group = "kind")]
    ingest: bool,
    /// Reading only, for pages and programs.
    #[arg(long, group = "kind")]
    viewer: bool,
    /// Everything.
    #[arg(long, group = "kind")]
    admin: bool,
    /// What people call it.
    #[arg(long, default_value = "")]
    name: String,
    /// When it ends, such as 2027-01-01T00:00:00Z.
    #[arg(long)]
    expires: Option<String>,
}

impl TokenKind {
    /// The request for such a token; without a kind it is an ingest token.
    #[must_use]
    pub fn request(&self) -> Value {
        let scope = match self {
            Self { device: Some(_), .. } => "device",
            Self { viewer: true, .. } => "viewer",
            Self { admin: true, .. } => "admin",
            _ => "ingest",
        };
        let mut request = json!({ "scope": scope, "name": self.name });
        if let Some(device) = &self.device {
            request["device"] = device.as_str().into();
        }
        if let Some(expires) = &self.expires {
            request["expires"] = expires.as_str().into();
        }
        request
    }
}

/// Shows a new token; its text is the last line.
pub fn print_new_token(made: &Value) {
    let text = |key: &str| made[key].as_str().unwrap_or("-").to_owned();
    println!("Token {} ({}), valid from now on; it is shown only here:", text("id"), text("scope"));
    println!("{}", text("token"));
}

/// Shows a list of tokens.
pub fn print_tokens(listed: &Value) {
    println!("{:<10} {:<8} {:<20} {:<26} NAME", "ID", "SCOPE", "DEVICE", "EXPIRES");
    for token in listed["tokens"].as_array().into_iter().flatten() {
        let text = |key: &str| token[key].as_str().unwrap_or("-").to_owned();
        let (id, scope, device) = (text("id"), text("scope"), text("device"));
        println!("{id:<10} {scope:<8} {device:<20} {:<26} {}", text("expires"), text("name"));
    }
}

/// How `verify` reports.
#[derive(Args)]
pub struct VerifyArgs {
    /// As JSON, one object.
    #[arg(long)]
    pub json: bool,
    /// Lets the next start repair what is damaged in the database.
    #[arg(long)]
    pub repair: bool,
}

/// Verifies a data directory and says what is not as it should be. The exit code is 1 when
/// something is damaged.
///
/// # Errors
/// When it cannot be read at all.
pub fn verify(dir: &Path, args: &VerifyArgs) -> Result<ExitCode, Failure> {
    if !dir.exists() {
        return Err(format!("{} does not exist", dir.display()).into());
    }
    let terminal = io::stderr().is_terminal() && !args.json;
    let mut shown = 0;
    let report = verify_dir(dir, &mut |progress| {
        let percent = progress.bytes.saturating_mul(100) / progress.bytes_total.max(1);
        if terminal && percent != shown {
            shown = percent;
            eprint!("\r{percent:>3} %, {} commits", progress.commits);
        }
    })?;
    if terminal && shown > 0 {
        eprintln!();
    }
    let damaged = report.findings.iter().any(|f| f.severity >= Severity::Suspect);
    let requested = args.repair && request_repair(dir, &report);
    if args.json {
        let mut out = report_json(&report);
        out["repair_requested"] = requested.into();
        println!("{out}");
    } else {
        for finding in &report.findings {
            println!("{finding}");
        }
        let summary = &report.summary;
        println!(
            "{} files, {} chains, {} commits, {} entries, {} bytes: {}",
            summary.files,
            summary.chains,
            summary.commits,
            summary.entries,
            summary.bytes,
            match (damaged, requested) {
                (false, _) => "all is well",
                (true, true) => "DAMAGED; the next start repairs the database",
                (true, false) if report.wants_repair() => {
                    "DAMAGED; with --repair the next start repairs the database"
                }
                (true, false) => "DAMAGED",
            }
        );
    }
    Ok(if damaged { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn report_json(report: &VerifyReport) -> Value {
    let findings = report.findings.iter().map(|finding| {
        json!({
            "severity": finding.severity.name(),
            "file": finding.file,
            "place": finding.place.to_string(),
            "found": finding.found,
            "expected": finding.expected,
        })
    });
    let summary = &report.summary;
    json!({
        "findings": findings.collect::<Vec<_>>(),
        "left_out": report.left_out,
        "files": summary.files,
        "chains": summary.chains,
        "commits": summary.commits,
        "entries": summary.entries,
        "bytes": summary.bytes,
    })
}

/// What `export` writes.
#[derive(Args)]
pub struct ExportArgs {
    /// The shape of the lines: ndjson or csv.
    #[arg(long, default_value = "ndjson", value_parser = ["ndjson", "csv"])]
    format: String,
    /// Only this device.
    #[arg(long)]
    device: Option<String>,
    /// Only this node, by id.
    #[arg(long)]
    node: Option<String>,
}

/// Exports readings of a data directory to standard output.
///
/// # Errors
/// A fault of the store or of the output.
pub fn export(
    dir: &Path,
    args: &ExportArgs,
    name: &dyn Fn(&NodeId) -> Option<String>,
) -> Result<ExitCode, Failure> {
    let node = match &args.node {
        None => None,
        Some(text) => {
            let id = NodeId::from_hex(text);
            Some(id.ok_or_else(|| format!("`{text}` is not a node's id: 64 hexadecimal digits"))?)
        }
    };
    let shape = if args.format == "csv" { Shape::Csv } else { Shape::Ndjson };
    let wanted = Wanted { device: args.device.clone(), node, shape };
    let mut out = BufWriter::new(io::stdout().lock());
    let name = |id: &NodeId| name(id).unwrap_or_else(|| id.to_string());
    let exported = look_into(dir, |view| export::export(view, &wanted, &name, &mut out));
    match exported {
        Ok(count) => {
            eprintln!("{count} readings");
            Ok(ExitCode::SUCCESS)
        }
        // `| head` is no failure.
        Err(export::ExportError::Output(e)) if e.kind() == io::ErrorKind::BrokenPipe => {
            Ok(ExitCode::SUCCESS)
        }
        Err(error) => Err(error.into()),
    }
}
