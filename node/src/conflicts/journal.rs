//! The journal of settled conflicts: each is one entry, however often it is settled again.
//!
//! Entries are records in the order in which this node learned of them, written in the transaction
//! that stored the losing cell. The newest [`ENTRIES_MAX`] are kept; a loser that is older than
//! that was written over, and nobody asked for it.

use holdfast_core::codec::{Reader, Sink};
use holdfast_core::state::{CELL_MAX_BYTES, Label, Rule};
use holdfast_core::{Reject, Timestamp};
use holdfast_sync::Fault;
use holdfast_sync::docs::{DocumentName, Settled};
use holdfast_sync::store::{ReadRecords, Records, Snapshot, Table};

/// The format written today.
const FORMAT: u8 = 1;
/// Entries that are kept: about 5 MB.
pub const ENTRIES_MAX: u64 = 10_000;
/// Entries that are read at a time.
const PAGE: usize = 256;
const NAME_MAX: usize = 256;
const LOSERS_MAX: u64 = 256;
const LABELS: [Option<Label>; 4] =
    [None, Some(Label::UseLocal), Some(Label::UseRemote), Some(Label::Merge)];

/// A settled conflict.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The document.
    pub document: DocumentName,
    /// When this node learned of it.
    pub at: Timestamp,
    /// What was settled, and how.
    pub settled: Settled,
}

impl Entry {
    fn encode(&self) -> Vec<u8> {
        let Settled { id, path, rule, label, winner, losers } = &self.settled;
        let mut out = vec![FORMAT];
        let mut put = || -> Result<(), Reject> {
            out.put(&id.0)?;
            out.put_int(self.at.0)?;
            out.put_bytes(self.document.as_str().as_bytes())?;
            out.put_bytes(path.as_bytes())?;
            out.put_u8(*rule as u8)?;
            let label = LABELS.iter().position(|known| known == label).unwrap_or_default();
            out.put_u8(label as u8)?;
            out.put_bytes(winner.as_deref().unwrap_or_default())?;
            out.put_uint(losers.len() as u64)?;
            losers.iter().try_for_each(|loser| out.put_bytes(loser))
        };
        put().expect("a growing buffer is never full");
        out
    }

    fn decode(value: &[u8]) -> Result<Self, Fault> {
        let read = || -> Result<Self, Reject> {
            let mut reader = Reader::new(value);
            if reader.u8()? != FORMAT {
                return Err(Reject::Version);
            }
            let id = holdfast_core::state::ConflictId(reader.array()?);
            let at = Timestamp(reader.int()?);
            let document = DocumentName::new(reader.str(NAME_MAX)?).map_err(|_| Reject::Path)?;
            let path = reader.str(NAME_MAX)?.to_owned();
            let rule = Rule::from_u8(reader.u8()?).ok_or(Reject::Version)?;
            let label = *LABELS.get(usize::from(reader.u8()?)).ok_or(Reject::Version)?;
            let winner = reader.bytes(CELL_MAX_BYTES)?;
            let winner = (!winner.is_empty()).then(|| winner.to_vec());
            let count = reader.uint()?;
            if count > LOSERS_MAX {
                return Err(Reject::Full);
            }
            let loser = |_| Ok(reader.bytes(CELL_MAX_BYTES)?.to_vec());
            let losers = (0..count).map(loser).collect::<Result<_, Reject>>()?;
            let settled = Settled { id, path, rule, label, winner, losers };
            Ok(Self { document, at, settled })
        };
        read().map_err(|reject| Fault::damaged("conflict record", reject.code()))
    }
}

/// Adds what was settled; what is there already stays what it was.
///
/// # Errors
/// A database fault.
pub fn add(
    records: &mut dyn Records,
    document: &DocumentName,
    at: Timestamp,
    settled: &[Settled],
) -> Result<(), Fault> {
    for settled in settled {
        if records.get(Table::ConflictId, &settled.id.0)?.is_some() {
            continue;
        }
        let last = records.scan_back(Table::Conflict, None, 1)?;
        let number = last.first().map_or(0, |(key, _)| number_of(key)) + 1;
        let mut settled = settled.clone();
        settled.losers.truncate(LOSERS_MAX as usize);
        let entry = Entry { document: document.clone(), at, settled };
        records.put(Table::Conflict, &number.to_be_bytes(), &entry.encode())?;
        records.put(Table::ConflictId, &entry.settled.id.0, &number.to_be_bytes())?;
        if let Some(oldest) = number.checked_sub(ENTRIES_MAX) {
            forget(records, oldest)?;
        }
    }
    Ok(())
}

