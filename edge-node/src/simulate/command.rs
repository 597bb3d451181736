//! `workflow simulate` on the command line.

use super::telling::{Line, Tally, local_time};
use super::{
    AnswerRule, Preset, Setup, Signal, Simulation, Trouble, looked_at_s, read, usual_widths_s,
};
use crate::files::FileFormat;
use clap::Args;
use holdfast_core::Timestamp;
use holdfast_node::cli::{Failure, read_definition};
use holdfast_node::config::Duration;
use holdfast_node::flow::Compiled;
use holdfast_node::time_text;
use holdfast_node::twins::Section;
use jiff::tz::TimeZone;
use serde_json::{Map, Value as Json, json};
use std::fmt::Write as _;
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::str::FromStr;

/// As a shell reports a process that ended by SIGINT.
const INTERRUPTED: u8 = 130;

/// What is told by `--help` behind the options.
pub const HELP: &str = "\
The readings are played in the order of their times, in a gateway of its own that is thrown
away: no node has to run, and nothing of one that runs is touched. What leaves the gateway is
done at once, unless --answer says otherwise. The same input tells the same.

Examples:
  holdfast-edge workflow simulate pump-dry-run.yaml --readings monday.csv
  holdfast-edge workflow simulate pump-dry-run.yaml --readings monday.csv \\
    --answer command:stop@ps-017=never,ok --answer notify:*=fail
  holdfast-edge workflow simulate cold-chain.yaml --readings weekend.ndjson.gz \\
    --signal '3h20m acknowledged {\"by\":\"ann\"}' --for 48h --json
  holdfast-edge workflow simulate batch.yaml --from 2026-03-02T06:00:00Z --for 4h \\
    --start '{\"recipe\":\"IPA\"}'
Then:
  holdfast-edge workflow add pump-dry-run.yaml
";

/// What is simulated, on what.
#[derive(Args)]
pub struct SimulateArgs {
    /// The definitions, in YAML or JSON.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Recorded readings, in a format that `import` takes; may be said several times.
    #[arg(long, value_name = "REC")]
    readings: Vec<PathBuf>,
    /// The device of readings that name none.
    #[arg(long, value_name = "ID")]
    device: Option<String>,
    /// Begins a run at the beginning, and what it is given; of which workflow, where there are
    /// several.
    #[arg(long, value_name = "[WORKFLOW=]JSON")]
    start: Vec<String>,
    /// When it begins [default: with the first reading].
    #[arg(long, value_name = "TIME", value_parser = time)]
    from: Option<Timestamp>,
    /// For how long [default: to the last reading].
    #[arg(long = "for", value_name = "LENGTH")]
    lasts: Option<Duration>,
    /// What becomes of effects: KIND:NAME=ok, fail, never or the answer as JSON; of a command
    /// command:NAME@DEVICE=..., too. With commas one after the other, and the last one stays.
    #[arg(long, value_name = "KIND:NAME=WHAT")]
    answer: Vec<AnswerRule>,
    /// A signal to all runs that know it, at a time or so long after the beginning.
    #[arg(long, value_name = "'WHEN NAME [JSON]'")]
    signal: Vec<Sent>,
    /// What stands in a device's twin from the beginning.
    #[arg(long, value_name = "DEVICE/SECTION/PATH=VALUE")]
    twin: Vec<Preset>,
    /// The time zone of the site [default: that of this machine].
    #[arg(long, value_name = "ZONE", value_parser = zone)]
    zone: Option<TimeZone>,
    /// As lines of JSON.
    #[arg(long)]
    json: bool,
}

fn time(text: &str) -> Result<Timestamp, String> {
    time_text::parse(text).map_err(|_| format!("`{text}` is no time: 2026-03-02T06:00:00Z"))
}

fn zone(text: &str) -> Result<TimeZone, String> {
    TimeZone::get(text).map_err(|_| format!("`{text}` is no time zone: Europe/Berlin"))
}

/// A signal as it is said on the command line.
#[derive(Clone, Debug, PartialEq)]
struct Sent {
    when: When,
    name: String,
    values: Map<String, Json>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum When {
    At(Timestamp),
    After(i64),
}

impl FromStr for Sent {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = "expected WHEN NAME [JSON] such as '3h20m acknowledged {\"by\":\"ann\"}'";
        let mut parts = text.trim().splitn(3, ' ');
        let (Some(when), Some(name)) = (parts.next(), parts.next()) else {
            return Err(format!("`{text}`: {expected}"));
        };
        let when = match holdfast_node::flow::duration_ms(when) {
            Some(ms) => When::After(ms),
            None => When::At(time(when).map_err(|error| format!("{error}; {expected}"))?),
        };
        let values = match parts.next() {
            None => Map::new(),
            Some(json) => object(json).map_err(|error| format!("{error}; {expected}"))?,
        };
        Ok(Self { when, name: name.to_owned(), values })
    }
}

