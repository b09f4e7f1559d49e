//! Namespaces, cables (`veth`) and addresses, made with `ip`.

use std::fmt::Write as _;

use ipnet::Ipv4Net;

use super::file::{Internet, Network};
use super::shell::{self, ip, must};
use super::{Result, while_doing};

/// The web server of the world's internet.
pub const WEB: &str = "203.0.113.80";
/// Its IPv6 address.
pub const WEB6: &str = "2001:db8:80::80";
/// The DNS server of the world's internet, which the nodes use.
pub const DNS: &str = "203.0.113.53";
/// Prefix of the hardware addresses of all ports of the head.
pub const HEAD_MAC: &str = "02:bb:00:00:";
/// The hardware address of every venue's router. Without one of its own, a bridge would take that
/// of a port, and change it when the port is removed, which no real router does.
const ROUTER_MAC: &str = "02:ee:00:00:00:01";
/// The link-local address formed from [`ROUTER_MAC`] (RFC 4291, appendix A).
const ROUTER_LINK_LOCAL: &str = "fe80::ee:ff:fe00:1";
/// Number of nodes.
pub const NODES: u8 = 3;
/// Namespace of the cable ends that are plugged in nowhere.
const SHELF: &str = "shelf";

/// Returns the name of the venue's `index`th router namespace.
pub fn venue_name(index: usize) -> String {
    numbered("venue", index)
}

/// Returns the name of the namespace of the `index`th laptop.
pub fn laptop_name(index: usize) -> String {
    numbered("laptop", index)
}

fn numbered(name: &str, index: usize) -> String {
    if index == 0 { name.to_owned() } else { format!("{name}{}", index + 1) }
}

/// Returns the name of the far end of the cable in a port of the head.
pub fn far_end(port: &str) -> String {
    format!("p-{port}")
}

/// Returns the hardware address of the head's `index`th uplink: locally administered, constant.
pub fn mac(index: usize) -> String {
    format!("{HEAD_MAC}e1:{:02x}", index + 1)
}

/// Builds everything that does not depend on the venue: internet, head, switch and nodes.
pub fn lay_foundation() -> Result<()> {
    let mut outer = String::new();
    for name in ["internet", "head", "switch", SHELF] {
        let _ = writeln!(outer, "netns add {name}");
    }
    let _ = writeln!(
        outer,
        "link add eth0 netns head address {HEAD_MAC}c0:00 type veth peer name head netns switch"
    );
    for number in 1..=NODES {
        let _ = writeln!(outer, "netns add rpi{number}");
        let _ = writeln!(
            outer,
            "link add eth0 netns rpi{number} address {} type veth peer name rpi{number} netns \
             switch",
            node_mac(number)
        );
    }
    ip("", &outer)?;
    let mut switch =
        String::from("link add sw0 type bridge\nlink set sw0 up\nlink set head master sw0 up\n");
    for number in 1..=NODES {
        let _ = writeln!(switch, "link set rpi{number} master sw0 up");
        ip(
            &format!("rpi{number}"),
            &format!(
                "link set lo up\naddr add {}/24 dev eth0\nlink set eth0 up\n\
                 route add default via 192.168.50.1\n",
                node_address(number)
            ),
        )?;
    }
    must("switch", "echo 1 > /proc/sys/net/ipv6/conf/all/disable_ipv6")?;
    ip("switch", &switch)?;
    ip(
        "internet",
        &format!(
            "link set lo up\naddr add {WEB}/32 dev lo\naddr add {DNS}/32 dev lo\n\
             addr add {WEB6}/128 dev lo nodad\n"
        ),
    )?;
    must("internet", "echo 1 > /proc/sys/net/ipv6/conf/all/forwarding")?;
    // A new namespace may inherit the machine's values: reset them to those of a fresh Debian.
    must(
        "head",
        "cd /proc/sys/net/ipv4 && echo 0 > ip_forward && for c in all default lo eth0; do echo 0 \
         > conf/$c/arp_ignore; \
         echo 0 > conf/$c/arp_announce; echo 2 > conf/$c/rp_filter; done; echo 0 > \
         conf/all/rp_filter",
    )?;
    ip("head", "link set lo up\n")
}

/// Recreates the head's cluster port before anything uses it, so that its interface index is higher
/// than those of the uplinks.
pub fn renew_cluster_port() -> Result<()> {
    ip("head", "link del eth0\n")?;
    let port = format!(
        "link add eth0 netns head address {HEAD_MAC}c0:00 type veth peer name head netns switch\n"
    );
    ip("", &port)?;
    ip("switch", "link set head master sw0 up\n")
}

/// Returns the hardware address of a node.
pub fn node_mac(number: u8) -> String {
    format!("b8:27:eb:00:00:{number:02x}")
}

