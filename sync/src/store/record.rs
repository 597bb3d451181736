//! Records: sealed values under ordered keys, for everything that is not the log.
//!
//! A record's value ends in a CRC-32 over table, key and value, so one flipped bit anywhere in a
//! record, its key included, is noticed when it is read and by `verify`.

use super::snapshot::Record;
use super::tx::WriteTx;
use crate::Fault;
use crate::counts::OfDocuments;

/// What a record is about; the number is part of the format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Table {
    /// Single facts about this store, by name.
    Meta = 1,
    /// Chains: number -> name, frontier, head of chains that were received or closed.
    Chain = 2,
    /// What a peer has acknowledged of a chain: peer, chain number -> ranges.
    Acked = 3,
    /// Cursors of the durable consumers of the log, by name.
    Cursor = 4,
    /// Sequences seen of a device's boot, for de-duplication.
    Seen = 5,
    /// Answers given under an idempotency key.
    Idempotency = 6,
    /// The idempotency keys in the order of their age.
    IdempotencyAge = 7,
    /// Series: number -> name and what is known of it.
    Series = 8,
    /// Window summaries: series, width, start -> summary.
    Window = 9,
    /// Devices: id -> what is known of it.
    Device = 10,
    /// Access tokens: hash -> what they allow.
    Token = 11,
    /// Members of the fleet: node -> certificate and state.
    Member = 12,
    /// Enrolment secrets that have been given out.
    Enrolment = 13,
    /// Notable events for the pages: position -> event.
    Event = 14,
    /// Declared gaps: chain number, first sequence -> gap.
    Gap = 15,
    /// Alerts: conditions that are under way, and what is known of each alert.
    Alert = 16,
    /// Documents: name -> what is known of each.
    Document = 17,
    /// The changes of documents: name, number -> chunk.
    DocumentChunk = 18,
    /// The cells of documents: name, key -> cells that have not seen each other.
    DocumentCell = 19,
    /// Who wrote documents: name, actor -> node and start.
    DocumentActor = 20,
    /// Authors' signed heads: name, node -> head and signature.
    DocumentHead = 21,
    /// The order in which documents changed last: position -> name.
    DocumentChange = 22,
    /// What a peer is known to have of a document: peer, name -> state of the sync.
    DocumentSync = 23,
    /// Chunks that could not be taken or loaded: number -> document, reason, bytes.
    DocumentQuarantine = 24,
    /// Up to where a peer's sequence of document changes is held here: peer -> start, place.
    DocumentCursor = 25,
    /// Devices: id -> the site whose gateways write its documents, on a hub.
    Home = 26,
    /// Documents with keys at which there are cells that have not seen each other.
    DocumentContested = 27,
    /// Settled conflicts, in the order in which this node learned of them.
    Conflict = 28,
    /// Settled conflicts by their names: id -> number.
    ConflictId = 29,
    /// Artefacts: id -> manifest, and how many of its blocks are here.
    Artefact = 30,
    /// The hashes of the blocks of artefacts: id -> outline.
    ArtefactOutline = 31,
    /// Blocks of artefacts: id, number -> bytes.
    ArtefactBlock = 32,
    /// Where the histories of documents were cut last: name -> cut.
    DocumentCut = 33,
    /// Up to where others may have documents: name -> heads.
    DocumentOffered = 34,
    /// Sessions of MQTT: client identifier -> what is known of each.
    MqttSession = 35,
    /// What sessions of MQTT have subscribed to: session, filter -> options.
    MqttSubscription = 36,
    /// Messages that wait in queues of MQTT: place -> messages.
    MqttMessages = 37,
    /// The queues of sessions of MQTT: session, number -> which messages.
    MqttQueue = 38,
    /// Whose queues messages wait in: place, session.
    MqttHolder = 39,
    /// How far clients of MQTT are with their queues: session -> numbers.
    MqttProgress = 40,
    /// Messages of QoS 2 that are not released: session -> packet identifiers.
    MqttHeld = 41,
    /// Messages of QoS 1 to know again: session, count -> packet identifiers and hashes.
    MqttRecent = 42,
    /// Retained messages: topic -> message.
    MqttRetained = 43,
    /// Sessions of MQTT that are over and not yet removed.
    MqttEnded = 44,
    /// Commands to devices: device, id -> what was ordered, and what came of it.
    DeviceCommand = 45,
    /// Which command an Idempotency-Key stands for: device, key -> id.
    DeviceCommandKey = 46,
    /// Workflows: id, version -> image, and whether new runs may begin.
    Workflow = 47,
    /// Runs that are under way: id -> memory.
    Run = 48,
    /// Runs that are over: id -> memory.
    RunOver = 49,
    /// Runs that are to begin when there is room: workflow, id -> what with.
    RunWaiting = 50,
    /// What runs did: run, number -> line.
    RunStep = 51,
    /// Alerts that runs have raised and not cleared: rule, device -> id.
    RunAlert = 52,
    /// What began runs, or has them go on, and is not taken yet.
    RunDue = 53,
    /// Conditions that runs wait for: run, signal -> state.
    RunCondition = 54,
    /// Up to when schedules have been judged: workflow, trigger -> time.
    RunSchedule = 55,
    /// Values of twins that begin runs, as they were last: trigger, device -> hash.
    RunTwin = 56,
    /// Runs of other nodes: run, node -> what is known of it.
    RunTold = 57,
    /// What runs of other nodes did: run, node, sequence -> line.
    RunToldStep = 58,
    /// What somebody is told until they say that they know: id -> notice; and of which workflow,
    /// target and device one is open.
    Notice = 59,
    /// Runs on devices that are under way, as their steps tell: id -> device, memory.
    RunOnDevice = 60,
}

