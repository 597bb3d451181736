//! The proxy's loop: sockets on both sides of two lanes.

use std::collections::HashMap;
use std::future::pending;
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use bytes::Bytes;
use tokio::net::UdpSocket;
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;

use super::counters::Counters;
use super::fate::Way;
use super::lane::Lane;
use super::lock;
use super::profile::Profile;

/// Largest UDP payload.
const DATAGRAM: usize = 65_536;
/// Client addresses mapped at a time; a new one beyond that evicts the longest known.
const CLIENTS: usize = 1_024;
/// Packets taken from one side before due ones are delivered again.
const BURST: usize = 64;
/// Receive buffer asked for, so that bursts are lost by the link's rules and not by the kernel's.
static RECEIVE_BUFFER: libc::c_int = 8 << 20;
/// Answers that may wait for the loop; beyond that their sockets wait in the kernel.
const ANSWERS: usize = 1_024;

#[derive(Debug)]
pub(super) struct Shared {
    pub seed: u64,
    pub target: Mutex<SocketAddr>,
    pub profile: Mutex<Profile>,
    pub up: Counters,
    pub down: Counters,
    /// Raised by each rebinding; a mapping of an earlier generation is not used again.
    pub generation: AtomicU64,
    pub changed: Notify,
    pub stop: Notify,
}

type Answer = (SocketAddr, Bytes);

struct Mapping {
    socket: Arc<UdpSocket>,
    reader: JoinHandle<()>,
    born: u64,
    generation: u64,
}

impl Drop for Mapping {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

struct Relay {
    front: Arc<UdpSocket>,
    shared: Arc<Shared>,
    up: Lane<SocketAddr>,
    down: Lane<SocketAddr>,
    clients: HashMap<SocketAddr, Mapping>,
    born: u64,
    answers: mpsc::Sender<Answer>,
}

pub(super) async fn run(front: Arc<UdpSocket>, shared: Arc<Shared>) {
    let (answers, mut inbox) = mpsc::channel(ANSWERS);
    let mut relay = Relay {
        up: Lane::new(shared.seed, Way::Up),
        down: Lane::new(shared.seed, Way::Down),
        front: Arc::clone(&front),
        shared: Arc::clone(&shared),
        clients: HashMap::new(),
        born: 0,
        answers,
    };
    let mut buffer = vec![0; DATAGRAM];
    loop {
        relay.deliver().await;
        let due = [relay.up.next_due(), relay.down.next_due()].into_iter().flatten().min();
        tokio::select! {
            () = shared.stop.notified() => return,
            () = shared.changed.notified() => {}
            received = front.recv_from(&mut buffer) => {
                // An error here is the echo of an earlier send to a port that is gone.
                if let Ok((len, client)) = received {
                    relay.take_up(client, &buffer[..len]);
                }
                // A burst is taken at once, up to a bound, so that deliveries stay punctual.
                for _ in 0..BURST {
                    let Ok((len, client)) = front.try_recv_from(&mut buffer) else { break };
                    relay.take_up(client, &buffer[..len]);
                }
            }
            Some(answer) = inbox.recv() => {
                relay.take_down(answer);
                for _ in 0..BURST {
                    let Ok(answer) = inbox.try_recv() else { break };
                    relay.take_down(answer);
                }
            }
            () = wait_until(due) => {}
        }
    }
}

async fn wait_until(due: Option<Instant>) {
    match due {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => pending().await,
    }
}

impl Relay {
    fn take_up(&mut self, client: SocketAddr, payload: &[u8]) {
        let way = lock(&self.shared.profile).up;
        let payload = Bytes::copy_from_slice(payload);
        self.up.enter(Instant::now(), client, payload, &way, &self.shared.up);
    }

    fn take_down(&mut self, (client, payload): Answer) {
        let way = lock(&self.shared.profile).down;
        self.down.enter(Instant::now(), client, payload, &way, &self.shared.down);
    }

    /// Sends everything that is due. A failed send is a packet lost on the wire, which UDP allows.
    async fn deliver(&mut self) {
        let now = Instant::now();
        let profile = *lock(&self.shared.profile);
        while let Some(packet) = self.up.leave(now, &profile.up, &self.shared.up) {
            let target = *lock(&self.shared.target);
            if let Some(socket) = self.socket_of(packet.route).await {
                let _ = socket.send_to(&packet.payload, target).await;
            }
        }
        while let Some(packet) = self.down.leave(now, &profile.down, &self.shared.down) {
            let _ = self.front.send_to(&packet.payload, packet.route).await;
        }
    }

    /// The client's own socket towards the target.
    async fn socket_of(&mut self, client: SocketAddr) -> Option<Arc<UdpSocket>> {
        let generation = self.shared.generation.load(SeqCst);
        if let Some(mapping) = self.clients.get(&client).filter(|m| m.generation == generation) {
            return Some(Arc::clone(&mapping.socket));
        }
        if self.clients.len() >= CLIENTS {
            let oldest = self.clients.iter().min_by_key(|(_, m)| m.born).map(|(c, _)| *c);
            oldest.and_then(|c| self.clients.remove(&c));
        }
        let socket = UdpSocket::from_std(open_socket().ok()?.0).ok()?;
        let socket = Arc::new(socket);
        let reader = tokio::spawn(read_answers(Arc::clone(&socket), client, self.answers.clone()));
        self.born += 1;
        let mapping = Mapping { socket: Arc::clone(&socket), reader, born: self.born, generation };
        self.clients.insert(client, mapping);
        Some(socket)
    }
}

async fn read_answers(socket: Arc<UdpSocket>, client: SocketAddr, answers: mpsc::Sender<Answer>) {
    let mut buffer = vec![0; DATAGRAM];
    loop {
        if let Ok((len, _)) = socket.recv_from(&mut buffer).await {
            let payload = Bytes::copy_from_slice(&buffer[..len]);
            if answers.send((client, payload)).await.is_err() {
                return;
            }
        }
    }
}

/// A socket on a free loopback port, and its address.
pub(super) fn open_socket() -> io::Result<(std::net::UdpSocket, SocketAddr)> {
    let socket = std::net::UdpSocket::bind(("127.0.0.1", 0))?;
    socket.set_nonblocking(true)?;
    // Beyond the system's limit only root may go; whoever may not gets what the system allows.
    for option in [libc::SO_RCVBUF, libc::SO_RCVBUFFORCE] {
        // SAFETY: the option's value is an integer that outlives the call.
        unsafe {
            let size = size_of::<libc::c_int>() as libc::socklen_t;
            let value = (&raw const RECEIVE_BUFFER).cast();
            libc::setsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, option, value, size);
        }
    }
    let address = socket.local_addr()?;
    Ok((socket, address))
}
