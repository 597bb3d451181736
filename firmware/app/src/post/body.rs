//! Bodies of requests: samples, and how the device is, as the gateway's `POST /v1/readings` and the
//! twin's `PATCH` read them. RFC 8259.

use crate::batch::Times;
use crate::log::Fault;
use crate::memory::Losses;
use crate::node::Node;
use crate::record::Record;
use crate::samples::Look;
use crate::sensors::Sensor;
use core::fmt::{self, Write};
use embedded_storage::nor_flash::NorFlash;
use holdfast_core::device::samples::Clock;
use holdfast_core::{Quality, Reject, Value};

/// Bytes that end an array.
const END: usize = 1;

/// Text into bytes, from the front; what does not fit is an error and leaves a part there.
struct Text<'a> {
    out: &'a mut [u8],
    len: usize,
}

impl Write for Text<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let to = self.len + text.len();
        self.out.get_mut(self.len..to).ok_or(fmt::Error)?.copy_from_slice(text.as_bytes());
        self.len = to;
        Ok(())
    }
}

/// A text between quotation marks.
struct Quoted<'t>(&'t str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_char('"')?;
        for char in self.0.chars() {
            match char {
                '"' | '\\' => write!(f, "\\{char}")?,
                '\0'..' ' => write!(f, "\\u{:04x}", u32::from(char))?,
                _ => f.write_char(char)?,
            }
        }
        f.write_char('"')
    }
}

/// An array of samples of one boot.
pub struct Body<'a> {
    text: Text<'a>,
    table: &'a [Sensor],
    boot: u64,
    times: Times,
    last: u64,
    has_more: bool,
}

impl<'a> Body<'a> {
    /// An empty one.
    pub fn new(out: &'a mut [u8], table: &'a [Sensor], boot: u64, times: Times) -> Self {
        let text = Text { out, len: 0 };
        Self { text, table, boot, times, last: 0, has_more: false }
    }

    /// Takes a sample, if it is of this boot and there is room.
    pub fn take(&mut self, record: &Record<'_>) -> Look {
        let before = self.text.len;
        let fits = record.boot == self.boot
            && self.put(record).is_ok()
            && self.text.len + END <= self.text.out.len();
        if !fits {
            (self.text.len, self.has_more) = (before, true);
            return Look::Enough;
        }
        self.last = record.sequence;
        Look::On
    }

    fn put(&mut self, record: &Record<'_>) -> fmt::Result {
        let sensor = self.table.iter().find(|sensor| sensor.number == record.sensor);
        let is_first = self.text.len == 0;
        let out = &mut self.text;
        out.write_str(if is_first { "[{\"metric\":" } else { ",{\"metric\":" })?;
        match sensor {
            Some(sensor) => {
                write!(out, "{},\"unit\":{}", Quoted(sensor.metric), Quoted(sensor.unit))?;
            }
            // The name of a sensor that this firmware does not have any more.
            None => write!(out, "\"sensor-{}\"", record.sensor)?,
        }
        match record.value {
            // As `0.1` and `1e21`: what Rust writes for a finite number is a number here, too.
            Value::Float(number) => write!(out, ",\"value\":{:?}", number.get())?,
            Value::Int(int) => write!(out, ",\"value\":{int}")?,
            Value::Bool(on) => write!(out, ",\"value\":{on}")?,
            Value::Text(text) => write!(out, ",\"value\":{}", Quoted(text.as_str()))?,
        }
        let clock = self.times.clock(record.boot);
        let time = self.times.of(clock, record.uptime_ms);
        match clock {
            Clock::Age => write!(out, ",\"age_ms\":{time}")?,
            // Of what has none this says 1970, which no gateway believes: it takes the time of
            // receipt, and says that it did.
            Clock::Unix | Clock::Unknown => write!(out, ",\"time\":{time}")?,
        }
        let word = match record.quality {
            quality if quality.has(Quality::BAD) => Some("bad"),
            quality if quality.has(Quality::UNCERTAIN) => Some("uncertain"),
            _ => None,
        };
        if let Some(word) = word {
            write!(out, ",\"quality\":\"{word}\"")?;
        }
        write!(out, ",\"boot\":{},\"seq\":{}}}", record.boot, record.sequence)
    }

    /// How long it is, the number of its last sample, and whether there are more than it brings;
    /// nothing where it has none.
    pub fn finish(mut self) -> Option<(usize, u64, bool)> {
        if self.text.len == 0 {
            return None;
        }
        self.text.write_str("]").ok()?;
        Some((self.text.len, self.last, self.has_more))
    }
}

/// How the device is, as a patch of what it reports: as a gateway writes it for others.
pub fn health<F: NorFlash>(
    out: &mut [u8],
    node: &Node<F>,
    losses: Losses,
) -> Result<usize, Fault<F::Error>> {
    let mut out = Text { out, len: 0 };
    let Losses { dropped, damaged, rejected } = losses;
    let written = write!(
        out,
        "{{\"device\":{{\"boot\":{},\"reason\":{},\"firmware\":{},\"dropped\":{dropped},\
         \"damaged\":{damaged},\"rejected\":{rejected}}}}}",
        node.boot,
        Quoted(node.about.reason.word()),
        Quoted(node.about.firmware)
    );
    written.map_err(|fmt::Error| Reject::Full)?;
    Ok(out.len)
}
