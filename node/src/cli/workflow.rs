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
        holdfast-edge workflow compile pump-guard.yaml -o pump-guard.flow\n"
    )]
    Check {
        /// The definitions, in YAML or JSON.
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
    /// Compiles a definition to the image that nodes run.
    #[command(after_help = "Example (holdfast-hub has the same):\n  \
        holdfast-edge workflow compile pump-guard.yaml -o pump-guard.flow\nThen look at it:\n  \
        holdfast-edge workflow explain pump-guard.flow\n")]
    Compile {
        /// The definition, in YAML or JSON.
        file: PathBuf,
        /// Where the image is written.
        #[arg(long, short)]
        out: PathBuf,
    },
    /// Tells in words what a definition or an image does: steps, memory, the longest turn.
    #[command(after_help = "Example (holdfast-hub has the same):\n  \
        holdfast-edge workflow explain pump-guard.yaml\n")]
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
                match std::io::stdout().write_all(text.as_bytes()) {
                    // Whoever reads it may have seen enough.
                    Err(error) if error.kind() != ErrorKind::BrokenPipe => {
                        Err(format!("standard output cannot be written: {error}").into())
                    }
                    _ => Ok(ExitCode::SUCCESS),
                }
            }
        }
    }
}

/// Reads a definition and compiles it; what is wrong with it is printed, each fault by its place.
///
/// # Errors
/// When the file cannot be read.
pub fn read_definition(file: &Path) -> Result<Option<Compiled>, Failure> {
    Ok(compiled(file, &read_text(file)?))
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

#[cfg(test)]
mod tests {
    use super::*;

    /// What is done with files of a folder of its own, and what it comes to.
    fn run(files: &[(&str, &[u8])], action: impl FnOnce(&Path) -> WorkflowAction) -> String {
        let dir = tempfile::tempdir().unwrap();
        for (name, bytes) in files {
            std::fs::write(dir.path().join(name), bytes).unwrap();
        }
        let told = match action(dir.path()).run() {
            Ok(exit) => format!("{exit:?}"),
            Err(Failure(error)) => error,
        };
        told.replace(&dir.path().display().to_string(), "DIR")
    }

    const GOOD: &str = "workflow: a\nversion: '1'\nsteps: [{wait: 1s}]\n";
    const BAD: &str = "workflow: a\nversion: '1'\nsteps: [{wait: 1}]\n";

    #[test]
    fn one_definition_with_a_fault_makes_the_check_fail() {
        let files = [("good", GOOD.as_bytes()), ("bad", BAD.as_bytes())];
        let check = |names: &[&str]| {
            run(&files, |dir| WorkflowAction::Check {
                files: names.iter().map(|name| dir.join(name)).collect(),
            })
        };
        assert_eq!(check(&["good"]), format!("{:?}", ExitCode::SUCCESS));
        for names in [["good", "bad"], ["bad", "good"], ["missing", "good"]] {
            assert_eq!(check(&names), format!("{:?}", ExitCode::FAILURE), "{names:?}");
        }
    }

    #[test]
    fn an_image_is_written_and_told_in_words() {
        let exit = run(&[("good", GOOD.as_bytes())], |dir| {
            let (file, out) = (dir.join("good"), dir.join("image"));
            WorkflowAction::Compile { file, out: out.clone() }.run().unwrap();
            assert_eq!(std::fs::read(&out).unwrap(), compile(GOOD).unwrap().image);
            WorkflowAction::Explain { file: out }
        });
        assert_eq!(exit, format!("{:?}", ExitCode::SUCCESS));
        let exit = run(&[("bad", BAD.as_bytes())], |dir| {
            let (file, out) = (dir.join("bad"), dir.join("image"));
            WorkflowAction::Compile { file, out }
        });
        assert_eq!(exit, format!("{:?}", ExitCode::FAILURE));
    }

    #[test]
    fn a_file_that_is_not_one_is_named() {
        let explain = |name: &'static str| {
            let files: [(&str, &[u8]); 2] = [("bytes", b"a\nb\xff"), ("cut", b"\x01\x00")];
            run(&files, |dir| WorkflowAction::Explain { file: dir.join(name) })
        };
        assert_eq!(explain("missing"), "DIR/missing is not there");
        assert_eq!(explain("."), "DIR/. is a folder: name the file with the definition");
        assert_eq!(explain("bytes"), "DIR/bytes:2: this is not UTF-8: byte 3");
        let told = explain("cut");
        assert_eq!(told, "DIR/cut is no image: the tables of the image do not fill it");
    }
}
