//! A change of a section: its condition judged, written and read back in one transaction.

use super::{Condition, Part, Patch, Section, Shown, Twins, Version};
use crate::problem::Problem;
use axum::http::StatusCode;
use holdfast_core::Device;
use holdfast_core::state::{Author, Policy, Role};
use holdfast_sync::docs::{Contents, DocumentName, Documents, Refusal, Writer};
use holdfast_sync::store::{Committed, WriteError, WriteTx};

/// A section as it is after a change that is on disk.
#[derive(Clone, Debug)]
pub struct Patched {
    /// Proof of that.
    pub committed: Committed,
    /// The section.
    pub part: Part,
}

/// Why a change was not made.
#[derive(Debug)]
pub enum PatchError {
    /// The section is at another version than the change was made for.
    Stale(Version),
    /// The store or the document did not take it.
    Write(WriteError),
}

impl From<WriteError> for PatchError {
    fn from(error: WriteError) -> Self {
        Self::Write(error)
    }
}

impl Twins {
    /// Changes a section of a device's twin; in the name of the device when it is the device that
    /// reports, else in this node's.
    ///
    /// # Errors
    /// [`PatchError`]; nothing has changed then.
    pub async fn patch(
        &self,
        name: DocumentName,
        patch: Patch,
        condition: Condition,
    ) -> Result<Patched, PatchError> {
        let this = self.clone();
        let change = move |tx: &mut WriteTx<'_>| this.patch_in(tx, &name, &patch, &condition);
        let (committed, outcome) = self.store().write(change).await?;
        let part = outcome.map_err(PatchError::Stale)?;
        Ok(Patched { committed, part })
    }

    /// The same within a transaction; the version where the section is at another one.
    ///
    /// # Errors
    /// What the store or the document does not take; what was written of it is to be undone.
    pub(crate) fn patch_in(
        &self,
        tx: &mut WriteTx<'_>,
        name: &DocumentName,
        patch: &Patch,
        condition: &Condition,
    ) -> Result<Result<Part, Version>, WriteError> {
        let bytes = self.policy(name);
        let policy = Policy::from_bytes(&bytes).unwrap_or(Policy::LWW);
        let status = Documents::status(tx, name)?;
        let is_written = status.is_some();
        let version = Version::of(&status.map(|status| status.heads).unwrap_or_default());
        if !condition.lets_write(version, is_written) {
            return Ok(Err(version));
        }
        let shown = Shown::of(name, &Contents::read(tx, name)?, &policy);
        let edits = patch.edits(|path| shown.at(path).is_some());
        if !edits.is_empty() {
            let (author, role) = self.author_of(name);
            let writer = Writer { author, role, clock: self.0.clock.tick(tx)? };
            self.0.documents.write(tx, name, &policy, writer, &edits)?;
            self.0.steward.written(tx, name)?;
        }
        Ok(Ok(self.part_in(tx, name)?))
    }

    fn author_of(&self, name: &DocumentName) -> (Author, Role) {
        let device = match Section::of(name) {
            Some((device, Section::Reported)) => Device::new(device).ok(),
            _ => None,
        };
        match device {
            Some(device) => (Author::device(device), Role::Device),
            None => (Author::node(&self.store().node()), self.role()),
        }
    }
}

impl PatchError {
    /// The answer to whoever asked for the change.
    #[must_use]
    pub fn problem(self) -> Problem {
        let refusal = match self {
            Self::Stale(version) => {
                let detail = "it has changed since: get it again and decide anew";
                return Problem::stale(detail, &version.etag());
            }
            Self::Write(WriteError::Document(refusal)) => refusal,
            Self::Write(WriteError::Fault(fault)) if fault.is_full() => {
                return Problem::no_room(format!("nothing was stored: {fault}"));
            }
            Self::Write(other) => {
                tracing::error!(error = %other, "a twin could not be stored");
                let detail = "nothing was stored; try again";
                return Problem::unavailable("store-unavailable", detail, 5);
            }
        };
        let status = match refusal {
            Refusal::Full | Refusal::Keys | Refusal::Count => StatusCode::PAYLOAD_TOO_LARGE,
            Refusal::History => StatusCode::INSUFFICIENT_STORAGE,
            Refusal::Type => StatusCode::CONFLICT,
            _ => StatusCode::UNPROCESSABLE_ENTITY,
        };
        Problem::new(status, refusal.code(), format!("nothing was stored: {refusal}"))
    }
}
