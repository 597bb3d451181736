//! The SHA-256 fingerprint of a certificate, as browsers and `openssl x509 -fingerprint` show it.

use data_encoding::HEXUPPER;
use std::fmt;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject;

/// SHA-256 over a certificate in DER.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// The fingerprint of a certificate.
    #[must_use]
    pub fn of(der: &[u8]) -> Self {
        let digest = ring::digest::digest(&ring::digest::SHA256, der);
        Self(digest.as_ref().try_into().expect("SHA-256 has 32 bytes"))
    }

    /// The fingerprint of the first certificate in PEM.
    ///
    /// # Errors
    /// A sentence when there is none.
    pub fn of_pem(pem: &[u8]) -> Result<Self, String> {
        let certificate = CertificateDer::from_pem_slice(pem);
        certificate.map(|der| Self::of(&der)).map_err(|error| format!("no certificate: {error}"))
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, byte) in self.0.iter().enumerate() {
            let colon = if at == 0 { "" } else { ":" };
            write!(f, "{colon}{}", HEXUPPER.encode(&[*byte]))?;
        }
        Ok(())
    }
}
