//! The scenarios at the size of the test command, with fixed seeds.

mod alerts;
mod backlog;
mod disks;
mod endpoints;
mod enrolment;
mod firmware;
mod import;
mod interop;
mod kills;
mod links;
mod mqtt;
mod mqtt_watch;
mod operator;
mod outside;
mod power;
mod refusal;
mod restore;
mod smoke;
mod state;
mod traces;
mod twins;
mod websocket;
mod workflows;
mod year;
