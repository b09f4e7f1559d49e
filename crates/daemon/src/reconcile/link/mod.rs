//! Interface settings and addresses: read, compare, write.
//!
//! The settings of all ports are written before any address: without `arp_ignore` on an uplink the
//! head would answer the venue's ARP requests for an address of the cluster.

mod conf;
mod conf6;
mod error;
mod faults;
mod previous;
mod settings6;
pub mod unique_local;

use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};

use ::rtnetlink::AddressMessageBuilder;
use bramblegate_netlink::packet::address::{AddressAttribute, AddressHeaderFlags, AddressMessage};
use bramblegate_netlink::rtnetlink::{self, Listing};
use bramblegate_netlink::{Message, NetlinkError};
use ipnet::{IpNet, Ipv6Net};
use rustix::io::Errno;
use tracing::debug;

use crate::config::{Ipv6Prefix, Settings};
use crate::decide::{LinkPlan, PortPlan, ROUTE_PROTOCOL};
use crate::event::{Address, Applied, ApplyError, Change, Event, LinkIndex, Output, Vital};
use crate::reconcile::Reconciler;
use crate::reconcile::dhcp::withdrawal;
use crate::reconcile::error::Refused;
use crate::reconcile::rtnl::{ADD, Request, Rtnl};
use crate::watch::link;

use conf::Conf;
pub use error::LinkError;
use faults::Faults;
use previous::Previous;

/// Brings ports to their [`PortPlan`].
#[derive(Debug)]
pub struct LinkReconciler {
    rtnl: Rtnl,
    previous: Previous,
    /// Ports of the last plan, restored when they leave it; `None` before the first plan.
    planned: Option<Vec<(LinkIndex, String)>>,
}

/// A port in the kernel.
#[derive(Debug, Clone)]
struct Port {
    index: LinkIndex,
    name: String,
    up: bool,
    conf: Option<Conf>,
}

/// An address in the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct PortAddress {
    index: LinkIndex,
    address: IpNet,
    /// It carries our protocol number (`IFA_PROTO`, since Linux 5.18).
    marked: bool,
}

impl LinkReconciler {
    /// Returns a reconciler that records its changes in `previous.json` of `state_directory`.
    pub fn new(state_directory: &Path) -> Self {
        Self { rtnl: Rtnl::default(), previous: Previous::open(state_directory), planned: None }
    }

    fn apply_all(&mut self, plan: &LinkPlan) -> Result<Applied, ApplyError> {
        let ports = read_ports(&mut self.rtnl)?;
        self.previous.forget_gone(&ports.iter().map(|port| port.name.as_str()).collect());
        let mut faults = Faults::default();
        let mut present = Vec::new();
        for wanted in &plan.ports {
            match ports.iter().find(|port| port.index == wanted.index) {
                Some(port) => present.push((wanted, port)),
                None => faults.gone(&wanted.name),
            }
        }
        for (wanted, port) in &present {
            self.set_conf(wanted, port, &mut faults);
        }
        conf6::apply(plan, &mut self.previous, &mut faults);
        let addresses = read_addresses(&mut self.rtnl)?;
        for (wanted, port) in &present {
            let own: Vec<_> =
                addresses.iter().filter(|held| held.index == port.index).copied().collect();
            self.set_addresses(wanted, port, &own, &mut faults);
        }
        self.restore_dropped(plan, &ports, &addresses);
        self.previous.catch_up();
        let unkept = self.previous.unkept().map(str::to_owned);
        faults.result(unkept)
    }

    /// Restores the settings that this run and earlier ones changed, and removes the addresses that
    /// they added. Links stay up. Returns a line for each change. Without a record it still removes
    /// the addresses that carry our mark.
    ///
    /// # Errors
    /// The first failure, after everything was tried.
    pub fn put_back(self) -> Result<Vec<String>, LinkError> {
        let Self { mut rtnl, mut previous, .. } = self;
        let ports = read_ports(&mut rtnl)?;
        let addresses = read_addresses(&mut rtnl)?;
        // The service's user may have written the record, so the kernel's marks take precedence.
        if keeps_marks(&rustix::system::uname().release().to_string_lossy()) {
            for held in addresses.iter().filter(|held| !held.marked) {
                ports
                    .iter()
                    .filter(|port| port.index == held.index)
                    .for_each(|port| previous.disown(&port.name, held.address));
            }
        }
        let mut done = Vec::new();
        let mut failure = None;
        // Addresses before settings: an uplink without `arp_ignore` would answer for a cluster's.
        let mut note = |result: Result<Vec<String>, LinkError>| match result {
            Ok(lines) => done.extend(lines),
            Err(error) => failure = failure.take().or(Some(error)),
        };
        for port in &ports {
            note(put_back_addresses(&mut rtnl, &mut previous, &port.name, port, &addresses));
        }
        for port in &ports {
            note(put_back_conf(&mut rtnl, &previous, &port.name, port));
        }
        match conf6::put_back(&mut previous) {
            Ok(lines) => done.extend(lines),
            Err(error) => failure = failure.or(Some(error)),
        }
        match failure {
            Some(error) => Err(error),
            None => previous.remove().map(|()| done),
        }
    }

