//! Who a device is, as somebody tells it over a serial line: `device=ID token=TOKEN
//! gateway=ADDRESS:PORT`, with `fleet=ID` where it is to take workflows and firmware.
//!
//! [`Line`] puts bytes together, [`parse`] looks a line over as a whole, so a device takes all of
//! it or nothing. What is wrong is said by naming the word, for somebody at a terminal; a token is
//! never repeated.

use crate::memory::{GATEWAY_MAX_BYTES, Identity, TOKEN_MAX_BYTES};
use core::fmt;
use holdfast_core::id::FleetId;
use holdfast_core::limits::DEVICE_MAX_BYTES;

/// The keys, and what belongs behind them.
pub const USAGE: &str = "device=ID token=TOKEN gateway=ADDRESS:PORT [fleet=ID]";

const KEYS: [&str; 4] = ["device", "token", "gateway", "fleet"];
const DEVICE: usize = 0;
const TOKEN: usize = 1;
const GATEWAY: usize = 2;
const FLEET: usize = 3;

/// Digits of a fleet's id.
const FLEET_DIGITS: usize = 64;
/// Bytes of a line without its end: the longest values, their keys, and spaces between them.
pub const LINE_MAX_BYTES: usize =
    (DEVICE_MAX_BYTES + TOKEN_MAX_BYTES + GATEWAY_MAX_BYTES + FLEET_DIGITS + 64)
        .next_multiple_of(64);

/// Why a line says nobody. Words are counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrong {
    /// It is longer than [`LINE_MAX_BYTES`].
    TooLong,
    /// It is not UTF-8.
    NotText,
    /// A word is not KEY=VALUE.
    NotAPair(usize),
    /// A word has a key that there is not.
    Unknown(usize),
    /// A key is there twice.
    Twice(&'static str),
    /// A key is not there.
    Missing(&'static str),
    /// It is no id of a device.
    Device,
    /// It is empty, or longer than [`TOKEN_MAX_BYTES`].
    Token,
    /// It is no address with a port, or longer than [`GATEWAY_MAX_BYTES`].
    Gateway,
    /// It is no id of a fleet.
    Fleet,
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong => write!(f, "the line is longer than {LINE_MAX_BYTES} bytes"),
            Self::NotText => f.write_str("the line is not UTF-8"),
            Self::NotAPair(word) => write!(f, "word {word} is not KEY=VALUE"),
            Self::Unknown(word) => write!(f, "word {word} has a key that there is not"),
            Self::Twice(key) => write!(f, "{key}= is there twice"),
            Self::Missing(key) => write!(f, "{key}= is missing"),
            Self::Device => {
                write!(f, "device: expected 1 to {DEVICE_MAX_BYTES} of A-Z a-z 0-9 . _ : -")
            }
            Self::Token => write!(f, "token: expected 1 to {TOKEN_MAX_BYTES} bytes"),
            Self::Gateway => {
                write!(f, "gateway: expected ADDRESS:PORT of up to {GATEWAY_MAX_BYTES} bytes")
            }
            Self::Fleet => write!(f, "fleet: expected its id, {FLEET_DIGITS} hexadecimal digits"),
        }
    }
}

/// Who a line says that the device is.
///
/// # Errors
/// The first thing that is wrong with it.
pub fn parse(line: &[u8]) -> Result<Identity, Wrong> {
    if line.len() > LINE_MAX_BYTES {
        return Err(Wrong::TooLong);
    }
    let line = core::str::from_utf8(line).map_err(|_| Wrong::NotText)?;
    let mut values = [None; KEYS.len()];
    for (number, word) in (1..).zip(line.split_ascii_whitespace()) {
        let (key, value) = word.split_once('=').ok_or(Wrong::NotAPair(number))?;
        let place = KEYS.iter().position(|known| *known == key).ok_or(Wrong::Unknown(number))?;
        if values[place].replace(value).is_some() {
            return Err(Wrong::Twice(KEYS[place]));
        }
    }
    let value = |place: usize| values[place].ok_or(Wrong::Missing(KEYS[place]));
    let (device, token, gateway) = (value(DEVICE)?, value(TOKEN)?, value(GATEWAY)?);
    if token.is_empty() || token.len() > TOKEN_MAX_BYTES {
        return Err(Wrong::Token);
    }
    let (host, port) = gateway.rsplit_once(':').ok_or(Wrong::Gateway)?;
    let is_port = port.parse::<u16>().is_ok_and(|port| port > 0);
    if host.is_empty() || !is_port || gateway.len() > GATEWAY_MAX_BYTES {
        return Err(Wrong::Gateway);
    }
    // The others were looked at.
    let mut identity = Identity::new(device, token, gateway).map_err(|_| Wrong::Device)?;
    if let Some(id) = values[FLEET] {
        identity.fleet = Some(FleetId::from_hex(id).ok_or(Wrong::Fleet)?);
    }
    Ok(identity)
}

