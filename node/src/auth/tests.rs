//! Tokens, scopes and sessions through a router.

use super::*;
use crate::http::Transport;
use crate::sources::by_hand::Hand;
use axum::Router;
use axum::body::Body;
use axum::extract::connect_info::ConnectInfo;
use axum::http::header::{CONTENT_TYPE, SET_COOKIE, WWW_AUTHENTICATE};
use axum::http::{Request, Response, StatusCode};
use axum::routing::{get, post};
use holdfast_core::Timestamp;
use http_body_util::BodyExt;
use hyper_util::service::TowerToHyperService;
use serde_json::Value;
use std::net::SocketAddr;

struct World {
    hand: Hand,
    book: Arc<TokenMap>,
    router: Router,
}

const ADMIN: &str = "hf_adm_a";
const VIEWER: &str = "hf_vew_a";
const INGEST: &str = "hf_ing_a";
const DEVICE: &str = "hf_dev_a";

fn world() -> World {
    let (hand, book) = (Hand::default(), Arc::new(TokenMap::default()));
    for (token, scope) in [
        (ADMIN, Scope::Admin),
        (VIEWER, Scope::Viewer),
        (INGEST, Scope::Ingest),
        (DEVICE, Scope::Device("ps-1".into())),
    ] {
        let name = format!("the {scope}");
        book.insert(hash(token), Grant { id: token[3..6].into(), scope, name, expires: None });
    }
    let auth = Auth::new(Arc::clone(&book) as Arc<dyn TokenBook>, hand.sources());
    let about = crate::routes::About { title: "", summary: "", version: "", reviewed: &[] };
    let router = routes::<Auth>()
        .finish(&about)
        .0
        .route("/admin", post(|_: Admin| async {}))
        .route("/read", get(|_: Reader| async {}))
        .route("/post", post(|who: Poster| async move { check_device(who.own_device(), "ps-2") }))
        .with_state(auth);
    World { hand, book, router }
}

impl World {
    async fn send(&self, request: Request<Body>) -> Response<Body> {
        let service = TowerToHyperService::new(self.router.clone());
        hyper::service::Service::call(&service, request).await.unwrap()
    }

    async fn with_token(&self, method: &str, path: &str, token: &str) -> Response<Body> {
        let request = Request::builder().method(method).uri(path);
        let header = format!("Bearer {token}");
        self.send(request.header(AUTHORIZATION, header).body(Body::empty()).unwrap()).await
    }

    async fn sign_in(&self, token: &str) -> Response<Body> {
        self.sign_in_by("token", token, Transport::default()).await
    }

    async fn sign_in_by(&self, by: &str, text: &str, transport: Transport) -> Response<Body> {
        let peer: SocketAddr = "10.0.0.9:7".parse().unwrap();
        let request = Request::post("/v1/session")
            .header(CONTENT_TYPE, "application/json")
            .header(HOST, "node:8484")
            .extension(ConnectInfo(peer))
            .extension(transport)
            .body(Body::from(format!("{{\"{by}\":\"{text}\"}}")));
        self.send(request.unwrap()).await
    }

    async fn with_cookie(
        &self,
        method: &str,
        path: &str,
        cookie: &str,
        origin: Option<&str>,
    ) -> Response<Body> {
        let mut request = Request::builder().method(method).uri(path).header(HOST, "node:8484");
        if let Some(origin) = origin {
            request = request.header(ORIGIN, origin);
        }
        let cookies = format!("other=1; {cookie}");
        self.send(request.header(COOKIE, cookies).body(Body::empty()).unwrap()).await
    }
}

async fn body(response: Response<Body>) -> Value {
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    serde_json::from_slice(&bytes).unwrap()
}

/// `name=value` of the cookie that is set.
fn cookie_of(response: &Response<Body>) -> String {
    let set = response.headers()[SET_COOKIE].to_str().unwrap();
    assert!(set.contains("HttpOnly; SameSite=Strict; Path=/"), "{set}");
    set.split(';').next().unwrap().to_owned()
}

#[test]
fn a_token_says_its_kind_and_hides_its_secret() {
    let token = generate(Kind::Device, |out| out.fill(0xff));
    assert_eq!(token, format!("hf_dev_{}", "7".repeat(32)));
    assert_ne!(hash(&token), hash("hf_dev_"));
}

#[tokio::test]
async fn every_scope_reaches_what_it_may_and_no_more() {
    let world = world();
    for (path, method, allowed) in [
        ("/admin", "POST", &[ADMIN][..]),
        ("/read", "GET", &[ADMIN, VIEWER]),
        ("/post", "POST", &[ADMIN, INGEST]),
    ] {
        for token in [ADMIN, VIEWER, INGEST, DEVICE] {
            let status = world.with_token(method, path, token).await.status();
            let expected =
                if allowed.contains(&token) { StatusCode::OK } else { StatusCode::FORBIDDEN };
            assert_eq!(status, expected, "{token} {path}");
        }
    }
    let refused = body(world.with_token("POST", "/admin", VIEWER).await).await;
    assert_eq!(refused["expected"], "an admin token");
    assert_eq!(refused["detail"], "this needs an admin token, the token `the viewer` is viewer");
    let foreign = body(world.with_token("POST", "/post", DEVICE).await).await;
    assert_eq!(
        (&foreign["code"], &foreign["expected"]),
        (&"foreign-device".into(), &"ps-1".into())
    );
}

