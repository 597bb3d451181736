//! Answers given to requests with an idempotency key, kept to be given again.
//!
//! They are kept for a day, and together within a number of bytes: beyond it the oldest go first. A
//! request whose answer is gone is a new one.

use super::ingest::{IngestBatch, Outcome};
use super::record::Table;
use super::schema::fault;
use super::tx::WriteTx;
use super::writer::WriteError;
use crate::Fault;

const MAX_AGE_MS: i64 = 24 * 3_600_000;
/// Bytes of all answers with their keys; some 170,000 of the usual size.
const MAX_BYTES: u64 = 32 << 20;
/// Answers that one new one may push out, so that a transaction stays short. More than one, or they
/// would never become fewer.
const PUSHED_OUT: usize = 8;
/// The bytes of all answers, u64 BE.
const META_BYTES: &[u8] = b"answers";

/// What an answer takes: its own record and the one of its age.
const fn size(key: &[u8], answer: usize) -> u64 {
    (2 * key.len() + answer + 64) as u64
}

/// The answer given before to a request with the same key, if there was one.
pub(super) fn earlier(
    tx: &WriteTx<'_>,
    batch: &IngestBatch,
) -> Result<Option<Result<Outcome, WriteError>>, WriteError> {
    let Some(asked) = &batch.idempotency else { return Ok(None) };
    let Some(value) = tx.view().get(Table::Idempotency, &asked.key)? else { return Ok(None) };
    let (body, outcome) = Outcome::decode(&value)?;
    Ok(Some(if body == asked.body { Ok(outcome) } else { Err(WriteError::KeyReused) }))
}

/// Keeps an answer, and drops those for which there is no room or which are too old.
pub(super) fn keep(
    tx: &mut WriteTx<'_>,
    batch: &IngestBatch,
    outcome: &Outcome,
) -> Result<(), WriteError> {
    let Some(asked) = &batch.idempotency else { return Ok(()) };
    let now = tx.now().millis();
    let aged = |ms: i64| (ms as u64 ^ 1 << 63).to_be_bytes();
    let answer = outcome.encode(&asked.body);
    let mut bytes = held(tx)? + size(&asked.key, answer.len());
    for (old, key) in oldest(tx)? {
        let young = old.as_slice() >= aged(now.saturating_sub(MAX_AGE_MS)).as_slice();
        if young && bytes <= MAX_BYTES {
            break;
        }
        let gone = tx.view().get(Table::Idempotency, &key);
        let gone = gone.unwrap_or_else(|fault| {
            tx.state.met(&fault.into());
            None
        });
        bytes = bytes.saturating_sub(gone.map_or(0, |gone| size(&key, gone.len())));
        tx.delete(Table::IdempotencyAge, &old)?;
        tx.delete(Table::Idempotency, &key)?;
    }
    let mut age = aged(now).to_vec();
    age.extend_from_slice(&tx.state.env.entropy().to_be_bytes());
    tx.put(Table::IdempotencyAge, &age, &asked.key)?;
    tx.put(Table::Idempotency, &asked.key, &answer)?;
    Ok(tx.put(Table::Meta, META_BYTES, &bytes.to_be_bytes())?)
}

/// The oldest answers by age: that key, and the one of the answer. Damage among them must not cost
/// the new one its place.
fn oldest(tx: &mut WriteTx<'_>) -> Result<Vec<super::Record>, WriteError> {
    tx.view().scan(Table::IdempotencyAge, &[], &[], PUSHED_OUT).or_else(|fault| {
        let error = WriteError::Fault(fault);
        tx.state.met(&error);
        if tx.state.damage.is_some() { Ok(Vec::new()) } else { Err(error) }
    })
}

/// The bytes of all answers: as noted, or counted when the note is not there.
fn held(tx: &mut WriteTx<'_>) -> Result<u64, WriteError> {
    let noted = tx.view().get(Table::Meta, META_BYTES).unwrap_or_else(|fault| {
        tx.state.met(&fault.into());
        None
    });
    if let Some(bytes) = noted.as_deref().and_then(|value| value.first_chunk::<8>()) {
        return Ok(u64::from_be_bytes(*bytes));
    }
    let sql = "SELECT coalesce(sum(2*length(key) + length(value) + 60), 0) FROM records
               WHERE tab=?1";
    let bytes: Result<i64, Fault> =
        tx.connection.query_row(sql, [Table::Idempotency as u8], |row| row.get(0)).map_err(fault);
    Ok(bytes? as u64)
}
