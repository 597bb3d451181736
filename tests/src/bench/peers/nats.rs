//! NATS JetStream: messages into a stream in files, each acknowledged; or, over a leaf node, the
//! mirror at a hub of what a gateway's stream has gathered.
//!
//! From 2.10 on it is told to sync before it acknowledges (`sync_interval: always`). Earlier
//! versions do not know that setting and acknowledge what the kernel has.

use super::{LIMIT, find};
use crate::bench::load::{Load, Speaks};
use crate::process::{Launch, Running};
use bytes::{Buf, BytesMut};
use serde_json::Value;
use std::fs;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Prepared requests of a connection.
const VARIANTS: usize = 16;
/// Connections that fill the stream of a leaf.
const FILLERS: usize = 16;
/// Messages of such a connection that are under way at a time.
const UNDER_WAY: usize = 100;
/// Longer than a mirror takes to have everything.
const CAUGHT_UP: Duration = Duration::from_secs(300);
const STREAM: &str = r#"{"name":"readings","subjects":["r.>"],"storage":"file"}"#;
/// A mirror of the leaf's stream. The leaf has a domain of its own, so its interface has this name.
const MIRROR: &str = r#"{"name":"readings","storage":"file","mirror":
    {"name":"readings","external":{"api":"$JS.leaf.API","deliver":"to.hub"}}}"#;

/// A server with one stream.
pub struct Nats {
    /// Whether it syncs before it acknowledges.
    pub syncs: bool,
    address: SocketAddr,
    process: Running,
    /// Holds its files.
    _dir: TempDir,
}

impl Nats {
    /// Starts one with a stream; nothing when it is not installed.
    pub async fn start() -> io::Result<Option<Self>> {
        let Some(one) = Self::launch("one", "")? else { return Ok(None) };
        one.ask("STREAM.CREATE", STREAM).await?;
        Ok(Some(one))
    }

    /// Starts one without a stream, whose configuration has this, too.
    pub fn launch(domain: &str, more: &str) -> io::Result<Option<Self>> {
        let Some(program) = find("nats-server", "--version")? else { return Ok(None) };
        let syncs = program.version >= (2, 10);
        let dir = tempfile::tempdir()?;
        let (config, store) = (dir.path().join("nats.conf"), dir.path().join("store"));
        let sync = if syncs { "sync_interval: always" } else { "" };
        let text = format!(
            "server_name: {domain}\nlisten: \"127.0.0.1:-1\"\n\
             jetstream {{\n  store_dir: {store:?}\n  domain: {domain}\n  {sync}\n}}\n{more}\n"
        );
        fs::write(&config, text)?;
        let launch = Launch::program(program.path).args(["-c".as_ref(), config.as_os_str()]);
        let process = launch.start()?;
        let address = listens(&process, "Listening for client connections on")?;
        Ok(Some(Self { syncs, address, process, _dir: dir }))
    }

    /// Where it listens, by what it logs.
    pub fn listens(&self, with: &str) -> io::Result<SocketAddr> {
        listens(&self.process, with)
    }

    /// Its process.
    pub fn process(&mut self) -> &mut Running {
        &mut self.process
    }

    /// What its interface answers about the stream.
    async fn ask(&self, what: &str, body: &str) -> io::Result<Value> {
        let stream = TcpStream::connect(self.address).await?;
        Line::open(stream, usize::MAX).await?.ask(what, body).await
    }

    /// Readings a second over connections that each publish a batch and wait for all its
    /// acknowledgements: a message for each reading, or for each batch.
    pub async fn rate(
        &self,
        connections: usize,
        (messages, each): (usize, usize),
        time: Duration,
        body: impl Fn(usize, usize, usize) -> String + Send + Sync + 'static,
    ) -> io::Result<f64> {
        let load = self.load(connections, (messages, each), body);
        load.run(Duration::from_secs(1), u64::MAX).await?;
        let (count, took) = load.run(time, u64::MAX).await?;
        Ok(count as f64 / took.as_secs_f64())
    }

