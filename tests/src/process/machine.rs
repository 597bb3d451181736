//! What the machine says of a process, and lets it have.

use std::{fs, io};

/// What a process needs beside its connections.
const OTHER_FILES: u64 = 200;

/// Bytes that a process has in memory.
#[derive(Clone, Copy, Debug)]
pub struct Memory {
    /// Now.
    pub resident: u64,
    /// At most since it began.
    pub peak: u64,
}

impl Memory {
    /// That of the process with this number.
    ///
    /// # Errors
    /// When there is none.
    pub fn of(pid: u32) -> io::Result<Self> {
        let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
        let bytes = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
            let kib = kib.ok_or_else(|| io::Error::other(format!("process {pid} has no memory")));
            Ok::<_, io::Error>(kib? << 10)
        };
        Ok(Self { resident: bytes("VmRSS:")?, peak: bytes("VmHWM:")? })
    }

    /// What it has now, in MiB.
    #[must_use]
    pub fn mib(&self) -> f64 {
        self.resident as f64 / f64::from(1 << 20)
    }
}

/// Lets this process and those that it starts have so many connections open.
///
/// # Errors
/// When the system does not allow it.
pub fn allow_connections(count: u64) -> io::Result<()> {
    let wanted = count + OTHER_FILES;
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the structure is ours and lives as long as the call.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) } != 0 {
        return Err(io::Error::last_os_error());
    }
    if limit.rlim_cur >= wanted {
        return Ok(());
    }
    // Who may raise the hard limit does.
    limit = libc::rlimit { rlim_cur: wanted, rlim_max: limit.rlim_max.max(wanted) };
    // SAFETY: as above; the call only reads it.
    match unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) } {
        0 => Ok(()),
        _ => {
            let error = io::Error::last_os_error();
            let what = format!("{wanted} open files are needed: {error}; try `ulimit -n {wanted}`");
            Err(io::Error::new(error.kind(), what))
        }
    }
}
