//! What duroxide takes for durable steps: orchestrations that await one activity after the other,
//! with its SQLite provider on a file. The activity does nothing, so what is measured is keeping
//! track of it. Prints a line for each figure.

use duroxide::providers::sqlite::SqliteProvider;
use duroxide::runtime::registry::ActivityRegistry;
use duroxide::runtime::{Runtime, RuntimeOptions};
use duroxide::{
    ActivityContext, Client, OrchestrationContext, OrchestrationRegistry, OrchestrationStatus,
};
use std::error::Error;
use std::fs::File;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Steps of an orchestration; it replays them all each time.
const STEPS: u32 = 50;
const ONE_BY_ONE: u32 = 4;
const AT_ONCE: u32 = 32;
const LIMIT: Duration = Duration::from_secs(120);

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let dir = tempfile::tempdir()?;
    let path = dir.path().join("duroxide.db");
    File::create(&path)?;
    let store = SqliteProvider::new(&format!("sqlite:{}", path.display()), None).await?;
    let store = Arc::new(store);
    let activities = ActivityRegistry::builder()
        .register("Step", |_: ActivityContext, input: String| async move { Ok(input) })
        .build();
    let steps = |ctx: OrchestrationContext, input: String| async move {
        for _ in 0..STEPS {
            ctx.schedule_activity("Step", input.clone()).await?;
        }
        Ok(input)
    };
    let orchestrations = OrchestrationRegistry::builder().register("Steps", steps).build();
    let options = RuntimeOptions {
        // It looks for work ten times a second otherwise, which would be all that is measured.
        dispatcher_min_poll_interval: Duration::from_millis(1),
        orchestration_concurrency: 4,
        worker_concurrency: 4,
        ..RuntimeOptions::default()
    };
    let runtime =
        Runtime::start_with_options(store.clone(), activities, orchestrations, options).await;
    let client = Client::new(store);
    let started = Instant::now();
    for number in 0..ONE_BY_ONE {
        let id = format!("single-{number}");
        client.start_orchestration(&id, "Steps", "x").await?;
        ended(&client, &id).await?;
    }
    rate("workflow_steps_single", ONE_BY_ONE, started);
    let started = Instant::now();
    for number in 0..AT_ONCE {
        client.start_orchestration(&format!("parallel-{number}"), "Steps", "x").await?;
    }
    for number in 0..AT_ONCE {
        ended(&client, &format!("parallel-{number}")).await?;
    }
    rate("workflow_steps_parallel", AT_ONCE, started);
    runtime.shutdown(None).await;
    Ok(())
}

async fn ended(client: &Client, id: &str) -> Result<(), Box<dyn Error>> {
    let status = client.wait_for_orchestration(id, LIMIT).await;
    match status.map_err(|error| format!("{id}: {error:?}"))? {
        OrchestrationStatus::Completed { .. } => Ok(()),
        _ => Err(format!("{id} did not come to its end").into()),
    }
}

fn rate(name: &str, runs: u32, started: Instant) {
    println!("{name} {:.1}", f64::from(runs * STEPS) / started.elapsed().as_secs_f64());
}
