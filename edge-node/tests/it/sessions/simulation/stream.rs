//! What one session, or one connection, is owed in an order, and what of it has arrived.

use holdfast_edge::mqtt::broker::ConnectionId;
use holdfast_edge::mqtt::packet::{PacketId, Publish, QoS};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// A message that has to arrive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owed {
    pub topic: String,
    pub payload: String,
    pub qos: QoS,
    pub retain: bool,
    pub ids: BTreeSet<u32>,
}

/// One that has.
pub struct Arrived<'a> {
    pub over: ConnectionId,
    pub is_v5: bool,
    pub publish: &'a Publish,
    pub payload: &'a str,
}

/// The order: of what is owed together (what is retained of one filter) none is before another.
#[derive(Default)]
pub struct Stream {
    owed: VecDeque<Vec<Owed>>,
    /// What came under which identifier, and over which connection last.
    known: BTreeMap<PacketId, (String, ConnectionId)>,
}

impl Stream {
    pub fn owe(&mut self, batch: Vec<Owed>) {
        self.owed.push_back(batch);
    }

    /// The first that has not arrived.
    pub fn first(&self) -> Option<&Owed> {
        self.owed.iter().flatten().next()
    }

    /// Whether it came before.
    pub fn arrive(&mut self, arrived: &Arrived<'_>) -> Result<bool, String> {
        let Arrived { over, is_v5, publish, payload } = *arrived;
        if let Some(packet_id) = publish.packet_id {
            let before = self.known.insert(packet_id, (payload.to_owned(), over));
            if let Some((same, last)) = before {
                let what = format!("`{payload}` came again under {packet_id}");
                return match () {
                    () if same != payload => Err(format!("{what}, which was `{same}`")),
                    () if last == over => Err(format!("{what} over the same connection")),
                    () if !publish.dup => Err(format!("{what} and is not marked")),
                    () => Ok(true),
                };
            }
        }
        while self.owed.front().is_some_and(Vec::is_empty) {
            self.owed.pop_front();
        }
        let ids: BTreeSet<u32> =
            publish.properties.subscription_ids.iter().map(|id| id.get()).collect();
        let is_it = |owed: &Owed| {
            owed.payload == payload
                && owed.topic == publish.topic.as_str()
                && (owed.qos, owed.retain) == (publish.qos, publish.retain)
                && if is_v5 { owed.ids == ids } else { ids.is_empty() }
        };
        let batch = self.owed.front_mut();
        let at = batch.as_ref().and_then(|batch| batch.iter().position(is_it));
        match (batch, at) {
            (Some(batch), Some(at)) => {
                batch.swap_remove(at);
                Ok(false)
            }
            (batch, _) => Err(format!(
                "`{payload}` arrived ({:?}, retain {}, {ids:?}), expected {batch:?}",
                publish.qos, publish.retain
            )),
        }
    }
}
