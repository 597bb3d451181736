//! A stream of bytes over the frames of a connection.
//!
//! What is written becomes one frame, which waits here until the socket has taken all of it: a
//! frame that was begun has to be finished before the next. Pings are answered as they are read,
//! the last one where they come faster than answers leave. Either side's close is answered or said
//! once, and is the last thing this side sends.

use super::frames::{self, End, NORMAL, Reader};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes that one frame carries: as many as a socket takes at once, mostly.
const FRAME_MAX: usize = 16 << 10;
/// What is kept of the room for frames while none waits.
const IDLE_MAX: usize = 512;

/// The bytes that are in the frames of a connection.
#[derive(Debug)]
pub struct Frames<S> {
    inner: S,
    reader: Reader,
    out: Vec<u8>,
    /// How much of it was written.
    written: usize,
    is_closed: bool,
}

impl<S> Frames<S> {
    /// Those of a connection on which the handshake is done.
    pub fn new(inner: S) -> Self {
        let (reader, out) = (Reader::default(), Vec::new());
        Self { inner, reader, out, written: 0, is_closed: false }
    }

    fn close(&mut self, code: Option<u16>) {
        if !std::mem::replace(&mut self.is_closed, true) {
            frames::close(code, &mut self.out);
        }
    }
}

impl<S: AsyncWrite + Unpin> Frames<S> {
    /// Writes what waits.
    fn push(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.written < self.out.len() {
            let rest = &self.out[self.written..];
            match ready!(Pin::new(&mut self.inner).poll_write(context, rest))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => self.written += written,
            }
        }
        if !self.out.is_empty() {
            ready!(Pin::new(&mut self.inner).poll_flush(context))?;
            self.written = 0;
            self.out.clear();
            self.out.shrink_to(IDLE_MAX);
        }
        Poll::Ready(Ok(()))
    }

    /// Writes what can be written now; the rest when the socket takes it.
    fn try_push(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        match self.push(context) {
            Poll::Ready(pushed) => pushed,
            Poll::Pending => Ok(()),
        }
    }

    /// Answers what was read beside data.
    fn answer(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        self.try_push(context)?;
        if !self.is_closed
            && self.out.is_empty()
            && let Some(carried) = self.reader.ping()
        {
            frames::pong(&carried, &mut self.out);
        }
        match self.reader.end() {
            Some(End::Closed(code)) => self.close(code),
            Some(End::Refused(code, _)) => self.close(Some(code)),
            None => {}
        }
        self.try_push(context)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Frames<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        loop {
            this.answer(context)?;
            match this.reader.end() {
                Some(End::Closed(_)) => return Poll::Ready(Ok(())),
                Some(End::Refused(_, why)) => {
                    return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, why)));
                }
                None => {}
            }
            let before = buffer.filled().len();
            ready!(Pin::new(&mut this.inner).poll_read(context, buffer))?;
            if buffer.filled().len() == before {
                return Poll::Ready(Ok(()));
            }
            let kept = this.reader.take(&mut buffer.filled_mut()[before..]);
            buffer.set_filled(before + kept);
            if kept > 0 {
                this.answer(context)?;
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Frames<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.is_closed {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        ready!(this.push(context))?;
        let data = &data[..data.len().min(FRAME_MAX)];
        frames::binary(data, &mut this.out);
        this.try_push(context)?;
        Poll::Ready(Ok(data.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().push(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.close(Some(NORMAL));
        ready!(this.push(context))?;
        Pin::new(&mut this.inner).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};

    /// A client's frame with a mask that changes nothing.
    fn sent(first: u8, payload: &[u8]) -> Vec<u8> {
        let length = u8::try_from(payload.len()).unwrap() | 0x80;
        [&[first, length, 0, 0, 0, 0], payload].concat()
    }

    /// What the client gets of the connection until it ends.
    async fn rest(mut client: DuplexStream) -> Vec<u8> {
        let mut all = Vec::new();
        client.read_to_end(&mut all).await.unwrap();
        all
    }

    #[tokio::test]
    async fn bytes_go_through_frames_both_ways_and_pings_are_answered_between_them() {
        let (mut client, server) = duplex(1 << 10);
        let mut server = Frames::new(server);
        let stream = [sent(0x02, b"he"), sent(0x89, b"?"), sent(0x80, b"llo")].concat();
        client.write_all(&stream).await.unwrap();
        let mut read = [0; 5];
        server.read_exact(&mut read).await.unwrap();
        assert_eq!(&read, b"hello");
        server.write_all(b"world").await.unwrap();
        server.shutdown().await.unwrap();
        drop(server);
        let expected = [&[0x8a, 1][..], b"?", &[0x82, 5], b"world", &[0x88, 2, 0x03, 0xe8]];
        assert_eq!(rest(client).await, expected.concat());
    }

    #[tokio::test]
    async fn a_frame_that_was_begun_is_finished_before_the_next() {
        let (client, server) = duplex(7);
        let mut server = Frames::new(server);
        let payload: Vec<u8> = (0..40_000_u32).map(|n| n as u8).collect();
        let written = payload.clone();
        let writing = async move {
            server.write_all(&written).await.unwrap();
            server.flush().await.unwrap();
        };
        let ((), all) = tokio::join!(writing, rest(client));
        let (mut at, mut found) = (0, Vec::new());
        while at < all.len() {
            assert_eq!(&all[at..at + 2], [0x82, 126], "at {at}");
            let length = usize::from(u16::from_be_bytes([all[at + 2], all[at + 3]]));
            found.extend_from_slice(&all[at + 4..at + 4 + length]);
            at += 4 + length;
        }
        assert_eq!(found, payload);
    }

    #[tokio::test]
    async fn a_text_frame_is_told_and_nothing_is_sent_after_it() {
        let (mut client, server) = duplex(1 << 10);
        let mut server = Frames::new(server);
        client.write_all(&[sent(0x82, b"a"), sent(0x81, b"b")].concat()).await.unwrap();
        let mut read = Vec::new();
        let error = server.read_to_end(&mut read).await.unwrap_err();
        assert_eq!((read.as_slice(), error.kind()), (&b"a"[..], io::ErrorKind::InvalidData));
        assert!(error.to_string().contains("text"), "{error}");
        assert!(server.write_all(b"more").await.is_err());
        server.shutdown().await.unwrap();
        drop(server);
        assert_eq!(rest(client).await, [0x88, 2, 0x03, 0xeb]);
    }

    #[tokio::test]
    async fn a_close_is_an_end_and_is_answered_with_its_code() {
        let (mut client, server) = duplex(1 << 10);
        let mut server = Frames::new(server);
        let code = 1001_u16.to_be_bytes();
        client.write_all(&[sent(0x82, b"a"), sent(0x88, &code)].concat()).await.unwrap();
        let mut read = Vec::new();
        server.read_to_end(&mut read).await.unwrap();
        assert_eq!(read, b"a");
        server.shutdown().await.unwrap();
        drop(server);
        assert_eq!(rest(client).await, [&[0x88, 2][..], &code].concat());
    }

    #[tokio::test]
    async fn pings_that_are_not_waited_for_take_no_room() {
        let (mut client, server) = duplex(64);
        let mut server = Frames::new(server);
        let mut room = 0;
        for n in 0..100_u8 {
            client.write_all(&sent(0x89, &[n; 20])).await.unwrap();
            let mut read = [0; 1];
            let reading = std::future::poll_fn(|context| {
                let mut buffer = ReadBuf::new(&mut read);
                let read = Pin::new(&mut server).poll_read(context, &mut buffer);
                Poll::Ready(read.is_pending())
            });
            assert!(reading.await, "there is no data");
            room = room.max(server.out.capacity());
        }
        assert!(room <= 4 * IDLE_MAX, "{room}");
        client.write_all(&sent(0x82, b"data")).await.unwrap();
        let mut read = [0; 4];
        let (reading, _) = tokio::join!(server.read_exact(&mut read), async {
            let mut taken = [0; 22];
            client.read_exact(&mut taken).await
        });
        assert_eq!(reading.unwrap(), 4);
    }
}
