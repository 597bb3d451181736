//! Golden bytes, what is refused and with which reason, what is legal, and the laws of the codec.

mod golden;
mod laws;
mod legal;
mod refused;

use super::*;
use crate::mqtt::packet::*;

/// Bytes from hexadecimal digits and texts in quotes.
fn bytes(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (index, part) in text.split('\'').enumerate() {
        if index % 2 == 1 {
            bytes.extend_from_slice(part.as_bytes());
            continue;
        }
        let digits: Vec<u32> = part.chars().filter_map(|c| c.to_digit(16)).collect();
        assert_eq!(digits.len() % 2, 0, "{part}");
        bytes.extend(digits.chunks(2).map(|pair| (pair[0] << 4 | pair[1]) as u8));
    }
    bytes
}

/// The codec of one who reads what `sender` sends in `version` after CONNECT.
fn reader_of(sender: Side, version: Version) -> Codec {
    let connected = Codec::for_client(version, Limits::default());
    Codec { sender, ..connected }
}

fn decode(codec: &mut Codec, bytes: &[u8]) -> Result<Option<Packet>, Violation> {
    codec.decode(&mut BytesMut::from(bytes))
}

fn utf8(text: &str) -> Utf8 {
    text.try_into().unwrap()
}

fn topic(text: &str) -> Topic {
    text.try_into().unwrap()
}

fn filter(text: &str) -> Filter {
    text.try_into().unwrap()
}

fn id(number: u16) -> PacketId {
    number.try_into().unwrap()
}

fn binary(bytes: &'static [u8]) -> Binary {
    Binary::new(bytes).unwrap()
}

fn user(pairs: &[(&str, &str)]) -> UserProperties {
    pairs.iter().map(|(name, value)| (utf8(name), utf8(value))).collect()
}
