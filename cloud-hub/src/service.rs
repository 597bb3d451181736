//! The running hub: store, pipeline, sync sessions and HTTP, wired together.

use crate::VERSION;
use crate::fleet::Fleet;
use crate::live::LiveBook;
use crate::routes;
use crate::settings::Settings;
use crate::steward::FleetSteward;
use crate::traces;
use crate::workflows;
use axum::Router;
use axum::extract::FromRef;
use holdfast_core::state::Role;
use holdfast_node::address;
use holdfast_node::alerts::{self, Observation, Plan, Seen};
use holdfast_node::api::{self, Alerts, Data, Nodes, Tokens};
use holdfast_node::auth::Auth;
use holdfast_node::cli::{Failure, Local, Service as _};
use holdfast_node::events::Events;
use holdfast_node::health::{Health, Level};
use holdfast_node::http::{self, HttpCounts, Limits};
use holdfast_node::labels::Labels;
use holdfast_node::logs;
use holdfast_node::manager::Manager;
use holdfast_node::metrics;
use holdfast_node::notify::Notices;
use holdfast_node::pages;
use holdfast_node::pipeline::{self, Catalog, OnLive, Pipeline};
use holdfast_node::rebirth;
use holdfast_node::requests::Requests;
use holdfast_node::runs::{Desk, Runs};
use holdfast_node::sources::Sources;
use holdfast_node::supervise::{Restarts, Supervisor, announce, stop_on_signals};
use holdfast_node::time_text::Time;
use holdfast_node::tls::{self, Tls};
use holdfast_node::trace::Tracer;
use holdfast_node::twins::{self, Twins};
use holdfast_sync::Fault;
use holdfast_sync::artefact::Librarian;
use holdfast_sync::docs::Documents;
use holdfast_sync::env::System;
use holdfast_sync::identity::{FleetId, NodeKey};
use holdfast_sync::net::{Enroller, HubOptions, HubPeers, Library, Net, Transport, serve};
use holdfast_sync::session::{Policy, RefusalCode};
use holdfast_sync::store::Store;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

const STATUS_EVERY: Duration = Duration::from_secs(2);
const EVENTS: &[&str] = &["readings", "status", "alerts"];

/// The fleet's root key's file in a data directory.
pub const ROOT_FILE: &str = "fleet.key";

/// The state that handlers see.
#[derive(Clone)]
pub struct App {
    /// The members.
    pub fleet: Fleet,
    /// What people call them.
    pub labels: Labels,
    /// How they are.
    pub live: Arc<LiveBook>,
    /// What queries answer from.
    pub data: Data,
    /// What somebody should look at.
    pub alerts: Alerts,
    /// The running sessions.
    pub peers: HubPeers,
    /// What carries them.
    pub transport: Transport,
    /// The addresses that invitations name.
    pub advertised: Arc<Vec<String>>,
    /// What was found on opening the store.
    pub findings: Arc<Vec<String>>,
    /// When the hub started.
    pub started: Time,
    /// What HTTPS is served with.
    pub tls: Option<Tls>,
    /// Set when the process is to start anew once it has stopped.
    reborn: Arc<AtomicBool>,
    /// The twins of devices.
    pub(crate) twins: Twins,
    /// The runs of workflows.
    pub(crate) runs: Runs,
    /// What they ask others.
    pub(crate) requests: Requests,
    /// Whom they tell something.
    pub(crate) notices: Notices,
    auth: Auth,
    tokens: Tokens,
    events: Events,
    health: Health,
    scrape: metrics::Access,
    /// Makes spans.
    pub(crate) tracer: Tracer,
    /// What the listener answered.
    pub(crate) http: Arc<HttpCounts>,
}

holdfast_node::parts!(
    App: Data => data,
    Alerts => alerts,
    Twins => twins,
    Runs => runs,
    Notices => notices,
    Auth => auth,
    Tokens => tokens,
    Events => events,
    Health => health,
    metrics::Access => scrape,
);

