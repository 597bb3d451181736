//! Segments are lossless, whatever the rows are, and whatever is wrong with one is an error.

use super::*;
use holdfast_core::log::{events, readings as bodies, rollups as rollup_bodies};
use holdfast_core::reading::DeviceSeq;
use holdfast_core::rollup::{Revision, Sample, Summary, Window};
use holdfast_core::sketch::Sketch;
use holdfast_core::{Incarnation, NodeId, Quality, Timestamp, Value};
use proptest::prelude::*;
use std::cell::RefCell;
use std::ops::Range;

const CHAIN: ChainId = ChainId {
    origin: NodeId([7; 32]),
    incarnation: Incarnation { boot: 3, nonce: 0x0102_0304_0506_0708 },
    stream: Stream::Reading,
};

/// Links bodies to commits, from sequence `first` on.
fn commits(chain: ChainId, first: Seq, bodies: Vec<(u32, Vec<u8>)>) -> (Start, Vec<Commit>) {
    let before = if first == 1 { Link::START } else { Link([1; 32]) };
    let (mut link, mut next) = (before, first);
    let commits = bodies.into_iter().map(|(count, body)| {
        let first = next;
        link = link.next(&chain, first, count, &body);
        next += u64::from(count);
        Commit { first, count, link, body }
    });
    let commits = commits.collect();
    (Start { chain, before }, commits)
}

fn decode(bytes: &[u8]) -> Result<Vec<Commit>, SegmentError> {
    let segment = Segment::open(bytes)?;
    let mut out = Vec::new();
    segment.each_commit(|commit| out.push(commit))?;
    Ok(out)
}

type Fields = (u32, Option<i64>, u8, Option<(u64, u64)>, Kind);

#[derive(Clone, Debug)]
enum Kind {
    Float(f64),
    Int(i64),
    Bool(bool),
    Text(String),
}

impl Kind {
    fn value(&self) -> Value<'_> {
        match self {
            Self::Float(number) => Value::float(*number).unwrap(),
            Self::Int(int) => Value::Int(*int),
            Self::Bool(on) => Value::Bool(*on),
            Self::Text(text) => Value::Text(holdfast_core::reading::Text::new(text).unwrap()),
        }
    }
}

fn kinds() -> impl Strategy<Value = Kind> {
    let decimal = (-99_999i64..99_999, 0u32..4).prop_map(|(m, p)| m as f64 / 10f64.powi(p as i32));
    let finite = any::<f64>().prop_filter("finite", |n| n.is_finite());
    prop_oneof![
        4 => decimal.prop_map(Kind::Float),
        1 => finite.prop_map(Kind::Float),
        1 => any::<i64>().prop_map(Kind::Int),
        1 => any::<bool>().prop_map(Kind::Bool),
        1 => "[a-zé]{0,12}".prop_map(Kind::Text),
    ]
}

fn fields() -> impl Strategy<Value = Fields> {
    let time = prop_oneof![
        Just(None),
        (0i64..1_000_000).prop_map(|ms| Some(ms * 1_000_000)),
        any::<i64>().prop_map(Some)
    ];
    let source = prop::option::of((any::<u64>(), any::<u64>()));
    (0u32..7, time, any::<u8>(), source, kinds())
}

/// The canonical body of rows whose series are numbered as they please.
fn body(received: i64, rows: &[Fields]) -> (u32, Vec<u8>) {
    let names: Vec<String> = (0..7).map(|n| format!("d{n}")).collect();
    let mut used: Vec<u32> = Vec::new();
    let made: Vec<_> = rows
        .iter()
        .map(|(series, time, quality, source, value)| {
            let place = used.iter().position(|s| s == series).unwrap_or_else(|| {
                used.push(*series);
                used.len() - 1
            });
            bodies::Row {
                series: place as u32,
                time: time.map(Timestamp),
                value: value.value(),
                quality: Quality(*quality),
                source: source.map(|(boot, seq)| DeviceSeq { boot, seq }),
            }
        })
        .collect();
    let keys: Vec<_> =
        used.iter().map(|n| SeriesKey::new(&names[*n as usize], "m", "bar").unwrap()).collect();
    let mut out = Vec::new();
    let received = Timestamp::from_millis(received).unwrap();
    bodies::encode(&mut out, received, &keys, made.into_iter()).unwrap();
    (rows.len() as u32, out)
}

/// What is compared of a row: when it was received and filed, and all it says.
fn shown(received: Timestamp, row: &bodies::Row<'_>) -> (Timestamp, Timestamp, String) {
    let row = bodies::Row { series: 0, ..*row };
    (received, row.effective_time(received), format!("{row:?}"))
}

