//! Certificates of clients, made by an authority of the tests.

use super::super::{SERVED, Source};
use super::*;
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, CertificateRevocationListParams, DnType,
    IsCa, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SerialNumber, date_time_ymd,
};
use std::path::Path;
use std::sync::atomic::{AtomicI64, Ordering};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::ClientConfig;
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, ServerName};

/// 2026-11-29.
const NOW: Timestamp = Timestamp(1_795_910_400_000_000_000);
/// A clock that nobody believes shows something.
const NEVER_SET: Timestamp = Timestamp(0);

struct Authority {
    certificate: Certificate,
    key: KeyPair,
}

/// What a device was given.
struct Given {
    certificate: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
}

impl Authority {
    fn new() -> Self {
        Self::called("An authority")
    }

    fn called(name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        Self { certificate: params.self_signed(&key).unwrap(), key }
    }

    fn gives(&self, change: impl FnOnce(&mut CertificateParams)) -> Given {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.not_before = date_time_ymd(2026, 1, 1);
        params.not_after = date_time_ymd(2027, 1, 1);
        change(&mut params);
        let made = params.signed_by(&key, &self.certificate, &self.key).unwrap();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        Given { certificate: made.der().clone(), key }
    }

    fn gives_to(&self, device: &str, serial: u64) -> Given {
        self.gives(|params| {
            params.distinguished_name.push(DnType::CommonName, device);
            params.serial_number = Some(SerialNumber::from(serial));
        })
    }

    fn takes_back(&self, serials: &[u64]) -> String {
        let when = date_time_ymd(2026, 6, 1);
        let revoked = serials.iter().map(|serial| RevokedCertParams {
            serial_number: SerialNumber::from(*serial),
            revocation_time: when,
            reason_code: None,
            invalidity_date: None,
        });
        let params = CertificateRevocationListParams {
            this_update: when,
            // Long ago: a list that nobody renewed counts all the same.
            next_update: date_time_ymd(2026, 6, 2),
            crl_number: SerialNumber::from(1_u64),
            issuing_distribution_point: None,
            revoked_certs: revoked.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        params.signed_by(&self.certificate, &self.key).unwrap().pem().unwrap()
    }
}

/// A listener's side, with its files.
struct Site {
    dir: tempfile::TempDir,
    clients: Clients,
    /// What time it is there.
    now: Arc<AtomicI64>,
}

fn authorities(dir: &Path) -> PathBuf {
    dir.join("ca.pem")
}

fn revoked(dir: &Path) -> PathBuf {
    dir.join("crl.pem")
}

impl Site {
    fn new(authority: &Authority, list: Option<&str>, required: bool, now: Timestamp) -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(authorities(dir.path()), authority.certificate.pem()).unwrap();
        if let Some(list) = list {
            std::fs::write(revoked(dir.path()), list).unwrap();
        }
        let revoked = list.map(|_| revoked(dir.path()));
        let source = ClientSource { authorities: authorities(dir.path()), revoked, required };
        let tls = Tls::load(Source::SelfMade, dir.path()).unwrap();
        let now = Arc::new(AtomicI64::new(now.0));
        let shown = Arc::clone(&now);
        let believed: Believed = Arc::new(move || {
            let now = Timestamp(shown.load(Ordering::Relaxed));
            (now != NEVER_SET).then_some(now)
        });
        let clients = Clients::load(source, tls, believed).unwrap();
        Self { dir, clients, now }
    }

    fn connector(&self, shown: Option<&Given>) -> TlsConnector {
        let pem = std::fs::read(self.dir.path().join(SERVED)).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(&pem).unwrap()).unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        TlsConnector::from(Arc::new(match shown {
            Some(Given { certificate, key }) => {
                config.with_client_auth_cert(vec![certificate.clone()], key.clone_key()).unwrap()
            }
            None => config.with_no_client_auth(),
        }))
    }

    /// Who a client is, or why it was turned away.
    async fn ask(&self, connector: &TlsConnector) -> Result<Option<String>, String> {
        let (ours, theirs) = tokio::io::duplex(1 << 16);
        let name = ServerName::try_from("localhost").unwrap();
        let connecting = async {
            let mut stream = connector.connect(name, ours).await?;
            // With it comes what the session could be resumed by.
            stream.read_u8().await
        };
        let opening = async {
            let (mut stream, device) = self.clients.open(theirs).await?;
            stream.write_all(b"x").await?;
            stream.shutdown().await.map(|()| device)
        };
        let (_, opened) = tokio::join!(connecting, opening);
        opened.map_err(|error: io::Error| {
            refused_certificate(&error).unwrap_or_else(|| format!("? {error}"))
        })
    }

    async fn shown(&self, given: &Given) -> Result<Option<String>, String> {
        self.ask(&self.connector(Some(given))).await
    }
}

#[tokio::test]
async fn a_device_is_known_by_its_certificate_and_whoever_shows_none_by_nothing() {
    let authority = Authority::new();
    let site = Site::new(&authority, None, false, NOW);
    let named = Ok(Some("ps-017".to_owned()));
    assert_eq!(site.shown(&authority.gives_to("ps-017", 1)).await, named);
    let by_dns = authority.gives(|params| {
        let names = ["ps-017", "other"].map(|name| name.try_into().unwrap());
        params.subject_alt_names = names.map(rcgen::SanType::DnsName).to_vec();
    });
    assert_eq!(site.shown(&by_dns).await, named);
    assert_eq!(site.ask(&site.connector(None)).await, Ok(None));
    let strict = Site::new(&authority, None, true, NOW);
    assert_eq!(strict.shown(&by_dns).await, named);
    let told = strict.ask(&strict.connector(None)).await;
    assert_eq!(told, Err("it has shown none".to_owned()));
}

