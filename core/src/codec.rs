//! Bytes in and out: variable-length integers, length-prefixed strings, fixed words.
//!
//! Unsigned integers are LEB128 in their shortest form, signed ones zigzag first. A [`Reader`]
//! never reads past its end and never allocates; a longer than shortest form is malformed, so a
//! value has exactly one encoding.

use crate::Reject;

/// Where encoded bytes go. A full sink refuses, it does not truncate.
pub trait Sink {
    /// Appends all of `bytes` or nothing.
    ///
    /// # Errors
    /// [`Reject::Full`] when they do not fit.
    fn put(&mut self, bytes: &[u8]) -> Result<(), Reject>;

    /// Appends one byte.
    ///
    /// # Errors
    /// [`Reject::Full`] when it does not fit.
    fn put_u8(&mut self, byte: u8) -> Result<(), Reject> {
        self.put(&[byte])
    }

    /// Appends an unsigned integer as LEB128.
    ///
    /// # Errors
    /// [`Reject::Full`] when it does not fit.
    fn put_uint(&mut self, mut value: u64) -> Result<(), Reject> {
        let mut buffer = [0; 10];
        let mut len = 0;
        while value >= 0x80 {
            buffer[len] = value as u8 | 0x80;
            value >>= 7;
            len += 1;
        }
        buffer[len] = value as u8;
        self.put(&buffer[..=len])
    }

    /// Appends a signed integer, zigzag then LEB128.
    ///
    /// # Errors
    /// [`Reject::Full`] when it does not fit.
    fn put_int(&mut self, value: i64) -> Result<(), Reject> {
        self.put_uint(((value << 1) ^ (value >> 63)) as u64)
    }

    /// Appends a length and the bytes.
    ///
    /// # Errors
    /// [`Reject::Full`] when they do not fit.
    fn put_bytes(&mut self, bytes: &[u8]) -> Result<(), Reject> {
        self.put_uint(bytes.len() as u64)?;
        self.put(bytes)
    }
}

/// A sink that keeps nothing and counts: how much room something will take.
#[derive(Clone, Copy, Debug, Default)]
pub struct Count(usize);

impl Count {
    /// How many bytes were put.
    #[must_use]
    pub const fn bytes(self) -> usize {
        self.0
    }
}

impl Sink for Count {
    fn put(&mut self, bytes: &[u8]) -> Result<(), Reject> {
        self.0 += bytes.len();
        Ok(())
    }
}

/// A sink over a slice, which it fills from the front.
#[derive(Debug)]
pub struct Window<'a> {
    rest: &'a mut [u8],
}

impl<'a> Window<'a> {
    /// Fills `bytes` from the front.
    pub const fn new(bytes: &'a mut [u8]) -> Self {
        Self { rest: bytes }
    }

    /// How many bytes more it takes.
    #[must_use]
    pub const fn room(&self) -> usize {
        self.rest.len()
    }
}

impl Sink for Window<'_> {
    fn put(&mut self, bytes: &[u8]) -> Result<(), Reject> {
        // The rest is taken out for a moment, because it is what the front is split off from.
        let rest = core::mem::take(&mut self.rest);
        if bytes.len() > rest.len() {
            self.rest = rest;
            return Err(Reject::Full);
        }
        let (front, rest) = rest.split_at_mut(bytes.len());
        front.copy_from_slice(bytes);
        self.rest = rest;
        Ok(())
    }
}

impl<const N: usize> Sink for heapless::Vec<u8, N> {
    fn put(&mut self, bytes: &[u8]) -> Result<(), Reject> {
        self.extend_from_slice(bytes).map_err(|_| Reject::Full)
    }
}

#[cfg(any(test, feature = "alloc"))]
impl Sink for alloc::vec::Vec<u8> {
    fn put(&mut self, bytes: &[u8]) -> Result<(), Reject> {
        self.extend_from_slice(bytes);
        Ok(())
    }
}