impl FromRef<App> for FleetId {
    fn from_ref(app: &App) -> Self {
        app.fleet.id()
    }
}

/// Runs the hub until it is told to stop.
///
/// # Errors
/// A sentence about what kept it from starting.
pub async fn run(node: Local<Settings>) -> Result<ExitCode, Failure> {
    let env = System::env();
    let manager = Manager::of_process();
    // From here on: opening a store that needs repair takes its time.
    manager.keep_alive();
    tokio::spawn(logs::tell_repeats());
    let (key, root) = (node.key()?, node.key_in(ROOT_FILE)?);
    logs::of_node(&key.id());
    let tls = node.tls()?;
    let outward = node.settings.outward(node.folder())?;
    let settings = node.settings;
    let options = settings.store_options(node.dir, key.clone());
    let (store, report) = Store::open(options, Arc::clone(&env))?;
    for finding in &report.findings {
        tracing::error!(finding, "found on opening the store");
    }
    let stop = CancellationToken::new();
    let supervisor = Supervisor::new(Sources::of(&env), Restarts::default(), stop.clone());
    stop_on_signals(&stop, manager.clone()).map_err(|error| format!("signals: {error}"))?;
    let (transport, listen) = (Transport::from(settings.sync.transport), settings.sync.listen.0);
    let net = Net::start(transport, &key, Some(listen)).await.map_err(|e| e.to_string())?;
    let listener = http::bind(settings.http.listen.0).await?.with_tls(tls.clone());
    let address = listener.address();
    tls::announce(tls.as_ref(), address);
    let keeping = (tls.clone(), Arc::clone(&env));
    supervisor.spawn("certificate", move |stop| {
        let (tls, env) = keeping.clone();
        Tls::keep_fresh(tls, env, stop)
    });
    let sync_address = net.address().unwrap_or(listen);
    announce::listening("sync", sync_address);
    let advertised = advertised(&settings.sync.advertise, sync_address);
    let addresses = advertised.join(",");
    tracing::info!(transport = transport.name(), addresses, "invitations name these addresses");
    let (routes, names) = routes::routes().finish(&routes::ABOUT);
    let counts = Arc::new(HttpCounts::of(names));
    let (findings, http) = (report.findings, Arc::clone(&counts));
    let given = Given { root, key, net, advertised, findings, http, outward };
    let anew = [
        ("HOLDFAST_HTTP_LISTEN", address.to_string()),
        ("HOLDFAST_SYNC_LISTEN", sync_address.to_string()),
    ];
    let app = match start(&settings, &supervisor, store.clone(), given) {
        Ok(app) => App { tls, ..app },
        Err(failure) => return Err(rebirth::unless_damaged(failure, &store, &anew).await),
    };
    let limits = Limits { connections: settings.http.connections, ..Limits::default() };
    let (health, peers, reborn) = (app.health.clone(), app.peers.clone(), Arc::clone(&app.reborn));
    let router: Router = routes.merge(pages::routes("hub.html", pages::WEB)).with_state(app);
    health.serving();
    announce::ready();
    manager.ready();
    let listener = listener.counted(counts);
    let served = tokio::spawn(listener.serve(router, limits, stop.clone()));
    let code = supervisor.run().await;
    health.stopping();
    let ending = peers.end_all(RefusalCode::Unavailable, "the hub is stopping");
    // A peer that takes nothing must not hold up the stop.
    let _ = tokio::time::timeout(Duration::from_secs(5), ending).await;
    // The listener drains by itself within its limit.
    let _ = served.await;
    store.close().await;
    if reborn.load(Ordering::Relaxed) {
        return Err(rebirth::start_anew(env.now(), &anew).into());
    }
    Ok(code)
}

/// What the hub is made of beside its store.
struct Given {
    root: NodeKey,
    key: NodeKey,
    net: Net,
    advertised: Vec<String>,
    findings: Vec<String>,
    http: Arc<HttpCounts>,
    outward: (Requests, Notices),
}

