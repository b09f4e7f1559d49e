//! Do the ports still have the settings that we gave them? The kernel tells by itself of forwarding
//! and `rp_filter`; of `arp_ignore` and `arp_announce` only who asks hears.

use bramblegate_netlink::{Protocol, Socket, rtnetlink};

use crate::event::{Event, LinkIndex, Netconf};
use crate::watch::link::parse;

/// Asks over one socket, which is opened by the first question.
#[derive(Debug, Default)]
pub(super) struct Ports(Option<Socket>);

impl Ports {
    /// Returns of each port that differs from what it is to be how it is. A port that cannot be
    /// asked is gone, and told as such by others.
    pub fn drifted(&mut self, kept: &[Netconf]) -> Vec<Netconf> {
        let differs = |kept: &Netconf, now: &Netconf| {
            let option = |kept: Option<u8>, now| kept.is_some() && kept != now;
            option(kept.forwarding.map(u8::from), now.forwarding.map(u8::from))
                || option(kept.rp_filter, now.rp_filter)
                || option(kept.arp_ignore, now.arp_ignore)
                || option(kept.arp_announce, now.arp_announce)
        };
        let asked = kept.iter().filter_map(|kept| Some((kept, self.ask(kept.index)?)));
        asked.filter(|(kept, now)| differs(kept, now)).map(|(_, now)| now).collect()
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
