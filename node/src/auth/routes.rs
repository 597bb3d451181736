//! Signing in and out: `/v1/session`.

use super::session::{LIFE_MS, lock};
use super::{Auth, Who, check_origin, cookie, cookie_name, hash};
use crate::http::{Json, Transport};
use crate::problem::Problem;
use crate::time_text::Time;
use axum::Router;
use axum::extract::connect_info::ConnectInfo;
use axum::extract::{FromRef, State};
use axum::http::header::{CACHE_CONTROL, SET_COOKIE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{AppendHeaders, IntoResponse};
use axum::routing::get;
use serde::Deserialize;
use serde_json::{Value, json};
use std::net::SocketAddr;

/// `GET`, `POST` and `DELETE /v1/session`.
pub fn routes<S: Clone + Send + Sync + 'static>() -> Router<S>
where
    Auth: FromRef<S>,
{
    Router::new().route("/v1/session", get(show).post(sign_in).delete(sign_out))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SignIn {
    token: String,
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
    let token = hash(body.token.trim());
    let grant = auth.grant(&token).inspect_err(|problem| {
        tracing::warn!(%peer, %problem, "a sign-in failed");
        lock(&auth.0.failures).fail(peer.ip(), now_ms);
    })?;
    let cookie = lock(&auth.0.sessions).open(token, now_ms, |out| (sources.fill)(out));
    let set = set_cookie(&headers, transport, &cookie, LIFE_MS / 1_000);
    let who = Who { grant, by_session: true };
    Ok((AppendHeaders([(SET_COOKIE, set)]), axum::Json(describe(&who))))
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
