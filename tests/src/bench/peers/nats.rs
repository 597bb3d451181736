//! NATS JetStream: messages into a stream in files, each acknowledged.
//!
//! From 2.10 on it is told to sync before it acknowledges (`sync_interval: always`). Earlier
//! versions do not know that setting and acknowledge what the kernel has.

use super::{LIMIT, find};
use crate::bench::load::{Load, Speaks};
use crate::process::{Launch, Running};
use bytes::{Buf, BytesMut};
use std::fs;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Prepared requests of a connection.
const VARIANTS: usize = 16;

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
    /// Starts one; nothing when it is not installed.
    pub async fn start() -> io::Result<Option<Self>> {
        let Some(program) = find("nats-server", "--version")? else { return Ok(None) };
        let syncs = program.version >= (2, 10);
        let dir = tempfile::tempdir()?;
        let (config, store) = (dir.path().join("nats.conf"), dir.path().join("store"));
        let sync = if syncs { "sync_interval: always" } else { "" };
        let text = format!(
            "listen: \"127.0.0.1:-1\"\njetstream {{\n  store_dir: {store:?}\n  {sync}\n}}\n"
        );
        fs::write(&config, text)?;
        let launch = Launch::program(program.path).args(["-c".as_ref(), config.as_os_str()]);
        let process = launch.start()?;
        let line = process.logged("Listening for client connections on", LIMIT)?;
        let address = line.split_whitespace().last().and_then(|address| address.parse().ok());
        let address = address.ok_or_else(|| io::Error::other(format!("no address: {line}")))?;
        let mut line = Line::open(TcpStream::connect(address).await?, usize::MAX).await?;
        let stream = r#"{"name":"readings","subjects":["r.>"],"storage":"file"}"#;
        let create = publish("$JS.API.STREAM.CREATE.readings", usize::MAX, stream);
        line.exchange(create.as_bytes(), 1).await?;
        Ok(Some(Self { syncs, address, process, _dir: dir }))
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
        let load = Load {
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
        };
        load.run(Duration::from_secs(1), u64::MAX).await?;
        let (count, took) = load.run(time, u64::MAX).await?;
        Ok(count as f64 / took.as_secs_f64())
    }

    /// Ends it.
    pub fn stop(mut self) -> io::Result<()> {
        self.process.terminate(LIMIT).map(drop)
    }
}

fn publish(subject: &str, inbox: usize, payload: &str) -> String {
    format!("PUB {subject} in.{inbox} {}\r\n{payload}\r\n", payload.len())
}

/// A connection that hears the acknowledgements of its own inbox.
#[derive(Debug)]
pub struct Line {
    stream: TcpStream,
    pending: BytesMut,
}

impl Line {
    /// Greets the server and subscribes to the inbox of this number.
    pub async fn open(stream: TcpStream, inbox: usize) -> io::Result<Self> {
        let mut line = Self { stream, pending: BytesMut::new() };
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
                Heard::Message => awaited -= 1,
                Heard::Ping => self.stream.write_all(b"PONG\r\n").await?,
                Heard::Pong | Heard::Other => {}
            }
        }
        Ok(())
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
    Message,
    Ping,
    Pong,
    Other,
}

/// Takes one whole saying off the front, if there is one.
fn take(pending: &mut BytesMut) -> io::Result<Option<Heard>> {
    let Some(end) = pending.windows(2).position(|pair| pair == b"\r\n") else { return Ok(None) };
    let head = String::from_utf8_lossy(&pending[..end]).into_owned();
    let heard = match head.split(' ').next().unwrap_or_default() {
        "MSG" => Heard::Message,
        "PING" => Heard::Ping,
        "PONG" => Heard::Pong,
        "-ERR" => return Err(io::Error::other(head)),
        _ => Heard::Other,
    };
    let mut whole = end + 2;
    if heard == Heard::Message {
        let length = head.rsplit(' ').next().and_then(|length| length.parse::<usize>().ok());
        let length = length.ok_or_else(|| io::Error::other(format!("no length: {head}")))?;
        whole += length + 2;
        if pending.len() < whole {
            return Ok(None);
        }
        let payload = String::from_utf8_lossy(&pending[end + 2..whole]);
        if payload.contains("\"error\"") {
            return Err(io::Error::other(payload.into_owned()));
        }
    }
    pending.advance(whole);
    Ok(Some(heard))
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
        assert_eq!(next(), Some(Heard::Message));
        assert_eq!(next(), None, "its payload is not here yet");
        pending.extend_from_slice(b"{\"error\"}\r\n");
        assert!(take(&mut pending).is_err(), "a refusal");
        assert!(take(&mut BytesMut::from("-ERR 'no'\r\n")).is_err());
    }
}
