//! Whole conversations, over a stream that gives a byte at a time to a device that is disturbed
//! whenever it waits: whatever may drop a wait has dropped it.

use super::*;
use crate::chip::Outside;
use crate::memory::Identity;
use crate::mqtt::wire::Wire;
use crate::node::About;
use crate::record::Record;
use core::cell::{Cell, RefCell};
use core::future::poll_fn;
use core::pin::pin;
use core::sync::atomic::{AtomicUsize, Ordering};
use core::task::{Context, Waker};
use embassy_futures::select::{Either3, select3};
use embassy_futures::{block_on, yield_now};
use holdfast_core::codec::Reader;
use holdfast_core::device::gateway::{Time, Watermark};
use holdfast_core::device::health::Reason;
use holdfast_core::device::{self, Envelopes};
use holdfast_core::{Quality, Value};
use std::sync::Arc;
use std::task::Wake;
use std::vec::Vec;

const PATIENCE: Duration = Duration::from_millis(200);
const CONNACK: &[u8] = b"\x20\x03\x00\x00\x00";
const SUBACK: &[u8] = b"\x90\x04\x00\x01\x00\x00";

std::thread_local! {
    static TOLD: RefCell<Vec<Event>> = const { RefCell::new(Vec::new()) };
}

const ABOUT: About = About {
    firmware: "0.1.0",
    reason: Reason::POWER,
    sensors: &[],
    tell: |event| TOLD.with_borrow_mut(|told| told.push(event)),
};

/// A way to a gateway that is there once.
struct Once(Option<Wire>);

impl Dial for Once {
    type Io<'c> = Wire;

    async fn dial(&mut self, _: &str) -> Option<Wire> {
        self.0.take()
    }

    fn entropy(&mut self) -> u64 {
        u64::MAX
    }
}

struct Gateway<'g> {
    wire: &'g Wire,
    /// Whether the device is left alone.
    is_quiet: Cell<bool>,
    wakes: Arc<Wakes>,
}

/// How often the device was woken.
#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl Gateway<'_> {
    /// The next packet that it is told: its first byte and its body.
    async fn hear(&self) -> (u8, Vec<u8>) {
        while self.wire.told_len() == 0 {
            yield_now().await;
        }
        // A packet is written at once, so it is there as a whole.
        let told = self.wire.told();
        let mut reader = Reader::new(&told[1..]);
        let body = reader.bytes(2_000).unwrap().to_vec();
        assert_eq!(reader.rest(), b"", "one packet");
        (told[0], body)
    }

    /// The message that it is told next: its number, and kinds and payloads of its envelopes.
    async fn message(&self) -> (u8, Vec<(u8, Vec<u8>)>) {
        let (first, body) = self.hear().await;
        assert_eq!(first, 0x32);
        let rest = body.strip_prefix(b"\0\x17devices/pump-1/envelope\0").unwrap();
        let envelopes = Envelopes::new(&rest[2..]).map(|envelope| envelope.unwrap());
        (rest[0], envelopes.map(|envelope| (envelope.kind, envelope.payload.to_vec())).collect())
    }

    /// Says it byte by byte.
    fn say(&self, packet: &[u8]) {
        packet.chunks(1).for_each(|byte| self.wire.say(&[byte]));
    }

    fn acknowledge(&self, id: u8) {
        self.say(&[0x40, 2, 0, id]);
    }

    /// Says an envelope.
    fn tell(&self, kind: u8, payload: &[u8]) {
        let mut envelope = [0; 64];
        let len = device::put(&mut envelope, kind, payload).unwrap();
        self.say(&[&[0x30, len as u8 + 4, 0, 1, b't', 0], &envelope[..len]].concat());
    }

    /// Lets the device in, and hears how it is.
    async fn welcome(&self) {
        assert_eq!(self.hear().await.0, 0x10);
        self.say(CONNACK);
        assert_eq!(self.hear().await.0, 0x82);
        self.say(SUBACK);
        let (id, said) = self.message().await;
        assert_eq!(said.iter().map(|(kind, _)| *kind).collect::<Vec<_>>(), [2, 3, 6]);
        self.acknowledge(id);
        let mut time = heapless::Vec::<u8, 16>::new();
        Time { unix_ms: 1_800_000_000_000, is_trusted: true }.encode(&mut time).unwrap();
        self.tell(device::TIME, &time);
    }

    fn free(&self, boot: u64, sequence: u64) {
        let mut mark = heapless::Vec::<u8, 16>::new();
        Watermark { boot, sequence }.encode(&mut mark).unwrap();
        self.tell(device::WATERMARK, &mark);
    }

    async fn after(&self, wait: Duration) {
        let until = embassy_time::Instant::now() + wait;
        while embassy_time::Instant::now() < until {
            yield_now().await;
        }
    }
}

