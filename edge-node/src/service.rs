//! The running gateway: store, pipeline, uplink and HTTP, wired together.

use crate::VERSION;
use crate::ingest::Ingest;
use crate::lacks::Lacks;
use crate::mqtt::{self, start::Mqtt};
use crate::routes;
use crate::settings::Settings;
use crate::status::{NodeShape, Status, UplinkShape};
use crate::steward::SiteSteward;
use crate::traces;
use crate::uplink::{Called, Fleet, Keeper};
use crate::workflows::Outward;
use axum::Router;
use holdfast_core::NodeId;
use holdfast_core::state::Role;
use holdfast_node::alerts::{self, Book, OnAlerts, Plan, notice};
use holdfast_node::api::{self, Alerts, Data, Nodes, Tokens};
use holdfast_node::artefacts::Sites;
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
use holdfast_node::pipeline::{self, Pipeline};
use holdfast_node::rebirth;
use holdfast_node::requests::Requests;
use holdfast_node::runs::assigned::Assignments;
use holdfast_node::runs::{Abilities, Desk, Here, Runs, Tray, begin_by_twins};
use holdfast_node::sources::Sources;
use holdfast_node::supervise::{Restarts, Supervisor, announce, stop_on_signals};
use holdfast_node::time_text::Time;
use holdfast_node::tls::{self, Tls};
use holdfast_node::trace::Tracer;
use holdfast_node::twins::{self, Twins};
use holdfast_sync::Fault;
use holdfast_sync::docs::Documents;
use holdfast_sync::env::System;
use holdfast_sync::identity::NodeKey;
use holdfast_sync::net::{Library, Transport, UplinkState};
use holdfast_sync::store::{Snapshot, Store};
use std::convert::Infallible;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// A clock that is off from the hub's by more than this is wrong, one of the two.
const CLOCK_OFF_MS: u64 = 60_000;
/// No clock that is right shows less: this program was not written then. 2026-11-01.
const EARLIEST_MS: i64 = 1_793_491_200_000;
const STATUS_EVERY: Duration = Duration::from_secs(2);
const EVENTS: &[&str] = &["readings", "status", "alerts"];

/// The state that handlers see.
#[derive(Clone)]
pub struct App {
    /// The door for readings.
    pub ingest: Ingest,
    /// What queries answer from.
    pub data: Data,
    /// What somebody should look at.
    pub alerts: Alerts,
    /// The twins of devices.
    pub(crate) twins: Twins,
    auth: Auth,
    tokens: Tokens,
    events: Events,
    health: Health,
    scrape: metrics::Access,
    /// The broker.
    pub(crate) mqtt: Mqtt,
    /// Runs of workflows.
    pub(crate) runs: Runs,
    /// What services are asked.
    pub(crate) requests: Requests,
    /// Who is told what.
    pub(crate) notices: Notices,
    /// Makes spans.
    pub(crate) tracer: Tracer,
    /// What the listener answered.
    pub(crate) http: Arc<HttpCounts>,
    pub(crate) uplink: watch::Receiver<UplinkState>,
    /// What carries the sync.
    pub(crate) transport: Transport,
    names: Arc<Names>,
    /// What people call devices.
    pub labels: Labels,
    findings: Arc<Vec<String>>,
    pub(crate) started: Time,
    tls: Option<Tls>,
    /// Set when the process is to start anew once it has stopped.
    reborn: Arc<AtomicBool>,
}