/// The rows of a series by the plain way: body by body, row by row.
fn plain_rows(commits: &[Commit], key: &SeriesKey<'_>) -> Vec<(Timestamp, Timestamp, String)> {
    let mut out = Vec::new();
    for commit in commits {
        let body = bodies::Body::new(&commit.body).unwrap();
        let keys: Vec<_> = body.series().collect();
        let rows = body.rows().map(Result::unwrap);
        let own = rows.filter(|row| keys[row.series as usize] == *key);
        out.extend(own.map(|row| shown(body.received(), &row)));
    }
    out
}

/// A place that notes what is read of it.
#[derive(Debug)]
struct Noted<'b> {
    bytes: &'b [u8],
    read: RefCell<Vec<Range<usize>>>,
}

impl<'b> Noted<'b> {
    const fn new(bytes: &'b [u8]) -> Self {
        Self { bytes, read: RefCell::new(Vec::new()) }
    }
}

impl Source for Noted<'_> {
    fn size(&self) -> usize {
        self.bytes.len()
    }

    fn read(&self, at: usize, into: &mut [u8]) -> Result<(), SegmentError> {
        let range = at..at + into.len();
        into.copy_from_slice(self.bytes.get(range.clone()).ok_or(SegmentError::Frame)?);
        self.read.borrow_mut().push(range);
        Ok(())
    }
}

/// Commits of rollups; what format 2 adds is not known of every row.
fn rollups(format: u8, count: i64) -> Vec<(u32, Vec<u8>)> {
    let key = |metric| SeriesKey::new("p1", metric, "bar").unwrap();
    let row = |series, n: i64, width| {
        let at = |i: i64| Sample {
            time: Timestamp(n * 60_000_000_000 + 17 + i * 5_000_000),
            value: 0.1 * (n + i % 5) as f64,
        };
        let revision = |i: i64| Revision { boot: 3, seq: (10 * n + i) as u64 };
        let (mut summary, mut sketch) =
            (Summary::of(at(0), revision(1)), Sketch::of(at(0).value, 1));
        for i in 1..n {
            summary.push(at(i), revision(i + 1));
            sketch.push(at(i).value);
        }
        let known = n % 7 != 3;
        summary.squares = summary.squares.filter(|_| known);
        let window = Window { width_s: width, start_s: n * 60 };
        let sketch = (known && n > 1).then_some(sketch);
        (rollup_bodies::Row { series, window, summary }, sketch)
    };
    let commit = |n: i64| {
        let rows = [row(0, n, 60), row(1, n, 60), row(0, n, 300)];
        let mut out = Vec::new();
        let received = Timestamp::from_millis(n * 60_000).unwrap();
        let keys = [key("t"), key("level")];
        rollup_bodies::encode(&mut out, format, received, &keys, rows.into_iter()).unwrap();
        (3, out)
    };
    (1..=count).map(commit).collect()
}

fn notices(count: usize) -> Vec<(u32, Vec<u8>)> {
    let commit = |n: usize| {
        let mut out = Vec::new();
        events::start_body(&mut out, Timestamp::from_millis(n as i64).unwrap()).unwrap();
        let text = format!("the pump of well {n} does not start");
        let event = events::Event::Notice {
            severity: events::Severity::Warning,
            code: "pump",
            text: &text,
        };
        event.encode(&mut out, Vec::new()).unwrap();
        (1, out)
    };
    (0..count).map(commit).collect()
}

#[test]
fn rollups_and_events_come_back_to_the_byte() {
    let all = [
        (Stream::Rollup, rollups(1, 200)),
        (Stream::Rollup, rollups(2, 200)),
        (Stream::Event, notices(200)),
    ];
    for (stream, bodies) in all {
        let (start, commits) = commits(ChainId { stream, ..CHAIN }, 11, bodies);
        let bytes = encode(&start, &commits).unwrap();
        let plain: usize = commits.iter().map(|commit| commit.body.len()).sum();
        assert!(bytes.len() * 3 < plain, "{} bytes of {plain}", bytes.len());
        assert_eq!(decode(&bytes).unwrap(), commits);
        let segment = Segment::open(&bytes).unwrap();
        assert_eq!((segment.commits(), segment.head().first), (200, 11));
        assert_eq!(segment.series().unwrap().len(), if stream == Stream::Rollup { 2 } else { 0 });
    }
}

#[test]
fn links_that_do_not_follow_are_not_put_into_a_segment() {
    let (start, commits) = commits(CHAIN, 1, vec![body(5, &[(0, None, 0, None, Kind::Int(1))])]);
    let other = Start { before: Link([9; 32]), ..start };
    assert_eq!(encode(&other, &commits), Err(SegmentError::Chain));
    let mut twice = commits.clone();
    twice.extend(commits);
    assert_eq!(encode(&start, &twice), Err(Reject::Malformed.into()));
    assert_eq!(encode(&start, &[]), Err(Reject::Malformed.into()));
}

