//! Keys of the board, the uplinks, the gateway and the cluster.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::time::Duration;

use ipnet::Ipv4Net;

use super::Preset::{Required, Toml, WithTable, Words};
use super::form::{BOOL, DAY, PORT, choice, duration, keys, scalar, scalars, seconds, text, texts};
use crate::grammar::ProbeMethod;
use crate::{Allow, HttpExpectation, OnStop, PortPattern, TimeServer, devices, grammar, rule};

keys! {
    NETWORK =
    /// What the head node is: it decides the defaults of [lcd] and [led]. "auto" asks the device
    /// tree and falls back to "generic-pc". A name is that of a file in boards/, or in
    /// /etc/bramblegate/boards, without its .toml.
    BOARD: String = "board", text!("\"auto\" or a board's name", devices::name), Toml("\"auto\"");

    /// The ports that may lead to the venue, in order of preference. Globs match current and
    /// alternative names, never lo, the cluster's port or the gateway's own.
    UPLINK_INTERFACES: Vec<PortPattern> =
        "uplink.interfaces", texts!(PORT, grammar::port_pattern).not_empty(), Required;

    /// How to find out whether the internet is behind an uplink. "http" also sees captive portals;
    /// with "off" an address is enough.
    UPLINK_PROBE: ProbeMethod =
        "uplink.probe",
        choice!(
            "http" => ProbeMethod::Http,
            "ping" => ProbeMethod::Ping,
            "off" => ProbeMethod::Off
        ),
        Toml("\"http\"");

    /// What "http" asks for, through the uplink and resolved by its own resolvers. The default is a
    /// public host of Google's: any host of yours that answers plain HTTP does as well. No https:
    /// the clock may be wrong before there is a network.
    UPLINK_PROBE_URL: (String, u16, String) =
        "uplink.probe_url",
        text!("URL that begins with http://", grammar::http_url),
        Toml("\"http://connectivitycheck.gstatic.com/generate_204\"");

    /// The answer that says that the internet is there: this status, or status 200 with this text
    /// in the body. Any other answer is a captive portal.
    UPLINK_PROBE_EXPECT: HttpExpectation =
        "uplink.probe_expect",
        scalar!("HTTP status 200 to 599, or a text", grammar::expectation),
        Toml("204");

    /// Whom "ping" asks.
    UPLINK_PROBE_HOST: IpAddr =
        "uplink.probe_host", text!("IP address", grammar::ip), Toml("\"1.1.1.1\"");

    /// What the venue may reach on the head node itself. "ssh" is port 22 and what sshd's settings
    /// say, also when they change, "icmp" is for IPv4 and IPv6.
    UPLINK_ALLOW: Vec<Allow> =
        "uplink.allow",
        scalars!(
            "\"ssh\", \"icmp\", \"mdns\", a TCP port as 8080 or \"tcp:8000-8010\", \
             \"udp:51820\"",
            grammar::allow
        ),
        Toml("[\"ssh\", \"icmp\", \"mdns\"]");

    /// false: show the address, change nothing in the network.
    GATEWAY_ENABLED: bool = "gateway.enabled", BOOL, Toml("true");

    /// "keep": the nodes' way out outlives the daemon. "remove": everything is put back when it
    /// stops.
    GATEWAY_ON_STOP: OnStop =
        "gateway.on_stop",
        choice!("keep" => OnStop::Keep, "remove" => OnStop::Remove),
        Toml("\"keep\"");

    /// Own the nftables table, so that others cannot flush it (kernel 6.9 or newer; with older ones
    /// it is watched and put back). false for debugging.
    GATEWAY_PROTECT: bool = "gateway.protect", BOOL, Toml("true");

    /// Ports that are neither uplinks nor the cluster's and whose networks may reach the head and
    /// the nodes. From any other port only what uplink.allow says is taken, and nothing new goes to
    /// the nodes. Tunnels and containers of the head (WireGuard, Tailscale, bridges of Docker,
    /// libvirt or Kubernetes) need not be named; a bridge that holds a network adapter does.
    GATEWAY_TRUST: Vec<PortPattern> =
        "gateway.trust", texts!(PORT, grammar::port_pattern), Toml("[]");

    /// The port that leads to the nodes. A glob takes none that is named as an uplink.
    CLUSTER_INTERFACE: PortPattern =
        "cluster.interface", text!(PORT, grammar::port_pattern), Required;

    /// The head node's own address on the cluster's side, and with it the cluster's subnet.
    CLUSTER_ADDRESS: Ipv4Net =
        "cluster.address",
        text!("IPv4 address with prefix length 8 to 30", grammar::cidr),
        Toml("\"192.168.50.1/24\"");

    /// Where the cluster moves if the venue leases the head node an address of the cluster. The
    /// nodes keep their host parts; where it clashes with nothing, the former address stays until
    /// no node uses its subnet.
    CLUSTER_ALTERNATIVES: Vec<Ipv4Net> =
        "cluster.alternatives",
        texts!("as cluster.address, same prefix length", grammar::cidr),
        Words(
            "10.213.x.y and 172.30.x.y, where x.y are the last two numbers of cluster.address; \
             none if its prefix is shorter than 16"
        );

    /// The domain of the nodes' names. Not local, localhost or arpa: no resolver would ask for
    /// names in them here.
    CLUSTER_DOMAIN: String =
        "cluster.domain", text!("domain name", grammar::domain), Toml("\"bramble\"");

    /// Serve addresses to the nodes.
    CLUSTER_DHCP_ENABLED: bool =
        "cluster.dhcp.enabled", BOOL, Words("true where the table [cluster.dhcp] is there");

    /// The addresses for nodes that have none of their own. A node that is found at one of them
    /// keeps it; those that never asked for it keep half of the range at most. Let there be more
    /// than nodes: of many that ask at once for the first time, those that are offered the same
    /// address ask again.
    CLUSTER_DHCP_RANGE: (Ipv4Addr, Ipv4Addr) =
        "cluster.dhcp.range",
        text!("\"FIRST-LAST\"", grammar::range),
        Words("hosts 100 to 199 of the subnet, in a small subnet its upper half");

    /// How long a node may keep an address. It asks after a minute (thousands: less often) whether
    /// all is as it was, and then follows a move (DHCP option 58; dhcpcd, systemd-networkd and
    /// NetworkManager do so). A client that does not, as busybox's udhcpc, follows only when its
    /// lease is nearly over: with such nodes let it be a few minutes.
    CLUSTER_DHCP_LEASE: Duration =
        "cluster.dhcp.lease", duration(seconds(120), seconds(365 * DAY)), WithTable("1h");

    /// The time server that nodes get (DHCP option 42). "auto": the head itself where it serves
    /// time (chrony, ntpsec), else the servers that the head asks.
    CLUSTER_DHCP_NTP: TimeServer =
        "cluster.dhcp.ntp",
        text!("\"auto\", \"off\" or an IPv4 address", rule::time_server),
        WithTable("auto");

    /// Resolve names for the nodes: their own, and the internet's by the venue's resolvers.
    CLUSTER_DNS_ENABLED: bool =
        "cluster.dns.enabled", BOOL, Words("true where addresses are served");

    /// Resolvers for when the venue names none.
    CLUSTER_DNS_FALLBACK: Vec<IpAddr> =
        "cluster.dns.fallback",
        texts!("IP address", grammar::ip),
        Toml("[\"9.9.9.9\", \"1.1.1.1\"]");

    /// Let nodes boot from the head by TFTP.
    CLUSTER_NETBOOT_ENABLED: bool =
        "cluster.netboot.enabled", BOOL, Words("true where the table [cluster.netboot] is there");

    /// The folder that is served. A Raspberry Pi 4 or 5 asks for files in a folder named after its
    /// serial number first.
    CLUSTER_NETBOOT_ROOT: PathBuf =
        "cluster.netboot.root", text!("absolute path", devices::folder), WithTable("/srv/tftp");

    /// "mac": each node sees only the folder of its own hardware address below root, as
    /// "b8-27-eb-00-00-01", where there is one.
    CLUSTER_NETBOOT_FOLDERS: bool =
        "cluster.netboot.folders",
        choice!("shared" => false, "mac" => true),
        WithTable("shared");

    /// What a PC with a BIOS loads, as "pxelinux.0".
    CLUSTER_NETBOOT_BIOS: String =
        "cluster.netboot.bios", text!("file below root", devices::boot_file), Words("none");

    /// What a 64-bit PC with UEFI loads, as "grubx64.efi"; a URL for UEFI HTTP boot.
    CLUSTER_NETBOOT_UEFI_X86: String =
        "cluster.netboot.uefi_x86",
        text!("file below root, or URL that begins with http://", devices::boot_file),
        Words("none");

    /// What a 64-bit ARM machine with UEFI loads, as "grubaa64.efi".
    CLUSTER_NETBOOT_UEFI_ARM64: String =
        "cluster.netboot.uefi_arm64",
        text!("file below root, or URL that begins with http://", devices::boot_file),
        Words("none");

    /// What iPXE starts, whatever machine it runs on, as "http://192.168.50.1/boot.ipxe". Needed
    /// where one of the others is iPXE itself ("undionly.kpxe", "ipxe.efi"), which asks again;
    /// without it iPXE is given what its machine loads, but never iPXE.
    CLUSTER_NETBOOT_IPXE: String =
        "cluster.netboot.ipxe",
        text!("file below root, or URL", devices::loader_file),
        Words("none");
}
