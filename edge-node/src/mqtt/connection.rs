//! One connection of a client: what it may say when, and what each side owes the other.
//!
//! Without I/O: bytes and times go in, bytes ([`Connection::output`]) and [`Request`]s come out,
//! and the broker answers a request when what it asks for is done. Of a message that is kept that
//! is when it is on disk, so nothing is acknowledged before. Answers to messages leave in the order
//! in which the messages came, whatever order they are done in.
//!
//! Flow control is not reading: while more is unanswered than [`Options`] allow, or the client does
//! not take what it is sent, [`Connection::wants_input`] is false, and the driver leaves bytes in
//! the socket. What must outlive the connection (sessions, what is in flight) is the broker's; here
//! is only where the exchange of each packet identifier stands.

mod incoming;
mod outgoing;
mod pace;
#[cfg(test)]
mod tests;

pub use outgoing::Delivered;

use super::codec::{Codec, Limits, Violation};
use super::packet::{
    AckProperties, Connack, ConnackProperties, Connect, Disconnect, DisconnectProperties, Packet,
    PacketId, Publish, Suback, Subscribe, Unsubscribe, Utf8, Version,
};
use super::reason::Reason;
use bytes::BytesMut;
use incoming::Incoming;
use outgoing::Outgoing;
use pace::Pace;
use std::borrow::Cow;
use std::collections::VecDeque;
use std::num::{NonZeroU16, NonZeroU32};

/// Bytes that wait to be written beyond which a client is not listened to: it does not take what it
/// is owed.
const UNWRITTEN_MAX: usize = 256 * 1024;
/// SUBSCRIBE and UNSUBSCRIBE packets that may be under way.
const ASKED_MAX: usize = 16;

/// What a server allows on each connection.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Sizes of packets.
    pub limits: Limits,
    /// Milliseconds until the CONNECT has to be there.
    pub connect_ms: u64,
    /// Messages of QoS 1 and 2 that a client may have unanswered.
    pub receive_maximum: NonZeroU16,
    /// Messages of QoS 1 and 2 that are sent before the client answers, if it takes so many.
    pub send_maximum: NonZeroU16,
    /// The greatest topic alias in either direction.
    pub alias_maximum: u16,
    /// Messages that a client may publish in a second; 0 for any number.
    pub publish_rate: u32,
    /// The longest keep alive; nothing when any is taken, 0 included, which is for ever.
    pub keep_alive_max_s: Option<NonZeroU16>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            connect_ms: 10_000,
            receive_maximum: NonZeroU16::new(1024).expect("not zero"),
            send_maximum: NonZeroU16::new(1024).expect("not zero"),
            alias_maximum: 64,
            publish_rate: 0,
            keep_alive_max_s: None,
        }
    }
}

/// What the broker is asked for.
#[derive(Debug)]
pub enum Request {
    /// To let a client in: answered by [`Connection::accept`] or [`Connection::refuse`].
    Open(Box<Connect>),
    /// To take a message. Unless its QoS is 0 answered by [`Connection::published`].
    Publish(Arrived),
    /// To forget the packet identifier of a message of QoS 2: answered by
    /// [`Connection::released`], once it is forgotten for good.
    Release(PacketId),
    /// Answered by [`Connection::subscribed`].
    Subscribe(Subscribe),
    /// Answered by [`Connection::unsubscribed`].
    Unsubscribe(Unsubscribe),
    /// The client has a message, or does not want it: it can be forgotten.
    Acked(PacketId),
    /// The client has a message of QoS 2: answered by [`Connection::noted`], once that is on disk.
    Received(PacketId),
    /// The connection is over; always the last.
    Ended(Ended),
}

/// A message from the client.
#[derive(Debug)]
pub struct Arrived {
    /// Which message of this connection it is.
    pub serial: u64,
    /// The message, its topic put in the place of an alias.
    pub publish: Publish,
}

/// How a connection ended.
#[derive(Debug, PartialEq, Eq)]
pub struct Ended {
    /// Whether the client's will is to be published.
    pub with_will: bool,
    /// Seconds that the client wants its session kept, if it said so at the end.
    pub session_expiry_s: Option<u32>,
    /// Why, for the log.
    pub why: Cow<'static, str>,
}