/// The vector of `docs/formats/segment.md`: the commit of the vector in `docs/formats/log.md`.
#[test]
fn golden_vector() {
    let at = Timestamp::from_millis(1_800_000_000_123).unwrap();
    let keys = [SeriesKey::new("p1", "t", "Cel").unwrap(), SeriesKey::new("p1", "on", "").unwrap()];
    let rows = [
        bodies::Row {
            series: 0,
            time: Some(at),
            value: Value::float(21.5).unwrap(),
            quality: Quality::GOOD,
            source: None,
        },
        bodies::Row {
            series: 1,
            time: None,
            value: Value::Bool(true),
            quality: Quality::UNCERTAIN,
            source: Some(DeviceSeq { boot: 4, seq: 9 }),
        },
    ];
    let mut body = Vec::new();
    bodies::encode(&mut body, at, &keys, rows.into_iter()).unwrap();
    let (start, commits) = commits(CHAIN, 1, vec![(2, body)]);
    let bytes = encode(&start, &commits).unwrap();
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, GOLDEN);
}

const GOLDEN: &str = concat!(
    "486653670100f6c1e285e36800ae03020812040707070707070707070707070707070707",
    "070707070707070707070707070707030807060504030201020100000000000000000000",
    "0000000000000000000000000000000000000000000063d097cd34ffff55f6fb32cc2a60",
    "c9d9a006db01823daa8c5433b7626a30e637080000018def02d20001065183ce0b000101",
    "8def02d200010222d254e8000101a18e0c3c000101bf67d9dc000101c59ebb2100010194",
    "2b6fd5070100000202703101740343656c01f6c1e285e368f6c1e285e368010201020000",
    "0103027031026f6e0001f6c1e285e368f6c1e285e36800040105060204e2000000c3cf14",
    "18",
);

/// A day of a small site: every byte of the segment is under a checksum.
#[test]
fn every_flipped_bit_and_every_lost_tail_is_noticed() {
    let rows = |n: i64| -> Vec<Fields> {
        (0..5)
            .map(|s| (s, Some(n * 10_000_000_000), 0, None, Kind::Float(s as f64 + 0.5)))
            .collect()
    };
    let bodies = (0..60).map(|n| body(n * 10_000 + 40, &rows(n))).collect();
    let (start, commits) = commits(CHAIN, 1, bodies);
    let bytes = encode(&start, &commits).unwrap();
    for at in 0..bytes.len() {
        let mut flipped = bytes.clone();
        flipped[at] ^= 1 << (at % 8);
        let noticed = Segment::open(&flipped).and_then(|segment| segment.check()).is_err();
        assert!(noticed, "byte {at} of {}", bytes.len());
        assert!(decode(&flipped).is_err(), "byte {at}");
        assert!(Segment::open(&bytes[..at]).is_err());
        for damaged in [flipped.as_slice(), &bytes[..at]] {
            let (there, mut buffer) = (Noted::new(damaged), vec![0; at]);
            let noticed = Segment::open_at(&there, &mut buffer).and_then(|segment| segment.check());
            assert!(noticed.is_err(), "byte {at}, read in parts");
        }
    }
}

/// A chart of one series took as long as reading the segments of all thousand did: they were copied
/// out of the database whole, twice, and every name in their directories was checked. Of a segment
/// that lies elsewhere the directory is read, in one piece once its size is known from the one
/// before, and of the columns those of the series.
#[test]
fn one_series_is_read_without_the_columns_of_others() {
    let row = |series, n: i64| -> Fields {
        let ms = n * 1_000 + i64::from(series) * n % 13;
        let source = Some((1, n as u64 * 3 % 101));
        (series, Some(ms * 1_000_000), 0, source, Kind::Int(n * n % (51 + i64::from(series))))
    };
    let bodies = (0..300).map(|n| body(n * 1_000, &[0, 1, 2, 3, 4, 5, 6].map(|s| row(s, n))));
    let (start, commits) = commits(CHAIN, 1, bodies.collect());
    let bytes = encode(&start, &commits).unwrap();
    let end = bytes.len() - 8;
    let directory = end - u32::from_le_bytes(*bytes[end..].first_chunk().unwrap()) as usize;
    let key = SeriesKey::new("d4", "m", "bar").unwrap();
    let mut buffer = Vec::new();
    for (known, want) in [(false, false), (true, false), (true, true)] {
        let there = Noted::new(&bytes);
        let (mut rows, mut plain) = (Vec::new(), Vec::new());
        let want = Want { received: want, source: want };
        let segment = Segment::open_at(&there, &mut buffer).unwrap();
        segment.each_row(&key, want, |at, row| rows.push(shown(at, row))).unwrap();
        let whole = Segment::open(&bytes).unwrap();
        whole.each_row(&key, want, |at, row| plain.push(shown(at, row))).unwrap();
        assert_eq!((rows.len(), &rows), (300, &plain));
        let read = there.read.into_inner();
        let (columns, rest): (Vec<_>, Vec<_>) =
            read.into_iter().partition(|range| (5..directory).contains(&range.start));
        assert_eq!(rest.len(), if known { 2 } else { 3 }, "{rest:?}");
        // The commits' counts; times, quality and values; boots and sequences, and of all series
        // the times received and the order.
        let most = if want.source { 1 + 3 + 2 + 3 } else { 1 + 3 };
        assert!(columns.len() <= most, "{columns:?}");
        let sum: usize = columns.iter().map(Range::len).sum();
        assert!(want.source || sum * 5 < directory, "{sum} bytes of {directory}");
    }
}

