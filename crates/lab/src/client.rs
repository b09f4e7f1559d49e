//! The DHCP clients: busybox udhcpc with our own script, which does not touch the machine's
//! resolver file, or dhcpcd.

use std::fs;
use std::net::Ipv6Addr;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use super::file::{Client, Network};
use super::inside::HOME;
use super::shell::{Running, must, spawn, within};
use super::{Result, while_doing};

/// The script that udhcpc runs at each event. It does what NetworkManager and dhcpcd do: it sets
/// the address with the lease time, routes with a metric per port, classless routes instead of the
/// router if there are any (RFC 3442), and the resolvers in the head's own file.
const SCRIPT: &str = r#"#!/bin/sh
resolvers=@HOME@/dns-$interface
metric=${METRIC:-100}
write_resolvers() { cat @HOME@/dns-e* @HOME@/dns-[!e]* 2>/dev/null > @HOME@/resolv.new; cat @HOME@/resolv.new > @HOME@/resolv.conf; }
flush() {
    ip -4 route flush dev "$interface" proto dhcp
    ip -4 addr flush dev "$interface"
}
route() { # destination gateway
    [ "$2" = 0.0.0.0 ] && { ip route replace "$1" dev "$interface" metric "$metric" proto dhcp; return; }
    ip route replace "$1" via "$2" dev "$interface" metric "$metric" proto dhcp 2>/dev/null && return
    # a gateway outside our subnet: it is on the wire all the same
    ip route replace "$2/32" dev "$interface" metric "$metric" proto dhcp scope link
    ip route replace "$1" via "$2" dev "$interface" metric "$metric" proto dhcp
}
case "$1" in
deconfig)
    flush
    ip link set dev "$interface" mtu 1500 up
    : > "$resolvers"; write_resolvers ;;
leasefail)
    [ -n "$FALLBACK" ] && ! ip -4 addr show dev "$interface" | grep -q inet &&
        ip addr add 169.254.77.7/16 brd + dev "$interface" scope link ;;
bound|renew)
    [ -n "$mtu" ] && ip link set dev "$interface" mtu "$mtu"
    if ! ip -4 addr show dev "$interface" | grep -q "inet $ip/$mask "; then flush; fi
    ip addr replace "$ip/$mask" brd + dev "$interface" valid_lft "$lease" preferred_lft "$lease" noprefixroute
    network=$(busybox ipcalc -n "$ip/$mask"); network=${network#NETWORK=}
    [ "$mask" = 32 ] || ip route replace "$network/$mask" dev "$interface" src "$ip" metric "$metric" proto dhcp scope link
    routes=${staticroutes:-$msstaticroutes}
    if [ -n "$routes" ]; then
        set -- $routes
        while [ $# -ge 2 ]; do route "$1" "$2"; shift 2; done
    else
        for gateway in $router; do route 0.0.0.0/0 "$gateway"; break; done
    fi
    : > "$resolvers"
    for server in $dns; do echo "nameserver $server" >> "$resolvers"; done
    write_resolvers ;;
esac
echo "$1 $interface ip=$ip/$mask router=$router dns=$dns lease=$lease"
"#;

/// The script of a node's client, which sets the address and the default route. The resolver file
/// is left alone, as it is the head's.
const NODE_SCRIPT: &str = r#"#!/bin/sh
case "$1" in
deconfig) ip -4 addr flush dev eth0; ip link set eth0 up ;;
bound|renew)
    ip -4 addr show dev eth0 | grep -q "inet $ip/$mask " || ip -4 addr flush dev eth0
    ip addr replace "$ip/$mask" brd + dev eth0
    ip route replace default via "$router" ;;
esac
echo "$1 ip=$ip/$mask router=$router dns=$dns domain=$domain lease=$lease"
"#;

