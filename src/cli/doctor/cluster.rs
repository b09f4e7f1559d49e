//! The cluster port: other programs that manage it, and profiles that are restored at each boot
//! (netplan and cloud-init, in Raspberry Pi OS since 2025).

use super::uplink::clients::Client;
use super::{CheckContext, Finding, FindingCode};
use crate::cli::machine::Machine;
use crate::event::LinkIndex;
use crate::watch::uplink::clients::Manager;

/// Finds NetworkManager, dhcpcd, systemd-networkd or ifupdown on the cluster's port.
pub fn managers(context: &CheckContext<'_>) -> Vec<Finding> {
    let Some(port) = context.cluster_port() else { return Vec::new() };
    let finding = |who: &str, remedy: String| {
        let text = format!(
            "{who} manages the cluster interface {port}: it may remove the address, or ask for \
             another"
        );
        Finding::new(FindingCode::GatewayPortManaged, text, remedy)
    };
    let managed = |manager: Manager, by: &str| {
        finding(&format!("{}{by}", manager.name()), format!("`{}`", advice(manager, &port)))
    };
    let mut findings = Vec::new();
    let later = || network_manager_later(context.machine, &port);
    let spares = || network_manager_spares(context.machine, &port);
    if network_manager(context.machine, &port).unwrap_or_else(|| later() && !spares()) {
        findings.push(managed(Manager::NetworkManager, ""));
    }
    if dhcpcd(context.machine, &port) {
        findings.push(managed(Manager::Dhcpcd, ""));
    }
    if let Some(file) = networkd(context.machine, &port) {
        findings.push(managed(Manager::Networkd, &format!(", by {file},")));
    }
    if let Some(file) = ifupdown(context.machine, &port) {
        let command = format!(
            "sudo sed -i 's/^[ \\t]*iface {port} inet .*/iface {port} inet manual/' {file}"
        );
        findings.push(finding(
            "ifupdown",
            format!("`{command}`, and remove the lines of its address there"),
        ));
    }
    findings
}

/// Returns the command that makes a program release this port.
pub fn advice(manager: Manager, port: &str) -> String {
    Client::Managed(manager).release(port)
}

/// Returns the other programs that manage this port, or will when `setup` has taken it from ifupdown.
pub fn managed_by(machine: &Machine, port: &str) -> Vec<Manager> {
    let mut managers = Vec::new();
    let manages =
        network_manager(machine, port).unwrap_or_else(|| network_manager_later(machine, port));
    managers.extend(manages.then_some(Manager::NetworkManager));
    managers.extend(dhcpcd(machine, port).then_some(Manager::Dhcpcd));
    managers.extend(networkd(machine, port).map(|_| Manager::Networkd));
    managers
}

/// Returns whether NetworkManager manages the port; `None` if it does not run.
fn network_manager(machine: &Machine, port: &str) -> Option<bool> {
    let devices = machine.run("nmcli", &["-t", "-f", "DEVICE,STATE", "device"])?;
    let state = devices.lines().find_map(|line| line.strip_prefix(port)?.strip_prefix(':'));
    // "unavailable" is managed, and waits for a cable.
    Some(state.is_some_and(|state| state != "unmanaged"))
}

/// Returns whether NetworkManager, which does not run yet, as early at boot, will manage the port.
fn network_manager_later(machine: &Machine, port: &str) -> bool {
    machine.is_enabled("NetworkManager.service") && !machine.exists(&unmanaged_by(port))
}

/// Returns whether NetworkManager will leave the port alone because ifupdown has it, which is what
/// Debian's settings say (NetworkManager.conf(5), section `ifupdown`).
fn network_manager_spares(machine: &Machine, port: &str) -> bool {
    let conf = machine.read("/etc/NetworkManager/NetworkManager.conf").unwrap_or_default();
    let value = |key: &str, is: &dyn Fn(&str) -> bool| {
        conf.lines().filter_map(|line| line.trim().strip_prefix(key)).any(is)
    };
    let reads = value("plugins=", &|names| names.split(',').any(|name| name == "ifupdown"));
    let manages = value("managed=", &|value| value == "true");
    reads && !manages && interfaces(machine, |name, _| name == port).is_some()
}

