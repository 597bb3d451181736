//! One emulated device: its flash is a file, its power is a process, its cable the emulator's.

use crate::process::{Launch, Running};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The variable that names the folder with the programs for the emulated board.
pub const FIRMWARE_DIR: &str = "HOLDFAST_FIRMWARE_DIR";
/// What the emulator starts, and what that puts into the flash of a new device.
const LOADER: &str = "loader";
/// An image of firmware.
pub const IMAGE: &str = "node.bin";
/// One that measures only, and posts by HTTP.
const POSTS: &str = "node-http.bin";
/// The emulator.
const EMULATOR: &str = "qemu-system-arm";
/// The host's loopback address, as it is called inside of the emulator.
const HOST_INSIDE: &str = "10.0.2.2";
/// The emulator's control socket, in the device's folder.
const CONTROL: &str = "control";
/// How long the emulator may take to end.
const LIMIT: Duration = Duration::from_secs(20);

/// A device.
pub struct Mcu {
    /// Its id.
    pub name: String,
    dir: PathBuf,
    image: &'static str,
    token: String,
    gateway: SocketAddr,
    fleet: Option<String>,
    running: Option<Running>,
    /// The boot and number of each sample that it said is in its flash.
    kept: BTreeSet<(u64, u64)>,
    /// The commands that it said it begins, in earlier starts, and how often each in this one.
    begun: Vec<String>,
    now: BTreeMap<String, usize>,
    starts: u64,
}

impl Mcu {
    /// One with a flash of its own below `dir`, at a gateway. Every 50 ms it measures the level of
    /// a tank, and other things less often.
    #[must_use]
    pub fn new(name: &str, dir: &Path, gateway: SocketAddr, token: &str) -> Self {
        let (name, token, dir) = (name.to_owned(), token.to_owned(), dir.join(name));
        let (kept, begun, now) = (BTreeSet::new(), Vec::new(), BTreeMap::new());
        let (image, fleet, running) = (IMAGE, None, None);
        Self { name, image, token, dir, gateway, fleet, running, kept, begun, now, starts: 0 }
    }

    /// One that measures the same and nothing else, and posts it to a gateway by HTTP.
    #[must_use]
    pub fn that_posts(name: &str, dir: &Path, gateway: SocketAddr, token: &str) -> Self {
        Self { image: POSTS, ..Self::new(name, dir, gateway, token) }
    }

    /// Has it take workflows of publishers of this fleet, from its next start on.
    pub fn trust(&mut self, fleet: String) {
        self.fleet = Some(fleet);
    }

    /// Whether the emulator and the programs for it are here.
    #[must_use]
    pub fn can_be() -> bool {
        let program = std::env::var_os(FIRMWARE_DIR).map(|dir| PathBuf::from(dir).join(LOADER));
        let path = std::env::var_os("PATH").unwrap_or_default();
        let has_emulator = std::env::split_paths(&path).any(|dir| dir.join(EMULATOR).is_file());
        has_emulator && program.is_some_and(|program| program.is_file())
    }

    /// Has it look for its gateway elsewhere from its next start on.
    pub const fn move_to(&mut self, gateway: SocketAddr) {
        self.gateway = gateway;
    }

    /// Gives it power.
    ///
    /// # Errors
    /// When the emulator cannot be started, or the program does not begin.
    pub fn start(&mut self) -> io::Result<()> {
        std::fs::create_dir_all(&self.dir)?;
        let folder = std::env::var_os(FIRMWARE_DIR).map(PathBuf::from).ok_or_else(|| {
            io::Error::other(format!("{FIRMWARE_DIR} does not name the programs of the board"))
        })?;
        let _ = std::fs::remove_file(self.dir.join(CONTROL));
        std::fs::copy(folder.join(self.image), self.dir.join(self.image))?;
        let arguments = format!(
            "arg=node,arg=flash=flash,arg=image={},arg=say=all,arg=faster=20,arg=device={},\
             arg=token={},arg=gateway={HOST_INSIDE}:{}",
            self.image,
            self.name,
            self.token,
            self.gateway.port()
        );
        let fleet = self.fleet.iter().map(|fleet| format!(",arg=fleet={fleet}"));
        let arguments = fleet.fold(arguments, |all, one| all + &one);
        // The emulator opens the flash in its working directory.
        let launch = Launch::program("env").args(["-C"]).args([self.dir.as_os_str()]).args([
            EMULATOR,
            "-M",
            "mps2-an385",
            "-display",
            "none",
            "-monitor",
            "none",
            "-serial",
            "stdio",
            "-semihosting-config",
            &format!("enable=on,target=native,{arguments}"),
            "-netdev",
            "user,id=n0",
            "-net",
            "nic,model=lan9118,netdev=n0",
            "-qmp",
            &format!("unix:{CONTROL},server=on,wait=off"),
            "-kernel",
        ]);
        let running = launch.args([folder.join(LOADER).as_os_str()]).start()?;
        running.line("boot", LIMIT, |line| line.starts_with("boot ").then_some(()))?;
        self.running = Some(running);
        self.starts += 1;
        Ok(())
    }

