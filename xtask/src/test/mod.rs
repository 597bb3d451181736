//! `cargo xtask test`: lanes of tests, run one after the other, counted together.
//!
//! A lane exists once it holds something; one that is empty is not mentioned. All lanes run even
//! when an early one fails, because a contributor wants to know everything that is wrong at once.

mod arm;
mod doc;
mod firmware;
mod lint;
mod progress;
mod suite;
mod web;

use crate::child;
use crate::needs::{self, Need};
use crate::peers;
use crate::report::{self, Record, Verdict};
use crate::workspace::{self, Executable, Metadata, Problem};
use clap::{Args, ValueEnum};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// A group of tests that need the same things and answer the same question.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Lane {
    /// Format, clippy, tidy, and core built for a microcontroller
    Lint,
    /// Tests of the packages, without the real binaries
    Unit,
    /// Whole sessions under a seeded schedule in virtual time
    Sim,
    /// The real binaries under real faults
    Scenario,
    /// The gateway built for ARM, under an emulator
    Arm,
    /// What runs on a microcontroller, under an emulator
    Firmware,
    /// Clients of others against the real binaries
    Interop,
    /// The pages in a browser
    Web,
}

impl Lane {
    const ALL: [Self; 8] = [
        Self::Lint,
        Self::Unit,
        Self::Sim,
        Self::Scenario,
        Self::Arm,
        Self::Firmware,
        Self::Interop,
        Self::Web,
    ];

    /// The name it is called by on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Lint => "lint",
            Self::Unit => "unit",
            Self::Sim => "sim",
            Self::Scenario => "scenario",
            Self::Arm => "arm",
            Self::Firmware => "firmware",
            Self::Interop => "interop",
            Self::Web => "web",
        }
    }

    fn needs(self) -> Vec<Need> {
        match self {
            Self::Scenario => needs::SCENARIO.to_vec(),
            Self::Arm => arm::needs(),
            Self::Firmware => crate::firmware::EMULATOR.to_vec(),
            Self::Interop => needs::INTEROP.to_vec(),
            Self::Web => needs::WEB.to_vec(),
            Self::Lint | Self::Unit | Self::Sim => Vec::new(),
        }
    }

    fn needs_build(self) -> bool {
        !matches!(self, Self::Lint)
    }
}

/// `cargo xtask test`.
#[derive(Args)]
pub struct Options {
    /// The lanes to run; all that exist when none is named
    lanes: Vec<Lane>,
    /// Run only the tests whose name contains this
    #[arg(long)]
    filter: Option<String>,
    /// Show what passing tests print, too
    #[arg(long)]
    show_output: bool,
    /// How many tests run at a time [default: the number of processors]
    #[arg(long)]
    jobs: Option<usize>,
}

impl Options {
    /// To run one lane.
    pub fn of(lane: Lane) -> Self {
        Self { lanes: vec![lane], filter: None, show_output: false, jobs: None }
    }
}

/// What the lanes share.
struct Run<'a> {
    options: &'a Options,
    root: PathBuf,
    metadata: Metadata,
    executables: Vec<Executable>,
    records: Vec<Record>,
    lanes: Vec<(String, Duration)>,
}

