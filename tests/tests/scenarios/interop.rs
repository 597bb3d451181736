//! Clients of others against the real gateway: the `interop` lane. Mosquitto's and Paho are
//! Debian's, as people have them; `xtask` brings mqtt.js and rumqttc.

use holdfast_tests::process::{Edge, LIMIT, Settings};
use holdfast_tests::scenarios::audit::edge_client;
use holdfast_tests::wait::until_async;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A gateway and tokens for it.
struct Site {
    edge: Edge,
    admin: String,
    _dir: tempfile::TempDir,
}

impl Site {
    fn new() -> Self {
        Self::with(Settings::default())
    }

    fn with(settings: Settings) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let edge = Edge::init("ps-000", dir.path(), settings);
        let mut edge = edge.expect("the gateway is made");
        edge.start().expect("it starts");
        let admin = edge.admin_token().expect("its token");
        Self { edge, admin, _dir: dir }
    }

    /// Waits until what the gateway answers to a path is as it should be.
    fn until(&self, path: &str, holds: impl Fn(&Value) -> bool) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime").block_on(async {
            let mut client = edge_client(&self.edge);
            until_async(path, LIMIT, async || {
                let found = client.get(path).await.ok()?.json();
                holds(&found).then_some(())
            })
            .await;
        });
    }

    /// One of Mosquitto's programs, connected with a token.
    fn mosquitto(&self, program: &str, version: &str, token: &str) -> Command {
        let mut command = Command::new(program);
        command.args(["-h", "127.0.0.1", "-p", &self.edge.mqtt().port().to_string()]);
        command.args(["-V", version, "-u", "user", "-P", token]);
        command
    }
}

fn done(command: &mut Command) -> Output {
    command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"))
}

fn lines(output: &Output) -> Vec<String> {
    String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
}

