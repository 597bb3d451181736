//! From decoded items to a committed batch: who may post, under which names, once.

use crate::formats::{Decoded, DecodedItem, ItemError, Place};
use axum::http::HeaderMap;
use holdfast_core::reading::judge_device_time;
use holdfast_core::{Device, Metric, Quality, SeriesKey, Timestamp, Unit};
use holdfast_node::auth::{Poster, check_device};
use holdfast_node::problem::Problem;
use holdfast_node::trace::{Begun, Kind, Tracer};
use holdfast_sync::counts::Counter;
use holdfast_sync::store::{
    Draft, Idempotency, IngestBatch, Item, ItemOutcome, Store, Table, WriteError,
};
use schemars::JsonSchema;
use serde::Serialize;
use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

/// The door: devices that are known, and what is needed to store their readings.
#[derive(Clone)]
pub struct Ingest {
    store: Store,
    devices: Arc<RwLock<HashSet<Box<str>>>>,
    auto_register: bool,
    clock_wrong: Arc<AtomicBool>,
    counts: Arc<IngestCounts>,
    tracer: Tracer,
}

/// What became of all items since the start.
#[derive(Debug, Default)]
pub struct IngestCounts {
    /// Stored.
    pub accepted: Counter,
    /// Stored before.
    pub duplicates: Counter,
    /// Requests that were answered again.
    pub replayed: Counter,
    /// By code, which the program's text bounds.
    rejected: Mutex<BTreeMap<&'static str, u64>>,
}

impl IngestCounts {
    fn note(&self, report: &Report) {
        if report.replayed {
            return self.replayed.add(1);
        }
        self.accepted.add(report.accepted as u64);
        self.duplicates.add(report.duplicates as u64);
        if !report.rejected.is_empty() {
            let mut rejected = self.rejected.lock().unwrap_or_else(PoisonError::into_inner);
            for error in &report.rejected {
                *rejected.entry(error.code).or_default() += 1;
            }
        }
    }

    /// Not stored, by code.
    #[must_use]
    pub fn rejected(&self) -> Vec<(&'static str, u64)> {
        let rejected = self.rejected.lock().unwrap_or_else(PoisonError::into_inner);
        rejected.iter().map(|(code, count)| (*code, *count)).collect()
    }
}

/// What became of a request.
#[derive(Debug, Default)]
pub struct Report {
    /// Items stored now.
    pub accepted: usize,
    /// Items stored before.
    pub duplicates: usize,
    /// Items not stored, by index.
    pub rejected: Vec<ItemError>,
    /// Whether this is the answer of an earlier request with the same key.
    pub replayed: bool,
}

/// What a request brought, ready to be stored.
#[derive(Debug, Default)]
pub struct Prepared {
    /// Its good items.
    pub batch: IngestBatch,
    report: Report,
    places: Vec<(usize, Place)>,
}

impl Prepared {
    /// The items that are wrong, in the order of the request.
    #[must_use]
    pub fn rejected(&self) -> &[ItemError] {
        &self.report.rejected
    }
}

/// What became of a request, as it is told.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Report")]
pub struct ReportShape {
    /// Items stored now.
    pub accepted: usize,
    /// Items stored before.
    pub duplicates: usize,
    /// Items not stored.
    pub rejected: Vec<RejectedShape>,
}

/// An item that was not stored.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Rejected")]
pub struct RejectedShape {
    /// Its place, from 0.
    pub index: usize,
    /// Why, for programs; stable.
    pub code: &'static str,
    /// Why, for people.
    pub detail: String,
    /// Where in the body.
    pub at: String,
}

impl Report {
    fn counts(&self) -> Vec<(&'static str, u64)> {
        vec![
            ("holdfast.accepted", self.accepted as u64),
            ("holdfast.duplicates", self.duplicates as u64),
            ("holdfast.rejected", self.rejected.len() as u64),
        ]
    }

    /// The answer's body.
    #[must_use]
    pub fn shape(&self) -> ReportShape {
        let rejected = self.rejected.iter().map(|error| RejectedShape {
            index: error.index,
            code: error.code,
            detail: error.detail.to_string(),
            at: error.at.to_string(),
        });
        ReportShape {
            accepted: self.accepted,
            duplicates: self.duplicates,
            rejected: rejected.collect(),
        }
    }
}

