//! Logs on standard error: text for people or lines of JSON for programs, one line for a cause.
//!
//! What goes wrong again and again is written once and then counted ([`repeats`]), so that a log
//! shows what is new. Secrets are kept out by their type ([`Secret`]) and by never being given to a
//! log; a scenario looks for them in everything that both services write.

mod fields;
mod json;
#[cfg(test)]
mod kept;
mod repeats;
mod secret;

pub use secret::Secret;

use holdfast_core::NodeId;
use repeats::{Once, Summary, Written};
use serde::{Deserialize, Serialize};
use std::io::IsTerminal;
use std::sync::OnceLock;
use std::time::Duration;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer as _, fmt};

/// Between two looks for causes whose repeats are to be told.
const LOOK: Duration = Duration::from_secs(5);

/// What is counted in this process.
static COUNTED: OnceLock<Once> = OnceLock::new();

/// How lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// An object per line.
    Json,
}

/// Sends the process's log to standard error. `RUST_LOG` beats `filter`, which is written the same
/// way: `info` or `info,holdfast_sync=debug`.
///
/// # Errors
/// A sentence when the filter cannot be read or a log is set up already.
pub fn init(filter: &str, format: Format) -> Result<(), String> {
    let variable = std::env::var("RUST_LOG").ok().filter(|text| !text.is_empty());
    let text = variable.as_deref().unwrap_or(filter);
    // The library below the sessions tells at `info` what our own lines tell better.
    let filter = format!("libp2p=warn,{text}")
        .parse::<Targets>()
        .map_err(|error| format!("`{text}` is not a log filter such as `info`: {error}"))?;
    let once = Once::default();
    let is_terminal = std::io::stderr().is_terminal();
    let lines = fmt::layer().with_writer(std::io::stderr);
    let lines = match format {
        Format::Text => {
            let format =
                Written { once: once.clone(), format: fmt::format().with_ansi(is_terminal) };
            lines.with_ansi(is_terminal).event_format(format).with_filter(filter).boxed()
        }
        Format::Json => {
            let format = Written { once: once.clone(), format: json::Lines };
            lines.with_ansi(false).event_format(format).with_filter(filter).boxed()
        }
    };
    tracing_subscriber::registry().with(lines).try_init().map_err(|error| error.to_string())?;
    COUNTED.get_or_init(|| once);
    Ok(())
}

/// Says which node writes this log, for lines of JSON.
pub fn of_node(node: &NodeId) {
    json::NODE.get_or_init(|| node.short().to_string());
}

/// Tells every now and then what was seen again and not written.
pub async fn tell_repeats() {
    let mut look = tokio::time::interval(LOOK);
    loop {
        look.tick().await;
        if let Some(once) = COUNTED.get() {
            once.due().iter().for_each(tell);
        }
    }
}

/// Tells the rest at the end of a process.
pub fn tell_the_rest() {
    if let Some(once) = COUNTED.get() {
        once.all().iter().for_each(tell);
    }
}

fn tell(Summary { level, text, times, seconds }: &Summary) {
    let said = format_args!("seen {times} more times in the last {}: {text}", span(*seconds));
    match *level {
        tracing::Level::ERROR => {
            tracing::error!(target: repeats::TARGET, times, seconds, "{said}");
        }
        tracing::Level::WARN => tracing::warn!(target: repeats::TARGET, times, seconds, "{said}"),
        _ => tracing::info!(target: repeats::TARGET, times, seconds, "{said}"),
    }
}

fn span(seconds: u64) -> String {
    if seconds < 120 { format!("{seconds} s") } else { format!("{} min", seconds / 60) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_filter_is_explained() {
        let error = init("holdfast=loud", Format::Text).unwrap_err();
        assert!(error.contains("`holdfast=loud` is not a log filter"), "{error}");
    }
}
