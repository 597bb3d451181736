//! MQTT 3.1.1 and 5 as it is written: packets, their bytes, topics. Pure, without I/O.
//!
//! [`packet`] has the packets of both versions in one shape, with the [`reason`]s of version 5.
//! [`topic`] judges and matches topic names and filters. What a packet means within a session is
//! not known here.

pub mod packet;
pub mod reason;
pub mod text;
pub mod topic;
