//! What others on the network call this machine.

use std::net::{IpAddr, SocketAddr, UdpSocket};

/// This machine's address on the way to anywhere else; nothing is sent to find it out.
#[must_use]
pub fn outward() -> Option<IpAddr> {
    let asked = || -> std::io::Result<IpAddr> {
        let socket = UdpSocket::bind(("0.0.0.0", 0))?;
        // A documentation address (RFC 5737): the route to it is the default route.
        socket.connect(("192.0.2.1", 9))?;
        Ok(socket.local_addr()?.ip())
    };
    asked().ok()
}

/// Where others reach what listens at `listening`.
#[must_use]
pub fn reachable(listening: SocketAddr) -> SocketAddr {
    match outward() {
        Some(ip) if listening.ip().is_unspecified() => SocketAddr::new(ip, listening.port()),
        None if listening.ip().is_unspecified() => {
            SocketAddr::new(IpAddr::from([127, 0, 0, 1]), listening.port())
        }
        _ => listening,
    }
}
