//! One alert: what its node said of it, and who took note.
//!
//! What is known is kept as it was said, in the bytes of the event stream. Facts about one alert
//! join in any order and as often as one likes, so a log that is read again changes nothing.

use holdfast_core::codec::{Reader, Sink};
use holdfast_core::limits::ENVELOPE_MAX_BYTES;
use holdfast_core::log::alerts::{AlertAcknowledged, AlertCleared, AlertId, AlertRaised};
use holdfast_core::log::events::Event;
use holdfast_core::{NodeId, Reject, Timestamp};
use holdfast_sync::Fault;

/// The name of an alert as people see it.
#[must_use]
pub fn id_text(id: AlertId) -> String {
    data_encoding::BASE32_NOPAD.encode(&id.0.to_be_bytes()).to_ascii_lowercase()
}

/// Reads what [`id_text`] wrote.
#[must_use]
pub fn parse_id(text: &str) -> Option<AlertId> {
    let bytes = data_encoding::BASE32_NOPAD.decode(text.to_ascii_uppercase().as_bytes()).ok()?;
    bytes.try_into().ok().map(|bytes| AlertId(u64::from_be_bytes(bytes)))
}

/// What is said of an alert, by whom and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fact {
    /// The node whose alert it is.
    pub origin: NodeId,
    /// Its name.
    pub id: AlertId,
    /// The node that says it.
    by: NodeId,
    at: Timestamp,
    kind: Kind,
    payload: Box<[u8]>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Raised = 5,
    Cleared = 6,
    Acknowledged = 7,
}

const VALID: &str = "the payload was made or checked here";

impl Fact {
    /// What an event of `by` says of an alert, if it does. A node speaks for itself: only the
    /// owner raises and clears, and only the owner or `here`, this node, acknowledges.
    #[must_use]
    pub fn of(event: &Event<'_>, by: NodeId, at: Timestamp, here: NodeId) -> Option<Self> {
        let mut payload = Vec::new();
        let (origin, id, kind) = match event {
            Event::AlertRaised(raised) => {
                raised.encode(&mut payload).expect("a growing buffer is never full");
                (by, raised.id, Kind::Raised)
            }
            Event::AlertCleared(cleared) => {
                cleared.encode(&mut payload).expect("a growing buffer is never full");
                (by, cleared.id, Kind::Cleared)
            }
            Event::AlertAcknowledged(ack) if by == ack.origin || by == here => {
                ack.encode(&mut payload).expect("a growing buffer is never full");
                (ack.origin, ack.id, Kind::Acknowledged)
            }
            _ => return None,
        };
        let fact = Self { origin, id, by, at, kind, payload: payload.into() };
        Some(fact.said_at(at))
    }

    /// The fact as the log keeps it, in milliseconds: it is the same wherever it is read.
    #[must_use]
    pub fn said_at(self, at: Timestamp) -> Self {
        Self { at: Timestamp::from_millis(at.millis()).unwrap_or(at), ..self }
    }

    /// The entry for the event stream.
    #[must_use]
    pub fn event(&self) -> Event<'_> {
        let mut reader = Reader::new(&self.payload);
        match self.kind {
            Kind::Raised => Event::AlertRaised(AlertRaised::decode(&mut reader).expect(VALID)),
            Kind::Cleared => Event::AlertCleared(AlertCleared::decode(&mut reader).expect(VALID)),
            Kind::Acknowledged => {
                Event::AlertAcknowledged(AlertAcknowledged::decode(&mut reader).expect(VALID))
            }
        }
    }

    fn put(&self, out: &mut Vec<u8>) -> Result<(), Reject> {
        out.put_u8(self.kind as u8)?;
        out.put(&self.by.0)?;
        out.put_int(self.at.0)?;
        out.put_bytes(&self.payload)
    }

    fn read(reader: &mut Reader<'_>, origin: NodeId, id: AlertId) -> Result<Self, Reject> {
        let kind = match reader.u8()? {
            5 => Kind::Raised,
            6 => Kind::Cleared,
            7 => Kind::Acknowledged,
            _ => return Err(Reject::Malformed),
        };
        let (by, at) = (NodeId(reader.array()?), Timestamp(reader.int()?));
        let payload = reader.bytes(ENVELOPE_MAX_BYTES)?;
        let mut inner = Reader::new(payload);
        match kind {
            Kind::Raised => drop(AlertRaised::decode(&mut inner)?),
            Kind::Cleared => drop(AlertCleared::decode(&mut inner)?),
            Kind::Acknowledged => drop(AlertAcknowledged::decode(&mut inner)?),
        }
        inner.finish()?;
        Ok(Self { origin, id, by, at, kind, payload: payload.into() })
    }
}