impl Table {
    /// All tables.
    pub const ALL: [Self; 60] = [
        Self::Meta,
        Self::Chain,
        Self::Acked,
        Self::Cursor,
        Self::Seen,
        Self::Idempotency,
        Self::IdempotencyAge,
        Self::Series,
        Self::Window,
        Self::Device,
        Self::Token,
        Self::Member,
        Self::Enrolment,
        Self::Event,
        Self::Gap,
        Self::Alert,
        Self::Document,
        Self::DocumentChunk,
        Self::DocumentCell,
        Self::DocumentActor,
        Self::DocumentHead,
        Self::DocumentChange,
        Self::DocumentSync,
        Self::DocumentQuarantine,
        Self::DocumentCursor,
        Self::Home,
        Self::DocumentContested,
        Self::Conflict,
        Self::ConflictId,
        Self::Artefact,
        Self::ArtefactOutline,
        Self::ArtefactBlock,
        Self::DocumentCut,
        Self::DocumentOffered,
        Self::MqttSession,
        Self::MqttSubscription,
        Self::MqttMessages,
        Self::MqttQueue,
        Self::MqttHolder,
        Self::MqttProgress,
        Self::MqttHeld,
        Self::MqttRecent,
        Self::MqttRetained,
        Self::MqttEnded,
        Self::DeviceCommand,
        Self::DeviceCommandKey,
        Self::Workflow,
        Self::Run,
        Self::RunOver,
        Self::RunWaiting,
        Self::RunStep,
        Self::RunAlert,
        Self::RunDue,
        Self::RunCondition,
        Self::RunSchedule,
        Self::RunTwin,
        Self::RunTold,
        Self::RunToldStep,
        Self::Notice,
        Self::RunOnDevice,
    ];
}

/// Reads records: a snapshot, a transaction under way, a database in repair.
pub trait ReadRecords {
    /// The record under `key`.
    ///
    /// # Errors
    /// A database fault, or [`Fault::Damaged`].
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, Fault>;

    /// The records with keys that start with `prefix`, ascending.
    ///
    /// # Errors
    /// A database fault, or [`Fault::Damaged`].
    fn scan(&self, table: Table, prefix: &[u8]) -> Result<Vec<Record>, Fault>;

    /// At most `limit` records with keys greater than `after`, ascending.
    ///
    /// # Errors
    /// A database fault, or [`Fault::Damaged`].
    fn scan_after(&self, table: Table, after: &[u8], limit: usize) -> Result<Vec<Record>, Fault>;

    /// At most `limit` records with keys less than `before`, or the last ones, descending.
    ///
    /// # Errors
    /// A database fault, or [`Fault::Damaged`].
    fn scan_back(
        &self,
        table: Table,
        before: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Record>, Fault>;
}

/// Reads and changes records.
pub trait Records: ReadRecords {
    /// Puts a record.
    ///
    /// # Errors
    /// A database fault.
    fn put(&mut self, table: Table, key: &[u8], value: &[u8]) -> Result<(), Fault>;

