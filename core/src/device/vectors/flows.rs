//! The vectors of workflows, in both directions.

use super::{AT, payload, same};
use crate::artefact::ArtefactId;
use crate::codec::Window;
use crate::device::flows::{
    Cause, Fetch, Held, Piece, Stands, Step, Stepped, Steps, Wanted, put_head, put_step,
};
use crate::device::samples::Clock;
use crate::device::{FETCH, FLOWS, FLOWS_HELD, MESSAGE_MAX_BYTES, PIECE, STEPPED, STEPS, put};
use crate::flow::Code;
use crate::log::runs::RunId;
use crate::{Reject, Value};

/// The artefact `01...01` is on, `02...02` was signed by nobody the device trusts.
pub const HELD_TWO: &[u8] = &[
    0x01, 0x06, 0x00, 0x42, 0x01, 0x01, 0x01, 0x01, 0x01, 0x01, 0x01, 0x01, 0x01, 0x01, 0x01, 0x01,
    0x01, 0x01, 0x01, 0x01, 0x01, 0x01, 0x01, 0x01, 0x01, 0x01, 0x01, 0x01, 0x01, 0x01, 0x01, 0x01,
    0x01, 0x01, 0x01, 0x01, 0x01, 0x02, 0x02, 0x02, 0x02, 0x02, 0x02, 0x02, 0x02, 0x02, 0x02, 0x02,
    0x02, 0x02, 0x02, 0x02, 0x02, 0x02, 0x02, 0x02, 0x02, 0x02, 0x02, 0x02, 0x02, 0x02, 0x02, 0x02,
    0x02, 0x02, 0x02, 0x02, 0x02, 0x10, 0xeb, 0xb8, 0xdd, 0xe0,
];
/// The manifest of `01...01`.
pub const FETCH_MANIFEST: &[u8] = &[
    0x01, 0x07, 0x00, 0x21, 0x01, 0x01, 0x01, 0x01, 0x01, 0x01, 0x01, 0x01, 0x01, 0x01, 0x01, 0x01,
    0x01, 0x01, 0x01, 0x01, 0x01, 0x01, 0x01, 0x01, 0x01, 0x01, 0x01, 0x01, 0x01, 0x01, 0x01, 0x01,
    0x01, 0x01, 0x01, 0x01, 0x00, 0x66, 0x43, 0xb1, 0xad,
];
/// The run `03...03` began by trigger 0, for 2.01; 250 ms later its effect 1 was refused.
pub const STEPS_TWO: &[u8] = &[
    0x01, 0x08, 0x00, 0x49, 0x00, 0x80, 0xc0, 0xe2, 0x85, 0xe3, 0x68, 0x1e, 0x07, 0x03, 0x03, 0x03,
    0x03, 0x03, 0x03, 0x03, 0x03, 0x03, 0x03, 0x03, 0x03, 0x03, 0x03, 0x03, 0x03, 0x01, 0x78, 0x56,
    0x34, 0x12, 0x00, 0x00, 0x07, 0x92, 0x03, 0x01, 0x01, 0x00, 0xf4, 0xc3, 0xe2, 0x85, 0xe3, 0x68,
    0x1c, 0x08, 0x03, 0x03, 0x03, 0x03, 0x03, 0x03, 0x03, 0x03, 0x03, 0x03, 0x03, 0x03, 0x03, 0x03,
    0x03, 0x03, 0x02, 0x78, 0x56, 0x34, 0x12, 0x03, 0x01, 0x09, 0x01, 0x04, 0x00, 0xc9, 0x15, 0xec,
    0xf4,
];
/// It is to have `01...01`.
pub const WANTED_ONE: &[u8] = &[
    0x01, 0x47, 0x00, 0x20, 0x01, 0x01, 0x01, 0x01, 0x01, 0x01, 0x01, 0x01, 0x01, 0x01, 0x01, 0x01,
    0x01, 0x01, 0x01, 0x01, 0x01, 0x01, 0x01, 0x01, 0x01, 0x01, 0x01, 0x01, 0x01, 0x01, 0x01, 0x01,
    0x01, 0x01, 0x01, 0x01, 0xd2, 0xd7, 0xcb, 0x0b,
];
/// Four bytes of the second piece of `01...01`.
pub const PIECE_FOUR: &[u8] = &[
    0x01, 0x48, 0x00, 0x25, 0x01, 0x01, 0x01, 0x01, 0x01, 0x01, 0x01, 0x01, 0x01, 0x01, 0x01, 0x01,
    0x01, 0x01, 0x01, 0x01, 0x01, 0x01, 0x01, 0x01, 0x01, 0x01, 0x01, 0x01, 0x01, 0x01, 0x01, 0x01,
    0x01, 0x01, 0x01, 0x01, 0x02, 0x09, 0x08, 0x07, 0x06, 0xcf, 0xf6, 0x15, 0x09,
];
/// All steps up to 8.
pub const STEPPED_EIGHT: &[u8] = &[0x01, 0x49, 0x00, 0x01, 0x08, 0x69, 0x70, 0x9e, 0x0a];

