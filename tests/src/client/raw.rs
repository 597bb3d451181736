//! Requests that a well-behaved client would never send: slow, truncated, half-open, not HTTP.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// What a server did about a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply {
    /// It answered, with this status.
    Status(u16),
    /// It closed the connection.
    Closed,
    /// It kept the connection, and said nothing in time.
    Silence,
}

impl Reply {
    /// Whether the server is done with the request, by the client's fault.
    #[must_use]
    pub fn is_refusal(self) -> bool {
        matches!(self, Self::Status(400..500) | Self::Closed)
    }
}

/// A connection on which bytes are sent as the test says.
#[derive(Debug)]
pub struct RawRequest {
    stream: TcpStream,
}

impl RawRequest {
    /// Connects and sends nothing: left alone, this is a half-open request.
    ///
    /// # Errors
    /// When there is no connection.
    pub async fn open(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream })
    }

    /// Sends the head of a `POST` that announces `content_length` bytes, and none of them.
    ///
    /// # Errors
    /// When the connection is gone.
    pub async fn post_head(
        address: SocketAddr,
        path: &str,
        token: Option<&str>,
        content_type: &str,
        content_length: usize,
    ) -> io::Result<Self> {
        let mut request = Self::open(address).await?;
        let authorization =
            token.map(|t| format!("Authorization: Bearer {t}\r\n")).unwrap_or_default();
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: {address}\r\n{authorization}\
             Content-Type: {content_type}\r\nContent-Length: {content_length}\r\n\r\n"
        );
        request.send(head.as_bytes()).await?;
        Ok(request)
    }

    /// Sends bytes.
    ///
    /// # Errors
    /// When the server has closed the connection.
    pub async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await?;
        self.stream.flush().await
    }

    /// Sends bytes one at a time with a pause after each, until all are sent or the server has
    /// had enough; says how many it took.
    pub async fn trickle(&mut self, bytes: &[u8], pause: Duration) -> usize {
        for (sent, byte) in bytes.iter().enumerate() {
            if self.server_spoke().await || self.send(&[*byte]).await.is_err() {
                return sent;
            }
            tokio::time::sleep(pause).await;
        }
        bytes.len()
    }

    /// Closes our direction: to the server the body ends early.
    ///
    /// # Errors
    /// When the connection is gone.
    pub async fn truncate(&mut self) -> io::Result<()> {
        self.stream.shutdown().await
    }

    /// Reads what the server sends until it closes or `limit` has passed. A reset by the server
    /// ends the reading like a close.
    pub async fn answer(&mut self, limit: Duration) -> Vec<u8> {
        let mut all = Vec::new();
        let reading = self.stream.read_to_end(&mut all);
        // Whatever came before the limit or a reset is the answer.
        let _ = timeout(limit, reading).await;
        all
    }

    /// Reads what the server sends until it has sent `end`, and gives it; less when it closes or
    /// `limit` has passed.
    pub async fn until(&mut self, end: &str, limit: Duration) -> String {
        let mut all = Vec::new();
        let reading = async {
            while !all.windows(end.len()).any(|window| window == end.as_bytes()) {
                if !matches!(self.stream.read_buf(&mut all).await, Ok(1..)) {
                    return;
                }
            }
        };
        // What came before the limit is told, so that a test can show it.
        let _ = timeout(limit, reading).await;
        String::from_utf8_lossy(&all).into_owned()
    }

    /// Reads the first line of what the server sends, if it sends any within `limit`.
    ///
    /// # Panics
    /// When it is not one of HTTP.
    pub async fn reply(&mut self, limit: Duration) -> Reply {
        let mut line = Vec::new();
        let reading = async {
            while !line.ends_with(b"\r\n") {
                match self.stream.read_u8().await {
                    Ok(byte) => line.push(byte),
                    Err(_) => return Reply::Closed,
                }
            }
            let line = String::from_utf8_lossy(&line);
            let status = line.split(' ').nth(1).and_then(|status| status.parse().ok());
            Reply::Status(status.unwrap_or_else(|| panic!("no status line: {line}")))
        };
        timeout(limit, reading).await.unwrap_or(Reply::Silence)
    }

    /// Whether the server answered or closed without waiting for more.
    async fn server_spoke(&self) -> bool {
        let mut byte = [0];
        timeout(Duration::ZERO, self.stream.peek(&mut byte)).await.is_ok()
    }
}
