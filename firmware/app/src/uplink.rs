//! The way to the gateway: calls it, talks ([`talk`]) for as long as the connection lasts, and
//! calls again.
//!
//! A session lasts as long as its connection: everything that must outlive it is in flash here or
//! on disk there.

mod talk;

use crate::log::Fault;
use crate::node::{Event, Node};
use crate::sensors::Sensor;
use core::convert::Infallible;
use embassy_time::{Duration, Timer, with_timeout};
use embedded_io_async::{Read, Write};
use embedded_storage::nor_flash::NorFlash;
use holdfast_core::backoff::Backoff;
use holdfast_core::device::MESSAGE_MAX_BYTES;
use minimq::{Buffers, ConfigBuilder, PeerError, ReasonCode, Session};
use talk::Talk;

/// Bytes of what comes from the gateway: a message, its topic and what is around them.
const DOWN_BYTES: usize = MESSAGE_MAX_BYTES + 128;
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
        let mut talk = Talk::new(node, table, *pace, connection, payload);
        match talk.hold(backoff).await {
            Err(Stop::Fault(fault)) => Err(fault),
            Err(Stop::End(End::Unreadable)) => talk.give_up().map(|()| Event::Refused),
            Err(Stop::End(End::Refused)) => {
                talk.refused();
                Ok(Event::Refused)
            }
            Err(Stop::End(End::Lost)) => Ok(Event::Lost),
            Ok(never) => match never {},
        }
    }
}
