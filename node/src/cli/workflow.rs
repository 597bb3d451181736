//! `workflow`: definitions checked, compiled and told in words, on any machine, without a node.

use super::Failure;
use crate::flow::{Compiled, Diagnostic, compile, explain};
use clap::Subcommand;
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// What is done with definitions of workflows.
#[derive(Subcommand)]
pub enum WorkflowAction {
    /// Checks definitions, and says what is wrong with them and where.
    #[command(
        after_help = "Each fault is told as FILE:LINE:COLUMN, with what to do about it. The \
        exit code is 1 when there is\none. docs/workflows.md teaches the language, and \
        docs/workflow.schema.json lets an editor help.\n\nExample (holdfast-hub has the \
        same):\n  holdfast-edge workflow check pump-guard.yaml\nThen:\n  \
        holdfast-edge workflow compile pump-guard.yaml -o pump-guard.flow"
    )]
    Check {
        /// The definitions, in YAML or JSON.
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
    /// Compiles a definition to the image that nodes run.
    #[command(after_help = "Example (holdfast-hub has the same):\n  \
        holdfast-edge workflow compile pump-guard.yaml -o pump-guard.flow\nThen look at it:\n  \
        holdfast-edge workflow explain pump-guard.flow")]
    Compile {
        /// The definition, in YAML or JSON.
        file: PathBuf,
        /// Where the image is written.
        #[arg(long, short)]
        out: PathBuf,
    },
    /// Tells in words what a definition or an image does: steps, memory, the longest turn.
    #[command(after_help = "Example (holdfast-hub has the same):\n  \
        holdfast-edge workflow explain pump-guard.yaml")]
    Explain {
        /// The definition, or the image that was made of it.
        file: PathBuf,
    },
}

impl WorkflowAction {
    /// Does it.
    ///
    /// # Errors
    /// When a file cannot be read or written.
    pub fn run(self) -> Result<ExitCode, Failure> {
        match self {
            Self::Check { files } => {
                let mut exit = ExitCode::SUCCESS;
                for file in files {
                    match read_text(&file).map(|text| compiled(&file, &text)) {
                        Ok(Some(compiled)) => print_checked(&file, &compiled),
                        Ok(None) => exit = ExitCode::FAILURE,
                        Err(Failure(error)) => {
                            eprintln!("error: {error}");
                            exit = ExitCode::FAILURE;
                        }
                    }
                }
                Ok(exit)
            }
            Self::Compile { file, out } => {
                let Some(compiled) = compiled(&file, &read_text(&file)?) else {
                    return Ok(ExitCode::FAILURE);
                };
                std::fs::write(&out, &compiled.image)
                    .map_err(|error| format!("{} cannot be written: {error}", out.display()))?;
                let (image, bytes) = (out.display(), compiled.image.len());
                println!("{image}: {} version {}, {bytes} bytes", compiled.id, compiled.version);
                println!("`workflow explain {image}` tells what it does.");
                Ok(ExitCode::SUCCESS)
            }
            Self::Explain { file } => {
                let bytes = read(&file)?;
                // An image begins with the number of its format, which is no text.
                let image = if bytes.first() == Some(&holdfast_core::flow::image::FORMAT) {
                    bytes
                } else {
                    match compiled(&file, &text_of(&file, bytes)?) {
                        Some(compiled) => compiled.image,
                        None => return Ok(ExitCode::FAILURE),
                    }
                };
                let text = explain(&image)
                    .map_err(|why| format!("{} is no image: {why}", file.display()))?;
                // Whoever reads it may have seen enough.
                let _ = std::io::stdout().write_all(text.as_bytes());
                Ok(ExitCode::SUCCESS)
            }
        }
    }
}

fn print_checked(file: &Path, compiled: &Compiled) {
    let Compiled { id, version, placement, image, .. } = compiled;
    let (file, placement, bytes) = (file.display(), placement.name(), image.len());
    println!("{file}: {id} version {version} for {placement} is sound, {bytes} bytes");
}

/// Compiles a definition, and prints what is to be said of it.
fn compiled(file: &Path, text: &str) -> Option<Compiled> {
    let result = compile(text);
    match result {
        Ok(compiled) => {
            for warning in &compiled.warnings {
                let message = format!("warning: {}", warning.message);
                eprintln!("{}:{}", file.display(), Diagnostic { message, ..warning.clone() });
            }
            Some(compiled)
        }
        Err(wrong) => {
            for diagnostic in wrong {
                eprintln!("{}:{diagnostic}", file.display());
            }
            None
        }
    }
}

fn read(file: &Path) -> Result<Vec<u8>, Failure> {
    let name = file.display();
    if file.is_dir() {
        return Err(format!("{name} is a folder: name the file with the definition").into());
    }
    std::fs::read(file).map_err(|error| {
        match error.kind() {
            ErrorKind::NotFound => format!("{name} is not there"),
            _ => format!("{name} cannot be read: {error}"),
        }
        .into()
    })
}

fn read_text(file: &Path) -> Result<String, Failure> {
    text_of(file, read(file)?)
}

fn text_of(file: &Path, bytes: Vec<u8>) -> Result<String, Failure> {
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        let line = error.as_bytes()[..at].iter().filter(|byte| **byte == b'\n').count() + 1;
        format!("{}:{line}: this is not UTF-8: byte {at}", file.display()).into()
    })
}
