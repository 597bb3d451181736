//! Which readings of a group are taken: each message of a device once, each request once.

use super::answers;
use super::ingest::{self, Admitted, IngestBatch, ItemOutcome, Outcome, Series};
use super::record::Table;
use super::tx::WriteTx;
use super::writer::{IngestJob, WriteError};
use crate::Fault;
use holdfast_core::Stream;
use holdfast_core::codec::Reader;
use holdfast_core::log::events::Event;
use holdfast_core::log::trace::Traced;
use holdfast_core::ranges::{Range, RangeSet};
use holdfast_core::reading::DeviceSeq;
use std::collections::BTreeMap;

/// Traced requests of one transaction that the log tells of; there are traces enough with these.
const TRACES_MAX: usize = 16;
/// Devices' sequences kept in memory.
const SEEN_CACHE: usize = 2048;

/// Decides about every item of a group and appends the readings of those admitted.
pub(super) fn admit(
    tx: &mut WriteTx<'_>,
    jobs: &[IngestJob],
) -> Result<Vec<Result<Outcome, WriteError>>, WriteError> {
    let mut admitted: Vec<Admitted<'_>> = Vec::new();
    let mut touched = BTreeMap::new();
    let mut outcomes = Vec::with_capacity(jobs.len());
    if tx.state.seen.len() >= SEEN_CACHE {
        tx.state.seen.clear();
    }
    for job in jobs {
        let earlier = match answers::earlier(tx, &job.batch).and_then(|answer| {
            load_seen(tx, &job.batch)?;
            Ok(answer)
        }) {
            Ok(earlier) => earlier,
            // What was changed beside the readings would have to be undone too.
            Err(error) if job.beside.is_some() => return Err(error),
            Err(WriteError::Fault(fault)) if fault.is_damage() => {
                // A damaged record concerns the batch that needs it and no other.
                let error = WriteError::Fault(fault);
                tx.state.met(&error);
                Some(Err(error))
            }
            Err(error) => return Err(error),
        };
        if let Some(answer) = earlier {
            outcomes.push(answer);
            continue;
        }
        let mut outcome = Outcome::default();
        for item in &job.batch.items {
            let drafts = &job.batch.drafts[item.drafts.clone()];
            let series = drafts.first().map(|draft| draft.series.as_ref());
            let verdict = match (item.source, series) {
                (Some(source), Some(series)) => admit_source(tx, source, series, &mut touched),
                _ => ItemOutcome::Accepted,
            };
            if verdict == ItemOutcome::Accepted {
                admitted.extend(drafts.iter().map(|draft| (draft, item.source)));
            }
            outcome.items.push(verdict);
        }
        answers::keep(tx, &job.batch, &outcome)?;
        outcomes.push(Ok(outcome));
    }
    for key in touched.into_keys() {
        let mut value = Vec::new();
        tx.state.seen[&key].encode(&mut value)?;
        tx.put(Table::Seen, &key, &value)?;
    }
    let mut places = std::mem::take(&mut tx.state.places);
    let bodies = ingest::bodies(&admitted, tx.now(), &mut places);
    tx.state.places = places;
    let mut held: Option<Range> = None;
    for body in bodies {
        let range = tx.append(Stream::Reading, &body.bytes, body.count, &body.filter)?;
        held = Some(Range { from: held.map_or(range.from, |held| held.from), to: range.to });
    }
    if let Some(range) = held {
        note_traces(tx, jobs, &outcomes, range)?;
    }
    Ok(outcomes)
}

/// Says in the event stream which entries the traced requests of a group left.
fn note_traces(
    tx: &mut WriteTx<'_>,
    jobs: &[IngestJob],
    outcomes: &[Result<Outcome, WriteError>],
    range: Range,
) -> Result<(), WriteError> {
    let stored = |outcome: &Result<Outcome, WriteError>| {
        let outcome = outcome.as_ref().ok().filter(|outcome| !outcome.replayed);
        outcome.is_some_and(|outcome| outcome.items.contains(&ItemOutcome::Accepted))
    };
    let jobs = jobs.iter().zip(outcomes).filter(|(_, outcome)| stored(outcome));
    let contexts = jobs.filter_map(|(job, _)| job.batch.trace);
    let traced = |context| Event::Traced(Traced { stream: Stream::Reading, range, context });
    let events: Vec<_> = contexts.take(TRACES_MAX).map(traced).collect();
    if !events.is_empty() {
        tx.append_events(&events)?;
    }
    Ok(())
}

/// The key of the sequences seen of a device's boot.
pub(super) fn seen_key(device: &str, boot: u64) -> Vec<u8> {
    let mut key = device.as_bytes().to_vec();
    key.push(0);
    key.extend_from_slice(&boot.to_be_bytes());
    key
}

/// Brings the sequences seen of every device of a batch into memory.
fn load_seen(tx: &mut WriteTx<'_>, batch: &IngestBatch) -> Result<(), WriteError> {
    for item in &batch.items {
        let (Some(source), Some(draft)) = (item.source, batch.drafts.get(item.drafts.start)) else {
            continue;
        };
        let key = seen_key(draft.series.device(), source.boot);
        if tx.state.seen.contains_key(&key) {
            continue;
        }
        let set = match tx.view().get(Table::Seen, &key)? {
            Some(value) => RangeSet::decode(&mut Reader::new(&value))
                .map_err(|reject| Fault::damaged("sequences of a device", reject.code()))?,
            None => RangeSet::new(),
        };
        tx.state.seen.insert(key, set);
    }
    Ok(())
}

/// Admits a device's (boot, sequence) once; the device's sequences are in memory.
fn admit_source(
    tx: &mut WriteTx<'_>,
    source: DeviceSeq,
    series: &Series,
    touched: &mut BTreeMap<Vec<u8>, ()>,
) -> ItemOutcome {
    let key = seen_key(series.device(), source.boot);
    let set = tx.state.seen.get_mut(&key).expect("it was put there");
    match set.insert(source.seq) {
        Ok(true) => {
            touched.insert(key, ());
            ItemOutcome::Accepted
        }
        Ok(false) => ItemOutcome::Duplicate,
        Err(_) => ItemOutcome::SequencesFull,
    }
}
