//! Runs the test binaries cargo built: one process per test, a few at a time.
//!
//! A process per test gives each its own duration, deadline and log, lets a crash or a leaked
//! process hurt that test alone, and needs no unstable option of the test library.

use super::progress::Progress;
use super::{Lane, Run, doc};
use crate::child::{self, End};
use crate::firmware::{self, Board};
use crate::peers;
use crate::report::{Record, Verdict};
use crate::workspace::{Executable, Problem};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// The target of `holdfast-tests` that starts the real binaries.
const SCENARIOS: &str = "scenarios";
/// The module of the scenarios with clients of others.
const INTEROP: &str = "interop::";
/// The module of the scenarios with emulated devices.
pub const DEVICES: &str = "firmware::";
/// The modules of an integration test that run under a simulated schedule.
const SIM: [&str; 2] = ["sim::", "state::"];
/// A line of a passing test that starts so is shown: how often each fault really struck.
const STRUCK: &str = "struck: ";
/// How much of the log of a failed test is shown; the rest is in the file.
const SHOWN_LINES: usize = 120;

/// One test function.
pub struct Test<'a> {
    executable: &'a Executable,
    path: String,
    ignored: bool,
}

/// What the tests of one lane share.
struct Setting {
    lane: Lane,
    logs: PathBuf,
    bin_dir: Option<PathBuf>,
    peers: PathBuf,
    firmware: PathBuf,
}

impl Test<'_> {
    /// Whether it starts the real binaries, in a module whose path begins so.
    pub fn is_scenario(&self, module: &str) -> bool {
        let Executable { package, target, .. } = self.executable;
        package == "holdfast-tests" && target.name == SCENARIOS && self.path.starts_with(module)
    }

    fn lane(&self) -> Lane {
        let target = &self.executable.target;
        let integration = target.kind.iter().any(|kind| kind == "test");
        if self.is_scenario(INTEROP) {
            Lane::Interop
        } else if self.is_scenario(DEVICES) {
            Lane::Firmware
        } else if self.is_scenario("") {
            Lane::Scenario
        } else if integration && SIM.iter().any(|module| self.path.starts_with(module)) {
            Lane::Sim
        } else {
            Lane::Unit
        }
    }

    fn name(&self) -> String {
        let Executable { package, target, .. } = self.executable;
        let unit = target.kind.iter().any(|kind| kind == "lib");
        if unit {
            format!("{package} {}", self.path)
        } else {
            format!("{package}/{} {}", target.name, self.path)
        }
    }
}

/// Runs the tests of `lane`.
pub fn run(run: &mut Run<'_>, lane: Lane) -> Result<(), Problem> {
    let bin_dir = run.bin_dir().map(Path::to_path_buf);
    run_with(run, lane, bin_dir, |test| test.lane() == lane)?;
    if lane == Lane::Unit && !child::interrupted() {
        let logs = run.metadata.target_directory.join("xtask/logs").join(lane.name());
        doc::run(run, &logs)?;
    }
    Ok(())
}

/// Runs the tests that `belongs` picks, on the binaries of `bin_dir`, as tests of `lane`.
pub fn run_with(
    run: &mut Run<'_>,
    lane: Lane,
    bin_dir: Option<PathBuf>,
    belongs: impl Fn(&Test<'_>) -> bool,
) -> Result<(), Problem> {
    let peers = peers::dir(&run.metadata);
    let firmware = firmware::programs_dir(&run.root, Board::Mps2An385);
    let setting = Setting { lane, logs: run.logs(lane)?, bin_dir, peers, firmware };
    let filter = run.options.filter.as_deref().unwrap_or_default();
    let mut tests = Vec::new();
    for executable in run.executables.iter().filter(|executable| executable.test) {
        tests.extend(list(executable)?);
    }
    tests.retain(|test| belongs(test) && test.name().contains(filter));
    let (ignored, tests): (Vec<_>, Vec<_>) = tests.into_iter().partition(|test| test.ignored);
    let skipped = ignored.iter().map(|test| Record::new(lane, test.name(), Verdict::Skipped));
    let mut records: Vec<Record> = skipped.collect();

    let jobs = run.options.jobs.unwrap_or_else(processors).clamp(1, tests.len().max(1));
    let mut progress = Progress::new(lane.name(), tests.len());
    let next = AtomicUsize::new(0);
    let (sender, receiver) = mpsc::channel();
    thread::scope(|scope| {
        for _ in 0..jobs {
            let (sender, next, tests, setting) = (sender.clone(), &next, &tests, &setting);
            scope.spawn(move || {
                while let Some(test) = tests.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if child::interrupted() || sender.send(run_one(test, setting)).is_err() {
                        return;
                    }
                }
            });
        }
        drop(sender);
        for (record, end) in receiver {
            progress.step(&record.name);
            show(&progress, &record, end, run.options.show_output);
            records.push(record);
        }
    });
    progress.end();
    run.records.extend(records);
    Ok(())
}

fn processors() -> usize {
    thread::available_parallelism().map_or(1, Into::into)
}

fn limit(lane: Lane) -> Duration {
    Duration::from_secs(if lane == Lane::Scenario { 1_200 } else { 300 })
}

/// Asks a test binary what it holds.
fn list(executable: &Executable) -> Result<Vec<Test<'_>>, Problem> {
    let ask = |ignored: bool| {
        let mut command = child::command(&executable.path, &executable.dir);
        command.args(["--list", "--format", "terse"]);
        if ignored {
            command.arg("--ignored");
        }
        let output = command.output().map_err(|e| format!("{}: {e}", executable.path.display()))?;
        if output.status.success() {
            Ok(names(&String::from_utf8_lossy(&output.stdout)))
        } else {
            Err(format!("{} does not list its tests", executable.path.display()))
        }
    };
    let ignored = ask(true)?;
    let test = |path: String| Test { executable, ignored: ignored.contains(&path), path };
    Ok(ask(false)?.into_iter().map(test).collect())
}

