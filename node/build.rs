//! Compresses the pages, which are embedded so: they weigh a third, in the program and on the way.

use flate2::Compression;
use flate2::write::GzEncoder;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

/// Where the pages are, from this package.
const WEB: &str = "../web";
/// Its folders with what pages load.
const FOLDERS: [&str; 3] = ["", "lib", "vendor"];

fn main() -> io::Result<()> {
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or(io::ErrorKind::NotFound)?).join("web");
    for folder in FOLDERS {
        let from = Path::new(WEB).join(folder);
        println!("cargo::rerun-if-changed={}", from.display());
        fs::create_dir_all(out.join(folder))?;
        for entry in fs::read_dir(&from)? {
            let entry = entry?;
            if !entry.file_type()?.is_file() {
                continue;
            }
            let mut name = entry.file_name();
            name.push(".gz");
            let file = fs::File::create(out.join(folder).join(name))?;
            let mut packed = GzEncoder::new(file, Compression::best());
            io::copy(&mut fs::File::open(entry.path())?, &mut packed)?;
            packed.finish()?;
        }
    }
    Ok(())
}
