//! Which format a body is in, by its media type (RFC 9110, section 8.3).
//!
//! Text is UTF-8; a parameter that says otherwise is refused rather than guessed around.

use std::fmt;

/// A format of device data. Its number is part of what a repeated request is known by: new ones
/// come last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// One JSON object or an array of them.
    Json,
    /// One JSON object per line.
    Ndjson,
    /// InfluxDB line protocol.
    Line,
    /// A SenML pack in JSON.
    SenmlJson,
    /// A SenML pack in CBOR.
    SenmlCbor,
}

impl Format {
    /// Its media types, the usual one first.
    #[must_use]
    pub const fn media_types(self) -> &'static [&'static str] {
        match self {
            Self::Json => &["application/json"],
            Self::Ndjson => &["application/x-ndjson", "application/ndjson"],
            Self::Line => &["text/plain", "application/vnd.influx.line-protocol"],
            Self::SenmlJson => &["application/senml+json"],
            Self::SenmlCbor => &["application/senml+cbor"],
        }
    }
}

/// Why a media type was refused, and what would have been accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnsupportedMedia {
    /// What is wrong with it.
    pub detail: String,
    /// The media types that are accepted.
    pub accepted: Vec<&'static str>,
}

impl fmt::Display for UnsupportedMedia {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; accepted: {}", self.detail, self.accepted.join(", "))
    }
}

/// Chooses among `accepted` by the value of a `Content-Type` header.
///
/// # Errors
/// [`UnsupportedMedia`] when there is none, it is not accepted, or its charset is not UTF-8.
pub fn negotiate(
    content_type: Option<&str>,
    accepted: &[Format],
) -> Result<Format, UnsupportedMedia> {
    let refuse = |detail: String| UnsupportedMedia {
        detail,
        accepted: accepted.iter().map(|format| format.media_types()[0]).collect(),
    };
    let header = content_type.ok_or_else(|| refuse("the Content-Type header is missing".into()))?;
    let mut parts = header.split(';');
    let media_type = parts.next().unwrap_or_default().trim();
    for parameter in parts {
        let Some((name, value)) = parameter.split_once('=') else { continue };
        let value = value.trim().trim_matches('"');
        let utf8 = ["utf-8", "utf8", "us-ascii"].iter().any(|c| value.eq_ignore_ascii_case(c));
        if name.trim().eq_ignore_ascii_case("charset") && !utf8 {
            return Err(refuse(format!("the charset is `{value}`, only utf-8 is read")));
        }
    }
    let is_named = |format: &&Format| {
        format.media_types().iter().any(|known| known.eq_ignore_ascii_case(media_type))
    };
    let known = accepted.iter().find(is_named);
    known.copied().ok_or_else(|| refuse(format!("`{media_type}` is not accepted here")))
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOTH: [Format; 2] = [Format::Json, Format::Ndjson];

    #[test]
    fn the_media_type_chooses_the_format() {
        for (header, format) in [
            ("application/json", Format::Json),
            ("Application/JSON; charset=UTF-8", Format::Json),
            ("application/x-ndjson;charset=\"utf-8\"", Format::Ndjson),
            ("application/ndjson ; foo", Format::Ndjson),
        ] {
            assert_eq!(negotiate(Some(header), &BOTH), Ok(format), "{header}");
        }
        let line = negotiate(Some("text/plain; charset=utf-8"), &[Format::Line]);
        assert_eq!(line, Ok(Format::Line));
    }

    #[test]
    fn a_refusal_names_what_is_accepted() {
        for (header, words) in [
            (None, "missing"),
            (Some("text/html"), "`text/html`"),
            (Some(""), "``"),
            (Some("application/json; charset=latin1"), "`latin1`"),
        ] {
            let error = negotiate(header, &BOTH).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
            assert!(error.contains("application/json, application/x-ndjson"), "{error}");
        }
    }
}
