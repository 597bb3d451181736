//! A hundred thousand documents, of which ten differ, and a gateway whose cursor is lost: what it
//! takes to find out which ten, and what the hub has in memory while it answers.
//!
//! The real nodes tell the whole of it. Which bytes are the finding out and which the changes, and
//! how many round trips, is told by the same two stores once more, message by message.

use super::Told;
use super::compare::{Found, compare, fill};
use super::site::Site;
use crate::process::Memory;
use rusqlite::Connection;
use std::io;
use std::time::Instant;

const DOCUMENTS: u64 = 100_000;
const DIFFER: u64 = 10;
/// The table of cursors of peers, as `docs/formats/store.md` numbers it.
const CURSORS: u8 = 25;
const MB: f64 = 1e6;

/// Runs this part of the bench.
pub async fn measure(told: &Told) -> io::Result<()> {
    let mut site = Site::start().await?;
    site.edge.stop()?;
    let started = Instant::now();
    fill(site.edge.data(), DOCUMENTS).await?;
    let filled = started.elapsed().as_secs_f64();
    site.start_edge()?;
    let started = Instant::now();
    site.until_at_hub(DOCUMENTS - 1).await?;
    let took = started.elapsed().as_secs_f64();
    told.detail(&format!(
        "{DOCUMENTS} documents of one key: made in {filled:.0} s, then at the hub in {took:.0} s"
    ));
    site.quiet().await?;
    site.part()?;
    site.edge.stop()?;
    forget_cursor(&site)?;
    site.change_at_hub(DIFFER).await?;
    let at_rest = memory(&mut site)?;
    let before = site.join_link();
    site.start_edge()?;
    site.until_same(DIFFER).await?;
    let carried = site.quiet().await?.since(before);
    let peak = memory(&mut site)?.peak as f64;
    site.stop()?;
    let found = compare(site.hub.data(), site.edge.data(), DIFFER).await?;
    tell(told, &found);
    told.detail(&format!("between the nodes, all of it: {carried}"));
    told.figure("docs_compare_hub_rss", peak / MB, "MB", 300.0, "");
    told.detail(&format!(
        "{:.0} MB before the gateway comes, {:.0} MB at most until then",
        at_rest.resident as f64 / MB,
        at_rest.peak as f64 / MB
    ));
    Ok(())
}

fn tell(told: &Told, found: &[Found]) {
    let worst = |of: fn(&Found) -> usize| found.iter().map(of).max().unwrap_or(0) as f64;
    let finding = worst(|found| found.finding);
    told.figure("docs_compare_bytes", finding, "bytes", 2_000.0, "");
    told.detail(&format!(
        "the most of {} comparisons under keys of their own; the ten pushes with what belongs to \
         them: {} bytes",
        found.len(),
        worst(|found| found.rest)
    ));
    if let Some(worst) = found.iter().max_by_key(|found| found.finding) {
        told.detail(&format!("{worst}"));
    }
    let trips = worst(|found| found.hops.div_ceil(2));
    told.figure("docs_compare_round_trips", trips, "round trips", 3.0, "");
}

/// Loses the gateway's cursor of its hub, as a restore does.
fn forget_cursor(site: &Site) -> io::Result<()> {
    let database = Connection::open(site.edge.data().join("holdfast.db"));
    let gone = database
        .and_then(|database| database.execute("DELETE FROM records WHERE tab=?1", [CURSORS]));
    match gone.map_err(io::Error::other)? {
        1 => Ok(()),
        count => Err(io::Error::other(format!("the gateway has {count} cursors"))),
    }
}

/// What the hub has in memory.
fn memory(site: &mut Site) -> io::Result<Memory> {
    Memory::of(site.hub.process().pid())
}
