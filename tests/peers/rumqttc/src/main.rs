//! rumqttc against a gateway: `holdfast-peer-rumqttc PORT TLS_PORT CA TOKEN DEVICE_TOKEN`, for the
//! device `rust-1`. Ends with `all well`, or a panic that says what was not.
//!
//! Its two versions are two sets of types with the same names; the exchange is written once, as a
//! macro, and compiled with either.

use rumqttc::{TlsConfiguration, Transport};
use std::sync::Arc;
use std::time::Duration;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

const LIMIT: Duration = Duration::from_secs(20);

/// Where the gateway is, and what it lets in.
struct Site {
    host: &'static str,
    port: u16,
    transport: Transport,
    base: String,
    token: String,
    device_token: String,
}

/// The exchange, of whatever `options`, `will` and types there are around it.
macro_rules! exchange {
    () => {
        struct Client {
            client: AsyncClient,
            events: EventLoop,
        }

        impl Client {
            async fn connect(options: MqttOptions) -> (Self, bool) {
                let (client, events) = AsyncClient::new(options, 64);
                let mut this = Self { client, events };
                let present = this.until("CONNACK", |event| match event {
                    Event::Incoming(Packet::ConnAck(connack)) => Some(connack.session_present),
                    _ => None,
                });
                let present = present.await;
                (this, present)
            }

            async fn until<T>(&mut self, what: &str, find: impl Fn(Event) -> Option<T>) -> T {
                loop {
                    let event = tokio::time::timeout(LIMIT, self.events.poll()).await;
                    let event = event.unwrap_or_else(|_| panic!("{what} does not come"));
                    let event = event.unwrap_or_else(|error| panic!("{what}: {error}"));
                    if let Some(found) = find(event) {
                        return found;
                    }
                }
            }

            async fn publish(&mut self, topic: &str, payload: &str, qos: QoS, retain: bool) {
                let sent = self.client.publish(topic, qos, retain, payload.to_owned()).await;
                sent.expect("the client lives");
                self.until(topic, |event| match (qos, event) {
                    (QoS::AtMostOnce, Event::Outgoing(Outgoing::Publish(_)))
                    | (QoS::AtLeastOnce, Event::Incoming(Packet::PubAck(_)))
                    | (QoS::ExactlyOnce, Event::Incoming(Packet::PubComp(_))) => Some(()),
                    _ => None,
                })
                .await;
            }

            async fn subscribe(&mut self, filter: &str) {
                let sent = self.client.subscribe(filter, QoS::ExactlyOnce).await;
                sent.expect("the client lives");
                let is_suback = |event| match event {
                    Event::Incoming(Packet::SubAck(_)) => Some(()),
                    _ => None,
                };
                self.until("SUBACK", is_suback).await;
            }

            async fn next(&mut self) -> (String, String, bool) {
                self.until("a message", |event| match event {
                    Event::Incoming(Packet::Publish(publish)) => {
                        let topic: &[u8] = publish.topic.as_ref();
                        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                        Some((text(topic), text(&publish.payload), publish.retain))
                    }
                    _ => None,
                })
                .await
            }

            async fn leave(mut self) {
                self.client.disconnect().await.expect("the client lives");
                let is_last = |event| match event {
                    Event::Outgoing(Outgoing::Disconnect) => Some(()),
                    _ => None,
                };
                self.until("the end", is_last).await;
            }
        }

        pub(super) async fn check(site: &Site) {
            let (base, all) = (&site.base, [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce]);
            let of = |name: &str| format!("{base}/{name}");
            let admin = |name: &str| options(site, &of(name), &site.token);

            let (mut device, _) =
                Client::connect(options(site, &of("device"), &site.device_token)).await;
            for qos in all {
                let payload = r#"{"values":{"level":2.31}}"#;
                device.publish("devices/rust-1/readings", payload, qos, false).await;
            }
            device.leave().await;

            let (mut publisher, _) = Client::connect(admin("publisher")).await;
            let (mut kept, present) = Client::connect(keeping(admin("kept"))).await;
            assert!(!present, "there is no session yet");
            kept.subscribe(&of("kept/#")).await;
            kept.leave().await;
            for number in 0..30 {
                let topic = of(&format!("kept/{}", number % 2));
                publisher.publish(&topic, &number.to_string(), all[1 + number % 2], false).await;
            }
            let (mut kept, present) = Client::connect(keeping(admin("kept"))).await;
            assert!(present, "the session is gone");
            let mut got = [Vec::new(), Vec::new()];
            for _ in 0..30 {
                let (topic, payload, _) = kept.next().await;
                let of = usize::from(topic.ends_with('1'));
                got[of].push(payload.parse::<usize>().expect("a number"));
            }
            for (of, got) in got.iter().enumerate() {
                // The order holds for each QoS by itself.
                assert!(got.iter().copied().eq((0..30).filter(|n| n % 2 == of)), "{got:?}");
            }
            kept.leave().await;

            publisher.publish(&of("retained"), "stays", QoS::AtLeastOnce, true).await;
            let (mut watcher, _) = Client::connect(admin("watcher")).await;
            watcher.subscribe(&of("retained")).await;
            assert_eq!(watcher.next().await, (of("retained"), "stays".to_owned(), true));
            watcher.subscribe(&of("wills")).await;
            let lost = Client::connect(willing(admin("lost"), &of("wills"))).await;
            drop(lost);
            assert_eq!(watcher.next().await, (of("wills"), "lost".to_owned(), false));
            watcher.leave().await;
            publisher.leave().await;
        }
    };
}

