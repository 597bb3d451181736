//! Versions of sections, and the conditions that requests make on them (RFC 9110).
//!
//! A version is the digest of the document's heads: equal where the same changes are held, on
//! whichever node. As an entity tag it is strong, so of several writers that read the same version
//! one is let through, and the others are told what the version is now.

use axum::http::HeaderMap;
use axum::http::header::{HeaderName, IF_MATCH, IF_NONE_MATCH};
use holdfast_sync::docs::{Hash, digest};
use std::fmt;

use crate::problem::Problem;

/// Separates this hash from every other use of BLAKE3.
const CONTEXT: &str = "holdfast 2026-11 twin version v1";

/// A version of a section, or of several at once.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Version([u8; 16]);

impl Version {
    /// The version of a document with these heads; of one that was never written there are none.
    #[must_use]
    pub fn of(heads: &[Hash]) -> Self {
        Self(digest(heads))
    }

    /// The version of what is made of several sections.
    #[must_use]
    pub fn joined(versions: &[Self]) -> Self {
        let mut hash = blake3::Hasher::new_derive_key(CONTEXT);
        for version in versions {
            hash.update(&version.0);
        }
        let mut out = [0; 16];
        hash.finalize_xof().fill(&mut out);
        Self(out)
    }

    /// As an entity tag.
    #[must_use]
    pub fn etag(self) -> String {
        format!("\"{self}\"")
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Version({self})")
    }
}

/// Entity tags in a header.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Tags {
    /// `*`: whatever there is.
    Any,
    /// These, without their quotes, and whether each is weak.
    Some(Vec<(bool, String)>),
}

impl Tags {
    fn read(headers: &HeaderMap, name: &HeaderName) -> Result<Option<Self>, Problem> {
        let mut found = Vec::new();
        for value in headers.get_all(name) {
            let wrong = || {
                Problem::malformed("this is no list of entity tags")
                    .at(format!("header: {name}"))
                    .expected("\"VERSION\", several of them, or *")
            };
            let text = value.to_str().map_err(|_| wrong())?.trim();
            if text == "*" {
                return Ok(Some(Self::Any));
            }
            // No version has a comma in it.
            for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
                let (weak, quoted) = match part.strip_prefix("W/") {
                    Some(rest) => (true, rest),
                    None => (false, part),
                };
                let tag = quoted.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
                found.push((weak, tag.ok_or_else(wrong)?.to_owned()));
            }
        }
        let is_there = headers.contains_key(name);
        Ok(is_there.then_some(Self::Some(found)))
    }

    /// Whether what is there is one of these; `weakly` when it need not be so byte by byte.
    fn name(&self, version: Version, exists: bool, weakly: bool) -> bool {
        match self {
            Self::Any => exists,
            Self::Some(tags) => {
                let version = version.to_string();
                tags.iter().any(|(weak, tag)| (weakly || !weak) && *tag == version)
            }
        }
    }
}

/// What a request demands of the version that is there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Condition {
    matches: Option<Tags>,
    differs: Option<Tags>,
}

impl Condition {
    /// Reads `If-Match` and `If-None-Match`.
    ///
    /// # Errors
    /// 400 when one of them cannot be read.
    pub fn read(headers: &HeaderMap) -> Result<Self, Problem> {
        let matches = Tags::read(headers, &IF_MATCH)?;
        Ok(Self { matches, differs: Tags::read(headers, &IF_NONE_MATCH)? })
    }

    /// Whether a change may be made of `version`; `exists` says whether it was ever written.
    #[must_use]
    pub fn lets_write(&self, version: Version, exists: bool) -> bool {
        self.matches.as_ref().is_none_or(|tags| tags.name(version, exists, false))
            && !self.differs.as_ref().is_some_and(|tags| tags.name(version, exists, true))
    }

    /// Whether whoever asks has `version` already.
    #[must_use]
    pub fn is_known(&self, version: Version) -> bool {
        self.differs.as_ref().is_some_and(|tags| tags.name(version, true, true))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn condition(name: &'static str, value: &str) -> Result<Condition, Problem> {
        let mut headers = HeaderMap::new();
        headers.insert(HeaderName::from_static(name), value.parse().unwrap());
        Condition::read(&headers)
    }

    #[test]
    fn a_change_is_let_through_for_the_version_it_was_made_for() {
        let (this, other) = (Version::of(&[[1; 32]]), Version::of(&[[2; 32]]));
        let made_for = |text: &str| condition("if-match", text).unwrap();
        assert!(made_for(&this.etag()).lets_write(this, true));
        assert!(made_for(&format!("{}, {}", other.etag(), this.etag())).lets_write(this, true));
        assert!(!made_for(&other.etag()).lets_write(this, true));
        assert!(!made_for(&format!("W/{}", this.etag())).lets_write(this, true), "weak");
        assert!(made_for("*").lets_write(this, true));
        assert!(!made_for("*").lets_write(Version::of(&[]), false));
        assert!(!made_for("").lets_write(this, true), "a header that names nothing");
        assert!(Condition::default().lets_write(this, true));
    }

    #[test]
    fn a_change_may_demand_that_nothing_was_written_yet() {
        let nothing = Version::of(&[]);
        let first = condition("if-none-match", "*").unwrap();
        assert!(first.lets_write(nothing, false));
        assert!(!first.lets_write(Version::of(&[[1; 32]]), true));
    }

    #[test]
    fn who_has_the_version_is_not_sent_it_again() {
        let this = Version::of(&[[1; 32]]);
        for known in [this.etag(), format!("W/{}", this.etag()), "*".to_owned()] {
            assert!(condition("if-none-match", &known).unwrap().is_known(this), "{known}");
        }
        assert!(!condition("if-none-match", "\"x\"").unwrap().is_known(this));
        assert!(!Condition::default().is_known(this));
    }

    #[test]
    fn what_is_no_entity_tag_is_told() {
        for wrong in ["abc", "\"abc", "W/abc"] {
            let problem = condition("if-match", wrong).unwrap_err();
            assert_eq!(problem.body()["at"], "header: if-match", "{wrong}");
        }
    }
}
