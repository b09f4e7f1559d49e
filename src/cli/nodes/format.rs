//! `nodes --format`: the nodes as other tools read them.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::fold;
use super::known::Node;

/// Name of the group or partition of all nodes; a group of the settings never gets it.
const ALL: &str = "nodes";
/// Groups that every inventory of Ansible has (docs.ansible.com, "Default groups").
const OF_ANSIBLE: [&str; 2] = ["all", "ungrouped"];
/// Reserved in slurm.conf(5), in upper and lower case, for defaults of later lines.
const DEFAULTS: &str = "default";
/// Default port of prometheus-node-exporter.
pub const EXPORTER_PORT: u16 = 9100;

/// The files and words that can be printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// columns, for users
    Table,
    /// an array of JSON, as in the status
    Json,
    /// an inventory for Ansible (INI)
    Ansible,
    /// lines for /etc/hosts
    Hosts,
    /// a host file for mpirun: one name a line
    Hostfile,
    /// names folded at each number, for clush and nodeset
    Nodeset,
    /// lines for slurm.conf
    Slurm,
    /// names folded at their last number, for pdsh -w
    Pdsh,
    /// targets for Prometheus' file_sd_configs
    Prometheus,
}

/// Further input of the formats.
#[derive(Debug, Clone, Copy, Default)]
pub struct Extra<'a> {
    /// `cluster.domain`.
    pub domain: Option<&'a str>,
    /// Processes that mpirun may start on one node.
    pub slots: Option<u16>,
    /// The port that Prometheus scrapes.
    pub port: Option<u16>,
}

/// Returns the nodes in a format; `None` for those that [`super::list`] prints itself.
pub fn text(format: Format, nodes: &[Node], extra: Extra<'_>) -> Option<String> {
    Some(match format {
        Format::Table | Format::Json => return None,
        Format::Ansible => ansible(nodes),
        Format::Hosts => hosts(nodes, extra.domain),
        Format::Hostfile => hostfile(nodes, extra.slots),
        Format::Nodeset => line(&fold::fold_all(names(nodes))),
        Format::Pdsh => line(&fold::fold(names(nodes))),
        Format::Slurm => slurm(nodes),
        Format::Prometheus => prometheus(nodes, extra.port.unwrap_or(EXPORTER_PORT)),
    })
}

fn names(nodes: &[Node]) -> impl Iterator<Item = &str> {
    nodes.iter().map(|node| node.name.as_str())
}

/// Returns folded names as one line; an empty text without names.
fn line(folded: &[String]) -> String {
    if folded.is_empty() { String::new() } else { format!("{}\n", folded.join(",")) }
}

/// Returns the names of the nodes of each group, sorted; without nodes that have no group.
fn groups(nodes: &[Node]) -> BTreeMap<&str, Vec<&str>> {
    let mut groups: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for node in nodes {
        if let Some(group) = &node.group {
            groups.entry(group).or_default().push(&node.name);
        }
    }
    groups
}

/// Formats lines of hosts(5): the address, the qualified name, the short one.
pub fn hosts(nodes: &[Node], domain: Option<&str>) -> String {
    let mut text = String::new();
    for node in nodes {
        let ipv6 = node.ipv6.iter().filter(|address| node.address != Some(**address));
        for address in node.address.iter().chain(ipv6) {
            let whole = domain.map(|domain| format!("{}.{domain} ", node.name)).unwrap_or_default();
            let _ = writeln!(text, "{address}\t{whole}{}", node.name);
        }
    }
    text
}

/// Formats an inventory in INI. A hyphen is not valid in the name of an Ansible group.
fn ansible(nodes: &[Node]) -> String {
    let mut text = format!("[{ALL}]\n");
    for node in nodes {
        text += &node.name;
        if let Some(address) = node.address {
            let _ = write!(text, " ansible_host={address}");
        }
        text.push('\n');
    }
    for (group, names) in groups(nodes) {
        let mut group = group.replace('-', "_");
        if group == ALL || OF_ANSIBLE.contains(&group.as_str()) {
            group.push_str("_group");
        }
        let _ = write!(text, "\n[{group}]\n{}\n", names.join("\n"));
    }
    text
}

/// Formats a host file for mpirun (Open MPI's `slots=`).
fn hostfile(nodes: &[Node], slots: Option<u16>) -> String {
    let slots = slots.map(|slots| format!(" slots={slots}")).unwrap_or_default();
    names(nodes).map(|name| format!("{name}{slots}\n")).collect()
}

/// Formats lines of slurm.conf(5): a partition for each group, and a default one with all nodes.
fn slurm(nodes: &[Node]) -> String {
    let is_node = |name: &&str| !name.eq_ignore_ascii_case(DEFAULTS);
    let all = fold::fold(names(nodes).filter(is_node));
    let mut text = String::new();
    for name in names(nodes).filter(|name| !is_node(name)) {
        let _ = writeln!(text, "# {name} is left out: Slurm has another meaning for this name");
    }
    for names in &all {
        let _ = writeln!(text, "NodeName={names} State=UNKNOWN");
    }
    if all.is_empty() {
        return text;
    }
    let _ = writeln!(text, "PartitionName={ALL} Nodes={} Default=YES State=UP", all.join(","));
    for (group, names) in groups(nodes) {
        let names = fold::fold(names.into_iter().filter(is_node)).join(",");
        if !names.is_empty() {
            let suffix = if is_node(&group) && group != ALL { "" } else { "_group" };
            let group = format!("{group}{suffix}");
            let _ = writeln!(text, "PartitionName={group} Nodes={names} State=UP");
        }
    }
    text
}

