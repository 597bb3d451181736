//! Pieces of artefacts, as a device asks for them: of workflows and firmware that are here whole.
//!
//! A device may ask for any number, and a piece of an image of many megabytes costs no more than
//! one of a small one: only the blocks that it lies in are read. Nothing is given that is not for
//! devices, whoever knows its id.

use super::letters::envelope;
use holdfast_core::device;
use holdfast_core::device::firmware;
use holdfast_core::device::flows::{Fetch, PIECE_BYTES, Piece};
use holdfast_core::flow::Tier;
use holdfast_node::runs::assigned;
use holdfast_sync::Fault;
use holdfast_sync::artefact::shelf;
use holdfast_sync::store::Snapshot;

/// The envelope with the piece that a device asks for; without bytes where it is not here.
///
/// # Errors
/// A database fault, or damage.
pub fn piece(view: &Snapshot<'_>, of: Fetch) -> Result<Option<Vec<u8>>, Fault> {
    let bytes = bytes(view, of)?;
    Ok(envelope(device::PIECE, |out| Piece { of, bytes: &bytes }.encode(out)))
}

fn bytes(view: &Snapshot<'_>, Fetch { id, part }: Fetch) -> Result<Vec<u8>, Fault> {
    let stored = shelf::find(view, &id)?.filter(shelf::Stored::is_whole);
    let Some(stored) = stored else { return Ok(Vec::new()) };
    let is_for_devices = match stored.manifest()?.content.kind {
        // No device takes a larger one.
        assigned::KIND => stored.size <= Tier::DEVICE.image_bytes as u64,
        firmware::KIND => true,
        _ => false,
    };
    if !is_for_devices {
        return Ok(Vec::new());
    }
    let Some(number) = part.checked_sub(1) else { return Ok(stored.manifest) };
    // Whatever is asked for behind the end is not there.
    let from = number.saturating_mul(PIECE_BYTES as u64);
    shelf::part(view, &stored, from, PIECE_BYTES)
}