/// A line in the making, as bytes come in. It ends with a line feed, a carriage return or both.
#[derive(Debug)]
pub struct Line {
    bytes: heapless::Vec<u8, LINE_MAX_BYTES>,
    is_too_long: bool,
}

impl Line {
    /// An empty one.
    #[must_use]
    pub const fn new() -> Self {
        Self { bytes: heapless::Vec::new(), is_too_long: false }
    }

    /// Takes a byte. With the last one of a line, who that says that the device is; lines with
    /// nothing in them are passed over.
    pub fn push(&mut self, byte: u8) -> Option<Result<Identity, Wrong>> {
        if !matches!(byte, b'\r' | b'\n') {
            self.is_too_long |= self.bytes.push(byte).is_err();
            return None;
        }
        let is_blank = self.bytes.iter().all(u8::is_ascii_whitespace) && !self.is_too_long;
        let said = match core::mem::take(&mut self.is_too_long) {
            true => Err(Wrong::TooLong),
            false => parse(&self.bytes),
        };
        self.bytes.clear();
        (!is_blank).then_some(said)
    }
}

impl Default for Line {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::format;
    use std::string::ToString;
    use std::vec::Vec;

    const ALL: &str = "device=ps-1 token=hft_abc gateway=10.0.0.2:1883";

    fn said(bytes: &[u8]) -> Vec<Result<Identity, Wrong>> {
        let mut line = Line::new();
        bytes.iter().filter_map(|byte| line.push(*byte)).collect()
    }

    fn wrong(line: &str) -> Wrong {
        parse(line.as_bytes()).unwrap_err()
    }

    #[test]
    fn a_line_says_who_it_is_in_any_order() {
        let identity = Identity::new("ps-1", "hft_abc", "10.0.0.2:1883").unwrap();
        assert_eq!(parse(ALL.as_bytes()), Ok(identity.clone()));
        let other = "  gateway=10.0.0.2:1883\ttoken=hft_abc  device=ps-1 ";
        assert_eq!(parse(other.as_bytes()), Ok(identity.clone()));
        let fleet = Some(FleetId([0xab; 32]));
        let with_fleet = format!("{ALL} fleet={}", "ab".repeat(32));
        assert_eq!(parse(with_fleet.as_bytes()), Ok(Identity { fleet, ..identity }));
        // Base64 ends with what separates a key from its value.
        let padded = parse(b"device=a token=YWJj== gateway=edge.site:1").unwrap();
        assert_eq!(padded.token, "YWJj==");
    }

    #[test]
    fn each_key_is_there_once_and_no_other() {
        assert_eq!(wrong("token=t gateway=g:1"), Wrong::Missing("device"));
        assert_eq!(wrong("device=d gateway=g:1"), Wrong::Missing("token"));
        assert_eq!(wrong("device=d token=t"), Wrong::Missing("gateway"));
        assert_eq!(wrong(&format!("{ALL} token=t")), Wrong::Twice("token"));
        assert_eq!(wrong(&format!("{ALL} tokens=t")), Wrong::Unknown(4));
        assert_eq!(wrong("Device=d"), Wrong::Unknown(1));
        assert_eq!(wrong("help"), Wrong::NotAPair(1));
        assert_eq!(wrong("device=d = token=t"), Wrong::Unknown(2));
    }

