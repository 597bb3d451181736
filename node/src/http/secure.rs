//! The beginning of a connection on an HTTPS port.
//!
//! Whoever speaks plain HTTP there is told so in plain HTTP: silence or an alert in TLS would be
//! noise to them. Anything else that is no handshake is left to TLS, which closes it.

use super::connection::Watched;
use std::io;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// The answer to plain HTTP.
const ANSWER: &str = "HTTP/1.1 400 Bad Request\r\n\
    Content-Type: text/plain; charset=utf-8\r\n\
    Content-Length: 77\r\n\
    Connection: close\r\n\r\n\
    This port speaks HTTPS: ask again with https:// in place of http://, please.\n";
/// Bytes of a plain request that are taken so that its sender gets to read the answer.
const TAKEN_MAX: usize = 64 << 10;

/// Shakes hands; `None` when the client spoke plain HTTP and was told, or said nothing.
///
/// # Errors
/// When the handshake fails or the connection breaks.
pub(super) async fn open(
    mut stream: Watched,
    acceptor: &TlsAcceptor,
) -> io::Result<Option<TlsStream<Watched>>> {
    let mut first = [0];
    if stream.peek(&mut first).await? == 0 {
        return Ok(None);
    }
    // Methods are written in capitals, a handshake begins with 22.
    if first[0].is_ascii_uppercase() {
        turn_away(&mut stream).await?;
        return Ok(None);
    }
    acceptor.accept(stream).await.map(Some)
}

/// A close with bytes unread would take the answer with it, so the request is read first.
async fn turn_away(stream: &mut Watched) -> io::Result<()> {
    let mut taken = Vec::new();
    let is_whole = |taken: &[u8]| taken.windows(4).any(|end| end == b"\r\n\r\n");
    while taken.len() < TAKEN_MAX && !is_whole(&taken) {
        if stream.read_buf(&mut taken).await? == 0 {
            break;
        }
    }
    stream.write_all(ANSWER.as_bytes()).await?;
    stream.shutdown().await?;
    let mut rest = Box::new([0; 4096]);
    let mut left = TAKEN_MAX;
    while left > 0 {
        match stream.read(rest.as_mut_slice()).await? {
            0 => break,
            length => left = left.saturating_sub(length),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_to_plain_http_is_as_long_as_it_says() {
        let (head, body) = ANSWER.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("Content-Length: {}\r\n", body.len())), "{}", body.len());
    }
}
