//! Hands samples on to the gateway, and lets go of them once it has them on its disk.
//!
//! One message is under way at a time, the oldest samples first, and it is sent again until the
//! gateway's watermark for it comes; the acknowledgement of MQTT alone frees nothing. So whatever
//! ends in between, device, link or gateway, a sample is either still in flash or safe, and what is
//! sent twice has the same name twice. A session lasts as long as its connection: everything that
//! must outlive it is in flash here or on disk there.

use crate::batch::{Batch, Made, Times};
use crate::log::Fault;
use crate::node::{Event, Node};
use crate::samples::Look;
use crate::sensors::Sensor;
use core::convert::Infallible;
use embassy_futures::select::{Either, select};
use embassy_time::{Duration, Instant, Timer, with_timeout};
use embedded_io_async::{Read, Write};
use embedded_storage::nor_flash::NorFlash;
use holdfast_core::backoff::Backoff;
use holdfast_core::device::gateway::{Time, Watermark};
use holdfast_core::device::health::{Counter, Health};
use holdfast_core::device::{self, Envelopes, MESSAGE_MAX_BYTES};
use holdfast_core::limits::DEVICE_MAX_BYTES;
use minimq::{
    Buffers, ConfigBuilder, Connection, PeerError, PubError, Publication, QoS, ReasonCode, Session,
    TopicFilter,
};

/// Bytes of what comes from the gateway: a message and its topic.
const DOWN_BYTES: usize = 256;
/// Bytes of what goes to it: a message that waits for its acknowledgement, and a request beside it.
const UP_BYTES: usize = MESSAGE_MAX_BYTES + 512;
/// Bytes of the samples in a message: it has an envelope around them.
const PAYLOAD_BYTES: usize = MESSAGE_MAX_BYTES - 16;
/// How long a connection may take to come about.
const CONNECT: Duration = Duration::from_secs(15);

/// How a device talks to its gateway.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// How long samples may wait for others to go with them.
    pub linger: Duration,
    /// How long an answer may take before a message is sent again.
    pub patience: Duration,
    /// How often it says how it is.
    pub health: Duration,
    /// Seconds of silence before the link is tried.
    pub keep_alive_s: u16,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            linger: Duration::from_secs(1),
            patience: Duration::from_secs(10),
            health: Duration::from_secs(15 * 60),
            keep_alive_s: 30,
        }
    }
}

/// The board's way to the gateway.
pub trait Dial {
    /// A stream of bytes to it.
    type Io<'c>: Read + Write
    where
        Self: 'c;

    /// Calls `gateway`, `ADDRESS:PORT`; `None` when it cannot be reached now.
    fn dial(&mut self, gateway: &str) -> impl Future<Output = Option<Self::Io<'_>>>;

    /// 64 bits that other devices do not have.
    fn entropy(&mut self) -> u64;
}

/// Memory for the messages of a connection: as large as a device's stack should not be.
pub struct Room {
    down: [u8; DOWN_BYTES],
    up: [u8; UP_BYTES],
    payload: [u8; PAYLOAD_BYTES],
}

impl Room {
    /// Some.
    #[must_use]
    pub const fn new() -> Self {
        Self { down: [0; DOWN_BYTES], up: [0; UP_BYTES], payload: [0; PAYLOAD_BYTES] }
    }
}

impl Default for Room {
    fn default() -> Self {
        Self::new()
    }
}

type Topic = heapless::String<{ DEVICE_MAX_BYTES + 24 }>;

fn topic(device: &str, of: &str) -> Topic {
    let mut topic = Topic::new();
    for part in ["devices/", device, "/", of] {
        topic.push_str(part).expect("it has room for the longest id");
    }
    topic
}

/// A message of samples that waits for its watermark.
#[derive(Clone, Copy, Debug)]
struct Flight {
    boot: u64,
    last: u64,
    is_full: bool,
    again_at: Instant,
}

/// Why a connection is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// It broke, or the gateway closed it.
    Lost,
    /// The gateway says that what is under way cannot be read.
    Unreadable,
    /// The gateway took something not, for now.
    Refused,
}