/// How a client is let in.
#[derive(Debug, Default)]
pub struct Accepted {
    /// Whether its session was there.
    pub session_present: bool,
    /// The identifier that it was given.
    pub assigned_client_id: Option<Utf8>,
    /// Seconds that the session outlives the connection, where that is not what it asked for.
    pub session_expiry_s: Option<u32>,
    /// Messages of QoS 2 that were taken from it and are not released.
    pub held: Vec<PacketId>,
}

/// What became of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// In a word.
    pub reason: Reason,
    /// And in more of them, where it failed.
    pub text: Option<Cow<'static, str>>,
}

impl From<Reason> for Outcome {
    fn from(reason: Reason) -> Self {
        Self { reason, text: None }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// The CONNECT has to be there by then.
    Fresh {
        until_ms: u64,
    },
    /// The broker judges it.
    Opening,
    Open,
    Over,
}

/// The exchange with one client.
#[derive(Debug)]
pub struct Connection {
    options: Options,
    codec: Codec,
    phase: Phase,
    keep_alive_s: u16,
    heard_ms: u64,
    pace: Pace,
    /// Whether the session was to end with the connection when it began.
    ends_with_connection: bool,
    /// Whether the client wants reasons in words with answers.
    explains: bool,
    asked: Vec<PacketId>,
    incoming: Incoming,
    outgoing: Outgoing,
    requests: VecDeque<Request>,
    output: BytesMut,
    violated: bool,
}

impl Connection {
    /// A connection that was just taken.
    #[must_use]
    pub fn new(options: Options, now_ms: u64) -> Self {
        Self {
            codec: Codec::new(options.limits),
            phase: Phase::Fresh { until_ms: now_ms + options.connect_ms },
            keep_alive_s: 0,
            heard_ms: now_ms,
            pace: Pace::new(options.publish_rate),
            ends_with_connection: true,
            explains: true,
            asked: Vec::new(),
            incoming: Incoming::new(&options),
            outgoing: Outgoing::default(),
            requests: VecDeque::new(),
            output: BytesMut::new(),
            violated: false,
            options,
        }
    }

    /// What the broker is asked for next.
    pub fn request(&mut self) -> Option<Request> {
        self.requests.pop_front()
    }

    /// What is to be written; whoever writes takes it off the front.
    pub const fn output(&mut self) -> &mut BytesMut {
        &mut self.output
    }

    /// Whether it is over: what is in the output is the last.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.phase == Phase::Over
    }

    /// Whether it ended for something that the client must not do.
    #[must_use]
    pub const fn was_violated(&self) -> bool {
        self.violated
    }

    /// Whether bytes of the client are to be read.
    #[must_use]
    pub fn wants_input(&self) -> bool {
        let has_room = match self.phase {
            Phase::Fresh { .. } => true,
            Phase::Opening | Phase::Over => false,
            Phase::Open => self.asked.len() < ASKED_MAX && self.incoming.has_room(self.version()),
        };
        has_room && self.output.len() < UNWRITTEN_MAX
    }

    /// When [`Self::tick`] is due, if it is.
    #[must_use]
    pub fn deadline(&self) -> Option<u64> {
        match self.phase {
            Phase::Fresh { until_ms } => Some(until_ms),
            Phase::Open if self.keep_alive_s > 0 => {
                Some(self.heard_ms + u64::from(self.keep_alive_s) * 1_500)
            }
            _ => None,
        }
    }

    /// Time has passed.
    pub fn tick(&mut self, now_ms: u64) {
        if self.deadline().is_none_or(|deadline| now_ms < deadline) {
            return;
        }
        match self.phase {
            Phase::Fresh { .. } => self.over("no CONNECT came"),
            // What it says stays in the socket, and that is not its fault.
            _ if !self.wants_input() => self.heard_ms = now_ms,
            _ => self.end(Reason::KeepAliveTimeout, "nothing came for 1.5 times the keep alive"),
        }
    }

    /// Until when a client that publishes faster than it may is not listened to, in steady
    /// milliseconds.
    #[must_use]
    pub fn resumes_at(&self, now_ms: u64) -> Option<u64> {
        self.pace.resumes_at(now_ms)
    }

    /// Takes packets off `input`, as long as it wants any.
    pub fn receive(&mut self, now_ms: u64, input: &mut BytesMut) {
        while self.wants_input() {
            if self.pace.resumes_at(now_ms).is_some() {
                // That it is not heard is not its fault.
                self.heard_ms = now_ms;
                break;
            }
            match self.codec.decode(input) {
                Ok(Some(packet)) => {
                    self.heard_ms = now_ms;
                    if matches!(packet, Packet::Publish(_)) {
                        self.pace.spend(now_ms);
                    }
                    if let Err(violation) = self.take(packet) {
                        self.violated(&violation);
                    }
                }
                Ok(None) => break,
                Err(violation) => self.violated(&violation),
            }
        }
    }

