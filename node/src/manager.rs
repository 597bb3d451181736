//! The service manager that started this process, told how it goes.
//!
//! systemd listens on a datagram socket that `$NOTIFY_SOCKET` names: `READY=1` when everything
//! serves, `STOPPING=1` when the process was asked to end, and `WATCHDOG=1` every now and then as
//! long as tasks run. A process that nobody manages says nothing.

use std::ffi::OsStr;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::Arc;
use std::time::Duration;

/// Words for the service manager; clones speak over the same socket.
#[derive(Clone, Debug)]
pub struct Manager {
    socket: Option<Arc<UnixDatagram>>,
    /// How long it bears silence before it ends the process.
    patience: Option<Duration>,
}

impl Manager {
    /// The one the environment names, if any.
    #[must_use]
    pub fn of_process() -> Self {
        let text = |name| std::env::var(name).ok();
        let process = std::process::id();
        let patience = patience(text("WATCHDOG_USEC"), text("WATCHDOG_PID"), process);
        let Some(name) = std::env::var_os("NOTIFY_SOCKET") else {
            return Self { socket: None, patience: None };
        };
        let socket = match connect(&name) {
            Ok(socket) => Some(Arc::new(socket)),
            Err(error) => {
                let name = name.to_string_lossy();
                tracing::warn!(%error, %name, "the service manager cannot be told anything");
                None
            }
        };
        Self { socket, patience }
    }

    /// Everything serves.
    pub fn ready(&self) {
        self.say("READY=1");
    }

    /// The process was asked to end.
    pub fn stopping(&self) {
        self.say("STOPPING=1");
    }

    /// Says from now on that the process lives, where somebody wants to know. A task says it, so
    /// it is no longer said when tasks no longer run.
    pub fn keep_alive(&self) {
        let (Some(_), Some(patience)) = (&self.socket, self.patience) else { return };
        let this = self.clone();
        tokio::spawn(async move {
            // A third leaves room for a word that comes late and one that is lost.
            let mut tick = tokio::time::interval(patience / 3);
            loop {
                tick.tick().await;
                this.say("WATCHDOG=1");
            }
        });
    }

    /// A word that does not get through is no reason to stop: the manager notices the silence.
    fn say(&self, word: &str) {
        let Some(socket) = &self.socket else { return };
        if let Err(error) = socket.send(word.as_bytes()) {
            tracing::warn!(%error, word, "the service manager was not told");
        }
    }
}

/// A name is a path, or behind an `@` one without a file.
fn connect(name: &OsStr) -> std::io::Result<UnixDatagram> {
    let address = match name.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(name)?,
    };
    let socket = UnixDatagram::unbound()?;
    socket.connect_addr(&address)?;
    // A manager that does not read must not hold up what serves.
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// What the manager wants of `process`; a variable meant for its parent counts for nothing.
fn patience(usec: Option<String>, pid: Option<String>, process: u32) -> Option<Duration> {
    if pid.is_some_and(|pid| pid.parse() != Ok(process)) {
        return None;
    }
    let usec: u64 = usec?.parse().ok()?;
    (usec > 0).then(|| Duration::from_micros(usec))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(socket: &UnixDatagram) -> String {
        socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let mut buffer = [0; 64];
        let length = socket.recv(&mut buffer).unwrap();
        String::from_utf8_lossy(&buffer[..length]).into_owned()
    }

    fn told(name: &OsStr, patience: Option<Duration>) -> Manager {
        Manager { socket: Some(Arc::new(connect(name).unwrap())), patience }
    }

    #[test]
    fn a_manager_is_told_by_path_and_by_abstract_name() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let by_path = UnixDatagram::bind(&path).unwrap();
        told(path.as_os_str(), None).ready();
        assert_eq!(heard(&by_path), "READY=1");

        let name = format!("holdfast-notify-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let abstractly = UnixDatagram::bind_addr(&address).unwrap();
        told(OsStr::new(&format!("@{name}")), None).stopping();
        assert_eq!(heard(&abstractly), "STOPPING=1");
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn life_is_said_again_and_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        told(path.as_os_str(), Some(Duration::from_millis(3))).keep_alive();
        assert_eq!([heard(&socket), heard(&socket)], ["WATCHDOG=1", "WATCHDOG=1"]);
    }

    #[test]
    fn a_watchdog_of_another_process_is_not_ours() {
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(patience(text("60000000"), None, 7), Some(Duration::from_secs(60)));
        assert_eq!(patience(text("5"), text("7"), 7), Some(Duration::from_micros(5)));
        assert_eq!(patience(text("5"), text("8"), 7), None);
        assert_eq!(patience(text("0"), None, 7), None);
        assert_eq!(patience(text("soon"), None, 7), None);
        assert_eq!(patience(None, None, 7), None);
    }

    #[test]
    fn nobody_to_tell_and_nobody_who_listens_harm_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        let manager = told(path.as_os_str(), None);
        drop(socket);
        manager.ready();
        Manager { socket: None, patience: None }.ready();
        assert!(connect(OsStr::new("/no/such/socket")).is_err());
    }
}
