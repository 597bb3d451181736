//! Signing in and out: `/v1/session`.

use super::session::{LIFE_MS, lock};
use super::{Auth, Who, check_origin, cookie, cookie_name, hash};
use crate::http::Json;
use crate::problem::Problem;
use crate::routes::{Answer, NoContent, NoStore, Operation, Routes};
use crate::time_text::Time;
use axum::extract::connect_info::ConnectInfo;
use axum::extract::{FromRef, State};
use axum::http::header::SET_COOKIE;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{AppendHeaders, IntoResponse, Response};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;

/// `GET`, `POST` and `DELETE /v1/session`.
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
}

/// What a page signs in with.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct SignIn {
    /// The text of a token.
    token: String,
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
    headers: HeaderMap,
    Json(body): Json<SignIn>,
) -> Result<WithCookie<axum::Json<WhoShape>>, Problem> {
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
    let cookie = set_cookie(&headers, &cookie, LIFE_MS / 1_000);
    let who = Who { grant, by_session: true };
    Ok(WithCookie { cookie, answer: axum::Json((&who).into()) })
}

async fn sign_out(
    State(auth): State<Auth>,
    headers: HeaderMap,
) -> Result<WithCookie<NoContent>, Problem> {
    check_origin(&headers, false)?;
    if let Some(cookie) = cookie(&headers) {
        lock(&auth.0.sessions).close(cookie);
    }
    let cookie = set_cookie(&headers, "", 0);
    Ok(WithCookie { cookie, answer: NoContent })
}

fn set_cookie(headers: &HeaderMap, value: &str, max_age_s: u64) -> String {
    let name = cookie_name(headers);
    format!("{name}={value}; HttpOnly; SameSite=Strict; Path=/; Max-Age={max_age_s}")
}
