//! What the emulator was told to hand to the program: `key=value` words behind the program's name.
//!
//! QEMU's option is `-semihosting-config enable=on,target=native,arg=NAME,arg=KEY=VALUE,...`. A
//! value holds no spaces, because the words reach the program in one line. All are looked over when
//! they are read, so a program that runs has understood what it was told.

use crate::semihosting;
use core::fmt;
use core::str::FromStr;

/// Room for all words with the spaces between them: paths and ports, no texts.
pub const MAX_BYTES: usize = 320;

/// The words, looked over.
#[derive(Clone, Debug)]
pub struct Arguments {
    bytes: [u8; MAX_BYTES],
    length: usize,
}

/// What is wrong with them. A word is counted from 1, behind the program's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// They are longer than [`MAX_BYTES`].
    TooLong,
    /// They are not UTF-8.
    NotText,
    /// A word has no `=`, or nothing before it.
    NotAPair {
        /// Which one.
        word: usize,
    },
    /// A word has the key of an earlier one.
    Twice {
        /// Which one.
        word: usize,
    },
    /// A key that the program needs is not there.
    Missing {
        /// The key.
        key: &'static str,
    },
    /// The value of a key is not one of its type.
    Malformed {
        /// The key.
        key: &'static str,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong => write!(f, "the arguments are longer than {MAX_BYTES} bytes"),
            Self::NotText => write!(f, "the arguments are not UTF-8"),
            Self::NotAPair { word } => write!(f, "argument {word} is not KEY=VALUE"),
            Self::Twice { word } => write!(f, "argument {word} has the key of an earlier one"),
            Self::Missing { key } => write!(f, "{key}=VALUE is missing"),
            Self::Malformed { key } => write!(f, "the value of {key} cannot be read"),
        }
    }
}

impl Arguments {
    /// Reads what the emulator was started with.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read() -> Result<Self, Error> {
        // One byte more for the zero at the end.
        let mut line = [0; MAX_BYTES + 1];
        let line = semihosting::command_line(&mut line).ok_or(Error::TooLong)?;
        Self::parse(line)
    }

    /// Looks over a line whose first word is the program's name.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(line: &[u8]) -> Result<Self, Error> {
        let mut bytes = [0; MAX_BYTES];
        bytes.get_mut(..line.len()).ok_or(Error::TooLong)?.copy_from_slice(line);
        core::str::from_utf8(line).map_err(|_| Error::NotText)?;
        let arguments = Self { bytes, length: line.len() };
        for (word, text) in (1..).zip(arguments.words()) {
            let pair = text.split_once('=').filter(|(key, _)| !key.is_empty());
            let (key, _) = pair.ok_or(Error::NotAPair { word })?;
            let earlier = arguments.pairs().take(word - 1);
            if earlier.into_iter().any(|(other, _)| other == key) {
                return Err(Error::Twice { word });
            }
        }
        Ok(arguments)
    }

    fn words(&self) -> impl Iterator<Item = &str> {
        let line = core::str::from_utf8(&self.bytes[..self.length]).unwrap_or_default();
        line.split_ascii_whitespace().skip(1)
    }

    /// All pairs, in their order.
    pub fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.words().filter_map(|word| word.split_once('='))
    }

    /// The value of `key`, if it is there.
    #[must_use]
    pub fn find(&self, key: &str) -> Option<&str> {
        self.pairs().find(|(other, _)| *other == key).map(|(_, value)| value)
    }

    /// The value of `key`.
    ///
    /// # Errors
    /// [`Error::Missing`].
    pub fn text(&self, key: &'static str) -> Result<&str, Error> {
        self.find(key).ok_or(Error::Missing { key })
    }

    /// The value of `key`, read as a number or anything else that is written as text.
    ///
    /// # Errors
    /// [`Error::Missing`], or [`Error::Malformed`] if it is not one.
    pub fn value<T: FromStr>(&self, key: &'static str) -> Result<T, Error> {
        self.text(key)?.parse().map_err(|_| Error::Malformed { key })
    }
}
