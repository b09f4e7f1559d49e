//! A name's addresses from the resolvers of one uplink, asked through that uplink.

use std::io;
use std::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::time::timeout;
use tracing::debug;

use super::{UplinkTarget, unguessable};
use crate::dns::{addresses, query};

/// Port 53.
const PORT: u16 = 53;
/// An unanswered question is put again after this.
const RETRY: Duration = Duration::from_secs(1);

/// Asks all resolvers of the uplink at once; the first answer with addresses counts. Waits as long
/// as it is let.
///
/// # Errors
/// No socket, or no resolver could be asked.
pub async fn resolve(target: &UplinkTarget, host: &str) -> io::Result<Vec<IpAddr>> {
    let outside: Vec<_> =
        target.resolvers.iter().copied().filter(|resolver| !resolver.is_loopback()).collect();
    let inside: Vec<_> = target.resolvers.iter().copied().filter(IpAddr::is_loopback).collect();
    tokio::select! {
        found = ask(target, &outside, Some(&target.name), host), if !outside.is_empty() => found,
        found = ask(target, &inside, None, host), if !inside.is_empty() => found,
        else => Err(io::Error::new(io::ErrorKind::NotFound, "no resolver is known")),
    }
}

async fn ask(
    target: &UplinkTarget,
    resolvers: &[IpAddr],
    port: Option<&str>,
    host: &str,
) -> io::Result<Vec<IpAddr>> {
    let v4 = socket("0.0.0.0:0", port).await;
    let v6 = socket("[::]:0", port).await;
    let [high, low, ..] = unguessable().to_ne_bytes();
    let id = u16::from_ne_bytes([high, low]);
    let ipv6 = target.source.is_ipv6() && target.nat64.is_none();
    let question = query(id, host, ipv6).ok_or_else(|| {
        io::Error::new(io::ErrorKind::InvalidInput, format!("{host} is not a host name"))
    })?;
    loop {
        for &resolver in resolvers {
            let socket = if resolver.is_ipv4() { &v4 } else { &v6 };
            // One that cannot be reached leaves the others.
            if let Ok(socket) = socket {
                let sent = socket.send_to(&question, endpoint(resolver, target)).await;
                if let Err(error) = sent {
                    debug!(%resolver, %error, "a question for a name was not sent");
                }
            }
        }
        let first = async {
            tokio::select! {
                found = answer(&v4, resolvers, &question) => found,
                found = answer(&v6, resolvers, &question) => found,
            }
        };
        if let Ok(found) = timeout(RETRY, first).await {
            return Ok(found);
        }
    }
}

async fn socket(any: &str, port: Option<&str>) -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind(any).await?;
    socket.bind_device(port.map(str::as_bytes))?;
    Ok(socket)
}

fn endpoint(resolver: IpAddr, target: &UplinkTarget) -> SocketAddr {
    match resolver {
        IpAddr::V6(v6) if v6.is_unicast_link_local() => {
            SocketAddrV6::new(v6, PORT, 0, target.index).into()
        }
        other => SocketAddr::new(other, PORT),
    }
}

/// Waits for the first answer to the question with addresses from one of the resolvers. What others
/// send is passed over.
async fn answer(
    socket: &io::Result<UdpSocket>,
    resolvers: &[IpAddr],
    question: &[u8],
) -> Vec<IpAddr> {
    let Ok(socket) = socket else { return std::future::pending().await };
    let mut buffer = [0; 1500];
    loop {
        match socket.recv_from(&mut buffer).await {
            Ok((length, from)) if from.port() == PORT && resolvers.contains(&from.ip()) => {
                let found = buffer.get(..length).and_then(|bytes| addresses(bytes, question));
                let found = found.unwrap_or_default();
                if !found.is_empty() {
                    return found;
                }
                debug!(resolver = %from.ip(), "an answer without addresses");
            }
            Ok((_, from)) => debug!(%from, "not a resolver that was asked"),
            Err(error) => {
                // "connection refused" of an earlier question; the next may fare better
                debug!(%error, "no answer for a name");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}
