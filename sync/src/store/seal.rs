//! Sealing: commits that the pipeline has read are put together into segments, in the background.
//!
//! A segment takes the place of its commits in one short transaction; it is encoded before, off the
//! writer. Small segments are put together into larger ones, up to [`FULL`] entries, and with many
//! series up to [`WIDE`]; which ones, the module `merge` says. Nothing waits for it and
//! nothing depends on it: whatever is sealed or not, the log is the same.

use super::commits::{CommitFilter, ROW_COST, StoredCommit};
use super::merge::{self, Extent, FULL, WIDE};
use super::schema::fault;
use super::snapshot::Snapshot;
use super::writer::WriteError;
use super::{ChainInfo, ChainNo, Inner, PIPELINE, Store, Table};
use crate::Fault;
use crate::segment::{self, Commit, SegmentError, Start};
use holdfast_core::limits::COMMIT_MAX_BYTES;
use holdfast_core::log::Link;
use holdfast_core::{ChainId, Reject, Seq};
use rusqlite::params;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Weak};
use std::time::Duration;

/// Entries of a chain from which on they are sealed, unless the options say otherwise.
pub const SEAL_AFTER: u64 = 8_192;
/// Of a start that is over this few are worth a segment.
const CLOSED_AFTER: u64 = 256;
/// Commits that one transaction replaces; bounds how long it holds the writer.
const ROWS: usize = 2_000;
/// Bytes of bodies that one segment is made of; bounds the memory this takes.
const BODIES: usize = 4 << 20;
/// How far its thread gives way (`setpriority`): against one that does not, it gets a tenth of a
/// processor that both want, and all of one that nobody else does.
const NICENESS: i32 = 10;
const PAUSE: Duration = Duration::from_secs(1);
/// Positions that the log has to advance before it is looked over again.
const ADVANCE: u64 = 64;

/// Consecutive rows of a chain that are to become one segment.
struct Run {
    chain: ChainInfo,
    before: Link,
    rows: Vec<StoredCommit>,
}

/// What became of a run.
struct Sealed {
    row: StoredCommit,
    filter: CommitFilter,
    /// Rows that it replaces.
    rows: usize,
}

/// What the background thread remembers.
#[derive(Default)]
struct Sealer {
    /// The head when there was nothing left to do.
    idle_at: Option<u64>,
    /// Where a chain is as small as it gets, or cannot be sealed until the next start repairs it.
    left: BTreeSet<(ChainNo, Seq)>,
}

/// Starts the thread. It ends soon after the last handle to the store is gone or the writer has
/// stopped.
pub(super) fn start(inner: &Arc<Inner>) -> Result<(), Fault> {
    if inner.seal_after == 0 {
        return Ok(());
    }
    let weak = Arc::downgrade(inner);
    let started = std::thread::Builder::new().name("store-sealer".to_owned()).spawn(move || {
        // Of a thread that may not, sealing is as fast as everything else.
        let _ = rustix::process::setpriority_process(None, NICENESS);
        Sealer::default().run(&weak);
    });
    started.map(drop).map_err(|source| Fault::file(&inner.path, source))
}

impl Sealer {
    fn run(&mut self, store: &Weak<Inner>) {
        loop {
            std::thread::sleep(PAUSE);
            let Some(inner) = store.upgrade() else { return };
            match self.all(&Store { inner }) {
                Ok(()) => {}
                Err(WriteError::Fault(Fault::Stopping)) => return,
                Err(error) => tracing::warn!(%error, "the log is not sealed now"),
            }
        }
    }

    /// Seals until nothing is left, if the log has grown since that was so.
    fn all(&mut self, store: &Store) -> Result<(), WriteError> {
        let head = store.inner.head.borrow().pos;
        if self.idle_at.is_some_and(|at| head < at + ADVANCE) {
            return Ok(());
        }
        while self.once(store, store.inner.seal_after)? {}
        self.idle_at = Some(head);
        Ok(())
    }

