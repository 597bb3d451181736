//! The broker and its listeners, wired to the node.

use super::broker::{Broker, Limits, Reach};
use super::codec;
use super::connection::Options;
use super::counts::MqttCounts;
use super::desired;
use super::door::Door;
use super::firmware::Downlink;
use super::rules::Rules;
use super::server::websocket::Taker;
use super::server::{self, Secure, Server};
use super::starts::Starts;
use crate::device_commands::{Book, DeviceCommands};
use crate::ingest::Ingest;
use crate::settings::Mqtt as Settings;
use holdfast_node::artefacts::{Images, Sites};
use holdfast_node::auth::Auth;
use holdfast_node::runs::Desk;
use holdfast_node::supervise::{Supervisor, announce};
use holdfast_node::tls::{Believed, ClientSource, Clients, Tls};
use holdfast_node::twins::Twins;
use holdfast_sync::store::Store;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokio_util::sync::CancellationToken;

/// The sockets, bound before anything else is begun: where one is taken, the node says so and ends.
pub struct Sockets {
    plain: Option<server::Listener>,
    secure: Option<(server::Listener, Tls, Option<ClientSource>)>,
}

impl Sockets {
    /// Binds what the configuration, which is in `folder`, asks for.
    ///
    /// # Errors
    /// A sentence with the address and the reason.
    pub async fn bind(
        settings: &Settings,
        folder: &Path,
        tls: Option<&Tls>,
    ) -> Result<Self, String> {
        let clients = settings.client_source(folder)?;
        let text = |error: std::io::Error| error.to_string();
        let plain = match settings.listen.0 {
            Some(address) => Some(server::bind(address).await.map_err(text)?),
            None => None,
        };
        let secure = match (settings.tls_listen.0, tls) {
            (None, _) => None,
            (Some(_), None) => {
                let what = "mqtt.tls_listen needs a certificate: set http.tls to `self` or `files`";
                return Err(what.to_owned());
            }
            (Some(address), Some(tls)) => {
                Some((server::bind(address).await.map_err(text)?, tls.clone(), clients))
            }
        };
        Ok(Self { plain, secure })
    }

    /// Says where they listen, for people and for whoever started the process.
    pub fn announce(&self) {
        if let Some(listener) = &self.plain {
            announce::listening("mqtt", listener.address());
        }
        if let Some((listener, ..)) = &self.secure {
            announce::listening("mqtts", listener.address());
        }
    }

    /// Where plain MQTT is spoken.
    #[must_use]
    pub fn address(&self) -> Option<SocketAddr> {
        self.plain.as_ref().map(server::Listener::address)
    }
}

/// The broker as the rest of the node knows it.
#[derive(Clone)]
pub struct Mqtt {
    /// How it is asked.
    pub reach: Reach,
    /// What takes connections.
    pub server: Arc<Server>,
    /// What takes those that begin with HTTP, where that is wanted.
    pub websocket: Option<Taker>,
    /// From messages to readings.
    pub door: Arc<Door>,
    /// Commands to devices.
    pub commands: DeviceCommands,
}

/// Starts the broker and the listeners.
///
/// # Errors
/// A sentence about what kept it from starting.
pub fn start(
    settings: &Settings,
    supervisor: &Supervisor,
    store: Store,
    (ingest, twins, desk, sites): (Ingest, Twins, Desk, Sites),
    auth: Auth,
    sockets: Sockets,
) -> Result<Mqtt, String> {
    let believed = believed(&store, &ingest);
    let counts = Arc::new(MqttCounts::default());
    let rules = Arc::new(Rules::new(&settings.mappings));
    let book = Book::new(store.clone());
    let has = (twins.clone(), desk.clone());
    let door = Arc::new(Door::new(ingest, has, book.clone(), rules, Arc::clone(&counts)));
    let seconds = settings.session_max.0.as_secs();
    let limits = Limits {
        session_expiry_s: u32::try_from(seconds).unwrap_or(u32::MAX),
        queue_bytes: settings.queue_max.0,
        queues_bytes: settings.queues_max.0,
        retained: settings.retained_max,
        ..Limits::default()
    };
    let starts = Arc::new(Starts::new(desk.clone(), Arc::clone(store.env())));
    let broker = Broker::load(store, Arc::clone(&door), limits, (counts, starts));
    let broker = broker.map_err(|fault| fault.to_string())?;
    let reach = broker.reach();
    let images = Images::new(twins.clone(), sites);
    let has = (desk.clone(), images.clone());
    let downlink = Downlink::new(twins.clone(), book.clone(), reach.clone(), has);
    let commands = DeviceCommands::new(book, reach.clone(), downlink.clone());
    let packet = u32::try_from(settings.packet_max.0).unwrap_or(u32::MAX);
    let sizes = codec::Limits { packet, ..codec::Limits::default() };
    let publish_rate = settings.client_rate;
    let options = Options { limits: sizes, publish_rate, ..Options::default() };
    let access = (settings.access.clone(), settings.anonymous);
    let shared = (reach.clone(), Arc::clone(&door), commands.clone());
    let server = Server::new(shared, auth, access, options, settings.connections);
    let server = Arc::new(server);
    let over = CancellationToken::new();
    let ends = over.clone();
    supervisor.run_once("mqtt broker", |stop| broker.run(stop, ends));
    let (telling, of) = ((desk, downlink.clone()), twins.clone());
    supervisor.spawn("mqtt workflows", move |stop| {
        desired::tell_flows(of.clone(), telling.clone(), stop)
    });
    let (telling, of) = ((images, downlink.clone()), twins.clone());
    supervisor.spawn("mqtt firmware", move |stop| {
        desired::tell_images(of.clone(), telling.clone(), stop)
    });
    let (telling, of) = ((reach.clone(), downlink), twins);
    supervisor.spawn("mqtt twins", move |stop| desired::tell(of.clone(), telling.clone(), stop));
    let Sockets { plain, secure } = sockets;
    if let Some(listener) = plain {
        let server = Arc::clone(&server);
        supervisor.run_once("mqtt", |stop| listener.run(server, None, stop));
    }
    if let Some((listener, tls, clients)) = secure {
        let server = Arc::clone(&server);
        let secure = secure_with(tls, clients, believed, supervisor)?;
        supervisor.run_once("mqtts", |stop| listener.run(server, Some(secure), stop));
    }
    let stop = supervisor.stop().clone();
    let websocket = settings.websocket.then(|| Taker::new(Arc::clone(&server), stop));
    let drained = Arc::clone(&server);
    supervisor.run_once("mqtt connections", |stop| async move {
        stop.cancelled().await;
        drained.drained().await;
        over.cancel();
    });
    Ok(Mqtt { reach, server, websocket, door, commands })
}

/// How the port with TLS is served; what judges certificates of clients follows its files.
fn secure_with(
    tls: Tls,
    clients: Option<ClientSource>,
    believed: Believed,
    supervisor: &Supervisor,
) -> Result<Secure, String> {
    let Some(source) = clients else { return Ok(Secure::Open(tls)) };
    let clients = Clients::load(source, tls, believed)?;
    let kept = clients.clone();
    supervisor.spawn("client certificates", move |stop| kept.clone().keep_fresh(stop));
    Ok(Secure::Known(clients))
}

/// The time by which certificates are judged, as long as this node's clock is not known to be
/// wrong.
fn believed(store: &Store, ingest: &Ingest) -> Believed {
    let (env, wrong) = (Arc::clone(store.env()), ingest.clock_wrong());
    Arc::new(move || (!wrong.load(Ordering::Relaxed)).then(|| env.now()))
}
