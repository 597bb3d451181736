//! MQTT 3.1.1 and 5: a broker for the site, whose acknowledgement means that a message is on disk.
//!
//! Without I/O: [`packet`] has the packets of both versions in one shape, [`codec`] turns bytes
//! into them and back and refuses whatever a strict server must refuse, with the [`reason`] that
//! version 5 gives. [`topic`] judges and matches topic names and filters, [`connection`] is the
//! exchange with one client, [`rules`] tells what a topic brings and turns payloads into readings,
//! [`firmware`] does so for devices with our firmware and says what they are answered, [`access`]
//! who may what, [`starts`] what begins runs of workflows.
//!
//! [`broker`] has the sessions: it decides in memory, [`ledger`] puts its decisions on disk, in one
//! transaction with the readings that come through [`door`]; [`desired`] has it tell devices what
//! they should be. [`server`] takes connections and
//! drives them, [`start`] wires it to the node; [`api`] and [`commands`] show it to people,
//! [`counts`] and [`metrics`] to machines. The numbers of the statements that hold are in
//! `docs/mqtt-conformance.md`.

pub mod access;
pub mod api;
pub mod broker;
pub mod codec;
pub mod commands;
pub mod connection;
pub mod counts;
pub mod desired;
pub mod door;
pub mod firmware;
pub mod ledger;
pub mod message;
pub mod metrics;
pub mod packet;
pub mod reason;
pub mod rules;
pub mod server;
pub mod start;
pub mod starts;
pub mod text;
pub mod topic;
