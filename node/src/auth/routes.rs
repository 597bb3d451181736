//! Signing in and out: `/v1/session`, and the codes for it.

use super::session::{LIFE_MS, lock};
use super::{
    Admin, Auth, Grant, TokenHash, Who, check_origin, code, cookie, cookie_name, hash, limiter,
};
use crate::http::{Json, Transport};
use crate::problem::Problem;
use crate::routes::{Answer, Created, NoContent, NoStore, Operation, Routes};
use crate::time_text::Time;
use axum::extract::connect_info::ConnectInfo;
use axum::extract::{FromRef, State};
use axum::http::header::SET_COOKIE;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{AppendHeaders, IntoResponse, Response};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::sync::Arc;

/// `GET`, `POST` and `DELETE /v1/session`, `POST /v1/session/codes`.
pub fn routes<S: Clone + Send + Sync + 'static>() -> Routes<S>
where
    Auth: FromRef<S>,
{
    Routes::new()
        .get("/v1/session", "Who asks", show)
        .post("/v1/session", "Signs a page in: the session is in a cookie", sign_in)
        .with(|operation| {
            operation.may_fail(&[
                StatusCode::UNAUTHORIZED,
                StatusCode::FORBIDDEN,
                StatusCode::TOO_MANY_REQUESTS,
            ]);
        })
        .delete("/v1/session", "Signs out", sign_out)
        .post("/v1/session/codes", "Makes a code that signs a page in, once", make_code)
}

/// What a page signs in with.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct SignIn {
    /// The text of a token.
    token: Option<String>,
    /// Instead of it a code that `POST /v1/session/codes` has made.
    code: Option<String>,
}

impl SignIn {
    /// The token that is meant, and what it grants. A code is used up by this.
    fn redeem(&self, auth: &Auth, now_ms: u64) -> Result<(TokenHash, Arc<Grant>), Problem> {
        let token = match (&self.token, &self.code) {
            (Some(token), None) => hash(token.trim()),
            (None, Some(code)) => lock(&auth.0.codes).take(code, now_ms).ok_or_else(|| {
                let detail = "this address was used or is too old: `token login` makes another";
                Problem::unauthorized("unknown-code", detail)
            })?,
            _ => {
                let problem = Problem::invalid("invalid-body", "one of two is needed");
                return Err(problem.expected("`token` or `code`"));
            }
        };
        Ok((token, auth.grant(&token)?))
    }
}

/// Who asks.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Who")]
struct WhoShape {
    /// The token's id.
    id: String,
    /// Its name.
    name: String,
    /// What it may: `admin`, `viewer`, `ingest` or `device`.
    scope: &'static str,
    /// The device that a device token is of.
    device: Option<String>,
    /// When it stops working.
    expires: Option<Time>,
    /// Whether a page asks, by its session.
    session: bool,
}

impl From<&Who> for WhoShape {
    fn from(who: &Who) -> Self {
        let grant = &who.grant;
        Self {
            id: grant.id.clone(),
            name: grant.name.clone(),
            scope: grant.scope.kind().word(),
            device: grant.scope.device().map(str::to_owned),
            expires: grant.expires.map(Time),
            session: who.by_session,
        }
    }
}

/// An answer that sets the cookie of a session.
struct WithCookie<T> {
    cookie: String,
    answer: T,
}

impl<T: IntoResponse> IntoResponse for WithCookie<T> {
    fn into_response(self) -> Response {
        (AppendHeaders([(SET_COOKIE, self.cookie)]), self.answer).into_response()
    }
}

impl<T: Answer> Answer for WithCookie<T> {
    fn describe(operation: &mut Operation) {
        T::describe(operation);
    }
}

async fn show(who: Who) -> NoStore<axum::Json<WhoShape>> {
    NoStore(axum::Json((&who).into()))
}

async fn sign_in(
    State(auth): State<Auth>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    transport: Transport,
    headers: HeaderMap,
    Json(body): Json<SignIn>,
) -> Result<WithCookie<axum::Json<WhoShape>>, Problem> {
    check_origin(&headers, false)?;
    let sources = &auth.0.sources;
    let now_ms = (sources.monotonic_ms)();
    lock(&auth.0.failures).check(limiter::address(peer.ip()), now_ms).map_err(|wait_s| {
        Problem::too_many("too many failed sign-ins from this address", wait_s)
    })?;
    let (token, grant) = body.redeem(&auth, now_ms).inspect_err(|problem| {
        // Without the port, which is another each time: one cause is one line.
        tracing::warn!(peer = %peer.ip(), reason = %problem, "a sign-in failed");
        lock(&auth.0.failures).fail(limiter::address(peer.ip()), now_ms);
    })?;
    let cookie = lock(&auth.0.sessions).open(token, now_ms, |out| (sources.fill)(out));
    let cookie = set_cookie(&headers, transport, &cookie, LIFE_MS / 1_000);
    let who = Who { grant, token, by_session: true };
    Ok(WithCookie { cookie, answer: axum::Json((&who).into()) })
}

/// A code that was just made.
#[derive(Serialize, JsonSchema)]
struct MadeCode {
    /// Signs a page in, once.
    code: String,
    /// For how many seconds it does.
    valid_s: u64,
}

/// A code for signing in once as whoever asks. Only a token gets one: a page is signed in already,
/// and its session should not outlive itself.
async fn make_code(
    Admin(who): Admin,
    State(auth): State<Auth>,
) -> Result<NoStore<Created<MadeCode>>, Problem> {
    if who.by_session {
        let detail = "a session cannot make codes: use the token itself";
        return Err(Problem::forbidden("out-of-scope", detail));
    }
    let sources = &auth.0.sources;
    let now_ms = (sources.monotonic_ms)();
    let code = lock(&auth.0.codes).make(who.token, now_ms, |out| (sources.fill)(out));
    Ok(NoStore(Created(MadeCode { code, valid_s: code::LIFE_MS / 1_000 })))
}

async fn sign_out(
    State(auth): State<Auth>,
    transport: Transport,
    headers: HeaderMap,
) -> Result<WithCookie<NoContent>, Problem> {
    check_origin(&headers, false)?;
    if let Some(cookie) = cookie(&headers) {
        lock(&auth.0.sessions).close(cookie);
    }
    let cookie = set_cookie(&headers, transport, "", 0);
    Ok(WithCookie { cookie, answer: NoContent })
}

fn set_cookie(headers: &HeaderMap, transport: Transport, value: &str, max_age_s: u64) -> String {
    let name = cookie_name(headers);
    // What was given over HTTPS is never sent in the clear.
    let secure = if transport.is_tls { "; Secure" } else { "" };
    format!("{name}={value}; HttpOnly; SameSite=Strict; Path=/; Max-Age={max_age_s}{secure}")
}