/// Writes the resolvers that a router advertises on a port to the head's resolver file, as
/// NetworkManager and dhcpcd do.
pub fn resolve_by(port: &str, resolvers: &[Ipv6Addr]) -> Result<()> {
    let own = format!("{HOME}/dns-{port}");
    let lines: String =
        resolvers.iter().map(|resolver| format!("nameserver {resolver}\n")).collect();
    fs::write(&own, lines).map_err(while_doing(&own))?;
    let write = "cat dns-e* dns-[!e]* 2>/dev/null > resolv.new; cat resolv.new > resolv.conf";
    must("head", &format!("cd {HOME}; {write}")).map(drop)
}

/// Writes the scripts.
pub fn prepare() -> Result<()> {
    for (path, text) in [(script(), SCRIPT), (node_script(), NODE_SCRIPT)] {
        fs::write(&path, text.replace("@HOME@", HOME)).map_err(while_doing(path.display()))?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755))
            .map_err(while_doing(path.display()))?;
    }
    Ok(())
}

fn node_script() -> PathBuf {
    PathBuf::from(format!("{HOME}/node-udhcpc.sh"))
}

/// Starts a client on a node in place of its static address, which sends a request each second
/// until a server replies.
pub fn start_node(number: u8) -> Result<Running> {
    let node = format!("rpi{number}");
    let mut command = within(&node, "busybox");
    command
        .args(["udhcpc", "-f", "-i", "eth0", "-t", "1", "-T", "1", "-A", "1", "-x"])
        .arg(format!("hostname:{node}"))
        .arg("-s")
        .arg(node_script());
    spawn(&mut command, &log(&node))
}

fn script() -> PathBuf {
    PathBuf::from(format!("{HOME}/udhcpc.sh"))
}

/// Returns the log file of a port's client and its script.
pub fn log(port: &str) -> PathBuf {
    PathBuf::from(format!("{HOME}/udhcpc-{port}.log"))
}

/// Starts the client of a network on the head's port; `index` determines the metric.
pub fn start(network: &Network, index: usize) -> Result<Running> {
    match network.client {
        Client::Udhcpc => start_udhcpc(&network.port, index, network.fallback),
        Client::Dhcpcd => start_dhcpcd(network, index),
    }
}

/// Starts dhcpcd with a private database. It processes router advertisements itself, and disables
/// that in the kernel.
fn start_dhcpcd(network: &Network, index: usize) -> Result<Running> {
    let (port, metric) = (&network.port, 100 * (index + 1));
    let mut settings = format!(
        "metric {metric}\nnodev\nslaac hwaddr\noption ipv6_only_preferred\n\
         option classless_static_routes\n"
    );
    settings += if network.address.is_empty() { "noipv4\n" } else { "" };
    settings += if network.fallback { "" } else { "noipv4ll\n" };
    settings += if network.dhcpv6.is_some() { "ia_na\n" } else { "" };
    let file = format!("{HOME}/dhcpcd-{port}.conf");
    fs::write(&file, settings).map_err(while_doing(&file))?;
    must("head", "mkdir -p /var/lib/dhcpcd /run/dhcpcd")?;
    let line = format!(
        "mount -t tmpfs tmpfs /var/lib/dhcpcd && exec dhcpcd -B -A -f {file} -c /bin/true {port}"
    );
    spawn(within("head", "sh").args(["-c", &line]), &log(port))
}

fn start_udhcpc(port: &str, index: usize, fallback: bool) -> Result<Running> {
    let metric = (100 * (index + 1)).to_string();
    let options = ["staticroutes", "msstaticroutes", "mtu", "search", "114"];
    let mut command = within("head", "busybox");
    command
        .args(["udhcpc", "-f", "-i", port, "-t", "3", "-T", "1", "-A", "2", "-s"])
        .arg(script())
        .args(options.into_iter().flat_map(|option| ["-O", option]))
        .env("METRIC", metric)
        .env("FALLBACK", if fallback { "yes" } else { "" });
    spawn(&mut command, &log(port))
}
