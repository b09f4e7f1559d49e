//! Keys of the board, the uplinks, the gateway and the cluster.

use super::Preset::{Required, Toml, Words};
use super::form::{DAY, PORT, key, scalar, seconds, text};
use super::{Key, Kind};
use crate::fault::Complaint;
use crate::tree::Scalar;
use crate::{devices, grammar, rule};

/// In the order of the man page.
pub static NETWORK: &[Key] = &[
    key(
        "board",
        text!("\"auto\" or a board's name", devices::name),
        Toml("\"auto\""),
        "What the head node is: it decides the defaults of [lcd] and [led]. \"auto\" asks the device tree and falls back to \"generic-pc\". A name is that of a file in boards/, or in /etc/bramblegate/boards, without its .toml.",
    ),
    key(
        "uplink.interfaces",
        Kind::List {
            form: PORT,
            integers: false,
            lone: false,
            empty: false,
            check: |value| match value {
                Scalar::Text(text) => grammar::port_pattern(text).map(drop),
                Scalar::Integer(_) => {
                    Err(Complaint::new("a port has no number here", "write its name in quotes"))
                }
            },
        },
        Required,
        "The ports that may lead to the venue, in order of preference. Globs match current and alternative names, never lo, the cluster's port or the gateway's own.",
    ),
    key(
        "uplink.probe",
        Kind::Choice(&["http", "ping", "off"]),
        Toml("\"http\""),
        "How to find out whether the internet is behind an uplink. \"http\" also sees captive portals; with \"off\" an address is enough.",
    ),
    key(
        "uplink.probe_url",
        text!("URL that begins with http://", grammar::http_url),
        Toml("\"http://connectivitycheck.gstatic.com/generate_204\""),
        "What \"http\" asks for, through the uplink and resolved by its own resolvers. The default is a public host of Google's: any host of yours that answers plain HTTP does as well. No https: the clock may be wrong before there is a network.",
    ),
    key(
        "uplink.probe_expect",
        scalar!("HTTP status 200 to 599, or a text", grammar::expectation),
        Toml("204"),
        "The answer that says that the internet is there: this status, or status 200 with this text in the body. Any other answer is a captive portal.",
    ),
    key(
        "uplink.probe_host",
        text!("IP address", grammar::ip),
        Toml("\"1.1.1.1\""),
        "Whom \"ping\" asks.",
    ),
    key(
        "uplink.allow",
        Kind::List {
            form: "\"ssh\", \"icmp\", \"mdns\", a TCP port as 8080 or \"tcp:8000-8010\", \"udp:51820\"",
            integers: true,
            lone: false,
            empty: true,
            check: |value| grammar::allow(value).map(drop),
        },
        Toml("[\"ssh\", \"icmp\", \"mdns\"]"),
        "What the venue may reach on the head node itself. \"ssh\" is port 22 and what sshd's settings say, also when they change, \"icmp\" is for IPv4 and IPv6.",
    ),
    key(
        "gateway.enabled",
        Kind::Bool,
        Toml("true"),
        "false: show the address, change nothing in the network.",
    ),
    key(
        "gateway.on_stop",
        Kind::Choice(&["keep", "remove"]),
        Toml("\"keep\""),
        "\"keep\": the nodes' way out outlives the daemon. \"remove\": everything is put back when it stops.",
    ),
    key(
        "gateway.protect",
        Kind::Bool,
        Toml("true"),
        "Own the nftables table, so that others cannot flush it (kernel 6.9 or newer; with older ones it is watched and put back). false for debugging.",
    ),
    key(
        "gateway.trust",
        Kind::List {
            form: PORT,
            integers: false,
            lone: false,
            empty: true,
            check: |value| match value {
                Scalar::Text(text) => grammar::port_pattern(text).map(drop),
                Scalar::Integer(_) => {
                    Err(Complaint::new("a port has no number here", "write its name in quotes"))
                }
            },
        },
        Toml("[]"),
        "Ports that are neither uplinks nor the cluster's and whose networks may reach the head and the nodes. From any other port only what uplink.allow says is taken, and nothing new goes to the nodes. Tunnels and containers of the head (WireGuard, Tailscale, bridges of Docker, libvirt or Kubernetes) need not be named; a bridge that holds a network adapter does.",
    ),
    key(
        "cluster.interface",
        text!(PORT, grammar::port_pattern),
        Required,
        "The port that leads to the nodes. A glob takes none that is named as an uplink.",
    ),
    key(
        "cluster.address",
        text!("IPv4 address with prefix length 8 to 30", grammar::cidr),
        Toml("\"192.168.50.1/24\""),
        "The head node's own address on the cluster's side, and with it the cluster's subnet.",
    ),
    key(
        "cluster.alternatives",
        Kind::List {
            form: "as cluster.address, same prefix length",
            integers: false,
            lone: false,
            empty: true,
            check: |value| match value {
                Scalar::Text(text) => grammar::cidr(text).map(drop),
                Scalar::Integer(_) => {
                    Err(Complaint::new("an address is a text", "write it as \"10.213.50.1/24\""))
                }
            },
        },
        Words(
            "10.213.x.y and 172.30.x.y, where x.y are the last two numbers of cluster.address; none if its prefix is shorter than 16",
        ),
        "Where the cluster moves if the venue leases the head node an address of the cluster. The nodes keep their host parts; where it clashes with nothing, the former address stays until no node uses its subnet.",
    ),
    key(
        "cluster.domain",
        text!("domain name", grammar::domain),
        Toml("\"bramble\""),
        "The domain of the nodes' names. Not local, localhost or arpa: no resolver would ask for names in them here.",
    ),
    key(
        "cluster.dhcp.enabled",
        Kind::Bool,
        Words("true where the table [cluster.dhcp] is there"),
        "Serve addresses to the nodes.",
    ),
    key(
        "cluster.dhcp.range",
        text!("\"FIRST-LAST\"", grammar::range),
        Words("hosts 100 to 199 of the subnet, in a small subnet its upper half"),
        "The addresses for nodes that have none of their own. A node that is found at one of them keeps it; those that never asked for it keep half of the range at most. Let there be more than nodes: of many that ask at once for the first time, those that are offered the same address ask again.",
    ),
    key(
        "cluster.dhcp.lease",
        Kind::Duration(seconds(120), seconds(365 * DAY)),
        Words("\"1h\""),
        "How long a node may keep an address. It asks after a minute (thousands: less often) whether all is as it was, and then follows a move (DHCP option 58; dhcpcd, systemd-networkd and NetworkManager do so). A client that does not, as busybox's udhcpc, follows only when its lease is nearly over: with such nodes let it be a few minutes.",
    ),
    key(
        "cluster.dhcp.ntp",
        text!("\"auto\", \"off\" or an IPv4 address", rule::time_server),
        Words("\"auto\""),
        "The time server that nodes get (DHCP option 42). \"auto\": the head itself where it serves time (chrony, ntpsec), else the servers that the head asks.",
    ),
    key(
        "cluster.dns.enabled",
        Kind::Bool,
        Words("true where addresses are served"),
        "Resolve names for the nodes: their own, and the internet's by the venue's resolvers.",
    ),
    key(
        "cluster.dns.fallback",
        Kind::List {
            form: "IP address",
            integers: false,
            lone: false,
            empty: true,
            check: |value| match value {
                Scalar::Text(text) => grammar::ip(text).map(drop),
                Scalar::Integer(_) => {
                    Err(Complaint::new("an address is a text", "write it as \"9.9.9.9\""))
                }
            },
        },
        Toml("[\"9.9.9.9\", \"1.1.1.1\"]"),
        "Resolvers for when the venue names none.",
    ),
    key(
        "cluster.netboot.enabled",
        Kind::Bool,
        Words("true where the table [cluster.netboot] is there"),
        "Let nodes boot from the head by TFTP.",
    ),
    key(
        "cluster.netboot.root",
        text!("absolute path", devices::folder),
        Words("\"/srv/tftp\""),
        "The folder that is served. A Raspberry Pi 4 or 5 asks for files in a folder named after its serial number first.",
    ),
    key(
        "cluster.netboot.folders",
        Kind::Choice(&["shared", "mac"]),
        Words("\"shared\""),
        "\"mac\": each node sees only the folder of its own hardware address below root, as \"b8-27-eb-00-00-01\", where there is one.",
    ),
    key(
        "cluster.netboot.bios",
        text!("file below root", devices::boot_file),
        Words("none"),
        "What a PC with a BIOS loads, as \"pxelinux.0\".",
    ),
    key(
        "cluster.netboot.uefi_x86",
        text!("file below root, or URL that begins with http://", devices::boot_file),
        Words("none"),
        "What a 64-bit PC with UEFI loads, as \"grubx64.efi\"; a URL for UEFI HTTP boot.",
    ),
    key(
        "cluster.netboot.uefi_arm64",
        text!("file below root, or URL that begins with http://", devices::boot_file),
        Words("none"),
        "What a 64-bit ARM machine with UEFI loads, as \"grubaa64.efi\".",
    ),
    key(
        "cluster.netboot.ipxe",
        text!("file below root, or URL", devices::loader_file),
        Words("none"),
        "What iPXE starts, whatever machine it runs on, as \"http://192.168.50.1/boot.ipxe\". Needed where one of the others is iPXE itself (\"undionly.kpxe\", \"ipxe.efi\"), which asks again; without it iPXE is given what its machine loads, but never iPXE.",
    ),
];
