//! Writes a complete settings file: what was decided, and every other key with its default behind a
//! `#`.

use super::decide::Proposal;
use crate::board::Board;
use crate::cli::output;
use crate::config::keys;
use crate::config::{self, LcdBus, Merged};

const WIDTH: usize = 110;

/// Examples for keys without a value from the machine or a default; written behind a `#`.
const EXAMPLES: &[(&str, &str)] = &[
    ("uplink.check.enabled", "true"),
    ("cluster.dhcp.enabled", "true"),
    ("cluster.dhcp.lease_time", "\"1h\""),
    ("cluster.dhcp.ntp", "\"auto\""),
    ("cluster.netboot.enabled", "true"),
    ("cluster.netboot.root", "\"/srv/tftp\""),
    ("cluster.netboot.folders", "\"shared\""),
    ("cluster.netboot.bios", "\"pxelinux.0\""),
    ("cluster.netboot.uefi_x86", "\"grubx64.efi\""),
    ("cluster.netboot.uefi_arm64", "\"grubaa64.efi\""),
    ("cluster.netboot.ipxe", "\"boot.ipxe\""),
    ("node.timeout", "\"2s\""),
    ("node.group", "\"rack1\""),
    ("group.groups", "\"1-2\""),
    ("group.nodes", "\"1-4\""),
    ("group.node_name", "\"rack{group}-{slot}\""),
    ("group.probe", "[\"icmp\"]"),
    ("group.timeout", "\"2s\""),
    ("group.members", "[\"rpi*\"]"),
    ("group.red_below", "\"80%\""),
    ("forward.listen", "2201"),
    ("forward.to", "\"rpi1:22\""),
    ("share.path", "\"/mnt/usb\""),
    ("share.name", "\"usb\""),
    ("share.access", "\"rw\""),
    ("shutdown.key", "\"/etc/bramblegate/shutdown_key\""),
    ("shutdown.except", "[\"laptop*\"]"),
    ("gpio.chip", "\"pinctrl-bcm2711\""),
    ("buttons.enabled", "true"),
    ("buttons.next", "5"),
    ("buttons.acknowledge", "6"),
    ("buttons.power", "13"),
    ("web.admin_from", "[\"192.168.50.0/24\"]"),
    ("node.name", "\"rpi1\""),
    ("node.mac", "\"b8:27:eb:00:00:01\""),
    ("node.probe", "[\"icmp\", \"tcp:22\"]"),
    ("group.name", "\"rack\""),
    ("led.enabled", "true"),
    ("lcd.emulator_script", "\"lcd-faults.txt\""),
    ("led.emulator_script", "\"led-faults.txt\""),
    ("led.kernel", "\"ACT\""),
    ("lcd.pins.rs", "25"),
    ("lcd.pins.e", "24"),
    ("lcd.pins.d4", "23"),
    ("lcd.pins.d5", "17"),
    ("lcd.pins.d6", "18"),
    ("lcd.pins.d7", "22"),
    ("lcd.pins.backlight", "4"),
];

/// Returns the text of the file.
pub fn write(proposal: &Proposal, board: &Board) -> String {
    let mut text = String::from(
        "# Settings of bramblegate, written by `bramblegate detect`. See bramblegate.toml(5).\n\
         # Where a key stands behind a #, its default is shown, or an example where it has none: \
         take the # away to change it.\n",
    );
    let (effective, served) = (
        effective(proposal, board, ""),
        effective(proposal, board, "cluster.dhcp.enabled = true\n"),
    );
    let mut section = "";
    for key in keys::all() {
        let (table, name) = key.path.rsplit_once('.').unwrap_or(("", key.path));
        if table != section {
            let decided = proposal
                .values
                .iter()
                .any(|(path, _)| path.rsplit_once('.').is_some_and(|(home, _)| home == table));
            text += &header(table, decided);
            section = table;
        }
        text += &format!("\n{}", wrap(&format!("{} ({})", key.doc, key.kind.words())));
        let merged = if table == "cluster.dhcp" { &served } else { &effective };
        text += &match (proposal.value(key.path), shown(key.path, merged.as_ref())) {
            (Some(value), _) => format!("{name} = {value}\n"),
            (None, Some(value)) => format!("#{name} = {value}\n"),
            (None, None) => String::new(),
        };
    }
    text
}

/// Returns the settings that the proposal makes. `more` adds lines, for the defaults of a table
/// that the proposal leaves out.
fn effective(proposal: &Proposal, board: &Board, more: &str) -> Option<Merged> {
    let decided = proposal.values.iter().filter(|(key, _)| !more.starts_with(key));
    let text: String = decided.map(|(key, value)| format!("{key} = {value}\n")).collect();
    config::read(&[("detect", text + more)], board, None).ok()
}

fn shown(path: &str, effective: Option<&Merged>) -> Option<String> {
    if path == "node.address" || path == "group.node_address" {
        let net = effective?.settings.cluster.address;
        let host = std::net::Ipv4Addr::from(u32::from(net.network()).saturating_add(11));
        let [a, b, c, _] = host.octets();
        return Some(if path == "node.address" {
            format!("\"{host}\"")
        } else {
            format!("\"{a}.{b}.{c}.2{{group}}{{slot}}\"")
        });
    }
    if path == "lcd.enabled" {
        return Some((effective?.settings.lcd.bus != LcdBus::Off).to_string());
    }
    let value = effective.and_then(|merged| merged.value(path));
    // For a board without a chip of its own, an example helps more.
    let value = value.filter(|value| path != "gpio.chip" || value != "\"auto\"");
    value.or_else(|| {
        EXAMPLES.iter().find(|(key, _)| *key == path).map(|(_, value)| (*value).to_owned())
    })
}

/// Returns a table's header, behind a `#` if the table is optional and nothing in it was decided.
fn header(table: &str, decided: bool) -> String {
    let (about, header) = match table {
        "node" => ("# A node of the cluster; repeat for each.\n", "[[node]]".to_owned()),
        "group" | "forward" | "share" => ("", format!("[[{table}]]")),
        "cluster.dhcp" => (
            "# Addresses for the nodes; without this table none are served.\n",
            "[cluster.dhcp]".to_owned(),
        ),
        _ => ("", format!("[{table}]")),
    };
    let optional = matches!(
        table,
        "node"
            | "group"
            | "forward"
            | "share"
            | "cluster.dhcp"
            | "cluster.netboot"
            | "buttons"
            | "lcd.pins"
    );
    let mark = if optional && !decided { "#" } else { "" };
    format!("\n{about}{mark}{header}\n")
}

/// Returns a comment of lines of at most `WIDTH` characters.
fn wrap(text: &str) -> String {
    output::filled(text, WIDTH - 2).iter().map(|line| format!("# {line}\n")).collect()
}
