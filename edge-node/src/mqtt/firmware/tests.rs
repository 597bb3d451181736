//! Samples become readings with the right times and names; answers say what is safe.

use super::*;
use holdfast_core::device::vectors;

const DEVICE: &str = "ps-1";
/// 1,800,000,010,000 ms since 1970.
const RECEIVED: Timestamp = Timestamp(1_800_000_010_000_000_000);

fn decoded(message: &[u8]) -> Decoded<'_> {
    decode(Device::new(DEVICE).unwrap(), message, RECEIVED).unwrap()
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

#[test]
fn the_answer_says_up_to_where_and_what_time_it_is() {
    let time = Time { unix_ms: 1_800_000_000_000, is_trusted: true };
    let said = Said::of(vectors::SAMPLES_UNIX);
    let answer = said.answer(DEVICE, time).unwrap();
    assert_eq!(answer.topic.as_str(), "devices/ps-1/watermark");
    assert_eq!(&answer.payload[..], vectors::DOWN);

    let said = Said::of(vectors::HEALTH_FOUR);
    assert_eq!(said, Said { watermark: None, is_health: true });
    let answer = said.answer(DEVICE, time).unwrap();
    assert_eq!(
        Envelopes::new(&answer.payload).map(|one| one.unwrap().kind).collect::<Vec<_>>(),
        [device::TIME]
    );
    assert_eq!(Said::of(&[]).answer(DEVICE, time), None);
}

#[test]
fn of_several_envelopes_the_last_samples_count() {
    let message = [vectors::SAMPLES_UNKNOWN, vectors::HEALTH_FOUR, vectors::SAMPLES_UNIX].concat();
    let said = Said::of(&message);
    assert_eq!(said.watermark, Some(Watermark { boot: 4, sequence: 12 }));
    assert!(said.is_health);
    assert_eq!(decoded(&message).items.len(), 4);
}

#[test]
fn health_becomes_a_part_of_the_twin() {
    assert_eq!(
        reported(vectors::HEALTH_FOUR).unwrap().unwrap(),
        json!({"device": {"boot": 4, "reason": "watchdog", "firmware": "0.1.0", "dropped": 7}})
    );
    assert_eq!(reported(vectors::SAMPLES_AGE).unwrap(), None);
}

#[test]
fn what_does_not_follow_the_format_is_refused_with_its_place() {
    let mut message = [vectors::HEALTH_FOUR, vectors::SAMPLES_UNIX].concat();
    let last = message.len() - 1;
    message[last] ^= 1;
    let wrong = decode(Device::new(DEVICE).unwrap(), &message, RECEIVED).unwrap_err();
    assert_eq!(
        (wrong.code, wrong.to_string().as_str()),
        ("checksum-mismatch", "the checksum does not match the data (at envelope 1)")
    );
    assert!(reported(&message).is_err());
    // A device must never be told that something is safe which was refused.
    assert_eq!(Said::of(&message).watermark, None);
}
