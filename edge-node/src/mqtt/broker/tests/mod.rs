//! The broker's decisions one by one, those who watch it, and all of it under kills.

mod kills;
mod state;
mod watch;
