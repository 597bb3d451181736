//! Which addresses this machine has, for a listener on all of them.
//!
//! libp2p's transport over QUIC tells of each address of such a listener, and asks a crate of this
//! name for them. The public one subscribes to netlink through five crates that know all of it,
//! half a megabyte of the gateway's program. This one takes its place in the workspace, with the
//! part of its interface that libp2p uses: it asks libc, at first and then once a minute. Nobody
//! waits for a later look: connections come in at an address before it is told of, and where a hub
//! is found is said by its configuration (`docs/adr/0014-interfaces-without-netlink.md`).

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::{io, ptr};

/// What has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IfEvent {
    /// The machine has this address.
    Up(IpNet),
    /// The machine has this address no more.
    Down(IpNet),
}

/// An address of an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IpNet(IpAddr);

impl IpNet {
    /// The address itself.
    #[must_use]
    pub const fn addr(&self) -> IpAddr {
        self.0
    }
}

/// The watcher for programs on tokio.
#[cfg(feature = "tokio")]
pub mod tokio {
    use super::{Book, IfEvent, addresses};
    use std::io;
    use std::task::{Context, Poll, ready};
    use std::time::Duration;
    use tokio::time::{Interval, MissedTickBehavior, interval};

    /// Between two looks.
    const PERIOD: Duration = Duration::from_secs(60);

    /// Tells of addresses that come and go, all that there are at first.
    #[derive(Debug)]
    pub struct IfWatcher {
        book: Book,
        next: Interval,
    }

    impl IfWatcher {
        /// Begins to look; inside a runtime.
        ///
        /// # Errors
        ///
        /// None: whoever cannot look is told when it is asked.
        pub fn new() -> io::Result<Self> {
            let mut next = interval(PERIOD);
            next.set_missed_tick_behavior(MissedTickBehavior::Delay);
            Ok(Self { book: Book::default(), next })
        }

        /// What has changed next.
        ///
        /// # Errors
        ///
        /// When the system does not tell its addresses.
        pub fn poll_if_event(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<IfEvent>> {
            loop {
                if let Some(event) = self.book.changed.pop() {
                    return Poll::Ready(Ok(event));
                }
                ready!(self.next.poll_tick(cx));
                self.book.look(addresses()?);
            }
        }
    }
}

/// What is known, and what is still to be told of it.
#[derive(Debug, Default)]
struct Book {
    known: BTreeSet<IpAddr>,
    changed: Vec<IfEvent>,
}

impl Book {
    fn look(&mut self, found: BTreeSet<IpAddr>) {
        let gone = self.known.difference(&found).map(|address| IfEvent::Down(IpNet(*address)));
        let new = found.difference(&self.known).map(|address| IfEvent::Up(IpNet(*address)));
        self.changed.extend(new.chain(gone));
        self.known = found;
    }
}

/// All addresses of all interfaces.
fn addresses() -> io::Result<BTreeSet<IpAddr>> {
    let mut list = ptr::null_mut();
    // SAFETY: the call writes one pointer there, and is asked whether it did.
    if unsafe { libc::getifaddrs(&raw mut list) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let mut found = BTreeSet::new();
    let mut next = list;
    // SAFETY: the list is the system's and stays as it is until it is freed below; each entry
    // points to the next one, the last one to none.
    while let Some(entry) = unsafe { next.as_ref() } {
        // SAFETY: what an entry points to lives as long as the list.
        found.extend(unsafe { address(entry.ifa_addr) });
        next = entry.ifa_next;
    }
    // SAFETY: it came from `getifaddrs` and nothing refers to it any more.
    unsafe { libc::freeifaddrs(list) };
    Ok(found)
}

/// The address in a socket's address, if it is one of IP.
///
/// # Safety
///
/// `socket` is null or points to a socket's address of the size that its family has.
unsafe fn address(socket: *const libc::sockaddr) -> Option<IpAddr> {
    // SAFETY: the caller vouches for it.
    let family = unsafe { socket.as_ref() }?.sa_family;
    match i32::from(family) {
        libc::AF_INET => {
            // SAFETY: of this family, it is one of these; how it is aligned is not promised.
            let socket = unsafe { socket.cast::<libc::sockaddr_in>().read_unaligned() };
            Some(Ipv4Addr::from(u32::from_be(socket.sin_addr.s_addr)).into())
        }
        libc::AF_INET6 => {
            // SAFETY: as above.
            let socket = unsafe { socket.cast::<libc::sockaddr_in6>().read_unaligned() };
            Some(Ipv6Addr::from(socket.sin6_addr.s6_addr).into())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::{Book, IfEvent, IpNet, addresses};
    use std::net::{IpAddr, Ipv4Addr};

    #[test]
    fn the_loopback_is_among_what_the_system_tells() {
        let found = addresses().expect("the system tells its addresses");
        assert!(found.contains(&Ipv4Addr::LOCALHOST.into()), "{found:?}");
    }

    #[test]
    fn what_came_and_what_went_is_told_once() {
        let [one, two, three] = [1, 2, 3].map(|last| IpAddr::from([192, 0, 2, last]));
        let mut book = Book::default();
        book.look([one, two].into());
        assert_eq!(book.changed, [one, two].map(|address| IfEvent::Up(IpNet(address))));
        book.changed.clear();
        book.look([one, two].into());
        assert_eq!(book.changed, []);
        book.look([two, three].into());
        assert_eq!(book.changed, [IfEvent::Up(IpNet(three)), IfEvent::Down(IpNet(one))]);
    }

    #[cfg(feature = "tokio")]
    #[tokio::test]
    async fn a_watcher_tells_of_every_address_at_once() {
        let mut watcher = super::tokio::IfWatcher::new().expect("a watcher");
        let mut left = addresses().expect("the system tells its addresses");
        while !left.is_empty() {
            let event = std::future::poll_fn(|cx| watcher.poll_if_event(cx)).await;
            let Ok(IfEvent::Up(net)) = event else { panic!("{event:?}") };
            assert!(left.remove(&net.addr()), "{net:?} is told twice, or is none");
        }
    }
}
