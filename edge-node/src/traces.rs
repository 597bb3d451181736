//! The gateway's part of a trace: the request, its commit, its step of the pipeline, its way to the
//! hub.

use crate::settings::Settings;
use holdfast_core::ChainId;
use holdfast_node::pipeline::OnTraced;
use holdfast_node::supervise::Supervisor;
use holdfast_node::trace::{Follower, Kind, Resource, Tracer};
use holdfast_sync::net::UplinkState;
use holdfast_sync::store::{Snapshot, Store};
use std::sync::Arc;
use tokio::sync::watch;

/// Starts tracing, if it is configured.
pub fn start(
    settings: &Settings,
    supervisor: &Supervisor,
    store: &Store,
    uplink: watch::Receiver<UplinkState>,
) -> (Tracer, Option<OnTraced>) {
    let instance = store.node().to_string();
    let resource = Resource { service: "holdfast-edge", version: crate::VERSION, instance };
    let tracer = Tracer::start(&settings.trace, resource, store.env(), supervisor);
    if !tracer.is_on() {
        return (tracer, None);
    }
    let reached = Arc::new(move |view: &Snapshot<'_>, chain: &ChainId| {
        let Some(hub) = uplink.borrow().hub else { return Ok(None) };
        let found = view.chains()?.into_iter().find(|info| info.id == *chain);
        found.map(|info| view.acked(&hub, info.no)).transpose()
    });
    let follower = Follower::new(tracer.clone(), "sync", Kind::Producer, reached);
    let (following, followed) = (follower.clone(), store.clone());
    supervisor.spawn("traces", move |stop| following.clone().run(followed.clone(), stop));
    let on_traced: OnTraced =
        Arc::new(move |found, began, ended| follower.step(found, began, ended));
    (tracer, Some(on_traced))
}
