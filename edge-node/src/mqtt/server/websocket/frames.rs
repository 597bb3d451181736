//! The frames of WebSocket (RFC 6455, section 5), as a server reads and writes them.
//!
//! Messages mean nothing to MQTT: its packets begin and end anywhere in them. So no message is put
//! together. What data frames carry is unmasked where it lies and handed on at once, however large
//! a frame says it is; of a connection nothing is kept here but the frame it is in and one control
//! frame, which has at most 125 bytes. How much a client may send is thus bounded by what bounds
//! its packets, as it is over TCP.

/// Bytes of a frame's head with a mask: two, a long length, the mask.
const HEAD_MAX: usize = 14;
/// Bytes that a control frame carries at most.
const CONTROL_MAX: usize = 125;

const CONTINUATION: u8 = 0;
const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;
/// It is the last frame of its message.
const FIN: u8 = 0x80;

/// The other side has done what it came for.
pub(super) const NORMAL: u16 = 1000;
/// It does not speak WebSocket as it is written.
const PROTOCOL_ERROR: u16 = 1002;
/// It sends what cannot be taken.
const UNSUPPORTED: u16 = 1003;

/// How a client's side ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// It said so, with a code where it gave one.
    Closed(Option<u16>),
    /// It sent what it must not: the code it is told, and why.
    Refused(u16, &'static str),
}

#[derive(Clone, Copy, Debug)]
struct Frame {
    opcode: u8,
    mask: [u8; 4],
    /// Bytes of it that were read.
    at: u64,
    length: u64,
}

/// Takes the payload out of what a client sends.
#[derive(Debug, Default)]
pub(super) struct Reader {
    head: [u8; HEAD_MAX],
    head_length: usize,
    frame: Option<Frame>,
    /// Whether a message goes on in the next data frame.
    in_message: bool,
    control: Vec<u8>,
    ping: Option<Vec<u8>>,
    end: Option<End>,
}

impl Reader {
    /// Moves the payload of data frames to the beginning of `bytes` and gives its length. What
    /// comes after an end is not looked at.
    pub(super) fn take(&mut self, bytes: &mut [u8]) -> usize {
        let (mut read, mut kept) = (0, 0);
        while read < bytes.len() && self.end.is_none() {
            let Some(frame) = &mut self.frame else {
                self.head[self.head_length] = bytes[read];
                self.head_length += 1;
                read += 1;
                self.begin();
                continue;
            };
            let left = usize::try_from(frame.length - frame.at).unwrap_or(usize::MAX);
            let piece = read..read + left.min(bytes.len() - read);
            for byte in &mut bytes[piece.clone()] {
                *byte ^= frame.mask[(frame.at % 4) as usize];
                frame.at += 1;
            }
            read = piece.end;
            if frame.opcode >= CLOSE {
                self.control.extend_from_slice(&bytes[piece]);
            } else {
                let length = piece.len();
                bytes.copy_within(piece, kept);
                kept += length;
            }
            self.finish();
        }
        kept
    }

    /// What the last ping carried, once; it is to be sent back.
    pub(super) const fn ping(&mut self) -> Option<Vec<u8>> {
        self.ping.take()
    }

    /// How the client's side ended, once it has.
    pub(super) const fn end(&self) -> Option<End> {
        self.end
    }

    /// Begins a frame when its head is whole.
    fn begin(&mut self) {
        let head = &self.head[..self.head_length];
        let [first, second, rest @ ..] = head else { return };
        let (opcode, is_last) = (first & 0x0f, first & FIN != 0);
        if let Err(why) = self.judge(*first, *second) {
            let code = if opcode == TEXT { UNSUPPORTED } else { PROTOCOL_ERROR };
            self.end = Some(End::Refused(code, why));
            return;
        }
        let size = match second & 0x7f {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        if rest.len() < size + 4 {
            return;
        }
        let (length, mask) = rest.split_at(size);
        let number = length.iter().fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
        let length = if size == 0 { u64::from(second & 0x7f) } else { number };
        if length > i64::MAX as u64 {
            self.end = Some(End::Refused(PROTOCOL_ERROR, "a frame of more than 2^63 bytes"));
            return;
        }
        let mask = mask.try_into().expect("a mask has 4 bytes");
        self.head_length = 0;
        self.frame = Some(Frame { opcode, mask, at: 0, length });
        if opcode < CLOSE {
            self.in_message = !is_last;
        }
        self.finish();
    }

    /// What is wrong with the first two bytes of a frame.
    const fn judge(&self, first: u8, second: u8) -> Result<(), &'static str> {
        let (opcode, is_last) = (first & 0x0f, first & FIN != 0);
        if first & 0x70 != 0 {
            return Err("a frame with an extension that was not agreed on");
        }
        if second & 0x80 == 0 {
            return Err("a frame of a client without a mask");
        }
        match opcode {
            TEXT => Err("a text frame: MQTT is in binary ones"),
            CONTINUATION if !self.in_message => Err("a frame that continues no message"),
            BINARY if self.in_message => Err("a message within another"),
            CONTINUATION | BINARY => Ok(()),
            CLOSE | PING | PONG if !is_last => Err("a control frame in pieces"),
            CLOSE | PING | PONG if (second & 0x7f) as usize > CONTROL_MAX => {
                Err("a control frame of more than 125 bytes")
            }
            CLOSE | PING | PONG => Ok(()),
            _ => Err("a frame of a kind that there is not"),
        }
    }

