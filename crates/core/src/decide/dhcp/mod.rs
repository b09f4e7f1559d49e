//! DHCP, DNS and net boot for the nodes: the desired state of dnsmasq.

pub mod others;
pub mod places;
mod resolvers;
#[cfg(test)]
mod tests;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use bramblegate_clat::Prefix;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use crate::config::{Netboot, Settings, TimeServer};
use crate::event::{LinkIndex, Mac, Path, Reachability};
use crate::facts::Facts;
use crate::facts::dhcp::OtherServers;
use crate::facts::node::Origin;
use crate::facts::uplink::UplinkState;

use super::Overlap;
use super::cluster::{Placement, keep_host};

pub use resolvers::Upstream;

/// Lease time while venue and cluster use the same addresses: the cluster may have to move, and
/// nodes should notice soon. dnsmasq's minimum.
const SHORT_LEASE: Duration = Duration::from_secs(120);
/// T1, the renewal interval (RFC 2131, 4.4.5): bounds how long nodes stay cut off after the cluster
/// moves, whatever the lease time.
const RENEW: Duration = Duration::from_secs(60);
/// Limit on renewals per second, over all addresses.
const RENEWALS_A_SECOND: u32 = 5;

/// Router advertisements to the nodes, in seconds: the longest interval between two, and the router
/// lifetime (RFC 4861 6.2.1). Short, because a head that is carried away sends no final
/// advertisement.
pub const ADVERTISED_EVERY: u16 = 120;
pub const ROUTER_LIFETIME: u16 = 600;

/// The NAT64 prefix to advertise to the nodes, with what dnsmasq's advertisements hold too: a
/// client may keep only a router's latest message (dhcpcd 10.1 does).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pref64Plan {
    /// The cluster port.
    pub index: LinkIndex,
    pub port: String,
    pub prefix: Prefix,
    pub mac: Option<Mac>,
    /// In bytes.
    pub mtu: u32,
    /// The resolver: the head's link-local address.
    pub resolver: Option<Ipv6Addr>,
}

/// The networks that the nodes lose, for the last advertisements of them (RFC 4861 6.2.5, RFC 7084
/// L-13); with what dnsmasq's hold too, as in a [`Pref64Plan`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WithdrawalPlan {
    /// The cluster port.
    pub index: LinkIndex,
    pub port: String,
    pub networks: Vec<Ipv6Net>,
    /// Whether the head stays the nodes' default router.
    pub is_router: bool,
    pub mac: Option<Mac>,
    /// In bytes.
    pub mtu: u32,
    /// The resolver: the head's link-local address.
    pub resolver: Option<Ipv6Addr>,
}

/// The desired state of dnsmasq. Names no nodes: their list may be long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServicePlan {
    /// The cluster port.
    pub port: String,
    /// The head's address on that port, from which DHCPv4 is served.
    pub address: Ipv4Net,
    pub dhcp: Option<DhcpPlan>,
    /// Whether to serve DNS.
    pub dns: bool,
    /// Where other names are forwarded to; without DNS here, the resolvers to offer to the nodes.
    pub upstreams: Vec<Upstream>,
    /// Where the answers of the upstreams come from.
    pub origin: AnswerOrigin,
    pub domain: String,
    /// The head's host name, without a domain.
    pub head: Option<String>,
    pub netboot: Option<Netboot>,
    /// The head's address in the nodes' IPv6 network, which is advertised; `None`: IPv6 is off.
    pub ipv6: Option<Ipv6Net>,
    /// Whether networks that the venue delegates are advertised too: by the head's addresses, so
    /// that an expired one is advertised as deprecated.
    pub delegated: bool,
    /// Whether to offer IPv6-only to the nodes (RFC 8925).
    pub ipv6_only_preferred: bool,
}

/// What cached DNS answers depend on beside the resolvers; a change invalidates the cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnswerOrigin {
    pub uplink: Option<LinkIndex>,
    /// A captive portal resolves all names to its own address (RFC 8952 describes the practice).
    pub portal: bool,
}

/// Addresses for the nodes, by DHCPv4 (RFC 2131).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DhcpPlan {
    pub first: Ipv4Addr,
    pub last: Ipv4Addr,
    /// The lease time of the settings, for dnsmasq's main file.
    pub usual_lease: Duration,
    /// The lease time now.
    pub lease: Duration,
    /// DHCP option 58, T1 (RFC 2131 4.4.5): when a node renews with its server.
    pub renew: Duration,
    /// DHCP option 59, T2: when a node turns to any server. Soon after T1, because a head that has
    /// moved is no longer at its old address.
    pub rebind: Duration,
    /// DHCP option 42.
    pub time_servers: Vec<Ipv4Addr>,
}