holdfast_node::parts!(
    App: Ingest => ingest,
    Data => data,
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

/// The one node a gateway answers for.
pub struct Names {
    node: NodeId,
    /// What the node is to its fleet, once it is a member.
    called: RwLock<Option<Called>>,
}

impl Names {
    fn called(&self) -> Option<Called> {
        self.called.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Nodes for Names {
    fn name(&self, node: &NodeId) -> String {
        match self.called() {
            Some(Called { site, name, .. }) if *node == self.node => format!("{site}/{name}"),
            _ => node.to_string(),
        }
    }

    fn find(&self, name: &str) -> Option<NodeId> {
        (name == self.node.to_string() || name == self.name(&self.node)).then_some(self.node)
    }
}

impl App {
    /// How the node is.
    pub async fn status(&self) -> Status {
        let store = &self.data.store;
        let node = self.names.node;
        let lacks = store.read(move |view: &Snapshot<'_>| Lacks::look(view, node)).await.ok();
        let uplink = self.uplink.borrow().clone();
        let called = self.names.called();
        let state = match (uplink.joined, uplink.online) {
            (_, true) => "online",
            (true, false) => "offline",
            (false, false) => "not-joined",
        };
        let fleet = called.as_ref().map(|called| called.fleet.to_string());
        let (site, name) = called.map(|called| (called.site, called.name)).unzip();
        Status {
            node: NodeShape {
                id: self.names.node.to_string(),
                fleet,
                site,
                name,
                joined: uplink.joined,
                incarnation: store.incarnation().to_string(),
                version: VERSION,
                started: self.started,
                role: "edge",
            },
            uplink: UplinkShape {
                state,
                transport: self.transport.name(),
                since: Time(uplink.since),
                hub: uplink.hub.map(|hub| hub.to_string()),
                attempts: uplink.attempts,
                last_error: uplink.last_error,
                next_attempt: uplink.next_attempt.map(Time),
                behind: uplink.behind,
                lacks: lacks.map(Into::into),
                heard: uplink.heard.map(Time),
                ahead: uplink.ahead,
                clock_ahead_ms: uplink.clock_ahead_ms,
            },
            http: (&self.tls).into(),
            store: store.into(),
            pipeline: (&self.data).into(),
            devices: self.ingest.devices().len(),
            labels: self.labels.changes(),
            series: self.data.catalog.len(),
            alerts: self.alerts.summary(),
            findings: self.findings.to_vec(),
        }
    }
}

/// Runs the gateway until it is told to stop.
///
/// # Errors
/// A sentence about what kept it from starting.
pub async fn run(node: Local<Settings>) -> Result<ExitCode, Failure> {
    let env = System::env();
    let manager = Manager::of_process();
    // From here on: opening a store that needs repair takes its time.
    manager.keep_alive();
    tokio::spawn(logs::tell_repeats());
    let key = node.key()?;
    logs::of_node(&key.id());
    let tls = node.tls()?;
    let folder = node.folder().to_owned();
    let settings = node.settings;
    let outward = settings.outward(&folder)?;
    let options = settings.store_options(node.dir, key.clone());
    let (store, report) = Store::open(options, Arc::clone(&env))?;
    for finding in &report.findings {
        tracing::error!(finding, "found on opening the store");
    }
    let stop = CancellationToken::new();
    let supervisor = Supervisor::new(Sources::of(&env), Restarts::default(), stop.clone());
    stop_on_signals(&stop, manager.clone()).map_err(|error| format!("signals: {error}"))?;
    let listener = http::bind(settings.http.listen.0).await?.with_tls(tls.clone());
    let address = listener.address();
    let sockets = mqtt::start::Sockets::bind(&settings.mqtt, &folder, tls.as_ref()).await?;
    let keeping = (tls.clone(), Arc::clone(&env));
    supervisor.spawn("certificate", move |stop| {
        let (tls, env) = keeping.clone();
        Tls::keep_fresh(tls, env, stop)
    });
    let (routes, names) = routes::routes().finish(&routes::ABOUT);
    let counts = Arc::new(HttpCounts::of(names));
    let (findings, http) = (report.findings, Arc::clone(&counts));
    let anew: Vec<_> = std::iter::once(("HOLDFAST_HTTP_LISTEN", address.to_string()))
        .chain(sockets.address().map(|mqtt| ("HOLDFAST_MQTT_LISTEN", mqtt.to_string())))
        .collect();
    sockets.announce();
    let given = Given { key, findings, http, tls: tls.clone(), sockets, outward };
    let app = match start(&settings, &supervisor, store.clone(), given) {
        Ok(app) => app,
        Err(failure) => return Err(rebirth::unless_damaged(failure, &store, &anew).await),
    };
    let limits = Limits {
        connections: settings.http.connections,
        body_bytes: settings.http.body_max.0,
        ..Limits::default()
    };
    let (health, reborn) = (app.health.clone(), Arc::clone(&app.reborn));
    let router: Router = routes.merge(pages::routes("edge.html", pages::WEB)).with_state(app);
    tls::announce(tls.as_ref(), address);
    health.serving();
    announce::ready();
    manager.ready();
    let listener = listener.counted(counts);
    let served = tokio::spawn(listener.serve(router, limits, stop.clone()));
    let code = supervisor.run().await;
    health.stopping();
    // The listener drains by itself within its limit.
    let _ = served.await;
    store.close().await;
    if reborn.load(Ordering::Relaxed) {
        return Err(rebirth::start_anew(env.now(), &anew).into());
    }
    Ok(code)
}

/// What the gateway is made of beside its store.
struct Given {
    key: NodeKey,
    findings: Vec<String>,
    http: Arc<HttpCounts>,
    tls: Option<Tls>,
    sockets: mqtt::start::Sockets,
    outward: (Requests, Notices),
}

fn start(
    settings: &Settings,
    supervisor: &Supervisor,
    store: Store,
    given: Given,
) -> Result<App, String> {
    let Given { key, findings, http, tls, sockets, outward } = given;
    let stop = supervisor.stop().clone();
    let text = |fault: Fault| fault.to_string();
    let events = Events::new(EVENTS, stop.clone());
    let called = Fleet::load_called(&store).map_err(text)?;
    let names = Arc::new(Names { node: store.node(), called: RwLock::new(called) });
    let nodes = Arc::clone(&names) as Arc<dyn Nodes>;
    let told = (events.clone(), Arc::clone(&nodes));
    let documents = Arc::new(Documents::new(&store, key.clone(), Role::Edge));
    let steward = Arc::new(SiteSteward::load(&store).map_err(text)?);
    let sites = sites(&steward);
    let keeper = Keeper::new(store.clone(), key, (&settings.sync).into(), documents, steward);
    let (uplink, library) = (keeper.state(), keeper.library());
    let (tracer, on_traced) = traces::start(settings, supervisor, &store, uplink.clone());
    let ingest = Ingest::load(store.clone(), settings.ingest.auto_register, tracer.clone());
    let ingest = ingest.map_err(text)?;
    let desk = Desk::load(&store, Role::Edge).map_err(text)?;
    let told_of = (on_alerts(&events, &nodes), desk.0.clone());
    let plan = plan(settings, &store, &ingest, uplink.clone(), told_of);
    let on_alerts = Arc::clone(&plan.on_alerts);
    let options = pipeline_options(settings, told, plan, on_traced);
    let pipeline = Pipeline::load(store.clone(), options, settings.store.max_series);
    let pipeline = pipeline.map_err(text)?;
    let data = data(&store, &pipeline, nodes);
    follow_notices(supervisor, store.clone(), pipeline.book(), Arc::clone(&on_alerts));
    let alerts = Alerts { data: data.clone(), book: pipeline.book(), on_alerts, outward: None };
    supervisor.run_once("pipeline", |stop| pipeline.run(stop));
    supervisor.run_once("uplink", |stop| keeper.run(stop));
    let tokens = Tokens::load(store.clone()).map_err(text)?;
    let twins = twins(library, &data, &ingest, &tokens, stop).map_err(text)?;
    let auth = Auth::new(tokens.book(), Sources::of(store.env()));
    let mqtt = mqtt::start::start(
        &settings.mqtt,
        supervisor,
        store.clone(),
        (ingest.clone(), twins.clone(), desk.0.clone(), Arc::clone(&sites)),
        auth.clone(),
        sockets,
    )?;
    let (requests, notices) = outward.clone();
    let outward = (mqtt.clone(), outward);
    let runs = workflows(supervisor, desk, &data, (&twins, sites), outward).map_err(text)?;
    let app = App {
        ingest,
        data,
        alerts,
        twins,
        auth,
        tokens,
        events,
        health: Health::default(),
        scrape: settings.http.metrics,
        mqtt,
        runs,
        requests,
        notices,
        tracer,
        http,
        uplink,
        transport: settings.sync.transport.into(),
        names,
        labels: Labels::load(store.clone()).map_err(text)?,
        findings: Arc::new(findings),
        started: Time(store.env().now()),
        tls,
        reborn: Arc::default(),
    };
    let watched = app.clone();
    supervisor.spawn("watch", move |stop| watch_over(watched.clone(), stop));
    Ok(app)
}

/// The gateway's site, once it has one.
fn sites(steward: &Arc<SiteSteward>) -> Sites {
    let steward = Arc::clone(steward);
    Arc::new(move || steward.site().into_iter().collect())
}

/// What queries answer from.
fn data(store: &Store, pipeline: &Pipeline, nodes: Arc<dyn Nodes>) -> Data {
    let (catalog, progress) = (pipeline.catalog(), pipeline.progress());
    Data { store: store.clone(), catalog, progress, nodes }
}

/// Starts what runs workflows.
fn workflows(
    supervisor: &Supervisor,
    desk: (Desk, Tray),
    data: &Data,
    (twins, sites): (&Twins, Sites),
    (mqtt, (requests, notices)): (Mqtt, (Requests, Notices)),
) -> Result<Runs, Fault> {
    let zone = jiff::tz::TimeZone::system();
    let (catalog, twins) = (Arc::clone(&data.catalog), twins.clone());
    let by_twins = desk.0.clone();
    let (told, of_site) = (notices.clone(), twins.clone());
    let here = Here { catalog, twins: twins.clone(), notices, zone: zone.clone() };
    supervisor.run_once("workflows by twins", |stop| begin_by_twins(twins, by_twins, stop));
    let abilities = Abilities {
        local: Arc::new(here),
        outside: Arc::new(Outward { mqtt, store: data.store.clone(), requests }),
        zone,
    };
    let (runs, engine) = Runs::load(data.store.clone(), desk, abilities)?;
    supervisor.run_once("workflows", |stop| engine.run(stop));
    let assignments = Assignments { twins: of_site, runs: runs.clone(), sites };
    supervisor.run_once("workflows of the site", |stop| assignments.follow(stop));
    let store = data.store.clone();
    supervisor.spawn("notify", move |stop| told.clone().run(store.clone(), stop));
    Ok(runs)
}

/// What the pipeline makes of readings, and whom it tells.
fn pipeline_options(
    settings: &Settings,
    (events, nodes): (Events, Arc<dyn Nodes>),
    alerts: Plan,
    on_traced: Option<pipeline::OnTraced>,
) -> pipeline::Options {
    let widths = settings.rollups.widths.iter();
    pipeline::Options {
        widths_s: widths.map(|width| width.0.as_secs().clamp(1, 86_400) as u32).collect(),
        windows_kept_s: pipeline::WINDOWS_KEPT_S,
        on_live: Arc::new(move |live| {
            if events.has_listeners() {
                events.publish("readings", &api::live_shapes(nodes.as_ref(), live));
            }
        }),
        alerts,
        on_traced,
    }
}

/// Learns who took note of this node's alerts at the hub.
fn follow_notices(supervisor: &Supervisor, store: Store, book: Arc<Book>, on_alerts: OnAlerts) {
    supervisor.spawn("notices", move |stop| {
        notice::follow(store.clone(), Arc::clone(&book), Arc::clone(&on_alerts), stop)
    });
}

/// The twins of devices that have posted, or have a token to do so.
fn twins(
    library: Library,
    data: &Data,
    ingest: &Ingest,
    tokens: &Tokens,
    stop: CancellationToken,
) -> Result<Twins, Fault> {
    let (ingest, tokens, catalog) = (ingest.clone(), tokens.clone(), Arc::clone(&data.catalog));
    let known = move |device: &str| {
        ingest.knows(device)
            || tokens.has_device(device)
            || !catalog.list(|info| *info.device == *device).is_empty()
    };
    Twins::load(twins::Options {
        store: data.store.clone(),
        library,
        role: Role::Edge,
        nodes: Arc::clone(&data.nodes),
        known: Arc::new(known),
        how_known: "it is known once it has posted, or once it has a token, which \
                    `holdfast-edge token new --device ID` makes",
        stop,
    })
}

/// Tells the pages of alerts that changed.
fn on_alerts(events: &Events, nodes: &Arc<dyn Nodes>) -> OnAlerts {
    let (events, nodes) = (events.clone(), Arc::clone(nodes));
    Arc::new(move |alerts| {
        if events.has_listeners() {
            events.publish("alerts", &api::alert_shapes(nodes.as_ref(), alerts));
        }
    })
}

/// What is watched here: readings by their rules, the disk and the clock.
fn plan(
    settings: &Settings,
    store: &Store,
    ingest: &Ingest,
    uplink: watch::Receiver<UplinkState>,
    (on_alerts, desk): (OnAlerts, Desk),
) -> Plan {
    let (store, wrong) = (store.clone(), ingest.clock_wrong());
    let days = settings.alerts.disk_days;
    let observe = move || {
        // What the hub has can be removed; without it everything stays.
        let is_growing = !uplink.borrow().online;
        let disk = alerts::disk(&store.usage(), days, is_growing);
        vec![disk, alerts::node_clock(wrong.load(Ordering::Relaxed))]
    };
    let (rules, observe) = (settings.alerts.rules(), Arc::new(observe));
    Plan { rules, observe, on_alerts, desk: Some(desk) }
}

/// Tells health and pages now and then how the node is.
async fn watch_over(app: App, stop: CancellationToken) -> Result<(), Infallible> {
    let mut tick = tokio::time::interval(STATUS_EVERY);
    let mut clock = Clock::new(&app);
    while !stop.is_cancelled() {
        tokio::select! {
            _ = tick.tick() => {}
            () = stop.cancelled() => break,
        }
        let uplink = app.uplink.borrow().clone();
        let called = Fleet::load_called(&app.data.store).unwrap_or_default();
        *app.names.called.write().unwrap_or_else(PoisonError::into_inner) = called;
        clock.check(&app, &uplink);
        rebirth::when_damaged(&app.data.store, &app.reborn, &stop);
        let level = if uplink.online { Level::Ok } else { Level::Degraded };
        let word = if uplink.online { "online" } else { "offline" };
        app.health.set("uplink", level, word);
        let usage = app.data.store.usage();
        let level = if usage.refusing { Level::Degraded } else { Level::Ok };
        app.health.set("store", level, if usage.refusing { "full" } else { "has room" });
        if app.events.has_listeners() {
            app.events.publish("status", &app.status().await);
        }
    }
    Ok(())
}

/// Judges the node's own clock: by the hub's, by its own past, by the age of the program.
struct Clock {
    last_wall_ms: i64,
    last_steady_ms: u64,
    jumped_back: bool,
    wrong: Arc<AtomicBool>,
}

impl Clock {
    fn new(app: &App) -> Self {
        let env = app.data.store.env();
        let newest = app.data.catalog.list(|_| true).into_iter().map(|(_, last)| last.received);
        let newest_ms = newest.max().map_or(i64::MIN, |time| time.millis());
        Self {
            last_wall_ms: env.now().millis(),
            last_steady_ms: env.monotonic_ms(),
            jumped_back: env.now().millis() < newest_ms.saturating_sub(CLOCK_OFF_MS as i64),
            wrong: app.ingest.clock_wrong(),
        }
    }

    fn check(&mut self, app: &App, uplink: &UplinkState) {
        let env = app.data.store.env();
        let (wall_ms, steady_ms) = (env.now().millis(), env.monotonic_ms());
        let passed = steady_ms.saturating_sub(self.last_steady_ms) as i64;
        let jump = wall_ms.saturating_sub(self.last_wall_ms).saturating_sub(passed);
        (self.last_wall_ms, self.last_steady_ms) = (wall_ms, steady_ms);
        if jump.unsigned_abs() > CLOCK_OFF_MS {
            tracing::warn!(jump_ms = jump, "this node's clock was set");
            // Which of the two was right the hub will tell.
            self.jumped_back = jump < 0 && uplink.clock_ahead_ms.is_none();
        }
        let hub = uplink.clock_ahead_ms.map(i64::unsigned_abs);
        let off = match hub {
            Some(ahead) => ahead > CLOCK_OFF_MS,
            None => self.jumped_back || wall_ms < EARLIEST_MS,
        };
        if self.wrong.swap(off, Ordering::Relaxed) != off {
            if off {
                tracing::warn!("this node's clock is wrong: readings are marked `node-clock`");
            } else {
                tracing::info!("this node's clock is believed again");
            }
        }
        let level = if off { Level::Degraded } else { Level::Ok };
        app.health.set("clock", level, if off { "wrong" } else { "plausible" });
    }
}
