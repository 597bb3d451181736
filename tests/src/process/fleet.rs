//! One hub and its edges, an impairable link in front of each edge, all in one directory.

use std::io;

use tempfile::TempDir;

use super::edge::Edge;
use super::hub::Hub;
use super::launch::Settings;
use crate::net::Proxy;
use crate::rng::hash;

/// What fleet to build.
#[derive(Debug, Clone)]
pub struct FleetPlan {
    /// Number of edges, named `ps-000` and so on.
    pub edges: usize,
    /// The site they belong to.
    pub site: String,
    /// Seeds the links.
    pub seed: u64,
    /// Settings of the hub.
    pub hub: Settings,
    /// Settings of every edge.
    pub edge: Settings,
}

impl FleetPlan {
    /// A fleet of `edges` with default settings, but for reconnects that are not waited for long
    /// and segments so small that sealing goes on beside whatever is tried.
    #[must_use]
    pub fn new(edges: usize, seed: u64) -> Self {
        let hub = Settings::default().env("HOLDFAST_STORE_SEAL_AFTER", "500");
        let (site, edge) = ("north".to_owned(), hub.clone().env("HOLDFAST_SYNC_BACKOFF_MAX", "2s"));
        Self { edges, site, seed, hub, edge }
    }

    /// The same with `settings` on top, for the hub and every edge.
    #[must_use]
    pub fn with(self, settings: &Settings) -> Self {
        Self { hub: self.hub.with(settings), edge: self.edge.with(settings), ..self }
    }

    /// Builds the fleet: hub started, edges enrolled through their links and started.
    ///
    /// # Errors
    /// When any step fails.
    pub fn build(self) -> io::Result<Fleet> {
        let dir = tempfile::Builder::new().prefix("holdfast-fleet-").tempdir()?;
        let mut hub = Hub::init(&dir.path().join("hub"), self.hub)?;
        hub.start()?;
        let mut fleet = Fleet { edges: Vec::new(), links: Vec::new(), hub, dir };
        for n in 0..self.edges {
            let name = format!("ps-{n:03}");
            let link = Proxy::start(fleet.hub.sync(), hash(self.seed, &[n as u64]))?;
            let enrolment = fleet.hub.enrolment(&self.site, &name, link.address())?;
            let home = fleet.dir.path().join(&name);
            let mut edge = Edge::init(&name, &home, self.edge.clone())?;
            edge.join(&enrolment)?;
            edge.start()?;
            fleet.edges.push(edge);
            fleet.links.push(link);
        }
        Ok(fleet)
    }
}

/// A running fleet. Dropping it ends its processes and removes its directory.
#[derive(Debug)]
pub struct Fleet {
    /// The gateways.
    pub edges: Vec<Edge>,
    /// The link of each gateway, in the same order.
    pub links: Vec<Proxy>,
    /// The hub.
    pub hub: Hub,
    // Last, so that processes are gone before their files.
    dir: TempDir,
}

impl Fleet {
    /// Starts the hub again after it was killed or stopped, and leads all links to it: it has
    /// another port now, which edges never notice.
    ///
    /// # Errors
    /// When it does not come up.
    pub fn restart_hub(&mut self) -> io::Result<()> {
        self.hub.start()?;
        self.links.iter().for_each(|link| link.set_target(self.hub.sync()));
        Ok(())
    }

    /// Where everything of this fleet is.
    #[must_use]
    pub fn dir(&self) -> &std::path::Path {
        self.dir.path()
    }
}
