//! Wrong clocks, of devices and of the gateway itself.
//!
//! Whatever a clock says, the reading is kept with the device's time and the time of receipt, a
//! flag says which of the two is not to be trusted, and nothing that counts in time (windows,
//! queries, sync) breaks.

use super::Scale;
use super::hands::{admin_of_edge, admin_of_hub, block_on, caught_up, equal_exports, get, reading};
use crate::client::Client;
use crate::faults::Tally;
use crate::process::{Edge, Fleet, FleetPlan, LIMIT, Settings};
use crate::rng::Rng;
use crate::wait::until_async;
use serde_json::{Value, json};

const YEAR_S: i64 = 31_556_952;

/// A device's clock and how it is wrong.
struct Device {
    name: &'static str,
    fault: &'static str,
    /// The time of its reading `n`, seconds since 1970, at the true time `now`.
    clock: fn(now: i64, n: i64) -> i64,
    flagged: bool,
}

const DEVICES: [Device; 7] = [
    Device {
        name: "right",
        fault: "right device clock",
        clock: |now, n| now - 600 + n,
        flagged: false,
    },
    Device { name: "d1970", fault: "device clock in 1970", clock: |_, n| n, flagged: true },
    Device {
        name: "d2106",
        fault: "device clock in 2106",
        clock: |_, n| 4_294_967_295 + n,
        flagged: true,
    },
    Device {
        name: "ahead",
        fault: "device clock ten years ahead",
        clock: |now, n| now + 10 * YEAR_S + n,
        flagged: true,
    },
    Device {
        name: "behind",
        fault: "device clock ten years behind",
        clock: |now, n| now - 10 * YEAR_S + n,
        flagged: true,
    },
    // An hour forward, then an hour back, again and again, within what a device may be late.
    Device {
        name: "steps",
        fault: "device clock stepping back",
        clock: |now, n| now - 7200 + n - (n % 2) * 3600,
        flagged: false,
    },
    Device {
        name: "extreme",
        fault: "device clock at the ends of time",
        clock: |_, n| if n % 2 == 0 { -9_214_560_000 } else { 9_214_646_400 },
        flagged: true,
    },
];

/// How the gateway's own clock is wrong, as libfaketime takes it, and what happens then.
struct Own {
    spec: &'static str,
    fault: &'static str,
    /// The certificates of libp2p begin in 1975: by an earlier clock there is no session, and what
    /// is posted waits for a better one.
    syncs: bool,
}

const OWN: [Own; 4] = [
    Own { spec: "+10y", fault: "gateway clock ten years ahead", syncs: true },
    Own { spec: "-10y", fault: "gateway clock ten years behind, set back by twenty", syncs: true },
    Own { spec: "@2106-02-07 06:28:00", fault: "gateway clock in 2106", syncs: true },
    Own { spec: "@1970-01-01 00:00:30", fault: "gateway clock in 1970", syncs: false },
];

fn text(seconds: i64) -> String {
    jiff::Timestamp::from_second(seconds).expect("a time that RFC 3339 can say").to_string()
}

fn now_s() -> i64 {
    jiff::Timestamp::now().as_second()
}

async fn post(client: &mut Client, body: &Value) {
    let answer = client.post_json("/v1/readings", body).await;
    let answer = answer.unwrap_or_else(|error| panic!("a post: {error}"));
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.json()["rejected"], json!([]), "{}", answer.text());
}

/// Readings of one device of a span of time, by a query.
async fn query(client: &mut Client, device: &str, (from, to): (i64, i64)) -> Vec<Value> {
    let (from, to) = (text(from), text(to));
    let path = format!("/v1/readings?device={device}&metric=level&unit=m&from={from}&to={to}");
    get(client, &path).await["readings"].as_array().expect("a list").clone()
}

/// Each device posts by its own clock; both times are kept and the flag says what to trust.
async fn devices(tally: &Tally, fleet: &Fleet, rng: &mut Rng, rounds: i64) {
    let edge = &fleet.edges[0];
    let mut client = admin_of_edge(edge);
    let began = now_s();
    let mut order: Vec<_> = (0..rounds).flat_map(|n| DEVICES.iter().map(move |d| (n, d))).collect();
    // Out of order by as much as a device's 64 remembered ranges bear.
    order.chunks_mut(40 * DEVICES.len()).for_each(|some| rng.shuffle(some));
    for (n, device) in order {
        let time = text((device.clock)(began, n));
        let body = json!({"device": device.name, "metric": "level", "unit": "m", "value": n,
            "time": time, "boot": 1, "seq": n + 1});
        post(&mut client, &body).await;
        tally.strike(device.fault);
    }
    let mut hub = admin_of_hub(&fleet.hub);
    caught_up(&mut client).await;
    for device in &DEVICES {
        // Filed under the device's time, or by the time of receipt where that cannot be true.
        let span = (began - 4 * 3600, now_s() + 60);
        for side in [&mut client, &mut hub] {
            let found = query(side, device.name, span).await;
            assert_eq!(found.len() as i64, rounds, "{}: {found:?}", device.name);
            for reading in &found {
                let n = reading["value"].as_f64().expect("a number") as i64;
                let said = text((device.clock)(began, n));
                assert_eq!(reading["device_time"], said, "{}", device.name);
                let flagged = reading["quality"] == json!(["device-clock"]);
                assert_eq!(flagged, device.flagged, "{}: {reading}", device.name);
                let received = reading["received"].as_str().expect("a time of receipt");
                assert!(*received >= *text(began - 5), "{}: {reading}", device.name);
            }
        }
        windows(&mut client, device.name, span, rounds as u64).await;
    }
}

