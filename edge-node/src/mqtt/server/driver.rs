//! One connection, driven: bytes between the socket and the exchange, requests to the broker, and
//! what waits in the mailbox to the client.
//!
//! It is one task and one loop. What the exchange asks for is done in its order; what takes time
//! there (a full broker, a device to be registered) keeps the loop from reading, which is what
//! slows a client down. Messages that wait on disk are read by this task, not by the broker.
//!
//! Ten thousand of these tasks wait most of the time, each as large as the most that it may ever
//! be doing: what is seldom done has a box of its own while it lasts.

use super::outbox::Outbox;
use super::{Caller, Server};
use crate::mqtt::access::User;
use crate::mqtt::broker::{
    Answer, Asked, Brought, Command, ConnectionId, Gone, Incoming, Mailbox, Open,
};
use crate::mqtt::broker::{Granted, Opened, SessionKey};
use crate::mqtt::connection::{Arrived, Connection, Ended, Outcome, Request};
use crate::mqtt::door::{Brings, Whose};
use crate::mqtt::firmware::{Attached, Said};
use crate::mqtt::ledger::{self, Queued, Seen, SessionNo};
use crate::mqtt::message::Message;
use crate::mqtt::packet::{Connect, Filter, Publish, QoS, Subscribe, Topic};
use crate::mqtt::reason::Reason;
use bytes::BytesMut;
use futures::FutureExt as _;
use holdfast_core::reading::Quality;
use holdfast_sync::Fault;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio_util::sync::CancellationToken;

/// Bytes that are read at a time at first: most connections say little.
const READ_LEAST: usize = 512;
/// And at most.
const READ_MOST: usize = 64 << 10;
/// How long a client may take nothing of what it is sent.
const STALL_MS: u64 = 60_000;
/// How long the last bytes may take.
const LAST: Duration = Duration::from_secs(2);

/// Serves one connection to its end.
pub async fn serve<S>(server: Arc<Server>, stream: S, caller: Caller, stop: CancellationToken)
where
    S: AsyncRead + AsyncWrite + Send,
{
    let counted = Arc::clone(&server.reach.counts);
    let _open = counted.opened();
    let (mut reader, mut writer) = tokio::io::split(stream);
    let mut driver = Driver::new(server, caller);
    let mut input = BytesMut::new();
    let mut read_size = READ_LEAST;
    let mut is_stopping = false;
    let mut stalled_ms = None;
    // What is written may wait in what is around the socket: TLS, frames of WebSocket.
    let mut is_flushed = true;
    while !driver.connection.is_over() {
        let now_ms = driver.now_ms();
        let is_done = is_flushed && driver.connection.output().is_empty();
        if is_done {
            stalled_ms = None;
        } else if now_ms.saturating_sub(*stalled_ms.get_or_insert(now_ms)) >= STALL_MS {
            driver.connection.lost();
            break;
        }
        let resumes_at = driver.resumes_at(now_ms);
        let stalls_at = stalled_ms.map(|at| at + STALL_MS);
        let deadline = [driver.connection.deadline(), stalls_at, resumes_at];
        let deadline = deadline.into_iter().flatten().min();
        let wait = deadline.map_or(Duration::from_secs(3_600), |deadline| {
            Duration::from_millis(deadline.saturating_sub(now_ms))
        });
        let wants_input = driver.connection.wants_input() && resumes_at.is_none();
        let mailbox = Arc::clone(&driver.mailbox);
        if wants_input {
            input.reserve(read_size);
        }
        tokio::select! {
            put = put(&mut writer, driver.connection.output()), if !is_done => match put {
                Ok(0) => is_flushed = true,
                Ok(written) => {
                    driver.wrote(written, &mut stalled_ms);
                    is_flushed = matches!(writer.flush().now_or_never(), Some(Ok(())));
                }
                Err(_) => driver.connection.lost(),
            },
            read = reader.read_buf(&mut input), if wants_input => match read {
                Ok(0) => driver.connection.lost(),
                Err(error) => driver.broke(&error),
                Ok(read) => read_size = driver.read(read, read_size),
            },
            fetched = driver.outbox.fetched() => driver.fetched(fetched),
            () = mailbox.woken() => {}
            () = tokio::time::sleep(wait) => driver.connection.tick(driver.now_ms()),
            () = stop.cancelled(), if !is_stopping => {
                is_stopping = true;
                driver.connection.end(Reason::ServerShuttingDown, "the node stops");
            }
        }
        driver.step(&mut input).await;
        if input.is_empty() && input.capacity() > READ_LEAST * 8 && read_size == READ_LEAST {
            // An idle connection holds little.
            input = BytesMut::new();
        }
    }
    driver.finish().await;
    let last = async {
        let written = writer.write_all(driver.connection.output()).await;
        writer.shutdown().await.and(written)
    };
    // Whoever does not read its last words does without them.
    let _ = tokio::time::timeout(LAST, last).await;
}

