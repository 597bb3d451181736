//! The hub's configuration: sections, defaults, and the file that `init` writes.

use crate::VERSION;
use holdfast_node::alerts::HubAlerts;
use holdfast_node::cli::Service;
use holdfast_node::config::{Bytes, Duration, Listen, Log, TransportWord};
use holdfast_node::metrics;
use holdfast_node::notify::{Mail, Notices, Targets, Workflows, outward};
use holdfast_node::requests::Requests;
use holdfast_node::tls::TlsWord;
use holdfast_node::trace::Trace;
use holdfast_sync::env::System;
use holdfast_sync::identity::NodeKey;
use holdfast_sync::store::{Options, Overflow, SCRUB_EVERY, SEAL_AFTER};
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// All sections.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// The node itself.
    pub node: Node,
    /// Pages and queries over HTTP.
    pub http: Http,
    /// Where gateways come in.
    pub sync: Sync,
    /// The members.
    pub fleet: Fleet,
    /// What is kept.
    pub store: Storage,
    /// What is told.
    pub alerts: HubAlerts,
    /// What workflows ask for elsewhere.
    pub workflows: Workflows,
    /// The server that takes mail.
    pub mail: Mail,
    /// Who can be told.
    pub notify: Targets,
    /// Traces.
    pub trace: Trace,
    /// The log.
    pub log: Log,
}

/// The node itself.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Node {
    /// The data directory.
    pub data: String,
    /// The file with the machine's id.
    pub machine_id: String,
}

/// Pages and queries over HTTP.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Http {
    /// Where it listens.
    pub listen: Listen,
    /// Whether it is HTTPS.
    pub tls: TlsWord,
    /// The file of a certificate that others renew, relative to the configuration.
    pub certificate: String,
    /// The file of its key.
    pub key: String,
    /// Connections at a time.
    pub connections: usize,
    /// Who may read the metrics.
    pub metrics: metrics::Access,
}

/// Where gateways come in.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Sync {
    /// What carries it.
    pub transport: TransportWord,
    /// Where it listens, UDP.
    pub listen: Listen,
    /// The addresses that invitations name, `host:port`, separated by commas.
    pub advertise: String,
}

/// The members.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Fleet {
    /// How long a membership is valid; it is renewed when a third is left.
    pub membership_life: Duration,
    /// How long an invitation is valid.
    pub invitation_life: Duration,
}

/// What is kept.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Storage {
    /// Bytes that may be used.
    pub quota: Bytes,
    /// Series at most.
    pub max_series: usize,
    /// Entries of a stream that are put together into a segment.
    pub seal_after: u64,
    /// In how long the whole store is read over.
    pub scrub_every: Duration,
}

impl Settings {
    /// What asks others for something, and who can be told, with files in `folder`.
    ///
    /// # Errors
    /// A sentence about keys or files that cannot be used.
    pub fn outward(&self, folder: &Path) -> Result<(Requests, Notices), String> {
        let told = (&self.mail, &self.notify);
        outward(&self.workflows, told, (folder, Self::PROGRAM), System::env())
    }
}

impl Default for Node {
    fn default() -> Self {
        Self { data: "holdfast-hub-data".to_owned(), machine_id: "/etc/machine-id".to_owned() }
    }
}

impl Default for Http {
    fn default() -> Self {
        Self {
            listen: Listen(([127, 0, 0, 1], 8585).into()),
            tls: TlsWord::Off,
            certificate: String::new(),
            key: String::new(),
            connections: 1024,
            metrics: metrics::Access::default(),
        }
    }
}

impl Default for Sync {
    fn default() -> Self {
        Self {
            transport: TransportWord::default(),
            listen: Listen(([0, 0, 0, 0], 4585).into()),
            advertise: String::new(),
        }
    }
}

impl Default for Fleet {
    fn default() -> Self {
        let days = |days: u64| Duration(std::time::Duration::from_secs(86_400 * days));
        Self { membership_life: days(365), invitation_life: days(7) }
    }
}

impl Default for Storage {
    fn default() -> Self {
        Self {
            quota: Bytes(100 << 30),
            max_series: 1_000_000,
            seal_after: SEAL_AFTER,
            scrub_every: Duration(SCRUB_EVERY),
        }
    }
}

impl Service for Settings {
    const PROGRAM: &str = "holdfast-hub";
    const TEMPLATE: &str = include_str!("template.toml");

    fn data(&self) -> &str {
        &self.node.data
    }

    fn listen(&self) -> SocketAddr {
        self.http.listen.0
    }

    fn machine_id(&self) -> &str {
        &self.node.machine_id
    }

    fn tls(&self) -> (TlsWord, &str, &str) {
        (self.http.tls, &self.http.certificate, &self.http.key)
    }

    fn log(&self) -> &Log {
        &self.log
    }

    fn check(&self, folder: &Path) -> Result<(), String> {
        self.outward(folder).map(drop)
    }

    fn store_options(&self, dir: PathBuf, key: NodeKey) -> Options {
        Options {
            dir,
            key,
            quota_bytes: self.store.quota.0,
            // What gateways cannot deliver they keep; nothing is dropped here.
            overflow: Overflow::Refuse,
            max_series: self.store.max_series,
            seal_after: self.store.seal_after,
            scrub_every: self.store.scrub_every.0,
            version: VERSION,
            unsafe_normal_sync: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_template_shows_every_key_at_its_default() {
        holdfast_node::config::check_template::<Settings>(Settings::TEMPLATE).unwrap();
    }
}
