//! `backup`, `restore` and `adopt`: a node that outlives its machine.

use super::Failure;
use super::place::{Local, Place, Service, set_in_file};
use crate::backup::{self, Manifest, Source, Target, back_up};
use crate::machine;
use clap::Args;
use holdfast_sync::Fault;
use holdfast_sync::env::System;
use holdfast_sync::store::write_whole;
use std::io::{self, IsTerminal as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Where a backup goes.
#[derive(Args)]
pub struct BackupArgs {
    /// A new directory, on another disk if it is to outlive this one.
    #[arg(value_name = "DIR")]
    pub to: PathBuf,
}

/// Where a backup lies.
#[derive(Args)]
pub struct RestoreArgs {
    /// The directory that `backup` made.
    #[arg(value_name = "DIR")]
    pub from: PathBuf,
}

/// Percents on a terminal.
struct Percents {
    shown: Option<u64>,
}

impl Percents {
    fn new() -> Self {
        Self { shown: io::stderr().is_terminal().then_some(u64::MAX) }
    }

    fn show(&mut self, done: u64, total: u64) {
        let percent = done.saturating_mul(100) / total.max(1);
        if let Some(shown) = self.shown.as_mut().filter(|shown| **shown != percent) {
            *shown = percent;
            eprint!("\r{percent:>3} %");
        }
    }

    fn end(&self) {
        if self.shown.is_some_and(|shown| shown <= 100) {
            eprint!("\r     \r");
        }
    }
}

impl<S: Service> Local<S> {
    /// Backs this node up, running or not, and verifies the copy.
    ///
    /// # Errors
    /// When there is no node, or the copy cannot be written.
    pub fn back_up(&self, args: &BackupArgs, version: &str) -> Result<ExitCode, Failure> {
        let (program, node) = (S::PROGRAM, self.key()?.id());
        let source = Source { program, version, node, dir: &self.dir, config: &self.config };
        let mut percents = Percents::new();
        let now = System::env().now();
        let made = back_up(&source, &args.to, now, &mut |done, of| percents.show(done, of));
        percents.end();
        let (Manifest { taken, files, .. }, damage) = made?;
        let bytes: u64 = files.iter().map(|file| file.bytes).sum();
        let to = args.to.display();
        println!("Node {} as of {taken} is in {to}: {} files, {bytes} bytes.", node, files.len());
        println!("It holds the node's keys: whoever can read it can be the node.");
        for finding in &damage {
            println!("{finding}");
        }
        if damage.is_empty() {
            println!("Verified. To bring it back: {program} restore {to}");
            return Ok(ExitCode::SUCCESS);
        }
        println!(
            "DAMAGED, as the node itself is: repair it with `{program} verify --repair` and a \
             start, then back up anew."
        );
        Ok(ExitCode::FAILURE)
    }

    /// Says that this machine is the data directory's from now on.
    ///
    /// # Errors
    /// When there is no node, or it cannot be written.
    pub fn adopt(&self) -> Result<ExitCode, Failure> {
        let id = self.key()?.id();
        machine::bind(&self.dir, Path::new(self.settings.machine_id()))?;
        println!("Node {id} in {} belongs to this machine now.", self.dir.display());
        println!("It must not run anywhere else any more: there it would be taken for this one.");
        Ok(ExitCode::SUCCESS)
    }
}

impl Place {
    /// Makes a node again from a backup.
    ///
    /// # Errors
    /// When the backup is not whole, or there is a node already.
    pub fn restore<S: Service>(&self, args: &RestoreArgs, run: &str) -> Result<ExitCode, Failure> {
        let manifest = Manifest::read(&args.from)?;
        let config = self.config::<S>();
        let is_new = !config.exists();
        if let Some(mut text) = backup::configuration(&args.from, &manifest)?.filter(|_| is_new) {
            if let Some(data) = self.data()? {
                set_in_file(&mut text, "node.data", &data);
            }
            if let Some(parent) = config.parent().filter(|parent| !parent.as_os_str().is_empty()) {
                std::fs::create_dir_all(parent).map_err(|error| Fault::file(parent, error))?;
            }
            write_whole(&config, text.as_bytes())?;
        }
        let restored = self.restore_data::<S>(args);
        if restored.is_err() && is_new {
            // It would stand in the way of the next attempt, or lead to a node that is not there.
            let _ = std::fs::remove_file(&config);
        }
        let (node, manifest) = restored?;
        let program = S::PROGRAM;
        println!("Node {} as of {} is restored:", manifest.node, manifest.taken);
        println!("  configuration  {}", node.config.display());
        println!("  data           {}", node.dir.display());
        println!("What its peers have of it since then comes back from them.");
        println!("It must not run anywhere else: there it would be taken for this one.");
        println!("Next: {program} {run} --config {}", node.config.display());
        Ok(ExitCode::SUCCESS)
    }

    fn restore_data<S: Service>(
        &self,
        args: &RestoreArgs,
    ) -> Result<(Local<S>, Manifest), Failure> {
        let node = self.load::<S>()?;
        let target = Target { program: S::PROGRAM, dir: &node.dir };
        let mut percents = Percents::new();
        let now = System::env().now();
        let done = backup::restore(&args.from, &target, now, &mut |n, of| percents.show(n, of));
        percents.end();
        let manifest = done?;
        machine::bind(&node.dir, Path::new(node.settings.machine_id()))?;
        Ok((node, manifest))
    }
}
