//! The workspace as cargo sees it: where it is, what it holds, and what a build of it produced.

use crate::child;
use serde::Deserialize;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Why a command of the project could not do its work, as one sentence for the terminal.
pub type Problem = String;

/// The folder of the root `Cargo.toml`.
pub fn root() -> PathBuf {
    let here = std::env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
    let parent = here.as_deref().and_then(Path::parent).map(Path::to_path_buf);
    parent.unwrap_or_else(|| PathBuf::from("."))
}

/// `cargo` in the root, with the toolchain this process was started by.
pub fn cargo() -> Command {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut cargo = child::command(program, &root());
    cargo.stdin(Stdio::null());
    cargo
}

/// What rustc calls the machine that this runs on.
///
/// # Errors
/// rustc does not say so.
pub fn host() -> Result<String, Problem> {
    let mut rustc = Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()));
    let output = rustc.arg("-vV").output();
    let output = output.map_err(|error| format!("cannot run rustc: {error}"))?;
    let told = String::from_utf8_lossy(&output.stdout);
    let host = told.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).ok_or_else(|| "rustc does not say on what it runs".to_owned())
}

/// What `cargo metadata` tells about the packages.
#[derive(Debug, Clone, Deserialize)]
pub struct Metadata {
    /// The members, with `--no-deps`.
    pub packages: Vec<Package>,
    /// Where build output goes.
    pub target_directory: PathBuf,
}

/// One package of the workspace.
#[derive(Debug, Clone, Deserialize)]
pub struct Package {
    /// Its name in `Cargo.toml`.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Its `Cargo.toml`.
    pub manifest_path: PathBuf,
    /// What it declares to need, of every kind.
    pub dependencies: Vec<Dependency>,
    /// What it builds.
    pub targets: Vec<Target>,
}

/// A declared dependency.
#[derive(Debug, Clone, Deserialize)]
pub struct Dependency {
    /// The package that is needed.
    pub name: String,
    /// `dev` or `build`; absent for what the product itself needs.
    pub kind: Option<String>,
}

/// A library, binary or test of a package.
#[derive(Debug, Clone, Deserialize)]
pub struct Target {
    /// The name of the target, and of the file it becomes.
    pub name: String,
    /// `lib`, `bin`, `test`, ...
    pub kind: Vec<String>,
}

/// Reads the members of the workspace whose manifest is `manifest`.
pub fn metadata(manifest: &Path) -> Result<Metadata, Problem> {
    let arguments = ["metadata", "--format-version=1", "--no-deps", "--manifest-path"];
    let output = cargo().args(arguments).arg(manifest).output();
    let output = output.map_err(|e| format!("cannot run cargo: {e}"))?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    serde_json::from_slice(&output.stdout).map_err(|e| format!("cargo metadata: {e}"))
}

/// A file a build produced that can be run.
#[derive(Debug, Clone)]
pub struct Executable {
    /// The package it belongs to.
    pub package: String,
    /// The target in that package.
    pub target: Target,
    /// Whether it is a test binary.
    pub test: bool,
    /// The file.
    pub path: PathBuf,
    /// The folder of the package, where its tests expect to run.
    pub dir: PathBuf,
}

/// Runs `cargo build` with `arguments`, its own progress on standard error, and says what can be
/// run now.
pub fn build(metadata: &Metadata, arguments: &[&str]) -> Result<Vec<Executable>, Problem> {
    build_with(metadata, arguments, &[])
}

/// As [`build`], with variables for this build alone.
pub fn build_with(
    metadata: &Metadata,
    arguments: &[&str],
    variables: &[(String, String)],
) -> Result<Vec<Executable>, Problem> {
    build_in(&root(), metadata, arguments, variables)
}

/// As [`build_with`], in the folder of a workspace that has settings of its own for cargo.
pub fn build_in(
    folder: &Path,
    metadata: &Metadata,
    arguments: &[&str],
    variables: &[(String, String)],
) -> Result<Vec<Executable>, Problem> {
    let dir = metadata.target_directory.join("xtask");
    // Of this process alone: another command of the project may be building, too.
    let messages = dir.join(format!("build-{}.json", std::process::id()));
    let cannot = |e: std::io::Error| format!("cannot write {}: {e}", messages.display());
    std::fs::create_dir_all(&dir).map_err(cannot)?;
    let file = std::fs::File::create(&messages).map_err(cannot)?;
    let mut cargo = cargo();
    cargo.current_dir(folder);
    cargo.args(["build", "--message-format=json-render-diagnostics"]).args(arguments).stdout(file);
    cargo.envs(variables.iter().cloned());
    let end = child::run(&mut cargo, None).map_err(|e| format!("cannot run cargo: {e}"))?;
    let text = std::fs::read_to_string(&messages).map_err(cannot)?;
    std::fs::remove_file(&messages).map_err(cannot)?;
    if !end.success() {
        return Err("the build failed".into());
    }
    Ok(executables(metadata, &text))
}

fn executables(metadata: &Metadata, messages: &str) -> Vec<Executable> {
    #[derive(Deserialize)]
    struct Profile {
        test: bool,
    }
    #[derive(Deserialize)]
    struct Artifact {
        executable: Option<PathBuf>,
        manifest_path: PathBuf,
        target: Target,
        profile: Profile,
    }
    let artifacts = messages.lines().filter_map(|line| serde_json::from_str::<Artifact>(line).ok());
    let executable = |artifact: Artifact| {
        let is_it = |package: &&Package| package.manifest_path == artifact.manifest_path;
        let package = metadata.packages.iter().find(is_it)?;
        Some(Executable {
            package: package.name.clone(),
            target: artifact.target,
            test: artifact.profile.test,
            path: artifact.executable?,
            dir: package.manifest_path.parent()?.to_path_buf(),
        })
    };
    artifacts.filter_map(executable).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_can_be_run_is_taken_from_the_messages_of_a_build() {
        let package = Package {
            name: "a".into(),
            version: "0.1.0".into(),
            manifest_path: "/r/a/Cargo.toml".into(),
            dependencies: Vec::new(),
            targets: Vec::new(),
        };
        let metadata = Metadata { packages: vec![package], target_directory: "/r/target".into() };
        let line = |executable: &str| {
            format!(
                r#"{{"reason":"compiler-artifact","manifest_path":"/r/a/Cargo.toml",
                "target":{{"name":"it","kind":["test"]}},"profile":{{"test":true}},
                "executable":{executable}}}"#
            )
            .replace('\n', " ")
        };
        let finished = r#"{"reason":"build-finished","success":true}"#;
        let messages = format!("{}\n{}\n{finished}\n", line("null"), line(r#""/r/target/it-1""#));
        let found = executables(&metadata, &messages);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].dir, PathBuf::from("/r/a"));
        assert!(found[0].test);
    }
}
