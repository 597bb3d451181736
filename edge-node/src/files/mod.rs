//! Files of readings, turned into entries that can be posted: what `import` and replays read.
//!
//! [`read`] takes any input, finds out whether it is compressed, and hands portions of [`Entry`]
//! and [`Refusal`] to a sink, which may stop it. Lines and rows are read in pieces of bounded size,
//! a pack as a whole, up to a limit. A [`Source`] does so for a file by its name. [`Batch`] turns
//! entries into a request and gives it the key by which a repeated one is recognised.

mod batch;
mod csv;
mod export;
mod lines;
mod pack;
mod source;

pub use batch::{Batch, Batcher, Key};
pub use source::{Reading, Source};

use crate::formats::line::Precision;
use crate::formats::{Decoded, DecodedItem, DecodedReading, DecodedValue, ItemError, Place};
use flate2::read::MultiGzDecoder;
use holdfast_core::Timestamp;
use holdfast_core::reading::DeviceSeq;
use std::borrow::Cow;
use std::fmt;
use std::io::{self, BufRead, BufReader, Read};
use std::ops::ControlFlow;
use std::path::Path;

/// Bytes of one line or row: nothing a device says in one breath is longer.
const LINE_MAX: usize = 1 << 20;
/// Bytes of a pack, which can only be read as a whole.
const PACK_MAX: u64 = 64 << 20;
/// Entries handed over at a time.
const PORTION: usize = 500;

/// The format of a file, whether it is compressed or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum FileFormat {
    /// Rows under a header, of one reading or of one per column.
    Csv,
    /// An object per line, as posted or as exported.
    Ndjson,
    /// InfluxDB line protocol.
    Line,
    /// A SenML pack in JSON.
    SenmlJson,
    /// A SenML pack in CBOR.
    SenmlCbor,
}

impl FileFormat {
    /// The endings of names that [`FileFormat::of`] knows, for a sentence.
    pub const ENDINGS: &str =
        ".csv, .ndjson, .jsonl, .lp, .line, .senml, .senmlc, each with .gz or without";

    /// Tells the format by a file's name.
    #[must_use]
    pub fn of(path: &Path) -> Option<Self> {
        let ending = |path: &Path| Some(path.extension()?.to_str()?.to_ascii_lowercase());
        let ending = match ending(path)?.as_str() {
            "gz" => ending(Path::new(path.file_stem()?))?,
            _ => ending(path)?,
        };
        Some(match ending.as_str() {
            "csv" => Self::Csv,
            "ndjson" | "jsonl" => Self::Ndjson,
            "lp" | "line" => Self::Line,
            "senml" | "senmlj" => Self::SenmlJson,
            "senmlc" => Self::SenmlCbor,
            _ => return None,
        })
    }
}

/// How a file is read.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Its format.
    pub format: FileFormat,
    /// What times relative to the receipt count from. Reading the same file again has to give the
    /// same, so it is when the file was written rather than when it is read.
    pub now: Timestamp,
    /// The unit of timestamps in line protocol.
    pub precision: Precision,
}

/// Readings that are posted together, as one item.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// Where it is in the file.
    pub place: Place,
    /// Its device, if it names one.
    pub device: Option<String>,
    /// The device's own name for it.
    pub source: Option<DeviceSeq>,
    /// Its readings, all of one time and quality; at least one.
    pub readings: Vec<DecodedReading<'static>>,
}

impl Entry {
    fn of(decoded: &Decoded<'_>, item: &DecodedItem<'_>, place: Place) -> Self {
        let owned = |text: &Cow<'_, str>| Cow::Owned(text.clone().into_owned());
        let readings = decoded.readings_of(item).iter().map(|reading| DecodedReading {
            metric: owned(&reading.metric),
            unit: owned(&reading.unit),
            time: reading.time,
            value: match &reading.value {
                DecodedValue::Float(number) => DecodedValue::Float(*number),
                DecodedValue::Int(int) => DecodedValue::Int(*int),
                DecodedValue::Bool(on) => DecodedValue::Bool(*on),
                DecodedValue::Text(text) => DecodedValue::Text(owned(text)),
            },
            quality: reading.quality,
        });
        let device = item.device.as_ref().map(|device| device.clone().into_owned());
        Self { place, device, source: item.source, readings: readings.collect() }
    }

    /// When it was measured, if it says so.
    #[must_use]
    pub fn time(&self) -> Option<Timestamp> {
        self.readings.first().and_then(|reading| reading.time)
    }

    /// Takes the readings of `other` in if it is a piece of the same item: an export has a line
    /// for each reading, and the second one of an item would be taken for a repetition.
    fn merge(&mut self, other: Self) -> Result<(), Self> {
        let like = |entry: &Self| entry.readings.first().map(|first| (first.time, first.quality));
        let is_piece = self.source.is_some()
            && self.source == other.source
            && self.device == other.device
            && like(self) == like(&other)
            && !other
                .readings
                .iter()
                .any(|new| self.readings.iter().any(|r| r.metric == new.metric));
        if !is_piece {
            return Err(other);
        }
        self.readings.extend(other.readings);
        Ok(())
    }
}

