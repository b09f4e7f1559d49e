//! What is asked about the ways that packets take.

use std::net::{IpAddr, Ipv4Addr};

use super::{LinkIndex, Way};

/// a.root-servers.net: an address of the internet without special routes.
pub const INTERNET: Ipv4Addr = Ipv4Addr::new(198, 41, 0, 4);

/// Holds a question. It is asked again whenever anything in the kernel changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EgressPlan {
    /// The cluster port.
    pub from_port: LinkIndex,
    /// An address of the cluster that is not the head's own.
    pub source: IpAddr,
    /// What has been promised.
    pub ways: Vec<Way>,
}
