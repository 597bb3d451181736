//! How the cells of a path are resolved: rules, and which rule is for which path.
//!
//! A policy is a list of lines, of which the first that matches counts; where none does, the last
//! writer wins. It has one encoding and is named by a hash of it, so two views say whether they
//! were resolved alike, and nobody has to count versions.

use super::path::Path;
use super::pattern::Pattern;
use crate::Reject;
use crate::codec::{Reader, Sink};
use crate::limits::{PATH_MAX_BYTES, POLICY_MAX_LINES};
use core::fmt;

/// The format written today.
const FORMAT: u8 = 1;
/// Separates this hash from every other use of BLAKE3; part of the format.
const CONTEXT: &str = "holdfast 2026-11 state policy v1";

/// How concurrent cells become one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Rule {
    /// The greatest stamp wins, then the greatest author.
    #[default]
    Lww = 0,
    /// The greatest of the values written at once.
    Max = 1,
    /// The least of the values written at once.
    Min = 2,
    /// What the hub wrote wins over what was written at the site.
    HubWins = 3,
    /// What was written at the site, by a gateway or a device, wins over the hub.
    EdgeWins = 4,
    /// All are kept until a person chooses; the last one is shown meanwhile.
    KeepAll = 5,
    /// The sum of what every author has counted.
    Counter = 6,
    /// The union of what every author has added and removed.
    Set = 7,
}

impl Rule {
    /// All rules, in the order of their numbers.
    pub const ALL: [Self; 8] = [
        Self::Lww,
        Self::Max,
        Self::Min,
        Self::HubWins,
        Self::EdgeWins,
        Self::KeepAll,
        Self::Counter,
        Self::Set,
    ];

    /// Reads the number under which a rule is stored.
    #[must_use]
    pub fn from_u8(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number)).copied()
    }

    /// The word used in files, answers and on pages.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Lww => "lww",
            Self::Max => "max",
            Self::Min => "min",
            Self::HubWins => "hub-wins",
            Self::EdgeWins => "edge-wins",
            Self::KeepAll => "keep-all",
            Self::Counter => "counter",
            Self::Set => "set",
        }
    }

    /// Reads the word.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|rule| rule.name() == name)
    }

    /// Whether this is a type: each author has a part of its own, and parts are merged.
    #[must_use]
    pub const fn is_type(self) -> bool {
        matches!(self, Self::Counter | Self::Set)
    }
}

/// A line of a policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line<'a> {
    /// Which documents.
    pub document: Pattern<'a>,
    /// Which paths in them.
    pub path: Pattern<'a>,
    /// How they are resolved.
    pub rule: Rule,
}

/// The name of a policy: a hash of its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PolicyId(pub [u8; 16]);

impl fmt::Display for PolicyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// A checked policy, read in place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy<'a> {
    bytes: &'a [u8],
}

impl<'a> Policy<'a> {
    /// The policy without lines: the last writer wins everywhere.
    pub const LWW: Policy<'static> = Policy { bytes: &[FORMAT, 0] };

