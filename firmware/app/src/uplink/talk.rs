//! One connection to the gateway: what goes up, in turn, and what comes down.
//!
//! One message is under way at a time and is sent again until the gateway says by one of its own
//! that what it brought is on disk; the acknowledgement of MQTT alone means nothing here. So
//! whatever ends in between, device, link or gateway, a sample or an answer is either still in
//! flash or safe, and what is sent twice has the same name twice. How the device is goes first,
//! with what it asks for; then answers to commands, what it reports, steps of runs, pieces of
//! workflows that it lacks, and the oldest samples.

use super::message::Message;
use super::{Pace, Stop};
use crate::batch::{Batch, Made, Times};
use crate::log::{Fault, Log, Name};
use crate::mqtt::{Client, End};
use crate::node::{Event, Node};
use crate::samples::Look;
use crate::sensors::Sensor;
use crate::update::Update;
use core::convert::Infallible;
use embassy_futures::select::{Either3, select3};
use embassy_time::{Duration, Instant, Timer, with_timeout};
use embedded_io_async::{Read, Write};
use embedded_storage::nor_flash::NorFlash;
use holdfast_core::Reject;
use holdfast_core::artefact::limits::NAME_BYTES;
use holdfast_core::backoff::Backoff;
use holdfast_core::codec::Window;
use holdfast_core::device::command::{Command, CommandId, Named};
use holdfast_core::device::desired::Desired;
use holdfast_core::device::flows::{FLOWS_MAX, Fetch, Piece, Stepped, Wanted, put_head, put_step};
use holdfast_core::device::gateway::{Time, Watermark};
use holdfast_core::device::health::{Counter, Health};
use holdfast_core::device::reported::Joined;
use holdfast_core::device::{self, Envelopes, firmware};
use holdfast_core::envelope::Envelope;
use holdfast_core::limits::DEVICE_MAX_BYTES;

/// Bytes of what it says of its firmware.
const FIRMWARE_MAX_BYTES: usize = NAME_BYTES + 96;

type Topic = heapless::String<{ DEVICE_MAX_BYTES + 24 }>;

fn topic(device: &str, of: &str) -> Topic {
    let mut topic = Topic::new();
    for part in ["devices/", device, "/", of] {
        topic.push_str(part).expect("it has room for the longest id");
    }
    topic
}

/// What a message under way brings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    /// How the device is, and what it holds: the gateway says what time it is.
    Hello,
    /// The answer to a command.
    Reply(CommandId),
    /// What it is, up to that mark.
    Reported(u64),
    /// Steps of runs, up to that number.
    Steps(u64),
    /// The wish for a piece of a workflow.
    Fetch(Fetch),
    /// Samples up to this one, and whether more would have followed.
    Samples { last: Name, has_more: bool },
}

/// A message that waits for the gateway's word.
#[derive(Clone, Copy, Debug)]
struct Flight {
    what: What,
    again_at: Instant,
}

/// Whose turn it is, and when.
struct Turns {
    flight: Option<Flight>,
    hello_at: Instant,
    /// When samples are looked for.
    looks_at: Instant,
    /// The gateway did not take an answer or what is reported the last time: samples go first.
    state_waits: bool,
}

/// A connection.
pub(super) struct Talk<'t, F: NorFlash, I: Read + Write> {
    node: &'t Node<F>,
    table: &'t [Sensor],
    pace: Pace,
    client: Client<'t, I>,
    message: &'t mut Message,
    turns: Turns,
}

impl<'t, F: NorFlash, I: Read + Write> Talk<'t, F, I> {
    /// One that begins.
    pub(super) fn new(
        node: &'t Node<F>,
        table: &'t [Sensor],
        pace: Pace,
        client: Client<'t, I>,
        message: &'t mut Message,
    ) -> Self {
        // Another gateway may be there, or one that was restored: it is told all.
        node.twin.borrow_mut().connect();
        let now = Instant::now();
        let state_waits = node.state_refused.take();
        let turns = Turns { flight: None, hello_at: now, looks_at: now, state_waits };
        Self { node, table, pace, client, message, turns }
    }

    /// Holds it for as long as it lasts.
    pub(super) async fn hold(
        &mut self,
        backoff: &mut Backoff,
    ) -> Result<Infallible, Stop<F::Error>> {
        let device = &self.node.identity.device;
        let (up, down) = (topic(device, "envelope"), topic(device, "watermark"));
        let subscribed = with_timeout(self.pace.patience, self.client.subscribe(&down)).await;
        subscribed.unwrap_or(Err(End::Lost))?;
        loop {
            self.send(&up).await?;
            let Self { node, pace, client, turns, .. } = self;
            let mut next = client.due();
            // The word for a message may come before its acknowledgement, for which what follows
            // has to wait.
            if turns.flight.is_some() || !client.is_waiting() {
                next = next.min(turns.next());
            }
            if node.is_ready() {
                return Err(Stop::Ready);
            }
            match select3(client.poll(), Timer::at(next), node.news.wait()).await {
                Either3::First(polled) => {
                    if let Some(message) = polled?
                        && turns.hear(node, *pace, message)?
                    {
                        backoff.reset();
                    }
                }
                Either3::Second(()) => client.keep().await?,
                Either3::Third(()) => {}
            }
        }
    }

