//! An edge node: a service, and what only a gateway can do.

use std::io;
use std::net::SocketAddr;
use std::ops::{Deref, DerefMut};
use std::path::Path;

use super::launch::Settings;
use super::service::{Kind, Service, last_line};

const EDGE: Kind = Kind {
    program: "holdfast-edge",
    verb: "run",
    config: "edge.toml",
    listeners: &[("http", "HOLDFAST_HTTP_LISTEN"), ("mqtt", "HOLDFAST_MQTT_LISTEN")],
};

/// A gateway at a path.
#[derive(Debug)]
pub struct Edge {
    name: String,
    service: Service,
}

impl Deref for Edge {
    type Target = Service;

    fn deref(&self) -> &Service {
        &self.service
    }
}

impl DerefMut for Edge {
    fn deref_mut(&mut self) -> &mut Service {
        &mut self.service
    }
}

impl Edge {
    /// Makes configuration and data below `dir`, as a new user would.
    ///
    /// # Errors
    /// When `holdfast-edge init` fails.
    pub fn init(name: &str, dir: &Path, settings: Settings) -> io::Result<Self> {
        let service = Service::init(&EDGE, dir, &settings)?;
        Ok(Self { name: name.to_owned(), service })
    }

    /// An edge whose directories exist already.
    #[must_use]
    pub fn at(name: &str, dir: &Path, settings: Settings) -> Self {
        Self { name: name.to_owned(), service: Service::at(&EDGE, dir, &settings) }
    }

    /// Enrols the node by the string the hub gave.
    ///
    /// # Errors
    /// When `holdfast-edge join` fails.
    pub fn join(&self, enrolment: &str) -> io::Result<Vec<String>> {
        self.command("join", [enrolment])
    }

    /// Makes a token for one device.
    ///
    /// # Errors
    /// When `holdfast-edge token new` fails.
    pub fn device_token(&self, device: &str) -> io::Result<String> {
        last_line(self.command("token", ["new", "--device", device])?)
    }

    /// Makes a token for any device.
    ///
    /// # Errors
    /// When `holdfast-edge token new` fails.
    pub fn ingest_token(&self) -> io::Result<String> {
        last_line(self.command("token", ["new", "--ingest"])?)
    }

    /// Where it speaks MQTT.
    ///
    /// # Panics
    /// When the node was never started.
    #[must_use]
    pub fn mqtt(&self) -> SocketAddr {
        self.service.address("mqtt")
    }

    /// Its name in the fleet.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}