    /// Removes a record; `true` if there was one.
    ///
    /// # Errors
    /// A database fault.
    fn delete(&mut self, table: Table, key: &[u8]) -> Result<bool, Fault>;

    /// Notes what happened to documents: it counts once it is on disk. What has no counters
    /// leaves it.
    fn note(&mut self, _what: OfDocuments, _times: usize) {}
}

impl ReadRecords for WriteTx<'_> {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, Fault> {
        self.view().get(table, key)
    }

    fn scan(&self, table: Table, prefix: &[u8]) -> Result<Vec<Record>, Fault> {
        self.view().scan(table, prefix, &[], usize::MAX)
    }

    fn scan_after(&self, table: Table, after: &[u8], limit: usize) -> Result<Vec<Record>, Fault> {
        self.view().scan(table, &[], after, limit)
    }

    fn scan_back(
        &self,
        table: Table,
        before: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Record>, Fault> {
        self.view().scan_back(table, before, limit)
    }
}

impl Records for WriteTx<'_> {
    fn put(&mut self, table: Table, key: &[u8], value: &[u8]) -> Result<(), Fault> {
        WriteTx::put(self, table, key, value)
    }

    fn delete(&mut self, table: Table, key: &[u8]) -> Result<bool, Fault> {
        WriteTx::delete(self, table, key)
    }

    fn note(&mut self, what: OfDocuments, times: usize) {
        self.state.fresh.documents[what as usize] += times as u64;
    }
}

fn checksum(table: u8, key: &[u8], value: &[u8]) -> [u8; 4] {
    let mut crc = crc32fast::Hasher::new();
    crc.update(&[table]);
    crc.update(&(key.len() as u32).to_le_bytes());
    crc.update(key);
    crc.update(value);
    crc.finalize().to_le_bytes()
}

/// `value` with its checksum.
pub(super) fn seal(table: Table, key: &[u8], value: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(value.len() + 4);
    out.extend_from_slice(value);
    out.extend_from_slice(&checksum(table as u8, key, value));
    out
}

/// Checks and takes off the checksum.
pub(super) fn unseal(table: u8, key: &[u8], mut sealed: Vec<u8>) -> Result<Vec<u8>, Fault> {
    let fits = sealed.split_last_chunk::<4>();
    if fits.is_some_and(|(value, crc)| checksum(table, key, value) == *crc) {
        sealed.truncate(sealed.len() - 4);
        return Ok(sealed);
    }
    let key: String = key.iter().flat_map(|b| b.escape_ascii().map(char::from)).collect();
    Err(Fault::damaged(format!("record {table}/{key}"), "the checksum does not match"))
}

/// The least key that is greater than every key starting with `prefix`; `None` at the end.
pub(super) fn after_prefix(prefix: &[u8]) -> Option<Vec<u8>> {
    let end = prefix.iter().rposition(|&byte| byte != u8::MAX)?;
    let mut out = prefix[..=end].to_vec();
    out[end] += 1;
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sealed_value_comes_back_and_a_flipped_bit_does_not() {
        let sealed = seal(Table::Meta, b"boot", b"seven");
        assert_eq!(unseal(1, b"boot", sealed.clone()).unwrap(), b"seven");
        assert!(unseal(2, b"boot", sealed.clone()).is_err(), "another table");
        assert!(unseal(1, b"booT", sealed.clone()).is_err(), "another key");
        for bit in 0..sealed.len() * 8 {
            let mut flipped = sealed.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(unseal(1, b"boot", flipped).is_err());
        }
        assert!(unseal(1, b"boot", vec![1, 2]).is_err(), "too short for a checksum");
    }

    #[test]
    fn the_key_after_a_prefix_is_the_next_of_its_length_or_shorter() {
        assert_eq!(after_prefix(b"ab"), Some(b"ac".to_vec()));
        assert_eq!(after_prefix(&[1, 0xff]), Some(vec![2]));
        assert_eq!(after_prefix(&[0xff]), None);
        assert_eq!(after_prefix(b""), None);
    }
}