    fn set_conf(&mut self, wanted: &PortPlan, port: &Port, faults: &mut Faults) {
        let mut changes = conf::changes(&wanted.conf, port.conf.as_ref());
        // Settings that we changed for another role, or while the venue used the cluster's subnet.
        let released = conf::released(&wanted.conf, &self.previous.conf(&port.name));
        if changes.is_empty() && released.is_empty() {
            return;
        }
        if let Some(conf) = &port.conf {
            self.previous.remember_conf(&port.name, &changes, conf);
        }
        changes.extend(&released);
        match conf::write(&mut self.rtnl, port.index, &changes) {
            Ok(()) => self.previous.forget_conf(&port.name, &released),
            Err(error) => faults.settings_refused(&port.name, &changes, error),
        }
    }

    fn set_addresses(
        &mut self,
        wanted: &PortPlan,
        port: &Port,
        present: &[PortAddress],
        faults: &mut Faults,
    ) {
        if wanted.up && !port.up {
            let sent = self.rtnl.carry_out(&rtnetlink::set_up(port.index));
            let refused =
                |error| Refused::new(format!("{}: cannot be switched on", port.name), error).into();
            faults.note(sent.map_err(refused));
        }
        for &address in wanted
            .addresses
            .iter()
            .filter(|&address| !present.iter().any(|held| held.address == *address))
        {
            if faults.permit(&port.name, address) {
                faults.note(self.add_address(port, address));
            }
        }
        // These include addresses of an earlier run with other settings.
        let is_ours =
            |held: &&PortAddress| held.marked || self.previous.added(&port.name, held.address);
        let unwanted = present.iter().filter(|held| !wanted.addresses.contains(&held.address));
        let unwanted: Vec<IpNet> = unwanted.filter(is_ours).map(|held| held.address).collect();
        // On the cluster port the head may stay the nodes' router (`WithdrawalPlan`).
        if wanted.addresses.is_empty() {
            end_networks(port, &unwanted);
        }
        for address in unwanted {
            faults.note(remove_address(&mut self.rtnl, &mut self.previous, port, address));
        }
    }

    fn add_address(&mut self, port: &Port, address: IpNet) -> Result<(), LinkError> {
        self.previous.remember_address(&port.name, address);
        let message = address_message(port.index, address);
        match self.rtnl.send(Request::NewAddress, &message, ADD) {
            Err(error) if error.errno() == Some(Errno::EXIST) => {
                self.previous.forget_address(&port.name, address);
                Ok(())
            }
            result => {
                let what = || format!("{}: cannot be given the address {address}", port.name);
                Ok(result.map_err(|error| Refused::new(what(), error))?)
            }
        }
    }

    /// Restores ports that have left the plan. At the first plan these may be any ports, since an
    /// earlier run may have had other settings.
    fn restore_dropped(&mut self, plan: &LinkPlan, ports: &[Port], addresses: &[PortAddress]) {
        let all = || ports.iter().map(|port| (port.index, port.name.clone())).collect();
        let planned = self.planned.take().unwrap_or_else(all);
        for (index, name) in
            planned.iter().filter(|(index, _)| !plan.ports.iter().any(|port| port.index == *index))
        {
            if let Some(port) = ports.iter().find(|port| port.index == *index) {
                // A failure here is not a fault of the plan's ports; `off` tries again.
                let result =
                    put_back_addresses(&mut self.rtnl, &mut self.previous, name, port, addresses)
                        .and_then(|_| put_back_conf(&mut self.rtnl, &self.previous, name, port));
                if let Err(error) = result {
                    debug!(port = %name, %error, "a port was not put back as it was");
                }
            }
        }
        self.planned =
            Some(plan.ports.iter().map(|port| (port.index, port.name.clone())).collect());
    }
}

