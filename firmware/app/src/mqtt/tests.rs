//! A client at a server that splits, delays, refuses and spoils what it says.

use super::wire::Wire;
use super::*;
use crate::chip::Draw;
use core::convert::Infallible;
use core::task::Poll;
use embassy_futures::{block_on, poll_once};
use std::vec::Vec;

/// As large as an uplink's.
const INPUT: usize = 1152;
const LOGIN: Login<'_> = Login {
    name: "pump-1",
    password: "hft_1",
    keep_alive_s: 30,
    patience: Duration::from_millis(50),
};
const CONNACK: &[u8] = b"\x20\x03\x00\x00\x00";
const SUBACK: &[u8] = b"\x90\x04\x00\x01\x00\x00";
const MESSAGE: &[u8] = b"\x30\x07\x00\x01t\x00abc";
const MESSAGE_7: &[u8] = b"\x32\x0b\x00\x01t\x00\x07\x02\x01\x01abc";
const PONG: &[u8] = b"\xd0\x00";

fn connect<'b>(wire: &Wire, input: &'b mut [u8]) -> Result<Client<'b, Wire>, End> {
    block_on(Client::connect(wire.clone(), input, &LOGIN))
}

/// A client that was let in.
fn open<'b>(wire: &Wire, input: &'b mut [u8]) -> Client<'b, Wire> {
    wire.say(&[CONNACK]);
    let client = connect(wire, input).ok().unwrap();
    wire.told();
    client
}

/// Polls until something has come, with each future dropped that has to wait; how many were.
fn poll(client: &mut Client<'_, Wire>) -> (Result<Option<Vec<u8>>, End>, usize) {
    for dropped in 0..10_000 {
        if let Poll::Ready(polled) = poll_once(client.poll()) {
            return (polled.map(|message| message.map(<[u8]>::to_vec)), dropped);
        }
    }
    panic!("nothing comes");
}

fn heard(client: &mut Client<'_, Wire>) -> Result<Option<Vec<u8>>, End> {
    poll(client).0
}

/// Has a client that was let in hear some packet after it has published a message of number 1.
fn hear(says: &[u8]) -> Result<Option<Vec<u8>>, End> {
    let (wire, mut input) = (Wire::new(&[]), [0; INPUT]);
    let mut client = open(&wire, &mut input);
    block_on(client.publish("t", b"payload")).unwrap();
    wire.say(&[says]);
    heard(&mut client)
}

#[test]
fn packets_are_those_of_the_standard() {
    let (wire, mut input) = (Wire::new(&[CONNACK]), [0; INPUT]);
    let mut client = connect(&wire, &mut input).ok().unwrap();
    let expected = b"\x10\x2a\0\x04MQTT\x05\xc2\0\x1e\x08\x21\0\x01\x27\0\0\x04\x80\
        \0\x06pump-1\0\x06pump-1\0\x05hft_1";
    assert_eq!(wire.told(), expected);
    wire.say(&[SUBACK]);
    block_on(client.subscribe("devices/pump-1/watermark")).unwrap();
    assert_eq!(wire.told(), b"\x82\x1e\0\x01\0\0\x18devices/pump-1/watermark\0");
    block_on(client.publish("devices/pump-1/envelope", b"bytes")).unwrap();
    assert_eq!(wire.told(), b"\x32\x21\0\x17devices/pump-1/envelope\0\x02\0bytes");
    assert!(client.is_waiting());
    wire.say(&[b"\x40\x02\0\x02", MESSAGE_7]);
    assert_eq!(heard(&mut client), Ok(None));
    assert!(!client.is_waiting());
    assert_eq!(heard(&mut client), Ok(Some(b"abc".to_vec())));
    assert_eq!(client.due(), Instant::MIN);
    block_on(client.keep()).unwrap();
    assert_eq!(wire.told(), b"\x40\x02\0\x07");
    client.exchange.ping_at = Instant::now();
    block_on(client.keep()).unwrap();
    assert_eq!(wire.told(), b"\xc0\x00");
}

