//! The world: a venue, the head in it, the cluster behind it, and operations on them.

mod clat;
mod events;
mod gateway;
mod web;

pub use clat::is_possible;
pub use gateway::Input;

use std::fs;
use std::path::{Path, PathBuf};

use super::file::{Client, Network, Venue};
use super::inside::{self, HOME};
use super::server::{self, Servers};
use super::shell::{self, Running, must, spawn, within};
use super::{Error, Result, client, while_doing, wiring};

/// The networks and processes of one world. All its processes end when it is dropped, and its
/// namespaces with the process that built it.
#[derive(Debug)]
pub struct World {
    /// The gateway under test.
    program: PathBuf,
    networks: Vec<Network>,
    settings: String,
    ports: Vec<Port>,
    servers: Vec<Option<Servers>>,
    portals: Vec<Option<Running>>,
    internet: Vec<Running>,
    names: Option<Servers>,
    services: Vec<Running>,
    gateway: Option<Running>,
    /// The status page.
    web: Option<Running>,
    /// The translator's program.
    clat: Option<Running>,
    /// DHCP clients of the nodes, unless they have static addresses.
    clients: Vec<Running>,
}

/// One uplink port of the head, with the same index as its network.
#[derive(Debug, Default)]
struct Port {
    present: bool,
    /// Index of the network with the far end of its cable.
    wire: Option<usize>,
    client: Option<Running>,
    /// Holds the anycast address of another program's translator, as NetworkManager does.
    anycast: Option<Running>,
}

/// Starts a process that holds an anycast address of this network on a port of the head.
fn hold_anycast(port: &str, network: ipnet::Ipv6Net) -> Result<Running> {
    let own = std::env::current_exe().map_err(while_doing("this program's file"))?;
    let address = std::net::Ipv6Addr::from_bits(network.network().to_bits() | 0x464);
    let mut command = within("head", &own.to_string_lossy());
    command.args(["venue-anycast", port, &address.to_string()]);
    spawn(&mut command, &PathBuf::from(format!("{HOME}/anycast-{port}.log")))
}

impl World {
    /// Builds everything including the head's DHCP client, but does not start the gateway. Must run
    /// inside the namespaces of [`inside::enter`].
    pub fn build(venue: &Venue, program: &Path) -> Result<Self> {
        inside::furnish()?;
        Self::build_furnished(venue, program)
    }

    /// Builds a world as [`World::build`] does, after [`inside::furnish`].
    pub fn build_furnished(venue: &Venue, program: &Path) -> Result<Self> {
        client::prepare()?;
        wiring::lay_foundation()?;
        let mut world = Self {
            program: program.to_owned(),
            networks: Vec::new(),
            settings: String::new(),
            ports: Vec::new(),
            servers: Vec::new(),
            portals: Vec::new(),
            internet: Vec::new(),
            names: None,
            services: Vec::new(),
            gateway: None,
            web: None,
            clat: None,
            clients: Vec::new(),
        };
        let web = world.serve("internet", "web", "[::]:80")?;
        world.internet.push(web);
        let ssh = world.serve("head", "banner", "[::]:22")?;
        world.services.push(ssh);
        // A service that the venue must not reach.
        let private = world.serve("head", "banner", "[::]:9100")?;
        world.services.push(private);
        world.arrive(venue)?;
        Ok(world)
    }

    /// Moves head and cluster to another venue: pulls the cables, replaces the networks, and plugs
    /// the cables in.
    pub fn move_to(&mut self, venue: &Venue) -> Result<()> {
        for index in 0..self.ports.len() {
            self.pull_index(index)?;
            if let Some(port) = self.ports.get_mut(index) {
                port.client = None;
                if let (Some(wire), Some(network)) = (port.wire.take(), self.networks.get(index)) {
                    wiring::shelve(&network.port, wire)?;
                    client::resolve_by(&network.port, &[])?;
                }
            }
        }
        self.servers.clear();
        self.portals.clear();
        for (index, network) in self.networks.iter().enumerate() {
            if network.shares.is_none() {
                wiring::remove_network(index)?;
            }
        }
        let stay: Vec<String> = venue.networks.iter().map(|network| network.port.clone()).collect();
        let same = self
            .networks
            .iter()
            .zip(&venue.networks)
            .take_while(|(old, new)| old.port == new.port)
            .count();
        for (port, network) in self.ports.iter_mut().zip(&self.networks).skip(same) {
            if port.present {
                wiring::remove_port(&network.port)?;
                port.present = false;
            }
        }
        self.ports.truncate(same.min(stay.len()));
        self.arrive(venue)
    }

