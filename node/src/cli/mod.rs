//! What the command lines of both services share.
//!
//! A command names a [`Place`]; with the service's settings it becomes a [`Local`] node, which is
//! made, asked while it runs, or looked into while it does not.

mod alert;
mod artefact;
mod backup;
mod conflict;
mod export;
mod place;
mod policy;
mod reach;
mod runs;
mod token;
mod twin;
mod verify;
pub mod words;
mod workflow;

pub use alert::AlertAction;
pub use artefact::{ArtefactAction, find_artefact, short_artefact};
pub use backup::{BackupArgs, RestoreArgs};
pub use conflict::ConflictAction;
pub use export::{ExportArgs, export};
pub use place::{Local, Place, Service};
pub use policy::PolicyAction;
pub use reach::Reach;
pub use runs::{RunAction, WorkflowCommand};
pub use token::{TokenBook, TokenKind, print_new_token};
pub use twin::TwinAction;
pub use verify::{VerifyArgs, verify};
pub use workflow::{WorkflowAction, read_definition};

use clap::Parser;
use std::fmt::Display;
use std::process::ExitCode;

/// Why a command did not do its work, in a sentence for people.
#[derive(Debug)]
pub struct Failure(String);

impl<E: Display> From<E> for Failure {
    fn from(error: E) -> Self {
        Self(error.to_string())
    }
}

/// Reads the command line of `S`.
#[must_use]
pub fn parse<S: Service, C: Parser>() -> C {
    let help = format!("The configuration file [default: {}.toml]", S::PROGRAM);
    let matches = C::command().mut_arg("config", |arg| arg.help(help)).get_matches();
    C::from_arg_matches(&matches).unwrap_or_else(|error| error.exit())
}

/// Runs a command to its exit code; a failure is one line on standard error.
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
    crate::logs::tell_the_rest();
    result.unwrap_or_else(|Failure(text)| {
        eprintln!("error: {text}");
        ExitCode::FAILURE
    })
}