    /// Sends what is due: again what is under way, or what comes next.
    async fn send(&mut self, up: &str) -> Result<(), Stop<F::Error>> {
        let now = Instant::now();
        if self.turns.flight.is_some_and(|flight| now < flight.again_at) {
            return Ok(());
        }
        if self.client.is_waiting() {
            // The one before is not acknowledged yet: its turn comes again.
            if let Some(flight) = &mut self.turns.flight {
                flight.again_at = now + self.pace.patience;
            }
            return Ok(());
        }
        let Self { node, table, pace, message, turns, .. } = self;
        let Some((what, len)) = turns.compose(node, table, *pace, message.payload(), now)? else {
            return Ok(());
        };
        message.wrap(what.kind(), len).map_err(Fault::Reject)?;
        if what == What::Hello {
            let version = node.twin.borrow().version();
            message.add(device::ASK, &version).map_err(Fault::Reject)?;
            let mut held = heapless::Vec::<u8, { FLOWS_MAX * 33 }>::new();
            node.flows.borrow().held().encode(&mut held).map_err(Fault::Reject)?;
            message.add(device::FLOWS_HELD, &held).map_err(Fault::Reject)?;
            if let Some(firmware) = node.firmware() {
                let mut said = heapless::Vec::<u8, FIRMWARE_MAX_BYTES>::new();
                firmware.encode(&mut said).map_err(Fault::Reject)?;
                message.add(device::FIRMWARE, &said).map_err(Fault::Reject)?;
            }
        }
        self.client.publish(up, self.message.bytes()).await?;
        self.turns.flight = Some(Flight { what, again_at: Instant::now() + self.pace.patience });
        Ok(())
    }

    /// Takes note of what was under way when the gateway said that it does not take it, for now.
    pub(super) fn refused(&self) {
        let what = self.turns.flight.map(|flight| flight.what);
        let is_state = matches!(what, Some(What::Reply(_) | What::Reported(_) | What::Steps(_)));
        self.node.state_refused.set(is_state);
    }

    /// Gives up what is under way: the gateway says that it cannot be read. It would say so for
    /// ever, and everything behind it would wait.
    pub(super) fn give_up(&self) -> Result<(), Fault<F::Error>> {
        let node = self.node;
        node.reject();
        match self.turns.flight.map(|flight| flight.what) {
            Some(What::Samples { last, .. }) => node.log.borrow_mut().release(last),
            Some(What::Reported(mark)) => {
                node.twin.borrow_mut().refused(mark);
                Ok(())
            }
            Some(What::Reply(id)) => {
                node.commands.borrow_mut().replied(id);
                Ok(())
            }
            Some(What::Steps(number)) => node.log.borrow_mut().release_steps(number),
            Some(What::Hello | What::Fetch(_)) | None => Ok(()),
        }
    }
}

impl What {
    /// The kind of its envelope.
    const fn kind(self) -> u8 {
        match self {
            Self::Hello => device::HEALTH,
            Self::Reply(_) => device::REPLY,
            Self::Reported(_) => device::REPORTED,
            Self::Steps(_) => device::STEPS,
            Self::Fetch(_) => device::FETCH,
            Self::Samples { .. } => device::SAMPLES,
        }
    }
}

impl Turns {
    /// The payload of the next message, and how long it is; none where nothing is to be said. What
    /// was under way has got no word and has its turn again.
    fn compose<F: NorFlash>(
        &mut self,
        node: &Node<F>,
        table: &[Sensor],
        pace: Pace,
        payload: &mut [u8],
        now: Instant,
    ) -> Result<Option<(What, usize)>, Fault<F::Error>> {
        let is_lost = self.flight.take().is_some_and(|flight| flight.what == What::Hello);
        let asks = node.commands.borrow_mut().asks_again() | node.flows.borrow_mut().asks_again();
        if is_lost || now >= self.hello_at || asks {
            self.hello_at = now + pace.health;
            return Ok(Some((What::Hello, health(node, payload)?)));
        }
        if !self.state_waits
            && let Some(state) = state(node, payload)?
        {
            return Ok(Some(state));
        }
        let lacks = node.flows.borrow().lacks();
        let lacks = match lacks {
            Some(fetch) => Some(fetch),
            None => node.with_update(|update, _| Ok(update.lacks()))?,
        };
        if let Some(fetch) = lacks {
            let len = written(payload, |out| fetch.encode(out))?;
            return Ok(Some((What::Fetch(fetch), len)));
        }
        if now < self.looks_at {
            return Ok(None);
        }
        if let Some((boot, made)) = gather(node, table, payload)? {
            let what = What::Samples { last: (boot, made.last), has_more: made.has_more };
            return Ok(Some((what, made.payload.len())));
        }
        self.looks_at = now + pace.linger;
        if core::mem::take(&mut self.state_waits) { state(node, payload) } else { Ok(None) }
    }

