//! Who asks for an address on a port: programs that look after ports, and clients that somebody
//! started by hand.

use super::super::sockets::{Process, processes};
use crate::cli::machine::Machine;
use crate::event::LinkIndex;
use crate::watch::uplink::clients::{Manager, networkd_files, packet_sockets};

/// Clients without a manager, by the names of their processes.
const ALONE: [&str; 4] = ["dhclient", "udhcpc", "busybox", "dhcpcd"];

/// A DHCP client of one port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Client {
    Managed(Manager),
    Alone(Process),
}

impl std::fmt::Display for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Managed(manager) => f.write_str(manager.name()),
            Self::Alone(process) => process.fmt(f),
        }
    }
}

impl Client {
    /// Returns the command by which it leaves this port alone.
    pub fn switch_off(&self, port: &str) -> String {
        match self {
            // "+=", for a plain value would take the place of other files'
            // (NetworkManager.conf(5)).
            Self::Managed(Manager::NetworkManager) => format!(
                "printf '[keyfile]\\nunmanaged-devices+=interface-name:{port}\\n\
                 ' | sudo tee /etc/NetworkManager/conf.d/90-{port}.conf && sudo nmcli general \
                 reload"
            ),
            Self::Managed(Manager::Networkd) => format!(
                "printf '[Match]\\nName={port}\\n[Link]\\nUnmanaged=yes\\n\
                 ' | sudo tee /etc/systemd/network/00-{port}.network && sudo networkctl reload"
            ),
            Self::Managed(Manager::Dhcpcd) => format!(
                "printf '\\ndenyinterfaces {port}\\n\
                 ' | sudo tee -a /etc/dhcpcd.conf && sudo systemctl restart dhcpcd"
            ),
            Self::Alone(process) => format!("sudo kill {}", process.id),
        }
    }

    /// Returns the command by which it asks anew.
    pub fn again(&self, port: &str) -> String {
        match self {
            Self::Managed(Manager::NetworkManager) => format!("sudo nmcli device connect {port}"),
            Self::Managed(Manager::Networkd) => format!("sudo networkctl reconfigure {port}"),
            Self::Managed(Manager::Dhcpcd) => format!("sudo dhcpcd -n {port}"),
            Self::Alone(process) => format!("sudo kill -USR1 {}", process.id),
        }
    }

    /// Returns what to do so that it alone asks on the port. A client that goes takes its address
    /// and routes along, which may be those of the other too, as one server gives one board one
    /// address: the other has to ask anew.
    pub fn stays_instead_of(&self, other: &Self, port: &str) -> String {
        let command = format!("`{} && {}`", other.switch_off(port), self.again(port));
        match other {
            Self::Managed(_) => command,
            Self::Alone(_) => {
                format!(
                    "{command}, and take it out of what starts it (/etc/network/interfaces, \
                     rc.local, a unit)"
                )
            }
        }
    }

    /// Returns whether it is set to heed option 108, and so may be silent because a server asked
    /// for that.
    pub fn heeds_option_108(&self, machine: &Machine, port: &str) -> bool {
        match self {
            Self::Managed(Manager::NetworkManager) => {
                let Some(connection) = connection(machine, port) else { return false };
                let property =
                    ["-g", "ipv4.dhcp-ipv6-only-preferred", "connection", "show", &connection];
                machine
                    .run("nmcli", &property)
                    .is_some_and(|value| ["1", "2", "yes", "auto"].contains(&value.trim()))
            }
            Self::Managed(Manager::Networkd) => {
                let texts = index(machine, port)
                    .map_or_else(Vec::new, |index| networkd_files(&machine.path("/"), index));
                texts
                    .iter()
                    .flat_map(|text| text.lines())
                    .any(|line| networkd_heeds_option_108(line.trim()))
            }
            Self::Managed(Manager::Dhcpcd) => {
                let conf = machine.read("/etc/dhcpcd.conf").unwrap_or_default();
                conf.lines().any(|line| {
                    line.trim().starts_with("option ") && line.contains("ipv6_only_preferred")
                })
            }
            Self::Alone(_) => false,
        }
    }

    /// Returns the command by which it takes IPv4 though the venue asks for IPv6 only (option 108).
    pub fn heed_no_option_108(&self, machine: &Machine, port: &str) -> String {
        match self {
            Self::Managed(Manager::NetworkManager) => {
                let connection = connection(machine, port).unwrap_or_else(|| "NAME".to_owned());
                format!(
                    "`sudo nmcli connection modify '{connection}' ipv4.dhcp-ipv6-only-preferred \
                     no && sudo nmcli device reapply {port}`"
                )
            }
            Self::Managed(Manager::Networkd) => format!(
                "`sudo mkdir -p /etc/systemd/network/$(basename $(networkctl status {port} | sed \
                 -n 's/.*Network File: //p')).d && printf '[DHCPv4]\\nIPv6OnlyMode=no\\n\
                 ' | sudo tee /etc/systemd/network/$(basename $(networkctl status {port} | sed -n \
                 's/.*Network File: //p')).d/90-ipv4.conf && sudo networkctl reload`"
            ),
            Self::Managed(Manager::Dhcpcd) => {
                "`sudo sed -i '/^ *option .*ipv6_only_preferred/d' /etc/dhcpcd.conf && sudo \
                 systemctl restart dhcpcd`"
                    .to_owned()
            }
            Self::Alone(_) => "take the option 108 out of what it is started with".to_owned(),
        }
    }
}

