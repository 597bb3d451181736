//! The node's own certificate: made once, kept with its key in one file of the data directory.
//!
//! It is good for as long as a certificate can be, from before any clock can be wrong by: nobody
//! renews it, and work at a site must not end with a date. Who trusts it does so by its
//! fingerprint; the names in it are those the machine had when it was made.

use super::files::{self, Pair};
use holdfast_sync::store::write_private;
use rcgen::{
    CertificateParams, DnType, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose, date_time_ymd,
};
use std::net::IpAddr;
use std::path::Path;

/// Key and certificate in a data directory.
const FILE: &str = "http.pem";

/// The pair of a data directory; made if there is none.
pub(super) fn load_or_make(dir: &Path) -> Result<Pair, String> {
    let path = dir.join(FILE);
    match std::fs::read(&path) {
        Ok(content) => match pair(&content, &path) {
            Ok(pair) => return Ok(pair),
            // A site goes on with a new one rather than not at all.
            Err(reason) => put_aside(&path, &reason)?,
        },
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(format!("{}: {error}", path.display())),
    }
    let made = make(names()).map_err(|error| format!("no certificate could be made: {error}"))?;
    write_private(&path, made.as_bytes()).map_err(|fault| fault.to_string())?;
    pair(made.as_bytes(), &path)
}

fn pair(content: &[u8], path: &Path) -> Result<Pair, String> {
    files::pair(&[content.to_vec(), content.to_vec()], path, path)
}

fn put_aside(path: &Path, reason: &str) -> Result<(), String> {
    let aside = path.with_extension("pem.damaged");
    std::fs::rename(path, &aside).map_err(|error| format!("{reason}, and it stays: {error}"))?;
    let file = aside.display();
    tracing::error!(reason, %file, "the node's own certificate is damaged: a new one is made");
    Ok(())
}

fn make(names: Vec<String>) -> Result<String, rcgen::Error> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name.push(DnType::CommonName, "Holdfast node");
    params.not_before = date_time_ymd(1970, 1, 1);
    // Later years are written in a form that small devices do not always read.
    params.not_after = date_time_ymd(2049, 12, 31);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let certificate = params.self_signed(&key)?;
    Ok(key.serialize_pem() + &certificate.pem())
}

/// What this machine is called now, by itself and by others.
fn names() -> Vec<String> {
    let mut names: Vec<_> = ["localhost", "127.0.0.1", "::1"].map(str::to_owned).into();
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host = host.trim();
    let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.';
    if !host.is_empty() && host != "localhost" && host.chars().all(is_plain) {
        names.push(host.to_owned());
        if !host.contains('.') {
            names.push(format!("{host}.local"));
        }
    }
    let outward = crate::address::outward();
    names.extend(outward.filter(|ip: &IpAddr| !ip.is_loopback()).map(|ip| ip.to_string()));
    names
}
