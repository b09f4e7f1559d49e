//! Tracks IPv4 routes that use a nexthop object (`ip nexthop`, kernel ≥ 5.3): the kernel removes
//! object and route when the interface loses its carrier or the object is deleted, and announces
//! the removal of the route in neither case. It does announce that of IPv6 routes.

use std::collections::BTreeSet;

use bramblegate_netlink::Message;
use bramblegate_netlink::packet::AddressFamily;
use bramblegate_netlink::packet::route::RouteAttribute;
use bramblegate_netlink::rtnetlink::{self, kind};

use crate::event::{Change, Event, LinkIndex};

/// Holds the interfaces of IPv4 routes with a nexthop object, seen since the last dump.
#[derive(Debug, Default)]
pub struct NexthopRoutes(BTreeSet<LinkIndex>);

impl NexthopRoutes {
    /// Forgets all interfaces, when a dump begins.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// Processes a message and the events parsed from it. Returns whether it may have removed such
    /// a route.
    pub fn take(&mut self, message: &Message<'_>, parsed: &[Event]) -> bool {
        match message.kind {
            kind::NEW_ROUTE => {
                if !parsed.is_empty() && uses_nexthop_object(message) {
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

fn uses_nexthop_object(message: &Message<'_>) -> bool {
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
