//! Somebody takes note of a gateway's alert at the hub, while the gateway is not there.

use super::{HIGH, RULE, active, fleet, of_edge, of_hub, post, reading};
use crate::net::Link;
use crate::process::Settings;
use crate::scenarios::Scale;
use crate::scenarios::audit::{edge_client, hub_client, look};
use crate::scenarios::load::{SOON, block_on, online};
use crate::wait::until_async;
use serde_json::{Value, json};

const NOTE: &str = "opening the valve\nby hand";

/// Raises an alert, takes note of it at the hub without a link, and at the gateway.
///
/// # Panics
/// When one side does not learn what was said on the other.
pub fn notice(scale: Scale) {
    block_on(campaign(scale));
}

async fn campaign(scale: Scale) {
    let mut fleet = fleet(scale.seed, &Settings::default());
    online(&fleet.edges[0]).await;
    post(&fleet.edges[0], &reading(1, jiff::Timestamp::now(), HIGH)).await;
    let raised = active(&fleet.edges[0], RULE, 1).await;
    until_async("the alert on the hub", SOON, || async {
        let there = of_hub(&fleet.hub, RULE, "active").await?;
        (there.len() == 1 && there[0]["id"] == raised[0]["id"]).then_some(())
    })
    .await;
    fleet.links[0].cut();
    let path = format!("/v1/alerts/{}/ack", raised[0]["id"].as_str().expect("an id"));
    let at_hub = hub_client(&fleet.hub).post_json(&path, &json!({ "note": NOTE })).await;
    assert_eq!(at_hub.expect("an answer").status, 200);
    let here = of_edge(&fleet.edges[0], RULE, "active").await.expect("the gateway's alerts");
    assert_eq!(here[0]["acknowledged"], json!([]), "nothing reaches it");
    let edge = &mut fleet.edges[0];
    edge.kill9().expect("the gateway is killed");
    edge.start().expect("it starts");
    fleet.links[0].set_link(Link::Perfect);
    let hub = look(&mut hub_client(&fleet.hub), "/v1/status").await["node"]["id"].clone();
    let of_the_hub = |alert: &Value| {
        let said = alert["acknowledged"].as_array().into_iter().flatten();
        said.filter(|one| one["node"] == hub && one["note"] == NOTE).count() == 1
    };
    until_async("the word of the hub on the gateway", SOON, || async {
        let alerts = of_edge(&fleet.edges[0], RULE, "active").await?;
        (alerts.len() == 1 && of_the_hub(&alerts[0])).then_some(())
    })
    .await;
    let at_gateway = edge_client(&fleet.edges[0]).post_json(&path, &json!({})).await;
    assert_eq!(at_gateway.expect("an answer").status, 200);
    for at_edge in [true, false] {
        until_async("both words on both sides", SOON, || async {
            let alerts = match at_edge {
                true => of_edge(&fleet.edges[0], RULE, "active").await?,
                false => of_hub(&fleet.hub, RULE, "active").await?,
            };
            (alerts[0]["acknowledged"].as_array()?.len() == 2).then_some(())
        })
        .await;
    }
}
