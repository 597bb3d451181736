//! Runs that go on as ones of another version of their workflow.
//!
//! Whether a run can change depends on where it waits, so each is judged by itself
//! ([`holdfast_core::flow::migrate`]); those that cannot stay as they are. The change is a step
//! like any other: one transaction, a line of history.

use super::library::Flow;
use holdfast_core::flow::memory::bytes_of;
use holdfast_core::flow::verify::Place;
use holdfast_core::flow::{Memory, Tier, Version, migrate, verify};

/// The memory of a run of `old` as one of `new`.
///
/// # Errors
/// Why it cannot change, in words.
pub fn migrated(old: &Flow, new: &Flow, memory: &[u8]) -> Result<Vec<u8>, String> {
    let (was, is) = (places(old)?, places(new)?);
    let (old, new) = (old.image(), new.image());
    let memory = Memory::new(memory, old.sizes).ok_or("its memory is of another image")?;
    let mut out = vec![0; bytes_of(new.sizes)];
    let from = (Version { image: &old, places: &was }, memory);
    let to = (Version { image: &new, places: &is }, out.as_mut_slice());
    migrate(from, to).map_err(|obstacle| obstacle.to_string())?;
    Ok(out)
}

/// What the verifier finds of each operation.
fn places(flow: &Flow) -> Result<Vec<Place>, String> {
    let mut places = vec![Place::NOWHERE; usize::from(Tier::NODE.ops)];
    verify(&flow.installed.image, &Tier::NODE, &mut places).map_err(|why| why.to_string())?;
    Ok(places)
}