#[test]
fn lengths_take_as_many_bytes_as_they_need_and_numbers_are_never_zero() {
    let (wire, mut input) = (Wire::new(&[]), [0; INPUT]);
    let mut client = open(&wire, &mut input);
    client.exchange.last_id = 0xfffe;
    for (payload, id, head) in [
        (121, 0xffff, &b"\x32\x7f"[..]),
        (122, 1, &b"\x32\x80\x01"[..]),
        (20_000, 2, &b"\x32\xa6\x9c\x01"[..]),
    ] {
        block_on(client.publish("t", &vec![b'-'; payload])).unwrap();
        let told = wire.told();
        let id: u16 = id;
        let body = [b"\0\x01t", &id.to_be_bytes()[..], b"\0-"].concat();
        assert!(told.starts_with(&[head, &body].concat()), "{payload} bytes");
        assert_eq!(told.len(), head.len() + body.len() - 1 + payload);
        client.exchange.awaited = None;
    }
}

/// Everything that a server may say, in pieces of every size.
#[test]
fn packets_may_come_in_any_pieces() {
    let terms = b"\x20\x45\0\0\x42\x11\0\0\0\0\x21\0\x09\x24\x01\x25\x01\x27\0\0\x10\0\x12\0\x01i\
        \x22\0\x05\x1f\0\x02no\x26\0\x01k\0\x01v\x26\0\0\0\0\x28\x01\x29\0\x2a\x01\x13\0\x3c\
        \x1a\0\x01r\x1c\0\x01s\x15\0\x01m\x16\0\x01d";
    let others = [SUBACK, MESSAGE, PONG, MESSAGE_7, b"\x30\x04\x00\x01t\x00", PONG].concat();
    let wait = |client: &mut Client<'_, Wire>| {
        let heard: Vec<_> = (0..5).map(|_| heard(client).unwrap()).collect();
        let abc = Some(b"abc".to_vec());
        assert_eq!(heard, [abc.clone(), None, abc, Some(Vec::new()), None]);
        assert_eq!(client.exchange.owed, Some(7));
        assert_eq!(client.exchange.packet_max, 4096);
        assert_eq!(client.exchange.silence, Duration::from_secs(45));
    };
    let all = [&terms[..], &others].concat();
    for size in 1..=all.len() {
        for first in 0..size.min(all.len() - 1) {
            let (wire, mut input) = (Wire::new(&[]), [0; INPUT]);
            wire.say(&[&all[..first]][..usize::from(first > 0)]);
            all[first..].chunks(size).for_each(|piece| wire.say(&[piece]));
            let mut client = connect(&wire, &mut input).ok().unwrap();
            block_on(client.subscribe("t")).unwrap();
            wait(&mut client);
        }
    }
}

#[test]
fn a_poll_that_is_dropped_forgets_no_byte() {
    let (wire, mut input) = (Wire::new(&[]), [0; INPUT]);
    let mut client = open(&wire, &mut input);
    let long = [b"\x30\x84\x02\x00\x01t\x00", &[b'x'; 256][..]].concat();
    let all = [&long, MESSAGE, PONG, MESSAGE_7].concat();
    all.chunks(1).for_each(|byte| wire.say(&[byte]));
    for (packet, message) in
        [(&long[..], Some(vec![b'x'; 256])), (MESSAGE, Some(b"abc".to_vec())), (PONG, None)]
    {
        assert_eq!(poll(&mut client), (Ok(message), packet.len()));
    }
    // What is written meanwhile does not come between.
    wire.takes(usize::MAX);
    for _ in 0..MESSAGE_7.len() {
        assert!(poll_once(client.poll()).is_pending());
        client.exchange.ping_at = Instant::MIN;
        client.exchange.pong_by = None;
        block_on(client.keep()).unwrap();
        assert_eq!(wire.told(), b"\xc0\x00");
    }
    assert_eq!(poll(&mut client), (Ok(Some(b"abc".to_vec())), 0));
    assert_eq!(client.exchange.owed, Some(7));
}