/// Waits until the windows of a span hold as many readings as were posted.
async fn windows(client: &mut Client, device: &str, (from, to): (i64, i64), count: u64) {
    let (from, to) = (text(from), text(to));
    let path = format!("/v1/rollups?device={device}&metric=level&unit=m&from={from}&to={to}");
    until_async("windows with every reading", LIMIT, async || {
        let found = get(client, &path).await;
        let windows = found["nodes"][0]["windows"].as_array()?.clone();
        let counted: u64 = windows.iter().filter_map(|window| window["count"].as_u64()).sum();
        (counted == count).then_some(())
    })
    .await;
}

/// Starts the gateway by a wrong clock and posts: with the hub in reach it learns that it is wrong.
async fn own_clock(tally: &Tally, fleet: &mut Fleet, own: &Own, start: u64) {
    let clock = Settings::default().clock(own.spec).expect("libfaketime was looked for before");
    let edge = &mut fleet.edges[0];
    edge.start_with(&clock).expect("a wrong clock does not keep the gateway from starting");
    let mut client = admin_of_edge(edge);
    let body = |seq: u64| {
        let mut body = reading("own", seq, seq as f64);
        body["boot"] = start.into();
        body
    };
    post(&mut client, &body(1)).await;
    // By the hub's clock, by its own past, or because this program is younger.
    until_async("the gateway to doubt its clock", LIMIT, async || {
        let answer = client.get("/readyz").await.ok()?;
        (answer.json()["checks"]["clock"]["detail"] == "wrong").then_some(())
    })
    .await;
    for seq in 2..=5 {
        post(&mut client, &body(seq)).await;
    }
    tally.strike(own.fault);
    if own.syncs {
        caught_up(&mut client).await;
    }
    let span = by_the_node(&mut client).await;
    let found = query(&mut client, "own", span).await;
    assert!(found.len() >= 5, "{}: {found:?}", own.fault);
    windows(&mut client, "own", span, found.len() as u64).await;
}

/// A span around now as the gateway sees it.
async fn by_the_node(client: &mut Client) -> (i64, i64) {
    let status = get(client, "/v1/status").await;
    let started = status["node"]["started"].as_str().expect("a time").parse::<jiff::Timestamp>();
    let started = started.expect("a time in RFC 3339").as_second();
    (started - 600, started + 3600)
}

/// The words of quality under which the readings of one start were stored.
fn flagged(lines: &[String], boot: u64) -> usize {
    let of_start = lines.iter().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let of_start = of_start.filter(|line| line["device"] == "own" && line["boot"] == boot);
    of_start.filter(|line| line["quality"] == json!(["node-clock"])).count()
}

/// Runs the campaign: devices with every wrong clock, then the gateway itself.
///
/// # Panics
/// When a promise is broken, or a fault never struck.
pub fn clocks(scale: Scale) {
    block_on(campaign(scale));
}

async fn campaign(scale: Scale) {
    let faked = Settings::default().clock("+1y");
    if let Err(reason) = &faked {
        println!("{reason}: the gateway's own clock stays right");
    }
    let mut faults: Vec<_> = DEVICES.iter().map(|device| device.fault).collect();
    if faked.is_ok() {
        faults.extend(OWN.iter().map(|own| own.fault));
    }
    let tally = Tally::of(&faults);
    let mut rng = Rng::keyed(scale.seed, &[0xc10c]);
    let mut fleet = FleetPlan::new(1, scale.seed).build().expect("a fleet");
    let rounds = scale.of(400, 20) as i64;
    devices(&tally, &fleet, &mut rng, rounds).await;
    let mut boots = Vec::new();
    if faked.is_ok() {
        for start in 0..scale.of(20, OWN.len() as u64) {
            let boot = 10 + start;
            stop(&mut fleet.edges[0], start);
            own_clock(&tally, &mut fleet, &OWN[start as usize % OWN.len()], boot).await;
            boots.push(boot);
        }
        stop(&mut fleet.edges[0], 0);
        fleet.edges[0].start().expect("the gateway starts by a right clock");
    }
    let mut client = admin_of_edge(&fleet.edges[0]);
    caught_up(&mut client).await;
    let lines = equal_exports(&fleet.edges[0], &fleet.hub).await;
    let expected = rounds as usize * DEVICES.len() + boots.len() * 5;
    assert_eq!(lines.len(), expected, "every reading once");
    for boot in boots {
        let flagged = flagged(&lines, boot);
        assert!(flagged >= 4, "start {boot}: {flagged} of 5 are flagged `node-clock`");
    }
    let status = get(&mut client, "/v1/status").await;
    assert_eq!(status["pipeline"]["unreadable"], 0, "{status}");
    tally.finish().expect("every fault struck");
}

/// Ends the gateway in good order or at once, in turn.
fn stop(edge: &mut Edge, turn: u64) {
    if turn.is_multiple_of(2) {
        edge.stop().expect("the gateway stops in good order");
    } else {
        edge.kill9().expect("the gateway is killed");
    }
}
