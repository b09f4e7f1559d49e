//! Resolves names with the resolvers of one uplink, through that uplink.

use std::io;
use std::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::time::timeout;
use tracing::debug;

use super::{UplinkTarget, unguessable};
use crate::dns::{addresses, query};

const PORT: u16 = 53;
/// Interval of retransmissions.
const RETRY: Duration = Duration::from_secs(1);

/// Queries all resolvers of the uplink at once. Returns the first answer with addresses. Has no
/// timeout of its own.
///
/// # Errors
/// The uplink has no resolver, or `host` is not a host name.
pub async fn resolve(target: &UplinkTarget, host: &str) -> io::Result<Vec<IpAddr>> {
    let (local, remote): (Vec<_>, Vec<_>) =
        target.resolvers.iter().copied().partition(IpAddr::is_loopback);
    tokio::select! {
        found = query_all(target, &remote, Some(&target.name), host), if !remote.is_empty() => found,
        found = query_all(target, &local, None, host), if !local.is_empty() => found,
        else => Err(io::Error::new(io::ErrorKind::NotFound, "no resolver is known")),
    }
}

/// Queries the resolvers through the interface `port` until one answers.
async fn query_all(
    target: &UplinkTarget,
    resolvers: &[IpAddr],
    port: Option<&str>,
    host: &str,
) -> io::Result<Vec<IpAddr>> {
    let v4 = socket("0.0.0.0:0", port).await;
    let v6 = socket("[::]:0", port).await;
    let id = unguessable() as u16;
    let ipv6 = target.source.is_ipv6() && target.nat64.is_none();
    let request = query(id, host, ipv6).ok_or_else(|| {
        io::Error::new(io::ErrorKind::InvalidInput, format!("{host} is not a host name"))
    })?;
    loop {
        for &resolver in resolvers {
            let socket = if resolver.is_ipv4() { &v4 } else { &v6 };
            // An unreachable resolver does not affect the others.
            if let Ok(socket) = socket {
                let sent = socket.send_to(&request, endpoint(resolver, target)).await;
                if let Err(error) = sent {
                    debug!(%resolver, %error, "a question for a name was not sent");
                }
            }
        }
        let first = async {
            tokio::select! {
                found = answer(&v4, resolvers, &request) => found,
                found = answer(&v6, resolvers, &request) => found,
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

/// Waits for the first answer to `request` with addresses from one of the resolvers; ignores other
/// packets.
async fn answer(
    socket: &io::Result<UdpSocket>,
    resolvers: &[IpAddr],
    request: &[u8],
) -> Vec<IpAddr> {
    let Ok(socket) = socket else { return std::future::pending().await };
    let mut buffer = [0; 1500];
    loop {
        match socket.recv_from(&mut buffer).await {
            Ok((length, from)) if from.port() == PORT && resolvers.contains(&from.ip()) => {
                let found = buffer.get(..length).and_then(|bytes| addresses(bytes, request));
                let found = found.unwrap_or_default();
                if !found.is_empty() {
                    return found;
                }
                debug!(resolver = %from.ip(), "an answer without addresses");
            }
            Ok((_, from)) => debug!(%from, "not a resolver that was asked"),
            Err(error) => {
                // Mostly "connection refused" for an earlier query; a retransmission may succeed.
                debug!(%error, "no answer for a name");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}
