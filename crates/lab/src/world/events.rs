//! Events in the world: cables, nodes, leases, other programs.

use std::thread::sleep;
use std::time::Duration;

use ipnet::Ipv4Net;

use super::super::client;
use super::super::file::{Action, Dhcp, Internet};
use super::super::router::Advertised;
use super::super::shell::{ip, must};
use super::super::{Error, Result, wiring};
use super::{Port, World};

impl World {
    /// Pulls the cable out of a port of the head. The DHCP client and the address are unaffected.
    pub fn pull_cable(&mut self, port: &str) -> Result<()> {
        self.pull_index(self.index(port)?)
    }

    /// Plugs the cable in again, and starts a new DHCP client.
    pub fn plug_cable(&mut self, port: &str) -> Result<()> {
        self.plug_index(self.index(port)?)
    }

    /// Adds a port to the head, with its cable plugged in.
    pub fn insert_port(&mut self, port: &str) -> Result<()> {
        let index = self.index(port)?;
        self.insert_index(index)?;
        self.plug_index(index)
    }

    /// Removes a port from the head.
    pub fn remove_port(&mut self, port: &str) -> Result<()> {
        let index = self.index(port)?;
        wiring::remove_port(port)?;
        if let Some(slot) = self.ports.get_mut(index) {
            *slot = Port::default();
        }
        Ok(())
    }

    /// Disconnects a node.
    pub fn node_down(&mut self, name: &str) -> Result<()> {
        ip("switch", &format!("link set {name} down\n"))
    }

    /// Reconnects a node.
    pub fn node_up(&mut self, name: &str) -> Result<()> {
        ip("switch", &format!("link set {name} up\n"))
    }

    /// Flushes the rule set, as another program on the head might.
    pub fn foreign_flush(&self) -> Result<()> {
        must("head", "nft flush ruleset").map(drop)
    }

    /// Lets the DHCP client renew its lease.
    pub fn renew(&self, port: &str) -> Result<()> {
        let client = self.ports.get(self.index(port)?).and_then(|port| port.client.as_ref());
        client.ok_or_else(|| Error(format!("no DHCP client runs on {port}")))?.signal("USR1")
    }

    /// Removes and restores the default route of a port, as when a venue disconnects its guests, so
    /// that the daemon probes at once.
    pub fn reconnect(&self, port: &str) -> Result<()> {
        let script = format!(
            "r=$(ip -4 route show default dev {port}); [ -z \"$r\" ] && exit; ip -4 route del $r dev \
             {port}; sleep 0.2; ip -4 route add $r dev {port}"
        );
        must("head", &script).map(drop)
    }

    /// Counts the leases and renewals of the DHCP client on a port.
    pub fn leases(&self, port: &str) -> usize {
        let log = std::fs::read_to_string(client::log(port)).unwrap_or_default();
        log.lines().filter(|line| line.starts_with("bound ") || line.starts_with("renew ")).count()
    }

    /// Kills the DHCP client on a port.
    pub fn kill_client(&mut self, port: &str) -> Result<()> {
        let index = self.index(port)?;
        if let Some(port) = self.ports.get_mut(index) {
            port.client = None;
        }
        Ok(())
    }

    /// Changes the configuration of the DHCP server of a port's network.
    pub fn change_dhcp(&mut self, port: &str, change: impl FnOnce(&mut Dhcp)) -> Result<()> {
        let index = self.index(port)?;
        if let Some(dhcp) = self.networks.get_mut(index).and_then(|network| network.dhcp.as_mut()) {
            change(dhcp);
        }
        self.start_servers(self.wire(index), true)
    }

    /// Starts or stops the DHCP server of a port's network; DNS keeps running.
    pub fn dhcp_server(&mut self, port: &str, on: bool) -> Result<()> {
        self.start_servers(self.wire(self.index(port)?), on)
    }

    /// Sets whether the internet is reachable behind the router of a port's network.
    pub fn internet(&mut self, port: &str, kind: Internet) -> Result<()> {
        wiring::set_internet(self.wire(self.index(port)?), kind)
    }

    /// Moves the router of a port's network and its leases to another subnet. The old address is
    /// kept, so that a renewal reaches the server and is refused.
    pub fn change_subnet(
        &mut self,
        port: &str,
        router: Ipv4Net,
        lease: std::net::Ipv4Addr,
    ) -> Result<()> {
        let index = self.index(port)?;
        let wire = self.wire(index);
        let Some(network) = self.networks.get_mut(wire) else { return Ok(()) };
        let mut lines = String::new();
        if let Some(old) = network.address.first().copied() {
            lines = format!("addr del {old} dev lan0\naddr add {}/32 dev lan0\n", old.addr());
        }
        network.address = vec![router];
        if let Some(dhcp) = network.dhcp.as_mut() {
            dhcp.address = lease;
            (dhcp.router, dhcp.resolver, dhcp.netmask) = (None, None, None);
        }
        ip(&wiring::venue_name(wire), &format!("{lines}addr add {router} dev lan0\n"))?;
        self.start_servers(wire, true)
    }

