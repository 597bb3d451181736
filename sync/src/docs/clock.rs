//! The clock of writers: hybrid time that does not run back over a start.
//!
//! A machine without a battery for its clock wakes up years ago. What it writes then must still
//! come after what it wrote before, so the last stamp that was given is on disk. A stamp is there
//! to be written with, so its mark is stored in the transaction of that write: nothing is reserved
//! ahead, and a transaction that is undone takes its mark with it.

use crate::Fault;
use crate::store::{ReadRecords, Table, WriteTx};
use holdfast_core::hlc::{Hlc, Stamp};
use std::sync::{Mutex, PoisonError};

/// The last stamp that was given, in [`Table::Meta`].
const MARK: &[u8] = b"clock";

/// The clock of a node's writers.
#[derive(Debug)]
pub struct Clock(Mutex<Hlc>);

impl Clock {
    /// Continues above the last stamp of a store.
    ///
    /// # Errors
    /// A database fault, or [`Fault::Damaged`].
    pub fn load(records: &(impl ReadRecords + ?Sized)) -> Result<Self, Fault> {
        let last = match records.get(Table::Meta, MARK)? {
            None => Stamp::default(),
            Some(mark) => {
                mark.as_slice().try_into().map(u64::from_be_bytes).map(Stamp).map_err(|_| {
                    Fault::damaged("the clock of writers", "its mark is not a number")
                })?
            }
        };
        Ok(Self(Mutex::new(Hlc::resume(last))))
    }

    /// A stamp above all that were given before, for what `tx` writes.
    ///
    /// # Errors
    /// A database fault.
    pub fn tick(&self, tx: &mut WriteTx<'_>) -> Result<Stamp, Fault> {
        // A clock before 1970 says nothing at all.
        let now_ms = u64::try_from(tx.now().millis()).unwrap_or(0);
        let stamp = self.0.lock().unwrap_or_else(PoisonError::into_inner).tick(now_ms);
        tx.put(Table::Meta, MARK, &stamp.0.to_be_bytes())?;
        Ok(stamp)
    }
}
