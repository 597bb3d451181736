//! Devices with our firmware, as a client that speaks their envelopes: what they should be, what
//! they say they are, and what they are to do, across kills of the gateway.

use crate::client::Client;
use crate::client::mqtt::{Login, Wire};
use crate::process::{Edge, LIMIT, Settings};
use crate::scenarios::audit::edge_client;
use crate::scenarios::hands::block_on;
use crate::scenarios::twins::patch;
use crate::wait::until_async;
use holdfast_core::codec::Sink as _;
use holdfast_core::device::command::{Command, CommandId, NO_COMMAND, Named, Outcome, Reply};
use holdfast_core::device::desired::{Ask, Desired, NONE, Section, Version};
use holdfast_core::device::gateway::Time;
use holdfast_core::device::health::{Health, Reason as Started};
use holdfast_core::device::reported::{Joined, Writer};
use holdfast_core::device::{self, Envelopes, MESSAGE_MAX_BYTES};
use holdfast_core::envelope::Envelope;
use holdfast_core::hlc::Stamp;
use holdfast_core::reading::Text;
use holdfast_core::state::{Author, Cell, Content, LwwMap, Path, Role, Value as Kept};
use holdfast_core::{Device, Reject, Value as Measured};
use holdfast_edge::mqtt::packet::QoS;
use holdfast_edge::mqtt::reason::Reason;
use serde_json::{Value, json};
use std::collections::VecDeque;

const DEVICE: &str = "pump-1";
const COMMANDS: &str = "/v1/devices/pump-1/commands";
/// A time that is not the gateway's: 2027-01-15T08:00:00Z.
const AT: u64 = 1_800_000_000_000;

/// What is desired, pulled and pushed.
///
/// # Panics
/// When a device is told something else than is desired, or something that it has not asked for.
pub fn sections() {
    block_on(async {
        let mut site = Site::begin();
        let mut http = edge_client(&site.edge);
        let mut pump = site.pump().await;

        // Who has not asked is told nothing but the time.
        pump.also("devices/pump-1/twin/desired").await;
        want(&mut http, &json!({ "number": 1 })).await;
        assert!(pump.until_wanted(&json!(1)).await.is_empty());
        pump.say(said(device::HEALTH, |out| health().encode(out))).await;
        assert_eq!(pump.next().await.0, device::TIME);
        want(&mut http, &json!({ "number": null })).await;
        assert!(pump.until_wanted(&Value::Null).await.is_empty());
        pump = site.pump().await;

        // Nothing is desired, which is a section as well.
        pump.ask(NONE).await;
        assert_eq!(pump.commands().await, NO_COMMAND);
        let (nothing, held) = pump.section().await;
        assert!(held.as_bytes().is_empty() && nothing != NONE);

        want(&mut http, &json!({ "mode": "auto", "net": { "mtu": 1400 } })).await;
        let (version, held) = pump.section().await;
        let value = |path| held.get(Path::new(path).expect("a path")).and_then(|cell| cell.value());
        assert_eq!(value("mode"), Kept::text("auto").ok());
        assert_eq!(value("net/mtu"), Some(Kept::Int(1_400)));
        assert_eq!(held.iter().count(), 2);
        assert_ne!(version, nothing);

        // What it holds is not sent again, whatever was killed.
        site.kill().await;
        http.move_to(site.edge.http());
        pump = site.pump().await;
        pump.ask(version).await;
        assert_eq!(pump.desired().await, (version, "same"));
        pump.ask([9; 16]).await;
        assert_eq!(pump.section().await.0, version);

        too_large(&mut pump, &mut http, version).await;

        // Once the connection is over over which it has asked, nobody is told any more.
        let mut silent = site.pump().await;
        silent.also("devices/pump-1/twin/desired").await;
        drop(pump);
        let mut number = 0;
        loop {
            number += 1;
            want(&mut http, &json!({ "number": number })).await;
            if silent.until_wanted(&json!(number)).await.is_empty() {
                break;
            }
            assert!(number < 1_000, "a device that is gone is still told");
        }
        site.edge.stop().expect("it stops");
    });
}

