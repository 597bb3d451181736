//! Comma-separated rows under a header (RFC 4180), in one of two shapes.
//!
//! *Long*: the columns `metric` and `value`, with `unit` where there is one; a row is a reading.
//! *Wide*: neither of the two; each column that has no other meaning is a metric, its name perhaps
//! followed by a unit in brackets, and a row is an item of several readings. Both may have
//! `device`, `time`, `quality`, `boot` and `seq`. A cell has no type: what looks like a number or a
//! boolean is one, the rest is text, and an empty one says nothing.

use super::export::{quality, reading};
use super::{Entry, LINE_MAX, Portion, ReadError, Refusal, Sink};
use crate::formats::json::integer_value;
use crate::formats::{DecodedReading, DecodedValue, ITEM_READINGS_MAX, Place};
use csv::{ReaderBuilder, StringRecord};
use holdfast_core::reading::{Device, DeviceSeq, Finite, Text};
use holdfast_core::{Metric, Reject, Timestamp, Unit};
use holdfast_node::time_text;
use std::cell::Cell;
use std::io::{self, BufRead, Read};
use std::rc::Rc;

/// Columns of `export` that belong to the node which wrote them.
const EXPORTED: [&str; 4] = ["node", "received", "start", "entry"];

/// Reads rows.
pub(super) fn read(input: impl BufRead, sink: &mut Sink<'_>) -> Result<(), ReadError> {
    let left = Rc::new(Cell::new(LINE_MAX));
    let leashed = Leash { input, left: Rc::clone(&left) };
    let mut rows = ReaderBuilder::new().flexible(true).from_reader(leashed);
    let header = rows.headers().map_err(broken)?.clone();
    let columns = Columns::of(&header).map_err(ReadError::Format)?;
    let mut portion = Portion::default();
    let mut row = csv::ByteRecord::new();
    while rows.read_byte_record(&mut row).map_err(broken)? {
        left.set(LINE_MAX);
        let number = row.position().map_or(0, csv::Position::line);
        let place = Place::Line(usize::try_from(number).unwrap_or(usize::MAX));
        match entry(&columns, &row, place) {
            Ok(Some(entry)) => portion.entries.push(entry),
            Ok(None) => {}
            Err(refusal) => portion.refused.push(refusal),
        }
        if portion.is_full() && sink(std::mem::take(&mut portion)).is_break() {
            return Ok(());
        }
    }
    let _ = sink(portion);
    Ok(())
}

fn broken(error: csv::Error) -> ReadError {
    match error.into_kind() {
        csv::ErrorKind::Io(error) => error.into(),
        csv::ErrorKind::Utf8 { .. } => ReadError::Format("the header is not UTF-8".to_owned()),
        other => ReadError::Format(format!("the rows cannot be told apart: {other:?}")),
    }
}

/// Lets so many bytes through between two rows: a quote that is never closed makes the rest of the
/// file one cell.
struct Leash<R> {
    input: R,
    left: Rc<Cell<usize>>,
}

impl<R: Read> Read for Leash<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let left = self.left.get();
        if left == 0 {
            let text = format!("a row is longer than {LINE_MAX} bytes: is a quote left open?");
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        }
        let most = out.len().min(left);
        let read = self.input.read(&mut out[..most])?;
        self.left.set(left - read);
        Ok(read)
    }
}

/// What the columns mean, by their places.
#[derive(Debug, Default, PartialEq, Eq)]
struct Columns {
    count: usize,
    device: Option<usize>,
    time: Option<usize>,
    quality: Option<usize>,
    boot: Option<usize>,
    seq: Option<usize>,
    metric: Option<usize>,
    value: Option<usize>,
    unit: Option<usize>,
    /// Metric and unit of the columns of the wide shape.
    metrics: Vec<(usize, String, String)>,
}

impl Columns {
    fn of(header: &StringRecord) -> Result<Self, String> {
        let mut columns = Self { count: header.len(), ..Self::default() };
        let mut others = Vec::new();
        for (at, name) in header.iter().enumerate() {
            let name = name.trim();
            let meant = match name.to_ascii_lowercase().as_str() {
                "device" => &mut columns.device,
                "time" | "timestamp" => &mut columns.time,
                "quality" => &mut columns.quality,
                "boot" => &mut columns.boot,
                "seq" => &mut columns.seq,
                "metric" => &mut columns.metric,
                "value" => &mut columns.value,
                "unit" => &mut columns.unit,
                _ => {
                    others.push((at, name));
                    continue;
                }
            };
            if meant.replace(at).is_some() {
                return Err(format!("two columns of the header are called `{name}`"));
            }
        }
        let known = "device, time, metric, value, unit, quality, boot, seq";
        if columns.metric.is_some() && columns.value.is_some() {
            let is_export = EXPORTED.iter().all(|name| others.iter().any(|(_, n)| n == name));
            return match others.iter().find(|(_, name)| !EXPORTED.contains(name)) {
                None if is_export || others.is_empty() => Ok(columns),
                None => Err(format!("the header has `{}`; there are {known}", others[0].1)),
                Some((_, name)) => Err(format!(
                    "the header has `{name}` beside `metric` and `value`; there are {known}"
                )),
            };
        }
        if columns.metric.or(columns.value).or(columns.unit).is_some() || others.is_empty() {
            return Err(format!(
                "the header has neither `metric` and `value` nor a column per metric alone; its \
                 columns are {known}, or metrics such as `level [m]`"
            ));
        }
        for (at, name) in others {
            let (metric, unit) = name_and_unit(name);
            Metric::new(metric).and(Unit::new(unit).map(|_| ())).map_err(|reject| {
                format!("column {} of the header is `{name}`: {reject}", at + 1)
            })?;
            if columns.metrics.iter().any(|(_, known, _)| known == metric) {
                return Err(format!("two columns of the header are called `{metric}`"));
            }
            columns.metrics.push((at, metric.to_owned(), unit.to_owned()));
        }
        if columns.metrics.len() > ITEM_READINGS_MAX {
            return Err(format!("a row has at most {ITEM_READINGS_MAX} metrics"));
        }
        Ok(columns)
    }
}