impl DhcpPlan {
    /// Returns the number of addresses in the dynamic range.
    pub fn size(&self) -> u32 {
        u32::from(self.last).saturating_sub(u32::from(self.first)).saturating_add(1)
    }
}

/// Returns whether a boot file is iPXE itself, by the file names of upstream and distributions
/// (ipxe.org/appnote/buildtargets).
pub fn is_ipxe(file: &str) -> bool {
    let name = file.rsplit('/').next().unwrap_or(file).to_ascii_lowercase();
    let named = ["ipxe", "undionly", "snponly"].iter().any(|part| name.contains(part));
    // A script may carry iPXE in its name too.
    let program = [".ipxe", ".cfg", ".php"].iter().all(|end| !name.ends_with(end));
    program && (named || name.ends_with("kpxe") || name == "snp.efi")
}

/// Whether the nodes may be served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The settings turn off both DHCP and DNS.
    Off,
    /// There is no port, or it is unknown yet whether another server is active there.
    Waiting,
    /// Another server is active.
    Refused,
    Serve,
}

/// Returns whether the nodes may be served: never beside another server, since the port may be in
/// the venue.
pub fn verdict(settings: &Settings, facts: &Facts) -> Verdict {
    let cluster = &settings.cluster;
    if !settings.gateway.enabled || (cluster.dhcp.is_none() && cluster.dns.is_none()) {
        return Verdict::Off;
    }
    if facts.cluster_port().is_none_or(|link| link.master.is_some()) {
        return Verdict::Waiting;
    }
    match facts.dhcp().other_servers() {
        // DNS harms no one beside another server, so there is nothing to wait for.
        _ if cluster.dhcp.is_none() => Verdict::Serve,
        OtherServers::Unknown => Verdict::Waiting,
        OtherServers::Foreign { .. } => Verdict::Refused,
        OtherServers::None => Verdict::Serve,
    }
}

/// Returns what to serve now; `None` if nothing may be. Beside another DHCP server DNS stays on:
/// only clients that choose us use it.
pub fn decide(settings: &Settings, facts: &Facts, placement: &Placement) -> Option<ServicePlan> {
    let port = facts.cluster_port()?;
    let plan = || plan(settings, facts, placement, &port.name);
    match verdict(settings, facts) {
        Verdict::Serve => plan(),
        Verdict::Refused if settings.cluster.dns.is_some() => Some(ServicePlan {
            dhcp: None,
            netboot: None,
            ipv6: None,
            delegated: false,
            ipv6_only_preferred: false,
            ..plan()?
        }),
        Verdict::Refused | Verdict::Waiting | Verdict::Off => None,
    }
}

/// Returns what would be served if nothing prevented it, for `print`; on the port of the settings
/// if it does not exist.
pub fn intended(settings: &Settings, facts: &Facts, placement: &Placement) -> Option<ServicePlan> {
    if settings.cluster.dhcp.is_none() && settings.cluster.dns.is_none() {
        return None;
    }
    let port = facts
        .cluster_port()
        .map_or_else(|| settings.cluster.interface.to_string(), |link| link.name.clone());
    plan(settings, facts, placement, &port)
}

/// Returns what to serve on this port, ignoring obstacles; `None` if the head has no IPv4 address
/// in the cluster.
fn plan(
    settings: &Settings,
    facts: &Facts,
    placement: &Placement,
    port: &str,
) -> Option<ServicePlan> {
    let cluster = &settings.cluster;
    let IpNet::V4(address) = placement.address else { return None };
    let dhcp = cluster.dhcp.as_ref().map(|dhcp| {
        let lease = if placement.overlap == Overlap::None {
            dhcp.lease_time
        } else {
            dhcp.lease_time.min(SHORT_LEASE)
        };
        let [renew, rebind] =
            renewals(u32::from(dhcp.last).saturating_sub(u32::from(dhcp.first)), lease);
        DhcpPlan {
            first: keep_host(dhcp.first, address),
            last: keep_host(dhcp.last, address),
            usual_lease: dhcp.lease_time,
            lease,
            renew,
            rebind,
            time_servers: time_servers(dhcp.ntp, facts, address.addr()),
        }
    });
    Some(ServicePlan {
        port: port.to_owned(),
        address,
        netboot: cluster.netboot.clone().filter(|_| dhcp.is_some()),
        ipv6: placement.ipv6.filter(|_| dhcp.is_some()),
        delegated: dhcp.is_some() && placement.ipv6.is_some() && facts.had_delegation(),
        ipv6_only_preferred: dhcp.is_some()
            && placement.ipv6.is_some()
            && cluster.ipv6_only_preferred
            && may_do_without_ipv4(facts),
        dhcp,
        dns: cluster.dns.is_some(),
        upstreams: resolvers::upstreams(settings, facts, placement),
        origin: answer_origin(facts),
        domain: cluster.domain.clone(),
        head: head_name(facts),
    })
}

