//! The strings of MQTT: UTF-8 and binary, each behind a length of two bytes.
//!
//! Whoever holds one of these types need not check it again, so encoding cannot fail. A string that
//! came off the wire is a slice of the buffer it was read into: cloning counts a reference. What is
//! to be kept for long is better copied ([`Utf8::detached`]), for it holds on to all that came with
//! it.

use bytes::{BufMut, Bytes, BytesMut};
use std::fmt;

/// Bytes of one string: its length is written in two bytes.
pub const STRING_MAX: usize = u16::MAX as usize;

/// The identifier in front of each user property.
pub(super) const USER_PROPERTY: u8 = 0x26;

/// Why bytes are no string of MQTT.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TextFault {
    /// More than [`STRING_MAX`] bytes.
    #[error("{0} bytes, expected at most 65,535")]
    TooLong(usize),
    /// Not UTF-8; surrogates and overlong forms are not either.
    #[error("byte {0} is not UTF-8")]
    NotUtf8(usize),
    /// U+0000 is forbidden in every string.
    #[error("U+0000 at byte {0}")]
    Null(usize),
}

/// A UTF-8 string without U+0000.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Utf8(Bytes);

impl Utf8 {
    /// Checks `bytes`. A byte order mark stays what it is: a character.
    ///
    /// # Errors
    /// [`TextFault`]
    pub fn new(bytes: impl Into<Bytes>) -> Result<Self, TextFault> {
        let bytes = bytes.into();
        if bytes.len() > STRING_MAX {
            return Err(TextFault::TooLong(bytes.len()));
        }
        if let Err(error) = std::str::from_utf8(&bytes) {
            return Err(TextFault::NotUtf8(error.valid_up_to()));
        }
        if bytes.contains(&0) {
            let at = bytes.iter().take_while(|byte| **byte != 0).count();
            return Err(TextFault::Null(at));
        }
        Ok(Self(bytes))
    }

    /// The string.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("checked when it was made")
    }

    /// Its bytes, which cost nothing.
    #[must_use]
    pub const fn bytes(&self) -> &Bytes {
        &self.0
    }

    /// A copy that holds on to nothing else.
    #[must_use]
    pub fn detached(&self) -> Self {
        Self(Bytes::copy_from_slice(&self.0))
    }

    /// Whether it has no character.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Utf8 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl fmt::Display for Utf8 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl TryFrom<&str> for Utf8 {
    type Error = TextFault;

    fn try_from(text: &str) -> Result<Self, TextFault> {
        Self::new(Bytes::copy_from_slice(text.as_bytes()))
    }
}

/// Bytes that are no text: passwords, correlation data, the payload of a will.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Binary(Bytes);

impl Binary {
    /// Checks the length.
    ///
    /// # Errors
    /// [`TextFault::TooLong`]
    pub fn new(bytes: impl Into<Bytes>) -> Result<Self, TextFault> {
        let bytes = bytes.into();
        let fits = bytes.len() <= STRING_MAX;
        if fits { Ok(Self(bytes)) } else { Err(TextFault::TooLong(bytes.len())) }
    }

    /// The bytes.
    #[must_use]
    pub const fn bytes(&self) -> &Bytes {
        &self.0
    }

    /// A copy that holds on to nothing else.
    #[must_use]
    pub fn detached(&self) -> Self {
        Self(Bytes::copy_from_slice(&self.0))
    }
}

/// Only the length is shown: a password must not get into a log.
impl fmt::Debug for Binary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

/// Names and values that a user adds; a name may come more than once, the order is kept.
///
/// They are kept as they are written, which makes passing them on to a hundred subscribers free.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct UserProperties(Bytes);

impl UserProperties {
    /// What was checked by the codec: properties 0x26 with their identifiers, one after the other.
    pub(super) const fn checked(bytes: Bytes) -> Self {
        Self(bytes)
    }

    /// As they are written.
    pub(super) const fn written(&self) -> &Bytes {
        &self.0
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// A copy that holds on to nothing else.
    #[must_use]
    pub fn detached(&self) -> Self {
        Self(Bytes::copy_from_slice(&self.0))
    }

    /// Names and values in their order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        let mut rest: &[u8] = &self.0;
        std::iter::from_fn(move || {
            rest = rest.get(1..)?;
            let name = split(&mut rest);
            Some((name, split(&mut rest)))
        })
    }
}

/// Takes one string off checked properties.
fn split<'a>(rest: &mut &'a [u8]) -> &'a str {
    const CHECKED: &str = "checked when they were read";
    let (len, after) = rest.split_first_chunk::<2>().expect(CHECKED);
    let (text, after) = after.split_at(usize::from(u16::from_be_bytes(*len)));
    *rest = after;
    std::str::from_utf8(text).expect(CHECKED)
}

impl FromIterator<(Utf8, Utf8)> for UserProperties {
    fn from_iter<I: IntoIterator<Item = (Utf8, Utf8)>>(pairs: I) -> Self {
        let mut written = BytesMut::new();
        for (name, value) in pairs {
            written.put_u8(USER_PROPERTY);
            for text in [name, value] {
                let len = u16::try_from(text.bytes().len()).expect("no string is longer");
                written.put_u16(len);
                written.put_slice(text.bytes());
            }
        }
        Self(written.freeze())
    }
}

impl fmt::Debug for UserProperties {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}
