//! Windows of a series: those that are kept, and others made of them.
//!
//! A node keeps tumbling windows of a few widths. Sliding windows, wider ones, and the days, weeks
//! and months of a time zone, which have their own lengths when clocks are changed, are put
//! together from kept windows whose bounds fit. An answer is made a stretch of windows at a time,
//! so a year takes no more memory than a month.

use super::Span;
use super::tiles::{Tiles, fits};
use crate::pipeline::{
    ByWidth, Rolled, SeriesInfo, WIDEST_S, WindowKey, decode_window, horizon, is_logged,
    logged_windows, stand, window_prefix,
};
use holdfast_core::rollup::Window;
use holdfast_sync::Fault;
use holdfast_sync::store::{Snapshot, Table};
use jiff::civil::Weekday;
use jiff::tz::TimeZone;
use jiff::{Span as Steps, Timestamp as Instant, Zoned};

/// Windows are put together from the kept ones of at most this stretch at once, seconds.
const AT_ONCE_S: i64 = 32 * 86_400;
/// And so many of them at once.
const PART: usize = 100_000;

/// Which part of a calendar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Calendar {
    /// From midnight to midnight.
    Day,
    /// From Monday to Monday.
    Week,
    /// From the first to the first.
    Month,
}

/// Which windows are asked for.
#[derive(Clone, Debug)]
pub enum Shape {
    /// All of one width, a step apart, from the epoch on.
    Fixed {
        /// Seconds from start to end.
        width_s: u32,
        /// Seconds from start to start: the width for windows that tumble, less for sliding ones.
        step_s: u32,
    },
    /// Of a calendar in a time zone.
    Calendar(Calendar, TimeZone),
}

/// From when to when a window goes, Unix seconds; the end is not in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stretch {
    /// The first second.
    pub start_s: i64,
    /// The first second after it.
    pub end_s: i64,
}

/// What was found.
#[derive(Clone, Debug, PartialEq)]
pub enum Windows {
    /// Windows with readings, ascending.
    Found(Vec<(Stretch, Rolled)>),
    /// No kept window fits into those asked for; the widths that are kept, seconds.
    NoneFit(Vec<u32>),
}

/// At most `limit` windows of a series that reach into `span`, ascending. Only stretches with
/// readings are windows.
///
/// # Errors
/// A fault of the store.
pub fn windows(
    view: &Snapshot<'_>,
    series: &SeriesInfo,
    shape: &Shape,
    span: Span,
    limit: usize,
) -> Result<Windows, Fault> {
    let kept = Kept::new(view, series)?;
    let to_s = span.to.seconds();
    let mut found = Vec::new();
    let mut stretches = shape.stretches((span.from.seconds(), to_s)).peekable();
    let (mut own, mut skip_s) = (shape.kept_width(), AT_ONCE_S);
    while found.len() < limit
        && let Some(first) = stretches.next()
    {
        // Those of a second over a century are too many to go through one by one.
        let far_s = first.end_s.saturating_add(skip_s);
        if kept.is_empty((first.start_s, far_s))? {
            stretches = shape.stretches((far_s, to_s)).peekable();
            skip_s = skip_s.saturating_mul(2);
            continue;
        }
        skip_s = AT_ONCE_S;
        let end_s = first.end_s.saturating_add(AT_ONCE_S);
        if let Some(width) = own.map(i64::from) {
            let last_s = to_s.min(end_s);
            let there = kept.within(own, (first.start_s, last_s))?.into_values().flatten();
            let stretch = |start_s| Stretch { start_s, end_s: start_s + width };
            found.extend(there.map(|(start_s, rolled)| (stretch(start_s), rolled)));
            if !found.is_empty() {
                stretches = shape.stretches((last_s.saturating_add(width), to_s)).peekable();
                continue;
            }
            // Nobody keeps windows so wide; those of other widths may come to them.
            own = None;
        }
        let mut part = vec![first];
        while part.len() < PART
            && let Some(next) = stretches.next_if(|next| next.end_s <= end_s)
        {
            part.push(next);
        }
        let last_s = part[part.len() - 1].end_s.saturating_sub(1);
        let there = kept.within(None, (first.start_s, last_s))?;
        if !there.keys().any(|width| fits(*width, &part)) {
            // Wider ones only: narrower ones may be there, with no reading in these stretches.
            let around = (first.start_s.saturating_sub(WIDEST_S), last_s.saturating_add(WIDEST_S));
            let widths: Vec<u32> = kept.within(None, around)?.into_keys().collect();
            if !widths.is_empty() && !widths.iter().any(|width| fits(*width, &part)) {
                return Ok(Windows::NoneFit(widths));
            }
            continue;
        }
        let tiles = Tiles::new(there, &part);
        found.extend(part.iter().filter_map(|at| Some((*at, tiles.cover(*at)?))));
    }
    found.truncate(limit);
    Ok(Windows::Found(found))
}

impl Shape {
    /// The width of kept windows that are what is asked for.
    fn kept_width(&self) -> Option<u32> {
        match self {
            Self::Fixed { width_s, step_s } if width_s == step_s => Some(*width_s),
            _ => None,
        }
    }

