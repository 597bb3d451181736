//! The client's side towards services elsewhere: whom this node believes when it asks them.
//!
//! They are the authorities that the machine knows, which its own updates keep fresh, and those
//! that a site adds, in a file in PEM.

use super::files::content;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// Authorities that are believed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Authorities(Vec<CertificateDer<'static>>);

impl Authorities {
    /// Those of the machine, and those in a file of `folder` if one is named.
    ///
    /// # Errors
    /// A sentence with the file and what is wrong with it.
    pub fn read(folder: &Path, file: &str) -> Result<Self, String> {
        let mut all = of_the_machine();
        if file.is_empty() {
            return Ok(Self(all));
        }
        let path: PathBuf = folder.join(file);
        let wrong = |reason: String| format!("{}: {reason}", path.display());
        let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&content(&path)?).collect();
        let found = found.map_err(|error| wrong(format!("not PEM: {error}")))?;
        if found.is_empty() {
            return Err(wrong("there is no `BEGIN CERTIFICATE` in it".to_owned()));
        }
        let own = Self(found);
        own.store().map_err(wrong)?;
        all.extend(own.0);
        Ok(Self(all))
    }

    /// Each of them, in DER.
    pub fn each(&self) -> impl Iterator<Item = &[u8]> {
        self.0.iter().map(AsRef::as_ref)
    }

    fn store(&self) -> Result<RootCertStore, String> {
        let mut store = RootCertStore::empty();
        for (number, certificate) in self.0.iter().enumerate() {
            let added = store.add(certificate.clone());
            added.map_err(|error| format!("certificate {}: {error}", number + 1))?;
        }
        Ok(store)
    }

    /// Connects to servers whose certificate one of them has signed.
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

/// What the machine has of authorities; of a bare one that is nothing, and only a site's own are
/// believed.
fn of_the_machine() -> Vec<CertificateDer<'static>> {
    let found = rustls_native_certs::load_native_certs();
    for error in &found.errors {
        tracing::debug!(%error, "authorities of the machine are left out");
    }
    // One that is no certificate any more says nothing about the others.
    let is_sound = |one: &CertificateDer<'static>| RootCertStore::empty().add(one.clone()).is_ok();
    found.certs.into_iter().filter(is_sound).collect()
}
