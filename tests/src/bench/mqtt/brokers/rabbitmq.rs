//! RabbitMQ with its plugin for MQTT: a session is a queue, durable and synced in groups.
//!
//! Its scripts and those of Erlang know only the places of an installed system, so the emulator is
//! started here as they would, in whichever place it lies. Erlang's daemon of port numbers is
//! started by whoever finds none and then stays; ours has a port of its own, is started first and
//! ends with the bench.

use super::{Broker, Server, TO_SUBSCRIBER, free_port};
use crate::bench::mqtt::connection::Endpoint;
use crate::bench::peers::{LIMIT, below, not_here};
use crate::process::{Launch, Running, Settings};
use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// What its start script hands to the emulator.
const EMULATOR: &str = "-noinput -s rabbit boot -boot start_sasl +W w +MBas ageffcbf \
    +MHas ageffcbf +MBlmbcs 512 +MHlmbcs 512 +MMmcs 30 +P 1048576 +t 5000000 +stbt db \
    +zdbbl 128000 +sbwt none +sbwtdcpu none +sbwtdio none +B i \
    -kernel prevent_overlapping_partitions false \
    -kernel inet_dist_use_interface {127,0,0,1}";

struct RabbitMq {
    process: Running,
    /// The daemon of port numbers, which outlives the other.
    _daemon: Running,
    _dir: TempDir,
}

/// Where its parts lie.
struct Places {
    rabbitmq: PathBuf,
    erlang: PathBuf,
    programs: PathBuf,
}

/// Starts one that anybody may use; nothing when it is not here.
pub fn start() -> io::Result<Option<Broker>> {
    let (rabbitmq, erlang) = ("usr/lib/rabbitmq/lib/rabbitmq_server-", "usr/lib/erlang/erts-");
    let (Some(rabbitmq), Some(runtime)) = (below(rabbitmq), below(erlang)) else {
        not_here("rabbitmq-server");
        return Ok(None);
    };
    let erlang = runtime.parent().expect("it lies in the folder of Erlang").to_owned();
    let places = Places { rabbitmq, erlang, programs: runtime.join("bin") };
    let dir = tempfile::tempdir()?;
    let (port, ports) = (free_port()?, free_port()?.to_string());
    configure(dir.path(), port)?;
    let settings = settings(&places, dir.path(), &ports)?;
    let program = |name| Launch::program(places.programs.join(name)).settings(&settings);
    let daemon =
        program("epmd").args(["-address", "127.0.0.1", "-port", ports.as_str()]).start()?;
    let process = program("erlexec").args(EMULATOR.split_whitespace()).start()?;
    process.line("Server startup complete", LIMIT, |line| {
        line.contains("Server startup complete").then_some(())
    })?;
    let called = places.rabbitmq.file_name().unwrap_or_default().to_string_lossy();
    let name = called.replace("rabbitmq_server", "rabbitmq");
    let endpoint = Endpoint { address: SocketAddr::from((Ipv4Addr::LOCALHOST, port)), login: None };
    let server = Box::new(RabbitMq { process, _daemon: daemon, _dir: dir });
    let promise = "the message is in a durable queue and synced, many at once";
    Ok(Some(Broker { name, promise, endpoint, server }))
}

/// Writes its configuration: MQTT for anybody, nothing else.
fn configure(dir: &Path, port: u16) -> io::Result<()> {
    let text = format!(
        "listeners.tcp = none\nmqtt.listeners.tcp.1 = 127.0.0.1:{port}\n\
         mqtt.allow_anonymous = true\nmqtt.prefetch = {TO_SUBSCRIBER}\nlog.console = true\n\
         log.console.level = info\nlog.file = false\n"
    );
    fs::write(dir.join("rabbit.conf"), text)?;
    fs::write(dir.join("plugins"), "[rabbitmq_mqtt].\n")
}

/// What its start script sets.
fn settings(places: &Places, dir: &Path, ports: &str) -> io::Result<Settings> {
    let paths = [
        ("HOME", dir.to_owned()),
        ("ROOTDIR", places.erlang.clone()),
        ("BINDIR", places.programs.clone()),
        ("ERL_LIBS", places.rabbitmq.join("plugins")),
        ("RABBITMQ_HOME", places.rabbitmq.clone()),
        ("RABBITMQ_CONFIG_FILE", dir.join("rabbit.conf")),
        ("RABBITMQ_CONFIG_FILES", dir.join("none")),
        ("RABBITMQ_ADVANCED_CONFIG_FILE", dir.join("none.config")),
        ("RABBITMQ_ENABLED_PLUGINS_FILE", dir.join("plugins")),
        ("RABBITMQ_PLUGINS_DIR", places.rabbitmq.join("plugins")),
        ("RABBITMQ_MNESIA_BASE", dir.join("mnesia")),
        ("RABBITMQ_LOG_BASE", dir.join("log")),
        ("RABBITMQ_PID_FILE", dir.join("pid")),
        ("ERL_CRASH_DUMP", dir.join("erl_crash.dump")),
    ];
    let to_others = free_port()?.to_string();
    let words: [(&str, &str); 9] = [
        ("EMU", "beam"),
        ("PROGNAME", "erl"),
        ("RABBITMQ_NODENAME", "bench@localhost"),
        ("RABBITMQ_DIST_PORT", &to_others),
        ("RABBITMQ_LOGS", "-"),
        ("ERL_EPMD_PORT", ports),
        ("ERL_EPMD_ADDRESS", "127.0.0.1"),
        ("ERL_MAX_ETS_TABLES", "50000"),
        ("ERL_MAX_PORTS", "65536"),
    ];
    let all = paths.into_iter().fold(Settings::default(), |all, (key, path)| all.env(key, path));
    Ok(words.into_iter().fold(all, |all, (key, word)| all.env(key, word)))
}

impl Server for RabbitMq {
    fn pid(&mut self) -> u32 {
        self.process.pid()
    }

    fn stop(&mut self) -> io::Result<()> {
        self.process.kill9()
    }
}
