//! The broker's decisions one by one, and all of it under kills.

mod kills;
mod state;