    /// Makes one segment; `false` when there was none to make.
    fn once(&mut self, store: &Store, after: u64) -> Result<bool, WriteError> {
        let Some(run) = store.read_blocking(|view| self.next(view, after))? else {
            return Ok(false);
        };
        let place = (run.chain.no, run.rows[0].first);
        match encode(&run) {
            Ok(None) => {
                self.left.insert(place);
                Ok(true)
            }
            Ok(Some(sealed)) => {
                let change =
                    store.write(move |tx| tx.seal(&sealed.row, &sealed.filter, sealed.rows));
                match futures::executor::block_on(change) {
                    Ok(_) => Ok(true),
                    // Retention took some of them. What begins elsewhere now is looked at again,
                    // what still begins here after the next start: never the same over and over.
                    Err(WriteError::Refused(_)) => {
                        self.left.insert(place);
                        Ok(true)
                    }
                    Err(error) => Err(error),
                }
            }
            Err(error) => {
                let what = format!("entries from {} of {}", place.1, run.chain.id);
                let fault = Fault::damaged(what, error.to_string());
                tracing::error!(%fault, "not sealed");
                store.note_damage(&fault);
                self.left.insert(place);
                Ok(true)
            }
        }
    }

    fn next(&self, view: &Snapshot<'_>, after: u64) -> Result<Option<Run>, Fault> {
        let read_to = view.get(Table::Cursor, PIPELINE)?;
        let read_to = read_to.as_deref().and_then(|value| value.first_chunk::<8>());
        let read_to = read_to.map_or(0, |bytes| u64::from_be_bytes(*bytes));
        let chains = view.chains()?;
        let closed = closed(&chains);
        for (no, entries) in unsealed(view)? {
            let Some(chain) = chains.iter().find(|chain| chain.no == no) else { continue };
            let least = if closed.contains(&chain.id) { after.min(CLOSED_AFTER) } else { after };
            if entries >= least
                && let Some(run) = self.unsealed_run(view, chain, least, read_to)?
            {
                return Ok(Some(run));
            }
        }
        for chain in &chains {
            if let Some(run) = self.small_run(view, chain)? {
                return Ok(Some(run));
            }
        }
        Ok(None)
    }

    /// The oldest unsealed commits of a chain that the pipeline has read, follow each other and are
    /// enough.
    fn unsealed_run(
        &self,
        view: &Snapshot<'_>,
        chain: &ChainInfo,
        least: u64,
        read_to: u64,
    ) -> Result<Option<Run>, Fault> {
        let mut from = 0;
        loop {
            let mut rows = view.unsealed_rows(chain.no, (from, read_to), ROWS, BODIES)?;
            let Some(first) = rows.first().map(|row| row.first) else { return Ok(None) };
            let bodies: usize = rows.iter().map(|row| row.body.len() + ROW_COST).sum();
            let limited = rows.len() == ROWS || bodies >= BODIES;
            let torn = rows.windows(2).position(|two| two[0].last() + 1 != two[1].first);
            rows.truncate(torn.map_or(rows.len(), |at| at + 1));
            from = rows.last().map_or(first, StoredCommit::last) + 1;
            // More would not have come at once.
            let enough = entries(&rows) >= least || (limited && torn.is_none());
            cut(&mut rows);
            let before = view.link_before(chain.no, first)?;
            if let Some(before) = before.filter(|_| enough)
                && !self.left.contains(&(chain.no, first))
            {
                return Ok(Some(Run { chain: chain.clone(), before, rows }));
            }
        }
    }

    /// The oldest segments of a chain that are to be put together.
    fn small_run(&self, view: &Snapshot<'_>, chain: &ChainInfo) -> Result<Option<Run>, Fault> {
        let sql = "SELECT first, count, length(body), length(filter)
                   FROM commits INDEXED BY commits_by_chain
                   WHERE chain=?1 AND sealed=1 AND count<?2 ORDER BY first";
        let mut statement = view.connection.prepare_cached(sql).map_err(fault)?;
        let rows = statement.query_map(params![chain.no.0, (WIDE / 2) as i64], |row| {
            let (first, entries): (i64, i64) = (row.get(0)?, row.get(1)?);
            let bytes = row.get::<_, u32>(2)? as usize + ROW_COST;
            let full = merge::full(row.get::<_, u32>(3)?.into());
            Ok(Extent { first: first as u64, entries: entries as u64, bytes, full })
        });
        let all: Result<Vec<_>, _> = rows.map_err(fault)?.collect();
        let mut all = all.map_err(fault)?;
        merge::keep_open(&mut all);
        all.retain(|one| !self.left.contains(&(chain.no, one.first)));
        let Some(chosen) = merge::choose(&all) else { return Ok(None) };
        let chosen = &all[chosen];
        // No more than these: behind them there may be all of the chain.
        let bytes = chosen.iter().map(|one| one.bytes).sum();
        let rows = view.rows_from(chain.no, chosen[0].first, bytes)?;
        if rows.len() != chosen.len() || rows.iter().any(|row| !row.sealed) {
            return Ok(None);
        }
        let before = view.link_before(chain.no, chosen[0].first)?;
        Ok(before.map(|before| Run { chain: chain.clone(), before, rows }))
    }
}