    /// Ends the frame when all of it was read.
    fn finish(&mut self) {
        let Some(Frame { opcode, .. }) = self.frame.take_if(|frame| frame.at == frame.length)
        else {
            return;
        };
        if opcode < CLOSE {
            return;
        }
        let carried = std::mem::take(&mut self.control);
        match (opcode, carried.as_slice()) {
            (CLOSE, []) => self.end = Some(End::Closed(None)),
            (CLOSE, [_]) => {
                self.end = Some(End::Refused(PROTOCOL_ERROR, "a close with half a code"));
            }
            (CLOSE, [high, low, ..]) => {
                self.end = Some(match u16::from_be_bytes([*high, *low]) {
                    code @ (1000..=1003 | 1007..=1014 | 3000..=4999) => End::Closed(Some(code)),
                    _ => End::Refused(PROTOCOL_ERROR, "a close with a code that is not sent"),
                });
            }
            (PING, _) => self.ping = Some(carried),
            _ => {}
        }
    }
}

/// A whole message in one frame, as a server sends it.
pub(super) fn binary(payload: &[u8], out: &mut Vec<u8>) {
    frame(BINARY, payload, out);
}

/// The answer to a ping.
pub(super) fn pong(carried: &[u8], out: &mut Vec<u8>) {
    frame(PONG, carried, out);
}

/// The last frame of this side.
pub(super) fn close(code: Option<u16>, out: &mut Vec<u8>) {
    match code {
        Some(code) => frame(CLOSE, &code.to_be_bytes(), out),
        None => frame(CLOSE, &[], out),
    }
}

