//! Whether the process lives and whether it serves: `/healthz` and `/readyz`.
//!
//! A supervisor may restart what is not healthy and routes around what is not ready. A gateway
//! without an uplink does its work, so it is *degraded*, not unready.

use crate::routes::{Answer, NoStore, Operation, Reply, Routes, Shape};
use axum::Json;
use axum::extract::{FromRef, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use schemars::{JsonSchema, SchemaGenerator};
use serde::Serialize;
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
    pub fn ready(&self) -> Readiness {
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
            ((*name).to_owned(), CheckShape { status: level, detail: detail.clone() })
        });
        Readiness { code, told: ReadinessShape { status, checks: checks.collect() } }
    }
}

/// Whether the process serves.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Readiness")]
pub struct ReadinessShape {
    /// `starting`, `ready`, `degraded` or `stopping`.
    pub status: &'static str,
    /// What each part says of itself.
    pub checks: BTreeMap<String, CheckShape>,
}

/// How a part does.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Check")]
pub struct CheckShape {
    /// `ok` or `degraded`.
    pub status: &'static str,
    /// In a few words.
    pub detail: String,
}

/// The answer of `/readyz`: 200 while the process serves.
#[derive(Debug)]
pub struct Readiness {
    code: StatusCode,
    told: ReadinessShape,
}

impl IntoResponse for Readiness {
    fn into_response(self) -> Response {
        (self.code, Json(self.told)).into_response()
    }
}

impl Answer for Readiness {
    fn describe(operation: &mut Operation) {
        let shape: Shape = SchemaGenerator::subschema_for::<ReadinessShape>;
        for (status, when) in [
            (StatusCode::OK, "It serves, also while something is missing."),
            (StatusCode::SERVICE_UNAVAILABLE, "It does not serve yet, or any more."),
        ] {
            operation.answers(Reply { status, when, body: Some(("application/json", shape)) });
        }
    }
}

/// That the process lives.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Alive")]
struct AliveShape {
    /// `alive`.
    status: &'static str,
}

/// `GET /healthz` and `GET /readyz`; open to all, since they tell no secret and probes carry none.
pub fn routes<S: Clone + Send + Sync + 'static>() -> Routes<S>
where
    Health: FromRef<S>,
{
    Routes::new().get("/healthz", "Whether the process lives", live).get(
        "/readyz",
        "Whether it serves",
        ready,
    )
}

async fn live() -> NoStore<Json<AliveShape>> {
    NoStore(Json(AliveShape { status: "alive" }))
}

async fn ready(State(health): State<Health>) -> NoStore<Readiness> {
    NoStore(health.ready())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(health: &Health) -> (u16, String) {
        let Readiness { code, told } = health.ready();
        (code.as_u16(), told.status.to_owned())
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
        assert_eq!(health.ready().told.checks["uplink"].detail, "no hub answers");
        health.set("uplink", Level::Ok, "");
        assert_eq!(status(&health), (200, "ready".into()));
        health.stopping();
        assert_eq!(status(&health), (503, "stopping".into()));
    }
}