fn entries(rows: &[StoredCommit]) -> u64 {
    rows.iter().map(|row| u64::from(row.count)).sum()
}

/// Keeps as many rows as a segment takes, up to the last that is signed if that is most of them:
/// what ends in a checkpoint is proven whoever relays it.
fn cut(rows: &mut Vec<StoredCommit>) {
    let mut sum = 0;
    let fitting = rows.iter().take_while(|row| {
        sum += u64::from(row.count);
        sum <= FULL
    });
    let fitting = fitting.count();
    rows.truncate(fitting);
    if let Some(signed) = rows.iter().rposition(|row| row.signature.is_some())
        && signed >= rows.len() / 2
    {
        rows.truncate(signed + 1);
    }
}

/// Chains to which nothing is appended any more: a later start of the same node has the stream.
fn closed(chains: &[ChainInfo]) -> BTreeSet<ChainId> {
    let mut newest = BTreeMap::new();
    for chain in chains {
        let of = newest.entry((chain.id.origin, chain.id.stream)).or_insert(chain.id.incarnation);
        *of = chain.id.incarnation.max(*of);
    }
    let over = chains.iter().filter(|chain| {
        newest.get(&(chain.id.origin, chain.id.stream)) != Some(&chain.id.incarnation)
    });
    over.map(|chain| chain.id).collect()
}

/// How many unsealed entries each chain has.
fn unsealed(view: &Snapshot<'_>) -> Result<Vec<(ChainNo, u64)>, Fault> {
    let sql = "SELECT chain, sum(count) FROM commits INDEXED BY commits_unsealed WHERE sealed=0
               GROUP BY chain";
    let mut statement = view.connection.prepare_cached(sql).map_err(fault)?;
    let rows =
        statement.query_map([], |row| Ok((ChainNo(row.get(0)?), row.get::<_, i64>(1)? as u64)));
    rows.map_err(fault)?.collect::<Result<_, _>>().map_err(fault)
}

/// Makes the segment of a run, or of the first half of one that is too large to travel. `None` when
/// that is the segment that is there already.
fn encode(run: &Run) -> Result<Option<Sealed>, SegmentError> {
    let start = Start { chain: run.chain.id, before: run.before };
    let mut rows = run.rows.as_slice();
    loop {
        let mut commits = Vec::new();
        for row in rows {
            for part in row.parts()? {
                let StoredCommit { first, count, link, body, .. } = part;
                commits.push(Commit { first, count, link, body });
            }
        }
        let body = match segment::encode(&start, &commits) {
            Ok(body) if body.len() <= COMMIT_MAX_BYTES => body,
            Ok(_) | Err(SegmentError::Content(Reject::Full)) if rows.len() > 1 => {
                rows = &rows[..rows.len() / 2];
                continue;
            }
            Ok(_) => return Ok(None),
            Err(error) => return Err(error),
        };
        if rows.len() == 1 && rows[0].sealed {
            return Ok(None);
        }
        let (first, last) = (&rows[0], &rows[rows.len() - 1]);
        let row = StoredCommit {
            pos: rows.iter().map(|row| row.pos).max().unwrap_or(first.pos),
            chain: first.chain,
            first: first.first,
            count: entries(rows) as u32,
            link: last.link,
            signature: last.signature,
            sealed: true,
            body,
        };
        let filter = row.filter(run.chain.id.stream)?;
        return Ok(Some(Sealed { row, filter, rows: rows.len() }));
    }
}

impl Store {
    /// Seals whatever can be sealed, now, of chains with at least `after` entries. It is done in
    /// the background anyway; a bench or a test wants it done.
    ///
    /// # Errors
    /// A fault of the store.
    pub fn seal_all(&self, after: u64) -> Result<(), WriteError> {
        let mut sealer = Sealer::default();
        while sealer.once(self, after)? {}
        Ok(())
    }
}
