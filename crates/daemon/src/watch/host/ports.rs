//! Finds out whether the ports still have the settings that we gave them. The kernel reports
//! forwarding and `rp_filter` by itself; of `arp_ignore` and `arp_announce` only who asks hears.

use bramblegate_netlink::{Protocol, Socket, rtnetlink};

use crate::event::{Event, LinkIndex, Netconf};
use crate::watch::link::parse;

/// Asks over one socket, which is opened by the first question.
#[derive(Debug, Default)]
pub(super) struct Ports(Option<Socket>);

impl Ports {
    /// Returns of each port that differs from what it is to be how it is. A port that cannot be
    /// asked is gone, and reported as such by others.
    pub fn drifted(&mut self, kept: &[Netconf]) -> Vec<Netconf> {
        let asked = kept.iter().filter_map(|kept| Some((kept, self.ask(kept.index)?)));
        asked.filter(|(kept, now)| has_drifted(kept, now)).map(|(_, now)| now).collect()
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

/// Returns whether a port differs from what it is to be, in a setting that is kept.
fn has_drifted(kept: &Netconf, now: &Netconf) -> bool {
    differs(kept.forwarding, now.forwarding)
        || differs(kept.rp_filter, now.rp_filter)
        || differs(kept.arp_ignore, now.arp_ignore)
        || differs(kept.arp_announce, now.arp_announce)
}

/// Returns whether a setting is another one; `None` is not kept.
fn differs<Value: PartialEq>(kept: Option<Value>, now: Option<Value>) -> bool {
    kept.is_some() && kept != now
}
