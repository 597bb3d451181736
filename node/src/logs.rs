//! Logs: text for people on standard error, and secrets that cannot get there.

use serde::{Deserialize, Deserializer};
use std::fmt;
use std::io::IsTerminal;
use tracing_subscriber::EnvFilter;

/// Sends the process's log to standard error. `RUST_LOG` beats `filter`, which is written the same
/// way: `info` or `info,holdfast_sync=debug`.
///
/// # Errors
/// A sentence when the filter cannot be read or a log is set up already.
pub fn init(filter: &str) -> Result<(), String> {
    let variable = std::env::var(EnvFilter::DEFAULT_ENV).ok().filter(|text| !text.is_empty());
    let text = variable.as_deref().unwrap_or(filter);
    // The library below the sessions tells at `info` what our own lines tell better.
    let filter = EnvFilter::try_new(format!("libp2p=warn,{text}"))
        .map_err(|error| format!("`{text}` is not a log filter such as `info`: {error}"))?;
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .try_init()
        .map_err(|error| error.to_string())
}

/// A value that shows as `***` wherever it is printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret<T>(T);

impl<T> Secret<T> {
    /// Hides `value`.
    #[must_use]
    pub const fn new(value: T) -> Self {
        Self(value)
    }

    /// The value itself, for where it is needed.
    #[must_use]
    pub const fn expose(&self) -> &T {
        &self.0
    }
}

impl<T> fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl<T> fmt::Display for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Secret<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        T::deserialize(deserializer).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_never_printed() {
        let secret: Secret<String> = serde_json::from_str("\"hf_adm_x\"").unwrap();
        assert_eq!(format!("{secret} {secret:?} {:?}", Some(&secret)), "*** *** Some(***)");
        assert_eq!(secret.expose(), "hf_adm_x");
    }

    #[test]
    fn a_wrong_filter_is_explained() {
        let error = init("holdfast=loud").unwrap_err();
        assert!(error.contains("`holdfast=loud` is not a log filter"), "{error}");
    }
}
