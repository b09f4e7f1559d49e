//! DHCP clients of a port: managers of ports, and standalone clients.

use super::super::sockets::{Process, holds_net_raw, processes};
use crate::cli::machine::Machine;
use crate::event::LinkIndex;
use crate::watch::uplink::clients::{Manager, networkd_files, packet_sockets};

/// Process names of standalone clients.
const STANDALONE: [&str; 4] = ["dhclient", "udhcpc", "busybox", "dhcpcd"];

/// A DHCP client of one port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Client {
    Managed(Manager),
    Standalone(Process),
}

impl std::fmt::Display for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Managed(manager) => f.write_str(manager.name()),
            Self::Standalone(process) => process.fmt(f),
        }
    }
}

impl Client {
    /// Returns the command that makes it release this port.
    pub fn release(&self, port: &str) -> String {
        match self {
            // "+=" keeps the values of other files (NetworkManager.conf(5)).
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
            Self::Standalone(process) => format!("sudo kill {}", process.id),
        }
    }

    /// Returns the command that makes it request its address again.
    pub fn renew(&self, port: &str) -> String {
        match self {
            Self::Managed(Manager::NetworkManager) => format!("sudo nmcli device connect {port}"),
            Self::Managed(Manager::Networkd) => format!("sudo networkctl reconfigure {port}"),
            Self::Managed(Manager::Dhcpcd) => format!("sudo dhcpcd -n {port}"),
            Self::Standalone(process) => format!("sudo kill -USR1 {}", process.id),
        }
    }

    /// Returns the remedy that leaves only this client on the port. The other client removes its
    /// address and routes when it ends. They may be this client's too, as a server gives one board
    /// one address: this client must request its address again.
    pub fn replace(&self, other: &Self, port: &str) -> String {
        let command = format!("`{} && {}`", other.release(port), self.renew(port));
        match other {
            Self::Managed(_) => command,
            Self::Standalone(_) => {
                format!(
                    "{command}, and take it out of what starts it (/etc/network/interfaces, \
                     rc.local, a unit)"
                )
            }
        }
    }

    /// Returns whether it is set to honour option 108, so that a server may have asked it to be
    /// silent.
    pub fn honours_option_108(&self, machine: &Machine, port: &str) -> bool {
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
                let texts = machine
                    .index(port)
                    .map_or_else(Vec::new, |index| networkd_files(&machine.path("/"), index));
                texts
                    .iter()
                    .flat_map(|text| text.lines())
                    .any(|line| networkd_honours_option_108(line.trim()))
            }
            Self::Managed(Manager::Dhcpcd) => {
                let conf = machine.read("/etc/dhcpcd.conf").unwrap_or_default();
                conf.lines().any(|line| {
                    line.trim().starts_with("option ") && line.contains("ipv6_only_preferred")
                })
            }
            Self::Standalone(_) => false,
        }
    }

    /// Returns the command that makes it request IPv4 though the venue asks for IPv6 only (option
    /// 108).
    pub fn ignore_option_108(&self, machine: &Machine, port: &str) -> String {
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
            Self::Standalone(_) => "take the option 108 out of what it is started with".to_owned(),
        }
    }
}

/// Returns whether a line of a `.network` file makes systemd-networkd request the option 108.
fn networkd_honours_option_108(line: &str) -> bool {
    let asks = line
        .strip_prefix("RequestOptions=")
        .is_some_and(|all| all.split(' ').any(|one| one == "108"));
    asks || matches!(line.strip_prefix("IPv6OnlyMode="), Some("yes" | "true" | "on" | "1"))
}

/// Returns the clients of a port, managers first; the first is the one to keep.
pub fn of_port(machine: &Machine, port: &str) -> Vec<Client> {
    let Some(index) = machine.index(port) else { return Vec::new() };
    let all = candidates(machine);
    let runs = |manager: Manager| all.iter().any(|process| process.name == manager.process());
    let managers = Manager::ALL
        .into_iter()
        .filter(|manager| runs(*manager) && asks(machine, *manager, index, port));
    let mut clients: Vec<Client> = managers.map(Client::Managed).collect();
    let by_dhcpcd = clients.contains(&Client::Managed(Manager::Dhcpcd));
    for process in &all {
        let alone =
            STANDALONE.contains(&process.name.as_str()) && !(by_dhcpcd && process.name == "dhcpcd");
        let known = |known: &Client| matches!(known, Client::Standalone(other) if other.name == process.name);
        if alone
            && !clients.iter().any(known)
            && is_on_port(machine, process, index, port)
            && !is_child_of_a_manager(machine, process)
        {
            clients.push(Client::Standalone(process.clone()));
        }
    }
    clients
}

