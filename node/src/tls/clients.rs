//! Certificates of clients: who signs them, which were taken back, and whose each is.
//!
//! A listener that asks for them takes connections through [`Clients`]. The files are read again
//! when they change, as those of the node's own certificate are; every handshake is a whole one, so
//! that what was read last is what judges. While nobody believes this node's clock, a certificate
//! is judged as of the day it was given out: a gateway that woke up in 1970 must not lock its site
//! out, and one in 2106 neither.

use super::{LOOK, Tls, builder, files};
use holdfast_core::{Device, Timestamp};
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::signal::unix::{SignalKind, signal};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::client::danger::HandshakeSignatureValid;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, CertificateRevocationListDer, UnixTime};
use tokio_rustls::rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use tokio_rustls::rustls::server::{
    NoServerSessionStorage, ResolvesServerCert, WebPkiClientVerifier,
};
use tokio_rustls::rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, RootCertStore,
    ServerConfig, SignatureScheme,
};
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;

/// What time it is, while anybody believes it.
pub type Believed = Arc<dyn Fn() -> Option<Timestamp> + Send + Sync>;

/// Where it is said whose certificates are good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientSource {
    /// Certificates of authorities, in PEM.
    pub authorities: PathBuf,
    /// Their lists of what they took back, in PEM.
    pub revoked: Option<PathBuf>,
    /// Whether a client without a certificate is turned away.
    pub required: bool,
}

impl ClientSource {
    /// Whether it can be used.
    ///
    /// # Errors
    /// A sentence with the file and the reason.
    pub fn check(&self) -> Result<(), String> {
        self.judge(&self.read()?).map(drop)
    }

    fn read(&self) -> Result<Files, String> {
        let revoked = self.revoked.as_deref().map(files::content).transpose()?;
        Ok(Files { authorities: files::content(&self.authorities)?, revoked })
    }

    /// Makes sense of the files.
    fn judge(&self, read: &Files) -> Result<Arc<dyn ClientCertVerifier>, String> {
        let of = |path: &PathBuf| {
            let path = path.display().to_string();
            move |reason: String| format!("{path}: {reason}")
        };
        let at_authorities = of(&self.authorities);
        let mut roots = RootCertStore::empty();
        for found in CertificateDer::pem_slice_iter(&read.authorities) {
            let found = found.map_err(|error| at_authorities(format!("not PEM: {error}")))?;
            roots.add(found).map_err(|error| at_authorities(error.to_string()))?;
        }
        if roots.is_empty() {
            return Err(at_authorities("there is no `BEGIN CERTIFICATE` in it".to_owned()));
        }
        let provider = Arc::new(ring::default_provider());
        let mut builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
        if let (Some(path), Some(content)) = (&self.revoked, &read.revoked) {
            let at_revoked = of(path);
            let lists: Result<Vec<_>, _> =
                CertificateRevocationListDer::pem_slice_iter(content).collect();
            let lists = lists.map_err(|error| at_revoked(format!("not PEM: {error}")))?;
            if lists.is_empty() {
                return Err(at_revoked("there is no `BEGIN X509 CRL` in it".to_owned()));
            }
            builder = builder.with_crls(lists);
        }
        if !self.required {
            builder = builder.allow_unauthenticated();
        }
        // The certificates are in a store already: only a list can be wrong.
        let revoked = of(self.revoked.as_ref().unwrap_or(&self.authorities));
        builder.build().map_err(|error| revoked(error.to_string()))
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Files {
    authorities: Vec<u8>,
    revoked: Option<Vec<u8>>,
}

/// Takes connections of clients that may show a certificate; clones share it.
#[derive(Clone)]
pub struct Clients(Arc<Inner>);

struct Inner {
    source: ClientSource,
    tls: Tls,
    believed: Believed,
    config: RwLock<Arc<ServerConfig>>,
    /// What was read last, whether it worked or not.
    tried: Mutex<Files>,
}

impl fmt::Debug for Clients {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Clients({})", self.0.source.authorities.display())
    }
}

impl Clients {
    /// Reads the files; connections are served with the certificate of `tls`.
    ///
    /// # Errors
    /// A sentence with the file and the reason.
    pub fn load(source: ClientSource, tls: Tls, believed: Believed) -> Result<Self, String> {
        let read = source.read()?;
        let config = config(&tls, source.judge(&read)?, &believed);
        let (config, tried) = (RwLock::new(config), Mutex::new(read));
        Ok(Self(Arc::new(Inner { source, tls, believed, config, tried })))
    }

    /// Shakes hands with who has connected: the connection, and the device whose certificate it
    /// has shown, if it did.
    ///
    /// # Errors
    /// When the handshake fails, as with a certificate that is not good, or the connection breaks.
    pub async fn open<S>(&self, stream: S) -> io::Result<(TlsStream<S>, Option<String>)>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let config = Arc::clone(&self.0.config.read().unwrap_or_else(PoisonError::into_inner));
        let stream = TlsAcceptor::from(config).accept(stream).await?;
        let shown = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
        let device = shown.map(|shown| device(shown)).transpose().map_err(io::Error::other)?;
        Ok((stream, device))
    }

