//! What the gateway tells Prometheus beside what all nodes do: ingest, its uplink, its clock.

use crate::VERSION;
use crate::ingest::IngestCounts;
use crate::service::App;
use holdfast_node::metrics::{self, About, Exposition, Source, timestamp};
use holdfast_node::time_text::Time;
use holdfast_sync::net::UplinkState;
use std::sync::atomic::Ordering;

impl Source for App {
    fn tell(&self, out: &mut Exposition) {
        let (transport, started) = (self.transport, self.started);
        let about = About { role: "edge", peer: "hub", transport, version: VERSION, started };
        metrics::node(out, &about, &self.data, &self.alerts, &self.twins);
        ingest(out, self.ingest.counts());
        out.gauge("holdfast_devices", "Devices that are known.").is(self.ingest.devices().len());
        let counts = self.data.store.counts();
        out.counter("holdfast_sync_attempts_total", "Attempts to reach the hub.")
            .is(counts.attempts.get());
        out.counter("holdfast_sync_failures_total", "Attempts that brought no session.")
            .is(counts.failures.get());
        uplink(out, &self.uplink.borrow());
        let wrong = self.ingest.clock_wrong().load(Ordering::Relaxed);
        let help = "0 while this node knows its own clock to be wrong.";
        out.gauge("holdfast_clock_believed", help).is(u8::from(!wrong));
        crate::mqtt::metrics::tell(out, &self.mqtt.reach.counts);
        self.requests.tell(out);
        self.notices.tell(out);
        self.tracer.tell(out);
        self.http.tell(out);
    }
}

fn ingest(out: &mut Exposition, counts: &IngestCounts) {
    out.counter("holdfast_ingest_accepted_items_total", "Items that were stored.")
        .is(counts.accepted.get());
    out.counter("holdfast_ingest_duplicate_items_total", "Items that had been stored before.")
        .is(counts.duplicates.get());
    let mut family =
        out.counter("holdfast_ingest_rejected_items_total", "Items that were not stored, by code.");
    for (code, count) in counts.rejected() {
        family.with(&[("code", code)], count);
    }
    let help = "Requests answered again by their Idempotency-Key.";
    out.counter("holdfast_ingest_replayed_requests_total", help).is(counts.replayed.get());
}

fn uplink(out: &mut Exposition, uplink: &UplinkState) {
    out.gauge("holdfast_sync_connected", "1 while there is a session with the hub.")
        .is(u8::from(uplink.online));
    out.gauge("holdfast_sync_behind_entries", "Entries that the hub does not have, while online.")
        .is_if_known(uplink.behind);
    let heard = uplink.heard.map(|time| timestamp(Time(time)));
    out.gauge("holdfast_sync_last_heard_timestamp_seconds", "When the hub was heard last.")
        .is_if_known(heard);
    let ahead = uplink.clock_ahead_ms.map(|ms| ms as f64 / 1e3);
    out.gauge("holdfast_clock_offset_seconds", "The hub's clock less this one.").is_if_known(ahead);
}
