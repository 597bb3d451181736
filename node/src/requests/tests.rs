//! Requests to servers of this machine: with TLS, without, and to nobody.

#![allow(clippy::unwrap_used, reason = "a failed step of a test is its failure")]

use super::*;
use holdfast_core::Timestamp;
use holdfast_sync::env::Source;
use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

/// A clock that a test sets.
#[derive(Default)]
struct Hand(AtomicU64);

impl Source for Hand {
    fn now(&self) -> Timestamp {
        Timestamp::default()
    }

    fn monotonic_ms(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }

    fn entropy(&self) -> u64 {
        7
    }

    fn fill(&self, out: &mut [u8]) {
        out.fill(7);
    }
}

fn requests(authorities: &Authorities, hand: &Arc<Hand>) -> Requests {
    let env: Env = Arc::<Hand>::clone(hand);
    Requests::new(authorities, Limits { at_once: 1, rate: 50 }, env).unwrap()
}

/// An authority of a site and a server with a certificate of it for `name`.
fn authority(name: &str) -> (String, TlsAcceptor) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = params.self_signed(&key).unwrap();
    let own_key = KeyPair::generate().unwrap();
    let own = CertificateParams::new(vec![name.to_owned()]).unwrap();
    let own = own.signed_by(&own_key, &ca, &key).unwrap();
    let private = PrivateKeyDer::try_from(own_key.serialize_der()).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![own.der().clone()], private)
        .unwrap();
    (ca.pem(), TlsAcceptor::from(Arc::new(config)))
}

async fn serve(tls: Option<TlsAcceptor>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(answer(listener, tls));
    address
}

/// Answers each request with its first line as the body.
async fn answer(listener: TcpListener, tls: Option<TlsAcceptor>) {
    while let Ok((stream, _)) = listener.accept().await {
        let mut stream: Box<dyn Stream> = match &tls {
            Some(tls) => match tls.accept(stream).await {
                Ok(secured) => Box::new(secured),
                Err(_) => continue,
            },
            None => Box::new(stream),
        };
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            match stream.read_u8().await {
                // A handshake of TLS begins so: it is no request.
                Ok(0x16) | Err(_) => break,
                Ok(byte) => head.push(byte),
            }
        }
        let line = String::from_utf8(head).unwrap();
        let line = line.lines().next().unwrap_or_default().to_owned();
        let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{line}", line.len());
        let _ = stream.write_all(answer.as_bytes()).await;
    }
}

fn authorities(dir: &Path, pem: &str) -> Authorities {
    std::fs::write(dir.join("ca.pem"), pem).unwrap();
    Authorities::read(dir, "ca.pem").unwrap()
}

async fn get(requests: &Requests, url: &str) -> Result<String, String> {
    let place = Place::of(url)?;
    let call = Call {
        method: "GET",
        place: &place,
        key: "k",
        content_type: "text/plain",
        body: Bytes::new(),
        priority: 5,
        limit: Duration::from_secs(60),
    };
    requests.call(call).await.map(|(_, text)| text).map_err(|failure| failure.to_string())
}

#[tokio::test]
async fn a_server_of_the_authority_of_a_site_is_asked_over_https() {
    let dir = tempfile::tempdir().unwrap();
    let (pem, acceptor) = authority("127.0.0.1");
    let address = serve(Some(acceptor)).await;
    let url = format!("https://{address}/v1/x?y=1");
    let own = requests(&authorities(dir.path(), &pem), &Arc::default());
    assert_eq!(get(&own, &url).await.unwrap(), "GET /v1/x?y=1 HTTP/1.1");
    // Who has not heard of that authority says so, and sends nothing.
    let public = requests(&Authorities::default(), &Arc::default());
    let told = get(&public, &url).await.unwrap_err();
    assert!(told.contains("unreachable") && told.contains("UnknownIssuer"), "{told}");
}

#[tokio::test]
async fn a_certificate_for_another_name_is_not_taken() {
    let dir = tempfile::tempdir().unwrap();
    let (pem, acceptor) = authority("mes.site");
    let address = serve(Some(acceptor)).await;
    let own = requests(&authorities(dir.path(), &pem), &Arc::default());
    let told = get(&own, &format!("https://{address}/")).await.unwrap_err();
    assert!(told.contains(&address.to_string()) && told.contains("no HTTPS"), "{told}");
}

