//! What both services tell: the program, the process, the store, the pipeline, alerts, sessions.

use super::{Exposition, process};
use crate::api::{Alerts, Data};
use crate::time_text::Time;
use crate::twins::Twins;
use holdfast_core::Stream;
use holdfast_core::log::events::Severity;
use holdfast_sync::counts::{ByStream, Counts, OfDocuments};
use holdfast_sync::net::Transport;

/// Which node it is.
#[derive(Clone, Copy, Debug)]
pub struct About {
    /// `edge` or `hub`.
    pub role: &'static str,
    /// What the others are to it: `hub` or `edge`.
    pub peer: &'static str,
    /// What carries the sync.
    pub transport: Transport,
    /// The program's version.
    pub version: &'static str,
    /// When it started.
    pub started: Time,
}

/// A time in seconds since 1970.
#[must_use]
pub fn timestamp(time: Time) -> f64 {
    time.0.0 as f64 / 1e9
}

/// Writes what both services tell.
pub fn node(out: &mut Exposition, about: &About, data: &Data, alerts: &Alerts, twins: &Twins) {
    out.gauge("holdfast_build_info", "The program; always 1.")
        .with(&[("version", about.version), ("role", about.role)], 1);
    out.gauge("process_start_time_seconds", "When it started, by its own clock.")
        .is(timestamp(about.started));
    process::tell(out);
    store(out, data);
    pipeline(out, data);
    let active = alerts.active_by_severity();
    let mut family = out.gauge("holdfast_alerts_active", "Alerts that are active.");
    for (severity, count) in active {
        family.with(&[("severity", Severity::name(severity))], count);
    }
    let open = alerts.summary().unacknowledged;
    out.gauge("holdfast_alerts_unacknowledged", "Active alerts that nobody took note of.").is(open);
    documents(out, data.store.counts(), twins);
    out.gauge("holdfast_sync_info", "What carries the sync; always 1.")
        .with(&[("transport", about.transport.name())], 1);
    sessions(out, about.peer, data.store.counts());
}

fn store(out: &mut Exposition, data: &Data) {
    let (store, usage) = (&data.store, data.store.usage());
    let (sizes, counts) = (store.sizes(), store.counts());
    let mut family = out.gauge("holdfast_store_bytes", "Bytes on disk, by what they are for.");
    for (kind, bytes) in
        [("used", sizes.used), ("free", sizes.free), ("wal", sizes.wal), ("ballast", sizes.ballast)]
    {
        family.with(&[("kind", kind)], bytes);
    }
    out.gauge("holdfast_store_quota_bytes", "Bytes that may be used.").is(usage.quota_bytes);
    let left = usage.days_left().map(|days| days * 86_400.0);
    out.gauge("holdfast_store_time_left_seconds", "For how long there is room at this rate.")
        .is_if_known(left);
    out.gauge("holdfast_store_refusing", "1 while readings are refused for want of room.")
        .is(u8::from(usage.refusing));
    let help = "Entries removed for want of room; nobody else had the unacknowledged ones.";
    let mut family = out.counter("holdfast_store_dropped_entries_total", help);
    family.with(&[("acknowledged", "true")], usage.shed_acknowledged);
    family.with(&[("acknowledged", "false")], usage.shed_unacknowledged);
    let help = "How long commits took, with the sync to disk.";
    out.histogram("holdfast_store_commit_duration_seconds", help).durations(&[], &counts.commits);
    out.gauge("holdfast_store_waiting_changes", "Changes that wait for the writer.")
        .is(store.waiting());
    out.counter("holdfast_store_sealed_entries_total", "Entries put into segments.")
        .is(counts.sealed.get());
    let scrub = store.scrubbed();
    out.counter("holdfast_store_scrubbed_bytes_total", "Bytes that the scrub has read.")
        .is(counts.scrubbed.get());
    out.counter("holdfast_store_scrub_findings_total", "Damages that the scrub has found.")
        .is(counts.scrub_findings.get());
    let help = "When the scrub had read all that is stored.";
    out.gauge("holdfast_store_scrub_finished_timestamp_seconds", help)
        .is_if_known(scrub.finished.map(|time| timestamp(Time(time))));
    let help = "Entries appended to this node's own streams.";
    by_stream(out, "holdfast_log_appended_entries_total", help, &counts.appended);
}