proptest! {
    #[test]
    fn readings_come_back_to_the_byte(
        all in prop::collection::vec((any::<i32>(), prop::collection::vec(fields(), 1..12)), 1..12),
        first in 1u64..1000,
    ) {
        let bodies = all.iter().map(|(at, rows)| body(i64::from(*at), rows)).collect();
        let (start, commits) = commits(CHAIN, first, bodies);
        let bytes = encode(&start, &commits).unwrap();
        prop_assert_eq!(&decode(&bytes).unwrap(), &commits);
        let segment = Segment::open(&bytes).unwrap();
        segment.check().unwrap();
        let rows: usize = all.iter().map(|(_, rows)| rows.len()).sum();
        prop_assert_eq!(segment.entries(), rows);
        let spans = segment.series().unwrap();
        prop_assert_eq!(spans.iter().map(|span| span.rows).sum::<usize>(), rows);
        for span in spans {
            let mut rows = Vec::new();
            let all = Want { received: true, source: true };
            segment
                .each_row(&span.key, all, |received, row| rows.push(shown(received, row)))
                .unwrap();
            prop_assert_eq!(&rows, &plain_rows(&commits, &span.key));
            let (there, mut buffer, mut parts) = (Noted::new(&bytes), Vec::new(), Vec::new());
            Segment::open_at(&there, &mut buffer)
                .unwrap()
                .each_row(&span.key, all, |received, row| parts.push(shown(received, row)))
                .unwrap();
            prop_assert_eq!(&parts, &rows);
            let mut little = Vec::new();
            let want = Want { received: false, source: false };
            segment
                .each_row(&span.key, want, |received, row| {
                    little.push((row.effective_time(received), format!("{:?}", row.value)));
                })
                .unwrap();
            let mut whole = Vec::new();
            segment
                .each_row(&span.key, all, |received, row| {
                    whole.push((row.effective_time(received), format!("{:?}", row.value)));
                })
                .unwrap();
            prop_assert_eq!(little, whole);
            let times = rows.iter().map(|(_, time, _)| time.millis());
            prop_assert_eq!(times.clone().min(), Some(span.from_ms));
            prop_assert_eq!(times.max(), Some(span.to_ms));
        }
        let stranger = SeriesKey::new("nobody", "m", "bar").unwrap();
        let little = Want { received: false, source: false };
        segment.each_row(&stranger, little, |_, _| panic!("it has none")).unwrap();
    }

    #[test]
    fn any_bytes_are_read_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = decode(&bytes);
    }

    /// What a hostile peer can do: a directory with a right checksum over whatever it likes.
    #[test]
    fn a_forged_directory_is_read_without_panic(
        at in any::<prop::sample::Index>(),
        to in any::<u8>(),
        stream in 0u8..4,
    ) {
        let (start, commits) = match stream {
            0 => commits(ChainId { stream: Stream::Event, ..CHAIN }, 1, notices(3)),
            1 => commits(ChainId { stream: Stream::Rollup, ..CHAIN }, 1, rollups(2, 40)),
            _ => {
                let rows: Vec<Fields> =
                    (0..9).map(|n| (n % 3, Some(i64::from(n)), 0, None, Kind::Int(5))).collect();
                commits(CHAIN, 1, vec![body(5, &rows), body(6, &rows)])
            }
        };
        let mut bytes = encode(&start, &commits).unwrap();
        let end = bytes.len() - 8;
        let length = u32::from_le_bytes(*bytes[end..].first_chunk().unwrap()) as usize;
        let place = end - length + at.index(length);
        bytes[place] = to;
        let mut crc = crc32fast::Hasher::new();
        crc.update(&bytes[..5]);
        crc.update(&bytes[end - length..end]);
        let crc = crc.finalize().to_le_bytes();
        bytes[end + 4..].copy_from_slice(&crc);
        if let Ok(segment) = Segment::open(&bytes) {
            let _ = segment.check();
            let _ = segment.series();
            let _ = segment.each_commit(drop);
        }
    }
}
