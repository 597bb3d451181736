//! The tokens of JSON (RFC 8259), one at a time, borrowed from the text.
//!
//! A general parser calls 1e400 a syntax error and spoils the neighbours of the number, loses the
//! digits of large integers, and builds a tree. This one leaves numbers as text and judges nothing:
//! that is left to whoever knows what the number means. It never recurses.

use std::borrow::Cow;

/// Levels of a value that is skipped; nothing a device sends has more.
pub const DEPTH_MAX: u32 = 32;

/// Where the text stops being JSON, and what should have come there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Syntax {
    /// The byte.
    pub at: usize,
    /// What was expected.
    pub expected: &'static str,
}

/// A number as written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Number<'a> {
    /// Its text.
    pub text: &'a str,
    /// Whether it has neither fraction nor exponent.
    pub integral: bool,
}

/// A value; what is inside an object or array has been skipped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Json<'a> {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number.
    Number(Number<'a>),
    /// A string, escapes resolved.
    Text(Cow<'a, str>),
    /// `{...}`.
    Object,
    /// `[...]`.
    Array,
}

impl Json<'_> {
    /// What it is, for a sentence.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "a boolean",
            Self::Number(_) => "a number",
            Self::Text(_) => "a text",
            Self::Object => "an object",
            Self::Array => "an array",
        }
    }
}

