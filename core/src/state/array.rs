//! An array as one value: checked JSON text that nothing looks into.
//!
//! Two people who edit one array at once have no element in common to merge by, so the array as a
//! whole is what one of them wrote. (What should merge element by element is declared a set.) The
//! text is JSON without blanks between its parts, so every reader can show it as it is; whoever
//! makes it sorts the keys of objects within, so that the same array is the same bytes.

use crate::Reject;
use crate::codec::Reader;
use crate::limits::{ARRAY_MAX_DEPTH, CELL_VALUE_MAX_BYTES};

/// A JSON array in at most 4096 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Array<'a>(&'a str);

impl<'a> Array<'a> {
    /// Checks `json`.
    ///
    /// # Errors
    /// [`Reject::Long`] above 4096 bytes, [`Reject::Array`] when it is not an array in JSON, has
    /// blanks between its parts or is nested too deeply.
    pub fn new(json: &'a str) -> Result<Self, Reject> {
        if json.len() > CELL_VALUE_MAX_BYTES {
            return Err(Reject::Long);
        }
        let mut reader = Reader::new(json.as_bytes());
        let whole = json.starts_with('[') && items(&mut reader).is_ok();
        if whole && reader.rest().is_empty() { Ok(Self(json)) } else { Err(Reject::Array) }
    }

    /// The JSON text.
    #[must_use]
    pub const fn as_str(self) -> &'a str {
        self.0
    }
}

const ARRAY: bool = true;
const OBJECT: bool = false;

/// Reads one value with all that is in it; the open brackets are a stack of bits.
fn items(reader: &mut Reader<'_>) -> Result<(), Reject> {
    let mut open = heapless::Vec::<bool, ARRAY_MAX_DEPTH>::new();
    loop {
        // Here a value begins; behind it come the ends of what it was the last part of.
        let opened = match peek(reader)? {
            b'[' => Some(ARRAY),
            b'{' => Some(OBJECT),
            b'"' => {
                string(reader)?;
                None
            }
            b't' => word(reader, b"true")?,
            b'f' => word(reader, b"false")?,
            b'n' => word(reader, b"null")?,
            _ => number(reader)?,
        };
        if let Some(kind) = opened {
            reader.u8()?;
            if !ends(reader, kind)? {
                open.push(kind).map_err(|_| Reject::Array)?;
                if kind == OBJECT {
                    key(reader)?;
                }
                continue;
            }
        }
        loop {
            let Some(&kind) = open.last() else { return Ok(()) };
            if ends(reader, kind)? {
                open.pop();
                continue;
            }
            expect(reader, b',')?;
            if kind == OBJECT {
                key(reader)?;
            }
            break;
        }
    }
}

/// Takes the closing bracket of `kind` if it comes next.
fn ends(reader: &mut Reader<'_>, kind: bool) -> Result<bool, Reject> {
    let close = if kind == ARRAY { b']' } else { b'}' };
    let closes = peek(reader)? == close;
    if closes {
        reader.u8()?;
    }
    Ok(closes)
}

fn peek(reader: &Reader<'_>) -> Result<u8, Reject> {
    reader.rest().first().copied().ok_or(Reject::Truncated)
}

fn expect(reader: &mut Reader<'_>, byte: u8) -> Result<(), Reject> {
    if reader.u8()? == byte { Ok(()) } else { Err(Reject::Malformed) }
}

fn word(reader: &mut Reader<'_>, word: &[u8]) -> Result<Option<bool>, Reject> {
    if reader.take(word.len())? == word { Ok(None) } else { Err(Reject::Malformed) }
}

fn key(reader: &mut Reader<'_>) -> Result<(), Reject> {
    string(reader)?;
    expect(reader, b':')
}

fn string(reader: &mut Reader<'_>) -> Result<(), Reject> {
    expect(reader, b'"')?;
    loop {
        match reader.u8()? {
            b'"' => return Ok(()),
            b'\\' => escape(reader)?,
            0..=0x1f => return Err(Reject::Malformed),
            _ => {}
        }
    }
}

fn escape(reader: &mut Reader<'_>) -> Result<(), Reject> {
    match reader.u8()? {
        b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Ok(()),
        b'u' => match unit(reader)? {
            // Half of a pair is no character; readers would disagree about what to make of it.
            0xd800..=0xdbff => {
                expect(reader, b'\\')?;
                expect(reader, b'u')?;
                let low = (0xdc00..=0xdfff).contains(&unit(reader)?);
                if low { Ok(()) } else { Err(Reject::Malformed) }
            }
            0xdc00..=0xdfff => Err(Reject::Malformed),
            _ => Ok(()),
        },
        _ => Err(Reject::Malformed),
    }
}

fn unit(reader: &mut Reader<'_>) -> Result<u32, Reject> {
    reader.take(4)?.iter().try_fold(0, |unit, &byte| {
        let digit = char::from(byte).to_digit(16).ok_or(Reject::Malformed)?;
        Ok(unit << 4 | digit)
    })
}

/// Places before the point that a number may have, its exponent counted in: below that every
/// number is finite as a double, so no reader has to refuse it.
const MAX_PLACES: u32 = 308;

