//! The link proxy between plain UDP sockets.

use std::collections::BTreeSet;
use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use holdfast_tests::net::{Direction, Link, Profile, Proxy};
use holdfast_tests::wait::until;

const LIMIT: Duration = Duration::from_secs(20);

/// Answers every packet to where it came from, until its socket's owner is done with it: a packet
/// "stop" ends it.
fn echo() -> (SocketAddr, std::thread::JoinHandle<BTreeSet<SocketAddr>>) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    let thread = std::thread::spawn(move || {
        let mut seen = BTreeSet::new();
        let mut buffer = [0; 2048];
        loop {
            let (len, from) = socket.recv_from(&mut buffer).unwrap();
            if &buffer[..len] == b"stop" {
                return seen;
            }
            seen.insert(from);
            socket.send_to(&buffer[..len], from).unwrap();
        }
    });
    (address, thread)
}

fn stop(echo: SocketAddr) {
    UdpSocket::bind("127.0.0.1:0").unwrap().send_to(b"stop", echo).unwrap();
}

fn client(proxy: &Proxy) -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.connect(proxy.address()).unwrap();
    socket.set_read_timeout(Some(LIMIT)).unwrap();
    socket
}

fn ask(socket: &UdpSocket, text: &str) -> String {
    socket.send(text.as_bytes()).unwrap();
    let mut buffer = [0; 2048];
    let len = socket.recv(&mut buffer).unwrap();
    String::from_utf8_lossy(&buffer[..len]).into_owned()
}

#[test]
fn many_clients_are_kept_apart_and_a_moved_target_is_followed() {
    let (first, first_thread) = echo();
    let proxy = Proxy::start(first, 1).unwrap();
    let (a, b) = (client(&proxy), client(&proxy));
    assert_eq!(ask(&a, "from a"), "from a");
    assert_eq!(ask(&b, "from b"), "from b");

    let (second, second_thread) = echo();
    proxy.set_target(second);
    assert_eq!(ask(&a, "to the second"), "to the second");
    assert_eq!(ask(&b, "to the second"), "to the second");
    proxy.rebind();
    assert_eq!(ask(&b, "from a new port"), "from a new port");

    stop(first);
    stop(second);
    assert_eq!(first_thread.join().unwrap().len(), 2, "one source address for each client");
    assert_eq!(second_thread.join().unwrap().len(), 3, "b was bound again");
}

#[test]
fn a_cut_lets_nothing_through_until_it_is_healed() {
    let (target, _thread) = echo();
    let proxy = Proxy::start(target, 1).unwrap();
    let socket = client(&proxy);
    assert_eq!(ask(&socket, "before"), "before");

    proxy.cut();
    socket.send(b"during").unwrap();
    until("the cut to strike", LIMIT, || (proxy.counts().up.cut == 1).then_some(()));
    assert_eq!(proxy.counts().up.delivered, 1);

    proxy.set_link(Link::Perfect);
    assert_eq!(ask(&socket, "after"), "after");
    stop(target);
}

#[test]
fn every_impairment_strikes_and_is_counted() {
    let (target, _thread) = echo();
    let proxy = Proxy::start(target, 7).unwrap();
    let hostile = Direction {
        delay: Duration::from_millis(1),
        loss: 0.2,
        duplicate: 0.2,
        reorder: 0.2,
        ..Direction::default()
    };
    proxy.set_profile(Profile::both(hostile));
    let socket = client(&proxy);
    for n in 0..400u32 {
        socket.send(&n.to_be_bytes()).unwrap();
        // Paced by the proxy's own count, so that no socket buffer overflows uncounted.
        until("the proxy to take the packet", LIMIT, || {
            (proxy.counts().up.received > u64::from(n)).then_some(())
        });
    }
    let counts = until("the last echo", LIMIT, || {
        let counts = proxy.counts();
        let all_up = counts.up.delivered + counts.up.dropped() == 400 + counts.up.duplicated;
        let all_down = counts.down.received == counts.up.delivered
            && counts.down.delivered + counts.down.dropped()
                == counts.down.received + counts.down.duplicated;
        (all_up && all_down).then_some(counts)
    });
    for way in [counts.up, counts.down] {
        assert!(way.lost > 0 && way.duplicated > 0 && way.reordered > 0, "{way:?}");
        assert_eq!(way.bytes, way.delivered * 4);
        assert!(way.delayed > 0);
    }
    stop(target);
}
