//! Every bound of the formats in one place, each with its reason.
//!
//! A limit is part of the format: a value beyond it is refused where it enters, so nothing behind
//! the door has to think about it again.

/// Bytes of a device id: fits a MAC address, a UUID or a URN, and a line of a table.
pub const DEVICE_MAX_BYTES: usize = 64;
/// Bytes of a metric name, tags of line protocol included.
pub const METRIC_MAX_BYTES: usize = 128;
/// Bytes of a unit: the longest UCUM codes in use are well below.
pub const UNIT_MAX_BYTES: usize = 32;
/// Bytes of a text value: a state or an error message, not a document.
pub const TEXT_MAX_BYTES: usize = 256;
/// Bytes of what people read or write about an alert or an event: a paragraph.
pub const NOTE_MAX_BYTES: usize = 1024;
/// Bytes of the name of an alert rule.
pub const RULE_MAX_BYTES: usize = 64;
/// Entries in one commit: bounds what a reader has to hold to check one link.
pub const COMMIT_MAX_ENTRIES: u32 = 16_384;
/// Bytes of one canonical commit body: bounds a receiver's buffer for one record.
pub const COMMIT_MAX_BYTES: usize = 1 << 20;
/// Bytes of one envelope payload.
pub const ENVELOPE_MAX_BYTES: usize = 64 << 10;
/// Ranges remembered per device and boot for de-duplication.
pub const DEVICE_RANGES: usize = 64;
/// Ranges of a chain's frontier: newest-first backfill needs two, declared gaps the rest.
pub const FRONTIER_RANGES: usize = 64;
/// A clock ahead of ours by more than this never moves ours.
pub const HLC_MAX_AHEAD_MS: u64 = 60_000;
/// The greatest millisecond a wall clock gives a stamp, in the year 4199: half of the range, so
/// that for every stamp an honest clock made there is always a greater one.
pub const CLOCK_MAX_MS: u64 = (1 << 46) - 1;
/// A device time ahead of the receive time by more than this is not trusted.
pub const DEVICE_AHEAD_MAX_NS: i64 = 300 * 1_000_000_000;
/// A device time older than this on arrival is not trusted: no gateway is away longer.
pub const DEVICE_BEHIND_MAX_NS: i64 = 400 * 86_400 * 1_000_000_000;
/// Bytes of a path in a document: as long as a metric, because a path often is one.
pub const PATH_MAX_BYTES: usize = 128;
/// Segments of a path: deeper documents are hard to read and nobody's configuration needs them.
pub const PATH_MAX_SEGMENTS: usize = 8;
/// Bytes of one value in a document: a certificate or a short script, not a file.
pub const CELL_VALUE_MAX_BYTES: usize = 4096;
/// Brackets within brackets of an array value: bounds what a checker has to remember.
pub const ARRAY_MAX_DEPTH: usize = 16;
/// Authors whose sets are joined at one path: bounds the memory of a resolution.
pub const SET_MAX_AUTHORS: usize = 64;
/// Lines of a policy: it is searched for every path of a view.
pub const POLICY_MAX_LINES: usize = 64;

const _: () = assert!(COMMIT_MAX_BYTES >= (DEVICE_MAX_BYTES + METRIC_MAX_BYTES + TEXT_MAX_BYTES));
const _: () = assert!(ENVELOPE_MAX_BYTES < COMMIT_MAX_BYTES);