/// Returns the address of a node.
pub fn node_address(number: u8) -> String {
    format!("192.168.50.{}", 10 + u16::from(number))
}

/// Builds the `index`th network of a venue: its router, the link to the internet, a laptop.
pub fn build_network(index: usize, network: &Network) -> Result<()> {
    let (venue, laptop) = (venue_name(index), laptop_name(index));
    let mut outer = format!(
        "netns add {venue}\n\
         link add wan{index} netns internet type veth peer name wan netns {venue}\n\
         netns add {laptop}\n\
         link add eth0 netns {laptop} type veth peer name laptop netns {venue}\n"
    );
    ip("", &outer)?;
    outer.clear();
    let third = index * 4;
    ip(
        "internet",
        &format!(
            "addr add 198.51.100.{}/30 dev wan{index}\n\
             addr add 2001:db8:f{index}::1/64 dev wan{index} nodad\n\
             link set wan{index} up\n",
            third + 1
        ),
    )?;
    let mut router = format!(
        "link set lo up\nlink add lan0 address {ROUTER_MAC} type bridge\n\
         link set lan0 mtu {mtu} up\nlink set laptop mtu {mtu} master lan0 up\n\
         addr add 198.51.100.{}/30 dev wan\nlink set wan up\nroute add default via 198.51.100.{}\n",
        third + 2,
        third + 1,
        mtu = network.mtu
    );
    for address in &network.address {
        let _ = writeln!(router, "addr add {address} dev lan0");
    }
    if let Some(translator) = network.translator {
        let _ = writeln!(router, "route add {} dev lan0", translator.addr());
    }
    if let Some(prefix) = network.ipv6 {
        let _ = writeln!(router, "addr add 2001:db8:f{index}::2/64 dev wan nodad");
        let _ = writeln!(router, "addr add {} dev lan0 nodad", ipv6_router(prefix));
        let _ = writeln!(router, "route add default via 2001:db8:f{index}::1");
        ip("internet", &format!("route replace {prefix} via 2001:db8:f{index}::2\n"))?;
        if let Some(ra) = &network.ra {
            for own in ra.prefixes.iter().chain(&ra.deprecated).filter(|own| **own != prefix) {
                let _ = writeln!(router, "addr add {} dev lan0 nodad", ipv6_router(*own));
                ip("internet", &format!("route replace {own} via 2001:db8:f{index}::2\n"))?;
            }
        }
        if let Some(nat64) = network.nat64 {
            for host in [WEB, DNS] {
                let host = embed(nat64, host)?;
                ip("internet", &format!("addr replace {host}/128 dev lo nodad\n"))?;
            }
        }
    } else {
        must(&venue, "echo 1 > /proc/sys/net/ipv6/conf/all/disable_ipv6")?;
    }
    ip(&venue, &router)?;
    must(&venue, "echo 1 > /proc/sys/net/ipv4/ip_forward")?;
    if network.ipv6.is_some() {
        must(&venue, "echo 1 > /proc/sys/net/ipv6/conf/all/forwarding")?;
    }
    translate(&venue)?;
    if let Some(address) = network.laptop {
        let gateway = network.address.first().map(|router| router.addr());
        let mut lines = format!(
            "link set lo up\nlink set eth0 mtu {}\naddr add {address} dev eth0\nlink set eth0 up\n",
            network.mtu
        );
        if let Some(gateway) = gateway {
            let _ = writeln!(lines, "route add default via {gateway} onlink dev eth0");
        }
        ip(&laptop, &lines)?;
    } else {
        ip(&laptop, "link set lo up\nlink set eth0 up\n")?;
    }
    set_internet(index, network.internet)
}

/// Returns the router's own address in a prefix that it advertises.
pub fn ipv6_router(prefix: ipnet::Ipv6Net) -> String {
    let bits = u128::from(prefix.network()) | 1;
    format!("{}/{}", std::net::Ipv6Addr::from(bits), prefix.prefix_len())
}

/// Embeds an IPv4 address in a NAT64 prefix (RFC 6052, section 2.2): its octets follow the prefix,
/// skipping the ninth octet of the result, which stays zero.
pub fn embed(prefix: ipnet::Ipv6Net, address: &str) -> Result<std::net::Ipv6Addr> {
    let address: std::net::Ipv4Addr = address.parse().map_err(while_doing(address.to_owned()))?;
    let mut octets = prefix.network().octets();
    let first = usize::from(prefix.prefix_len() / 8);
    let free = octets.iter_mut().enumerate().skip(first).filter(|(at, _)| first > 8 || *at != 8);
    free.zip(address.octets()).for_each(|((_, to), octet)| *to = octet);
    Ok(octets.into())
}

