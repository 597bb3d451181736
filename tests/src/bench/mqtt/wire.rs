//! As much of MQTT as a load has to say and to hear.
//!
//! Version 3.1.1, since two of the peers speak nothing later. Our own codec is not used: it checks
//! all that a server must check, and here the processor's time belongs to what is measured. Of what
//! comes only as much is read as is counted, or tells that a broker refused.

use std::io;

/// CONNECT, the first byte.
const CONNECT: u8 = 0x10;
/// SUBSCRIBE, with the flags that it must have.
const SUBSCRIBE: u8 = 0x82;
/// DISCONNECT, whole.
pub const DISCONNECT: [u8; 2] = [0xe0, 0];

/// Who connects.
#[derive(Clone, Debug)]
pub struct Login {
    /// The name; a token needs none, but a password needs one in this version.
    pub user: String,
    /// What proves it.
    pub password: String,
}

/// What a broker said.
#[derive(Debug, PartialEq, Eq)]
pub enum Heard<'a> {
    /// It knows this client now.
    Connack {
        /// And had known it before.
        session_present: bool,
        /// 0, or why not.
        code: u8,
    },
    /// It has the message of this identifier.
    Puback(u16),
    /// What it granted the first filter: a QoS, or 0x80.
    Suback(u8),
    /// A message.
    Publish {
        /// To which topic.
        topic: &'a [u8],
        /// How to acknowledge it, unless its QoS is 0.
        id: Option<u16>,
        /// What it is.
        payload: &'a [u8],
    },
    /// Something else, by its first byte.
    Other(u8),
}

/// Appends a CONNECT that needs no keep alive.
pub fn connect(id: &str, clean: bool, login: Option<&Login>, output: &mut Vec<u8>) {
    let mut flags = u8::from(clean) << 1;
    let mut body = Vec::new();
    text("MQTT", &mut body);
    flags |= if login.is_some() { 0xc0 } else { 0 };
    body.extend([4, flags, 0, 0]);
    text(id, &mut body);
    if let Some(Login { user, password }) = login {
        text(user, &mut body);
        text(password, &mut body);
    }
    packet(CONNECT, &body, output);
}

/// Appends a SUBSCRIBE with one filter.
pub fn subscribe(filter: &str, qos: u8, output: &mut Vec<u8>) {
    let mut body = vec![0, 1];
    text(filter, &mut body);
    body.push(qos);
    packet(SUBSCRIBE, &body, output);
}

/// Appends the acknowledgement of a message.
pub fn puback(id: u16, output: &mut Vec<u8>) {
    let [high, low] = id.to_be_bytes();
    output.extend([0x40, 2, high, low]);
}

/// Appends a whole packet.
pub fn packet(first: u8, body: &[u8], output: &mut Vec<u8>) {
    output.push(first);
    let mut length = body.len();
    loop {
        let byte = (length & 0x7f) as u8;
        length >>= 7;
        output.push(if length > 0 { byte | 0x80 } else { byte });
        if length == 0 {
            break;
        }
    }
    output.extend_from_slice(body);
}

/// Appends a string with its length.
pub fn text(text: &str, output: &mut Vec<u8>) {
    let length = u16::try_from(text.len()).expect("names of a bench are short");
    output.extend(length.to_be_bytes());
    output.extend_from_slice(text.as_bytes());
}

/// Takes one whole packet off the front, if there is one.
///
/// # Errors
/// When what is there is no packet.
pub fn take<'a>(input: &mut &'a [u8]) -> io::Result<Option<Heard<'a>>> {
    let Some((&first, rest)) = input.split_first() else { return Ok(None) };
    let (mut length, mut written) = (0_usize, 0);
    loop {
        let Some(&byte) = rest.get(written) else { return Ok(None) };
        length |= usize::from(byte & 0x7f) << (7 * written);
        written += 1;
        if byte & 0x80 == 0 {
            break;
        }
        if written == 4 {
            return Err(broken(first));
        }
    }
    let Some(body) = rest.get(written..written + length) else { return Ok(None) };
    *input = &rest[written + length..];
    heard(first, body).map(Some).ok_or_else(|| broken(first))
}