/// A section that is too large is seen by people, and that is written once.
async fn too_large(pump: &mut Pump, http: &mut Client, held: Version) {
    want(http, &json!({ "note": "x".repeat(1_100) })).await;
    let (large, what) = pump.desired().await;
    assert_eq!(what, "too large");
    until_reported(http, &of_health(&json!("too large"))).await;
    for version in [held, large] {
        pump.ask(version).await;
        assert_eq!(pump.desired().await, (large, "too large"));
    }
    want(http, &json!({ "note": null })).await;
    let (_, held) = pump.section().await;
    assert_eq!(held.iter().count(), 2);
    until_reported(http, &of_health(&Value::Null)).await;
    // The device's word of itself, that it is too large, and that it is not.
    let path = "/v1/devices/pump-1/twin/history?section=reported&limit=20";
    let past = http.get(path).await.expect("an answer").json();
    assert_eq!(past["changes"].as_array().map(Vec::len), Some(3), "{past}");
}

/// What is reported, under the device's own stamps.
///
/// # Panics
/// When a cell is lost, shown under another stamp, or taken of somebody else.
pub fn reports() {
    block_on(async {
        let mut site = Site::begin();
        let mut http = edge_client(&site.edge);
        let mut pump = site.pump().await;
        let own = (author(DEVICE), Role::Device);
        let two = [("level", own, AT, Some(7)), ("net/mtu", own, AT + 1, Some(1_400))];
        assert!(!pump.report(3, &two).await.0.is_failure());
        let above = Stamp::new(AT + 1, 0);
        assert_eq!(pump.joined().await, Joined { mark: 3, is_stale: false, above });

        // It is there after a kill, with the device's stamps; again it changes nothing.
        site.kill().await;
        http.move_to(site.edge.http());
        pump = site.pump().await;
        let shown = twin(&mut http).await;
        assert_eq!(shown["values"], json!({ "level": 7, "net": { "mtu": 1400 } }));
        let level = &shown["metadata"]["level"];
        let expected = json!({ "at": "2027-01-15T08:00:00Z", "author": DEVICE, "role": "device" });
        assert_eq!(*level, expected);
        pump.report(4, &two).await;
        assert_eq!(pump.joined().await, Joined { mark: 4, is_stale: false, above });
        assert_eq!(twin(&mut http).await["version"], shown["version"]);

        // A device with an empty flash is told above what to stamp.
        pump.report(1, &[("level", own, 5, Some(8))]).await;
        assert_eq!(pump.joined().await, Joined { mark: 1, is_stale: true, above });
        assert_eq!(twin(&mut http).await["values"]["level"], 7);
        pump.report(2, &[("level", own, AT + 2, Some(8)), ("net", own, AT + 2, Some(0))]).await;
        assert!(!pump.joined().await.is_stale);
        pump.report(3, &[("net", own, AT + 3, None), ("net/mtu", own, AT + 3, None)]).await;
        assert!(!pump.joined().await.is_stale);
        assert_eq!(twin(&mut http).await["values"], json!({ "level": 8 }));

        // What it may not say is refused as a whole, and by whomever it may not be said.
        let before = twin(&mut http).await;
        let later = AT + 9;
        for (path, who) in [
            ("x", (author("pump-2"), Role::Device)),
            ("x", (own.0, Role::Edge)),
            ("device", own),
            ("device/boot", own),
        ] {
            let cells = [("a", own, later, Some(1)), (path, who, later, Some(1))];
            let (reason, text) = pump.report(5, &cells).await;
            assert_eq!(reason, Reason::PayloadFormatInvalid, "{path}: {text}");
            assert!(text.contains(&format!("`{path}` is not this device's")), "{text}");
        }
        let mut half = said(device::REPORTED, |out| out.put(&[1, 1]));
        half.extend(said(device::HEALTH, |out| out.put(&[1])));
        assert_eq!(pump.say(half).await.0, Reason::PayloadFormatInvalid);
        let mut other = site.admin().await;
        let (reason, _) = other.report(5, &two).await;
        assert_eq!(reason, Reason::NotAuthorized);
        assert_eq!(twin(&mut http).await, before);
        site.edge.stop().expect("it stops");
    });
}

