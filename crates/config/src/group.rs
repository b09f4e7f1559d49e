//! Groups, the nodes that they generate, and forwarded ports.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::fault::{Origin, Sources};
use super::tree::{Item, Table, Value};
use super::validate::Check;
use super::{Cluster, Forward, ForwardTarget, Group, Node, Transport, grammar, keys, merge};

/// Limit on generated nodes; more is taken for a typing error.
const MAX_NODES: usize = 65_536;

/// One group: its number, and the `[[group]]` table that defines it.
struct Numbered<'t> {
    name: String,
    number: u32,
    table: &'t Table,
}

/// Returns number and name of each group that a `[[group]]` table makes.
pub(super) fn numbered_names(table: &Table) -> impl Iterator<Item = (u32, String)> + '_ {
    let numbers = keys::GROUP_GROUPS.of(table);
    let (first, last) = numbers.unwrap_or((1, 1));
    table.text("name").into_iter().flat_map(move |name| {
        let named = move |number| match numbers {
            Some(_) => format!("{name}{number}"),
            None => name.to_owned(),
        };
        (first..=last).map(move |number| (number, named(number)))
    })
}

impl Check<'_> {
    /// Returns all groups, and the tables of all nodes: the generated ones, each merged with its
    /// `[[node]]`, and then the other `[[node]]`s.
    pub fn groups(&mut self) -> (Vec<Group>, Vec<Table>) {
        let tree = self.tree;
        let mut numbered: Vec<Numbered<'_>> = Vec::new();
        let mut places: HashMap<String, Origin> = HashMap::new();
        for table in tree.tables("group") {
            for (number, name) in numbered_names(table) {
                if let Some(other) = places.insert(name.to_ascii_lowercase(), table.at) {
                    let remedy = format!(
                        "give each its own name or numbers; the first is at {}",
                        self.sources.place(other)
                    );
                    self.report(table.at, format!("there are two groups named \"{name}\""), remedy);
                    break;
                }
                numbered.push(Numbered { name, number, table });
            }
        }
        let mut nodes = Vec::new();
        let mut named = HashMap::new();
        for group in &numbered {
            self.slots(group, &mut nodes, &mut named);
        }
        let explicit = explicit_nodes(tree.tables("node"), &nodes);
        merge::merge_by("name", &mut nodes, explicit);
        (numbered.iter().map(group).collect(), nodes)
    }

    /// Adds a table for each slot of a group. `named` has the lower-case names so far, each with
    /// the position of its rule.
    fn slots(
        &mut self,
        group: &Numbered<'_>,
        nodes: &mut Vec<Table>,
        named: &mut HashMap<String, Origin>,
    ) {
        let address = keys::GROUP_NODE_ADDRESS.of(group.table);
        let slots = keys::GROUP_NODES.of(group.table);
        let (Some((first, last)), Some(address)) = (slots, &address) else {
            if slots.is_some() && group.table.get("node_address").is_none() {
                let remedy =
                    "add the rule for them, such as node_address = \"10.21.{group}.{slot}\"";
                self.report(
                    keys::GROUP_NODES.place(group.table),
                    format!("group \"{}\" has nodes but no node_address", group.name),
                    remedy,
                );
            }
            return;
        };
        let name = keys::GROUP_NODE_NAME.of(group.table);
        for slot in first..=last {
            let text = address.fill(group.number, slot);
            let name = name.as_ref().map_or_else(
                || format!("{}-{slot}", group.name),
                |name| name.fill(group.number, slot),
            );
            if nodes.len() >= MAX_NODES {
                self.report(
                    keys::GROUP_NODES.place(group.table),
                    "the groups make too many nodes",
                    format!("write numbers that make at most {MAX_NODES} nodes"),
                );
                return;
            }
            if grammar::ipv4(&text).is_err() {
                let message = format!(
                    "slot {slot} of group \"{}\" would have the address {text}",
                    group.name
                );
                self.report(
                    keys::GROUP_NODE_ADDRESS.place(group.table),
                    message,
                    "change the rule or the numbers so that none exceeds 255",
                );
                return;
            }
            if let Err(error) = grammar::node_name(&name) {
                let message = format!("slot {slot} of group \"{}\": {}", group.name, error.message);
                self.report(keys::GROUP_NODE_NAME.place(group.table), message, error.remedy);
                return;
            }
            // Two nodes of one name would merge into one with two addresses.
            if let Some(other) =
                named.insert(name.to_ascii_lowercase(), keys::GROUP_NODE_NAME.place(group.table))
            {
                let message = format!(
                    "slot {slot} of group \"{}\" would be a second node named \"{name}\"",
                    group.name
                );
                let place = self.sources.place(other);
                let remedy = format!(
                    "give each its own, such as node_name = \"r{{group}}-{{slot}}\"; the first is made \
                     at {place}"
                );
                self.report(keys::GROUP_NODE_NAME.place(group.table), message, remedy);
                return;
            }
            nodes.push(node_table(group, name, text));
        }
    }

    /// Returns the index of a node's group: the one that it names, else the first whose members
    /// match.
    pub fn membership(&mut self, table: &Table, name: &str, groups: &[Group]) -> Option<usize> {
        if let Some(wanted) = table.text("group") {
            let found = groups.iter().position(|group| group.name.eq_ignore_ascii_case(wanted));
            if found.is_none() {
                let at = keys::NODE_GROUP.place(table);
                let remedy = if groups.is_empty() {
                    format!("add a [[group]] with name = \"{wanted}\"")
                } else {
                    format!("write one of {}", first_names(groups))
                };
                self.report(at, format!("node \"{name}\": there is no group \"{wanted}\""), remedy);
            }
            return found;
        }
        groups.iter().position(|group| group.takes(name))
    }

    pub fn forwards(&mut self, nodes: &[Node], cluster: Option<&Cluster>) -> Vec<Forward> {
        let tree = self.tree;
        let mut seen: BTreeMap<(Transport, u16), Origin> = BTreeMap::new();
        let mut forwards = Vec::new();
        for table in tree.tables("forward") {
            let Some((transport, listen)) = keys::FORWARD_LISTEN.of(table) else { continue };
            if let Some(first) = seen.insert((transport, listen), keys::FORWARD_LISTEN.place(table))
            {
                let remedy = format!("keep one; the first is at {}", self.sources.place(first));
                self.report(
                    keys::FORWARD_LISTEN.place(table),
                    format!("port {listen} is forwarded twice"),
                    remedy,
                );
            }
            if table.get("to").is_none() {
                let remedy = "add the node, such as to = \"rpi1:22\"";
                self.report(table.at, format!("the forwarded port {listen} has no node"), remedy);
            }
            let Some((to, port)) = keys::FORWARD_TO.of(table) else { continue };
            match (&to, cluster) {
                (ForwardTarget::Node(name), _) => {
                    if !nodes.iter().any(|node| node.name.eq_ignore_ascii_case(name)) {
                        let remedy = "write the name of a node in the settings, or its address";
                        self.report(
                            keys::FORWARD_TO.place(table),
                            format!("there is no node \"{name}\""),
                            remedy,
                        );
                    }
                }
                (ForwardTarget::Address(address), Some(cluster)) => {
                    self.target(keys::FORWARD_TO.place(table), *address, cluster)
                }
                (ForwardTarget::Address(_), None) => {}
            }
            forwards.push(Forward { transport, listen, to, port });
        }
        forwards
    }
}

