//! MQTT 3.1.1 and 5: packets, their bytes, topics, and what a connection may say. Without I/O.
//!
//! [`packet`] has the packets of both versions in one shape, [`codec`] turns bytes into them and
//! back and refuses whatever a strict server must refuse, with the [`reason`] that version 5 gives.
//! [`topic`] judges and matches topic names and filters. [`connection`] is the exchange with one
//! client: bytes go in and come out, and what has to be done is asked of whoever has the sessions.
//! [`ingest`] tells what a topic brings and turns payloads into readings, [`commands`] is what the
//! command line has of it. The numbers of the statements that hold are in
//! `docs/mqtt-conformance.md`.

pub mod access;
pub mod broker;
pub mod codec;
pub mod commands;
pub mod connection;
pub mod counts;
pub mod door;
pub mod ingest;
pub mod ledger;
pub mod message;
pub mod metrics;
pub mod packet;
pub mod reason;
pub mod routes;
pub mod server;
pub mod start;
pub mod text;
pub mod topic;
