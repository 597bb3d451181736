//! The bounds of documents, each with its reason.
//!
//! A local write is refused at the bounds of people's use. What others wrote is bounded further
//! out, because each of several writers without a link stays within the bounds and their union need
//! not; beyond those a member misbehaves, and a replica may refuse it.

/// Bytes of keys and cells from which on a document is called large: a person should look at it.
pub const SOFT_BYTES: u64 = 64 << 10;
/// Bytes of keys and cells that a local write may not exceed: a document is loaded as a whole.
pub const HARD_BYTES: u64 = 256 << 10;
/// The same for what others wrote: four writers who each filled the document.
pub const FOREIGN_BYTES: u64 = 4 * HARD_BYTES;
/// Keys with a live cell that a local write may not exceed: a view is one page.
pub const LIVE_KEYS: u64 = 200;
/// Keys, the deleted ones included, whoever wrote them.
pub const KEYS_MAX: u64 = 8 * LIVE_KEYS;
/// Changes of a document: what loading them takes (about 1 KiB each) stays below 16 MiB.
pub const CHANGES_MAX: u64 = 16 << 10;
/// Changes that a local write may not exceed: behind it there is room for what others wrote.
pub const OWN_CHANGES_MAX: u64 = CHANGES_MAX / 2;
/// Changes from which on a gateway folds what nobody else has seen of its own: few enough that a
/// document which is written once a minute is opened at once after weeks alone.
pub const FOLD_CHANGES: u64 = 1 << 10;
/// Changes from which on the hub cuts a history: half of what people's writes may fill, so that
/// there is room for what is written until all have the same.
pub const CUT_CHANGES: u64 = OWN_CHANGES_MAX / 2;
/// For how long a deletion outlives the cuts of its history: a node that is put back to a copy that
/// is no older brings back nothing that was deleted since.
pub const REMEMBERED_MS: u64 = 30 * 86_400_000;
/// Deletions that outlive a cut at most, the newest.
pub const DELETIONS_REMEMBERED: usize = CUT_KEYS as usize / 2;
/// Keys from which on it cuts where most of them are deleted.
pub const CUT_KEYS: u64 = KEYS_MAX / 2;
/// Changes with which an epoch begins: those of its largest document, and one for each cell at a
/// key that has not seen the others.
pub const BASE_CHANGES: usize = 64;
/// Actors, those of earlier epochs too, of which a cut tells how far it covers them: for whoever is
/// put back to a copy of such an epoch.
pub const COVERED_ACTORS: usize = 256;
/// Operations of a document, superseded ones included.
pub const OPERATIONS_MAX: u64 = 4 * CHANGES_MAX;
/// Actors of a document: one per writing start of a node.
pub const ACTORS_MAX: usize = 1024;
/// Heads of a document, and so the dependencies of a change: no more than writers that have not
/// seen each other.
pub const HEADS_MAX: usize = 256;
/// Signed heads of one author of which none covers another: one for each start that had not seen
/// what was lost of an earlier one. The next change of the author covers them all.
pub const HEADS_OF_AUTHOR: usize = 16;
/// Operations of one change: every live key anew, twice.
pub const CHANGE_OPERATIONS: usize = 512;
/// Cells that one change replaces: of each operation as many as have not seen each other, within
/// reason.
pub const CHANGE_REPLACES: usize = 4 * CHANGE_OPERATIONS;
/// Bytes of one change: a full document written at once, and what it replaces.
pub const CHANGE_BYTES: usize = 2 * HARD_BYTES as usize;
/// Bytes to which the columns of a document chunk may inflate: its cells, superseded ones too.
pub const INFLATED_BYTES: usize = 4 << 20;
/// Bytes of what a peer sends of one document at once.
pub const PARCEL_BYTES: usize = 1 << 20;
/// Bytes of changes that wait for others before they can be applied, per document.
pub const WAITING_BYTES: usize = PARCEL_BYTES;
/// Bytes of changes since the last snapshot below which a new one does not pay.
pub const TAIL_BYTES: u64 = 16 << 10;
/// Records of changes since the last snapshot: each is a row to read when a document is opened.
pub const TAIL_RECORDS: u64 = 64;
/// Documents that are held open.
pub const OPEN_MAX: usize = 64;
/// Bytes that open documents take, by estimate.
pub const OPEN_BYTES: usize = 64 << 20;
/// What an open document takes for each stored byte, measured, and besides.
pub const OPEN_FACTOR: usize = 7;
/// What an open document takes at least.
pub const OPEN_BASE: usize = 16 << 10;
/// Chunks in quarantine, over all documents; the oldest go.
pub const QUARANTINE_MAX: usize = 32;

const _: () = assert!(CHANGE_BYTES <= PARCEL_BYTES && PARCEL_BYTES <= INFLATED_BYTES);
