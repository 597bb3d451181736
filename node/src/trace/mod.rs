//! Traces for OpenTelemetry: what became of a request, from its post to the hub's disk.
//!
//! A posted request brings a context (`traceparent`, W3C) or is picked by a ratio. Its spans are
//! made here; what the hub needs to go on travels in the log (`core::log::trace`). [`Tracer`] hands
//! finished spans to `export`, which sends them as OTLP in JSON; `follow` waits for entries to be
//! on the other side. Off, which it is without an endpoint, a tracer is nothing. All queues are
//! bounded, and what is shed is counted.

mod export;
mod follow;
mod otlp;
mod settings;

pub use follow::{Follower, TracedCommit};
pub use settings::{Endpoint, Trace};

use crate::metrics::Exposition;
use crate::supervise::Supervisor;
use axum::http::HeaderMap;
use holdfast_core::Timestamp;
use holdfast_core::log::trace::SpanContext;
use holdfast_sync::counts::Counter;
use holdfast_sync::env::Env;
use std::sync::Arc;
use tokio::sync::mpsc;

/// Spans that wait for the collector; about a megabyte when it is away.
const QUEUE: usize = 2_048;

/// What a span is to its parent, by the numbers of OTLP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// Something this node did for itself.
    Internal = 1,
    /// The answer to a request.
    Server = 2,
    /// What is handed to a peer and taken later.
    Producer = 4,
    /// What is taken from a peer.
    Consumer = 5,
}

/// Something that was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// Its trace and its id.
    pub context: SpanContext,
    /// The span it is a part of.
    pub parent: Option<[u8; 8]>,
    /// What was done.
    pub name: &'static str,
    /// What it is to its parent.
    pub kind: Kind,
    /// From when.
    pub start: Timestamp,
    /// Until when.
    pub end: Timestamp,
    /// How often something was done in it.
    pub counts: Vec<(&'static str, u64)>,
    /// Why it failed.
    pub error: Option<String>,
}

/// Who makes the spans.
#[derive(Clone, Debug)]
pub struct Resource {
    /// `holdfast-edge` or `holdfast-hub`.
    pub service: &'static str,
    /// The program's version.
    pub version: &'static str,
    /// The node's id.
    pub instance: String,
}

/// Makes spans; nothing when tracing is off. Cheap to clone.
#[derive(Clone, Default)]
pub struct Tracer(Option<Arc<Inner>>);

struct Inner {
    env: Env,
    ratio: f64,
    queue: mpsc::Sender<Span>,
    counts: Arc<SpanCounts>,
}

/// What became of spans.
#[derive(Debug, Default)]
struct SpanCounts {
    exported: Counter,
    dropped: Counter,
}

impl Tracer {
    /// Starts tracing, if the configuration has an endpoint.
    #[must_use]
    pub fn start(settings: &Trace, resource: Resource, env: &Env, supervisor: &Supervisor) -> Self {
        let Some(place) = settings.endpoint.place() else { return Self::default() };
        let (queue, spans) = mpsc::channel(QUEUE);
        let counts = Arc::<SpanCounts>::default();
        let exporter = export::Exporter::new(place, resource, spans, Arc::clone(&counts));
        supervisor.run_once("trace", |stop| exporter.run(stop));
        let (env, ratio) = (Arc::clone(env), settings.ratio.0);
        Self(Some(Arc::new(Inner { env, ratio, queue, counts })))
    }

    /// Whether spans are made at all.
    #[must_use]
    pub const fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Begins the span of a request: as a part of the trace that the headers name, or of one of its
    /// own when the ratio picks it.
    #[must_use]
    pub fn begin(&self, headers: &HeaderMap) -> Option<Begun> {
        let inner = self.0.as_ref()?;
        let header = headers.get("traceparent").and_then(|value| value.to_str().ok());
        let (trace, parent) = match header.and_then(parse) {
            Some((context, true)) => (context.trace, Some(context.span)),
            Some((_, false)) => return None,
            None if picked(inner.ratio, inner.env.entropy()) => (inner.id(), None),
            None => return None,
        };
        let context = SpanContext { trace, span: inner.id() };
        Some(Begun { context, parent, start: inner.env.now(), tracer: self.clone() })
    }

    /// A new part of `parent`.
    #[must_use]
    pub fn child(&self, parent: &SpanContext) -> Option<SpanContext> {
        let inner = self.0.as_ref()?;
        Some(SpanContext { trace: parent.trace, span: inner.id() })
    }

    /// The node's time.
    fn now(&self) -> Option<Timestamp> {
        self.0.as_ref().map(|inner| inner.env.now())
    }

    /// Hands a finished span to the exporter.
    pub fn emit(&self, span: Span) {
        let Some(inner) = &self.0 else { return };
        if inner.queue.try_send(span).is_err() {
            inner.counts.dropped.add(1);
        }
    }

