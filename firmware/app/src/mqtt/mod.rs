//! A client of MQTT 5 (OASIS, 2019) that does what an uplink needs: it subscribes once, publishes
//! with QoS 1, and takes what comes.
//!
//! One request is under way at a time, until its acknowledgement comes. Nothing is kept to be sent
//! again: that is for whoever publishes. A session is new with each connection and ends with it.
//! A packet from the server is read into one buffer, whose size the server is told; one to it is
//! written from where its parts lie.
//!
//! Reading and writing are apart, for they differ in what may end them early. [`Client::poll`] only
//! reads and may be dropped at any wait: what has come of a packet stays in the buffer. A write
//! that is dropped leaves half a packet in the stream, so what the server is owed, pings and
//! acknowledgements, is noted by `poll` and written by [`Client::keep`], which like all that writes
//! is to be awaited to its end. If one is not, the client takes the connection for lost.

mod packet;
#[cfg(test)]
mod tests;
#[cfg(test)]
pub(crate) mod wire;

use core::convert::Infallible;
use embassy_time::{Duration, Instant, with_timeout};
use embedded_io_async::{Read, Write};
use holdfast_core::Reject;
use holdfast_core::codec::Sink;
use packet::{Packet, Terms};

/// Protocol MQTT, version 5; a new session, with user name and password [3.1.2].
const PROTOCOL: [u8; 8] = [0, 4, b'M', b'Q', b'T', b'T', 5, 0b1100_0010];
/// Messages of QoS 1 that it takes before it has acknowledged one: as many as it keeps in mind.
const RECEIVE_MAXIMUM: u8 = 1;

/// Why a connection is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// It broke, the server closed it, or what the server says makes no sense.
    Lost,
    /// The server says that what is under way cannot be read.
    Unreadable,
    /// The server took something not, for now.
    Refused,
}

impl From<Reject> for End {
    fn from(_: Reject) -> Self {
        Self::Lost
    }
}

/// Who calls, and how.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Login<'l> {
    /// The client identifier, and the user name too.
    pub name: &'l str,
    pub password: &'l str,
    /// Seconds of silence before the link is tried; 0 for never.
    pub keep_alive_s: u16,
    /// How long a ping may take, and a write.
    pub patience: Duration,
}

/// An acknowledgement that is to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Awaited {
    Connack,
    Suback(u16),
    Puback(u16),
}

/// Where the exchange with the server stands.
struct Exchange {
    awaited: Option<Awaited>,
    /// The message that is to be acknowledged.
    owed: Option<u16>,
    /// The longest packet that the server takes.
    packet_max: u32,
    /// The longest silence; the greatest duration for any.
    silence: Duration,
    ping_at: Instant,
    /// When the answer to a ping has to be there.
    pong_by: Option<Instant>,
    last_id: u16,
}

/// A connection to a server.
pub(crate) struct Client<'b, I> {
    io: I,
    input: &'b mut [u8],
    /// Bytes of `input` that have come, all of one packet.
    filled: usize,
    /// Whether a write has begun and not come to its end.
    is_cut: bool,
    patience: Duration,
    exchange: Exchange,
}

impl<'b, I: Read + Write> Client<'b, I> {
    /// Logs in over a stream; packets of the server have to fit into `input`.
    ///
    /// # Errors
    /// [`End::Refused`] when the server does not let it in.
    pub async fn connect(io: I, input: &'b mut [u8], login: &Login<'_>) -> Result<Self, End> {
        let Login { name, password, keep_alive_s, patience } = *login;
        let input_max = u32::try_from(input.len()).unwrap_or(u32::MAX).to_be_bytes();
        let exchange = Exchange::new(keep_alive_s);
        let mut client = Self { io, input, filled: 0, is_cut: false, patience, exchange };
        let parts: [&[u8]; 10] = [
            &PROTOCOL,
            &keep_alive_s.to_be_bytes(),
            &[8, packet::RECEIVE_MAXIMUM, 0, RECEIVE_MAXIMUM, packet::MAXIMUM_PACKET_SIZE],
            &input_max,
            &len(name),
            name.as_bytes(),
            &len(name),
            name.as_bytes(),
            &len(password),
            password.as_bytes(),
        ];
        client.send(packet::CONNECT, &parts).await?;
        client.settle().await?;
        Ok(client)
    }

