//! Somebody knows: a notice is over, and the runs that said so hear of it.
//!
//! The runs come first. Whoever is killed in between has got no answer and acknowledges again, so
//! that no run waits for a word that was given; a run that hears it twice keeps the newest.

use super::record::{Notice, NoticeId, State};
use super::{Notices, book};
use crate::runs::Runs;
use crate::runs::effect::given;
use crate::runs::record::{BY_MAX_BYTES, Run};
use holdfast_core::flow::TEXT_MAX_BYTES;
use holdfast_core::flow::signal::signal;
use holdfast_core::log::runs::RunId;
use holdfast_sync::store::{Snapshot, Store, Table, WriteError, WriteTx};
use serde_json::{Map, Value as Json};

/// The signal that a run gets, and the value in which it finds who it was.
const SIGNAL: &str = "acknowledged";
const BY: &str = "by";

impl Notices {
    /// Notes that somebody knows; gives the notice as it is then, `None` where there is none. The
    /// first who says so counts.
    ///
    /// # Errors
    /// Why it was not stored.
    pub async fn acknowledge(
        &self,
        store: &Store,
        runs: &Runs,
        id: NoticeId,
        by: &str,
    ) -> Result<Option<Notice>, WriteError> {
        let by = by[..by.floor_char_boundary(BY_MAX_BYTES)].to_owned();
        let known = store.read(move |view: &Snapshot<'_>| book::read(view, id)).await?;
        for run in
            known.filter(|notice| notice.state == State::Open).into_iter().flat_map(|n| n.runs)
        {
            if let Err(why) = tell(store, runs, run, &by).await {
                tracing::debug!(%run, why, "a run does not take an acknowledgement");
            }
        }
        let change = move |tx: &mut WriteTx<'_>| {
            let Some(mut notice) = book::read(&tx.view(), id)? else { return Ok(None) };
            if notice.state == State::Open {
                book::end(tx, id, &mut notice, (State::Acknowledged, &by))?;
                tracing::info!(notice = %id, by, "a notice is acknowledged");
            }
            Ok(Some(notice))
        };
        let (_, notice) = store.write(change).await?;
        self.0.wake.notify_one();
        Ok(notice)
    }
}

/// Tells a run, if its definition has such a signal.
async fn tell(store: &Store, runs: &Runs, id: RunId, by: &str) -> Result<(), String> {
    let found = store.read(move |view: &Snapshot<'_>| view.get(Table::Run, &id.0)).await;
    let found = found.map_err(|fault| fault.to_string())?.ok_or("it is over")?;
    let run = Run::decode(&found).map_err(|reject| reject.to_string())?;
    let flow = runs.library().get(&run.workflow, &run.version).cloned();
    let flow = flow.ok_or("its workflow is not installed")?;
    let image = flow.image();
    let mut signals = (0..image.sizes.signals).filter_map(|n| Some((n, signal(&image, n)?)));
    let Some((number, of)) = signals.find(|(_, of)| of.name == SIGNAL) else { return Ok(()) };
    let mut values = Map::new();
    if of.values.into_iter().any(|field| field.name == BY) {
        let by = &by[..by.floor_char_boundary(TEXT_MAX_BYTES)];
        values.insert(BY.to_owned(), Json::from(by));
    }
    let values = given(&image, of.values, &values)?;
    runs.signal(id, number, values, by).await.map_err(|error| error.to_string())
}
