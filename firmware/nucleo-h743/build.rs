//! Where the linker puts the programs: the loader at the start of the flash, the node where the
//! loader starts it. The figures are those of src/places.rs.

use std::path::PathBuf;

fn main() {
    let out = PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo sets it"));
    std::fs::write(out.join("memory.x"), include_bytes!("memory.x")).expect("it can be written");
    println!("cargo:rerun-if-changed=memory.x");
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rustc-link-search={}", out.display());
    for (program, origin, bytes) in
        [("loader", 0x0800_0000, 0x2_0000), ("node", 0x0802_0000, 0x4_0000)]
    {
        println!("cargo:rustc-link-arg-bin={program}=--defsym=_flash_origin={origin:#x}");
        println!("cargo:rustc-link-arg-bin={program}=--defsym=_flash_bytes={bytes:#x}");
        // Or what is loaded would begin with the file's own head.
        println!("cargo:rustc-link-arg-bin={program}=--nmagic");
    }
}