    fn dropped(&self, spans: u64) {
        if let Some(inner) = &self.0 {
            inner.counts.dropped.add(spans);
        }
    }

    /// Writes what became of spans.
    pub fn tell(&self, out: &mut Exposition) {
        let count = |pick: fn(&SpanCounts) -> &Counter| {
            self.0.as_ref().map_or(0, |inner| pick(&inner.counts).get())
        };
        out.counter("holdfast_trace_exported_spans_total", "Spans that the collector took.")
            .is(count(|counts| &counts.exported));
        out.counter("holdfast_trace_dropped_spans_total", "Spans that were shed.")
            .is(count(|counts| &counts.dropped));
    }
}

impl Inner {
    /// A random id; zero stands for none.
    fn id<const N: usize>(&self) -> [u8; N] {
        let mut id = [0; N];
        while id == [0; N] {
            self.env.fill(&mut id);
        }
        id
    }
}

/// A span that is not over.
pub struct Begun {
    /// Its trace and its id.
    pub context: SpanContext,
    parent: Option<[u8; 8]>,
    start: Timestamp,
    tracer: Tracer,
}

impl Begun {
    /// A part of it that begins now.
    #[must_use]
    pub fn part(&self) -> Option<Self> {
        let tracer = self.tracer.clone();
        let (context, start) = (tracer.child(&self.context)?, tracer.now()?);
        Some(Self { context, parent: Some(self.context.span), start, tracer })
    }

    /// It is over.
    pub fn end(
        self,
        name: &'static str,
        kind: Kind,
        counts: Vec<(&'static str, u64)>,
        error: Option<String>,
    ) {
        let Self { context, parent, start, tracer } = self;
        let Some(end) = tracer.now() else { return };
        tracer.emit(Span { context, parent, name, kind, start, end, counts, error });
    }
}

/// Whether a number drawn from all 64 bits is among the share `ratio` of them.
fn picked(ratio: f64, drawn: u64) -> bool {
    ratio > 0.0 && drawn as f64 / u64::MAX as f64 <= ratio
}

/// Reads `traceparent`: the context, and whether it is sampled. What is not one is as if it were
/// not there, as the standard has it.
fn parse(text: &str) -> Option<(SpanContext, bool)> {
    let mut parts = text.trim().split('-');
    let mut part = |length: usize| {
        let part = parts.next().filter(|part| part.len() == length)?;
        data_encoding::HEXLOWER.decode(part.as_bytes()).ok()
    };
    let (version, trace, span, flags) = (part(2)?, part(32)?, part(16)?, part(2)?);
    // A later version may say more behind the flags; this one may not.
    if version == [0xff] || (version == [0] && parts.next().is_some()) {
        return None;
    }
    let context = SpanContext { trace: trace.try_into().ok()?, span: span.try_into().ok()? };
    let is_one = context.trace != [0; 16] && context.span != [0; 8];
    is_one.then_some((context, flags[0] & 1 == 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_context_is_read_as_the_standard_has_it() {
        let context = SpanContext { trace: [0xab; 16], span: [0xcd; 8] };
        let (trace, span) = ("ab".repeat(16), "cd".repeat(8));
        let sampled = format!("00-{trace}-{span}-01");
        assert_eq!(parse(&sampled), Some((context, true)));
        assert_eq!(parse(&format!("00-{trace}-{span}-02")), Some((context, false)));
        assert_eq!(parse(&format!("01-{trace}-{span}-03-more")), Some((context, true)));
        for wrong in [
            String::new(),
            "x".to_owned(),
            format!("ff-{trace}-{span}-01"),
            format!("00-{trace}-{span}-01-more"),
            format!("00-{trace}-{span}"),
            format!("00-{}-{span}-01", "0".repeat(32)),
            format!("00-{trace}-{}-01", "0".repeat(16)),
            sampled.to_uppercase(),
        ] {
            assert_eq!(parse(&wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_ratio_picks_its_share() {
        assert!(!picked(0.0, 0) && picked(1.0, u64::MAX) && picked(0.5, u64::MAX / 4));
        assert!(!picked(0.5, u64::MAX / 4 * 3));
    }

    #[tokio::test]
    async fn what_the_queue_has_no_room_for_is_shed_and_counted() {
        let (queue, _spans) = mpsc::channel(QUEUE);
        let (env, counts) = (holdfast_sync::env::System::env(), Arc::default());
        let tracer = Tracer(Some(Arc::new(Inner { env, ratio: 1.0, queue, counts })));
        for _ in 0..QUEUE + 7 {
            let begun = tracer.begin(&HeaderMap::new()).expect("all are picked");
            begun.end("ingest", Kind::Server, Vec::new(), None);
        }
        let mut out = Exposition::default();
        tracer.tell(&mut out);
        assert!(out.finish().contains("\nholdfast_trace_dropped_spans_total 7\n"));
    }
}