/// All that is known of an alert.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alert {
    /// The node whose alert it is.
    pub origin: NodeId,
    /// Its name.
    pub id: AlertId,
    /// At most one of each kind and node, ascending by them.
    facts: Vec<Fact>,
}

impl Alert {
    /// An alert of which nothing is known.
    #[must_use]
    pub const fn new(origin: NodeId, id: AlertId) -> Self {
        Self { origin, id, facts: Vec::new() }
    }

    /// Joins a fact; `true` when that changes anything. A beginning or an end is said once; of two
    /// acknowledgements of one node the later stands.
    pub fn learn(&mut self, fact: &Fact) -> bool {
        let key = |fact: &Fact| (fact.kind, fact.by);
        match self.facts.binary_search_by_key(&key(fact), key) {
            Ok(at) => {
                let known = &mut self.facts[at];
                let newer = (fact.at, &fact.payload) > (known.at, &known.payload);
                let stands = fact.kind == Kind::Acknowledged && newer;
                if stands {
                    *known = fact.clone();
                }
                stands
            }
            Err(at) => {
                self.facts.insert(at, fact.clone());
                true
            }
        }
    }

    /// Joins all that another copy knows.
    pub fn join(&mut self, other: &Self) {
        for fact in &other.facts {
            self.learn(fact);
        }
    }

    fn of_kind(&self, kind: Kind) -> impl Iterator<Item = &Fact> {
        self.facts.iter().filter(move |fact| fact.kind == kind)
    }

    /// When it was raised, and how.
    #[must_use]
    pub fn raised(&self) -> Option<(Timestamp, AlertRaised<'_>)> {
        let fact = self.of_kind(Kind::Raised).next()?;
        match fact.event() {
            Event::AlertRaised(raised) => Some((fact.at, raised)),
            _ => None,
        }
    }

    /// When it was cleared, and how.
    #[must_use]
    pub fn cleared(&self) -> Option<(Timestamp, AlertCleared<'_>)> {
        let fact = self.of_kind(Kind::Cleared).next()?;
        match fact.event() {
            Event::AlertCleared(cleared) => Some((fact.at, cleared)),
            _ => None,
        }
    }

    /// Who took note, on which node and when; the latest word of each node.
    pub fn acknowledged(&self) -> impl Iterator<Item = (NodeId, Timestamp, AlertAcknowledged<'_>)> {
        self.of_kind(Kind::Acknowledged).filter_map(|fact| match fact.event() {
            Event::AlertAcknowledged(ack) => Some((fact.by, fact.at, ack)),
            _ => None,
        })
    }

    /// Whether it has begun and not ended.
    #[must_use]
    pub fn is_active(&self) -> bool {
        let mut kinds = self.facts.iter().map(|fact| fact.kind);
        kinds.clone().any(|kind| kind == Kind::Raised) && !kinds.any(|kind| kind == Kind::Cleared)
    }

    /// Since when it is so; of one whose beginning is not here, when something was said of it.
    #[must_use]
    pub fn since(&self) -> Timestamp {
        let said = self.facts.first().map(|fact| fact.at).unwrap_or_default();
        self.raised().map_or(said, |(_, raised)| raised.since)
    }

