//! What was seen of DHCP on the cluster port: may it be served there?

use std::net::Ipv4Addr;

use super::{State, Transition};
use crate::event::{Dhcp, LinkIndex, Mac};

/// Who else serves addresses on the cluster port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OtherServers {
    /// not asked yet, or not since the port was last plugged in
    #[default]
    Unknown,
    /// nobody
    None,
    /// this one
    Foreign { server: Ipv4Addr, mac: Option<Mac> },
}

/// What is remembered of one stay of a cable in the cluster port.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct DhcpFacts {
    /// the port with its cable, while addresses are to be served there
    port: Option<LinkIndex>,
    /// counts up with each of them
    generation: u64,
    servers: OtherServers,
    /// why it cannot be asked
    unasked: Option<String>,
}

impl State {
    /// Who else serves addresses on the cluster port; what was heard on an earlier port, or before the cable was pulled, does
    /// not count.
    pub fn other_servers(&self) -> OtherServers {
        self.dhcp.servers
    }

    /// Why nobody can be asked whether others serve addresses.
    pub fn dhcp_unasked(&self) -> Option<&str> {
        self.dhcp.unasked.as_deref()
    }

    /// The cluster port, if addresses are to be served there and it has a carrier, and the number of this plugging.
    pub fn dhcp_port(&self) -> Option<(LinkIndex, u64)> {
        self.dhcp.port.map(|port| (port, self.dhcp.generation))
    }

    /// Forgets what was heard when the cable was pulled or the port is another one.
    pub(super) fn watch_dhcp(&mut self) -> Option<Transition> {
        let wanted = self.settings.gateway.enabled && self.settings.cluster.dhcp.is_some();
        let usable = self.cluster_port().filter(|link| wanted && link.carrier && link.master.is_none());
        let port = usable.map(|link| link.index);
        if port == self.dhcp.port {
            return None;
        }
        let generation = self.dhcp.generation + 1;
        let before = std::mem::replace(&mut self.dhcp, DhcpFacts { port, generation, ..DhcpFacts::default() });
        match before.servers {
            OtherServers::Foreign { server, .. } => Some(Transition::ForeignDhcpGone { server }),
            OtherServers::Unknown | OtherServers::None => None,
        }
    }

    pub(super) fn apply_dhcp(&mut self, dhcp: &Dhcp) -> Vec<Transition> {
        let (index, servers, unasked) = match dhcp {
            Dhcp::Alone { index } => (*index, OtherServers::None, None),
            Dhcp::Foreign { index, server, mac } => {
                (*index, OtherServers::Foreign { server: *server, mac: *mac }, None)
            }
            Dhcp::Unasked { index, why } => (*index, OtherServers::Unknown, Some(why.clone())),
            Dhcp::Said(said) => return vec![Transition::ServerSaid(said.clone())],
            Dhcp::Boots { .. } => return Vec::new(),
        };
        if self.dhcp.port != Some(index) {
            // Heard before the cable was pulled.
            return Vec::new();
        }
        self.dhcp.unasked = unasked;
        match (std::mem::replace(&mut self.dhcp.servers, servers), servers) {
            (before, after) if before == after => Vec::new(),
            (_, OtherServers::Foreign { server, mac }) => vec![Transition::ForeignDhcp { server, mac }],
            (OtherServers::Foreign { server, .. }, _) => vec![Transition::ForeignDhcpGone { server }],
            _ => Vec::new(),
        }
    }
}