impl<E> From<minimq::Error<E>> for End {
    fn from(error: minimq::Error<E>) -> Self {
        match error {
            minimq::Error::Peer(PeerError::Rejected(ReasonCode::PayloadFormatInvalid)) => {
                Self::Unreadable
            }
            minimq::Error::Peer(PeerError::Rejected(_)) => Self::Refused,
            _ => Self::Lost,
        }
    }
}

/// What ends a talk: the connection, or for good the flash.
enum Stop<E> {
    End(End),
    Fault(Fault<E>),
}

impl<E> From<Fault<E>> for Stop<E> {
    fn from(fault: Fault<E>) -> Self {
        Self::Fault(fault)
    }
}

impl<E, I> From<minimq::Error<I>> for Stop<E> {
    fn from(error: minimq::Error<I>) -> Self {
        Self::End(error.into())
    }
}

/// Talks to the gateway for ever.
///
/// # Errors
/// A fault of the flash.
pub async fn run<F: NorFlash, D: Dial>(
    node: &Node<F>,
    table: &[Sensor],
    dial: &mut D,
    pace: Pace,
    room: &mut Room,
) -> Result<Infallible, Fault<F::Error>> {
    let identity = &node.identity;
    let Room { down, up, payload } = room;
    let config = ConfigBuilder::new(Buffers::new(down, up))
        .client_id(&identity.device)
        .and_then(|config| config.auth(&identity.device, identity.token.as_bytes()))
        .expect("an identity fits");
    let mut session = Session::new(config.keepalive_interval(pace.keep_alive_s));
    let backoff = Backoff::new(500, 60_000);
    let mut uplink = Uplink { node, table, pace, payload, backoff, said: None };
    loop {
        let entropy = dial.entropy();
        let end = match with_timeout(CONNECT, dial.dial(&identity.gateway)).await {
            Ok(Some(io)) => uplink.visit(&mut session, io).await?,
            _ => Event::Lost,
        };
        uplink.tell(end);
        Timer::after_millis(uplink.backoff.next_ms(entropy)).await;
    }
}

/// What outlives a connection.
struct Uplink<'u, F: NorFlash> {
    node: &'u Node<F>,
    table: &'u [Sensor],
    pace: Pace,
    payload: &'u mut [u8; PAYLOAD_BYTES],
    backoff: Backoff,
    said: Option<Event>,
}

impl<F: NorFlash> Uplink<'_, F> {
    /// Says how it stands with the gateway, once.
    fn tell(&mut self, event: Event) {
        if self.said.replace(event) != Some(event) {
            (self.node.about.tell)(event);
        }
    }

    /// Talks over one stream for as long as it lasts; how it stands then.
    async fn visit<I: Read + Write>(
        &mut self,
        session: &mut Session<'_>,
        io: I,
    ) -> Result<Event, Fault<F::Error>> {
        let connected = with_timeout(CONNECT, session.connect(io)).await;
        let connection = match connected.map(|connected| connected.map_err(End::from)) {
            Ok(Ok(connection)) => connection,
            Ok(Err(End::Refused)) => return Ok(Event::Denied),
            _ => return Ok(Event::Lost),
        };
        self.tell(Event::Connected);
        let Self { node, table, pace, payload, backoff, .. } = self;
        let mut talk = Talk { node, table, pace: *pace, connection, payload, flight: None };
        match talk.hold(backoff).await {
            Err(Stop::Fault(fault)) => Err(fault),
            Err(Stop::End(End::Unreadable)) => {
                let flight = talk.flight;
                node.reject();
                if let Some(flight) = flight {
                    // It would be refused for ever, and everything behind it would wait for it.
                    node.log.borrow_mut().release((flight.boot, flight.last))?;
                }
                Ok(Event::Refused)
            }
            Err(Stop::End(End::Refused)) => Ok(Event::Refused),
            Err(Stop::End(End::Lost)) => Ok(Event::Lost),
            Ok(never) => match never {},
        }
    }
}

