//! `import`: readings of files into the running node, through the same door as a device's.
//!
//! Each batch carries a key that follows from content and place, so an import that was interrupted,
//! wherever, is simply run again: what is stored already is recognised.

use crate::files::{Batch, Batcher, FileFormat, Refusal, Source};
use crate::formats::Place;
use crate::formats::line::Precision;
use crate::settings::Settings;
use clap::Args;
use holdfast_node::cli::{Failure, Local};
use holdfast_node::client::{self, Answer, ClientError, Post, Target};
use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;
use tokio::time::Instant;

/// Refusals that are named one by one; the rest is counted.
const SHOWN: usize = 10;
/// How long a node that is busy or starts anew is waited for.
const PATIENCE: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(500);
/// How often a person wants to be told.
const PROGRESS_EVERY: Duration = Duration::from_millis(100);
/// As a shell reports a process that ended by SIGINT.
const INTERRUPTED: u8 = 130;
const GO_ON: &str = "Run the same command again to go on: for 24 hours the node recognises what \
                     is stored already.";

/// What `import` reads.
#[derive(Args)]
pub struct ImportArgs {
    /// The files, compressed with gzip or not; - is standard input.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Their format; without it the ending of the name tells.
    #[arg(long, value_enum)]
    format: Option<FileFormat>,
    /// The device of readings that name none.
    #[arg(long, value_name = "ID")]
    device: Option<String>,
    /// The unit of timestamps in line protocol: ns, us, ms or s.
    #[arg(long, default_value = "ns", value_parser = precision)]
    precision: Precision,
}

fn precision(text: &str) -> Result<Precision, String> {
    Precision::named(text).ok_or_else(|| format!("there are {}", Precision::NAMES))
}

