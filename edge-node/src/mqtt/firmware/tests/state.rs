//! State and commands, from what is kept to what a device reads and back.

use super::{answer, said};
use crate::device_commands::{CommandId, Record, Reply};
use crate::mqtt::firmware::section::Shows;
use crate::mqtt::firmware::{Heard, Said, letters::Letters, order};
use crate::mqtt::message::Moment;
use holdfast_core::device::command::Command;
use holdfast_core::device::desired::{Desired, NONE, Section};
use holdfast_core::device::reported::Joined;
use holdfast_core::device::{self, Envelopes, MESSAGE_MAX_BYTES, vectors};
use holdfast_core::hlc::Stamp;
use holdfast_core::reading::Device;
use holdfast_core::state::{Author, Line, LwwMap, Path, Pattern, Policy, Role, Rule, Value};
use holdfast_sync::docs::{Contents, DocumentName, Documents, Edit, What, Writer};
use holdfast_sync::env::System;
use holdfast_sync::identity::NodeKey;
use holdfast_sync::store::{self, Overflow, Snapshot, Store};
use serde_json::{Value as Json, json};

/// A text of which a part is what fits a message.
static LONG: [u8; MESSAGE_MAX_BYTES] = [b'x'; MESSAGE_MAX_BYTES];

fn kinds(messages: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let of = |message: &Vec<u8>| Envelopes::new(message).map(|one| one.unwrap().kind).collect();
    messages.iter().map(of).collect()
}

#[test]
fn a_message_is_heard_as_a_whole() {
    let pump = Device::new("pump-1").unwrap();
    let message =
        [vectors::ASK_NOTHING, vectors::REPORTED_TWO, vectors::REPLY_DONE, vectors::REPLY_FAILED]
            .concat();
    let heard = Heard::read(pump, &message).unwrap();
    assert_eq!(heard.said, Said { ask: Some(NONE), ..Said::default() });
    assert_eq!(heard.reported.iter().map(|one| one.mark).collect::<Vec<_>>(), [7]);
    let id = heard.replies[0].id;
    let answers: Vec<_> = heard.replies.iter().map(order::reply).collect();
    let failed = Reply::Failed("it is stuck".to_owned());
    assert_eq!(answers, [(CommandId(id), Reply::Done(json!(50))), (CommandId(id), failed)]);
    let nothing = Heard::read(pump, vectors::REPLY_NOTHING).unwrap();
    assert_eq!(order::reply(&nothing.replies[0]).1, Reply::Done(Json::Null));
    // Nobody says what another one is.
    let other = Device::new("pump-2").unwrap();
    let wrong = Heard::read(other, &message).unwrap_err();
    let text = "the cell at `level` is not this device's to report: it is by somebody else, or at \
                or below `device` (at envelope 1)";
    assert_eq!((wrong.code, wrong.to_string().as_str()), ("other-device", text));
}

#[test]
fn an_answer_has_all_that_was_said_in_order_and_no_message_is_too_long() {
    let joined = Joined { mark: 7, is_stale: true, above: Stamp::new(1_800_000_000_000, 5) };
    let all = Said { joined: vec![joined], replied: vec![[1; 16]], ..said(vectors::SAMPLES_UNIX) };
    let kinds_of = [device::WATERMARK, device::TIME, device::JOINED, device::REPLIED];
    assert_eq!(kinds(&answer(&all)), [kinds_of]);
    let many = Said { replied: vec![[1; 16]; 100], ..Said::default() };
    let messages = answer(&many);
    assert!(messages.iter().all(|message| message.len() <= MESSAGE_MAX_BYTES));
    assert_eq!(kinds(&messages).concat().len(), 101);
    assert_eq!(messages.len(), 3);
    let mut letters = Letters::default();
    letters.push(vectors::REPLIED_OPEN);
    letters.push(&[0; MESSAGE_MAX_BYTES]);
    assert_eq!(letters.finish().len(), 2);
}

