//! Bytes are bounded: what is measured, what is shed and in which order.
//!
//! From 80 % of the quota on, what the hub has acknowledged goes, oldest first: raw readings, then
//! rollups and log, then events. From 90 % on the site's [`Overflow`] decides about raw readings
//! that no hub has. Events go only when acknowledged, and nothing goes before the pipeline has read
//! it. Every removal leaves a gap record; one that no peer can fill is declared as an event.

use super::chains::{ChainInfo, Frontier};
use super::growth::Growth;
use super::record::Table;
use super::schema::{PAGE_BYTES, fault, pragma};
use super::tx::{DroppedCommit, WriteTx};
use super::writer::WriteError;
use crate::Fault;
use holdfast_core::log::Link;
use holdfast_core::log::events::GapReason;
use holdfast_core::ranges::Range;
use holdfast_core::{Seq, Stream};
use rusqlite::{Connection, params};

/// What happens to raw readings that no hub has when the quota is reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Overflow {
    /// The oldest go, their rollups stay: local decisions need today's readings.
    #[default]
    DropOldestRaw,
    /// New ones are refused.
    Refuse,
}

/// How full the store is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Usage {
    /// Bytes in use, free pages of the database not counted.
    pub used_bytes: u64,
    /// Bytes that may be in use.
    pub quota_bytes: u64,
    /// Bytes by which the store grows in a day at the rate of the last hours, once an hour of them
    /// is known.
    pub growth_per_day: Option<u64>,
    /// Whether new readings are refused for want of room.
    pub refusing: bool,
    /// Entries removed since the start that the hub had.
    pub shed_acknowledged: u64,
    /// Entries removed since the start that nobody else had; each is in a declared gap.
    pub shed_unacknowledged: u64,
}

impl Usage {
    /// For how many days there is room at the present rate.
    #[must_use]
    pub fn days_left(&self) -> Option<f64> {
        let growth = self.growth_per_day.filter(|bytes| *bytes > 0)?;
        let room = (self.quota_bytes / 10 * 9).saturating_sub(self.used_bytes);
        Some(room as f64 / growth as f64)
    }
}

/// What may be removed, in the order in which it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    AcknowledgedRaw,
    AcknowledgedRest,
    AcknowledgedEvents,
    OldestRaw,
}

const STAGES: [Stage; 4] =
    [Stage::AcknowledgedRaw, Stage::AcknowledgedRest, Stage::AcknowledgedEvents, Stage::OldestRaw];
const MEASURE_MS: u64 = 250;
/// A stage that had nothing to give is asked again after this long.
const REST_MS: u64 = 2_000;
/// Commits looked at in one step, so that a step stays short.
const LOOK: usize = 2_000;

#[derive(Debug)]
pub(super) struct Quota {
    max_bytes: u64,
    overflow: Overflow,
    measured_ms: u64,
    resting_until: [u64; STAGES.len()],
    now: u64,
    totals: Shed,
    growth: Growth,
    busy: bool,
    pub refusing: bool,
}

/// Rows and bytes that one transaction removes at most; bounds how long it holds the writer.
const STEP_ROWS: usize = 64;
const STEP_BYTES: u64 = 1 << 20;

/// How much a step removes at most, but for its last row.
#[derive(Clone, Copy, Debug)]
pub(super) struct Step {
    rows: usize,
    /// A row may be a segment with hours of readings: no more of them go than make room.
    bytes: u64,
}

/// What a step removed.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Shed {
    pub commits: u64,
    pub acknowledged: u64,
    pub unacknowledged: u64,
}

impl Quota {
    pub(super) fn new(max_bytes: u64, overflow: Overflow) -> Self {
        Self {
            max_bytes,
            overflow,
            measured_ms: 0,
            resting_until: [0; STAGES.len()],
            now: 0,
            totals: Shed::default(),
            growth: Growth::default(),
            busy: true,
            refusing: false,
        }
    }

    /// How much is removed in one transaction.
    pub(super) const fn step(&self) -> Step {
        let bytes = self.max_bytes / 200;
        Step { rows: STEP_ROWS, bytes: if bytes < STEP_BYTES { bytes } else { STEP_BYTES } }
    }

    /// Pages that the database file may have at most.
    pub(super) const fn max_pages(&self) -> u64 {
        let pages = self.max_bytes / PAGE_BYTES;
        if pages < 64 { 64 } else { pages }
    }

    /// Whether it is time to look: at once while there is something to shed, or when a hundredth of
    /// the quota was appended since.
    pub(super) fn due(&mut self, now: u64, appended: u64) -> bool {
        let due = self.busy
            || appended >= self.max_bytes / 100
            || now.saturating_sub(self.measured_ms) >= MEASURE_MS;
        if due {
            self.measured_ms = now;
            self.now = now;
        }
        due
    }

    pub(super) fn measure(&mut self, connection: &Connection) -> Result<Usage, Fault> {
        let used_bytes = used_bytes(connection)?;
        self.growth.note(self.now, used_bytes);
        // The last twentieth belongs to events and to what the pipeline writes.
        let limit = if self.overflow == Overflow::Refuse { 90 } else { 95 };
        self.refusing = used_bytes >= self.max_bytes / 100 * limit;
        Ok(Usage { used_bytes, quota_bytes: self.max_bytes, ..Usage::default() })
    }

