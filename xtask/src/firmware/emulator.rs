//! One emulated device at a gateway of this machine, for people: what it says goes to the terminal,
//! its flash is a file, so it remembers who it is and what it has measured from run to run.

use crate::needs;
use crate::workspace::{self, Problem};
use clap::Args;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

/// What the host's own address is from inside the emulator.
const HOST_INSIDE: &str = "10.0.2.2";

/// A network with this host in it.
const NETWORK: [&str; 4] = ["-netdev", "user,id=n0", "-net", "nic,model=lan9118,netdev=n0"];

/// `cargo xtask firmware run`.
#[derive(Args)]
pub struct DeviceOptions {
    /// The address of the gateway [default: 127.0.0.1:1883, or 127.0.0.1:8484 with --http]
    #[arg(long)]
    gateway: Option<SocketAddr>,
    /// A device that measures only and posts by HTTP, in the place of one that speaks MQTT, acts
    /// and runs workflows
    #[arg(long, conflicts_with = "fleet")]
    http: bool,
    /// The id of the device
    #[arg(long, default_value = "mcu-1")]
    device: String,
    /// Its token, from `holdfast-edge token new`; only needed the first time
    #[arg(long)]
    token: Option<String>,
    /// The fleet whose workflows it takes, from `holdfast-edge status`; goes with --token
    #[arg(long, requires = "token")]
    fleet: Option<String>,
    /// Put the firmware that was built now into a device that has some already, as a programmer's
    /// cable does; what it keeps stays
    #[arg(long)]
    reflash: bool,
    /// The file that is its flash [default: target/firmware/DEVICE.flash]
    #[arg(long)]
    flash: Option<PathBuf>,
}

impl DeviceOptions {
    /// What it runs.
    const fn program(&self) -> &'static str {
        if self.http { super::POSTING } else { super::NODE }
    }

    fn gateway(&self) -> SocketAddr {
        let port = if self.http { 8484 } else { 1883 };
        self.gateway.unwrap_or_else(|| (Ipv4Addr::LOCALHOST, port).into())
    }
}

/// Becomes the emulator of a device, which is flashed first if it is new.
pub fn become_device(programs: &Path, options: &DeviceOptions) -> Result<ExitCode, Problem> {
    check_is_there()?;
    check_id(&options.device)?;
    let default = || workspace::root().join(format!("target/firmware/{}.flash", options.device));
    let flash = options.flash.clone().unwrap_or_else(default);
    let (folder, name) = match (flash.parent(), flash.file_name()) {
        (Some(folder), Some(name)) => (folder.to_path_buf(), name.to_string_lossy().into_owned()),
        _ => return Err(format!("{} is no name of a file", flash.display())),
    };
    let is_new = !flash.exists();
    if is_new && options.token.is_none() {
        return Err(format!(
            "{} is a new device and has no token yet; make one at its gateway with `holdfast-edge \
             token new --device {}` and hand it over with --token",
            options.device, options.device
        ));
    }
    let mut words = vec!["node".to_owned(), format!("flash={name}")];
    if let Some(token) = &options.token {
        let gateway = options.gateway();
        let ip = gateway.ip();
        let ip = if ip.is_loopback() { HOST_INSIDE.to_owned() } else { ip.to_string() };
        words.push(format!("device={}", options.device));
        words.push(format!("token={token}"));
        words.push(format!("gateway={ip}:{}", gateway.port()));
        words.extend(options.fleet.iter().map(|fleet| format!("fleet={fleet}")));
    }
    let (image, built) = (Path::new(&name).with_extension("image"), options.program());
    let built = format!("{built}.bin");
    let copied = std::fs::create_dir_all(&folder)
        .and_then(|()| std::fs::copy(programs.join(built), folder.join(&image)));
    copied.map_err(|error| format!("cannot write {}: {error}", image.display()))?;
    words.push(format!("image={}", image.display()));
    words.extend(options.reflash.then(|| "reflash=yes".to_owned()));
    println!("{} with its flash in {}; Ctrl-C ends it", options.device, flash.display());
    let mut qemu = board(&programs.join(super::LOADER), &words);
    let error = qemu.args(["-serial", "stdio"]).args(NETWORK).current_dir(folder).exec();
    Err(format!("cannot run qemu-system-arm: {error}"))
}

/// Whether it can be a device's id, as `docs/http.md` has it.
fn check_id(device: &str) -> Result<(), Problem> {
    let is_fine = |byte: u8| byte.is_ascii_alphanumeric() || b"._:-".contains(&byte);
    if (1..=64).contains(&device.len()) && device.bytes().all(is_fine) {
        return Ok(());
    }
    Err(format!("`{device}` is no device id: it has 1 to 64 characters of A-Z a-z 0-9 . _ : -"))
}

/// Says what is missing where there is no emulator.
pub fn check_is_there() -> Result<(), Problem> {
    let needed = needs::missing(super::EMULATOR);
    if needed.is_empty() {
        return Ok(());
    }
    Err(format!("the emulator is missing; to have it: {}", needs::line_to_install(&needed)))
}

/// The emulated board with a program, and with these words for it.
pub fn board(program: &Path, words: &[String]) -> Command {
    let mut semihosting = "enable=on,target=native".to_owned();
    for word in words {
        // A comma would end a word for the emulator; two are one.
        semihosting.push_str(",arg=");
        semihosting.push_str(&word.replace(',', ",,"));
    }
    let mut qemu = Command::new("qemu-system-arm");
    qemu.args(["-M", "mps2-an385", "-display", "none", "-monitor", "none"])
        .args(["-semihosting-config", &semihosting, "-kernel"])
        .arg(program);
    qemu
}
