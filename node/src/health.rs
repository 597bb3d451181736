//! Whether the process lives and whether it serves: `/healthz` and `/readyz`.
//!
//! A supervisor may restart what is not healthy and routes around what is not ready. A gateway
//! without an uplink does its work, so it is *degraded*, not unready.

use axum::extract::{FromRef, State};
use axum::http::StatusCode;
use axum::http::header::CACHE_CONTROL;
use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How a named part does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// As it should.
    Ok,
    /// Something is missing, the work goes on.
    Degraded,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Phase {
    #[default]
    Starting,
    Serving,
    Stopping,
}

#[derive(Debug, Default)]
struct Inner {
    phase: Phase,
    checks: BTreeMap<&'static str, (Level, String)>,
}

/// What each part last said about itself; cheap to clone, part of a service's state.
#[derive(Clone, Debug, Default)]
pub struct Health(Arc<Mutex<Inner>>);

impl Health {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says how the part `name` does; the last word counts.
    pub fn set(&self, name: &'static str, level: Level, detail: impl Into<String>) {
        self.inner().checks.insert(name, (level, detail.into()));
    }

    /// The service serves from now on.
    pub fn serving(&self) {
        self.inner().phase = Phase::Serving;
    }

    /// The service stops.
    pub fn stopping(&self) {
        self.inner().phase = Phase::Stopping;
    }

    /// The answer of `/readyz`.
    #[must_use]
    pub fn ready(&self) -> (StatusCode, Value) {
        let inner = self.inner();
        let is_degraded = inner.checks.values().any(|(level, _)| *level == Level::Degraded);
        let (code, status) = match inner.phase {
            Phase::Starting => (StatusCode::SERVICE_UNAVAILABLE, "starting"),
            Phase::Stopping => (StatusCode::SERVICE_UNAVAILABLE, "stopping"),
            Phase::Serving if is_degraded => (StatusCode::OK, "degraded"),
            Phase::Serving => (StatusCode::OK, "ready"),
        };
        let checks = inner.checks.iter().map(|(name, (level, detail))| {
            let level = if *level == Level::Ok { "ok" } else { "degraded" };
            ((*name).to_owned(), json!({ "status": level, "detail": detail }))
        });
        let checks: serde_json::Map<_, _> = checks.collect();
        (code, json!({ "status": status, "checks": checks }))
    }
}

/// `GET /healthz` and `GET /readyz`; open to all, since they tell no secret and probes carry none.
pub fn routes<S: Clone + Send + Sync + 'static>() -> Router<S>
where
    Health: FromRef<S>,
{
    Router::new().route("/healthz", get(live)).route("/readyz", get(ready))
}

async fn live() -> impl IntoResponse {
    ([(CACHE_CONTROL, "no-store")], Json(json!({ "status": "alive" })))
}

async fn ready(State(health): State<Health>) -> impl IntoResponse {
    let (code, body) = health.ready();
    (code, [(CACHE_CONTROL, "no-store")], Json(body))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(health: &Health) -> (u16, String) {
        let (code, body) = health.ready();
        (code.as_u16(), body["status"].as_str().unwrap().to_owned())
    }

    #[test]
    fn a_missing_uplink_degrades_but_does_not_unready() {
        let health = Health::default();
        assert_eq!(status(&health), (503, "starting".into()));
        health.set("store", Level::Ok, "");
        health.serving();
        assert_eq!(status(&health), (200, "ready".into()));
        health.set("uplink", Level::Degraded, "no hub answers");
        assert_eq!(status(&health), (200, "degraded".into()));
        assert_eq!(health.ready().1["checks"]["uplink"]["detail"], "no hub answers");
        health.set("uplink", Level::Ok, "");
        assert_eq!(status(&health), (200, "ready".into()));
        health.stopping();
        assert_eq!(status(&health), (503, "stopping".into()));
    }
}