    /// The windows that reach into the span from `from_s` to `to_s`, ascending.
    fn stretches(&self, (from_s, to_s): (i64, i64)) -> Box<dyn Iterator<Item = Stretch> + '_> {
        match self {
            Self::Fixed { width_s, step_s } => {
                let (width, step) = (i64::from(*width_s), i64::from((*step_s).max(1)));
                // The first that ends after `from_s`.
                let before = from_s.saturating_sub(width).div_euclid(step).saturating_mul(step);
                let starts = std::iter::successors(before.checked_add(step), move |start| {
                    start.checked_add(step)
                });
                let within = starts.take_while(move |start| *start <= to_s);
                Box::new(within.filter_map(move |start_s| {
                    Some(Stretch { start_s, end_s: start_s.checked_add(width)? })
                }))
            }
            Self::Calendar(unit, zone) => {
                let first = unit.holding(from_s, zone);
                let pair = |start: Zoned| unit.after(&start).map(|end| (start, end));
                let pairs =
                    std::iter::successors(first.and_then(pair), move |(_, end)| pair(end.clone()));
                let second = |zoned: &Zoned| zoned.timestamp().as_second();
                let all = pairs.map(move |(start, end)| Stretch {
                    start_s: second(&start),
                    end_s: second(&end),
                });
                Box::new(all.take_while(move |stretch| stretch.start_s <= to_s))
            }
        }
    }
}

impl Calendar {
    /// The start of the one that holds a second.
    fn holding(self, second: i64, zone: &TimeZone) -> Option<Zoned> {
        let day = Instant::from_second(second).ok()?.to_zoned(zone.clone()).start_of_day().ok()?;
        match self {
            Self::Day => Some(day),
            Self::Week => {
                let since = day.weekday().since(Weekday::Monday);
                day.checked_sub(Steps::new().days(since)).ok()?.start_of_day().ok()
            }
            Self::Month => day.first_of_month().ok()?.start_of_day().ok(),
        }
    }

    /// The start of the next one.
    fn after(self, start: &Zoned) -> Option<Zoned> {
        let step = match self {
            Self::Day => Steps::new().days(1),
            Self::Week => Steps::new().days(7),
            Self::Month => Steps::new().months(1),
        };
        start.checked_add(step).ok()?.start_of_day().ok()
    }
}

/// What is kept of a series: in records, and of the past in the log.
struct Kept<'v, 's> {
    view: &'v Snapshot<'s>,
    series: &'v SeriesInfo,
    /// Windows that end at or before this may have no record.
    horizon_s: i64,
    /// The widths of those that have one.
    widths: Vec<u32>,
}

impl<'v, 's> Kept<'v, 's> {
    fn new(view: &'v Snapshot<'s>, series: &'v SeriesInfo) -> Result<Self, Fault> {
        let (mut widths, mut next) = (Vec::new(), Some(0));
        let end = (series.no.0 + 1).to_be_bytes();
        while let Some(from) = next {
            next = None;
            let from = window_prefix(series.no, from);
            view.scan_from(Table::Window, &from, false, Some(&end), |key, _| {
                let width = key.get(4..8).and_then(|bytes| bytes.first_chunk::<4>());
                let width = width.map_or(0, |bytes| u32::from_be_bytes(*bytes));
                widths.push(width);
                next = width.checked_add(1);
                false
            })?;
        }
        Ok(Self { view, series, horizon_s: horizon(view)?, widths })
    }

    /// Whether there is nothing that begins within `from_s` to `to_s`; it may err on the side of
    /// something.
    fn is_empty(&self, (from_s, to_s): (i64, i64)) -> Result<bool, Fault> {
        for width in &self.widths {
            let mut found = false;
            self.records(*width, (from_s, to_s), |_| {
                found = true;
                false
            })?;
            if found {
                return Ok(false);
            }
        }
        Ok(from_s >= self.horizon_s || !is_logged(self.view, self.series, (from_s, to_s))?)
    }

    fn records(
        &self,
        width_s: u32,
        (from_s, to_s): (i64, i64),
        mut each: impl FnMut(&[u8]) -> bool,
    ) -> Result<(), Fault> {
        let key =
            |start_s| WindowKey { window: Window { width_s, start_s }, series: self.series.no };
        let (from, to) = (key(from_s).record(), key(to_s.saturating_add(1)).record());
        self.view.scan_from(Table::Window, &from, false, Some(&to), |_, value| each(&value))
    }

    /// Windows of one width, or of all, that begin within `from_s` to `to_s`.
    fn within(&self, width_s: Option<u32>, (from_s, to_s): (i64, i64)) -> Result<ByWidth, Fault> {
        let mut out = ByWidth::new();
        let past_s = to_s.min(self.horizon_s.saturating_sub(1));
        if from_s <= past_s {
            out = logged_windows(self.view, self.series, width_s, (from_s, past_s))?;
        }
        for width in self.widths.iter().filter(|width| width_s.is_none_or(|w| w == **width)) {
            let mut damage = None;
            self.records(*width, (from_s, to_s), |value| {
                match decode_window(value) {
                    Ok((window, told)) => stand(&mut out, window, told),
                    Err(fault) => damage = Some(fault),
                }
                damage.is_none()
            })?;
            if let Some(fault) = damage {
                return Err(fault);
            }
        }
        Ok(out)
    }
}