fn start(
    settings: &Settings,
    supervisor: &Supervisor,
    store: Store,
    given: Given,
) -> Result<App, String> {
    let Given { root, key, net, advertised, findings, http, outward } = given;
    let text = |fault: Fault| fault.to_string();
    let events = Events::new(EVENTS, supervisor.stop().clone());
    let (life, invited) = (settings.fleet.membership_life.0, settings.fleet.invitation_life.0);
    let fleet = Fleet::load(store.clone(), root, life, invited).map_err(text)?;
    let live = Arc::new(LiveBook::default());
    let desk = Desk::load(&store, Role::Hub).map_err(text)?;
    let plan =
        Plan { desk: Some(desk.0.clone()), ..plan(settings, &store, &fleet, &live, &events) };
    let on_alerts = Arc::clone(&plan.on_alerts);
    let (tracer, on_traced) = traces::start(settings, supervisor, &store);
    let options = pipeline::Options {
        widths_s: Vec::new(),
        windows_kept_s: pipeline::WINDOWS_KEPT_S,
        on_live: on_live(&events, &fleet),
        alerts: plan,
        on_traced,
    };
    let pipeline = Pipeline::load(store.clone(), options, settings.store.max_series);
    let pipeline = pipeline.map_err(text)?;
    let nodes = Arc::new(fleet.clone()) as Arc<dyn Nodes>;
    let (catalog, progress) = (pipeline.catalog(), pipeline.progress());
    let data = Data { store: store.clone(), catalog, progress, nodes };
    let book = pipeline.book();
    let heard = data.catalog.by_origin();
    live.remember(heard.iter().filter_map(|(node, totals)| Some((*node, totals.received?))));
    supervisor.run_once("pipeline", |stop| pipeline.run(stop));
    let library = library(&store, key, &fleet, &data.catalog).map_err(text)?;
    let peers = listen(net, &store, (&fleet, &live), library.clone());
    let tokens = Tokens::load(store.clone()).map_err(text)?;
    let twins = twins(library, &data, supervisor.stop().clone()).map_err(text)?;
    let runs = workflows::start(supervisor, desk, &data, (&twins, &fleet), outward.clone())
        .map_err(text)?;
    let (requests, notices) = outward;
    let outward = Some(twins.clone());
    let alerts = Alerts { data: data.clone(), book, on_alerts, outward };
    let app = App {
        fleet,
        labels: Labels::load(store.clone()).map_err(text)?,
        live,
        data,
        alerts,
        peers,
        transport: settings.sync.transport.into(),
        advertised: Arc::new(advertised),
        findings: Arc::new(findings),
        started: Time(store.env().now()),
        tls: None,
        reborn: Arc::default(),
        twins,
        runs,
        requests,
        notices,
        auth: Auth::new(tokens.book(), Sources::of(store.env())),
        tokens,
        events,
        health: Health::default(),
        scrape: settings.http.metrics,
        tracer,
        http,
    };
    let watched = app.clone();
    supervisor.spawn("watch", move |stop| watch_over(watched.clone(), stop));
    Ok(app)
}

/// Lets gateways in.
fn listen(
    net: Net,
    store: &Store,
    (fleet, live): (&Fleet, &Arc<LiveBook>),
    library: Library,
) -> HubPeers {
    let (noting, env) = (Arc::clone(live), Arc::clone(store.env()));
    let options = HubOptions {
        store: store.clone(),
        policy: Arc::new(fleet.clone()) as Arc<dyn Policy>,
        enroller: Arc::new(fleet.clone()) as Arc<dyn Enroller>,
        events: Arc::new(move |node, event| noting.note(node, event, env.now())),
        version: VERSION.to_owned(),
        library,
    };
    serve(net, options)
}

/// Tells the pages of readings that came.
fn on_live(events: &Events, fleet: &Fleet) -> OnLive {
    let (events, fleet) = (events.clone(), fleet.clone());
    Arc::new(move |live| {
        if events.has_listeners() {
            events.publish("readings", &api::live_shapes(&fleet, live));
        }
    })
}

