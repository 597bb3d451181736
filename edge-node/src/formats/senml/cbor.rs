//! Packs in CBOR (RFC 8949): an array of maps whose keys are small integers.
//!
//! Lengths in the data are claims: nothing is reserved by them, texts are borrowed from the body,
//! and what is passed over nests at most as deep as in JSON.

use super::{Base, Field, Record, Scalar, no_record, pack_error};
use crate::formats::json::integer_value;
use crate::formats::scanner::DEPTH_MAX;
use crate::formats::{BodyError, BodyFault, Decoded, DecodedValue, Place};
use ciborium_ll::{Decoder, Error, Header, simple};
use holdfast_core::reading::Finite;
use holdfast_core::{Reject, Timestamp};
use std::borrow::Cow;

/// "This is CBOR", in front of a pack.
const SELF_DESCRIBED: u64 = 55_799;
/// A decimal fraction: an exponent of ten and a mantissa.
const DECIMAL: u64 = 4;

/// A pack that is read record by record.
pub struct CborPack<'a> {
    items: Items<'a>,
    base: Base<'a>,
    /// Records to come; `None` until a break.
    left: Option<usize>,
    index: usize,
}

impl<'a> CborPack<'a> {
    /// Enters the pack.
    ///
    /// # Errors
    /// [`BodyError`] when it is no array.
    pub fn new(body: &'a [u8]) -> Result<Self, BodyError> {
        let mut items = Items { body, decoder: Decoder::from(body), before: 0 };
        let mut header = items.pull()?;
        if header == Header::Tag(SELF_DESCRIBED) {
            header = items.pull()?;
        }
        let Header::Array(left) = header else {
            return Err(malformed(0, "expected an array of SenML records"));
        };
        Ok(Self { items, base: Base::default(), left, index: 0 })
    }

    /// Decodes the next record into `decoded`; `false` when there is none.
    ///
    /// # Errors
    /// [`BodyError`] when the bytes are no CBOR, a base field is wrong, or `decoded` is full.
    pub fn next(
        &mut self,
        decoded: &mut Decoded<'a>,
        received: Timestamp,
    ) -> Result<bool, BodyError> {
        let header = if self.left == Some(0) { Header::Break } else { self.items.pull()? };
        if header == Header::Break {
            if self.left.is_some_and(|left| left > 0) {
                return self.items.wrong("a break within an array of definite length");
            }
            self.items.end()?;
            return Ok(false);
        }
        decoded.check_room()?;
        self.left = self.left.map(|left| left - 1);
        let index = self.index;
        self.index += 1;
        let first = decoded.readings.len();
        let parsed = if let Header::Map(fields) = header {
            self.record(index, fields)?.resolve(&self.base, decoded, received)
        } else {
            Err(no_record(self.items.scalar(header)?.kind()))
        };
        decoded.close(first, parsed, Place::Element(index));
        Ok(true)
    }

    fn record(&mut self, index: usize, mut fields: Option<usize>) -> Result<Record<'a>, BodyError> {
        let mut record = Record::default();
        while fields != Some(0) {
            let key = match self.items.pull()? {
                Header::Break if fields.is_none() => break,
                header => header,
            };
            fields = fields.map(|left| left - 1);
            let field = match key {
                Header::Positive(label) => Field::numbered(i128::from(label)),
                Header::Negative(label) => Field::numbered(!i128::from(label)),
                key => match self.items.scalar(key)? {
                    Scalar::Text(label) => {
                        let field = Field::named(&label);
                        if field.is_none() {
                            record.unknown(&label);
                        }
                        field
                    }
                    _ => None,
                },
            };
            let header = self.items.pull()?;
            let scalar = self.items.scalar(header)?;
            if let Some(field) = field {
                let taken = record.field(&mut self.base, field, scalar);
                taken.map_err(|fault| pack_error(index, fault))?;
            }
        }
        Ok(record)
    }
}

/// The data items of a body, one header at a time.
struct Items<'a> {
    body: &'a [u8],
    decoder: Decoder<&'a [u8]>,
    /// Bytes in front of where the decoder began.
    before: usize,
}

impl<'a> Items<'a> {
    fn at(&mut self) -> usize {
        self.before + self.decoder.offset()
    }

    fn wrong<T>(&mut self, what: &str) -> Result<T, BodyError> {
        Err(malformed(self.at(), what))
    }

    fn pull(&mut self) -> Result<Header, BodyError> {
        let before = self.before;
        match self.decoder.pull() {
            Ok(header) => Ok(header),
            Err(Error::Io(_)) => Err(malformed(self.body.len(), "it ends too early")),
            Err(Error::Syntax(at)) => Err(malformed(before + at, "no data item begins like this")),
        }
    }

    fn end(&mut self) -> Result<(), BodyError> {
        if self.at() == self.body.len() { Ok(()) } else { self.wrong("expected the end") }
    }