/// Returns the file that makes a port unmanaged in NetworkManager, as `setup` and `doctor` name it.
pub fn unmanaged_by(port: &str) -> String {
    format!("/etc/NetworkManager/conf.d/90-{port}.conf")
}

fn dhcpcd(machine: &Machine, port: &str) -> bool {
    let Some(conf) = machine.read("/etc/dhcpcd.conf") else { return false };
    let denied = conf.lines().filter_map(|line| line.trim().strip_prefix("denyinterfaces "));
    let denied =
        denied.flat_map(str::split_whitespace).any(|pattern| super::matches(pattern, port));
    machine.is_enabled("dhcpcd.service") && !denied
}

/// Returns the file by which networkd manages the port: the one that it reports while it runs, or by
/// which it will request an address. The first matching file by name counts, whatever its folder
/// (systemd.network(5)).
fn networkd(machine: &Machine, port: &str) -> Option<String> {
    if !machine.is_enabled("systemd-networkd.service") {
        return None;
    }
    if let Some(file) = machine.index(port).and_then(|index| networkd_file(machine, index)) {
        return Some(file);
    }
    let folders = ["/etc/systemd/network", "/run/systemd/network"];
    machine.drop_ins(&folders, ".network").into_iter().find_map(|path| {
        let text = machine.read(&path).unwrap_or_default();
        let value = |key: &str| {
            text.lines().find_map(|line| line.trim().strip_prefix(key).map(str::to_owned))
        };
        let names = value("Name=").unwrap_or_default();
        names.split_whitespace().any(|name| super::matches(name, port)).then(|| {
            let asks = value("DHCP=").is_some_and(|dhcp| dhcp != "no" && dhcp != "ipv6");
            (asks && value("Unmanaged=").as_deref() != Some("yes")).then_some(path)
        })
    })?
}

/// Returns the file that networkd has for a port which it manages; it may match by hardware address
/// or type, too.
fn networkd_file(machine: &Machine, index: LinkIndex) -> Option<String> {
    let link = machine.read(&format!("/run/systemd/netif/links/{index}"))?;
    let value = |key: &str| link.lines().find_map(|line| line.strip_prefix(key));
    let manages =
        matches!(value("ADMIN_STATE="), Some("configured" | "configuring" | "pending" | "failed"));
    value("NETWORK_FILE=").filter(|_| manages).map(str::to_owned)
}

/// Returns the file by which ifupdown gives the port an address.
fn ifupdown(machine: &Machine, port: &str) -> Option<String> {
    interfaces(machine, |name, method| name == port && method != "manual")
}

/// Returns ifupdown's first file with such an interface and method (interfaces(5)).
fn interfaces(machine: &Machine, is: impl Fn(&str, &str) -> bool) -> Option<String> {
    let more = machine.paths("/etc/network/interfaces.d");
    let mut files = std::iter::once("/etc/network/interfaces".to_owned()).chain(more);
    let has = |line: &str| match line.split_whitespace().collect::<Vec<_>>().as_slice() {
        ["iface", name, "inet", method, ..] => is(name, method),
        _ => false,
    };
    files.find(|file| machine.read(file).unwrap_or_default().lines().any(has))
}

/// Folders that netplan reads (netplan-generate(8)).
const NETPLAN: [&str; 3] = ["/etc/netplan", "/run/netplan", "/usr/lib/netplan"];
/// Seeds on the boot partition from which cloud-init writes netplan's files
/// (cloudinit/sources/DataSourceNoCloud).
const CLOUD_INIT_SEEDS: [&str; 2] = ["/boot/firmware/network-config", "/boot/network-config"];
/// Folder in which NetworkManager finds the profiles that netplan generated.
const GENERATED_PROFILES: &str = "/run/NetworkManager/system-connections";