/// One connection.
struct Talk<'t, 'b, F: NorFlash, I: Read + Write> {
    node: &'t Node<F>,
    table: &'t [Sensor],
    pace: Pace,
    connection: Connection<'t, 'b, I>,
    payload: &'t mut [u8; PAYLOAD_BYTES],
    flight: Option<Flight>,
}

impl<F: NorFlash, I: Read + Write> Talk<'_, '_, F, I> {
    /// Holds it for as long as it lasts.
    async fn hold(&mut self, backoff: &mut Backoff) -> Result<Infallible, Stop<F::Error>> {
        let device = &self.node.identity.device;
        let (up, down) = (topic(device, "envelope"), topic(device, "watermark"));
        let filters = [TopicFilter::new(&down)];
        let subscribed = self.connection.subscribe(&filters, &[]).await?;
        let asked = Instant::now();
        while self.connection.is_pending(&subscribed) {
            let left = (asked + self.pace.patience).saturating_duration_since(Instant::now());
            match with_timeout(left, self.connection.poll()).await {
                Ok(polled) => _ = polled?,
                Err(_) => return Err(Stop::End(End::Lost)),
            }
        }
        let (mut says_at, mut looks_at) = (Instant::now(), Instant::now());
        loop {
            let now = Instant::now();
            if now >= says_at && self.flight.is_none() {
                self.say(&up).await?;
                says_at = now + self.pace.health;
            }
            let is_due = self.flight.map_or(looks_at, |flight| flight.again_at) <= now;
            if is_due && !self.hand_on(&up).await? {
                looks_at = now + self.pace.linger;
            }
            let next = self.flight.map_or(looks_at.min(says_at), |flight| flight.again_at);
            let heard = match select(self.connection.poll(), Timer::at(next)).await {
                Either::First(polled) => polled?.map(|message| Heard::of(message.payload())),
                Either::Second(()) => None,
            };
            if let Some(heard) = heard
                && let Some(done) = self.hear(&heard)?
            {
                backoff.reset();
                let linger = if done.is_full { Duration::MIN } else { self.pace.linger };
                looks_at = Instant::now() + linger;
            }
        }
    }

    /// Sends the oldest samples, if there are any.
    async fn hand_on(&mut self, up: &str) -> Result<bool, Stop<F::Error>> {
        let Some((boot, made)) = gather(self.node, self.table, self.payload)? else {
            return Ok(false);
        };
        let envelope = |out: &mut [u8]| device::put(out, device::SAMPLES, made.payload);
        let publication = Publication::new(up, envelope).qos(QoS::AtLeastOnce);
        match self.connection.publish(publication).await {
            Ok(_) => {}
            // The one before is not acknowledged yet: its turn comes again.
            Err(PubError::Session(minimq::Error::NotReady | minimq::Error::Resource(_))) => {}
            Err(PubError::Session(error)) => return Err(error.into()),
            Err(PubError::Payload(reject)) => return Err(Fault::Reject(reject).into()),
        }
        let again_at = Instant::now() + self.pace.patience;
        self.flight = Some(Flight { boot, last: made.last, is_full: made.is_full, again_at });
        Ok(true)
    }

    /// Says how the device is.
    async fn say(&mut self, up: &str) -> Result<(), Stop<F::Error>> {
        let node = self.node;
        let losses = node.note_losses()?;
        let used = node.log.borrow().used();
        let counters = [
            (Counter::DROPPED, losses.dropped),
            (Counter::DAMAGED, losses.damaged),
            (Counter::REJECTED, losses.rejected),
            (Counter::WAITING, u64::from(used)),
        ];
        let health = Health {
            boot: node.boot,
            uptime_ms: node.uptime_ms(),
            reason: node.about.reason,
            firmware: node.about.firmware,
            counters: counters.into_iter().collect(),
        };
        let mut payload = heapless::Vec::<u8, 160>::new();
        health.encode(&mut payload).map_err(Fault::Reject)?;
        let envelope = |out: &mut [u8]| device::put(out, device::HEALTH, &payload);
        let publication = Publication::new(up, envelope).qos(QoS::AtLeastOnce);
        match self.connection.publish(publication).await {
            Err(PubError::Session(error)) => Err(error.into()),
            Err(PubError::Payload(reject)) => Err(Fault::Reject(reject).into()),
            Ok(_) => Ok(()),
        }
    }

