//! Tokens: `hf_<kind>_<base32 of 20 random bytes>`.
//!
//! The kind in the text tells a person what they hold, and finds a token that leaked into a log;
//! what it grants is in the book alone.

use data_encoding::BASE32_NOPAD;
use std::fmt;

/// The BLAKE3 hash of a token's text.
pub type TokenHash = [u8; 32];

/// What a token is made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Everything.
    Admin,
    /// Reading.
    Viewer,
    /// Readings of any device.
    Ingest,
    /// Readings of one device.
    Device,
}

impl Kind {
    /// The word for it in files and answers.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Viewer => "viewer",
            Self::Ingest => "ingest",
            Self::Device => "device",
        }
    }

    const fn short(self) -> &'static str {
        match self {
            Self::Admin => "adm",
            Self::Viewer => "vew",
            Self::Ingest => "ing",
            Self::Device => "dev",
        }
    }
}

/// What a token may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Everything.
    Admin,
    /// Read everything.
    Viewer,
    /// Post readings of any device.
    Ingest,
    /// Post readings of this device.
    Device(String),
}

impl Scope {
    /// The kind of its tokens.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Admin => Kind::Admin,
            Self::Viewer => Kind::Viewer,
            Self::Ingest => Kind::Ingest,
            Self::Device(_) => Kind::Device,
        }
    }

    /// The device of a device token.
    #[must_use]
    pub fn device(&self) -> Option<&str> {
        match self {
            Self::Device(device) => Some(device),
            _ => None,
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Device(device) => write!(f, "device {device}"),
            _ => f.write_str(self.kind().word()),
        }
    }
}

/// Makes a token. It is shown once; only its [`hash`] is kept.
#[must_use]
pub fn generate(kind: Kind, fill: impl FnOnce(&mut [u8])) -> String {
    let mut bytes = [0; 20];
    fill(&mut bytes);
    format!("hf_{}_{}", kind.short(), BASE32_NOPAD.encode(&bytes).to_ascii_lowercase())
}

/// The hash by which a token is known.
#[must_use]
pub fn hash(token: &str) -> TokenHash {
    *blake3::hash(token.as_bytes()).as_bytes()
}
