//! Triggers by twins: a value at a path of a device's twin is another one than before.
//!
//! A task follows the changes of documents from a place that stands on disk as long as there is
//! such a trigger. What a trigger saw of a device is a record; where there is none, nothing stood
//! there. One that is new sees first what stood everywhere when it came, which begins nothing. So
//! each change is compared with what was there before it, also after a start, when of what came
//! meanwhile only whole sections are known: whatever is told twice begins one run, and what has
//! not changed none. Of changes that come close behind each other the last one counts.

use super::desk::{Begins, Desk};
use super::due::{Due, Facts};
use super::effect::plain;
use crate::glob;
use crate::twins::{Feed, Followed, Section, TwinChange, Twins};
use holdfast_core::flow::trigger::On;
use holdfast_core::state::Path;
use holdfast_sync::Fault;
use holdfast_sync::docs::DocumentName;
use holdfast_sync::store::{Snapshot, Table, WriteError, WriteTx};
use serde_json::{Map, Value as Json};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Up to which place of the sequence of document changes twins were looked at.
const CURSOR: &[u8] = b"runs-twins";
const RETRY: Duration = Duration::from_secs(2);
/// Devices that a new trigger looks at in one transaction.
const PAGE: usize = 64;

/// By which what triggers saw is known.
type Mark = [u8; 8];

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

/// Triggers that look for the same: what they saw is kept once for all of them.
#[derive(Clone)]
struct Watched {
    mark: Mark,
    pattern: String,
    section: Section,
    path: String,
    begins: Vec<Begins>,
}

impl Watched {
    fn of(begins: Begins) -> Option<Self> {
        let On::Twin { of, path } = begins.trigger().on else { return None };
        let (section, path) = path.split_once('/')?;
        let (section, path) = (Section::from_name(section)?, path.to_owned());
        let (mark, pattern) = (begins.mark(), of.pattern.to_owned());
        Some(Self { mark, pattern, section, path, begins: vec![begins] })
    }

    fn key(&self, device: &str) -> Vec<u8> {
        [&self.mark[..], device.as_bytes()].concat()
    }

    /// The place behind which what changes is news to the first of them; none where it was there
    /// when the node was started.
    fn since(&self) -> Option<u64> {
        self.begins.iter().map(|begins| begins.flow.since()).min().flatten()
    }

    /// What stands at its path in a section.
    fn value<'s>(&self, section: &'s Map<String, Json>) -> &'s Json {
        let mut names = self.path.split('/');
        let first = names.next().and_then(|name| section.get(name));
        first.and_then(|value| names.try_fold(value, |v, name| v.get(name))).unwrap_or(&Json::Null)
    }

    /// Whether it looks at what has changed.
    fn is_met(&self, change: &TwinChange) -> bool {
        change.section == self.section.name()
            && glob::fits(&self.pattern, &change.device)
            && (change.whole || meets(&change.patch, &self.path))
    }
}

/// What looks at changes of twins.
pub struct TwinWatch {
    twins: Twins,
    desk: Desk,
    changes: Option<u64>,
    watched: Vec<Watched>,
    /// Of one that is told when to look.
    feed: Option<Feed>,
}

impl TwinWatch {
    /// One that has looked at nothing yet.
    #[must_use]
    pub const fn new(twins: Twins, desk: Desk) -> Self {
        Self { twins, desk, changes: None, watched: Vec::new(), feed: None }
    }

    /// Looks at what has changed since it was asked last, for whoever has the time in hand; whether
    /// there was anything.
    ///
    /// # Errors
    /// What the store does not take.
    pub async fn come_to_rest(&mut self) -> Result<bool, WriteError> {
        if self.watched.is_empty() && self.changes == Some(self.desk.changes()) {
            return Ok(false);
        }
        let mut feed = match self.feed.take() {
            Some(feed) => feed,
            None => self.twins.follow(Followed::Prefix(String::new()), None).await?,
        };
        let mut any = false;
        self.renew(&mut feed).await?;
        while let Some(change) = feed.next_there().await? {
            self.take(&change).await?;
            any = true;
        }
        // Where nothing is looked for, it begins when something is.
        self.feed = Some(feed).filter(|_| !self.watched.is_empty());
        Ok(any)
    }

