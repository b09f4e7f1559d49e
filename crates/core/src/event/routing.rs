//! Route lookups that the routing watch repeats.

use std::net::{IpAddr, Ipv4Addr};

use super::{LinkIndex, Way};

/// a.root-servers.net: an internet address without special routes.
pub const INTERNET: Ipv4Addr = Ipv4Addr::new(198, 41, 0, 4);

/// Configures the route lookups, which are repeated after each change in the kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EgressPlan {
    /// The cluster port.
    pub from_port: LinkIndex,
    /// An address in the cluster other than the head's own.
    pub source: IpAddr,
    /// Ways whose egress port is checked.
    pub ways: Vec<Way>,
}