/// What a packet says; nothing if it is too short to say it.
fn heard(first: u8, body: &[u8]) -> Option<Heard<'_>> {
    Some(match first >> 4 {
        2 => Heard::Connack { session_present: body.first()? & 1 == 1, code: *body.get(1)? },
        3 => {
            let (topic, rest) = body.split_at_checked(2)?;
            let (topic, rest) = rest.split_at_checked(usize::from(number(topic)))?;
            let (id, payload) = if first & 0x06 == 0 {
                (None, rest)
            } else {
                let (id, payload) = rest.split_at_checked(2)?;
                (Some(number(id)), payload)
            };
            Heard::Publish { topic, id, payload }
        }
        4 => Heard::Puback(number(body.get(..2)?)),
        9 => Heard::Suback(*body.get(2)?),
        _ => Heard::Other(first),
    })
}

fn number(two: &[u8]) -> u16 {
    u16::from_be_bytes([two[0], two[1]])
}

fn broken(first: u8) -> io::Error {
    io::Error::other(format!("the broker sent a packet {first:#04x} that is none"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::BytesMut;
    use holdfast_edge::mqtt::codec::{Codec, Limits};
    use holdfast_edge::mqtt::packet::{Packet, QoS};

    #[test]
    fn a_strict_server_takes_what_is_said() {
        let login = Login { user: "u".into(), password: "secret".into() };
        let mut said = Vec::new();
        connect("bench-1", true, Some(&login), &mut said);
        subscribe("bench/#", 1, &mut said);
        puback(0x0102, &mut said);
        said.extend(DISCONNECT);
        let (mut codec, mut input) = (Codec::new(Limits::default()), BytesMut::from(&said[..]));
        let mut next = || codec.decode(&mut input).unwrap().unwrap();
        let Packet::Connect(connect) = next() else { panic!("a CONNECT") };
        assert!(connect.clean_start && connect.will.is_none());
        assert_eq!((connect.client_id.as_str(), connect.keep_alive), ("bench-1", 0));
        assert_eq!(connect.user_name.unwrap().as_str(), "u");
        assert_eq!(connect.password.unwrap().bytes(), &b"secret"[..]);
        let Packet::Subscribe(subscribe) = next() else { panic!("a SUBSCRIBE") };
        assert_eq!(subscribe.subscriptions[0].options.qos, QoS::AtLeastOnce);
        let Packet::Puback(ack) = next() else { panic!("a PUBACK") };
        assert_eq!(ack.packet_id.get(), 0x0102);
        assert!(matches!(next(), Packet::Disconnect(_)));
        assert!(input.is_empty());
    }

    #[test]
    fn packets_are_taken_whole_wherever_a_read_ended() {
        let mut said = vec![0x20, 2, 1, 0, 0x40, 2, 0, 7, 0x90, 3, 0, 1, 0x80, 0xd0, 0];
        let mut publish = Vec::new();
        text("a/b", &mut publish);
        publish.extend([0, 9]);
        publish.extend([b'x'; 200]);
        packet(0x32, &publish, &mut said);
        for end in 0..said.len() {
            let mut input = &said[..end];
            while let Some(heard) = take(&mut input).unwrap() {
                assert!(!matches!(heard, Heard::Publish { .. }), "it is not whole");
            }
        }
        let mut input = &said[..];
        let mut next = || take(&mut input).unwrap();
        assert_eq!(next(), Some(Heard::Connack { session_present: true, code: 0 }));
        assert_eq!(next(), Some(Heard::Puback(7)));
        assert_eq!(next(), Some(Heard::Suback(0x80)));
        assert_eq!(next(), Some(Heard::Other(0xd0)));
        let payload = &[b'x'; 200][..];
        assert_eq!(next(), Some(Heard::Publish { topic: b"a/b", id: Some(9), payload }));
        assert_eq!(next(), None);
    }

    #[test]
    fn what_is_no_packet_is_an_error() {
        assert!(take(&mut &[0x30, 0xff, 0xff, 0xff, 0xff, 1][..]).is_err(), "no such length");
        assert!(take(&mut &[0x40, 1, 0][..]).is_err(), "half an identifier");
        assert!(take(&mut &[0x30, 3, 0, 9, b'a'][..]).is_err(), "a topic beyond the end");
    }
}
