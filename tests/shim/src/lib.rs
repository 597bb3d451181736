//! Preloaded into a node under test: journals, in order, what it writes and syncs.
//!
//! The library stands in front of the C library's file calls (`LD_PRELOAD`). For files below
//! `HOLDFAST_POWERCUT_DIR` it performs the call and appends a record of it, data included, to
//! `HOLDFAST_POWERCUT_JOURNAL`; everything else passes through. From the journal the harness
//! builds the directory as a disk might hold it after a power cut at any point.
//!
//! - A call that changes something and its record are made under one lock, so the journal has the
//!   order of the changes. A sync is not: its record says which records existed when it *began*,
//!   since only those are covered by it.
//! - A record is written after its call and before the caller goes on. What a client was told is
//!   therefore always in the journal already.
//! - `-shm` files are left out: SQLite's shared memory is volatile by design. `close` and
//!   `sync_file_range` are left out too: neither makes anything durable.
//! - What the library cannot follow it refuses, so that callers take their portable path:
//!   `copy_file_range`, `sendfile`, `splice`, exchanging renames, hole punching, moves across the
//!   directory's edge. Direct system calls and shared mappings go unseen; the harness compares
//!   the journal's end state with the real directory to notice them.

#[cfg(not(all(target_os = "linux", target_pointer_width = "64")))]
compile_error!("the shim speaks 64-bit Linux system calls");

mod data;
mod descriptors;
mod format;
mod names;
mod paths;
mod recorder;
mod sys;
