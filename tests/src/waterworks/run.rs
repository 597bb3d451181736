//! A shift at the waterworks: all stations post side by side while a scenario does its worst.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::task::JoinSet;

use super::account::Account;
use super::backlog::Backlog;
use super::feed::{Batch, Feed, Habits};
use super::item::Item;
use super::post::{Delivery, Patience, Poster};

/// How the stations' time runs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Pace {
    /// This many times as fast as real time; a station that is behind catches up.
    Times(f64),
    /// As fast as the gateway answers.
    Flat,
}

/// What to run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Works {
    /// Seed of everything.
    pub seed: u64,
    /// Number of stations.
    pub stations: u64,
    /// How often the stations were started; a new run on the same gateway takes a higher one.
    pub boot: u32,
    /// Their habits.
    pub habits: Habits,
    /// Where their time begins, in milliseconds since 1970.
    pub start_ms: i64,
    /// Where it ends, if it does.
    pub end_ms: Option<i64>,
    /// How it runs.
    pub pace: Pace,
}

/// What is called after each acknowledgement; its result is kept in the account.
type Note = Arc<dyn Fn() -> u64 + Send + Sync>;

/// A shift under way.
#[derive(Debug)]
pub struct Shift {
    address: watch::Sender<SocketAddr>,
    /// Where every other station publishes, if they do.
    broker: Option<watch::Sender<SocketAddr>>,
    stop: watch::Sender<bool>,
    account: Arc<Mutex<Account>>,
    stations: JoinSet<()>,
}

impl Works {
    /// Starts all stations. Must be called within a tokio runtime.
    #[must_use]
    pub fn start(self, gateway: SocketAddr, token: &str, patience: Patience) -> Shift {
        self.start_noting(gateway, token, patience, || 0)
    }

    /// As [`Works::start`]; `note` is called after each acknowledgement, before the next post of
    /// that station.
    #[must_use]
    pub fn start_noting(
        self,
        gateway: SocketAddr,
        token: &str,
        patience: Patience,
        note: impl Fn() -> u64 + Send + Sync + 'static,
    ) -> Shift {
        self.begin((gateway, None), token, patience, Arc::new(note))
    }

    /// As [`Works::start`]; every other station publishes over MQTT, to `broker`.
    #[must_use]
    pub fn start_half_over_mqtt(
        self,
        gateway: SocketAddr,
        broker: SocketAddr,
        token: &str,
        patience: Patience,
    ) -> Shift {
        self.begin((gateway, Some(broker)), token, patience, Arc::new(|| 0))
    }

    fn begin(
        self,
        (gateway, broker): (SocketAddr, Option<SocketAddr>),
        token: &str,
        patience: Patience,
        note: Note,
    ) -> Shift {
        let (address, follow) = watch::channel(gateway);
        let broker = broker.map(watch::Sender::new);
        let (stop, stopped) = watch::channel(false);
        let account = Arc::new(Mutex::new(Account::default()));
        let mut stations = JoinSet::new();
        for index in 0..self.stations {
            let poster = match broker.as_ref().filter(|_| !index.is_multiple_of(2)) {
                Some(broker) => Poster::over_mqtt(broker.subscribe(), token, patience),
                None => Poster::new(follow.clone(), token, patience),
            };
            let station =
                Posting { poster, account: Arc::clone(&account), note: Arc::clone(&note) };
            let feed = Feed::new(self.seed, index, self.boot, self.habits, self.start_ms);
            stations.spawn(station.run(self, feed, stopped.clone()));
        }
        Shift { address, broker, stop, account, stations }
    }
}

impl Shift {
    /// The gateway is at another address now.
    pub fn move_to(&self, gateway: SocketAddr) {
        // Without stations there is nobody to tell.
        let _ = self.address.send(gateway);
    }

    /// The gateway and its broker are at other addresses now.
    pub fn move_both_to(&self, gateway: SocketAddr, broker: SocketAddr) {
        self.move_to(gateway);
        if let Some(sender) = &self.broker {
            // Without stations there is nobody to tell.
            let _ = sender.send(broker);
        }
    }

    /// The account so far.
    #[must_use]
    pub fn account(&self) -> Account {
        lock(&self.account).clone()
    }

    /// Number of items acknowledged so far.
    #[must_use]
    pub fn acknowledged(&self) -> usize {
        lock(&self.account).acknowledged().len()
    }

    /// Number of items that wait for their answer.
    #[must_use]
    pub fn waiting(&self) -> usize {
        lock(&self.account).in_doubt().len()
    }

