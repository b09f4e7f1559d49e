//! The nodes: few as cards, more as tiles; of many, those that are not up, and groups to open. A
//! large group opens in blocks.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::SystemTime;

use bramblegate_api::Text;
use bramblegate_api::status::{Node, NodeHealth, Snapshot};
use maud::{Markup, PreEscaped, html};

use super::head::{before, moment};
use super::parts::{NODES, Parts};
use super::words::{Words, text};

/// The limit of nodes as cards with their round trip.
const CARDS: usize = 60;
/// The limit of nodes as tiles; above, groups to open.
const TILES: usize = 1000;
/// The size of blocks, for groups of more than twice as many nodes.
const BLOCK: usize = 250;
/// The limit of nodes that are shown as not up above the groups: each change sends all of them.
const NOT_UP: usize = 40;

/// The health of nodes that are not up, in the order of a group's counts, worst first.
const NOT_UP_HEALTHS: [NodeHealth; 5] = [
    NodeHealth::Down,
    NodeHealth::Degraded,
    NodeHealth::Booting,
    NodeHealth::Maintenance,
    NodeHealth::Unknown,
];

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

/// Draws the number of nodes that are up.
pub(super) fn count(snapshot: &Snapshot, words: &Words) -> Markup {
    html! { (snapshot.cluster.up) "/" (snapshot.cluster.total) " " (words.up_of) }
}

/// Nodes under one heading.
struct Block<'a> {
    group: Option<&'a Text>,
    /// The index in the group; `None` where the group is one block.
    number: Option<usize>,
    nodes: Vec<&'a Node>,
}

impl Block<'_> {
    /// Returns the heading: the group, and for one of several blocks its first and last node.
    fn title(&self, words: &Words) -> String {
        let group = self.group.map(|group| &**group);
        match (self.number, self.nodes.as_slice()) {
            (Some(_), [first, .., last]) => {
                let range = format!("{} – {}", first.name, last.name);
                group.map_or(range.clone(), |group| format!("{group}: {range}"))
            }
            _ => group.unwrap_or(words.group_none).to_owned(),
        }
    }
}

/// Returns the block size for a group of `total` nodes.
fn block_size(detail: Detail, total: usize) -> usize {
    if detail == Detail::Groups && total > 2 * BLOCK { BLOCK } else { total.max(1) }
}

/// Returns the nodes by group, and large groups by block.
fn blocks(nodes: &[Node], detail: Detail) -> Vec<Block<'_>> {
    let mut groups: BTreeMap<Option<&Text>, Vec<&Node>> = BTreeMap::new();
    for node in nodes {
        groups.entry(node.group.as_ref()).or_default().push(node);
    }
    let mut blocks = Vec::new();
    for (group, members) in groups {
        let size = block_size(detail, members.len());
        let split = members.len() > size;
        for (place, nodes) in members.chunks(size).enumerate() {
            blocks.push(Block { group, number: split.then_some(place), nodes: nodes.to_vec() });
        }
    }
    blocks
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
    let blocks = blocks(&snapshot.nodes, detail);
    let mut layout = format!("{detail:?}");
    if detail != Detail::Groups {
        for node in blocks.iter().flat_map(|block| &block.nodes) {
            let key = key(node, detail);
            parts.put_node(key, old, |_| element(node, detail, at, words));
            let _ = write!(layout, "|{}", node.name);
        }
    }
    parts.put("not-up", not_up(snapshot, detail, at, words));
    // A single heading would be useless, unless it is needed to open its group.
    let headed = detail == Detail::Groups || blocks.iter().any(|block| block.group.is_some());
    let mut html = String::new();
    for (place, block) in blocks.iter().enumerate() {
        let id = format!("group-{place}");
        let title = block.title(words);
        let _ = write!(layout, "#{title}");
        if headed {
            parts.put(&id, summary(&block.nodes, words));
        }
        let members = block.nodes.iter().filter_map(|node| parts.node(&node.name));
        let members: String =
            if detail == Detail::Groups { String::new() } else { members.collect() };
        let list = html! { ul class={ "grid " (class(detail)) } { (PreEscaped(members)) } };
        let markup =
            if headed { headed_block(block, &title, &id, detail, parts, &list) } else { list };
        html.push_str(&markup.into_string());
    }
    if snapshot.nodes.is_empty() {
        html = html! { p.dim { (words.no_nodes) } }.into_string();
    }
    parts.layout = layout.into();
    parts.put(NODES, PreEscaped(html));
}

