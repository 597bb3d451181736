//! State and commands: what goes in comes out, and whatever else comes is refused without harm.

use crate::codec::Reader;
use crate::device::command::{Arguments, Command, Named, Outcome, Reply, put_argument};
use crate::device::desired::{Ask, Desired, Section};
use crate::device::reported::{Joined, Reported, Writer};
use crate::device::vectors;
use crate::envelope::Envelope;
use crate::hlc::Stamp;
use crate::reading::Text;
use crate::state::{Author, Cell, Content, LwwMap, Path, Records, Role, Value as Kept, put_record};
use crate::{Reject, Value};
use proptest::prelude::*;
use std::format;
use std::string::String;
use std::vec::Vec;

const AUTHOR: Author = Author([1; 8]);

fn payload(message: &[u8]) -> &[u8] {
    Envelope::decode(&mut Reader::new(message)).unwrap().payload
}

/// Reads a payload as everything that it might be.
fn read_all(payload: &[u8]) {
    let _ = Ask::decode(payload);
    if let Ok(Desired { section: Section::Whole(records), .. }) = Desired::decode(payload) {
        assert!(LwwMap::<1024>::from_bytes(records.as_bytes()).is_ok());
    }
    if let Ok(reported) = Reported::decode(payload) {
        assert_eq!(reported.cells.as_bytes().is_empty(), reported.cells.count() == 0);
    }
    let _ = Joined::decode(payload);
    if let Ok(command) = Command::decode(payload) {
        let arguments = command.arguments;
        assert_eq!(arguments.as_bytes().is_empty(), arguments.count() == 0);
    }
    let _ = Reply::decode(payload);
    let _ = Named::decode(payload);
}

type Check = fn(&[u8]) -> bool;

