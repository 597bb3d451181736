//! The two directions of a QUIC stream as one.
//!
//! Closing it takes until the peer has everything, because whoever closes a stream may close the
//! connection next, and quinn then sends nothing more: the last frame, which says why, would be
//! lost.

use super::peers::Streams;
use futures::future::{BoxFuture, FutureExt};
use futures::{AsyncRead, AsyncWrite};
use quinn::{RecvStream, SendStream};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

pub(in crate::net) struct Pair {
    send: SendStream,
    recv: RecvStream,
    closing: Option<BoxFuture<'static, ()>>,
    is_closed: bool,
    /// While it lives the connection counts as used.
    _streams: Streams,
}

impl Pair {
    pub(super) fn new(send: SendStream, recv: RecvStream, streams: Streams) -> Self {
        Self { send, recv, closing: None, is_closed: false, _streams: streams }
    }
}

impl AsyncRead for Pair {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        AsyncRead::poll_read(Pin::new(&mut self.recv), cx, out)
    }
}

impl AsyncWrite for Pair {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        AsyncWrite::poll_write(Pin::new(&mut self.send), cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        AsyncWrite::poll_flush(Pin::new(&mut self.send), cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self { send, closing, is_closed, .. } = &mut *self;
        if !*is_closed {
            let closing = closing.get_or_insert_with(|| {
                // One that was finished or stopped already is waited for just the same.
                let _ = send.finish();
                send.stopped().map(drop).boxed()
            });
            ready!(closing.poll_unpin(cx));
            *is_closed = true;
        }
        Poll::Ready(Ok(()))
    }
}