    async fn follow(&mut self, stop: &CancellationToken) -> Result<(), WriteError> {
        let store = self.twins.store().clone();
        let kept = store.read(|view| view.get(Table::Cursor, CURSOR)).await?;
        let after = kept.and_then(|value| value.try_into().ok()).map(u64::from_be_bytes);
        let mut feed = self.twins.follow(Followed::Prefix(String::new()), after).await?;
        let mut library = self.desk.watch();
        loop {
            self.renew(&mut feed).await?;
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                _ = library.changed() => {}
                change = feed.next() => match change? {
                    Some(change) => self.take(&change).await?,
                    None => return Ok(()),
                },
            }
        }
    }

    /// Takes over the triggers that there are. Where none were before, it begins here; what those
    /// saw that are gone is forgotten.
    async fn renew(&mut self, feed: &mut Feed) -> Result<(), WriteError> {
        let changes = self.desk.changes();
        if self.changes == Some(changes) {
            return Ok(());
        }
        let mut wanted = BTreeMap::<Mark, Watched>::new();
        let triggers = self.desk.triggers(|on| matches!(on, On::Twin { .. }));
        for one in triggers.into_iter().filter_map(Watched::of) {
            match wanted.get_mut(&one.mark) {
                Some(same) => same.begins.extend(one.begins),
                None => drop(wanted.insert(one.mark, one)),
            }
        }
        let store = self.twins.store().clone();
        let look =
            |view: &Snapshot<'_>| Ok((marks(view)?, view.get(Table::Cursor, CURSOR)?.is_some()));
        let (known, has_place) = store.read(look).await?;
        let gone = known.keys().filter(|mark| !wanted.contains_key(*mark));
        let gone: Vec<Mark> = gone.copied().collect();
        let (place, is_watched) = (feed.place(), !wanted.is_empty());
        if !gone.is_empty() || is_watched != has_place {
            let change = move |tx: &mut WriteTx<'_>| {
                match (is_watched, has_place) {
                    (true, false) => tx.put(Table::Cursor, CURSOR, &place.to_be_bytes())?,
                    (false, true) => drop(tx.delete(Table::Cursor, CURSOR)?),
                    _ => {}
                }
                for mark in gone {
                    tx.delete_range(Table::RunTwin, &mark, &behind(&mark))?;
                }
                Ok(())
            };
            store.write(change).await?;
        }
        let has_seen = |mark: &Mark| known.get(mark) == Some(&true);
        let new: Vec<&Watched> = wanted.values().filter(|one| !has_seen(&one.mark)).collect();
        self.see(&new).await?;
        if let Some(since) = new.iter().filter_map(|one| one.since()).min() {
            feed.go_back(since);
        }
        self.watched = wanted.into_values().collect();
        self.changes = Some(changes);
        Ok(())
    }

    /// Has triggers that are new see what stands everywhere, but for what has changed since they
    /// came.
    async fn see(&self, new: &[&Watched]) -> Result<(), WriteError> {
        if new.is_empty() {
            return Ok(());
        }
        let mut after: Option<String> = None;
        loop {
            let page = self.twins.list("", after.as_deref(), PAGE).await?;
            let Some((last, _)) = page.last() else { break };
            after = Some(last.clone());
            let mut rows = Vec::new();
            for (device, twin) in &page {
                for one in new.iter().filter(|one| glob::fits(&one.pattern, device)) {
                    let section = twin.part(one.section).shown.object();
                    let value = one.value(&section);
                    let name = one.section.document(device);
                    let is_news = name
                        .zip(one.since())
                        .and_then(|(name, since)| is_touched(&self.twins, &name, &one.path, since));
                    if !value.is_null() && is_news != Some(true) {
                        rows.push((one.key(device), hash(value)));
                    }
                }
            }
            let write = self.twins.store().write(move |tx| {
                for (key, hash) in rows {
                    // It began to look before, and was stopped.
                    if tx.view().get(Table::RunTwin, &key)?.is_none() {
                        tx.put(Table::RunTwin, &key, &hash)?;
                    }
                }
                Ok(())
            });
            write.await?;
        }
        let marks: Vec<Mark> = new.iter().map(|one| one.mark).collect();
        let write = self.twins.store().write(move |tx| {
            Ok(marks.iter().try_for_each(|mark| tx.put(Table::RunTwin, mark, &[]))?)
        });
        write.await.map(drop)
    }

    async fn take(&self, change: &TwinChange) -> Result<(), WriteError> {
        let met = self.watched.iter().filter(|one| one.is_met(change)).cloned();
        let met: Vec<Watched> = met.collect();
        let name = met.first().and_then(|one| one.section.document(&change.device));
        let Some(name) = name else { return Ok(()) };
        let (store, twins) = (self.twins.store(), self.twins.clone());
        let (look, looked) = (change.device.clone(), met.clone());
        let (read, section) = (self.twins.clone(), name.clone());
        let any_new = move |view: &Snapshot<'_>| {
            let section = read.shown(view, &section)?.object();
            let mut news =
                looked.iter().map(|one| is_new(view, &one.key(&look), one.value(&section)));
            news.try_fold(false, |any, one| Ok(any || one?))
        };
        if !store.read(any_new).await? {
            return Ok(());
        }
        let (place, device, env) = (change.place, change.device.clone(), store.env().clone());
        let write = store.write(move |tx| {
            let section = twins.shown(tx, &name)?.object();
            let mut found = Vec::new();
            for one in &met {
                let (key, value) = (one.key(&device), one.value(&section));
                if is_new(&tx.view(), &key, value)? {
                    tx.put(Table::RunTwin, &key, &hash(value))?;
                    let facts = Facts::at(env.now());
                    let facts = facts.with("device", &*device).with("text", plain(value));
                    let is_news = |begins: &&Begins| {
                        let known = |since| is_touched(&twins, &name, &one.path, since);
                        let since = begins.flow.since();
                        since.is_none_or(|since| known(since).unwrap_or(since < place))
                    };
                    let due = |b: &Begins| Due::begin(&b.flow, b.trigger, facts.clone(), &env);
                    found.extend(one.begins.iter().filter(is_news).map(due));
                }
            }
            found.iter().try_for_each(|due| due.put(tx))?;
            tx.put(Table::Cursor, CURSOR, &place.to_be_bytes())?;
            Ok(found)
        });
        let (_committed, found) = write.await?;
        self.desk.found(found);
        Ok(())
    }
}

