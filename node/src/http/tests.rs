//! The shell against clients that behave badly, over real sockets.

use super::*;
use crate::problem::Problem;
use axum::extract::connect_info::ConnectInfo;
use axum::routing::{get, post};
use serde::Deserialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// A service on loopback, ended when dropped.
struct Served {
    address: SocketAddr,
    stop: CancellationToken,
}

impl Drop for Served {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Window {
    points: Option<u32>,
}

fn router() -> Router {
    Router::new()
        .route(
            "/hello",
            get(|ConnectInfo(peer): ConnectInfo<SocketAddr>| async move {
                assert!(peer.ip().is_loopback());
                "hello"
            }),
        )
        .route("/length", post(|RawBody(body): RawBody| async move { body.len().to_string() }))
        .route("/content", post(|Content(body): Content| async move { body.len().to_string() }))
        .route("/panic", get(|| async { panic!("secret inside") as () }))
        .route("/deaf", post(|| async { "did not listen" }))
        .route("/window", get(|Query(w): Query<Window>| async move { format!("{:?}", w.points) }))
        .route("/number/{n}", get(|Path(n): Path<u32>| async move { n.to_string() }))
        .route("/json", post(|Json(v): Json<Vec<u32>>| async move { v.len().to_string() }))
        .route("/echo", get(echo))
        .route("/large", get(|| async { vec![b'x'; 64 << 20] }))
        .route("/refuse", get(|| async { Err::<(), _>(Problem::no_room("full")) }))
}

/// Sends back what comes once the connection is no longer HTTP.
async fn echo(asked: WebSocket) -> Result<Switching, Problem> {
    let (answer, switched) = asked.speak("mqtt")?;
    tokio::spawn(async move {
        let mut stream = switched.stream().await.expect("the connection");
        let mut buffer = [0; 64];
        while let Ok(read @ 1..) = stream.read(&mut buffer).await {
            stream.write_all(&buffer[..read]).await.expect("it is taken");
        }
    });
    Ok(answer)
}

const HANDSHAKE: &str = "GET /echo HTTP/1.1\r\nhost: x\r\nconnection: keep-alive, Upgrade\r\n\
    upgrade: websocket\r\nsec-websocket-version: 13\r\n\
    sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-protocol: mqttv3.1, mqtt\r\n\r\n";

fn short() -> Limits {
    let soon = Duration::from_millis(200);
    Limits {
        body_bytes: 1_000,
        header_read: soon,
        body_chunk: soon,
        body_total: soon * 3,
        idle: soon,
        write_stall: soon,
        ..Limits::default()
    }
}

async fn serve(limits: Limits) -> Served {
    let listener = bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let (address, stop) = (listener.address(), CancellationToken::new());
    tokio::spawn(listener.serve(router(), limits, stop.clone()));
    Served { address, stop }
}

async fn connect(served: &Served) -> TcpStream {
    TcpStream::connect(served.address).await.unwrap()
}

/// Reads until the other side closes.
async fn rest(stream: &mut TcpStream) -> String {
    let mut all = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut all)).await;
    let _closed_or_reset = read.expect("the connection is closed in time");
    String::from_utf8_lossy(&all).into_owned()
}

async fn ask(served: &Served, request: &str) -> String {
    let mut stream = connect(served).await;
    stream.write_all(request.as_bytes()).await.unwrap();
    rest(&mut stream).await
}