fn record(sequence: u64) -> Record<'static> {
    let (quality, value) = (Quality::GOOD, Value::Int(7));
    Record { boot: 1, sequence, uptime_ms: 0, sensor: 1, quality, value }
}

/// Has a device with a sample talk to a gateway until that has no more to say; what the device said
/// of it.
fn talk(gateway: impl AsyncFn(&Node<Outside>, &Gateway<'_>)) -> Vec<Event> {
    TOLD.take();
    let identity = Identity::new("pump-1", "hft_1", "10.0.2.2:1883").unwrap();
    let node = Node::start(Outside::new(4).open(), ABOUT, Some(identity), None).ok().unwrap();
    node.log.borrow_mut().push(&record(1)).unwrap();
    let wire = Wire::new(&[]);
    let pace = Pace { patience: PATIENCE, linger: Duration::from_millis(20), ..Pace::default() };
    let (mut dial, mut room) = (Once(Some(wire.clone())), Room::new());
    let wakes = Arc::<Wakes>::default();
    let waker = Waker::from(wakes.clone());
    let line = Gateway { wire: &wire, is_quiet: Cell::new(false), wakes };
    let disturb = async {
        loop {
            if !line.is_quiet.get() {
                node.news.signal(());
            }
            yield_now().await;
        }
    };
    let mut up = pin!(run(&node, &[], &mut dial, pace, &mut room));
    let up = poll_fn(|_| up.as_mut().poll(&mut Context::from_waker(&waker)));
    match block_on(select3(gateway(&node, &line), up, disturb)) {
        Either3::First(()) => TOLD.take(),
        _ => panic!("the device ended"),
    }
}

#[test]
fn samples_go_up_and_are_freed() {
    let events = talk(async |_, gateway| {
        gateway.welcome().await;
        let (id, said) = gateway.message().await;
        assert_eq!(said[0].0, device::SAMPLES);
        gateway.acknowledge(id);
        gateway.free(1, 1);
        gateway.after(PATIENCE * 2).await;
        assert_eq!(gateway.wire.told_len(), 0, "there is no more");
    });
    assert_eq!(events, [Event::Connected, Event::Freed { boot: 1, sequence: 1 }]);
}

#[test]
fn a_message_without_a_word_for_it_is_sent_again_once_it_was_acknowledged() {
    talk(async |_, gateway| {
        gateway.welcome().await;
        let (id, said) = gateway.message().await;
        gateway.after(PATIENCE * 3).await;
        assert_eq!(gateway.wire.told_len(), 0, "the one before is not acknowledged");
        gateway.acknowledge(id);
        let (again, same) = gateway.message().await;
        assert_eq!((again, same), (id + 1, said));
    });
}

#[test]
fn what_comes_next_waits_for_the_acknowledgement_of_what_is_done() {
    talk(async |node, gateway| {
        gateway.welcome().await;
        let (id, _) = gateway.message().await;
        gateway.free(1, 1);
        gateway.say(b"\x32\x08\0\x01t\0\x07\0ab");
        assert_eq!(gateway.hear().await, (0x40, [0, 7].to_vec()), "it is acknowledged meanwhile");
        gateway.is_quiet.set(true);
        gateway.after(PATIENCE).await;
        let before = gateway.wakes.0.load(Ordering::Relaxed);
        gateway.after(PATIENCE).await;
        let woken = gateway.wakes.0.load(Ordering::Relaxed) - before;
        assert!(woken < 3, "it sleeps meanwhile: {woken}");
        node.log.borrow_mut().push(&record(2)).unwrap();
        gateway.after(PATIENCE).await;
        assert_eq!(gateway.wire.told_len(), 0);
        gateway.acknowledge(id);
        assert_eq!(gateway.message().await.0, id + 1);
    });
}

#[test]
fn what_cannot_be_read_is_given_up() {
    let refused = |reason: u8| {
        talk(async |node, gateway| {
            gateway.welcome().await;
            let (id, _) = gateway.message().await;
            gateway.say(&[0x40, 3, 0, id, reason]);
            gateway.after(PATIENCE).await;
            let is_given_up = node.log.borrow().used() == 0;
            assert_eq!(is_given_up, reason == 0x99, "{reason:#x}");
        })
    };
    assert_eq!(refused(0x99), [Event::Connected, Event::Refused]);
    assert_eq!(refused(0x97), [Event::Connected, Event::Refused]);
    let stopped = talk(async |_, gateway| {
        gateway.welcome().await;
        gateway.say(b"\xe0\x01\x8b");
        gateway.after(PATIENCE).await;
    });
    assert_eq!(stopped[..2], [Event::Connected, Event::Lost]);
}

#[test]
fn a_device_that_is_not_let_in_says_so() {
    let events = talk(async |_, gateway| {
        gateway.hear().await;
        gateway.say(b"\x20\x03\0\x87\0");
        gateway.after(PATIENCE).await;
    });
    assert_eq!(events, [Event::Denied]);
}