/// Sets up the venue's own NAT. Packets that leak out with addresses of the cluster get no reply.
/// "Fragmentation needed" is dropped, as in many venues, so that only clamping the MSS helps.
fn translate(venue: &str) -> Result<()> {
    nft(
        venue,
        "table ip venue {\n\
         chain post { type nat hook postrouting priority 100; oifname wan masquerade; }\n\
         chain out { type filter hook output priority 0; icmp type destination-unreachable icmp \
         code frag-needed drop; }\n\
         }\n",
    )
}

/// Sets whether the internet is reachable behind the router of the `index`th network.
pub fn set_internet(index: usize, kind: Internet) -> Result<()> {
    let venue = venue_name(index);
    let clear = "table inet internet\ndelete table inet internet\n\
                 table ip internet\ndelete table ip internet\n";
    let rules = match kind {
        Internet::Open => String::new(),
        Internet::Portal => "table inet internet {\n\
            chain entering { type nat hook prerouting priority -100; iifname lan0 tcp dport 80 \
            redirect to :8080; }\n\
            chain between { type filter hook forward priority 0; udp dport 53 accept; ct state \
            established accept; \
            oifname wan drop; }\n}\n"
            .to_owned(),
        Internet::DeadIpv4 => "table ip internet {\n\
            chain between { type filter hook forward priority 0; oifname wan drop; }\n}\n"
            .to_owned(),
        // Matches the internet's port only: with br_netfilter, traffic inside the venue passes here
        // too.
        Internet::Dead => "table inet internet {\n\
            chain between { type filter hook forward priority 0; oifname wan drop; iifname wan \
            drop; }\n\
            chain out { type filter hook output priority 0; oifname wan drop; }\n}\n"
            .to_owned(),
    };
    nft(&venue, &format!("{clear}{rules}"))
}

/// Loads rules into a namespace.
pub fn nft(namespace: &str, rules: &str) -> Result<()> {
    shell::feed("ip", &["netns", "exec", namespace, "nft", "-f", "-"], rules).map(drop)
}

/// Removes a venue's router and laptop. Cables must have been shelved first.
pub fn remove_network(index: usize) -> Result<()> {
    ip("internet", &format!("link del wan{index}\n"))?;
    ip("", &format!("netns del {}\nnetns del {}\n", venue_name(index), laptop_name(index)))
}

/// Adds a port to the head, with a cable whose far end is on the shelf.
pub fn insert_port(index: usize, port: &str) -> Result<()> {
    let far = far_end(port);
    ip(
        "",
        &format!(
            "link add {port} netns head address {} type veth peer name {far} netns {SHELF}\n",
            mac(index)
        ),
    )?;
    must(
        "head",
        &format!(
            "cd /proc/sys/net/ipv4/conf/{port} && echo 0 > forwarding; echo 0 > arp_ignore; echo \
             0 > arp_announce; \
             echo 2 > rp_filter"
        ),
    )?;
    // Set up as by any network manager; the cable is plugged in later.
    ip("head", &format!("link set {port} up\n"))
}

/// Removes a port of the head, with its cable.
pub fn remove_port(port: &str) -> Result<()> {
    ip("head", &format!("link del {port}\n"))
}

/// Plugs the cable of a port into the `wire`th network.
pub fn plug(port: &str, wire: usize, mtu: u16) -> Result<()> {
    let (far, venue) = (far_end(port), venue_name(wire));
    if must(SHELF, &format!("ip link show {far}")).is_ok() {
        ip(SHELF, &format!("link set {far} netns {venue}\n"))?;
    }
    ip("head", &format!("link set {port} up\n"))?;
    ip(&venue, &format!("link set {far} mtu {mtu} master lan0\nlink set {far} up\n"))
}

/// Adds to a port what NetworkManager's translator adds: its address, and an IPv4 default route by
/// the IPv6 router.
pub fn add_translator(port: &str, translator: Ipv4Net) -> Result<()> {
    let (net, address) = (translator, translator.addr());
    let route =
        format!("default via inet6 {ROUTER_LINK_LOCAL} dev {port} src {address} metric 100");
    must("head", &format!("ip addr add {net} dev {port} noprefixroute && ip -4 route add {route}"))
        .map(drop)
}

/// Pulls the cable of a port out of the `wire`th network, and leaves its end there.
pub fn pull(port: &str, wire: usize) -> Result<()> {
    ip(&venue_name(wire), &format!("link set {} down\n", far_end(port)))
}

/// Moves the end of a cable from the `wire`th network to the shelf.
pub fn shelve(port: &str, wire: usize) -> Result<()> {
    let far = far_end(port);
    ip(&venue_name(wire), &format!("link set {far} down nomaster\nlink set {far} netns {SHELF}\n"))
        .map_err(while_doing(format!("carrying the cable of {port} away")))
}
