//! Certificates made and read, and HTTPS against clients that behave well and badly.

use super::*;
use crate::http::{Limits, Transport, bind};
use axum::Router;
use axum::routing::get;
use rcgen::{CertificateParams, KeyPair};
use std::os::unix::fs::PermissionsExt as _;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion, version};

const PATIENCE: Duration = Duration::from_secs(20);

/// HTTPS on loopback, ended when dropped.
struct Site {
    address: SocketAddr,
    dir: tempfile::TempDir,
    stop: CancellationToken,
}

impl Drop for Site {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

async fn site(limits: Limits) -> Site {
    let dir = tempfile::tempdir().unwrap();
    let tls = Tls::load(Source::SelfMade, dir.path()).unwrap();
    let listener = bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let (address, stop) = (listener.address(), CancellationToken::new());
    let say = |transport: Transport| async move { format!("tls {}", transport.is_tls) };
    let router = Router::new().route("/hello", get(say));
    let served = listener.with_tls(Some(tls)).serve(router, limits, stop.clone());
    tokio::spawn(served);
    Site { address, dir, stop }
}

impl Site {
    /// A client that checks names and trusts the certificate as its authority, as curl does.
    fn strict(&self, versions: &[&'static SupportedProtocolVersion]) -> TlsConnector {
        let pem = std::fs::read(self.dir.path().join(SERVED)).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(&pem).unwrap()).unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        TlsConnector::from(Arc::new(config))
    }

    async fn ask(&self, connector: &TlsConnector) -> std::io::Result<String> {
        let stream = TcpStream::connect(self.address).await?;
        let name = ServerName::try_from("localhost").unwrap();
        let mut stream = connector.connect(name, stream).await?;
        let request = "GET /hello HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
        stream.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        Ok(answer)
    }

    async fn is_well(&self) {
        let answer = self.ask(&self.strict(&[&version::TLS13])).await.unwrap();
        assert!(answer.ends_with("tls true"), "{answer}");
    }

    /// Sends bytes as they are, and reads until the other side closes.
    async fn raw(&self, bytes: &[u8]) -> String {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        let mut all = Vec::new();
        let read = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut all)).await;
        let _closed_or_reset = read.expect("the connection is closed in time");
        String::from_utf8_lossy(&all).into_owned()
    }
}

fn short() -> Limits {
    Limits { header_read: Duration::from_millis(300), ..Limits::default() }
}

#[tokio::test]
async fn both_versions_are_spoken_to_clients_that_check_names() {
    let site = site(Limits::default()).await;
    for version in [&version::TLS12, &version::TLS13] {
        let answer = site.ask(&site.strict(&[version])).await.unwrap();
        assert!(answer.ends_with("tls true"), "{answer}");
    }
}

#[tokio::test]
async fn plain_http_is_told_to_speak_https() {
    let site = site(short()).await;
    for request in ["GET /hello HTTP/1.1\r\nhost: x\r\n\r\n", "POST /v1/readings HTTP/1.1\r\n"] {
        let answer = site.raw(request.as_bytes()).await;
        let is_whole = request.ends_with("\r\n\r\n");
        assert_eq!(answer.starts_with("HTTP/1.1 400 "), is_whole, "{answer}");
        assert_eq!(answer.contains("This port speaks HTTPS"), is_whole, "{answer}");
    }
    site.is_well().await;
}

#[tokio::test]
async fn silence_and_garbage_end_and_harm_nobody() {
    let site = site(Limits { connections: 3, ..short() }).await;
    let mut silent = Vec::new();
    for begun in [&b""[..], b"\x16\x03\x01\x02\x00\x01", b"\x16\x03\x01\xff\xff"] {
        let mut stream = TcpStream::connect(site.address).await.unwrap();
        stream.write_all(begun).await.unwrap();
        silent.push(stream);
    }
    // All places are taken; the deadline of the handshake frees them.
    site.is_well().await;
    for garbage in [&[0_u8; 512][..], b"\x16\x03\x01\x00\x05hello", b"\x80\x2e\x01\x00\x02"] {
        let answer = site.raw(garbage).await;
        assert!(!answer.contains("HTTP"), "{answer}");
        site.is_well().await;
    }
    drop(silent);
}

