//! The plain way to a gateway: samples by HTTP, for a device that only measures.
//!
//! It posts the oldest samples as JSON to `/v1/readings`, a boot's at a time, and lets go of them
//! when the answer is there: the gateway answers when they are on disk. What is posted twice has
//! the same name twice, so a lost answer costs nothing; and what no gateway says, but a portal or a
//! proxy in its place, frees nothing. One connection is used as long as it lasts.
//! How the device is goes into what it reports, as a gateway writes it for devices that speak MQTT.
//! Nothing comes down but the time, of which `Date` has seconds: samples of this start go with
//! their ages, and only those that were left from an earlier one need it.

mod answer;
mod body;
#[cfg(test)]
mod tests;

use crate::batch::Times;
use crate::log::{Fault, Name};
use crate::memory::Losses;
use crate::node::{Event, Node};
use crate::sensors::Sensor;
use crate::uplink::{Dial, Pace};
use answer::Answer;
use body::Body;
use core::fmt::Write as _;
use embassy_time::{Duration, Instant, Timer, with_timeout};
use embedded_io_async::{Read, Write};
use embedded_storage::nor_flash::NorFlash;
use holdfast_core::backoff::Backoff;
use holdfast_core::limits::DEVICE_MAX_BYTES;

/// Bytes of a request's body, at most.
const BODY_BYTES: usize = 1024;
/// Bytes of its head: the names of device and gateway, a token, and what stands between.
const HEAD_BYTES: usize = 512;
/// Bytes of an answer that are looked at: its head, and as much of its body as says what became of
/// the samples.
const ANSWER_BYTES: usize = 1024;
/// How long a connection may take to come about.
const CONNECT: Duration = Duration::from_secs(15);

/// Memory for a request and its answer: as large as a device's stack should not be.
pub struct Room {
    body: [u8; BODY_BYTES],
    answer: [u8; ANSWER_BYTES],
}

impl Room {
    /// Some.
    #[must_use]
    pub const fn new() -> Self {
        Self { body: [0; BODY_BYTES], answer: [0; ANSWER_BYTES] }
    }
}

impl Default for Room {
    fn default() -> Self {
        Self::new()
    }
}

/// Posts for ever.
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
    let backoff = Backoff::new(500, 60_000);
    let mut post = Post { node, table, pace, room, backoff, said: None, told: None };
    loop {
        let entropy = dial.entropy();
        let end = match with_timeout(CONNECT, dial.dial(&node.identity.gateway)).await {
            Ok(Some(io)) => post.visit(io).await?,
            _ => End::Lost,
        };
        let event = match end {
            End::Closed => continue,
            End::Lost => Event::Lost,
            End::Denied => Event::Denied,
            End::Refused => Event::Refused,
        };
        post.tell(event);
        Timer::after_millis(post.backoff.next_ms(entropy)).await;
    }
}

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// After an answer, by the server or by what is between.
    Closed,
    /// It broke before there was one, or what came makes no sense.
    Lost,
    /// The server does not let this device in.
    Denied,
    /// It does not take what it is sent.
    Refused,
}

/// What outlives a connection.
struct Post<'p, F: NorFlash> {
    node: &'p Node<F>,
    table: &'p [Sensor],
    pace: Pace,
    room: &'p mut Room,
    backoff: Backoff,
    said: Option<Event>,
    /// The losses that the gateway was told of last, and when.
    told: Option<(Losses, Instant)>,
}

/// A request in the making.
struct Asked<'a> {
    method: &'static str,
    path: &'a str,
    media: &'static str,
    len: usize,
}