impl FromStr for Preset {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = "expected DEVICE/SECTION/PATH=VALUE such as ps-017/tags/kind=sewage";
        let wrong = || format!("`{text}`: {expected}");
        let (place, value) = text.split_once('=').ok_or_else(wrong)?;
        let mut parts = place.splitn(3, '/');
        let (Some(device), Some(section), Some(path)) = (parts.next(), parts.next(), parts.next())
        else {
            return Err(wrong());
        };
        let section = Section::from_name(section).ok_or_else(|| {
            format!("`{section}` is no section: desired, reported or tags; {expected}")
        })?;
        // What is no JSON is a text.
        let value = serde_json::from_str(value).unwrap_or_else(|_| Json::from(value));
        let nest = |inner, name: &str| Json::Object(Map::from_iter([(name.to_owned(), inner)]));
        let Json::Object(patch) = path.rsplit('/').fold(value, nest) else {
            return Err(wrong());
        };
        Ok(Self { device: device.to_owned(), section, patch })
    }
}

/// A workflow, and what a run of it is given.
type Begun = (String, Map<String, Json>);

fn object(text: &str) -> Result<Map<String, Json>, String> {
    serde_json::from_str(text)
        .map_err(|error| format!("`{text}` is no JSON object ({error}): '{{\"a\": 1}}'"))
}

