//! The hub's part of a trace: until the entries of a gateway are on its disk, and their step of the
//! pipeline.

use crate::settings::Settings;
use holdfast_core::ChainId;
use holdfast_node::pipeline::OnTraced;
use holdfast_node::supervise::Supervisor;
use holdfast_node::trace::{Follower, Kind, Resource, Tracer};
use holdfast_sync::store::{Snapshot, Store};
use std::sync::Arc;

/// Starts tracing, if it is configured.
pub fn start(
    settings: &Settings,
    supervisor: &Supervisor,
    store: &Store,
) -> (Tracer, Option<OnTraced>) {
    let instance = store.node().to_string();
    let resource = Resource { service: "holdfast-hub", version: crate::VERSION, instance };
    let tracer = Tracer::start(&settings.trace, resource, store.env(), supervisor);
    if !tracer.is_on() {
        return (tracer, None);
    }
    let reached = Arc::new(|view: &Snapshot<'_>, chain: &ChainId| {
        let found = view.chains()?.into_iter().find(|info| info.id == *chain);
        Ok(found.map(|info| info.frontier))
    });
    let follower = Follower::new(tracer.clone(), "receive", Kind::Consumer, reached);
    let (following, followed) = (follower.clone(), store.clone());
    supervisor.spawn("traces", move |stop| following.clone().run(followed.clone(), stop));
    let on_traced: OnTraced =
        Arc::new(move |found, began, ended| follower.step(found, began, ended));
    (tracer, Some(on_traced))
}
