//! The routes both services share: series, readings, rollups, alerts, twins, artefacts and access
//! tokens.
//!
//! A gateway answers for itself, the hub for its fleet; [`Nodes`] says which nodes there are and
//! what they are called.

mod alerts;
mod artefacts;
mod conflicts;
mod data;
mod migrations;
mod notices;
mod policies;
mod rollups;
mod runs;
mod standing;
mod tokens;
mod told;
mod twins;
mod wire;
mod workflows;

pub use alerts::{AlertCounts, AlertShape, Alerts, alert_shapes, routes as alert_routes};
pub use artefacts::{publish_routes, routes as artefact_routes};
pub use conflicts::routes as conflict_routes;
pub use data::{Data, Named, fault_problem, readings, routes as data_routes};
pub use policies::routes as policy_routes;
pub use runs::routes as run_routes;
pub use tokens::{NewDevice, Tokens, check_devices, create_token, routes as token_routes};
pub use told::routes as told_run_routes;
pub use twins::routes as twin_routes;
pub use wire::{AsOf, LiveShape, ProgressShape, UsageShape, live_shapes};

use crate::problem::Problem;
use crate::twins::Twins;
use holdfast_core::NodeId;
use holdfast_sync::docs::DocumentName;

/// The names of the nodes a service answers for.
pub trait Nodes: Send + Sync {
    /// `site/name` of a node; its id where it has no name.
    fn name(&self, node: &NodeId) -> String;
    /// The node called `site/name`, or with this id.
    fn find(&self, name: &str) -> Option<NodeId>;
}

/// The document of a site that this node keeps.
fn site_document(twins: &Twins, site: &str) -> Result<DocumentName, Problem> {
    let document = DocumentName::new(&format!("site/{site}")).ok();
    document.filter(|document| twins.steward().keeps(document)).ok_or_else(|| {
        Problem::not_found(format!("there is no site `{site}` here"))
            .expected("the site of a gateway that has joined")
    })
}

/// Lets handlers take parts of a service's state: `parts!(App: Data => data, Auth => auth)`.
#[macro_export]
macro_rules! parts {
    ($state:ty: $($part:ty => $field:ident),+ $(,)?) => {
        $(impl axum::extract::FromRef<$state> for $part {
            fn from_ref(state: &$state) -> Self {
                state.$field.clone()
            }
        })+
    };
}