fn pipeline(out: &mut Exposition, data: &Data) {
    let progress = *data.progress.borrow();
    let head = data.store.watch().borrow().pos;
    out.gauge("holdfast_log_position", "The position of the newest commit.").is(head);
    let help = "Commits that the pipeline has not read yet.";
    out.gauge("holdfast_pipeline_lag_commits", help).is(head.saturating_sub(progress.cursor));
    out.counter("holdfast_pipeline_unreadable_commits_total", "Commits that it passed over.")
        .is(progress.unreadable);
    out.gauge("holdfast_series", "Series that are known.").is(data.catalog.len());
}

fn documents(out: &mut Exposition, counts: &Counts, twins: &Twins) {
    let (open, bytes) = twins.documents().held_open();
    out.gauge("holdfast_documents_open", "Documents that are held open.").is(open);
    out.gauge("holdfast_documents_open_bytes", "About what they take of memory.").is(bytes);
    let of = |what| counts.documents.of(what).get();
    let mut family = out.counter("holdfast_documents_changes_total", "Changes of documents.");
    family.with(&[("from", "here")], of(OfDocuments::Written));
    family.with(&[("from", "elsewhere")], of(OfDocuments::Received));
    let help = "Pushes of changes handed to sessions, each of one document.";
    out.counter("holdfast_documents_pushed_total", help).is(of(OfDocuments::Sent));
    let help = "Conflicts settled by changes from elsewhere.";
    out.counter("holdfast_documents_conflicts_settled_total", help).is(of(OfDocuments::Settled));
    let help = "Changes that broke the engine and were put aside.";
    out.counter("holdfast_documents_quarantined_total", help).is(of(OfDocuments::Quarantined));
    out.counter("holdfast_documents_cuts_total", "Histories that were cut.")
        .is(of(OfDocuments::Cut));
    out.counter("holdfast_documents_foldings_total", "Histories that were folded.")
        .is(of(OfDocuments::Folded));
}

fn sessions(out: &mut Exposition, peer: &str, counts: &Counts) {
    let help = "Entries handed to sessions to be sent.";
    by_stream(out, "holdfast_sync_sent_entries_total", help, &counts.sent);
    let help = "Entries that came from peers and were new.";
    by_stream(out, "holdfast_sync_received_entries_total", help, &counts.received);
    out.counter("holdfast_sync_sent_bytes_total", "Bytes of sessions sent, above QUIC.")
        .is(counts.bytes_sent.get());
    out.counter("holdfast_sync_received_bytes_total", "Bytes of sessions received, above QUIC.")
        .is(counts.bytes_received.get());
    let labels = [("peer", peer)];
    let ended = counts.sessions.cumulated().1;
    out.counter("holdfast_sync_connected_total", "Sessions that came about.")
        .with(&labels, counts.connected.get());
    out.counter("holdfast_sync_disconnected_total", "Sessions that came about and ended.")
        .with(&labels, ended);
    let mut family = out.counter("holdfast_sync_endings_total", "Why sessions ended.");
    for (reason, count) in counts.endings() {
        family.with(&[("reason", reason)], count);
    }
    out.histogram("holdfast_sync_session_duration_seconds", "How long they lasted.")
        .durations(&[], &counts.sessions);
}

fn by_stream(out: &mut Exposition, name: &str, help: &str, counts: &ByStream) {
    let mut family = out.counter(name, help);
    for stream in Stream::ALL {
        family.with(&[("stream", stream.name())], counts.of(stream).get());
    }
}