    /// Follows SIGHUP and the files until `stop`.
    ///
    /// # Errors
    /// When the operating system does not let signals be handled.
    pub async fn keep_fresh(self, stop: CancellationToken) -> io::Result<()> {
        let mut hangup = signal(SignalKind::hangup())?;
        let mut look = tokio::time::interval(LOOK);
        loop {
            let is_asked = tokio::select! {
                _ = hangup.recv() => true,
                _ = look.tick() => false,
                () = stop.cancelled() => return Ok(()),
            };
            self.look_again(is_asked);
        }
    }

    /// Reads the files; what is new and works judges from now on. Unless somebody asked, what was
    /// tried before is not tried or told again.
    pub(super) fn look_again(&self, is_asked: bool) {
        let Inner { source, tls, believed, config: used, tried } = &*self.0;
        let outcome = source.read().and_then(|read| {
            let mut tried = tried.lock().unwrap_or_else(PoisonError::into_inner);
            if *tried == read && !is_asked {
                return Ok(None);
            }
            *tried = read;
            source.judge(&tried).map(Some)
        });
        match outcome {
            Ok(Some(verifier)) => {
                let new = config(tls, verifier, believed);
                *used.write().unwrap_or_else(PoisonError::into_inner) = new;
                tracing::info!("certificates of clients are judged by what was just read");
            }
            Ok(None) => {}
            Err(reason) => {
                tracing::error!(reason, "certificates of clients are judged as before");
            }
        }
    }
}

/// Why a handshake failed, where it was for the certificate of the client.
#[must_use]
pub fn refused_certificate(error: &io::Error) -> Option<String> {
    match error.get_ref()?.downcast_ref::<Error>()? {
        Error::InvalidCertificate(CertificateError::Other(other)) => Some(other.to_string()),
        Error::InvalidCertificate(error) => Some(error.to_string()),
        Error::NoCertificatesPresented => Some("it has shown none".to_owned()),
        _ => None,
    }
}

fn config(
    tls: &Tls,
    verifier: Arc<dyn ClientCertVerifier>,
    believed: &Believed,
) -> Arc<ServerConfig> {
    let judge = Arc::new(Judge { verifier, believed: Arc::clone(believed) });
    let served = Arc::clone(&tls.0.served) as Arc<dyn ResolvesServerCert>;
    let mut config = builder().with_client_cert_verifier(judge).with_cert_resolver(served);
    // Whoever resumes a session is not asked for a certificate again.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Arc::new(config)
}

/// Judges a certificate by the time that is believed, and by whom it names.
struct Judge {
    verifier: Arc<dyn ClientCertVerifier>,
    believed: Believed,
}

impl fmt::Debug for Judge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.verifier.fmt(f)
    }
}

impl ClientCertVerifier for Judge {
    fn client_auth_mandatory(&self) -> bool {
        self.verifier.client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.verifier.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        shown: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let seconds = match (self.believed)() {
            Some(now) => now.0.div_euclid(1_000_000_000),
            None => begins(shown).ok_or(CertificateError::BadEncoding)?,
        };
        let seconds = Duration::from_secs(u64::try_from(seconds).unwrap_or_default());
        let at = UnixTime::since_unix_epoch(seconds);
        let verified = self.verifier.verify_client_cert(shown, between, at)?;
        device(shown).map_err(|why| CertificateError::Other(OtherError(Arc::new(why))))?;
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier.supported_verify_schemes()
    }
}

/// From when on a certificate is good, in seconds.
fn begins(certificate: &[u8]) -> Option<i64> {
    let (_, certificate) = x509_parser::parse_x509_certificate(certificate).ok()?;
    Some(certificate.validity().not_before.timestamp())
}

/// Why a certificate is nobody's here.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
enum Nameless {
    #[error("it cannot be read")]
    Unreadable,
    #[error("it names no device: neither a CN nor a DNS name")]
    Nobody,
    #[error("it has more than one CN")]
    Several,
    #[error("`{0}` is no device: {1}")]
    NoDevice(String, holdfast_core::Reject),
}

/// The device that a certificate is of: its CN, or its first DNS name where it has none.
fn device(certificate: &[u8]) -> Result<String, Nameless> {
    let parsed = x509_parser::parse_x509_certificate(certificate);
    let (_, certificate) = parsed.map_err(|_| Nameless::Unreadable)?;
    let mut common = certificate.subject().iter_common_name();
    let name = match (common.next(), common.next()) {
        (Some(name), None) => name.as_str().map_err(|_| Nameless::Unreadable)?,
        (Some(_), Some(_)) => return Err(Nameless::Several),
        (None, _) => {
            let names = certificate.subject_alternative_name();
            let names = names.map_err(|_| Nameless::Unreadable)?;
            let names = names.map(|names| &names.value.general_names);
            let dns = names.into_iter().flatten().find_map(|name| match name {
                x509_parser::extensions::GeneralName::DNSName(name) => Some(*name),
                _ => None,
            });
            dns.ok_or(Nameless::Nobody)?
        }
    };
    match Device::new(name) {
        Ok(_) => Ok(name.to_owned()),
        Err(reject) => Err(Nameless::NoDevice(name.to_owned(), reject)),
    }
}

#[cfg(test)]
mod tests;