    /// Performs an action.
    pub fn act(&mut self, action: &Action) -> Result<()> {
        let first = self.networks.first().map(|network| network.port.clone()).unwrap_or_default();
        let on = |port: &Option<String>| port.clone().unwrap_or_else(|| first.clone());
        match action {
            Action::Renew { port } => self.renew(&on(port)),
            Action::Lease { address, port } => {
                self.change_dhcp(&on(port), |dhcp| dhcp.address = *address)
            }
            Action::Subnet { router, lease, port } => {
                self.change_subnet(&on(port), *router, *lease)
            }
            Action::Dhcp { on: state, port } => self.dhcp_server(&on(port), *state),
            Action::Internet { kind, port } => self.internet(&on(port), *kind),
            Action::Advertise { ra } => self.advertise(&first, ra),
            Action::SecondRouter { ra } => self.second_router(&first, ra),
            Action::TranslatorDies => self.translator_dies(&first),
            Action::Pull { port } => self.pull_cable(&on(port)),
            Action::Plug { port } => self.plug_cable(&on(port)),
            Action::Flap { times, port } => self.flap(&on(port), *times),
            Action::Insert { port } => self.insert_port(&on(port)),
            Action::Remove { port } => self.remove_port(&on(port)),
            Action::Readdress { port } => self.readdress(&on(port)),
            Action::Node { name, up: true } => self.node_up(name),
            Action::Node { name, up: false } => self.node_down(name),
            Action::Flush => self.foreign_flush(),
            Action::ForwardingOff => must(
                "head",
                "cd /proc/sys/net/ipv4/conf && for c in *; do [ $c = all ] || echo 0 > \
                 $c/forwarding; done",
            )
            .map(drop),
        }
    }

    /// Changes the advertisements of the router of a port's network; NAT64 prefixes that are
    /// missing in `ra` are withdrawn.
    fn advertise(&mut self, port: &str, ra: &Advertised) -> Result<()> {
        let wire = self.wire(self.index(port)?);
        let Some(network) = self.networks.get_mut(wire) else { return Ok(()) };
        let before = network.ra.take().unwrap_or_default();
        let mut ra = ra.clone();
        let ipv6 = network.ipv6.filter(|prefix| !ra.deprecated.contains(prefix));
        ra.prefixes.splice(0..0, ipv6);
        let gone =
            before.nat64.iter().filter(|(old, _)| !ra.nat64.iter().any(|(new, _)| new == old));
        let gone: Vec<_> = gone.map(|(prefix, _)| (*prefix, 0)).collect();
        ra.nat64.extend(gone);
        for own in &ra.prefixes {
            let address = wiring::ipv6_router(*own);
            ip(&wiring::venue_name(wire), &format!("addr replace {address} dev lan0 nodad\n"))?;
            let route = format!("route replace {own} via 2001:db8:f{wire}::2\n");
            ip("internet", &route)?;
        }
        network.ra = Some(ra);
        self.start_servers(wire, true)
    }

    /// Adds a second router to a port's network.
    fn second_router(&mut self, port: &str, ra: &Advertised) -> Result<()> {
        let wire = self.wire(self.index(port)?);
        if let Some(network) = self.networks.get_mut(wire) {
            network.second_ra = Some(ra.clone());
        }
        self.start_servers(wire, true)
    }

    /// Kills the translator of a port, so that its IPv4 packets are lost.
    fn translator_dies(&mut self, port: &str) -> Result<()> {
        let index = self.index(port)?;
        let network = self.networks.get(self.wire(index));
        if let Some(translator) = network.and_then(|network| network.translator) {
            let route = format!("route del {} dev lan0\n", translator.addr());
            ip(&wiring::venue_name(self.wire(index)), &route)?;
        }
        if let Some(port) = self.ports.get_mut(index) {
            port.anycast = None;
        }
        Ok(())
    }

    fn flap(&mut self, port: &str, times: u32) -> Result<()> {
        for _ in 0..times {
            self.pull_cable(port)?;
            sleep(Duration::from_millis(200));
            self.plug_cable(port)?;
            sleep(Duration::from_millis(200));
        }
        Ok(())
    }

    fn readdress(&mut self, port: &str) -> Result<()> {
        let script = format!(
            "a=$(ip -4 -o addr show dev {port} scope global | awk '{{print $4; exit}}'); r=$(ip \
             -4 route show dev {port}); \
             ip addr del $a dev {port}; ip addr add $a brd + dev {port} noprefixroute valid_lft \
             3600 preferred_lft 3600; \
             echo \"$r\" | while read -r line; do ip route replace $line dev {port}; done"
        );
        must("head", &script).map(drop)
    }
}
