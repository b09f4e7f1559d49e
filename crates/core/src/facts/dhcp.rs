//! What was seen of DHCP on the cluster port: may it be served there?

use std::net::Ipv4Addr;
use std::time::Duration;

use super::context::Context;
use super::link::Links;
use super::node::Nodes;
use super::transition::Transition;
use crate::event::{Dhcp, Event, Instant, LinkIndex, Mac, ServerLog, ServerLogKind};

/// What is known of other servers on the cluster port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OtherServers {
    /// Not asked yet, or not since the port was last plugged in.
    #[default]
    Unknown,
    /// No client.
    None,
    /// This one.
    Foreign { server: Ipv4Addr, mac: Option<Mac> },
}

/// Holds what is remembered of one stay of a cable in the cluster port.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DhcpFacts {
    /// The port with its cable, while addresses are to be served there.
    port: Option<LinkIndex>,
    /// Counts up with each of them.
    generation: u64,
    servers: OtherServers,
    /// Why it cannot be asked.
    unasked: Option<String>,
    /// Seconds for which a switch lets nothing through, while that is waited for.
    held: Option<u64>,
    /// A board that got no address.
    want: Option<Want>,
}

/// A board asked for an address and none was left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Want {
    mac: Mac,
    /// Whether all addresses of the range were taken, as far as is known here, when there were
    /// these nodes.
    full: bool,
    topology_version: u64,
    /// It has asked again until then, or does not want one any more.
    until: Instant,
}

/// A client that gets no address asks again: some after seconds, others after five minutes
/// (dhclient's `retry`).
const WANT_TIME: Duration = Duration::from_secs(660);

impl DhcpFacts {
    /// Takes in what is seen of DHCP on the cluster port.
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
            // The nodes' own.
            Dhcp::CallsItself { .. } | Dhcp::Boots { .. } => None,
        }
    }

    /// Brings up to date what follows from links, nodes and time.
    pub(super) fn refresh(
        &mut self,
        context: Context<'_>,
        links: &Links,
        nodes: &Nodes,
    ) -> Option<Transition> {
        let transition = self.refresh_port(context, links);
        self.refresh_want(context, nodes);
        transition
    }

    /// Returns the next moment at which time alone changes something.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.want.map(|want| want.until)
    }

    /// Takes in who else serves addresses; what was heard on an earlier port, or before the cable
    /// was pulled, does not count.
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

    /// Takes in that our server has no address for this board.
    fn handle_refusal(&mut self, logged: &ServerLog, context: Context<'_>, nodes: &Nodes) {
        let exhausted = logged.what == ServerLogKind::Exhausted && self.port.is_some();
        let Some(mac) = logged.mac.filter(|_| exhausted) else { return };
        // The first one stands for all: which of several asked last is no news.
        let mac = self.want.map_or(mac, |want| want.mac);
        let (full, topology_version) =
            (nodes.is_range_full(context.settings), nodes.topology_version);
        self.want = Some(Want { mac, full, topology_version, until: context.now + WANT_TIME });
    }

    /// Forgets what was heard when the cable was pulled or the port is another one.
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

    /// Looks at the range again where the nodes have changed: as long as no client wants an address
    /// that costs nothing.
    fn refresh_want(&mut self, context: Context<'_>, nodes: &Nodes) {
        let Some(want) = &mut self.want else { return };
        let freed = want.topology_version != nodes.topology_version && {
            want.topology_version = nodes.topology_version;
            let was = std::mem::replace(&mut want.full, nodes.is_range_full(context.settings));
            was && !want.full
        };
        // No client has asked for long. (What keeps addresses from our server that is not known here,
        // only its own complaints show.)
        let over = want.until <= context.now;
        if freed || over || nodes.has_lease(want.mac) {
            self.want = None;
        }
    }

    /// Returns who else serves addresses on the cluster port; what was heard on an earlier port, or
    /// before the cable was pulled, does not count.
    pub fn other_servers(&self) -> OtherServers {
        self.servers
    }

    /// Returns why it cannot be asked whether others serve addresses.
    pub fn unasked(&self) -> Option<&str> {
        self.unasked.as_deref()
    }

    /// Returns for how many seconds a switch is waited for that announced a spanning tree; `None`:
    /// nothing is waited for.
    pub fn held(&self) -> Option<u64> {
        self.held
    }

    /// Returns the cluster port, if addresses are to be served there and it has a carrier, and the
    /// number of this plugging.
    pub fn port(&self) -> Option<(LinkIndex, u64)> {
        self.port.map(|port| (port, self.generation))
    }

    /// Returns the board that asked for an address while none was left, until one is free again or
    /// it has stopped asking.
    pub fn want(&self) -> Option<Mac> {
        self.want.map(|want| want.mac)
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
    fn no_server_is_known_until_one_was_asked_for_and_a_foreign_one_is_reported_once() {
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
    fn a_pulled_cable_or_another_port_is_asked_anew() {
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
        assert_eq!(
            facts.dhcp().other_servers(),
            OtherServers::Unknown,
            "what is reported too late does not count"
        );
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
            "that was about the port before"
        );
    }

    #[test]
    fn a_board_that_was_not_known_is_a_stranger_once() {
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
    fn a_head_that_serves_nothing_sends_no_request() {
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

    /// One of the boards, at one of the addresses.
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
    fn who_gets_no_address_is_known_until_one_is_free() {
        let two = settings("[cluster.dhcp]\nrange = \"192.168.50.100-192.168.50.101\"\n");
        let mut facts = Facts::new(two, Instant::default());
        handle(&mut facts, &link(CLUSTER, true));
        for (board, last) in [(1, 100), (2, 101)] {
            handle(&mut facts, &Event::Lease(Change::Present(lease(board, last))));
        }
        assert_eq!(wanting(&facts), None, "that all are given leaves no node without one");
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
