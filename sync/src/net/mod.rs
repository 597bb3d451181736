//! The sync session over QUIC: the only room that names libp2p and quinn.
//!
//! A [`Net`] listens, dials, limits connections and closes those of removed peers. Two drivers do
//! that, chosen by [`Transport`]: a swarm of libp2p, or quinn alone. On the wire they are one: the
//! same handshake proves the same keys, and streams name their protocol alike, so either reaches
//! the other. Sessions and enrolments run over the streams of a `Net` and do not know which it is.
//! An edge keeps one [`Uplink`] alive; a hub serves whoever comes with [`serve`].

mod desk;
mod driver;
mod enrol;
mod hub;
mod quic;
mod swarm;
mod transport;
mod uplink;

pub use desk::Library;
pub use driver::{PeerEvent, PeerEvents};
pub use enrol::{EnrolError, Enroller, Joined, Refusal};
pub use hub::{HubOptions, HubPeers, serve};
pub use transport::{Net, NetError, Transport};
pub use uplink::{Uplink, UplinkOptions, UplinkPolicy, UplinkState};
