//! Runs a session over a stream and a store: carries out what the machine wants.

use super::desk::Desk;
use crate::Fault;
use crate::docs::exchange::Pushed;
use crate::identity::Membership;
use crate::session::{
    Config, End, FrameReader, HeldDocuments, Input, LocalChain, Now, Output, Policy, ReadRequest,
    RefusalCode, Session,
};
use crate::store::{
    ChainNo, Frontier, Intact, Received, Snapshot, Store, StoredCommit, WriteError,
};
use futures::future::{BoxFuture, OptionFuture};
use futures::stream::FuturesOrdered;
use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, FutureExt, StreamExt};
use holdfast_core::ranges::Range;
use holdfast_core::{Incarnation, NodeId, Seq};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};

/// Frames waiting for the socket; more than the flow control ever lets under way.
const WRITE_QUEUE: usize = 1024;
/// Batches being stored before no more is read from the peer.
const STORING_MAX: usize = 64;

/// What a session reports while it runs.
#[derive(Debug)]
#[non_exhaustive]
pub enum PeerEvent {
    /// The peer is let in.
    Established {
        /// Who it is.
        membership: Box<Membership>,
        /// Its start.
        incarnation: Incarnation,
        /// Its program's version.
        version: String,
        /// Its wall clock less ours, milliseconds.
        clock_ahead_ms: i64,
    },
    /// The peer has so many entries of this node that are not here.
    PeerAhead(u64),
    /// The peer gave us a fresh membership.
    Renewed(Box<Membership>),
    /// How many of the peer's entries are not here yet.
    PeerBehind(u64),
    /// How many of our entries are not at the peer yet.
    Behind(u64),
    /// Something came from the peer.
    Heard,
    /// The session is over.
    Ended(End),
}

/// Takes what sessions report.
pub type PeerEvents = Arc<dyn Fn(NodeId, PeerEvent) + Send + Sync>;

/// A reason to stop a session from outside.
pub(super) type StopSignal = watch::Receiver<Option<(RefusalCode, String)>>;

pub(super) struct Driver {
    pub store: Store,
    pub desk: Arc<Desk>,
    pub policy: Arc<dyn Policy>,
    pub events: PeerEvents,
    pub stop: StopSignal,
}

#[derive(Default)]
struct Doing {
    reading: Option<BoxFuture<'static, Result<Input, Fault>>>,
    loading: Option<BoxFuture<'static, Result<Loaded, Fault>>>,
    storing: FuturesOrdered<BoxFuture<'static, Input>>,
    gathering: Option<BoxFuture<'static, Input>>,
    delivered: Pushed,
    acked: Vec<(ChainNo, Box<Frontier>)>,
    writing: Option<BoxFuture<'static, ()>>,
    /// When the peer was let in, microseconds of the forward clock.
    established_us: Option<u64>,
    end: Option<End>,
}

impl Doing {
    /// What the session is told of the next thing that is done.
    async fn next(&mut self) -> Result<Vec<Input>, Fault> {
        tokio::select! {
            Some(done) = OptionFuture::from(self.reading.as_mut()) => {
                self.reading = None;
                Ok(vec![done?])
            }
            Some(done) = OptionFuture::from(self.loading.as_mut()) => {
                self.loading = None;
                let (held, chains) = done?;
                Ok(vec![Input::Held(held), Input::Chains(chains)])
            }
            Some(input) = OptionFuture::from(self.gathering.as_mut()) => {
                self.gathering = None;
                Ok(vec![input])
            }
            Some(input) = self.storing.next() => Ok(vec![input]),
            Some(()) = OptionFuture::from(self.writing.as_mut()) => {
                self.writing = None;
                Ok(Vec::new())
            }
            else => std::future::pending().await,
        }
    }
}