/// Draws nodes that are not up, where closed groups hide them.
fn not_up(snapshot: &Snapshot, detail: Detail, at: Option<SystemTime>, words: &Words) -> Markup {
    let mut nodes = snapshot.nodes.iter().filter(|node| node.health != NodeHealth::Up).peekable();
    if detail != Detail::Groups || nodes.peek().is_none() {
        return html! {};
    }
    let shown: Vec<&Node> = nodes.by_ref().take(NOT_UP).collect();
    let more = nodes.count();
    html! {
        h3 { (words.not_up) }
        ul.grid.tiles { @for node in shown { (element(node, Detail::Tiles, at, words)) } }
        @if more > 0 { p.dim { "… " (more) " " (words.more) } }
    }
}

fn headed_block(
    block: &Block<'_>,
    title: &str,
    id: &str,
    detail: Detail,
    parts: &Parts,
    list: &Markup,
) -> Markup {
    let summary = PreEscaped(parts.get(id).unwrap_or_default());
    let opens = detail == Detail::Groups;
    let group = block.group.map_or("", |group| &**group);
    html! {
        details open[!opens] data-group=[opens.then_some(group)] data-block=[block.number] {
            summary { b { (title) } " " span #(id) { (summary) } }
            (list)
            @if opens {
                noscript { a href=(address(group, block.number)) { (title) } }
            }
        }
    }
}

/// Returns the address of a block's nodes, the same that the script uses.
fn address(group: &str, block: Option<usize>) -> String {
    let block = block.map(|block| format!("&block={block}")).unwrap_or_default();
    format!("/nodes?group={}{block}", escape(group))
}

/// Returns the elements of the nodes of a group, or of one of its blocks, as tiles; empty without
/// such a group or block.
pub fn group(
    snapshot: &Snapshot,
    name: &str,
    block: Option<usize>,
    at: Option<SystemTime>,
    words: &Words,
) -> String {
    members(snapshot, name, block)
        .map(|node| element(node, Detail::Tiles, at, words).into_string())
        .collect()
}

/// Returns the nodes of a group, or of one of its blocks.
pub fn members<'a>(
    snapshot: &'a Snapshot,
    name: &'a str,
    block: Option<usize>,
) -> impl Iterator<Item = &'a Node> {
    let all = move || {
        snapshot.nodes.iter().filter(move |node| node.group.as_deref().unwrap_or("") == name)
    };
    let size = block_size(Detail::of(snapshot.nodes.len()), all().count());
    let (first, size) = block.map_or((0, usize::MAX), |block| (block.saturating_mul(size), size));
    all().skip(first).take(size)
}

/// Draws a group in one line: the number of nodes that are up, and a bar.
fn summary(nodes: &[&Node], words: &Words) -> Markup {
    let up = nodes.iter().filter(|node| node.health == NodeHealth::Up).count();
    html! {
        (up) "/" (nodes.len()) " " (words.up_of)
        @for health in NOT_UP_HEALTHS {
            @let number = nodes.iter().filter(|node| node.health == health).count();
            @if number > 0 { span class={ "badge " (health.name()) } { (number) " " ((words.health)(health)) } }
        }
        " " meter min="0" max=(nodes.len()) value=(up) {}
    }
}

/// Returns the key of a node's element.
fn key(node: &Node, detail: Detail) -> Node {
    // The script updates the age; only cards show the round trip, in steps of 0.1 ms.
    let rtt_us = node.rtt_us.filter(|_| detail == Detail::Cards).map(|rtt| rtt / 100 * 100);
    Node { since_s: 0, rtt_us, loss_percent: None, ..node.clone() }
}

