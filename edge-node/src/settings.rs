//! The gateway's configuration: sections, defaults, and the file that `init` writes.

use crate::VERSION;
use crate::mqtt::access::{FilterText, Whom};
use crate::mqtt::broker::Limits;
use crate::mqtt::rules::Mappings;
use holdfast_node::alerts::EdgeAlerts;
use holdfast_node::cli::Service;
use holdfast_node::config::{Bytes, Duration, Listen, ListenOrOff, Log, TransportWord};
use holdfast_node::metrics;
use holdfast_node::notify::{Mail, Notices, Targets, Workflows, outward};
use holdfast_node::requests::Requests;
use holdfast_node::tls::{ClientSource, TlsWord};
use holdfast_node::trace::Trace;
use holdfast_sync::env::System;
use holdfast_sync::identity::NodeKey;
use holdfast_sync::session::Backfill;
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
    /// The device endpoint over HTTP.
    pub http: Http,
    /// What is kept.
    pub store: Storage,
    /// What is taken.
    pub ingest: Ingest,
    /// The device endpoint over MQTT.
    pub mqtt: Mqtt,
    /// What is summarised.
    pub rollups: Rollups,
    /// What is told.
    pub alerts: EdgeAlerts,
    /// What workflows ask for elsewhere.
    pub workflows: Workflows,
    /// The server that takes mail.
    pub mail: Mail,
    /// Who can be told.
    pub notify: Targets,
    /// The uplink.
    pub sync: Sync,
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

/// The device endpoint over HTTP.
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
    /// Bytes of a request's body.
    pub body_max: Bytes,
}

/// What is kept.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Storage {
    /// Bytes that may be used.
    pub quota: Bytes,
    /// What happens when they are.
    pub overflow: OverflowWord,
    /// Series at most.
    pub max_series: usize,
    /// Entries of a stream that are put together into a segment.
    pub seal_after: u64,
    /// In how long the whole store is read over.
    pub scrub_every: Duration,
}

/// The words for [`Overflow`].
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OverflowWord {
    /// The oldest raw readings go.
    DropOldestRaw,
    /// New readings are refused.
    Refuse,
}

impl From<OverflowWord> for Overflow {
    fn from(word: OverflowWord) -> Self {
        match word {
            OverflowWord::DropOldestRaw => Self::DropOldestRaw,
            OverflowWord::Refuse => Self::Refuse,
        }
    }
}

/// What is taken.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Ingest {
    /// Whether a device is registered by its first post.
    pub auto_register: bool,
}

/// The device endpoint over MQTT.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Mqtt {
    /// Where it listens.
    pub listen: ListenOrOff,
    /// Where it listens with TLS.
    pub tls_listen: ListenOrOff,
    /// Whether it is spoken over WebSocket, too.
    pub websocket: bool,
    /// The file of the authorities that sign certificates of clients, relative to the
    /// configuration; without one no certificate is looked at.
    pub client_ca: String,
    /// The file of their lists of certificates that were taken back.
    pub client_crl: String,
    /// Whether a client has to show one.
    pub client_certificate: CertificateWord,
    /// Connections at a time.
    pub connections: usize,
    /// Whether clients without a token are let in.
    pub anonymous: bool,
    /// Bytes of a packet.
    pub packet_max: Bytes,
    /// Messages that one client may publish in a second; 0 for any number.
    pub client_rate: u32,
    /// How long a session outlives its connection at most.
    pub session_max: Duration,
    /// Bytes that may wait for one client.
    pub queue_max: Bytes,
    /// Bytes that may wait for all of them.
    pub queues_max: Bytes,
    /// Topics with a retained message.
    pub retained_max: usize,
    /// What clients may beside what their tokens allow.
    pub access: Vec<Access>,
    /// Which messages of other things are readings.
    pub mappings: Mappings,
}

/// Whether a client shows a certificate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CertificateWord {
    /// If it likes; others have tokens.
    #[default]
    Optional,
    /// Or it is turned away.
    Required,
}

impl Mqtt {
    /// What the keys about certificates of clients mean, with files in `folder`; nothing when none
    /// are looked at.
    ///
    /// # Errors
    /// A sentence about keys that do not fit together.
    pub fn client_source(&self, folder: &Path) -> Result<Option<ClientSource>, String> {
        let required = self.client_certificate == CertificateWord::Required;
        let path = |name: &String| Some(folder.join(name)).filter(|_| !name.is_empty());
        let revoked = path(&self.client_crl);
        match path(&self.client_ca) {
            Some(_) if self.tls_listen.0.is_none() => {
                Err("`mqtt.client_ca` is for `mqtt.tls_listen`, which is \"off\"".to_owned())
            }
            Some(authorities) => Ok(Some(ClientSource { authorities, revoked, required })),
            None if revoked.is_some() || required => Err(
                "`mqtt.client_crl` and `mqtt.client_certificate` need `mqtt.client_ca`, a file \
                     in PEM"
                    .to_owned(),
            ),
            None => Ok(None),
        }
    }
}

/// What some clients may.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Access {
    /// Which.
    pub who: Whom,
    /// Topics that they may publish to.
    #[serde(default)]
    pub publish: Vec<FilterText>,
    /// What they may subscribe to.
    #[serde(default)]
    pub subscribe: Vec<FilterText>,
}

/// What is summarised.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Rollups {
    /// The widths of the windows.
    pub widths: Vec<Duration>,
}

