//! Keys of the board, the uplinks, the gateway and the cluster.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::time::Duration;

use ipnet::Ipv4Net;

use super::Preset::{Required, Toml, WithTable, Words};
use super::form::{
    BOOL, DAY, PORT, choice, duration, keys, pair, scalar, scalars, seconds, text, texts,
};
use crate::grammar::ProbeMethod;
use crate::{
    Allow, Clat, HttpExpectation, Ipv6Prefix, OnStop, PortPattern, TimeServer, devices, grammar,
    rule,
};

keys! {
    NETWORK =
    /// The board of the head node. It decides the defaults of [gpio], [lcd] and [led]. "auto" reads
    /// the device tree and falls back to "generic-pc". A board's name is that of its file in
    /// /etc/bramblegate/boards or among the built-in boards, without .toml.
    BOARD: String =
        "board", text!("\"auto\" or the name of a board", devices::name), Toml("\"auto\"");

    /// The interfaces that may lead to the venue, in order of preference. Globs match current and
    /// alternative names. They never match lo, the cluster interface, or an interface that
    /// Bramblegate made.
    UPLINK_INTERFACES: Vec<PortPattern> =
        "uplink.interfaces",
        texts!(PORT, grammar::port_pattern).not_empty(),
        Required, was "uplink.interface";

    /// What the venue may reach on the head node itself. "ssh" is TCP port 22 and every port that
    /// sshd listens on, also when its settings change. "web" is the port of the status page, and of
    /// its metrics. "icmp" is for IPv4 and IPv6. A number is a TCP port.
    UPLINK_ALLOW: Vec<Allow> =
        "uplink.allow",
        scalars!(
            "\"ssh\", \"icmp\", \"mdns\", \"web\", \"http\", \"https\", a TCP port such as 8080, or \
             ports such as \"tcp:8000-8010\" and \"udp:51820\"",
            grammar::allow
        ),
        Toml("[\"ssh\", \"icmp\", \"mdns\"]");

    /// Whether the head node translates IPv4 to IPv6 (464XLAT), so that nodes keep IPv4 in a venue
    /// without it. "auto": where the venue has a NAT64 and no uplink has IPv4. "on": wherever the
    /// venue has a NAT64. "off": never.
    UPLINK_CLAT: Clat =
        "uplink.clat",
        choice!("auto" => Clat::Auto, "on" => Clat::On, "off" => Clat::Off),
        Toml("\"auto\"");

    /// false: do not check whether an uplink has internet access.
    UPLINK_CHECK_ENABLED: bool =
        "uplink.check.enabled", BOOL, Words("true, unless method is \"off\"");

    /// How to check whether an uplink has internet access. "http" also detects captive portals.
    /// "ping" (or "icmp") sends an ICMP echo request to host. With "off" an address is enough.
    UPLINK_CHECK_METHOD: ProbeMethod =
        "uplink.check.method",
        choice!(
            "http" => ProbeMethod::Http,
            "ping" => ProbeMethod::Ping,
            "icmp" => ProbeMethod::Ping,
            "off" => ProbeMethod::Off
        ),
        Toml("\"http\""), was "uplink.probe";

    /// The page that "http" requests, through the uplink and with the uplink's own resolvers. The
    /// default is a public host of Google's. Any host of yours that answers plain HTTP will do. It
    /// cannot be https: the clock may be wrong before there is a network.
    UPLINK_CHECK_URL: (String, u16, String) =
        "uplink.check.url",
        text!("a URL such as \"http://example.org/generate_204\"", grammar::http_url),
        Toml("\"http://connectivitycheck.gstatic.com/generate_204\""), was "uplink.probe_url";

    /// The answer that proves internet access: this status, or status 200 with this text in the
    /// body. Any other answer is a captive portal.
    UPLINK_CHECK_EXPECT: HttpExpectation =
        "uplink.check.expect",
        scalar!("an HTTP status from 200 to 599, or a string", grammar::expectation),
        Toml("204"), was "uplink.probe_expect";

    /// The address that "ping" checks.
    UPLINK_CHECK_HOST: IpAddr =
        "uplink.check.host",
        text!("an IP address such as \"9.9.9.9\"", grammar::ip),
        Toml("\"1.1.1.1\""), was "uplink.probe_host";

    /// false: show the address and change nothing in the network.
    GATEWAY_ENABLED: bool = "gateway.enabled", BOOL, Toml("true");

    /// "keep": the nodes keep their internet access when the daemon stops. "remove": the daemon
    /// removes everything when it stops.
    GATEWAY_ON_STOP: OnStop =
        "gateway.on_stop",
        choice!("keep" => OnStop::Keep, "remove" => OnStop::Remove),
        Toml("\"keep\"");

    /// Own the nftables table, so that other programs cannot flush it. This needs kernel 6.9 or
    /// newer; on older kernels the table is watched and restored. Set it to false for debugging.
    GATEWAY_PROTECT: bool = "gateway.protect", BOOL, Toml("true");

    /// Further interfaces whose networks may reach the head node and the nodes. Any other
    /// interface, but an uplink or the cluster interface, is closed. Only what uplink.allow lists is
    /// accepted from it, and no new connection reaches the nodes. Tunnels and containers of the head
    /// node (WireGuard, Tailscale, bridges of Docker, libvirt or Kubernetes) need not be listed. A
    /// bridge that contains a network adapter must be.
    GATEWAY_TRUST: Vec<PortPattern> =
        "gateway.trust", texts!(PORT, grammar::port_pattern), Toml("[]");

    /// The interface that leads to the nodes. A glob does not match an interface that is listed as
    /// an uplink.
    CLUSTER_INTERFACE: PortPattern =
        "cluster.interface", text!(PORT, grammar::port_pattern), Required;

    /// The head node's own address in the cluster. It also sets the cluster's subnet.
    CLUSTER_ADDRESS: Ipv4Net =
        "cluster.address",
        text!(
            "an IPv4 address and its prefix length (8-30) such as \"192.168.50.1/24\"",
            grammar::cidr
        ),
        Toml("\"192.168.50.1/24\"");

    /// Where the cluster moves if the venue leases the head node an address of the cluster. The
    /// first one that is not in use is taken. The nodes keep their host parts. The former address
    /// stays until no node uses its subnet, as long as it does not clash.
    CLUSTER_FALLBACK_ADDRESSES: Vec<Ipv4Net> =
        "cluster.fallback_addresses",
        texts!(
            "an address with the prefix length of cluster.address such as \"10.213.50.1/24\"",
            grammar::fallback_address
        ),
        Words(
            "10.213.x.y and 172.30.x.y, where x.y are the last two numbers of cluster.address; \
             none if its prefix is shorter than 16"
        ), was "cluster.alternatives";

    /// The domain of the nodes' names. It cannot be below local, localhost or arpa: a resolver does
    /// not send names in them to the head node.
    CLUSTER_DOMAIN: String =
        "cluster.domain",
        text!("a domain such as \"bramble\"", grammar::domain),
        Toml("\"bramble\"");

    /// Serve addresses to the nodes. "dhcp = true" in [cluster] is short for this.
    CLUSTER_DHCP_ENABLED: bool =
        "cluster.dhcp.enabled", BOOL, Words("true if the table [cluster.dhcp] is present");

    /// The addresses for nodes that have no address in the settings. Make the range larger than the
    /// number of nodes: if many ask for the first time at once, some are offered the same address
    /// and must ask again. A node found at an address of the range keeps it. Nodes that never asked
    /// for theirs keep half of the range at most.
    CLUSTER_DHCP_RANGE: (Ipv4Addr, Ipv4Addr) =
        "cluster.dhcp.range",
        pair!("a range such as \"192.168.50.100-192.168.50.199\"", grammar::range),
        Words("hosts 100 to 199 of the subnet; the upper half of a small subnet");

    /// How long a node may keep an address. Every minute (less often with thousands of nodes) it
    /// asks whether its address is still valid, and so follows a move of the cluster. dhcpcd,
    /// systemd-networkd and NetworkManager do this (DHCP option 58). Other clients, such as
    /// busybox's udhcpc, follow only when their lease is nearly over. If you have such nodes, set a
    /// few minutes.
    CLUSTER_DHCP_LEASE_TIME: Duration =
        "cluster.dhcp.lease_time",
        duration(seconds(120), seconds(365 * DAY)),
        WithTable("1h"), was "cluster.dhcp.lease";

    /// The time server that the nodes get (DHCP option 42). "auto": the head node itself if it
    /// serves time (chrony, ntpsec), otherwise the servers that the head node uses.
    CLUSTER_DHCP_NTP: TimeServer =
        "cluster.dhcp.ntp",
        text!("\"auto\", \"off\" or an IPv4 address such as \"192.168.50.1\"", rule::time_server),
        WithTable("auto");

    /// Resolve names for the nodes: their own names, and names on the internet through the venue's
    /// resolvers.
    CLUSTER_DNS_ENABLED: bool =
        "cluster.dns.enabled", BOOL, Words("true if cluster.dhcp is enabled");

    /// Resolvers to use if the venue offers none.
    CLUSTER_DNS_FALLBACK_SERVERS: Vec<IpAddr> =
        "cluster.dns.fallback_servers",
        texts!("an IP address such as \"9.9.9.9\"", grammar::ip),
        Toml("[\"9.9.9.9\", \"1.1.1.1\"]"), was "cluster.dns.fallback";

    /// "auto": give the nodes IPv6 as well: addresses, names, and a way to hosts that have IPv6
    /// alone. In [cluster], ipv6 = "auto" is short for this. A node that has both goes on using
    /// IPv4 for names that have both. The venue never sees a unique local address: packets leave
    /// with the uplink's. It needs cluster.dhcp.
    CLUSTER_IPV6_MODE: bool =
        "cluster.ipv6.mode", choice!("auto" => true, "off" => false), Toml("\"off\"");

    /// The nodes' IPv6 network. "unique-local": a unique local one (RFC 4193) that is made once and
    /// kept. The head node has the first address of it. "auto": the same, and beside it a /64 of
    /// the prefix that the venue delegates to dhcpcd or systemd-networkd on the head. Nodes then
    /// use IPv6 for names that have both, with addresses of their own that the venue sees. Or a
    /// network of yours: its packets leave with the uplink's address.
    CLUSTER_IPV6_PREFIX: Ipv6Prefix =
        "cluster.ipv6.prefix",
        text!(
            "\"auto\", \"unique-local\" or a network such as \"fd12:3456:789a:1::/64\"",
            grammar::ipv6_prefix
        ),
        Toml("\"auto\"");

    /// true: advertise the venue's NAT64 prefix to the nodes (PREF64, RFC 8781), while the venue has
    /// one. A node can then reach IPv4 hosts by IPv6, through the head.
    CLUSTER_IPV6_PREF64: bool = "cluster.ipv6.pref64", BOOL, Toml("false");

    /// true: send DHCP option 108 (RFC 8925) to a node that asks for it, while the venue has a
    /// NAT64. Such a node does without IPv4, also in the cluster, and is reached by its name.
    CLUSTER_IPV6_ONLY_PREFERRED: bool = "cluster.ipv6.only_preferred", BOOL, Toml("false");

    /// Let nodes boot from the head node over TFTP.
    CLUSTER_NETBOOT_ENABLED: bool =
        "cluster.netboot.enabled", BOOL, Words("true if the table [cluster.netboot] is present");

    /// The folder that is served. A Raspberry Pi 4 or 5 first asks for files in a folder named
    /// after its serial number.
    CLUSTER_NETBOOT_ROOT: PathBuf =
        "cluster.netboot.root",
        text!("an absolute path such as \"/srv/tftp\"", devices::folder),
        WithTable("/srv/tftp");

    /// "mac": each node sees only the folder of its own hardware address below root, such as
    /// b8-27-eb-00-00-01, if that folder exists.
    CLUSTER_NETBOOT_FOLDERS: bool =
        "cluster.netboot.folders",
        choice!("shared" => false, "mac" => true),
        WithTable("shared");

    /// The file that a PC with a BIOS loads.
    CLUSTER_NETBOOT_BIOS: String =
        "cluster.netboot.bios",
        text!("a file below root such as \"pxelinux.0\"", devices::boot_file),
        Words("none");

    /// The file that a 64-bit PC with UEFI loads. A URL is for UEFI HTTP boot.
    CLUSTER_NETBOOT_UEFI_X86: String =
        "cluster.netboot.uefi_x86",
        text!(
            "a file below root such as \"grubx64.efi\", or a URL that begins with http://",
            devices::boot_file
        ),
        Words("none");

    /// The file that a 64-bit ARM machine with UEFI loads. A URL is for UEFI HTTP boot.
    CLUSTER_NETBOOT_UEFI_ARM64: String =
        "cluster.netboot.uefi_arm64",
        text!(
            "a file below root such as \"grubaa64.efi\", or a URL that begins with http://",
            devices::boot_file
        ),
        Words("none");

    /// What iPXE starts, on any machine. You need it if one of the other files is iPXE itself (such
    /// as undionly.kpxe or ipxe.efi), because iPXE asks again. Without it iPXE gets the file of its
    /// machine, unless that is iPXE.
    CLUSTER_NETBOOT_IPXE: String =
        "cluster.netboot.ipxe",
        text!(
            "a file below root such as \"boot.ipxe\", or a URL such as \
             \"http://192.168.50.1/boot.ipxe\"",
            devices::loader_file
        ),
        Words("none");
}
