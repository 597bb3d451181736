//! Notices in the store: one that is open for each workflow, target and device, and those that are
//! over, of which the newest are kept.

use super::record::{Notice, NoticeId, State};
use holdfast_core::codec::Sink;
use holdfast_core::log::runs::RunId;
use holdfast_sync::Fault;
use holdfast_sync::store::{ReadRecords, Snapshot, Table, WriteTx};

/// Notices that are open at once: what tells of more than these tells of something else.
pub(super) const OPEN_MAX: usize = 1_000;
/// Notices that are kept, those that are open included.
const KEPT_MAX: u64 = 2_000;
/// How many there are.
const COUNT: &[u8] = b"notices";
/// The first byte of the keys of notices, and of what is open.
const BY_ID: u8 = 0;
const BY_INCIDENT: u8 = 1;
/// Rows that are read at once where one is looked for.
const PAGE: usize = 16;

/// What a run says.
pub(super) struct Said<'a> {
    /// By which it is said once.
    pub(super) key: String,
    pub(super) run: RunId,
    pub(super) workflow: &'a str,
    pub(super) target: &'a str,
    pub(super) device: &'a str,
    pub(super) text: &'a str,
}

fn key(id: NoticeId) -> Vec<u8> {
    [&[BY_ID][..], &id.0].concat()
}

fn incident(workflow: &str, target: &str, device: &str) -> Vec<u8> {
    let mut out = vec![BY_INCIDENT];
    for part in [workflow, target, device] {
        out.put_bytes(part.as_bytes()).expect("a vector has room");
    }
    out
}

fn id_of(value: &[u8]) -> Result<NoticeId, Fault> {
    let id = value.try_into().map(NoticeId);
    id.map_err(|_| Fault::damaged("notice", "what is open has no id"))
}

fn decode(value: &[u8]) -> Result<Notice, Fault> {
    Notice::decode(value).map_err(|reject| Fault::damaged("notice", reject.code()))
}

/// Says something: it joins the notice that is open of it, or begins one; `None` where too many are
/// open for that.
pub(super) fn say(tx: &mut WriteTx<'_>, said: &Said<'_>) -> Result<Option<NoticeId>, Fault> {
    let now = tx.now();
    let about = incident(said.workflow, said.target, said.device);
    if let Some(open) = tx.view().get(Table::Notice, &about)? {
        let id = id_of(&open)?;
        let known = read(&tx.view(), id)?;
        let mut notice = known.ok_or_else(|| Fault::damaged("notice", "what is open is gone"))?;
        notice.join(said.run, said.text, now.millis());
        put(tx, id, &notice)?;
        return Ok(Some(id));
    }
    if tx.view().scan(Table::Notice, &[BY_INCIDENT], &[], OPEN_MAX)?.len() == OPEN_MAX {
        return Ok(None);
    }
    let id = NoticeId::of(&said.key, now);
    let mut notice = Notice {
        workflow: said.workflow.to_owned(),
        target: said.target.to_owned(),
        device: said.device.to_owned(),
        since_ms: now.millis(),
        ..Notice::default()
    };
    notice.join(said.run, said.text, now.millis());
    forget(tx)?;
    tx.put(Table::Notice, &about, &id.0)?;
    put(tx, id, &notice)?;
    Ok(Some(id))
}

/// Makes room for one more: of too many, the oldest that is over goes.
fn forget(tx: &mut WriteTx<'_>) -> Result<(), Fault> {
    let count = tx.view().get(Table::Meta, COUNT)?;
    let mut count = count.and_then(|value| value.try_into().ok()).map_or(0, u64::from_be_bytes) + 1;
    let mut after = Vec::new();
    'looking: while count > KEPT_MAX {
        let some = tx.view().scan(Table::Notice, &[BY_ID], &after, PAGE)?;
        let Some((last, _)) = some.last() else { break };
        after.clone_from(last);
        for (key, value) in &some {
            if decode(value)?.state != State::Open {
                tx.delete(Table::Notice, key)?;
                count -= 1;
                break 'looking;
            }
        }
    }
    tx.put(Table::Meta, COUNT, &count.to_be_bytes())
}

pub(super) fn put(tx: &mut WriteTx<'_>, id: NoticeId, notice: &Notice) -> Result<(), Fault> {
    tx.put(Table::Notice, &key(id), &notice.encode())
}

/// Ends one that is open.
pub(super) fn end(
    tx: &mut WriteTx<'_>,
    id: NoticeId,
    notice: &mut Notice,
    (state, by): (State, &str),
) -> Result<(), Fault> {
    (notice.state, notice.over_ms) = (state, tx.now().millis());
    by.clone_into(&mut notice.by);
    tx.delete(Table::Notice, &incident(&notice.workflow, &notice.target, &notice.device))?;
    put(tx, id, notice)
}

/// A notice.
pub(super) fn read(view: &Snapshot<'_>, id: NoticeId) -> Result<Option<Notice>, Fault> {
    view.get(Table::Notice, &key(id))?.map(|value| decode(&value)).transpose()
}

/// All that are open.
pub(super) fn open(view: &Snapshot<'_>) -> Result<Vec<(NoticeId, Notice)>, Fault> {
    let mut out = Vec::new();
    for (_, value) in view.scan(Table::Notice, &[BY_INCIDENT], &[], usize::MAX)? {
        let id = id_of(&value)?;
        out.extend(read(view, id)?.map(|notice| (id, notice)));
    }
    Ok(out)
}

/// The newest notices, the newest first.
pub(super) fn newest(view: &Snapshot<'_>, most: usize) -> Result<Vec<(NoticeId, Notice)>, Fault> {
    let rows = view.scan_back(Table::Notice, Some(&[BY_INCIDENT]), most)?;
    let of = |(key, value): &(Vec<u8>, Vec<u8>)| Ok((id_of(&key[1..])?, decode(value)?));
    rows.iter().map(of).collect()
}