/// What is to be done, until the answer is safe.
///
/// # Panics
/// When a command is lost, sent to whom it is not for, or asked again once it is answered.
pub fn orders() {
    block_on(async {
        let mut site = Site::begin();
        let mut http = edge_client(&site.edge);
        let mut pump = site.pump().await;
        // One that no device can be sent waits for whoever connects.
        let list = json!({ "name": "open", "args": { "at": [1] }, "lasts_s": 3600 });
        let odd = order(&mut http, &list).await;
        assert_eq!(odd["state"], "waiting");
        pump.ask(NONE).await;
        assert_eq!(pump.commands().await, NO_COMMAND);
        let path = format!("{COMMANDS}/{}?wait_s=30", odd["id"].as_str().expect("an id"));
        let failed = http.get(&path).await.expect("an answer").json();
        assert_eq!(failed["state"], "failed");
        let why = "the gateway cannot send it to this device: the argument `at` is an array";
        assert_eq!(failed["error"], why);
        // Now it is known at once.
        assert_eq!(order(&mut http, &list).await["error"], why);

        // One comes as soon as it is ordered, and again after a kill, until it is answered.
        let args = json!({ "percent": 50, "how": { "slow": true } });
        let open = json!({ "name": "open", "args": args, "lasts_s": 3600 });
        let first = id(&order(&mut http, &open).await);
        assert_eq!(pump.command().await, (first, "open".to_owned(), 2));
        let second = id(&order(&mut http, &json!({ "name": "shut", "lasts_s": 3600 })).await);
        assert_eq!(pump.command().await, (second, "shut".to_owned(), 0));
        site.kill().await;
        http.move_to(site.edge.http());
        pump = site.pump().await;
        pump.ask(NONE).await;
        assert_eq!(pump.commands().await, first.min(second));
        let mut again = [pump.command().await.0, pump.command().await.0];
        again.sort_unstable();
        assert_eq!(again, [first.min(second), first.max(second)]);

        // The first answer counts; each is told that it is safe, and so is one to no command.
        let half = Outcome::Done(Some(Measured::Int(50)));
        assert!(!pump.reply(first, half).await.0.is_failure());
        assert_eq!(pump.replied().await, first);
        let stuck = Outcome::Failed(Text::new("it is stuck").expect("short"));
        for (of, outcome) in [(first, stuck), (second, stuck), (second, stuck), ([7; 16], half)] {
            assert!(!pump.reply(of, outcome).await.0.is_failure());
            assert_eq!(pump.replied().await, of);
        }
        let states = http.get(COMMANDS).await.expect("an answer").json();
        let all = states["commands"].as_array().expect("a list");
        let told =
            |of: CommandId| all.iter().find(|shape| id(shape) == of).expect("it is listed").clone();
        assert_eq!((&told(first)["state"], &told(first)["result"]), (&json!("done"), &json!(50)));
        assert_eq!(told(second)["error"], "it is stuck");
        let metrics = http.get("/metrics").await.expect("an answer").text();
        assert!(metrics.contains("holdfast_mqtt_unknown_replies_total 1\n"), "{metrics}");
        pump.ask(NONE).await;
        assert_eq!(pump.commands().await, NO_COMMAND);

        // Nobody else answers for it.
        let third = id(&order(&mut http, &json!({ "name": "blink" })).await);
        let mut other = site.admin().await;
        assert_eq!(other.reply(third, half).await.0, Reason::NotAuthorized);
        assert_eq!(pump.command().await.0, third);
        site.edge.stop().expect("it stops");
    });
}

struct Site {
    edge: Edge,
    token: String,
    _dir: tempfile::TempDir,
}