impl Reconciler for LinkReconciler {
    type Desired = LinkPlan;
    const OUTPUT: Output = Output::Link;

    async fn apply(&mut self, desired: &LinkPlan) -> Result<Applied, ApplyError> {
        self.apply_all(desired)
    }
}

/// Returns the addresses that we added since boot and have not removed, by port.
pub fn added(state_directory: &Path) -> Vec<(String, IpNet)> {
    Previous::open(state_directory).all_added()
}

/// Returns the ports on which forwarding was off before any run since boot enabled it.
pub fn opened(state_directory: &Path) -> Vec<String> {
    Previous::open(state_directory).opened()
}

/// Returns [`Vital::Ipv6`]: the saved IPv6 network of the nodes, and whether all ports forwarded
/// IPv6 before us.
pub fn ipv6(state_directory: &Path) -> Vital {
    Vital::Ipv6 {
        kept: unique_local::read(state_directory),
        forwarding_before: conf6::forwarded_everywhere(&Previous::open(state_directory)),
    }
}

/// Returns the result of [`ipv6`]. If the settings want a generated network, one is generated, or
/// `current` of this run is used. Also returns the error if it could not be saved.
pub fn ipv6_for(
    settings: &Settings,
    state_directory: &Path,
    current: Option<Ipv6Net>,
) -> (Vital, Option<String>) {
    let saved = ipv6(state_directory);
    if !matches!(settings.cluster.ipv6, Some(Ipv6Prefix::Auto | Ipv6Prefix::UniqueLocal)) {
        return (saved, None);
    }
    let (net, error) = match unique_local::read_or_make(state_directory, current) {
        Ok(net) => (net, None),
        Err((net, error)) => {
            let path = unique_local::path(state_directory);
            let text = format!(
                "{} cannot be written: {error}; after a restart the nodes will have another IPv6 \
                 network",
                path.display()
            );
            (net, Some(text))
        }
    };
    let Vital::Ipv6 { forwarding_before, .. } = saved else { return (saved, error) };
    (Vital::Ipv6 { kept: Some(net), forwarding_before }, error)
}

/// Returns the path of the record, for messages.
pub fn record(state_directory: &Path) -> PathBuf {
    previous::path(state_directory)
}

/// Returns whether a kernel of this release stores our mark on addresses (`IFA_PROTO`, since 5.18),
/// so that an unmarked address is not ours.
fn keeps_marks(release: &str) -> bool {
    let mut numbers =
        release.split(|c: char| !c.is_ascii_digit()).map_while(|number| number.parse::<u32>().ok());
    numbers.next().zip(numbers.next()).is_some_and(|version| version >= (5, 18))
}

fn put_back_addresses(
    rtnl: &mut Rtnl,
    previous: &mut Previous,
    name: &str,
    port: &Port,
    addresses: &[PortAddress],
) -> Result<Vec<String>, LinkError> {
    let here = addresses.iter().filter(|held| held.index == port.index);
    let ours = here.filter(|held| held.marked || previous.added(name, held.address));
    let ours: Vec<IpNet> = ours.map(|held| held.address).collect();
    end_networks(port, &ours);
    let mut done = Vec::new();
    for address in ours {
        remove_address(rtnl, previous, port, address)?;
        done.push(format!("{name}: removed the address {address}"));
    }
    Ok(done)
}

/// Withdraws the networks of these addresses from the nodes behind a port that is not the cluster's
/// any more.
fn end_networks(port: &Port, addresses: &[IpNet]) {
    let networks: Vec<Ipv6Net> = addresses.iter().filter_map(network_of_nodes).collect();
    if networks.is_empty() {
        return;
    }
    if let Err(error) = withdrawal::end(&port.name, port.index, &networks) {
        debug!(port = %port.name, %error, "the nodes' IPv6 networks were not withdrawn");
    }
}

/// Returns the network of the head's IPv6 address among the nodes: the first of a /64. The
/// translator's address on an uplink is none.
fn network_of_nodes(address: &IpNet) -> Option<Ipv6Net> {
    let IpNet::V6(net) = address else { return None };
    let first = u128::from(net.network()) | 1;
    (net.prefix_len() == 64 && u128::from(net.addr()) == first).then(|| net.trunc())
}

