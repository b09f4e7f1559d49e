//! Do the ports still have the settings that we gave them? The kernel tells by itself of forwarding and `rp_filter`; of
//! `arp_ignore` and `arp_announce` only who asks hears.

use crate::event::{Event, LinkIndex, Netconf};
use crate::source::netlink::{Connection, Listing, parse};

/// Asks over one socket, which is opened by the first question.
#[derive(Debug, Default)]
pub(super) struct Ports(Option<Connection>);

impl Ports {
    /// Of each port that differs from what it is to be: how it is. A port that cannot be asked is gone, and told as such by
    /// others.
    pub fn undone(&mut self, kept: &[Netconf]) -> Vec<Netconf> {
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

    /// `RTM_GETLINK` of one interface: `struct ifinfomsg` with nothing but its index.
    fn ask(&mut self, index: LinkIndex) -> Option<Netconf> {
        let connection = match &mut self.0 {
            Some(connection) => connection,
            none => none.insert(Connection::open().ok()?),
        };
        let mut body = [0; Listing::LINKS.header];
        body.get_mut(4..8)?.copy_from_slice(&index.to_ne_bytes());
        let mut events = Vec::new();
        let answer = connection.request(Listing::LINKS.kind, 0, &body, |message| {
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
