//! The load generator: prepared requests over many connections, one under way on each.

use super::peers::nats::Line;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// What is sent.
pub struct Load {
    /// Where.
    pub address: SocketAddr,
    /// How many connections.
    pub connections: usize,
    /// For each connection, the requests it sends in turn.
    pub requests: Arc<dyn Fn(usize) -> Vec<Vec<u8>> + Send + Sync>,
    /// Readings in each request.
    pub readings: u64,
    /// What the other side speaks.
    pub speaks: Speaks,
}

/// How a request is answered.
#[derive(Clone, Copy, Debug)]
pub enum Speaks {
    /// With one answer of HTTP.
    Http,
    /// With an acknowledgement of JetStream for each message in it.
    JetStream {
        /// How many messages a request has.
        acknowledgements: usize,
    },
}

/// A request as bytes.
#[must_use]
pub fn request(path: &str, token: &str, content_type: &str, body: &str) -> Vec<u8> {
    format!(
        "POST {path} HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {token}\r\n\
         Content-Type: {content_type}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

impl Load {
    /// Runs until `time` has passed or `most` readings were acknowledged; returns how many were and
    /// how long it took.
    ///
    /// # Errors
    /// A connection that breaks, or an answer other than success.
    pub async fn run(&self, time: Duration, most: u64) -> io::Result<(u64, Duration)> {
        let acknowledged = Arc::new(AtomicU64::new(0));
        let started = Instant::now();
        let mut connections = JoinSet::new();
        for number in 0..self.connections {
            let requests = (self.requests)(number);
            let stream = TcpStream::connect(self.address).await?;
            stream.set_nodelay(true)?;
            let mut way = Way::open(stream, self.speaks, number).await?;
            let (acknowledged, readings) = (Arc::clone(&acknowledged), self.readings);
            connections.spawn(async move {
                for request in requests.iter().cycle() {
                    let done = acknowledged.load(Ordering::Relaxed);
                    if started.elapsed() >= time || done >= most {
                        break;
                    }
                    way.exchange(request).await?;
                    acknowledged.fetch_add(readings, Ordering::Relaxed);
                }
                io::Result::Ok(())
            });
        }
        while let Some(ended) = connections.join_next().await {
            ended.map_err(io::Error::other)??;
        }
        Ok((acknowledged.load(Ordering::Relaxed), started.elapsed()))
    }
}

/// A connection of the load.
enum Way {
    Http(TcpStream, Vec<u8>),
    JetStream(Line, usize),
}

impl Way {
    async fn open(stream: TcpStream, speaks: Speaks, number: usize) -> io::Result<Self> {
        Ok(match speaks {
            Speaks::Http => Self::Http(stream, vec![0; 16 << 10]),
            Speaks::JetStream { acknowledgements } => {
                Self::JetStream(Line::open(stream, number).await?, acknowledgements)
            }
        })
    }

    async fn exchange(&mut self, request: &[u8]) -> io::Result<()> {
        match self {
            Self::Http(stream, buffer) => exchange(stream, request, buffer).await,
            Self::JetStream(line, awaited) => line.exchange(request, *awaited).await,
        }
    }
}

/// Sends a request and reads its answer, which has to be success.
///
/// # Errors
/// A connection that breaks, or an answer other than success.
pub async fn exchange(stream: &mut TcpStream, request: &[u8], buffer: &mut [u8]) -> io::Result<()> {
    stream.write_all(request).await?;
    answer(stream, buffer).await
}

/// Reads one answer to its end.
async fn answer(stream: &mut TcpStream, buffer: &mut [u8]) -> io::Result<()> {
    let mut filled = 0;
    loop {
        let read = stream.read(&mut buffer[filled..]).await?;
        if read == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        filled += read;
        let text = &buffer[..filled];
        let Some(end) = text.windows(4).position(|w| w == b"\r\n\r\n") else { continue };
        let head = String::from_utf8_lossy(&text[..end]).to_ascii_lowercase();
        if !head.starts_with("http/1.1 20") {
            return Err(io::Error::other(String::from_utf8_lossy(text).into_owned()));
        }
        let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
        let length: usize = length.and_then(|n| n.trim().parse().ok()).unwrap_or(0);
        if filled >= end + 4 + length {
            return Ok(());
        }
    }
}