mod v3 {
    //! Version 3.1.1.

    use super::{LIMIT, Site};
    use rumqttc::{AsyncClient, Event, EventLoop, LastWill, MqttOptions, Outgoing, Packet, QoS};

    fn options(site: &Site, client: &str, token: &str) -> MqttOptions {
        let mut options = MqttOptions::new(client, site.host, site.port);
        options.set_transport(site.transport.clone()).set_credentials("user", token);
        options
    }

    fn keeping(mut options: MqttOptions) -> MqttOptions {
        options.set_clean_session(false);
        options
    }

    fn willing(mut options: MqttOptions, topic: &str) -> MqttOptions {
        options.set_last_will(LastWill::new(topic, "lost", QoS::AtLeastOnce, false));
        options
    }

    exchange!();
}

mod v5 {
    //! Version 5.

    use super::{LIMIT, Site};
    use rumqttc::Outgoing;
    use rumqttc::v5::mqttbytes::QoS;
    use rumqttc::v5::mqttbytes::v5::{LastWill, Packet};
    use rumqttc::v5::{AsyncClient, Event, EventLoop, MqttOptions};

    fn options(site: &Site, client: &str, token: &str) -> MqttOptions {
        let mut options = MqttOptions::new(client, site.host, site.port);
        options.set_transport(site.transport.clone()).set_credentials("user", token);
        options.set_clean_start(true);
        options
    }

    fn keeping(mut options: MqttOptions) -> MqttOptions {
        options.set_clean_start(false).set_session_expiry_interval(Some(3_600));
        options
    }

    fn willing(mut options: MqttOptions, topic: &str) -> MqttOptions {
        options.set_last_will(LastWill::new(topic, "lost", QoS::AtLeastOnce, false, None));
        options
    }

    exchange!();
}

fn tls(authority: &str) -> Transport {
    let pem = std::fs::read(authority).expect("the file of the authority");
    let mut roots = RootCertStore::empty();
    for certificate in rustls_pemfile::certs(&mut pem.as_slice()) {
        roots.add(certificate.expect("a certificate")).expect("an authority");
    }
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring has suites for both versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    Transport::tls_with_config(TlsConfiguration::Rustls(Arc::new(config)))
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [port, tls_port, authority, token, device_token] = &arguments[..] else {
        panic!("expected PORT TLS_PORT CA TOKEN DEVICE_TOKEN");
    };
    for (name, port, transport) in
        [("tcp", port, Transport::tcp()), ("tls", tls_port, tls(authority))]
    {
        let site = |version: &str| Site {
            host: "127.0.0.1",
            port: port.parse().expect("a port"),
            transport: transport.clone(),
            base: format!("rumqttc-{name}-{version}"),
            token: token.clone(),
            device_token: device_token.clone(),
        };
        v3::check(&site("3.1.1")).await;
        v5::check(&site("5")).await;
    }
    println!("all well");
}
