//! Reads the settings of interfaces. The kernel announces changes of forwarding and `rp_filter`
//! only; the others, such as `arp_ignore`, have to be polled. The facts detect drift.

use bramblegate_netlink::{Protocol, Socket, rtnetlink};

use crate::event::{Event, LinkIndex, Netconf};
use crate::watch::link::parse;

/// Holds the socket for the queries, opened by the first one.
#[derive(Debug, Default)]
pub(super) struct Ports(Option<Socket>);

impl Ports {
    /// Returns the current settings of each interface. Skips those that cannot be queried, which
    /// are gone; the watch `link` reports that.
    pub fn read(&mut self, ports: &[LinkIndex]) -> Vec<Netconf> {
        ports.iter().filter_map(|port| self.query(*port)).collect()
    }

    fn query(&mut self, index: LinkIndex) -> Option<Netconf> {
        let socket = Socket::keep(&mut self.0, Protocol::Route).ok()?;
        let mut events = Vec::new();
        let result = socket.request(&rtnetlink::link_request(index), |message| {
            parse(message, &mut events);
        });
        if result.is_err() {
            self.0 = None;
        }
        events.into_iter().find_map(|event| match event {
            Event::Netconf(netconf) if netconf.index == index => Some(netconf),
            _ => None,
        })
    }
}
