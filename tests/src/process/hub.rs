//! The hub: its directories, and its process while it runs.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::LIMIT;
use super::edge::last_line;
use super::launch::{Launch, Settings};
use super::running::Running;

/// The hub at a path; kept over kills and restarts.
#[derive(Debug)]
pub struct Hub {
    config: PathBuf,
    data: PathBuf,
    settings: Settings,
    process: Option<Running>,
    addresses: Option<Addresses>,
}

#[derive(Debug, Clone, Copy)]
struct Addresses {
    http: SocketAddr,
    sync: SocketAddr,
}

/// Every listener on a free port of the loopback interface.
pub(super) fn loopback() -> Settings {
    Settings::default()
        .env("HOLDFAST_HTTP_LISTEN", "127.0.0.1:0")
        .env("HOLDFAST_SYNC_LISTEN", "127.0.0.1:0")
}

impl Hub {
    /// Makes configuration and data below `dir`, as a new user would.
    ///
    /// # Errors
    /// When `holdfast-hub init` fails.
    pub fn init(dir: &Path, settings: Settings) -> io::Result<Self> {
        fs::create_dir_all(dir)?;
        let hub = Self::at(dir, settings);
        let data = ["--data".into(), hub.data.clone().into_os_string()];
        hub.run(["init".into()].into_iter().chain(data), &Settings::default())?;
        Ok(hub)
    }

    /// A hub whose directories exist already.
    #[must_use]
    pub fn at(dir: &Path, settings: Settings) -> Self {
        Self {
            config: dir.join("hub.toml"),
            data: dir.join("data"),
            settings: loopback().with(&settings),
            process: None,
            addresses: None,
        }
    }

    /// Starts the hub and waits until it serves.
    ///
    /// # Errors
    /// When it does not get there.
    pub fn start(&mut self) -> io::Result<()> {
        self.start_with(&Settings::default())
    }

    /// As [`Hub::start`] with settings for this one start.
    ///
    /// # Errors
    /// When it does not get there.
    pub fn start_with(&mut self, extra: &Settings) -> io::Result<()> {
        self.process = None;
        let process = self.launch().settings(extra).start()?;
        let http = process.listening("http", LIMIT)?;
        let sync = process.listening("sync", LIMIT)?;
        process.ready(LIMIT)?;
        (self.addresses, self.process) = (Some(Addresses { http, sync }), Some(process));
        Ok(())
    }

    /// Makes an enrolment string for a node that will reach the hub at `via`: its own address or
    /// that of a proxy in front of it.
    ///
    /// # Errors
    /// When `holdfast-hub token new` fails.
    pub fn enrolment(&self, site: &str, name: &str, via: SocketAddr) -> io::Result<String> {
        let advertise = Settings::default().env("HOLDFAST_SYNC_ADVERTISE", via.to_string());
        let words = ["token", "new", "--site", site, "--name", name].map(OsString::from);
        last_line(self.run(words, &advertise)?)
    }

    /// Runs a command of the binary on this hub, `--config` added, and gives its output.
    ///
    /// # Errors
    /// When it fails; the message has its standard error.
    pub fn command<const N: usize>(
        &self,
        command: &str,
        args: [&str; N],
    ) -> io::Result<Vec<String>> {
        let words = std::iter::once(command).chain(args).map(OsString::from);
        self.run(words, &Settings::default())
    }

    /// The admin token that `init` made.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn admin_token(&self) -> io::Result<String> {
        Ok(fs::read_to_string(self.data.join("admin.token"))?.trim().to_owned())
    }

    /// Where it serves HTTP.
    ///
    /// # Panics
    /// When the hub was never started.
    #[must_use]
    pub fn http(&self) -> SocketAddr {
        self.addresses.expect("a hub that was started has addresses").http
    }

    /// Where it takes part in sync, over UDP.
    ///
    /// # Panics
    /// When the hub was never started.
    #[must_use]
    pub fn sync(&self) -> SocketAddr {
        self.addresses.expect("a hub that was started has addresses").sync
    }

    /// The running process.
    ///
    /// # Panics
    /// When the hub does not run.
    pub fn process(&mut self) -> &mut Running {
        self.process.as_mut().expect("the hub runs")
    }

    /// Starts the hub and kills it before it serves, `moment` later at the latest; `false` when it
    /// was faster.
    ///
    /// # Errors
    /// When it cannot be started, or ends by itself.
    pub fn kill_in_start(&mut self, moment: Duration) -> io::Result<bool> {
        self.process = None;
        self.launch().start()?.kill_before_ready(moment)
    }

    /// Hands over each line of `holdfast-hub export`, in the order in which readings were stored.
    ///
    /// # Errors
    /// When the command fails.
    pub fn export(&self, each: impl FnMut(&str)) -> io::Result<()> {
        let launch = Launch::binary("holdfast-hub").args(["export", "--config"]);
        launch.args([&self.config]).settings(&self.settings).each_line(each)
    }

    /// Kills the hub at once; it can be started again.
    ///
    /// # Errors
    /// When it cannot be reaped.
    pub fn kill9(&mut self) -> io::Result<()> {
        self.process.take().map_or(Ok(()), |mut process| process.kill9())
    }

    /// Ends the hub in good order; it can be started again.
    ///
    /// # Errors
    /// When it does not end, or not with code 0.
    pub fn stop(&mut self) -> io::Result<()> {
        let Some(mut process) = self.process.take() else { return Ok(()) };
        match process.terminate(LIMIT)? {
            status if status.success() => Ok(()),
            status => Err(io::Error::other(format!("{status}; told:\n{}", process.told()))),
        }
    }

    /// Its data directory.
    #[must_use]
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// The service, about to be started.
    fn launch(&self) -> Launch {
        Launch::binary("holdfast-hub")
            .args(["serve", "--config"])
            .args([&self.config])
            .settings(&self.settings)
    }

    fn run(
        &self,
        args: impl IntoIterator<Item = OsString>,
        extra: &Settings,
    ) -> io::Result<Vec<String>> {
        let mut at = Settings::default();
        // Commands that talk to the running hub must find it where it listens now.
        if let (Some(addresses), Some(_)) = (self.addresses, &self.process) {
            at = at
                .env("HOLDFAST_HTTP_LISTEN", addresses.http.to_string())
                .env("HOLDFAST_SYNC_LISTEN", addresses.sync.to_string());
        }
        Launch::binary("holdfast-hub")
            .args(args)
            .args(["--config".into(), self.config.clone().into_os_string()])
            .settings(&self.settings)
            .settings(&at)
            .settings(extra)
            .run(LIMIT)?
            .expect_success()
    }
}