/// Formats targets with the labels of the status page's `/sd`.
fn prometheus(nodes: &[Node], port: u16) -> String {
    let targets: Vec<serde_json::Value> =
        nodes.iter().filter_map(|node| target(node, port)).collect();
    format!("{:#}\n", serde_json::Value::from(targets))
}

/// Returns a node as a target of Prometheus; `None` if it has no address.
fn target(node: &Node, port: u16) -> Option<serde_json::Value> {
    let address = node.address?;
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    Some(serde_json::json!({
        "targets": [std::net::SocketAddr::new(address, port).to_string()],
        "labels": {
            "__meta_bramblegate_node": node.name,
            "__meta_bramblegate_group": text(&node.group),
            "__meta_bramblegate_health": node.health,
            "__meta_bramblegate_mac": text(&node.mac),
            "__meta_bramblegate_origin": if node.found { "found" } else { "settings" },
        },
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nodes() -> Vec<Node> {
        let node = |name: &str, address: Option<&str>, group: Option<&str>| Node {
            name: name.to_owned(),
            mac: Some("b8:27:eb:00:00:01".to_owned()),
            address: address.map(|address| address.parse().unwrap()),
            ipv6: Vec::new(),
            found: false,
            group: group.map(str::to_owned),
            health: "up".to_owned(),
        };
        vec![
            node("rpi1", Some("192.168.50.11"), Some("rack-1")),
            node("rpi2", Some("192.168.50.12"), Some("rack-1")),
            node("rpi10", None, None),
        ]
    }

    fn printed(format: Format, extra: Extra<'_>) -> String {
        text(format, &nodes(), extra).unwrap()
    }

    #[test]
    fn each_format_is_as_its_tool_reads_it() {
        let extra = Extra { domain: Some("bramble"), slots: Some(4), port: Some(9100) };
        assert_eq!(printed(Format::Nodeset, extra), "rpi[1-2,10]\n");
        assert_eq!(printed(Format::Pdsh, extra), "rpi[1-2,10]\n");
        assert_eq!(printed(Format::Hostfile, extra), "rpi1 slots=4\nrpi2 slots=4\nrpi10 slots=4\n");
        assert_eq!(printed(Format::Hostfile, Extra::default()), "rpi1\nrpi2\nrpi10\n");
        assert_eq!(
            printed(Format::Ansible, extra),
            "[nodes]\nrpi1 ansible_host=192.168.50.11\nrpi2 ansible_host=192.168.50.12\nrpi10\n\n\
             [rack_1]\nrpi1\nrpi2\n"
        );
        assert_eq!(
            printed(Format::Slurm, extra),
            "NodeName=rpi[1-2,10] State=UNKNOWN\nPartitionName=nodes Nodes=rpi[1-2,10] Default=YES \
             State=UP\nPartitionName=rack-1 Nodes=rpi[1-2] State=UP\n"
        );
        assert_eq!(
            printed(Format::Hosts, extra),
            "192.168.50.11\trpi1.bramble rpi1\n192.168.50.12\trpi2.bramble rpi2\n"
        );
        let targets: serde_json::Value =
            serde_json::from_str(&printed(Format::Prometheus, extra)).unwrap();
        assert_eq!(targets.as_array().map(Vec::len), Some(2), "one has no address");
        assert_eq!(targets[0]["targets"][0], "192.168.50.11:9100");
        assert_eq!(targets[0]["labels"]["__meta_bramblegate_group"], "rack-1");
    }

    /// A board chooses its own name, and slurm.conf(5) reserves this one for the defaults of later
    /// lines.
    #[test]
    fn the_reserved_name_of_slurm_is_no_node_and_no_partition() {
        let mut nodes = nodes();
        (nodes[1].name, nodes[1].group) = ("Default".to_owned(), Some("default".to_owned()));
        let without = "# Default is left out: Slurm has another meaning for this name\n\
                       NodeName=rpi[1,10] State=UNKNOWN\n\
                       PartitionName=nodes Nodes=rpi[1,10] Default=YES State=UP\n";
        let printed = |nodes: &[Node]| text(Format::Slurm, nodes, Extra::default()).unwrap();
        assert_eq!(printed(&nodes), format!("{without}PartitionName=rack-1 Nodes=rpi1 State=UP\n"));
        nodes[0].group = Some("default".to_owned());
        assert_eq!(
            printed(&nodes),
            format!("{without}PartitionName=default_group Nodes=rpi1 State=UP\n")
        );
    }

    /// The settings may name a group as the tool names all nodes.
    #[test]
    fn a_group_with_a_reserved_name_keeps_its_nodes_in_each_format() {
        let mut nodes = nodes();
        for group in ["nodes", "all", "ungrouped"] {
            nodes[0].group = Some(group.to_owned());
            let ansible = text(Format::Ansible, &nodes, Extra::default()).unwrap();
            assert!(ansible.contains(&format!("\n[{group}_group]\nrpi1\n")), "{ansible}");
        }
        nodes[0].group = Some("nodes".to_owned());
        let slurm = text(Format::Slurm, &nodes, Extra::default()).unwrap();
        assert!(slurm.contains("\nPartitionName=nodes_group Nodes=rpi1 State=UP\n"), "{slurm}");
    }

    #[test]
    fn without_nodes_the_output_is_empty() {
        for format in
            [Format::Nodeset, Format::Pdsh, Format::Hostfile, Format::Slurm, Format::Hosts]
        {
            assert_eq!(text(format, &[], Extra::default()).as_deref(), Some(""), "{format:?}");
        }
        assert_eq!(text(Format::Prometheus, &[], Extra::default()).as_deref(), Some("[]\n"));
    }
}
