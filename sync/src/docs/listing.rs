//! Which devices have documents, and which nodes wrote one.

use super::DocumentName;
use super::actor::Introduction;
use super::documents::Documents;
use crate::Fault;
use crate::store::{ReadRecords, Snapshot, Table};
use holdfast_core::NodeId;
use holdfast_core::codec::Reader;
use std::collections::BTreeSet;

/// What the names of device documents begin with.
const DEVICE: &str = "device/";

impl Documents {
    /// At most `limit` devices that have a document, whose ids begin with `prefix`, behind `after`
    /// in the order of the documents' names.
    ///
    /// # Errors
    /// A database fault, or [`Fault::Damaged`].
    pub fn devices(
        view: &Snapshot<'_>,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<String>, Fault> {
        let prefix = format!("{DEVICE}{prefix}");
        let mut found: Vec<String> = Vec::new();
        let mut from = after.map(behind).unwrap_or_default().max(prefix.clone());
        while found.len() < limit {
            let mut next = None;
            view.scan_from(Table::Document, from.as_bytes(), false, None, |key, _| {
                next = Some(key);
                false
            })?;
            let Some(key) = next.filter(|key| key.starts_with(prefix.as_bytes())) else { break };
            let name = String::from_utf8(key).ok().and_then(|key| DocumentName::new(&key).ok());
            let device = name.as_ref().and_then(DocumentName::device);
            let device = device.ok_or_else(|| {
                Fault::damaged("documents", "a record names no document of a device")
            })?;
            from = behind(device);
            found.push(device.to_owned());
        }
        Ok(found)
    }

    /// The nodes that wrote a document.
    ///
    /// # Errors
    /// A database fault, or [`Fault::Damaged`].
    pub fn writers(
        records: &(impl ReadRecords + ?Sized),
        name: &DocumentName,
    ) -> Result<BTreeSet<NodeId>, Fault> {
        let prefix = [name.as_str().as_bytes(), &[0]].concat();
        let found = records.scan(Table::DocumentActor, &prefix)?;
        let read = |(_, value): &(Vec<u8>, Vec<u8>)| {
            let who = Introduction::read(&mut Reader::new(value));
            who.map(|who| who.node)
                .map_err(|_| Fault::damaged(format!("document {name}"), "an actor of it"))
        };
        found.iter().map(read).collect()
    }
}

/// The least key behind all documents of a device: `0` is what comes next after `/`.
fn behind(device: &str) -> String {
    format!("{DEVICE}{device}0")
}