    /// Has the server send what is published to a topic, with QoS 0. What comes before it has
    /// agreed is let go.
    ///
    /// # Errors
    /// [`End::Refused`] when it does not agree.
    pub async fn subscribe(&mut self, topic: &str) -> Result<(), End> {
        let id = self.exchange.request(Awaited::Suback);
        let parts: [&[u8]; 5] = [&id, &[0], &len(topic), topic.as_bytes(), &[0]];
        self.send(packet::SUBSCRIBE, &parts).await?;
        self.settle().await
    }

    /// Publishes a message with QoS 1. Not to be called while [`Self::is_waiting`].
    pub async fn publish(&mut self, topic: &str, payload: &[u8]) -> Result<(), End> {
        let id = self.exchange.request(Awaited::Puback);
        let parts: [&[u8]; 5] = [&len(topic), topic.as_bytes(), &id, &[0], payload];
        self.send(packet::PUBLISH, &parts).await
    }

    /// Whether the acknowledgement of what was sent last is yet to come.
    pub const fn is_waiting(&self) -> bool {
        self.exchange.awaited.is_some()
    }

    /// When [`Self::keep`] is due.
    pub fn due(&self) -> Instant {
        let Exchange { owed, pong_by, ping_at, .. } = self.exchange;
        if owed.is_some() { Instant::MIN } else { pong_by.unwrap_or(ping_at) }
    }

    /// Does what keeps the connection, where it is due: acknowledges a message, sends a ping. To be
    /// called when [`Self::poll`] has nothing to read, so that a pong is seen before it is missed.
    ///
    /// # Errors
    /// [`End::Lost`] when there was no answer to a ping.
    pub async fn keep(&mut self) -> Result<(), End> {
        if let Some(id) = self.exchange.owed.take() {
            return self.send(packet::PUBACK, &[&id.to_be_bytes()]).await;
        }
        let now = Instant::now();
        match self.exchange.pong_by {
            Some(by) if now >= by => Err(End::Lost),
            None if now >= self.exchange.ping_at => {
                self.exchange.pong_by = Some(now + self.patience);
                self.send(packet::PINGREQ, &[]).await
            }
            _ => Ok(()),
        }
    }

    /// Waits for a packet; the payload if it is a message. May be dropped and called again.
    ///
    /// # Errors
    /// What the server says against what is under way or the connection, if it says so;
    /// [`End::Lost`] for all that it must not say.
    pub async fn poll(&mut self) -> Result<Option<&[u8]>, End> {
        // No byte is read beyond the packet, so the next one begins at the front again.
        let body = loop {
            let body = packet::body(&self.input[..self.filled])?;
            if body.end == self.filled {
                break body;
            }
            let rest = self.input.get_mut(self.filled..body.end).ok_or(End::Lost)?;
            match self.io.read(rest).await {
                // Nothing is waited for between the read and this, so no byte is forgotten.
                Ok(read @ 1..) => self.filled += read,
                _ => return Err(End::Lost),
            }
        };
        self.filled = 0;
        self.exchange.take(Packet::read(self.input[0], &self.input[body])?)
    }

    /// Reads until what was asked for is acknowledged.
    async fn settle(&mut self) -> Result<(), End> {
        while self.is_waiting() {
            self.poll().await?;
        }
        Ok(())
    }

    /// Sends a packet whose body is made of these parts.
    async fn send(&mut self, first: u8, parts: &[&[u8]]) -> Result<(), End> {
        let len: usize = parts.iter().map(|part| part.len()).sum();
        let mut head = heapless::Vec::<u8, 5>::new();
        head.put(&[first])?;
        head.put_uint(len as u64)?;
        if head.len() + len > self.exchange.packet_max as usize {
            return Err(End::Refused);
        }
        if core::mem::replace(&mut self.is_cut, true) {
            return Err(End::Lost);
        }
        let io = &mut self.io;
        let write = async {
            for mut part in [&head[..]].iter().chain(parts).copied() {
                while !part.is_empty() {
                    let written = io.write(part).await.ok().filter(|written| *written > 0)?;
                    part = part.get(written..)?;
                }
            }
            io.flush().await.ok()
        };
        // A server that takes nothing is as good as none.
        with_timeout(self.patience, write).await.ok().flatten().ok_or(End::Lost)?;
        self.is_cut = false;
        self.exchange.spoke();
        Ok(())
    }
}

