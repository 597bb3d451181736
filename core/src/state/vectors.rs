//! Documents with what they show, to be checked on every machine that the rules run on.
//!
//! Each line of `vectors/views.txt` is a case: the policy, the digest of the view, and the paths in
//! their order, each with its cells in whatever order; bytes are hexadecimal. The cells are
//! resolved, and the digest of what they show must be the one that stands there. Where the policy
//! is that the last write stays, a map of a microcontroller into which the same cells are joined,
//! in either direction, must show the same. Nothing is allocated, so a device checks the very lines
//! that a gateway does.

use super::{Cell, Concurrent, Content, LwwMap, Path, Policy, Rule, View, ViewDigest, digest};
use heapless::Vec;

/// The cases, a line each.
pub const VIEWS: &str = include_str!("vectors/views.txt");

/// The document that they are about.
pub const DOCUMENT: &str = "device/pump-1/desired";

/// Bytes of all cells of a case.
const CASE_BYTES: usize = 2048;
/// Cells of a case.
const CASE_CELLS: usize = 24;

/// What is wrong with a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrong {
    /// The line is not one of this form, or is longer than fits.
    Form,
    /// What its cells show has another digest.
    View(ViewDigest),
    /// The map of a microcontroller shows something else.
    Map,
}

/// Checks one case.
///
/// # Errors
/// What is wrong with it.
pub fn check(case: &str) -> Result<(), Wrong> {
    let mut words = case.split(' ');
    let mut bytes: Vec<u8, CASE_BYTES> = Vec::new();
    let policy = decode(words.next().ok_or(Wrong::Form)?, &mut bytes)?;
    let expected = decode(words.next().ok_or(Wrong::Form)?, &mut bytes)?;
    let mut places: Vec<(Path<'_>, (usize, usize)), CASE_CELLS> = Vec::new();
    for word in words {
        let (path, cells) = word.split_once('=').ok_or(Wrong::Form)?;
        let path = Path::new(path).map_err(|_| Wrong::Form)?;
        for cell in cells.split(',') {
            let place = decode(cell, &mut bytes)?;
            places.push((path, place)).map_err(|_| Wrong::Form)?;
        }
    }
    let at = |(from, to): (usize, usize)| &bytes[from..to];
    let policy = Policy::from_bytes(at(policy)).map_err(|_| Wrong::Form)?;
    let mut cells: Vec<Cell<'_>, CASE_CELLS> = Vec::new();
    for (_, place) in &places {
        let cell = Cell::from_bytes(at(*place)).map_err(|_| Wrong::Form)?;
        cells.push(cell).map_err(|_| Wrong::Form)?;
    }
    let is_plain = policy == Policy::LWW
        && cells.iter().all(|c| matches!(c.content, Content::Value(_) | Content::Tombstone));
    let map = is_plain.then(|| maps(&places, &cells)).transpose()?;
    let mut entries: Vec<(Path<'_>, Concurrent<'_, '_>), CASE_CELLS> = Vec::new();
    let mut rest = cells.as_mut_slice();
    for group in places.chunk_by(|a, b| a.0 == b.0) {
        let (here, behind) = rest.split_at_mut(group.len());
        rest = behind;
        entries.push((group[0].0, Concurrent::sort(here))).map_err(|_| Wrong::Form)?;
    }
    let shown = shown(&policy, entries.iter().copied());
    if shown.0.as_slice() != at(expected) {
        return Err(Wrong::View(shown));
    }
    if map.is_none_or(|digests| digests == [shown; 2]) { Ok(()) } else { Err(Wrong::Map) }
}

fn shown<'p, 'c, 'a: 'c>(
    policy: &Policy<'_>,
    entries: impl Iterator<Item = (Path<'p>, Concurrent<'c, 'a>)> + Clone,
) -> ViewDigest {
    let document = Path::new(DOCUMENT).expect("a path");
    let rule = |path: Path<'_>| -> Rule { policy.rule(document, path) };
    digest(document, policy.id(), View::new(entries, rule))
}

/// What maps show into which the cells were joined from the first and from the last.
fn maps(
    places: &[(Path<'_>, (usize, usize))],
    cells: &[Cell<'_>],
) -> Result<[ViewDigest; 2], Wrong> {
    let (mut forth, mut back) = (LwwMap::<CASE_BYTES>::new(), LwwMap::<CASE_BYTES>::new());
    let all = || places.iter().map(|(path, _)| *path).zip(cells);
    for (path, cell) in all() {
        forth.join_cell(path, cell).map_err(|_| Wrong::Map)?;
    }
    for at in (0..cells.len()).rev() {
        back.join_cell(places[at].0, &cells[at]).map_err(|_| Wrong::Map)?;
    }
    let view = |map: &LwwMap<CASE_BYTES>| {
        shown(&Policy::LWW, map.iter().map(|(path, cell)| (path, Concurrent::one(cell))))
    };
    Ok([view(&forth), view(&back)])
}

/// Adds the bytes of a text of digits to `bytes`; says where they are.
fn decode(text: &str, bytes: &mut Vec<u8, CASE_BYTES>) -> Result<(usize, usize), Wrong> {
    let from = bytes.len();
    for pair in text.as_bytes().chunks(2) {
        let digit = |at: usize| pair.get(at).and_then(|d| char::from(*d).to_digit(16));
        let (high, low) = digit(0).zip(digit(1)).ok_or(Wrong::Form)?;
        bytes.push((high * 16 + low) as u8).map_err(|_| Wrong::Form)?;
    }
    Ok((from, bytes.len()))
}