/// A position in a text.
#[derive(Debug)]
pub struct Scanner<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Scanner<'a> {
    /// Starts at the beginning of `text`.
    pub const fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    fn byte(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn wrong<T>(&self, expected: &'static str) -> Result<T, Syntax> {
        Err(Syntax { at: self.at, expected })
    }

    /// The next byte that is not white space.
    pub fn peek(&mut self) -> Option<u8> {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.byte() {
            self.at += 1;
        }
        self.byte()
    }

    fn take(&mut self, byte: u8, expected: &'static str) -> Result<(), Syntax> {
        if self.peek() == Some(byte) {
            self.at += 1;
            return Ok(());
        }
        self.wrong(expected)
    }

    /// Demands the end of the text.
    pub fn end(&mut self) -> Result<(), Syntax> {
        if self.peek().is_none() { Ok(()) } else { self.wrong("the end of the text") }
    }

    /// Enters an object.
    pub fn open_object(&mut self) -> Result<(), Syntax> {
        self.take(b'{', "an object")
    }

    /// Enters an array.
    pub fn open_array(&mut self) -> Result<(), Syntax> {
        self.take(b'[', "an array")
    }

    /// The next name of the object entered, up to its value; `None` when it is over.
    pub fn next_key(&mut self, is_first: bool) -> Result<Option<Cow<'a, str>>, Syntax> {
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Ok(None);
        }
        if !is_first {
            self.take(b',', "`,` or `}`")?;
        }
        if self.peek() != Some(b'"') {
            return self.wrong("a member name in quotes");
        }
        let key = self.string()?;
        self.take(b':', "`:`")?;
        Ok(Some(key))
    }

    /// Whether the array entered has one more element.
    pub fn next_element(&mut self, is_first: bool) -> Result<bool, Syntax> {
        if self.peek() == Some(b']') {
            self.at += 1;
            return Ok(false);
        }
        if !is_first {
            self.take(b',', "`,` or `]`")?;
        }
        Ok(true)
    }

    /// The next value.
    pub fn value(&mut self) -> Result<Json<'a>, Syntax> {
        match self.peek() {
            Some(b'"') => self.string().map(Json::Text),
            Some(b'-' | b'0'..=b'9') => self.number().map(Json::Number),
            Some(b't') => self.word("true", Json::Bool(true)),
            Some(b'f') => self.word("false", Json::Bool(false)),
            Some(b'n') => self.word("null", Json::Null),
            Some(b'{') => self.skip().map(|()| Json::Object),
            Some(b'[') => self.skip().map(|()| Json::Array),
            _ => self.wrong("a value"),
        }
    }

    fn word(&mut self, word: &'static str, json: Json<'a>) -> Result<Json<'a>, Syntax> {
        if self.text[self.at..].starts_with(word) {
            self.at += word.len();
            return Ok(json);
        }
        self.wrong("a value")
    }

    fn digits(&mut self) -> Result<(), Syntax> {
        let start = self.at;
        while let Some(b'0'..=b'9') = self.byte() {
            self.at += 1;
        }
        if self.at == start { self.wrong("a digit") } else { Ok(()) }
    }

    fn number(&mut self) -> Result<Number<'a>, Syntax> {
        let start = self.at;
        if self.byte() == Some(b'-') {
            self.at += 1;
        }
        if self.byte() == Some(b'0') {
            self.at += 1;
        } else {
            self.digits()?;
        }
        let integer_end = self.at;
        if self.byte() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.byte() {
            self.at += 1;
            if let Some(b'+' | b'-') = self.byte() {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(Number { text: &self.text[start..self.at], integral: self.at == integer_end })
    }

    fn string(&mut self) -> Result<Cow<'a, str>, Syntax> {
        self.at += 1;
        let start = self.at;
        loop {
            match self.byte() {
                Some(b'"') => {
                    let text = &self.text[start..self.at];
                    self.at += 1;
                    return Ok(Cow::Borrowed(text));
                }
                Some(b'\\') => return self.escaped(start).map(Cow::Owned),
                Some(0..0x20) => return self.wrong("no control character in a text"),
                Some(_) => self.at += 1,
                None => return self.wrong("`\"` at the end of a text"),
            }
        }
    }

    /// The rest of a string from its first escape on.
    fn escaped(&mut self, start: usize) -> Result<String, Syntax> {
        let mut out = self.text[start..self.at].to_owned();
        loop {
            let plain = self.at;
            while !matches!(self.byte(), None | Some(b'"' | b'\\' | 0..0x20)) {
                self.at += 1;
            }
            out.push_str(&self.text[plain..self.at]);
            match self.byte() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(out);
                }
                Some(b'\\') => out.push(self.escape()?),
                Some(_) => return self.wrong("no control character in a text"),
                None => return self.wrong("`\"` at the end of a text"),
            }
        }
    }

    fn escape(&mut self) -> Result<char, Syntax> {
        self.at += 1;
        let simple = match self.byte() {
            Some(b'n') => '\n',
            Some(b't') => '\t',
            Some(b'r') => '\r',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(byte @ (b'"' | b'\\' | b'/')) => char::from(byte),
            Some(b'u') => return self.unicode(),
            _ => return self.wrong("one of \" \\ / b f n r t u after `\\`"),
        };
        self.at += 1;
        Ok(simple)
    }

    /// `uXXXX`, and for a high surrogate the low one that must follow.
    fn unicode(&mut self) -> Result<char, Syntax> {
        let start = self.at;
        let high = self.hex()?;
        let code = if (0xd800..0xdc00).contains(&high) && self.byte() == Some(b'\\') {
            self.at += 1;
            let low = self.hex()?;
            match low.checked_sub(0xdc00) {
                Some(offset) if offset < 0x400 => 0x1_0000 + ((high - 0xd800) << 10) + offset,
                _ => high,
            }
        } else {
            high
        };
        let expected = "a surrogate pair";
        char::from_u32(code).ok_or(Syntax { at: start, expected })
    }

    fn hex(&mut self) -> Result<u32, Syntax> {
        let digits = self.text.as_bytes().get(self.at + 1..self.at + 5);
        let is_hex = |digits: &&[u8]| digits.iter().all(u8::is_ascii_hexdigit);
        if self.byte() != Some(b'u') || !digits.is_some_and(|d| is_hex(&d)) {
            return self.wrong("`u` and four hexadecimal digits");
        }
        let digits = &self.text[self.at + 1..self.at + 5];
        self.at += 5;
        Ok(u32::from_str_radix(digits, 16).expect("four hexadecimal digits"))
    }

    /// Passes over an object or array. One bit per level says which of the two it is.
    pub fn skip(&mut self) -> Result<(), Syntax> {
        let (mut depth, mut objects) = (0, 0u64);
        let mut is_first = true;
        loop {
            if depth > 0 {
                let more = if objects & 1 == 1 {
                    self.next_key(is_first)?.is_some()
                } else {
                    self.next_element(is_first)?
                };
                if !more {
                    (depth, objects, is_first) = (depth - 1, objects >> 1, false);
                    if depth == 0 {
                        return Ok(());
                    }
                    continue;
                }
            }
            match self.peek() {
                Some(open @ (b'{' | b'[')) => {
                    if depth == DEPTH_MAX {
                        return self.wrong("no more than 32 levels");
                    }
                    self.at += 1;
                    (depth, is_first) = (depth + 1, true);
                    objects = objects << 1 | u64::from(open == b'{');
                }
                _ => {
                    self.value()?;
                    is_first = false;
                    if depth == 0 {
                        return Ok(());
                    }
                }
            }
        }
    }
}