/// Returns the processes that could request an address on a port of this head. A name alone proves
/// nothing: any process can set its own, and a container may have interfaces of the same names.
fn candidates(machine: &Machine) -> Vec<Process> {
    let mut all = processes(machine);
    all.retain(|process| may_send(machine, process) && is_in_our_namespaces(machine, process));
    all
}

/// Returns whether it may send without an address (`CAP_NET_RAW`, capabilities(7)); true if
/// unknown.
fn may_send(machine: &Machine, process: &Process) -> bool {
    let status = machine.read(&format!("/proc/{}/status", process.id));
    status.is_none_or(|status| holds_net_raw(&status))
}

/// Returns whether it is in our network and user namespaces (namespaces(7)); true if unknown.
fn is_in_our_namespaces(machine: &Machine, process: &Process) -> bool {
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
    // The name becomes a quoted word of a shell.
    Some(name.trim().to_owned()).filter(|name| !name.is_empty() && !name.contains('\''))
}

fn method(machine: &Machine, port: &str) -> Option<String> {
    let connection = connection(machine, port)?;
    let method = machine.run("nmcli", &["-g", "ipv4.method", "connection", "show", &connection])?;
    Some(method.trim().to_owned()).filter(|method| !method.is_empty())
}

/// Returns whether a client is on the port: its command line names the port, or it holds a packet
/// socket there (needs root).
fn is_on_port(machine: &Machine, process: &Process, index: LinkIndex, port: &str) -> bool {
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

/// Returns whether a manager started the process: NetworkManager may use dhclient or dhcpcd
/// (`dhcp=` in its settings).
fn is_child_of_a_manager(machine: &Machine, process: &Process) -> bool {
    process.parent_name(machine).is_some_and(|name| {
        name != process.name && Manager::ALL.iter().any(|manager| manager.process() == name)
    })
}

/// Returns the command that sets a port up.
pub fn switch_on(machine: &Machine, port: &str) -> String {
    let runs = |manager: Manager| {
        candidates(machine).iter().any(|process| process.name == manager.process())
    };
    let managed = |manager: Manager| {
        machine.index(port).is_some_and(|index| asks(machine, manager, index, port))
    };
    // networkd no longer manages a port that another program set down; the other managers request
    // an address as soon as there is a carrier.
    if runs(Manager::Networkd) && managed(Manager::Networkd) {
        format!("sudo networkctl up {port}")
    } else {
        format!("sudo ip link set {port} up")
    }
}

/// Returns whether NetworkManager runs and its files have it leave a port that no other client
/// asks on.
pub fn is_released_by_network_manager(machine: &Machine, port: &str) -> bool {
    let manager = Manager::NetworkManager.process();
    candidates(machine).iter().any(|process| process.name == manager)
        && is_left_by_network_manager(machine, port)
        && of_port(machine, port).is_empty()
}

/// Returns whether NetworkManager's files have it leave a port by its name, also after its next
/// start.
fn is_left_by_network_manager(machine: &Machine, port: &str) -> bool {
    let folders = ["/usr/lib", "/run", "/etc"].map(|root| format!("{root}/NetworkManager/conf.d"));
    let files = folders.iter().flat_map(|folder| machine.paths(folder));
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

/// Returns the remedy that starts a client on a port that has none.
pub fn start(machine: &Machine, port: &str) -> String {
    let all = candidates(machine);
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
        // netplan starts it at boot only for as long as a file of its own has it configure a port.
        let link = "/etc/systemd/system/multi-user.target.wants/systemd-networkd.service";
        let by_netplan = !machine.exists(link);
        let enable = if by_netplan { " && sudo systemctl enable systemd-networkd" } else { "" };
        // By that name `setup` has written that networkd leaves the port, and it comes first.
        return format!(
            "`printf '[Match]\\nName={port}\\n[Network]\\nDHCP=yes\\n\
             ' | sudo tee /etc/systemd/network/00-{port}.network && sudo networkctl reload && \
             sudo networkctl reconfigure {port}{enable}`"
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