#[tokio::test]
async fn the_node_is_known_by_its_copy_and_nobody_else_is() {
    let site = site(Limits::default()).await;
    let own = std::fs::read(site.dir.path().join(SERVED)).unwrap();
    let answer = site.ask(&connector(&own).unwrap()).await.unwrap();
    assert!(answer.ends_with("tls true"), "{answer}");
    let (other, _) = made("localhost");
    let error = site.ask(&connector(other.as_bytes()).unwrap()).await.unwrap_err();
    assert!(error.to_string().contains("certificate"), "{error}");
    assert!(connector(b"nothing").is_err());
}

#[test]
fn an_own_certificate_stays_and_a_damaged_one_is_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let load = || Tls::load(Source::SelfMade, dir.path()).unwrap().fingerprint();
    let first = load();
    let file = dir.path().join("http.pem");
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let copy = std::fs::read_to_string(dir.path().join(SERVED)).unwrap();
    assert!(!copy.contains("PRIVATE"), "the copy may be given away");
    assert_eq!(load(), first);
    let mut bytes = std::fs::read(&file).unwrap();
    let middle = bytes.len() / 4;
    bytes[middle] ^= 0xff;
    std::fs::write(&file, &bytes).unwrap();
    let second = load();
    assert_ne!(second, first);
    assert_eq!(std::fs::read(dir.path().join("http.pem.damaged")).unwrap(), bytes);
    assert_eq!(load(), second);
}

/// A certificate and its key, as an authority would give them out.
fn made(name: &str) -> (String, String) {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec![name.to_owned()]).unwrap().self_signed(&key);
    (certificate.unwrap().pem(), key.serialize_pem())
}

#[test]
fn files_are_read_again_and_a_broken_one_changes_nothing() {
    let (dir, data) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (certificate, key) = (dir.path().join("site.crt"), dir.path().join("site.key"));
    let put = |(crt, private): &(String, String)| {
        std::fs::write(&certificate, crt).unwrap();
        std::fs::write(&key, private).unwrap();
    };
    let (one, two) = (made("one"), made("two"));
    let source = Source::Files { certificate: certificate.clone(), key: key.clone() };
    let refused = |source: &Source| source.check().unwrap_err();
    assert!(refused(&source).starts_with(&format!("{}: ", certificate.display())));
    put(&one);
    let tls = Tls::load(source.clone(), data.path()).unwrap();
    let first = tls.fingerprint();

    // Half of a renewal: the new certificate is there, its key is not.
    std::fs::write(&certificate, &two.0).unwrap();
    assert!(refused(&source).contains("it is not the key of the certificate in"));
    tls.look_again(false);
    assert_eq!(tls.fingerprint(), first);
    put(&two);
    tls.look_again(false);
    let second = tls.fingerprint();
    assert_ne!(second, first);
    let copy = std::fs::read_to_string(data.path().join(SERVED)).unwrap();
    let normal = |pem: &str| pem.replace("\r\n", "\n");
    assert_eq!(normal(&copy), normal(&two.0), "commands know the new one");

    for (crt, words) in [("", "BEGIN CERTIFICATE"), (&one.1, "BEGIN CERTIFICATE")] {
        put(&(crt.to_owned(), two.1.clone()));
        assert!(refused(&source).contains(words), "{}", refused(&source));
    }
    put(&(two.0.clone(), "no key".to_owned()));
    assert!(refused(&source).contains("no private key in PEM"), "{}", refused(&source));
    tls.look_again(true);
    assert_eq!(tls.fingerprint(), second);
}

#[test]
fn keys_that_do_not_fit_together_are_explained() {
    let folder = Path::new("/etc/holdfast");
    let of = |word, certificate, key| Source::of(word, certificate, key, folder);
    assert_eq!(of(TlsWord::Off, "", ""), Ok(None));
    assert_eq!(of(TlsWord::SelfMade, "", ""), Ok(Some(Source::SelfMade)));
    let (certificate, key) = (folder.join("a.crt"), "/b.key".into());
    let files = Source::Files { certificate, key };
    assert_eq!(of(TlsWord::Files, "a.crt", "/b.key"), Ok(Some(files)));
    let error = of(TlsWord::Off, "a.crt", "b.key").unwrap_err();
    assert!(error.contains("which is \"off\""), "{error}");
    let error = of(TlsWord::Files, "a.crt", "").unwrap_err();
    assert!(error.contains("needs `http.certificate` and `http.key`"), "{error}");
}
