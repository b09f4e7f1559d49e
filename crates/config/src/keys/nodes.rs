//! Keys of the nodes, their groups, the ports that lead to them, their health and that of the head.

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::time::Duration;

use super::Preset::{Required, Toml, Words};
use super::form::{
    COUNT_OR_SHARE, DAY, PROBES, SHARE_OR_OFF, choice, duration, integer, keys, milliseconds, pair,
    scalar, seconds, text, texts,
};
use crate::rule::Rule;
use crate::{Access, ForwardTarget, Mac, NodeProbe, Threshold, Transport, devices, grammar, rule};

keys! {
    NODES =
    /// The node's name. It must be unique. If a later file repeats it, that file changes the keys
    /// it gives. It cannot be the head node's own host name, localhost, wpad or isatap. Nor can it
    /// be what dnsmasq reads as a keyword or a time, such as ignore, infinite, 12 or 12h.
    NODE_NAME: String =
        "node.name", text!("a host name such as \"rpi1\"", grammar::node_name), Required;

    /// The node's hardware address. DHCP gives the node with this address the address below.
    NODE_MAC: Mac =
        "node.mac",
        text!("a hardware address such as \"b8:27:eb:00:00:01\"", grammar::mac),
        Words("none");

    /// The node's address.
    NODE_ADDRESS: Ipv4Addr =
        "node.address",
        text!("an IPv4 address in the cluster's subnet such as \"192.168.50.11\"", grammar::ipv4),
        Words("none; then mac is needed");

    /// How to check the node's health. All probes must succeed. An HTTP probe succeeds with a
    /// status of 2xx or 3xx. "http://:80/healthz 204" requires this status, and "http://:80/healthz
    /// all is well" requires 200 and this text in the body. "ping" is another name for "icmp". With
    /// "off" the node is not checked.
    NODE_PROBE: Vec<NodeProbe> = "node.probe", PROBES, Words("\"icmp\"");

    /// The longest that a round waits for this node's answers, for example for a slow page. If it
    /// is longer than health.interval, the node's next round begins when this one has ended. The
    /// retry after half of this time helps only if the node's round-trip time is below that half.
    NODE_TIMEOUT: Duration =
        "node.timeout", duration(milliseconds(5), seconds(60)), Words("health.timeout");

    /// The group that the node belongs to, such as a rack or a module.
    NODE_GROUP: String =
        "node.group",
        text!("the name of a group such as \"rack1\"", grammar::host_name),
        Words("the first group whose members match the node");

    /// The group's name. It must be unique. If groups is set, each number is appended to it: "rack"
    /// becomes rack1, rack2 and so on.
    GROUP_NAME: String =
        "group.name", text!("a host name such as \"rack\"", grammar::host_name), Required;

    /// Makes a group for each of these numbers.
    GROUP_GROUPS: (u32, u32) =
        "group.groups",
        pair!("numbers such as \"1-5\"", rule::numbers),
        Words("none: one group"), was "group.numbers";

    /// Makes a node for each of these slots in each group. Then node_address is needed.
    GROUP_NODES: (u32, u32) =
        "group.nodes",
        pair!("numbers such as \"1-5\"", rule::numbers),
        Words("none"), was "group.slots";

    /// The rule for the addresses of these nodes. {group} and {slot} stand for the two numbers.
    GROUP_NODE_ADDRESS: Rule =
        "group.node_address",
        text!("a rule for addresses such as \"10.21.{group}.{slot}\"", rule::address_rule),
        Words("none"), was "group.address";

    /// The rule for the names of these nodes. {group} and {slot} stand for the two numbers.
    GROUP_NODE_NAME: Rule =
        "group.node_name",
        text!("a rule for host names such as \"r{group}n{slot}\"", rule::name_rule),
        Words("the group's name, \"-\" and the slot"), was "group.node";

    /// Further nodes that belong to the group.
    GROUP_MEMBERS: Vec<String> =
        "group.members",
        texts!("a node's name such as \"rpi1\", or a glob such as \"blade*\"", rule::member),
        Words("none");

    /// How to check the nodes that the group makes, as in node.probe.
    GROUP_PROBE: Vec<NodeProbe> = "group.probe", PROBES, Words("\"icmp\"");

    /// How long to wait for the nodes that the group makes, as in node.timeout.
    GROUP_TIMEOUT: Duration =
        "group.timeout", duration(milliseconds(5), seconds(60)), Words("health.timeout");

    /// If fewer nodes of this group are up, the group is a fault (red).
    GROUP_RED_BELOW: Threshold =
        "group.red_below",
        scalar!(COUNT_OR_SHARE, grammar::threshold),
        Words("only health.red_below applies, to all nodes together"), was "group.fault_below";

    /// A port of the head node on its uplinks. It must be unique. For the venue it takes precedence
    /// over uplink.allow and over programs on the head node.
    FORWARD_LISTEN: (Transport, u16) =
        "forward.listen",
        scalar!("a TCP port such as 2201, or \"tcp:2201\" or \"udp:5000\"", rule::listen),
        Required;

    /// The node, by name or address, and the port that connections are forwarded to.
    FORWARD_TO: (ForwardTarget, u16) =
        "forward.to",
        text!("a node and its port such as \"rpi1:22\"", rule::forward_target),
        Required;

    /// The mount point of a disk that the nodes may use. Only an absolute path without links. It is
    /// shared while a disk is mounted there, by NFS 4, and with the cluster's subnet only. This
    /// needs the package nfs-kernel-server.
    SHARE_PATH: PathBuf =
        "share.path", text!("the mount point of a disk such as \"/mnt/usb\"", rule::mount_point),
        Required;

    /// How the disk is called in alerts, and on the display. It must be unique.
    SHARE_NAME: String =
        "share.name", text!("a short name such as \"usb\"", rule::share_name), Required;

    /// "rw": the nodes may write on it. "ro": they may only read.
    SHARE_ACCESS: Access =
        "share.access",
        choice!("rw" => Access::ReadWrite, "ro" => Access::ReadOnly),
        Words("\"rw\"");

    /// The time between two rounds of probes of a node.
    HEALTH_INTERVAL: Duration =
        "health.interval", duration(milliseconds(50), seconds(3600)), Toml("\"300ms\"");

    /// The number of consecutive lost rounds after which a node is down. A round is lost if the
    /// probe and two quick retries get no answer.
    HEALTH_DOWN_AFTER: u32 =
        "health.down_after", integer(1, 1000), Toml("3"), was "health.failure_threshold";

    /// The number of consecutive answered rounds after which a node is up again.
    HEALTH_UP_AFTER: u32 =
        "health.up_after", integer(1, 1000), Toml("2"), was "health.success_threshold";

    /// How long a node that has not answered yet may take to boot before it is down. The time
    /// counts from the start of the gateway, or from when the cluster interface got its cable.
    HEALTH_BOOT_GRACE: Duration =
        "health.boot_grace",
        duration(Duration::ZERO, seconds(3600)),
        Toml("\"60s\""), was "health.start_period";

    /// If fewer nodes are up, it is a fault (red). Before that, a node that is down is a warning
    /// (amber). Only nodes in the settings or in a group count. Any other node that was found may
    /// be a visitor's laptop, and is a warning at most.
    HEALTH_RED_BELOW: Threshold =
        "health.red_below",
        scalar!(COUNT_OR_SHARE, grammar::threshold),
        Toml("\"50%\""), was "health.fault_below";

    /// The longest that a round waits for an answer. It is never longer than interval, and shorter
    /// for nodes that answer quickly. The retry after half of this time helps only nodes whose
    /// round-trip time is below that half (50 ms by default). node.timeout allows one node more.
    HEALTH_TIMEOUT: Duration =
        "health.timeout", duration(milliseconds(5), seconds(10)), Toml("\"100ms\"");

    /// If a node's smoothed round-trip time is longer, the node is degraded.
    HEALTH_DEGRADED_RTT: Option<Duration> =
        "health.degraded_rtt",
        text!("a duration such as \"50ms\", or \"off\"", devices::duration_or_off),
        Toml("\"50ms\"");

    /// If a node does not answer a larger share of the first tries of its last 64 rounds, the node
    /// is degraded.
    HEALTH_DEGRADED_LOSS: Option<u8> =
        "health.degraded_loss",
        text!(SHARE_OR_OFF, rule::share_or_off),
        Toml("\"30%\"");

    /// The number of changes between up and down within flap_window that make a node flapping. A
    /// flapping node is degraded until its state has not changed for half of flap_window.
    HEALTH_FLAP_CHANGES: u32 = "health.flap_changes", integer(2, 1000), Toml("6");

    /// The time in which flap_changes counts.
    HEALTH_FLAP_WINDOW: Duration =
        "health.flap_window", duration(seconds(1), seconds(DAY)), Toml("\"2m\"");

    /// If the head node is hotter, it is a warning.
    VITALS_TEMPERATURE_ABOVE: i32 =
        "vitals.temperature_above",
        integer(30, 120).of("°C"),
        Toml("80"), was "vitals.temperature";

    /// If less of the head node's memory is available, it is a warning.
    VITALS_MEMORY_FREE_BELOW: Option<u8> =
        "vitals.memory_free_below",
        text!(SHARE_OR_OFF, rule::share_or_off),
        Toml("\"10%\""), was "vitals.memory";

    /// If less of the root file system's space or inodes is free, it is a warning.
    VITALS_DISK_FREE_BELOW: Option<u8> =
        "vitals.disk_free_below",
        text!(SHARE_OR_OFF, rule::share_or_off),
        Toml("\"10%\""), was "vitals.disk";

    /// If tasks waited for a processor, memory or the disk for a larger share of the last minute,
    /// it is a warning.
    VITALS_PRESSURE: Option<u8> =
        "vitals.pressure", text!(SHARE_OR_OFF, rule::share_or_off), Toml("\"80%\"");
}
