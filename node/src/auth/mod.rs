//! Who asks, and what they may do.
//!
//! A request carries a token (`Authorization: Bearer`) or, from a page, the cookie of a session
//! that was opened with one, or with a code that stands for one once. A handler says what it needs
//! by the extractor it takes: [`Admin`], [`Reader`] or [`Poster`]. Tokens are known by their BLAKE3
//! hash alone; a lookup by hash leaks nothing by its timing.

mod book;
mod code;
mod limiter;
mod routes;
mod session;
mod token;

pub use book::{Grant, TokenBook, TokenMap};
pub use routes::routes;
pub use token::{Kind, Scope, TokenHash, generate, hash};

use crate::problem::Problem;
use crate::sources::Sources;
use axum::extract::{FromRef, FromRequestParts};
use axum::http::header::{AUTHORIZATION, COOKIE, HOST, ORIGIN};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method};
use code::Codes;
use limiter::Limiter;
use session::Sessions;
use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};

/// All that is needed to know who asks; cheap to clone, part of a service's state.
#[derive(Clone)]
pub struct Auth(Arc<Inner>);

struct Inner {
    book: Arc<dyn TokenBook>,
    sources: Sources,
    sessions: Mutex<Sessions>,
    codes: Mutex<Codes>,
    failures: Mutex<Limiter>,
}

impl fmt::Debug for Auth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Auth")
    }
}

/// Who asks.
#[derive(Clone, Debug)]
pub struct Who {
    /// What the token grants.
    pub grant: Arc<Grant>,
    token: TokenHash,
    /// Whether a page asks, by its session.
    pub by_session: bool,
}

impl Auth {
    /// Asks `book` for tokens.
    #[must_use]
    pub fn new(book: Arc<dyn TokenBook>, sources: Sources) -> Self {
        let (sessions, codes, failures) = <(Mutex<_>, Mutex<_>, Mutex<_>)>::default();
        Self(Arc::new(Inner { book, sources, sessions, codes, failures }))
    }

    /// Finds out who asks.
    ///
    /// # Errors
    /// 401 when nobody known does, 403 when a page of another origin does.
    pub fn who(&self, method: &Method, headers: &HeaderMap) -> Result<Who, Problem> {
        if let Some(header) = headers.get(AUTHORIZATION) {
            let text = header.to_str().unwrap_or_default();
            let (scheme, token) = text.split_once(' ').unwrap_or((text, ""));
            // Clients of InfluxDB 2 say `Token`.
            if !["bearer", "token"].iter().any(|known| scheme.eq_ignore_ascii_case(known)) {
                let detail = "the Authorization header must be `Bearer TOKEN`";
                return Err(Problem::unauthorized("no-token", detail).at("Authorization"));
            }
            let token = hash(token.trim());
            let grant = self.grant(&token)?;
            return Ok(Who { grant, token, by_session: false });
        }
        let Some(cookie) = cookie(headers) else {
            let detail = "a token is needed: send `Authorization: Bearer TOKEN`";
            return Err(Problem::unauthorized("no-token", detail));
        };
        let now_ms = (self.0.sources.monotonic_ms)();
        let token = session::lock(&self.0.sessions).touch(cookie, now_ms).ok_or_else(|| {
            let detail = "the session is over, sign in again";
            Problem::unauthorized("session-over", detail)
        })?;
        if !method.is_safe() {
            check_origin(headers, true)?;
        }
        Ok(Who { grant: self.grant(&token)?, token, by_session: true })
    }

    /// What a token grants that a client shows as its password. One whose tokens are wrong again
    /// and again has to wait; others at its address do not, for many may be behind one.
    ///
    /// # Errors
    /// 401 when the token is not known or has expired, 429 when the client has to wait.
    pub fn password(&self, peer: IpAddr, client: &str, token: &str) -> Result<Arc<Grant>, Problem> {
        let now_ms = (self.0.sources.monotonic_ms)();
        let mut source = blake3::Hasher::new();
        source.update(&limiter::address(peer).to_le_bytes()).update(client.as_bytes());
        let source = source.finalize();
        let source = source.as_bytes().first_chunk().expect("32 bytes are more than 16");
        let source = u128::from_le_bytes(*source);
        session::lock(&self.0.failures).check(source, now_ms).map_err(|wait_s| {
            Problem::too_many("too many wrong tokens from this client", wait_s)
        })?;
        self.grant(&hash(token)).inspect_err(|_| {
            session::lock(&self.0.failures).fail(source, now_ms);
        })
    }