#[test]
fn mosquitto_publishes_readings_with_every_qos_in_both_versions() {
    let site = Site::new();
    let token = site.edge.device_token("tank-1").expect("a token");
    let mut expected = 0;
    for version in ["mqttv311", "mqttv5"] {
        for qos in ["0", "1", "2"] {
            let mut publish = site.mosquitto("mosquitto_pub", version, &token);
            publish.args(["-i", "tank-1", "-q", qos, "-t", "devices/tank-1/readings"]);
            let output = done(publish.args(["-m", r#"{"values":{"level":2.31}}"#]));
            assert!(output.status.success(), "{version} {qos}: {output:?}");
            expected += 1;
        }
    }
    let mut foreign = site.mosquitto("mosquitto_pub", "mqttv5", &token);
    let output = done(foreign.args(["-q", "1", "-t", "devices/tank-2/readings", "-m", "{}"]));
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(told.contains("Not authorized"), "{told}");
    site.until("/v1/readings?device=tank-1&metric=level", |found| {
        found["readings"].as_array().is_some_and(|readings| readings.len() == expected)
    });
}

#[test]
fn mosquitto_gets_what_waited_for_it_and_what_is_retained() {
    let site = Site::new();
    for version in ["mqttv311", "mqttv5"] {
        let client = format!("sub-{version}");
        let subscribe = |args: &[&str]| {
            let mut subscribe = site.mosquitto("mosquitto_sub", version, &site.admin);
            subscribe.args(["-i", &client, "-c", "-q", "2", "-F", "%t %p %q %r"]);
            if version == "mqttv5" {
                subscribe.args(["-x", "3600"]);
            }
            done(subscribe.args(["-t", &format!("{version}/#")]).args(args))
        };
        // The session begins; `-E` leaves once the subscription is there.
        assert!(subscribe(&["-E"]).status.success());
        for (topic, payload, retain) in
            [("a", "one", false), ("a", "two", false), ("b", "kept", true)]
        {
            let mut publish = site.mosquitto("mosquitto_pub", version, &site.admin);
            publish.args(["-q", "2", "-t", &format!("{version}/{topic}"), "-m", payload]);
            if retain {
                publish.arg("-r");
            }
            assert!(done(&mut publish).status.success());
        }
        let got = lines(&subscribe(&["-C", "3", "-W", "20"]));
        let expected = ["a one 2 0", "a two 2 0", "b kept 2 0"].map(|l| format!("{version}/{l}"));
        assert_eq!(got, expected, "what waited");
        let mut late = site.mosquitto("mosquitto_sub", version, &site.admin);
        late.args(["-q", "1", "-F", "%t %p %q %r", "-C", "1", "-W", "20"]);
        let got = lines(&done(late.args(["-t", &format!("{version}/+")])));
        assert_eq!(got, [format!("{version}/b kept 1 1")], "what is retained");
    }
}

/// The port had the configuration of HTTPS, and whoever offered `mqtt` as its protocol there was
/// turned away.
#[test]
fn mosquitto_connects_with_tls_and_names_its_protocol() {
    let settings = Settings::default().env("HOLDFAST_HTTP_TLS", "self");
    let mut site = Site::with(settings.env("HOLDFAST_MQTT_TLS_LISTEN", "127.0.0.1:0"));
    let address = site.edge.process().listening("mqtts", LIMIT).expect("where it listens");
    let certificate = site.edge.data().join("http.crt");
    for alpn in [&[][..], &["--tls-alpn", "mqtt"]] {
        let mut publish = Command::new("mosquitto_pub");
        publish.args(["-h", "127.0.0.1", "-p", &address.port().to_string(), "-V", "mqttv5"]);
        publish.arg("--cafile").arg(&certificate).args([
            "--insecure",
            "-u",
            "u",
            "-P",
            &site.admin,
        ]);
        let output = done(publish.args(["-q", "1", "-t", "a", "-m", "b"]).args(alpn));
        assert!(output.status.success(), "{alpn:?}: {output:?}");
    }
}

#[test]
fn mosquitto_rr_gets_its_answer() {
    let site = Site::new();
    let mut serving = site.mosquitto("mosquitto_sub", "mqttv5", &site.admin);
    serving.args(["-t", "ask", "-C", "1", "-W", "30", "-F", "%R"]);
    let serving = serving.stdout(std::process::Stdio::piped()).spawn().expect("it starts");
    site.until("/v1/mqtt/clients", |found| found["clients"][0]["subscriptions"][0] == "ask");
    let mut asking = site.mosquitto("mosquitto_rr", "mqttv5", &site.admin);
    asking.args(["-t", "ask", "-e", "answer/7", "-m", "how full?", "-W", "20"]);
    let mut asked = asking.stdout(std::process::Stdio::null()).spawn().expect("it starts");
    let heard = serving.wait_with_output().expect("it ends");
    assert_eq!(lines(&heard), ["answer/7"], "where the answer is to go");
    let mut answer = site.mosquitto("mosquitto_pub", "mqttv5", &site.admin);
    assert!(done(answer.args(["-q", "1", "-t", "answer/7", "-m", "half"])).status.success());
    let status = asked.wait().expect("it ends");
    assert!(status.success());
}

/// Debian's own, for which Debian's Paho is; another may stand before it in the path.
const PYTHON: &str = "/usr/bin/python3";
/// What Paho for Python does with sessions, wills, shared subscriptions and versions.
const PAHO: &str = include_str!("paho.py");

/// Runs a client that ends with `all well`.
fn all_is_well(command: &mut Command) {
    let output = done(command);
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{told}{}", String::from_utf8_lossy(&output.stderr));
    assert!(told.ends_with("all well\n"), "{told}");
}

#[test]
fn paho_keeps_sessions_hears_wills_and_shares_subscriptions() {
    let site = Site::new();
    let port = site.edge.mqtt().port().to_string();
    all_is_well(Command::new(PYTHON).args(["-c", PAHO, &port, &site.admin]));
}

#[test]
fn paho_does_the_same_over_websocket_with_and_without_tls() {
    let site = Site::new();
    let port = site.edge.http().port().to_string();
    all_is_well(Command::new(PYTHON).args(["-c", PAHO, &port, &site.admin, "websockets"]));
    let site = Site::with(Settings::default().env("HOLDFAST_HTTP_TLS", "self"));
    let port = site.edge.http().port().to_string();
    let mut paho = Command::new(PYTHON);
    paho.args(["-c", PAHO, &port, &site.admin, "websockets"]);
    all_is_well(paho.arg(site.edge.data().join("http.crt")));
}

/// What `xtask` brought of a client.
fn peer(path: &str) -> PathBuf {
    let dir = std::env::var_os("HOLDFAST_PEERS_DIR");
    let dir = dir.expect("`cargo xtask test interop` brings the clients and says where they are");
    let path = PathBuf::from(dir).join(path);
    assert!(path.exists(), "{} is not there: `cargo xtask test interop`", path.display());
    path
}

/// How many readings of a device are stored, by the gateway's own command: over HTTPS, too.
fn stored(site: &Site, device: &str) -> usize {
    let (named, mut count) = (format!("\"device\":\"{device}\""), 0);
    let exported = site.edge.export(|line| count += usize::from(line.contains(&named)));
    exported.expect("an export");
    count
}

#[test]
fn mqtt_js_does_all_of_it_over_tcp_and_websocket() {
    let site = Site::new();
    let token = site.edge.device_token("js-1").expect("a token");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers/mqttjs/check.mjs");
    let mut node = Command::new("node");
    node.arg(script).arg(peer("mqttjs")).args([&site.admin, &token]);
    node.arg(format!("mqtt://{}", site.edge.mqtt()));
    all_is_well(node.arg(format!("ws://{}/mqtt", site.edge.http())));
    // Each QoS, in both versions, over both.
    assert_eq!(stored(&site, "js-1"), 12);
}

#[test]
fn rumqttc_does_all_of_it_over_tcp_and_tls() {
    let settings = Settings::default().env("HOLDFAST_HTTP_TLS", "self");
    let mut site = Site::with(settings.env("HOLDFAST_MQTT_TLS_LISTEN", "127.0.0.1:0"));
    let secure = site.edge.process().listening("mqtts", LIMIT).expect("where it listens");
    let token = site.edge.device_token("rust-1").expect("a token");
    let mut program = Command::new(peer("rumqttc/debug/holdfast-peer-rumqttc"));
    program.args([site.edge.mqtt().port().to_string(), secure.port().to_string()]);
    program.arg(site.edge.data().join("http.crt"));
    all_is_well(program.args([&site.admin, &token]));
    assert_eq!(stored(&site, "rust-1"), 12);
}

/// An authority of the tests, with what it gives out in files.
struct Authority {
    certificate: rcgen::Certificate,
    key: rcgen::KeyPair,
    dir: tempfile::TempDir,
}

impl Authority {
    fn called(name: &str) -> Self {
        let key = rcgen::KeyPair::generate().expect("a key");
        let mut params = rcgen::CertificateParams::default();
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).expect("a certificate");
        let dir = tempfile::tempdir().expect("a directory");
        std::fs::write(dir.path().join("ca.pem"), certificate.pem()).expect("a file");
        Self { certificate, key, dir }
    }

    fn file(&self) -> PathBuf {
        self.dir.path().join("ca.pem")
    }

    /// The files of a device's certificate and key.
    fn gives(&self, device: &str) -> [PathBuf; 2] {
        let key = rcgen::KeyPair::generate().expect("a key");
        let mut params = rcgen::CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(rcgen::DnType::CommonName, device);
        let made = params.signed_by(&key, &self.certificate, &self.key).expect("a certificate");
        let [certificate, private] =
            ["crt", "key"].map(|end| self.dir.path().join(device).with_extension(end));
        std::fs::write(&certificate, made.pem()).expect("a file");
        std::fs::write(&private, key.serialize_pem()).expect("a file");
        [certificate, private]
    }
}

#[test]
fn mosquitto_connects_with_a_certificate_in_place_of_a_token() {
    let authority = Authority::called("The site's");
    let settings = Settings::default()
        .env("HOLDFAST_HTTP_TLS", "self")
        .env("HOLDFAST_MQTT_TLS_LISTEN", "127.0.0.1:0")
        .env("HOLDFAST_MQTT_CLIENT_CA", authority.file());
    let mut site = Site::with(settings);
    let address = site.edge.process().listening("mqtts", LIMIT).expect("where it listens");
    let server = site.edge.data().join("http.crt");
    let publish = |version: &str, shown: Option<[PathBuf; 2]>, device: &str| {
        let mut publish = Command::new("mosquitto_pub");
        publish.args(["-h", "127.0.0.1", "-p", &address.port().to_string(), "-V", version]);
        publish.arg("--cafile").arg(&server).arg("--insecure");
        if let Some([certificate, key]) = shown {
            publish.arg("--cert").arg(certificate).arg("--key").arg(key);
        }
        publish.args(["-q", "1", "-t", &format!("devices/{device}/readings")]);
        publish.args(["-m", r#"{"values":{"level":2.31}}"#]);
        publish
    };
    let own = authority.gives("tank-1");
    for version in ["mqttv311", "mqttv5"] {
        let output = done(&mut publish(version, Some(own.clone()), "tank-1"));
        assert!(output.status.success(), "{version}: {output:?}");
    }
    assert_eq!(stored(&site, "tank-1"), 2);
    let output = done(&mut publish("mqttv5", Some(own), "tank-2"));
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(told.contains("Not authorized"), "it is that device and no other: {told}");
    let output = done(&mut publish("mqttv5", None, "tank-1"));
    assert!(!output.status.success(), "without either it is nobody: {output:?}");
    let output = done(publish("mqttv5", None, "tank-1").args(["-u", "u", "-P", &site.admin]));
    assert!(output.status.success(), "a token does without a certificate: {output:?}");
    let other = Authority::called("Another");
    let output = done(&mut publish("mqttv5", Some(other.gives("tank-1")), "tank-1"));
    assert!(!output.status.success(), "another authority's: {output:?}");
    let line = site.edge.process().logged("the certificate of a client was refused", LIMIT);
    let line = line.expect("a line in the log");
    assert!(line.contains("127.0.0.1:") && line.contains("UnknownIssuer"), "{line}");
}
