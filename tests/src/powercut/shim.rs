//! Where the shim's shared library is.

use std::env;
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

use crate::process::{BIN_DIR_ENV, bin_dir};

/// The shared library to preload. Where binaries are handed to the harness it lies beside them;
/// in a source tree cargo brings it up to date first, since no test depends on it by itself.
///
/// # Panics
/// When it cannot be built: no power cut can be tried then.
#[must_use]
pub fn library() -> PathBuf {
    static LIBRARY: OnceLock<PathBuf> = OnceLock::new();
    LIBRARY
        .get_or_init(|| {
            let path = bin_dir().join("libholdfast_shim.so");
            if env::var_os(BIN_DIR_ENV).is_none() {
                build(&path);
            }
            assert!(path.is_file(), "the power-cut shim is not at {}", path.display());
            path
        })
        .clone()
}

fn build(path: &std::path::Path) {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["build", "--quiet", "--package", "holdfast-shim"]);
    let profile = path.parent().and_then(|dir| dir.file_name());
    if profile.is_some_and(|name| name == "release") {
        command.arg("--release");
    }
    if let Some(target) = path.parent().and_then(|dir| dir.parent()) {
        command.arg("--target-dir").arg(target);
    }
    let status = command.current_dir(env!("CARGO_MANIFEST_DIR")).status();
    assert!(status.is_ok_and(|s| s.success()), "cargo could not build the power-cut shim");
}
