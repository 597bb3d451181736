//! One step: commits in, changed series, windows, rollups and alerts out, in one transaction.

use super::again;
use super::catalog::{self, Last, SeriesInfo, SeriesNo};
use super::rolled::Rolled;
use super::windows::{ROLLUPS_MAX, WindowKey};
use super::{Live, Pending, Pipeline, Progress};
use crate::alerts::{Alert, Reading, Round, Writing};
use crate::runs::Due;
use crate::runs::told::{self, ToldLine};
use crate::runs::{Moved, WaitRows, Waits};
use crate::trace::TracedCommit;
use holdfast_core::log::events::{self, Event};
use holdfast_core::log::{readings, rollups};
use holdfast_core::rollup::{Revision, Sample, Window};
use holdfast_core::{ChainId, Quality, Stream, Timestamp, condition};
use holdfast_sync::Fault;
use holdfast_sync::store::{PIPELINE, Snapshot, StoredCommit, Table, WriteError, WriteTx};
use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

/// A rollup with the series it is of.
type OfSeries = (Arc<SeriesInfo>, Window, Rolled);

/// What a step found out.
#[derive(Default)]
struct Findings {
    series: BTreeMap<SeriesNo, (Arc<SeriesInfo>, Last)>,
    windows: HashMap<WindowKey, Rolled>,
    /// Windows that got a reading from before what they have.
    again: BTreeSet<WindowKey>,
    /// Windows whose rollup is to be written now.
    emit: BTreeSet<WindowKey>,
    /// Windows that have to wait for theirs.
    wait: BTreeSet<WindowKey>,
    alerts: Round,
    waits: Moved,
    /// What runs of other nodes did, on a hub also what its own did.
    runs: Vec<ToldLine>,
    unreadable: u64,
    traced: Vec<TracedCommit>,
}

impl Pipeline {
    pub(super) async fn step(
        &mut self,
        commits: Vec<StoredCommit>,
        due: Vec<WindowKey>,
    ) -> Result<(), WriteError> {
        let began = self.store.env().now();
        // Decoding and sums keep a core busy for milliseconds: not on a thread that others wait
        // for.
        let mut findings = tokio::task::block_in_place(|| self.look(&commits))?;
        findings.emit.extend(due);
        let late: Vec<_> = findings.emit.iter().copied().skip(ROLLUPS_MAX).collect();
        for key in late {
            findings.emit.remove(&key);
            findings.wait.insert(key);
        }
        let before = *self.progress.borrow();
        let cursor = commits.last().map_or(before.cursor, |commit| commit.pos);
        self.judge(cursor, &mut findings);
        let traced = std::mem::take(&mut findings.traced);
        let rolled = tokio::task::block_in_place(|| self.rollups(&findings))?;
        let windows = rolled.iter().map(|(info, window, rolled)| (info, *window, rolled));
        self.watch.take_windows(&mut findings.alerts, windows);
        findings.alerts.due.extend(Waits::found(&findings.waits));
        let writing = self.watch.writing(&findings.alerts);
        let waits = self.waits.rows(&findings.waits);
        let forgotten = writing.forgotten();
        let is_still = writing.is_empty() && waits.is_empty();
        if commits.is_empty() && findings.emit.is_empty() && is_still {
            self.watch.settle(findings.alerts, &[], &[]);
            self.waits.settle(findings.waits);
            return Ok(());
        }
        let unsaved = self.catalog.unsaved();
        let known = self.catalog.len();
        let mut changes = Changes::of(&findings, &unsaved, rolled, (writing, waits), cursor);
        let own = unsaved.iter().filter(|info| info.origin == self.store.node());
        changes.units = own
            .filter_map(|info| Some((self.catalog.before_unit(info)?, Arc::clone(info))))
            .collect();
        let (_committed, changed) = self.store.write(move |tx| changes.write(tx)).await?;
        self.watch.settle(findings.alerts, &changed, &forgotten);
        self.waits.settle(findings.waits);
        self.catalog.saved(known);
        for key in &findings.emit {
            self.pending.remove(key);
        }
        let since_ms = self.store.env().monotonic_ms();
        for key in &findings.wait {
            self.pending.entry(*key).or_insert(Pending { since_ms });
        }
        for (key, rolled) in findings.windows {
            self.windows.put(key, rolled);
        }
        let mut live = Vec::with_capacity(findings.series.len());
        for (no, (series, last)) in findings.series {
            self.catalog.set_last(no, last.clone());
            live.push(Live { series, last });
        }
        let unreadable = before.unreadable + findings.unreadable;
        self.progress.send_replace(Progress { cursor, unreadable });
        if let Some(on_traced) = self.options.on_traced.as_ref().filter(|_| !traced.is_empty()) {
            on_traced(&traced, began, self.store.env().now());
        }
        if !live.is_empty() {
            (self.options.on_live)(&live);
        }
        Ok(())
    }