    /// Appends a policy of `lines`; [`Policy::from_bytes`] reads it.
    ///
    /// # Errors
    /// [`Reject::Full`] for more than 64 lines, or when the sink has no room.
    pub fn encode(lines: &[Line<'_>], out: &mut impl Sink) -> Result<(), Reject> {
        if lines.len() > POLICY_MAX_LINES {
            return Err(Reject::Full);
        }
        out.put_u8(FORMAT)?;
        out.put_uint(lines.len() as u64)?;
        lines.iter().try_for_each(|line| {
            out.put_bytes(line.document.as_str().as_bytes())?;
            out.put_bytes(line.path.as_str().as_bytes())?;
            out.put_u8(line.rule as u8)
        })
    }

    /// Checks the bytes of a policy.
    ///
    /// # Errors
    /// [`Reject::Version`] for a format or a rule that is not known, else what is wrong with them.
    pub fn from_bytes(bytes: &'a [u8]) -> Result<Self, Reject> {
        let mut reader = Reader::new(bytes);
        if reader.u8()? != FORMAT {
            return Err(Reject::Version);
        }
        let count = reader.uint()?;
        if count > POLICY_MAX_LINES as u64 {
            return Err(Reject::Full);
        }
        for _ in 0..count {
            read_line(&mut reader)?;
        }
        reader.finish().map(|()| Self { bytes })
    }

    /// The bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The lines, in their order.
    pub fn lines(&self) -> impl Iterator<Item = Line<'a>> + use<'a> {
        let mut reader = Reader::new(self.bytes);
        let head = reader.u8().and_then(|_| reader.uint());
        debug_assert!(head.is_ok(), "a checked policy begins with its format and number");
        // Of checked bytes only their end cannot be read.
        core::iter::from_fn(move || read_line(&mut reader).ok())
    }

    /// How `path` of `document` is resolved.
    #[must_use]
    pub fn rule(&self, document: Path<'_>, path: Path<'_>) -> Rule {
        let meant = |line: &Line<'_>| line.document.matches(document) && line.path.matches(path);
        self.lines().find(meant).map_or(Rule::Lww, |line| line.rule)
    }

    /// The name of the policy.
    #[must_use]
    pub fn id(&self) -> PolicyId {
        let mut hash = blake3::Hasher::new_derive_key(CONTEXT);
        hash.update(self.bytes);
        let mut id = [0; 16];
        hash.finalize_xof().fill(&mut id);
        PolicyId(id)
    }
}

fn read_line<'a>(reader: &mut Reader<'a>) -> Result<Line<'a>, Reject> {
    Ok(Line {
        document: Pattern::new(reader.str(PATH_MAX_BYTES)?)?,
        path: Pattern::new(reader.str(PATH_MAX_BYTES)?)?,
        rule: Rule::from_u8(reader.u8()?).ok_or(Reject::Version)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::string::ToString;
    use std::vec::Vec;

    fn line<'a>(document: &'a str, path: &'a str, rule: Rule) -> Line<'a> {
        Line { document: Pattern::new(document).unwrap(), path: Pattern::new(path).unwrap(), rule }
    }

    fn encoded(lines: &[Line<'_>]) -> Vec<u8> {
        let mut out = Vec::new();
        Policy::encode(lines, &mut out).unwrap();
        out
    }

    /// The vector of `docs/formats/cell.md`.
    const GOLDEN: &[u8] = b"\x01\x02\x10device/*/desired\x09limits/**\x02\x02**\x06starts\x06";

    #[test]
    fn golden_vectors() {
        let lines =
            [line("device/*/desired", "limits/**", Rule::Min), line("**", "starts", Rule::Counter)];
        assert_eq!(encoded(&lines), GOLDEN);
        let policy = Policy::from_bytes(GOLDEN).unwrap();
        assert_eq!(policy.lines().collect::<Vec<_>>(), lines);
        assert_eq!(policy.id().to_string(), "db073a71c0fbfc5602eb424e22d1c1f6");
        assert_eq!(Policy::LWW.id().to_string(), "9b0890b79de653971edd643b406c1e97");
        assert_eq!(Policy::from_bytes(&encoded(&[])), Ok(Policy::LWW));
    }

    #[test]
    fn the_first_line_that_matches_counts() {
        let bytes = encoded(&[
            line("device/*/desired", "limits/low", Rule::Max),
            line("device/*/*", "limits/**", Rule::Min),
            line("**", "limits/**", Rule::KeepAll),
        ]);
        let policy = Policy::from_bytes(&bytes).unwrap();
        let rule =
            |document, path| policy.rule(Path::new(document).unwrap(), Path::new(path).unwrap());
        assert_eq!(rule("device/p1/desired", "limits/low"), Rule::Max);
        assert_eq!(rule("device/p1/desired", "limits/high"), Rule::Min);
        assert_eq!(rule("device/p1/reported", "limits/low"), Rule::Min);
        assert_eq!(rule("site/a", "limits/low"), Rule::KeepAll);
        assert_eq!(rule("site/a", "name"), Rule::Lww);
    }

    #[test]
    fn what_is_not_known_is_refused_by_its_name() {
        assert_eq!(Policy::from_bytes(&[2, 0]), Err(Reject::Version));
        let mut newer = GOLDEN.to_vec();
        *newer.last_mut().unwrap() = 8;
        assert_eq!(Policy::from_bytes(&newer), Err(Reject::Version));
        assert_eq!(Policy::from_bytes(&[1, 65]), Err(Reject::Full));
        assert_eq!(Policy::from_bytes(&[1, 0, 0]), Err(Reject::Malformed));
        let many = [line("**", "**", Rule::Lww); POLICY_MAX_LINES + 1];
        assert_eq!(Policy::encode(&many, &mut Vec::new()), Err(Reject::Full));
    }

    #[test]
    fn rules_read_back_their_words_and_numbers() {
        for rule in Rule::ALL {
            assert_eq!(Rule::from_name(rule.name()), Some(rule));
            assert_eq!(Rule::from_u8(rule as u8), Some(rule));
        }
        assert_eq!(Rule::from_name("newest"), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = Policy::from_bytes(&bytes);
        }
    }
}
