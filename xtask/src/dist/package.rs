//! One Debian package: a staged tree, and `dpkg-deb` that packs it.

use super::Node;
use crate::child;
use crate::cross::Machine;
use crate::workspace::{Metadata, Problem};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

/// The maintainer scripts; dpkg runs them.
const SCRIPTS: [&str; 3] = ["postinst", "prerm", "postrm"];
/// The most of a system that a unit may leave open to its program, in tenths, as systemd counts it.
const MOST_EXPOSED: u32 = 15;
/// Both licences, of which a user picks one.
const LICENCES: [&str; 2] = ["LICENSE-MIT", "LICENSE-APACHE"];

/// Makes the package of `node` for `machine` from its built `program`, and says where it lies.
pub fn make(
    root: &Path,
    metadata: &Metadata,
    machine: Machine,
    node: &Node,
    program: &Path,
) -> Result<PathBuf, Problem> {
    let dist = metadata.target_directory.join("dist");
    let stage = dist.join("stage").join(machine.name()).join(node.name);
    let _ = fs::remove_dir_all(&stage);
    let doc = format!("usr/share/doc/{}", node.name);
    put(&stage, &format!("usr/bin/{}", node.name), &read(program)?, 0o755)?;
    let files = root.join(node.folder);
    let unit = format!("{}.service", node.name);
    put(&stage, &format!("usr/lib/systemd/system/{unit}"), &read(&files.join(&unit))?, 0o644)?;
    let manual = read(&root.join("docs/operations.md"))?;
    put(&stage, &format!("{doc}/operations.md"), &manual, 0o644)?;
    let [mit, apache] = LICENCES.map(|file| read(&root.join(file)));
    let either = b"\nOr, as you like:\n\n".to_vec();
    put(&stage, &format!("{doc}/copyright"), &[mit?, either, apache?].concat(), 0o644)?;
    check_unit(&stage, &unit)?;

    let version = version(metadata, node.name)?;
    let control = String::from_utf8_lossy(&read(&files.join("control"))?).into_owned();
    let kib = tree_bytes(&stage)?.div_ceil(1024).to_string();
    let libc = newest_libc(&read(program)?).ok_or("the program names no version of libc")?;
    let values = [
        ("@VERSION@", version.as_str()),
        ("@ARCHITECTURE@", machine.debian()),
        ("@SIZE@", &kib),
        ("@LIBC@", &libc),
    ];
    let control = values.iter().fold(control, |text, (name, value)| text.replace(name, value));
    put(&stage, "DEBIAN/control", control.as_bytes(), 0o644)?;
    for script in SCRIPTS {
        put(&stage, &format!("DEBIAN/{script}"), &read(&files.join(script))?, 0o755)?;
    }
    let package = dist.join(format!("{}_{version}_{}.deb", node.name, machine.debian()));
    let mut pack = child::command("dpkg-deb", root);
    pack.args(["--build", "--root-owner-group"]).arg(&stage).arg(&package);
    pack.stdout(std::io::stderr());
    if let Some(seconds) = last_change(root) {
        // The same sources make the same package.
        pack.env("SOURCE_DATE_EPOCH", seconds);
    }
    let end = child::run(&mut pack, None).map_err(|e| format!("cannot run dpkg-deb: {e}"))?;
    end.success().then_some(package).ok_or_else(|| "dpkg-deb failed".into())
}

/// Where systemd is, it says what it does not understand in a unit, and how open the unit is.
fn check_unit(stage: &Path, unit: &str) -> Result<(), Problem> {
    let path = stage.join("usr/lib/systemd/system").join(unit);
    let analyze = |arguments: &[&str]| {
        let mut analyze = child::command("systemd-analyze", stage);
        analyze.args(arguments).arg("--no-pager").output()
    };
    let root = format!("--root={}", stage.display());
    // What lies outside the package is missing in its tree, and no finding.
    let Ok(verified) = analyze(&["verify", "--man=no", "--recursive-errors=no", &root, unit])
    else {
        eprintln!("{unit} is not checked: there is no systemd-analyze here");
        return Ok(());
    };
    let place = format!("{}:", path.display());
    let said = String::from_utf8_lossy(&verified.stderr).into_owned();
    let findings: Vec<&str> = said.lines().filter(|line| line.starts_with(&place)).collect();
    if !findings.is_empty() {
        return Err(findings.join("\n"));
    }
    let threshold = format!("--threshold={MOST_EXPOSED}");
    let path = path.display().to_string();
    let judged = analyze(&["security", "--offline=true", &threshold, &path]);
    let judged = judged.map_err(|error| format!("systemd-analyze: {error}"))?;
    let said = String::from_utf8_lossy(&judged.stdout).into_owned();
    eprintln!("{}", said.lines().last().unwrap_or_default());
    judged.status.success().then_some(()).ok_or_else(|| format!("{unit} is too open"))
}