#[test]
fn a_write_that_was_dropped_ends_the_connection() {
    for takes in 0..10 {
        let (wire, mut input) = (Wire::new(&[]), [0; INPUT]);
        let mut client = open(&wire, &mut input);
        wire.takes(takes);
        assert!(poll_once(client.publish("t", b"12345")).is_pending());
        wire.takes(usize::MAX);
        client.exchange.owed = Some(7);
        assert_eq!(block_on(client.keep()), Err(End::Lost));
        assert_eq!(block_on(client.publish("t", b"12345")), Err(End::Lost));
        assert_eq!(wire.told_len(), takes, "nothing goes behind half a packet");
    }
}

#[test]
fn a_server_that_takes_nothing_is_lost_and_one_that_takes_little_is_not() {
    let (wire, mut input) = (Wire::new(&[]), [0; INPUT]);
    let mut client = open(&wire, &mut input);
    wire.takes_at_once(1);
    block_on(client.publish("t", b"12345")).unwrap();
    assert_eq!(wire.told(), b"\x32\x0b\0\x01t\0\x01\x0012345");
    wire.takes(3);
    assert_eq!(block_on(client.publish("t", b"12345")), Err(End::Lost));
    // As is one whose stream takes no byte more.
    let (wire, mut input) = (Wire::new(&[]), [0; INPUT]);
    let mut client = open(&wire, &mut input);
    wire.takes(3);
    wire.end();
    assert_eq!(block_on(client.publish("t", b"12345")), Err(End::Lost));
}

#[test]
fn each_reason_has_its_end() {
    for reason in 0..=u8::MAX {
        let said = match reason {
            0x99 => Err(End::Unreadable),
            0x80.. => Err(End::Refused),
            _ => Ok(None),
        };
        for puback in [&[0x40, 3, 0, 1, reason][..], &[0x40, 6, 0, 1, reason, 2, 1, 1]] {
            assert_eq!(hear(puback), said, "PUBACK {reason:#x}");
        }
        let ended = match reason {
            0x88..=0x8e => Err(End::Lost),
            _ => said.clone().and(Err(End::Lost)),
        };
        for disconnect in [&[0xe0, 1, reason][..], &[0xe0, 4, reason, 2, 1, 1]] {
            assert_eq!(hear(disconnect), ended, "DISCONNECT {reason:#x}");
        }
        let (wire, mut input) = (Wire::new(&[]), [0; INPUT]);
        let mut client = open(&wire, &mut input);
        wire.say(&[&[0x90, 4, 0, 1, 0, reason]]);
        assert_eq!(block_on(client.subscribe("t")), said.map(drop), "SUBACK {reason:#x}");
        let wire = Wire::new(&[&[0x20, 3, 0, reason, 0]]);
        let let_in = match reason {
            0 => None,
            0x80.. => Some(End::Refused),
            _ => Some(End::Lost),
        };
        assert_eq!(connect(&wire, &mut input).err(), let_in, "CONNACK {reason:#x}");
    }
    assert_eq!(hear(b"\x40\x02\0\x01"), Ok(None));
    assert_eq!(hear(b"\xe0\x00"), Err(End::Lost));
}

