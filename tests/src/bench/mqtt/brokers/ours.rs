//! Ours: a gateway in its release build, as `init` makes it but for the bound of a session's queue.

use super::{Broker, Server};
use crate::bench::mqtt::connection::Endpoint;
use crate::bench::mqtt::wire::Login;
use crate::bench::reading_chain;
use crate::process::{Edge, LIMIT, Settings};
use rusqlite::{Connection, OpenFlags};
use std::io;
use tempfile::TempDir;

/// What may wait for one client: a million messages are more than the bound it has by default, and
/// the others have none.
const QUEUE: &str = "1GiB";

/// A gateway and its directory.
struct Gateway {
    edge: Edge,
    _dir: TempDir,
}

/// Starts one that listens for MQTT.
pub fn start() -> io::Result<Broker> {
    let dir = tempfile::tempdir()?;
    let settings = Settings::default().env("HOLDFAST_MQTT_LISTEN", "127.0.0.1:0");
    let settings = settings.env("HOLDFAST_MQTT_QUEUE_MAX", QUEUE);
    let mut edge = Edge::init("bench", dir.path(), settings)?;
    edge.start()?;
    let address = edge.process().listening("mqtt", LIMIT)?;
    // Whoever has a token needs no name.
    let login = Some(Login { user: "bench".to_owned(), password: edge.ingest_token()? });
    let endpoint = Endpoint { address, login };
    let server = Box::new(Gateway { edge, _dir: dir });
    let promise = "the reading is stored and synced to disk";
    Ok(Broker { name: "ours".to_owned(), promise, endpoint, server })
}

impl Server for Gateway {
    fn pid(&mut self) -> u32 {
        self.edge.process().pid()
    }

    fn stop(&mut self) -> io::Result<()> {
        self.edge.stop()
    }

    fn stored(&self) -> io::Result<Option<u64>> {
        let path = self.edge.data().join("holdfast.db");
        let count = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).and_then(
            |database| {
                let sql = "SELECT coalesce(sum(count), 0) FROM commits WHERE chain=?1";
                database.query_row(sql, [reading_chain(&database)?], |row| row.get::<_, i64>(0))
            },
        );
        Ok(Some(count.map_err(io::Error::other)?.unsigned_abs()))
    }
}
