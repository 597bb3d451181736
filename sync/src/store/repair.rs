//! Repair: what can still be read of a damaged database goes into a new one.
use crate::Fault;
use crate::identity::NodeKey;
use std::path::Path;
pub(super) fn salvage(_dir: &Path, _key: &NodeKey) -> Result<Vec<String>, Fault> {
    Ok(Vec::new())
}
