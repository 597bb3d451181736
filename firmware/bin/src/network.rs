//! The network of the emulated board: an address by DHCP, names by DNS, TCP to the gateway.
//!
//! Nothing on the board is random. What must differ between devices and between starts, ports and
//! waits, is drawn from a hash of the device's id and the number of its start.

use bsp_an385::ethernet::Ethernet;
use core::net::Ipv4Addr;
use embassy_executor::Spawner;
use embassy_net::dns::DnsQueryType;
use embassy_net::tcp::TcpSocket;
use embassy_net::{Config, DhcpConfig, IpAddress, Runner, Stack, StackResources};
use embassy_time::Duration;
use holdfast_firmware::uplink::Dial;
use static_cell::StaticCell;

/// Sockets: DHCP's, DNS's and the one to the gateway.
const SOCKETS: usize = 3;
/// Bytes that may wait in a socket, each way: more than the longest message.
const SOCKET_BYTES: usize = 1536;
/// After so long a silence a connection is dead. It is longer than a keep alive, or a connection
/// with nothing to say would be ended before it is tried.
const SILENCE: Duration = Duration::from_secs(60);

/// 64 bits that differ between devices and between starts: FNV-1a (Fowler, Noll, Vo, 1991).
pub fn seed(device: &str, boot: u64) -> u64 {
    let bytes = device.bytes().chain(boot.to_le_bytes());
    let step = |hash: u64, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    bytes.fold(0xcbf2_9ce4_8422_2325, step)
}

/// An address of the board's own: one that its user gives out, not its maker.
pub fn address(device: &str) -> [u8; 6] {
    let [a, b, c, d, e, ..] = seed(device, 0).to_be_bytes();
    [0x02, a, b, c, d, e]
}

/// The way to the gateway.
pub struct Network {
    stack: Stack<'static>,
    received: [u8; SOCKET_BYTES],
    sent: [u8; SOCKET_BYTES],
    drawn: u64,
}

#[embassy_executor::task]
async fn drive(mut runner: Runner<'static, &'static mut Ethernet>) -> ! {
    runner.run().await
}

/// Turns it on; `drawn` is the [`seed`] of this start.
pub fn open(spawner: Spawner, ethernet: Ethernet, drawn: u64) -> Option<Network> {
    static ETHERNET: StaticCell<Ethernet> = StaticCell::new();
    static RESOURCES: StaticCell<StackResources<SOCKETS>> = StaticCell::new();
    let ethernet = ETHERNET.init(ethernet);
    let resources = RESOURCES.init_with(StackResources::new);
    let config = Config::dhcpv4(DhcpConfig::default());
    let (stack, runner) = embassy_net::new(ethernet, config, resources, drawn);
    spawner.spawn(drive(runner).ok()?);
    Some(Network { stack, received: [0; SOCKET_BYTES], sent: [0; SOCKET_BYTES], drawn })
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
