//! Whole conversations with a gateway that is a script.

use super::*;
use crate::chip::Outside;
use crate::memory::Identity;
use crate::mqtt::wire::Wire;
use crate::node::About;
use crate::record::Record;
use crate::samples::Look;
use core::cell::RefCell;
use embassy_futures::select::{Either, select};
use embassy_futures::{block_on, yield_now};
use holdfast_core::device::health::Reason;
use holdfast_core::reading::Text;
use holdfast_core::{Quality, Value};
use std::format;
use std::string::{String, ToString};
use std::vec::Vec;

const WAIT: Duration = Duration::from_millis(200);
const TABLE: &[Sensor] = &[Sensor { number: 1, metric: "le\"vel", unit: "m", every_ms: 1_000 }];
const TOOK_ALL: &str = r#"{"accepted":1,"duplicates":0,"rejected":[]}"#;

std::thread_local! {
    static TOLD: RefCell<Vec<Event>> = const { RefCell::new(Vec::new()) };
}

const ABOUT: About = About {
    firmware: "0.1.0",
    reason: Reason::POWER,
    sensors: &[],
    tell: |event| TOLD.with_borrow_mut(|told| told.push(event)),
};

/// A way to a gateway that is called a few times.
struct Calls<'c>(&'c RefCell<Vec<Wire>>);

impl Dial for Calls<'_> {
    type Io<'c>
        = Wire
    where
        Self: 'c;

    async fn dial(&mut self, gateway: &str) -> Option<Wire> {
        assert_eq!(gateway, "10.0.2.2:8484");
        let wire = Wire::new(&[]);
        self.0.borrow_mut().push(wire.clone());
        Some(wire)
    }

    fn entropy(&mut self) -> u64 {
        u64::MAX
    }
}

struct Gateway<'g>(&'g RefCell<Vec<Wire>>);

impl Gateway<'_> {
    fn wire(&self) -> Wire {
        self.0.borrow().last().expect("it was called").clone()
    }

    /// The next request: its first line and its body. The head is looked at here.
    async fn hear(&self) -> (String, String) {
        while self.0.borrow().last().is_none_or(|wire| wire.told_len() == 0) {
            yield_now().await;
        }
        let told = String::from_utf8(self.wire().told()).unwrap();
        let (head, body) = told.split_once("\r\n\r\n").unwrap();
        let mut lines = head.lines();
        let first = lines.next().unwrap().to_string();
        let fields: Vec<&str> = lines.collect();
        let length = format!("Content-Length: {}", body.len());
        for field in ["Host: 10.0.2.2:8484", "Authorization: Bearer hft_1", &length] {
            assert!(fields.contains(&field), "{head}");
        }
        (first, body.to_string())
    }

    fn answer(&self, status: u16, body: &str) {
        let media = if status == 200 { "application/json" } else { "application/problem+json" };
        self.answer_as(status, media, body);
    }

    fn answer_as(&self, status: u16, media: &str, body: &str) {
        let date = "Fri, 15 Jan 2027 08:00:00 GMT";
        let length = body.len();
        let all = format!("HTTP/1.1 {status} So\r\nDate: {date}\r\nContent-Type: {media}\r\n");
        let all = format!("{all}Content-Length: {length}\r\n\r\n{body}");
        all.as_bytes().chunks(11).for_each(|piece| self.wire().say(&[piece]));
    }

    /// Hears how the device is, and takes it.
    async fn welcome(&self) -> String {
        let (first, body) = self.hear().await;
        assert_eq!(first, "PATCH /v1/devices/pump-1/twin/reported HTTP/1.1");
        self.answer(200, "{}");
        body
    }

    /// Hears samples.
    async fn samples(&self) -> String {
        let (first, body) = self.hear().await;
        assert_eq!(first, "POST /v1/readings HTTP/1.1");
        body
    }
}

fn record(boot: u64, sequence: u64) -> Record<'static> {
    let (quality, value) = (Quality::GOOD, Value::Int(7));
    Record { boot, sequence, uptime_ms: 0, sensor: 1, quality, value }
}

