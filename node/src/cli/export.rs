//! `export`: the readings of a data directory as lines, whether its node runs or not.

use super::Failure;
use crate::export::{self, Shape, Wanted};
use clap::Args;
use holdfast_core::NodeId;
use holdfast_sync::store::look_into;
use std::io::{self, BufWriter};
use std::path::Path;
use std::process::ExitCode;

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
pub fn export(dir: &Path, args: &ExportArgs) -> Result<ExitCode, Failure> {
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
    let exported = look_into(dir, |view| export::export(view, &wanted, &mut out));
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
