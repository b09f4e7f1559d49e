//! Profiles that come back at each boot: netplan and cloud-init, as Raspberry Pi OS has them since
//! 2025.

use super::clients::Client;
use super::{CheckContext, Finding, FindingCode};
use crate::cli::machine::Machine;
use crate::watch::uplink::clients::Manager;

/// Where netplan reads (netplan-generate(8)).
const NETPLAN: [&str; 3] = ["/etc/netplan", "/run/netplan", "/usr/lib/netplan"];
/// What cloud-init makes netplan's files of (cloudinit/sources/DataSourceNoCloud), on the card's
/// boot partition.
const SEEDS: [&str; 2] = ["/boot/firmware/network-config", "/boot/network-config"];
/// Where NetworkManager finds the profiles that netplan generated.
const GENERATED: &str = "/run/NetworkManager/system-connections";

/// Returns a finding for the cluster's port where netplan or cloud-init has a profile for it.
pub fn returning(context: &CheckContext<'_>) -> Vec<Finding> {
    context.cluster_port().map_or_else(Vec::new, |port| of_port(context.machine, &port))
}

/// As [`returning`], of a port that is to be the cluster's.
pub fn of_port(machine: &Machine, port: &str) -> Vec<Finding> {
    let files = NETPLAN.iter().flat_map(|folder| {
        let names = machine.list(folder).into_iter().filter(|name| name.ends_with(".yaml"));
        names.map(move |name| format!("{folder}/{name}"))
    });
    let mut findings: Vec<Finding> = files
        .filter_map(|file| Some(netplan(port, &file, line_of(&machine.read(&file)?, port)?)))
        .collect();
    let seed = SEEDS.iter().find_map(|file| Some((*file, line_of(&machine.read(file)?, port)?)));
    if let Some((file, line)) = seed.filter(|_| cloud_init_writes_networks(machine)) {
        let text = format!(
            "cloud-init writes a profile for the cluster port {port} by {file}:{line} when it next sets the machine up"
        );
        findings.push(Finding::new(
            FindingCode::GatewayPortCloudInit,
            text,
            format!("{}, or take {port} out of {file}", SWITCH_OFF),
        ));
    }
    if findings.is_empty() {
        // Generated from a file that matches the port in a way that is not seen above.
        let names = machine.list(GENERATED).into_iter().filter(|name| name.starts_with("netplan-"));
        let names = names.map(|name| format!("{GENERATED}/{name}"));
        let of_port = |file: &String| {
            let text = machine.read(file).unwrap_or_default();
            text.lines().any(|line| line.trim().strip_prefix("interface-name=") == Some(port))
        };
        findings.extend(names.filter(of_port).map(|file| {
            let text =
                format!("netplan makes NetworkManager's profile {file} for the cluster port {port} at each boot");
            let command = Client::Managed(Manager::NetworkManager).switch_off(port);
            Finding::new(FindingCode::GatewayPortNetplan, text, format!("`{command}`"))
        }));
    }
    findings
}

/// cloud-init(1) leaves networks alone after this.
const SWITCH_OFF: &str = "`printf 'network: {config: disabled}\\n' | sudo tee /etc/cloud/cloud.cfg.d/99-bramblegate.cfg`";

fn netplan(port: &str, file: &str, line: usize) -> Finding {
    let text = format!(
        "netplan makes a profile for the cluster port {port} at each boot, by {file}:{line}: it may take the address away or ask for one there"
    );
    let by_cloud_init = file.contains("cloud-init");
    let first = if by_cloud_init {
        format!("{SWITCH_OFF}, so that the file is not written again; then ")
    } else {
        String::new()
    };
    Finding::new(
        FindingCode::GatewayPortNetplan,
        text,
        format!("{first}`sudo netplan set ethernets.{port}=null && sudo netplan apply`"),
    )
}

/// The line of netplan's YAML that means the port: its name as a key, or a `name:` or `set-name:`
/// of a match.
fn line_of(text: &str, port: &str) -> Option<usize> {
    let bare = |word: &str| word.trim().trim_matches(['"', '\'']).to_owned();
    let means = |line: &str| {
        let line = line.split(" #").next().unwrap_or_default().trim();
        let Some((key, value)) = line.split_once(':') else { return false };
        match (bare(key).as_str(), bare(value).as_str()) {
            ("name" | "set-name" | "- name", value) => {
                !value.is_empty() && super::matches(value, port)
            }
            (key, "" | "{}") => key == port,
            (key, value) => key == port && value.starts_with('{'),
        }
    };
    text.lines()
        .position(|line| !line.trim_start().starts_with('#') && means(line))
        .map(|place| place + 1)
}

fn cloud_init_writes_networks(machine: &Machine) -> bool {
    let there =
        machine.exists("/etc/cloud/cloud.cfg") && !machine.exists("/etc/cloud/cloud-init.disabled");
    let off = |name: &String| {
        let text = machine.read(&format!("/etc/cloud/cloud.cfg.d/{name}")).unwrap_or_default();
        let words = text.replace([' ', '\n', '{', '}'], "");
        words.contains("network:config:disabled")
    };
    there && !machine.list("/etc/cloud/cloud.cfg.d").iter().any(off)
}