/// Reads what a [`Sink`] was given, front to back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Reads from the start of `bytes`.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// What has not been read.
    #[must_use]
    pub const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// The next `len` bytes.
    ///
    /// # Errors
    /// [`Reject::Truncated`] when fewer are left.
    #[inline]
    pub fn take(&mut self, len: usize) -> Result<&'a [u8], Reject> {
        let (head, rest) = self.rest.split_at_checked(len).ok_or(Reject::Truncated)?;
        self.rest = rest;
        Ok(head)
    }

    /// The next `N` bytes as an array.
    ///
    /// # Errors
    /// [`Reject::Truncated`] when fewer are left.
    #[inline]
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], Reject> {
        let (head, rest) = self.rest.split_first_chunk::<N>().ok_or(Reject::Truncated)?;
        self.rest = rest;
        Ok(*head)
    }

    /// The next byte.
    ///
    /// # Errors
    /// [`Reject::Truncated`] at the end.
    #[inline]
    pub fn u8(&mut self) -> Result<u8, Reject> {
        let (&byte, rest) = self.rest.split_first().ok_or(Reject::Truncated)?;
        self.rest = rest;
        Ok(byte)
    }

    /// An unsigned LEB128 integer in its shortest form.
    ///
    /// # Errors
    /// [`Reject::Truncated`] at the end, [`Reject::Malformed`] for a longer form or more than 64
    /// bits.
    #[inline]
    pub fn uint(&mut self) -> Result<u64, Reject> {
        // Most are small, and a directory of a segment has thousands.
        if let [byte @ 0..=0x7f, rest @ ..] = self.rest {
            self.rest = rest;
            return Ok(u64::from(*byte));
        }
        self.long_uint()
    }

    fn long_uint(&mut self) -> Result<u64, Reject> {
        let mut value = 0u64;
        for shift in (0..70).step_by(7) {
            let byte = self.u8()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                return Err(Reject::Malformed);
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return if byte == 0 && shift > 0 { Err(Reject::Malformed) } else { Ok(value) };
            }
        }
        Err(Reject::Malformed)
    }

    /// A signed integer, zigzag in LEB128.
    ///
    /// # Errors
    /// As [`Self::uint`].
    #[inline]
    pub fn int(&mut self) -> Result<i64, Reject> {
        let raw = self.uint()?;
        Ok((raw >> 1) as i64 ^ -((raw & 1) as i64))
    }

    /// A length of at most `max` and as many bytes.
    ///
    /// # Errors
    /// [`Reject::Malformed`] above `max`, [`Reject::Truncated`] at the end.
    #[inline]
    pub fn bytes(&mut self, max: usize) -> Result<&'a [u8], Reject> {
        let len = usize::try_from(self.uint()?).map_err(|_| Reject::Malformed)?;
        if len > max {
            return Err(Reject::Malformed);
        }
        self.take(len)
    }

    /// A length of at most `max` and as many bytes of UTF-8.
    ///
    /// # Errors
    /// As [`Self::bytes`], and [`Reject::Malformed`] for bytes that are not UTF-8.
    pub fn str(&mut self, max: usize) -> Result<&'a str, Reject> {
        core::str::from_utf8(self.bytes(max)?).map_err(|_| Reject::Malformed)
    }

    /// Ends the reading: nothing may be left.
    ///
    /// # Errors
    /// [`Reject::Malformed`] when bytes are left.
    pub const fn finish(self) -> Result<(), Reject> {
        if self.rest.is_empty() { Ok(()) } else { Err(Reject::Malformed) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    #[test]
    fn a_longer_form_than_needed_is_malformed() {
        assert_eq!(Reader::new(&[0x80, 0x00]).uint(), Err(Reject::Malformed));
        assert_eq!(Reader::new(&[0xff; 11]).uint(), Err(Reject::Malformed));
        assert_eq!(Reader::new(&[0x80]).uint(), Err(Reject::Truncated));
    }

    #[test]
    fn a_full_sink_takes_nothing() {
        let mut sink = heapless::Vec::<u8, 3>::new();
        assert_eq!(sink.put(&[1, 2, 3, 4]), Err(Reject::Full));
        assert!(sink.is_empty());
    }

    #[test]
    fn a_window_is_filled_from_the_front_and_no_further() {
        let mut bytes = [0; 4];
        let mut window = Window::new(&mut bytes);
        window.put(&[1, 2]).unwrap();
        assert_eq!(window.put(&[3, 4, 5]), Err(Reject::Full));
        window.put_u8(3).unwrap();
        assert_eq!(bytes, [1, 2, 3, 0]);
    }

    proptest! {
        #[test]
        fn integers_read_back(u in any::<u64>(), i in any::<i64>()) {
            let mut out = Vec::new();
            out.put_uint(u).unwrap();
            out.put_int(i).unwrap();
            let mut reader = Reader::new(&out);
            prop_assert_eq!(reader.uint(), Ok(u));
            prop_assert_eq!(reader.int(), Ok(i));
            prop_assert_eq!(reader.finish(), Ok(()));
        }

        #[test]
        fn any_bytes_are_read_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            let mut reader = Reader::new(&bytes);
            while !reader.rest().is_empty() {
                if reader.uint().is_err() && reader.str(8).is_err() && reader.u8().is_err() {
                    break;
                }
            }
        }
    }
}
