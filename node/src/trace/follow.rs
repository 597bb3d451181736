//! Waits for traced entries to be on the other side, and makes the span of their way.
//!
//! The pipeline tells of each traced request that it reads in the log. A gateway then waits until
//! the hub has acknowledged the entries, the hub until they are on its disk. What waits is bounded
//! and in memory: an outage of hours is one long span, a restart within it loses that span.

use super::{Kind, Span, Tracer};
use holdfast_core::log::trace::{SpanContext, Traced};
use holdfast_core::ranges::Range;
use holdfast_core::{ChainId, Timestamp};
use holdfast_sync::Fault;
use holdfast_sync::store::{Frontier, Snapshot, Store};
use std::collections::{HashMap, HashSet, VecDeque};
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Traced requests that are followed at a time.
const FOLLOWED: usize = 1_000;
const LOOK: Duration = Duration::from_millis(250);

/// A traced request as the pipeline found it in the log.
#[derive(Clone, Copy, Debug)]
pub struct TracedCommit {
    /// The chain of events that says so.
    pub chain: ChainId,
    /// What it says.
    pub traced: Traced,
    /// When that was written.
    pub at: Timestamp,
}

struct Followed {
    chain: ChainId,
    range: Range,
    parent: SpanContext,
    start: Timestamp,
}

/// What is known of a chain on the other side.
pub type Reached = dyn Fn(&Snapshot<'_>, &ChainId) -> Result<Option<Frontier>, Fault> + Send + Sync;

/// Follows traced requests; clones share what is followed.
#[derive(Clone)]
pub struct Follower {
    tracer: Tracer,
    name: &'static str,
    kind: Kind,
    reached: Arc<Reached>,
    followed: Arc<Mutex<VecDeque<Followed>>>,
}

impl Follower {
    /// Makes spans called `name` once `reached` covers what is followed.
    #[must_use]
    pub fn new(tracer: Tracer, name: &'static str, kind: Kind, reached: Arc<Reached>) -> Self {
        Self { tracer, name, kind, reached, followed: Arc::default() }
    }

    /// Takes what a step of the pipeline found, and when the step began and ended.
    pub fn step(&self, found: &[TracedCommit], began: Timestamp, ended: Timestamp) {
        for TracedCommit { chain, traced, at } in found {
            let parent = traced.context;
            let Some(context) = self.tracer.child(&parent) else { return };
            self.tracer.emit(Span {
                context,
                parent: Some(parent.span),
                name: "pipeline",
                kind: Kind::Internal,
                start: began,
                end: ended,
                counts: Vec::new(),
                error: None,
            });
            let chain = ChainId { stream: traced.stream, ..*chain };
            let start = if self.kind == Kind::Producer { *at } else { began };
            let mut followed = self.followed.lock().unwrap_or_else(PoisonError::into_inner);
            if followed.len() >= FOLLOWED {
                followed.pop_front();
                self.tracer.dropped(1);
            }
            followed.push_back(Followed { chain, range: traced.range, parent, start });
        }
    }

    /// Looks now and then what has arrived, until told to stop.
    ///
    /// # Errors
    /// Never; a look that fails is repeated.
    pub async fn run(self, store: Store, stop: CancellationToken) -> Result<(), Infallible> {
        loop {
            tokio::select! {
                () = tokio::time::sleep(LOOK) => {}
                () = stop.cancelled() => return Ok(()),
            }
            let waiting = {
                let followed = self.followed.lock().unwrap_or_else(PoisonError::into_inner);
                followed.iter().map(|followed| followed.chain).collect::<HashSet<_>>()
            };
            if waiting.is_empty() {
                continue;
            }
            let reached = Arc::clone(&self.reached);
            let look = move |view: &Snapshot<'_>| {
                let each = waiting.into_iter().map(|chain| Ok((chain, reached(view, &chain)?)));
                each.collect::<Result<HashMap<_, _>, Fault>>()
            };
            match store.read(look).await {
                Ok(known) => self.arrived(&known, store.env().now()),
                Err(fault) => tracing::debug!(%fault, "traces are not followed now"),
            }
        }
    }

    fn arrived(&self, known: &HashMap<ChainId, Option<Frontier>>, now: Timestamp) {
        let mut followed = self.followed.lock().unwrap_or_else(PoisonError::into_inner);
        followed.retain(|one| {
            let frontier = known.get(&one.chain).and_then(Option::as_ref);
            let is_there = frontier.is_some_and(|frontier| frontier.covers(one.range));
            if let (true, Some(context)) = (is_there, self.tracer.child(&one.parent)) {
                self.tracer.emit(Span {
                    context,
                    parent: Some(one.parent.span),
                    name: self.name,
                    kind: self.kind,
                    start: one.start,
                    end: now,
                    counts: vec![("holdfast.entries", one.range.count())],
                    error: None,
                });
            }
            !is_there
        });
    }
}