/// The newest version of a symbol that `program` wants of the C library. That its relocations are
/// packed it says by a symbol of its own, of version 2.36.
fn newest_libc(program: &[u8]) -> Option<String> {
    const MARK: &[u8] = b"GLIBC_";
    const PACKED: &[u8] = b"GLIBC_ABI_DT_RELR";
    let packed = program.windows(PACKED.len()).any(|bytes| bytes == PACKED);
    let marks = program.windows(MARK.len()).enumerate().filter(|(_, bytes)| *bytes == MARK);
    let version = |at: usize| {
        let rest = &program[at + MARK.len()..];
        let end = rest.iter().position(|byte| !(byte.is_ascii_digit() || *byte == b'.'))?;
        let (major, minor) = std::str::from_utf8(&rest[..end]).ok()?.split_once('.')?;
        let minor = minor.split('.').next()?;
        Some((major.parse::<u32>().ok()?, minor.parse::<u32>().ok()?))
    };
    let newest = marks.filter_map(|(at, _)| version(at)).max()?;
    let newest = newest.max(if packed { (2, 36) } else { (0, 0) });
    Some(format!("{}.{}", newest.0, newest.1))
}

fn version(metadata: &Metadata, name: &str) -> Result<String, Problem> {
    let package = metadata.packages.iter().find(|package| package.name == name);
    package.map(|p| p.version.clone()).ok_or_else(|| format!("there is no package {name}"))
}

fn last_change(root: &Path) -> Option<String> {
    let output = child::command("git", root).args(["log", "-1", "--format=%ct"]).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    (output.status.success() && !text.is_empty()).then_some(text)
}

fn read(path: &Path) -> Result<Vec<u8>, Problem> {
    fs::read(path).map_err(|error| format!("{}: {error}", path.display()))
}

fn put(stage: &Path, path: &str, bytes: &[u8], mode: u32) -> Result<(), Problem> {
    let path = stage.join(path);
    let write = || -> std::io::Result<()> {
        // Whatever this user's mask is: what is installed can be read by everybody.
        for folder in path.ancestors().skip(1).take_while(|folder| folder.starts_with(stage)) {
            fs::create_dir_all(folder)?;
            fs::set_permissions(folder, fs::Permissions::from_mode(0o755))?;
        }
        fs::write(&path, bytes)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(mode))
    };
    write().map_err(|error| format!("{}: {error}", path.display()))
}

fn tree_bytes(dir: &Path) -> Result<u64, Problem> {
    let failed = |error: std::io::Error| format!("{}: {error}", dir.display());
    let mut bytes = 0;
    for entry in fs::read_dir(dir).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let metadata = entry.metadata().map_err(failed)?;
        bytes += if metadata.is_dir() { tree_bytes(&entry.path())? } else { metadata.len() };
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dist::NODES;
    use crate::workspace;

    #[test]
    fn the_newest_version_of_libc_is_by_number_and_not_by_letter() {
        let program = b"..GLIBC_2.4\0GLIBC_2.17\0GLIBC_2.9\0GLIBC_PRIVATE\0GLIBC_2.2.5\0";
        assert_eq!(newest_libc(program).as_deref(), Some("2.17"));
        let packed = b"..GLIBC_2.34\0GLIBC_ABI_DT_RELR\0";
        assert_eq!(newest_libc(packed).as_deref(), Some("2.36"));
        assert_eq!(newest_libc(b"static"), None);
    }

    #[test]
    fn a_package_names_the_places_of_its_own_node() {
        for node in &NODES {
            let files = workspace::root().join(node.folder);
            let text = |file: &str| fs::read_to_string(files.join(file)).unwrap();
            let unit = text(&format!("{}.service", node.name));
            assert!(unit.contains(&format!("ExecStart=/usr/bin/{} ", node.name)));
            assert!(unit.contains(&format!("/etc/holdfast/{}.toml", node.short)));
            assert!(unit.contains(&format!("StateDirectory=holdfast/{}\n", node.short)));
            assert!(text("control").contains(&format!("Package: {}\n", node.name)));
            for other in NODES.iter().filter(|other| other.name != node.name) {
                let place = format!("/var/lib/holdfast/{}", other.short);
                let scripts = SCRIPTS.map(text).concat();
                assert!(!scripts.contains(&place), "a script of {} names {place}", node.name);
            }
        }
    }
}
