//! The gateway built for ARM, and the smoke test of the scenarios run on it under an emulator.
//!
//! The test itself runs on this machine; it finds, where it looks for the gateway, a script that
//! hands the gateway to the emulator. On an ARM machine nothing needs to be emulated.

use super::{Lane, Run, suite};
use crate::child;
use crate::cross::{self, Machine};
use crate::needs::{self, Need, need};
use crate::report::{Record, Verdict};
use crate::workspace::{self, Problem};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

/// The machine most gateways are.
const MACHINE: Machine = Machine::Aarch64;
/// The program that is tried.
const PROGRAM: &str = "holdfast-edge";
/// The module of the scenarios that is short enough for an emulator.
const SMOKE: &str = "smoke::";

/// What the lane needs from the system.
pub fn needs() -> Vec<Need> {
    let emulator = (!MACHINE.is_here()).then_some(need("qemu-aarch64", "qemu-user"));
    MACHINE.needs().iter().copied().chain(emulator).collect()
}

/// Builds the gateway and runs the smoke test on it.
pub fn run(run: &mut Run<'_>) -> Result<(), Problem> {
    if let Err(line) = cross::bring_library(MACHINE.triple()) {
        eprintln!("arm: left out; to have it: {line}");
        let verdict = if needs::on_build_machine() { Verdict::Failed } else { Verdict::Skipped };
        let name = format!("the whole lane; it needs: {line}");
        run.records.push(Record::new(Lane::Arm, name, verdict));
        return Ok(());
    }
    let arguments = ["-p", PROGRAM, "--bins", "--target", MACHINE.triple()];
    let built = workspace::build_with(&run.metadata, &arguments, &MACHINE.variables())?;
    let program = built.iter().find(|program| program.target.name == PROGRAM);
    let program = program.ok_or_else(|| format!("cargo built no `{PROGRAM}`"))?;
    let dir = run.metadata.target_directory.join("xtask/arm");
    let script = script(&MACHINE.emulator(), &program.path);
    let wrap = || -> std::io::Result<PathBuf> {
        fs::create_dir_all(&dir)?;
        let path = dir.join(PROGRAM);
        fs::write(&path, &script)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
        Ok(dir.clone())
    };
    let dir = wrap().map_err(|error| format!("{}: {error}", dir.display()))?;
    let before = run.records.len();
    suite::run_with(run, Lane::Arm, Some(dir), |test| test.is_scenario(SMOKE))?;
    if run.records.len() == before && run.options.filter.is_none() && !child::interrupted() {
        return Err(format!("there is no test in the module {SMOKE} of the scenarios"));
    }
    Ok(())
}

/// It becomes the emulator, so that the process started is the one a signal reaches.
fn script(emulator: &[String], program: &Path) -> String {
    let words = [emulator, &[program.display().to_string()]].concat();
    let quoted: Vec<String> = words.iter().map(|word| format!("'{word}'")).collect();
    format!("#!/bin/sh\nexec {} \"$@\"\n", quoted.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_script_becomes_the_emulator_or_the_program_itself() {
        let program = Path::new("/a b/holdfast-edge");
        let emulated = script(&["qemu".into(), "-L".into(), "/x".into()], program);
        assert!(emulated.ends_with("exec 'qemu' '-L' '/x' '/a b/holdfast-edge' \"$@\"\n"));
        assert!(script(&[], program).ends_with("exec '/a b/holdfast-edge' \"$@\"\n"));
    }
}
