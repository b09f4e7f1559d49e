//! By which port would the kernel send a packet of the cluster to the internet? Only a look-up; nothing is sent.

use std::convert::Infallible;
use std::io;
use std::net::Ipv4Addr;

use tokio::sync::{mpsc, watch};

use crate::event::{Event, LinkIndex, Vital};
use crate::source::netlink::{Attributes, Connection, u32_of};

/// a.root-servers.net: an address of the internet that nobody routes specially.
pub const DESTINATION: Ipv4Addr = Ipv4Addr::new(198, 41, 0, 4);

/// `RTM_GETROUTE`
const GETROUTE: u16 = 26;

/// A question; `generation` makes an equal one be asked again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WayOutPlan {
    /// the cluster port
    pub from_port: LinkIndex,
    /// an address of the cluster that is not the head's own
    pub source: Ipv4Addr,
    pub generation: u64,
}

/// Answers each question with [`Vital::WayOut`].
///
/// # Errors
/// No netlink socket, or a channel is closed (`BrokenPipe`).
pub async fn run(mut plan: watch::Receiver<Option<WayOutPlan>>, events: mpsc::Sender<Event>) -> io::Result<Infallible> {
    let mut requests = Connection::open()?;
    loop {
        let asked = plan.borrow_and_update().clone();
        if let Some(asked) = asked {
            let index = way_out(&mut requests, asked.from_port, asked.source, DESTINATION);
            let event = Event::Vital(Vital::WayOut { index });
            events.send(event).await.map_err(|_| io::ErrorKind::BrokenPipe)?;
        }
        plan.changed().await.map_err(|_| io::ErrorKind::BrokenPipe)?;
    }
}

/// The route the kernel would choose for a packet that comes in by `from_port`; `None`: it would not forward it.
pub fn way_out(
    requests: &mut Connection,
    from_port: LinkIndex,
    source: Ipv4Addr,
    destination: Ipv4Addr,
) -> Option<LinkIndex> {
    // struct rtmsg (AF_INET, /32, /32), then RTA_DST, RTA_SRC, RTA_IIF
    let mut body = vec![2, 32, 32, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    for (kind, value) in [(1_u16, destination.octets()), (2, source.octets()), (3, from_port.to_ne_bytes())] {
        body.extend(8_u16.to_ne_bytes());
        body.extend(kind.to_ne_bytes());
        body.extend(value);
    }
    let mut found = None;
    requests
        .request(GETROUTE, 0, &body, |message| {
            let unicast = message.payload.get(7) == Some(&1);
            found = Attributes::after(message.payload, 12).find(4).and_then(u32_of).filter(|_| unicast);
        })
        .ok()?;
    found
}
