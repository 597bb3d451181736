//! Formats of lines: some lines at a time, whatever the length of the file.

use super::{LINE_MAX, Portion, ReadError, Refusal, Sink, export};
use crate::formats::line::{self, Precision};
use crate::formats::{Place, json};
use holdfast_core::Timestamp;
use std::io::{BufRead, Read};

/// Bytes of line protocol that are decoded together.
const CHUNK: usize = 64 << 10;
/// Bytes by which a chunk may grow to find the end of a quoted value that has newlines.
const QUOTED: usize = 8 << 10;

/// Appends the next line to `out`; `false` at the end.
fn next_line(input: &mut dyn BufRead, number: usize, out: &mut Vec<u8>) -> Result<bool, ReadError> {
    let before = out.len();
    input.take(LINE_MAX as u64 + 1).read_until(b'\n', out)?;
    if out.len() - before > LINE_MAX {
        let text = format!("line {number} is longer than {LINE_MAX} bytes: is this its format?");
        return Err(ReadError::Format(text));
    }
    Ok(out.len() > before)
}

/// Reads an object per line, as posted or as exported.
pub(super) fn read_ndjson(
    mut input: impl BufRead,
    now: Timestamp,
    sink: &mut Sink<'_>,
) -> Result<(), ReadError> {
    let mut line = Vec::new();
    let mut portion = Portion::default();
    for number in 1.. {
        line.clear();
        if !next_line(&mut input, number, &mut line)? {
            break;
        }
        let place = Place::Line(number);
        match export::line(&line, place) {
            Some(Ok(entry)) => portion.entries.push(entry),
            Some(Err(refusal)) => portion.refused.push(refusal),
            None => match json::decode_lines(&line, now) {
                Ok(decoded) => portion.add(&decoded, |_| place),
                Err(error) => portion.refused.push(Refusal::new(place, "", error.detail)),
            },
        }
        if portion.is_full() && sink(std::mem::take(&mut portion)).is_break() {
            return Ok(());
        }
    }
    let _ = sink(portion);
    Ok(())
}

/// Reads line protocol.
pub(super) fn read_line_protocol(
    mut input: impl BufRead,
    precision: Precision,
    sink: &mut Sink<'_>,
) -> Result<(), ReadError> {
    let mut chunk = Vec::new();
    let mut lines = 0;
    loop {
        chunk.clear();
        let before = lines;
        let mut is_over = false;
        while chunk.len() < CHUNK && lines - before < super::PORTION && !is_over {
            is_over = !next_line(&mut input, lines + 1, &mut chunk)?;
            lines += usize::from(!is_over);
        }
        loop {
            let decoded = line::decode(&chunk, precision);
            let decoded = decoded.map_err(|error| ReadError::Format(error.detail))?;
            // What looks unclosed may end on the lines behind this chunk.
            let is_open = decoded.errors().any(|error| error.detail == line::UNCLOSED);
            if is_open && !is_over && chunk.len() < CHUNK + QUOTED {
                is_over = !next_line(&mut input, lines + 1, &mut chunk)?;
                lines += usize::from(!is_over);
                continue;
            }
            let mut portion = Portion::default();
            portion.add(&decoded, |place| match place {
                Place::Line(number) => Place::Line(before + number),
                other => other,
            });
            if sink(portion).is_break() || is_over {
                return Ok(());
            }
            break;
        }
    }
}
