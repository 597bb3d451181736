//! A UDP proxy that impairs a link: delay, loss, duplication, reordering, rate, full cut.
//!
//! It stands between one edge and the hub. Each client address gets its own socket towards the
//! target, as behind a NAT, so connections are kept apart and the target can answer. One thread
//! of its own runs it: a scenario that blocks its test never stalls the link. The profile and the
//! target can be changed at any time; which packets are struck is decided by [`decide`] from the
//! seed and the packet's number.

mod counters;
mod fate;
mod lane;
mod profile;
mod relay;

pub use counters::{Counts, LinkCounts};
pub use fate::{Fate, Way, decide};
pub use profile::{Direction, Link, Profile};

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use relay::Shared;
use tokio::net::UdpSocket;
use tokio::sync::Notify;

/// A running proxy; dropping it closes its sockets.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Proxy {
    /// Starts an unimpaired link from a free loopback port to `target`.
    ///
    /// # Errors
    /// When the socket or the thread cannot be made.
    pub fn start(target: SocketAddr, seed: u64) -> io::Result<Self> {
        let (front, address) = relay::open_socket()?;
        let shared = Arc::new(Shared {
            seed,
            target: Mutex::new(target),
            profile: Mutex::new(Profile::default()),
            up: counters::Counters::default(),
            down: counters::Counters::default(),
            generation: AtomicU64::new(0),
            changed: Notify::new(),
            stop: Notify::new(),
        });
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let for_thread = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name("link".into()).spawn(move || {
            runtime.block_on(async {
                let front = UdpSocket::from_std(front).expect("the runtime takes a bound socket");
                relay::run(Arc::new(front), for_thread).await;
            });
        })?;
        Ok(Self { address, shared, thread: Some(thread) })
    }

    /// Where clients send to.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Sends to another address from now on: the hub came back at another port. Clients keep
    /// their sockets, so the target sees the same source addresses.
    pub fn set_target(&self, target: SocketAddr) {
        *lock(&self.shared.target) = target;
    }

    /// Changes what the link does; packets under way keep the times they were given.
    pub fn set_profile(&self, profile: Profile) {
        *lock(&self.shared.profile) = profile;
        self.shared.changed.notify_one();
    }

    /// Changes to a link of the ladder.
    pub fn set_link(&self, link: Link) {
        self.set_profile(link.profile());
    }

    /// Cuts the link both ways, also for packets under way.
    pub fn cut(&self) {
        self.set_profile(Profile::cut());
    }

    /// The present profile.
    #[must_use]
    pub fn profile(&self) -> Profile {
        *lock(&self.shared.profile)
    }

    /// Forgets every client's socket, as a NAT that was restarted: the next packet of a client
    /// reaches the target from a new port.
    pub fn rebind(&self) {
        self.shared.generation.fetch_add(1, SeqCst);
    }

    /// What really happened so far.
    #[must_use]
    pub fn counts(&self) -> LinkCounts {
        LinkCounts { up: self.shared.up.read(), down: self.shared.down.read() }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.stop.notify_one();
        if let Some(thread) = self.thread.take() {
            // A panic of the relay has been printed by its own thread; drop must not add one.
            let _ = thread.join();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
