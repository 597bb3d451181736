//! Packs in JSON: an array of objects whose members are the labels.

use super::{Base, Field, Record, Scalar, no_record, number_value, pack_error};
use crate::formats::json::malformed;
use crate::formats::scanner::{Json, Scanner, Syntax};
use crate::formats::{BodyError, Decoded, Place};
use holdfast_core::Timestamp;

/// A pack that is read record by record.
#[derive(Debug)]
pub struct JsonPack<'a> {
    body: &'a [u8],
    scanner: Scanner<'a>,
    base: Base<'a>,
    index: usize,
}

impl<'a> JsonPack<'a> {
    /// Enters the pack.
    ///
    /// # Errors
    /// [`BodyError`] when it is no array.
    pub fn new(body: &'a [u8]) -> Result<Self, BodyError> {
        let text = str::from_utf8(body).map_err(|e| malformed(body, e.valid_up_to(), "UTF-8"))?;
        let mut scanner = Scanner::new(text);
        if scanner.peek() != Some(b'[') {
            return Err(malformed(body, 0, "an array of SenML records"));
        }
        scanner.open_array().map_err(|e| malformed(body, e.at, e.expected))?;
        Ok(Self { body, scanner, base: Base::default(), index: 0 })
    }

    /// Decodes the next record into `decoded`; `false` when there is none.
    ///
    /// # Errors
    /// [`BodyError`] when the text is no JSON, a base field is wrong, or `decoded` is full.
    pub fn next(
        &mut self,
        decoded: &mut Decoded<'a>,
        received: Timestamp,
    ) -> Result<bool, BodyError> {
        let body = self.body;
        let syntax = |syntax: Syntax| malformed(body, syntax.at, syntax.expected);
        if !self.scanner.next_element(self.index == 0).map_err(syntax)? {
            self.scanner.end().map_err(syntax)?;
            return Ok(false);
        }
        decoded.check_room()?;
        let index = self.index;
        self.index += 1;
        let first = decoded.readings.len();
        let parsed = if self.scanner.peek() == Some(b'{') {
            self.record(index, syntax)?.resolve(&self.base, decoded, received)
        } else {
            Err(no_record(self.scanner.value().map_err(syntax)?.kind()))
        };
        decoded.close(first, parsed, Place::Element(index));
        Ok(true)
    }

    fn record(
        &mut self,
        index: usize,
        syntax: impl Fn(Syntax) -> BodyError,
    ) -> Result<Record<'a>, BodyError> {
        let mut record = Record::default();
        self.scanner.open_object().map_err(&syntax)?;
        let mut is_first = true;
        while let Some(label) = self.scanner.next_key(is_first).map_err(&syntax)? {
            is_first = false;
            let value = self.scanner.value().map_err(&syntax)?;
            match Field::named(&label) {
                Some(field) => record
                    .field(&mut self.base, field, scalar(value))
                    .map_err(|fault| pack_error(index, fault))?,
                None => record.unknown(&label),
            }
        }
        Ok(record)
    }
}

fn scalar(value: Json<'_>) -> Scalar<'_> {
    match value {
        Json::Number(number) => Scalar::Number(number_value(number)),
        Json::Bool(on) => Scalar::Bool(on),
        Json::Text(text) => Scalar::Text(text),
        Json::Null => Scalar::Other("null"),
        Json::Object => Scalar::Other("an object"),
        Json::Array => Scalar::Other("an array"),
    }
}