    /// The value of its record.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for fact in &self.facts {
            fact.put(&mut out).expect("a growing buffer is never full");
        }
        out
    }

    /// Reads a record.
    ///
    /// # Errors
    /// [`Fault::Damaged`].
    pub fn decode(key: &[u8], value: &[u8]) -> Result<Self, Fault> {
        let mut reader = Reader::new(key.get(1..).unwrap_or_default());
        let mut read = || -> Result<Self, Reject> {
            let origin = NodeId(reader.array()?);
            let id = AlertId(u64::from_be_bytes(reader.array()?));
            reader.finish()?;
            let (mut alert, mut reader) = (Self::new(origin, id), Reader::new(value));
            while !reader.rest().is_empty() {
                alert.learn(&Fact::read(&mut reader, origin, id)?);
            }
            Ok(alert)
        };
        read().map_err(|reject| Fault::damaged("alert record", reject.code()))
    }

    /// The key of its record.
    #[must_use]
    pub fn key(&self) -> Vec<u8> {
        [&[super::load::ALERT], self.origin.0.as_slice(), &self.id.0.to_be_bytes()].concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use holdfast_core::log::alerts::{ClearReason, Subject};
    use holdfast_core::log::events::Severity;
    use proptest::prelude::*;

    const OWNER: NodeId = NodeId([1; 32]);
    const HERE: NodeId = NodeId([2; 32]);
    const ID: AlertId = AlertId(0x1122_3344_5566_7788);

    fn facts() -> Vec<Fact> {
        let raised = Event::AlertRaised(AlertRaised {
            id: ID,
            severity: Severity::Warning,
            rule: "r",
            subject: Subject::Node,
            since: Timestamp(5),
            value: None,
            text: "t",
        });
        let (reason, at) = (ClearReason::Over, Timestamp(9));
        let cleared = Event::AlertCleared(AlertCleared { id: ID, reason, at, value: None });
        let ack = |note| {
            Event::AlertAcknowledged(AlertAcknowledged { origin: OWNER, id: ID, who: "w", note })
        };
        let at = Timestamp::from_millis;
        [
            (raised, OWNER, at(10)),
            (cleared, OWNER, at(20)),
            (ack("one"), OWNER, at(12)),
            (ack("two"), OWNER, at(13)),
            (ack("three"), HERE, at(11)),
        ]
        .iter()
        .map(|(event, by, at)| Fact::of(event, *by, at.unwrap(), HERE).unwrap())
        .collect()
    }

    #[test]
    fn an_id_is_written_and_read() {
        assert_eq!(id_text(ID), "cerdgrcvmz3yq");
        assert_eq!(parse_id(&id_text(ID)), Some(ID));
        assert_eq!((parse_id("x"), parse_id("")), (None, None));
    }

    #[test]
    fn only_the_owner_ends_it_and_strangers_acknowledge_nothing() {
        let stranger = NodeId([3; 32]);
        let facts = facts();
        let ended = Fact::of(&facts[1].event(), stranger, Timestamp(0), HERE).unwrap();
        assert_eq!(ended.origin, stranger, "it is about an alert of its own");
        assert_eq!(Fact::of(&facts[2].event(), stranger, Timestamp(0), HERE), None);
    }

    #[test]
    fn a_record_reads_back() {
        let mut alert = Alert::new(OWNER, ID);
        for fact in facts() {
            assert!(alert.learn(&fact));
        }
        let value = alert.encode();
        assert_eq!(Alert::decode(&alert.key(), &value).unwrap(), alert);
        assert_eq!(alert.acknowledged().count(), 2);
        assert!(Alert::decode(&alert.key(), &value[..value.len() - 1]).is_err());
    }

    proptest! {
        #[test]
        fn facts_join_in_any_order_and_number(
            order in prop::collection::vec(0usize..5, 0..12),
            split in 0usize..12,
        ) {
            let facts = facts();
            let (mut all, mut left, mut right) =
                (Alert::new(OWNER, ID), Alert::new(OWNER, ID), Alert::new(OWNER, ID));
            let mut sorted = order.clone();
            sorted.sort_unstable();
            for at in sorted {
                all.learn(&facts[at]);
            }
            for (n, at) in order.iter().enumerate() {
                if n < split { &mut left } else { &mut right }.learn(&facts[*at]);
            }
            right.join(&left);
            prop_assert_eq!(&right, &all);
            prop_assert_eq!(all.is_active(), order.contains(&0) && !order.contains(&1));
        }
    }
}
