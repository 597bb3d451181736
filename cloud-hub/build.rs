//! Compresses the reviewed description of the routes, for a program that carries it instead of what
//! makes it: it weighs a twentieth.

use flate2::Compression;
use flate2::write::GzEncoder;
use std::fs::File;
use std::path::Path;
use std::{env, io};

/// The description, from this package.
const REVIEWED: &str = "../docs/openapi/hub.json";

fn main() -> io::Result<()> {
    println!("cargo::rerun-if-changed={REVIEWED}");
    let out = env::var_os("OUT_DIR").ok_or(io::ErrorKind::NotFound)?;
    let file = File::create(Path::new(&out).join("openapi.json.gz"))?;
    let mut packed = GzEncoder::new(file, Compression::best());
    io::copy(&mut File::open(REVIEWED)?, &mut packed)?;
    packed.finish()?;
    Ok(())
}
