//! Children of this process: each runs in a process group of its own, with a deadline.
//!
//! A group can be ended as a whole, so Ctrl-C, a deadline or a test that leaves processes behind
//! all end the same way: nothing started here outlives its command. A signal only sets a flag; the
//! loop that waits for the child sees it and acts.

use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// How often a waiting loop looks at its child: short against any test that matters.
const POLL: Duration = Duration::from_millis(4);
/// What a child gets to end by itself after it was asked to.
const GRACE: Duration = Duration::from_secs(3);

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// How a child came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// By itself, with this status.
    Exited(ExitStatus),
    /// By us, because its time was up.
    TimedOut,
    /// By us, because the user or the system asked this process to stop.
    Interrupted,
}

impl End {
    /// Whether the child ended by itself and reported success.
    pub fn success(self) -> bool {
        matches!(self, Self::Exited(status) if status.success())
    }
}

/// From here on SIGINT, SIGTERM and SIGHUP end the children instead of this process.
pub fn catch_signals() {
    extern "C" fn note(_signal: libc::c_int) {
        INTERRUPTED.store(true, Ordering::Relaxed);
    }
    let handler = note as extern "C" fn(libc::c_int) as libc::sighandler_t;
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
        // SAFETY: the handler only stores to an atomic, which is async-signal-safe.
        unsafe { libc::signal(signal, handler) };
    }
}

/// Whether a signal asked this process to stop.
pub fn interrupted() -> bool {
    INTERRUPTED.load(Ordering::Relaxed)
}

/// A command in `dir` without the variables that `cargo run` left behind: build scripts that watch
/// them would otherwise rebuild on every change between `cargo xtask` and plain `cargo`.
pub fn command(program: impl AsRef<std::ffi::OsStr>, dir: &Path) -> Command {
    let mut command = Command::new(program);
    command.current_dir(dir);
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        let per_package = ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_"];
        if per_package.iter().any(|prefix| text.starts_with(prefix)) {
            command.env_remove(&name);
        }
    }
    command
}

/// Runs `command` to its end, or ends it and everything it started.
pub fn run(command: &mut Command, limit: Option<Duration>) -> io::Result<End> {
    let started = Instant::now();
    let mut child = command.process_group(0).spawn()?;
    let end = loop {
        if let Some(status) = child.try_wait()? {
            break End::Exited(status);
        }
        if interrupted() {
            break End::Interrupted;
        }
        if limit.is_some_and(|limit| started.elapsed() > limit) {
            break End::TimedOut;
        }
        thread::sleep(POLL);
    };
    if !matches!(end, End::Exited(_)) {
        stop(&mut child)?;
    }
    signal_group(&child, libc::SIGKILL);
    Ok(end)
}

fn stop(child: &mut Child) -> io::Result<()> {
    signal_group(child, libc::SIGTERM);
    let asked = Instant::now();
    while asked.elapsed() < GRACE {
        if child.try_wait()?.is_some() {
            return Ok(());
        }
        thread::sleep(POLL);
    }
    signal_group(child, libc::SIGKILL);
    child.wait().map(drop)
}

/// A group keeps its number while any member lives, and an emptied one is not given out again
/// within the milliseconds between the end of the child and this signal.
fn signal_group(child: &Child, signal: libc::c_int) {
    let group = libc::pid_t::try_from(child.id()).expect("a process id fits its type");
    // SAFETY: killpg takes no pointers; a group that is gone answers ESRCH, which is fine here.
    unsafe { libc::killpg(group, signal) };
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Stdio;

    fn shell(script: &str) -> Command {
        let mut shell = command("sh", Path::new("/"));
        shell.args(["-c", script]).stdout(Stdio::null()).stderr(Stdio::null());
        shell
    }

    #[test]
    fn a_child_reports_its_own_end() {
        assert!(run(&mut shell("exit 0"), None).unwrap().success());
        assert!(!run(&mut shell("exit 3"), None).unwrap().success());
    }

    #[test]
    fn a_child_past_its_limit_is_ended() {
        let end = run(&mut shell("exec sleep 600"), Some(Duration::from_millis(50))).unwrap();
        assert_eq!(end, End::TimedOut);
    }

    #[test]
    fn what_a_child_leaves_behind_is_ended_with_it() {
        let path = std::env::temp_dir().join(format!("xtask-left-{}", std::process::id()));
        let script = format!("sleep 600 & echo $! > {}", path.display());
        assert!(run(&mut shell(&script), None).unwrap().success());
        let left: libc::pid_t = std::fs::read_to_string(&path).unwrap().trim().parse().unwrap();
        std::fs::remove_file(&path).unwrap();
        let deadline = Instant::now() + Duration::from_secs(10);
        while is_running(left) {
            assert!(Instant::now() < deadline, "{left} still runs");
            thread::yield_now();
        }
    }

    /// A zombie that nobody reaps has ended, so the state decides and not the existence.
    fn is_running(process: libc::pid_t) -> bool {
        std::fs::read_to_string(format!("/proc/{process}/stat"))
            .is_ok_and(|stat| !stat.contains(") Z "))
    }
}