/// The contents of a section in which `edits` were made, one after the other.
fn contents(policy: &Policy<'_>, edits: &[(&'static str, What<'static>)]) -> Contents {
    let (dir, key) = (tempfile::tempdir().unwrap(), NodeKey::generate(&System::env()));
    let options = store::Options {
        dir: dir.path().to_owned(),
        key: key.clone(),
        quota_bytes: 1 << 30,
        overflow: Overflow::Refuse,
        max_series: 10,
        seal_after: 0,
        version: "test",
        scrub_every: std::time::Duration::ZERO,
        unsafe_normal_sync: true,
    };
    let (store, _) = Store::open(options, System::env()).unwrap();
    let author = Author::node(&key.id());
    let documents = Documents::new(&store, key, Role::Edge);
    let (edits, policy) = (edits.to_vec(), policy.as_bytes().to_vec());
    let write = store.write(move |tx| {
        let policy = Policy::from_bytes(&policy).unwrap();
        for (number, (path, what)) in edits.iter().enumerate() {
            let clock = Stamp::new(1_800_000_000_000, number as u16);
            let writer = Writer { author, role: Role::Edge, clock };
            let edit = Edit { path: Path::new(path).unwrap(), what: *what };
            documents.write(tx, &name(), &policy, writer, &[edit])?;
        }
        Ok(())
    });
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(write).unwrap();
    store.read_blocking(|view: &Snapshot<'_>| Contents::read(view, &name())).unwrap()
}

fn name() -> DocumentName {
    DocumentName::new("device/pump-1/desired").unwrap()
}

fn payload(message: &[u8], of: u8) -> &[u8] {
    let envelope = Envelopes::new(message).next().unwrap().unwrap();
    assert_eq!(envelope.kind, of);
    envelope.payload
}

#[test]
fn a_device_gets_what_the_section_shows_and_a_map_takes_it() {
    let pattern = |text| Pattern::new(text).unwrap();
    let line = |path, rule| Line { document: pattern("**"), path: pattern(path), rule };
    let lines = [line("starts", Rule::Counter), line("valves", Rule::Set)];
    let mut bytes = Vec::new();
    Policy::encode(&lines, &mut bytes).unwrap();
    let policy = Policy::from_bytes(&bytes).unwrap();
    let int = |int| What::Put(Value::Int(int));
    let edits = [
        ("mode", What::Put(Value::text("auto").unwrap())),
        ("net", int(1)),
        ("net/mtu", int(1_400)),
        ("gone", int(2)),
        ("gone", What::Delete),
        ("limits", What::Put(Value::array("[1,5.5]").unwrap())),
        ("starts", What::Count(7)),
        ("starts", What::Count(-2)),
        ("valves", What::Add(Value::Int(3))),
    ];
    let contents = contents(&policy, &edits);
    let shows = Shows::of(&name(), &contents, &policy);
    let (envelope, fits) = shows.envelope(Some(NONE));
    assert!(fits);
    let Desired { version, section } =
        Desired::decode(payload(&envelope, device::DESIRED)).unwrap();
    assert_eq!(version, shows.version);
    let Section::Whole(records) = section else { panic!("{section:?}") };
    let map = LwwMap::<1024>::from_bytes(records.as_bytes()).unwrap();
    let held: Vec<_> = map.iter().map(|(path, cell)| (path.as_str(), cell.value())).collect();
    let expected = [
        ("limits", Value::array("[1,5.5]").unwrap()),
        ("mode", Value::text("auto").unwrap()),
        ("net/mtu", Value::Int(1_400)),
        ("starts", Value::Int(5)),
    ];
    assert_eq!(held, expected.map(|(path, value)| (path, Some(value))));
    let starts = map.get(Path::new("starts").unwrap()).unwrap();
    assert_eq!((starts.role, starts.stamp.counter()), (Role::Edge, 7));

    // What it holds is not sent again; under another policy it is something else.
    let (same, fits) = shows.envelope(Some(version));
    let same = Desired::decode(payload(&same, device::DESIRED)).unwrap();
    assert_eq!((same, fits), (Desired { version, section: Section::Same }, true));
    assert_ne!(Shows::of(&name(), &contents, &Policy::LWW).version, version);
}

#[test]
fn a_section_of_nothing_is_a_section_and_one_too_large_says_how_large() {
    let nothing = contents(&Policy::LWW, &[]);
    let shows = Shows::of(&name(), &nothing, &Policy::LWW);
    assert_ne!(shows.version, NONE);
    let (envelope, fits) = shows.envelope(Some(NONE));
    let desired = Desired::decode(payload(&envelope, device::DESIRED)).unwrap();
    assert!(fits && matches!(desired.section, Section::Whole(records) if records.count() == 0));

    // Envelope 9, version 16, what 1, path 2, length of the cell 2, head of the cell 18, of text 2.
    let most = MESSAGE_MAX_BYTES - 9 - 16 - 1 - 2 - 2 - 18 - 2;
    for (bytes, fitting) in [(most, true), (most + 1, false)] {
        let text = std::str::from_utf8(&LONG[..bytes]).unwrap();
        let edits = [("a", What::Put(Value::text(text).unwrap()))];
        let shows = Shows::of(&name(), &contents(&Policy::LWW, &edits), &Policy::LWW);
        let (envelope, fits) = shows.envelope(None);
        assert_eq!(fits, fitting, "{bytes}");
        let desired = Desired::decode(payload(&envelope, device::DESIRED)).unwrap();
        match desired.section {
            Section::Whole(records) => assert_eq!((envelope.len(), records.count()), (1_024, 1)),
            Section::TooLarge(size) => assert_eq!(size, shows.records.len() as u64),
            Section::Same => panic!("it holds nothing"),
        }
        assert_eq!(matches!(desired.section, Section::Whole(_)), fitting);
    }
}

fn record(args: Option<Json>) -> Record {
    Record {
        name: "open".to_owned(),
        args,
        by: "token t".to_owned(),
        ordered: Moment { wall_ms: 0, boot: 1, steady_ms: 500 },
        lasts_s: 60,
        key: String::new(),
        reply: None,
    }
}

fn ordered(args: Option<Json>) -> Result<Vec<u8>, String> {
    let now = Moment { wall_ms: 0, boot: 1, steady_ms: 1_500 };
    order::command(CommandId([7; 16]), &record(args), &now)
}

#[test]
fn arguments_are_the_leaves_of_an_object() {
    let args = json!({ "b": { "y": 2.5, "x": { "z": "on" } }, "a": -7, "b-c": true, "none": {} });
    let message = ordered(Some(args)).unwrap();
    let command = Command::decode(payload(&message, device::COMMAND)).unwrap();
    assert_eq!((command.id, command.expires_ms, command.name), ([7; 16], 59_000, "open"));
    let arguments: Vec<_> =
        command.arguments.map(|(path, value)| format!("{path} {:?}", value.number())).collect();
    assert_eq!(arguments, ["a Some(-7.0)", "b/x/z None", "b/y Some(2.5)", "b-c Some(1.0)"]);
    let none = ordered(None).unwrap();
    assert_eq!(Command::decode(payload(&none, device::COMMAND)).unwrap().arguments.count(), 0);
    assert_eq!(ordered(Some(json!({}))).unwrap(), none);
}

#[test]
fn what_no_device_can_be_sent_says_why() {
    for (args, why) in [
        (json!(5), "the arguments are no object"),
        (json!([1]), "the arguments are no object"),
        (json!(null), "the arguments are no object"),
        (json!({ "a": [1] }), "the argument `a` is an array"),
        (json!({ "a": { "b": null } }), "the argument `a/b` is null"),
        (json!({ "a": "x".repeat(257) }), "the argument `a` is a text of more than 256 bytes"),
        (json!({ "a/b": 1 }), "the argument `a/b` cannot be: a path has"),
        (json!({ "": 1 }), "the argument `` cannot be: a path has"),
        (json!({ "a": { "#": {} } }), "the argument `a/#` cannot be: a path has"),
        (
            json!({ "a": "x".repeat(256), "b": "x".repeat(256), "c": "x".repeat(256),
                    "d": "x".repeat(256) }),
            "the arguments take 1044 bytes, more than a message of 1024 has",
        ),
    ] {
        let told = ordered(Some(args.clone())).unwrap_err();
        assert!(told.starts_with(why), "{args}: {told}");
    }
}

#[test]
fn the_last_of_several_asks_counts() {
    let mut ask = [0; 32];
    let len = device::put(&mut ask, device::ASK, &[9; 16]).unwrap();
    let pump = Device::new("pump-1").unwrap();
    let both = [vectors::ASK_NOTHING, &ask[..len]].concat();
    assert_eq!(Heard::read(pump, &both).unwrap().said.ask, Some([9; 16]));
    // What a gateway says is nothing that a device says.
    let down = [vectors::COMMANDS_OPEN, vectors::DESIRED_SAME].concat();
    assert_eq!(Heard::read(pump, &down).unwrap().said, Said::default());
}