    /// Judges the clock once in a while, and only when everything has been read: what ended a
    /// silence may stand in the next commit.
    fn judge(&mut self, cursor: u64, findings: &mut Findings) {
        let is_due = self.watch.is_due(self.store.env().monotonic_ms());
        if is_due && cursor >= self.store.watch().borrow().pos {
            tokio::task::block_in_place(|| {
                self.watch.scan(&mut findings.alerts, &self.catalog);
                let may_be_silent = self.watch.may_be_silent();
                self.waits.scan(&mut findings.waits, findings.alerts.now(), may_be_silent);
            });
        }
    }

    /// Reads the commits; nothing is changed but what can be forgotten.
    fn look(&mut self, commits: &[StoredCommit]) -> Result<Findings, Fault> {
        let store = self.store.clone();
        let (alerts, clock_set) = self.watch.begin(&self.catalog);
        let mut findings = Findings { alerts, ..Findings::default() };
        findings.alerts.is_again = self.progress.borrow().cursor < self.again_to;
        let now = findings.alerts.now();
        if let Some(by_ns) = clock_set {
            self.waits.clock_set(by_ns, now);
        }
        self.waits.begin(&mut findings.waits, &self.catalog, now);
        store.read_blocking(|view| {
            for commit in commits {
                let Some(chain) = self.chain(view, commit)? else { continue };
                if !self.intact.check(&store, view, &chain, commit)? {
                    // Half of it must not count; the others go on.
                    findings.unreadable += 1;
                    continue;
                }
                match chain.stream {
                    Stream::Reading => self.readings(view, &chain, commit, &mut findings)?,
                    Stream::Rollup if chain.origin != self.store.node() => {
                        self.received_rollups(view, &chain, commit, &mut findings)?;
                    }
                    Stream::Event => self.events(&chain, commit, &mut findings),
                    _ => {}
                }
            }
            if findings.again.is_empty() {
                Ok(())
            } else {
                self.summarise_again(view, &mut findings)
            }
        })?;
        Ok(findings)
    }

    fn chain(
        &mut self,
        view: &Snapshot<'_>,
        commit: &StoredCommit,
    ) -> Result<Option<ChainId>, Fault> {
        if let Some(chain) = self.chains.get(&commit.chain) {
            return Ok(Some(*chain));
        }
        let found = view.chain(commit.chain)?.map(|info| info.id);
        if let Some(id) = found {
            self.chains.insert(commit.chain, id);
        }
        Ok(found)
    }

    /// Alerts as their nodes tell of them; of this node's own everything is known already, unless
    /// a record was lost. Runs, and those that gateways want of the hub. Traces where somebody
    /// wants to know.
    fn events(&self, chain: &ChainId, commit: &StoredCommit, findings: &mut Findings) {
        let (at, events) = events::read(&commit.body).expect("it was checked");
        let (is_hub, is_foreign) = (self.watch.is_hub(), chain.origin != self.store.node());
        for (event, seq) in events.flatten().zip(commit.first..) {
            match event {
                Event::Run(step) if is_hub || is_foreign => {
                    findings.runs.push(ToldLine::of(&step, chain, seq, at));
                }
                // The log is read a second time: what is wanted now was wanted the first time.
                Event::Wanted(wanted) if is_hub && is_foreign && !findings.alerts.is_again => {
                    findings.alerts.due.push(Due::wanted(&wanted));
                }
                _ => {}
            }
            if let (Event::Traced(traced), true) = (event, self.options.on_traced.is_some()) {
                findings.traced.push(TracedCommit { chain: *chain, traced, at });
            }
            findings.alerts.hear(&event, chain.origin, at, self.store.node());
            self.watch.hear_alert(&mut findings.alerts, &event, chain.origin);
        }
    }