    #[test]
    fn what_cannot_be_is_named() {
        let with = |key: &str, value: &str| {
            let words = ALL.split(' ').filter(|word| !word.starts_with(key));
            let words: Vec<_> =
                words.map(str::to_string).chain([format!("{key}={value}")]).collect();
            parse(words.join(" ").as_bytes())
        };
        for id in ["", "a/b", "a+", "a b", &"d".repeat(DEVICE_MAX_BYTES + 1)] {
            assert!(with("device", id).is_err(), "{id}");
        }
        assert_eq!(with("device", &"d".repeat(65)), Err(Wrong::Device));
        assert_eq!(with("token", ""), Err(Wrong::Token));
        assert_eq!(with("token", &"t".repeat(TOKEN_MAX_BYTES + 1)), Err(Wrong::Token));
        assert!(with("token", &"t".repeat(TOKEN_MAX_BYTES)).is_ok());
        let long = format!("{}:1883", "g".repeat(GATEWAY_MAX_BYTES - 4));
        for gateway in ["", "10.0.0.2", ":1883", "host:", "host:0", "host:65536", "host:x", &long] {
            assert_eq!(with("gateway", gateway), Err(Wrong::Gateway), "{gateway}");
        }
        for fleet in ["", "ab", &"g".repeat(64), &"ab".repeat(33)] {
            assert_eq!(with("fleet", fleet), Err(Wrong::Fleet), "{fleet}");
        }
    }

    #[test]
    fn the_longest_that_can_be_fits_a_line() {
        let (device, token) = ("d".repeat(DEVICE_MAX_BYTES), "t".repeat(TOKEN_MAX_BYTES));
        let gateway = format!("{}:65535", "g".repeat(GATEWAY_MAX_BYTES - 6));
        let fleet = "f0".repeat(32);
        let line = format!("device={device} token={token} gateway={gateway} fleet={fleet}");
        assert!(line.len() <= LINE_MAX_BYTES, "{}", line.len());
        let [Ok(identity)] = &said(format!("{line}\n").as_bytes())[..] else { panic!("one") };
        assert_eq!((&identity.device[..], &identity.token[..]), (&device[..], &token[..]));
    }

    #[test]
    fn lines_end_as_terminals_end_them() {
        for end in ["\n", "\r", "\r\n", "\n\n\r\r\n"] {
            let bytes = format!("{end}{ALL}{end} \t{end}{ALL}{end}");
            let all = said(bytes.as_bytes());
            assert!(all.len() == 2 && all.iter().all(Result::is_ok), "{end:?}: {all:?}");
        }
        assert_eq!(said(ALL.as_bytes()), [], "it has not ended");
    }

    #[test]
    fn a_line_that_is_too_long_is_refused_as_a_whole_and_the_next_is_not() {
        let mut bytes = "x".repeat(10 * LINE_MAX_BYTES).into_bytes();
        bytes.extend_from_slice(format!(" {ALL}\n{ALL}\n").as_bytes());
        let all = said(&bytes);
        assert_eq!(all[0], Err(Wrong::TooLong));
        assert!(all.len() == 2 && all[1].is_ok(), "{all:?}");
        let spaces = " ".repeat(LINE_MAX_BYTES + 1);
        assert_eq!(said(format!("{spaces}\n").as_bytes()), [Err(Wrong::TooLong)]);
        assert_eq!(wrong(&format!("{spaces}{ALL}")), Wrong::TooLong);
    }

    #[test]
    fn what_is_no_text_is_refused() {
        assert_eq!(said(b"device=\xff\xfe\n"), [Err(Wrong::NotText)]);
        assert_eq!(said(b"\0\x1b[A\n"), [Err(Wrong::NotAPair(1))]);
    }

    #[test]
    fn what_is_wrong_is_said_without_what_was_given() {
        let secret = "hunter2".repeat(20);
        let error = wrong(&format!("device=d token={secret} gateway=g:1"));
        assert_eq!(error.to_string(), "token: expected 1 to 96 bytes");
        assert_eq!(wrong("hunter2").to_string(), "word 1 is not KEY=VALUE");
        assert_eq!(wrong("hunter2=x").to_string(), "word 1 has a key that there is not");
        assert_eq!(wrong("device=d").to_string(), "token= is missing");
        assert_eq!(wrong(&format!("{ALL} device=e")).to_string(), "device= is there twice");
        assert!(KEYS.iter().all(|key| USAGE.contains(&format!("{key}="))));
    }
}
