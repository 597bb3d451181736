//! The sync session: one peer's history as a pure machine.
//!
//! `handle(now, input)`, `poll() -> Output`, `next_deadline()`; no socket, clock or database
//! inside. After a hello in both directions each side lists what it holds of the chains in question
//! and sends what the other lacks: new commits first, backlog behind them, both as one compressed
//! stream of records in frames of at most 16 KiB. Received commits are acknowledged when they are
//! on disk, and the acknowledgement is what lets the sender send more. Messages about documents
//! ([`crate::docs::exchange`]) travel in the same stream, in both directions, behind new events and
//! before everything else. Byte-exact page: `docs/formats/session.md`.

mod flow;
mod frame;
mod history;
mod io;
mod machine;
mod outbox;
mod plan;
mod policy;

pub use frame::{FRAME_MAX_BYTES, Frame, FrameReader, Held, HeldDocuments, Hello, RefusalCode};
pub use io::{Config, End, Input, LocalChain, Now, Output, ReadRequest};
pub use machine::Session;
pub use plan::Backfill;
pub use policy::{Admission, Policy};

/// The protocol versions this program speaks.
pub const PROTOCOL: std::ops::RangeInclusive<u32> = 1..=1;