fn element(node: &Node, detail: Detail, at: Option<SystemTime>, words: &Words) -> Markup {
    let health = node.health.known().map_or("unknown", NodeHealth::name);
    let shown = text(&node.health, words.health);
    let reached = node.reached_at();
    let address = reached.map(|address| address.to_string()).unwrap_or_default();
    if detail == Detail::Cards {
        return html! {
            li class={ "node " (health) } data-node=(node.name) data-health=(node.health) {
                b { (node.name) } " " span.health { (shown) }
                br; code { (address) }
                @for address in node.addresses.iter().filter(|address| reached != Some(*address)) { br; code { (address) } }
                @if let Some(rtt) = node.rtt_us { " " (words.number(&milliseconds(rtt))) }
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
    format!("{}.{}\u{a0}ms", microseconds / 1000, microseconds % 1000 / 100)
}

/// Percent-encodes a text for a query (RFC 3986, section 2.1).
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

#[cfg(test)]
mod tests {
    use super::super::Language;
    use super::*;

    fn cluster(nodes: usize, group: impl Fn(usize) -> Option<Text>) -> Snapshot {
        let nodes = (0..nodes).map(|place| Node {
            name: format!("n{place}").into(),
            group: group(place),
            health: if place % 997 == 5 { NodeHealth::Down } else { NodeHealth::Up }.into(),
            ..Node::default()
        });
        Snapshot { nodes: nodes.collect(), ..Snapshot::default() }
    }

    fn drawn(snapshot: &Snapshot) -> Parts {
        let mut parts = Parts::default();
        draw(&mut parts, snapshot, None, Language::English.words(), &Parts::default());
        parts
    }

    /// Returns the names of the nodes' elements in a text.
    fn names(html: &str) -> Vec<&str> {
        html.split("data-node=\"").skip(1).filter_map(|rest| rest.split('"').next()).collect()
    }

    /// Every node is shown, or can be opened, whatever the number of nodes and groups.
    #[test]
    fn every_node_is_reached_once() {
        let racks = |place: usize| Some(Text::from(format!("rack{}", place % 7).as_str()));
        let one = |place: usize| (place > 0).then(|| Text::from("a & b"));
        let groups: [&dyn Fn(usize) -> Option<Text>; 3] = [&|_| None, &racks, &one];
        for nodes in [0, 1, 60, 61, 1000, 1001, 1250, 10_000] {
            for group_of in groups {
                let snapshot = cluster(nodes, group_of);
                let parts = drawn(&snapshot);
                let html = parts.get(NODES).unwrap();
                let mut reached: Vec<String> = names(html).into_iter().map(str::to_owned).collect();
                let links: Vec<&str> = html
                    .split("href=\"/nodes?group=")
                    .skip(1)
                    .filter_map(|rest| rest.split('"').next())
                    .collect();
                let opened = blocks(&snapshot.nodes, Detail::of(nodes));
                for block in opened.iter().filter(|_| nodes > TILES) {
                    let name = block.group.map_or("", |group| &**group);
                    let members =
                        group(&snapshot, name, block.number, None, Language::English.words());
                    assert!(
                        names(&members).len() <= 2 * BLOCK,
                        "{nodes}: {}",
                        names(&members).len()
                    );
                    reached.extend(names(&members).into_iter().map(str::to_owned));
                    let link = address(name, block.number).replace('&', "&amp;");
                    assert!(links.iter().any(|known| link.ends_with(known)), "{link} in {links:?}");
                }
                let mut wanted: Vec<String> =
                    snapshot.nodes.iter().map(|node| node.name.to_string()).collect();
                reached.sort();
                wanted.sort();
                assert_eq!(reached, wanted, "{nodes} nodes");
                let bad = parts.get("not-up").unwrap();
                let down = snapshot.nodes.iter().filter(|node| node.health != NodeHealth::Up);
                assert_eq!(names(bad).len(), if nodes > TILES { down.count() } else { 0 });
            }
        }
    }

    #[test]
    fn a_block_that_does_not_exist_is_empty() {
        let snapshot = cluster(1001, |_| None);
        let words = Language::English.words();
        for (name, block) in [("", Some(5)), ("", Some(usize::MAX)), ("no", None), ("no", Some(0))]
        {
            assert_eq!(group(&snapshot, name, block, None, words), "", "{name} {block:?}");
        }
    }
}