fn number(reader: &mut Reader<'_>) -> Result<Option<bool>, Reject> {
    skip(reader, b"-");
    let whole = if skip(reader, b"0") { 0 } else { digits(reader)?.len() as u32 };
    if skip(reader, b".") {
        digits(reader)?;
    }
    let mut exponent = 0u32;
    if skip(reader, b"eE") {
        let smaller = skip(reader, b"-");
        if !smaller {
            skip(reader, b"+");
        }
        for digit in digits(reader)?.iter().filter(|_| !smaller) {
            exponent = exponent.saturating_mul(10).saturating_add(u32::from(digit - b'0'));
        }
    }
    let finite = whole.saturating_add(exponent) <= MAX_PLACES;
    if finite { Ok(None) } else { Err(Reject::Malformed) }
}

fn digits<'a>(reader: &mut Reader<'a>) -> Result<&'a [u8], Reject> {
    let count = reader.rest().iter().take_while(|byte| byte.is_ascii_digit()).count();
    if count > 0 { reader.take(count) } else { Err(Reject::Malformed) }
}

fn skip(reader: &mut Reader<'_>, any: &[u8]) -> bool {
    let found = reader.rest().first().is_some_and(|byte| any.contains(byte));
    found && reader.u8().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::format;
    use std::string::{String, ToString};

    #[test]
    fn arrays_are_told_from_everything_else() {
        for good in [
            "[]",
            "[[]]",
            "[{}]",
            "[1,-0.5e+3,0,1E-9]",
            "[1e307,0.5e308,1e-999999999999]",
            r#"["a\"b","\u00e9","\ud83d\ude00","é"]"#,
            r#"[{"a":[true,false,null],"b":{}},[[],[{"":0}]]]"#,
        ] {
            assert!(Array::new(good).is_ok(), "{good}");
        }
        for wrong in [
            "",
            "[",
            "]",
            "{}",
            "1",
            "[1,]",
            "[,1]",
            "[1 ,2]",
            " []",
            "[] ",
            "[][]",
            "[01]",
            "[1.]",
            "[.5]",
            "[-]",
            "[1e]",
            "[+1]",
            "[1e999]",
            "[1e4294967296]",
            "[10e307]",
            "[nul]",
            "[NaN]",
            "[\"a]",
            "[\"\n\"]",
            "[}",
            r#"["\x"]"#,
            r#"["\ud83d"]"#,
            r#"["\ude00"]"#,
            r#"["\u12g4"]"#,
            r#"[{"a"}]"#,
            "[{1:2}]",
            r#"[{"a":}]"#,
            r#"[{"a":1,}]"#,
            "[{]",
            "[[}]",
        ] {
            assert_eq!(Array::new(wrong), Err(Reject::Array), "{wrong}");
        }
    }

    #[test]
    fn depth_and_length_are_bounded() {
        let nested = |depth: usize| "[".repeat(depth) + "1" + &"]".repeat(depth);
        assert!(Array::new(&nested(ARRAY_MAX_DEPTH)).is_ok());
        assert_eq!(Array::new(&nested(ARRAY_MAX_DEPTH + 1)), Err(Reject::Array));
        let long = |len: usize| format!("[\"{}\"]", "x".repeat(len - 4));
        assert!(Array::new(&long(CELL_VALUE_MAX_BYTES)).is_ok());
        assert_eq!(Array::new(&long(CELL_VALUE_MAX_BYTES + 1)), Err(Reject::Long));
    }

    /// Text of JSON made the slow way.
    fn json() -> impl Strategy<Value = String> {
        let leaf = prop_oneof![
            Just("null".to_string()),
            any::<bool>().prop_map(|b| b.to_string()),
            (-1e9f64..1e9).prop_map(|n| n.to_string()),
            "[a-z é]{0,5}".prop_map(|s| format!("\"{s}\"")),
        ];
        leaf.prop_recursive(4, 30, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4)
                    .prop_map(|items| format!("[{}]", items.join(","))),
                prop::collection::vec(("[a-z]{0,3}", inner), 0..4).prop_map(|items| {
                    let pairs = items.iter().map(|(key, value)| format!("\"{key}\":{value}"));
                    format!("{{{}}}", pairs.collect::<std::vec::Vec<_>>().join(","))
                }),
            ]
        })
    }

    proptest! {
        #[test]
        fn every_array_is_taken(item in json()) {
            let text = format!("[{item}]");
            prop_assert!(Array::new(&text).is_ok(), "{}", text);
        }

        #[test]
        fn an_array_that_lost_a_byte_is_never_read_past_its_end(item in json(), at in 0usize..99) {
            let text = format!("[{item}]");
            if let Some((head, _)) = text.split_at_checked(at % text.len()) {
                prop_assert_eq!(Array::new(head), Err(Reject::Array));
            }
        }

        #[test]
        fn any_text_is_judged_without_panic(text in r#"[\[\]{}",:0-9eE.+\\ud-]{0,40}"#) {
            let _ = Array::new(&text);
        }
    }
}
