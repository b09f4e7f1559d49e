//! Checks whether a name server on this machine answers.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::time::timeout;

use crate::dns;
use crate::watch::probe::unguessable;

const PORT: u16 = 53;
const TIMEOUT: Duration = Duration::from_secs(1);

/// Queries the name server at one of our addresses. Returns whether any reply arrived within
/// `TIMEOUT`; `None` if the query could not be sent, because the address is missing or no server
/// listens there yet.
pub async fn answers(address: Ipv4Addr, name: &str) -> Option<bool> {
    // Binding to that address keeps the query on this machine.
    let socket = UdpSocket::bind(SocketAddrV4::new(address, 0)).await.ok()?;
    socket.connect(SocketAddrV4::new(address, PORT)).await.ok()?;
    let id = unguessable() as u16;
    let query = dns::query(id, name, false)?;
    match socket.send(&query).await {
        Ok(_) => {}
        // A firewall rule of another program rejects it.
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => return Some(false),
        Err(_) => return None,
    }
    let mut reply = [0; 512];
    let received = async {
        loop {
            let length = socket.recv(&mut reply).await.ok()?;
            if reply.get(..length).is_some_and(|reply| dns::is_reply(reply, &query)) {
                return Some(());
            }
        }
    };
    match timeout(TIMEOUT, received).await {
        Ok(Some(())) => Some(true),
        // Connection refused: no server listens there.
        Ok(None) => None,
        Err(_) => Some(false),
    }
}