    /// The next `length` bytes, which are the content of a string.
    fn take(&mut self, length: usize) -> Result<&'a [u8], BodyError> {
        let at = self.at();
        let Some(content) = self.body[at..].get(..length) else {
            return Err(malformed(at, "a string is longer than what follows"));
        };
        self.before = at + length;
        self.decoder = Decoder::from(&self.body[self.before..]);
        Ok(content)
    }

    /// The data item that `header` begins; what is inside one that is no scalar is passed over.
    fn scalar(&mut self, header: Header) -> Result<Scalar<'a>, BodyError> {
        Ok(match header {
            Header::Positive(number) => Scalar::Number(integer_value(i128::from(number))),
            Header::Negative(number) => Scalar::Number(integer_value(!i128::from(number))),
            Header::Float(number) => Scalar::Number(float(number)),
            Header::Simple(simple::FALSE) => Scalar::Bool(false),
            Header::Simple(simple::TRUE) => Scalar::Bool(true),
            Header::Simple(simple::NULL) => Scalar::Other("null"),
            Header::Simple(_) => Scalar::Other("a simple value"),
            Header::Text(Some(length)) => {
                let at = self.at();
                let content = self.take(length)?;
                let text = str::from_utf8(content);
                let text = text.map_err(|e| malformed(at + e.valid_up_to(), "expected UTF-8"))?;
                Scalar::Text(Cow::Borrowed(text))
            }
            Header::Tag(DECIMAL) => self.decimal()?,
            header => {
                let kind = match header {
                    Header::Text(_) => "a text without a length",
                    Header::Bytes(_) => "a byte string",
                    Header::Array(_) => "an array",
                    Header::Map(_) => "a map",
                    _ => "a tagged item",
                };
                self.pass(header)?;
                Scalar::Other(kind)
            }
        })
    }

    /// `[exponent, mantissa]` behind its tag.
    fn decimal(&mut self) -> Result<Scalar<'a>, BodyError> {
        let header = self.pull()?;
        if header != Header::Array(Some(2)) {
            self.pass(header)?;
            return Ok(Scalar::Other("a decimal fraction that is no pair"));
        }
        let mut parts = [0; 2];
        let mut are_integers = true;
        for part in &mut parts {
            match self.pull()? {
                Header::Positive(number) => *part = i128::from(number),
                Header::Negative(number) => *part = !i128::from(number),
                other => {
                    are_integers = false;
                    self.pass(other)?;
                }
            }
        }
        if !are_integers {
            return Ok(Scalar::Other("a decimal fraction of other than integers"));
        }
        let [exponent, mantissa] = parts;
        // The decimal text is what rounds to the nearest double, whatever the exponent.
        let number = format!("{mantissa}e{exponent}").parse::<f64>();
        Ok(Scalar::Number(number.map_err(|_| Reject::NonFinite).and_then(float)))
    }

    /// Passes over the data item that `header` begins.
    fn pass(&mut self, mut header: Header) -> Result<(), BodyError> {
        // Items to come per level; `None` until a break.
        let mut open: Vec<Option<usize>> = Vec::new();
        loop {
            match header {
                Header::Array(items) => open.push(items),
                Header::Map(pairs) => open.push(pairs.map(|pairs| pairs.saturating_mul(2))),
                Header::Tag(_) => {
                    header = self.pull()?;
                    continue;
                }
                Header::Text(Some(length)) | Header::Bytes(Some(length)) => {
                    self.take(length)?;
                }
                Header::Text(None) | Header::Bytes(None) => self.pass_chunks()?,
                Header::Break => match open.pop() {
                    Some(None) => {}
                    _ => return self.wrong("a break where nothing is open"),
                },
                _ => {}
            }
            if open.len() > DEPTH_MAX as usize {
                return self.wrong("no more than 32 levels are read");
            }
            loop {
                match open.last_mut() {
                    None => return Ok(()),
                    Some(Some(0)) => drop(open.pop()),
                    Some(Some(left)) => {
                        *left -= 1;
                        break;
                    }
                    Some(None) => break,
                }
            }
            header = self.pull()?;
        }
    }

    fn pass_chunks(&mut self) -> Result<(), BodyError> {
        loop {
            match self.pull()? {
                Header::Break => return Ok(()),
                Header::Text(Some(length)) | Header::Bytes(Some(length)) => {
                    self.take(length)?;
                }
                _ => return self.wrong("a string in pieces has strings of a length only"),
            }
        }
    }
}

fn float(number: f64) -> Result<DecodedValue<'static>, Reject> {
    Finite::new(number).map(DecodedValue::Float)
}

fn malformed(at: usize, what: &str) -> BodyError {
    BodyError {
        fault: BodyFault::Malformed,
        detail: format!("not a SenML pack in CBOR at byte {at}: {what}"),
        at: format!("byte {at}"),
    }
}
