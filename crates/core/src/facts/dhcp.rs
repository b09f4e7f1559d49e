//! DHCP on the cluster port: whether a foreign server forbids ours to serve, and exhaustion of the
//! range.

use std::net::Ipv4Addr;
use std::time::Duration;

use super::context::Context;
use super::link::Links;
use super::node::Nodes;
use super::transition::Transition;
use crate::event::{Dhcp, Event, Instant, LinkIndex, Mac, ServerLog, ServerLogKind};

/// Describes the foreign DHCP servers on the cluster port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OtherServers {
    /// No probe has finished since the cable was plugged in.
    #[default]
    Unknown,
    /// No foreign server replied.
    None,
    /// A foreign server replied.
    Foreign { server: Ipv4Addr, mac: Option<Mac> },
}

/// Holds the DHCP state of the cluster port, until its carrier is lost.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DhcpFacts {
    /// The port, while it has a carrier and addresses are to be served there.
    port: Option<LinkIndex>,
    /// Counts changes of `port`.
    generation: u64,
    servers: OtherServers,
    /// Why foreign servers cannot be probed.
    unasked: Option<String>,
    /// Seconds for which the switch blocks traffic, while the probe waits for it.
    held: Option<u64>,
    refused: Option<RefusedClient>,
}

/// Holds a client that got no address because the range is exhausted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct RefusedClient {
    mac: Mac,
    /// Whether the known leases fill the range, as of `topology_version`.
    range_full: bool,
    topology_version: u64,
    /// If it has not asked again by then, it no longer wants an address.
    expires: Instant,
}

/// Expiry of [`RefusedClient`]: clients retry after seconds, or up to five minutes (dhclient's
/// `retry`).
const REFUSED_TIME: Duration = Duration::from_secs(660);

impl DhcpFacts {
    /// Processes an event about DHCP on the cluster port.
    pub(super) fn handle(
        &mut self,
        event: &Event,
        context: Context<'_>,
        nodes: &Nodes,
    ) -> Option<Transition> {
        let Event::Dhcp(dhcp) = event else { return None };
        match dhcp {
            Dhcp::NoOtherServer { index } => self.handle_answer(*index, OtherServers::None, None),
            Dhcp::OtherServer { index, server, mac } => {
                let foreign = OtherServers::Foreign { server: *server, mac: *mac };
                self.handle_answer(*index, foreign, None)
            }
            Dhcp::CheckFailed { index, why } => {
                self.handle_answer(*index, OtherServers::Unknown, Some(why))
            }
            Dhcp::Held { index, seconds } => {
                let here = self.port == Some(*index);
                here.then(|| {
                    self.held = Some(*seconds);
                    Transition::DhcpHeld { seconds: *seconds }
                })
            }
            Dhcp::ServerLog(logged) => {
                self.handle_refusal(logged, context, nodes);
                Some(Transition::ServerSaid(logged.clone()))
            }
            // Processed by `Nodes`.
            Dhcp::CallsItself { .. } | Dhcp::Boots { .. } => None,
        }
    }

    /// Recomputes what depends on links, nodes and time.
    pub(super) fn refresh(
        &mut self,
        context: Context<'_>,
        links: &Links,
        nodes: &Nodes,
    ) -> Option<Transition> {
        let transition = self.refresh_port(context, links);
        self.refresh_refused(context, nodes);
        transition
    }

