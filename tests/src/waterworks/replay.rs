//! Recorded readings, posted again: at the pace they were measured, faster, or as fast as it goes.
//!
//! The files are read by the gateway's own code, so what can be imported can be replayed. The times
//! of the readings stay as they were recorded; they only say when each is due.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;
use std::time::{Duration, Instant};

use holdfast_edge::files::{Batch, Batcher, Entry, Source};
use hyper::Method;

use super::post::Patience;
use super::run::Pace;
use crate::client::Client;

const CONTENT_TYPE: (&str, &str) = ("content-type", "application/x-ndjson");
/// What was refused is named so often, then counted.
const SHOWN: usize = 10;

impl FromStr for Pace {
    type Err = String;

    /// Reads `1x`, `0.5x`, `max`.
    fn from_str(text: &str) -> Result<Self, String> {
        if text == "max" {
            return Ok(Self::Flat);
        }
        let times = text.strip_suffix('x').unwrap_or(text).parse::<f64>().ok();
        let times = times.filter(|times| times.is_finite() && *times > 0.0);
        times
            .map(Self::Times)
            .ok_or_else(|| "a speed is 1x, 10x, 0.5x and so on, or max".to_owned())
    }
}

/// What became of a replay.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Replayed {
    /// Items accepted now.
    pub accepted: u64,
    /// Items that were stored before.
    pub duplicates: u64,
    /// Items refused, by the reader or by the gateway.
    pub refused: u64,
    /// The first of them, each with its place.
    pub reasons: Vec<String>,
    /// How often a post was repeated.
    pub retries: u64,
}

impl fmt::Display for Replayed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { accepted, duplicates, refused, retries, .. } = self;
        write!(f, "{accepted} items accepted, {duplicates} stored before, {refused} refused; ")?;
        write!(f, "{retries} repeated posts")?;
        self.reasons.iter().try_for_each(|reason| write!(f, "\n  {reason}"))
    }
}

/// A gateway that recorded readings are posted to.
#[derive(Debug)]
pub struct Replay {
    client: Client,
    pace: Pace,
    patience: Patience,
    /// Due times count from here: the time of the first reading, and when it was posted.
    began: Option<(i64, Instant)>,
    told: Replayed,
}

impl Replay {
    /// A replay that has not begun.
    #[must_use]
    pub fn new(gateway: SocketAddr, token: &str, pace: Pace, patience: Patience) -> Self {
        let client = Client::new(gateway).with_token(token);
        Self { client, pace, patience, began: None, told: Replayed::default() }
    }

    /// What became of it so far.
    #[must_use]
    pub fn told(&self) -> &Replayed {
        &self.told
    }

    /// Posts a file; `device` is the device of readings that name none.
    ///
    /// # Errors
    /// When the file cannot be read on, or the gateway takes nothing more.
    pub async fn file(&mut self, source: Source, device: Option<String>) -> Result<(), String> {
        let mut reading = source.start();
        let name = reading.name.clone();
        let mut batcher = Batcher::new(device);
        while let Some(step) = reading.next().await {
            let portion = step.map_err(|error| format!("{name}: {error}"))?;
            for refusal in &portion.refused {
                self.refuse(refusal.in_file(&name).to_string());
            }
            for entry in &portion.entries {
                if let Some(wait) = self.wait(entry) {
                    if let Some(batch) = batcher.take() {
                        self.deliver(&name, batch).await?;
                    }
                    tokio::time::sleep(wait).await;
                }
                if let Some(batch) = batcher.push(entry) {
                    self.deliver(&name, batch).await?;
                }
            }
        }
        match batcher.take() {
            Some(batch) => self.deliver(&name, batch).await,
            None => Ok(()),
        }
    }

    /// How long an entry is not due yet; one without a time, or late, is due at once.
    fn wait(&mut self, entry: &Entry) -> Option<Duration> {
        let (Pace::Times(speed), Some(time)) = (self.pace, entry.time()) else { return None };
        let (first, began) = *self.began.get_or_insert_with(|| (time.0, Instant::now()));
        let ahead = Duration::from_nanos(time.0.saturating_sub(first).try_into().ok()?);
        let due =
            began.checked_add(Duration::try_from_secs_f64(ahead.as_secs_f64() / speed).ok()?)?;
        due.checked_duration_since(Instant::now()).filter(|wait| !wait.is_zero())
    }