/// Finds profiles of netplan or cloud-init for the cluster's port.
pub fn profiles(context: &CheckContext<'_>) -> Vec<Finding> {
    context.cluster_port().map_or_else(Vec::new, |port| profile_findings(context.machine, &port))
}

/// A profile that configures a port at each boot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Profile {
    /// A file of netplan, the line that means the port, and the definition around it, as
    /// netplan-set(8) names it.
    Netplan { file: String, line: usize, definition: String },
    /// The seed of cloud-init on the boot partition.
    CloudInit { file: &'static str, line: usize },
    /// NetworkManager's profile that netplan generated.
    Generated { file: String },
    /// A stanza of `interfaces`(5).
    Ifupdown { file: String },
}

impl Profile {
    /// Returns the program that configures the port, and its file.
    pub fn source(&self) -> (&'static str, &str) {
        match self {
            Self::Netplan { file, .. } => ("netplan", file),
            Self::CloudInit { file, .. } => ("cloud-init", file),
            Self::Generated { file } => ("netplan", file),
            Self::Ifupdown { file } => ("ifupdown", file),
        }
    }

    fn finding(&self, port: &str) -> Option<Finding> {
        Some(match self {
            Self::Netplan { file, line, definition } => netplan(port, file, *line, definition),
            Self::CloudInit { file, line } => {
                let text = format!(
                    "cloud-init writes a profile for the cluster interface {port} from \
                     {file}:{line} when it next sets the machine up"
                );
                let remedy = format!("{DISABLE_CLOUD_INIT}, or take {port} out of {file}");
                Finding::new(FindingCode::GatewayPortCloudInit, text, remedy)
            }
            Self::Generated { file } => {
                let text = format!(
                    "netplan makes NetworkManager's profile {file} for the cluster interface \
                     {port} at each boot"
                );
                let command = Client::Managed(Manager::NetworkManager).release(port);
                Finding::new(FindingCode::GatewayPortNetplan, text, format!("`{command}`"))
            }
            // [`managers`] finds it.
            Self::Ifupdown { .. } => return None,
        })
    }
}

fn profile_findings(machine: &Machine, port: &str) -> Vec<Finding> {
    configured_by(machine, port).iter().filter_map(|profile| profile.finding(port)).collect()
}

/// Returns the profiles that configure a port at each boot.
pub fn configured_by(machine: &Machine, port: &str) -> Vec<Profile> {
    let files = NETPLAN.iter().flat_map(|folder| machine.paths(folder));
    let of_netplan = |file: String| {
        let (line, definition) = definition_of(&machine.read(&file)?, port)?;
        Some(Profile::Netplan { file, line, definition })
    };
    let files = files.filter(|file| file.ends_with(".yaml"));
    let mut found: Vec<Profile> = files.filter_map(of_netplan).collect();
    let seed = CLOUD_INIT_SEEDS
        .iter()
        .find_map(|file| Some((*file, line_in_seed(&machine.read(file)?, port)?)));
    let seed = seed.filter(|_| cloud_init_writes_networks(machine));
    found.extend(seed.map(|(file, line)| Profile::CloudInit { file, line }));
    if found.is_empty() && !machine.exists(&unmanaged_by(port)) {
        // Generated from a file that matches the port in another way than seen above. NetworkManager
        // has to leave the port alone then.
        let prefix = format!("{GENERATED_PROFILES}/netplan-");
        let of_port = |file: &String| {
            let text = machine.read(file).unwrap_or_default();
            file.starts_with(&prefix)
                && text
                    .lines()
                    .any(|line| line.trim().strip_prefix("interface-name=") == Some(port))
        };
        let files = machine.paths(GENERATED_PROFILES).into_iter().filter(of_port);
        found.extend(files.map(|file| Profile::Generated { file }));
    }
    found.extend(ifupdown(machine, port).map(|file| Profile::Ifupdown { file }));
    found
}

/// The command that makes cloud-init(1) leave networks alone.
const DISABLE_CLOUD_INIT: &str = "`printf 'network: {config: disabled}\\n\
                          ' | sudo tee /etc/cloud/cloud.cfg.d/99-bramblegate.cfg`";