    /// So many messages at a time on each connection, with so many readings each.
    fn load(
        &self,
        connections: usize,
        (messages, each): (usize, usize),
        body: impl Fn(usize, usize, usize) -> String + Send + Sync + 'static,
    ) -> Load {
        Load {
            address: self.address,
            connections,
            requests: Arc::new(move |connection| {
                let batch = |variant: usize| {
                    let one = |i| body(connection, variant * messages + i, each);
                    let subject = format!("r.ps-{connection:03}");
                    let all = (0..messages).map(|i| publish(&subject, connection, &one(i)));
                    all.collect::<String>().into_bytes()
                };
                (0..VARIANTS).map(batch).collect()
            }),
            readings: (messages * each) as u64,
            speaks: Speaks::JetStream { acknowledgements: messages },
        }
    }

    /// Ends it.
    pub fn stop(mut self) -> io::Result<()> {
        self.process.terminate(LIMIT).map(drop)
    }
}

/// Readings a second with which a hub catches up on `readings` readings of a leaf, `each` to a
/// message: from the moment it is told to mirror the leaf's stream until it has all messages.
/// Nothing when it is not installed.
pub async fn catch_up(
    readings: u64,
    each: usize,
    body: impl Fn(usize, usize, usize) -> String + Send + Sync + 'static,
) -> io::Result<Option<f64>> {
    let listen = "leafnodes { listen: \"127.0.0.1:-1\" }";
    let Some(hub) = Nats::launch("hub", listen)? else { return Ok(None) };
    let at = hub.listens("Listening for leafnode connections on")?;
    let remote = format!("leafnodes {{ remotes: [ {{ url: \"nats-leaf://{at}\" }} ] }}");
    let leaf = Nats::launch("leaf", &remote)?;
    let leaf = leaf.ok_or_else(|| io::Error::other("nats-server is gone"))?;
    hub.process.logged("Leafnode connection created", LIMIT)?;
    leaf.ask("STREAM.CREATE", STREAM).await?;
    let load = leaf.load(FILLERS, (UNDER_WAY, each), body);
    let (made, _) = load.run(CAUGHT_UP, readings).await?;
    let started = Instant::now();
    hub.ask("STREAM.CREATE", MIRROR).await?;
    let stream = TcpStream::connect(hub.address).await?;
    let (mut line, mut arrived) = (Line::open(stream, usize::MAX).await?, 0);
    while arrived < made / each as u64 {
        if started.elapsed() > CAUGHT_UP {
            return Err(io::Error::other(format!("the mirror has {arrived} messages only")));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
        let state = line.ask("STREAM.INFO", "").await?;
        arrived = state["state"]["messages"].as_u64().unwrap_or(0);
    }
    let rate = made as f64 / started.elapsed().as_secs_f64();
    leaf.stop()?;
    hub.stop()?;
    Ok(Some(rate))
}

/// Where it listens, by what it logs.
fn listens(process: &Running, with: &str) -> io::Result<SocketAddr> {
    let line = process.logged(with, LIMIT)?;
    // Of some it says with which protocol.
    let address = line.split_whitespace().last().and_then(|last| last.rsplit('/').next());
    let address = address.and_then(|address| address.parse().ok());
    address.ok_or_else(|| io::Error::other(format!("no address: {line}")))
}

fn publish(subject: &str, inbox: usize, payload: &str) -> String {
    format!("PUB {subject} in.{inbox} {}\r\n{payload}\r\n", payload.len())
}

/// A connection that hears the acknowledgements of its own inbox.
#[derive(Debug)]
pub struct Line {
    inbox: usize,
    stream: TcpStream,
    pending: BytesMut,
}

impl Line {
    /// Greets the server and subscribes to the inbox of this number.
    pub async fn open(stream: TcpStream, inbox: usize) -> io::Result<Self> {
        let mut line = Self { inbox, stream, pending: BytesMut::new() };
        let hello = format!("CONNECT {{\"verbose\":false}}\r\nSUB in.{inbox} 1\r\nPING\r\n");
        line.stream.write_all(hello.as_bytes()).await?;
        while line.heard().await? != Heard::Pong {}
        Ok(line)
    }

    /// Sends, and waits for so many acknowledgements.
    pub async fn exchange(&mut self, request: &[u8], mut awaited: usize) -> io::Result<()> {
        self.stream.write_all(request).await?;
        while awaited > 0 {
            match self.heard().await? {
                Heard::Message(_) => awaited -= 1,
                Heard::Ping => self.stream.write_all(b"PONG\r\n").await?,
                Heard::Pong | Heard::Other => {}
            }
        }
        Ok(())
    }

    /// What JetStream's interface answers about the stream `readings`.
    async fn ask(&mut self, what: &str, body: &str) -> io::Result<Value> {
        let request = publish(&format!("$JS.API.{what}.readings"), self.inbox, body);
        self.stream.write_all(request.as_bytes()).await?;
        loop {
            match self.heard().await? {
                Heard::Message(payload) => return Ok(serde_json::from_slice(&payload)?),
                Heard::Ping => self.stream.write_all(b"PONG\r\n").await?,
                Heard::Pong | Heard::Other => {}
            }
        }
    }

    async fn heard(&mut self) -> io::Result<Heard> {
        loop {
            if let Some(heard) = take(&mut self.pending)? {
                return Ok(heard);
            }
            if self.stream.read_buf(&mut self.pending).await? == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
    }
}

/// What the server said.
#[derive(Debug, PartialEq, Eq)]
enum Heard {
    Message(BytesMut),
    Ping,
    Pong,
    Other,
}

/// Takes one whole saying off the front, if there is one.
fn take(pending: &mut BytesMut) -> io::Result<Option<Heard>> {
    let Some(end) = pending.windows(2).position(|pair| pair == b"\r\n") else { return Ok(None) };
    let head = String::from_utf8_lossy(&pending[..end]).into_owned();
    let heard = match head.split(' ').next().unwrap_or_default() {
        "MSG" => return message(pending, &head),
        "PING" => Heard::Ping,
        "PONG" => Heard::Pong,
        "-ERR" => return Err(io::Error::other(head)),
        _ => Heard::Other,
    };
    pending.advance(end + 2);
    Ok(Some(heard))
}

/// Takes the message with this head, if all of it is there.
fn message(pending: &mut BytesMut, head: &str) -> io::Result<Option<Heard>> {
    let length = head.rsplit(' ').next().and_then(|length| length.parse::<usize>().ok());
    let length = length.ok_or_else(|| io::Error::other(format!("no length: {head}")))?;
    let from = head.len() + 2;
    if pending.len() < from + length + 2 {
        return Ok(None);
    }
    pending.advance(from);
    let payload = pending.split_to(length);
    pending.advance(2);
    let text = String::from_utf8_lossy(&payload);
    if text.contains("\"error\"") {
        return Err(io::Error::other(text.into_owned()));
    }
    Ok(Some(Heard::Message(payload)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sayings_are_taken_whole_and_refusals_are_errors() {
        let said = "INFO {}\r\nPING\r\nMSG in.3 1 4\r\n{\"a\"\r\nMSG in.3 1 9\r\n";
        let mut pending = BytesMut::from(said);
        let mut next = || take(&mut pending).unwrap();
        assert_eq!(next(), Some(Heard::Other));
        assert_eq!(next(), Some(Heard::Ping));
        assert_eq!(next(), Some(Heard::Message(BytesMut::from("{\"a\""))));
        assert_eq!(next(), None, "its payload is not here yet");
        pending.extend_from_slice(b"{\"error\"}\r\n");
        assert!(take(&mut pending).is_err(), "a refusal");
        assert!(take(&mut BytesMut::from("-ERR 'no'\r\n")).is_err());
    }
}