impl<F: NorFlash> Post<'_, F> {
    /// Posts over one stream for as long as it lasts; how it stands then.
    async fn visit<I: Read + Write>(&mut self, mut io: I) -> Result<End, Fault<F::Error>> {
        let mut has_answered = false;
        loop {
            let end = match self.is_to_tell()? {
                Some(losses) => self.report(&mut io, losses).await?,
                None => self.hand_on(&mut io).await?,
            };
            match end {
                None => has_answered = true,
                // Servers end connections that were silent for long: a new one tells.
                Some(End::Lost) if has_answered => return Ok(End::Closed),
                Some(end) => return Ok(end),
            }
        }
    }

    /// What it has lost, if the gateway is to hear how it is.
    fn is_to_tell(&self) -> Result<Option<Losses>, Fault<F::Error>> {
        let losses = self.node.note_losses()?;
        let is_told = |(told, at): (Losses, Instant)| {
            told == losses && Instant::now() < at + self.pace.health
        };
        Ok((!self.told.is_some_and(is_told)).then_some(losses))
    }

    /// Says how the device is. A gateway that does not want to know is no reason to keep samples.
    async fn report<I: Read + Write>(
        &mut self,
        io: &mut I,
        losses: Losses,
    ) -> Result<Option<End>, Fault<F::Error>> {
        let node = self.node;
        let mut path = heapless::String::<{ DEVICE_MAX_BYTES + 32 }>::new();
        let written = write!(path, "/v1/devices/{}/twin/reported", node.identity.device);
        written.expect("it has room for the longest id");
        let len = body::health(&mut self.room.body, node, losses)?;
        let media = "application/merge-patch+json";
        let asked = Asked { method: "PATCH", path: &path, media, len };
        let Some(answer) = self.ask(io, &asked).await? else { return Ok(Some(End::Lost)) };
        self.told = Some((losses, Instant::now()));
        Ok(answer.is_last.then_some(End::Closed))
    }

    /// Hands on the oldest samples, or waits for some.
    async fn hand_on<I: Read + Write>(
        &mut self,
        io: &mut I,
    ) -> Result<Option<End>, Fault<F::Error>> {
        let Some(Gathered { len, last, has_more }) = self.gather()? else {
            Timer::after(self.pace.linger).await;
            return Ok(None);
        };
        let asked = Asked { method: "POST", path: "/v1/readings", media: "application/json", len };
        let Some(answer) = self.ask(io, &asked).await? else { return Ok(Some(End::Lost)) };
        match answer.status {
            200 if answer.is_gateways => {}
            401 | 403 => return Ok(Some(End::Denied)),
            // It will never take them, and everything behind them would wait.
            400 | 413 | 422 if answer.is_gateways => {
                self.node.reject();
                self.node.log.borrow_mut().release(last)?;
                return Ok(Some(End::Refused));
            }
            _ => return Ok(Some(End::Refused)),
        }
        if !answer.took_all {
            self.node.reject();
        }
        self.backoff.reset();
        self.tell(Event::Connected);
        self.node.log.borrow_mut().release(last)?;
        (self.node.about.tell)(Event::Freed { boot: last.0, sequence: last.1 });
        if answer.is_last {
            return Ok(Some(End::Closed));
        }
        if !has_more {
            Timer::after(self.pace.linger).await;
        }
        Ok(None)
    }

    /// Sends a request with the body that is there, and reads its answer; nothing when there is
    /// none that makes sense.
    async fn ask<I: Read + Write>(
        &mut self,
        io: &mut I,
        asked: &Asked<'_>,
    ) -> Result<Option<Answer>, Fault<F::Error>> {
        let Asked { method, path, media, len } = *asked;
        let identity = &self.node.identity;
        let mut head = heapless::String::<HEAD_BYTES>::new();
        let written = write!(
            head,
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\n\
             Content-Type: {media}\r\nContent-Length: {len}\r\n\r\n",
            identity.gateway, identity.token
        );
        written.expect("it has room for the longest names");
        let Room { body, answer } = &mut *self.room;
        let exchange = async {
            io.write_all(head.as_bytes()).await.ok()?;
            io.write_all(&body[..len]).await.ok()?;
            io.flush().await.ok()?;
            answer::read(io, answer).await
        };
        let answer = with_timeout(self.pace.patience, exchange).await.ok().flatten();
        if let Some(unix_ms) = answer.and_then(|answer| answer.date_ms) {
            // A gateway does not say here whether it believes its clock. One that is far off gives
            // times that it does not believe itself, and then its receipt counts.
            self.node.note_time(unix_ms)?;
        }
        Ok(answer)
    }

    /// Puts the oldest samples into the body; nothing where there are none.
    fn gather(&mut self) -> Result<Option<Gathered>, Fault<F::Error>> {
        let mut log = self.node.log.borrow_mut();
        let Some(boot) = log.oldest_boot()? else { return Ok(None) };
        let anchor = match boot == self.node.boot {
            // An age says more than `Date` does.
            true => None,
            false => log.anchor(boot)?,
        };
        let times = Times { boot: self.node.boot, uptime_ms: self.node.uptime_ms(), anchor };
        let mut body = Body::new(&mut self.room.body, self.table, boot, times);
        log.look(|record| body.take(record))?;
        Ok(body.finish().map(|(len, sequence, has_more)| {
            let last = (boot, sequence);
            Gathered { len, last, has_more }
        }))
    }

    /// Says how it stands with the gateway, once.
    fn tell(&mut self, event: Event) {
        if self.said.replace(event) != Some(event) {
            (self.node.about.tell)(event);
        }
    }
}

/// Samples in a body.
struct Gathered {
    len: usize,
    last: Name,
    /// Whether there are more than it brings.
    has_more: bool,
}