async fn get_once(served: &Served, path: &str) -> String {
    ask(served, &format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")).await
}

async fn is_well(served: &Served) {
    assert!(get_once(served, "/hello").await.ends_with("hello"));
}

fn assert_problem(answer: &str, status: u16, words: &str) {
    assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
    assert!(answer.contains("content-type: application/problem+json"), "{answer}");
    assert!(answer.contains("x-request-id: "), "{answer}");
    assert!(answer.contains(words), "{answer}");
}

#[tokio::test]
async fn unknown_routes_and_methods_are_problems() {
    let served = serve(short()).await;
    assert_problem(&get_once(&served, "/nowhere").await, 404, "`/nowhere`");
    let answer = get_once(&served, "/length").await;
    assert_problem(&answer, 405, "GET is not possible here");
    assert!(answer.contains("allow: POST"), "{answer}");
    assert_problem(&get_once(&served, "/refuse").await, 507, "urn:holdfast:problem:no-room");
}

#[tokio::test]
async fn a_compressed_body_is_inflated_up_to_the_limit_of_bodies() {
    use std::io::Write as _;
    let served = serve(Limits { body_bytes: 100_000, ..short() }).await;
    let post = async |coding: &str, zeros: usize| {
        let level = flate2::Compression::best();
        let mut body = flate2::write::GzEncoder::new(Vec::new(), level);
        body.write_all(&vec![0; zeros]).unwrap();
        let body = body.finish().unwrap();
        let head = format!(
            "POST /content HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\
             content-encoding: {coding}\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        let mut stream = connect(&served).await;
        stream.write_all(&[head.as_bytes(), &body].concat()).await.unwrap();
        rest(&mut stream).await
    };
    assert!(post("gzip", 100_000).await.ends_with("100000"));
    let bomb = post("gzip", 50_000_000).await;
    assert_problem(&bomb, 413, "when inflated");
    assert!(bomb.contains("\"max\":100000"), "{bomb}");
    let coding = post("zstd", 10).await;
    assert_problem(&coding, 415, "`zstd`");
    assert!(coding.contains("accept-encoding: gzip, identity"), "{coding}");
    is_well(&served).await;
}

#[tokio::test]
async fn parameters_are_named_in_problems() {
    let served = serve(short()).await;
    assert!(get_once(&served, "/window?points=7").await.ends_with("Some(7)"));
    assert_problem(&get_once(&served, "/window?points=x").await, 400, "\"at\":\"points\"");
    assert_problem(&get_once(&served, "/window?pints=7").await, 400, "\"at\":\"pints\"");
    assert_problem(&get_once(&served, "/number/x").await, 400, "`x`");
    let json = |kind: &str, body: &str| {
        let length = body.len();
        format!(
            "POST /json HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: {kind}\r\n\
             content-length: {length}\r\n\r\n{body}"
        )
    };
    assert!(ask(&served, &json("application/json; charset=utf-8", "[1,2]")).await.ends_with('2'));
    assert_problem(&ask(&served, &json("text/plain", "[]")).await, 415, "application/json");
    assert_problem(&ask(&served, &json("application/json", "[1")).await, 400, "line 1, column 2");
    assert_problem(&ask(&served, &json("application/json", "[-1]")).await, 422, "invalid-body");
}

#[tokio::test]
async fn a_panic_is_contained_and_told_nobody() {
    let served = serve(short()).await;
    let answer = get_once(&served, "/panic").await;
    assert_problem(&answer, 500, "urn:holdfast:problem:internal");
    assert!(!answer.contains("secret"), "{answer}");
    is_well(&served).await;
}

#[tokio::test]
async fn a_request_keeps_its_own_id_if_it_is_plain() {
    let served = serve(short()).await;
    let with = |id: &str| {
        format!("GET /hello HTTP/1.1\r\nhost: x\r\nx-request-id: {id}\r\nconnection: close\r\n\r\n")
    };
    assert!(ask(&served, &with("abc-7")).await.contains("x-request-id: abc-7\r\n"));
    assert!(!ask(&served, &with("a b")).await.contains("a b"));
}

#[tokio::test]
async fn slow_headers_and_idle_connections_are_closed() {
    let served = serve(short()).await;
    let mut slow = connect(&served).await;
    slow.write_all(b"GET /hello HT").await.unwrap();
    let mut silent = connect(&served).await;
    let mut idle = connect(&served).await;
    idle.write_all(b"GET /hello HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    is_well(&served).await;
    assert_eq!(rest(&mut slow).await, "");
    assert_eq!(rest(&mut silent).await, "");
    assert!(rest(&mut idle).await.ends_with("hello"));
}

#[tokio::test]
async fn slow_bodies_are_answered_and_closed() {
    let served = serve(short()).await;
    let head = "POST /length HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\nabc";
    assert_problem(&ask(&served, head).await, 408, "did not arrive within 200ms");

    // One byte at a time keeps every chunk in time, but not the whole.
    let mut stream = connect(&served).await;
    stream.write_all(head.as_bytes()).await.unwrap();
    let (mut reader, mut writer) = stream.into_split();
    let drip = tokio::spawn(async move {
        while writer.write_all(b"x").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    let mut answer = vec![0; 12];
    reader.read_exact(&mut answer).await.unwrap();
    assert_eq!(answer, b"HTTP/1.1 408");
    drop(reader);
    drip.abort();
    is_well(&served).await;
}

#[tokio::test]
async fn oversized_bodies_are_refused_announced_or_not() {
    let served = serve(short()).await;
    let announced = "POST /length HTTP/1.1\r\nhost: x\r\ncontent-length: 1001\r\n\r\n";
    assert_problem(&ask(&served, announced).await, 413, "\"max\":1000");
    let chunked = format!(
        "POST /length HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n\
         3e8\r\n{}\r\n1\r\nx\r\n",
        "x".repeat(1_000)
    );
    assert_problem(&ask(&served, &chunked).await, 413, "more than 1000 bytes");
    let fits = format!(
        "POST /length HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 1000\r\n\r\n{}",
        "x".repeat(1_000)
    );
    assert!(ask(&served, &fits).await.ends_with("1000"));
}

#[tokio::test]
async fn truncated_and_misframed_bodies_harm_nobody() {
    let served = serve(short()).await;
    let mut gone = connect(&served).await;
    gone.write_all(b"POST /length HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\nab")
        .await
        .unwrap();
    drop(gone);
    let chunk = "POST /length HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n";
    assert_problem(&ask(&served, chunk).await, 400, "not framed correctly");
    let unread = "POST /deaf HTTP/1.1\r\nhost: x\r\ncontent-length: 900\r\n\r\nab";
    assert!(ask(&served, unread).await.contains("did not listen"));
    is_well(&served).await;
}

#[tokio::test]
async fn oversized_headers_and_noise_are_refused() {
    let served = serve(short()).await;
    let header = format!("GET /hello HTTP/1.1\r\nx: {}\r\n\r\n", "y".repeat(40_000));
    assert!(ask(&served, &header).await.starts_with("HTTP/1.1 431"));
    assert!(ask(&served, "\x16\x03\x01 no http\r\n\r\n").await.starts_with("HTTP/1.1 400"));
    is_well(&served).await;
}

#[tokio::test]
async fn a_client_that_does_not_take_its_answer_is_closed() {
    let served = serve(Limits { connections: 1, ..short() }).await;
    let mut deaf = connect(&served).await;
    deaf.write_all(b"GET /large HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    // There is room for one connection only, so this is served once the other is closed.
    is_well(&served).await;
}

#[tokio::test]
async fn connections_over_the_limit_wait_their_turn() {
    let idle = Duration::from_secs(60);
    let served = serve(Limits { connections: 2, idle, header_read: idle, ..short() }).await;
    let mut held = connect(&served).await;
    let other = connect(&served).await;
    held.write_all(b"GET /hello HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let mut answer = [0; 15];
    held.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200 OK");
    let mut waiting = connect(&served).await;
    waiting
        .write_all(b"GET /hello HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        .await
        .unwrap();
    let early = tokio::time::timeout(Duration::from_millis(100), waiting.read_exact(&mut answer));
    assert!(early.await.is_err(), "served beyond the limit");
    drop(other);
    assert!(rest(&mut waiting).await.ends_with("hello"));
}

/// When the power of a site comes back, all of its devices connect within moments. Those that do
/// not fit in the kernel's queue believe in a connection that is not there.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_crowd_that_comes_at_once_stands_in_line() {
    const CROWD: usize = 600;
    let listener = bind(([127, 0, 0, 1], 0).into()).await.unwrap();
    let come = (0..CROWD).map(|_| TcpStream::connect(listener.address()));
    let crowd = futures::future::try_join_all(come).await.unwrap();
    let port = format!(":{:04X} 00000000:0000 0A", listener.address().port());
    let table = std::fs::read_to_string("/proc/self/net/tcp").unwrap();
    let line = table.lines().find(|line| line.contains(&port)).expect("the listener");
    let queues = line.split_whitespace().nth(4).unwrap();
    let waiting = usize::from_str_radix(queues.split(':').nth(1).unwrap(), 16).unwrap();
    assert_eq!(waiting, CROWD, "waiting to be accepted: {line}");
    drop(crowd);
}

#[tokio::test]
async fn stopping_lets_requests_end_and_closes_idle_connections() {
    let minute = Duration::from_secs(60);
    let limits = Limits { idle: minute, body_chunk: minute, body_total: minute, ..short() };
    let listener = bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let served = Served { address: listener.address(), stop: CancellationToken::new() };
    let ended = tokio::spawn(listener.serve(router(), limits, served.stop.clone()));
    let mut idle = connect(&served).await;
    idle.write_all(b"GET /hello HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let mut busy = connect(&served).await;
    busy.write_all(b"POST /length HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\n").await.unwrap();
    busy.write_all(b"content-length: 4\r\n\r\n").await.unwrap();
    let mut go_on = [0; 25];
    busy.read_exact(&mut go_on).await.unwrap();
    assert_eq!(&go_on, b"HTTP/1.1 100 Continue\r\n\r\n");
    served.stop.cancel();
    assert!(rest(&mut idle).await.ends_with("hello"));
    busy.write_all(b"abcd").await.unwrap();
    assert!(rest(&mut busy).await.ends_with('4'));
    tokio::time::timeout(Duration::from_secs(20), ended).await.expect("drained").unwrap();
    assert!(TcpStream::connect(served.address).await.is_err());
}

#[tokio::test]
async fn a_taken_address_is_named_in_the_error() {
    let taken = bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let error = bind(taken.address()).await.unwrap_err().to_string();
    assert!(error.contains(&taken.address().to_string()), "{error}");
}

async fn exactly(stream: &mut TcpStream, expected: &[u8]) {
    let mut read = vec![0; expected.len()];
    stream.read_exact(&mut read).await.unwrap();
    assert_eq!(String::from_utf8_lossy(&read), String::from_utf8_lossy(expected));
}

#[tokio::test]
async fn a_connection_that_left_http_has_left_its_time_limits() {
    let served = serve(short()).await;
    let mut left = connect(&served).await;
    // What comes in one piece with the request is not lost.
    left.write_all(format!("{HANDSHAKE}first").as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        answer.push(left.read_u8().await.unwrap());
    }
    let answer = String::from_utf8(answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
    for header in [
        "connection: upgrade\r\n",
        "upgrade: websocket\r\n",
        "sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n",
        "sec-websocket-protocol: mqtt\r\n",
    ] {
        assert!(answer.contains(header), "{answer}");
    }
    exactly(&mut left, b"first").await;
    // One that stays silent from now on is closed; by then the other would be, too.
    assert_eq!(rest(&mut connect(&served).await).await, "");
    left.write_all(b"second").await.unwrap();
    exactly(&mut left, b"second").await;
}

#[tokio::test]
async fn whoever_left_http_takes_no_place_of_it() {
    let served = serve(Limits { connections: 1, ..Limits::default() }).await;
    let mut left = connect(&served).await;
    left.write_all(HANDSHAKE.as_bytes()).await.unwrap();
    is_well(&served).await;
    exactly(&mut left, b"HTTP/1.1 101 ").await;
}

#[tokio::test]
async fn a_handshake_that_is_none_is_told_what_is_wrong() {
    let served = serve(short()).await;
    let answer = get_once(&served, "/echo").await;
    assert_problem(&answer, 426, "upgrade-required");
    assert!(answer.contains("upgrade: websocket\r\n"), "{answer}");
    for (from, to, status, words) in [
        ("upgrade: websocket", "upgrade: h2c", 426, "upgrade-required"),
        ("version: 13", "version: 8", 400, "sec-websocket-version"),
        ("dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZQ==", 400, "sec-websocket-key"),
        ("protocol: mqttv3.1, mqtt", "protocol: mqttv3.1", 400, "not among `mqttv3.1`"),
        ("sec-websocket-protocol: mqttv3.1, mqtt", "x: y", 400, "no subprotocol"),
    ] {
        assert!(HANDSHAKE.contains(from));
        let answer = ask(&served, &HANDSHAKE.replace(from, to)).await;
        assert_problem(&answer, status, words);
    }
}