    fn readings(
        &mut self,
        view: &Snapshot<'_>,
        chain: &ChainId,
        commit: &StoredCommit,
        findings: &mut Findings,
    ) -> Result<(), Fault> {
        let body = readings::Body::new(&commit.body).expect("it was checked");
        let received = body.received();
        let own = chain.origin == self.store.node();
        let series: Vec<_> =
            body.series().map(|key| self.catalog.number(&chain.origin, &key)).collect();
        for (row, seq) in body.rows().flatten().zip(commit.first..) {
            let Some(info) = &series[row.series as usize] else { continue };
            let time = row.effective_time(received);
            if own {
                let (value, quality) = (row.value, row.quality);
                let reading = Reading { time, received, value, quality };
                self.watch.take(&mut findings.alerts, &self.catalog, info, &reading);
                let value = value.number().filter(|_| !quality.has(Quality::BAD));
                self.waits.take(
                    &mut findings.waits,
                    info,
                    condition::Sample { time, received, value },
                );
            }
            note_last(&self.catalog, findings, info, &row, time, received);
            let Some(value) = row.value.number().filter(|_| own) else { continue };
            let revision = Revision { boot: chain.incarnation.boot, seq };
            for width in &self.options.widths_s {
                let key = WindowKey { window: Window::tumbling(*width, time), series: info.no };
                self.add(view, findings, key, Sample { time, value }, revision)?;
            }
        }
        Ok(())
    }

    fn add(
        &self,
        view: &Snapshot<'_>,
        findings: &mut Findings,
        key: WindowKey,
        sample: Sample,
        revision: Revision,
    ) -> Result<(), Fault> {
        let rolled = match findings.windows.entry(key) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => match self.windows.get(view, &key, &self.catalog)? {
                Some(known) => new.insert(known),
                None => {
                    new.insert(Rolled::of(sample, revision));
                    findings.wait.insert(key);
                    return Ok(());
                }
            },
        };
        if revision > rolled.summary.revision {
            rolled.take(sample, revision);
            findings.wait.insert(key);
        } else if !findings.alerts.is_again {
            // Read again, it is in already; else it came back late.
            findings.again.insert(key);
        }
        Ok(())
    }

    /// Makes windows anew that readings from before came back to.
    fn summarise_again(&self, view: &Snapshot<'_>, findings: &mut Findings) -> Result<(), Fault> {
        let node = self.store.node();
        let made = again::summarise(view, node, &self.catalog, &findings.again)?;
        for (key, rolled) in made {
            // Where readings were removed the summary knows more than the log.
            let known = self.known(view, findings, &key)?;
            if known.is_none_or(|known| rolled.summary.count > known.summary.count) {
                findings.windows.insert(key, rolled);
                findings.wait.insert(key);
            }
        }
        Ok(())
    }

    fn received_rollups(
        &self,
        view: &Snapshot<'_>,
        chain: &ChainId,
        commit: &StoredCommit,
        findings: &mut Findings,
    ) -> Result<(), Fault> {
        let body = rollups::Body::new(&commit.body).expect("it was checked");
        let series: Vec<_> =
            body.series().map(|key| self.catalog.number(&chain.origin, &key)).collect();
        for (row, sketch) in body.rows().flatten() {
            let Some(info) = &series[row.series as usize] else { continue };
            let key = WindowKey { window: row.window, series: info.no };
            let told = Rolled::from((row, sketch));
            let stands = match self.known(view, findings, &key)? {
                Some(known) => known.later(told),
                None => told,
            };
            findings.windows.insert(key, stands);
        }
        Ok(())
    }

    /// What a window comes to so far.
    fn known(
        &self,
        view: &Snapshot<'_>,
        findings: &Findings,
        key: &WindowKey,
    ) -> Result<Option<Rolled>, Fault> {
        match findings.windows.get(key) {
            Some(known) => Ok(Some(known.clone())),
            None => self.windows.get(view, key, &self.catalog),
        }
    }

    /// The rollup entries of the windows that are due, with their current summaries.
    fn rollups(&self, findings: &Findings) -> Result<Vec<OfSeries>, Fault> {
        let mut out = Vec::with_capacity(findings.emit.len());
        self.store.read_blocking(|view| {
            for key in &findings.emit {
                let rolled = self.known(view, findings, key)?;
                if let (Some(rolled), Some(info)) = (rolled, self.catalog.info(key.series)) {
                    out.push((info, key.window, rolled));
                }
            }
            Ok(())
        })?;
        Ok(out)
    }
}