/// The line and column of a byte of `text`, both from 1, columns in characters.
pub fn position(text: &[u8], at: usize) -> (usize, usize) {
    let before = &text[..at.min(text.len())];
    let line_start = before.iter().rposition(|&b| b == b'\n').map_or(0, |newline| newline + 1);
    let line = before.iter().filter(|&&b| b == b'\n').count() + 1;
    (line, String::from_utf8_lossy(&before[line_start..]).chars().count() + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(text: &str) -> Result<Json<'_>, Syntax> {
        let mut scanner = Scanner::new(text);
        let value = scanner.value()?;
        scanner.end().map(|()| value)
    }

    #[test]
    fn strings_without_escapes_are_borrowed() {
        assert!(matches!(read("\"aé\""), Ok(Json::Text(Cow::Borrowed("aé")))));
        let escaped = read(r#""a\n\u00e9\ud83d\ude00\/x""#);
        assert_eq!(escaped, Ok(Json::Text(Cow::Owned("a\né😀/x".into()))));
    }

    #[test]
    fn what_is_no_json_is_refused_where_it_stops() {
        for (text, at) in [
            ("NaN", 0),
            ("01", 1),
            ("1.", 2),
            ("-", 1),
            ("1e", 2),
            ("\"a", 2),
            ("\"\\x\"", 2),
            ("\"\\ud800\"", 2),
            ("\"\\ud800\\u0041\"", 2),
            ("\"\\u00é0\"", 2),
            ("\"\n\"", 1),
            ("[1 2]", 3),
            ("{\"a\" 1}", 5),
            ("{a:1}", 1),
            ("[1,]", 3),
            ("tru", 0),
            ("", 0),
        ] {
            assert_eq!(read(text).unwrap_err().at, at, "{text}");
        }
    }

    #[test]
    fn deep_nesting_ends_at_the_limit() {
        let deep = "[".repeat(1 << 20);
        assert_eq!(read(&deep).unwrap_err().at, DEPTH_MAX as usize);
        let most = "[".repeat(32) + &"]".repeat(32);
        assert_eq!(read(&most), Ok(Json::Array));
    }

    #[test]
    fn positions_count_characters() {
        assert_eq!(position("a\né!".as_bytes(), 4), (2, 2));
        assert_eq!(position(b"", 0), (1, 1));
    }

    proptest! {
        #[test]
        fn the_scanner_and_serde_agree_on_what_is_json(
            text in "[\\[\\]{}\",:0-9eE.\\-+ntfrualse \\\\]{0,24}"
        ) {
            let ours = read(&text).is_ok();
            let theirs = serde_json::from_str::<&serde_json::value::RawValue>(&text).is_ok();
            prop_assert_eq!(ours, theirs);
        }

        #[test]
        fn any_string_reads_back(text in any::<String>()) {
            let written = serde_json::to_string(&text).unwrap();
            prop_assert_eq!(read(&written), Ok(Json::Text(Cow::Owned(text))));
        }
    }
}
