//! The catalogue: every series of every origin with its number and its newest value.
//!
//! Numbers are short and stable; windows are kept under them. The catalogue is in memory whole,
//! bounded by the greatest number of series.

use super::windows::PENDING;
use holdfast_core::codec::{Reader, Sink};
use holdfast_core::limits::{DEVICE_MAX_BYTES, METRIC_MAX_BYTES, TEXT_MAX_BYTES, UNIT_MAX_BYTES};
use holdfast_core::reading::Text;
use holdfast_core::{NodeId, Quality, Reject, SeriesKey, Timestamp, Value};
use holdfast_sync::Fault;
use holdfast_sync::store::{OwnedValue, ReadRecords, Snapshot, Table};
use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

/// The number of a series in this store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SeriesNo(pub u32);

/// The name of a series.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeriesInfo {
    /// Its number.
    pub no: SeriesNo,
    /// The node that received its readings.
    pub origin: NodeId,
    /// The device.
    pub device: Box<str>,
    /// The metric.
    pub metric: Box<str>,
    /// The unit.
    pub unit: Box<str>,
}

impl SeriesInfo {
    /// The name as a key.
    #[must_use]
    pub fn key(&self) -> SeriesKey<'_> {
        SeriesKey::new(&self.device, &self.metric, &self.unit).expect("checked when it was made")
    }
}

/// The newest reading of a series.
#[derive(Clone, Debug, PartialEq)]
pub struct Last {
    /// The time under which it is filed.
    pub time: Timestamp,
    /// When its origin received it.
    pub received: Timestamp,
    /// Its value.
    pub value: OwnedValue,
    /// How far to trust it.
    pub quality: Quality,
    /// How many readings the series has.
    pub count: u64,
    /// The time of the earliest.
    pub first: Timestamp,
}

/// What an origin's series come to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Its series.
    pub series: u64,
    /// Their readings.
    pub readings: u64,
    /// When its newest reading was received there.
    pub received: Option<Timestamp>,
}

#[derive(Debug, Default)]
struct Inner {
    by_name: HashMap<Box<[u8]>, SeriesNo>,
    series: Vec<(Arc<SeriesInfo>, Option<Last>)>,
    /// How many of them have a record on disk.
    saved: usize,
}

/// All series.
#[derive(Debug)]
pub struct Catalog {
    inner: RwLock<Inner>,
    max: usize,
}

fn name(origin: &NodeId, key: &SeriesKey<'_>) -> Vec<u8> {
    let parts = [key.device.as_str(), key.metric.as_str(), key.unit.as_str()];
    let mut out = origin.0.to_vec();
    for part in parts {
        // No part can contain a control character.
        out.push(0);
        out.extend_from_slice(part.as_bytes());
    }
    out
}

impl Catalog {
    /// Loads the series; `None` when the record of one is lost, whose windows then have no name.
    pub(super) fn load(view: &Snapshot<'_>, max: usize) -> Result<Option<Self>, Fault> {
        let mut inner = Inner::default();
        for (key, value) in view.scan(Table::Series, &[], &[], usize::MAX)? {
            let at = key.first_chunk::<4>().map(|no| u32::from_be_bytes(*no));
            let no = SeriesNo(inner.series.len() as u32);
            if at != Some(no.0) {
                return Ok(None);
            }
            let (info, last) = decode(no, &value)
                .map_err(|reject| Fault::damaged("series record", reject.code()))?;
            inner.by_name.insert(name(&info.origin, &info.key()).into(), no);
            inner.series.push((Arc::new(info), last));
        }
        // Windows of a number that no series has: then it was the last ones that were lost. Behind
        // them stands which windows still wait for their rollup.
        let last = ReadRecords::scan_back(view, Table::Window, Some(&PENDING), 1)?;
        let of = last.first().and_then(|(key, _)| key.first_chunk::<4>());
        if of.is_some_and(|no| u32::from_be_bytes(*no) as usize >= inner.series.len()) {
            return Ok(None);
        }
        inner.saved = inner.series.len();
        Ok(Some(Self { inner: RwLock::new(inner), max }))
    }

