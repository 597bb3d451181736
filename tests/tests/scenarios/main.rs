//! The scenarios at the size of the test command, with fixed seeds.

mod kills;
mod links;
mod refusal;
