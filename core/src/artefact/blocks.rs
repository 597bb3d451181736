//! Content in blocks: what each hashes to, and how the hashes of all lead to that of the content.
//!
//! BLAKE3 is a tree over pieces of 1 KiB. A block is a subtree of sixteen of them, and its hash the
//! value that its parent takes from it; so the hash of the content follows from those of the
//! blocks, with memory for one of them on each level.

use super::limits::{BLOCK_BYTES, CONTENT_BYTES};
use blake3::hazmat::{HasherExt, Mode, merge_subtrees_non_root, merge_subtrees_root};

/// Levels above the blocks of the longest content, and one for the block that comes.
const LEVELS: usize = (CONTENT_BYTES / BLOCK_BYTES as u64).ilog2() as usize + 2;

/// How many blocks content of `size` bytes has.
#[must_use]
pub const fn blocks(size: u64) -> u64 {
    size.div_ceil(BLOCK_BYTES as u64)
}

/// How many bytes block `index` of content of `size` bytes has; 0 when there is no such block.
#[must_use]
pub const fn block_len(size: u64, index: u64) -> usize {
    let rest = size.saturating_sub(index.saturating_mul(BLOCK_BYTES as u64));
    if rest < BLOCK_BYTES as u64 { rest as usize } else { BLOCK_BYTES }
}

/// The hash of a block: `bytes` are the block `index` of content of `size` bytes.
///
/// `None` when that block has another length.
#[must_use]
pub fn block_hash(size: u64, index: u64, bytes: &[u8]) -> Option<[u8; 32]> {
    if bytes.is_empty() || bytes.len() != block_len(size, index) {
        return None;
    }
    if blocks(size) == 1 {
        return Some(*blake3::hash(bytes).as_bytes());
    }
    let mut hasher = blake3::Hasher::new();
    hasher.set_input_offset(index * BLOCK_BYTES as u64);
    Some(hasher.update(bytes).finalize_non_root())
}

/// The hash of some content, taken in pieces of any length: for who has no room for a block.
#[derive(Default)]
pub struct Hasher(blake3::Hasher);

impl Hasher {
    /// Takes the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The hash of all of them.
    #[must_use]
    pub fn finish(&self) -> [u8; 32] {
        *self.0.finalize().as_bytes()
    }
}

/// The hashes of the blocks of some content, taken one after the other.
#[derive(Clone, Debug, Default)]
pub struct Outline {
    /// Of the blocks so far, the roots of the whole subtrees, the largest first.
    roots: heapless::Vec<[u8; 32], LEVELS>,
    count: u64,
}

impl Outline {
    /// No block yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { roots: heapless::Vec::new(), count: 0 }
    }

    /// Takes the hash of the next block; `false` when that is more than any content has.
    #[must_use]
    pub fn push(&mut self, hash: [u8; 32]) -> bool {
        // Only now that another follows is it known that these are not at the root.
        while self.roots.len() > self.count.count_ones() as usize {
            self.join(merge_subtrees_non_root);
        }
        let taken = self.roots.push(hash).is_ok();
        self.count += u64::from(taken);
        taken
    }

    /// The hash of the content; `None` without any block.
    #[must_use]
    pub fn finish(mut self) -> Option<[u8; 32]> {
        while self.roots.len() > 2 {
            self.join(merge_subtrees_non_root);
        }
        if self.roots.len() == 2 {
            self.join(|left, right, mode| *merge_subtrees_root(left, right, mode).as_bytes());
        }
        self.roots.pop()
    }

    fn join(&mut self, merge: impl FnOnce(&[u8; 32], &[u8; 32], Mode<'_>) -> [u8; 32]) {
        if let (Some(right), Some(left)) = (self.roots.pop(), self.roots.last_mut()) {
            *left = merge(left, &right, Mode::Hash);
        }
    }
}