/// The uplink.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Sync {
    /// What carries it.
    pub transport: TransportWord,
    /// The order of a backlog.
    pub backfill: BackfillWord,
    /// The least wait before another attempt.
    pub backoff_min: Duration,
    /// The greatest.
    pub backoff_max: Duration,
}

/// The words for [`Backfill`].
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BackfillWord {
    /// The recent past first.
    NewestFirst,
    /// As it happened.
    OldestFirst,
}

impl From<BackfillWord> for Backfill {
    fn from(word: BackfillWord) -> Self {
        match word {
            BackfillWord::NewestFirst => Self::NewestFirst,
            BackfillWord::OldestFirst => Self::OldestFirst,
        }
    }
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
        Self { data: "holdfast-edge-data".to_owned(), machine_id: "/etc/machine-id".to_owned() }
    }
}

impl Default for Http {
    fn default() -> Self {
        Self {
            listen: Listen(([127, 0, 0, 1], 8484).into()),
            tls: TlsWord::Off,
            certificate: String::new(),
            key: String::new(),
            connections: 1024,
            body_max: Bytes(8 << 20),
            metrics: metrics::Access::default(),
        }
    }
}

impl Default for Storage {
    fn default() -> Self {
        Self {
            quota: Bytes(10 << 30),
            overflow: OverflowWord::DropOldestRaw,
            max_series: 50_000,
            seal_after: SEAL_AFTER,
            scrub_every: Duration(SCRUB_EVERY),
        }
    }
}

impl Default for Ingest {
    fn default() -> Self {
        Self { auto_register: true }
    }
}

impl Default for Mqtt {
    fn default() -> Self {
        let limits = Limits::default();
        let session = std::time::Duration::from_secs(limits.session_expiry_s.into());
        Self {
            listen: ListenOrOff(Some(([127, 0, 0, 1], 1883).into())),
            tls_listen: ListenOrOff(None),
            websocket: true,
            client_ca: String::new(),
            client_crl: String::new(),
            client_certificate: CertificateWord::default(),
            connections: 10_000,
            anonymous: false,
            packet_max: Bytes(1 << 20),
            client_rate: 0,
            session_max: Duration(session),
            queue_max: Bytes(limits.queue_bytes),
            queues_max: Bytes(limits.queues_bytes),
            retained_max: limits.retained,
            access: Vec::new(),
            mappings: Mappings::default(),
        }
    }
}

impl Default for Rollups {
    fn default() -> Self {
        let minutes = |m: u64| Duration(std::time::Duration::from_secs(60 * m));
        Self { widths: vec![minutes(5), minutes(60)] }
    }
}

impl Default for Sync {
    fn default() -> Self {
        let seconds = |s: u64| Duration(std::time::Duration::from_secs(s));
        Self {
            transport: TransportWord::default(),
            backfill: BackfillWord::NewestFirst,
            backoff_min: seconds(1),
            backoff_max: seconds(300),
        }
    }
}

impl Service for Settings {
    const PROGRAM: &str = "holdfast-edge";
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

    fn check(&self, folder: &Path) -> Result<(), String> {
        self.outward(folder)?;
        self.mqtt.client_source(folder)?.map_or(Ok(()), |source| source.check())
    }

    fn log(&self) -> &Log {
        &self.log
    }

    fn store_options(&self, dir: PathBuf, key: NodeKey) -> Options {
        // Only the power-cut campaign sets it, to show that weaker durability would be noticed.
        let weak = std::env::var("HOLDFAST_UNSAFE_SYNC").is_ok_and(|word| word == "normal");
        if weak {
            tracing::warn!("HOLDFAST_UNSAFE_SYNC=normal: acknowledged readings may be lost");
        }
        Options {
            dir,
            key,
            quota_bytes: self.store.quota.0,
            overflow: self.store.overflow.into(),
            max_series: self.store.max_series,
            seal_after: self.store.seal_after,
            scrub_every: self.store.scrub_every.0,
            version: VERSION,
            unsafe_normal_sync: weak,
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

    #[test]
    fn keys_about_certificates_of_clients_that_do_not_fit_are_named() {
        let folder = Path::new("/etc/holdfast");
        let secure = ListenOrOff(Some(([127, 0, 0, 1], 8883).into()));
        let required = CertificateWord::Required;
        let with = |tls_listen, ca: &str, crl: &str, client_certificate| {
            let (client_ca, client_crl) = (ca.to_owned(), crl.to_owned());
            let mqtt =
                Mqtt { tls_listen, client_ca, client_crl, client_certificate, ..Mqtt::default() };
            mqtt.client_source(folder)
        };
        assert_eq!(with(secure, "", "", CertificateWord::Optional), Ok(None));
        let found = with(secure, "ca.pem", "/srv/crl.pem", required).unwrap().unwrap();
        assert_eq!(found.authorities, Path::new("/etc/holdfast/ca.pem"));
        assert_eq!(found.revoked.as_deref(), Some(Path::new("/srv/crl.pem")));
        assert!(found.required);
        for (listen, ca, crl, word, named) in [
            (ListenOrOff(None), "ca.pem", "", CertificateWord::Optional, "mqtt.tls_listen"),
            (secure, "", "crl.pem", CertificateWord::Optional, "mqtt.client_ca"),
            (secure, "", "", required, "mqtt.client_ca"),
        ] {
            let error = with(listen, ca, crl, word).unwrap_err();
            assert!(error.contains(named), "{error}");
        }
    }
}