/// Has a device that has kept `samples` post to a gateway until that has no more to say; what the
/// device said of it, and how many samples are left.
fn talk(
    samples: &[Record<'_>],
    gateway: impl AsyncFn(&Node<Outside>, &Gateway<'_>),
) -> (Vec<Event>, usize) {
    TOLD.take();
    let identity = Identity::new("pump-1", "hft_1", "10.0.2.2:8484").unwrap();
    let mut log = Outside::new(4).open();
    log.count_start().unwrap();
    let node = Node::start(log, ABOUT, Some(identity), None).ok().unwrap();
    assert_eq!(node.boot, 2);
    for sample in samples {
        node.log.borrow_mut().push(sample).unwrap();
    }
    let pace = Pace { linger: Duration::from_millis(20), ..Pace::default() };
    let (calls, mut room) = (RefCell::default(), Room::new());
    let mut dial = Calls(&calls);
    let up = run(&node, TABLE, &mut dial, pace, &mut room);
    match block_on(select(gateway(&node, &Gateway(&calls)), up)) {
        Either::First(()) => {}
        Either::Second(_) => panic!("the device ended"),
    }
    let mut left = 0;
    let count = |_: &Record<'_>| {
        left += 1;
        Look::On
    };
    node.log.borrow_mut().look(count).unwrap();
    (TOLD.take(), left)
}

#[test]
fn samples_are_posted_and_freed_by_the_answer() {
    let (events, left) = talk(&[record(2, 1)], async |node, gateway| {
        let health = gateway.welcome().await;
        let losses = r#""dropped":0,"damaged":0,"rejected":0"#;
        let is = r#""boot":2,"reason":"power","firmware":"0.1.0""#;
        assert_eq!(health, format!("{{\"device\":{{{is},{losses}}}}}"));
        let body = gateway.samples().await;
        let front = r#"[{"metric":"le\"vel","unit":"m","value":7,"age_ms":"#;
        let rest = body.strip_prefix(front).unwrap();
        assert_eq!(rest.split_once(',').unwrap().1, r#""boot":2,"seq":1}]"#);
        assert_ne!(node.log.borrow().used(), 0, "it is kept until then");
        gateway.answer(200, TOOK_ALL);
        Timer::after(WAIT).await;
        assert_eq!(gateway.wire().told_len(), 0, "there is no more");
        assert_eq!(gateway.0.borrow().len(), 1, "over one connection");
        node.log.borrow_mut().push(&record(2, 2)).unwrap();
        assert!(gateway.samples().await.contains(r#""seq":2"#));
    });
    assert_eq!(events, [Event::Connected, Event::Freed { boot: 2, sequence: 1 }]);
    assert_eq!(left, 1);
}

#[test]
fn a_lost_answer_costs_nothing_and_what_is_posted_again_has_the_same_names() {
    let (events, left) = talk(&[record(2, 1)], async |_, gateway| {
        gateway.welcome().await;
        gateway.samples().await;
        gateway.wire().end();
        assert!(gateway.samples().await.contains(r#""boot":2,"seq":1}"#));
        assert_eq!(gateway.0.borrow().len(), 2);
        gateway.wire().end();
        assert!(gateway.samples().await.contains(r#""boot":2,"seq":1}"#));
        gateway.answer(503, "");
        assert!(gateway.samples().await.contains(r#""boot":2,"seq":1}"#));
    });
    // Over the first there was an answer before.
    assert_eq!(events, [Event::Lost, Event::Refused]);
    assert_eq!(left, 1);
}

#[test]
fn each_boot_goes_by_itself_with_the_times_that_are_known() {
    let samples = [record(1, 1), record(2, 1), record(2, 2)];
    let (_, left) = talk(&samples, async |node, gateway| {
        gateway.welcome().await;
        let body = gateway.samples().await;
        assert!(body.contains(r#""time":0,"boot":1,"seq":1}]"#), "nobody knows when: {body}");
        gateway.answer(200, TOOK_ALL);
        let body = gateway.samples().await;
        assert!(body.contains(r#""boot":2,"seq":1},"#) && body.ends_with(r#""seq":2}]"#), "{body}");
        // This boot's time is known for the next one.
        let anchor = node.log.borrow_mut().anchor(2).unwrap().unwrap();
        let now = anchor + node.uptime_ms() as i64;
        assert!((now - 1_800_000_000_000).unsigned_abs() < 60_000, "{now}");
        gateway.answer(200, TOOK_ALL);
        Timer::after(WAIT).await;
    });
    assert_eq!(left, 0);
}

#[test]
fn what_is_never_taken_is_given_up_and_counted_and_what_is_not_taken_now_is_kept() {
    for (status, given_up) in [(400, true), (422, true), (404, false), (507, false)] {
        let (events, left) = talk(&[record(2, 1)], async |node, gateway| {
            gateway.welcome().await;
            gateway.samples().await;
            gateway.answer(status, "{}");
            Timer::after(WAIT).await;
            assert_eq!(node.note_losses().unwrap().rejected, u64::from(given_up), "{status}");
        });
        assert_eq!((events, left), ([Event::Refused].to_vec(), usize::from(!given_up)));
    }
    let (events, left) = talk(&[record(2, 1)], async |node, gateway| {
        gateway.welcome().await;
        gateway.samples().await;
        gateway.answer(200, r#"{"accepted":0,"duplicates":0,"rejected":[{"index":0}]}"#);
        while node.note_losses().unwrap().rejected == 0 {
            yield_now().await;
        }
        assert!(gateway.welcome().await.contains(r#""rejected":1"#), "the gateway hears of it");
    });
    assert_eq!((events.len(), left), (2, 0));
}

#[test]
fn what_answers_in_the_place_of_a_gateway_frees_nothing() {
    for (status, body) in [(200, "<html>Please log in</html>"), (200, ""), (400, "{}")] {
        let (events, left) = talk(&[record(2, 1)], async |_, gateway| {
            gateway.welcome().await;
            gateway.samples().await;
            gateway.answer_as(status, "text/html", body);
            assert!(gateway.samples().await.contains(r#""boot":2,"seq":1}"#));
        });
        assert_eq!((events, left), ([Event::Refused].to_vec(), 1), "{status} {body}");
    }
}

#[test]
fn a_device_that_is_not_let_in_says_so_and_keeps_its_samples() {
    let (events, left) = talk(&[record(2, 1)], async |_, gateway| {
        gateway.hear().await;
        gateway.answer(401, "{}");
        gateway.samples().await;
        gateway.answer(401, "{}");
        Timer::after(WAIT).await;
    });
    assert_eq!((events, left), ([Event::Denied].to_vec(), 1));
}

#[test]
fn a_value_of_any_kind_is_json() {
    let value = |value| Record { value, quality: Quality::BAD, sensor: 9, ..record(2, 1) };
    for (kept, written) in [
        (Value::float(0.1).unwrap(), "0.1"),
        (Value::float(1e300).unwrap(), "1e300"),
        (Value::Int(i64::MIN), "-9223372036854775808"),
        (Value::Bool(true), "true"),
        (Value::Text(Text::new("a\\\n\u{e4}").unwrap()), "\"a\\\\\\u000a\u{e4}\""),
    ] {
        let mut out = [0; 200];
        let times = Times { boot: 3, uptime_ms: 0, anchor: Some(5) };
        let mut body = Body::new(&mut out, TABLE, 2, times);
        assert_eq!(body.take(&value(kept)), Look::On);
        let (len, 1, false) = body.finish().unwrap() else { panic!("one sample") };
        let rest = r#","time":5,"quality":"bad","boot":2,"seq":1}]"#;
        let whole = format!("[{{\"metric\":\"sensor-9\",\"value\":{written}{rest}");
        assert_eq!(core::str::from_utf8(&out[..len]).unwrap(), whole);
    }
}

#[test]
fn a_full_body_ends_with_a_whole_sample() {
    let mut all = [0; 1024];
    let times = Times { boot: 2, uptime_ms: 0, anchor: None };
    let mut body = Body::new(&mut all, TABLE, 2, times);
    assert_eq!(body.take(&record(2, 1)), Look::On);
    let (one, ..) = body.finish().unwrap();
    // Of two there is one bracket less than twice as many.
    for (len, fit) in [(one, 1), (one * 2 - 2, 1), (one * 2 - 1, 2)] {
        let mut out = [0; 1024];
        let mut body = Body::new(&mut out[..len], TABLE, 2, times);
        let taken = (1..).take_while(|n| body.take(&record(2, *n)) == Look::On).count();
        let (length, last, has_more) = body.finish().unwrap();
        assert_eq!((taken, last, has_more), (fit, fit as u64, true), "{len}");
        assert_eq!(out[length - 2..length], *b"}]");
    }
}