    /// Returns the next time at which the state changes without an event.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.refused.map(|client| client.expires)
    }

    /// Processes the result of a probe; one of an earlier port is stale and ignored.
    fn handle_answer(
        &mut self,
        index: LinkIndex,
        servers: OtherServers,
        unasked: Option<&String>,
    ) -> Option<Transition> {
        if self.port != Some(index) {
            return None;
        }
        self.unasked = unasked.cloned();
        self.held = None;
        match (std::mem::replace(&mut self.servers, servers), servers) {
            (before, after) if before == after => None,
            (_, OtherServers::Foreign { server, mac }) => {
                Some(Transition::ForeignDhcp { server, mac })
            }
            (OtherServers::Foreign { server, .. }, _) => {
                Some(Transition::ForeignDhcpGone { server })
            }
            _ => None,
        }
    }

    /// Processes a log message; one about exhaustion records the client.
    fn handle_refusal(&mut self, logged: &ServerLog, context: Context<'_>, nodes: &Nodes) {
        let exhausted = logged.what == ServerLogKind::Exhausted && self.port.is_some();
        let Some(mac) = logged.mac.filter(|_| exhausted) else { return };
        // The first client stays the example, so that the alert does not change with each request.
        self.refused = Some(RefusedClient {
            mac: self.refused.map_or(mac, |first| first.mac),
            range_full: nodes.is_range_full(context.settings),
            topology_version: nodes.topology_version,
            expires: context.now + REFUSED_TIME,
        });
    }

    /// Resets the state if the cable was pulled or the port is another one.
    fn refresh_port(&mut self, context: Context<'_>, links: &Links) -> Option<Transition> {
        let settings = context.settings;
        let wanted = settings.gateway.enabled && settings.cluster.dhcp.is_some();
        let usable =
            links.cluster_port().filter(|link| wanted && link.carrier && link.master.is_none());
        let port = usable.map(|link| link.index);
        if port == self.port {
            return None;
        }
        let generation = self.generation + 1;
        let before = std::mem::replace(self, Self { port, generation, ..Self::default() });
        match before.servers {
            OtherServers::Foreign { server, .. } => Some(Transition::ForeignDhcpGone { server }),
            OtherServers::Unknown | OtherServers::None => None,
        }
    }

    /// Drops the refused client once it has a lease, an address became free, or it stopped asking.
    fn refresh_refused(&mut self, context: Context<'_>, nodes: &Nodes) {
        let Some(client) = &mut self.refused else { return };
        let freed = client.topology_version != nodes.topology_version && {
            client.topology_version = nodes.topology_version;
            let full = nodes.is_range_full(context.settings);
            std::mem::replace(&mut client.range_full, full) && !full
        };
        // The server may hold addresses back for reasons unknown here: then only the end of its log
        // messages shows that one is free again.
        let expired = client.expires <= context.now;
        if freed || expired || nodes.has_lease(client.mac) {
            self.refused = None;
        }
    }

    /// Returns the foreign DHCP servers on the cluster port.
    pub fn other_servers(&self) -> OtherServers {
        self.servers
    }

    /// Returns why foreign servers cannot be probed.
    pub fn unasked(&self) -> Option<&str> {
        self.unasked.as_deref()
    }

    /// Returns for how many seconds a switch with spanning tree blocks traffic; `None`: the probe
    /// does not wait.
    pub fn held(&self) -> Option<u64> {
        self.held
    }

    /// Returns the cluster port with its generation, if it has a carrier and addresses are to be
    /// served there.
    pub fn port(&self) -> Option<(LinkIndex, u64)> {
        self.port.map(|port| (port, self.generation))
    }

    /// Returns the first client that got no address from an exhausted range, until an address is
    /// free again or it has stopped asking.
    pub fn want(&self) -> Option<Mac> {
        self.refused.map(|client| client.mac)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::config::board::Board;
    use crate::config::{self, Settings};
    use crate::event::{Change, Lease, Link};
    use crate::facts::Facts;

    const CLUSTER: LinkIndex = 2;

    fn settings(more: &str) -> Arc<Settings> {
        let text = format!("uplink.interfaces = [\"eth1\"]\ncluster.interface = \"eth0\"\n{more}");
        Arc::new(
            config::load(&[("settings", &text)], &Board::built_in("emulated").unwrap()).unwrap(),
        )
    }

    fn serving() -> Arc<Settings> {
        settings("[cluster.dhcp]\nrange = \"192.168.50.100-192.168.50.199\"\n")
    }

    fn link(index: LinkIndex, carrier: bool) -> Event {
        Event::Link(Change::Present(Link {
            mac: Some(Mac([2; 6])),
            carrier,
            ..Link::wired(index, "eth0")
        }))
    }

    fn handle(facts: &mut Facts, event: &Event) -> Vec<Transition> {
        facts.apply(event, Instant::from_boot(Duration::from_secs(1)))
    }

    fn plugged() -> Facts {
        let mut facts = Facts::new(serving(), Instant::default());
        handle(&mut facts, &link(CLUSTER, true));
        facts
    }

    const FOREIGN: Dhcp = Dhcp::OtherServer {
        index: CLUSTER,
        server: Ipv4Addr::new(10, 0, 0, 1),
        mac: Some(Mac([9; 6])),
    };
    const ALONE: Dhcp = Dhcp::NoOtherServer { index: CLUSTER };

    #[test]
    fn servers_are_unknown_until_a_probe_ends_and_a_foreign_one_is_reported_once() {
        let mut facts = plugged();
        assert_eq!(facts.dhcp().other_servers(), OtherServers::Unknown);
        assert_eq!(handle(&mut facts, &Event::Dhcp(ALONE)), []);
        assert_eq!(facts.dhcp().other_servers(), OtherServers::None);
        let server = Ipv4Addr::new(10, 0, 0, 1);
        let transitions = handle(&mut facts, &Event::Dhcp(FOREIGN));
        assert_eq!(transitions, [Transition::ForeignDhcp { server, mac: Some(Mac([9; 6])) }]);
        assert_eq!(handle(&mut facts, &Event::Dhcp(FOREIGN)), []);
        assert_eq!(
            handle(&mut facts, &Event::Dhcp(ALONE)),
            [Transition::ForeignDhcpGone { server }]
        );
    }

    #[test]
    fn a_pulled_cable_or_another_port_is_probed_again() {
        let mut facts = plugged();
        let first = facts.dhcp().port().unwrap();
        handle(&mut facts, &Event::Dhcp(FOREIGN));
        let server = Ipv4Addr::new(10, 0, 0, 1);
        assert!(
            handle(&mut facts, &link(CLUSTER, false))
                .contains(&Transition::ForeignDhcpGone { server })
        );
        assert_eq!(
            (facts.dhcp().other_servers(), facts.dhcp().port()),
            (OtherServers::Unknown, None)
        );
        handle(&mut facts, &Event::Dhcp(ALONE));
        assert_eq!(facts.dhcp().other_servers(), OtherServers::Unknown, "a late result is stale");
        handle(&mut facts, &link(CLUSTER, true));
        assert_ne!(facts.dhcp().port().unwrap(), first);
        handle(&mut facts, &Event::Dhcp(ALONE));
        let Event::Link(Change::Present(old)) = link(CLUSTER, true) else { unreachable!() };
        handle(&mut facts, &Event::Link(Change::Gone(old)));
        handle(&mut facts, &link(7, true));
        assert_eq!(facts.dhcp().port().map(|(port, _)| port), Some(7));
        assert_eq!(facts.dhcp().other_servers(), OtherServers::Unknown);
        handle(&mut facts, &Event::Dhcp(ALONE));
        assert_eq!(
            facts.dhcp().other_servers(),
            OtherServers::Unknown,
            "a result of the previous port is stale"
        );
    }

    #[test]
    fn an_unknown_board_is_counted_once() {
        let mut facts = plugged();
        let heard = |last: u8| {
            Event::Neighbour(Change::Present(crate::event::Neighbour {
                index: CLUSTER,
                address: Ipv4Addr::new(192, 168, 50, last).into(),
                mac: Some(Mac([6, 0, 0, 0, 0, last])),
                reachable: true,
            }))
        };
        for (last, unknown_clients) in [(7, 1), (7, 1), (8, 2), (7, 2)] {
            handle(&mut facts, &heard(last));
            assert_eq!(facts.nodes().unknown_boards, unknown_clients);
        }
    }

    #[test]
    fn without_a_server_no_probe_is_sent() {
        let mut facts = plugged();
        handle(&mut facts, &Event::Dhcp(FOREIGN));
        let now = Instant::from_boot(Duration::from_secs(2));
        assert!(
            facts
                .reload(settings(""), now)
                .iter()
                .any(|transitions| matches!(transitions, Transition::ForeignDhcpGone { .. }))
        );
        assert_eq!(
            (facts.dhcp().port(), facts.dhcp().other_servers()),
            (None, OtherServers::Unknown)
        );
        facts.reload(serving(), now);
        assert!(facts.dhcp().port().is_some());
        facts.reload(
            settings("[gateway]\nenabled = false\n[cluster.dhcp]\nrange = \"192.168.50.100-192.168.50.199\"\n"),
            now,
        );
        assert_eq!(facts.dhcp().port(), None);
    }

    fn lease(board: u8, last: u8) -> Lease {
        let address = Ipv4Addr::new(192, 168, 50, last);
        let valid_for = Some(Duration::from_secs(3600));
        Lease {
            mac: Mac([6, 0, 0, 0, 0, board]),
            address: address.into(),
            host_name: None,
            valid_for,
        }
    }

    fn wants(facts: &mut Facts, board: u8, second: u64) {
        let mac = Some(Mac([6, 0, 0, 0, 0, board]));
        let logged =
            ServerLog { what: ServerLogKind::Exhausted, text: String::new(), mac, address: None };
        facts.apply(
            &Event::Dhcp(Dhcp::ServerLog(logged)),
            Instant::from_boot(Duration::from_secs(second)),
        );
    }

    fn wanting(facts: &Facts) -> Option<u8> {
        facts.dhcp().want().map(|mac| mac.0[5])
    }

    #[test]
    fn a_refused_client_is_kept_until_an_address_is_free() {
        let two = settings("[cluster.dhcp]\nrange = \"192.168.50.100-192.168.50.101\"\n");
        let mut facts = Facts::new(two, Instant::default());
        handle(&mut facts, &link(CLUSTER, true));
        for (board, last) in [(1, 100), (2, 101)] {
            handle(&mut facts, &Event::Lease(Change::Present(lease(board, last))));
        }
        assert_eq!(wanting(&facts), None, "a full range alone refuses no client");
        wants(&mut facts, 3, 2);
        wants(&mut facts, 4, 3);
        assert_eq!(wanting(&facts), Some(3));
        let ended = Lease { valid_for: Some(Duration::ZERO), ..lease(2, 101) };
        handle(&mut facts, &Event::Lease(Change::Gone(ended)));
        assert_eq!(wanting(&facts), None);
    }

    #[test]
    fn a_server_that_has_none_for_reasons_of_its_own_is_believed_for_a_while() {
        let mut facts = plugged();
        wants(&mut facts, 3, 2);
        let until = facts.dhcp().next_deadline().unwrap();
        wants(&mut facts, 3, 62);
        assert!(facts.dhcp().next_deadline().unwrap() > until, "it goes on asking");
        facts.apply(&Event::Tick, until);
        assert_eq!(wanting(&facts), Some(3));
        handle(&mut facts, &Event::Lease(Change::Present(lease(3, 150))));
        assert_eq!(wanting(&facts), None, "it has got one");
        wants(&mut facts, 4, 70);
        let until = facts.dhcp().next_deadline().unwrap();
        facts.apply(&Event::Tick, until);
        assert_eq!(
            (wanting(&facts), facts.dhcp().next_deadline()),
            (None, None),
            "it asks no more"
        );
    }

    #[test]
    fn who_cannot_ask_does_not_know() {
        let mut facts = plugged();
        handle(&mut facts, &Event::Dhcp(ALONE));
        handle(
            &mut facts,
            &Event::Dhcp(Dhcp::CheckFailed { index: CLUSTER, why: "not permitted".to_owned() }),
        );
        assert_eq!(
            (facts.dhcp().other_servers(), facts.dhcp().unasked()),
            (OtherServers::Unknown, Some("not permitted"))
        );
        handle(&mut facts, &Event::Dhcp(ALONE));
        assert_eq!(facts.dhcp().unasked(), None);
    }
}