impl Group {
    /// Returns whether one of its members' globs matches this name.
    pub fn takes(&self, name: &str) -> bool {
        matches_any(&self.members, name)
    }
}

/// Returns whether one of these globs matches a name, ignoring case.
pub fn matches_any(globs: &[String], name: &str) -> bool {
    let folded = glob::MatchOptions { case_sensitive: false, ..glob::MatchOptions::new() };
    let mut globs = globs.iter().filter_map(|text| glob::Pattern::new(text).ok());
    globs.any(|glob| glob.matches_with(name, folded))
}

fn group(numbered: &Numbered<'_>) -> Group {
    Group {
        name: numbered.name.clone(),
        members: keys::GROUP_MEMBERS.of(numbered.table).unwrap_or_default(),
        red_below: keys::GROUP_RED_BELOW.of(numbered.table),
    }
}

/// Returns the `[[node]]` tables. Those of nodes in slots lose the default probe, so that the
/// group's applies.
fn explicit_nodes(tables: &[Table], in_slots: &[Table]) -> Vec<Table> {
    let slots: HashSet<String> =
        in_slots.iter().filter_map(|table| table.identity("name")).collect();
    let mut tables = tables.to_vec();
    for table in &mut tables {
        let in_slot = table.identity("name").is_some_and(|name| slots.contains(&name));
        if in_slot && table.get("probe").is_some_and(|item| item.at.source == Sources::DEFAULT) {
            table.entries.remove("probe");
        }
    }
    tables
}

/// Returns the `[[node]]` table of a slot; faults in it point to the group.
fn node_table(group: &Numbered<'_>, name: String, address: String) -> Table {
    let at = keys::GROUP_NODE_ADDRESS.place(group.table);
    let mut table = Table { at, ..Table::default() };
    let icmp = || Value::List(vec![Item { value: Value::Text("icmp".to_owned()), at }]);
    let probe = group.table.get("probe").map_or_else(icmp, |item| item.value.clone());
    for (key, value) in [
        ("name", Value::Text(name)),
        ("address", Value::Text(address)),
        ("group", Value::Text(group.name.clone())),
        ("probe", probe),
    ] {
        table.set(key, Item { value, at });
    }
    if let Some(timeout) = group.table.get("timeout") {
        table.set("timeout", timeout.clone());
    }
    table
}

/// Returns the first eight names, for a message.
fn first_names(groups: &[Group]) -> String {
    let names: Vec<String> =
        groups.iter().take(8).map(|group| format!("\"{}\"", group.name)).collect();
    let more = if groups.len() > names.len() { ", …" } else { "" };
    format!("{}{more}", names.join(", "))
}