impl Exchange {
    const fn new(keep_alive_s: u16) -> Self {
        Self {
            awaited: Some(Awaited::Connack),
            owed: None,
            packet_max: u32::MAX,
            silence: silence(keep_alive_s),
            ping_at: Instant::MAX,
            pong_by: None,
            last_id: 0,
        }
    }

    /// Notes that an acknowledgement is awaited; the identifier of what it is for.
    fn request(&mut self, awaited: impl FnOnce(u16) -> Awaited) -> [u8; 2] {
        // Zero identifies nothing [2.2.1].
        self.last_id = self.last_id.wrapping_add(1).max(1);
        self.awaited = Some(awaited(self.last_id));
        self.last_id.to_be_bytes()
    }

    /// Notes that the server was told something.
    fn spoke(&mut self) {
        self.ping_at = Instant::now().checked_add(self.silence).unwrap_or(Instant::MAX);
    }

    /// Takes note of a packet; the payload if it is a message.
    fn take<'p>(&mut self, packet: Packet<'p>) -> Result<Option<&'p [u8]>, End> {
        match packet {
            Packet::Connack { reason, terms } if self.awaited == Some(Awaited::Connack) => {
                self.awaited = None;
                if reason >= packet::FAILED {
                    return Err(End::Refused);
                }
                self.agree(terms);
            }
            // Before it has let anybody in, a server has nothing else to say.
            _ if self.awaited == Some(Awaited::Connack) => return Err(End::Lost),
            Packet::Suback { id, reason } if self.awaited == Some(Awaited::Suback(id)) => {
                self.awaited = None;
                judge(reason)?;
            }
            Packet::Puback { id, reason } if self.awaited == Some(Awaited::Puback(id)) => {
                self.awaited = None;
                judge(reason)?;
            }
            Packet::Publish { id, payload } => {
                // One that waits for its acknowledgement is all that the server may send.
                if id.is_some() && self.owed.is_some() {
                    return Err(End::Lost);
                }
                self.owed = self.owed.or(id);
                return Ok(Some(payload));
            }
            Packet::Pingresp => self.pong_by = None,
            Packet::Disconnect { reason } => return disconnect(reason).map(|never| match never {}),
            _ => return Err(End::Lost),
        }
        Ok(None)
    }

    fn agree(&mut self, terms: Terms) {
        self.packet_max = terms.packet_max.unwrap_or(u32::MAX);
        if let Some(keep_alive_s) = terms.keep_alive_s {
            self.silence = silence(keep_alive_s);
            self.spoke();
        }
    }
}

/// How long nothing may be sent for a keep alive: the ping has some time to go out.
const fn silence(keep_alive_s: u16) -> Duration {
    match keep_alive_s {
        0 => Duration::MAX,
        s => Duration::from_millis(s as u64 * 750),
    }
}

/// The length of a text, as it stands before it [1.5.4].
fn len(text: &str) -> [u8; 2] {
    // Ids, tokens and topics have bounds that are far below.
    (text.len() as u16).to_be_bytes()
}

/// What a reason says of what it is for.
fn judge(reason: u8) -> Result<(), End> {
    match reason {
        packet::PAYLOAD_FORMAT_INVALID => Err(End::Unreadable),
        packet::FAILED.. => Err(End::Refused),
        _ => Ok(()),
    }
}

/// Why a server ends a connection.
fn disconnect(reason: u8) -> Result<Infallible, End> {
    match reason {
        // From unavailable to taken over: that is about the server or the connection, not about
        // what it was sent.
        0x88..=0x8e => Err(End::Lost),
        _ => judge(reason).and(Err(End::Lost)),
    }
}
