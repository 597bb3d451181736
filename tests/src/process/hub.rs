//! The hub: a service, and what only a hub can do.

use std::io;
use std::net::SocketAddr;
use std::ops::{Deref, DerefMut};
use std::path::Path;

use super::launch::Settings;
use super::service::{Kind, Service, last_line};

const HUB: Kind = Kind {
    program: "holdfast-hub",
    verb: "serve",
    config: "hub.toml",
    listeners: &[("http", "HOLDFAST_HTTP_LISTEN"), ("sync", "HOLDFAST_SYNC_LISTEN")],
};

/// The hub at a path.
#[derive(Debug)]
pub struct Hub {
    service: Service,
}

impl Deref for Hub {
    type Target = Service;

    fn deref(&self) -> &Service {
        &self.service
    }
}

impl DerefMut for Hub {
    fn deref_mut(&mut self) -> &mut Service {
        &mut self.service
    }
}

impl Hub {
    /// Makes configuration and data below `dir`, as a new user would.
    ///
    /// # Errors
    /// When `holdfast-hub init` fails.
    pub fn init(dir: &Path, settings: Settings) -> io::Result<Self> {
        Ok(Self { service: Service::init(&HUB, dir, &settings)? })
    }

    /// A hub whose directories exist already.
    #[must_use]
    pub fn at(dir: &Path, settings: Settings) -> Self {
        Self { service: Service::at(&HUB, dir, &settings) }
    }

    /// Makes an enrolment string for a node that will reach the hub at `via`: its own address or
    /// that of a proxy in front of it.
    ///
    /// # Errors
    /// When `holdfast-hub token new` fails.
    pub fn enrolment(&self, site: &str, name: &str, via: SocketAddr) -> io::Result<String> {
        let advertise = Settings::default().env("HOLDFAST_SYNC_ADVERTISE", via.to_string());
        let words = ["new", "--site", site, "--name", name];
        last_line(self.command_with("token", words, &advertise)?)
    }

    /// Where it takes part in sync, over UDP.
    ///
    /// # Panics
    /// When the hub was never started.
    #[must_use]
    pub fn sync(&self) -> SocketAddr {
        self.address("sync")
    }
}
