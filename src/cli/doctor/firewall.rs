//! Rules of other programs: drops in our way, masquerades of old, copies of our table.

use super::{Finding, Patient};
use crate::cli::machine::Machine;

/// Files in which rule sets are saved.
const SAVED: [&str; 2] = ["/etc/nftables.conf", "/etc/sysconfig/nftables.conf"];
const SAVED_IPTABLES: [&str; 4] =
    ["/etc/iptables/rules.v4", "/etc/iptables.ipv4.nat", "/etc/iptables.rules", "/etc/sysconfig/iptables"];

/// Another table's chain at the forward hook that drops.
pub fn foreign_drop(patient: &Patient<'_>) -> Vec<Finding> {
    let Some(listing) = patient.machine.run("nft", &["-j", "list", "ruleset"]) else { return Vec::new() };
    let Ok(listing) = serde_json::from_str::<serde_json::Value>(&listing) else { return Vec::new() };
    let empty = Vec::new();
    let objects = listing.get("nftables").and_then(serde_json::Value::as_array).unwrap_or(&empty);
    let chains = objects.iter().filter_map(|object| object.get("chain"));
    let text =
        |value: &serde_json::Value, key: &str| value.get(key).and_then(|v| v.as_str()).unwrap_or_default().to_owned();
    let drops = chains.filter(|chain| {
        text(chain, "hook") == "forward"
            && text(chain, "policy") == "drop"
            && matches!(text(chain, "family").as_str(), "ip" | "inet")
            && text(chain, "table") != "bramblegate"
    });
    let docker =
        objects.iter().filter_map(|object| object.get("chain")).any(|chain| text(chain, "name") == "DOCKER-USER");
    let mut findings: Vec<Finding> = Vec::new();
    for chain in drops {
        let (family, table, name) = (text(chain, "family"), text(chain, "table"), text(chain, "name"));
        let port = patient.cluster_port().unwrap_or_else(|| "CLUSTER-PORT".to_owned());
        let remedy = if docker {
            format!(
                "sudo iptables -I DOCKER-USER -i {port} -j ACCEPT && sudo iptables -I DOCKER-USER -o {port} -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT"
            )
        } else if name.contains("ufw") || has_chain(objects, "ufw-before-forward") {
            format!("sudo ufw route allow in on {port}")
        } else if table == "firewalld" {
            format!("sudo firewall-cmd --permanent --zone=trusted --add-interface={port} && sudo firewall-cmd --reload")
        } else {
            format!(
                "let it accept what comes from {port}: sudo nft insert rule {family} {table} {name} iifname {port} accept"
            )
        };
        findings.push(Finding::blocking(
            "gateway-blocked",
            format!("table {family} {table}, chain {name}, at the forward hook has the policy drop"),
            remedy,
        ));
    }
    findings
}

fn has_chain(objects: &[serde_json::Value], name: &str) -> bool {
    objects
        .iter()
        .filter_map(|object| object.get("chain"))
        .any(|chain| chain.get("name").and_then(|v| v.as_str()) == Some(name))
}

/// A saved rule set that holds our table breaks the next `systemctl reload nftables`: the table is ours alone.
pub fn saved_table(patient: &Patient<'_>) -> Vec<Finding> {
    let more = ["/etc/nftables.d", "/etc/nftables"]
        .into_iter()
        .flat_map(|folder| patient.machine.list(folder).into_iter().map(move |name| format!("{folder}/{name}")));
    let files = SAVED.iter().map(|file| (*file).to_owned()).chain(more);
    let holds = |file: &String| {
        let text = patient.machine.read(file).unwrap_or_default();
        text.lines().any(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            matches!(words.as_slice(), ["table", "inet", "bramblegate", ..])
        })
    };
    let finding = |file: String| {
        Finding::new(
            "gateway-table-saved",
            format!("{file} holds a copy of the table inet bramblegate"),
            format!("take that table out of {file}: loading it fails while the gateway owns the table"),
        )
    };
    files.filter(holds).map(finding).collect()
}

/// A MASQUERADE rule of an older set-up, in the kernel or in a file that is loaded at the start.
pub fn old_masquerade(patient: &Patient<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in SAVED_IPTABLES.iter().chain(&SAVED) {
        let text = patient.machine.read(file).unwrap_or_default();
        if let Some((number, line)) = first(&text, ours_not) {
            findings.push(Finding::new(
                "gateway-masquerade-saved",
                format!("{file}:{number} masquerades at every start: {line}"),
                format!("take it out of {file}, if it was for the cluster: the gateway does it"),
            ));
        }
    }
    for (program, command) in [("iptables-nft-save", "iptables-nft"), ("iptables-legacy-save", "iptables-legacy")] {
        let text = saved_nat(patient.machine, program);
        if let Some((_, line)) = first(&text, |line| line.starts_with("-A POSTROUTING") && ours_not(line)) {
            findings.push(Finding::new(
                "gateway-masquerade-old",
                format!("an older rule masquerades as well: {line}"),
                format!("sudo {command} -t nat {}", line.replacen("-A", "-D", 1)),
            ));
        }
    }
    findings
}

/// The NAT rules of one of the two iptables. Asking the legacy one would create its table, so it must be there already.
fn saved_nat(machine: &Machine, program: &str) -> String {
    let tables = machine.read("/proc/net/ip_tables_names").unwrap_or_default();
    if program.contains("legacy") && !tables.lines().any(|table| table == "nat") {
        return String::new();
    }
    machine.run(program, &["-t", "nat"]).unwrap_or_default()
}

/// Docker and libvirt masquerade for their own networks; that is theirs.
fn ours_not(line: &str) -> bool {
    let lower = line.to_ascii_lowercase();
    let others = ["docker", "172.17.", "libvirt", "lxc", "cni", "kube", "flannel", "virbr"];
    lower.contains("masquerade")
        && !lower.trim_start().starts_with('#')
        && !others.iter().any(|other| lower.contains(other))
}

fn first(text: &str, wanted: impl Fn(&str) -> bool) -> Option<(usize, String)> {
    let mut in_our_table = false;
    for (index, line) in text.lines().enumerate() {
        if line.starts_with("table ") {
            in_our_table = line.contains(" bramblegate");
        }
        if !in_our_table && wanted(line.trim()) {
            return Some((index + 1, line.trim().to_owned()));
        }
    }
    None
}
