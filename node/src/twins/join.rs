//! What a device reports in cells of its own, with its own stamps.

use super::{PatchError, Twins};
use holdfast_core::state::Records;
use holdfast_sync::docs::{DocumentName, Joined, Refusal};
use holdfast_sync::store::WriteTx;

impl Twins {
    /// Joins the cells in `records`, bytes of a map of a device, into a document of that device;
    /// they are on disk when this returns.
    ///
    /// # Errors
    /// [`PatchError`]; nothing has changed then.
    pub async fn join(&self, name: DocumentName, records: Vec<u8>) -> Result<Joined, PatchError> {
        let this = self.clone();
        let change = move |tx: &mut WriteTx<'_>| {
            let cells = Records::read(&records).map_err(Refusal::Cell)?;
            let clock = this.0.clock.tick(tx)?;
            let joined = this.0.documents.join(tx, &name, clock, cells)?;
            if joined.written.change.is_some() {
                this.0.steward.written(tx, &name)?;
            }
            Ok(joined)
        };
        let (_committed, joined) = self.store().write(change).await?;
        Ok(joined)
    }
}
