//! A simulated kernel that applies every plan: the desired state becomes an event, as on a machine
//! without problems.

use bramblegate::decide::{
    Desired, FirewallPlan, GatewayPlan, InterfaceConf, PortPlan, ROUTE_PROTOCOL,
};
use bramblegate::event::{
    Address, Applied, ApplyReport, Change, Event, LinkIndex, Netconf, Output, Route, Rule,
};
use bramblegate::facts::{Facts, Resyncs};
use ipnet::IpNet;

/// The last applied state.
#[derive(Default)]
pub struct Kernel {
    firewall: Option<FirewallPlan>,
    /// The interfaces' reconciler has had its first plan.
    linked: bool,
}

impl Kernel {
    /// Returns the next event for `desired` and the rung reconcilers; `None` when everything is
    /// applied.
    pub fn obey(&mut self, facts: &Facts, desired: &Desired, rung: &Resyncs) -> Vec<Event> {
        let Some(gateway) = &desired.gateway else { return Vec::new() };
        let mut events: Vec<Event> =
            gateway.links.ports.iter().flat_map(|port| links(facts, port)).collect();
        events.extend(routing(facts, gateway));
        if !std::mem::replace(&mut self.linked, true) || rung.contains(Output::Link) {
            events.push(done(Output::Link, Applied::Done));
        }
        if self.firewall.as_ref() != Some(&gateway.firewall) || rung.contains(Output::Firewall) {
            self.firewall = Some(gateway.firewall.clone());
            let owned = gateway.firewall.protect;
            let applied = Applied::Firewall {
                masquerade: true,
                owned,
                flow_table: None,
                rejects: None,
                adopted: false,
            };
            events.push(done(Output::Firewall, applied));
        }
        if rung.contains(Output::Conntrack) {
            events.push(done(Output::Conntrack, Applied::Conntrack { deleted: 3 }));
        }
        events
    }
}

fn done(output: Output, applied: Applied) -> Event {
    Event::Applied(ApplyReport { output, result: Ok(applied) })
}

fn links(facts: &Facts, port: &PortPlan) -> Vec<Event> {
    let held =
        |net: &IpNet| facts.kernel().addresses(port.index).iter().any(|held| held.address == *net);
    let mut events = Vec::new();
    for net in port.addresses.iter().filter(|net| !held(net)) {
        events.push(Event::Address(Change::Present(address(port.index, *net))));
    }
    for ours in facts.kernel().addresses(port.index).iter().filter(|held| held.ours) {
        let gone = (!port.addresses.contains(&ours.address))
            .then(|| Event::Address(Change::Gone(address(port.index, ours.address))));
        events.extend(gone);
    }
    let known = facts.kernel().netconf(port.index).and_then(|netconf| netconf.forwarding);
    if port.conf.forwarding.is_some() && port.conf.forwarding != known {
        let InterfaceConf { forwarding, rp_filter, arp_ignore, arp_announce, .. } = port.conf;
        let InterfaceConf { accept_redirects, send_redirects, accept_source_route, .. } = port.conf;
        events.push(Event::Netconf(Netconf {
            index: port.index,
            forwarding,
            rp_filter,
            arp_ignore,
            arp_announce,
            accept_redirects,
            send_redirects,
            accept_source_route,
        }));
    }
    events
}

fn routing(facts: &Facts, gateway: &GatewayPlan) -> Vec<Event> {
    let (plan, facts) = (&gateway.routing, facts.kernel());
    let routes: Vec<Route> =
        facts.routes().filter(|route| route.protocol == ROUTE_PROTOCOL).cloned().collect();
    let rules: Vec<Rule> =
        facts.rules().iter().filter(|rule| rule.protocol == ROUTE_PROTOCOL).cloned().collect();
    let mut events = Vec::new();
    events.extend(
        routes
            .iter()
            .filter(|r| !plan.routes.contains(r))
            .map(|r| Event::Route(Change::Gone(r.clone()))),
    );
    events.extend(
        plan.routes
            .iter()
            .filter(|r| !routes.contains(r))
            .map(|r| Event::Route(Change::Present(r.clone()))),
    );
    events.extend(
        rules
            .iter()
            .filter(|r| !plan.rules.contains(r))
            .map(|r| Event::Rule(Change::Gone(r.clone()))),
    );
    events.extend(
        plan.rules
            .iter()
            .filter(|r| !rules.contains(r))
            .map(|r| Event::Rule(Change::Present(r.clone()))),
    );
    events
}

fn address(index: LinkIndex, net: IpNet) -> Address {
    Address {
        index,
        address: net,
        tentative: false,
        deprecated: false,
        temporary: false,
        link_local: false,
        valid_for: None,
        protocol: ROUTE_PROTOCOL,
    }
}