    /// Does what the gateway says; the message that is done with, if one is.
    fn hear(&mut self, heard: &Heard) -> Result<Option<Flight>, Stop<F::Error>> {
        let node = self.node;
        if heard.is_wrong {
            node.reject();
        }
        if let Some(time) = heard.time.filter(|time| time.is_trusted) {
            let mut clock = node.clock.get();
            let moved = clock.set(time.unix_ms, node.uptime_ms());
            node.clock.set(clock);
            if let Some(anchor) = moved {
                node.log.borrow_mut().set_anchor(node.boot, anchor)?;
            }
        }
        // What a gateway says of samples that it was not handed frees nothing.
        let is_done = |flight: &Flight, mark: Watermark| {
            flight.boot == mark.boot && flight.last <= mark.sequence
        };
        let done =
            self.flight.filter(|flight| heard.watermark.is_some_and(|mark| is_done(flight, mark)));
        if let Some(flight) = done {
            node.log.borrow_mut().release((flight.boot, flight.last))?;
            self.flight = None;
            (node.about.tell)(Event::Freed { boot: flight.boot, sequence: flight.last });
        }
        Ok(done)
    }
}

/// The oldest samples as a message, with the boot they are of; none where there are none.
fn gather<'p, F: NorFlash>(
    node: &Node<F>,
    table: &'p [Sensor],
    payload: &'p mut [u8],
) -> Result<Option<(u64, Made<'p>)>, Fault<F::Error>> {
    let mut log = node.log.borrow_mut();
    let mut oldest = None;
    log.look(|record| {
        oldest = Some(record.boot);
        Look::Enough
    })?;
    let Some(boot) = oldest else { return Ok(None) };
    let anchor = match node.clock.get().anchor().filter(|_| boot == node.boot) {
        Some(anchor) => Some(anchor),
        None => log.anchor(boot)?,
    };
    let times = Times { boot: node.boot, uptime_ms: node.uptime_ms(), anchor };
    let mut batch = Batch::new(payload, table, boot, times)?;
    log.look(|record| batch.take(record))?;
    Ok(batch.finish().map(|made| (boot, made)))
}

/// What a message of the gateway says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Heard {
    watermark: Option<Watermark>,
    time: Option<Time>,
    /// Something of it does not follow the format.
    is_wrong: bool,
}

impl Heard {
    fn of(message: &[u8]) -> Self {
        let mut heard = Self::default();
        for envelope in Envelopes::new(message) {
            let taken = envelope.and_then(|envelope| match envelope.kind {
                device::WATERMARK => {
                    Watermark::decode(envelope.payload).map(|mark| heard.watermark = Some(mark))
                }
                device::TIME => Time::decode(envelope.payload).map(|time| heard.time = Some(time)),
                _ => Ok(()),
            });
            heard.is_wrong |= taken.is_err();
        }
        heard
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use holdfast_core::device::vectors;

    #[test]
    fn a_gateway_is_heard_up_to_what_is_damaged() {
        let heard = Heard::of(vectors::DOWN);
        assert_eq!(heard.watermark, Some(Watermark { boot: 4, sequence: 12 }));
        assert_eq!(heard.time.map(|time| time.unix_ms), Some(1_800_000_000_000));
        assert!(!heard.is_wrong);
        let mut damaged = vectors::DOWN.to_vec();
        let last = damaged.len() - 1;
        damaged[last] ^= 1;
        let heard = Heard::of(&damaged);
        assert!(heard.is_wrong && heard.watermark.is_some() && heard.time.is_none());
        assert!(Heard::of(b"{\"json\":true}").is_wrong);
    }
}
