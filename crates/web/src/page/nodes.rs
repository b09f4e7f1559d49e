//! The nodes: one by one where they are few, as tiles where they are more, by group where they are
//! many.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::SystemTime;

use bramblegate_api::Text;
use bramblegate_api::status::{Node, NodeHealth, Snapshot};
use maud::{Markup, PreEscaped, html};

use super::head::{before, moment};
use super::parts::{NODES, Parts};
use super::words::{Words, text};

/// Up to so many each node is a card with its round trip.
const CARDS: usize = 60;
/// Up to so many each node is a tile; above, groups that open.
const TILES: usize = 1000;

/// How much the page shows of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Detail {
    Cards,
    Tiles,
    Groups,
}

impl Detail {
    fn of(nodes: usize) -> Self {
        if nodes <= CARDS {
            Self::Cards
        } else if nodes <= TILES {
            Self::Tiles
        } else {
            Self::Groups
        }
    }
}

/// Draws how many are up.
pub(super) fn count(snapshot: &Snapshot, words: &Words) -> Markup {
    html! { (snapshot.cluster.up) "/" (snapshot.cluster.total) " " (words.up_of) }
}

/// Draws the nodes into `parts`.
pub(super) fn draw(
    parts: &mut Parts,
    snapshot: &Snapshot,
    at: Option<SystemTime>,
    words: &Words,
    old: &Parts,
) {
    let detail = Detail::of(snapshot.nodes.len());
    let mut groups: BTreeMap<Option<&Text>, Vec<&Node>> = BTreeMap::new();
    for node in &snapshot.nodes {
        groups.entry(node.group.as_ref()).or_default().push(node);
    }
    let mut layout = format!("{detail:?}");
    if detail != Detail::Groups {
        for node in groups.values().flatten() {
            let key = key(node, detail);
            parts.put_node(key, old, |_| element(node, detail, at, words));
            let _ = write!(layout, "|{}", node.name);
        }
    }
    let grouped = groups.keys().any(Option::is_some);
    let mut html = String::new();
    for (place, (name, nodes)) in groups.iter().enumerate() {
        let id = format!("group-{place}");
        let _ = write!(layout, "#{}", name.map_or("", |name| &**name));
        if grouped {
            parts.put(&id, summary(nodes, words));
        }
        let members = nodes.iter().filter_map(|node| parts.node(&node.name));
        let members: String =
            if detail == Detail::Groups { String::new() } else { members.collect() };
        let list = html! { ul class={ "grid " (class(detail)) } { (PreEscaped(members)) } };
        html.push_str(&one_group(*name, &id, detail, parts, &list, words, grouped).into_string());
    }
    if snapshot.nodes.is_empty() {
        html = html! { p.dim { (words.no_nodes) } }.into_string();
    }
    parts.layout = layout.into();
    parts.put(NODES, PreEscaped(html));
}

fn one_group(
    name: Option<&Text>,
    id: &str,
    detail: Detail,
    parts: &Parts,
    list: &Markup,
    words: &Words,
    grouped: bool,
) -> Markup {
    if !grouped {
        return html! { (list) };
    }
    let title = name.map_or(words.group_none, |name| &**name);
    let summary = PreEscaped(parts.get(id).unwrap_or_default());
    html! {
        details open[detail != Detail::Groups] data-group=[(detail == Detail::Groups).then_some(name.map_or("", |name| &**name))] {
            summary { b { (title) } " " span #(id) { (summary) } }
            (list)
            @if detail == Detail::Groups {
                noscript { a href={ "/nodes?group=" (escape(name.map_or("", |name| &**name))) } { (title) } }
            }
        }
    }
}

/// Returns the elements of one group's nodes, as tiles.
pub fn group(snapshot: &Snapshot, name: &str, at: Option<SystemTime>, words: &Words) -> String {
    let members = snapshot.nodes.iter().filter(|node| node.group.as_deref().unwrap_or("") == name);
    members.map(|node| element(node, Detail::Tiles, at, words).into_string()).collect()
}

/// Draws a group in one line: how many are up, and a bar.
fn summary(nodes: &[&Node], words: &Words) -> Markup {
    let up = nodes.iter().filter(|node| node.health == NodeHealth::Up).count();
    let others = NodeHealth::ALL.into_iter().filter(|health| *health != NodeHealth::Up);
    html! {
        (up) "/" (nodes.len()) " " (words.up_of)
        @for health in others {
            @let number = nodes.iter().filter(|node| node.health == health).count();
            @if number > 0 { span class={ "badge " (health.name()) } { (number) " " ((words.health)(health)) } }
        }
        " " meter min="0" max=(nodes.len()) value=(up) {}
    }
}

/// Returns what of a node its element shows.
fn key(node: &Node, detail: Detail) -> Node {
    // The age goes on by itself; a round trip that differs a little is no news of a tile.
    let rtt_us = node.rtt_us.filter(|_| detail == Detail::Cards).map(|rtt| rtt / 100 * 100);
    Node { since_s: 0, rtt_us, loss_percent: None, ..node.clone() }
}

fn element(node: &Node, detail: Detail, at: Option<SystemTime>, words: &Words) -> Markup {
    let health = node.health.known().map_or("unknown", NodeHealth::name);
    let shown = text(&node.health, words.health);
    let address = node.address.map(|address| address.to_string()).unwrap_or_default();
    if detail == Detail::Cards {
        return html! {
            li class={ "node " (health) } data-node=(node.name) data-health=(node.health) {
                b { (node.name) } " " span.health { (shown) }
                br; code { (address) }
                @for address in node.addresses.iter().filter(|address| node.address != Some(**address)) { br; code { (address) } }
                @if let Some(rtt) = node.rtt_us { " " (milliseconds(rtt)) }
                @if let Some(since) = before(at, node.since_s) { br; small { (words.since) " " (moment(since)) } }
                @if let Some(stage) = &node.stage { br; small { (stage) } }
            }
        };
    }
    html! {
        li class={ "node " (health) } data-node=(node.name) data-health=(node.health) title={ (address) " " (shown) } {
            span.name { (node.name) }
            @if node.health != NodeHealth::Up { span.health { (shown) } }
        }
    }
}

const fn class(detail: Detail) -> &'static str {
    match detail {
        Detail::Cards => "cards",
        Detail::Tiles | Detail::Groups => "tiles",
    }
}

fn milliseconds(microseconds: u64) -> String {
    format!("{}.{} ms", microseconds / 1000, microseconds % 1000 / 100)
}

/// Returns a text as it stands in a query (RFC 3986, section 2.1).
fn escape(text: &str) -> String {
    let mut escaped = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => {
                escaped.push(char::from(byte))
            }
            _ => {
                let _ = write!(escaped, "%{byte:02X}");
            }
        }
    }
    escaped
}
