//! Quantiles of a window: a histogram whose buckets are no wider than they have to be.
//!
//! Buckets are `2^exponent` wide; value `v` falls into bucket number `floor(v / 2^exponent)`. The
//! exponent is the least for which at most [`BUCKETS`] buckets hold a value and none has a width
//! below a millionth of the greatest magnitude. Both only ever ask for more as values come, so a
//! sketch is a function of its values alone: their order, and which sketches were merged on the
//! way, leave no trace. Merging all neighbours at once is what `UDDSketch` does (Epicoco and
//! others, "UDDSketch: Accurate Tracking of Quantiles in Data Streams", IEEE Access 2020); there
//! buckets grow with the value and the error is relative, here they are equal and the error is in
//! the unit of the series.

use crate::Reject;
use crate::codec::{Reader, Sink};
use core::cmp::Ordering;

/// Buckets that may hold values: two dozen more than a sensor shows in a quiet hour, and the error
/// stays below a sixtieth of the range.
pub const BUCKETS: usize = 64;
/// A bucket is at least `2^-PRECISION` of the greatest magnitude wide, rounded down to a power of
/// two: finer than any sensor, and bucket numbers stay short.
const PRECISION: i16 = 20;
/// The exponent of the smallest normal double; smaller ones are counted to it.
const LEAST: i16 = -1_022;
const MANTISSA_BITS: i16 = 52;
/// The least exponent of a sketch, and the greatest: that of the greatest double, where 64 buckets
/// of a sixteenth of it cover everything.
const EXPONENTS: core::ops::RangeInclusive<i16> = LEAST - PRECISION..=1_023 - 4;
/// Bucket numbers are below this in magnitude, since no value has more than `PRECISION + 1` bits
/// above the width.
const NUMBER_MAX: i64 = 1 << (PRECISION + 1);

/// A bucket that holds values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Bucket {
    number: i32,
    count: u64,
}

/// How the values of a window are spread.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sketch {
    exponent: i16,
    /// By number.
    buckets: heapless::Vec<Bucket, BUCKETS>,
}

/// A finite double as an integer and the exponent of its last bit.
fn parts(value: f64) -> (i64, i16) {
    let bits = value.to_bits();
    let biased = (bits >> MANTISSA_BITS & 0x7ff) as i16;
    let fraction = (bits & ((1 << MANTISSA_BITS) - 1)) as i64;
    let (mantissa, exponent) = if biased == 0 {
        (fraction, LEAST)
    } else {
        (fraction | 1 << MANTISSA_BITS, biased - 1_023)
    };
    (if value.is_sign_negative() { -mantissa } else { mantissa }, exponent - MANTISSA_BITS)
}

/// The least exponent that a sketch with this value may have.
fn finest(value: f64) -> i16 {
    parts(value).1 + MANTISSA_BITS - PRECISION
}

/// The bucket of a value; `exponent` is at least its [`finest`].
fn number(value: f64, exponent: i16) -> i32 {
    let (mantissa, last_bit) = parts(value);
    // Towards the smaller number, below zero too.
    (mantissa >> (exponent - last_bit).min(63)) as i32
}

/// `2^exponent`, for what is a double.
fn power(exponent: i16) -> f64 {
    f64::from_bits(if exponent >= LEAST {
        ((exponent + 1_023) as u64) << MANTISSA_BITS
    } else {
        1 << (exponent - LEAST + MANTISSA_BITS)
    })
}

impl Sketch {
    /// The sketch of a finite value that was read `count` times.
    #[must_use]
    pub fn of(value: f64, count: u64) -> Self {
        let exponent = finest(value);
        let mut buckets = heapless::Vec::new();
        let _ = buckets.push(Bucket { number: number(value, exponent), count });
        Self { exponent, buckets }
    }

    /// Takes a finite value.
    pub fn push(&mut self, value: f64) {
        self.coarsen_to(finest(value));
        while !self.add(Bucket { number: number(value, self.exponent), count: 1 }) {
            self.coarsen_to(self.exponent + 1);
        }
    }

    /// Takes all values of another sketch.
    pub fn merge(&mut self, other: &Self) {
        self.coarsen_to(other.exponent);
        for Bucket { number, count } in &other.buckets {
            let at = |exponent: i16| number >> (exponent - other.exponent).min(31);
            while !self.add(Bucket { number: at(self.exponent), count: *count }) {
                self.coarsen_to(self.exponent + 1);
            }
        }
    }

