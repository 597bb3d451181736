//! The network of the emulated board: an address by DHCP, a connection to the host, bytes there and
//! back, and all of it again after the cable was out.
//!
//! `port` is where the host sends back what it gets. The host pulls the cable when it reads
//! `pull the cable`, and plugs it in when it reads `plug it in`.

#![no_std]
#![no_main]

use bsp_an385::arguments::Arguments;
use bsp_an385::ethernet::Ethernet;
use bsp_an385::{executor, exit, panicked, time};
use core::panic::PanicInfo;
use cortex_m_rt::entry;
use cortex_m_semihosting::hprintln;
use embassy_executor::Spawner;
use embassy_futures::join::join;
use embassy_net::tcp::{TcpReader, TcpSocket, TcpWriter};
use embassy_net::{Config, Ipv4Address, Runner, Stack, StackResources};
use embassy_time::{Duration, Instant, Ticker};
use embedded_io_async::Write;
use static_cell::{ConstStaticCell, StaticCell};

/// The host's own address as the emulator's network has it.
const HOST: Ipv4Address = Ipv4Address::new(10, 0, 2, 2);
const ADDRESS: [u8; 6] = [0x02, 0, 0, 0, 0, 1];
const BYTES: usize = 64 * 1024;

static ETHERNET: StaticCell<Ethernet> = StaticCell::new();
static RESOURCES: ConstStaticCell<StackResources<3>> = ConstStaticCell::new(StackResources::new());

#[entry]
fn main() -> ! {
    time::start();
    executor::run(|spawner| spawner.spawn(all(spawner).expect("it is spawned once")))
}

#[embassy_executor::task]
async fn all(spawner: Spawner) {
    let arguments = Arguments::read().unwrap_or_else(|error| panic!("{error}"));
    let port = arguments.value("port").unwrap_or_else(|error| panic!("{error}"));
    let ethernet = ETHERNET.init(Ethernet::new(ADDRESS).expect("the controller is there"));
    let config = Config::dhcpv4(Default::default());
    let (stack, runner) = embassy_net::new(ethernet, config, RESOURCES.take(), 1);
    spawner.spawn(network(runner).expect("it is spawned once"));
    spawner.spawn(tick().expect("it is spawned once"));

    echo(stack, port).await;
    hprintln!("pull the cable");
    stack.wait_link_down().await;
    stack.wait_config_down().await;
    assert!(!stack.is_link_up());
    hprintln!("plug it in");
    // The stack forgets the host's hardware address with its own, and asks for one no more often
    // than once in a second: this connection takes longer than the first one.
    echo(stack, port).await;
    exit(true)
}

#[embassy_executor::task]
async fn network(mut runner: Runner<'static, &'static mut Ethernet>) {
    runner.run().await;
}

/// The emulator notices what a connection brings only when something wakes it: without this, up to
/// a second later.
#[embassy_executor::task]
async fn tick() {
    let mut ticker = Ticker::every(Duration::from_millis(10));
    loop {
        ticker.next().await;
    }
}

/// Gets an address, connects, sends, and reads back the same.
async fn echo(stack: Stack<'static>, port: u16) {
    let start = Instant::now();
    stack.wait_config_up().await;
    let configured = start.elapsed();
    let (mut received, mut to_send) = ([0; 4096], [0; 4096]);
    let mut socket = TcpSocket::new(stack, &mut received, &mut to_send);
    socket.set_timeout(Some(Duration::from_secs(10)));
    socket.connect((HOST, port)).await.unwrap_or_else(|error| panic!("connect: {error:?}"));
    let connected = start.elapsed();
    let (mut reader, mut writer) = socket.split();
    join(send(&mut writer), receive(&mut reader)).await;
    let all = start.elapsed().as_millis();
    let (configured, connected) = (configured.as_millis(), connected.as_millis());
    hprintln!("address after {} ms, connected {}, {} bytes {}", configured, connected, BYTES, all);
    socket.close();
    socket.flush().await.unwrap_or_else(|error| panic!("close: {error:?}"));
}

/// Repeats after a length that no buffer has, so bytes in the wrong place are other bytes.
fn pattern(place: usize) -> u8 {
    (place % 251) as u8
}

async fn send(writer: &mut TcpWriter<'_>) {
    let mut piece = [0; 500];
    for start in (0..BYTES).step_by(piece.len()) {
        let piece = &mut piece[..(BYTES - start).min(500)];
        for (place, byte) in (start..).zip(piece.iter_mut()) {
            *byte = pattern(place);
        }
        writer.write_all(piece).await.unwrap_or_else(|error| panic!("send: {error:?}"));
    }
    writer.flush().await.unwrap_or_else(|error| panic!("flush: {error:?}"));
}

async fn receive(reader: &mut TcpReader<'_>) {
    let (mut piece, mut place) = ([0; 700], 0);
    while place < BYTES {
        let read = reader.read(&mut piece).await.unwrap_or_else(|error| panic!("read: {error:?}"));
        assert!(read > 0, "the host closed after {place} bytes");
        for byte in &piece[..read] {
            assert_eq!(*byte, pattern(place), "at {place}");
            place += 1;
        }
    }
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    panicked(info)
}