/// Writes some of the output, or what waits around the socket where there is none: 0 bytes.
async fn put<W: AsyncWrite + Unpin>(writer: &mut W, output: &[u8]) -> io::Result<usize> {
    if output.is_empty() {
        return writer.flush().await.map(|()| 0);
    }
    match writer.write(output).await {
        Ok(0) => Err(io::ErrorKind::WriteZero.into()),
        written => written,
    }
}

struct Driver {
    server: Arc<Server>,
    peer: SocketAddr,
    /// What is known of the client before it says anything; nothing once it did.
    caller: Option<Caller>,
    id: ConnectionId,
    connection: Connection,
    mailbox: Arc<Mailbox>,
    outbox: Outbox,
    user: Option<Arc<User>>,
    session: Option<(SessionKey, Option<SessionNo>)>,
    /// Whether the session was there before: what came over it earlier is known.
    is_resumed: bool,
    client: String,
    /// Messages of QoS 1 by which repetitions are known, once one has come.
    recent: Option<Vec<Seen>>,
    ended: bool,
    /// What the client has subscribed to and may have commands waiting.
    new_filters: Vec<Filter>,
    /// Whether it is not listened to because it publishes too fast.
    is_slowed: bool,
    /// What a device with our firmware has said in messages that are not on disk yet.
    said: Vec<(u64, Box<Said>)>,
    /// And in those that are, to which it was not answered yet.
    due: Vec<Said>,
    /// That such a device has asked for something over this connection.
    attached: Option<Attached>,
}

impl Driver {
    fn new(server: Arc<Server>, caller: Caller) -> Self {
        let now_ms = server.reach.store().env().monotonic_ms();
        let connection = Connection::new(server.options, now_ms);
        Self {
            id: server.reach.new_connection(),
            server,
            peer: caller.peer,
            caller: Some(caller),
            connection,
            mailbox: Arc::default(),
            outbox: Outbox::default(),
            user: None,
            session: None,
            is_resumed: false,
            client: String::new(),
            recent: None,
            ended: false,
            new_filters: Vec::new(),
            is_slowed: false,
            said: Vec::new(),
            due: Vec::new(),
            attached: None,
        }
    }

    fn now_ms(&self) -> u64 {
        self.server.reach.store().env().monotonic_ms()
    }

    /// Until when a client that publishes too fast is not listened to.
    fn resumes_at(&mut self, now_ms: u64) -> Option<u64> {
        let at = self.connection.resumes_at(now_ms);
        if at.is_some() && !self.is_slowed {
            self.server.reach.counts.slowed.add(1);
        }
        self.is_slowed = at.is_some();
        at
    }

    fn read(&self, read: usize, read_size: usize) -> usize {
        self.mailbox.heard(self.now_ms());
        self.server.reach.counts.bytes_in.add(read as u64);
        if read >= read_size {
            (read_size * 2).min(READ_MOST)
        } else if read < read_size / 4 {
            (read_size / 2).max(READ_LEAST)
        } else {
            read_size
        }
    }

    /// What came cannot be read: it is no longer TLS, or not WebSocket as it is written.
    fn broke(&mut self, error: &io::Error) {
        if error.kind() == io::ErrorKind::InvalidData {
            self.server.reach.counts.violations.add(1);
            let (client, peer) = (&self.client, self.peer);
            tracing::info!(client, %peer, why = %error, "an MQTT connection was ended");
        }
        self.connection.lost();
    }

    fn wrote(&mut self, written: usize, stalled_ms: &mut Option<u64>) {
        self.server.reach.counts.bytes_out.add(written as u64);
        let output = self.connection.output();
        if written == output.len() {
            output.clear();
        } else {
            bytes::Buf::advance(output, written);
        }
        *stalled_ms = None;
    }