    /// How many values there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.buckets.iter().fold(0, |sum, bucket| bucket.count.saturating_add(sum))
    }

    /// The value that `q` of all values, between 0 and 1, do not exceed: of the `n` values in order
    /// the one at place `ceil(q n)`, known up to [`Self::error`].
    #[must_use]
    pub fn quantile(&self, q: f64) -> f64 {
        let (count, place) = (self.count(), q * self.count() as f64);
        let whole = place as u64;
        let place = if place > whole as f64 { whole + 1 } else { whole }.clamp(1, count.max(1));
        let mut up_to = 0u64;
        let holds = self.buckets.iter().find(|bucket| {
            up_to = bucket.count.saturating_add(up_to);
            up_to >= place
        });
        // The middle of the bucket.
        let number = holds.map_or(0, |bucket| i64::from(bucket.number));
        (2 * number + 1) as f64 * power(self.exponent - 1)
    }

    /// By how much a quantile may be off, either way, in the unit of the values: at most a 63rd of
    /// their range, or a two-millionth of the greatest magnitude if that is more.
    #[must_use]
    pub fn error(&self) -> f64 {
        power(self.exponent - 1)
    }

    /// Counts a bucket in; `false` when there is no room for another.
    fn add(&mut self, new: Bucket) -> bool {
        match self.buckets.binary_search_by_key(&new.number, |bucket| bucket.number) {
            Ok(at) => {
                let count = &mut self.buckets[at].count;
                *count = count.saturating_add(new.count);
                true
            }
            Err(at) => self.buckets.insert(at, new).is_ok(),
        }
    }

    /// Makes the buckets as wide as that, if they are not yet.
    fn coarsen_to(&mut self, exponent: i16) {
        let shift = (exponent - self.exponent).min(31);
        if shift <= 0 {
            return;
        }
        self.exponent = exponent;
        let mut kept: usize = 0;
        for at in 0..self.buckets.len() {
            let Bucket { number, count } = self.buckets[at];
            let number = number >> shift;
            match kept.checked_sub(1).map(|last| &mut self.buckets[last]) {
                Some(last) if last.number == number => {
                    last.count = last.count.saturating_add(count);
                }
                _ => {
                    self.buckets[kept] = Bucket { number, count };
                    kept += 1;
                }
            }
        }
        self.buckets.truncate(kept);
    }

    /// Writes it as `docs/formats/log.md` has it.
    ///
    /// # Errors
    /// [`Reject::Full`] when the sink has no room.
    pub fn encode(&self, out: &mut impl Sink) -> Result<(), Reject> {
        out.put_uint(self.buckets.len() as u64)?;
        out.put_int(i64::from(self.exponent))?;
        let mut next = None;
        for Bucket { number, count } in &self.buckets {
            match next {
                None => out.put_int(i64::from(*number))?,
                Some(next) => out.put_uint((number - next) as u64)?,
            }
            out.put_uint(count - 1)?;
            next = Some(number + 1);
        }
        Ok(())
    }

    /// Reads what [`Self::encode`] wrote; `None` for no buckets.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn decode(reader: &mut Reader<'_>) -> Result<Option<Self>, Reject> {
        let buckets = reader.uint()?;
        if buckets == 0 {
            return Ok(None);
        }
        let exponent = reader.int()?;
        let mut next = None;
        let read = (0..buckets).map(|_| {
            let number = match next {
                None => reader.int()?,
                Some(next) => i64::try_from(reader.uint()?)
                    .ok()
                    .and_then(|gap| gap.checked_add(next))
                    .ok_or(Reject::Malformed)?,
            };
            next = number.checked_add(1);
            Ok((number, reader.uint()?.checked_add(1).ok_or(Reject::Malformed)?))
        });
        Self::from_parts(exponent, read).map(Some)
    }

    /// The sketch of an exponent, and numbers with counts.
    ///
    /// # Errors
    /// [`Reject::Malformed`] for what no sketch has, or the first error of `buckets`.
    pub fn from_parts(
        exponent: i64,
        buckets: impl Iterator<Item = Result<(i64, u64), Reject>>,
    ) -> Result<Self, Reject> {
        let exponent = i16::try_from(exponent).map_err(|_| Reject::Malformed)?;
        let mut out = Self { exponent, buckets: heapless::Vec::new() };
        let mut sum = 0u64;
        for bucket in buckets {
            let (number, count) = bucket?;
            let ascends = out.buckets.last().is_none_or(|last| i64::from(last.number) < number);
            sum = sum.checked_add(count).ok_or(Reject::Malformed)?;
            if !ascends || count == 0 || !(-NUMBER_MAX..NUMBER_MAX).contains(&number) {
                return Err(Reject::Malformed);
            }
            let bucket = Bucket { number: number as i32, count };
            out.buckets.push(bucket).map_err(|_| Reject::Malformed)?;
        }
        let sensible = EXPONENTS.contains(&exponent) && !out.buckets.is_empty();
        if sensible { Ok(out) } else { Err(Reject::Malformed) }
    }

    /// The exponent of the width of its buckets.
    #[must_use]
    pub const fn exponent(&self) -> i16 {
        self.exponent
    }

    /// Numbers and counts of the buckets, ascending.
    pub fn buckets(&self) -> impl Iterator<Item = (i32, u64)> + '_ {
        self.buckets.iter().map(|bucket| (bucket.number, bucket.count))
    }

    /// Whether it can be of `count` values from `min` to `max`.
    #[must_use]
    pub fn fits(&self, count: u64, min: f64, max: f64) -> bool {
        let at = |value: f64| match finest(value).cmp(&self.exponent) {
            Ordering::Greater => None,
            _ => Some(number(value, self.exponent)),
        };
        let ends = (self.buckets.first(), self.buckets.last());
        let (Some(first), Some(last)) = ends else { return false };
        self.count() == count && at(min) == Some(first.number) && at(max) == Some(last.number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    fn sketch(values: &[f64]) -> Sketch {
        let mut out = Sketch::of(values[0], 1);
        values[1..].iter().for_each(|value| out.push(*value));
        out
    }

    fn finite() -> impl Strategy<Value = f64> {
        prop_oneof![
            2 => any::<f64>().prop_filter("finite", |value| value.is_finite()),
            4 => (-9_999i32..9_999, 0i32..4).prop_map(|(m, p)| f64::from(m) / 10f64.powi(p)),
            2 => -1.0f64..1.0,
            1 => Just(0.0),
            1 => Just(f64::MAX),
            1 => Just(f64::MIN),
        ]
    }

    #[test]
    fn what_a_sensor_shows_is_told_apart() {
        let sketch = sketch(&[21.4, 21.5, 21.5, 21.6, 32_767.0]);
        assert!(sketch.error() < 0.02);
        assert!((sketch.quantile(0.5) - 21.5).abs() <= sketch.error());
        assert!((sketch.quantile(1.0) - 32_767.0).abs() <= sketch.error());
    }

    #[test]
    fn places_are_counted_from_one_and_rounded_up() {
        let sketch = sketch(&[1.0, 2.0, 3.0, 4.0]);
        let told = |q| sketch.quantile(q) as i64;
        assert_eq!([0.0, 0.25, 0.26, 0.5, 0.75, 0.99, 1.0].map(told), [1, 1, 2, 2, 3, 4, 4]);
    }

    #[test]
    fn the_ends_of_the_range_of_doubles_have_buckets() {
        for value in [0.0, -0.0, f64::MAX, f64::MIN, f64::MIN_POSITIVE, f64::from_bits(1)] {
            let sketch = Sketch::of(value, 3);
            assert!((sketch.quantile(0.5) - value).abs() <= sketch.error(), "{value:e}");
            assert!(sketch.fits(3, value, value), "{value:e}");
        }
    }

    /// A peer may claim any count.
    #[test]
    fn counts_stop_at_the_end_of_the_range() {
        let mut sketch = Sketch::of(1.0, u64::MAX);
        sketch.push(1.0);
        sketch.merge(&Sketch::of(2.0, u64::MAX));
        assert_eq!(sketch.count(), u64::MAX);
        assert!((sketch.quantile(0.5) - 1.0).abs() <= sketch.error());
    }

    proptest! {
        #[test]
        fn it_is_a_function_of_the_values(
            values in prop::collection::vec(finite(), 1..200),
            parts in prop::collection::vec(1usize..60, 1..20),
            turn in any::<usize>(),
        ) {
            let mut turned = values.clone();
            turned.rotate_left(turn % values.len());
            prop_assert_eq!(sketch(&values), sketch(&turned));
            let (mut rest, mut merged) = (values.as_slice(), None::<Sketch>);
            for size in parts.iter().cycle() {
                let (part, after) = rest.split_at((*size).min(rest.len()));
                match &mut merged {
                    None => merged = Some(sketch(part)),
                    Some(merged) => merged.merge(&sketch(part)),
                }
                rest = after;
                if rest.is_empty() {
                    break;
                }
            }
            prop_assert_eq!(merged.unwrap(), sketch(&values));
        }

        #[test]
        fn quantiles_are_within_the_error_and_the_error_within_its_bound(
            mut values in prop::collection::vec(finite(), 1..300),
            q in 0.0f64..=1.0,
        ) {
            let sketch = sketch(&values);
            values.sort_by(f64::total_cmp);
            let (min, max) = (values[0], values[values.len() - 1]);
            let place = ((q * values.len() as f64).ceil() as usize).clamp(1, values.len());
            let exact = values[place - 1];
            let off = sketch.quantile(q) / 2.0 - exact / 2.0;
            prop_assert!(off.abs() <= sketch.error() / 2.0, "{off} of {exact}");
            let magnitude = min.abs().max(max.abs()).max(f64::MIN_POSITIVE);
            let range = max / 63.0 - min / 63.0;
            prop_assert!(sketch.error() <= range.max(magnitude / 2_097_152.0));
            prop_assert!(sketch.fits(values.len() as u64, min, max));
        }

        #[test]
        fn it_reads_back(values in prop::collection::vec(finite(), 1..200)) {
            let (sketch, mut bytes) = (sketch(&values), Vec::new());
            sketch.encode(&mut bytes).unwrap();
            let mut reader = Reader::new(&bytes);
            prop_assert_eq!(Sketch::decode(&mut reader), Ok(Some(sketch)));
            prop_assert!(reader.finish().is_ok());
        }

        #[test]
        fn any_bytes_are_read_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            if let Ok(Some(mut sketch)) = Sketch::decode(&mut Reader::new(&bytes)) {
                let again = sketch.clone();
                sketch.merge(&again);
                sketch.push(1.0);
                let _ = (sketch.quantile(0.5), sketch.fits(1, 0.0, f64::MAX));
            }
        }
    }
}
