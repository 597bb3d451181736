//! The engine's columns, read within bounds: how many rows there are is known before any is made.
//!
//! A column is runs: a signed length, then a value that repeats so often; minus a length, then so
//! many values; 0 and a length for absent ones. A few bytes can so stand for 2^60 rows, which is
//! why nobody but this module may be the first to read one.

use super::Refusal;
use holdfast_core::Reject;
use holdfast_core::codec::Reader;

/// A signed LEB128 integer.
pub(super) fn signed(reader: &mut Reader<'_>) -> Result<i64, Reject> {
    let mut value = 0i64;
    for shift in (0..70).step_by(7) {
        let byte = reader.u8()?;
        // The tenth byte holds the last bit and its sign, nothing else.
        if shift == 63 && byte != 0 && byte != 0x7f {
            return Err(Reject::Malformed);
        }
        value |= i64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            let negative = byte & 0x40 != 0 && shift < 63;
            return Ok(if negative { value | -1 << (shift + 7) } else { value });
        }
    }
    Err(Reject::Malformed)
}

/// A run of rows.
enum Run {
    Repeat(u64),
    Literal(u64),
    Absent(u64),
}

fn run(reader: &mut Reader<'_>) -> Result<Run, Refusal> {
    let run = match signed(reader)? {
        0 => Run::Absent(reader.uint()?),
        length if length > 0 => Run::Repeat(length.unsigned_abs()),
        length => Run::Literal(length.unsigned_abs()),
    };
    Ok(run)
}

/// Hands each run of values to `each` with its number of rows; gives all rows, at most `max`.
pub(super) fn scan<'a, T>(
    bytes: &'a [u8],
    max: u64,
    read: impl Fn(&mut Reader<'a>) -> Result<T, Reject>,
    mut each: impl FnMut(Option<T>, u64) -> Result<(), Refusal>,
) -> Result<u64, Refusal> {
    let mut reader = Reader::new(bytes);
    let mut rows = 0u64;
    let mut grow = |by: u64| {
        rows = rows.checked_add(by).filter(|rows| *rows <= max).ok_or(Refusal::Count)?;
        Ok::<_, Refusal>(())
    };
    while !reader.rest().is_empty() {
        match run(&mut reader)? {
            Run::Absent(length) => {
                grow(length)?;
                each(None, length)?;
            }
            Run::Repeat(length) => {
                grow(length)?;
                each(Some(read(&mut reader)?), length)?;
            }
            Run::Literal(length) => {
                grow(length)?;
                for _ in 0..length {
                    each(Some(read(&mut reader)?), 1)?;
                }
            }
        }
    }
    Ok(rows)
}

/// The rows of a column without absent ones, at most `max`.
pub(super) fn values<'a, T: Clone>(
    bytes: &'a [u8],
    max: usize,
    read: impl Fn(&mut Reader<'a>) -> Result<T, Reject>,
) -> Result<Vec<T>, Refusal> {
    let mut out = Vec::new();
    scan(bytes, max as u64, read, |value, rows| {
        let value = value.ok_or(Refusal::Operation)?;
        // Bounded by `max`, so it fits.
        out.resize(out.len() + rows as usize, value);
        Ok(())
    })?;
    Ok(out)
}

/// The rows of a column of switches, which alternate from false on; `true` ones among them.
pub(super) fn switches(bytes: &[u8], max: u64) -> Result<(u64, u64), Refusal> {
    let mut reader = Reader::new(bytes);
    let (mut rows, mut set, mut is_set) = (0u64, 0u64, false);
    while !reader.rest().is_empty() {
        let length = reader.uint()?;
        rows = rows.checked_add(length).filter(|rows| *rows <= max).ok_or(Refusal::Count)?;
        set += if is_set { length } else { 0 };
        is_set = !is_set;
    }
    Ok((rows, set))
}

/// A column's number and the length of its bytes as stored.
pub(super) type Spec = (u64, usize);

/// Reads which columns there are: ascending, none twice.
pub(super) fn specs(reader: &mut Reader<'_>, deflated: u64) -> Result<Vec<Spec>, Refusal> {
    const MAX: u64 = 32;
    let count = reader.uint()?;
    if count > MAX {
        return Err(Refusal::Count);
    }
    let mut out: Vec<Spec> = Vec::new();
    for _ in 0..count {
        let spec = reader.uint()?;
        let length = usize::try_from(reader.uint()?).map_err(|_| Refusal::Framing)?;
        let ascends = out.last().is_none_or(|(last, _)| last & !deflated < spec & !deflated);
        if !ascends || length > reader.rest().len() {
            return Err(Refusal::Framing);
        }
        out.push((spec, length));
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signed_integers_are_read_as_the_engine_writes_them() {
        for (bytes, value) in [
            (&[0x00][..], 0),
            (&[0x3f], 63),
            (&[0x40], -64),
            (&[0x7f], -1),
            (&[0xc0, 0x00], 64),
            (&[0x80, 0x7f], -128),
            (&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x00], i64::MAX),
            (&[0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x7f], i64::MIN),
        ] {
            assert_eq!(signed(&mut Reader::new(bytes)), Ok(value), "{bytes:02x?}");
        }
        assert_eq!(signed(&mut Reader::new(&[0xff; 10])), Err(Reject::Malformed));
        assert_eq!(signed(&mut Reader::new(&[0x80])), Err(Reject::Truncated));
    }

    /// Ten bytes that stand for 2^62 rows.
    #[test]
    fn a_run_beyond_the_bound_is_refused_before_it_is_made() {
        let bomb = [0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0xc0, 0x00, 0x01];
        assert_eq!(values(&bomb, 512, |reader| reader.uint()), Err(Refusal::Count));
        let absent = [0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f];
        assert_eq!(values(&absent, 512, |reader| reader.uint()), Err(Refusal::Count));
        assert_eq!(switches(&absent[1..], 512), Err(Refusal::Count));
    }

    #[test]
    fn runs_and_literals_are_rows() {
        let column = [0x03, 0x05, 0x7e, 0x01, 0x02];
        assert_eq!(values(&column, 5, |reader| reader.uint()), Ok(vec![5, 5, 5, 1, 2]));
        assert_eq!(values(&column, 4, |reader| reader.uint()), Err(Refusal::Count));
        assert_eq!(values(&[0x00, 0x01], 4, |reader| reader.uint()), Err(Refusal::Operation));
        assert_eq!(switches(&[0x02, 0x03, 0x01], 6), Ok((6, 3)));
    }
}
