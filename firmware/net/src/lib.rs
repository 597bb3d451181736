//! A device's way to its gateway on any board whose Ethernet `embassy-net` drives: an address by
//! DHCP, names by DNS, TCP.
//!
//! The board brings the driver and a task that runs it ([`configure`]), and a number of its own for
//! each start: by its generator of random numbers where it has one, else by [`seed`]. Ports and
//! waits are drawn from it, so that devices that start together do not call together.

#![no_std]

use core::net::Ipv4Addr;
use embassy_net::dns::DnsQueryType;
use embassy_net::driver::Driver;
use embassy_net::tcp::TcpSocket;
use embassy_net::{Config, DhcpConfig, IpAddress, Runner, Stack, StackResources};
use embassy_time::Duration;
use holdfast_firmware::uplink::Dial;

/// Sockets: DHCP's, DNS's and the one to the gateway.
pub const SOCKETS: usize = 3;
/// Bytes that may wait in a socket, each way: more than the longest message.
const SOCKET_BYTES: usize = 1536;
/// After so long a silence a connection is dead. It is longer than a keep alive, or a connection
/// with nothing to say would be ended before it is tried.
const SILENCE: Duration = Duration::from_secs(60);

/// 64 bits that differ between names and between starts: FNV-1a (Fowler, Noll, Vo, 1991).
#[must_use]
pub fn seed(name: &str, start: u64) -> u64 {
    let bytes = name.bytes().chain(start.to_le_bytes());
    let step = |hash: u64, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    bytes.fold(0xcbf2_9ce4_8422_2325, step)
}

/// An Ethernet address for a board of this name: one that its user gives out, not its maker.
#[must_use]
pub fn address(name: &str) -> [u8; 6] {
    let [a, b, c, d, e, ..] = seed(name, 0).to_be_bytes();
    [0x02, a, b, c, d, e]
}

/// Sets the network up on a driver: the way to the gateway, and what a task of the board is to run
/// for ever. `drawn` differs between devices and between starts.
pub fn configure<D: Driver>(
    driver: D,
    resources: &'static mut StackResources<SOCKETS>,
    drawn: u64,
) -> (Network, Runner<'static, D>) {
    let config = Config::dhcpv4(DhcpConfig::default());
    let (stack, runner) = embassy_net::new(driver, config, resources, drawn);
    (Network { stack, received: [0; SOCKET_BYTES], sent: [0; SOCKET_BYTES], drawn }, runner)
}

/// The way to the gateway.
pub struct Network {
    stack: Stack<'static>,
    received: [u8; SOCKET_BYTES],
    sent: [u8; SOCKET_BYTES],
    drawn: u64,
}

impl Network {
    async fn resolve(&self, host: &str) -> Option<IpAddress> {
        if let Ok(address) = host.parse::<Ipv4Addr>() {
            return Some(address.into());
        }
        let found = self.stack.dns_query(host, DnsQueryType::A).await.ok()?;
        found.first().copied()
    }
}

impl Dial for Network {
    type Io<'c> = TcpSocket<'c>;

    async fn dial(&mut self, gateway: &str) -> Option<TcpSocket<'_>> {
        let (host, port) = gateway.rsplit_once(':')?;
        let port: u16 = port.parse().ok()?;
        self.stack.wait_config_up().await;
        let address = self.resolve(host).await?;
        let mut socket = TcpSocket::new(self.stack, &mut self.received, &mut self.sent);
        socket.set_timeout(Some(SILENCE));
        socket.connect((address, port)).await.ok()?;
        Some(socket)
    }

    fn entropy(&mut self) -> u64 {
        // SplitMix (Steele, Lea, Flood, 2014): the next of a row that the seed began.
        self.drawn = self.drawn.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.drawn;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}
