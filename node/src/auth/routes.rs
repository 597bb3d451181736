//! Signing in and out: `/v1/session`, and the codes for it.

use super::session::{LIFE_MS, lock};
use super::{Admin, Auth, Grant, TokenHash, Who, check_origin, code, cookie, cookie_name, hash};
use crate::http::{Json, Transport};
use crate::problem::Problem;
use crate::time_text::Time;
use axum::Router;
use axum::extract::connect_info::ConnectInfo;
use axum::extract::{FromRef, State};
use axum::http::header::{CACHE_CONTROL, SET_COOKIE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{AppendHeaders, IntoResponse};
use axum::routing::{get, post};
use serde::Deserialize;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::Arc;

/// `GET`, `POST` and `DELETE /v1/session`, `POST /v1/session/codes`.
pub fn routes<S: Clone + Send + Sync + 'static>() -> Router<S>
where
    Auth: FromRef<S>,
{
    Router::new()
        .route("/v1/session", get(show).post(sign_in).delete(sign_out))
        .route("/v1/session/codes", post(make_code))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SignIn {
    token: Option<String>,
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

fn describe(who: &Who) -> Value {
    let grant = &who.grant;
    json!({
        "id": grant.id,
        "name": grant.name,
        "scope": grant.scope.kind().word(),
        "device": grant.scope.device(),
        "expires": grant.expires.map(Time),
        "session": who.by_session,
    })
}

async fn show(who: Who) -> impl IntoResponse {
    ([(CACHE_CONTROL, "no-store")], axum::Json(describe(&who)))
}

async fn sign_in(
    State(auth): State<Auth>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    transport: Transport,
    headers: HeaderMap,
    Json(body): Json<SignIn>,
) -> Result<impl IntoResponse, Problem> {
    check_origin(&headers, false)?;
    let sources = &auth.0.sources;
    let now_ms = (sources.monotonic_ms)();
    lock(&auth.0.failures).check(peer.ip(), now_ms).map_err(|wait_s| {
        Problem::too_many("too many failed sign-ins from this address", wait_s)
    })?;
    let (token, grant) = body.redeem(&auth, now_ms).inspect_err(|problem| {
        // Without the port, which is another each time: one cause is one line.
        tracing::warn!(peer = %peer.ip(), reason = %problem, "a sign-in failed");
        lock(&auth.0.failures).fail(peer.ip(), now_ms);
    })?;
    let cookie = lock(&auth.0.sessions).open(token, now_ms, |out| (sources.fill)(out));
    let set = set_cookie(&headers, transport, &cookie, LIFE_MS / 1_000);
    let who = Who { grant, token, by_session: true };
    Ok((AppendHeaders([(SET_COOKIE, set)]), axum::Json(describe(&who))))
}

/// A code for signing in once as whoever asks. Only a token gets one: a page is signed in already,
/// and its session should not outlive itself.
async fn make_code(
    Admin(who): Admin,
    State(auth): State<Auth>,
) -> Result<impl IntoResponse, Problem> {
    if who.by_session {
        let detail = "a session cannot make codes: use the token itself";
        return Err(Problem::forbidden("out-of-scope", detail));
    }
    let sources = &auth.0.sources;
    let now_ms = (sources.monotonic_ms)();
    let code = lock(&auth.0.codes).make(who.token, now_ms, |out| (sources.fill)(out));
    let body = json!({ "code": code, "valid_s": code::LIFE_MS / 1_000 });
    Ok((StatusCode::CREATED, [(CACHE_CONTROL, "no-store")], axum::Json(body)))
}

async fn sign_out(
    State(auth): State<Auth>,
    transport: Transport,
    headers: HeaderMap,
) -> Result<impl IntoResponse, Problem> {
    check_origin(&headers, false)?;
    if let Some(cookie) = cookie(&headers) {
        lock(&auth.0.sessions).close(cookie);
    }
    let set = set_cookie(&headers, transport, "", 0);
    Ok((StatusCode::NO_CONTENT, AppendHeaders([(SET_COOKIE, set)])))
}

fn set_cookie(headers: &HeaderMap, transport: Transport, value: &str, max_age_s: u64) -> String {
    let name = cookie_name(headers);
    // What was given over HTTPS is never sent in the clear.
    let secure = if transport.is_tls { "; Secure" } else { "" };
    format!("{name}={value}; HttpOnly; SameSite=Strict; Path=/; Max-Age={max_age_s}{secure}")
}
