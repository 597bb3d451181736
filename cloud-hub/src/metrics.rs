//! What the hub tells Prometheus beside what all nodes do: how each gateway is. A gateway behind a
//! router that lets nobody in is seen here, by what its session says.

use crate::VERSION;
use crate::fleet::Member;
use crate::live::Live;
use crate::service::App;
use crate::shapes::NodeCounts;
use holdfast_node::metrics::{self, About, Exposition, Source, timestamp};
use holdfast_node::time_text::Time;

/// Gateways with lines of their own; a reader of metrics keeps each for months.
const GATEWAYS: usize = 1_000;
/// What the others are called together. No gateway is: its name has a slash.
const OTHERS: &str = "others";

impl Source for App {
    fn tell(&self, out: &mut Exposition) {
        let (transport, started) = (self.transport, self.started);
        let about = About { role: "hub", peer: "edge", transport, version: VERSION, started };
        metrics::node(out, &about, &self.data, &self.alerts, &self.twins);
        let NodeCounts { online, stale, never } = self.node_counts();
        let mut family = out.gauge("holdfast_gateways", "Gateways, by how they are.");
        for (state, count) in [("online", online), ("stale", stale), ("never", never)] {
            family.with(&[("state", state)], count);
        }
        let each = self
            .fleet
            .members()
            .into_iter()
            .map(|member: Member| (member.called(), self.live.get(&member.membership.node())));
        gateways(out, each.collect());
        self.requests.tell(out);
        self.notices.tell(out);
        self.tracer.tell(out);
        self.http.tell(out);
    }
}

/// Each gateway by its name, up to a bound; the rest is one.
fn gateways(out: &mut Exposition, mut all: Vec<(String, Live)>) {
    let others = all.split_off(all.len().min(GATEWAYS));
    let mut told: Vec<_> = all.into_iter().map(|(name, live)| Told::of(name, &live)).collect();
    let others = others.iter().map(|(_, live)| Told::of(OTHERS.to_owned(), live));
    told.extend(others.reduce(Told::with));
    let help = "How many sessions there are with it: 0 or 1, but for the others together.";
    let mut family = out.gauge("holdfast_gateway_connected", help);
    for told in &told {
        family.with(&[("gateway", &told.name)], told.connected);
    }
    let help = "Entries of it that are not here, as it last said.";
    let mut family = out.gauge("holdfast_gateway_behind_entries", help);
    for (told, behind) in told.iter().filter_map(|told| Some((told, told.behind?))) {
        family.with(&[("gateway", &told.name)], behind);
    }
    let help = "When it was heard last.";
    let mut family = out.gauge("holdfast_gateway_last_heard_timestamp_seconds", help);
    for (told, heard) in told.iter().filter_map(|told| Some((told, told.heard?))) {
        family.with(&[("gateway", &told.name)], timestamp(heard));
    }
    let help = "Its clock less the hub's, at its last hello.";
    let mut family = out.gauge("holdfast_gateway_clock_offset_seconds", help);
    for (told, ahead_ms) in told.iter().filter_map(|told| Some((told, told.ahead_ms?))) {
        family.with(&[("gateway", &told.name)], ahead_ms as f64 / 1e3);
    }
}

/// What is told of a gateway, or of several.
struct Told {
    name: String,
    connected: u64,
    behind: Option<u64>,
    heard: Option<Time>,
    ahead_ms: Option<i64>,
}

impl Told {
    fn of(name: String, live: &Live) -> Self {
        Self {
            name,
            connected: u64::from(live.online),
            behind: live.behind,
            heard: live.heard.map(Time),
            ahead_ms: live.clock_ahead_ms,
        }
    }

    /// Both together: sums, the one that was heard longest ago, the clock that is off the most.
    fn with(self, other: Self) -> Self {
        let sum = |one: Option<u64>, two: Option<u64>| {
            one.into_iter().chain(two).reduce(u64::saturating_add)
        };
        Self {
            name: self.name,
            connected: self.connected + other.connected,
            behind: sum(self.behind, other.behind),
            heard: self.heard.into_iter().chain(other.heard).min(),
            ahead_ms: self
                .ahead_ms
                .into_iter()
                .chain(other.ahead_ms)
                .max_by_key(|ahead| ahead.unsigned_abs()),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed step of a test is its failure")]
mod tests {
    use super::*;
    use holdfast_core::Timestamp;

    #[test]
    fn gateways_beyond_the_bound_are_one_line() {
        let live = |second: i64, ahead| {
            let mut live = Live::default();
            live.online = second % 2 == 0;
            live.heard = Some(Timestamp(second * 1_000_000_000));
            (live.behind, live.clock_ahead_ms) = (Some(10), Some(ahead));
            live
        };
        let mut all: Vec<_> =
            (0..GATEWAYS as i64).map(|n| (format!("s/g{n:04}"), live(n, 0))).collect();
        all.extend(
            [("s/h1", 7_000, 5), ("s/h2", 6_000, -9), ("s/h3", 8_001, 3)]
                .map(|(name, second, ahead)| (name.to_owned(), live(second, ahead))),
        );
        let mut out = Exposition::default();
        gateways(&mut out, all);
        let text = out.finish();
        let line = |start: &str| text.lines().find_map(|line| line.strip_prefix(start)).unwrap();
        assert_eq!(line("holdfast_gateway_connected{gateway=\"s/g0999\"} "), "0");
        assert_eq!(line("holdfast_gateway_connected{gateway=\"others\"} "), "2");
        assert_eq!(line("holdfast_gateway_behind_entries{gateway=\"others\"} "), "30");
        let heard = "holdfast_gateway_last_heard_timestamp_seconds{gateway=\"others\"} ";
        assert_eq!(line(heard), "6000");
        let offset = "holdfast_gateway_clock_offset_seconds{gateway=\"others\"} ";
        assert_eq!(line(offset), "-0.009");
        assert!(!text.contains("s/h"));
    }
}
