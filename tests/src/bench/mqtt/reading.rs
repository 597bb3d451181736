//! The message that is published: a reading of about 100 bytes, prepared once and patched.
//!
//! Its numbers have as many digits from the first message to the last, so that they are written
//! over those of the one before. Value and time differ from message to message, as those of a
//! device do; with a boot count and a sequence, the sequence is the number of the message.

use super::wire;
use std::io::Write;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The sequence before the first: large, so that all have ten digits.
const BEFORE_FIRST: u64 = 1_000_000_000;
/// How long ago the first reading was taken. A device sends faster than once a millisecond here,
/// and its times are not to come from the future.
const AGO: Duration = Duration::from_secs(600);

/// Where a number is written.
#[derive(Clone, Copy, Debug)]
struct Slot {
    at: usize,
    digits: usize,
}

/// A PUBLISH about to be sent again and again.
#[derive(Debug)]
pub struct Reading {
    packet: Vec<u8>,
    id_at: Option<usize>,
    value: Slot,
    time: Slot,
    seq: Option<Slot>,
    first_ms: u64,
    sent: u64,
}

impl Reading {
    /// To this topic, with this QoS; `numbered` has boot count and sequence.
    #[must_use]
    pub fn new(topic: &str, qos: u8, numbered: bool) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("the epoch has begun");
        let first_ms = u64::try_from((now - AGO).as_millis()).expect("milliseconds of this era");
        // Both bodies have 100 bytes.
        let (metric, more) = if numbered {
            let seq = format!(r#","boot":417,"seq":{BEFORE_FIRST}"#);
            ("temperature", format!(r#""time":{first_ms}{seq}"#))
        } else {
            ("bearing-temperature-02", format!(r#""quality":"good","time":{first_ms}"#))
        };
        let body = format!(r#"{{"metric":"{metric}","value":21.53,"unit":"Cel",{more}}}"#);
        let mut inner = Vec::new();
        wire::text(topic, &mut inner);
        let id_at = (qos > 0).then_some(inner.len());
        inner.extend_from_slice(if qos > 0 { &[0, 0] } else { &[] });
        let payload_at = inner.len();
        inner.extend_from_slice(body.as_bytes());
        let mut packet = Vec::new();
        wire::packet(0x30 | qos << 1, &inner, &mut packet);
        let header = packet.len() - inner.len();
        let slot = |name: &str, digits| {
            let at = body.find(name).map(|at| header + payload_at + at + name.len());
            at.map(|at| Slot { at, digits })
        };
        Self {
            value: slot("21.", 2).expect("a value is there"),
            time: slot(r#""time":"#, 13).expect("a time is there"),
            seq: slot(r#""seq":"#, 10),
            id_at: id_at.map(|at| header + at),
            packet,
            first_ms,
            sent: 0,
        }
    }

    /// The next message, under this identifier.
    pub fn next(&mut self, id: u16) -> &[u8] {
        self.sent += 1;
        if let Some(at) = self.id_at {
            self.packet[at..at + 2].copy_from_slice(&id.to_be_bytes());
        }
        self.write(self.value, self.sent * 31 % 100);
        self.write(self.time, self.first_ms + self.sent);
        if let Some(slot) = self.seq {
            self.write(slot, BEFORE_FIRST + self.sent);
        }
        &self.packet
    }

    fn write(&mut self, slot: Slot, number: u64) {
        let mut room = &mut self.packet[slot.at..slot.at + slot.digits];
        write!(room, "{number:0width$}", width = slot.digits)
            .expect("there is room for its digits");
    }
}

/// Which message of its topic a numbered payload is, from 0 on.
#[must_use]
pub fn number_of(payload: &[u8]) -> Option<usize> {
    let digits = payload.strip_suffix(b"}")?.last_chunk::<16>()?.strip_prefix(br#""seq":"#)?;
    let seq: u64 = str::from_utf8(digits).ok()?.parse().ok()?;
    usize::try_from(seq.checked_sub(BEFORE_FIRST + 1)?).ok()
}

#[cfg(test)]
mod tests {
    use super::super::wire::{Heard, take};
    use super::*;
    use holdfast_core::Timestamp;
    use holdfast_edge::formats::json;

    #[test]
    fn each_message_is_a_reading_of_100_bytes_under_its_own_numbers() {
        for numbered in [false, true] {
            let mut reading = Reading::new("devices/ps-001/readings", 1, numbered);
            let first_ms = reading.first_ms;
            for sent in 1..=1_000_u16 {
                let mut packet = reading.next(sent);
                let heard = take(&mut packet).unwrap().unwrap();
                let Heard::Publish { topic, id, payload } = heard else { panic!("a PUBLISH") };
                assert_eq!((topic, id), (&b"devices/ps-001/readings"[..], Some(sent)));
                assert_eq!(payload.len(), 100);
                let text = str::from_utf8(payload).unwrap();
                let json: serde_json::Value = serde_json::from_str(text).unwrap();
                let since = json["time"].as_u64().unwrap() - first_ms;
                assert_eq!(since, u64::from(sent));
                let number = usize::from(sent) - 1;
                assert_eq!(number_of(payload), numbered.then_some(number));
            }
        }
        let mut unacknowledged = Reading::new("a", 0, true);
        let packet = &mut unacknowledged.next(7);
        assert!(matches!(take(packet), Ok(Some(Heard::Publish { id: None, .. }))));
    }

    #[test]
    fn a_gateway_finds_nothing_wrong_with_it() {
        for numbered in [false, true] {
            let mut reading = Reading::new("a", 0, numbered);
            let mut packet = reading.next(0);
            let Ok(Some(Heard::Publish { payload, .. })) = take(&mut packet) else { panic!() };
            let received = Timestamp::from_millis(1_800_000_000_000).unwrap();
            let decoded = json::decode(payload, received).unwrap();
            assert_eq!(decoded.readings.len(), 1);
            let item = decoded.items[0].as_ref().unwrap();
            assert_eq!((&item.device, item.source.is_some()), (&None, numbered));
        }
    }
}