fn names(list: &str) -> Vec<String> {
    list.lines().filter_map(|line| line.strip_suffix(": test")).map(str::to_owned).collect()
}

fn run_one(test: &Test<'_>, setting: &Setting) -> (Record, Option<End>) {
    let Executable { package, target, .. } = test.executable;
    let file = format!("{package}.{}.{}.log", target.name, test.path.replace("::", "."));
    let log = setting.logs.join(file);
    let started = Instant::now();
    let end = start(test, &log, setting);
    let ran = || read(&log).contains("test result: ok. 1 passed;");
    let passed = end.as_ref().is_ok_and(|end| end.success()) && ran();
    let mut record = Record::check(setting.lane, test.name(), passed);
    record.took = Some(started.elapsed());
    record.log = Some(log);
    (record, end.ok())
}

fn start(test: &Test<'_>, log: &Path, setting: &Setting) -> std::io::Result<End> {
    let out = File::create(log)?;
    let mut command = child::command(&test.executable.path, &test.executable.dir);
    command.args(["--exact", &test.path, "--nocapture", "--test-threads=1"]);
    command.env("CARGO_MANIFEST_DIR", &test.executable.dir).env("RUST_BACKTRACE", "1");
    if let Some(dir) = &setting.bin_dir {
        command.env("HOLDFAST_BIN_DIR", dir);
    }
    command.env("HOLDFAST_PEERS_DIR", &setting.peers);
    command.env("HOLDFAST_FIRMWARE_DIR", &setting.firmware);
    command.stdin(Stdio::null()).stderr(out.try_clone()?).stdout(out);
    child::run(&mut command, Some(limit(setting.lane)))
}

fn read(log: &Path) -> String {
    std::fs::read(log).map(|b| String::from_utf8_lossy(&b).into_owned()).unwrap_or_default()
}

fn show(progress: &Progress, record: &Record, end: Option<End>, all: bool) {
    let Some(log) = &record.log else { return };
    let text = read(log);
    if record.verdict == Verdict::Failed {
        let why = match end {
            Some(End::Exited(status)) => status.to_string(),
            Some(End::TimedOut) => "took too long and was ended".into(),
            Some(End::Interrupted) => "interrupted".into(),
            None => "could not be started".into(),
        };
        progress.line(&format!("FAILED {} ({why})\n{}", record.name, tail(&text, log)));
    } else if all {
        progress.line(&format!("passed {}\n{text}", record.name));
    } else {
        for line in struck(&text) {
            progress.line(&format!("   {}: {line}", record.name));
        }
    }
}

/// The lines that say how often a fault struck. The first line of a test follows its name.
fn struck(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter_map(|line| {
        let line =
            line.strip_prefix("test ").and_then(|l| l.split_once(" ... ")).map_or(line, |l| l.1);
        line.strip_prefix(STRUCK)
    })
}

fn tail(text: &str, log: &Path) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let hidden = lines.len().saturating_sub(SHOWN_LINES);
    let note = match hidden {
        0 => String::new(),
        _ => format!("[{hidden} earlier lines are in {}]\n", log.display()),
    };
    note + &lines[hidden..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::Target;

    fn executable(package: &str, target: &str, kind: &str) -> Executable {
        Executable {
            package: package.into(),
            target: Target { name: target.into(), kind: vec![kind.into()] },
            test: true,
            path: "/nowhere".into(),
            dir: "/".into(),
        }
    }

    #[test]
    fn a_list_holds_tests_and_nothing_else() {
        assert_eq!(names("a::b: test\nc: benchmark\n\n1 tests\n"), vec!["a::b"]);
    }

    #[test]
    fn each_test_belongs_to_one_lane() {
        let lane = |executable: &Executable, path: &str| {
            Test { executable, path: path.into(), ignored: false }.lane()
        };
        let it = executable("holdfast-sync", "it", "test");
        assert_eq!(lane(&it, "sim::loses_nothing"), Lane::Sim);
        assert_eq!(lane(&it, "state::all_agree"), Lane::Sim);
        assert_eq!(lane(&it, "store::keeps"), Lane::Unit);
        assert_eq!(lane(&executable("holdfast-sync", "x", "lib"), "sim::tests::a"), Lane::Unit);
        let scenarios = executable("holdfast-tests", SCENARIOS, "test");
        assert_eq!(lane(&scenarios, "kill::edge"), Lane::Scenario);
        let smoke = Test { executable: &scenarios, path: "smoke::all".into(), ignored: false };
        assert!(smoke.is_scenario("smoke::") && smoke.lane() == Lane::Scenario);
        assert_eq!(lane(&executable("holdfast-tests", "x", "lib"), "proxy::a"), Lane::Unit);
    }

    #[test]
    fn what_struck_is_found_behind_the_name_of_the_test_too() {
        let text = "test kill::edge ... struck: before the answer 7\nstruck: after 3\nok\n";
        let found: Vec<&str> = struck(text).collect();
        assert_eq!(found, vec!["before the answer 7", "after 3"]);
    }

    #[test]
    fn a_long_log_is_cut_at_its_beginning() {
        let text: String = (0..SHOWN_LINES + 5).map(|n| format!("line {n}\n")).collect();
        let shown = tail(&text, Path::new("x.log"));
        assert!(shown.starts_with("[5 earlier lines are in x.log]\nline 5\n"));
    }
}
