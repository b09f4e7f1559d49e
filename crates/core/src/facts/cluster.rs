//! The cluster's addresses: clashes with those of the uplinks, and the head's retired addresses on
//! the cluster port, each of which stays as long as a node uses its subnet.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use ipnet::{IpNet, Ipv6Net};

use super::context::Context;
use super::link::Links;
use super::node::Nodes;
use super::uplink::{UplinkMemory, Uplinks};
use crate::config::{Ipv6Prefix, Settings};
use crate::event::{Change, Event, Instant, LinkIndex, Vital};

/// How long a retired subnet keeps its address after its last use: more than twice the lease time
/// of a moved cluster, and longer than the kernel needs to detect a lost neighbour.
pub const RETIREMENT_GRACE: Duration = Duration::from_secs(300);
/// Interval at which the use of retired subnets is checked.
const USE_CHECK_INTERVAL: Duration = Duration::from_secs(30);

/// How long a delegated prefix stays valid after it was removed, as a restarted client removes and
/// adds it again.
const DELEGATION_GRACE: Duration = Duration::from_secs(10);

/// How long a prefix that the nodes lose is withdrawn: longer than the last advertisements take.
const WITHDRAWAL: Duration = Duration::from_secs(10);

/// The length of the longest prefix of a whole site (RFC 6177): a venue delegates a part of its own.
const SITE: u8 = 48;

/// Limit on remembered previous prefixes; connections from older ones have ended.
const MAX_PREVIOUS: usize = 8;

/// A prefix that the venue behind an uplink delegated to the head (RFC 8415, section 6.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delegation {
    pub prefix: Ipv6Net,
    /// Egress of packets from the prefix, which any other venue would filter (RFC 2827).
    pub uplink: LinkIndex,
    lost_at: Option<Instant>,
}

/// Holds the state of the cluster's addresses.
#[derive(Debug, Clone, Default)]
pub(super) struct Cluster {
    /// An uplink held an address of the cluster at the last refresh.
    clashing: bool,
    /// Uplink addresses that are also leased to nodes. The clash outlives those leases, which are
    /// revoked when the cluster moves.
    given_twice: Vec<(LinkIndex, IpAddr)>,
    retiring: RetiringSubnets,
    /// The nodes' saved unique local network.
    kept_ipv6: Option<Ipv6Net>,
    delegation: Option<Delegation>,
    /// Prefixes whose uplink is not known, since they were there while two of them had an IPv6
    /// default route.
    ambiguous: BTreeSet<Ipv6Net>,
    /// The nodes have or had addresses of a delegated prefix, which must be deprecated by router
    /// advertisements.
    had_delegation: bool,
    /// Prefixes that were delegated before, latest last: nodes may still send from them.
    previous_delegations: Vec<Ipv6Net>,
    /// Networks that the nodes lose, by the head's address on the cluster port that no setting
    /// wants any more; each with the time at which that address was gone.
    withdrawn: BTreeMap<Ipv6Net, Option<Instant>>,
    /// The kernel forwarded IPv6 on all ports before Bramblegate changed it.
    forwarded_ipv6: bool,
}

impl Cluster {
    /// Returns the nodes' IPv6 network; `None`: they get no IPv6, or it is not known yet. A process
    /// that may not read the saved network derives it from the head's address.
    pub fn ipv6(&self, settings: &Settings, links: &Links) -> Option<Ipv6Net> {
        match settings.cluster.ipv6? {
            Ipv6Prefix::Given(net) => Some(net),
            Ipv6Prefix::Auto | Ipv6Prefix::UniqueLocal => self.kept_ipv6.or_else(|| {
                let held = links.kernel().addresses(links.roles().cluster?).iter();
                held.filter(|held| held.ours).find_map(|held| match held.address {
                    IpNet::V6(net) if net.addr().is_unique_local() => Some(net.trunc()),
                    _ => None,
                })
            }),
        }
    }

    /// Returns the delegated prefix that the nodes use, if any.
    pub fn delegation(&self) -> Option<Delegation> {
        self.delegation
    }

    /// Returns whether the nodes have, or had, addresses of a delegated prefix.
    pub fn had_delegation(&self) -> bool {
        self.had_delegation
    }

