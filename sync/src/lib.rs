//! A full node's replica: its store, its log, its identity and the session that syncs them.
//!
//! [`store`] is the only room that knows the database: one writer groups what is waiting into one
//! transaction and hands out a [`store::Committed`] token after the fsync. [`docs`] keeps state:
//! what several nodes change at once, [`artefact`] what never changes. [`identity`] says who a node
//! is and who may join a fleet. [`session`] is the sync protocol as a pure machine; [`net`] drives
//! it over QUIC, by libp2p or by quinn alone. [`env`] is where time and entropy come from,
//! [`counts`] what has been done.

pub mod artefact;
pub mod counts;
pub mod docs;
pub mod env;
pub mod fault;
pub mod identity;
pub mod net;
pub mod segment;
pub mod session;
pub mod store;

pub use fault::Fault;
