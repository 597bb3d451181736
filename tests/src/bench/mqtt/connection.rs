//! A connection of the load: bytes out, packets in, on the one thread that has all of them.
//!
//! What is said is gathered and written at once, and as many packets as came are read at once: with
//! twenty messages under way a system call carries several of them, at both ends.

use super::wire::{self, Heard, Login};
use std::future::poll_fn;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpSocket, TcpStream};

/// Of what is read at first; ten thousand that are idle need no more.
const ROOM: usize = 256;
/// Of what is read at most at a time.
const ROOM_MAX: usize = 64 << 10;

/// Where a broker is, and what it wants to hear before it lets somebody in.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// Where it listens.
    pub address: SocketAddr,
    /// Nothing where anybody may come.
    pub login: Option<Login>,
}

/// A client that the broker has let in.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    input: Vec<u8>,
    /// What was read and not yet taken.
    taken: usize,
    filled: usize,
    /// What is to be written.
    pub output: Vec<u8>,
    written: usize,
    /// Whether the broker had a session of this client.
    pub session_present: bool,
}

impl Connection {
    /// Connects with a session that ends with the connection.
    ///
    /// # Errors
    /// When the broker is not there or refuses.
    pub async fn open(endpoint: &Endpoint, id: &str) -> io::Result<Self> {
        Self::open_as(endpoint, id, true, Ipv4Addr::LOCALHOST).await
    }

    /// Connects from this address of the loopback, with or without a session that lasts.
    ///
    /// # Errors
    /// As [`Connection::open`].
    pub async fn open_as(
        endpoint: &Endpoint,
        id: &str,
        clean: bool,
        from: Ipv4Addr,
    ) -> io::Result<Self> {
        let socket = TcpSocket::new_v4()?;
        if from != Ipv4Addr::LOCALHOST {
            socket.bind(SocketAddr::new(IpAddr::V4(from), 0))?;
        }
        let stream = socket.connect(endpoint.address).await?;
        stream.set_nodelay(true)?;
        let (input, output) = (vec![0; ROOM], Vec::new());
        let session_present = false;
        let (taken, filled, written) = (0, 0, 0);
        let mut new = Self { stream, input, taken, filled, output, written, session_present };
        wire::connect(id, clean, endpoint.login.as_ref(), &mut new.output);
        let answer = |heard: Heard<'_>| match heard {
            Heard::Connack { session_present, code: 0 } => Ok(session_present),
            other => Err(unexpected(&other, "a CONNACK that lets in")),
        };
        new.session_present = new.answer(answer).await?;
        // What comes next may be large.
        new.output = Vec::new();
        Ok(new)
    }

    /// Subscribes with this QoS, which has to be granted: a broker that delivers to nobody looks
    /// fast.
    ///
    /// # Errors
    /// When the broker refuses, or grants less.
    pub async fn subscribe(&mut self, filter: &str, qos: u8) -> io::Result<()> {
        wire::subscribe(filter, qos, &mut self.output);
        let granted = |heard: Heard<'_>| match heard {
            Heard::Suback(granted) if granted == qos => Ok(()),
            other => Err(unexpected(&other, "a SUBACK that grants the QoS asked for")),
        };
        self.answer(granted).await
    }

    /// Says goodbye.
    ///
    /// # Errors
    /// When the connection is gone already.
    pub async fn close(mut self) -> io::Result<()> {
        self.output.extend(wire::DISCONNECT);
        poll_fn(|context| self.write(context)).await
    }

    /// Writes what is to be said and takes the next packet.
    async fn answer<T>(&mut self, each: impl FnOnce(Heard<'_>) -> io::Result<T>) -> io::Result<T> {
        loop {
            let mut rest = &self.input[self.taken..self.filled];
            if let Some(heard) = wire::take(&mut rest)? {
                self.taken = self.filled - rest.len();
                return each(heard);
            }
            self.exchange().await?;
        }
    }

    /// Hands over each packet that is there, with the room for what is to be said to it.
    ///
    /// # Errors
    /// What `each` finds wrong, or bytes that are no packet.
    pub fn packets(
        &mut self,
        mut each: impl FnMut(Heard<'_>, &mut Vec<u8>) -> io::Result<()>,
    ) -> io::Result<()> {
        let mut rest = &self.input[self.taken..self.filled];
        while let Some(heard) = wire::take(&mut rest)? {
            each(heard, &mut self.output)?;
        }
        self.taken = self.filled - rest.len();
        Ok(())
    }

    /// Writes what is to be said, as far as it goes, and waits until something was read. May be
    /// given up at any time.
    ///
    /// # Errors
    /// When the connection is gone.
    pub async fn exchange(&mut self) -> io::Result<()> {
        self.input.copy_within(self.taken..self.filled, 0);
        self.filled -= self.taken;
        self.taken = 0;
        if self.filled == self.input.len() {
            self.input.resize(self.filled * 2, 0);
        }
        poll_fn(|context| self.write_and_read(context)).await
    }

    /// Whether the broker has neither left nor said anything.
    ///
    /// # Errors
    /// When it has.
    pub fn still_open(&self) -> io::Result<()> {
        match self.stream.try_read(&mut [0]) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(()),
            Err(error) => Err(error),
            Ok(_) => Err(io::Error::other("the broker ended a connection that was idle")),
        }
    }

    fn write_and_read(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Poll::Ready(Err(error)) = self.write(context) {
            return Poll::Ready(Err(error));
        }
        let mut room = ReadBuf::new(&mut self.input[self.filled..]);
        ready!(Pin::new(&mut self.stream).poll_read(context, &mut room))?;
        let read = room.filled().len();
        if read == 0 {
            return Poll::Ready(Err(ErrorKind::UnexpectedEof.into()));
        }
        self.filled += read;
        if self.filled == self.input.len() && self.filled < ROOM_MAX {
            self.input.resize(self.filled * 2, 0);
        }
        Poll::Ready(Ok(()))
    }

    fn write(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.written < self.output.len() {
            let rest = &self.output[self.written..];
            self.written += ready!(Pin::new(&mut self.stream).poll_write(context, rest))?;
        }
        self.output.clear();
        self.written = 0;
        Poll::Ready(Ok(()))
    }
}