/// Each vector, and whether a payload is still one of its kind.
fn kinds() -> [(&'static [u8], Check); 12] {
    let desired: Check = |bytes| Desired::decode(bytes).is_ok();
    let reply: Check = |bytes| Reply::decode(bytes).is_ok();
    let named: Check = |bytes| Named::decode(bytes).is_ok();
    [
        (vectors::ASK_NOTHING, |bytes| Ask::decode(bytes).is_ok()),
        (vectors::DESIRED_WHOLE, desired),
        (vectors::DESIRED_SAME, desired),
        (vectors::DESIRED_LARGE, desired),
        (vectors::REPORTED_TWO, |bytes| Reported::decode(bytes).is_ok()),
        (vectors::JOINED_STALE, |bytes| Joined::decode(bytes).is_ok()),
        (vectors::COMMAND_OPEN, |bytes| Command::decode(bytes).is_ok()),
        (vectors::REPLY_DONE, reply),
        (vectors::REPLY_NOTHING, reply),
        (vectors::REPLY_FAILED, reply),
        (vectors::REPLIED_OPEN, named),
        (vectors::COMMANDS_OPEN, named),
    ]
}

/// Where a shorter payload ends between two records, or before a value that may be missing, it is
/// a whole one; everywhere else it is refused.
#[test]
fn every_shorter_payload_is_refused_or_ends_between_records() {
    for (number, (vector, is_whole)) in kinds().into_iter().enumerate() {
        let payload = payload(vector);
        let whole: Vec<usize> =
            (0..payload.len()).filter(|len| is_whole(&payload[..*len])).collect();
        let expected: &[usize] = match number {
            1 => &[17, 46],
            4 => &[1, 28],
            6 => &[24, 34],
            7 => &[17],
            _ => &[],
        };
        assert_eq!(whole, expected, "vector {number}");
        (0..payload.len()).for_each(|len| read_all(&payload[..len]));
    }
}

#[test]
fn every_flipped_byte_is_read_without_panic() {
    for (vector, _) in kinds() {
        let payload = payload(vector);
        for at in 0..payload.len() {
            for mask in [0x01, 0x10, 0x80, 0xff] {
                let mut bytes = payload.to_vec();
                bytes[at] ^= mask;
                read_all(&bytes);
            }
        }
    }
}

#[test]
fn bytes_behind_what_has_an_end_are_refused() {
    for (number, (vector, is_whole)) in kinds().into_iter().enumerate() {
        let longer = [payload(vector), &[0]].concat();
        assert!(!is_whole(&longer), "vector {number}");
    }
}

fn cell(author: Author, role: Role, content: Content<'_>) -> Cell<'_> {
    Cell { stamp: Stamp::new(7, 0), author, role, content }
}

#[test]
fn a_section_shows_nothing_at_a_tombstone() {
    let mut records = Vec::new();
    let gone = cell(AUTHOR, Role::Edge, Content::Tombstone);
    put_record(&mut records, Path::new("a").unwrap(), &gone).unwrap();
    let section = Section::Whole(Records::read(&records).unwrap());
    let mut bytes = Vec::new();
    Desired { version: [1; 16], section }.encode(&mut bytes).unwrap();
    assert_eq!(Desired::decode(&bytes), Err(Reject::Malformed));
}

#[test]
fn what_is_not_the_device_s_to_report_is_found() {
    let on = Content::Value(Kept::Bool(true));
    for (path, author, role, is_foreign) in [
        ("a", AUTHOR, Role::Device, false),
        ("devices", AUTHOR, Role::Device, false),
        ("a/device", AUTHOR, Role::Device, false),
        ("device", AUTHOR, Role::Device, true),
        ("device/boot", AUTHOR, Role::Device, true),
        ("a", Author([2; 8]), Role::Device, true),
        ("a", AUTHOR, Role::Edge, true),
    ] {
        let mut room = [0; 64];
        let mut writer = Writer::new(&mut room, 1).unwrap();
        let path = Path::new(path).unwrap();
        writer.push(path, &cell(author, role, on)).unwrap();
        let foreign = Reported::decode(writer.finish()).unwrap().foreign(AUTHOR);
        assert_eq!(foreign, is_foreign.then_some(path), "{path} {author} {role:?}");
    }
}

#[test]
fn a_cell_that_has_no_room_leaves_those_before_it() {
    let mut room = [0; 30];
    let mut writer = Writer::new(&mut room, 1).unwrap();
    let on = cell(AUTHOR, Role::Device, Content::Value(Kept::Bool(true)));
    writer.push(Path::new("a").unwrap(), &on).unwrap();
    assert_eq!(writer.push(Path::new("b").unwrap(), &on), Err(Reject::Full));
    assert_eq!(Reported::decode(writer.finish()).unwrap().cells.count(), 1);
}

#[test]
fn an_argument_is_found_by_its_path() {
    let arguments = Command::decode(payload(vectors::COMMAND_OPEN)).unwrap().arguments;
    assert_eq!(arguments.get("percent"), Some(Value::Int(50)));
    assert_eq!(arguments.get("slow"), Some(Value::Bool(true)));
    assert_eq!(arguments.get("per"), None);
}

#[test]
fn paths_out_of_order_are_refused() {
    let mut bytes = Vec::new();
    for path in ["b", "a"] {
        put_argument(&mut bytes, Path::new(path).unwrap(), &Value::Bool(true)).unwrap();
    }
    assert_eq!(Arguments::read(&bytes), Err(Reject::Malformed));
}

fn values() -> impl Strategy<Value = (Option<i64>, bool, String)> {
    (any::<Option<i64>>(), any::<bool>(), "[a-z]{0,20}")
}

proptest! {
    #[test]
    fn commands_and_answers_come_out_as_they_went_in(
        id in any::<[u8; 16]>(), expires_ms in any::<u64>(), name in "[a-z]{1,64}",
        drawn in prop::collection::vec(values(), 0..8),
    ) {
        let mut bytes = Vec::new();
        let value = |(int, on, text): &(Option<i64>, bool, String)| match int {
            Some(int) => Value::Int(*int),
            None if *on => Value::Bool(text.is_empty()),
            None => Value::Float(crate::reading::Finite::new(text.len() as f64 / 4.0).unwrap()),
        };
        for (number, drawn) in drawn.iter().enumerate() {
            let path = format!("p{number}");
            put_argument(&mut bytes, Path::new(&path).unwrap(), &value(drawn)).unwrap();
        }
        let arguments = Arguments::read(&bytes).unwrap();
        prop_assert_eq!(arguments.count(), drawn.len());
        let command = Command { id, expires_ms, name: &name, arguments };
        let mut out = Vec::new();
        command.encode(&mut out).unwrap();
        prop_assert_eq!(Command::decode(&out), Ok(command));
        for drawn in &drawn {
            let text = Text::new(&drawn.2).unwrap();
            let outcomes =
                [Outcome::Done(Some(value(drawn))), Outcome::Done(None), Outcome::Failed(text)];
            for outcome in outcomes {
                let (reply, mut out) = (Reply { id, outcome }, Vec::new());
                reply.encode(&mut out).unwrap();
                prop_assert_eq!(Reply::decode(&out), Ok(reply));
            }
        }
    }

    #[test]
    fn any_bytes_of_state_are_read_without_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..80),
    ) {
        read_all(&bytes);
    }
}