/// `level [m]` is a metric and its unit.
fn name_and_unit(name: &str) -> (&str, &str) {
    match name.strip_suffix(']').and_then(|rest| rest.rsplit_once('[')) {
        Some((metric, unit)) if !metric.trim().is_empty() => (metric.trim_end(), unit.trim()),
        _ => (name, ""),
    }
}

/// The entry of a row; none when all its values are empty.
fn entry(columns: &Columns, row: &csv::ByteRecord, place: Place) -> Result<Option<Entry>, Refusal> {
    if row.len() != columns.count {
        let detail = format!("{} cells under a header of {}", row.len(), columns.count);
        return Err(Refusal::new(place, "", detail));
    }
    let row = StringRecord::from_byte_record(row.clone());
    let row = row.map_err(|_| Refusal::new(place, "", "the row is not UTF-8"))?;
    let cell = |at: Option<usize>| at.and_then(|at| row.get(at)).unwrap_or_default().trim();
    let refuse = |path: &str| {
        let path = format!("/{path}");
        move |reject: Reject| Refusal::new(place, &path, reject.to_string())
    };
    let device = Some(cell(columns.device)).filter(|device| !device.is_empty());
    if let Some(device) = device {
        Device::new(device).map_err(refuse("device"))?;
    }
    let time = time(cell(columns.time)).ok_or_else(|| {
        let detail = "a time is RFC 3339 with offset, or whole Unix milliseconds";
        Refusal::new(place, "/time", detail)
    })?;
    let source = source(cell(columns.boot), cell(columns.seq)).map_err(refuse("seq"))?;
    let quality = quality(cell(columns.quality).split_whitespace());
    let mut readings: Vec<DecodedReading<'static>> = Vec::new();
    let mut add = |text: &str, metric: &str, unit: &str| {
        let Some(value) = value(text).map_err(refuse(metric))? else { return Ok(()) };
        let names = (metric.to_owned(), unit.to_owned());
        readings.push(reading(names, time, value, quality).map_err(refuse(metric))?);
        Ok(())
    };
    if columns.metric.is_some() {
        let value = row.get(columns.value.unwrap_or_default()).unwrap_or_default();
        add(value, cell(columns.metric), cell(columns.unit))?;
    }
    for (at, metric, unit) in &columns.metrics {
        add(row.get(*at).unwrap_or_default(), metric, unit)?;
    }
    if readings.is_empty() {
        return Ok(None);
    }
    let device = device.map(str::to_owned);
    Ok(Some(Entry { place, device, source, readings }))
}

fn time(text: &str) -> Option<Option<Timestamp>> {
    if text.is_empty() {
        return Some(None);
    }
    let time = match text.parse() {
        Ok(milliseconds) => Timestamp::from_millis(milliseconds),
        Err(_) => time_text::parse(text).ok(),
    };
    time.map(Some)
}

fn source(boot: &str, seq: &str) -> Result<Option<DeviceSeq>, Reject> {
    if boot.is_empty() && seq.is_empty() {
        return Ok(None);
    }
    let boot = boot.parse().map_err(|_| Reject::Sequence)?;
    let seq = seq.parse().ok().filter(|&seq| seq > 0).ok_or(Reject::Sequence)?;
    Ok(Some(DeviceSeq { boot, seq }))
}

fn value(cell: &str) -> Result<Option<DecodedValue<'static>>, Reject> {
    let text = cell.trim();
    if text.is_empty() {
        return Ok(None);
    }
    if let Ok(integer) = text.parse::<i128>() {
        return integer_value(integer).map(Some);
    }
    // `inf` and `nan` are numbers to this parser, and none to us.
    if let Ok(number) = text.parse::<f64>() {
        return Finite::new(number).map(|number| Some(DecodedValue::Float(number)));
    }
    Ok(Some(match text.to_ascii_lowercase().as_str() {
        "true" => DecodedValue::Bool(true),
        "false" => DecodedValue::Bool(false),
        _ => DecodedValue::Text(Text::new(cell)?.as_str().to_owned().into()),
    }))
}
