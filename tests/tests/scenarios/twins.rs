//! Device twins on both nodes, from outside: who may do what, what is refused and how, and that an
//! answer outlives a kill.

use holdfast_tests::client::{Answer, Client, RawRequest, Reply};
use holdfast_tests::contract;
use holdfast_tests::process::{Edge, FleetPlan, LIMIT, Settings};
use holdfast_tests::scenarios::Scale;
use holdfast_tests::scenarios::audit::{edge_client, hub_client, look};
use holdfast_tests::scenarios::twins::{many, patch};
use holdfast_tests::wait::until_async;
use hyper::Method;
use serde_json::{Value, json};

const TWIN: &str = "/v1/devices/pump-1/twin";
const DESIRED: &str = "/v1/devices/pump-1/twin/desired";
const REPORTED: &str = "/v1/devices/pump-1/twin/reported";
const TAGS: &str = "/v1/devices/pump-1/twin/tags";

/// A gateway with a device that has a token and never posted.
struct Site {
    edge: Edge,
    admin: Client,
    device: Client,
    _dir: tempfile::TempDir,
}

impl Site {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let mut edge = Edge::init("twins", dir.path(), Settings::default()).expect("a node");
        edge.start().expect("the node starts");
        let token = edge.device_token("pump-1").expect("a token");
        let (admin, device) = (edge_client(&edge), client(&edge, token));
        Self { edge, admin, device, _dir: dir }
    }
}

fn client(edge: &Edge, token: String) -> Client {
    Client::new(edge.http()).with_token(token).held_to(&contract::EDGE)
}

/// The answer to a patch that announces so many bytes; none of them need be sent.
async fn announced(edge: &Edge, bytes: u64) -> Reply {
    let (address, token) = (edge.http(), edge.admin_token().expect("its token"));
    let head = format!(
        "PATCH {DESIRED} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\n\
         Content-Type: application/json\r\nContent-Length: {bytes}\r\n\r\n"
    );
    let mut request = RawRequest::open(address).await.expect("a connection");
    request.send(head.as_bytes()).await.expect("it is sent");
    request.reply(LIMIT).await
}

async fn get(client: &mut Client, path: &str) -> Answer {
    client.get(path).await.expect("an answer")
}

fn etag(answer: &Answer) -> String {
    answer.headers["etag"].to_str().expect("a text").to_owned()
}