    /// When something is to be sent that nobody has to wake it for.
    fn next(&self) -> Instant {
        self.flight.map_or(self.looks_at.min(self.hello_at), |flight| flight.again_at)
    }

    /// Does what the gateway says; whether what was under way is done with.
    fn hear<F: NorFlash>(
        &mut self,
        node: &Node<F>,
        pace: Pace,
        message: &[u8],
    ) -> Result<bool, Fault<F::Error>> {
        let before = self.flight.is_some();
        for envelope in Envelopes::new(message) {
            let heard = match envelope {
                Ok(envelope) => self.hear_one(node, pace, envelope),
                Err(reject) => Err(reject.into()),
            };
            match heard {
                // One that has no room or no sense changes nothing, and the others are as good.
                Err(Fault::Reject(_)) => node.reject(),
                heard => heard?,
            }
        }
        Ok(before && self.flight.is_none())
    }

    fn hear_one<F: NorFlash>(
        &mut self,
        node: &Node<F>,
        pace: Pace,
        envelope: Envelope<'_>,
    ) -> Result<(), Fault<F::Error>> {
        let Envelope { kind, payload, .. } = envelope;
        match kind {
            device::TIME => {
                node.set_clock(Time::decode(payload)?)?;
                self.done(|what| what == What::Hello);
                if node.with_update(Update::heard)? {
                    self.update_stands(node);
                }
            }
            device::WATERMARK => return self.let_go(node, pace, Watermark::decode(payload)?),
            device::DESIRED => node.desire(&Desired::decode(payload)?)?,
            device::JOINED => {
                let joined = Joined::decode(payload)?;
                if self.done(|what| what == What::Reported(joined.mark)) {
                    node.joined(&joined)?;
                }
            }
            device::COMMAND => node.command(&Command::decode(payload)?, payload)?,
            device::REPLIED => {
                let id = Named::decode(payload)?.id;
                node.commands.borrow_mut().replied(id);
                self.done(|what| what == What::Reply(id));
            }
            device::COMMANDS => node.commands.borrow_mut().forget(Named::decode(payload)?.id),
            device::FLOWS => {
                let wanted = Wanted::decode(payload)?.0;
                node.with_flows(|flows, log, here| flows.want(log, here, &wanted))?;
            }
            device::FIRMWARE_WANTED => {
                let wanted = firmware::Wanted::decode(payload)?;
                if node.with_update(|update, log| update.want(log, wanted))? {
                    self.update_stands(node);
                }
            }
            device::PIECE => self.take_piece(node, pace, &Piece::decode(payload)?)?,
            device::STEPPED => {
                let number = Stepped::decode(payload)?.number;
                if let Some(What::Steps(last)) = self.flight.map(|flight| flight.what)
                    && number >= last
                {
                    self.flight = None;
                    self.state_waits = false;
                    node.log.borrow_mut().release_steps(last)?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Whether a message of that kind was under way, which it is no more.
    fn done(&mut self, is_it: impl FnOnce(What) -> bool) -> bool {
        self.flight.take_if(|flight| is_it(flight.what)).is_some()
    }

    /// Takes a piece of a workflow or of firmware. How they stand is said when that has changed.
    fn take_piece<F: NorFlash>(
        &mut self,
        node: &Node<F>,
        pace: Pace,
        piece: &Piece<'_>,
    ) -> Result<(), Fault<F::Error>> {
        if piece.bytes.is_empty() {
            // The gateway may have it soon; with the next answer it says again what is wanted.
            self.hello_at = self.hello_at.min(Instant::now() + pace.patience);
        }
        // One that does not fit is no answer: the wish has its turn again.
        if node.with_flows(|flows, log, here| flows.take(log, here, piece))? {
            (node.about.tell)(Event::Flows);
            self.hello_at = Instant::now();
        }
        if node.with_update(|update, log| update.take(log, piece))? {
            self.update_stands(node);
        }
        self.done(|what| what == What::Fetch(piece.of));
        Ok(())
    }

    /// Says how the update stands, here and to the gateway.
    fn update_stands<F: NorFlash>(&mut self, node: &Node<F>) {
        (node.about.tell)(Event::Update);
        self.hello_at = Instant::now();
    }

    /// Lets go of samples. What a gateway says of some that it was not handed frees nothing.
    fn let_go<F: NorFlash>(
        &mut self,
        node: &Node<F>,
        pace: Pace,
        mark: Watermark,
    ) -> Result<(), Fault<F::Error>> {
        let Some(What::Samples { last, has_more }) = self.flight.map(|flight| flight.what) else {
            return Ok(());
        };
        if last.0 != mark.boot || last.1 > mark.sequence {
            return Ok(());
        }
        self.flight = None;
        self.state_waits = false;
        self.looks_at = Instant::now() + if has_more { Duration::MIN } else { pace.linger };
        node.log.borrow_mut().release(last)?;
        (node.about.tell)(Event::Freed { boot: last.0, sequence: last.1 });
        Ok(())
    }
}

/// The oldest answer that the gateway lacks, or what it lacks of what is reported.
fn state<F: NorFlash>(
    node: &Node<F>,
    payload: &mut [u8],
) -> Result<Option<(What, usize)>, Fault<F::Error>> {
    if let Some((id, reply)) = node.commands.borrow().answer() {
        payload[..reply.len()].copy_from_slice(reply);
        return Ok(Some((What::Reply(id), reply.len())));
    }
    let twin = node.twin.borrow();
    if twin.is_ahead() {
        let len = twin.lacking(payload)?.len();
        return Ok(Some((What::Reported(twin.mark()), len)));
    }
    steps(node, payload)
}

/// The oldest steps as a message; none where there are none.
fn steps<F: NorFlash>(
    node: &Node<F>,
    payload: &mut [u8],
) -> Result<Option<(What, usize)>, Fault<F::Error>> {
    let mut log = node.log.borrow_mut();
    if !log.has_steps() {
        return Ok(None);
    }
    let mut boot = None;
    log.look_at_steps(|step| {
        boot = Some(step.boot);
        Look::Enough
    })?;
    let Some(boot) = boot else {
        // The pages with the last of them went.
        let last = log.last_step;
        return log.release_steps(last).map(|()| None);
    };
    let times = times(node, &mut log, boot)?;
    let clock = times.clock(boot);
    let mut last = 0;
    let len = written(payload, |out| {
        put_head(out, clock)?;
        let mut full = Ok(());
        let fault = log.look_at_steps(|step| {
            if step.boot != boot || out.room() < step.bytes.len() + 12 {
                return Look::Enough;
            }
            full = put_step(out, times.of(clock, step.uptime_ms), step.bytes);
            last = step.number;
            Look::On
        });
        full.and(fault.map_err(|_| Reject::Malformed))
    })?;
    Ok((last > 0).then_some((What::Steps(last), len)))
}

/// Writes something into the front of `out`; how long it is.
fn written(
    out: &mut [u8],
    write: impl FnOnce(&mut Window<'_>) -> Result<(), Reject>,
) -> Result<usize, Reject> {
    let room = out.len();
    let mut window = Window::new(out);
    write(&mut window)?;
    Ok(room - window.room())
}

/// What is known of the time of a boot.
fn times<F: NorFlash>(
    node: &Node<F>,
    log: &mut Log<F>,
    boot: u64,
) -> Result<Times, Fault<F::Error>> {
    let anchor = match node.clock.get().anchor().filter(|_| boot == node.boot) {
        Some(anchor) => Some(anchor),
        None => log.anchor(boot)?,
    };
    Ok(Times { boot: node.boot, uptime_ms: node.uptime_ms(), anchor })
}

/// How the device is; how many bytes that takes.
fn health<F: NorFlash>(node: &Node<F>, out: &mut [u8]) -> Result<usize, Fault<F::Error>> {
    let losses = node.note_losses()?;
    let counters = [
        (Counter::DROPPED, losses.dropped),
        (Counter::DAMAGED, losses.damaged),
        (Counter::REJECTED, losses.rejected),
        (Counter::WAITING, u64::from(node.log.borrow().used())),
    ];
    let health = Health {
        boot: node.boot,
        uptime_ms: node.uptime_ms(),
        reason: node.about.reason,
        firmware: node.about.firmware,
        counters: counters.into_iter().collect(),
    };
    Ok(written(out, |out| health.encode(out))?)
}

/// The oldest samples as a message, with the boot they are of; none where there are none.
fn gather<'p, F: NorFlash>(
    node: &Node<F>,
    table: &'p [Sensor],
    payload: &'p mut [u8],
) -> Result<Option<(u64, Made<'p>)>, Fault<F::Error>> {
    let mut log = node.log.borrow_mut();
    let Some(boot) = log.oldest_boot()? else { return Ok(None) };
    let times = times(node, &mut log, boot)?;
    let mut batch = Batch::new(payload, table, boot, times)?;
    log.look(|record| batch.take(record))?;
    Ok(batch.finish().map(|made| (boot, made)))
}

#[cfg(test)]
mod tests;