#[tokio::test]
async fn plain_http_goes_on_without_tls() {
    let address = serve(None).await;
    let requests = requests(&Authorities::default(), &Arc::default());
    let got = get(&requests, &format!("http://{address}")).await;
    assert_eq!(got.unwrap(), "GET / HTTP/1.1");
    // A server without TLS is no HTTPS, whatever it answers.
    let told = get(&requests, &format!("https://{address}")).await.unwrap_err();
    assert!(told.contains("no HTTPS"), "{told}");
}

#[tokio::test]
async fn who_does_not_answer_is_left_alone_and_then_tried_once() {
    let hand = Arc::<Hand>::default();
    let requests = requests(&Authorities::default(), &hand);
    // Nobody listens there any more.
    let address = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let url = format!("http://{address}/");
    for _ in 0..5 {
        assert!(get(&requests, &url).await.unwrap_err().starts_with("unreachable: "));
    }
    let told = get(&requests, &url).await.unwrap_err();
    let wanted = "it failed 5 times in a row and is left alone for another 30 s";
    assert_eq!(told, format!("busy: http://{address}: {wanted}"));
    // It is back: the one that tries closes the circuit.
    hand.0.fetch_add(30_000, Ordering::SeqCst);
    let listener = TcpListener::bind(address).await.unwrap();
    tokio::spawn(answer(listener, None));
    for _ in 0..3 {
        assert_eq!(get(&requests, &url).await.unwrap(), "GET / HTTP/1.1");
    }
    let mut out = Exposition::default();
    requests.tell(&mut out);
    let told = out.finish();
    for line in [
        "holdfast_requests_made_total 8",
        "holdfast_requests_failed_total 5",
        "holdfast_requests_refused_total{reason=\"open\"} 1",
        "holdfast_requests_opened_circuits_total 1",
        "holdfast_requests_open_circuits 0",
    ] {
        assert!(told.lines().any(|known| known == line), "{line}: {told}");
    }
}

#[tokio::test]
async fn who_gives_up_leaves_no_place_taken() {
    let requests = requests(&Authorities::default(), &Arc::default());
    // It takes connections and says nothing.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let ask = || {
        let (requests, url) = (requests.clone(), url.clone());
        tokio::spawn(async move { get(&requests, &url).await })
    };
    let counts = || {
        let (under_way, waiting, _) = requests.0.gate().counts();
        (under_way, waiting)
    };
    let come_to = async |wanted| {
        let so = async {
            while counts() != wanted {
                tokio::task::yield_now().await;
            }
        };
        let told = || format!("{:?}, not {wanted:?}", counts());
        tokio::time::timeout(Duration::from_secs(20), so)
            .await
            .unwrap_or_else(|_| panic!("{}", told()));
    };
    let first = ask();
    come_to((1, 0)).await;
    let (second, third) = (ask(), ask());
    come_to((1, 2)).await;
    second.abort();
    first.abort();
    // The place of the first goes past the second to the third.
    come_to((1, 0)).await;
    third.abort();
    come_to((0, 0)).await;
}

#[test]
fn what_is_no_place_is_said_without_its_secrets() {
    for (url, wanted) in [
        ("ftp://a/secret", "expected http://HOST"),
        ("/secret", "expected http://HOST"),
        ("https://ann:secret@a/", "without `@`"),
        ("https://a b/secret", "no URL"),
    ] {
        let told = Place::of(url).unwrap_err();
        assert!(told.contains(wanted) && !told.contains("secret"), "{url}: {told}");
    }
    let place = Place::of("https://[::1]/secret").unwrap();
    assert_eq!((place.host.as_str(), place.port), ("::1", 443));
    assert_eq!(place.to_string(), "https://[::1]:443");
}

#[test]
fn a_file_of_authorities_that_is_none_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let told = |content: &str| {
        std::fs::write(dir.path().join("ca.pem"), content).unwrap();
        Authorities::read(dir.path(), "ca.pem").unwrap_err()
    };
    assert!(told("").ends_with("ca.pem: there is no `BEGIN CERTIFICATE` in it"));
    let bad = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    assert!(told(bad).contains("ca.pem: certificate 1: "), "{}", told(bad));
    let missing = Authorities::read(dir.path(), "other.pem").unwrap_err();
    assert!(missing.contains("other.pem: "), "{missing}");
    // Without a file those of the machine are believed, of which a bare one has none.
    assert!(Authorities::read(dir.path(), "").is_ok());
}
