//! Samples become readings with the right times and names; answers say what is safe; a section and
//! commands become what a device reads; workflows and firmware come to it.

mod boots;
mod flows;
mod gateway;
mod pieces;
mod state;
mod updates;

use super::letters::Letters;
use super::*;
use holdfast_core::device::gateway::{Time, Watermark};
use holdfast_core::device::vectors;

const DEVICE: &str = "ps-1";
/// 1,800,000,010,000 ms since 1970.
const RECEIVED: Timestamp = Timestamp(1_800_000_010_000_000_000);

fn decoded(message: &[u8]) -> Decoded<'_> {
    decode(device(), message, RECEIVED).unwrap()
}

fn told(decoded: &Decoded<'_>) -> Vec<String> {
    let items = decoded.items.iter().map(|item| item.as_ref().unwrap());
    items
        .map(|item| {
            let source = item.source.unwrap();
            let [reading] = decoded.readings_of(item) else { panic!("one reading an item") };
            format!(
                "{}.{} {} {:?} {:?} {} {:?}",
                source.boot,
                source.seq,
                reading.metric,
                reading.value.get().number(),
                reading.time.map(Timestamp::millis),
                reading.unit,
                reading.quality.words().collect::<Vec<_>>(),
            )
        })
        .collect()
}

#[test]
fn samples_become_items_each_with_its_name() {
    assert_eq!(
        told(&decoded(vectors::SAMPLES_UNIX)),
        [
            "4.9 level Some(2.31) Some(1800000000000) m []",
            "4.10 pump Some(1.0) Some(1800000000000)  []",
            "4.12 level Some(2.32) Some(1800000001000) m [\"uncertain\"]",
        ]
    );
}

#[test]
fn an_age_is_taken_from_the_time_of_receipt_and_no_time_is_said_to_be_none() {
    assert_eq!(
        told(&decoded(vectors::SAMPLES_AGE)),
        ["5.1 n Some(-7.0) Some(1800000008500)  [\"anchored\"]"]
    );
    assert_eq!(
        told(&decoded(vectors::SAMPLES_UNKNOWN)),
        ["3.7 n Some(-7.0) None  [\"device-clock\"]"]
    );
}

fn device() -> Device<'static> {
    Device::new(DEVICE).unwrap()
}

fn said(message: &[u8]) -> Said {
    Heard::read(device(), message).unwrap().said
}

fn answer(said: &Said) -> Vec<Vec<u8>> {
    let mut letters = Letters::default();
    said.answer(Time { unix_ms: 1_800_000_000_000, is_trusted: true }, &mut letters);
    letters.finish()
}

#[test]
fn the_answer_says_up_to_where_and_what_time_it_is() {
    assert_eq!(answer(&said(vectors::SAMPLES_UNIX)), [vectors::DOWN]);

    let said = said(vectors::HEALTH_FOUR);
    assert_eq!(said, Said { is_health: true, ..Said::default() });
    let [answer] = &answer(&said)[..] else { panic!("one message") };
    assert_eq!(
        Envelopes::new(answer).map(|one| one.unwrap().kind).collect::<Vec<_>>(),
        [device::TIME]
    );
}

#[test]
fn what_says_nothing_is_not_answered() {
    assert_eq!(answer(&said(&[])), <[Vec<u8>; 0]>::default());
    let mut unknown = [0; 16];
    let len = device::put(&mut unknown, 199, b"news").unwrap();
    assert_eq!(answer(&said(&unknown[..len])), <[Vec<u8>; 0]>::default());
}

#[test]
fn of_several_envelopes_the_last_samples_count() {
    let message = [vectors::SAMPLES_UNKNOWN, vectors::HEALTH_FOUR, vectors::SAMPLES_UNIX].concat();
    let said = said(&message);
    assert_eq!(said.watermark, Some(Watermark { boot: 4, sequence: 12 }));
    assert!(said.is_health);
    assert_eq!(decoded(&message).items.len(), 4);
}

#[test]
fn health_becomes_a_part_of_the_twin() {
    let health = |message| Heard::read(device(), message).unwrap().health;
    assert_eq!(
        health(vectors::HEALTH_FOUR),
        Some(json!({
            "device": {"boot": 4, "reason": "watchdog", "firmware": "0.1.0", "dropped": 7}
        }))
    );
    assert_eq!(health(vectors::SAMPLES_AGE), None);
}

#[test]
fn what_does_not_follow_the_format_is_refused_with_its_place() {
    let mut message = [vectors::HEALTH_FOUR, vectors::SAMPLES_UNIX].concat();
    let last = message.len() - 1;
    message[last] ^= 1;
    let wrong = decode(device(), &message, RECEIVED).unwrap_err();
    assert_eq!(
        (wrong.code, wrong.to_string().as_str()),
        ("checksum-mismatch", "the checksum does not match the data (at envelope 1)")
    );
    // A device must never be told that something is safe which was refused.
    let wrong = Heard::read(device(), &message).unwrap_err();
    assert_eq!(wrong.to_string(), "the checksum does not match the data (at envelope 1)");
    let mut short = [0; 16];
    let len = device::put(&mut short, device::SAMPLES, &[4, 0, 9]).unwrap();
    let wrong = Heard::read(device(), &[vectors::HEALTH_FOUR, &short[..len]].concat()).unwrap_err();
    assert_eq!(wrong.to_string(), "the data ends too early (at envelope 1)");
    let long = vectors::HEALTH_FOUR.repeat(50);
    let wrong = Heard::read(device(), &long).unwrap_err();
    assert_eq!(
        (wrong.code, wrong.to_string().as_str()),
        ("value-too-long", "the message has 1250 bytes; expected at most 1024")
    );
}