    fn read<T>(&self, look: impl FnOnce(&Inner) -> T) -> T {
        look(&self.inner.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// How many series there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.read(|inner| inner.series.len())
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The series of an origin with a name.
    #[must_use]
    pub fn find(&self, origin: &NodeId, key: &SeriesKey<'_>) -> Option<Arc<SeriesInfo>> {
        let name = name(origin, key);
        self.read(|inner| {
            let no = inner.by_name.get(name.as_slice())?;
            Some(Arc::clone(&inner.series[no.0 as usize].0))
        })
    }

    /// The series with a name, of one origin or of all that have it.
    #[must_use]
    pub fn named(&self, key: &SeriesKey<'_>, origin: Option<NodeId>) -> Vec<Arc<SeriesInfo>> {
        if let Some(origin) = origin {
            return self.find(&origin, key).into_iter().collect();
        }
        self.read(|inner| {
            let all = inner.series.iter().map(|(info, _)| info);
            all.filter(|info| info.key() == *key).map(Arc::clone).collect()
        })
    }

    /// The series that `wanted` picks, with their newest values, by origin and name.
    #[must_use]
    pub fn list(&self, wanted: impl Fn(&SeriesInfo) -> bool) -> Vec<(Arc<SeriesInfo>, Last)> {
        let mut out: Vec<_> = self.read(|inner| {
            let known = inner.series.iter().filter(|(info, _)| wanted(info));
            known.filter_map(|(info, last)| Some((Arc::clone(info), last.clone()?))).collect()
        });
        out.sort_by(|(a, _), (b, _)| (a.origin, a.key()).cmp(&(b.origin, b.key())));
        out
    }

    /// The number of a series; a new one gets the next number unless there are too many.
    pub(super) fn number(&self, origin: &NodeId, key: &SeriesKey<'_>) -> Option<Arc<SeriesInfo>> {
        if let Some(known) = self.find(origin, key) {
            return Some(known);
        }
        let mut inner = self.inner.write().unwrap_or_else(PoisonError::into_inner);
        if inner.series.len() >= self.max {
            return None;
        }
        let no = SeriesNo(inner.series.len() as u32);
        let info = Arc::new(SeriesInfo {
            no,
            origin: *origin,
            device: key.device.as_str().into(),
            metric: key.metric.as_str().into(),
            unit: key.unit.as_str().into(),
        });
        inner.by_name.insert(name(origin, key).into(), no);
        inner.series.push((Arc::clone(&info), None));
        Some(info)
    }

    /// For each origin, how many series and readings it has and when one was received last.
    #[must_use]
    pub fn by_origin(&self) -> HashMap<NodeId, Totals> {
        self.read(|inner| {
            let mut out: HashMap<NodeId, Totals> = HashMap::new();
            for (info, last) in &inner.series {
                let totals = out.entry(info.origin).or_default();
                totals.series += 1;
                if let Some(last) = last {
                    totals.readings += last.count;
                    totals.received = totals.received.max(Some(last.received));
                }
            }
            out
        })
    }

    /// The name behind a number.
    pub(super) fn info(&self, no: SeriesNo) -> Option<Arc<SeriesInfo>> {
        self.read(|inner| Some(Arc::clone(&inner.series.get(no.0 as usize)?.0)))
    }

    /// The newest series of the same device and metric that began before `info`, in another unit.
    pub(super) fn before_unit(&self, info: &SeriesInfo) -> Option<Arc<SeriesInfo>> {
        self.read(|inner| {
            let before = inner.series[..info.no.0 as usize].iter().rev().map(|(other, _)| other);
            let mut same = before.filter(|other| {
                other.origin == info.origin
                    && other.device == info.device
                    && other.metric == info.metric
            });
            same.next().cloned()
        })
    }

    /// Series that have a number but no record yet.
    pub(super) fn unsaved(&self) -> Vec<Arc<SeriesInfo>> {
        self.read(|inner| {
            inner.series[inner.saved..].iter().map(|(info, _)| Arc::clone(info)).collect()
        })
    }

    /// Notes that the series up to `count` have their records.
    pub(super) fn saved(&self, count: usize) {
        self.inner.write().unwrap_or_else(PoisonError::into_inner).saved = count;
    }

    pub(crate) fn last(&self, no: SeriesNo) -> Option<Last> {
        self.read(|inner| inner.series.get(no.0 as usize)?.1.clone())
    }

    pub(super) fn set_last(&self, no: SeriesNo, last: Last) {
        let mut inner = self.inner.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(entry) = inner.series.get_mut(no.0 as usize) {
            entry.1 = Some(last);
        }
    }
}

/// The record of a series.
pub(super) fn encode(info: &SeriesInfo, last: Option<&Last>) -> Vec<u8> {
    let mut out = Vec::with_capacity(128);
    let mut put = || -> Result<(), Reject> {
        out.put(&info.origin.0)?;
        for part in [&info.device, &info.metric, &info.unit] {
            out.put_bytes(part.as_bytes())?;
        }
        let Some(last) = last else { return Ok(()) };
        out.put_int(last.time.0)?;
        out.put_int(last.received.0)?;
        out.put_int(last.first.0)?;
        out.put_uint(last.count)?;
        out.put_u8(last.quality.0)?;
        match &last.value {
            OwnedValue::Float(number) => {
                out.put_u8(0)?;
                out.put(&number.get().to_bits().to_le_bytes())
            }
            OwnedValue::Int(int) => {
                out.put_u8(1)?;
                out.put_int(*int)
            }
            OwnedValue::Bool(on) => out.put(&[2, u8::from(*on)]),
            OwnedValue::Text(text) => {
                out.put_u8(3)?;
                out.put_bytes(text.as_bytes())
            }
        }
    };
    put().expect("a growing buffer is never full");
    out
}

fn decode(no: SeriesNo, value: &[u8]) -> Result<(SeriesInfo, Option<Last>), Reject> {
    let mut reader = Reader::new(value);
    let origin = NodeId(reader.array()?);
    let device = reader.str(DEVICE_MAX_BYTES)?;
    let metric = reader.str(METRIC_MAX_BYTES)?;
    let unit = reader.str(UNIT_MAX_BYTES)?;
    SeriesKey::new(device, metric, unit)?;
    let info =
        SeriesInfo { no, origin, device: device.into(), metric: metric.into(), unit: unit.into() };
    if reader.rest().is_empty() {
        return Ok((info, None));
    }
    let (time, received) = (Timestamp(reader.int()?), Timestamp(reader.int()?));
    let (first, count) = (Timestamp(reader.int()?), reader.uint()?);
    let quality = Quality(reader.u8()?);
    let value = match reader.u8()? {
        0 => Value::float(f64::from_bits(u64::from_le_bytes(reader.array()?)))?.into(),
        1 => OwnedValue::Int(reader.int()?),
        2 => OwnedValue::Bool(reader.u8()? == 1),
        3 => Value::Text(Text::new(reader.str(TEXT_MAX_BYTES)?)?).into(),
        _ => return Err(Reject::Malformed),
    };
    reader.finish()?;
    Ok((info, Some(Last { time, received, value, quality, count, first })))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_series_record_reads_back() {
        let catalog = Catalog { inner: RwLock::default(), max: 1 };
        let key = SeriesKey::new("ps-017", "level", "m").unwrap();
        let info = catalog.number(&NodeId([3; 32]), &key).unwrap();
        for value in [
            Value::float(2.5).unwrap().into(),
            OwnedValue::Int(-7),
            OwnedValue::Bool(true),
            OwnedValue::Text("ok".into()),
        ] {
            let last = Last {
                time: Timestamp(-5),
                received: Timestamp(9),
                value,
                quality: Quality::BAD,
                count: 3,
                first: Timestamp(-8),
            };
            let read = decode(info.no, &encode(&info, Some(&last))).unwrap();
            assert_eq!(read, ((*info).clone(), Some(last)));
        }
        let named = decode(info.no, &encode(&info, None)).unwrap();
        assert_eq!(named, ((*info).clone(), None), "a rollup may come before any reading");
    }

    #[test]
    fn numbers_are_stable_and_bounded() {
        let catalog = Catalog { inner: RwLock::default(), max: 1 };
        let (a, b) = (NodeId([1; 32]), NodeId([2; 32]));
        let key = SeriesKey::new("d", "m", "").unwrap();
        let first = catalog.number(&a, &key).unwrap();
        assert_eq!(catalog.number(&a, &key).unwrap().no, first.no);
        assert!(catalog.number(&b, &key).is_none(), "another origin is another series");
        assert_eq!(catalog.len(), 1);
    }
}
