//! The scenarios at the size of the test command, with fixed seeds.

mod backlog;
mod kills;
mod links;
mod power;
mod refusal;
