//! A certificate and its key as PEM, read and checked to belong together.

use std::path::Path;
use tokio_rustls::rustls::crypto::ring::sign::any_supported_type;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::rustls::{Error, InconsistentKeys};

/// No chain of certificates is larger; something else was named by mistake.
const MAX_BYTES: u64 = 1 << 20;

/// A certificate that can be served.
pub(super) struct Pair {
    pub certified: CertifiedKey,
    /// The certificate itself, without its key.
    pub pem: String,
}

/// The content of both files.
pub(super) fn read(certificate: &Path, key: &Path) -> Result<[Vec<u8>; 2], String> {
    Ok([content(certificate)?, content(key)?])
}

/// What is in a file in PEM.
pub(super) fn content(path: &Path) -> Result<Vec<u8>, String> {
    let told = |error: std::io::Error| format!("{}: {error}", path.display());
    let length = std::fs::metadata(path).map_err(told)?.len();
    if length > MAX_BYTES {
        let path = path.display();
        return Err(format!("{path}: {length} bytes, expected at most {MAX_BYTES} of PEM"));
    }
    std::fs::read(path).map_err(told)
}

/// Makes sense of both files.
pub(super) fn pair(read: &[Vec<u8>; 2], certificate: &Path, key: &Path) -> Result<Pair, String> {
    let in_certificate = |reason: String| format!("{}: {reason}", certificate.display());
    let in_key = |reason: String| format!("{}: {reason}", key.display());
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&read[0]).collect();
    let chain = chain.map_err(|error| in_certificate(format!("not PEM: {error}")))?;
    let Some(first) = chain.first() else {
        return Err(in_certificate("there is no `BEGIN CERTIFICATE` in it".to_owned()));
    };
    let pem = pem("CERTIFICATE", first);
    let private = PrivateKeyDer::from_pem_slice(&read[1])
        .map_err(|error| in_key(format!("no private key in PEM: {error}")))?;
    let signing = any_supported_type(&private)
        .map_err(|error| in_key(format!("expected an ECDSA, RSA or Ed25519 key: {error}")))?;
    let certified = CertifiedKey::new(chain, signing);
    match certified.keys_match() {
        Ok(()) => Ok(Pair { certified, pem }),
        Err(Error::InconsistentKeys(InconsistentKeys::KeyMismatch)) => Err(in_key(format!(
            "it is not the key of the certificate in {}",
            certificate.display()
        ))),
        Err(error) => Err(in_certificate(error.to_string())),
    }
}

/// Bytes as PEM.
fn pem(kind: &str, der: &[u8]) -> String {
    let base64 = data_encoding::BASE64.encode(der);
    let mut out = format!("-----BEGIN {kind}-----\n");
    for line in base64.as_bytes().chunks(64) {
        out.extend(line.iter().map(|byte| char::from(*byte)));
        out.push('\n');
    }
    out + &format!("-----END {kind}-----\n")
}
