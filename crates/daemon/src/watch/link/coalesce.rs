//! Coalesces the events of one batch: under load most are superseded by a later one.

use std::collections::BTreeMap;

use ipnet::IpNet;

use crate::event::{
    Anycast, Change, Delegated, Event, Link, LinkIndex, Netconf, ROUTE_PROTOCOL, Route,
};

/// Holds what later events of the batch say, by object.
#[derive(Debug, Default)]
struct Later {
    links: BTreeMap<LinkIndex, Link>,
    netconf: BTreeMap<LinkIndex, Netconf>,
    /// Whether the next event kept for this address is its appearance.
    addresses: BTreeMap<(LinkIndex, IpNet), bool>,
    anycast: BTreeMap<Anycast, bool>,
    delegated: BTreeMap<Delegated, bool>,
    routes: BTreeMap<Route, bool>,
}

/// Drops the events that a later one of the batch supersedes. The others keep their order.
///
/// An object that was removed and added again keeps both events, since its place in the kernel's
/// order has changed. A link keeps each change other than its MTU, so that a short loss of carrier
/// is seen. Our own addresses and routes keep every event: one that was added and removed at once
/// has to be restored.
pub fn coalesce(events: Vec<Event>) -> Vec<Event> {
    if events.len() < 2 {
        return events;
    }
    let mut later = Later::default();
    let mut kept: Vec<Event> =
        events.into_iter().rev().filter(|event| later.keeps(event)).collect();
    kept.reverse();
    kept
}

impl Later {
    /// Returns whether no later event supersedes this one, and records it.
    fn keeps(&mut self, event: &Event) -> bool {
        match event {
            Event::Link(Change::Present(link)) => {
                let next = self.links.insert(link.index, link.clone());
                next.is_none_or(|next| Link { mtu: link.mtu, ..next } != *link)
            }
            Event::Link(Change::Gone(link)) => {
                self.links.remove(&link.index);
                true
            }
            Event::Netconf(netconf) => {
                self.netconf.insert(netconf.index, *netconf) != Some(*netconf)
            }
            Event::Address(change) => {
                let (Change::Present(address) | Change::Gone(address)) = change;
                let key = (address.index, address.address);
                let kept = keeps(&mut self.addresses, key, is_present(change));
                kept || address.protocol == ROUTE_PROTOCOL
            }
            Event::Anycast(change) => {
                let (Change::Present(held) | Change::Gone(held)) = change;
                keeps(&mut self.anycast, *held, is_present(change))
            }
            Event::Delegated(change) => {
                let (Change::Present(prefix) | Change::Gone(prefix)) = change;
                keeps(&mut self.delegated, *prefix, is_present(change))
            }
            Event::Route(change) => {
                let (Change::Present(route) | Change::Gone(route)) = change;
                let kept = keeps(&mut self.routes, route.clone(), is_present(change));
                kept || route.protocol == ROUTE_PROTOCOL
            }
            _ => true,
        }
    }
}

const fn is_present<T>(change: &Change<T>) -> bool {
    matches!(change, Change::Present(_))
}

/// Returns whether an event about `object` is kept, and records it: the last one, and a removal
/// that precedes a kept appearance.
fn keeps<Object: Ord>(later: &mut BTreeMap<Object, bool>, object: Object, present: bool) -> bool {
    let kept = matches!((later.get(&object), present), (None, _) | (Some(true), false));
    if kept {
        later.insert(object, present);
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Address;

    fn address(last: u8, seconds: u64) -> Address {
        let address = format!("10.9.0.{last}/24").parse().unwrap();
        Address {
            valid_for: Some(std::time::Duration::from_secs(seconds)),
            ..Address::lasting(7, address)
        }
    }

    fn new(last: u8, seconds: u64) -> Event {
        Event::Address(Change::Present(address(last, seconds)))
    }

    fn gone(last: u8) -> Event {
        Event::Address(Change::Gone(address(last, 1)))
    }

    fn link(carrier: bool, mtu: u32) -> Event {
        Event::Link(Change::Present(Link { carrier, mtu, ..Link::wired(7, "eth1") }))
    }

    #[test]
    fn an_address_is_reported_once_with_its_final_state() {
        assert_eq!(coalesce(vec![new(1, 60), new(2, 9), new(1, 61)]), [new(2, 9), new(1, 61)]);
        assert_eq!(coalesce(vec![new(1, 60), gone(1), new(2, 9)]), [gone(1), new(2, 9)]);
    }

    #[test]
    fn a_removal_before_an_appearance_is_kept() {
        assert_eq!(coalesce(vec![gone(1), new(1, 60)]), [gone(1), new(1, 60)]);
        assert_eq!(coalesce(vec![new(1, 60), gone(1), new(1, 61), gone(1)]), [gone(1)]);
    }

    #[test]
    fn every_event_of_our_own_addresses_is_kept() {
        let ours = Address { protocol: ROUTE_PROTOCOL, ..address(1, 60) };
        let events =
            vec![Event::Address(Change::Present(ours.clone())), Event::Address(Change::Gone(ours))];
        assert_eq!(coalesce(events.clone()), events);
    }

    #[test]
    fn mtu_changes_of_a_link_are_merged_but_a_loss_of_carrier_is_kept() {
        assert_eq!(
            coalesce(vec![link(true, 1400), link(true, 1401), link(true, 1402)]),
            [link(true, 1402)]
        );
        let flap = vec![link(true, 1400), link(false, 1400), link(true, 1400)];
        assert_eq!(coalesce(flap.clone()), flap);
    }

    #[test]
    fn a_short_change_of_a_setting_is_kept() {
        let netconf =
            |on| Event::Netconf(Netconf { index: 7, forwarding: Some(on), ..Netconf::default() });
        assert_eq!(coalesce(vec![netconf(true), netconf(true)]), [netconf(true)]);
        let flap = vec![netconf(true), netconf(false), netconf(true)];
        assert_eq!(coalesce(flap.clone()), flap);
    }
}