/// Runs the lanes asked for and prints the summary; the exit code says whether all is well.
pub fn run(options: &Options) -> Result<ExitCode, Problem> {
    child::catch_signals();
    let root = workspace::root();
    let metadata = workspace::metadata(&root.join("Cargo.toml"))?;
    let (executables, records, lanes) = Default::default();
    let mut run = Run { options, root, metadata, executables, records, lanes };
    let lanes = run.runnable_lanes()?;
    // The cheapest answer comes first; what the other lanes share is built after it.
    if lanes.contains(&Lane::Lint) {
        run.timed(Lane::Lint, lint::run);
    }
    let built = lanes.iter().filter(|lane| lane.needs_build());
    let built: Vec<Lane> = built.copied().collect();
    if !built.is_empty() && !child::interrupted() {
        let started = Instant::now();
        match run.build() {
            Ok(()) => {}
            Err(problem) => run.records.push(Record::check(built[0], problem, false)),
        }
        run.lanes.push(("build".into(), started.elapsed()));
    }
    for lane in built {
        match lane {
            Lane::Arm => run.timed(lane, arm::run),
            Lane::Firmware => run.timed(lane, firmware::run),
            Lane::Web => run.timed(lane, web::run),
            Lane::Interop => run.timed(lane, |run| {
                peers::clients(&peers::dir(&run.metadata))?;
                suite::run(run, Lane::Interop)
            }),
            _ => run.timed(lane, |run| suite::run(run, lane)),
        }
    }
    println!("{}", report::summary(&run.lanes, &run.records));
    let failed = report::count(&run.records, Verdict::Failed) > 0 || child::interrupted();
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

impl Run<'_> {
    /// The lanes asked for that exist and whose needs are met; the others leave a record.
    fn runnable_lanes(&mut self) -> Result<Vec<Lane>, Problem> {
        let asked = &self.options.lanes;
        let is_asked = |lane: &Lane| asked.is_empty() || asked.contains(lane);
        if let Some(empty) = asked.iter().find(|lane| !exists(&self.root, **lane)) {
            return Err(format!("the lane {} holds no test yet", empty.name()));
        }
        let existing = |lane: &Lane| exists(&self.root, *lane);
        let lanes: Vec<Lane> = Lane::ALL.into_iter().filter(is_asked).filter(existing).collect();
        let needs: Vec<Need> = lanes.iter().flat_map(|lane| lane.needs()).collect();
        let missing = needs::missing(&needs);
        let lacks = |lane: &Lane| lane.needs().iter().any(|need| missing.contains(need));
        let (left_out, lanes): (Vec<Lane>, Vec<Lane>) = lanes.into_iter().partition(lacks);
        if !left_out.is_empty() {
            let names: Vec<&str> = left_out.iter().map(|lane| lane.name()).collect();
            let line = needs::line_to_install(&missing);
            eprintln!("left out: {}; to have all: {line}", names.join(", "));
        }
        let may_skip = !needs::on_build_machine();
        let verdict = if may_skip { Verdict::Skipped } else { Verdict::Failed };
        let record = |lane| Record::new(lane, "the whole lane: programs are missing", verdict);
        self.records.extend(left_out.into_iter().map(record));
        Ok(lanes)
    }

    /// One build serves all lanes, so that a library is compiled with one set of features. This
    /// program is left out of it: it runs while the build does.
    fn build(&mut self) -> Result<(), Problem> {
        // `--lib` brings the power-cut shim, a shared library that no test depends on by itself.
        let product = ["--workspace", "--exclude", "xtask", "--lib", "--bins", "--tests"];
        self.executables = workspace::build(&self.metadata, &product)?;
        let own = workspace::build(&self.metadata, &["-p", "xtask", "--tests"])?;
        self.executables.extend(own);
        Ok(())
    }

    fn timed(&mut self, lane: Lane, work: impl FnOnce(&mut Self) -> Result<(), Problem>) {
        if child::interrupted() {
            return;
        }
        let started = Instant::now();
        eprintln!("-- {}", lane.name());
        if let Err(problem) = work(self) {
            eprintln!("{problem}");
            self.records.push(Record::check(lane, problem, false));
        }
        self.lanes.push((lane.name().into(), started.elapsed()));
    }

    /// Where the output of the tests of a lane goes, emptied of what an earlier run left.
    fn logs(&self, lane: Lane) -> Result<PathBuf, Problem> {
        let dir = self.metadata.target_directory.join("xtask/logs").join(lane.name());
        let _ = std::fs::remove_dir_all(&dir);
        let made = std::fs::create_dir_all(&dir);
        made.map_err(|error| format!("cannot make {}: {error}", dir.display()))?;
        Ok(dir)
    }

    /// The folder of the binaries a scenario starts.
    fn bin_dir(&self) -> Option<&Path> {
        let node = self.executables.iter().find(|e| !e.test && e.target.name == "holdfast-edge");
        node?.path.parent()
    }
}

/// A lane exists once the file or folder that holds its tests does.
fn exists(root: &Path, lane: Lane) -> bool {
    match lane {
        Lane::Lint | Lane::Unit => true,
        Lane::Sim => {
            let sim = root.join("sync/tests/it/sim");
            sim.exists() || sim.with_extension("rs").exists()
        }
        Lane::Scenario => root.join("tests/tests/scenarios/main.rs").exists(),
        Lane::Arm => root.join("tests/tests/scenarios/smoke.rs").exists(),
        Lane::Interop => root.join("tests/tests/scenarios/interop.rs").exists(),
        Lane::Firmware => crate::firmware::folder(root).exists(),
        Lane::Web => !web::files(root).is_empty(),
    }
}
