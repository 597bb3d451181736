//! Requests that a well-behaved client would never send: slow, truncated, half-open, not HTTP.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

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

    /// Reads the head of the server's answer and gives its status, if it sent one in time.
    pub async fn status(&mut self, limit: Duration) -> Option<u16> {
        let mut head = Vec::new();
        timeout(limit, async {
            while !head.windows(2).any(|w| w == b"\r\n") {
                head.push(self.stream.read_u8().await.ok()?);
            }
            let line = String::from_utf8_lossy(&head).into_owned();
            line.split(' ').nth(1)?.parse().ok()
        })
        .await
        .ok()
        .flatten()
    }

    /// Whether the server answered or closed without waiting for more.
    async fn server_spoke(&self) -> bool {
        let mut byte = [0];
        timeout(Duration::ZERO, self.stream.peek(&mut byte)).await.is_ok()
    }
}
