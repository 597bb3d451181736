//! How to start a program: arguments, settings, wrappers, preloads.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use super::running::Running;
use super::{bin_dir, spawner};

/// Environment of a process under test beyond what it inherits.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    env: BTreeMap<OsString, OsString>,
    wrapper: Vec<OsString>,
}

impl Settings {
    /// Sets a variable, usually one of `HOLDFAST_<SECTION>_<KEY>`.
    #[must_use]
    pub fn env(mut self, key: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        let (key, value) = (key.into(), value.into());
        if key == "LD_PRELOAD" {
            return self.preload(value);
        }
        self.env.insert(key, value);
        self
    }

    /// Sets several variables.
    #[must_use]
    pub fn envs(self, vars: impl IntoIterator<Item = (OsString, OsString)>) -> Self {
        vars.into_iter().fold(self, |all, (key, value)| all.env(key, value))
    }

    /// Preloads a library, after those preloaded already.
    #[must_use]
    pub fn preload(mut self, library: impl AsRef<OsStr>) -> Self {
        let all = self.env.entry("LD_PRELOAD".into()).or_default();
        if !all.is_empty() {
            all.push(":");
        }
        all.push(library);
        self
    }

    /// Runs the program at another time, by libfaketime: `spec` as in its manual, for example
    /// `@1970-01-01 00:00:10` or `-10y`. Monotonic time is left alone.
    ///
    /// # Errors
    /// When the library is not installed; the caller says so and skips.
    pub fn clock(self, spec: &str) -> Result<Self, String> {
        Ok(self.faked()?.env("FAKETIME", spec))
    }

    /// As [`Self::clock`], with what is in a file, which may be written anew while it runs.
    ///
    /// # Errors
    /// When the library is not installed.
    pub fn clock_file(self, file: &Path) -> Result<Self, String> {
        let faked = self.faked()?;
        Ok(faked.env("FAKETIME_TIMESTAMP_FILE", file).env("FAKETIME_NO_CACHE", "1"))
    }

    fn faked(self) -> Result<Self, String> {
        const PLACES: [&str; 3] = [
            "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1",
            "/usr/lib/aarch64-linux-gnu/faketime/libfaketimeMT.so.1",
            "/usr/lib/faketime/libfaketimeMT.so.1",
        ];
        let library = PLACES.into_iter().find(|place| Path::new(place).exists());
        let library = library.ok_or("skipped: libfaketime is not installed")?;
        let settings = self.preload(library);
        Ok(settings.env("FAKETIME_DONT_FAKE_MONOTONIC", "1").env("DONT_FAKE_MONOTONIC", "1"))
    }

    /// Puts a command in front of the program.
    #[must_use]
    pub fn wrapper(mut self, words: impl IntoIterator<Item = impl Into<OsString>>) -> Self {
        self.wrapper.extend(words.into_iter().map(Into::into));
        self
    }

    /// Makes system calls fail, by `strace`: `fault` as its `-e inject=` takes it, for example
    /// `fsync:error=EIO:when=10+`. The tracer is a grandchild, so the process started is the
    /// program itself and a kill hits it.
    #[must_use]
    pub fn inject(self, fault: &str, log: &Path) -> Self {
        let calls = fault.split(':').next().unwrap_or_default();
        self.wrapper(["strace", "-D", "-f", "-qq", "-o"])
            .wrapper([log.as_os_str().to_owned()])
            .wrapper(["-e".to_owned(), format!("trace={calls}")])
            .wrapper(["-e".to_owned(), format!("inject={fault}")])
    }

    /// These settings with `others` on top.
    #[must_use]
    pub fn with(self, others: &Self) -> Self {
        let merged = self.envs(others.env.clone());
        merged.wrapper(others.wrapper.clone())
    }
}

/// A program about to be started.
#[derive(Debug, Clone)]
pub struct Launch {
    program: PathBuf,
    args: Vec<OsString>,
    settings: Settings,
}

impl Launch {
    /// A program of the binaries' directory.
    #[must_use]
    pub fn binary(name: &str) -> Self {
        Self::program(bin_dir().join(name))
    }

    /// Any program.
    #[must_use]
    pub fn program(path: impl Into<PathBuf>) -> Self {
        Self { program: path.into(), args: Vec::new(), settings: Settings::default() }
    }

    /// Adds arguments.
    #[must_use]
    pub fn args(mut self, args: impl IntoIterator<Item = impl Into<OsString>>) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// Adds settings on top of those given before.
    #[must_use]
    pub fn settings(mut self, settings: &Settings) -> Self {
        self.settings = self.settings.with(settings);
        self
    }

    /// Starts the program to keep it running.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(&self) -> io::Result<Running> {
        let name = self.program.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let child = spawner::spawn(self.command())
            .map_err(|e| io::Error::new(e.kind(), format!("{}: {e}", self.program.display())))?;
        Running::new(name, child)
    }

    /// Runs the program to its end.
    ///
    /// # Errors
    /// When it cannot be started, or has not ended within `limit`.
    pub fn run(&self, limit: Duration) -> io::Result<Finished> {
        let mut running = self.start()?;
        let status = running.wait(limit)?;
        let (stdout, stderr) = running.into_output();
        Ok(Finished { success: status.success(), code: status.code(), stdout, stderr })
    }

    /// Runs the program to its end and hands over each line of its output as it comes: output of
    /// any length takes no memory here.
    ///
    /// # Errors
    /// When it cannot be started, does not succeed, or writes what is no text; the message has its
    /// standard error.
    pub fn each_line(&self, mut each: impl FnMut(&str)) -> io::Result<()> {
        let mut child = spawner::spawn(self.command())?;
        let gone = || io::Error::other("a stream of the process is missing");
        let mut lines = BufReader::new(child.stdout.take().ok_or_else(gone)?);
        let mut told = child.stderr.take().ok_or_else(gone)?;
        let told = std::thread::spawn(move || {
            let mut text = String::new();
            // What could be read is all there is to show.
            let _ = told.read_to_string(&mut text);
            text
        });
        let mut line = String::new();
        while lines.read_line(&mut line)? > 0 {
            each(line.trim_end());
            line.clear();
        }
        let status = child.wait()?;
        let told = told.join().unwrap_or_default();
        let said = || io::Error::other(format!("ended with {status} and said:\n{told}"));
        status.success().then_some(()).ok_or_else(said)
    }

    fn command(&self) -> Command {
        let mut words = self.settings.wrapper.iter().map(OsString::as_os_str);
        let mut command = match words.next() {
            None => Command::new(&self.program),
            Some(wrapper) => {
                let mut command = Command::new(wrapper);
                command.args(words).arg(&self.program);
                command
            }
        };
        command
            .args(&self.args)
            .envs(&self.settings.env)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }
}

/// What a program that has ended left behind.
#[derive(Debug, Clone)]
pub struct Finished {
    /// It ended with code 0.
    pub success: bool,
    /// Its exit code, unless a signal ended it.
    pub code: Option<i32>,
    /// Lines of standard output.
    pub stdout: Vec<String>,
    /// The last lines of standard error.
    pub stderr: Vec<String>,
}

impl Finished {
    /// The output of a program that must have succeeded.
    ///
    /// # Errors
    /// Code and standard error of one that did not.
    pub fn expect_success(self) -> io::Result<Vec<String>> {
        if self.success {
            return Ok(self.stdout);
        }
        let told = self.stderr.join("\n");
        Err(io::Error::other(format!("ended with {:?} and said:\n{told}", self.code)))
    }
}
