//! The words of an expression, each with the byte at which it begins.

use super::Fault;
use holdfast_core::flow::decimal;

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Word {
    Int(i64),
    /// Of so many millionths.
    Decimal(i64),
    Text(String),
    Name(String),
    Sign(&'static str),
    End,
}

/// Signs, the longer ones first.
const SIGNS: [&str; 27] = [
    "&&", "||", "==", "!=", "<=", ">=", "<", ">", "+", "-", "*", "/", "%", "!", "?", ":", "(", ")",
    ",", ".", "[", "]", "{", "}", "=", "&", "|",
];

/// Places behind the point that a decimal has.
const PLACES: usize = 6;

/// Divides a text into words.
pub(super) fn words(text: &str) -> Result<Vec<(usize, Word)>, Fault> {
    let (mut out, mut at) = (Vec::new(), 0);
    while let Some(first) = text[at..].chars().next() {
        let rest = &text[at..];
        let len = match first {
            c if c.is_whitespace() => c.len_utf8(),
            '/' if rest.starts_with("//") => {
                return Err(Fault::new(at, "comments are not supported in an expression"));
            }
            '0'..='9' => {
                let (word, len) = number(rest, at)?;
                out.push((at, word));
                len
            }
            '"' | '\'' => {
                let (word, len) = string(rest, at, first)?;
                out.push((at, word));
                len
            }
            c if is_of_name(c) => {
                let len = rest.find(|c: char| !is_of_name(c)).unwrap_or(rest.len());
                if rest[len..].starts_with(['"', '\'']) {
                    let message = format!("`{}\"` texts are not supported", &rest[..len]);
                    return Err(Fault::advised(at, message, "write the text without a prefix"));
                }
                out.push((at, Word::Name(rest[..len].to_owned())));
                len
            }
            c => {
                let sign = SIGNS.iter().find(|sign| rest.starts_with(**sign));
                let sign = sign.ok_or_else(|| {
                    Fault::new(at, format!("`{c}` has no meaning in an expression"))
                })?;
                out.push((at, Word::Sign(sign)));
                sign.len()
            }
        };
        at += len;
    }
    out.push((text.len(), Word::End));
    Ok(out)
}

pub(super) const fn is_of_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

fn number(rest: &str, at: usize) -> Result<(Word, usize), Fault> {
    let end = rest.find(|c: char| !is_of_name(c) && c != '.').unwrap_or(rest.len());
    let text = &rest[..end];
    if super::super::duration::parse(text).is_some() {
        let message = format!("`{text}` is no number");
        return Err(Fault::advised(at, message, format!("write `duration(\"{text}\")`")));
    }
    let (whole, places) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(places) || text.ends_with('.') {
        let message = format!("`{text}` is no number");
        let advice = "numbers are such as `12` and `0.25`; there is no `0x12`, `12u` and `1e3`";
        return Err(Fault::advised(at, message, advice));
    }
    let too_large = || Fault::new(at, format!("`{text}` is too large for a number"));
    let whole: i64 = whole.parse().map_err(|_| too_large())?;
    if !text.contains('.') {
        return Ok((Word::Int(whole), end));
    }
    if places.len() > PLACES {
        let message = format!("`{text}` has {} places: a decimal has {PLACES}", places.len());
        return Err(Fault::new(at, message));
    }
    let millionths: i64 = format!("{places:0<PLACES$}").parse().map_err(|_| too_large())?;
    let value = decimal::of_int(whole).and_then(|whole| whole.checked_add(millionths));
    Ok((Word::Decimal(value.ok_or_else(too_large)?), end))
}

fn string(rest: &str, at: usize, quote: char) -> Result<(Word, usize), Fault> {
    if rest.starts_with("\"\"\"") || rest.starts_with("'''") {
        return Err(Fault::new(at, "texts in three quotes are not supported"));
    }
    let mut text = String::new();
    let mut chars = rest.char_indices().skip(1);
    while let Some((offset, c)) = chars.next() {
        match c {
            c if c == quote => return Ok((Word::Text(text), offset + 1)),
            '\\' => {
                let escaped = match chars.next().map(|(_, c)| c) {
                    Some('n') => '\n',
                    Some('r') => '\r',
                    Some('t') => '\t',
                    Some(c @ ('\\' | '"' | '\'')) => c,
                    other => {
                        let other = other.map(String::from).unwrap_or_default();
                        let message = format!("`\\{other}` is not supported in a text");
                        let advice = "there are \\n, \\r, \\t, \\\\, \\\" and \\'";
                        return Err(Fault::advised(at + offset, message, advice));
                    }
                };
                text.push(escaped);
            }
            c => text.push(c),
        }
    }
    Err(Fault::new(at, format!("the text that begins here has no closing {quote}")))
}
