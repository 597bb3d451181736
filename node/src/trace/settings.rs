//! The section on traces, which both services have.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Where traces go.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Trace {
    /// The collector; none when tracing is off.
    pub endpoint: Endpoint,
    /// The share of requests without a context of their own that are traced.
    pub ratio: Ratio,
}

/// A share, from 0 to 1.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Ratio(pub f64);

impl<'de> Deserialize<'de> for Ratio {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let ratio = f64::deserialize(deserializer)?;
        if (0.0..=1.0).contains(&ratio) {
            return Ok(Self(ratio));
        }
        Err(D::Error::custom(format!("expected a share from 0 to 1, got {ratio}")))
    }
}

/// The address of a collector: `http://HOST:PORT`, with a path or without; empty for none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Endpoint(Option<Place>);

/// Where a collector takes spans.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// `HOST:PORT`.
    pub authority: String,
    /// Where it takes traces.
    pub path: String,
}

impl Endpoint {
    pub(super) fn place(&self) -> Option<Place> {
        self.0.clone()
    }

    fn parse(text: &str) -> Option<Self> {
        if text.is_empty() {
            return Some(Self(None));
        }
        let rest = text.strip_prefix("http://")?;
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (host, port) = authority.rsplit_once(':')?;
        let is_host = !host.is_empty() && !host.contains(['@', ' ']);
        let is_path = path.bytes().all(|byte| byte.is_ascii_graphic());
        let port: u16 = port.parse().ok()?;
        let path = format!("/{}", if path.is_empty() { "v1/traces" } else { path });
        let place = Place { authority: format!("{host}:{port}"), path };
        (is_host && is_path).then_some(Self(Some(place)))
    }
}

impl Serialize for Endpoint {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.0 {
            None => serializer.serialize_str(""),
            Some(Place { authority, path }) => {
                serializer.collect_str(&format_args!("http://{authority}{path}"))
            }
        }
    }
}

impl<'de> Deserialize<'de> for Endpoint {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| {
            D::Error::custom(format!("expected http://HOST:PORT, or nothing, got `{text}`"))
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed step of a test is its failure")]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_an_address_of_http() {
        let place = |text| Endpoint::parse(text).map(|endpoint| endpoint.place());
        let at = |authority: &str, path: &str| {
            Some(Some(Place { authority: authority.to_owned(), path: path.to_owned() }))
        };
        assert_eq!(place(""), Some(None));
        assert_eq!(place("http://localhost:4318"), at("localhost:4318", "/v1/traces"));
        assert_eq!(place("http://[::1]:4318/a/b"), at("[::1]:4318", "/a/b"));
        for wrong in ["localhost:4318", "https://a:1", "http://a", "http://:1", "http://a:70000"] {
            assert_eq!(place(wrong), None, "{wrong}");
        }
        let endpoint = Endpoint::parse("http://a:1").unwrap();
        assert_eq!(serde_json::to_value(&endpoint).unwrap(), "http://a:1/v1/traces");
        assert!(serde_json::from_str::<Ratio>("1.5").is_err());
    }
}
