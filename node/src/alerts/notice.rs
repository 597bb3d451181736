//! Acknowledgements on their way from the hub to the gateway whose alert it is.
//!
//! A gateway does not get the hub's history, but it holds the document `node/<id>` about itself,
//! which the hub writes too. There the hub puts, for each active alert of which somebody took note
//! at the hub, `acknowledged/<alert>`: the hub's id, who, and the note, a line each and the note to
//! the end. The gateway joins that with what it knows of the alert. The hub takes away what is over
//! with its next acknowledgement.

use super::{Alert, Book, Fact, OnAlerts, id_text, parse_id};
use crate::twins::Twins;
use holdfast_core::codec::Reader;
use holdfast_core::log::alerts::{AlertAcknowledged, AlertId};
use holdfast_core::log::events::Event;
use holdfast_core::state::{Author, Path, Policy, Role, Text, Value};
use holdfast_core::{NodeId, Timestamp};
use holdfast_sync::Fault;
use holdfast_sync::docs::{Contents, DocumentName, Documents, Edit, What};
use holdfast_sync::store::{ReadRecords, Snapshot, Store, WriteError, WriteTx};
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

const FOLDER: &str = "acknowledged/";
/// Alerts of a gateway that are told of at once; a document has room for little more.
const TOLD_MAX: usize = 100;

fn document_of(node: &NodeId) -> DocumentName {
    DocumentName::new(&format!("node/{node}")).expect("the name of a node's document")
}

/// Puts an acknowledgement made here, at the hub, where the gateway finds it.
///
/// # Errors
/// A database fault. A document that is full is noted and left as it is.
pub(crate) fn tell(
    tx: &mut WriteTx<'_>,
    twins: &Twins,
    book: &Book,
    ack: &AlertAcknowledged<'_>,
) -> Result<(), WriteError> {
    let name = document_of(&ack.origin);
    let own = format!("{FOLDER}{}", id_text(ack.id));
    let text = format!("{}\n{}\n{}", twins.store().node(), ack.who, ack.note);
    let is_over = |path: &str| {
        let id = path.strip_prefix(FOLDER).and_then(parse_id);
        let alert = id.and_then(|id| book.get(ack.origin, id));
        !alert.is_some_and(|alert| alert.is_active())
    };
    let mut told = paths(tx, &name)?;
    told.retain(|path| *path != own);
    let (over, others): (Vec<_>, Vec<_>) = told.into_iter().partition(|path| is_over(path));
    if others.len() >= TOLD_MAX {
        tracing::warn!(gateway = %ack.origin, "it is told of no more acknowledgements at once");
        return Ok(());
    }
    let mut edits = Vec::new();
    for path in &over {
        edits.push(Edit { path: Path::new(path)?, what: What::Delete });
    }
    edits.push(Edit { path: Path::new(&own)?, what: What::Put(Value::Text(Text::new(&text)?)) });
    let bytes = twins.policy(&name);
    let policy = Policy::from_bytes(&bytes).unwrap_or(Policy::LWW);
    let writer = twins.writer(tx)?;
    match twins.documents().write(tx, &name, &policy, writer, &edits) {
        Ok(_) => twins.steward().written(tx, &name),
        Err(WriteError::Document(refusal)) => {
            tracing::warn!(gateway = %ack.origin, %refusal, "it is not told of it");
            Ok(())
        }
        Err(error) => Err(error),
    }
}

fn paths(records: &(impl ReadRecords + ?Sized), name: &DocumentName) -> Result<Vec<String>, Fault> {
    let contents = Contents::read(records, name)?;
    Ok(contents.view(name, &Policy::LWW, |view| {
        let live = view.filter(|resolved| !resolved.is_hidden && resolved.outcome.is_live());
        let paths = live.map(|resolved| resolved.path.as_str().to_owned());
        paths.filter(|path| path.starts_with(FOLDER)).collect()
    }))
}

/// What the hub has put for this gateway.
fn told(records: &(impl ReadRecords + ?Sized), here: NodeId) -> Result<Vec<Fact>, Fault> {
    let name = document_of(&here);
    let contents = Contents::read(records, &name)?;
    Ok(contents.view(&name, &Policy::LWW, |view| {
        view.filter_map(|resolved| {
            let id = parse_id(resolved.path.as_str().strip_prefix(FOLDER)?)?;
            let cell = resolved.outcome.winner()?;
            let Some(Value::Text(text)) = cell.value() else { return None };
            let at = Timestamp::from_millis(i64::try_from(cell.stamp.millis()).ok()?)?;
            let hub = text.as_str().split('\n').next().and_then(NodeId::from_hex)?;
            let is_hubs = cell.role == Role::Hub && cell.author == Author::node(&hub);
            is_hubs.then(|| fact(here, id, hub, at, text.as_str())).flatten()
        })
        .collect()
    }))
}

fn fact(origin: NodeId, id: AlertId, hub: NodeId, at: Timestamp, text: &str) -> Option<Fact> {
    let mut lines = text.splitn(3, '\n').skip(1);
    let (who, note) = (lines.next()?, lines.next()?);
    let ack = AlertAcknowledged { origin, id, who, note };
    // What is kept has to be read again: too long a text is not taken.
    let mut bytes = Vec::new();
    ack.encode(&mut bytes).ok()?;
    AlertAcknowledged::decode(&mut Reader::new(&bytes)).ok()?;
    Fact::of(&Event::AlertAcknowledged(ack), hub, at, hub)
}

/// Joins what the hub has put for this gateway with its book, now and whenever there is more.
pub async fn follow(
    store: Store,
    book: Arc<Book>,
    on_alerts: OnAlerts,
    stop: CancellationToken,
) -> Result<(), Fault> {
    let here = store.node();
    let mut changes = store.watch_documents();
    let mut seen = None;
    loop {
        let place = move |view: &Snapshot<'_>| {
            let status = Documents::status(view, &document_of(&here))?;
            let place = status.map(|status| status.position);
            Ok((place, if place == seen { Vec::new() } else { told(view, here)? }))
        };
        let (place, facts) = store.read(place).await?;
        seen = place;
        // Of an alert that is not known here any more nothing is kept.
        let is_news = |fact: &Fact| book.get(here, fact.id).is_some() && !book.knows(fact);
        let news: Vec<Fact> = facts.into_iter().filter(is_news).collect();
        if !news.is_empty() {
            let written = store.write(move |tx| Book::record(tx, &news)).await;
            let (_, changed): (_, Vec<Alert>) = written.map_err(|error| match error {
                WriteError::Fault(fault) => fault,
                other => Fault::damaged("an acknowledgement of the hub", other.to_string()),
            })?;
            book.take(&changed, &[]);
            on_alerts(&changed);
        }
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            changed = changes.changed() => if changed.is_err() { return Ok(()) },
        }
    }
}
