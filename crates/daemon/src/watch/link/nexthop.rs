//! IPv4 routes by a nexthop object (`ip nexthop`, since kernel 5.3): the kernel takes object and
//! route away together when the port loses its carrier or the object is deleted, and announces the
//! route's end in neither case. IPv6 routes' end is announced.

use std::collections::BTreeSet;

use bramblegate_netlink::Message;
use bramblegate_netlink::packet::AddressFamily;
use bramblegate_netlink::packet::route::RouteAttribute;
use bramblegate_netlink::rtnetlink::{self, kind};

use crate::event::{Change, Event, LinkIndex};

/// Holds the ports that IPv4 routes by a nexthop object have led by since the last listing.
#[derive(Debug, Default)]
pub struct NexthopRoutes(BTreeSet<LinkIndex>);

impl NexthopRoutes {
    /// Forgets all, as a listing begins.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// Takes in a message, and the events that it was parsed to. Returns whether such a route has
    /// perhaps gone with it.
    pub fn take(&mut self, message: &Message<'_>, parsed: &[Event]) -> bool {
        match message.kind {
            kind::NEW_ROUTE => {
                if !parsed.is_empty() && is_by_nexthop(message) {
                    self.0.extend(parsed.iter().filter_map(port_of_route));
                }
                false
            }
            kind::NEW_NEXTHOP | kind::DEL_NEXTHOP => !self.0.is_empty(),
            _ => parsed.iter().any(|event| self.loses_carrier(event)),
        }
    }

    fn loses_carrier(&self, event: &Event) -> bool {
        matches!(event, Event::Link(Change::Present(link)) if !link.carrier && self.0.contains(&link.index))
    }
}

fn is_by_nexthop(message: &Message<'_>) -> bool {
    let route = rtnetlink::route(message)
        .filter(|route| route.header.address_family == AddressFamily::Inet);
    route.is_some_and(|route| {
        route.attributes().any(|attribute| matches!(attribute, RouteAttribute::NhId(_)))
    })
}

fn port_of_route(event: &Event) -> Option<LinkIndex> {
    match event {
        Event::Route(Change::Present(route)) => Some(route.index),
        _ => None,
    }
}
