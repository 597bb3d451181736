//! Where the linker puts the programs: the loader at the start, what it starts behind it.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rustc-link-arg-bin=loader=--defsym=_flash_bytes=0x8000");
    for image in ["node", "node-http"] {
        println!("cargo:rustc-link-arg-bin={image}=--defsym=_flash_origin=0x8000");
        // Or what is loaded would begin with the file's own head.
        println!("cargo:rustc-link-arg-bin={image}=--nmagic");
    }
}