/// Whether what stands at a path has changed behind place `since`, as far as that is known.
fn is_touched(twins: &Twins, name: &DocumentName, path: &str, since: u64) -> Option<bool> {
    let touched = twins.documents().touched_since(name, since)?;
    let path = Path::new(path).ok()?;
    // A part of a counter or a set stands under its author as well.
    let text = |key: &str| key.split('#').next().unwrap_or_default().to_owned();
    Some(touched.iter().any(|key| Path::new(&text(key)).is_ok_and(|key| key.meets(path))))
}

/// What is kept of a value that was seen.
fn hash(value: &Json) -> Vec<u8> {
    blake3::hash(value.to_string().as_bytes()).as_bytes()[..8].to_vec()
}

/// Whether a value is another one than was seen last.
fn is_new(view: &Snapshot<'_>, key: &[u8], value: &Json) -> Result<bool, Fault> {
    let seen = view.get(Table::RunTwin, key)?.unwrap_or_else(|| hash(&Json::Null));
    Ok(seen != hash(value))
}

/// Behind all that is kept of a mark.
fn behind(mark: &Mark) -> Vec<u8> {
    [&mark[..], &[u8::MAX]].concat()
}

/// The marks under which something is kept, and whether all was seen that stood there at first.
fn marks(view: &Snapshot<'_>) -> Result<BTreeMap<Mark, bool>, Fault> {
    let (mut out, mut after) = (BTreeMap::new(), Vec::new());
    while let Some((key, _)) = view.scan(Table::RunTwin, &[], &after, 1)?.pop() {
        let mark = key.first_chunk();
        let mark = *mark.ok_or_else(|| Fault::damaged("what a trigger saw", "too short a key"))?;
        // The mark alone is written last, and is the first in order.
        out.insert(mark, key.len() == mark.len());
        after = behind(&mark);
    }
    Ok(out)
}

/// Whether a patch says anything of a path: of it, of what is below it, or of what is around it.
fn meets(patch: &Map<String, Json>, path: &str) -> bool {
    let (first, rest) = match path.split_once('/') {
        Some((first, rest)) => (first, Some(rest)),
        None => (path, None),
    };
    match (patch.get(first), rest) {
        (None, _) => false,
        (Some(Json::Object(inner)), Some(rest)) => meets(inner, rest),
        (Some(_), _) => true,
    }
}

#[cfg(test)]
mod tests;