    fn arrive(&mut self, venue: &Venue) -> Result<()> {
        self.networks.clone_from(&venue.networks);
        self.settings.clone_from(&venue.settings);
        if venue.nodes_by_dhcp && self.clients.is_empty() {
            self.clients = (1..=wiring::NODES).map(client::start_node).collect::<Result<_>>()?;
            for number in 1..=wiring::NODES {
                self.services.push(self.serve(&format!("rpi{number}"), "banner", "[::]:22")?);
            }
        }
        self.ports.resize_with(self.networks.len(), Port::default);
        let ipv6 = self.networks.iter().any(|network| network.ipv6.is_some());
        self.names = None;
        let nat64: Vec<_> = self.networks.iter().filter_map(|network| network.nat64).collect();
        self.names = Some(server::start_internet(ipv6, &nat64)?);
        if venue.clat && self.clat.is_none() {
            self.start_clat()?;
        }
        for index in 0..self.networks.len() {
            self.servers.push(None);
            self.portals.push(None);
            let Some(network) = self.networks.get(index) else { continue };
            if network.shares.is_some() {
                continue;
            }
            wiring::build_network(index, network)?;
            let portal = self.serve(&wiring::venue_name(index), "portal", "[::]:8080")?;
            if let Some(slot) = self.portals.get_mut(index) {
                *slot = Some(portal);
            }
            self.start_servers(index, true)?;
        }
        for index in 0..self.networks.len() {
            let Some(network) = self.networks.get(index) else { continue };
            let (present, plugged) = (network.present, network.plugged);
            if present {
                self.insert_index(index)?;
                if plugged {
                    self.plug_index(index)?;
                }
            }
        }
        Ok(())
    }

    /// Returns the index of the network into which the `index`th port is plugged.
    fn wire(&self, index: usize) -> usize {
        let shared = self.networks.get(index).and_then(|network| network.shares.as_deref());
        shared
            .and_then(|port| self.networks.iter().position(|network| network.port == port))
            .unwrap_or(index)
    }

    /// Restarts the servers of the `wire`th network; without `dhcp`, only the others.
    fn start_servers(&mut self, wire: usize, dhcp: bool) -> Result<()> {
        let (Some(slot), Some(network)) = (self.servers.get_mut(wire), self.networks.get(wire))
        else {
            return Ok(());
        };
        // Stopped first, so that their ports are free.
        *slot = None;
        let hosts = server::hosts(&self.networks, wire);
        let dhcp = network.dhcp.as_ref().filter(|_| dhcp);
        *slot = Some(server::start(wire, network, dhcp, &hosts)?);
        Ok(())
    }

    /// Returns the index of a port's network.
    fn index(&self, port: &str) -> Result<usize> {
        let place = self.networks.iter().position(|network| network.port == port);
        place.ok_or_else(|| Error(format!("this venue has no port {port}")))
    }

    fn insert_index(&mut self, index: usize) -> Result<()> {
        let (Some(network), Some(port)) = (self.networks.get(index), self.ports.get_mut(index))
        else {
            return Ok(());
        };
        if !port.present {
            wiring::insert_port(index, &network.port)?;
            port.present = true;
        }
        Ok(())
    }

    fn plug_index(&mut self, index: usize) -> Result<()> {
        let wire = self.wire(index);
        let (Some(network), Some(port)) = (self.networks.get(index), self.ports.get_mut(index))
        else {
            return Ok(());
        };
        let mtu = self.networks.get(wire).map_or(1500, |network| network.mtu);
        wiring::plug(&network.port, wire, mtu)?;
        port.wire = Some(wire);
        if let Some(translator) = network.translator {
            wiring::add_translator(&network.port, translator)?;
            port.anycast =
                network.ipv6.map(|ipv6| hold_anycast(&network.port, ipv6)).transpose()?;
        }
        let ipv4 = self.networks.get(wire).is_some_and(|network| !network.address.is_empty());
        if let Some(token) = network.token {
            must("head", &format!("ip token set {token} dev {}", network.port))?;
        }
        let wired = self.networks.get(wire);
        if let Some(ra) = wired.and_then(|network| network.ra.as_ref()) {
            client::resolve_by(&network.port, &ra.resolvers)?;
        }
        // Restarted on carrier-up, as NetworkManager and dhcpcd do.
        port.client = None;
        if ipv4 || network.fallback || network.client == Client::Dhcpcd {
            port.client = Some(client::start(network, index)?);
        } else {
            // A client would remove the lease of the previous venue first.
            must("head", &format!("ip -4 addr flush dev {} dynamic", network.port))?;
        }
        Ok(())
    }

    fn pull_index(&mut self, index: usize) -> Result<()> {
        let (Some(network), Some(port)) = (self.networks.get(index), self.ports.get_mut(index))
        else {
            return Ok(());
        };
        if let Some(wire) = port.wire {
            wiring::pull(&network.port, wire)?;
        }
        Ok(())
    }

    /// Starts one of the small servers of [`super::serve`] in a namespace, and waits until it
    /// listens.
    pub fn serve(&self, namespace: &str, kind: &str, listen: &str) -> Result<Running> {
        let own = std::env::current_exe().map_err(while_doing("this program's file"))?;
        let log = PathBuf::from(format!(
            "{HOME}/serve-{namespace}-{}.log",
            listen.replace([':', '[', ']'], "-")
        ));
        let _ = fs::remove_file(&log);
        let mut command = within(namespace, &own.to_string_lossy());
        let running = spawn(command.args(["venue-serve", kind, listen]), &log)?;
        server::wait_for(&log, "ready")?;
        Ok(running)
    }

    /// Runs a shell command in a namespace. Returns its exit code and output.
    pub fn exec(&self, namespace: &str, line: &str) -> Result<(i32, String)> {
        shell::exec(namespace, line)
    }
}
