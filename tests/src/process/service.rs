//! A service of either kind: its directories, and its process while it runs.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::LIMIT;
use super::launch::{Launch, Settings};
use super::running::Running;

/// What tells the two services apart.
#[derive(Debug)]
pub(super) struct Kind {
    pub program: &'static str,
    /// The command that runs it.
    pub verb: &'static str,
    /// Its configuration below its directory.
    pub config: &'static str,
    /// What it listens for, and the variable that says where.
    pub listeners: &'static [(&'static str, &'static str)],
}

/// A node at a path; kept over kills and restarts.
#[derive(Debug)]
pub struct Service {
    kind: &'static Kind,
    config: PathBuf,
    data: PathBuf,
    settings: Settings,
    process: Option<Running>,
    /// Where it listened when it was last started, in the order of its kind.
    addresses: Vec<SocketAddr>,
}

impl Service {
    /// Makes configuration and data below `dir`, as a new user would.
    pub(super) fn init(kind: &'static Kind, dir: &Path, settings: &Settings) -> io::Result<Self> {
        fs::create_dir_all(dir)?;
        let service = Self::at(kind, dir, settings);
        let data = ["--data".into(), service.data.clone().into_os_string()];
        service.run(["init".into()].into_iter().chain(data), &Settings::default())?;
        Ok(service)
    }

    /// One whose directories exist already.
    pub(super) fn at(kind: &'static Kind, dir: &Path, settings: &Settings) -> Self {
        // Every listener on a free port of the loopback interface.
        let free = kind
            .listeners
            .iter()
            .fold(Settings::default(), |all, (_, variable)| all.env(variable, "127.0.0.1:0"));
        Self {
            kind,
            config: dir.join(kind.config),
            data: dir.join("data"),
            settings: free.with(settings),
            process: None,
            addresses: Vec::new(),
        }
    }

    /// Starts the node and waits until it serves.
    ///
    /// # Errors
    /// When it does not get there.
    pub fn start(&mut self) -> io::Result<()> {
        self.start_with(&Settings::default())
    }

    /// As [`Service::start`] with settings for this one start.
    ///
    /// # Errors
    /// When it does not get there.
    pub fn start_with(&mut self, extra: &Settings) -> io::Result<()> {
        self.process = None;
        let process = self.launch().settings(extra).start()?;
        let listening = self.kind.listeners.iter().map(|(name, _)| process.listening(name, LIMIT));
        self.addresses = listening.collect::<io::Result<_>>()?;
        process.ready(LIMIT)?;
        self.process = Some(process);
        Ok(())
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
        self.command_with(command, args, &Settings::default())
    }

    /// As [`Service::command`] with settings for this one command.
    ///
    /// # Errors
    /// As there.
    pub fn command_with<const N: usize>(
        &self,
        command: &str,
        args: [&str; N],
        extra: &Settings,
    ) -> io::Result<Vec<String>> {
        self.run(std::iter::once(command).chain(args).map(OsString::from), extra)
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
        self.address("http")
    }

    pub(super) fn address(&self, listener: &str) -> SocketAddr {
        let mut all = self.kind.listeners.iter().zip(&self.addresses);
        let found = all.find(|((name, _), _)| *name == listener).map(|(_, address)| *address);
        found.expect("a node that was started has an address")
    }

    /// The running process.
    ///
    /// # Panics
    /// When the node does not run.
    pub fn process(&mut self) -> &mut Running {
        self.process.as_mut().expect("the node runs")
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

    /// Hands over each line of its `export`, in the order in which readings were stored.
    ///
    /// # Errors
    /// When the command fails.
    pub fn export(&self, each: impl FnMut(&str)) -> io::Result<()> {
        self.export_as("ndjson", each)
    }

    /// As [`Service::export`], in a shape that the command knows.
    ///
    /// # Errors
    /// When the command fails.
    pub fn export_as(&self, shape: &str, each: impl FnMut(&str)) -> io::Result<()> {
        let launch = Launch::binary(self.kind.program).args(["export", "--format", shape]);
        let launch = launch.args(["--config".as_ref(), self.config.as_os_str()]);
        launch.settings(&self.settings).each_line(each)
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

    /// Its data directory.
    #[must_use]
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// The service, about to be started.
    fn launch(&self) -> Launch {
        Launch::binary(self.kind.program)
            .args([self.kind.verb, "--config"])
            .args([&self.config])
            .settings(&self.settings)
    }

    /// Starts a command of the binary on this node, to be waited for or disturbed.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn command_started<const N: usize>(
        &self,
        command: &str,
        args: [&str; N],
    ) -> io::Result<Running> {
        let words = std::iter::once(command).chain(args).map(OsString::from);
        self.task(words, &Settings::default()).start()
    }

    fn run(
        &self,
        args: impl IntoIterator<Item = OsString>,
        extra: &Settings,
    ) -> io::Result<Vec<String>> {
        self.task(args, extra).run(LIMIT)?.expect_success()
    }

    fn task(&self, args: impl IntoIterator<Item = OsString>, extra: &Settings) -> Launch {
        // Commands that talk to the running node must find it where it listens now.
        let now =
            self.kind.listeners.iter().zip(&self.addresses).filter(|_| self.process.is_some());
        let now = now.fold(Settings::default(), |all, ((_, variable), address)| {
            all.env(variable, address.to_string())
        });
        Launch::binary(self.kind.program)
            .args(args)
            .args(["--config".into(), self.config.clone().into_os_string()])
            .settings(&self.settings)
            .settings(&now)
            .settings(extra)
    }
}

/// The last line of a command's output, where such commands print their result.
pub(super) fn last_line(lines: Vec<String>) -> io::Result<String> {
    let last = lines.into_iter().rfind(|line| !line.trim().is_empty());
    last.map(|line| line.trim().to_owned())
        .ok_or_else(|| io::Error::other("the command printed nothing"))
}