impl Driver {
    /// Runs a session over `stream` to its end.
    pub(super) async fn run<S>(mut self, config: Config, stream: S) -> End
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (peer, initiator) = (config.peer, config.initiator);
        let mut session = Session::new(config, Arc::clone(&self.policy), self.now());
        let (mut input, output) = stream.split();
        let (frames, queue) = mpsc::channel(WRITE_QUEUE);
        let writer = tokio::spawn(write(output, queue, self.store.clone()));
        let mut reader = FrameReader::default();
        let mut buffer = vec![0; 64 << 10];
        let (mut head, mut documents) = (self.store.watch(), self.store.watch_documents());
        let mut doing = Doing::default();
        loop {
            self.carry_out(&mut session, &mut doing, &frames, peer);
            if doing.end.is_some() {
                break;
            }
            let room = doing.storing.len() < STORING_MAX;
            let deadline = session.next_deadline().saturating_sub(self.now().mono_ms);
            tokio::select! {
                read = input.read(&mut buffer), if room => {
                    match read {
                        Ok(n) if n > 0 => {
                            reader.push(&buffer[..n]);
                            self.store.counts().bytes_received.add(n as u64);
                            (self.events)(peer, PeerEvent::Heard);
                            self.frames(&mut session, &mut reader);
                        }
                        Ok(_) => doing.end = Some(lost("the peer closed the stream".to_owned())),
                        Err(error) => doing.end = Some(lost(format!("the link broke: {error}"))),
                    }
                }
                done = doing.next() => self.done(&mut session, done),
                Ok(()) = documents.changed() => {
                    documents.mark_unchanged();
                    session.handle(self.now(), Input::DocumentsChanged);
                }
                Ok(()) = head.changed(), if initiator => {
                    head.mark_unchanged();
                    self.heads(&mut session);
                }
                Ok(()) = self.stop.changed() => {
                    let reason = self.stop.borrow_and_update().clone();
                    if let Some((code, reason)) = reason {
                        session.handle(self.now(), Input::Stop(code, reason));
                    }
                }
                () = tokio::time::sleep(Duration::from_millis(deadline.max(1))) => {
                    session.handle(self.now(), Input::Tick);
                }
            }
        }
        drop(frames);
        // The last frame says why; give it a moment to leave.
        let _ = tokio::time::timeout(Duration::from_secs(2), writer).await;
        let end = doing.end.expect("the loop ends with a reason");
        let now_us = self.store.env().monotonic_us();
        let lasted_us = doing.established_us.map(|since| now_us.saturating_sub(since));
        self.store.counts().ended(&end, lasted_us);
        (self.events)(peer, PeerEvent::Ended(end.clone()));
        end
    }

    fn now(&self) -> Now {
        let env = self.store.env();
        Now { mono_ms: env.monotonic_ms(), wall_ms: env.now().millis() }
    }

    fn frames(&self, session: &mut Session, reader: &mut FrameReader) {
        loop {
            match reader.next_frame() {
                Ok(Some(frame)) => session.handle(self.now(), Input::Frame(frame)),
                Ok(None) => return,
                Err(reject) => {
                    let reason = format!("what the peer sent is not a frame: {reject}");
                    session.handle(self.now(), Input::Stop(RefusalCode::Protocol, reason));
                    return;
                }
            }
        }
    }

    fn done(&self, session: &mut Session, done: Result<Vec<Input>, Fault>) {
        let inputs = done.unwrap_or_else(|fault| {
            let reason = format!("the store: {fault}");
            vec![Input::NotStored(RefusalCode::Unavailable, reason)]
        });
        inputs.into_iter().for_each(|input| session.handle(self.now(), input));
    }

    /// Tells the session how far this node's own chains are.
    fn heads(&self, session: &mut Session) {
        for (no, id, last) in self.store.own_heads() {
            session.handle(self.now(), Input::Head(no, id, last));
        }
    }

    fn carry_out(
        &self,
        session: &mut Session,
        doing: &mut Doing,
        frames: &mpsc::Sender<Vec<u8>>,
        peer: NodeId,
    ) {
        while let Some(output) = session.poll() {
            match output {
                Output::Send(bytes) => {
                    if frames.try_send(bytes).is_err() && doing.end.is_none() {
                        doing.end = Some(lost("the peer takes nothing".to_owned()));
                    }
                }
                Output::LoadChains(origin) => {
                    let (store, desk) = (self.store.clone(), Arc::clone(&self.desk));
                    doing.loading = Some(load(store, desk, origin, peer).boxed());
                }
                Output::Read(request) => {
                    doing.reading = Some(read_commits(self.store.clone(), request).boxed());
                }
                Output::Store(runs, messages) => {
                    let store = self.store.clone();
                    match self.desk.arrived(messages) {
                        Ok(count) => {
                            let desk = Arc::clone(&self.desk);
                            doing.storing.push_back(store_all(store, runs, desk, count).boxed());
                        }
                        Err(reject) => {
                            let reason = format!("a message about documents: {reject}");
                            session.handle(self.now(), Input::Stop(RefusalCode::Protocol, reason));
                        }
                    }
                }
                Output::Begin(theirs) => {
                    let (desk, store) = (Arc::clone(&self.desk), self.store.clone());
                    doing.gathering = Some(desk.begin(store, theirs).boxed());
                }
                Output::Gather(max_bytes) => {
                    let (desk, store) = (Arc::clone(&self.desk), self.store.clone());
                    doing.gathering = Some(desk.gather(store, max_bytes).boxed());
                }
                Output::Delivered(pushed) => doing.delivered.extend(pushed),
                Output::Acked(no, frontier) => doing.acked.push((no, frontier)),
                Output::Unfilled(no, range) => {
                    tokio::spawn(explain(self.store.clone(), no, range));
                }
                Output::PeerAhead(entries) => (self.events)(peer, PeerEvent::PeerAhead(entries)),
                Output::Established { membership, incarnation, version, clock_ahead_ms } => {
                    self.desk.met(&membership);
                    (self.events)(
                        peer,
                        PeerEvent::Established { membership, incarnation, version, clock_ahead_ms },
                    );
                    doing.established_us = Some(self.store.env().monotonic_us());
                    self.store.counts().connected.add(1);
                    self.heads(session);
                }
                Output::Renewed(fresh) => (self.events)(peer, PeerEvent::Renewed(fresh)),
                Output::Sent(stream, entries) => {
                    self.store.counts().sent.of(stream).add(entries);
                }
                Output::PeerBehind(entries) => (self.events)(peer, PeerEvent::PeerBehind(entries)),
                Output::Behind(entries) => (self.events)(peer, PeerEvent::Behind(entries)),
                Output::End(end) => doing.end = doing.end.take().or(Some(end)),
            }
        }
        if doing.writing.is_none() && !(doing.acked.is_empty() && doing.delivered.is_empty()) {
            let acked = std::mem::take(&mut doing.acked);
            let delivered = std::mem::take(&mut doing.delivered);
            let (store, desk) = (self.store.clone(), Arc::clone(&self.desk));
            doing.writing = Some(note_acked(store, desk, peer, acked, delivered).boxed());
        }
    }
}

