//! The brokers that are measured, ours first.
//!
//! Each is started anew for each round, on the loopback, in a temporary directory, and ended by its
//! own number. What it is asked to keep differs: ours keeps readings, the others keep messages for
//! a durable session whose client is away, which is the least that makes them keep anything. What
//! they promise with an acknowledgement differs more, and is told.

mod mosquitto;
mod nats;
mod ours;
mod rabbitmq;

use super::connection::Endpoint;
use clap::ValueEnum;
use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, TcpListener};
use std::ops::Range;
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};

/// Messages that a subscriber of theirs has under way; what they have by default, 10 to 100, makes
/// each of them slow.
const TO_SUBSCRIBER: u32 = 1_000;

/// A broker that runs.
pub struct Broker {
    /// With its version, where it has one.
    pub name: String,
    /// What an acknowledgement of it means.
    pub promise: &'static str,
    /// How to get in.
    pub endpoint: Endpoint,
    server: Box<dyn Server>,
}

/// What is behind it.
trait Server {
    /// The number of the process that has its memory.
    fn pid(&mut self) -> u32;

    /// Ends it in good order.
    fn stop(&mut self) -> io::Result<()>;

    /// Readings that it has stored, if it stores any.
    fn stored(&self) -> io::Result<Option<u64>> {
        Ok(None)
    }
}

impl Broker {
    /// The number of the process that has its memory.
    pub fn pid(&mut self) -> u32 {
        self.server.pid()
    }

    /// Readings that it has stored, if it stores any.
    ///
    /// # Errors
    /// When that cannot be found out.
    pub fn stored(&self) -> io::Result<Option<u64>> {
        self.server.stored()
    }

    /// Ends it in good order.
    ///
    /// # Errors
    /// When it does not end.
    pub fn stop(mut self) -> io::Result<()> {
        self.server.stop()
    }
}

/// The brokers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum System {
    /// A gateway.
    Ours,
    /// Mosquitto as it is installed, with persistence.
    Mosquitto,
    /// Mosquitto that saves on every change.
    MosquittoSaving,
    /// The MQTT of NATS, over JetStream.
    Nats,
    /// RabbitMQ with its plugin for MQTT.
    #[value(name = "rabbitmq")]
    RabbitMq,
}

impl System {
    /// Starts one; nothing when it is not here, which was said.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start(self) -> io::Result<Option<Broker>> {
        match self {
            Self::Ours => ours::start().map(Some),
            Self::Mosquitto => mosquitto::start(mosquitto::Saves::NowAndThen),
            Self::MosquittoSaving => mosquitto::start(mosquitto::Saves::EachChange),
            Self::Nats => nats::start(),
            Self::RabbitMq => rabbitmq::start(),
        }
    }

    /// Messages that a durable session of it gathers: of those that are slow to fill, fewer.
    #[must_use]
    pub const fn backlog(self) -> u64 {
        match self {
            Self::Ours | Self::Mosquitto | Self::MosquittoSaving => 1_000_000,
            Self::Nats => 200_000,
            Self::RabbitMq => 100_000,
        }
    }

    /// Whether it stores readings by itself, where the others have to have somebody to keep
    /// messages for.
    #[must_use]
    pub fn stores_readings(self) -> bool {
        self == Self::Ours
    }

    /// Whether what is not about acknowledgements is measured, too.
    #[must_use]
    pub fn is_measured_whole(self) -> bool {
        self != Self::MosquittoSaving
    }
}

/// A port for programs that do not say which one they took. It is not of those that the system
/// gives to outgoing connections, so that it is still free when the program comes to it.
fn free_port() -> io::Result<u16> {
    const PORTS: Range<u32> = 20_000..32_000;
    static NEXT: AtomicU32 = AtomicU32::new(0);
    for _ in PORTS {
        // Two benches at a time begin at different places.
        let number =
            process::id().wrapping_mul(101).wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
        let port = PORTS.start + number % (PORTS.end - PORTS.start);
        let port = u16::try_from(port).expect("the range is one of ports");
        match TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
            Ok(_) => return Ok(port),
            Err(error) if error.kind() == ErrorKind::AddrInUse => {}
            Err(error) => return Err(error),
        }
    }
    Err(ErrorKind::AddrInUse.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_that_is_taken_is_not_free_and_none_is_given_twice() {
        let first = free_port().unwrap();
        let taken: Vec<_> = (first + 1..first + 4)
            .filter_map(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).ok())
            .collect();
        let second = free_port().unwrap();
        assert_ne!(first, second);
        let is_second = |listener: &TcpListener| listener.local_addr().unwrap().port() == second;
        assert!(!taken.iter().any(is_second), "{second} is taken");
    }
}
