//! The machines the nodes are built for, and what it takes to build for one from another.
//!
//! Compilers are Debian's and are named by variables of the one build that needs them, so nothing
//! outside the repository has to be set up.

use crate::child;
use crate::needs::{self, Need, need};
use crate::workspace::{self, Problem};
use clap::ValueEnum;
use std::path::Path;
use std::time::Duration;

/// A machine that can run the nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Machine {
    /// 64-bit PCs and servers
    #[value(name = "x86_64")]
    X86_64,
    /// 64-bit ARM boards and servers
    Aarch64,
    /// 32-bit ARM boards with a floating point unit
    Armv7,
}

impl Machine {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::X86_64, Self::Aarch64, Self::Armv7];

    /// What it is called on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64",
            Self::Aarch64 => "aarch64",
            Self::Armv7 => "armv7",
        }
    }

    /// What rustc calls it.
    pub fn triple(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64-unknown-linux-gnu",
            Self::Aarch64 => "aarch64-unknown-linux-gnu",
            Self::Armv7 => "armv7-unknown-linux-gnueabihf",
        }
    }

    /// What Debian calls it.
    pub fn debian(self) -> &'static str {
        match self {
            Self::X86_64 => "amd64",
            Self::Aarch64 => "arm64",
            Self::Armv7 => "armhf",
        }
    }

    /// What the names of its tools and the folder of its C library begin with.
    fn gnu(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64-linux-gnu",
            Self::Aarch64 => "aarch64-linux-gnu",
            Self::Armv7 => "arm-linux-gnueabihf",
        }
    }

    /// Whether this process runs on one.
    pub fn is_here(self) -> bool {
        match self {
            Self::X86_64 => cfg!(target_arch = "x86_64"),
            Self::Aarch64 => cfg!(target_arch = "aarch64"),
            Self::Armv7 => cfg!(target_arch = "arm"),
        }
    }

    /// What has to be installed to build for it here.
    pub fn needs(self) -> &'static [Need] {
        const TO_X86_64: &[Need] = &[
            need("x86_64-linux-gnu-gcc", "gcc-x86-64-linux-gnu"),
            need("/usr/x86_64-linux-gnu/lib/crt1.o", "libc6-dev-amd64-cross"),
        ];
        const TO_AARCH64: &[Need] = &[
            need("aarch64-linux-gnu-gcc", "gcc-aarch64-linux-gnu"),
            need("/usr/aarch64-linux-gnu/lib/crt1.o", "libc6-dev-arm64-cross"),
        ];
        const TO_ARMV7: &[Need] = &[
            need("arm-linux-gnueabihf-gcc", "gcc-arm-linux-gnueabihf"),
            need("/usr/arm-linux-gnueabihf/lib/crt1.o", "libc6-dev-armhf-cross"),
        ];
        match self {
            _ if self.is_here() => &[],
            Self::X86_64 => TO_X86_64,
            Self::Aarch64 => TO_AARCH64,
            Self::Armv7 => TO_ARMV7,
        }
    }

    /// The variables that name its compiler and linker to cargo and to the builds of C code.
    pub fn variables(self) -> Vec<(String, String)> {
        if self.is_here() {
            return Vec::new();
        }
        let (gnu, triple) = (self.gnu(), self.triple().replace('-', "_"));
        let linker = format!("CARGO_TARGET_{}_LINKER", triple.to_uppercase());
        vec![
            (linker, format!("{gnu}-gcc")),
            (format!("CC_{triple}"), format!("{gnu}-gcc")),
            (format!("AR_{triple}"), format!("{gnu}-ar")),
        ]
    }

    /// The words that run one of its programs here.
    pub fn emulator(self) -> Vec<String> {
        let libraries = format!("/usr/{}", self.gnu());
        let qemu = match self {
            _ if self.is_here() => return Vec::new(),
            Self::X86_64 => "qemu-x86_64",
            Self::Aarch64 => "qemu-aarch64",
            Self::Armv7 => "qemu-arm",
        };
        [qemu, "-L", &libraries].map(str::to_owned).to_vec()
    }
}

