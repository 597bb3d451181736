//! Whatever a device writes is read back; whatever else comes is refused without harm.

mod state;

use super::samples::{Clock, SERIES_MAX, Sample, Samples, Writer};
use super::{Envelopes, SAMPLES, put, vectors};
use crate::codec::Reader;
use crate::envelope::Envelope;
use crate::{Metric, Quality, Reject, Unit, Value};
use proptest::prelude::*;
use std::format;
use std::string::String;
use std::vec::Vec;

#[test]
fn golden_vectors() {
    assert_eq!(vectors::check(), Ok(22));
}

#[test]
fn a_damaged_envelope_ends_a_message() {
    let mut message = vectors::DOWN.to_vec();
    assert_eq!(Envelopes::new(&message).filter(Result::is_ok).count(), 2);
    message[5] ^= 1;
    let all: Vec<_> = Envelopes::new(&message).collect();
    assert_eq!(all, [Err(Reject::Checksum)]);
    assert_eq!(Envelopes::new(&[]).count(), 0);
}

#[test]
fn a_kind_that_is_not_known_is_an_envelope_like_any_other() {
    let mut message = [0; 64];
    let first = put(&mut message, 199, b"news").unwrap();
    let len = first + put(&mut message[first..], 64, &[4, 12]).unwrap();
    let kinds: Vec<u8> = Envelopes::new(&message[..len]).map(|one| one.unwrap().kind).collect();
    assert_eq!(kinds, [199, 64]);
}

fn sample(sequence: u64, metric: &str) -> Sample<'_> {
    let (metric, unit) = (Metric::new(metric).unwrap(), Unit::new("m").unwrap());
    let value = Value::Int(1);
    Sample { sequence, time: 0, metric, unit, value, quality: Quality::GOOD }
}

#[test]
fn what_has_no_room_changes_nothing() {
    let mut room = [0; 24];
    let mut writer = Writer::new(&mut room, 1, Clock::Unix).unwrap();
    writer.push(&sample(1, "flow")).unwrap();
    assert_eq!(writer.push(&sample(2, "a metric with a long name")), Err(Reject::Full));
    assert_eq!(writer.push(&sample(1, "flow")), Err(Reject::Sequence));
    writer.push(&sample(3, "flow")).unwrap();
    let read: Vec<u64> =
        Samples::read(writer.finish()).unwrap().map(|sample| sample.unwrap().sequence).collect();
    assert_eq!(read, [1, 3]);
}

#[test]
fn a_message_has_at_most_32_series() {
    let names: Vec<String> = (0..=SERIES_MAX).map(|number| format!("m{number}")).collect();
    let mut room = [0; 1024];
    let mut writer = Writer::new(&mut room, 1, Clock::Unix).unwrap();
    for (number, name) in names.iter().enumerate() {
        let pushed = writer.push(&sample(number as u64 + 1, name));
        assert_eq!(pushed.is_ok(), number < SERIES_MAX, "{number}: {pushed:?}");
    }
    assert_eq!(Samples::read(writer.finish()).unwrap().filter(Result::is_ok).count(), SERIES_MAX);
}

fn values() -> impl Strategy<Value = Value<'static>> {
    prop_oneof![
        any::<i64>().prop_map(Value::Int),
        any::<bool>().prop_map(Value::Bool),
        (-1e9..1e9f64).prop_map(|number| Value::float(number).unwrap()),
    ]
}

type Drawn = (u64, i64, usize, Value<'static>, u8);

fn drawn() -> impl Strategy<Value = Vec<Drawn>> {
    prop::collection::vec((1u64..9, any::<i64>(), 0usize..4, values(), 0u8..4), 0..40)
}

proptest! {
    #[test]
    fn what_goes_in_comes_out(boot in any::<u64>(), rows in drawn(), clock in 0u8..3) {
        let clock = [Clock::Unix, Clock::Age, Clock::Unknown][usize::from(clock)];
        let names = ["level", "flow", "temperature", "on"];
        let mut sequence = 0;
        let samples: Vec<Sample<'_>> = rows
            .iter()
            .map(|&(step, time, name, value, said)| {
                sequence += step;
                let (metric, unit) = (Metric::new(names[name]).unwrap(), Unit::new("m").unwrap());
                let time = if clock == Clock::Unknown { 0 } else { time };
                Sample { sequence, time, metric, unit, value, quality: Quality(said) }
            })
            .collect();
        let mut room = [0; 4096];
        let mut writer = Writer::new(&mut room, boot, clock).unwrap();
        for sample in &samples {
            writer.push(sample).unwrap();
        }
        let read = Samples::read(writer.finish()).unwrap();
        prop_assert_eq!((read.boot, read.clock), (boot, clock));
        let read: Vec<Sample<'_>> = read.map(Result::unwrap).collect();
        prop_assert_eq!(read, samples);
    }

    #[test]
    fn any_bytes_are_read_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
        for envelope in Envelopes::new(&bytes) {
            let _ = envelope;
        }
        if let Ok(samples) = Samples::read(&bytes) {
            let _ = samples.count();
        }
        let _ = super::health::Health::decode(&bytes);
        let _ = super::gateway::Watermark::decode(&bytes);
        let _ = super::gateway::Time::decode(&bytes);
        let _ = super::firmware::Firmware::decode(&bytes);
        let _ = super::firmware::Wanted::decode(&bytes);
    }
}

#[test]
fn every_shorter_payload_is_refused() {
    let envelope = Envelope::decode(&mut Reader::new(vectors::SAMPLES_UNIX)).unwrap();
    assert_eq!(envelope.kind, SAMPLES);
    for len in 2..envelope.payload.len() {
        let read = Samples::read(&envelope.payload[..len]).unwrap();
        let good = read.filter(Result::is_ok).count();
        assert!(good < 3, "{len}");
    }
}
