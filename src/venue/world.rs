//! The world: a venue, the head in it, the cluster behind it, and what one can do to them.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use ipnet::Ipv4Net;
use serde_json::Value;

use super::file::{Action, Dhcp, Internet, Network, Venue};
use super::inside::{self, HOME};
use super::server::{self, Servers};
use super::shell::{self, Running, ip, must, spawn, within};
use super::{Error, Result, client, glass, watch, while_doing, wiring};

/// One machine's worth of networks. When it is dropped, all its processes end; when the process that made it ends, its
/// namespaces go too.
#[derive(Debug)]
pub struct World {
    /// the program under test: started as `run`
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
}

/// One uplink port of the head; its place is that of its network.
#[derive(Debug, Default)]
struct Port {
    present: bool,
    /// the far end of its cable lies in this network
    wire: Option<usize>,
    client: Option<Running>,
}

impl World {
    /// Builds everything up to the head's DHCP client; the gateway is not started yet. Only inside [`inside::enter`].
    pub fn build(venue: &Venue, program: &Path) -> Result<Self> {
        inside::furnish()?;
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
        };
        let web = world.serve("internet", "web", "[::]:80")?;
        world.internet.push(web);
        let ssh = world.serve("head", "banner", "[::]:22")?;
        world.services.push(ssh);
        // something that the venue must not reach
        let private = world.serve("head", "banner", "[::]:9100")?;
        world.services.push(private);
        world.arrive(venue)?;
        Ok(world)
    }

    /// Carries head and cluster into another venue: cables pulled, the old networks gone, new ones there, cables plugged.
    pub fn move_to(&mut self, venue: &Venue) -> Result<()> {
        for index in 0..self.ports.len() {
            self.pull_index(index)?;
            if let Some(port) = self.ports.get_mut(index) {
                port.client = None;
                if let (Some(wire), Some(network)) = (port.wire.take(), self.networks.get(index)) {
                    wiring::shelve(&network.port, wire)?;
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
        let same = self.networks.iter().zip(&venue.networks).take_while(|(old, new)| old.port == new.port).count();
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
        self.ports.resize_with(self.networks.len(), Port::default);
        let ipv6 = self.networks.iter().any(|network| network.ipv6.is_some());
        self.names = None;
        self.names = Some(server::start_internet(ipv6)?);
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
            self.start_servers(index)?;
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

    /// The network into which the `index`th port is plugged.
    fn wire(&self, index: usize) -> usize {
        let shared = self.networks.get(index).and_then(|network| network.shares.as_deref());
        shared.and_then(|port| self.networks.iter().position(|network| network.port == port)).unwrap_or(index)
    }

    fn start_servers(&mut self, wire: usize) -> Result<()> {
        if let Some(slot) = self.servers.get_mut(wire) {
            *slot = None;
        }
        let Some(network) = self.networks.get(wire) else { return Ok(()) };
        let hosts = server::hosts(&self.networks, wire);
        let started = server::start(wire, network, network.dhcp.as_ref(), &hosts)?;
        if let Some(slot) = self.servers.get_mut(wire) {
            *slot = Some(started);
        }
        Ok(())
    }

    /// The place of a port among the networks; `None` means the first.
    fn index(&self, port: Option<&str>) -> Result<usize> {
        let Some(port) = port else { return Ok(0) };
        let place = self.networks.iter().position(|network| network.port == port);
        place.ok_or_else(|| Error(format!("this venue has no port {port}")))
    }

    fn insert_index(&mut self, index: usize) -> Result<()> {
        let (Some(network), Some(port)) = (self.networks.get(index), self.ports.get_mut(index)) else { return Ok(()) };
        if !port.present {
            wiring::insert_port(index, &network.port)?;
            port.present = true;
        }
        Ok(())
    }

    fn plug_index(&mut self, index: usize) -> Result<()> {
        let wire = self.wire(index);
        let (Some(network), Some(port)) = (self.networks.get(index), self.ports.get_mut(index)) else { return Ok(()) };
        let mtu = self.networks.get(wire).map_or(1500, |network| network.mtu);
        wiring::plug(&network.port, wire, mtu)?;
        port.wire = Some(wire);
        let ipv4 = self.networks.get(wire).is_some_and(|network| !network.address.is_empty());
        // A client notices the new cable and begins again, as NetworkManager and dhcpcd do.
        port.client = None;
        if ipv4 || network.fallback {
            port.client = Some(client::start(&network.port, index, network.fallback)?);
        }
        Ok(())
    }

    fn pull_index(&mut self, index: usize) -> Result<()> {
        let (Some(network), Some(port)) = (self.networks.get(index), self.ports.get_mut(index)) else { return Ok(()) };
        if let Some(wire) = port.wire {
            wiring::pull(&network.port, wire)?;
        }
        Ok(())
    }

    /// Pulls the cable out of a port of the head. The DHCP client does not notice; the address stays.
    pub fn pull_cable(&mut self, port: &str) -> Result<()> {
        self.pull_index(self.index(Some(port))?)
    }

    /// Plugs it in again; a new DHCP client asks for a lease.
    pub fn plug_cable(&mut self, port: &str) -> Result<()> {
        self.plug_index(self.index(Some(port))?)
    }

    /// A port of the head appears, its cable plugged in.
    pub fn insert_port(&mut self, port: &str) -> Result<()> {
        let index = self.index(Some(port))?;
        self.insert_index(index)?;
        self.plug_index(index)
    }

    /// A port of the head vanishes.
    pub fn remove_port(&mut self, port: &str) -> Result<()> {
        let index = self.index(Some(port))?;
        wiring::remove_port(port)?;
        if let Some(slot) = self.ports.get_mut(index) {
            *slot = Port::default();
        }
        Ok(())
    }

    /// A node loses its cable.
    pub fn node_down(&mut self, name: &str) -> Result<()> {
        ip("switch", &format!("link set {name} down\n"))
    }

    /// A node gets its cable back.
    pub fn node_up(&mut self, name: &str) -> Result<()> {
        ip("switch", &format!("link set {name} up\n"))
    }

    /// Another tool on the head throws all rules away.
    pub fn foreign_flush(&self) -> Result<()> {
        must("head", "nft flush ruleset").map(drop)
    }

    /// The DHCP client asks for its lease again.
    pub fn renew(&self, port: &str) -> Result<()> {
        let client = self.ports.get(self.index(Some(port))?).and_then(|port| port.client.as_ref());
        client.ok_or_else(|| Error(format!("no DHCP client runs on {port}")))?.signal("USR1")
    }

    /// The DHCP client on a port dies.
    pub fn kill_client(&mut self, port: &str) -> Result<()> {
        let index = self.index(Some(port))?;
        if let Some(port) = self.ports.get_mut(index) {
            port.client = None;
        }
        Ok(())
    }

    /// Changes what the DHCP server of a port's network answers from now on.
    pub fn change_dhcp(&mut self, port: &str, change: impl FnOnce(&mut Dhcp)) -> Result<()> {
        let index = self.index(Some(port))?;
        if let Some(dhcp) = self.networks.get_mut(index).and_then(|network| network.dhcp.as_mut()) {
            change(dhcp);
        }
        self.start_servers(self.wire(index))
    }

    /// Starts or stops the DHCP server of a port's network; the resolver stays.
    pub fn dhcp_server(&mut self, port: &str, on: bool) -> Result<()> {
        let wire = self.wire(self.index(Some(port))?);
        if on {
            return self.start_servers(wire);
        }
        if let (Some(slot), Some(network)) = (self.servers.get_mut(wire), self.networks.get(wire)) {
            *slot = None;
            *slot = Some(server::start(wire, network, None, &[])?);
        }
        Ok(())
    }

    /// What is behind the router of a port's network changes.
    pub fn internet(&mut self, port: &str, kind: Internet) -> Result<()> {
        wiring::set_internet(self.wire(self.index(Some(port))?), kind)
    }

    /// The router of a port's network moves to another subnet and leases from there; the old address still answers, so that
    /// a renewal reaches the server and is refused.
    pub fn change_subnet(&mut self, port: &str, router: Ipv4Net, lease: std::net::Ipv4Addr) -> Result<()> {
        let index = self.index(Some(port))?;
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
        self.start_servers(wire)
    }

    /// Makes something happen.
    pub fn act(&mut self, action: &Action) -> Result<()> {
        let first = self.networks.first().map(|network| network.port.clone()).unwrap_or_default();
        let on = |port: &Option<String>| port.clone().unwrap_or_else(|| first.clone());
        match action {
            Action::Renew { port } => self.renew(&on(port)),
            Action::Lease { address, port } => self.change_dhcp(&on(port), |dhcp| dhcp.address = *address),
            Action::Subnet { router, lease, port } => self.change_subnet(&on(port), *router, *lease),
            Action::Dhcp { on: state, port } => self.dhcp_server(&on(port), *state),
            Action::Internet { kind, port } => self.internet(&on(port), *kind),
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
                "cd /proc/sys/net/ipv4/conf && for c in *; do [ $c = all ] || echo 0 > $c/forwarding; done",
            )
            .map(drop),
        }
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
            "a=$(ip -4 -o addr show dev {port} scope global | awk '{{print $4; exit}}'); r=$(ip -4 route show dev {port}); \
             ip addr del $a dev {port}; ip addr add $a brd + dev {port} noprefixroute valid_lft 3600 preferred_lft 3600; \
             echo \"$r\" | while read -r line; do ip route replace $line dev {port}; done"
        );
        must("head", &script).map(drop)
    }

    /// Starts one of our small servers in a namespace and waits until it listens; see [`super::serve`].
    pub fn serve(&self, namespace: &str, kind: &str, listen: &str) -> Result<Running> {
        let own = std::env::current_exe().map_err(while_doing("this program's file"))?;
        let log = PathBuf::from(format!("{HOME}/serve-{namespace}-{}.log", listen.replace([':', '[', ']'], "-")));
        let _ = fs::remove_file(&log);
        let mut command = within(namespace, &own.to_string_lossy());
        let running = spawn(command.args(["venue-serve", kind, listen]), &log)?;
        server::wait_for(&log, "ready")?;
        Ok(running)
    }

    /// Runs a line of shell in a namespace: exit code and output.
    pub fn exec(&self, namespace: &str, line: &str) -> Result<(i32, String)> {
        shell::exec(namespace, line)
    }

    /// Writes the gateway's settings and starts it in the head.
    pub fn start_gateway(&mut self) -> Result<()> {
        self.write_settings()?;
        let log = self.journal_file();
        self.gateway = Some(spawn(&mut self.gateway_command("run"), &log)?);
        Ok(())
    }

    /// This program with `verb` and the world's settings, to be run in the head.
    pub fn gateway_command(&self, verb: &str) -> std::process::Command {
        let mut command = within("head", &self.program.to_string_lossy());
        for folder in ["state", "run"] {
            let _ = fs::create_dir_all(format!("{HOME}/{folder}"));
        }
        command
            .args([verb, "-c", &format!("{HOME}/bramblegate.toml")])
            .env("STATE_DIRECTORY", format!("{HOME}/state"))
            .env("RUNTIME_DIRECTORY", format!("{HOME}/run"))
            .env_remove("NOTIFY_SOCKET")
            .env_remove("JOURNAL_STREAM");
        command
    }

    /// Replaces the text that the venue adds to the gateway's settings; takes effect with [`World::write_settings`].
    pub fn set_settings(&mut self, text: &str) {
        text.clone_into(&mut self.settings);
    }

    /// Writes the settings and the venue's drop-in.
    pub fn write_settings(&self) -> Result<()> {
        let main = format!("{HOME}/bramblegate.toml");
        fs::write(&main, self.settings_text()).map_err(while_doing(&main))?;
        let folder = format!("{main}.d");
        fs::create_dir_all(&folder).map_err(while_doing(&folder))?;
        let drop_in = format!("{folder}/50-venue.toml");
        fs::write(&drop_in, &self.settings).map_err(while_doing(&drop_in))
    }

    fn settings_text(&self) -> String {
        let ports: Vec<String> = self.networks.iter().map(|network| format!("\"{}\"", network.port)).collect();
        let mut text = format!(
            "board = \"emulated\"\n[uplink]\ninterfaces = [{}]\n\
             probe_url = \"http://connectivity.example/generate_204\"\n\
             [cluster]\ninterface = \"eth0\"\n\
             [lcd]\nbus = \"emulator:{HOME}/lcd.log\"\n[led]\ndevice = \"emulator:{HOME}/led.log\"\n\
             [status]\nsocket = \"{HOME}/status.sock\"\n",
            ports.join(", ")
        );
        for number in 1..=wiring::NODES {
            let address = wiring::node_address(number);
            text += &format!("[[node]]\nname = \"rpi{number}\"\naddress = \"{address}\"\nprobe = \"icmp\"\n");
        }
        text
    }

    /// The gateway, if it was started.
    pub fn gateway(&mut self) -> Option<&mut Running> {
        self.gateway.as_mut()
    }

    /// Sends the gateway a signal and waits for its end, at most `patience`; its exit code.
    pub fn stop_gateway(&mut self, signal: &str, patience: Duration) -> Result<i32> {
        let gateway = self.gateway.as_mut().ok_or_else(|| Error("the gateway does not run".into()))?;
        gateway.signal(signal)?;
        let deadline = Instant::now() + patience;
        while Instant::now() < deadline {
            if let Some(code) = gateway.ended() {
                self.gateway = None;
                return Ok(code);
            }
            sleep(Duration::from_millis(5));
        }
        Err(Error(format!("the gateway still runs {patience:?} after {signal}")))
    }

    /// The daemon's status, from its socket.
    pub fn status(&self) -> Result<Value> {
        watch::snapshot(&self.socket())
    }

    /// Where the status socket is.
    pub fn socket(&self) -> PathBuf {
        PathBuf::from(format!("{HOME}/status.sock"))
    }

    /// The LCD's rows, by the status.
    pub fn lcd(&self) -> Result<Vec<String>> {
        let status = self.status()?;
        let lines = watch::at(&status, "panel.lcd.lines").and_then(Value::as_array).cloned().unwrap_or_default();
        Ok(lines.iter().map(|line| line.as_str().unwrap_or_default().to_owned()).collect())
    }

    /// The LCD's rows, worked out from the bytes that the emulated bus carried.
    pub fn glass(&self) -> Vec<String> {
        let log = fs::read_to_string(format!("{HOME}/lcd.log")).unwrap_or_default();
        glass::decode(&log, 16, 2)
    }

    /// The lines that the daemon would have written to the journal.
    pub fn journal(&self) -> String {
        fs::read_to_string(self.journal_file()).unwrap_or_default()
    }

    fn journal_file(&self) -> PathBuf {
        PathBuf::from(format!("{HOME}/journal.log"))
    }

    /// The head's IPv4 address on the first uplink that has one, as the kernel tells it.
    pub fn head_address(&self) -> Option<String> {
        self.networks.iter().find_map(|network| {
            let line = format!("ip -4 -o addr show dev {} scope global", network.port);
            let text = must("head", &line).ok()?;
            let address = text.split_whitespace().nth(3)?;
            Some(address.split('/').next().unwrap_or(address).to_owned())
        })
    }

    /// Whether the venue has a computer besides the router.
    pub fn has_laptop(&self) -> bool {
        self.networks.first().is_some_and(|network| network.laptop.is_some())
    }

    /// The resolver that a place asks; empty for the head: its own file.
    pub fn resolver_of(&self, place: &str) -> String {
        if place == "head" {
            return String::new();
        }
        let router = self.networks.first().and_then(|network| network.address.first());
        match router {
            Some(router) if !place.starts_with("rpi") => router.addr().to_string(),
            _ => wiring::DNS.to_owned(),
        }
    }

    /// Everything one wants to know when something expected was not seen.
    pub fn story(&self) -> String {
        let mut story = String::new();
        let status = self.status().map_or_else(|error| error.to_string(), |status| status.to_string());
        story += &format!("== status\n{status}\n== glass\n{}\n", self.glass().join("\n"));
        for line in
            ["ip -br link", "ip -br addr", "ip rule", "ip route show table all type unicast", "nft list ruleset"]
        {
            let text = shell::exec("head", line).map_or_else(|error| error.to_string(), |(_, text)| text);
            story += &format!("== head: {line}\n{text}");
        }
        let mut logs = vec![("journal".to_owned(), self.journal_file())];
        for network in &self.networks {
            logs.push((format!("DHCP client of {}", network.port), client::log(&network.port)));
        }
        logs.push(("DHCP server".to_owned(), PathBuf::from(format!("{HOME}/venue.dnsmasq.log"))));
        for (name, file) in logs {
            let text = fs::read_to_string(file).unwrap_or_default();
            let lines: Vec<&str> = text.lines().collect();
            let last = lines.get(lines.len().saturating_sub(60)..).unwrap_or_default();
            story += &format!("== {name}\n{}\n", last.join("\n"));
        }
        story
    }
}