fn note_last(
    catalog: &catalog::Catalog,
    findings: &mut Findings,
    info: &Arc<SeriesInfo>,
    row: &readings::Row<'_>,
    time: Timestamp,
    received: Timestamp,
) {
    let (value, quality) = (row.value, row.quality);
    let entry = findings.series.entry(info.no).or_insert_with(|| {
        let known = catalog.last(info.no).unwrap_or_else(|| Last {
            time,
            received,
            value: value.into(),
            quality,
            count: 0,
            first: time,
        });
        (Arc::clone(info), known)
    });
    let last = &mut entry.1;
    last.count += 1;
    last.first = last.first.min(time);
    if time >= last.time {
        last.time = time;
        last.received = received;
        last.value = value.into();
        last.quality = quality;
    }
}

/// What a step writes.
struct Changes {
    series: Vec<([u8; 4], Vec<u8>)>,
    windows: Vec<(Vec<u8>, Vec<u8>)>,
    pending: Vec<Vec<u8>>,
    settled: Vec<Vec<u8>>,
    rollups: Vec<OfSeries>,
    /// Series that began because a device changed the unit of a metric: as it was, as it is.
    units: Vec<(Arc<SeriesInfo>, Arc<SeriesInfo>)>,
    alerts: Writing,
    waits: WaitRows,
    runs: Vec<ToldLine>,
    cursor: u64,
}

impl Changes {
    fn of(
        findings: &Findings,
        unsaved: &[Arc<SeriesInfo>],
        rollups: Vec<OfSeries>,
        (alerts, waits): (Writing, WaitRows),
        cursor: u64,
    ) -> Self {
        let named = unsaved.iter().filter(|info| !findings.series.contains_key(&info.no));
        let named = named.map(|info| (info.no.0.to_be_bytes(), catalog::encode(info, None)));
        let series = findings.series.iter();
        let windows = findings.windows.iter();
        Self {
            series: series
                .map(|(no, (info, last))| (no.0.to_be_bytes(), catalog::encode(info, Some(last))))
                .chain(named)
                .collect(),
            windows: windows
                .map(|(key, rolled)| (key.record(), rolled.encode(&key.window)))
                .collect(),
            pending: findings.wait.iter().map(WindowKey::pending_record).collect(),
            settled: findings.emit.iter().map(WindowKey::pending_record).collect(),
            rollups,
            units: Vec::new(),
            alerts,
            waits,
            runs: findings.runs.clone(),
            cursor,
        }
    }

    /// Writes it; gives the alerts that changed.
    fn write(self, tx: &mut WriteTx<'_>) -> Result<Vec<Alert>, WriteError> {
        for (key, value) in &self.series {
            tx.put(Table::Series, key, value)?;
        }
        for (key, value) in &self.windows {
            tx.put(Table::Window, key, value)?;
        }
        for key in &self.pending {
            tx.put(Table::Window, key, &[])?;
        }
        for key in &self.settled {
            tx.delete(Table::Window, key)?;
        }
        if !self.units.is_empty() {
            let changed = self.units.iter().map(|(before, after)| Event::UnitChanged {
                before: before.key(),
                unit: after.key().unit,
            });
            tx.append_events(&changed.collect::<Vec<_>>())?;
        }
        if !self.rollups.is_empty() {
            let mut places = HashMap::new();
            let (mut series, mut rows) = (Vec::new(), Vec::with_capacity(self.rollups.len()));
            for (info, window, Rolled { summary, sketch }) in &self.rollups {
                let place = *places.entry(info.no).or_insert_with(|| {
                    series.push(info.key());
                    series.len() as u32 - 1
                });
                let row = rollups::Row { series: place, window: *window, summary: *summary };
                rows.push((row, sketch.as_deref()));
            }
            tx.append_rollups(&series, &rows)?;
        }
        tx.put(Table::Cursor, PIPELINE, &self.cursor.to_be_bytes())?;
        self.waits.write(tx)?;
        told::write(tx, &self.runs)?;
        self.alerts.write(tx)
    }
}