#[test]
fn what_a_server_must_not_say_ends_the_connection() {
    for (says, what) in [
        (CONNACK, "CONNACK again"),
        (b"\x40\x02\0\x02", "PUBACK of another message"),
        (b"\x90\x04\0\x01\0\0", "SUBACK of no request"),
        (b"\x50\x02\0\x01", "PUBREC"),
        (b"\x34\x08\0\x01t\0\x01\0ab", "QoS 2"),
        (b"\x36\x08\0\x01t\0\x01\0ab", "QoS 3"),
        (b"\x38\x05\0\x01t\0a", "again with QoS 0"),
        (b"\x32\x08\0\x01t\0\0\0ab", "number 0"),
        (b"\x30\x03\0\x02t", "a topic that is cut off"),
        (b"\x30\x05\0\x01t\x02\x01", "properties that are cut off"),
        (b"\x30\x05\0\x01t\x80\x00", "a length that is longer than it need be"),
        (b"\x32\x04\0\x01t\0", "a number that is cut off"),
        (b"\x40\x01\0", "PUBACK of a byte"),
        (b"\x40\x05\0\x01\0\0\0", "PUBACK with a byte too many"),
        (b"\x41\x02\0\x01", "PUBACK with flags"),
        (b"\xd0\x01\0", "a pong with a byte too many"),
        (b"\xf0\x00", "AUTH"),
        (b"\x00\x00", "nothing known"),
        (b"\x10\x00", "a client's"),
        (b"\x30\xff\xff\xff\xff\x01", "a length of five bytes"),
        (b"\x30\xfe\x08", "one byte more than there is room for"),
    ] {
        assert_eq!(hear(says), Err(End::Lost), "{what}");
    }
    let longest = [b"\x30\xfd\x08\0\x01t\0", &[0; 1145][..]].concat();
    assert_eq!(longest.len(), INPUT);
    assert_eq!(hear(&longest), Ok(Some(vec![0; 1145])));
    for (says, what) in [
        (MESSAGE, "a message before CONNACK"),
        (b"\xe0\x01\x8b", "DISCONNECT before CONNACK"),
        (b"\x20\x03\x01\0\0", "a session that was there"),
        (b"\x20\x02\0\0", "CONNACK without properties"),
        (b"\x20\x04\0\0\0\0", "CONNACK with a byte too many"),
        (b"\x20\x05\0\0\x02\x24\0", "no QoS 1"),
        (b"\x20\x05\0\0\x02\x01\0", "a property of another packet"),
        (b"\x20\x05\0\0\x02\x13\0", "a property that is cut off"),
        (b"", "nothing"),
    ] {
        let (wire, mut input) = (Wire::new(&[says]), [0; INPUT]);
        wire.end();
        assert_eq!(connect(&wire, &mut input).err(), Some(End::Lost), "{what}");
    }
}

#[test]
fn a_server_has_one_message_of_qos_1_under_way() {
    let (wire, mut input) = (Wire::new(&[]), [0; INPUT]);
    let mut client = open(&wire, &mut input);
    for _ in 0..3 {
        wire.say(&[MESSAGE_7, MESSAGE]);
        assert_eq!(heard(&mut client), Ok(Some(b"abc".to_vec())));
        assert_eq!(heard(&mut client), Ok(Some(b"abc".to_vec())));
        block_on(client.keep()).unwrap();
        assert_eq!(wire.told(), b"\x40\x02\0\x07");
        assert!(client.due() > Instant::now());
    }
    wire.say(&[MESSAGE_7, MESSAGE_7]);
    heard(&mut client).unwrap();
    assert_eq!(heard(&mut client), Err(End::Lost));
}

#[test]
fn a_packet_is_not_longer_than_the_server_takes() {
    let (wire, mut input) = (Wire::new(&[b"\x20\x08\0\0\x05\x27\0\0\0\x10"]), [0; INPUT]);
    let mut client = connect(&wire, &mut input).ok().unwrap();
    wire.told();
    assert_eq!(block_on(client.publish("t", b"123456789")), Err(End::Refused));
    assert_eq!(wire.told(), b"");
    block_on(client.publish("t", b"12345678")).unwrap();
    assert_eq!(wire.told().len(), 16);
}

