//! Of the events of one batch only the last word on each thing: in a storm most say what the next
//! one says again.

use std::collections::BTreeMap;

use ipnet::IpNet;

use crate::event::{
    Anycast, Change, Delegated, Event, Link, LinkIndex, Netconf, ROUTE_PROTOCOL, Route,
};

/// Holds what comes later in the batch, by the thing that it is about.
#[derive(Debug, Default)]
struct Later {
    links: BTreeMap<LinkIndex, Link>,
    netconf: BTreeMap<LinkIndex, Netconf>,
    /// whether what is kept of it next is its coming
    addresses: BTreeMap<(LinkIndex, IpNet), bool>,
    anycast: BTreeMap<Anycast, bool>,
    delegated: BTreeMap<Delegated, bool>,
    routes: BTreeMap<Route, bool>,
}

/// Returns the events without those that a later one of the batch makes superfluous. The order of
/// the others stays.
///
/// A thing that went and came again keeps both events: it is another one, behind those that stayed.
/// A link keeps each change of what it is (name, master, carrier …), so that a cable that was
/// pulled for a moment is seen. Of what is ours every change stays: what came and was taken away at
/// once has to be put back again.
pub fn last_words(events: Vec<Event>) -> Vec<Event> {
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
    /// Returns whether an event says something that no later one does, and notes it.
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
                let says = keeps(
                    &mut self.addresses,
                    (address.index, address.address),
                    is_present(change),
                );
                says || address.protocol == ROUTE_PROTOCOL
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
                let says = keeps(&mut self.routes, route.clone(), is_present(change));
                says || route.protocol == ROUTE_PROTOCOL
            }
            _ => true,
        }
    }
}

const fn is_present<T>(change: &Change<T>) -> bool {
    matches!(change, Change::Present(_))
}

/// Returns whether a thing's coming or going is to be reported, and notes it: a going before it
/// comes again, and the last of each.
fn keeps<Thing: Ord>(later: &mut BTreeMap<Thing, bool>, thing: Thing, present: bool) -> bool {
    let says = matches!((later.get(&thing), present), (None, _) | (Some(true), false));
    if says {
        later.insert(thing, present);
    }
    says
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

    fn came(last: u8, seconds: u64) -> Event {
        Event::Address(Change::Present(address(last, seconds)))
    }

    fn went(last: u8) -> Event {
        Event::Address(Change::Gone(address(last, 1)))
    }

    fn link(carrier: bool, mtu: u32) -> Event {
        Event::Link(Change::Present(Link { carrier, mtu, ..Link::wired(7, "eth1") }))
    }

    #[test]
    fn an_address_is_named_once_with_what_it_is_in_the_end() {
        assert_eq!(
            last_words(vec![came(1, 60), came(2, 9), came(1, 61)]),
            [came(2, 9), came(1, 61)]
        );
        assert_eq!(last_words(vec![came(1, 60), went(1), came(2, 9)]), [went(1), came(2, 9)]);
    }

    #[test]
    fn what_went_and_came_again_is_another_one() {
        assert_eq!(last_words(vec![went(1), came(1, 60)]), [went(1), came(1, 60)]);
        assert_eq!(last_words(vec![came(1, 60), went(1), came(1, 61), went(1)]), [went(1)]);
    }

    #[test]
    fn what_we_put_back_and_others_take_away_again_is_seen() {
        let ours = Address { protocol: ROUTE_PROTOCOL, ..address(1, 60) };
        let events =
            vec![Event::Address(Change::Present(ours.clone())), Event::Address(Change::Gone(ours))];
        assert_eq!(last_words(events.clone()), events);
    }

    #[test]
    fn of_a_link_that_only_changes_its_mtu_the_last_is_reported_and_a_moment_without_carrier_is_not_lost()
     {
        assert_eq!(
            last_words(vec![link(true, 1400), link(true, 1401), link(true, 1402)]),
            [link(true, 1402)]
        );
        let flap = vec![link(true, 1400), link(false, 1400), link(true, 1400)];
        assert_eq!(last_words(flap.clone()), flap);
    }

    #[test]
    fn a_setting_that_was_changed_for_a_moment_is_seen() {
        let netconf =
            |on| Event::Netconf(Netconf { index: 7, forwarding: Some(on), ..Netconf::default() });
        assert_eq!(last_words(vec![netconf(true), netconf(true)]), [netconf(true)]);
        let flap = vec![netconf(true), netconf(false), netconf(true)];
        assert_eq!(last_words(flap.clone()), flap);
    }
}
