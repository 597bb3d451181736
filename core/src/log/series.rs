//! The dictionary of series at the head of a body: each series once, in the order of first use.

use crate::codec::{Reader, Sink};
use crate::limits::{DEVICE_MAX_BYTES, METRIC_MAX_BYTES, UNIT_MAX_BYTES};
use crate::{Reject, SeriesKey};

pub(super) fn put_series(out: &mut impl Sink, series: &[SeriesKey<'_>]) -> Result<(), Reject> {
    out.put_uint(series.len() as u64)?;
    for key in series {
        out.put_bytes(key.device.as_str().as_bytes())?;
        out.put_bytes(key.metric.as_str().as_bytes())?;
        out.put_bytes(key.unit.as_str().as_bytes())?;
    }
    Ok(())
}

/// The dictionary's series, in order; stops at the first that is not valid.
#[derive(Clone, Debug)]
pub struct SeriesIter<'a> {
    reader: Reader<'a>,
    left: u64,
}

impl<'a> SeriesIter<'a> {
    pub(super) fn new(reader: &mut Reader<'a>) -> Result<Self, Reject> {
        let left = reader.uint()?;
        let all = Self { reader: *reader, left };
        let mut walk = all.clone();
        while walk.left > 0 {
            walk.read()?;
        }
        *reader = walk.reader;
        Ok(all)
    }

    fn read(&mut self) -> Result<SeriesKey<'a>, Reject> {
        self.left -= 1;
        SeriesKey::new(
            self.reader.str(DEVICE_MAX_BYTES)?,
            self.reader.str(METRIC_MAX_BYTES)?,
            self.reader.str(UNIT_MAX_BYTES)?,
        )
    }
}

impl<'a> Iterator for SeriesIter<'a> {
    type Item = SeriesKey<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.left == 0 { None } else { self.read().ok() }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (0, usize::try_from(self.left).ok())
    }
}

/// Watches that rows name series in the order of the dictionary and use all of them.
#[derive(Debug)]
pub(super) struct FirstUse {
    known: u64,
    used: u64,
}

impl FirstUse {
    pub(super) fn new(series: &SeriesIter<'_>) -> Self {
        Self { known: series.left, used: 0 }
    }

    pub(super) fn see(&mut self, index: u64) -> Result<u32, Reject> {
        if index >= self.known || index > self.used {
            return Err(Reject::Malformed);
        }
        self.used = self.used.max(index + 1);
        u32::try_from(index).map_err(|_| Reject::Malformed)
    }

    pub(super) const fn all_used(&self) -> bool {
        self.used == self.known
    }
}