    fn fetched(&mut self, fetched: Result<Queued, Fault>) {
        if let Err(fault) = self.outbox.take(fetched, &self.server) {
            tracing::error!(client = self.client, %fault, "messages of a queue cannot be read");
            let text = "messages that wait cannot be read from disk";
            self.connection.end(Reason::ServerUnavailable, text);
        }
    }

    /// Does all that can be done now.
    async fn step(&mut self, input: &mut BytesMut) {
        loop {
            self.connection.receive(self.now_ms(), input);
            let mut has_done = false;
            while let Some(request) = self.connection.request() {
                self.handle(request).await;
                has_done = true;
            }
            while let Some(answer) = self.mailbox.next_answer() {
                self.answer(answer);
                has_done = true;
            }
            if !self.new_filters.is_empty() {
                Box::pin(self.send_commands()).await;
            }
            if !self.due.is_empty() {
                Box::pin(self.tell_device()).await;
            }
            if self.session.is_some() {
                self.outbox.fill(&mut self.connection, &self.mailbox, &self.server).await;
            }
            if !has_done {
                return;
            }
        }
    }

    async fn handle(&mut self, request: Request) {
        match request {
            Request::Open(connect) => Box::pin(self.open(connect)).await,
            Request::Publish(arrived) => self.publish(arrived).await,
            Request::Release(packet_id) if self.is_kept() => {
                self.send(Command::Release(self.id, packet_id)).await;
            }
            Request::Release(packet_id) => self.connection.released(packet_id),
            Request::Subscribe(subscribe) => self.subscribe(subscribe).await,
            Request::Unsubscribe(unsubscribe) => {
                self.send(Command::Unsubscribe(self.id, Box::new(unsubscribe))).await;
            }
            Request::Acked(packet_id) => {
                let number = self.outbox.acked(packet_id);
                if let Some(number) = number.filter(|_| self.is_kept()) {
                    self.send(Command::Done(self.id, number)).await;
                }
            }
            Request::Received(packet_id) => match self.outbox.number_of(packet_id) {
                Some(number) if self.is_kept() => {
                    self.send(Command::Received(self.id, number, packet_id)).await;
                }
                _ => self.connection.noted(packet_id),
            },
            Request::Ended(ended) => self.end(ended).await,
        }
    }

    fn is_kept(&self) -> bool {
        self.session.is_some_and(|(_, kept)| kept.is_some())
    }

    async fn send(&mut self, command: Command) {
        if !self.server.reach.send(command).await {
            self.connection.end(Reason::ServerShuttingDown, "the node stops");
        }
    }

    async fn open(&mut self, connect: Box<Connect>) {
        let caller = self.caller.take().expect("a client opens a connection once");
        let user = match self.server.let_in(caller, &connect) {
            Ok(user) => user,
            Err((reason, text)) => {
                self.server.reach.counts.refused.add(1);
                let client = connect.client_id.as_str();
                tracing::info!(client, peer = %self.peer, reason = %text, "not let in over MQTT");
                return self.connection.refuse(reason, &text);
            }
        };
        if let Some(will) = &connect.will {
            let device = user.device.as_deref();
            let judged = may_publish(&user, &will.topic)
                .and_then(|()| self.server.door.check(&will.topic, device).map(drop));
            if let Err(wrong) = judged {
                let text = format!("will: {}", wrong.text.unwrap_or_default());
                return self.connection.refuse(wrong.reason, &text);
            }
        }
        let open = Open {
            id: self.id,
            connect,
            owner: user.owner.clone(),
            fresh_id: format!("hf-{:016x}", self.server.reach.store().env().entropy()),
            peer: self.peer,
            mailbox: Arc::clone(&self.mailbox),
        };
        self.user = Some(Arc::new(user));
        self.send(Command::Open(Box::new(open))).await;
    }