fn put_back_conf(
    rtnl: &mut Rtnl,
    previous: &Previous,
    name: &str,
    port: &Port,
) -> Result<Vec<String>, LinkError> {
    let mut before = previous.conf(name);
    // Another program has enabled forwarding on all ports, perhaps after us: leave it on.
    before.forwarding =
        before.forwarding.filter(|forwarded| *forwarded || !link::is_forwarding_everywhere());
    let changes = conf::changes(&before, port.conf.as_ref());
    if changes.is_empty() {
        return Ok(Vec::new());
    }
    conf::write(rtnl, port.index, &changes).map_err(|error| {
        Refused::new(format!("{name}: cannot put back {}", conf::named(&changes)), error)
    })?;
    Ok(vec![format!("{name}: put back {}", conf::named(&changes))])
}

/// Removes an address from the port and from the record. Keeps secondary addresses of the same
/// subnet (`promote_secondaries`).
fn remove_address(
    rtnl: &mut Rtnl,
    previous: &mut Previous,
    port: &Port,
    address: IpNet,
) -> Result<(), LinkError> {
    let promote = |value| vec![conf::Change { setting: conf::PROMOTE_SECONDARIES, value }];
    let is_off = port.conf.as_ref().and_then(|conf| conf.get(conf::PROMOTE_SECONDARIES)) == Some(0);
    let refused = |error: NetlinkError| {
        Refused::new(format!("{}: cannot give back the address {address}", port.name), error)
    };
    if is_off {
        conf::write(rtnl, port.index, &promote(1)).map_err(refused)?;
    }
    let removed = rtnl.send(Request::DelAddress, &address_message(port.index, address), 0);
    if is_off {
        conf::write(rtnl, port.index, &promote(0)).map_err(refused)?;
    }
    match removed {
        Err(error) if error.errno() != Some(Errno::ADDRNOTAVAIL) => Err(refused(error).into()),
        _ => {
            previous.forget_address(&port.name, address);
            Ok(())
        }
    }
}

fn address_message(index: LinkIndex, address: IpNet) -> AddressMessage {
    let length = address.prefix_len();
    let mut message = match address {
        IpNet::V4(net) => {
            AddressMessageBuilder::<Ipv4Addr>::new().address(net.addr(), length).build()
        }
        IpNet::V6(net) => {
            AddressMessageBuilder::<Ipv6Addr>::new().address(net.addr(), length).build()
        }
    };
    message.header.index = index;
    if address.addr().is_ipv6() {
        // No duplicate address detection: in our own network no other host takes the first address,
        // and dnsmasq does not advertise a network while its address there is tentative.
        message.header.flags = AddressHeaderFlags::Nodad;
    }
    message.attributes.push(AddressAttribute::Protocol(ROUTE_PROTOCOL.into()));
    message
}

fn read_ports(rtnl: &mut Rtnl) -> Result<Vec<Port>, LinkError> {
    Ok(rtnl
        .dump(Listing::Links, port)
        .map_err(|error| Refused::new("cannot list the interfaces", error))?)
}

fn port(message: &Message<'_>) -> Option<Port> {
    let mut events = Vec::new();
    link::parse(message, &mut events);
    let Event::Link(Change::Present(link)) = events.into_iter().next()? else { return None };
    Some(Port { index: link.index, name: link.name, up: link.up, conf: Conf::read(message) })
}

fn read_addresses(rtnl: &mut Rtnl) -> Result<Vec<PortAddress>, LinkError> {
    let events = rtnl
        .events(Listing::Addresses)
        .map_err(|error| Refused::new("cannot list the addresses", error))?;
    Ok(events.into_iter().filter_map(port_address).collect())
}

fn port_address(event: Event) -> Option<PortAddress> {
    match event {
        Event::Address(Change::Present(Address { index, address, protocol, .. })) => {
            Some(PortAddress { index, address, marked: protocol == ROUTE_PROTOCOL })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::keeps_marks;

    #[test]
    fn marks_are_stored_since_linux_5_18() {
        assert!(
            ["5.18.0", "6.1.0-37-amd64", "6.12.25+rpt-rpi-v8", "10.0"]
                .iter()
                .all(|release| keeps_marks(release))
        );
        assert!(
            !["5.17.9", "5.10.0-8-arm64", "4.19", "", "odd"]
                .iter()
                .any(|release| keeps_marks(release))
        );
    }
}