#[test]
fn silence_is_broken_by_a_ping_and_one_without_an_answer_ends_the_connection() {
    // The server wants a word each second, whatever the client said.
    let (wire, mut input) = (Wire::new(&[b"\x20\x06\0\0\x03\x13\0\x01"]), [0; INPUT]);
    let mut client = connect(&wire, &mut input).ok().unwrap();
    wire.told();
    let begun = Instant::now();
    let wait = |client: &Client<'_, Wire>| block_on(embassy_time::Timer::at(client.due()));
    block_on(client.keep()).unwrap();
    assert_eq!(wire.told(), b"", "nothing is due yet");
    wait(&client);
    assert!(begun.elapsed() >= Duration::from_millis(700));
    block_on(client.keep()).unwrap();
    assert_eq!(wire.told(), b"\xc0\x00");
    // Until the answer has to be there nothing else is due.
    block_on(client.keep()).unwrap();
    assert_eq!(wire.told(), b"");
    wire.say(&[PONG]);
    assert_eq!(heard(&mut client), Ok(None));
    let before = client.due();
    assert!(before > Instant::now() + Duration::from_millis(500));
    // Any packet breaks the silence.
    block_on(embassy_time::Timer::after_millis(10));
    block_on(client.publish("t", b"")).unwrap();
    assert!(client.due() > before);
    wire.told();
    client.exchange.ping_at = Instant::now();
    block_on(client.keep()).unwrap();
    assert_eq!(wire.told(), b"\xc0\x00");
    wait(&client);
    assert_eq!(block_on(client.keep()), Err(End::Lost));
}

#[test]
fn without_a_keep_alive_there_are_no_pings() {
    let (wire, mut input) = (Wire::new(&[CONNACK]), [0; INPUT]);
    let login = Login { keep_alive_s: 0, ..LOGIN };
    let client = block_on(Client::connect(wire, &mut input, &login)).ok().unwrap();
    assert_eq!(client.due(), Instant::MAX);
}

/// What comes from a server that is broken or worse, up to the end of the connection.
#[test]
fn a_hostile_server_breaks_nothing() {
    let good: [&[u8]; 9] = [
        CONNACK,
        b"\x20\x10\0\0\x0d\x13\0\x3c\x27\0\0\x10\0\x1f\0\x02no",
        SUBACK,
        MESSAGE,
        MESSAGE_7,
        PONG,
        b"\x40\x02\0\x02",
        b"\x40\x06\0\x02\x10\x02\x01\x01",
        b"\xe0\x05\x99\x03\x1f\0\0",
    ];
    let mut draw = Draw(1);
    let (mut messages, mut ends) = (0, [0; 3]);
    for _ in 0..20_000 {
        let mut says = [good[draw.below(2) as usize], SUBACK].concat();
        let whole = says.len();
        for _ in 0..draw.below(12) {
            says.extend(good[draw.below(good.len() as u64) as usize]);
        }
        for _ in 0..draw.below(4) {
            // Most of them are let in.
            let from = if draw.below(4) == 0 { 0 } else { whole.min(says.len() - 1) };
            let at = from + draw.below((says.len() - from) as u64) as usize;
            says[at] = match draw.below(3) {
                0 => draw.below(256) as u8,
                1 => draw.below(4) as u8,
                _ => says[at] ^ (1 << draw.below(8)),
            };
        }
        let (wire, mut input) = (Wire::new(&[]), [0; 64]);
        says.chunks(1 + draw.below(20) as usize).for_each(|piece| wire.say(&[piece]));
        wire.end();
        let mut talk = |client: &mut Client<'_, Wire>| {
            block_on(client.subscribe("t"))?;
            loop {
                messages += usize::from(heard(client)?.is_some());
                block_on(client.keep())?;
                if !client.is_waiting() {
                    block_on(client.publish("t", b"payload"))?;
                }
            }
        };
        let end: Result<Infallible, End> =
            connect(&wire, &mut input).and_then(|mut client| talk(&mut client));
        ends[end.unwrap_err() as usize] += 1;
    }
    assert!(messages > 4_000 && ends.iter().all(|count| *count > 100), "{messages} {ends:?}");
}