#[tokio::test]
async fn missing_unknown_and_expired_tokens_are_told_apart() {
    let world = world();
    let bare = world.send(Request::get("/read").body(Body::empty()).unwrap()).await;
    assert_eq!(bare.status(), StatusCode::UNAUTHORIZED);
    assert!(bare.headers().contains_key(WWW_AUTHENTICATE));
    assert_eq!(body(bare).await["code"], "no-token");
    let unknown = world.with_token("GET", "/read", "hf_adm_b").await;
    assert_eq!(body(unknown).await["code"], "unknown-token");
    let basic = Request::get("/read").header(AUTHORIZATION, "Basic abc").body(Body::empty());
    assert_eq!(body(world.send(basic.unwrap()).await).await["code"], "no-token");
    let influx = Request::get("/read").header(AUTHORIZATION, format!("Token {ADMIN}"));
    let influx = world.send(influx.body(Body::empty()).unwrap()).await;
    assert_eq!(influx.status(), StatusCode::OK);

    let expires = Some(Timestamp(5_000_000_000));
    let (scope, name) = (Scope::Viewer, "old".to_owned());
    world.book.insert(hash("old"), Grant { id: "1".into(), scope, name, expires });
    assert_eq!(world.with_token("GET", "/read", "old").await.status(), StatusCode::OK);
    world.hand.pass_ms(5_000);
    let expired = body(world.with_token("GET", "/read", "old").await).await;
    assert_eq!(expired["code"], "token-expired");
    assert_eq!(expired["detail"], "the token expired at 1970-01-01T00:00:05Z");
}

#[tokio::test]
async fn a_page_signs_in_acts_and_signs_out() {
    let world = world();
    let signed_in = world.sign_in(ADMIN).await;
    let cookie = cookie_of(&signed_in);
    assert!(cookie.starts_with("holdfast_session_8484="), "{cookie}");
    assert_eq!(body(signed_in).await["scope"], "admin");
    let who = body(world.with_cookie("GET", "/v1/session", &cookie, None).await).await;
    assert_eq!((&who["name"], &who["session"]), (&"the admin".into(), &true.into()));

    let own = Some("http://node:8484");
    let status = world.with_cookie("POST", "/admin", &cookie, own).await.status();
    assert_eq!(status, StatusCode::OK);
    for origin in [None, Some("http://evil"), Some("http://node:9999"), Some("null")] {
        let refused = world.with_cookie("POST", "/admin", &cookie, origin).await;
        assert_eq!(refused.status(), StatusCode::FORBIDDEN, "{origin:?}");
        assert_eq!(body(refused).await["code"], "foreign-origin");
    }

    let out = world.with_cookie("DELETE", "/v1/session", &cookie, own).await;
    assert_eq!(out.status(), StatusCode::NO_CONTENT);
    assert!(out.headers()[SET_COOKIE].to_str().unwrap().ends_with("Max-Age=0"));
    let over = world.with_cookie("GET", "/v1/session", &cookie, None).await;
    assert_eq!(body(over).await["code"], "session-over");
}

#[tokio::test]
async fn a_session_over_https_is_for_https_only() {
    let world = world();
    let set = |response: &Response<Body>| response.headers()[SET_COOKIE].clone();
    let plain = set(&world.sign_in(ADMIN).await);
    assert!(!plain.to_str().unwrap().contains("Secure"), "{plain:?}");
    let https = world.sign_in_by("token", ADMIN, Transport { is_tls: true }).await;
    assert!(set(&https).to_str().unwrap().ends_with("; Secure"), "{https:?}");
}

#[tokio::test]
async fn a_code_signs_in_once_and_only_a_token_gets_one() {
    let world = world();
    let code = async || {
        let made = world.with_token("POST", "/v1/session/codes", ADMIN).await;
        assert_eq!(made.status(), StatusCode::CREATED);
        body(made).await["code"].as_str().unwrap().to_owned()
    };
    let by_code = async |code: &str| world.sign_in_by("code", code, Transport::default()).await;
    let first = code().await;
    let signed_in = by_code(&first).await;
    let cookie = cookie_of(&signed_in);
    assert_eq!(body(signed_in).await["scope"], "admin");
    let again = by_code(&first).await;
    assert_eq!(again.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(body(again).await["code"], "unknown-code");

    let own = Some("http://node:8484");
    let refused = world.with_cookie("POST", "/v1/session/codes", &cookie, own).await;
    assert_eq!(refused.status(), StatusCode::FORBIDDEN);
    for token in [VIEWER, INGEST, DEVICE] {
        let refused = world.with_token("POST", "/v1/session/codes", token).await;
        assert_eq!(refused.status(), StatusCode::FORBIDDEN, "{token}");
    }
    let late = code().await;
    world.hand.pass_ms(10 * 60_000);
    assert_eq!(by_code(&late).await.status(), StatusCode::UNAUTHORIZED);
    let both = world.sign_in_by("token\":\"a\",\"code", "b", Transport::default()).await;
    assert_eq!(body(both).await["expected"], "`token` or `code`");
}

#[tokio::test]
async fn a_revoked_token_ends_its_sessions() {
    let world = world();
    let cookie = cookie_of(&world.sign_in(VIEWER).await);
    world.book.remove(&hash(VIEWER));
    let refused = world.with_cookie("GET", "/read", &cookie, None).await;
    assert_eq!(body(refused).await["code"], "unknown-token");
}

#[tokio::test]
async fn failed_sign_ins_have_to_wait() {
    let world = world();
    for _ in 0..5 {
        assert_eq!(world.sign_in("guess").await.status(), StatusCode::UNAUTHORIZED);
    }
    let refused = world.sign_in(ADMIN).await;
    assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(refused.headers()["retry-after"], "10");
    world.hand.pass_ms(10_000);
    assert_eq!(world.sign_in(ADMIN).await.status(), StatusCode::OK);
}
