//! A small MQTT 5 client for tests: packets in and out of a connection, nothing repeated and
//! nothing answered behind the caller's back.

use bytes::{Bytes, BytesMut};
use holdfast_edge::mqtt::codec::{Codec, Limits};
use holdfast_edge::mqtt::packet::{
    Ack, Binary, Connack, Connect, ConnectProperties, Filter, Packet, PacketId, Publish,
    PublishProperties, QoS, Subscribe, Subscription, SubscriptionOptions, Topic, Utf8, Version,
};
use holdfast_edge::mqtt::reason::Reason;
use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Who connects, and for how long its session is kept.
#[derive(Clone, Copy, Debug)]
pub struct Login<'a> {
    /// Its client identifier.
    pub client: &'a str,
    /// Its token.
    pub token: &'a str,
    /// Seconds that the session outlives the connection.
    pub expiry_s: u32,
}

impl<'a> Login<'a> {
    /// One whose session is kept for ever.
    #[must_use]
    pub const fn kept(client: &'a str, token: &'a str) -> Self {
        Self { client, token, expiry_s: u32::MAX }
    }

    /// One whose session ends with its connection.
    #[must_use]
    pub const fn passing(client: &'a str, token: &'a str) -> Self {
        Self { client, token, expiry_s: 0 }
    }

    /// Its CONNECT, as bytes.
    ///
    /// # Panics
    /// When the names are too long for one.
    #[must_use]
    pub fn bytes(&self) -> BytesMut {
        let mut out = BytesMut::new();
        let codec = Codec::for_client(Version::V5, Limits::default());
        codec.encode(&self.packet(), &mut out).expect("it is a packet");
        out
    }

    fn packet(&self) -> Packet {
        let token = Bytes::copy_from_slice(self.token.as_bytes());
        Packet::Connect(Box::new(Connect {
            version: Version::V5,
            clean_start: self.expiry_s == 0,
            keep_alive: 0,
            client_id: Utf8::try_from(self.client).expect("a plain name"),
            will: None,
            user_name: None,
            password: Some(Binary::new(token).expect("short")),
            properties: ConnectProperties {
                session_expiry_s: Some(self.expiry_s),
                ..ConnectProperties::default()
            },
        }))
    }
}

/// One connection.
#[derive(Debug)]
pub struct Wire {
    stream: TcpStream,
    codec: Codec,
    input: BytesMut,
    /// Messages that came before the answer that was waited for.
    early: VecDeque<Packet>,
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
        Self::open_as(address, Login::kept(client, token)).await
    }

    /// Connects.
    ///
    /// # Errors
    /// When there is no connection, or the client is not let in.
    pub async fn open_as(address: SocketAddr, login: Login<'_>) -> io::Result<(Self, Connack)> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let mut wire = Self::over(stream);
        wire.send(login.packet()).await?;
        let connack = wire.let_in().await?;
        Ok((wire, connack))
    }

    /// Over a stream on which nothing was sent yet, or a CONNECT.
    #[must_use]
    pub fn over(stream: TcpStream) -> Self {
        let codec = Codec::for_client(Version::V5, Limits::default());
        Self { stream, codec, input: BytesMut::new(), early: VecDeque::new() }
    }

    /// The answer to a CONNECT.
    ///
    /// # Errors
    /// When the connection is over, or the client is not let in.
    pub async fn let_in(&mut self) -> io::Result<Connack> {
        match self.next().await? {
            Packet::Connack(connack) if !connack.reason.is_failure() => Ok(*connack),
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
        match self.early.pop_front() {
            Some(packet) => Ok(packet),
            None => self.receive().await,
        }
    }

    async fn receive(&mut self) -> io::Result<Packet> {
        loop {
            if let Some(packet) = self.codec.decode(&mut self.input).map_err(io::Error::other)? {
                return Ok(packet);
            }
            if self.stream.read_buf(&mut self.input).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    /// Subscribes, and waits for the answer; messages may come before it, and are not lost.
    ///
    /// # Errors
    /// When the connection is over, or it may not have all of it.
    ///
    /// # Panics
    /// When one of `filters` is none.
    pub async fn subscribe(&mut self, filters: &[&str], qos: QoS) -> io::Result<()> {
        let options = SubscriptionOptions { qos, ..SubscriptionOptions::default() };
        let subscription = |filter: &&str| Subscription {
            filter: Filter::try_from(*filter).expect("a filter"),
            options,
        };
        self.send(Packet::Subscribe(Subscribe {
            packet_id: PacketId::MIN,
            subscriptions: filters.iter().map(subscription).collect(),
            subscription_id: None,
            user: Default::default(),
        }))
        .await?;
        loop {
            match self.receive().await? {
                Packet::Suback(ack) if ack.reasons.iter().all(|reason| !reason.is_failure()) => {
                    return Ok(());
                }
                message @ Packet::Publish(_) => self.early.push_back(message),
                other => return Err(io::Error::other(format!("not subscribed: {other:?}"))),
            }
        }
    }

    /// The next message, acknowledged if it wants to be.
    ///
    /// # Errors
    /// When the connection is over, or something else comes.
    pub async fn message(&mut self) -> io::Result<Publish> {
        match self.next().await? {
            Packet::Publish(publish) => {
                self.acknowledge(&publish).await?;
                Ok(publish)
            }
            other => Err(io::Error::other(format!("no message: {other:?}"))),
        }
    }

    /// Publishes with QoS 1, and waits for the answer; messages that come before are acknowledged
    /// and passed over.
    ///
    /// # Errors
    /// When the connection is over, or something else comes.
    pub async fn say(
        &mut self,
        topic: &str,
        payload: impl Into<Bytes>,
    ) -> io::Result<(Reason, String)> {
        self.send(publish(topic, payload, QoS::AtLeastOnce, PacketId::MIN, false)).await?;
        loop {
            match self.next().await? {
                Packet::Puback(ack) => {
                    let text = ack.properties.reason_string;
                    let text = text.map(|text| text.as_str().to_owned()).unwrap_or_default();
                    return Ok((ack.reason, text));
                }
                Packet::Publish(publish) => self.acknowledge(&publish).await?,
                other => return Err(io::Error::other(format!("no PUBACK: {other:?}"))),
            }
        }
    }

    async fn acknowledge(&mut self, publish: &Publish) -> io::Result<()> {
        match publish.packet_id.filter(|_| publish.qos == QoS::AtLeastOnce) {
            Some(id) => self.send(Packet::Puback(Ack::new(id, Reason::Success))).await,
            None => Ok(()),
        }
    }

    /// The stream, for bytes that are no packets.
    pub const fn stream(&mut self) -> &mut TcpStream {
        &mut self.stream
    }
}

/// A message to publish.
///
/// # Panics
/// When `topic` is none.
#[must_use]
pub fn publish(
    topic: &str,
    payload: impl Into<Bytes>,
    qos: QoS,
    packet_id: PacketId,
    dup: bool,
) -> Packet {
    Packet::Publish(Publish {
        dup,
        qos,
        retain: false,
        topic: Topic::try_from(topic).expect("a topic"),
        packet_id: (qos > QoS::AtMostOnce).then_some(packet_id),
        payload: payload.into(),
        properties: PublishProperties::default(),
    })
}
