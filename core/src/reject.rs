//! The peer's fault: why a value was not accepted, as a closed set with stable codes.
//!
//! A code maps to an HTTP problem or an MQTT reason at the door; the text says what was expected.

use core::fmt;

/// Why a value from outside is not a valid value of the domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reject {
    /// A device id is empty, too long, or has a character outside `[A-Za-z0-9._:-]`.
    Device,
    /// A metric name is empty, too long, or has a control character.
    Metric,
    /// A unit is too long or has a control character.
    Unit,
    /// A number is NaN, infinite, or outside the range of a double.
    NonFinite,
    /// A text value is too long.
    Text,
    /// A time is outside the years 1678 to 2262.
    Time,
    /// A sequence number is 0 or not an unsigned 64-bit integer.
    Sequence,
    /// The bytes end before the value does.
    Truncated,
    /// The bytes do not follow the format.
    Malformed,
    /// The format version is not known to this program.
    Version,
    /// A checksum or hash does not match the bytes.
    Checksum,
    /// A bounded set has no room left.
    Full,
    /// A path in a document, or a pattern of paths, is not well formed.
    Path,
    /// An array value is not JSON, has blanks between its parts, or is nested too deeply.
    Array,
    /// A value of a document is too long.
    Long,
}

impl Reject {
    /// The stable code, as it appears in problems, logs and metrics.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Device => "invalid-device",
            Self::Metric => "invalid-metric",
            Self::Unit => "invalid-unit",
            Self::NonFinite => "invalid-number",
            Self::Text => "text-too-long",
            Self::Time => "invalid-time",
            Self::Sequence => "invalid-sequence",
            Self::Truncated => "truncated",
            Self::Malformed => "malformed",
            Self::Version => "unknown-version",
            Self::Checksum => "checksum-mismatch",
            Self::Full => "no-room",
            Self::Path => "invalid-path",
            Self::Array => "invalid-array",
            Self::Long => "value-too-long",
        }
    }
}

impl fmt::Display for Reject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Device => "a device id has 1 to 64 characters of A-Z a-z 0-9 . _ : -",
            Self::Metric => "a metric has 1 to 128 bytes without control characters",
            Self::Unit => "a unit has at most 32 bytes without control characters",
            Self::NonFinite => "a number must be finite and fit a 64-bit float",
            Self::Text => "a text value has at most 256 bytes",
            Self::Time => "a time must lie between the years 1678 and 2262",
            Self::Sequence => "a sequence number is an integer from 1 to 2^64-1",
            Self::Truncated => "the data ends too early",
            Self::Malformed => "the data does not follow the format",
            Self::Version => "the format version is not known to this program",
            Self::Checksum => "the checksum does not match the data",
            Self::Full => "no room is left in a bounded set",
            Self::Path => "a path has at most 128 bytes and 1 to 8 names without / # *, split by /",
            Self::Array => "an array must be JSON without blanks and at most 16 levels deep",
            Self::Long => "a value has at most 4096 bytes",
        })
    }
}

impl core::error::Error for Reject {}
