//! Values that no file sets: the defaults of the key table, the board's values, and values derived
//! from other settings.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use super::fault::{Origin, Sources};
use super::keys::{self, Preset};
use super::print::quote;
use super::tree::{Item, Table, Value};
use super::{Ports, grammar};
use crate::board::Board;
use bramblegate_panel::oled::ADDRESSES;
use bramblegate_panel::{Charset, Resolution};

/// Returns the defaults of the key table as TOML.
pub(super) fn defaults() -> String {
    let presets = keys::all().filter_map(|key| match key.default {
        Preset::Toml(value) => Some(format!("{} = {value}\n", key.path)),
        _ => None,
    });
    presets.collect()
}

/// Returns the board's values as TOML settings.
pub(super) fn board(board: &Board) -> String {
    let lcd = &board.lcd;
    let charset = if lcd.charset == Charset::A02 { "A02" } else { "A00" };
    let mut text = format!(
        "lcd.bus = {}\nlcd.address = {:#04x}\nlcd.wiring = {}\nlcd.size = \"{}\"\n\
         lcd.charset = \"{charset}\"\nled.device = {}\n",
        quote(&lcd.bus),
        lcd.address,
        quote(&lcd.wiring),
        lcd.size,
        quote(&board.led.device),
    );
    if let Some(kernel) = &board.led.kernel {
        text += &format!("led.kernel = {}\n", quote(kernel));
    }
    if let Some(gpio) = &board.gpio {
        text += &format!("gpio.chip = {}\n", quote(&gpio.chip));
        for (name, line) in gpio.pins.named() {
            text += &format!("lcd.pins.{name} = {line}\n");
        }
    }
    text
}

/// Fills in the values that are derived from others.
pub(super) fn complete(tree: &mut Table, board: &Board, ports: Option<&Ports>) {
    let chosen = tree.get("board").map_or_else(Origin::default, |item| item.at);
    tree.set("board", Item { value: Value::Text(board.name.clone()), at: chosen });
    if let (Some(gpio), Some("auto")) = (&board.gpio, tree.text("gpio.chip")) {
        let at = tree.get("gpio.chip").map_or_else(Origin::default, |item| item.at);
        tree.set("gpio.chip", Item { value: Value::Text(gpio.chip.clone()), at });
    }
    if let Some(ports) = ports {
        complete_ports(tree, ports);
    }
    complete_oled(tree);
    let head = tree.text("cluster.address").and_then(|text| grammar::cidr(text).ok());
    if let Some(head) = head {
        let texts = fallback_addresses(head)
            .into_iter()
            .map(|net| default(Value::Text(net.to_string())))
            .collect();
        preset(tree, "cluster.fallback_addresses", Value::List(texts));
    }
    for key in keys::all() {
        let Preset::WithTable(text) = key.default else { continue };
        let table = key.path.rsplit_once('.').and_then(|(table, _)| tree.get(table));
        if matches!(table, Some(Item { value: Value::Table(_), .. })) {
            preset(tree, key.path, Value::Text(text.to_owned()));
        }
    }
    if matches!(tree.get("cluster.dhcp"), Some(Item { value: Value::Table(_), .. })) {
        preset(tree, "cluster.dhcp.enabled", Value::Bool(true));
        if let Some((first, last)) = head.and_then(range) {
            preset(tree, "cluster.dhcp.range", Value::Text(format!("{first}-{last}")));
        }
    }
    let served =
        matches!(tree.get("cluster.dhcp.enabled"), Some(Item { value: Value::Bool(true), .. }));
    preset(tree, "cluster.dns.enabled", Value::Bool(served));
    if matches!(tree.get("cluster.netboot"), Some(Item { value: Value::Table(_), .. })) {
        preset(tree, "cluster.netboot.enabled", Value::Bool(true));
    }
    if let Some(Item { value: Value::Tables(nodes), .. }) = tree.entries.get_mut("node") {
        for node in nodes {
            preset(node, "probe", Value::List(vec![default(Value::Text("icmp".to_owned()))]));
        }
    }
    if let Some(Item { value: Value::Tables(shares), .. }) = tree.entries.get_mut("share") {
        for share in shares {
            preset(share, "access", Value::Text("rw".to_owned()));
        }
    }
}

fn default(value: Value) -> Item {
    Item { value, at: Origin { source: Sources::DEFAULT, line: 1, column: 1, was: None } }
}

fn preset(table: &mut Table, path: &str, value: Value) {
    if table.get(path).is_none() {
        table.set(path, default(value));
    }
}

/// Fills in the defaults of an OLED. They replace the board's values, which are for an HD44780 on a
/// backpack.
fn complete_oled(tree: &mut Table) {
    let has_pixels = tree.text("lcd.size").is_some_and(|size| Resolution::named(size).is_some());
    let is_oled = match tree.text("lcd.driver") {
        Some("auto") => has_pixels,
        Some("ssd1306" | "sh1106") => true,
        _ => false,
    };
    if !is_oled {
        return;
    }
    let [address, _] = ADDRESSES;
    for (path, value) in [
        ("lcd.size", Value::Text(Resolution::P128x64.name().to_owned())),
        ("lcd.address", Value::Integer(i64::from(address))),
        ("lcd.charset", Value::Text("A02".to_owned())),
    ] {
        if tree.get(path).is_none_or(|item| item.at.source < Sources::MAIN) {
            tree.set(path, default(value));
        }
    }
}

/// Fills in the ports of a machine with one wired port and one other port.
fn complete_ports(tree: &mut Table, ports: &Ports) {
    let ([wired], [other]) = (ports.wired.as_slice(), ports.other.as_slice()) else { return };
    if tree.get("cluster.interface").is_none() && tree.get("uplink.interfaces").is_none() {
        preset(tree, "cluster.interface", Value::Text(wired.clone()));
        preset(tree, "uplink.interfaces", Value::List(vec![default(Value::Text(other.clone()))]));
    }
}

/// Returns the head's address in two other private networks, with its last two octets kept.
fn fallback_addresses(head: Ipv4Net) -> Vec<Ipv4Net> {
    if head.prefix_len() < 16 {
        return Vec::new();
    }
    let [_, _, third, fourth] = head.addr().octets();
    let nets = [Ipv4Addr::new(10, 213, third, fourth), Ipv4Addr::new(172, 30, third, fourth)];
    let nets = nets.into_iter().filter_map(|address| Ipv4Net::new(address, head.prefix_len()).ok());
    nets.filter(|net| !overlap(*net, head)).collect()
}

/// Returns whether the two subnets have an address in common.
pub(super) fn overlap(a: Ipv4Net, b: Ipv4Net) -> bool {
    a.contains(&b.network()) || b.contains(&a.network())
}

/// Returns the default DHCP range: hosts 100 to 199, or the upper half of a subnet smaller than a
/// /24, without the head's address. `None` if no address is left.
fn range(head: Ipv4Net) -> Option<(Ipv4Addr, Ipv4Addr)> {
    let network = u32::from(head.network());
    let size = u32::from(head.broadcast()).wrapping_sub(network);
    let (first, last) = if size >= 255 {
        (network + 100, network + 199)
    } else {
        (network + size / 2 + 1, network + size - 1)
    };
    let own = u32::from(head.addr());
    let (first, last) = match own {
        _ if own < first || own > last => (first, last),
        _ if last - own >= own - first => (own + 1, last),
        _ => (first, own - 1),
    };
    (first <= last).then_some((Ipv4Addr::from(first), Ipv4Addr::from(last)))
}