/// Imports files into the running node.
///
/// # Errors
/// When a file cannot be read on, or the node takes nothing more; what was taken stays.
pub async fn import(node: &Local<Settings>, args: &ImportArgs) -> Result<ExitCode, Failure> {
    let open = |path| Source::open(path, args.format, args.precision);
    // What is wrong with a name is said before the first file is on its way. They are not kept
    // open: there may be more of them than a process may have.
    args.files.iter().try_for_each(|path| open(path).map(drop))?;
    let mut importer = Importer {
        target: node.target()?,
        token: node.admin_token()?,
        tally: Tally::default(),
        progress: Progress::default(),
    };
    for path in &args.files {
        let source = open(path)?;
        let before = importer.tally.clone();
        let name = source.name().to_owned();
        let done = tokio::select! {
            done = importer.file(source, args.device.clone()) => done.map(|()| true),
            _ = tokio::signal::ctrl_c() => Ok(false),
        };
        importer.progress.clear();
        println!("{name}: {}", importer.tally.since(&before));
        match done {
            Ok(true) => {}
            Ok(false) => {
                importer.tally.print_refusals();
                println!("Interrupted. {GO_ON}");
                return Ok(ExitCode::from(INTERRUPTED));
            }
            Err(Stop { text, may_go_on }) => {
                importer.tally.print_refusals();
                let hint = if may_go_on { format!("\n{GO_ON}") } else { String::new() };
                return Err(format!("{text}{hint}").into());
            }
        }
    }
    importer.tally.print_refusals();
    Ok(if importer.tally.refused == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Why an import ended early.
struct Stop {
    text: String,
    /// Whether the same command may do better later.
    may_go_on: bool,
}

struct Importer {
    target: Target,
    token: String,
    tally: Tally,
    progress: Progress,
}

impl Importer {
    async fn file(&mut self, source: Source, device: Option<String>) -> Result<(), Stop> {
        let mut reading = source.start();
        let name = reading.name.clone();
        let mut batcher = Batcher::new(device);
        let mut end = Ok(());
        while let Some(step) = reading.next().await {
            match step {
                Ok(portion) => {
                    for refusal in &portion.refused {
                        self.tally.refuse(&name, refusal);
                    }
                    for entry in &portion.entries {
                        if let Some(batch) = batcher.push(entry) {
                            self.deliver(&name, &batch).await?;
                        }
                    }
                }
                Err(error) => end = Err(error),
            }
            self.progress.show(&name, &self.tally, reading.percent());
        }
        // What was read before an error is as good as any.
        if let Some(batch) = batcher.take() {
            self.deliver(&name, &batch).await?;
        }
        end.map_err(|error| Stop { text: format!("{name}: {error}"), may_go_on: false })
    }

    /// Posts a batch until it is answered, with patience for a node that is busy.
    async fn deliver(&mut self, name: &str, batch: &Batch) -> Result<(), Stop> {
        let key = batch.key.to_string();
        let post = Post {
            path: "/v1/readings",
            content_type: "application/x-ndjson",
            key: &key,
            body: batch.body.clone().into(),
        };
        let deadline = Instant::now() + PATIENCE;
        loop {
            let (text, is_passing) = match client::post(&self.target, &self.token, &post).await {
                Ok(answer) if self.tally.take(name, batch, &answer) => return Ok(()),
                Ok(answer) => (answer.reason(), [408, 429, 503].contains(&answer.status.as_u16())),
                // Later it may be starting anew.
                Err(error @ ClientError::NotRunning(_)) if self.tally.is_empty() => {
                    return Err(Stop { text: error.to_string(), may_go_on: false });
                }
                Err(error) => (error.to_string(), true),
            };
            if !is_passing || Instant::now() > deadline {
                let place = batch.places.first().map(|place| at(name, *place));
                let place = place.unwrap_or_default();
                return Err(Stop { text: format!("stopped at {place}: {text}"), may_go_on: true });
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}

fn at(name: &str, place: Place) -> String {
    match place {
        Place::Line(number) => format!("{name}:{number}"),
        Place::Element(index) => format!("{name}, record {index}"),
        Place::Body => name.to_owned(),
    }
}

/// What became of the items.
#[derive(Clone, Debug, Default)]
struct Tally {
    accepted: u64,
    before: u64,
    refused: u64,
    shown: Vec<String>,
}

impl Tally {
    /// Whether the node has answered nothing yet.
    const fn is_empty(&self) -> bool {
        self.accepted + self.before == 0
    }

    fn refuse(&mut self, name: &str, refusal: &Refusal) {
        self.refused += 1;
        if self.shown.len() < SHOWN {
            self.shown.push(refusal.in_file(name).to_string());
        }
    }

    /// Takes the answer to a batch up; `false` when it settles nothing.
    fn take(&mut self, name: &str, batch: &Batch, answer: &Answer) -> bool {
        let Some(rejected) = answer.body["rejected"].as_array() else { return false };
        let count = |member: &str| answer.body[member].as_u64().unwrap_or(0);
        if answer.is_replayed {
            self.before += count("accepted");
        } else {
            self.accepted += count("accepted");
        }
        self.before += count("duplicates");
        for error in rejected {
            let text = |member: &str| error[member].as_str().unwrap_or_default();
            let index = error["index"].as_u64().and_then(|index| usize::try_from(index).ok());
            let place = index.and_then(|index| batch.places.get(index)).copied();
            // What is in front of the pointer is a line of the request, not of the file.
            let path = text("at").find('/').map_or("", |slash| &text("at")[slash..]);
            let refusal = Refusal {
                place: place.unwrap_or(Place::Body),
                path: path.to_owned(),
                detail: text("detail").to_owned(),
            };
            self.refuse(name, &refusal);
        }
        true
    }

    fn since(&self, before: &Self) -> String {
        let [accepted, stored, refused] = [
            self.accepted - before.accepted,
            self.before - before.before,
            self.refused - before.refused,
        ];
        if accepted + stored + refused == 0 {
            return "there are no readings in it".to_owned();
        }
        format!("{accepted} items accepted, {stored} stored before, {refused} refused")
    }

    fn print_refusals(&self) {
        if self.refused == 0 {
            return;
        }
        eprintln!("Refused:");
        for line in &self.shown {
            eprintln!("  {line}");
        }
        let more = self.refused - self.shown.len() as u64;
        if more > 0 {
            eprintln!("  and {more} more");
        }
    }
}

/// A line on the terminal that is written over and over; nothing where nobody watches.
#[derive(Default)]
struct Progress {
    last: Option<Instant>,
}

impl Progress {
    fn show(&mut self, name: &str, tally: &Tally, percent: Option<u64>) {
        let is_due = self.last.is_none_or(|last| last.elapsed() > PROGRESS_EVERY);
        if !is_due || !io::stderr().is_terminal() {
            return;
        }
        self.last = Some(Instant::now());
        let items = tally.accepted + tally.before + tally.refused;
        let share = percent.map(|percent| format!("{percent} %, ")).unwrap_or_default();
        // A terminal that is gone is no reason to stop.
        let _ = write!(io::stderr(), "\r\x1b[K{name}: {share}{items} items");
    }

    fn clear(&mut self) {
        if self.last.take().is_some() {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}