fn lost(reason: String) -> End {
    End { by_peer: false, code: RefusalCode::Unavailable, reason }
}

async fn write<W>(mut output: W, mut queue: mpsc::Receiver<Vec<u8>>, store: Store)
where
    W: AsyncWrite + Unpin,
{
    while let Some(bytes) = queue.recv().await {
        if output.write_all(&bytes).await.is_err() {
            return;
        }
        store.counts().bytes_sent.add(bytes.len() as u64);
        if queue.is_empty() && output.flush().await.is_err() {
            return;
        }
    }
    // Nothing depends on the close reaching the peer.
    let _ = output.close().await;
}

type Loaded = (HeldDocuments, Vec<LocalChain>);

async fn load(
    store: Store,
    desk: Arc<Desk>,
    origin: NodeId,
    peer: NodeId,
) -> Result<Loaded, Fault> {
    store
        .read(move |view| {
            let mut out = Vec::new();
            for info in view.chains()?.into_iter().filter(|chain| chain.id.origin == origin) {
                let acked = view.acked(&peer, info.no)?;
                out.push(LocalChain { info, acked });
            }
            Ok((desk.held(view)?, out))
        })
        .await
}

/// Reads what a session asked for. A damaged commit is passed over as if it were not there, for the
/// peer would have to refuse it.
async fn read_commits(store: Store, request: ReadRequest) -> Result<Input, Fault> {
    let checked = store.clone();
    let look = move |view: &Snapshot<'_>| {
        let ReadRequest { chain, mut range, max_bytes, back, live, .. } = request;
        let Some(info) = view.chain(chain)? else { return Ok(Input::Commits(Vec::new(), None)) };
        loop {
            let rows = if back {
                view.rows_back(chain, range, max_bytes)?
            } else {
                view.rows_from(chain, range.from, max_bytes)?
            };
            let asked = if live { Range { to: Seq::MAX, ..range } } else { range };
            let commits = fitting(rows, asked, max_bytes, back);
            let rest = match (commits.first(), commits.last()) {
                (Some(first), _) if back => Range::new(range.from, first.first.saturating_sub(1)),
                (_, Some(last)) => Range::new(last.last() + 1, range.to),
                _ => None,
            };
            let (mut intact, mut whole) = (Intact::default(), Vec::with_capacity(commits.len()));
            for commit in commits {
                if intact.check(&checked, view, &info.id, &commit)? {
                    whole.push(commit);
                }
            }
            let commits = contiguous(whole, back);
            match (commits.first(), rest) {
                (Some(first), _) => {
                    let before = view.link_before(chain, first.first)?;
                    return Ok(Input::Commits(commits, before));
                }
                (None, Some(rest)) => range = rest,
                (None, None) => return Ok(Input::Commits(commits, None)),
            }
        }
    };
    store.read(look).await
}