    /// The client is gone without a word.
    pub fn lost(&mut self) {
        self.over("the connection was lost");
    }

    /// Lets the client in.
    pub fn accept(&mut self, accepted: Accepted) {
        if self.phase != Phase::Opening {
            return;
        }
        let asked = self.keep_alive_s;
        let most = self.options.keep_alive_max_s.map(NonZeroU16::get);
        let set = most.filter(|most| self.is_v5() && (asked == 0 || asked > *most));
        self.keep_alive_s = set.unwrap_or(asked);
        self.incoming.resume(accepted.held);
        self.phase = Phase::Open;
        let properties = ConnackProperties {
            session_expiry_s: accepted.session_expiry_s,
            receive_maximum: Some(self.options.receive_maximum),
            maximum_packet: NonZeroU32::new(self.options.limits.packet),
            assigned_client_id: accepted.assigned_client_id,
            alias_maximum: Some(self.options.alias_maximum),
            server_keep_alive: set,
            ..ConnackProperties::default()
        };
        let (session_present, reason) = (accepted.session_present, Reason::Success);
        self.send(&Packet::Connack(Box::new(Connack { session_present, reason, properties })));
    }

    /// Does not let it in.
    pub fn refuse(&mut self, reason: Reason, text: &str) {
        if self.phase == Phase::Opening {
            self.connack(reason, text);
            self.over(format!("not let in: {reason}: {text}"));
        }
    }

    /// What became of each filter of a SUBSCRIBE.
    pub fn subscribed(&mut self, packet_id: PacketId, reasons: Vec<Reason>, text: Option<&str>) {
        if let Some(suback) = self.answer_to(packet_id, reasons, text) {
            self.send(&Packet::Suback(suback));
        }
    }

    /// What became of each filter of an UNSUBSCRIBE.
    pub fn unsubscribed(&mut self, packet_id: PacketId, reasons: Vec<Reason>) {
        if let Some(suback) = self.answer_to(packet_id, reasons, None) {
            self.send(&Packet::Unsuback(suback));
        }
    }

    fn answer_to(
        &mut self,
        packet_id: PacketId,
        reasons: Vec<Reason>,
        text: Option<&str>,
    ) -> Option<Suback> {
        let at = self.asked.iter().position(|asked| *asked == packet_id)?;
        self.asked.swap_remove(at);
        Some(Suback { packet_id, reasons, properties: self.explained(text) })
    }

    /// Ends the connection with a reason, which a client of version 5 is told.
    pub fn end(&mut self, reason: Reason, text: &str) {
        match self.phase {
            Phase::Over => return,
            Phase::Open if self.is_v5() => self.disconnect(reason.disconnect(), text),
            Phase::Opening => self.connack(Reason::ServerUnavailable, text),
            _ => {}
        }
        self.over(format!("{reason}: {text}"));
    }

    fn violated(&mut self, violation: &Violation) {
        self.violated = true;
        let is_first = matches!(self.phase, Phase::Fresh { .. });
        // Version 3.1.1 has no other word for what is wrong with a CONNECT.
        let is_told = match self.codec.version() {
            Some(Version::V5) => true,
            Some(Version::V311) => {
                matches!(violation.reason, Reason::UnsupportedVersion | Reason::ClientIdInvalid)
            }
            None => false,
        };
        if is_first && is_told {
            self.connack(violation.reason, &violation.what);
        }
        self.end(violation.reason, &violation.what);
    }

    fn take(&mut self, packet: Packet) -> Result<(), Violation> {
        match packet {
            Packet::Connect(connect) => self.connect(connect)?,
            Packet::Publish(publish) => self.publish(publish)?,
            Packet::Pubrel(ack) => self.pubrel(&ack)?,
            Packet::Puback(ack) => self.puback(&ack),
            Packet::Pubrec(ack) => self.pubrec(&ack),
            Packet::Pubcomp(ack) => self.pubcomp(&ack),
            Packet::Subscribe(subscribe) => {
                self.ask(subscribe.packet_id)?;
                self.requests.push_back(Request::Subscribe(subscribe));
            }
            Packet::Unsubscribe(unsubscribe) => {
                self.ask(unsubscribe.packet_id)?;
                self.requests.push_back(Request::Unsubscribe(unsubscribe));
            }
            Packet::Pingreq => self.send(&Packet::Pingresp),
            Packet::Disconnect(disconnect) => self.leave(&disconnect)?,
            Packet::Auth(_) => {
                return Err(refused("AUTH: the connection was made without such a method"));
            }
            Packet::Connack(_) | Packet::Suback(_) | Packet::Unsuback(_) | Packet::Pingresp => {
                return Err(refused("a packet that only a server sends"));
            }
        }
        Ok(())
    }