const ONE: ArtefactId = ArtefactId([1; 32]);
const TWO: ArtefactId = ArtefactId([2; 32]);

type Bytes = heapless::Vec<u8, MESSAGE_MAX_BYTES>;

/// Writes and reads them; how many came out as they should.
pub(super) fn check() -> Result<usize, (usize, Reject)> {
    let all = [held, fetch, steps, wanted, piece, stepped];
    for (number, check) in all.iter().enumerate() {
        check().map_err(|wrong| (number, wrong))?;
    }
    Ok(all.len())
}

/// Whether an envelope of `kind` with what `encode` writes is `golden`.
fn written(
    golden: &[u8],
    kind: u8,
    encode: impl FnOnce(&mut Bytes) -> Result<(), Reject>,
) -> Result<(), Reject> {
    let (mut out, mut scratch) = ([0; MESSAGE_MAX_BYTES], Bytes::new());
    encode(&mut scratch)?;
    let len = put(&mut out, kind, &scratch)?;
    same(&out[..len], golden)
}

fn equal<T: PartialEq>(read: Result<T, Reject>, expected: &T) -> Result<(), Reject> {
    if read? == *expected { Ok(()) } else { Err(Reject::Malformed) }
}

fn held() -> Result<(), Reject> {
    let all = [(ONE, Stands::On), (TWO, Stands::Untrusted)];
    let held = Held(heapless::Vec::from_slice(&all).map_err(|_| Reject::Full)?);
    written(HELD_TWO, FLOWS_HELD, |out| held.encode(out))?;
    equal(Held::decode(payload(HELD_TWO, FLOWS_HELD)?), &held)
}

fn fetch() -> Result<(), Reject> {
    let fetch = Fetch { id: ONE, part: 0 };
    written(FETCH_MANIFEST, FETCH, |out| fetch.encode(out))?;
    equal(Fetch::decode(payload(FETCH_MANIFEST, FETCH)?), &fetch)
}

fn steps() -> Result<(), Reject> {
    let (run, tag) = (RunId([3; 16]), 0x1234_5678);
    let began = Cause::Began { trigger: 0, value: Value::float(2.01)? };
    let refused = Cause::Failed { serial: 1, error: Code::REFUSED };
    let all = [
        (AT, Step { number: 7, run, count: 1, tag, cause: began, memory: &[1, 1, 0] }),
        (AT + 250, Step { number: 8, run, count: 2, tag, cause: refused, memory: &[1, 4, 0] }),
    ];
    written(STEPS_TWO, STEPS, |out| {
        put_head(out, Clock::Unix)?;
        all.iter().try_for_each(|(time, step)| {
            let mut scratch = [0; 64];
            let mut window = Window::new(&mut scratch);
            step.encode(&mut window)?;
            let len = 64 - window.room();
            put_step(out, *time, &scratch[..len])
        })
    })?;
    let steps = Steps::read(payload(STEPS_TWO, STEPS)?)?;
    if steps.clock == Clock::Unix && steps.eq(all) { Ok(()) } else { Err(Reject::Malformed) }
}

fn wanted() -> Result<(), Reject> {
    let wanted = Wanted(heapless::Vec::from_slice(&[ONE]).map_err(|_| Reject::Full)?);
    written(WANTED_ONE, FLOWS, |out| wanted.encode(out))?;
    equal(Wanted::decode(payload(WANTED_ONE, FLOWS)?), &wanted)
}

fn piece() -> Result<(), Reject> {
    let piece = Piece { of: Fetch { id: ONE, part: 2 }, bytes: &[9, 8, 7, 6] };
    written(PIECE_FOUR, PIECE, |out| piece.encode(out))?;
    equal(Piece::decode(payload(PIECE_FOUR, PIECE)?), &piece)
}

fn stepped() -> Result<(), Reject> {
    let stepped = Stepped { number: 8 };
    written(STEPPED_EIGHT, STEPPED, |out| stepped.encode(out))?;
    equal(Stepped::decode(payload(STEPPED_EIGHT, STEPPED)?), &stepped)
}
