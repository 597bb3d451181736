//! The vectors of `docs/formats/document.md`.

use super::*;
use crate::docs::cut::{Cut, base};
use crate::docs::digest;
use crate::docs::documents::sorted_cells;
use crate::docs::limits::REMEMBERED_MS;
use crate::docs::records::Keyed;
use data_encoding::HEXLOWER;
use holdfast_core::codec::Reader;

const FIRST: &[&str] = &[
    "856f4a8389750b64016600101e461b6e0f82ba33d718dc4ab965c5e9010180d095ffbc3100000615",
    "0b340142025605572870027e066e65742f6970026f6e0202017ee702a702011003000068e5cf8b01",
    "0102030405060708033a3a31010c03000068e5cf8b0101020304050607080200",
];

const SECOND: &[&str] = &[
    "856f4a83d2c2f600016f0189750b6400783218f0b22411c5d09e46b42f212f41815d4b54583f1055",
    "940a5f101e461b6e0f82ba33d718dc4ab965c5e9020381d095ffbc31000008150434014202560357",
    "127002710273027f026f6e017f017fa702014804000068e5cf8b0101020304050607087f017f007f",
    "02",
];

const BASE: &[&str] = &[
    "856f4a83b4a26d880161001000000000000000000000000000000001010100000006150b34014202",
    "5605572870027e066e65742f6970026f6e0202017ee702a702011003000068e5cf8b010102030405",
    "060708033a3a31014804000068e5cf8b0101020304050607080200",
];

const CUT: &[&str] = &[
    "ea4a6c63e29c520abef5507b132ec5f9954776aebebe7b92421eea691446d22c0101d2c2f6002e3b",
    "42de37b8832f55a9d775dc2030e67f3f4c48eb57366cf5dbd46701b4a26d887bc48d42b29d4e1d0e",
    "d056a10b2c074f8aa2dad041c13d402251875101101e461b6e0f82ba33d718dc4ab965c5e9023a16",
    "d8067a9dee50bca63831cd3f3b4071898d6f9a3954d260f2b918a7b55502324791664ebcaff07b3e",
    "a0f20901cb53b561c58e2c65c121acacf13c8dcd680f",
];

/// The bytes of a change follow from the actor, the time and the cells: whoever makes it makes the
/// same, on every machine and in every release.
#[test]
fn a_change_has_these_bytes() {
    let who = Introduction { node: NodeId([7; 32]), incarnation: start(3) };
    let author = Author([1, 2, 3, 4, 5, 6, 7, 8]);
    let mut engine = Engine::new();
    let stamp = Stamp::new(1_700_000_000_000, 3).0;
    let actor = who.actor(&name(), 0);
    let first = [
        cell("net/ip", stamp, author, Content::Value(Value::text("::1").unwrap())),
        cell("on", stamp, author, Content::Value(Value::Bool(true))),
    ];
    let first = engine.commit(actor, 1_700_000_000_000, &first).unwrap();
    let second = [cell("on", stamp + 1, author, Content::Tombstone)];
    let second = engine.commit(actor, 1_700_000_000_001, &second).unwrap();
    assert_eq!(HEXLOWER.encode(&first.raw), FIRST.concat());
    assert_eq!(HEXLOWER.encode(&second.raw), SECOND.concat());
    assert_eq!(
        HEXLOWER.encode(&second.hash),
        "d2c2f6002e3b42de37b8832f55a9d775dc2030e67f3f4c48eb57366cf5dbd467"
    );
    assert_eq!(HEXLOWER.encode(&digest(&engine.heads())), "697f32541f1110a10bddf872a31591c0");
    let head = SignedHead::sign(&NodeKey::for_test(7), &name(), 0, second.hash);
    let signature = [
        "fc4785bb5c50c76cb15dd809c80d492b31327ed72c7cdcd0c42d4f0e8d315d19",
        "1ebeda842a33b3d5db672730a13073a3b982dfea708873ccefd30767dde95d03",
    ];
    assert_eq!(HEXLOWER.encode(&head.signature), signature.concat());
    assert_eq!(head.check(&name(), 0), Ok(()));
    assert!(head.check(&name(), 1).is_err());
    let cells: Vec<Keyed> = ["net/ip", "on"]
        .map(|key| (key.to_owned(), sorted_cells(&engine, &name(), key).unwrap()))
        .into();
    let base = base(&cells, REMEMBERED_MS).unwrap().unwrap();
    assert_eq!(base.len(), 1);
    assert_eq!(HEXLOWER.encode(&base[0].raw), BASE.concat());
    let covers = Cut::covers(None, &engine.history);
    let cut = Cut::sign(&NodeKey::for_test(7), &name(), 1, engine.heads(), &base, covers);
    let mut bytes = Vec::new();
    cut.put(&mut bytes).unwrap();
    assert_eq!(HEXLOWER.encode(&bytes), CUT.concat());
    assert_eq!(Cut::read(&mut Reader::new(&bytes)), Ok(cut));
}