    fn answer(&mut self, answer: Answer) {
        match answer {
            Answer::Opened(opened) => self.opened(*opened),
            Answer::Refused(reason, text) => {
                self.server.reach.counts.refused.add(1);
                self.connection.refuse(reason, &text);
            }
            Answer::Published(serial, outcome) => {
                let is_taken = !outcome.reason.is_failure();
                self.connection.published(serial, outcome);
                if let Some(place) = self.said.iter().position(|(of, _)| *of == serial) {
                    let (_, said) = self.said.swap_remove(place);
                    self.due.extend(Some(*said).filter(|_| is_taken));
                }
            }
            Answer::Released(packet_id) => self.connection.released(packet_id),
            Answer::Subscribed(packet_id, Granted { reasons, text, new }) => {
                self.connection.subscribed(packet_id, reasons, text.as_deref());
                self.new_filters.extend(new);
            }
            Answer::Unsubscribed(packet_id, reasons) => {
                self.connection.unsubscribed(packet_id, reasons);
            }
            Answer::Noted(packet_id) => self.connection.noted(packet_id),
            Answer::End(reason, text) => self.connection.end(reason, &text),
        }
    }

    /// Answers a device with our firmware, now that what it said is on disk.
    async fn tell_device(&mut self) {
        let due = std::mem::take(&mut self.due);
        let Some(device) = self.user.as_ref().and_then(|user| user.device.as_deref()) else {
            return;
        };
        let downlink = self.server.commands.downlink();
        for said in due {
            let time = self.server.door.time();
            if said.asks() {
                let attached = self.attached.get_or_insert_with(|| downlink.attach(device));
                attached.answer(&said, time).await;
            } else {
                downlink.answer(device, &said, time);
            }
        }
    }

    fn opened(&mut self, opened: Opened) {
        let Opened { key, accepted, client, kept, progress, sent } = opened;
        self.session = Some((key, kept));
        self.is_resumed = accepted.session_present;
        self.client = client;
        self.connection.accept(accepted);
        self.outbox.begin(self.id, kept, progress, sent, &mut self.connection);
    }

    async fn publish(&mut self, arrived: Arrived) {
        let Arrived { serial, publish } = arrived;
        let counts = Arc::clone(&self.server.reach.counts);
        counts.received[publish.qos as usize].add(1);
        if let Err(outcome) = self.take(serial, publish).await {
            counts.rejected.add(1);
            if let Some(text) = &outcome.text {
                let (client, peer) = (&self.client, self.peer);
                tracing::warn!(client, %peer, reason = %text, "a message was not taken");
            }
            self.connection.published(serial, outcome);
        }
    }

    /// Takes a message to whoever has to have it.
    async fn take(&mut self, serial: u64, publish: Publish) -> Result<(), Outcome> {
        let Some(user) = self.user.clone() else { return Ok(()) };
        may_publish(&user, &publish.topic)?;
        let whose = Whose::Client(user.device.as_deref());
        let brings = self.server.door.bring(&publish, whose).await?;
        let Brings { readings: mut brought, said } = brings;
        let answered = said.filter(|_| publish.qos > QoS::AtMostOnce);
        self.said.extend(answered.map(|said| (serial, said)));
        let reach = &self.server.reach;
        let message = Message::new(&publish, reach.now());
        let key = self.session.map(|(key, _)| key);
        let begins = reach.begins_runs(&publish.topic);
        let is_kept = publish.retain || brought.is_some() || begins;
        if publish.qos == QoS::AtMostOnce && !is_kept {
            reach.put_now(&Arc::new(message), key);
            return Ok(());
        }
        let Known { seen, is_known } = self.know_again(&publish, &mut brought, begins).await;
        let (id, packet_id) = (self.id, publish.packet_id);
        let room = self.server.reach.room_for(message.size()).await;
        let incoming = Incoming { id, serial, packet_id, message, brought, seen, is_known, room };
        let command = Command::Publish(Box::new(incoming));
        if publish.qos == QoS::AtMostOnce && !publish.retain {
            if !self.server.reach.try_send(command) {
                self.server.reach.counts.shed.add(1);
            }
            return Ok(());
        }
        self.send(command).await;
        Ok(())
    }

