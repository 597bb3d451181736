//! The scenarios at the size of the test command, with fixed seeds.

mod backlog;
mod enrolment;
mod kills;
mod links;
mod power;
mod refusal;