    /// Number of items so far that the gateway recognised as stored before.
    #[must_use]
    pub fn duplicates(&self) -> u64 {
        lock(&self.account).duplicates
    }

    /// Waits until the stations' time has ended, and gives the account.
    ///
    /// # Panics
    /// When a station panicked.
    pub async fn finish(mut self) -> Account {
        while let Some(ended) = self.stations.join_next().await {
            ended.expect("a station ran to its end");
        }
        self.account()
    }

    /// Ends the shift at once; what is under way stays in doubt.
    pub async fn abandon(mut self) -> Account {
        self.stations.shutdown().await;
        self.account()
    }

    /// Ends the shift: no station begins another batch, those under way are settled or given up.
    /// With boundless patience that takes a gateway that answers.
    ///
    /// # Panics
    /// When a station panicked.
    pub async fn stop(self) -> Account {
        // Without stations there is nobody to tell.
        let _ = self.stop.send(true);
        self.finish().await
    }
}

struct Posting {
    poster: Poster,
    account: Arc<Mutex<Account>>,
    note: Note,
}

impl Posting {
    async fn run(mut self, works: Works, feed: Feed, mut stopped: watch::Receiver<bool>) {
        let began = Instant::now();
        for batch in feed {
            if works.end_ms.is_some_and(|end| batch.due_ms >= end) {
                return;
            }
            let due = began + pause(works, &batch);
            tokio::select! {
                biased;
                _ = stopped.wait_for(|stop| *stop) => return,
                () = tokio::time::sleep_until(due.into()), if due > Instant::now() => {}
                () = std::future::ready(()), if due <= Instant::now() => {}
            }
            self.post(&batch.items).await;
        }
    }

    async fn post(&mut self, items: &[Item]) {
        {
            let mut account = lock(&self.account);
            items.iter().for_each(|item| account.post(item));
        }
        let answer = self.poster.deliver(items).await;
        let note = (self.note)();
        let mut account = lock(&self.account);
        match answer {
            Ok(Delivery { duplicates, rejected, retries, .. }) => {
                account.retries += retries;
                account.duplicates += duplicates;
                let mut accepted = vec![true; items.len()];
                for refusal in rejected {
                    if let Some(item) = items.get(refusal.index) {
                        accepted[refusal.index] = false;
                        account.refuse(&item.key, &refusal.code);
                    }
                }
                let accepted = items.iter().zip(accepted).filter(|(_, accepted)| *accepted);
                accepted.for_each(|(item, _)| account.acknowledge(item, note));
            }
            Err(gave_up) => account.retries += gave_up.retries,
        }
    }
}

/// When a batch is due, counted from the beginning of the shift.
fn pause(works: Works, batch: &Batch) -> Duration {
    let ahead = (batch.due_ms - works.start_ms).max(0) as f64 / 1000.0;
    match works.pace {
        Pace::Flat => Duration::ZERO,
        Pace::Times(speed) => Duration::from_secs_f64(ahead / speed.max(1e-6)),
    }
}

impl Backlog {
    /// Posts the whole backlog, `batch` items at a time, all devices side by side. No account is
    /// kept: in the end everything that [`Backlog::items`] gives was acknowledged.
    ///
    /// # Errors
    /// The first batch that was not acknowledged in full.
    ///
    /// # Panics
    /// When the task of a device panicked.
    pub async fn post(
        self,
        gateway: SocketAddr,
        token: &str,
        batch: usize,
        patience: Patience,
    ) -> Result<(), String> {
        let (_sender, follow) = watch::channel(gateway);
        let mut devices = JoinSet::new();
        for device in 0..self.devices {
            let mut poster = Poster::new(follow.clone(), token, patience);
            devices.spawn(async move {
                let mut items = self.items(device).peekable();
                while items.peek().is_some() {
                    let some: Vec<_> = items.by_ref().take(batch.max(1)).collect();
                    let done = poster.deliver(&some).await.map_err(|e| e.to_string())?;
                    if let Some(first) = done.rejected.first() {
                        return Err(format!("device {device}: {first:?}"));
                    }
                }
                Ok(())
            });
        }
        while let Some(ended) = devices.join_next().await {
            ended.expect("the task of a device ran to its end")?;
        }
        Ok(())
    }
}

fn lock(account: &Mutex<Account>) -> MutexGuard<'_, Account> {
    account.lock().unwrap_or_else(PoisonError::into_inner)
}