    /// Finds out whether the readings of a message were stored before, or its runs begun, which
    /// then are not to be again; how it is known if it comes again itself.
    async fn know_again(
        &mut self,
        publish: &Publish,
        brought: &mut Option<Brought>,
        begins: bool,
    ) -> Known {
        let readings = brought.as_mut().filter(|brought| has_nameless(brought));
        let packet_id = publish.packet_id.filter(|_| publish.qos == QoS::AtLeastOnce);
        let Some(packet_id) = packet_id.filter(|_| readings.is_some() || begins) else {
            return Known::default();
        };
        if let Some(readings) = readings
            && publish.dup
            && !self.is_resumed
        {
            mark_repeated(readings);
        }
        let Some(kept) = self.session.and_then(|(_, kept)| kept) else { return Known::default() };
        let this = Seen::of(packet_id, &publish.topic, &publish.payload);
        if publish.dup && Box::pin(self.was_seen(kept, this)).await {
            self.server.reach.counts.repeated.add(1);
            *brought = None;
            return Known { seen: None, is_known: true };
        }
        Known { seen: Some(this), is_known: false }
    }

    /// Whether the readings of a message that comes again are stored.
    async fn was_seen(&mut self, no: SessionNo, this: Seen) -> bool {
        if self.recent.is_none() {
            let read = self.server.reach.store().read(move |view| ledger::recent(view, no)).await;
            self.recent = Some(read.unwrap_or_else(|fault| {
                tracing::warn!(client = self.client, %fault, "repetitions are not known");
                Vec::new()
            }));
        }
        let recent = self.recent.as_ref().expect("it was just read");
        // The newest with an identifier counts: those before it were answered.
        recent.iter().rev().find(|seen| seen.packet_id == this.packet_id) == Some(&this)
    }

    async fn subscribe(&mut self, subscribe: Subscribe) {
        let Some(user) = self.user.clone() else { return };
        let may = |filter| user.may_subscribe(filter);
        let refused = subscribe
            .subscriptions
            .iter()
            .map(|subscription| (!may(&subscription.filter)).then_some(Reason::NotAuthorized));
        let asked = Asked { id: self.id, refused: refused.collect(), subscribe };
        self.send(Command::Subscribe(Box::new(asked))).await;
    }

    /// Sends a device the commands that wait for it, of topics that it has only now subscribed to:
    /// they are in no queue of its.
    async fn send_commands(&mut self) {
        let filters = std::mem::take(&mut self.new_filters);
        if let Some(device) = self.user.as_ref().and_then(|user| user.device.as_deref()) {
            self.server.commands.send_waiting(device, &filters).await;
        }
    }

    async fn end(&mut self, ended: Ended) {
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        let (client, peer) = (&self.client, self.peer);
        if self.connection.was_violated() {
            self.server.reach.counts.violations.add(1);
            tracing::info!(client, %peer, why = %ended.why, "an MQTT connection was ended");
        } else {
            tracing::debug!(client, %peer, why = %ended.why, "an MQTT connection has ended");
        }
        if self.user.is_some() {
            let gone = Gone { id: self.id, ended, sent: self.outbox.sent() };
            self.server.reach.send(Command::Ended(gone)).await;
        }
    }

    /// Tells the broker that it is over, if it was not told.
    async fn finish(&mut self) {
        while let Some(request) = self.connection.request() {
            if let Request::Ended(ended) = request {
                self.end(ended).await;
            }
        }
    }
}

fn may_publish(user: &User, topic: &Topic) -> Result<(), Outcome> {
    if user.may_publish(topic) {
        return Ok(());
    }
    let text = format!("this user may not publish to `{topic}`");
    Err(Outcome { reason: Reason::NotAuthorized, text: Some(text.into()) })
}

/// What is known of a message that may have come before.
#[derive(Default)]
struct Known {
    /// How it is known if it comes again.
    seen: Option<Seen>,
    /// Whether it has come before.
    is_known: bool,
}

/// Whether it has readings that are not known again by a name of their own.
fn has_nameless(brought: &Brought) -> bool {
    brought.batch.items.iter().any(|item| item.source.is_none())
}

/// Flags what has neither a name nor a time: it comes again after its session was lost, and nobody
/// can tell whether it is stored.
fn mark_repeated(brought: &mut Brought) {
    let nameless = brought.batch.items.iter().filter(|item| item.source.is_none());
    for drafts in nameless.map(|item| item.drafts.clone()) {
        for draft in brought.batch.drafts[drafts].iter_mut().filter(|draft| draft.time.is_none()) {
            draft.quality = draft.quality.with(Quality::MAYBE_REPEATED);
        }
    }
}