fn frame(opcode: u8, payload: &[u8], out: &mut Vec<u8>) {
    out.push(FIN | opcode);
    match payload.len() {
        short @ 0..=125 => out.push(short as u8),
        middle @ 126..=0xffff => {
            out.push(126);
            out.extend_from_slice(&(middle as u16).to_be_bytes());
        }
        long => {
            out.push(127);
            out.extend_from_slice(&(long as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(payload);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A frame as a client sends it.
    fn sent(first: u8, payload: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        frame(0, payload, &mut out);
        out[0] = first;
        out[1] |= 0x80;
        let mask = [0x37, 0xfa, 0x21, 0x3d];
        let at = out.len() - payload.len();
        let masked = payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask);
        let masked: Vec<u8> = masked.collect();
        out.splice(at.., mask.into_iter().chain(masked));
        out
    }

    /// What is read of bytes that come in pieces of a size.
    fn read(mut bytes: Vec<u8>, size: usize) -> (Vec<u8>, Reader) {
        let mut reader = Reader::default();
        let mut all = Vec::new();
        for piece in bytes.chunks_mut(size) {
            let kept = reader.take(piece);
            all.extend_from_slice(&piece[..kept]);
        }
        (all, reader)
    }

    #[test]
    fn the_examples_of_the_standard_are_read_and_written() {
        // RFC 6455, 5.7: a masked "Hello", in a binary frame in place of a text one.
        let hello = [0x82, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
        assert_eq!(read(hello.to_vec(), 64).0, b"Hello");
        let ping = [0x89, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
        assert_eq!(read(ping.to_vec(), 64).1.ping().unwrap(), b"Hello");
        let mut out = Vec::new();
        pong(b"Hello", &mut out);
        assert_eq!(out, [0x8a, 0x05, 0x48, 0x65, 0x6c, 0x6c, 0x6f]);
        for (length, head) in
            [(256, &[0x82, 0x7e, 0x01, 0x00][..]), (65_536, &[0x82, 0x7f, 0, 0, 0, 0, 0, 1, 0, 0])]
        {
            let mut out = Vec::new();
            binary(&vec![7; length], &mut out);
            assert_eq!(&out[..head.len()], head);
            assert_eq!(out.len(), head.len() + length);
        }
    }

    #[test]
    fn control_frames_come_between_the_pieces_of_a_message() {
        let stream =
            [sent(0x02, b"CON"), sent(0x89, b"are you there"), sent(0x80, b"NECT")].concat();
        for size in [1, 2, 7, 1_000] {
            let (all, mut reader) = read(stream.clone(), size);
            assert_eq!(all, b"CONNECT");
            assert_eq!(reader.ping().as_deref(), Some(&b"are you there"[..]));
            assert_eq!(reader.end(), None);
        }
    }

    #[test]
    fn a_text_frame_is_an_end() {
        let stream = [sent(0x82, b"first"), sent(0x81, b"text"), sent(0x82, b"more")].concat();
        let (all, reader) = read(stream, 1_000);
        assert_eq!(all, b"first", "what came before it counts");
        assert!(matches!(reader.end(), Some(End::Refused(UNSUPPORTED, _))), "{:?}", reader.end());
    }

    #[test]
    fn what_is_not_allowed_is_an_end() {
        let mut unmasked = Vec::new();
        binary(b"x", &mut unmasked);
        let mut endless = vec![0x82, 0xff];
        endless.extend([0xff; 12]);
        for (bytes, what) in [
            (unmasked, "mask"),
            (sent(0xc2, b"x"), "extension"),
            (sent(0x80, b"x"), "continues"),
            ([sent(0x02, b"x"), sent(0x82, b"y")].concat(), "within"),
            (sent(0x09, b"x"), "pieces"),
            (sent(0x89, &[0; 126]), "125"),
            (sent(0x83, b"x"), "kind"),
            (sent(0x8b, b"x"), "kind"),
            (sent(0x88, b"x"), "half"),
            (sent(0x88, &1006_u16.to_be_bytes()), "code"),
            (endless, "2^63"),
        ] {
            let (_, reader) = read(bytes, 3);
            match reader.end() {
                Some(End::Refused(PROTOCOL_ERROR, why)) => assert!(why.contains(what), "{why}"),
                other => panic!("{what}: {other:?}"),
            }
        }
    }

    #[test]
    fn a_close_says_with_what_code() {
        assert_eq!(read(sent(0x88, &[]), 9).1.end(), Some(End::Closed(None)));
        let told = [&1001_u16.to_be_bytes()[..], b"bye"].concat();
        assert_eq!(read(sent(0x88, &told), 9).1.end(), Some(End::Closed(Some(1001))));
    }

    #[test]
    fn a_frame_is_handed_on_before_it_is_whole() {
        let mut begun = vec![0x82, 0xff];
        begun.extend((i64::MAX as u64).to_be_bytes());
        begun.extend([0; 4]);
        begun.extend(b"some");
        assert_eq!(read(begun, 5).0, b"some");
    }

    proptest! {
        /// However a stream of bytes is cut into messages, frames and pieces, it is the same.
        #[test]
        fn packets_need_not_begin_or_end_with_frames(
            payload in proptest::collection::vec(any::<u8>(), 0..2_000),
            cuts in proptest::collection::vec((0_usize..400, any::<bool>()), 0..40),
            size in 1_usize..600,
        ) {
            let (mut rest, mut stream, mut goes_on) = (payload.as_slice(), Vec::new(), false);
            let all = (usize::MAX, true);
            for (length, is_last) in cuts.into_iter().chain([all]) {
                let (piece, behind) = rest.split_at(length.min(rest.len()));
                let opcode = if goes_on { CONTINUATION } else { BINARY };
                stream.extend(sent(opcode | if is_last { FIN } else { 0 }, piece));
                (rest, goes_on) = (behind, !is_last);
            }
            let (found, reader) = read(stream, size);
            prop_assert_eq!(reader.end(), None);
            prop_assert_eq!(found, payload);
        }

        #[test]
        fn no_bytes_harm(mut bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            let mut reader = Reader::default();
            let kept = reader.take(&mut bytes);
            prop_assert!(kept <= bytes.len());
        }
    }
}