    /// Returns prefixes that were delegated before and are not now.
    pub fn previous_delegations(&self) -> impl Iterator<Item = Ipv6Net> + '_ {
        let now = self.delegation.map(|known| known.prefix);
        let apart = move |previous: &Ipv6Net| {
            now.is_none_or(|now| !now.contains(previous) && !previous.contains(&now))
        };
        self.previous_delegations.iter().copied().filter(apart)
    }

    /// Returns the networks that the nodes lose now.
    pub fn withdrawn(&self) -> impl Iterator<Item = Ipv6Net> + '_ {
        self.withdrawn.keys().copied()
    }

    /// Returns the nodes' saved unique local network, whether or not it is in use.
    pub fn kept_ipv6(&self) -> Option<Ipv6Net> {
        self.kept_ipv6
    }

    /// Returns whether the kernel forwarded IPv6 on all ports before Bramblegate changed it.
    pub fn forwarded_ipv6(&self) -> bool {
        self.forwarded_ipv6
    }

    /// Processes neighbour events as use of an address, since an entry may turn stale before the
    /// next check, and the saved IPv6 state.
    pub fn handle(&mut self, event: &Event, context: Context<'_>, links: &Links) {
        match event {
            Event::Neighbour(Change::Present(heard)) => {
                if let Some((address, _, true)) = links.heard_board(heard) {
                    self.retiring.heard(address, context.now);
                }
            }
            Event::Vital(Vital::Ipv6 { kept, forwarding_before }) => {
                (self.kept_ipv6, self.forwarded_ipv6) = (*kept, *forwarding_before);
            }
            _ => {}
        }
    }

    /// Recomputes what depends on links, uplinks, nodes and time.
    pub fn refresh(
        &mut self,
        context: Context<'_>,
        links: &Links,
        uplinks: &Uplinks,
        nodes: &Nodes,
    ) {
        let clashes = self.clashes(context.settings, links, uplinks, nodes);
        let clashing = !clashes.is_empty();
        let moved = std::mem::replace(&mut self.clashing, clashing) != clashing;
        let given =
            |(_, address): &(LinkIndex, IpAddr)| !is_written(*address, context.settings, nodes);
        self.given_twice = clashes.into_iter().filter(given).collect();
        let held = addresses_of_ours(context.settings, links);
        self.retiring.refresh(&held, moved, nodes, context.now);
        self.follow_delegation(context, links);
        self.follow_withdrawn(context, links);
    }

    /// Follows the networks that the nodes lose by a change of the settings, also by one made while
    /// the daemon was stopped. dnsmasq itself deprecates a delegated one.
    fn follow_withdrawn(&mut self, context: Context<'_>, links: &Links) {
        let (kernel, now) = (links.kernel(), context.now);
        if links.is_synced() && !kernel.is_listing() {
            for gone_at in self.withdrawn.values_mut() {
                gone_at.get_or_insert(now);
            }
            let port = links.roles().cluster;
            let held = port.into_iter().flat_map(|port| kernel.addresses(port));
            for held in held.filter(|held| held.ours && !held.link_local) {
                let IpNet::V6(net) = held.address else { continue };
                if net.addr().is_unique_local() || !self.had_delegation {
                    self.withdrawn.insert(net.trunc(), None);
                }
            }
        }
        let wanted = self.ipv6(context.settings, links);
        let delegated = self.delegation.map(|known| known.prefix);
        self.withdrawn.retain(|net, gone_at| {
            wanted != Some(*net)
                && delegated.is_none_or(|prefix| !prefix.contains(net))
                && gone_at.is_none_or(|at| now.saturating_since(at) < WITHDRAWAL)
        });
    }

    /// Follows the delegated prefix.
    fn follow_delegation(&mut self, context: Context<'_>, links: &Links) {
        let before = self.delegation.map(|known| known.prefix);
        self.update_delegation(context, links);
        let ended = before.filter(|prefix| self.delegation.map(|now| now.prefix) != Some(*prefix));
        if let Some(prefix) = ended {
            self.previous_delegations.retain(|previous| *previous != prefix);
            if self.previous_delegations.len() >= MAX_PREVIOUS {
                self.previous_delegations.remove(0);
            }
            self.previous_delegations.push(prefix);
        }
    }

    fn update_delegation(&mut self, context: Context<'_>, links: &Links) {
        let (kernel, roles) = (links.kernel(), links.roles());
        if context.settings.cluster.ipv6 != Some(Ipv6Prefix::Auto) {
            (self.delegation, self.had_delegation) = (None, false);
            self.ambiguous.clear();
            return;
        }
        // During a dump another uplink may still be missing.
        if !links.is_synced() || kernel.is_listing() {
            return;
        }
        self.delegation = self.delegation.and_then(|known| {
            let present = kernel.delegated().any(|prefix| prefix == known.prefix);
            let lost_at = (!present).then(|| known.lost_at.unwrap_or(context.now));
            let over = lost_at.is_some_and(|at| {
                context.now.saturating_since(at) >= DELEGATION_GRACE
                    || kernel.delegated().next().is_some()
            });
            let stays = !over && roles.uplinks.contains(&known.uplink);
            stays.then_some(Delegation { lost_at, ..known })
        });
        self.ambiguous.retain(|known| kernel.delegated().any(|prefix| prefix == *known));
        if self.delegation.is_none() {
            self.delegation = kernel.delegated().find_map(|prefix| {
                let uplink = self.delegating_uplink(prefix, links)?;
                Some(Delegation { prefix, uplink, lost_at: None })
            });
            self.had_delegation |= self.delegation.is_some();
        }
    }

    /// Returns the uplink by which a prefix was delegated, as far as known: its route does not name
    /// it. It is the only one with an address of the same site, or else the only one that has had an
    /// IPv6 default route since the prefix appeared.
    fn delegating_uplink(&mut self, prefix: Ipv6Net, links: &Links) -> Option<LinkIndex> {
        let (kernel, uplinks) = (links.kernel(), &links.roles().uplinks);
        let site = Ipv6Net::new(prefix.network(), prefix.prefix_len().min(SITE)).ok()?;
        let is_near = |index: &LinkIndex| {
            kernel.addresses(*index).iter().any(|held| {
                !held.ours && matches!(held.address, IpNet::V6(net) if site.contains(&net.addr()))
            })
        };
        let only = |mut some: Vec<LinkIndex>| some.pop().filter(|_| some.is_empty());
        if let Some(uplink) = only(uplinks.iter().copied().filter(is_near).collect()) {
            return Some(uplink);
        }
        let leads = |index: &LinkIndex| kernel.has_default_route(*index, false);
        let leading: Vec<LinkIndex> = uplinks.iter().copied().filter(leads).collect();
        if leading.len() > 1 {
            self.ambiguous.insert(prefix);
        }
        only(leading).filter(|_| !self.ambiguous.contains(&prefix))
    }

    /// Returns the next time at which the state changes without an event.
    pub fn next_deadline(&self) -> Option<Instant> {
        let lost_at = self.delegation.and_then(|known| known.lost_at);
        let lost = lost_at.map(|at| at + DELEGATION_GRACE);
        let withdrawn = self.withdrawn.values().flatten().min().map(|at| *at + WITHDRAWAL);
        self.retiring.next_deadline().into_iter().chain(lost).chain(withdrawn).min()
    }

    /// Returns whether a node may still use the subnet of this address of the cluster port.
    pub fn is_in_use(&self, net: IpNet, now: Instant) -> bool {
        self.retiring.is_in_use(net, now)
    }

    /// Returns an address of this uplink that is also the head's in the cluster, or a node's.
    /// Addresses that Bramblegate added itself do not count. One that a renewal removed a moment
    /// ago does, so that the cluster does not move back and forth.
    pub fn lease_clash(
        &self,
        index: LinkIndex,
        settings: &Settings,
        links: &Links,
        uplinks: &Uplinks,
        nodes: &Nodes,
    ) -> Option<IpAddr> {
        let held = links.kernel().addresses(index).iter().filter(|held| !held.ours);
        let renewing = uplinks.get(index).and_then(UplinkMemory::renewing_address);
        let leased = held.map(|held| held.address).chain(renewing).map(|net| net.addr());
        let home = IpNet::V4(settings.cluster.address);
        let given = |address| {
            self.given_twice.contains(&(index, address)) || nodes.is_leased(address, home)
        };
        leased.into_iter().find(|address| {
            is_written(*address, settings, nodes) || home.contains(address) && given(*address)
        })
    }

    /// Returns the uplinks that hold an address of the cluster, each with the first such address.
    pub fn clashes(
        &self,
        settings: &Settings,
        links: &Links,
        uplinks: &Uplinks,
        nodes: &Nodes,
    ) -> Vec<(LinkIndex, IpAddr)> {
        let ports = links.roles().uplinks.iter();
        let clash = |index| self.lease_clash(index, settings, links, uplinks, nodes);
        ports.filter_map(|index| Some((*index, clash(*index)?))).collect()
    }
}