impl Site {
    fn begin() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let edge = Edge::init("ps-000", dir.path(), Settings::default());
        let mut edge = edge.expect("the gateway is made");
        edge.start().expect("it starts");
        let token = edge.device_token(DEVICE).expect("a token");
        Self { edge, token, _dir: dir }
    }

    async fn kill(&mut self) {
        self.edge.kill9().expect("the gateway is killed");
        self.edge.start().expect("it starts again");
    }

    async fn pump(&self) -> Pump {
        Pump::open(&self.edge, &self.token).await
    }

    async fn admin(&self) -> Pump {
        let token = self.edge.admin_token().expect("its token");
        Pump::open(&self.edge, &token).await
    }
}

/// A path, who writes there, when, and what; nothing for a tombstone.
type Row<'a> = (&'a str, (Author, Role), u64, Option<i64>);

/// A client that speaks as our firmware does.
struct Pump {
    wire: Wire,
    heard: VecDeque<(u8, Vec<u8>)>,
}

impl Pump {
    async fn open(edge: &Edge, token: &str) -> Self {
        let (mut wire, _) =
            Wire::open_as(edge.mqtt(), Login::passing("", token)).await.expect("it is let in");
        let filter = "devices/pump-1/watermark";
        wire.subscribe(&[filter], QoS::AtMostOnce).await.expect("subscribed");
        Self { wire, heard: VecDeque::new() }
    }

    async fn say(&mut self, message: Vec<u8>) -> (Reason, String) {
        self.wire.say("devices/pump-1/envelope", message).await.expect("an answer")
    }

    /// The next envelope.
    async fn next(&mut self) -> (u8, Vec<u8>) {
        loop {
            if let Some(next) = self.heard.pop_front() {
                return next;
            }
            let message = tokio::time::timeout(LIMIT, self.wire.message()).await;
            let message = message.expect("a message in time").expect("a message");
            assert!(message.payload.len() <= MESSAGE_MAX_BYTES && message.qos == QoS::AtMostOnce);
            for envelope in Envelopes::new(&message.payload) {
                let Envelope { kind, payload, .. } = envelope.expect("an envelope");
                self.heard.push_back((kind, payload.to_vec()));
            }
        }
    }

    /// The next envelope of a kind; those before it are passed over.
    async fn kind(&mut self, of: u8) -> Vec<u8> {
        loop {
            let (kind, payload) = self.next().await;
            if kind == of {
                return payload;
            }
        }
    }

    async fn also(&mut self, filter: &str) {
        self.wire.subscribe(&[filter], QoS::AtMostOnce).await.expect("subscribed");
    }

    /// The kinds of the envelopes that come before the section, in JSON, with this `number`.
    async fn until_wanted(&mut self, number: &Value) -> Vec<u8> {
        let mut kinds = Vec::new();
        loop {
            let message = tokio::time::timeout(LIMIT, self.wire.message()).await;
            let message = message.expect("a message in time").expect("a message");
            if message.topic.as_str().ends_with("/watermark") {
                let all = Envelopes::new(&message.payload);
                kinds.extend(all.map(|envelope| envelope.expect("an envelope").kind));
                continue;
            }
            let section: Value = serde_json::from_slice(&message.payload).expect("JSON");
            if section["number"] == *number {
                return kinds;
            }
        }
    }

    async fn ask(&mut self, version: Version) {
        let ask = Ask { version };
        let (reason, text) = self.say(said(device::ASK, |out| ask.encode(out))).await;
        assert!(!reason.is_failure(), "{text}");
        Time::decode(&self.kind(device::TIME).await).expect("a time");
    }

    /// What is said of the next section.
    async fn desired(&mut self) -> (Version, &'static str) {
        let payload = self.kind(device::DESIRED).await;
        let Desired { version, section } = Desired::decode(&payload).expect("a section");
        let what = match section {
            Section::Whole(_) => "whole",
            Section::Same => "same",
            Section::TooLarge(bytes) => {
                assert!(bytes as usize + 26 > MESSAGE_MAX_BYTES);
                "too large"
            }
        };
        (version, what)
    }

    /// The next whole section, as a device holds it.
    async fn section(&mut self) -> (Version, LwwMap<1024>) {
        let payload = self.kind(device::DESIRED).await;
        let Desired { version, section } = Desired::decode(&payload).expect("a section");
        let Section::Whole(records) = section else { panic!("{section:?}") };
        (version, LwwMap::from_bytes(records.as_bytes()).expect("it fits"))
    }

