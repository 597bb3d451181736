//! When what sites use may have changed: their documents, as they change, from now on.
//!
//! Twins change all the time, and say nothing here.

use holdfast_sync::Fault;
use holdfast_sync::docs::{Class, Documents};
use holdfast_sync::store::{Snapshot, Store};
use tokio::sync::watch;

/// Documents that are looked up at a time.
const BATCH: usize = 64;

/// The changes of the documents of sites.
pub struct SiteChanges {
    store: Store,
    after: u64,
    changes: watch::Receiver<u64>,
}

impl SiteChanges {
    /// Those from now on.
    ///
    /// # Errors
    /// A fault of the store.
    pub async fn follow(store: &Store) -> Result<Self, Fault> {
        let changes = store.watch_documents();
        let after = store.read(|view: &Snapshot<'_>| Documents::last_place(view)).await?;
        Ok(Self { store: store.clone(), after, changes })
    }

    /// Waits until the document of a site has changed; `false` once nothing will change any more.
    ///
    /// # Errors
    /// A fault of the store.
    pub async fn next(&mut self) -> Result<bool, Fault> {
        while !self.are_there().await? {
            if self.changes.changed().await.is_err() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Whether the document of a site has changed already.
    async fn are_there(&mut self) -> Result<bool, Fault> {
        loop {
            let after = self.after;
            let look = move |view: &Snapshot<'_>| Documents::changed_since(view, after, BATCH);
            let found = self.store.read(look).await?;
            let Some((place, _)) = found.last() else { return Ok(false) };
            self.after = *place;
            if found.iter().any(|(_, name)| name.class() == Class::Site) {
                return Ok(true);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::twins::tests::Node;
    use holdfast_sync::docs::DocumentName;
    use serde_json::json;

    // What sites have installed was looked at twice a minute, and not when it changed: it followed
    // the twins of devices whose ids begin with `site/`, and no id does.
    #[tokio::test(flavor = "multi_thread")]
    async fn a_change_of_a_site_is_told_and_one_of_a_twin_is_not() {
        let node = Node::new();
        let name = |text: &str| DocumentName::new(text).unwrap();
        let patch = json!({"a": 1});
        node.patch(&name("site/north"), &patch).await;
        let mut changes = SiteChanges::follow(node.twins.store()).await.unwrap();
        assert!(!changes.are_there().await.unwrap(), "it was before");
        for number in 0..=BATCH {
            node.patch(&name(&format!("device/pump-{number}/desired")), &patch).await;
        }
        assert!(!changes.are_there().await.unwrap(), "a twin is no site");
        let next = tokio::time::timeout(std::time::Duration::from_secs(20), changes.next());
        let (next, change) = tokio::join!(next, async {
            node.patch(&name("device/pump-1/desired"), &json!({"a": 2})).await;
            node.patch(&name("site/south"), &patch).await
        });
        assert!(next.expect("it is told").unwrap() && change.shown.at("a").is_some());
        assert!(!changes.are_there().await.unwrap(), "it is told once");
    }
}