/// Returns the head's addresses in the cluster that the settings give.
pub(super) fn own_addresses(settings: &Settings) -> impl Iterator<Item = IpNet> + '_ {
    let cluster = &settings.cluster;
    std::iter::once(&cluster.address).chain(&cluster.fallback_addresses).copied().map(IpNet::V4)
}

/// Returns whether an uplink has an IPv4 address inside the cluster's subnet, as the venue uses the
/// same network. Nodes send ARP requests for it on the cluster port; one that a node itself has
/// does not count.
pub(super) fn is_uplink_looked_for(settings: &Settings, uplinks: &Uplinks, nodes: &Nodes) -> bool {
    uplinks.iter().filter_map(|(_, memory)| memory.address).any(|address| match address {
        IpNet::V4(held) => {
            settings.cluster.address.contains(&held.addr())
                && nodes.by_address(held.addr().into()).is_none()
        }
        IpNet::V6(_) => false,
    })
}

/// Returns whether the settings give this address to the head or to a node.
fn is_written(address: IpAddr, settings: &Settings, nodes: &Nodes) -> bool {
    address == IpAddr::V4(settings.cluster.address.addr()) || nodes.is_configured(address)
}

/// Returns the cluster port's addresses that the settings give.
fn addresses_of_ours(settings: &Settings, links: &Links) -> Vec<IpNet> {
    let Some(port) = links.roles().cluster else { return Vec::new() };
    let held = links.kernel().addresses(port).iter().map(|held| held.address);
    held.filter(|net| own_addresses(settings).any(|own| own == *net)).collect()
}