    fn grant(&self, token: &TokenHash) -> Result<Arc<Grant>, Problem> {
        let grant = self.0.book.lookup(token).ok_or_else(|| {
            Problem::unauthorized("unknown-token", "the token is unknown or was revoked")
        })?;
        let now = (self.0.sources.now)();
        match grant.expires {
            Some(expires) if expires <= now => {
                let since = crate::time_text::format(expires);
                let detail = format!("the token expired at {since}");
                Err(Problem::unauthorized("token-expired", detail))
            }
            _ => Ok(grant),
        }
    }
}

/// A page of another origin must not act with this origin's cookie.
fn check_origin(headers: &HeaderMap, is_required: bool) -> Result<(), Problem> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let origin = match text(ORIGIN) {
        Some(origin) => origin.split_once("://").map(|(_, host)| host),
        None if is_required => None,
        None => return Ok(()),
    };
    let host = text(HOST);
    if origin.is_some() && origin == host {
        return Ok(());
    }
    let detail = "with a session, Origin must be the host that is asked";
    Err(Problem::forbidden("foreign-origin", detail).at("Origin"))
}

/// The name of the session cookie. Browsers do not keep ports apart, so the port is in the name:
/// several nodes on one machine keep their own sessions.
fn cookie_name(headers: &HeaderMap) -> String {
    let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let port = host.rsplit_once(':').map(|(_, port)| port);
    match port.and_then(|port| port.parse::<u16>().ok()) {
        Some(port) => format!("holdfast_session_{port}"),
        None => "holdfast_session".to_owned(),
    }
}

fn cookie(headers: &HeaderMap) -> Option<&str> {
    let name = cookie_name(headers);
    let all = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = all.flat_map(|value| value.split(';')).filter_map(|pair| pair.split_once('='));
    pairs.find(|(key, _)| key.trim() == name).map(|(_, value)| value.trim())
}

impl<S: Send + Sync> FromRequestParts<S> for Who
where
    Auth: FromRef<S>,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        Auth::from_ref(state).who(&parts.method, &parts.headers)
    }
}

fn out_of_scope(who: &Who, needed: &str) -> Problem {
    let detail =
        format!("this needs {needed}, the token `{}` is {}", who.grant.name, who.grant.scope);
    Problem::forbidden("out-of-scope", detail).expected(needed)
}

macro_rules! needs {
    ($(#[$doc:meta])* $name:ident, $needed:literal, $allows:pat) => {
        $(#[$doc])*
        #[derive(Clone, Debug)]
        pub struct $name(pub Who);

        impl<S: Send + Sync> FromRequestParts<S> for $name
        where
            Auth: FromRef<S>,
        {
            type Rejection = Problem;

            async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
                let who = Who::from_request_parts(parts, state).await?;
                match who.grant.scope {
                    $allows => Ok(Self(who)),
                    _ => Err(out_of_scope(&who, $needed)),
                }
            }
        }
    };
}

needs!(
    /// May do everything.
    Admin, "an admin token", Scope::Admin
);
needs!(
    /// May read.
    Reader, "a viewer or admin token", Scope::Admin | Scope::Viewer
);
needs!(
    /// May post readings.
    Poster, "a device, ingest or admin token", Scope::Admin | Scope::Ingest | Scope::Device(_)
);

needs!(
    /// May look at twins; a device at its own only.
    TwinReader,
    "a viewer or admin token, or the device's own",
    Scope::Admin | Scope::Viewer | Scope::Device(_)
);
needs!(
    /// May write twins; which sections is told by whose token it is.
    TwinWriter, "an admin token, or the device's own", Scope::Admin | Scope::Device(_)
);

impl Poster {
    /// The device of a device token: readings that name none are its own.
    #[must_use]
    pub fn own_device(&self) -> Option<&str> {
        self.0.grant.scope.device()
    }
}

/// Whether what is of device `own` only, if of one, may be about `device`.
///
/// # Errors
/// 403 when it is another one's.
pub fn check_device(own: Option<&str>, device: &str) -> Result<(), Problem> {
    match own {
        Some(own) if own != device => {
            let detail = format!("the token is of device `{own}`, this is of `{device}`");
            Err(Problem::forbidden("foreign-device", detail).expected(own))
        }
        _ => Ok(()),
    }
}

impl Who {
    /// Whether this is about `device` when a device asks.
    ///
    /// # Errors
    /// 403 when the token is another device's.
    pub fn check_device(&self, device: &str) -> Result<(), Problem> {
        check_device(self.grant.scope.device(), device)
    }
}

#[cfg(test)]
mod tests;
