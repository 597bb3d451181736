//! The sync session over libp2p and QUIC: the only room that names them.
//!
//! A [`Net`] is a swarm of its own task: it listens, dials, limits connections and closes those of
//! removed peers. Sessions and enrolments run over its streams. An edge keeps one [`Uplink`] alive;
//! a hub serves whoever comes with [`serve`].

mod desk;
mod driver;
mod enrol;
mod hub;
mod swarm;
mod uplink;

pub use desk::Library;
pub use driver::{PeerEvent, PeerEvents};
pub use enrol::{EnrolError, Enroller, Joined, Refusal};
pub use hub::{HubOptions, HubPeers, serve};
pub use swarm::{Net, NetError};
pub use uplink::{Uplink, UplinkOptions, UplinkPolicy, UplinkState};
