//! Does a name server on this machine answer?

use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::time::timeout;

use crate::dns;
use crate::watch::probe::unguessable;

const PORT: u16 = 53;
/// It is waited for so long.
const TIMEOUT: Duration = Duration::from_secs(1);

/// Asks the name server at this address of ours for a name: whether an answer came, of whatever
/// kind, within a second; `None`: it could not be asked, for the address is not there or none
/// listens there yet.
pub async fn answers(address: Ipv4Addr, name: &str) -> Option<bool> {
    // From that address: if it is not this machine's, nothing leaves.
    let socket = UdpSocket::bind(SocketAddrV4::new(address, 0)).await.ok()?;
    socket.connect(SocketAddrV4::new(address, PORT)).await.ok()?;
    let [high, low, ..] = unguessable().to_ne_bytes();
    let question = dns::query(u16::from_be_bytes([high, low]), name, false)?;
    match socket.send(&question).await {
        Ok(_) => {}
        // A rule of another program refuses it.
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => return Some(false),
        Err(_) => return None,
    }
    let mut answer = [0; 512];
    let heard = async {
        loop {
            let length = socket.recv(&mut answer).await.ok()?;
            if answer.get(..length).is_some_and(|answer| dns::is_reply(answer, &question)) {
                return Some(());
            }
        }
    };
    match timeout(TIMEOUT, heard).await {
        Ok(Some(())) => Some(true),
        // No server listens there.
        Ok(None) => None,
        Err(_) => Some(false),
    }
}
