//! Keys of the nodes, their groups, the ports that lead to them, their health and that of the head.

use std::net::Ipv4Addr;
use std::time::Duration;

use super::Preset::{Required, Toml, Words};
use super::form::{
    DAY, PROBES, duration, integer, keys, milliseconds, scalar, seconds, text, texts,
};
use crate::rule::Rule;
use crate::{ForwardTarget, Mac, NodeProbe, Threshold, Transport, devices, grammar, rule};

keys! {
    NODES =
    /// The node's name; unique. A later file that names it again changes the keys that it gives.
    /// Not the head's own host name, not localhost, wpad or isatap, nor what dnsmasq takes for an
    /// order or a time: ignore, infinite, 12, 12h.
    NODE_NAME: String = "node.name", text!("host name", grammar::node_name), Required;

    /// Gives the node the address below by DHCP.
    NODE_MAC: Mac = "node.mac", text!("hardware address", grammar::mac), Words("none");

    /// The node's address.
    NODE_ADDRESS: Ipv4Addr =
        "node.address",
        text!("IPv4 address in the cluster's subnet", grammar::ipv4),
        Words("none; then mac is needed");

    /// How to find out whether the node is well: all must be answered. An HTTP answer is good with
    /// a status of 2xx or 3xx; "http://:80/healthz 204" wants this status, "http://:80/healthz all
    /// is well" wants 200 and this text in the body. [] does not ask.
    NODE_PROBE: Vec<NodeProbe> = "node.probe", PROBES, Words("\"icmp\"");

    /// The longest that a round waits for this node's answers: for a page that takes long, say. It
    /// may be longer than health.interval: then the node's next round begins when this one has
    /// ended.
    NODE_TIMEOUT: Duration =
        "node.timeout", duration(milliseconds(5), seconds(60)), Words("health.timeout");

    /// The rack or module it belongs to.
    NODE_GROUP: String =
        "node.group",
        text!("name of a group", grammar::host_name),
        Words("the first group whose members name it");

    /// The group's name; unique. With numbers, what they are put behind: "rack" makes rack1, rack2,
    /// …
    GROUP_NAME: String = "group.name", text!("host name", grammar::host_name), Required;

    /// Makes a group for each number.
    GROUP_NUMBERS: (u32, u32) =
        "group.numbers", text!("\"FIRST-LAST\"", rule::numbers), Words("none: one group");

    /// Makes a node for each slot of each group; then address is needed.
    GROUP_SLOTS: (u32, u32) = "group.slots", text!("\"FIRST-LAST\"", rule::numbers), Words("none");

    /// The rule for the addresses of the nodes in slots, as "10.21.{group}.{slot}".
    GROUP_ADDRESS: Rule =
        "group.address",
        text!("IPv4 address with {group} and {slot} in it", rule::address_rule),
        Words("none");

    /// The rule for the names of the nodes in slots, as "r{group}n{slot}".
    GROUP_NODE: Rule =
        "group.node",
        text!("host name with {group} and {slot} in it", rule::name_rule),
        Words("the group's name, \"-\" and the slot");

    /// Nodes that belong to the group beside those in slots.
    GROUP_MEMBERS: Vec<String> =
        "group.members", texts!("name of a node, or glob", rule::member).or_lone(), Words("none");

    /// How the nodes in slots are asked; as node.probe.
    GROUP_PROBE: Vec<NodeProbe> = "group.probe", PROBES, Words("\"icmp\"");

    /// How long the answers of the nodes in slots are waited for; as node.timeout.
    GROUP_TIMEOUT: Duration =
        "group.timeout", duration(milliseconds(5), seconds(60)), Words("health.timeout");

    /// With fewer nodes of this group up than this it is a fault.
    GROUP_FAULT_BELOW: Threshold =
        "group.fault_below",
        scalar!("count of nodes, or a share as \"80%\"", grammar::threshold),
        Words("health.fault_below of all nodes together");

    /// A port of the head on its uplinks; unique. For the venue it wins over uplink.allow and over
    /// programs of the head.
    FORWARD_LISTEN: (Transport, u16) =
        "forward.listen",
        scalar!("port as 2201, \"tcp:2201\" or \"udp:5000\"", rule::listen),
        Required;

    /// The node, by name or address, and its port to which connections are led.
    FORWARD_TO: (ForwardTarget, u16) =
        "forward.to", text!("\"NODE:PORT\"", rule::forward_target), Required;

    /// Time between two rounds of probes of a node.
    HEALTH_INTERVAL: Duration =
        "health.interval", duration(milliseconds(50), seconds(3600)), Toml("\"300ms\"");

    /// So many rounds lost in a row make a node down. A round is lost when its probe and two quick
    /// tries more go unanswered.
    HEALTH_FAILURE_THRESHOLD: u32 = "health.failure_threshold", integer(1, 1000), Toml("3");

    /// So many rounds answered in a row make it up again.
    HEALTH_SUCCESS_THRESHOLD: u32 = "health.success_threshold", integer(1, 1000), Toml("2");

    /// A node that has not answered yet may be starting: it is waited for so long, from the start
    /// of the gateway or from when the cluster port got its cable, before it is down.
    HEALTH_START_PERIOD: Duration =
        "health.start_period", duration(Duration::ZERO, seconds(3600)), Toml("\"60s\"");

    /// With fewer nodes up than this it is a fault (red); any node down before that is a warning
    /// (amber). Nodes count that the settings name, or take into a group; one that was merely found
    /// may be a visitor's laptop, and is a warning at most.
    HEALTH_FAULT_BELOW: Threshold =
        "health.fault_below",
        scalar!("count of nodes, or a share as \"80%\"", grammar::threshold),
        Toml("\"50%\"");

    /// The longest that a round waits for an answer, and never longer than interval; nodes that
    /// answer quickly are given less. node.timeout gives one node more.
    HEALTH_TIMEOUT: Duration =
        "health.timeout", duration(milliseconds(5), seconds(10)), Toml("\"100ms\"");

    /// A node whose smoothed round trip is longer is degraded.
    HEALTH_DEGRADED_RTT: Option<Duration> =
        "health.degraded_rtt",
        text!("duration, or \"off\"", devices::duration_or_off),
        Toml("\"50ms\"");

    /// A node that leaves more than this share of the first tries of its last 64 rounds unanswered
    /// is degraded.
    HEALTH_DEGRADED_LOSS: Option<u8> =
        "health.degraded_loss",
        text!("share as \"30%\", or \"off\"", rule::share_or_off),
        Toml("\"30%\"");

    /// A node that went down or came up so many times within flap_window is flapping: it counts as
    /// degraded until it has kept still for half of that time.
    HEALTH_FLAP_CHANGES: u32 = "health.flap_changes", integer(2, 1000), Toml("6");

    /// See flap_changes.
    HEALTH_FLAP_WINDOW: Duration =
        "health.flap_window", duration(seconds(1), seconds(DAY)), Toml("\"2m\"");

    /// Degrees Celsius from which the head is too hot.
    VITALS_TEMPERATURE: i32 = "vitals.temperature", integer(30, 120), Toml("80");

    /// With less of the memory available it is a warning.
    VITALS_MEMORY: Option<u8> =
        "vitals.memory", text!("share as \"10%\", or \"off\"", rule::share_or_off), Toml("\"10%\"");

    /// With less of the root file system's space or inodes free it is a warning.
    VITALS_DISK: Option<u8> =
        "vitals.disk", text!("share as \"10%\", or \"off\"", rule::share_or_off), Toml("\"10%\"");

    /// When tasks waited for a processor, for memory or for the disk for a larger share of the last
    /// minute it is a warning.
    VITALS_PRESSURE: Option<u8> =
        "vitals.pressure",
        text!("share as \"80%\", or \"off\"", rule::share_or_off),
        Toml("\"80%\"");
}
