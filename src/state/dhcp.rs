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

impl State {
    /// Who else serves addresses on the cluster port; what was heard on an earlier port does not count.
    pub fn other_servers(&self) -> OtherServers {
        match self.other_servers {
            Some((index, servers)) if self.roles.cluster == Some(index) => servers,
            _ => OtherServers::Unknown,
        }
    }

    pub(super) fn apply_dhcp(&mut self, dhcp: &Dhcp) -> Vec<Transition> {
        let (index, servers): (LinkIndex, _) = match dhcp {
            Dhcp::Alone { index } => (*index, OtherServers::None),
            Dhcp::Foreign { index, server, mac } => (*index, OtherServers::Foreign { server: *server, mac: *mac }),
            Dhcp::Said(said) => return vec![Transition::ServerSaid(said.clone())],
            Dhcp::Boots { .. } => return Vec::new(),
        };
        self.other_servers = Some((index, servers));
        Vec::new()
    }
}
