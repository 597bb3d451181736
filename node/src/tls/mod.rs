//! HTTPS: where the certificate comes from, and how it changes while the node runs.
//!
//! A certificate is made on the node and kept in its data directory, or read from files that
//! somebody else renews. [`Tls`] is what the listener serves with; [`Tls::keep_fresh`] reads the
//! files again when they change or on SIGHUP, and a new pair that does not work changes nothing.
//! What is served is also written to the data directory: by that copy the node's own commands
//! recognise it ([`pinned`]). Who connects may have to show one, too ([`clients`]).
//! Whom the node believes when it asks others is in [`outward`].

mod clients;
mod expiry;
mod files;
mod fingerprint;
mod outward;
mod pinned;
mod selfmade;

pub use clients::{Believed, ClientSource, Clients, refused_certificate};
pub use fingerprint::Fingerprint;
pub use outward::Authorities;
pub use pinned::connector;

use crate::supervise::announce;
use crate::time_text::Time;
use expiry::Warner;
use files::Pair;
use holdfast_core::Timestamp;
use holdfast_sync::env::Env;
use holdfast_sync::store::write_whole;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::signal::unix::{SignalKind, signal};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::server::{ClientHello, ResolvesServerCert};
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::rustls::{self, ConfigBuilder, ServerConfig, WantsVerifier};
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;

/// The certificate that is served, in the data directory; without its key, fit to be given away.
pub const SERVED: &str = "http.crt";
/// Between two looks at the files. People expect a renewed certificate within a minute.
const LOOK: Duration = Duration::from_secs(20);

/// The words of `http.tls`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TlsWord {
    /// Plain HTTP.
    #[default]
    Off,
    /// HTTPS with a certificate made on the node.
    #[serde(rename = "self")]
    SelfMade,
    /// HTTPS with a certificate from files.
    Files,
}

impl TlsWord {
    /// The word itself.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::SelfMade => "self",
            Self::Files => "files",
        }
    }
}

/// Where the certificate comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// Made here when there is none yet.
    SelfMade,
    /// Files in PEM that others write.
    Files {
        /// The certificate and those between it and its authority.
        certificate: PathBuf,
        /// Its private key.
        key: PathBuf,
    },
}

impl Source {
    /// What the keys of a configuration in `folder` mean; `None` is plain HTTP.
    ///
    /// # Errors
    /// A sentence about keys that do not fit together.
    pub fn of(
        word: TlsWord,
        certificate: &str,
        key: &str,
        folder: &Path,
    ) -> Result<Option<Self>, String> {
        let has_files = !certificate.is_empty() || !key.is_empty();
        match word {
            TlsWord::Off | TlsWord::SelfMade if has_files => Err(format!(
                "`http.certificate` and `http.key` are for `http.tls = \"files\"`, which is \
                 \"{}\": change that, or take them away",
                word.word()
            )),
            TlsWord::Off => Ok(None),
            TlsWord::SelfMade => Ok(Some(Self::SelfMade)),
            TlsWord::Files if certificate.is_empty() || key.is_empty() => {
                Err("`http.tls = \"files\"` needs `http.certificate` and `http.key`, the paths of \
                     two files in PEM"
                    .to_owned())
            }
            TlsWord::Files => {
                let (certificate, key) = (folder.join(certificate), folder.join(key));
                Ok(Some(Self::Files { certificate, key }))
            }
        }
    }

    /// Whether it can be served, without making anything.
    ///
    /// # Errors
    /// A sentence with the file and the reason.
    pub fn check(&self) -> Result<(), String> {
        match self {
            Self::SelfMade => Ok(()),
            Self::Files { certificate, key } => {
                files::pair(&files::read(certificate, key)?, certificate, key).map(drop)
            }
        }
    }

    const fn word(&self) -> TlsWord {
        match self {
            Self::SelfMade => TlsWord::SelfMade,
            Self::Files { .. } => TlsWord::Files,
        }
    }
}

/// What HTTPS is served with; clones share it.
#[derive(Clone)]
pub struct Tls(Arc<Inner>);

struct Inner {
    dir: PathBuf,
    source: Source,
    served: Arc<Served>,
    config: Arc<ServerConfig>,
    /// For what is not HTTP: without a protocol that both sides would have to agree on.
    plain: Arc<ServerConfig>,
    /// What was read last, whether it worked or not.
    tried: Mutex<Option<[Vec<u8>; 2]>>,
}

/// What every configuration of a server begins with.
fn builder() -> ConfigBuilder<ServerConfig, WantsVerifier> {
    ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .expect("ring has suites for both versions")
}

/// The certificate for the next handshake.
#[derive(Debug)]
struct Served(RwLock<Arc<CertifiedKey>>);

impl Served {
    fn now(&self) -> Arc<CertifiedKey> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl ResolvesServerCert for Served {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.now())
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tls({})", self.fingerprint())
    }
}