#[tokio::test]
async fn a_certificate_that_is_not_good_is_refused_and_it_is_said_why() {
    let authority = Authority::new();
    let site = Site::new(&authority, Some(&authority.takes_back(&[7])), false, NOW);
    let foreign = Authority::called("Another").gives_to("ps-017", 1);
    let of_the_same_name = Authority::new().gives_to("ps-017", 1);
    let over = authority.gives(|params| {
        params.distinguished_name.push(DnType::CommonName, "ps-017");
        params.not_after = date_time_ymd(2026, 11, 28);
    });
    let early = authority.gives(|params| {
        params.distinguished_name.push(DnType::CommonName, "ps-017");
        params.not_before = date_time_ymd(2026, 11, 30);
    });
    for (given, why) in [
        (foreign, "UnknownIssuer"),
        (of_the_same_name, "BadSignature"),
        (over, "expired"),
        (early, "not valid yet"),
        (authority.gives_to("ps-017", 7), "Revoked"),
        (authority.gives_to("pump 7", 1), "`pump 7` is no device"),
        (authority.gives_to("a/b", 1), "`a/b` is no device"),
        (authority.gives(|_| ()), "it names no device"),
    ] {
        let told = site.shown(&given).await.unwrap_err();
        assert!(told.contains(why), "{why}: {told}");
    }
    let good = authority.gives_to("ps-017", 8);
    assert_eq!(
        site.shown(&good).await,
        Ok(Some("ps-017".to_owned())),
        "others are not in the list"
    );
}

#[tokio::test]
async fn dates_are_not_judged_by_a_clock_that_nobody_believes() {
    let authority = Authority::new();
    let site = Site::new(&authority, Some(&authority.takes_back(&[7])), false, NEVER_SET);
    let good = authority.gives_to("ps-017", 1);
    assert_eq!(site.shown(&good).await, Ok(Some("ps-017".to_owned())));
    let foreign = Authority::called("Another").gives_to("ps-017", 1);
    assert!(site.shown(&foreign).await.unwrap_err().contains("UnknownIssuer"));
    let told = site.shown(&authority.gives_to("ps-017", 7)).await.unwrap_err();
    assert!(told.contains("Revoked"), "what was taken back stays so: {told}");
}

/// A client that resumes its session is not asked for its certificate again.
#[tokio::test]
async fn a_certificate_that_has_ended_lets_nobody_go_on() {
    let authority = Authority::new();
    let site = Site::new(&authority, None, false, NOW);
    let connector = site.connector(Some(&authority.gives_to("ps-017", 1)));
    assert_eq!(site.ask(&connector).await, Ok(Some("ps-017".to_owned())));
    // A day after it.
    site.now.store(1_798_848_000_000_000_000, Ordering::Relaxed);
    assert!(site.ask(&connector).await.unwrap_err().contains("expired"));
}

#[tokio::test]
async fn what_was_taken_back_is_refused_from_the_next_look_on() {
    let authority = Authority::new();
    let site = Site::new(&authority, Some(&authority.takes_back(&[])), false, NOW);
    let given = authority.gives_to("ps-017", 7);
    let connector = site.connector(Some(&given));
    let named = Ok(Some("ps-017".to_owned()));
    assert_eq!(site.ask(&connector).await, named);
    std::fs::write(revoked(site.dir.path()), authority.takes_back(&[7])).unwrap();
    assert_eq!(site.ask(&connector).await, named, "nobody has looked yet");
    site.clients.look_again(false);
    assert!(site.ask(&connector).await.unwrap_err().contains("Revoked"));
    std::fs::write(revoked(site.dir.path()), "half a li").unwrap();
    site.clients.look_again(false);
    assert!(site.ask(&connector).await.unwrap_err().contains("Revoked"), "it is as before");
    std::fs::write(revoked(site.dir.path()), authority.takes_back(&[])).unwrap();
    site.clients.look_again(false);
    assert_eq!(site.ask(&connector).await, named);
}

#[test]
fn files_that_cannot_be_used_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let (authorities, list) = (authorities(dir.path()), revoked(dir.path()));
    let source = |with_list: bool| {
        let revoked = with_list.then(|| list.clone());
        ClientSource { authorities: authorities.clone(), revoked, required: false }
    };
    let told = |with_list: bool| source(with_list).check().unwrap_err();
    assert!(told(false).contains("ca.pem: No such file"), "{}", told(false));
    std::fs::write(&authorities, "nothing").unwrap();
    assert!(told(false).contains("ca.pem: there is no `BEGIN CERTIFICATE`"), "{}", told(false));
    let authority = Authority::new();
    std::fs::write(&authorities, authority.certificate.pem()).unwrap();
    source(false).check().unwrap();
    std::fs::write(&list, authority.certificate.pem()).unwrap();
    assert!(told(true).contains("crl.pem: there is no `BEGIN X509 CRL`"), "{}", told(true));
    std::fs::write(&list, authority.takes_back(&[1])).unwrap();
    source(true).check().unwrap();
}