impl SimulateArgs {
    /// Simulates, and tells on standard output.
    ///
    /// # Errors
    /// What is wrong with the input.
    pub async fn run(&self) -> Result<ExitCode, Failure> {
        let Some(setup) = self.setup().await? else { return Ok(ExitCode::FAILURE) };
        let mut out = BufWriter::new(io::stdout());
        let told = self.tell(setup, &mut out).await;
        match told.and_then(|is_whole| out.flush().map(|()| is_whole).map_err(Trouble::from)) {
            Ok(true) => Ok(ExitCode::SUCCESS),
            Ok(false) => {
                eprintln!("Interrupted; nothing is left behind.");
                Ok(ExitCode::from(INTERRUPTED))
            }
            // Whoever reads it may have seen enough.
            Err(Trouble::Told(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
                Ok(ExitCode::SUCCESS)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// What is to be simulated; nothing where a definition is wrong, which was told then.
    ///
    /// # Errors
    /// What is wrong with the rest.
    async fn setup(&self) -> Result<Option<Setup>, Failure> {
        let mut workflows = Vec::new();
        let mut is_sound = true;
        for file in &self.files {
            match read_definition(file)? {
                Some(compiled) => workflows.push((file.display().to_string(), compiled)),
                None => is_sound = false,
            }
        }
        if !is_sound {
            return Ok(None);
        }
        let starts = self.starts(&workflows)?;
        let mut readings = read(&self.readings, self.device.as_deref()).await?;
        let first = readings.first().map(|reading| reading.time);
        let from = self.from.or(first).ok_or_else(|| {
            let endings = FileFormat::ENDINGS;
            format!("there is no reading: --readings names files ({endings}), or --from a time")
        })?;
        let last = readings.last().map(|reading| reading.time);
        let until = match self.lasts {
            Some(lasts) => {
                let ns = i64::try_from(lasts.0.as_nanos()).unwrap_or(i64::MAX);
                from.saturating_add(ns)
            }
            None => last.ok_or("--for says how long, where no reading does")?,
        };
        readings.retain(|reading| (from..=until).contains(&reading.time));
        let at = |when| match when {
            When::At(at) => at,
            When::After(ms) => from.saturating_add(ms.saturating_mul(1_000_000)),
        };
        let signals = self.signal.iter().cloned();
        let signals =
            signals.map(|Sent { when, name, values }| Signal { at: at(when), name, values });
        let mut signals: Vec<_> = signals.collect();
        signals.sort_by_key(|signal| signal.at);
        let (zone, answers) = (self.zone.clone(), self.answer.clone());
        let twins = self.twin.clone();
        Ok(Some(Setup { workflows, readings, from, until, zone, answers, signals, starts, twins }))
    }

    fn starts(&self, workflows: &[(String, Compiled)]) -> Result<Vec<Begun>, String> {
        let mut out = Vec::new();
        for text in &self.start {
            let named = text.split_once('=').filter(|(name, _)| !name.contains('{'));
            let (workflow, json) = match (named, workflows) {
                (Some((name, json)), _) => (name.to_owned(), json),
                (None, [(_, only)]) => (only.id.clone(), text.as_str()),
                (None, _) => {
                    return Err(format!(
                        "--start {text}: there are several workflows: WORKFLOW=JSON says which"
                    ));
                }
            };
            out.push((workflow, object(json)?));
        }
        Ok(out)
    }

    /// Simulates, and tells of it; `false` where somebody interrupted it.
    async fn tell(&self, setup: Setup, out: &mut (impl Write + Send)) -> Result<bool, Trouble> {
        let zone = setup.zone.clone().unwrap_or_else(TimeZone::system);
        let (from, until, count) = (setup.from, setup.until, setup.readings.len());
        let ids: Vec<&str> = setup.workflows.iter().map(|(_, flow)| flow.id.as_str()).collect();
        // Behind the name stands the number of the run.
        let width = ids.iter().map(|id| id.len()).max().unwrap_or_default() + 4;
        if !self.json {
            let name = zone.iana_name().unwrap_or("this machine");
            let (from, until) = (local_time(from, &zone), local_time(until, &zone));
            writeln!(out, "{} from {from} to {until}, clocks of {name}", ids.join(", "))?;
            writeln!(out, "{count} readings")?;
            for line in unusual_widths(&setup) {
                writeln!(out, "{line}")?;
            }
            writeln!(out)?;
        }
        let mut simulation = Simulation::new(setup)?;
        let mut effects = 0_u64;
        let mut tell = |line: &Line| {
            effects += u64::from(line.what == "does");
            match self.json {
                true => writeln!(out, "{}", line.json()),
                false => writeln!(out, "{}", shown(line, &zone, width)),
            }
        };
        let played = tokio::select! {
            played = simulation.play(&mut tell) => played.map(|()| true),
            _ = tokio::signal::ctrl_c() => Ok(false),
        };
        let told = match played {
            Ok(true) => self.tell_end(&simulation, effects, out).map(|()| true).map_err(Into::into),
            other => other,
        };
        // However it ended: its store has to be closed before it can be removed.
        simulation.close().await;
        told
    }

    /// What is to be said at the end.
    fn tell_end(
        &self,
        simulation: &Simulation,
        effects: u64,
        out: &mut impl Write,
    ) -> io::Result<()> {
        let teller = simulation.teller();
        if self.json {
            let runs = teller.tallies().iter().map(|(workflow, tally)| {
                (workflow.clone(), json!({ "begun": tally.begun, "ended": tally.ended }))
            });
            let runs: Map<String, Json> = runs.collect();
            return writeln!(out, "{}", json!({ "what": "end", "runs": runs, "effects": effects }));
        }
        writeln!(out)?;
        if teller.tallies().is_empty() {
            writeln!(out, "No run began.")?;
        }
        for (workflow, tally) in teller.tallies() {
            writeln!(out, "{workflow}: {}", ended(tally))?;
        }
        writeln!(out, "{effects} effects")?;
        for (name, waits) in teller.under_way() {
            writeln!(out, "not over: {name}, which waits {waits}")?;
        }
        for answer in simulation.unasked() {
            writeln!(out, "nothing asked for the answer to {answer}")?;
        }
        for file in &self.files {
            writeln!(out, "Next: holdfast-edge workflow add {}", file.display())?;
        }
        Ok(())
    }
}

/// What has to be said of windows that a gateway does not sum up unless it is told to.
fn unusual_widths(setup: &Setup) -> Vec<String> {
    let usual = usual_widths_s();
    let mut out = Vec::new();
    for (file, compiled) in &setup.workflows {
        for width_s in looked_at_s(&compiled.image) {
            if !usual.contains(&width_s) {
                let width = holdfast_node::flow::duration_shown(u64::from(width_s) * 1_000);
                out.push(format!("{file}: the gateway has to sum up {width}: [rollups] widths"));
            }
        }
    }
    out
}

fn shown(line: &Line, zone: &TimeZone, width: usize) -> String {
    let (at, name) = (local_time(line.at, zone), &line.name);
    let mut out = format!("{at}  {name:<width$}  {:<10}{}", line.what, line.text);
    if let Some(number) = line.line {
        let gap = if line.text.is_empty() { "" } else { " " };
        // A text takes all.
        let _ = write!(out, "{gap}(line {number})");
    }
    out.truncate(out.trim_end().len());
    out
}

fn ended(tally: &Tally) -> String {
    let word = if tally.begun == 1 { "run" } else { "runs" };
    let mut parts = vec![format!("{} {word}", tally.begun)];
    parts.extend(tally.ended.iter().map(|(word, count)| format!("{count} {word}")));
    parts.join(", ")
}