/// The documents of the fleet.
fn library(
    store: &Store,
    key: NodeKey,
    fleet: &Fleet,
    catalog: &Arc<Catalog>,
) -> Result<Library, Fault> {
    let documents = Arc::new(Documents::new(store, key, Role::Hub));
    let (shared, catalog) = (Arc::clone(&documents), Arc::clone(catalog));
    let steward = Arc::new(FleetSteward::load(store, shared, fleet.clone(), catalog)?);
    let librarian = Some(Arc::clone(&steward) as Arc<dyn Librarian>);
    Ok(Library { documents, steward, librarian })
}

/// The twins of devices that a gateway has named.
fn twins(library: Library, data: &Data, stop: CancellationToken) -> Result<Twins, Fault> {
    let catalog = Arc::clone(&data.catalog);
    Twins::load(twins::Options {
        store: data.store.clone(),
        library,
        role: Role::Hub,
        nodes: Arc::clone(&data.nodes),
        known: Arc::new(move |device| !catalog.list(|info| *info.device == *device).is_empty()),
        how_known: "it is known once a gateway has brought a reading or a twin of it",
        stop,
    })
}

/// What is watched here: whether gateways are online, and the disk.
fn plan(
    settings: &Settings,
    store: &Store,
    fleet: &Fleet,
    live: &Arc<LiveBook>,
    events: &Events,
) -> Plan {
    let (watched, fleet, live) = (store.clone(), fleet.clone(), Arc::clone(live));
    let told = (events.clone(), fleet.clone());
    let days = settings.alerts.disk_days;
    let observe = move || {
        let now = watched.env().now();
        let members = fleet.members().into_iter().flat_map(|member| {
            let node = member.membership.node();
            let live = live.get(&node);
            let twice = Observation::key_twice(node, &member.called(), live.doubled, now);
            let seen = match (live.online, live.since) {
                (true, _) => Some(Seen::Heard),
                (false, Some(since)) => Some(Seen::HeardAt(since)),
                // One that never came is awaited, not missed.
                (false, None) => None,
            };
            let silent = seen.map(|seen| Observation::gateway(node, &member.called(), seen));
            std::iter::once(twice).chain(silent)
        });
        // Nobody takes anything off a hub: what comes stays.
        members.chain([alerts::disk(&watched.usage(), days, true)]).collect()
    };
    let on_alerts = move |alerts: &[alerts::Alert]| {
        if told.0.has_listeners() {
            told.0.publish("alerts", &api::alert_shapes(&told.1, alerts));
        }
    };
    let rules = settings.alerts.rules();
    Plan { rules, observe: Arc::new(observe), on_alerts: Arc::new(on_alerts), desk: None }
}

/// What invitations say about where this hub is.
fn advertised(configured: &str, listening: SocketAddr) -> Vec<String> {
    let named = configured.split(',').map(str::trim).filter(|address| !address.is_empty());
    let named: Vec<_> = named.map(str::to_owned).collect();
    if !named.is_empty() {
        return named;
    }
    vec![address::reachable(listening).to_string()]
}

/// Tells health and pages now and then how the fleet is.
async fn watch_over(app: App, stop: CancellationToken) -> Result<(), Infallible> {
    let mut tick = tokio::time::interval(STATUS_EVERY);
    while !stop.is_cancelled() {
        tokio::select! {
            _ = tick.tick() => {}
            () = stop.cancelled() => break,
        }
        rebirth::when_damaged(&app.data.store, &app.reborn, &stop);
        let full = app.data.store.usage().refusing;
        let level = if full { Level::Degraded } else { Level::Ok };
        app.health.set("store", level, if full { "full" } else { "has room" });
        if app.events.has_listeners() {
            app.events.publish("status", &app.node_list());
        }
    }
    Ok(())
}