    fn connect(&mut self, connect: Box<Connect>) -> Result<(), Violation> {
        let asked = &connect.properties;
        self.phase = Phase::Opening;
        self.keep_alive_s = connect.keep_alive;
        self.explains = asked.request_problem != Some(false);
        self.ends_with_connection = asked.session_expiry_s.unwrap_or(0) == 0;
        let send = asked.receive_maximum.map_or(u16::MAX, NonZeroU16::get);
        let aliases = asked.alias_maximum.unwrap_or(0).min(self.options.alias_maximum);
        self.outgoing = Outgoing::new(send.min(self.options.send_maximum.get()), aliases);
        if let Some(limit) = asked.maximum_packet {
            self.codec.set_outgoing_limit(limit.get());
        }
        if asked.authentication_method.is_some() {
            let what = "CONNECT: this server knows no authentication methods, expected a password";
            self.refuse(Reason::BadAuthenticationMethod, what);
            return Ok(());
        }
        self.requests.push_back(Request::Open(connect));
        Ok(())
    }

    /// Notes a packet identifier that is to be answered.
    fn ask(&mut self, packet_id: PacketId) -> Result<(), Violation> {
        if self.asked.contains(&packet_id) {
            let what = format!("packet identifier {packet_id} is that of another packet");
            return Err(Violation { reason: Reason::ProtocolError, what: what.into() });
        }
        self.asked.push(packet_id);
        Ok(())
    }

    fn leave(&mut self, disconnect: &Disconnect) -> Result<(), Violation> {
        let session_expiry_s = disconnect.properties.session_expiry_s;
        if self.ends_with_connection && session_expiry_s.is_some_and(|seconds| seconds > 0) {
            return Err(refused("DISCONNECT: a session that was to end cannot be kept any more"));
        }
        let with_will = disconnect.reason != Reason::Success;
        let why = format!("the client left: {}", disconnect.reason).into();
        self.close(Ended { with_will, session_expiry_s, why });
        Ok(())
    }

    fn over(&mut self, why: impl Into<Cow<'static, str>>) {
        let (with_will, session_expiry_s) = (true, None);
        self.close(Ended { with_will, session_expiry_s, why: why.into() });
    }

    fn close(&mut self, ended: Ended) {
        if self.phase != Phase::Over {
            self.phase = Phase::Over;
            self.requests.push_back(Request::Ended(ended));
        }
    }

    fn connack(&mut self, reason: Reason, text: &str) {
        let properties =
            ConnackProperties { reason_string: utf8(text), ..ConnackProperties::default() };
        let connack = Connack { session_present: false, reason, properties };
        self.send(&Packet::Connack(Box::new(connack)));
    }

    fn disconnect(&mut self, reason: Reason, text: &str) {
        let properties =
            DisconnectProperties { reason_string: utf8(text), ..DisconnectProperties::default() };
        self.send(&Packet::Disconnect(Disconnect { reason, properties }));
    }

    /// Sends what is never too large for anybody once what explains it is left out.
    fn send(&mut self, packet: &Packet) {
        if let Err(error) = self.codec.encode(packet, &mut self.output) {
            self.over(format!("{} cannot be sent: {error}", packet.name()));
        }
    }

    fn version(&self) -> Version {
        self.codec.version().unwrap_or(Version::V311)
    }

    fn is_v5(&self) -> bool {
        self.version() == Version::V5
    }

    fn explained(&self, text: Option<&str>) -> AckProperties {
        let reason_string = text.filter(|_| self.explains).and_then(utf8);
        AckProperties { reason_string, ..AckProperties::default() }
    }
}

fn refused(what: &'static str) -> Violation {
    Violation { reason: Reason::ProtocolError, what: Cow::Borrowed(what) }
}

fn utf8(text: &str) -> Option<Utf8> {
    Utf8::try_from(text).ok()
}
