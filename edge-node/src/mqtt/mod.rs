//! MQTT 3.1.1 and 5 as it is written: packets, their bytes, topics. Pure, without I/O.
//!
//! [`packet`] has the packets of both versions in one shape, [`codec`] turns bytes into them and
//! back and refuses whatever a strict server must refuse, with the [`reason`] that version 5 gives.
//! [`topic`] judges and matches topic names and filters. What a packet means within a session is
//! not known here. The numbers of the statements that hold are in `docs/mqtt-conformance.md`.

pub mod codec;
pub mod packet;
pub mod reason;
pub mod text;
pub mod topic;