impl Ingest {
    /// Loads the known devices.
    ///
    /// # Errors
    /// A fault of the store.
    pub fn load(
        store: Store,
        auto_register: bool,
        tracer: Tracer,
    ) -> Result<Self, holdfast_sync::Fault> {
        let records = store.read_blocking(|view: &holdfast_sync::store::Snapshot<'_>| {
            view.scan(Table::Device, &[], &[], usize::MAX)
        })?;
        let names = records.into_iter().filter_map(|(key, _)| String::from_utf8(key).ok());
        let devices = names.map(String::into_boxed_str).collect();
        let devices = Arc::new(RwLock::new(devices));
        let clock_wrong = Arc::new(AtomicBool::new(false));
        Ok(Self { store, devices, auto_register, clock_wrong, counts: Arc::default(), tracer })
    }

    /// What became of all items since the start.
    #[must_use]
    pub fn counts(&self) -> &IngestCounts {
        &self.counts
    }

    /// Whether this node knows its own clock to be wrong; readings are marked while it is.
    #[must_use]
    pub fn clock_wrong(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.clock_wrong)
    }

    /// The devices that are known, by name.
    #[must_use]
    pub fn devices(&self) -> Vec<String> {
        let devices = self.devices.read().unwrap_or_else(PoisonError::into_inner);
        let mut out: Vec<_> = devices.iter().map(|device| device.to_string()).collect();
        out.sort();
        out
    }

    /// Whether a device is known.
    #[must_use]
    pub fn knows(&self, device: &str) -> bool {
        self.devices.read().unwrap_or_else(PoisonError::into_inner).contains(device)
    }

    /// When a request is received.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.store.env().now()
    }

    /// Stores what a request brought; it is on disk when this returns.
    ///
    /// # Errors
    /// The problem that concerns the request as a whole; nothing of it is then stored.
    pub async fn take(
        &self,
        poster: &Poster,
        decoded: &Decoded<'_>,
        received: Timestamp,
        idempotency: Option<Idempotency>,
        headers: &HeaderMap,
    ) -> Result<Report, Problem> {
        let begun = self.tracer.begin(headers);
        let taken = self.take_in(poster, decoded, received, idempotency, begun.as_ref()).await;
        if let Some(begun) = begun {
            let counts = taken.as_ref().map(Report::counts).unwrap_or_default();
            let error = taken.as_ref().err().map(ToString::to_string);
            begun.end("ingest", Kind::Server, counts, error);
        }
        taken
    }

    async fn take_in(
        &self,
        poster: &Poster,
        decoded: &Decoded<'_>,
        received: Timestamp,
        idempotency: Option<Idempotency>,
        begun: Option<&Begun>,
    ) -> Result<Report, Problem> {
        let mut prepared = self.prepare(poster.own_device(), decoded, received).await?;
        prepared.batch.idempotency = idempotency;
        prepared.batch.trace = begun.map(|begun| begun.context);
        if prepared.batch.items.is_empty() && prepared.batch.idempotency.is_none() {
            return Ok(self.settle(prepared, &[], false));
        }
        let commit = begun.and_then(Begun::part);
        let stored = self.store.ingest(std::mem::take(&mut prepared.batch)).await;
        let stored = stored.map_err(write_problem);
        if let Some(commit) = commit {
            let error = stored.as_ref().err().map(ToString::to_string);
            commit.end("commit", Kind::Internal, Vec::new(), error);
        }
        let (_committed, outcome) = stored?;
        Ok(self.settle(prepared, &outcome.items, outcome.replayed))
    }

    /// Makes a batch of what a request brought, and registers devices that are new. What the batch
    /// comes to in the store is then to be told to [`Self::settle`].
    ///
    /// # Errors
    /// The problem that concerns the request as a whole; nothing of it is to be stored then.
    pub async fn prepare(
        &self,
        own_device: Option<&str>,
        decoded: &Decoded<'_>,
        received: Timestamp,
    ) -> Result<Prepared, Problem> {
        let mut out = Prepared::default();
        out.batch.drafts.reserve(decoded.readings.len());
        out.places.reserve(decoded.items.len());
        let mut unknown: HashSet<Box<str>> = HashSet::new();
        for (index, item) in decoded.items.iter().enumerate() {
            let item = match item {
                Ok(item) if item.readings.is_empty() => continue,
                Ok(item) => item,
                Err(error) => {
                    out.report.rejected.push(error.clone());
                    continue;
                }
            };
            let first = out.batch.drafts.len();
            match self.admit(own_device, decoded, (index, item), received, &mut out.batch)? {
                Ok(new_device) => {
                    let drafts = first..out.batch.drafts.len();
                    out.batch.items.push(Item { drafts, source: item.source });
                    out.places.push((index, item.place));
                    unknown.extend(new_device.map(Into::into));
                }
                Err(error) => {
                    out.batch.drafts.truncate(first);
                    out.report.rejected.push(error);
                }
            }
        }
        if !unknown.is_empty() {
            Box::pin(self.register(unknown)).await?;
        }
        Ok(out)
    }

    /// Counts what became of a request, item by item, and reports it.
    pub fn settle(&self, prepared: Prepared, items: &[ItemOutcome], replayed: bool) -> Report {
        let Prepared { mut report, places, .. } = prepared;
        report.replayed = replayed;
        note_outcome(&mut report, items, &places);
        self.counts.note(&report);
        report
    }

    /// Turns one item into drafts; returns its device if it has to be registered.
    fn admit(
        &self,
        own_device: Option<&str>,
        decoded: &Decoded<'_>,
        (index, item): (usize, &DecodedItem<'_>),
        received: Timestamp,
        batch: &mut IngestBatch,
    ) -> Result<Result<Option<String>, ItemError>, Problem> {
        let place = item.place;
        let reject = |code: &'static str, detail: String, path: &str| {
            Ok(Err(ItemError::new(index, place, path, code, detail)))
        };
        let Some(device) = item.device.as_deref().or(own_device) else {
            let expected = decoded.device_in;
            let detail =
                format!("no device is named, by {expected}, and the token is of no device");
            return reject("missing-device", detail, "");
        };
        // A token used for another device is not a slip in the data: the whole request is refused.
        check_device(own_device, device)
            .map_err(|problem| problem.at(format!("{place}/device")))?;
        let known = self.knows(device);
        let own = own_device.is_some();
        if !known && !own && !self.auto_register {
            let detail = format!("device `{device}` is not registered here");
            return reject("unknown-device", detail, "/device");
        }
        for reading in decoded.readings_of(item) {
            let key = Device::new(device).and_then(|device| {
                Ok(SeriesKey {
                    device,
                    metric: Metric::new(&reading.metric)?,
                    unit: Unit::new(&reading.unit)?,
                })
            });
            let series = match key.and_then(|key| self.store.interner().intern(&key)) {
                Ok(series) => series,
                Err(holdfast_core::Reject::Full) => {
                    let detail = "this node knows as many series as it may (store.max_series)";
                    return reject("too-many-series", detail.to_owned(), "");
                }
                Err(error) => return reject(error.code(), error.to_string(), ""),
            };
            let quality = self.quality(reading.quality, reading.time, received);
            let value = reading.value.get().into();
            batch.drafts.push(Draft { series, time: reading.time, value, quality });
        }
        Ok(Ok((!known).then(|| device.to_owned())))
    }

    fn quality(&self, said: Quality, time: Option<Timestamp>, received: Timestamp) -> Quality {
        let clock = if self.clock_wrong.load(Ordering::Relaxed) {
            Quality::NODE_CLOCK
        } else {
            Quality::GOOD
        };
        // By a clock that is itself wrong no other can be judged.
        let device = match time {
            Some(time) if clock == Quality::GOOD => judge_device_time(time, received),
            _ => Quality::GOOD,
        };
        said.with(clock).with(device)
    }

    async fn register(&self, unknown: HashSet<Box<str>>) -> Result<(), Problem> {
        let names = unknown.clone();
        let stored = self.store.write(move |tx| {
            let now = tx.now().0.to_be_bytes();
            for name in &names {
                if tx.view().get(Table::Device, name.as_bytes())?.is_none() {
                    tx.put(Table::Device, name.as_bytes(), &now)?;
                }
            }
            Ok(())
        });
        stored.await.map_err(write_problem)?;
        self.devices.write().unwrap_or_else(PoisonError::into_inner).extend(unknown);
        Ok(())
    }
}

fn note_outcome(report: &mut Report, items: &[ItemOutcome], places: &[(usize, Place)]) {
    for (outcome, &(index, place)) in items.iter().zip(places) {
        match outcome {
            ItemOutcome::Accepted => report.accepted += 1,
            ItemOutcome::Duplicate => report.duplicates += 1,
            ItemOutcome::SequencesFull => {
                let detail = "too many gaps in the sequences of this device and boot: 64 ranges \
                              are remembered; fill the gaps or start a new boot";
                let error = ItemError::new(index, place, "/seq", "sequences-full", detail);
                report.rejected.push(error);
            }
        }
    }
    report.rejected.sort_by_key(|error| error.index);
}

fn write_problem(error: WriteError) -> Problem {
    match error {
        WriteError::KeyReused => Problem::invalid("idempotency-key-reused", error.to_string())
            .at("header: Idempotency-Key"),
        WriteError::Fault(fault) if fault.is_full() => Problem::no_room(format!(
            "nothing was stored: {fault}. Keep the readings and post them again later"
        )),
        other => {
            tracing::error!(error = %other, "readings could not be stored");
            let detail = "nothing was stored; keep the readings and post them again";
            Problem::unavailable("store-unavailable", detail, 5)
        }
    }
}