#[track_caller]
fn assert_refused(answer: &Answer, status: u16, code: &str) {
    let text = answer.text();
    assert_eq!(
        (answer.status.as_u16(), answer.problem().as_deref()),
        (status, Some(code)),
        "{text}"
    );
    let detail = answer.json()["detail"].as_str().map(str::len);
    assert!(detail.is_some_and(|length| length > 10), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_twin_is_patched_compared_watched_and_outlives_a_kill() {
    let Site { mut edge, mut admin, mut device, _dir } = Site::new();
    let watch = edge.command_started("twin", ["watch", "pump-"]).expect("it starts");
    // It follows from the moment on at which the node counts it.
    until_async("a follower", LIMIT, async || {
        let metrics = get(&mut admin, "/metrics").await.text();
        let route = "route=\"/v1/twins/events\"";
        metrics.lines().any(|line| line.contains(route)).then_some(())
    })
    .await;

    let first =
        patch(&mut admin, DESIRED, &json!({"mode": "auto", "net": {"mtu": 1400}}), &[]).await;
    assert_eq!(first.status, 200, "{}", first.text());
    assert_eq!(first.json(), json!({"mode": "auto", "net": {"mtu": 1400}}));
    watch
        .line("a change", LIMIT, |l| (l == "pump-1 desired net/mtu = 1400").then_some(()))
        .expect("it is told");

    let said = json!({"mode": "auto", "net": {"mtu": 1500}});
    assert_eq!(patch(&mut device, REPORTED, &said, &[]).await.status, 200);
    assert_eq!(patch(&mut admin, TAGS, &json!({"room": 3}), &[]).await.status, 200);
    let diff = get(&mut admin, &format!("{TWIN}/diff")).await.json();
    let differs = json!([{"path": "net/mtu", "desired": 1400, "reported": 1500}]);
    assert_eq!((&diff["in_sync"], &diff["differences"]), (&json!(false), &differs));

    let known = [("if-none-match", &*etag(&first))];
    let same = admin.send(Method::GET, DESIRED, &known, Vec::new().into()).await;
    assert_eq!(same.expect("an answer").status, 304);
    let whole = get(&mut admin, &format!("{TWIN}?metadata=true")).await.json();
    assert_eq!(whole["tags"]["values"], json!({"room": 3}));
    let by = &whole["reported"]["metadata"]["net/mtu"];
    assert_eq!((&by["author"], &by["role"]), (&json!("pump-1"), &json!("device")));
    assert_eq!(whole["desired"]["metadata"]["mode"]["role"], "edge");
    let own = get(&mut device, TWIN).await.json();
    assert_eq!(own["desired"]["values"], whole["desired"]["values"]);
    assert_eq!(own.get("tags"), None, "a device is not told what it is called");

    let second = patch(&mut admin, DESIRED, &json!({"mode": null}), &[]).await;
    edge.kill9().expect("it is reaped");
    println!("struck: killed behind the answer 1");
    edge.start().expect("it starts again");
    admin.move_to(edge.http());
    let after = get(&mut admin, DESIRED).await;
    assert_eq!((etag(&after), after.json()), (etag(&second), json!({"net": {"mtu": 1400}})));
    let past = get(&mut admin, &format!("{TWIN}/history")).await.json();
    let last = &past["changes"][0]["paths"];
    assert_eq!((&last[0]["from"], &last[0]["to"]), (&json!("auto"), &Value::Null));
    assert_eq!(past["changes"].as_array().map(Vec::len), Some(2));
    let newest = past["changes"][0]["change"].as_str().expect("a hash");
    let older = get(&mut admin, &format!("{TWIN}/history?before={newest}&limit=5")).await.json();
    assert_eq!(older["changes"][0], past["changes"][1]);
    edge.stop().expect("it stops in good order");
    edge.command("verify", []).expect("nothing is damaged");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_sixteen_patches_made_for_one_version_one_is_taken() {
    let Site { edge, mut admin, _dir, .. } = Site::new();
    let mut version = etag(&get(&mut admin, DESIRED).await);
    for round in 0..5 {
        let racing = (0..16).map(|racer| {
            let (mut client, version) = (edge_client(&edge), version.clone());
            tokio::spawn(async move {
                let change = json!({"round": round, "by": racer});
                patch(&mut client, DESIRED, &change, &[("if-match", &version)]).await
            })
        });
        let mut answers = Vec::new();
        for racing in racing.collect::<Vec<_>>() {
            answers.push(racing.await.expect("an answer"));
        }
        let (won, lost): (Vec<_>, Vec<_>) = answers.iter().partition(|a| a.status == 200);
        assert_eq!(won.len(), 1, "round {round}");
        for answer in lost {
            assert_refused(answer, 412, "precondition-failed");
            assert_eq!(etag(answer), etag(won[0]), "what is there now is told");
        }
        version = etag(won[0]);
        assert_eq!(get(&mut admin, DESIRED).await.json(), won[0].json());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_taken_is_refused_with_its_place() {
    let Site { edge, mut admin, _dir, .. } = Site::new();
    let before = etag(&patch(&mut admin, DESIRED, &json!({"mode": "auto"}), &[]).await);
    let a = &mut admin;
    for (change, at, code) in [
        (json!([1]), "", "not-an-object"),
        (json!(null), "", "not-an-object"),
        (json!({"a": {"b/c": 1}}), "/a/b~1c", "invalid-path"),
        (
            json!({"a": {"b": {"c": {"d": {"e": {"f": {"g": {"h": {"i": 1}}}}}}}}}),
            "/a/b/c/d/e/f/g/h/i",
            "invalid-path",
        ),
        (json!({"a": "x".repeat(4097)}), "/a", "value-too-long"),
    ] {
        let answer = patch(a, DESIRED, &change, &[]).await;
        assert_refused(&answer, 422, code);
        assert_eq!(answer.json()["at"], at);
    }
    let keys = |from: u32, to: u32, value: &str| -> Value {
        (from..to)
            .map(|n| (format!("k{n:03}"), json!(value)))
            .collect::<serde_json::Map<_, _>>()
            .into()
    };
    assert_refused(&patch(a, DESIRED, &keys(0, 201, ""), &[]).await, 422, "too-many-keys");
    assert_refused(
        &patch(a, DESIRED, &keys(0, 90, &"x".repeat(4_000)), &[]).await,
        413,
        "document-full",
    );
    assert_eq!(announced(&edge, (8 << 20) + 1).await, Reply::Status(413));
    let json = [("content-type", "application/json")];
    let broken = a.send(Method::PATCH, DESIRED, &json, "{\"a\":".into()).await;
    assert_refused(&broken.expect("an answer"), 400, "malformed");
    let media = [("content-type", "text/plain")];
    let media = a.send(Method::PATCH, DESIRED, &media, "{}".into()).await.expect("an answer");
    assert_refused(&media, 415, "unsupported-media-type");
    let no_tag = patch(a, DESIRED, &json!({}), &[("if-match", "abc")]).await;
    assert_refused(&no_tag, 400, "malformed");
    let stale = patch(a, DESIRED, &json!({"x": 1}), &[("if-match", "\"abc\"")]).await;
    assert_refused(&stale, 412, "precondition-failed");
    let first = patch(a, DESIRED, &json!({"x": 1}), &[("if-none-match", "*")]).await;
    assert_refused(&first, 412, "precondition-failed");
    assert_refused(&get(a, &format!("{TWIN}/history?before=00")).await, 400, "invalid-parameter");
    assert_refused(&get(a, &format!("{TWIN}/history?limit=0")).await, 400, "invalid-parameter");
    assert_refused(&get(a, &format!("{TWIN}/history?section=x")).await, 400, "invalid-parameter");
    assert_refused(&get(a, "/v1/twins?limit=1001").await, 400, "invalid-parameter");
    let place = [("last-event-id", "x")];
    let place = a.send(Method::GET, "/v1/twins/events", &place, Vec::new().into()).await;
    assert_refused(&place.expect("an answer"), 400, "malformed");
    for unknown in ["/v1/devices/none/twin", "/v1/devices/none/twin/tags", "/v1/devices/a%20b/twin"]
    {
        assert_refused(&get(a, unknown).await, 404, "not-found");
    }
    let unknown = get(a, "/v1/devices/none/twin").await;
    assert!(unknown.text().contains("token new --device"), "{}", unknown.text());
    assert_refused(&get(a, &format!("{TWIN}/wanted")).await, 404, "not-found");
    let after = get(a, DESIRED).await;
    assert_eq!((etag(&after), after.json()), (before, json!({"mode": "auto"})), "nothing changed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_token_sees_and_writes_what_it_is_for() {
    let Site { edge, mut admin, mut device, _dir } = Site::new();
    edge.device_token("pump-2").expect("another device");
    let mut ingest = client(&edge, edge.ingest_token().expect("a token"));
    let made = admin.post_json("/v1/tokens", &json!({"scope": "viewer"})).await.expect("an answer");
    let viewer = made.json()["token"].as_str().expect("a token").to_owned();
    let mut viewer = client(&edge, viewer);
    let mut nobody = Client::new(edge.http()).held_to(&contract::EDGE);

    let change = json!({"x": 1});
    assert_eq!(patch(&mut admin, TAGS, &change, &[]).await.status, 200);
    assert_refused(&patch(&mut admin, REPORTED, &change, &[]).await, 403, "out-of-scope");
    assert_eq!(patch(&mut device, REPORTED, &change, &[]).await.status, 200);
    for path in [DESIRED, TAGS] {
        assert_refused(&patch(&mut device, path, &change, &[]).await, 403, "out-of-scope");
    }
    let other = "/v1/devices/pump-2/twin/reported";
    assert_refused(&patch(&mut device, other, &change, &[]).await, 403, "foreign-device");
    assert_refused(&get(&mut device, "/v1/devices/pump-2/twin").await, 403, "foreign-device");
    assert_refused(&get(&mut device, TAGS).await, 403, "out-of-scope");
    let past = format!("{TWIN}/history?section=tags");
    assert_refused(&get(&mut device, &past).await, 403, "out-of-scope");
    assert_refused(&get(&mut device, "/v1/twins").await, 403, "out-of-scope");
    assert_eq!(get(&mut device, REPORTED).await.json(), change);
    for path in [DESIRED, REPORTED, TAGS] {
        for client in [&mut ingest, &mut viewer] {
            assert_refused(&patch(client, path, &change, &[]).await, 403, "out-of-scope");
        }
        assert_refused(&patch(&mut nobody, path, &change, &[]).await, 401, "no-token");
        assert_eq!(get(&mut viewer, path).await.status, 200);
        assert_refused(&get(&mut ingest, path).await, 403, "out-of-scope");
    }
    let listed = get(&mut viewer, "/v1/twins?prefix=pump-").await.json();
    assert_eq!(listed["twins"].as_array().map(Vec::len), Some(1), "{listed}");
    assert_eq!(listed["twins"][0]["desired"], Value::Null);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hub_has_twins_of_devices_that_a_gateway_named_and_writes_what_is_desired() {
    let mut fleet = FleetPlan::new(1, 0x7319).build().expect("a fleet");
    let (mut edge, mut hub) = (edge_client(&fleet.edges[0]), hub_client(&fleet.hub));
    let unknown = get(&mut hub, TWIN).await;
    assert_refused(&unknown, 404, "not-found");
    let reading = json!({"device": "pump-1", "metric": "flow", "value": 1});
    assert_eq!(edge.post_json("/v1/readings", &reading).await.expect("an answer").status, 200);
    until_async("the device at the hub", LIMIT, async || {
        let answer = hub.get(TWIN).await.expect("an answer");
        (answer.status == 200).then_some(())
    })
    .await;
    let lines = fleet.hub.command("twin", ["set", "pump-1", "mode=auto", "net/mtu=1400"]);
    assert!(lines.expect("it is set").iter().any(|line| line.contains("net/mtu")));
    let desired = get(&mut hub, DESIRED).await;
    assert_eq!(desired.json(), json!({"mode": "auto", "net": {"mtu": 1400}}));
    until_async("what is desired, at the gateway", LIMIT, async || {
        let there = edge.get(DESIRED).await.expect("an answer");
        (etag(&there) == etag(&desired) && there.json() == desired.json()).then_some(())
    })
    .await;
    let reported = patch(&mut hub, REPORTED, &json!({"mode": "auto"}), &[]).await;
    assert_refused(&reported, 403, "read-only-here");
    let token = fleet.edges[0].device_token("pump-1").expect("a token");
    let said = patch(&mut client(&fleet.edges[0], token), REPORTED, &json!({"rpm": 5}), &[]).await;
    until_async("what the device reports, at the hub", LIMIT, async || {
        let there = hub.get(REPORTED).await.expect("an answer");
        (etag(&there) == etag(&said) && there.json() == json!({"rpm": 5})).then_some(())
    })
    .await;
    let whole = look(&mut hub, &format!("{TWIN}?metadata=true")).await;
    let by = &whole["desired"]["metadata"]["mode"];
    assert_eq!((&by["author"], &by["role"]), (&json!("hub"), &json!("hub")));
    let by = &whole["reported"]["metadata"]["rpm"];
    assert_eq!((&by["author"], &by["role"]), (&json!("pump-1"), &json!("device")));

    let last = patch(&mut hub, DESIRED, &json!({"mode": "off"}), &[]).await;
    fleet.hub.kill9().expect("it is reaped");
    println!("struck: killed behind the answer 1");
    fleet.restart_hub().expect("it starts again");
    hub.move_to(fleet.hub.http());
    let after = get(&mut hub, DESIRED).await;
    assert_eq!((etag(&after), after.json()), (etag(&last), last.json()));
    let told = fleet.hub.command("twin", ["history", "pump-1"]).expect("a history");
    assert!(told.iter().any(|line| line.contains("\"auto\" -> \"off\"")), "{told:?}");
    let told = fleet.hub.command("twin", ["diff", "pump-1"]).expect("a difference");
    assert!(told.iter().any(|line| line.starts_with("mode") && line.contains("(nothing)")));
}

#[test]
fn a_large_site_has_its_twins_in_little_memory_and_loses_none() {
    many(Scale::test(1));
}
