//! What the broker has done since the start, in numbers that only grow.

use holdfast_sync::counts::Counter;
use std::sync::atomic::{AtomicU64, Ordering};

/// Counters of the broker.
#[derive(Debug, Default)]
pub struct MqttCounts {
    /// Connections that were taken.
    pub connections: Counter,
    /// Clients that were not let in.
    pub refused: Counter,
    /// Connections that ended for something the client must not do.
    pub violations: Counter,
    /// Messages from clients, by their QoS.
    pub received: [Counter; 3],
    /// Messages to clients, by their QoS.
    pub sent: [Counter; 3],
    /// Messages that were not taken, with an answer that says so where there is one.
    pub rejected: Counter,
    /// Messages that a mapping takes and cannot read.
    pub unread: Counter,
    /// Answers of devices with our firmware to commands that are not known.
    pub unasked: Counter,
    /// Messages of QoS 0 with readings that came too fast to be stored.
    pub shed: Counter,
    /// Times that a client was not listened to for a while, because it published too fast.
    pub slowed: Counter,
    /// Messages dropped because a client does not take them, or its queue is full.
    pub dropped: Counter,
    /// Messages dropped because who watches does not take them.
    pub unseen: Counter,
    /// Messages that expired before they could be sent.
    pub expired: Counter,
    /// Messages that were larger than their client takes.
    pub too_large: Counter,
    /// Messages whose readings had been stored before, by packet identifier.
    pub repeated: Counter,
    /// Messages that were lost on disk.
    pub lost: Counter,
    /// Bytes read.
    pub bytes_in: Counter,
    /// Bytes written.
    pub bytes_out: Counter,
    open: AtomicU64,
    watchers: AtomicU64,
}

impl MqttCounts {
    /// Connections that are open.
    #[must_use]
    pub fn open(&self) -> u64 {
        self.open.load(Ordering::Relaxed)
    }

    /// Those who watch messages, on pages.
    #[must_use]
    pub fn watchers(&self) -> u64 {
        self.watchers.load(Ordering::Relaxed)
    }

    /// One more watches.
    pub fn watcher_came(&self) {
        self.watchers.fetch_add(1, Ordering::Relaxed);
    }

    /// One watches no more.
    pub fn watcher_went(&self) {
        self.watchers.fetch_sub(1, Ordering::Relaxed);
    }

    /// Notes that a connection is open, for as long as what it returns lives.
    pub fn opened(&self) -> OpenConnection<'_> {
        self.open.fetch_add(1, Ordering::Relaxed);
        self.connections.add(1);
        OpenConnection(self)
    }
}

/// An open connection, as it is counted.
#[derive(Debug)]
pub struct OpenConnection<'a>(&'a MqttCounts);

impl Drop for OpenConnection<'_> {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}