/// Tracks the last use of each of the head's addresses on the cluster port.
#[derive(Debug, Clone, Default)]
struct RetiringSubnets {
    /// The last observed use, or the end of the longest lease.
    used: BTreeMap<IpNet, Instant>,
    next_check: Instant,
    /// More than one address exists and one is in use, so that checks go on.
    is_checking: bool,
}

impl RetiringSubnets {
    fn heard(&mut self, address: IpAddr, now: Instant) {
        for (_, used) in self.used.iter_mut().filter(|(net, _)| net.contains(&address)) {
            *used = now.max(*used);
        }
    }

    fn is_in_use(&self, net: IpNet, now: Instant) -> bool {
        let used = self.used.get(&net);
        used.is_some_and(|used| now.saturating_since(*used) < RETIREMENT_GRACE)
    }

    /// Updates the last use of each address. `moved`: the cluster moves now, so that its old leases
    /// are about to be revoked although their nodes still use them.
    fn refresh(&mut self, held: &[IpNet], moved: bool, nodes: &Nodes, now: Instant) {
        self.used.retain(|net, _| held.contains(net));
        for net in held {
            self.used.entry(*net).or_insert(now);
        }
        if moved || (held.len() > 1 && self.next_check <= now) {
            for (net, used) in &mut self.used {
                let until = nodes.used_until(*net, now).max(moved.then_some(now));
                *used = until.map_or(*used, |until| until.max(*used));
            }
            self.next_check = now + USE_CHECK_INTERVAL;
        }
        self.is_checking = held.len() > 1 && held.iter().any(|net| self.is_in_use(*net, now));
    }

    fn next_deadline(&self) -> Option<Instant> {
        self.is_checking.then_some(self.next_check)
    }
}
