//! The client's side towards services elsewhere: whom this node believes when it asks them.
//!
//! The authorities that browsers know are part of the program, so that an update of the system is
//! not needed for them, and a site may add its own, in a file in PEM.

use super::files::content;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// Authorities that a site has of its own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Authorities(Vec<CertificateDer<'static>>);

impl Authorities {
    /// Those in a file of `folder`; none where no file is named.
    ///
    /// # Errors
    /// A sentence with the file and what is wrong with it.
    pub fn read(folder: &Path, file: &str) -> Result<Self, String> {
        if file.is_empty() {
            return Ok(Self::default());
        }
        let path: PathBuf = folder.join(file);
        let wrong = |reason: String| format!("{}: {reason}", path.display());
        let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&content(&path)?).collect();
        let found = found.map_err(|error| wrong(format!("not PEM: {error}")))?;
        if found.is_empty() {
            return Err(wrong("there is no `BEGIN CERTIFICATE` in it".to_owned()));
        }
        let this = Self(found);
        this.store().map_err(wrong)?;
        Ok(this)
    }

    /// Each of them, in DER.
    pub fn each(&self) -> impl Iterator<Item = &[u8]> {
        self.0.iter().map(AsRef::as_ref)
    }

    fn store(&self) -> Result<RootCertStore, String> {
        let mut store = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        for (number, certificate) in self.0.iter().enumerate() {
            let added = store.add(certificate.clone());
            added.map_err(|error| format!("certificate {}: {error}", number + 1))?;
        }
        Ok(store)
    }

    /// Connects to servers whose certificate one of them, or one that browsers know, has signed.
    ///
    /// # Errors
    /// A sentence when the versions of TLS do not fit the provider.
    pub fn connector(&self) -> Result<TlsConnector, String> {
        let provider = Arc::new(ring::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .with_root_certificates(self.store()?)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(TlsConnector::from(Arc::new(config)))
    }
}