/// What in a file is not an entry, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Where it is in the file.
    pub place: Place,
    /// Where within that, as a JSON pointer; empty for all of it.
    pub path: String,
    /// What was found and what was expected.
    pub detail: String,
}

impl Refusal {
    fn new(place: Place, path: &str, detail: impl Into<String>) -> Self {
        Self { place, path: path.to_owned(), detail: detail.into() }
    }

    fn of(error: &ItemError, place: Place) -> Self {
        let path = error.at.strip_prefix(&error.place.to_string()).unwrap_or_default();
        Self::new(place, path, error.detail.clone())
    }

    /// The refusal in a line that begins with the file, as compilers write it.
    pub fn in_file<'a>(&'a self, file: &'a str) -> impl fmt::Display + 'a {
        fmt::from_fn(move |f| {
            match self.place {
                Place::Line(number) => write!(f, "{file}:{number}: ")?,
                Place::Element(index) => write!(f, "{file}: record {index}: ")?,
                Place::Body => write!(f, "{file}: ")?,
            }
            match self.path.strip_prefix('/').filter(|path| !path.is_empty()) {
                Some(path) => write!(f, "{path}: {}", self.detail),
                None => f.write_str(&self.detail),
            }
        })
    }
}

/// Some of what a file has.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Portion {
    /// What can be posted.
    pub entries: Vec<Entry>,
    /// What cannot.
    pub refused: Vec<Refusal>,
}

impl Portion {
    /// Adds what a decoder made of some text whose first item is at `place_of` its own place.
    fn add(&mut self, decoded: &Decoded<'_>, place_of: impl Fn(Place) -> Place) {
        for item in &decoded.items {
            match item {
                Ok(item) if item.readings.is_empty() => {}
                Ok(item) => self.entries.push(Entry::of(decoded, item, place_of(item.place))),
                Err(error) => self.refused.push(Refusal::of(error, place_of(error.place))),
            }
        }
    }

    fn is_full(&self) -> bool {
        self.entries.len() + self.refused.len() >= PORTION
    }
}

/// Why a file cannot be read on.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The operating system, or the compression.
    #[error(transparent)]
    Input(#[from] io::Error),
    /// The format, as a whole.
    #[error("{0}")]
    Format(String),
}

/// Takes portions; `Break` ends the reading.
pub type Sink<'a> = dyn FnMut(Portion) -> ControlFlow<()> + 'a;

/// Reads `input` to its end, or until the sink has enough.
///
/// # Errors
/// [`ReadError`]; what came before it has been handed over.
pub fn read(
    input: impl Read + 'static,
    options: Options,
    sink: &mut Sink<'_>,
) -> Result<(), ReadError> {
    let input = plain(input)?;
    let mut held: Option<Entry> = None;
    let mut joined = |portion: Portion| {
        let mut out = Portion { refused: portion.refused, ..Portion::default() };
        for entry in portion.entries {
            let Some(last) = &mut held else {
                held = Some(entry);
                continue;
            };
            if let Err(other) = last.merge(entry) {
                out.entries.push(std::mem::replace(last, other));
            }
        }
        sink(out)
    };
    let done = match options.format {
        FileFormat::Csv => csv::read(input, &mut joined),
        FileFormat::Ndjson => lines::read_ndjson(input, options.now, &mut joined),
        FileFormat::Line => lines::read_line_protocol(input, options.precision, &mut joined),
        FileFormat::SenmlJson => pack::read_json(input, options.now, &mut joined),
        FileFormat::SenmlCbor => pack::read_cbor(input, options.now, &mut joined),
    };
    if let Some(last) = held {
        // Whether the sink wants more does not matter any more.
        let _ = sink(Portion { entries: vec![last], refused: Vec::new() });
    }
    done
}

/// The input without its compression, which its first two bytes tell, and without the mark that
/// some programs put in front of text.
fn plain(input: impl Read + 'static) -> io::Result<Box<dyn BufRead>> {
    let (first, input) = first_bytes(input, 2)?;
    let is_gzip = first == [0x1f, 0x8b];
    let whole = io::Cursor::new(first).chain(input);
    let content: Box<dyn Read> =
        if is_gzip { Box::new(MultiGzDecoder::new(whole)) } else { Box::new(whole) };
    let (first, content) = first_bytes(content, 3)?;
    let first = if first == [0xef, 0xbb, 0xbf] { Vec::new() } else { first };
    Ok(Box::new(BufReader::with_capacity(64 << 10, io::Cursor::new(first).chain(content))))
}

fn first_bytes<R: Read>(mut input: R, count: u64) -> io::Result<(Vec<u8>, R)> {
    let mut first = Vec::new();
    input.by_ref().take(count).read_to_end(&mut first)?;
    Ok((first, input))
}

#[cfg(test)]
mod tests;