fn netplan(port: &str, file: &str, line: usize, definition: &str) -> Finding {
    let text = format!(
        "netplan makes a profile for the cluster interface {port} at each boot, by \
         {file}:{line}: it may remove the address, or ask for another"
    );
    let by_cloud_init = file.contains("cloud-init");
    let first = if by_cloud_init {
        format!("{DISABLE_CLOUD_INIT}, so that the file is not written again; then ")
    } else {
        String::new()
    };
    Finding::new(
        FindingCode::GatewayPortNetplan,
        text,
        format!("{first}`sudo netplan set {definition}=null && sudo netplan apply`"),
    )
}

/// Where netplan describes interfaces that exist without it (netplan(5)). What it makes itself, as a
/// bridge, would go with its definition.
const OF_HARDWARE: [&str; 2] = ["ethernets", "wifis"];

/// Returns the line of netplan's YAML that means the port and no other, and the definition that it
/// stands in: "ethernets.lan". One with a pattern may be the uplink's, too: there the program that
/// netplan writes for has to leave the port alone, which is a finding of its own.
fn definition_of(text: &str, port: &str) -> Option<(usize, String)> {
    let lines: Vec<&str> = text.lines().collect();
    let meant = |place: &usize| means_port(lines.get(*place).copied().unwrap_or_default(), port);
    (0..lines.len()).filter(meant).find_map(|place| {
        let keys = keys_around(&lines, place);
        // From the inside to the outside: the definition, then its section.
        let pairs = keys.iter().zip(keys.iter().skip(1));
        let (id, section) = pairs.into_iter().find(|(_, key)| OF_HARDWARE.contains(key))?;
        Some((place + 1, format!("{section}.{id}")))
    })
}

/// Returns the line of cloud-init's seed, in either version of its format, that means the port and
/// no other.
fn line_in_seed(text: &str, port: &str) -> Option<usize> {
    text.lines().position(|line| means_port(line, port)).map(|place| place + 1)
}

/// Returns the keys of a line of YAML in block style and of the mappings around it, from the inside
/// to the outside.
fn keys_around<'t>(lines: &[&'t str], place: usize) -> Vec<&'t str> {
    let depth = |line: &str| line.len() - line.trim_start().len();
    let mut keys = Vec::new();
    let mut least = usize::MAX;
    for line in lines.iter().take(place + 1).rev() {
        let key = line.split_once(':').map(|(key, _)| unquoted(key));
        if let Some(key) = key.filter(|key| depth(line) < least && !key.starts_with('#')) {
            least = depth(line);
            keys.push(key);
        }
    }
    keys
}

/// Returns whether a line of netplan's YAML means the port and no other: its name as a key, or a
/// `name:` or `set-name:` of a match.
fn means_port(line: &str, port: &str) -> bool {
    let line = line.split(" #").next().unwrap_or_default().trim();
    let Some((key, value)) = line.split_once(':').filter(|_| !line.starts_with('#')) else {
        return false;
    };
    match (unquoted(key), unquoted(value)) {
        ("name" | "set-name" | "- name", value) => value == port,
        (key, "" | "{}") => key == port,
        (key, value) => key == port && value.starts_with('{'),
    }
}

/// Returns a word of YAML without its quotes.
fn unquoted(word: &str) -> &str {
    word.trim().trim_matches(['"', '\''])
}

fn cloud_init_writes_networks(machine: &Machine) -> bool {
    let there =
        machine.exists("/etc/cloud/cloud.cfg") && !machine.exists("/etc/cloud/cloud-init.disabled");
    there
        && !machine
            .list("/etc/cloud/cloud.cfg.d")
            .iter()
            .any(|name| disables_networks(machine, name))
}

/// Returns whether a settings file of cloud-init disables its network configuration.
fn disables_networks(machine: &Machine, name: &str) -> bool {
    let text = machine.read(&format!("/etc/cloud/cloud.cfg.d/{name}")).unwrap_or_default();
    let words = text.replace([' ', '\n', '{', '}'], "");
    words.contains("network:config:disabled")
}