    /// What to shed next, if anything.
    pub(super) fn stage(&mut self, usage: &Usage) -> Option<Stage> {
        let share = usage.used_bytes.saturating_mul(100) / self.max_bytes.max(1);
        let stage = STAGES.into_iter().find(|stage| {
            let from = if *stage == Stage::OldestRaw { 90 } else { 80 };
            let allowed = *stage != Stage::OldestRaw || self.overflow == Overflow::DropOldestRaw;
            allowed && share >= from && self.resting_until[*stage as usize] <= self.now
        });
        self.busy = stage.is_some();
        stage
    }

    pub(super) fn shed(&mut self, shed: &Shed) {
        self.totals.acknowledged += shed.acknowledged;
        self.totals.unacknowledged += shed.unacknowledged;
    }

    pub(super) fn nothing_to_shed(&mut self, stage: Stage) {
        self.resting_until[stage as usize] = self.now + REST_MS;
    }

    pub(super) fn usage(&self, measured: Usage) -> Usage {
        Usage {
            growth_per_day: self.growth.per_day,
            refusing: self.refusing,
            shed_acknowledged: self.totals.acknowledged,
            shed_unacknowledged: self.totals.unacknowledged,
            ..measured
        }
    }
}

/// Bytes in use, free pages not counted.
pub(super) fn used_bytes(connection: &Connection) -> Result<u64, Fault> {
    let pages: i64 = pragma(connection, "page_count")?;
    let free: i64 = pragma(connection, "freelist_count")?;
    Ok((pages - free).max(0) as u64 * PAGE_BYTES)
}

/// Removes a step's worth of what `stage` allows.
pub(super) fn shed(tx: &mut WriteTx<'_>, stage: Stage, step: Step) -> Result<Shed, WriteError> {
    let streams: &[Stream] = match stage {
        Stage::AcknowledgedRaw | Stage::OldestRaw => &[Stream::Reading],
        Stage::AcknowledgedRest => &[Stream::Rollup, Stream::Log],
        Stage::AcknowledgedEvents => &[Stream::Event],
    };
    let read_to = pipeline_cursor(tx)?;
    let mut own: Vec<ChainInfo> = tx.view().chains()?;
    own.retain(|c| c.id.origin == tx.state.node && streams.contains(&c.id.stream));
    own.sort_by_key(|chain| (chain.id.incarnation, chain.id.stream));
    let mut dropped = Vec::new();
    let (mut acked_any, mut bytes) = (0, 0);
    let (acked_by_any, none) = (tx.view().acked_by_any()?, Frontier::new());
    'chains: for chain in &own {
        let acked = acked_by_any.get(&chain.no).unwrap_or(&none);
        for (pos, range) in held(tx, chain, LOOK)? {
            let had = acked.covers(range);
            if pos > read_to || (stage != Stage::OldestRaw && !had) {
                continue;
            }
            acked_any += if had { range.count() } else { 0 };
            let (link, size) = link(tx, pos)?;
            dropped.push((had, DroppedCommit { pos, id: chain.id, range, link }));
            bytes += size;
            if dropped.len() >= step.rows || bytes >= step.bytes {
                break 'chains;
            }
        }
    }
    let all: u64 = dropped.iter().map(|(_, commit)| commit.range.count()).sum();
    let commits = dropped.len() as u64;
    let (had, lost): (Vec<_>, Vec<_>) = dropped.into_iter().partition(|(had, _)| *had);
    let only =
        |list: Vec<(bool, DroppedCommit)>| list.into_iter().map(|(_, c)| c).collect::<Vec<_>>();
    tx.drop_acknowledged(&only(had))?;
    tx.drop_declared(&only(lost), GapReason::Quota)?;
    Ok(Shed { commits, acknowledged: acked_any, unacknowledged: all - acked_any })
}

/// How far the pipeline has read; nothing beyond may go, or its rollups would be lost too.
fn pipeline_cursor(tx: &WriteTx<'_>) -> Result<u64, WriteError> {
    let value = tx.view().get(Table::Cursor, super::PIPELINE)?;
    let bytes = value.as_deref().and_then(|value| value.first_chunk::<8>());
    Ok(bytes.map_or(0, |bytes| u64::from_be_bytes(*bytes)))
}

/// The oldest commits held of a chain: position and range, from the index alone.
fn held(
    tx: &WriteTx<'_>,
    chain: &ChainInfo,
    limit: usize,
) -> Result<Vec<(u64, Range)>, WriteError> {
    let sql = "SELECT pos, first, count FROM commits WHERE chain=?1 ORDER BY first LIMIT ?2";
    let mut statement = tx.connection.prepare_cached(sql).map_err(fault)?;
    let rows = statement
        .query_map(params![chain.no.0, limit as i64], |row| {
            let (pos, first, count): (i64, i64, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
            Ok((pos as u64, Range { from: first as Seq, to: (first + count - 1) as Seq }))
        })
        .map_err(fault)?;
    rows.collect::<Result<_, _>>().map_err(|error| fault(error).into())
}

/// The link after a row, and the bytes of its body.
fn link(tx: &WriteTx<'_>, pos: u64) -> Result<(Link, u64), WriteError> {
    let sql = "SELECT link, length(body) FROM commits WHERE pos=?1";
    let mut statement = tx.connection.prepare_cached(sql).map_err(fault)?;
    let read = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get::<_, i64>(1)?));
    let (link, bytes) = statement.query_row([pos as i64], read).map_err(fault)?;
    Ok((Link(link), bytes.max(0) as u64))
}
