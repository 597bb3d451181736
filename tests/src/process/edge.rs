//! An edge node: its directories, and its process while it runs.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::launch::{Launch, Settings};
use super::running::Running;
use super::{LIMIT, hub::loopback};

/// A gateway at a path; kept over kills and restarts.
#[derive(Debug)]
pub struct Edge {
    name: String,
    config: PathBuf,
    data: PathBuf,
    settings: Settings,
    process: Option<Running>,
    http: Option<SocketAddr>,
}

impl Edge {
    /// Makes configuration and data below `dir`, as a new user would.
    ///
    /// # Errors
    /// When `holdfast-edge init` fails.
    pub fn init(name: &str, dir: &Path, settings: Settings) -> io::Result<Self> {
        fs::create_dir_all(dir)?;
        let edge = Self::at(name, dir, settings);
        let paths = ["--config".into(), edge.config.clone().into_os_string()];
        let data = ["--data".into(), edge.data.clone().into_os_string()];
        edge.run(["init"].map(OsString::from).into_iter().chain(paths).chain(data))?;
        Ok(edge)
    }

    /// An edge whose directories exist already.
    #[must_use]
    pub fn at(name: &str, dir: &Path, settings: Settings) -> Self {
        Self {
            name: name.to_owned(),
            config: dir.join("edge.toml"),
            data: dir.join("data"),
            settings: loopback().with(&settings),
            process: None,
            http: None,
        }
    }

    /// Starts the node and waits until it serves.
    ///
    /// # Errors
    /// When it does not get there.
    pub fn start(&mut self) -> io::Result<()> {
        self.start_with(&Settings::default())
    }

    /// As [`Edge::start`] with settings for this one start.
    ///
    /// # Errors
    /// When it does not get there.
    pub fn start_with(&mut self, extra: &Settings) -> io::Result<()> {
        self.process = None;
        let process = self.launch().settings(extra).start()?;
        let http = process.listening("http", LIMIT)?;
        process.ready(LIMIT)?;
        (self.http, self.process) = (Some(http), Some(process));
        Ok(())
    }

    /// Enrols the node by the string the hub gave.
    ///
    /// # Errors
    /// When `holdfast-edge join` fails.
    pub fn join(&self, enrolment: &str) -> io::Result<Vec<String>> {
        self.command("join", [enrolment])
    }

    /// Makes a token for one device.
    ///
    /// # Errors
    /// When `holdfast-edge token new` fails.
    pub fn device_token(&self, device: &str) -> io::Result<String> {
        last_line(self.command("token", ["new", "--device", device])?)
    }

    /// Makes a token for any device.
    ///
    /// # Errors
    /// When `holdfast-edge token new` fails.
    pub fn ingest_token(&self) -> io::Result<String> {
        last_line(self.command("token", ["new", "--ingest"])?)
    }

    /// Runs a command of the binary on this node, `--config` added, and gives its output.
    ///
    /// # Errors
    /// When it fails; the message has its standard error.
    pub fn command<const N: usize>(
        &self,
        command: &str,
        args: [&str; N],
    ) -> io::Result<Vec<String>> {
        let words = std::iter::once(command).chain(args).map(OsString::from);
        self.run(words.chain(["--config".into(), self.config.clone().into_os_string()]))
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
    /// When the node was never started.
    #[must_use]
    pub fn http(&self) -> SocketAddr {
        self.http.expect("an edge that was started has an address")
    }

    /// The running process.
    ///
    /// # Panics
    /// When the node does not run.
    pub fn process(&mut self) -> &mut Running {
        self.process.as_mut().expect("the edge runs")
    }

    /// Starts the node and kills it before it serves, `moment` later at the latest; `false` when it
    /// was faster.
    ///
    /// # Errors
    /// When it cannot be started, or ends by itself.
    pub fn kill_in_start(&mut self, moment: Duration) -> io::Result<bool> {
        self.process = None;
        self.launch().start()?.kill_before_ready(moment)
    }

    /// Hands over each line of `holdfast-edge export`, in the order in which readings were stored.
    ///
    /// # Errors
    /// When the command fails.
    pub fn export(&self, each: impl FnMut(&str)) -> io::Result<()> {
        let launch = Launch::binary("holdfast-edge").args(["export", "--config"]);
        launch.args([&self.config]).settings(&self.settings).each_line(each)
    }

    /// Kills the node at once; it can be started again.
    ///
    /// # Errors
    /// When it cannot be reaped.
    pub fn kill9(&mut self) -> io::Result<()> {
        self.process.take().map_or(Ok(()), |mut process| process.kill9())
    }

    /// Ends the node in good order; it can be started again.
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

    /// Its name in the fleet.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its data directory.
    #[must_use]
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// The service, about to be started.
    fn launch(&self) -> Launch {
        Launch::binary("holdfast-edge")
            .args(["run", "--config"])
            .args([&self.config])
            .settings(&self.settings)
    }

    fn run(&self, args: impl IntoIterator<Item = OsString>) -> io::Result<Vec<String>> {
        // Commands that talk to the running node must find it where it listens now.
        let at = self.process.as_ref().and(self.http);
        let found = at.map_or_else(Settings::default, |http| {
            Settings::default().env("HOLDFAST_HTTP_LISTEN", http.to_string())
        });
        let launch = Launch::binary("holdfast-edge").args(args);
        launch.settings(&self.settings).settings(&found).run(LIMIT)?.expect_success()
    }
}

/// The last line of a command's output, where such commands print their result.
pub(super) fn last_line(lines: Vec<String>) -> io::Result<String> {
    let last = lines.into_iter().rfind(|line| !line.trim().is_empty());
    last.map(|line| line.trim().to_owned())
        .ok_or_else(|| io::Error::other("the command printed nothing"))
}
