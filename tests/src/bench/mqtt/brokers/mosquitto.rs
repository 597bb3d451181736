//! Mosquitto: queues in memory, and a database that is written now and then, whole.

use super::{Broker, Server, TO_SUBSCRIBER, free_port};
use crate::bench::mqtt::connection::Endpoint;
use crate::bench::peers::{LIMIT, libraries, locate};
use crate::process::{Launch, Running, Settings};
use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use tempfile::TempDir;

/// When it writes its database.
#[derive(Clone, Copy, Debug)]
pub enum Saves {
    /// Every half hour and at the end, as it is installed.
    NowAndThen,
    /// Whenever something has changed.
    EachChange,
}

struct Mosquitto {
    process: Running,
    _dir: TempDir,
}

/// Starts one that anybody may use and that drops nothing; nothing when it is not here.
pub fn start(saves: Saves) -> io::Result<Option<Broker>> {
    let Some(program) = locate("mosquitto") else { return Ok(None) };
    let dir = tempfile::tempdir()?;
    let (config, port) = (dir.path().join("mosquitto.conf"), free_port()?);
    let (called, saving, promise) = match saves {
        Saves::NowAndThen => (
            "mosquitto",
            "",
            "the message is queued in memory; the database is written every half hour and at the \
             end, and not synced",
        ),
        Saves::EachChange => (
            "mosquitto-saving",
            "autosave_interval 1\nautosave_on_changes true\n",
            "the message is queued in memory; after each change the whole database is written, \
             and not synced",
        ),
    };
    // Started by root it would become somebody who may not write here.
    let text = format!(
        "listener {port} 127.0.0.1\nallow_anonymous true\nuser root\nlog_dest stderr\n\
         persistence true\npersistence_location {}/\nmax_queued_messages 0\nmax_queued_bytes 0\n\
         max_inflight_messages {TO_SUBSCRIBER}\n{saving}",
        dir.path().display()
    );
    fs::write(&config, text)?;
    let launch = Launch::program(program).args(["-c".as_ref(), config.as_os_str()]);
    let launch = launch.settings(&Settings::default().env("LD_LIBRARY_PATH", libraries()));
    let process = launch.start()?;
    let running = process.logged(" running", LIMIT)?;
    let version = running.split_whitespace().skip_while(|word| *word != "version").nth(1);
    let name = format!("{called}-{}", version.unwrap_or("unknown"));
    let endpoint = Endpoint { address: SocketAddr::from((Ipv4Addr::LOCALHOST, port)), login: None };
    let server = Box::new(Mosquitto { process, _dir: dir });
    Ok(Some(Broker { name, promise, endpoint, server }))
}

impl Server for Mosquitto {
    fn pid(&mut self) -> u32 {
        self.process.pid()
    }

    fn stop(&mut self) -> io::Result<()> {
        // What it would write at its end is deleted at once.
        self.process.kill9()
    }
}
