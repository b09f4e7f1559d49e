//! Keys of the nodes, their groups, the ports that lead to them, their health and that of the head.

use std::time::Duration;

use super::Preset::{Required, Toml, Words};
use super::form::{DAY, key, probes, scalar, seconds, text};
use super::{Key, Kind};
use crate::fault::Complaint;
use crate::tree::Scalar;
use crate::{devices, grammar, rule};

/// In the order of the man page.
pub static NODES: &[Key] = &[
    key(
        "node.name",
        text!("host name", grammar::node_name),
        Required,
        "The node's name; unique. A later file that names it again changes the keys that it gives. Not the head's own host name, not localhost, wpad or isatap, nor what dnsmasq takes for an order or a time: ignore, infinite, 12, 12h.",
    ),
    key(
        "node.mac",
        text!("hardware address", grammar::mac),
        Words("none"),
        "Gives the node the address below by DHCP.",
    ),
    key(
        "node.address",
        text!("IPv4 address in the cluster's subnet", grammar::ipv4),
        Words("none; then mac is needed"),
        "The node's address.",
    ),
    key(
        "node.probe",
        probes(),
        Words("\"icmp\""),
        "How to find out whether the node is well: all must be answered. An HTTP answer is good with a status of 2xx or 3xx; \"http://:80/healthz 204\" wants this status, \"http://:80/healthz all is well\" wants 200 and this text in the body. [] does not ask.",
    ),
    key(
        "node.timeout",
        Kind::Duration(Duration::from_millis(5), seconds(60)),
        Words("health.timeout"),
        "The longest that a round waits for this node's answers: for a page that takes long, say. It may be longer than health.interval: then the node's next round begins when this one has ended.",
    ),
    key(
        "node.group",
        text!("name of a group", grammar::host_name),
        Words("the first group whose members name it"),
        "The rack or module it belongs to.",
    ),
    key(
        "group.name",
        text!("host name", grammar::host_name),
        Required,
        "The group's name; unique. With numbers, what they are put behind: \"rack\" makes rack1, rack2, …",
    ),
    key(
        "group.numbers",
        text!("\"FIRST-LAST\"", rule::numbers),
        Words("none: one group"),
        "Makes a group for each number.",
    ),
    key(
        "group.slots",
        text!("\"FIRST-LAST\"", rule::numbers),
        Words("none"),
        "Makes a node for each slot of each group; then address is needed.",
    ),
    key(
        "group.address",
        text!("IPv4 address with {group} and {slot} in it", rule::address_rule),
        Words("none"),
        "The rule for the addresses of the nodes in slots, as \"10.21.{group}.{slot}\".",
    ),
    key(
        "group.node",
        text!("host name with {group} and {slot} in it", rule::name_rule),
        Words("the group's name, \"-\" and the slot"),
        "The rule for the names of the nodes in slots, as \"r{group}n{slot}\".",
    ),
    key(
        "group.members",
        Kind::List {
            form: "name of a node, or glob",
            integers: false,
            lone: true,
            empty: true,
            check: |value| match value {
                Scalar::Text(text) => rule::member(text).map(drop),
                Scalar::Integer(_) => {
                    Err(Complaint::new("a node has a name", "write it in quotes"))
                }
            },
        },
        Words("none"),
        "Nodes that belong to the group beside those in slots.",
    ),
    key(
        "group.probe",
        probes(),
        Words("\"icmp\""),
        "How the nodes in slots are asked; as node.probe.",
    ),
    key(
        "group.timeout",
        Kind::Duration(Duration::from_millis(5), seconds(60)),
        Words("health.timeout"),
        "How long the answers of the nodes in slots are waited for; as node.timeout.",
    ),
    key(
        "group.fault_below",
        scalar!("count of nodes, or a share as \"80%\"", grammar::threshold),
        Words("health.fault_below of all nodes together"),
        "With fewer nodes of this group up than this it is a fault.",
    ),
    key(
        "forward.listen",
        scalar!("port as 2201, \"tcp:2201\" or \"udp:5000\"", rule::listen),
        Required,
        "A port of the head on its uplinks; unique. For the venue it wins over uplink.allow and over programs of the head.",
    ),
    key(
        "forward.to",
        text!("\"NODE:PORT\"", rule::forward_target),
        Required,
        "The node, by name or address, and its port to which connections are led.",
    ),
    key(
        "health.interval",
        Kind::Duration(Duration::from_millis(50), seconds(3600)),
        Toml("\"300ms\""),
        "Time between two rounds of probes of a node.",
    ),
    key(
        "health.failure_threshold",
        Kind::Integer(1, 1000),
        Toml("3"),
        "So many rounds lost in a row make a node down. A round is lost when its probe and two quick tries more go unanswered.",
    ),
    key(
        "health.success_threshold",
        Kind::Integer(1, 1000),
        Toml("2"),
        "So many rounds answered in a row make it up again.",
    ),
    key(
        "health.start_period",
        Kind::Duration(Duration::ZERO, seconds(3600)),
        Toml("\"60s\""),
        "A node that has not answered yet may be starting: it is waited for so long, from the start of the gateway or from when the cluster port got its cable, before it is down.",
    ),
    key(
        "health.fault_below",
        scalar!("count of nodes, or a share as \"80%\"", grammar::threshold),
        Toml("\"50%\""),
        "With fewer nodes up than this it is a fault (red); any node down before that is a warning (amber). Nodes count that the settings name, or take into a group; one that was merely found may be a visitor's laptop, and is a warning at most.",
    ),
    key(
        "health.timeout",
        Kind::Duration(Duration::from_millis(5), seconds(10)),
        Toml("\"100ms\""),
        "The longest that a round waits for an answer, and never longer than interval; nodes that answer quickly are given less. node.timeout gives one node more.",
    ),
    key(
        "health.degraded_rtt",
        text!("duration, or \"off\"", devices::duration_or_off),
        Toml("\"50ms\""),
        "A node whose smoothed round trip is longer is degraded.",
    ),
    key(
        "health.degraded_loss",
        text!("share as \"30%\", or \"off\"", rule::share_or_off),
        Toml("\"30%\""),
        "A node that leaves more than this share of the first tries of its last 64 rounds unanswered is degraded.",
    ),
    key(
        "health.flap_changes",
        Kind::Integer(2, 1000),
        Toml("6"),
        "A node that went down or came up so many times within flap_window is flapping: it counts as degraded until it has kept still for half of that time.",
    ),
    key(
        "health.flap_window",
        Kind::Duration(seconds(1), seconds(DAY)),
        Toml("\"2m\""),
        "See flap_changes.",
    ),
    key(
        "vitals.temperature",
        Kind::Integer(30, 120),
        Toml("80"),
        "Degrees Celsius from which the head is too hot.",
    ),
    key(
        "vitals.memory",
        text!("share as \"10%\", or \"off\"", rule::share_or_off),
        Toml("\"10%\""),
        "With less of the memory available it is a warning.",
    ),
    key(
        "vitals.disk",
        text!("share as \"10%\", or \"off\"", rule::share_or_off),
        Toml("\"10%\""),
        "With less of the root file system's space or inodes free it is a warning.",
    ),
    key(
        "vitals.pressure",
        text!("share as \"80%\", or \"off\"", rule::share_or_off),
        Toml("\"80%\""),
        "When tasks waited for a processor, for memory or for the disk for a larger share of the last minute it is a warning.",
    ),
];
