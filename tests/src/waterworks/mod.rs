//! A waterworks of simulated devices: pumping stations with a tank each, posting over HTTP, or
//! every other one over MQTT.
//!
//! What a device measures is a pure function of seed, device and time ([`Station`]). How its
//! readings come out, with jittered times, gaps, late and shuffled batches, is a pure sequence too
//! ([`Feed`], [`Backlog`]). Only posting has state ([`Poster`]): it repeats each batch until it is
//! acknowledged, under the (device, boot, sequence) it was measured with, and keeps an account of
//! every acknowledgement for a comparison with the hub ([`Account`]). What was recorded elsewhere
//! is posted by a [`Replay`].

mod account;
mod backlog;
mod feed;
mod item;
mod post;
mod publish;
mod replay;
mod run;
mod station;

pub use account::{Account, Acknowledged, Point, SeriesKey};
pub use backlog::Backlog;
pub use feed::{Batch, Feed, Habits};
pub use item::{Item, Key, Reading, Value};
pub use post::{Delivery, GaveUp, Patience, Poster, Rejected};
pub use replay::{Replay, Replayed};
pub use run::{Pace, Shift, Works};
pub use station::{Measure, Station};