    fn refuse(&mut self, reason: String) {
        self.told.refused += 1;
        if self.told.reasons.len() < SHOWN {
            self.told.reasons.push(reason);
        }
    }

    /// Posts a batch until it is answered; its key keeps a repetition from being stored twice.
    async fn deliver(&mut self, name: &str, batch: Batch) -> Result<(), String> {
        let key = batch.key.to_string();
        let headers = [CONTENT_TYPE, ("idempotency-key", &key)];
        let began = Instant::now();
        loop {
            let body = batch.body.clone().into();
            let answer = self.client.send(Method::POST, "/v1/readings", &headers, body).await;
            let last = match answer {
                Ok(answer) if answer.json()["rejected"].is_array() => {
                    let replayed = answer.headers.contains_key("idempotency-replayed");
                    self.take(name, &batch, &answer.json(), replayed);
                    return Ok(());
                }
                Ok(answer) if answer.status.is_client_error() && answer.status != 429 => {
                    return Err(format!("{}: {}", answer.status, answer.text()));
                }
                Ok(answer) => format!("{}: {}", answer.status, answer.text()),
                Err(no_answer) => no_answer.to_string(),
            };
            if self.patience.limit.is_some_and(|limit| began.elapsed() > limit) {
                return Err(last);
            }
            self.told.retries += 1;
            tokio::time::sleep(self.patience.pause).await;
        }
    }

    fn take(&mut self, name: &str, batch: &Batch, told: &serde_json::Value, replayed: bool) {
        let count = |member: &str| told[member].as_u64().unwrap_or(0);
        let stored = count("accepted");
        let (new, old) = if replayed { (0, stored) } else { (stored, 0) };
        self.told.accepted += new;
        self.told.duplicates += old + count("duplicates");
        for error in told["rejected"].as_array().into_iter().flatten() {
            let index = error["index"].as_u64().and_then(|index| usize::try_from(index).ok());
            let place = index.and_then(|index| batch.places.get(index));
            let place = place.map(ToString::to_string).unwrap_or_default();
            let detail = error["detail"].as_str().unwrap_or_default();
            self.refuse(format!("{name}, {place}: {detail}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn speeds_are_read() {
        assert_eq!("max".parse(), Ok(Pace::Flat));
        for (text, times) in [("1x", 1.0), ("10x", 10.0), ("0.5x", 0.5), ("3", 3.0)] {
            assert_eq!(text.parse(), Ok(Pace::Times(times)), "{text}");
        }
        for wrong in ["", "x", "0x", "-1x", "NaNx", "infx", "fast"] {
            assert!(wrong.parse::<Pace>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_entry_is_due_as_far_behind_the_first_as_it_was_measured() {
        use holdfast_edge::files::{FileFormat, Options, read};
        let text = "m value=1 1000\nm value=2\nm value=3 900\nm value=4 4600\n";
        let mut entries = Vec::new();
        let options = Options {
            format: FileFormat::Line,
            now: holdfast_core::Timestamp(0),
            precision: holdfast_edge::formats::line::Precision::Seconds,
        };
        read(text.as_bytes(), options, &mut |portion| {
            entries.extend(portion.entries);
            std::ops::ControlFlow::Continue(())
        })
        .unwrap();
        let address = "127.0.0.1:1".parse().unwrap();
        let replay = |pace| Replay::new(address, "t", pace, Patience::default());
        let mut slow = replay(Pace::Times(2.0));
        let waits: Vec<_> = entries.iter().map(|entry| slow.wait(entry)).collect();
        assert_eq!(waits[..3], [None, None, None]);
        // An hour at twice the speed, less what has passed meanwhile.
        let wait = waits[3].unwrap();
        assert!(
            wait <= Duration::from_secs(1_800) && wait > Duration::from_secs(1_000),
            "{wait:?}"
        );
        let mut flat = replay(Pace::Flat);
        assert!(entries.iter().all(|entry| flat.wait(entry).is_none()));
    }
}
