//! A small MQTT 5 client for tests: packets in and out of a connection, nothing repeated and
//! nothing answered behind the caller's back.

use bytes::{Bytes, BytesMut};
use holdfast_edge::mqtt::codec::{Codec, Limits};
use holdfast_edge::mqtt::packet::{
    Binary, Connack, Connect, ConnectProperties, Packet, PacketId, Publish, PublishProperties, QoS,
    Topic, Utf8, Version,
};
use std::io;
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// One connection.
#[derive(Debug)]
pub struct Wire {
    stream: TcpStream,
    codec: Codec,
    input: BytesMut,
}

impl Wire {
    /// Connects as `client`, whose session is kept for ever.
    ///
    /// # Errors
    /// When there is no connection, or the client is not let in.
    pub async fn open(
        address: SocketAddr,
        client: &str,
        token: &str,
    ) -> io::Result<(Self, Connack)> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let codec = Codec::for_client(Version::V5, Limits::default());
        let mut wire = Self { stream, codec, input: BytesMut::new() };
        let properties =
            ConnectProperties { session_expiry_s: Some(u32::MAX), ..ConnectProperties::default() };
        let connect = Connect {
            version: Version::V5,
            clean_start: false,
            keep_alive: 0,
            client_id: Utf8::try_from(client).expect("a plain name"),
            will: None,
            user_name: None,
            password: Some(Binary::new(Bytes::copy_from_slice(token.as_bytes())).expect("short")),
            properties,
        };
        wire.send(Packet::Connect(Box::new(connect))).await?;
        match wire.next().await? {
            Packet::Connack(connack) if !connack.reason.is_failure() => Ok((wire, *connack)),
            other => Err(io::Error::other(format!("not let in: {other:?}"))),
        }
    }

    /// Sends a packet.
    ///
    /// # Errors
    /// When the connection is over.
    pub async fn send(&mut self, packet: Packet) -> io::Result<()> {
        let mut out = BytesMut::new();
        self.codec.encode(&packet, &mut out).map_err(io::Error::other)?;
        self.stream.write_all(&out).await
    }

    /// The next packet.
    ///
    /// # Errors
    /// When the connection is over, or what comes is no packet of a server.
    pub async fn next(&mut self) -> io::Result<Packet> {
        loop {
            if let Some(packet) = self.codec.decode(&mut self.input).map_err(io::Error::other)? {
                return Ok(packet);
            }
            if self.stream.read_buf(&mut self.input).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }
}

/// A message to publish.
///
/// # Panics
/// When `topic` is none.
#[must_use]
pub fn publish(topic: &str, payload: String, qos: QoS, packet_id: PacketId, dup: bool) -> Packet {
    Packet::Publish(Publish {
        dup,
        qos,
        retain: false,
        topic: Topic::try_from(topic).expect("a topic"),
        packet_id: Some(packet_id),
        payload: payload.into(),
        properties: PublishProperties::default(),
    })
}