    async fn report(&mut self, mark: u64, cells: &[Row<'_>]) -> (Reason, String) {
        let mut room = [0; MESSAGE_MAX_BYTES];
        let mut writer = Writer::new(&mut room, mark).expect("it fits");
        for (path, (author, role), ms, value) in cells {
            let content = value.map_or(Content::Tombstone, |int| Content::Value(Kept::Int(int)));
            let stamp = Stamp::new(*ms, 0);
            let cell = Cell { stamp, author: *author, role: *role, content };
            writer.push(Path::new(path).expect("a path"), &cell).expect("it fits");
        }
        let payload = writer.finish();
        self.say(said(device::REPORTED, |out| out.put(payload))).await
    }

    async fn joined(&mut self) -> Joined {
        Joined::decode(&self.kind(device::JOINED).await).expect("what became of it")
    }

    async fn reply(&mut self, id: CommandId, outcome: Outcome<'_>) -> (Reason, String) {
        let reply = Reply { id, outcome };
        self.say(said(device::REPLY, |out| reply.encode(out))).await
    }

    async fn named(&mut self, kind: u8) -> CommandId {
        Named::decode(&self.kind(kind).await).expect("an id").id
    }

    async fn replied(&mut self) -> CommandId {
        self.named(device::REPLIED).await
    }

    async fn commands(&mut self) -> CommandId {
        self.named(device::COMMANDS).await
    }

    /// The next command: its id, its name, how many arguments it has.
    async fn command(&mut self) -> (CommandId, String, usize) {
        let payload = self.kind(device::COMMAND).await;
        let command = Command::decode(&payload).expect("a command");
        assert!((1..=3_600_000).contains(&command.expires_ms));
        (command.id, command.name.to_owned(), command.arguments.count())
    }
}

fn said(kind: u8, encode: impl FnOnce(&mut Vec<u8>) -> Result<(), Reject>) -> Vec<u8> {
    let (mut payload, mut out) = (Vec::new(), Vec::new());
    encode(&mut payload).expect("a vector has room");
    Envelope { kind, flags: 0, payload: &payload }.encode(&mut out).expect("a vector has room");
    out
}

fn author(device: &str) -> Author {
    Author::device(Device::new(device).expect("a device"))
}

fn health() -> Health<'static> {
    let (reason, counters) = (Started::POWER, Default::default());
    Health { boot: 4, uptime_ms: 1, reason, firmware: "0.1.0", counters }
}

/// What the device reports, with how it stands with its section.
fn of_health(desired: &Value) -> Value {
    let mut out = json!({ "device": { "boot": 4, "reason": "power", "firmware": "0.1.0" } });
    if !desired.is_null() {
        out["device"]["desired"] = desired.clone();
    }
    out
}

fn id(shape: &Value) -> CommandId {
    let digits = shape["id"].as_str().expect("an id");
    u128::from_str_radix(digits, 16).expect("hexadecimal digits").to_be_bytes()
}

async fn want(http: &mut Client, change: &Value) {
    let answer = patch(http, "/v1/devices/pump-1/twin/desired", change, &[]).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
}

async fn order(http: &mut Client, order: &Value) -> Value {
    let answer = http.post_json(COMMANDS, order).await.expect("an answer");
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

/// The reported section, with who wrote it and when.
async fn twin(http: &mut Client) -> Value {
    let path = "/v1/devices/pump-1/twin?metadata=true";
    http.get(path).await.expect("an answer").json()["reported"].clone()
}

async fn until_reported(http: &mut Client, expected: &Value) {
    until_async("what the device reports", LIMIT, async || {
        let mut values = twin(http).await["values"].take();
        // When it started is another time in each run.
        let starts = values["device"].as_object_mut()?.remove("starts")?;
        let is_one = starts.as_array().is_some_and(|all| all.len() == 1 && all[0]["boot"] == 4);
        (is_one && values == *expected).then_some(())
    })
    .await;
}
