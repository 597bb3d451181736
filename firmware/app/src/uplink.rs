//! The way to the gateway: calls it, talks ([`talk`]) for as long as the connection lasts, and
//! calls again.
//!
//! A session lasts as long as its connection: everything that must outlive it is in flash here or
//! on disk there.

mod message;
mod talk;
#[cfg(test)]
mod tests;

use crate::log::Fault;
use crate::mqtt::{Client, End, Login};
use crate::node::{Event, Node};
use crate::sensors::Sensor;
use embassy_time::{Duration, Timer, with_timeout};
use embedded_io_async::{Read, Write};
use embedded_storage::nor_flash::NorFlash;
use holdfast_core::backoff::Backoff;
use holdfast_core::device::MESSAGE_MAX_BYTES;
use message::Message;
use talk::Talk;

/// Bytes of what comes from the gateway: a message, its topic and what is around them.
const DOWN_BYTES: usize = MESSAGE_MAX_BYTES + 128;
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
    /// A stream of bytes to it. A read that is dropped before it is ready has taken nothing.
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
    up: Message,
}

impl Room {
    /// Some.
    #[must_use]
    pub const fn new() -> Self {
        Self { down: [0; DOWN_BYTES], up: Message::new() }
    }
}

impl Default for Room {
    fn default() -> Self {
        Self::new()
    }
}

/// What ends a talk: the connection, or for good the flash, or that other firmware is ready.
enum Stop<E> {
    End(End),
    Fault(Fault<E>),
    Ready,
}

impl<E> From<Fault<E>> for Stop<E> {
    fn from(fault: Fault<E>) -> Self {
        Self::Fault(fault)
    }
}

impl<E> From<End> for Stop<E> {
    fn from(end: End) -> Self {
        Self::End(end)
    }
}

/// Talks to the gateway until other firmware is ready for the next start.
///
/// # Errors
/// A fault of the flash.
pub async fn run<F: NorFlash, D: Dial>(
    node: &Node<F>,
    table: &[Sensor],
    dial: &mut D,
    pace: Pace,
    room: &mut Room,
) -> Result<(), Fault<F::Error>> {
    node.take_up()?;
    let backoff = Backoff::new(500, 60_000);
    let mut uplink = Uplink { node, table, pace, room, backoff, said: None };
    while !node.is_ready() {
        let entropy = dial.entropy();
        let end = match with_timeout(CONNECT, dial.dial(&node.identity.gateway)).await {
            Ok(Some(io)) => uplink.visit(io).await?,
            _ => Event::Lost,
        };
        tell(node, &mut uplink.said, end);
        if end == Event::Ready {
            break;
        }
        Timer::after_millis(uplink.backoff.next_ms(entropy)).await;
    }
    Ok(())
}

/// What outlives a connection.
struct Uplink<'u, F: NorFlash> {
    node: &'u Node<F>,
    table: &'u [Sensor],
    pace: Pace,
    room: &'u mut Room,
    backoff: Backoff,
    said: Option<Event>,
}

impl<F: NorFlash> Uplink<'_, F> {
    /// Talks over one stream for as long as it lasts; how it stands then.
    async fn visit<I: Read + Write>(&mut self, io: I) -> Result<Event, Fault<F::Error>> {
        let Self { node, table, pace, room: Room { down, up }, backoff, said } = self;
        let login = Login {
            name: &node.identity.device,
            password: &node.identity.token,
            keep_alive_s: pace.keep_alive_s,
            patience: pace.patience,
        };
        let client = match with_timeout(CONNECT, Client::connect(io, down, &login)).await {
            Ok(Ok(client)) => client,
            Ok(Err(End::Refused)) => return Ok(Event::Denied),
            _ => return Ok(Event::Lost),
        };
        tell(node, said, Event::Connected);
        let mut talk = Talk::new(node, table, *pace, client, up);
        match talk.hold(backoff).await {
            Err(Stop::Fault(fault)) => Err(fault),
            Err(Stop::Ready) => Ok(Event::Ready),
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

/// Says how it stands with the gateway, once.
fn tell<F: NorFlash>(node: &Node<F>, said: &mut Option<Event>, event: Event) {
    if said.replace(event) != Some(event) {
        (node.about.tell)(event);
    }
}
