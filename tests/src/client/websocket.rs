//! MQTT 5 over WebSocket, frame by frame, for tests that want to see or spoil them.

use bytes::{Bytes, BytesMut};
use holdfast_edge::mqtt::codec::{Codec, Limits};
use holdfast_edge::mqtt::packet::{
    Binary, Connack, Connect, ConnectProperties, Packet, Utf8, Version,
};
use std::io;
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// The last frame of a message with data.
pub const BINARY: u8 = 0x82;
/// One with text.
pub const TEXT: u8 = 0x81;
/// The end of one side.
pub const CLOSE: u8 = 0x88;
/// To be answered with a pong.
pub const PING: u8 = 0x89;
/// The answer.
pub const PONG: u8 = 0x8a;

/// The headers of a handshake that is taken.
pub const HEADERS: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
    Sec-WebSocket-Protocol: mqtt\r\n";

/// One connection.
#[derive(Debug)]
pub struct WebSocket {
    stream: TcpStream,
    codec: Codec,
    input: BytesMut,
}

impl WebSocket {
    /// Asks for WebSocket with these headers: the connection, or the answer that there is none.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn open(address: SocketAddr, headers: &str) -> io::Result<Result<Self, String>> {
        let mut stream = TcpStream::connect(address).await?;
        let request = format!("GET /mqtt HTTP/1.1\r\nHost: {address}\r\n{headers}\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await?);
        }
        let head = String::from_utf8_lossy(&head).into_owned();
        if head.starts_with("HTTP/1.1 101 ") {
            let codec = Codec::for_client(Version::V5, Limits::default());
            return Ok(Ok(Self { stream, codec, input: BytesMut::new() }));
        }
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let length = length.and_then(|length| length.parse().ok()).unwrap_or(0);
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await?;
        Ok(Err(head + &String::from_utf8_lossy(&body)))
    }

    /// Sends a frame of up to 65,535 bytes, with a mask that changes nothing.
    ///
    /// # Errors
    /// When the connection is over.
    pub async fn send(&mut self, first: u8, payload: &[u8]) -> io::Result<()> {
        let length = u16::try_from(payload.len()).map_err(io::Error::other)?.to_be_bytes();
        let frame = [&[first, 0xfe, length[0], length[1], 0, 0, 0, 0], payload].concat();
        let short = [&[first, 0x80 | length[1], 0, 0, 0, 0], payload].concat();
        let frame = if payload.len() < 126 { short } else { frame };
        self.stream.write_all(&frame).await
    }

    /// The next frame of the server.
    ///
    /// # Errors
    /// When the connection is over.
    pub async fn next(&mut self) -> io::Result<(u8, Vec<u8>)> {
        let (first, length) = (self.stream.read_u8().await?, self.stream.read_u8().await?);
        let length = match length {
            126 => usize::from(self.stream.read_u16().await?),
            127 => usize::try_from(self.stream.read_u64().await?).map_err(io::Error::other)?,
            short => usize::from(short),
        };
        let mut payload = vec![0; length];
        self.stream.read_exact(&mut payload).await?;
        Ok((first, payload))
    }

    /// A packet as bytes.
    ///
    /// # Panics
    /// When it is too large.
    pub fn bytes(&mut self, packet: &Packet) -> Vec<u8> {
        let mut out = BytesMut::new();
        self.codec.encode(packet, &mut out).expect("a packet of ordinary size");
        out.to_vec()
    }

    /// The next packet of the server.
    ///
    /// # Errors
    /// When the connection is over.
    pub async fn packet(&mut self) -> io::Result<Packet> {
        loop {
            if let Some(packet) = self.codec.decode(&mut self.input).map_err(io::Error::other)? {
                return Ok(packet);
            }
            match self.next().await? {
                (BINARY, payload) => self.input.extend_from_slice(&payload),
                other => return Err(io::Error::other(format!("no data: {other:?}"))),
            }
        }
    }

    /// Connects as a client, with a token or without.
    ///
    /// # Errors
    /// When the connection is over.
    ///
    /// # Panics
    /// When the name is none.
    pub async fn connect(&mut self, client: &str, token: Option<&str>) -> io::Result<Connack> {
        let password = token.map(|token| Bytes::copy_from_slice(token.as_bytes()));
        let connect = Connect {
            version: Version::V5,
            clean_start: true,
            keep_alive: 0,
            client_id: Utf8::try_from(client).expect("a plain name"),
            will: None,
            user_name: None,
            password: password.map(|token| Binary::new(token).expect("short")),
            properties: ConnectProperties::default(),
        };
        let bytes = self.bytes(&Packet::Connect(Box::new(connect)));
        // A packet need not begin or end with a frame.
        let (first, second) = bytes.split_at(1);
        self.send(0x02, first).await?;
        self.send(0x80, second).await?;
        match self.packet().await? {
            Packet::Connack(connack) => Ok(*connack),
            other => Err(io::Error::other(format!("no CONNACK: {other:?}"))),
        }
    }
}
