//! Reads which settings the ports have. The kernel reports forwarding and `rp_filter` by itself; of
//! `arp_ignore` and `arp_announce` only who asks hears. The facts compare.

use bramblegate_netlink::{Protocol, Socket, rtnetlink};

use crate::event::{Event, LinkIndex, Netconf};
use crate::watch::link::parse;

/// Asks over one socket, which is opened by the first question.
#[derive(Debug, Default)]
pub(super) struct Ports(Option<Socket>);

impl Ports {
    /// Returns the settings of each port, whatever they are to be. A port that cannot be asked is
    /// gone, and reported as such by others.
    pub fn read(&mut self, ports: &[LinkIndex]) -> Vec<Netconf> {
        ports.iter().filter_map(|port| self.ask(*port)).collect()
    }

    /// Asks for one interface by its index.
    fn ask(&mut self, index: LinkIndex) -> Option<Netconf> {
        let socket = match &mut self.0 {
            Some(socket) => socket,
            none => none.insert(Socket::open(Protocol::Route, &[]).ok()?),
        };
        let mut events = Vec::new();
        let answer = socket.request(&rtnetlink::link_request(index), |message| {
            parse(message, &mut events);
        });
        if answer.is_err() {
            self.0 = None;
        }
        events.into_iter().find_map(|event| match event {
            Event::Netconf(netconf) if netconf.index == index => Some(netconf),
            _ => None,
        })
    }
}
