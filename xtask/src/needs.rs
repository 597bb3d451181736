//! Programs a lane needs from the system, and how they get there.
//!
//! Each is looked for in `PATH`. As root on Debian, or on a build machine (`CI=true`), what is
//! missing is installed; elsewhere one line says how, and the lanes that need it are left out.

use crate::child;
use std::path::Path;

/// A program and the Debian package that brings it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Need {
    /// What is looked for in `PATH`, or a file by its whole path.
    pub program: &'static str,
    /// What is installed.
    pub package: &'static str,
}

/// A program, or a file by its whole path, and the package that brings it.
pub const fn need(program: &'static str, package: &'static str) -> Need {
    Need { program, package }
}

/// Of the scenarios: to look at system calls, and to give a node a wrong clock.
pub const SCENARIO: &[Need] = &[need("strace", "strace"), need("faketime", "faketime")];
/// Of the clients of others: Mosquitto's programs, Paho for Python, and what runs and fetches
/// mqtt.js.
pub const INTEROP: &[Need] = &[
    need("mosquitto_rr", "mosquitto-clients"),
    need("/usr/bin/python3", "python3"),
    need("/usr/lib/python3/dist-packages/paho/mqtt/client.py", "python3-paho-mqtt"),
    need("node", "nodejs"),
    need("npm", "npm"),
];
/// Of the pages: what runs their tests, and a browser to run them in.
pub const WEB: &[Need] = &[need("node", "nodejs"), need("chromium", "chromium")];

/// Whether this runs on a build machine, where nothing may be left out.
pub fn on_build_machine() -> bool {
    std::env::var_os("CI").is_some_and(|value| value == "true")
}

/// Of `needs`, those that are not here. Installs them first where that is allowed.
pub fn missing(needs: &[Need]) -> Vec<Need> {
    let absent = absent(needs);
    if absent.is_empty() || !may_install() {
        return absent;
    }
    install(&absent);
    self::absent(needs)
}

/// The line that brings what is missing.
pub fn line_to_install(missing: &[Need]) -> String {
    let packages: Vec<&str> = missing.iter().map(|need| need.package).collect();
    format!("sudo apt-get install -y --no-install-recommends {}", packages.join(" "))
}

fn absent(needs: &[Need]) -> Vec<Need> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let is_here =
        |need: &&Need| std::env::split_paths(&path).any(|d| d.join(need.program).exists());
    needs.iter().filter(|need| !is_here(need)).copied().collect()
}

/// Whether this process may do anything.
pub fn is_root() -> bool {
    // SAFETY: geteuid has no arguments and cannot fail.
    unsafe { libc::geteuid() == 0 }
}

fn may_install() -> bool {
    Path::new("/etc/debian_version").exists() && (is_root() || on_build_machine())
}

/// A failure is seen by looking for the programs again, so none is reported here.
fn install(missing: &[Need]) {
    let packages: Vec<&str> = missing.iter().map(|need| need.package).collect();
    eprintln!("installing {}", packages.join(", "));
    apt_get(&["update", "--quiet", "--quiet"]);
    let install = ["install", "--quiet", "--quiet", "-y", "--no-install-recommends"];
    apt_get(&[&install[..], &["-o=Dpkg::Use-Pty=0"], &packages].concat());
}

fn apt_get(arguments: &[&str]) {
    let words: &[&str] = if is_root() { &["apt-get"] } else { &["sudo", "-n", "-E", "apt-get"] };
    let mut command = child::command(words[0], Path::new("/"));
    command.args(&words[1..]).args(arguments).env("DEBIAN_FRONTEND", "noninteractive");
    command.stdin(std::process::Stdio::null()).stdout(std::io::stderr());
    if let Err(error) = child::run(&mut command, None) {
        eprintln!("cannot run apt-get: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_in_the_path_is_absent() {
        let here = need("sh", "dash");
        let nowhere = need("holdfast-no-such-program", "holdfast-no-such-package");
        let file = need("/no/such/crt1.o", "holdfast-no-such-library");
        let shell = need("/bin/sh", "dash");
        assert_eq!(absent(&[here, nowhere, shell, file]), vec![nowhere, file]);
        assert!(line_to_install(&[nowhere]).ends_with(" holdfast-no-such-package"));
    }
}
