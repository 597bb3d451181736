//! Triggers by twins: a value at a path of a device's twin is another one than before.
//!
//! A task follows the changes of documents from a place that stands on disk as long as there is
//! such a trigger. What a value was when it was looked at last is a record, so whatever is told
//! twice begins one run; of changes that come close behind each other the last one counts.

use super::desk::{Begins, Desk};
use super::due::{Due, Facts};
use super::effect::plain;
use crate::glob;
use crate::twins::{Feed, Followed, TwinChange, Twins};
use holdfast_core::flow::trigger::On;
use holdfast_sync::store::{Table, WriteError};
use serde_json::{Map, Value as Json};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Up to which place of the sequence of document changes twins were looked at.
const CURSOR: &[u8] = b"runs-twins";
/// How often it is looked whether triggers came or went.
const LOOK: Duration = Duration::from_secs(1);
const RETRY: Duration = Duration::from_secs(2);

/// Begins runs by twins until told to stop.
pub async fn begin_by_twins(twins: Twins, desk: Desk, stop: CancellationToken) {
    let mut watch = TwinWatch::new(twins, desk);
    while !stop.is_cancelled() {
        if let Err(error) = watch.follow(&stop).await {
            tracing::warn!(%error, "triggers by twins wait");
            tokio::select! {
                () = tokio::time::sleep(RETRY) => {}
                () = stop.cancelled() => {}
            }
        }
    }
}

/// What looks at changes of twins.
pub struct TwinWatch {
    twins: Twins,
    desk: Desk,
    changes: Option<u64>,
    begins: Vec<Begins>,
    /// Of one that is told when to look.
    feed: Option<Feed>,
}

impl TwinWatch {
    /// One that has looked at nothing yet.
    #[must_use]
    pub const fn new(twins: Twins, desk: Desk) -> Self {
        Self { twins, desk, changes: None, begins: Vec::new(), feed: None }
    }

    /// Looks at what has changed since it was asked last, for whoever has the time in hand; whether
    /// there was anything.
    ///
    /// # Errors
    /// What the store does not take.
    pub async fn come_to_rest(&mut self) -> Result<bool, WriteError> {
        if self.begins.is_empty() && self.changes == Some(self.desk.changes()) {
            return Ok(false);
        }
        let mut feed = match self.feed.take() {
            Some(feed) => feed,
            None => self.twins.follow(Followed::Prefix(String::new()), None).await?,
        };
        let mut any = false;
        self.renew(&feed, !self.begins.is_empty()).await?;
        while let Some(change) = feed.next_there().await? {
            self.take(&change).await?;
            any = true;
        }
        // Where nothing is looked for, it begins when something is.
        self.feed = Some(feed).filter(|_| !self.begins.is_empty());
        Ok(any)
    }

    async fn follow(&mut self, stop: &CancellationToken) -> Result<(), WriteError> {
        let store = self.twins.store().clone();
        let kept = store.read(|view| view.get(Table::Cursor, CURSOR)).await?;
        let after = kept.and_then(|value| value.try_into().ok()).map(u64::from_be_bytes);
        let mut feed = self.twins.follow(Followed::Prefix(String::new()), after).await?;
        self.renew(&feed, after.is_some()).await?;
        loop {
            tokio::select! {
                change = feed.next() => match change? {
                    Some(change) => self.take(&change).await?,
                    None => return Ok(()),
                },
                () = tokio::time::sleep(LOOK) => {}
                () = stop.cancelled() => return Ok(()),
            }
            self.renew(&feed, !self.begins.is_empty()).await?;
        }
    }

    /// Takes over the triggers that there are; where none were before, it begins here.
    async fn renew(&mut self, feed: &Feed, has_place: bool) -> Result<(), WriteError> {
        let changes = self.desk.changes();
        if self.changes == Some(changes) {
            return Ok(());
        }
        self.begins = self.desk.triggers(|on| matches!(on, On::Twin { .. }));
        let (place, is_watched) = (feed.place(), !self.begins.is_empty());
        if is_watched != has_place {
            let move_place = self.twins.store().write(move |tx| {
                match is_watched {
                    true => tx.put(Table::Cursor, CURSOR, &place.to_be_bytes())?,
                    false => {
                        tx.delete(Table::Cursor, CURSOR)?;
                        tx.delete_range(Table::RunTwin, &[], &[u8::MAX; 9])?;
                    }
                }
                Ok(())
            });
            move_place.await?;
        }
        self.changes = Some(changes);
        Ok(())
    }

    async fn take(&self, change: &TwinChange) -> Result<(), WriteError> {
        let env = self.twins.store().env();
        let (mut rows, mut found) = (Vec::new(), Vec::new());
        for begins in &self.begins {
            let On::Twin { of, path } = begins.trigger().on else { continue };
            let Some(path) = path.strip_prefix(change.section).and_then(|p| p.strip_prefix('/'))
            else {
                continue;
            };
            let Some(value) = value_at(&change.patch, path).or(change.whole.then_some(&Json::Null))
            else {
                continue;
            };
            if !glob::fits(of.pattern, &change.device) {
                continue;
            }
            let facts = Facts::at(env.now())
                .with("device", change.device.as_str())
                .with("text", plain(value));
            let due = Due::begin(&begins.flow, begins.trigger, facts, env);
            let key = [&begins.mark()[..], change.device.as_bytes()].concat();
            let hash = blake3::hash(value.to_string().as_bytes()).as_bytes()[..8].to_vec();
            rows.push((key, hash, due));
        }
        if rows.is_empty() {
            return Ok(());
        }
        let place = change.place;
        let write = self.twins.store().write(move |tx| {
            for (key, hash, due) in rows {
                if tx.view().get(Table::RunTwin, &key)?.as_ref() != Some(&hash) {
                    tx.put(Table::RunTwin, &key, &hash)?;
                    due.put(tx)?;
                    found.push(due);
                }
            }
            tx.put(Table::Cursor, CURSOR, &place.to_be_bytes())?;
            Ok(found)
        });
        let (_committed, found) = write.await?;
        self.desk.found(found);
        Ok(())
    }
}

/// What a patch says of a path: the value, or that there is none any more.
fn value_at<'p>(patch: &'p Map<String, Json>, path: &str) -> Option<&'p Json> {
    let (first, rest) = match path.split_once('/') {
        Some((first, rest)) => (first, Some(rest)),
        None => (path, None),
    };
    match (patch.get(first)?, rest) {
        (value, None) => Some(value),
        (Json::Object(inner), Some(rest)) => value_at(inner, rest),
        // What stood around it is gone, and it with that.
        (Json::Null, Some(_)) => Some(&Json::Null),
        _ => None,
    }
}
