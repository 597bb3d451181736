//! Values of a configuration that people write with a unit or as an address.

use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

/// A number of bytes: `10GiB`, `64 MiB`, `500MB`, or a plain number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bytes(pub u64);

/// A span of time: `250ms`, `1s`, `5m`, `24h`, `7d`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Duration(pub std::time::Duration);

/// An address to listen on: `127.0.0.1:8484`, `[::]:0`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listen(pub SocketAddr);

/// An address to listen on, or `off`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListenOrOff(pub Option<SocketAddr>);

/// Units with their factors, the largest first.
type Units = &'static [(&'static str, u64)];

const BYTE_UNITS: Units = &[
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("kB", 1_000),
    ("B", 1),
];
const TIME_UNITS: Units =
    &[("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// Reads digits and a unit.
fn parse(text: &str, units: Units) -> Option<u64> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = (text[..digits].parse::<u64>().ok()?, text[digits..].trim());
    let factor = units.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit))?.1;
    number.checked_mul(factor)
}

/// Writes with the largest unit that loses nothing.
fn write(f: &mut fmt::Formatter<'_>, number: u64, units: Units) -> fmt::Result {
    let whole = |unit: &&(&str, u64)| number != 0 && number.is_multiple_of(unit.1);
    let unit = units.iter().find(whole).or(units.last());
    let (name, factor) = unit.expect("a list of units is not empty");
    write!(f, "{}{name}", number / factor)
}

impl FromStr for Bytes {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let plain = text.trim().parse().ok();
        plain.or_else(|| parse(text, BYTE_UNITS)).map(Self).ok_or_else(|| {
            format!("expected a number of bytes such as `64MiB` or `10GB`, got `{text}`")
        })
    }
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write(f, self.0, BYTE_UNITS)
    }
}

impl FromStr for Duration {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let ms = parse(text, TIME_UNITS);
        ms.map(|ms| Self(std::time::Duration::from_millis(ms)))
            .ok_or_else(|| format!("expected a time such as `250ms`, `5m` or `24h`, got `{text}`"))
    }
}

impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write(f, u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX), TIME_UNITS)
    }
}

impl FromStr for Listen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.parse().map(Self).map_err(|_| {
            format!("expected ADDRESS:PORT such as `127.0.0.1:8484` or `[::]:0`, got `{text}`")
        })
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for ListenOrOff {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "off" => Ok(Self(None)),
            _ => text.parse().map(|address| Self(Some(address))).map_err(|_| {
                format!("expected ADDRESS:PORT such as `127.0.0.1:1883`, or `off`, got `{text}`")
            }),
        }
    }
}

impl fmt::Display for ListenOrOff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(address) => address.fmt(f),
            None => f.write_str("off"),
        }
    }
}

struct TextVisitor<T>(std::marker::PhantomData<T>);

impl<T: FromStr<Err = String>> Visitor<'_> for TextVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text in quotes")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        text.parse().map_err(E::custom)
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<T, E> {
        number.to_string().parse().map_err(E::custom)
    }
}

macro_rules! as_text {
    ($($name:ident),*) => {$(
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_any(TextVisitor(std::marker::PhantomData))
            }
        }
    )*};
}

as_text!(Bytes, Duration, Listen, ListenOrOff);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn units_are_read_and_written() {
        for (text, bytes, shown) in [
            ("10GiB", 10 << 30, "10GiB"),
            ("64 mib", 64 << 20, "64MiB"),
            ("500MB", 500_000_000, "500MB"),
            ("1500", 1_500, "1500B"),
            ("0", 0, "0B"),
        ] {
            assert_eq!(text.parse(), Ok(Bytes(bytes)), "{text}");
            assert_eq!(Bytes(bytes).to_string(), shown);
        }
        for (text, ms) in [("250ms", 250), ("1s", 1_000), ("5m", 300_000), ("24h", 86_400_000)] {
            let expected = Duration(std::time::Duration::from_millis(ms));
            assert_eq!(text.parse(), Ok(expected), "{text}");
        }
        assert_eq!("24h".parse::<Duration>().unwrap().to_string(), "1d");
    }

    #[test]
    fn a_wrong_value_says_what_was_expected() {
        for bad in ["", "GiB", "1.5GiB", "-1", "10 XB", "99999999999TiB"] {
            assert!(bad.parse::<Bytes>().unwrap_err().contains("`64MiB`"), "{bad}");
        }
        for bad in ["", "5", "5 weeks", "-1s"] {
            assert!(bad.parse::<Duration>().unwrap_err().contains("`5m`"), "{bad}");
        }
        assert!("localhost".parse::<Listen>().unwrap_err().contains("`127.0.0.1:8484`"));
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(number in any::<u64>(), ms in 0..u64::MAX / 2) {
            prop_assert_eq!(Bytes(number).to_string().parse(), Ok(Bytes(number)));
            let time = Duration(std::time::Duration::from_millis(ms));
            prop_assert_eq!(time.to_string().parse(), Ok(time));
        }
    }
}