/// The error of hearing something else than was waited for.
pub fn unexpected(heard: &Heard<'_>, wanted: &str) -> io::Error {
    io::Error::other(format!("the broker said {heard:?}, not {wanted}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    /// A broker that answers what it reads with these bytes, one answer for each read.
    async fn broker(answers: Vec<&'static [u8]>) -> Endpoint {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            for answer in answers {
                let mut room = [0; 256];
                let _ = stream.read(&mut room).await.unwrap();
                stream.write_all(answer).await.unwrap();
            }
            // It stays until the client has left.
            let _ = stream.read(&mut [0; 256]).await;
        });
        Endpoint { address, login: None }
    }

    #[tokio::test]
    async fn a_broker_that_refuses_is_an_error() {
        let closed = broker(vec![&[0x20, 2, 0, 5]]).await;
        assert!(Connection::open(&closed, "a").await.is_err());
        for (granted, is_taken) in [(&[0x90, 3, 0, 1, 0x80], false), (&[0x90, 3, 0, 1, 1], true)] {
            let endpoint = broker(vec![&[0x20, 2, 0, 0], granted]).await;
            let mut connection = Connection::open(&endpoint, "a").await.unwrap();
            assert_eq!(connection.subscribe("a/#", 1).await.is_ok(), is_taken);
        }
    }

    #[tokio::test]
    async fn messages_right_behind_the_answer_are_not_lost() {
        let both: &[u8] = &[0x20, 2, 1, 0, 0x30, 4, 0, 1, b'a', b'x', 0x30, 4, 0];
        let endpoint = broker(vec![both]).await;
        let mut connection = Connection::open(&endpoint, "a").await.unwrap();
        assert!(connection.session_present);
        let mut messages = 0;
        let count = |heard: Heard<'_>, _: &mut Vec<u8>| {
            let Heard::Publish { payload: b"x", .. } = heard else { panic!("{heard:?}") };
            messages += 1;
            Ok(())
        };
        connection.packets(count).unwrap();
        assert_eq!(messages, 1, "the second is not whole");
    }
}
