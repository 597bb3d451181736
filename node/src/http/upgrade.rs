//! The handshake of WebSocket (RFC 6455): a request that asks for it, and the answer after which
//! the connection is no longer HTTP.
//!
//! What is spoken then, and its frames, are the route's affair, and so are time limits: those of
//! this shell end with the answer.

use crate::problem::Problem;
use crate::routes::{Answer, Operation, Part, Reply};
use axum::extract::FromRequestParts;
use axum::http::header::{
    CONNECTION, HeaderName, ORIGIN, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY,
    SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use data_encoding::BASE64;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use ring::digest::{Context, SHA1_FOR_LEGACY_USE_ONLY};
use std::fmt;
use std::io;

/// What is added to a key before it is hashed (RFC 6455, 1.3).
const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// A request to speak WebSocket.
pub struct WebSocket {
    accept: HeaderValue,
    offered: Vec<String>,
    by_page: bool,
    switch: OnUpgrade,
}

impl fmt::Debug for WebSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WebSocket({})", self.offered.join(", "))
    }
}

impl WebSocket {
    /// Whether a page may be asking: browsers always say where a page is from, others hardly ever.
    #[must_use]
    pub const fn is_by_page(&self) -> bool {
        self.by_page
    }

    /// Takes the request, to speak `protocol`: the answer, and the bytes that come after it.
    ///
    /// # Errors
    /// 400 when the client does not offer this protocol.
    pub fn speak(self, protocol: &'static str) -> Result<(Switching, Switched), Problem> {
        if !self.offered.iter().any(|offered| offered == protocol) {
            let detail = match self.offered.is_empty() {
                true => "no subprotocol is offered".to_owned(),
                false => format!("the subprotocol is not among `{}`", self.offered.join(", ")),
            };
            return Err(malformed(&SEC_WEBSOCKET_PROTOCOL, detail).expected(protocol));
        }
        Ok((Switching { accept: self.accept, protocol }, Switched(self.switch)))
    }
}

/// What becomes of the connection once the answer is out.
#[derive(Debug)]
pub struct Switched(OnUpgrade);

impl Switched {
    /// The connection.
    ///
    /// # Errors
    /// When it broke before the answer was out.
    pub async fn stream(self) -> io::Result<TokioIo<Upgraded>> {
        self.0.await.map(TokioIo::new).map_err(io::Error::other)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for WebSocket {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let headers = &parts.headers;
        let switch = parts.extensions.remove::<OnUpgrade>();
        let (Some(switch), true) = (switch, asks_for(headers)) else {
            return Err(Problem::upgrade_required("this route speaks WebSocket", "websocket"));
        };
        if headers.get(SEC_WEBSOCKET_VERSION).is_none_or(|version| version != "13") {
            let detail = "another version of WebSocket";
            return Err(malformed(&SEC_WEBSOCKET_VERSION, detail).expected("13"));
        }
        let key = headers.get(SEC_WEBSOCKET_KEY).map(HeaderValue::as_bytes).unwrap_or_default();
        if BASE64.decode(key).map_or(true, |nonce| nonce.len() != 16) {
            let detail = "the key cannot be one";
            return Err(malformed(&SEC_WEBSOCKET_KEY, detail).expected("16 bytes in Base64"));
        }
        Ok(Self {
            accept: accept(key),
            offered: words(headers, &SEC_WEBSOCKET_PROTOCOL).map(str::to_owned).collect(),
            by_page: headers.contains_key(ORIGIN),
            switch,
        })
    }
}

impl Part for WebSocket {
    fn describe(operation: &mut Operation) {
        operation.takes_header("Sec-WebSocket-Protocol", "What is to be spoken.");
        operation.may_fail(&[StatusCode::BAD_REQUEST, StatusCode::UPGRADE_REQUIRED]);
    }
}

/// 101: from here on it is WebSocket.
#[derive(Clone, Debug)]
pub struct Switching {
    accept: HeaderValue,
    protocol: &'static str,
}

impl IntoResponse for Switching {
    fn into_response(self) -> Response {
        let headers = [
            (CONNECTION, HeaderValue::from_static("upgrade")),
            (UPGRADE, HeaderValue::from_static("websocket")),
            (SEC_WEBSOCKET_ACCEPT, self.accept),
            (SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(self.protocol)),
        ];
        (StatusCode::SWITCHING_PROTOCOLS, headers).into_response()
    }
}

impl Answer for Switching {
    fn describe(operation: &mut Operation) {
        let status = StatusCode::SWITCHING_PROTOCOLS;
        operation.answers(Reply { status, when: "What follows is WebSocket.", body: None });
    }
}

fn malformed(header: &HeaderName, detail: impl Into<String>) -> Problem {
    Problem::malformed(detail).at(format!("header: {header}"))
}

fn asks_for(headers: &HeaderMap) -> bool {
    let has = |name, word: &str| words(headers, name).any(|w| w.eq_ignore_ascii_case(word));
    has(&CONNECTION, "upgrade") && has(&UPGRADE, "websocket")
}

/// The words of a list, which may be in several headers.
fn words<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    let lists = headers.get_all(name).into_iter().filter_map(|list| list.to_str().ok());
    lists.flat_map(|list| list.split(',')).map(str::trim).filter(|word| !word.is_empty())
}

/// What shows the client that its key was read.
fn accept(key: &[u8]) -> HeaderValue {
    let mut hash = Context::new(&SHA1_FOR_LEGACY_USE_ONLY);
    hash.update(key);
    hash.update(GUID.as_bytes());
    let text = BASE64.encode(hash.finish().as_ref());
    HeaderValue::from_str(&text).expect("Base64 is plain text")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_of_the_standard_gets_the_answer_of_the_standard() {
        // RFC 6455, 1.3.
        assert_eq!(accept(b"dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn lists_may_be_in_several_headers() {
        let mut headers = HeaderMap::new();
        headers.append(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static("chat, mqtt"));
        headers.append(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static("x,"));
        let found: Vec<_> = words(&headers, &SEC_WEBSOCKET_PROTOCOL).collect();
        assert_eq!(found, ["chat", "mqtt", "x"]);
    }
}
