//! A process that runs: what it said, and how to end it.

use std::io;
use std::net::SocketAddr;
use std::process::{Child, ExitStatus};
use std::time::{Duration, Instant};

use super::output::Output;

/// Lines of standard error shown in a failure message.
const SHOWN: usize = 30;
/// How long the streams of an ended process may stay open.
const DRAIN: Duration = Duration::from_secs(2);

/// A process of ours. Dropping it kills it.
#[derive(Debug)]
pub struct Running {
    name: String,
    child: Child,
    stdout: Option<Output>,
    stderr: Option<Output>,
    ended: Option<ExitStatus>,
}

impl Running {
    pub(super) fn new(name: String, mut child: Child) -> io::Result<Self> {
        let gone = || io::Error::other("a stream of the process is missing");
        let stdout = Output::read(child.stdout.take().ok_or_else(gone)?);
        let stderr = Output::read(child.stderr.take().ok_or_else(gone)?);
        Ok(Self { name, child, stdout: Some(stdout), stderr: Some(stderr), ended: None })
    }

    /// The process number.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The address of the line `listening <name> <address>`, or `<name>s` with TLS.
    ///
    /// # Errors
    /// When the process ended or `limit` passed without the line; the message has the last lines
    /// of standard error.
    pub fn listening(&self, name: &str, limit: Duration) -> io::Result<SocketAddr> {
        self.line(&format!("listening {name}"), limit, |line| {
            let mut words = line.split_whitespace();
            (words.next() == Some("listening")).then_some(())?;
            let told = words.next()?;
            (told.strip_suffix('s').unwrap_or(told) == name || told == name).then_some(())?;
            words.next()?.parse().ok()
        })
    }

    /// Waits for the line `ready`.
    ///
    /// # Errors
    /// As [`Running::listening`].
    pub fn ready(&self, limit: Duration) -> io::Result<()> {
        self.line("ready", limit, |line| (line.trim() == "ready").then_some(()))
    }

    /// Waits for a line of standard output from which `find` takes something.
    ///
    /// # Errors
    /// As [`Running::listening`].
    pub fn line<T>(
        &self,
        what: &str,
        limit: Duration,
        find: impl Fn(&str) -> Option<T>,
    ) -> io::Result<T> {
        self.out().find(limit, find).ok_or_else(|| {
            // The last words of one that has just ended may still be on their way.
            self.err().find(DRAIN, |_| None::<()>);
            io::Error::new(
                io::ErrorKind::TimedOut,
                format!("{} never said `{what}`; its last words:\n{}", self.name, self.told()),
            )
        })
    }

    /// Waits for a line of the log (standard error) that contains `text`, and gives it.
    ///
    /// # Errors
    /// As [`Running::listening`].
    pub fn logged(&self, text: &str, limit: Duration) -> io::Result<String> {
        let found = self.err().find(limit, |line| line.contains(text).then(|| line.to_owned()));
        found.ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::TimedOut,
                format!("{} never logged `{text}`; its last words:\n{}", self.name, self.told()),
            )
        })
    }

    /// The lines of standard output so far.
    #[must_use]
    pub fn stdout(&self) -> Vec<String> {
        self.out().lines()
    }

    /// The lines of standard error so far.
    #[must_use]
    pub fn stderr(&self) -> Vec<String> {
        self.err().lines()
    }

    /// The last lines of standard error, for a failure message.
    #[must_use]
    pub fn told(&self) -> String {
        self.err().tail(SHOWN)
    }

    /// Whether the process still runs.
    ///
    /// # Errors
    /// When its state cannot be read.
    pub fn is_running(&mut self) -> io::Result<bool> {
        if self.ended.is_none() {
            self.ended = self.child.try_wait()?;
        }
        Ok(self.ended.is_none())
    }

    /// Kills the process and its group at once, as `kill -9` does, and reaps it.
    ///
    /// # Errors
    /// When it cannot be reaped.
    pub fn kill9(&mut self) -> io::Result<()> {
        self.signal(libc::SIGKILL)?;
        if self.ended.is_none() {
            self.ended = Some(self.child.wait()?);
        }
        Ok(())
    }

    /// Asks the process to end (SIGTERM) and waits for it.
    ///
    /// # Errors
    /// When it has not ended within `limit`.
    pub fn terminate(&mut self, limit: Duration) -> io::Result<ExitStatus> {
        self.signal(libc::SIGTERM)?;
        self.wait(limit)
    }

    /// Sends a signal; none to a process that has ended, whose number may be another's by now.
    ///
    /// # Errors
    /// When the signal cannot be sent.
    pub fn signal(&mut self, signal: i32) -> io::Result<()> {
        if !self.is_running()? {
            return Ok(());
        }
        let pid = i32::try_from(self.pid()).expect("Linux process numbers fit");
        // The group is the process's own; only a kill is meant for a wrapper's children as well.
        let target = if signal == libc::SIGKILL { -pid } else { pid };
        // SAFETY: the number is that of our own child, not reaped yet, so it is not reused.
        match unsafe { libc::kill(target, signal) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// Waits for the process to end by itself.
    ///
    /// # Errors
    /// When it has not within `limit`.
    pub fn wait(&mut self, limit: Duration) -> io::Result<ExitStatus> {
        let deadline = Instant::now() + limit;
        while self.is_running()? {
            if Instant::now() > deadline {
                return Err(io::Error::new(
                    io::ErrorKind::TimedOut,
                    format!("{} did not end; its last words:\n{}", self.name, self.told()),
                ));
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        Ok(self.ended.expect("a process that does not run has ended"))
    }

    /// Kills the process before it says that it serves, `moment` after its start at the latest;
    /// `false` when it was faster.
    ///
    /// # Errors
    /// When it ended by itself, or cannot be reaped.
    pub(super) fn kill_before_ready(mut self, moment: Duration) -> io::Result<bool> {
        let ready = self.ready(moment).is_ok();
        if !self.is_running()? {
            return Err(io::Error::other(format!("it ended by itself:\n{}", self.told())));
        }
        self.kill9()?;
        Ok(!ready)
    }

    /// All lines of both streams, after the end.
    pub(super) fn into_output(mut self) -> (Vec<String>, Vec<String>) {
        let finish = |output: Option<Output>| output.map_or_else(Vec::new, |o| o.finish(DRAIN));
        (finish(self.stdout.take()), finish(self.stderr.take()))
    }

    fn out(&self) -> &Output {
        self.stdout.as_ref().expect("streams are taken only with the process")
    }

    fn err(&self) -> &Output {
        self.stderr.as_ref().expect("streams are taken only with the process")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Nothing can be done about a process that cannot be killed; drop must not panic.
        let _ = self.kill9();
    }
}
