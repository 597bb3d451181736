//! The section on the log, which both services have.

use crate::logs::Format;
use serde::{Deserialize, Serialize};

/// The log.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// Which lines are written.
    pub filter: String,
    /// How they look.
    pub format: Format,
}

impl Default for Log {
    fn default() -> Self {
        Self { filter: "info".to_owned(), format: Format::Text }
    }
}
