//! The MQTT of NATS: messages of QoS 1 go through a stream of JetStream, sessions are consumers.

use super::{Broker, Server, TO_SUBSCRIBER};
use crate::bench::mqtt::connection::Endpoint;
use crate::bench::peers::nats::Nats;
use std::io;

/// Starts one that anybody may use; nothing when it is not here.
pub fn start() -> io::Result<Option<Broker>> {
    let mqtt = format!("mqtt {{ listen: \"127.0.0.1:-1\", max_ack_pending: {TO_SUBSCRIBER} }}");
    let Some(server) = Nats::launch("one", &mqtt)? else { return Ok(None) };
    let address = server.listens("Listening for MQTT clients on")?;
    let endpoint = Endpoint { address, login: None };
    let promise = if server.syncs {
        "the message is in a file of JetStream and synced"
    } else {
        "the message is in a file of JetStream, which is not synced"
    };
    let name = "nats-jetstream".to_owned();
    Ok(Some(Broker { name, promise, endpoint, server: Box::new(server) }))
}

impl Server for Nats {
    fn pid(&mut self) -> u32 {
        self.process().pid()
    }

    fn stop(&mut self) -> io::Result<()> {
        self.process().kill9()
    }
}
