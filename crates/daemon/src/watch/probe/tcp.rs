//! TCP connections, optionally bound to an interface. An accepted connection means healthy; a
//! refused one means that the host runs, but not the service.

use std::io;
use std::net::{IpAddr, SocketAddr};

use futures_util::future::BoxFuture;
use tokio::net::{TcpSocket, TcpStream};

use crate::config::NodeProbe;

/// Connects, optionally through the interface `port` and from the address `source`.
///
/// # Errors
/// The interface does not exist or must not be bound to (CAP_NET_RAW), or the connection failed.
pub async fn connect(
    to: SocketAddr,
    port: Option<&str>,
    source: Option<IpAddr>,
) -> io::Result<TcpStream> {
    let socket = if to.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.bind_device(port.map(str::as_bytes))?;
    if let Some(source) = source.filter(|source| source.is_ipv4() == to.is_ipv4()) {
        socket.bind(SocketAddr::new(source, 0))?;
    }
    socket.connect(to).await
}

/// Connects to `tcp:PORT` of a node.
pub fn is_well(address: IpAddr, probe: NodeProbe) -> BoxFuture<'static, bool> {
    Box::pin(async move {
        let NodeProbe::Tcp(number) = probe else { return false };
        connect((address, number).into(), None, None).await.is_ok()
    })
}