/// Returns what to advertise beside dnsmasq; `None` for nothing.
pub fn pref64(settings: &Settings, facts: &Facts, placement: &Placement) -> Option<Pref64Plan> {
    let advertises = settings.cluster.dhcp.is_some()
        && placement.ipv6.is_some()
        && verdict(settings, facts) == Verdict::Serve;
    let port = facts.cluster_port().filter(|_| advertises && settings.cluster.pref64)?;
    // Until the link-local address is usable nothing can be sent.
    let address = link_local(facts, port.index)?;
    Some(Pref64Plan {
        index: port.index,
        port: port.name.clone(),
        prefix: nat64(facts)?,
        mac: port.mac,
        mtu: port.mtu,
        resolver: settings.cluster.dns.is_some().then_some(address),
    })
}

/// Returns which networks to withdraw from the nodes; `None` for none.
pub fn withdrawal(
    settings: &Settings,
    facts: &Facts,
    placement: &Placement,
) -> Option<WithdrawalPlan> {
    let port = facts.cluster_port()?;
    let networks: Vec<Ipv6Net> = facts.withdrawn_networks().collect();
    let is_router = settings.cluster.dhcp.is_some() && placement.ipv6.is_some();
    let resolver = || link_local(facts, port.index).filter(|_| settings.cluster.dns.is_some());
    (!networks.is_empty()).then(|| WithdrawalPlan {
        index: port.index,
        port: port.name.clone(),
        networks,
        is_router,
        mac: port.mac,
        mtu: port.mtu,
        resolver: resolver(),
    })
}

/// Returns the head's usable link-local address on this port.
fn link_local(facts: &Facts, port: LinkIndex) -> Option<Ipv6Addr> {
    let mut held = facts.kernel().addresses(port).iter().filter(|held| !held.tentative);
    held.find_map(|held| match held.address {
        IpNet::V6(net) if held.link_local => Some(net.addr()),
        _ => None,
    })
}

/// Returns whether a node may do without IPv4: there is a NAT64, and no probe shows it dead.
fn may_do_without_ipv4(facts: &Facts) -> bool {
    let uplinks = facts.uplinks();
    let mut venues = uplinks.iter().filter_map(|uplink| facts.venue(uplink.link.index));
    nat64(facts).is_some_and(|prefix| {
        let path = Path::Nat64(prefix);
        !venues.any(|venue| venue.answer(path) == Some(Reachability::Nothing))
    })
}

/// Returns the NAT64 prefix for the nodes' IPv6 traffic: that of the first uplink with IPv6, in the
/// order of the settings.
fn nat64(facts: &Facts) -> Option<Prefix> {
    let uplinks = facts.uplinks();
    let mut venues = uplinks.iter().filter_map(|uplink| facts.venue(uplink.link.index));
    let (prefix, _) = venues.find(|venue| venue.has_ipv6())?.nat64()?;
    Some(prefix)
}

/// Returns the current origin of DNS answers.
fn answer_origin(facts: &Facts) -> AnswerOrigin {
    let active = facts.active().filter(|active| active.address.is_some());
    let portal = active.as_ref().is_some_and(|active| active.settled == UplinkState::Portal);
    AnswerOrigin { uplink: active.map(|active| active.link.index), portal }
}

/// Returns T1 and T2 for a pool of this size.
fn renewals(addresses: u32, lease: Duration) -> [Duration; 2] {
    let often = RENEW.max(Duration::from_secs(u64::from(addresses / RENEWALS_A_SECOND)));
    let renew = often.min(lease / 2);
    [renew, renew + renew / 4]
}

/// Returns the head if it serves time, else the servers that it uses itself.
fn time_servers(wanted: TimeServer, facts: &Facts, head: Ipv4Addr) -> Vec<Ipv4Addr> {
    let time = &facts.vitals().time;
    match wanted {
        TimeServer::Off => Vec::new(),
        TimeServer::At(address) => vec![address],
        TimeServer::Auto if time.served => vec![head],
        TimeServer::Auto => {
            let outside = time.servers.iter().filter(|server| !server.is_loopback());
            outside
                .copied()
                .filter(|server| !facts.kernel().is_local(IpAddr::V4(*server)))
                .collect()
        }
    }
}

/// Returns the first label of the host name, unless it is unusable or a node of the settings has
/// that name. A node that merely reports it, as every fresh system does, cannot take it.
fn head_name(facts: &Facts) -> Option<String> {
    let label = facts.vitals().host_name.split('.').next().unwrap_or_default().to_ascii_lowercase();
    let fine =
        !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    let taken =
        || facts.nodes().by_name(&label).is_some_and(|node| node.origin == Origin::Settings);
    (fine && label != "localhost" && !taken()).then_some(label)
}