    /// Takes its power away.
    ///
    /// # Panics
    /// When it has none.
    pub fn kill(&mut self) {
        let mut running = self.running.take().expect("it has power");
        running.kill9().expect("the emulator can be killed");
        // To the end of what it said.
        let _ = running.line("nothing more", LIMIT, |_| None::<()>);
        self.read(&running.stdout());
        self.begun = self.begun();
        self.now.clear();
    }

    /// Pulls its cable out, or puts it in.
    ///
    /// # Errors
    /// When the emulator does not do so.
    pub fn plug(&self, is_in: bool) -> io::Result<()> {
        let stream = UnixStream::connect(self.dir.join(CONTROL))?;
        stream.set_read_timeout(Some(LIMIT))?;
        let mut replies = BufReader::new(stream.try_clone()?).lines();
        let mut ask = |line: &str| {
            (&stream).write_all(format!("{line}\n").as_bytes())?;
            // Events come between.
            let is_reply = |line: &io::Result<String>| {
                line.as_ref().map_or(true, |line| line.contains("\"return\""))
            };
            replies.by_ref().find(is_reply).unwrap_or_else(|| Err(io::ErrorKind::BrokenPipe.into()))
        };
        ask(r#"{"execute":"qmp_capabilities"}"#)?;
        let set = format!(r#"{{"execute":"set_link","arguments":{{"name":"n0","up":{is_in}}}}}"#);
        ask(&set).map(drop)
    }

    /// Notes the samples that it has said are in its flash. Of what it says only the last lines are
    /// remembered, so this is to be done now and then.
    pub fn note(&mut self) {
        if let Some(lines) = self.running.as_ref().map(Running::stdout) {
            self.read(&lines);
        }
    }

    fn read(&mut self, lines: &[String]) {
        self.kept.extend(said(lines, "kept"));
        // The same line is read as long as it is among the last.
        let mut begun = BTreeMap::<&str, usize>::new();
        for id in lines.iter().filter_map(|line| line.strip_prefix("begun ")) {
            *begun.entry(id).or_default() += usize::from(id.len() == 32);
        }
        for (id, times) in begun {
            let most = self.now.entry(id.to_owned()).or_default();
            *most = times.max(*most);
        }
    }

    /// How many of the last lines that it said are this one.
    #[must_use]
    pub fn heard(&self, line: &str) -> usize {
        let lines = self.running.as_ref().map(Running::stdout).unwrap_or_default();
        lines.iter().filter(|said| *said == line).count()
    }

    /// Whether one of the last lines that it said ends so.
    #[must_use]
    pub fn has_said(&self, end: &str) -> bool {
        let lines = self.running.as_ref().map(Running::stdout).unwrap_or_default();
        lines.iter().any(|said| said.ends_with(end))
    }

    /// What it said last beside its samples.
    #[must_use]
    pub fn said_last(&self, lines: usize) -> Vec<String> {
        let all = self.running.as_ref().map(Running::stdout).unwrap_or_default();
        let is_sample = |line: &&String| line.starts_with("kept ") || line.starts_with("freed ");
        let others: Vec<String> = all.iter().filter(|line| !is_sample(line)).cloned().collect();
        others[others.len().saturating_sub(lines)..].to_vec()
    }

    /// The commands that it said it begins, each as often as it said so.
    #[must_use]
    pub fn begun(&self) -> Vec<String> {
        let now = self.now.iter().flat_map(|(id, times)| std::iter::repeat_n(id, *times));
        self.begun.iter().chain(now).cloned().collect()
    }

    /// The boot and number of every sample that it was noted to have in its flash.
    #[must_use]
    pub const fn kept(&self) -> &BTreeSet<(u64, u64)> {
        &self.kept
    }

    /// How often it was started.
    #[must_use]
    pub const fn starts(&self) -> u64 {
        self.starts
    }
}

/// The samples in lines that begin with `word`.
fn said(lines: &[String], word: &str) -> Vec<(u64, u64)> {
    let of = |line: &String| {
        let mut parts = line.strip_prefix(word)?.split_ascii_whitespace();
        // A line may end where the power did.
        let name = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        parts.next().is_none().then_some(name)
    };
    lines.iter().filter_map(of).collect()
}
