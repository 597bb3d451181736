//! The devices: twenty pumping stations that sample every minute and post every ten.
//!
//! A station starts anew about once a week, keeps a post back for some time now and then, repeats
//! one whose answer it did not get, and one of them falls silent for an hour each day.

use crate::rng::Rng;
use crate::waterworks::{Measure, Station, Value};
use holdfast_core::reading::{DeviceSeq, Finite};
use holdfast_core::{Quality, SeriesKey, Timestamp};
use holdfast_sync::store::{Draft, IngestBatch, Item, OwnedValue, Store};

/// Stations of the site.
pub const DEVICES: u64 = 20;
/// Between two posts of a station.
pub const POST_MS: i64 = 600_000;
const SAMPLE_MS: i64 = 60_000;
/// Posts for which one may be kept back at most.
const LATE_POSTS: u64 = 6;
/// Posts of a silent station that are left out.
const SILENT_POSTS: u64 = 6;

/// Readings of one moment.
#[derive(Clone, Debug)]
struct Message {
    source: DeviceSeq,
    time_ms: i64,
    values: Vec<(Measure, Value)>,
}

/// One station with what it has not posted yet.
#[derive(Debug)]
struct Device {
    station: Station,
    boot: u64,
    seq: u64,
    /// Messages kept back, and for how many posts still.
    late: Vec<(u64, Message)>,
    /// The last message, when its answer was lost.
    again: Option<Message>,
    silent: u64,
}

/// All stations.
#[derive(Debug)]
pub struct Site {
    devices: Vec<Device>,
    rng: Rng,
    /// Messages that were posted a second time.
    pub repeated: u64,
    /// Messages that came late.
    pub late: u64,
    /// Starts of stations.
    pub starts: u64,
}

/// What a post has in it.
#[derive(Debug, Default)]
pub struct Post {
    /// As the store takes it.
    pub batch: IngestBatch,
    /// For each item its readings.
    pub readings: Vec<u64>,
}

impl Site {
    /// The stations of a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let device = |index| Device {
            station: Station::new(seed, index),
            boot: 1,
            seq: 0,
            late: Vec::new(),
            again: None,
            silent: 0,
        };
        let devices = (0..DEVICES).map(device).collect();
        Self { devices, rng: Rng::keyed(seed, &[0x517e]), repeated: 0, late: 0, starts: DEVICES }
    }

    /// One of the stations says nothing for an hour.
    pub fn silence_one(&mut self) {
        let which = self.rng.index(self.devices.len());
        self.devices[which].silent = SILENT_POSTS;
    }

    /// What the stations post at a time: what they measured since their last post.
    pub fn post(&mut self, store: &Store, now_ms: i64) -> Post {
        let mut post = Post::default();
        for at in 0..self.devices.len() {
            let messages = self.messages(at, now_ms);
            for message in &messages {
                put(&mut post, store, self.devices[at].station.id(), message);
            }
        }
        post
    }

    fn messages(&mut self, at: usize, now_ms: i64) -> Vec<Message> {
        let (rng, device) = (&mut self.rng, &mut self.devices[at]);
        if device.silent > 0 {
            device.silent -= 1;
            return Vec::new();
        }
        if rng.chance(1.0 / 1_008.0) {
            (device.boot, device.seq) = (device.boot + 1, 0);
            (device.again, self.starts) = (None, self.starts + 1);
        }
        let mut out: Vec<_> = device.again.take().into_iter().collect();
        self.repeated += out.len() as u64;
        device.late.iter_mut().for_each(|(posts, _)| *posts -= 1);
        let due: Vec<_> = device.late.extract_if(.., |(posts, _)| *posts == 0).collect();
        self.late += due.len() as u64;
        out.extend(due.into_iter().map(|(_, message)| message));
        let (hold, lost) = (rng.chance(0.01), rng.chance(0.01));
        let mut fresh = device.measure(now_ms);
        if hold {
            let posts = 2 + rng.below(LATE_POSTS - 1);
            device.late.extend(fresh.drain(..).map(|message| (posts, message)));
        }
        if lost {
            device.again = fresh.last().cloned();
        }
        out.extend(fresh);
        out
    }
}

impl Device {
    /// Level and pressure of each minute; energy and pump of the last one.
    fn measure(&mut self, now_ms: i64) -> Vec<Message> {
        let samples = POST_MS / SAMPLE_MS;
        let each = (1..=samples).map(|sample| {
            let time_ms = now_ms - POST_MS + sample * SAMPLE_MS;
            let all = [Measure::Level, Measure::Pressure, Measure::Energy, Measure::Pump];
            let some = if sample == samples { &all[..] } else { &all[..2] };
            let values = some.iter().map(|m| (*m, self.station.measure(*m, time_ms))).collect();
            self.seq += 1;
            Message { source: DeviceSeq { boot: self.boot, seq: self.seq }, time_ms, values }
        });
        each.collect()
    }
}

const fn unit(measure: Measure) -> &'static str {
    match measure {
        Measure::Level => "m",
        Measure::Pressure => "bar",
        Measure::Energy => "kW.h",
        _ => "",
    }
}

fn put(post: &mut Post, store: &Store, device: &str, message: &Message) {
    let batch = &mut post.batch;
    let from = batch.drafts.len();
    for (measure, value) in &message.values {
        let key = SeriesKey::new(device, measure.metric(), unit(*measure)).expect("a short name");
        let value = match value {
            Value::Number(number) => {
                OwnedValue::Float(Finite::new(*number).expect("a measure is finite"))
            }
            Value::Switch(on) => OwnedValue::Bool(*on),
        };
        batch.drafts.push(Draft {
            series: store.interner().intern(&key).expect("sixty series have room"),
            time: Timestamp::from_millis(message.time_ms),
            value,
            quality: Quality::GOOD,
        });
    }
    let drafts = from..batch.drafts.len();
    post.readings.push(drafts.len() as u64);
    batch.items.push(Item { drafts, source: Some(message.source) });
}