/// Returns whether a line of a `.network` file has systemd-networkd ask for the option 108.
fn networkd_heeds_option_108(line: &str) -> bool {
    let asks = line
        .strip_prefix("RequestOptions=")
        .is_some_and(|all| all.split(' ').any(|one| one == "108"));
    asks || matches!(line.strip_prefix("IPv6OnlyMode="), Some("yes" | "true" | "on" | "1"))
}

/// Returns the clients of a port, those of managers first: the one that is to stay leads.
pub fn of_port(machine: &Machine, port: &str) -> Vec<Client> {
    let Some(index) = index(machine, port) else { return Vec::new() };
    let all = able(machine);
    let runs = |manager: Manager| all.iter().any(|process| process.name == manager.process());
    let managers = Manager::ALL
        .into_iter()
        .filter(|manager| runs(*manager) && asks(machine, *manager, index, port));
    let mut clients: Vec<Client> = managers.map(Client::Managed).collect();
    let by_dhcpcd = clients.contains(&Client::Managed(Manager::Dhcpcd));
    for process in &all {
        let alone =
            ALONE.contains(&process.name.as_str()) && !(by_dhcpcd && process.name == "dhcpcd");
        let known =
            |known: &Client| matches!(known, Client::Alone(other) if other.name == process.name);
        if alone
            && !clients.iter().any(known)
            && is_on(machine, process, index, port)
            && !is_child_of_a_manager(machine, process)
        {
            clients.push(Client::Alone(process.clone()));
        }
    }
    clients
}

/// Returns the processes that could ask for an address on a port of this head. A name alone shows
/// nothing: anybody can give his process any, and a container may have ports of the same names.
fn able(machine: &Machine) -> Vec<Process> {
    let mut all = processes(machine);
    all.retain(|process| may_send(machine, process) && is_in_our_spaces(machine, process));
    all
}

/// Returns whether it has the right to send without an address (`CAP_NET_RAW`, capabilities(7)), or
/// nothing says that it has not.
fn may_send(machine: &Machine, process: &Process) -> bool {
    const NET_RAW: u64 = 1 << 13;
    let status = machine.read(&format!("/proc/{}/status", process.id)).unwrap_or_default();
    let held = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    held.and_then(|held| u64::from_str_radix(held.trim(), 16).ok())
        .is_none_or(|held| held & NET_RAW != 0)
}

/// Returns whether it has this process's ports, and its rights there (namespaces(7)), or
/// nothing shows that it has not.
fn is_in_our_spaces(machine: &Machine, process: &Process) -> bool {
    ["net", "user"].iter().all(|space| {
        let of = |id: &str| machine.link(&format!("/proc/{id}/ns/{space}"));
        of(&process.id).zip(of("self")).is_none_or(|(its, ours)| its == ours)
    })
}

fn asks(machine: &Machine, manager: Manager, index: LinkIndex, port: &str) -> bool {
    if manager != Manager::NetworkManager {
        return manager.asks(&machine.path("/"), index, port);
    }
    let devices = machine.run("nmcli", &["-t", "-f", "DEVICE,STATE", "device"]);
    let state = devices.as_ref().map(|devices| {
        devices
            .lines()
            .find_map(|line| line.strip_prefix(port)?.strip_prefix(':'))
            .unwrap_or_default()
            .to_owned()
    });
    let active = match state {
        Some(state) => state.starts_with("connect"),
        None => manager.asks(&machine.path("/"), index, port),
    };
    active && method(machine, port).is_none_or(|method| method == "auto")
}

/// Returns the name of NetworkManager's connection on a port.
fn connection(machine: &Machine, port: &str) -> Option<String> {
    let name = machine.run("nmcli", &["-g", "GENERAL.CONNECTION", "device", "show", port])?;
    // A quote would end the shell's word.
    Some(name.trim().to_owned()).filter(|name| !name.is_empty() && !name.contains('\''))
}

fn method(machine: &Machine, port: &str) -> Option<String> {
    let connection = connection(machine, port)?;
    let method = machine.run("nmcli", &["-g", "ipv4.method", "connection", "show", &connection])?;
    Some(method.trim().to_owned()).filter(|method| !method.is_empty())
}

/// Returns whether a process serves the port: its command line is a client's and names the port, or
/// it holds a packet socket there (needs root).
fn is_on(machine: &Machine, process: &Process, index: LinkIndex, port: &str) -> bool {
    let line = machine.read(&format!("/proc/{}/cmdline", process.id)).unwrap_or_default();
    let words: Vec<&str> = line.split('\0').collect();
    if process.name == "busybox" && !words.iter().any(|word| word.ends_with("udhcpc")) {
        return false;
    }
    let named =
        words.iter().skip(1).any(|word| *word == port || word.strip_prefix("-i") == Some(port));
    named || holds_packet_socket(machine, process, index)
}

