//! A TCP connection, bound to a port. Accepted is healthy; refused means that the host lives, but not the service.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use futures_util::future::{BoxFuture, join_all};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{Instant, timeout};

use super::{Probe, Question};
use crate::config::NodeProbe;

/// Connects through `port`, from `source` where one is given.
///
/// # Errors
/// No such interface, no right to bind to it (CAP_NET_RAW), or no connection.
pub async fn connect(to: SocketAddr, port: Option<&str>, source: Option<IpAddr>) -> io::Result<TcpStream> {
    let socket = if to.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.bind_device(port.map(str::as_bytes))?;
    if let Some(source) = source.filter(|source| source.is_ipv4() == to.is_ipv4()) {
        socket.bind(SocketAddr::new(source, 0))?;
    }
    socket.connect(to).await
}

/// `tcp:PORT`
#[derive(Debug)]
pub struct TcpProbe;

impl Probe for TcpProbe {
    fn ask<'a>(
        &'a mut self,
        questions: &'a [Question],
        port: Option<&'a str>,
        within: Duration,
    ) -> BoxFuture<'a, Vec<Option<Duration>>> {
        let asked = questions.iter().map(move |question| async move {
            let NodeProbe::Tcp(number) = question.probe else { return None };
            let begin = Instant::now();
            let connected = timeout(within, connect((question.address, number).into(), port, None)).await;
            connected.is_ok_and(|connected| connected.is_ok()).then(|| begin.elapsed())
        });
        Box::pin(join_all(asked))
    }
}