impl Tls {
    /// Reads the certificate, or makes the node's own if there is none in `dir` yet, and leaves
    /// the copy for the node's commands there.
    ///
    /// # Errors
    /// A sentence with the file and the reason.
    pub fn load(source: Source, dir: &Path) -> Result<Self, String> {
        let (pair, tried) = match &source {
            Source::SelfMade => (selfmade::load_or_make(dir)?, None),
            Source::Files { certificate, key } => {
                let read = files::read(certificate, key)?;
                (files::pair(&read, certificate, key)?, Some(read))
            }
        };
        let served = Arc::new(Served(RwLock::new(Arc::new(pair.certified))));
        let mut config = builder()
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(&served) as Arc<dyn ResolvesServerCert>);
        let plain = Arc::new(config.clone());
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let (dir, config, tried) = (dir.to_owned(), Arc::new(config), Mutex::new(tried));
        let this = Self(Arc::new(Inner { dir, source, served, config, plain, tried }));
        this.leave_copy(&pair.pem);
        Ok(this)
    }

    /// Takes connections with the certificate of the moment.
    #[must_use]
    pub fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(Arc::clone(&self.0.config))
    }

    /// Shakes hands with who has connected; for what is not HTTP.
    ///
    /// # Errors
    /// When the handshake fails or the connection breaks.
    pub async fn open<S>(&self, stream: S) -> io::Result<TlsStream<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        TlsAcceptor::from(Arc::clone(&self.0.plain)).accept(stream).await
    }

    /// The fingerprint of the certificate of the moment.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        let now = self.0.served.now();
        Fingerprint::of(now.cert.first().map_or(&[], |certificate| certificate.as_ref()))
    }

    /// Until when the certificate of the moment is good, if it says so in a way that we can read.
    #[must_use]
    pub fn expires(&self) -> Option<Timestamp> {
        self.0.served.now().cert.first().and_then(|certificate| expiry::of(certificate))
    }

    /// Follows SIGHUP and the files until `stop`, and warns before the certificate ends. Without
    /// HTTPS, or with a certificate of its own, there is nothing to read again; the signal is taken
    /// all the same, because it would end the process.
    ///
    /// # Errors
    /// When the operating system does not let signals be handled.
    pub async fn keep_fresh(
        tls: Option<Self>,
        env: Env,
        stop: CancellationToken,
    ) -> std::io::Result<()> {
        let mut hangup = signal(SignalKind::hangup())?;
        let mut look = tokio::time::interval(LOOK);
        let files = tls.filter(|tls| tls.0.source != Source::SelfMade);
        let mut warner = Warner::default();
        loop {
            let is_asked = tokio::select! {
                _ = hangup.recv() => true,
                _ = look.tick() => false,
                () = stop.cancelled() => return Ok(()),
            };
            match &files {
                Some(tls) => {
                    tls.look_again(is_asked);
                    tls.warn(&mut warner, env.now());
                }
                None if is_asked => {
                    tracing::info!("SIGHUP: the node has no certificate to read again");
                }
                None => {}
            }
        }
    }

    /// Reads the files; what is new and works is served from now on. Unless somebody asked, what
    /// was tried before is not tried or told again.
    fn look_again(&self, is_asked: bool) {
        let Source::Files { certificate, key } = &self.0.source else { return };
        let outcome = files::read(certificate, key).and_then(|read| {
            let mut tried = self.0.tried.lock().unwrap_or_else(PoisonError::into_inner);
            if tried.as_ref() == Some(&read) && !is_asked {
                return Ok(None);
            }
            *tried = Some(read.clone());
            files::pair(&read, certificate, key).map(Some)
        });
        match outcome {
            Ok(Some(pair)) => self.serve(pair),
            Ok(None) => {}
            Err(reason) => {
                let fingerprint = self.fingerprint();
                tracing::error!(reason, %fingerprint, "the certificate before it is kept");
            }
        }
    }

    fn warn(&self, warner: &mut Warner, now: Timestamp) {
        let Some(ends) = self.expires() else { return };
        let Some(days) = warner.due(now, ends) else { return };
        let (ends, fingerprint) = (Time(ends), self.fingerprint());
        if days < 0 {
            tracing::error!(%ends, %fingerprint, "the certificate is over: clients turn away");
        } else {
            tracing::warn!(%ends, days, %fingerprint, "the certificate ends soon: renew it");
        }
    }

    fn serve(&self, pair: Pair) {
        let before = self.fingerprint();
        self.leave_copy(&pair.pem);
        let mut served = self.0.served.0.write().unwrap_or_else(PoisonError::into_inner);
        *served = Arc::new(pair.certified);
        drop(served);
        let fingerprint = self.fingerprint();
        if fingerprint == before {
            tracing::info!(%fingerprint, "the certificate is read again and is the same");
        } else {
            tracing::info!(%fingerprint, "another certificate is served from now on");
        }
    }

    /// Without the copy the node serves as well as with it; only its own commands miss it.
    fn leave_copy(&self, pem: &str) {
        let path = self.0.dir.join(SERVED);
        if std::fs::read(&path).is_ok_and(|known| known == pem.as_bytes()) {
            return;
        }
        if let Err(reason) = write_whole(&path, pem.as_bytes()) {
            tracing::warn!(%reason, "the commands of this node will not recognise it");
        }
    }
}

/// Says on standard output where HTTP or HTTPS is served and how it is recognised.
pub fn announce(tls: Option<&Tls>, address: SocketAddr) {
    match tls {
        None => announce::listening("http", address),
        Some(tls) => {
            announce::listening("https", address);
            announce::fingerprint(tls.fingerprint());
        }
    }
    if address.ip().is_loopback() {
        tracing::info!(%address, "reachable from this machine only; `http.listen` opens it");
    } else if tls.is_none() {
        tracing::warn!(%address, "tokens and readings cross the network in the clear: `http.tls`");
    }
}

/// How HTTP is served, for a status.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "Http")]
pub struct HttpShape {
    /// `off`, `self` or `files`.
    #[schemars(with = "String")]
    pub tls: TlsWord,
    /// SHA-256 of the certificate, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<String>,
    /// Until when the certificate is good.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires: Option<Time>,
}

impl From<&Option<Tls>> for HttpShape {
    fn from(tls: &Option<Tls>) -> Self {
        match tls {
            None => Self { tls: TlsWord::Off, fingerprint: None, expires: None },
            Some(tls) => {
                let fingerprint = Some(tls.fingerprint().to_string());
                Self { tls: tls.0.source.word(), fingerprint, expires: tls.expires().map(Time) }
            }
        }
    }
}

#[cfg(test)]
mod tests;