/// Returns whether a process has a packet socket on the port.
fn holds_packet_socket(machine: &Machine, process: &Process, index: LinkIndex) -> bool {
    let sockets =
        packet_sockets(&machine.path("/")).into_iter().filter(|socket| socket.index == index);
    sockets.into_iter().any(|socket| process.holds(machine, &format!("socket:[{}]", socket.inode)))
}

/// Returns whether a manager started the process: NetworkManager may bring dhclient or dhcpcd for
/// itself (`dhcp=` in its settings).
fn is_child_of_a_manager(machine: &Machine, process: &Process) -> bool {
    let status = machine.read(&format!("/proc/{}/status", process.id)).unwrap_or_default();
    let parent = status
        .lines()
        .find_map(|line| line.strip_prefix("PPid:"))
        .unwrap_or_default()
        .trim()
        .to_owned();
    let name = machine.read(&format!("/proc/{parent}/comm")).unwrap_or_default();
    Manager::ALL.iter().any(|manager| manager.process() == name && name != process.name)
}

/// Returns the kernel's number of a port.
pub fn index(machine: &Machine, port: &str) -> Option<LinkIndex> {
    machine.read(&format!("/sys/class/net/{port}/ifindex"))?.trim().parse().ok()
}

/// Returns the command that switches a port on which was switched off.
pub fn switch_on(machine: &Machine, port: &str) -> String {
    let runs =
        |manager: Manager| able(machine).iter().any(|process| process.name == manager.process());
    let managed = |manager: Manager| {
        index(machine, port).is_some_and(|index| asks(machine, manager, index, port))
    };
    // networkd takes its hands off a port that somebody else switched off; the others ask as soon
    // as there is a carrier.
    if runs(Manager::Networkd) && managed(Manager::Networkd) {
        format!("sudo networkctl up {port}")
    } else {
        format!("sudo ip link set {port} up")
    }
}

/// Returns whether NetworkManager's files have it leave a port by its name, also after its next
/// start.
fn is_left_by_network_manager(machine: &Machine, port: &str) -> bool {
    let folders = ["/usr/lib", "/run", "/etc"].map(|root| format!("{root}/NetworkManager/conf.d"));
    let files = folders.iter().flat_map(|folder| {
        machine.list(folder).into_iter().map(move |name| format!("{folder}/{name}"))
    });
    let is_left = |file: String| {
        let text = machine.read(&file).unwrap_or_default();
        let lists = text.lines().filter_map(|line| line.trim().strip_prefix("unmanaged-devices"));
        let mut lists = lists.filter(|list| !list.starts_with('-'));
        lists.any(|list| {
            let name = format!("interface-name:{port}");
            list.split(['=', ',', ';']).any(|one| one.trim() == name)
        })
    };
    files.chain(["/etc/NetworkManager/NetworkManager.conf".to_owned()]).any(is_left)
}

/// Returns the command by which a client is started on a port that has none.
pub fn start(machine: &Machine, port: &str) -> String {
    let all = able(machine);
    let runs = |manager: Manager| all.iter().any(|process| process.name == manager.process());
    if runs(Manager::NetworkManager) {
        let command =
            format!("sudo nmcli device set {port} managed yes && sudo nmcli device connect {port}");
        if !is_left_by_network_manager(machine, port) {
            return format!("`{command}`");
        }
        // "-=" takes out of the list what files before this one put there (NetworkManager.conf(5)).
        return format!(
            "`printf '[keyfile]\\nunmanaged-devices-=interface-name:{port}\\n\
             ' | sudo tee /etc/NetworkManager/conf.d/90-{port}.conf && sudo nmcli general \
             reload && {command}`"
        );
    }
    if runs(Manager::Networkd) {
        // By that name `setup` has written that networkd leaves the port, and it comes first.
        return format!(
            "`printf '[Match]\\nName={port}\\n[Network]\\nDHCP=yes\\n\
             ' | sudo tee /etc/systemd/network/00-{port}.network && sudo networkctl reload && \
             sudo networkctl reconfigure {port}`"
        );
    }
    if machine.has_program("dhcpcd") {
        // Debian's dhcpcd-base has no unit; the package dhcpcd has.
        let units = ["/usr/lib/systemd/system", "/lib/systemd/system", "/etc/systemd/system"];
        let unit = units.iter().any(|folder| machine.exists(&format!("{folder}/dhcpcd.service")));
        let next = if unit { "sudo systemctl enable dhcpcd" } else { "sudo apt install dhcpcd" };
        return format!("`sudo dhcpcd {port}`, and for the next start: `{next}`");
    }
    if machine.has_program("udhcpc") {
        return format!(
            "`sudo udhcpc -b -i {port}`, and for the next start a line in \
             /etc/network/interfaces: iface {port} inet dhcp"
        );
    }
    format!(
        "install dhcpcd-base or network-manager over another interface, then `sudo dhcpcd {port}`"
    )
}
