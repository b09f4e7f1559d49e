//! IPv4 routes by a nexthop object (`ip nexthop`, since kernel 5.3): the kernel takes object and route away together when the port
//! loses its carrier or the object is deleted, and announces the route's end in neither case. IPv6 routes' end is announced.

use std::collections::BTreeSet;

use super::wire::{Attributes, Message, u8_at};
use crate::event::{Change, Event, LinkIndex};

/// `RTM_NEWROUTE`, `RTM_NEWNEXTHOP`, `RTM_DELNEXTHOP` of `linux/rtnetlink.h`
const NEW_ROUTE: u16 = 24;
const NEW_NEXTHOP: u16 = 104;
const GONE_NEXTHOP: u16 = 105;
/// `RTA_NH_ID`
const NEXTHOP: u16 = 30;
/// `sizeof(struct rtmsg)`
const HEADER: usize = 12;
const AF_INET: u8 = 2;

/// Holds the ports that IPv4 routes by a nexthop object have led by since the last listing.
#[derive(Debug, Default)]
pub struct NexthopRoutes(BTreeSet<LinkIndex>);

impl NexthopRoutes {
    /// Forgets all, as a listing begins.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// Takes in a message, and the events that it was parsed to. Returns whether such a route has perhaps gone with it.
    pub fn take(&mut self, message: &Message<'_>, parsed: &[Event]) -> bool {
        match message.kind {
            NEW_ROUTE => {
                if is_by_nexthop(message.payload) {
                    self.0.extend(parsed.iter().filter_map(port_of_route));
                }
                false
            }
            NEW_NEXTHOP | GONE_NEXTHOP => !self.0.is_empty(),
            _ => parsed.iter().any(|event| self.loses_carrier(event)),
        }
    }

    fn loses_carrier(&self, event: &Event) -> bool {
        matches!(event, Event::Link(Change::Present(link)) if !link.carrier && self.0.contains(&link.index))
    }
}

fn is_by_nexthop(payload: &[u8]) -> bool {
    u8_at(payload, 0) == Some(AF_INET) && Attributes::after(payload, HEADER).find(NEXTHOP).is_some()
}

fn port_of_route(event: &Event) -> Option<LinkIndex> {
    match event {
        Event::Route(Change::Present(route)) => Some(route.index),
        _ => None,
    }
}
