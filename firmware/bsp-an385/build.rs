//! Puts the two files that the runtime's linker script includes where the linker of every program
//! on this board looks for them.

use std::path::PathBuf;

const FILES: [(&str, &[u8]); 2] =
    [("memory.x", include_bytes!("memory.x")), ("device.x", include_bytes!("device.x"))];

fn main() {
    let out = PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo sets it"));
    for (name, text) in FILES {
        std::fs::write(out.join(name), text).expect("it can be written");
        println!("cargo:rerun-if-changed={name}");
    }
    println!("cargo:rustc-link-search={}", out.display());
}