/// What makes a program that is packed smaller: rustc's own linker, for whatever machine, which
/// keeps functions of the same code once, relocations packed, which the loader knows since glibc
/// 2.36 (Debian 12), and no symbols: a profile's `strip` is lost where a package has an
/// `opt-level` of its own.
///
/// # Errors
/// rustc does not say where it is.
pub fn link_flags() -> Result<[String; 5], Problem> {
    let sysroot = sysroot().ok_or("rustc does not say where its libraries are")?;
    let here = Machine::ALL.into_iter().find(|machine| machine.is_here());
    let here = here.ok_or("there is no linker for this machine")?.triple();
    let linker = Path::new(&sysroot).join("lib/rustlib").join(here).join("bin/gcc-ld");
    Ok([
        format!("-Clink-arg=-B{}", linker.display()),
        "-Clink-arg=-fuse-ld=lld".to_owned(),
        "-Cstrip=symbols".to_owned(),
        "-Clink-arg=-Wl,--icf=all".to_owned(),
        "-Clink-arg=-Wl,-z,pack-relative-relocs".to_owned(),
    ])
}

/// Sees to it that the standard library for `triple` is here: rustup brings it when it is asked.
///
/// # Errors
/// The line that installs it.
pub fn bring_library(triple: &str) -> Result<(), Problem> {
    if has_library(triple) {
        return Ok(());
    }
    let mut rustup = child::command("rustup", &workspace::root());
    rustup.args(["target", "add", triple]);
    let end = child::run(&mut rustup, Some(Duration::from_secs(300)));
    if end.is_ok_and(child::End::success) && has_library(triple) {
        return Ok(());
    }
    Err(format!("rustup target add {triple}"))
}

fn has_library(triple: &str) -> bool {
    let library = |sysroot| Path::new(&sysroot).join("lib/rustlib").join(triple).join("lib");
    sysroot().is_some_and(|sysroot| library(sysroot).exists())
}

fn sysroot() -> Option<String> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = child::command(rustc, &workspace::root()).args(["--print", "sysroot"]).output();
    Some(String::from_utf8_lossy(&output.ok()?.stdout).trim().to_owned())
}

/// Sees to it that one can build for each of `machines`, or says what is to be done first.
///
/// # Errors
/// The lines that install what is missing.
pub fn prepare(machines: &[Machine], others: &[Need]) -> Result<(), Problem> {
    let needs = machines.iter().flat_map(|machine| machine.needs()).chain(others);
    let missing = needs::missing(&needs.copied().collect::<Vec<_>>());
    let programs = (!missing.is_empty()).then(|| needs::line_to_install(&missing));
    let libraries = machines.iter().map(|machine| bring_library(machine.triple()));
    let lines: Vec<String> =
        programs.into_iter().chain(libraries.filter_map(Result::err)).collect();
    if lines.is_empty() {
        return Ok(());
    }
    Err(format!("something is missing; install it with\n  {}", lines.join("\n  ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_machine_has_its_own_compiler_and_this_one_needs_none() {
        for machine in Machine::ALL {
            assert_eq!(machine.is_here(), machine.needs().is_empty());
            assert_eq!(machine.is_here(), machine.emulator().is_empty());
            assert_eq!(machine.is_here(), machine.variables().is_empty());
        }
        if !Machine::Armv7.is_here() {
            let [linker, cc, _] = &Machine::Armv7.variables()[..] else { panic!("three") };
            assert_eq!(linker.0, "CARGO_TARGET_ARMV7_UNKNOWN_LINUX_GNUEABIHF_LINKER");
            assert_eq!(cc.0, "CC_armv7_unknown_linux_gnueabihf");
            assert_eq!(cc.1, "arm-linux-gnueabihf-gcc");
        }
    }

    #[test]
    fn the_toolchain_file_names_every_machine() {
        let path = workspace::root().join("rust-toolchain.toml");
        let text = std::fs::read_to_string(path).unwrap();
        for machine in Machine::ALL {
            assert!(text.contains(machine.triple()), "{} is not named", machine.triple());
        }
    }
}