fn forget(records: &mut dyn Records, number: u64) -> Result<(), Fault> {
    let key = number.to_be_bytes();
    if let Some(value) = records.get(Table::Conflict, &key)? {
        let entry = Entry::decode(&value)?;
        records.delete(Table::ConflictId, &entry.settled.id.0)?;
        records.delete(Table::Conflict, &key)?;
    }
    Ok(())
}

/// At most `limit` entries before number `before`, the newest first, of documents whose names begin
/// with `prefix`; each with its number.
///
/// # Errors
/// A database fault, or [`Fault::Damaged`].
pub fn list(
    view: &Snapshot<'_>,
    prefix: &str,
    before: Option<u64>,
    limit: usize,
) -> Result<Vec<(u64, Entry)>, Fault> {
    let mut out = Vec::new();
    let mut before = before;
    loop {
        let key = before.map(u64::to_be_bytes);
        let page = view.scan_back(Table::Conflict, key.as_ref().map(<[u8; 8]>::as_slice), PAGE)?;
        for (key, value) in &page {
            let entry = Entry::decode(value)?;
            before = Some(number_of(key));
            if entry.document.as_str().starts_with(prefix) {
                out.push((number_of(key), entry));
            }
            if out.len() == limit {
                return Ok(out);
            }
        }
        if page.len() < PAGE {
            return Ok(out);
        }
    }
}

fn number_of(key: &[u8]) -> u64 {
    key.first_chunk::<8>().map_or(0, |bytes| u64::from_be_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use holdfast_core::state::ConflictId;
    use holdfast_sync::env::System;
    use holdfast_sync::identity::NodeKey;
    use holdfast_sync::store::{Options, Overflow, Store};

    fn settled(n: u64) -> Settled {
        let mut id = [0; 16];
        id[..8].copy_from_slice(&n.to_be_bytes());
        Settled {
            id: ConflictId(id),
            path: format!("limits/{n}"),
            rule: Rule::Min,
            label: Some(Label::UseRemote),
            winner: Some(vec![1, 2, 3]),
            losers: vec![vec![4; 20], vec![5]],
        }
    }

    fn store(dir: &std::path::Path) -> Store {
        let options = Options {
            dir: dir.to_owned(),
            key: NodeKey::generate(&System::env()),
            quota_bytes: 1 << 30,
            overflow: Overflow::DropOldestRaw,
            max_series: 10,
            seal_after: 0,
            version: "test",
            scrub_every: std::time::Duration::ZERO,
            unsafe_normal_sync: true,
        };
        Store::open(options, System::env()).unwrap().0
    }

    fn names(store: &Store, prefix: &str, before: Option<u64>, limit: usize) -> Vec<u64> {
        let found = store.read_blocking(|view| list(view, prefix, before, limit)).unwrap();
        found.into_iter().map(|(number, _)| number).collect()
    }

    #[tokio::test]
    async fn each_conflict_is_one_entry_and_the_newest_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        let store = store(dir.path());
        let pump = DocumentName::new("device/pump-1/desired").unwrap();
        let site = DocumentName::new("site/north").unwrap();
        let many = ENTRIES_MAX + 10;
        let write = store.write(move |tx| {
            for n in 1..=many {
                let of = if n % 2 == 0 { &pump } else { &site };
                add(tx, of, Timestamp(n as i64), &[settled(n)])?;
                // Told twice, as after a session that was cut.
                add(tx, of, Timestamp(0), &[settled(n)])?;
            }
            Ok(())
        });
        write.await.unwrap();
        assert_eq!(names(&store, "", None, usize::MAX).len() as u64, ENTRIES_MAX);
        assert_eq!(names(&store, "", None, 3), [many, many - 1, many - 2]);
        assert_eq!(names(&store, "device/pump-1/", Some(many), 2), [many - 2, many - 4]);
        let first = store.read_blocking(|view| list(view, "", None, 1)).unwrap().remove(0).1;
        assert_eq!((first.at, &first.settled), (Timestamp(many as i64), &settled(many)));
        let held = |view: &Snapshot<'_>| view.scan(Table::ConflictId, &[], &[], usize::MAX);
        assert_eq!(store.read_blocking(held).unwrap().len() as u64, ENTRIES_MAX);
        store.close().await;
    }
}