/// Of the rows read, what lies in the range and fits. A segment that does not, whole, is taken
/// apart: on a thin link a new alert must not wait until all of it has left.
fn fitting(
    rows: Vec<StoredCommit>,
    range: Range,
    max_bytes: usize,
    back: bool,
) -> Vec<StoredCommit> {
    let inside = |row: &StoredCommit| range.from <= row.first && row.last() <= range.to;
    let mut out = Vec::with_capacity(rows.len());
    for row in rows {
        if row.sealed && !(inside(&row) && row.body.len() <= max_bytes) {
            match row.parts() {
                Ok(parts) => out.extend(parts.into_iter().filter(inside)),
                // It is damaged, which the check will find and tell.
                Err(_) => out.push(row),
            }
        } else if inside(&row) {
            out.push(row);
        }
    }
    let mut bytes = 0;
    let mut fits = |row: &StoredCommit| {
        let fits = bytes < max_bytes;
        bytes += row.body.len() + 64;
        fits
    };
    if back {
        let surplus = out.iter().rev().position(|row| !fits(row)).map_or(0, |at| out.len() - at);
        out.drain(..surplus);
    } else {
        let fitting = out.iter().position(|row| !fits(row)).unwrap_or(out.len());
        out.truncate(fitting);
    }
    out
}

/// The commits up to the first hole, seen from the end that was asked for.
fn contiguous(mut commits: Vec<StoredCommit>, back: bool) -> Vec<StoredCommit> {
    let torn = |pair: &[StoredCommit]| pair[0].last() + 1 != pair[1].first;
    if back {
        if let Some(at) = commits.windows(2).rposition(torn) {
            commits.drain(..=at);
        }
    } else if let Some(at) = commits.windows(2).position(torn) {
        commits.truncate(at + 1);
    }
    commits
}

/// Stores what came, chains and documents in the transactions they fall into; the token in hand,
/// all of it may be acknowledged.
async fn store_all(
    store: Store,
    runs: Vec<(u32, Received)>,
    desk: Arc<Desk>,
    messages: usize,
) -> Input {
    let (held, answers) = futures::join!(store_runs(&store, runs), desk.take(&store, messages));
    match (held, answers) {
        (Ok(held), Ok(answers)) => Input::Stored(held, answers),
        (Err((code, reason)), _) | (_, Err((code, reason))) => Input::NotStored(code, reason),
    }
}

async fn store_runs(
    store: &Store,
    runs: Vec<(u32, Received)>,
) -> Result<Vec<(u32, Frontier)>, (RefusalCode, String)> {
    if runs.is_empty() {
        return Ok(Vec::new());
    }
    let stored = store.write(move |tx| {
        let mut held = Vec::with_capacity(runs.len());
        for (index, run) in &runs {
            held.push((*index, tx.accept(run)?.1));
        }
        Ok(held)
    });
    stored.await.map(|(_committed, held)| held).map_err(|error| why_not(&error))
}

/// What the peer is told when something of its could not be stored.
pub(super) fn why_not(error: &WriteError) -> (RefusalCode, String) {
    let code = match error {
        WriteError::Fault(fault) if fault.is_full() => RefusalCode::NoRoom,
        WriteError::Fork { .. } => RefusalCode::Fork,
        _ => RefusalCode::Unavailable,
    };
    (code, error.to_string())
}

/// A peer that lost what it had acknowledged asks for what was removed here because it had it.
async fn explain(store: Store, no: ChainNo, range: Range) {
    match store.write(move |tx| tx.explain(no, range)).await {
        Ok((_, 0)) => {}
        Ok((_, entries)) => {
            tracing::warn!(entries, "the peer has lost entries that were removed here: gone");
        }
        // The next session asks again.
        Err(error) => tracing::warn!(%error, "a hole in the log could not be explained"),
    }
}

async fn note_acked(
    store: Store,
    desk: Arc<Desk>,
    peer: NodeId,
    acked: Vec<(ChainNo, Box<Frontier>)>,
    delivered: Pushed,
) {
    let noted = store.write(move |tx| {
        desk.delivered(tx, &delivered)?;
        acked.iter().try_for_each(|(no, frontier)| tx.set_acked(&peer, *no, frontier))
    });
    if let Err(error) = noted.await {
        // It only decides what may be shed, and what is sent twice; the next session learns it.
        tracing::warn!(%error, "what the peer acknowledged could not be noted");
    }
}
