//! What a viewer without a session sees: everything, a summary without the nodes' names and
//! addresses, or nothing (`web.public`). Pure but for the cache.

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};

use bramblegate_api::Text;
use bramblegate_api::client::Known;
use bramblegate_api::status::{Alert, Node, Snapshot};

use crate::lock::lock;

/// How much a viewer sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Sight {
    Full,
    /// No names, hardware addresses or addresses of nodes.
    Summary,
    Nothing,
}

impl Sight {
    /// Those that have a page.
    pub const SEEING: [Self; 2] = [Self::Full, Self::Summary];
}

/// A cache of the latest snapshot's summary.
#[derive(Debug, Default)]
pub struct Summaries(Mutex<Option<(Arc<Snapshot>, Arc<Snapshot>)>>);

impl Summaries {
    /// Reduces the state to what a sight may see.
    pub fn seen(&self, known: Known, sight: Sight) -> Known {
        let snapshot = match (&known.snapshot, sight) {
            (_, Sight::Full) => return known,
            (Some(whole), Sight::Summary) => Some(self.of(whole)),
            (_, Sight::Nothing) | (None, _) => None,
        };
        Known { snapshot, ..known }
    }

    fn of(&self, whole: &Arc<Snapshot>) -> Arc<Snapshot> {
        let mut latest = lock(&self.0);
        match &*latest {
            Some((of, short)) if Arc::ptr_eq(of, whole) => Arc::clone(short),
            _ => {
                let short = Arc::new(summary(whole));
                *latest = Some((Arc::clone(whole), Arc::clone(&short)));
                short
            }
        }
    }
}

/// Returns a snapshot without names, hardware addresses and addresses of nodes. Numbers replace the
/// names. Free text stays only if it certainly names no node.
pub fn summary(whole: &Snapshot) -> Snapshot {
    let mut short = whole.clone();
    // Each field is listed here and in `remove_names`, so that a new field needs a decision.
    let Snapshot {
        schema: _,
        tag: _,
        version: _,
        uptime_s: _,
        severity: _,
        alerts,
        uplink: _,
        uplinks: _,
        gateway: _,
        rules: _,
        cluster: _,
        host: _,
        nodes,
        panel,
        shares,
        web: _,
        venue: _,
        clat: _,
        shutdown,
    } = &mut short;
    let private = Private::of(whole);
    for alert in alerts {
        if !private.may_show(alert) {
            alert.subject = None;
            alert.text = alert.code.replace('-', " ").into();
        }
    }
    for line in panel.lcd.lines.iter_mut().flatten() {
        if !is_plain(line, whole) {
            *line = " ".repeat(line.chars().count()).into();
        }
    }
    (1..).zip(nodes).for_each(|(place, node)| remove_names(place, node));
    // They have paths, and the names of nodes.
    shares.clear();
    shutdown.iter_mut().for_each(|shutdown| shutdown.waiting.clear());
    short
}

fn remove_names(place: usize, node: &mut Node) {
    let Node {
        name,
        mac,
        address,
        addresses,
        health: _,
        // A path may contain a hardware address.
        stage,
        rtt_us: _,
        loss_percent: _,
        since_s: _,
        origin: _,
        group: _,
    } = node;
    *name = format!("node-{place}").into();
    (*mac, *address, *stage) = (None, None, None);
    addresses.clear();
}

/// The names and addresses that a summary must not show, in lower case.
struct Private(HashSet<String>);

impl Private {
    fn of(whole: &Snapshot) -> Self {
        let texts = whole.nodes.iter().flat_map(|node| {
            let addresses = node.address.iter().chain(&node.addresses).map(IpAddr::to_string);
            let mac = node.mac.as_ref().map(|mac| mac.to_lowercase());
            addresses.chain(mac).chain([node.name.to_lowercase()])
        });
        Self(texts.collect())
    }

    /// Returns whether an alert is about the head only, and names no node.
    fn may_show(&self, alert: &Alert) -> bool {
        let own = ["uplink-", "lcd-", "led-", "host-"];
        own.iter().any(|own| alert.code.starts_with(own))
            && !self.is_in(&alert.text)
            && !alert.subject.as_deref().is_some_and(|subject| self.is_in(subject))
    }

    fn is_in(&self, text: &str) -> bool {
        let is_word = |c: char| c.is_ascii_alphanumeric() || ":.-_".contains(c);
        let text = text.to_lowercase();
        let mut words = text.split(|c: char| !is_word(c));
        words.any(|word| self.0.contains(word.trim_end_matches([':', '.'])))
    }
}

/// Fixed texts of whole rows of the display (docs: bramblegate(8), DISPLAY).
const WORDS: [&str; 12] = [
    "NO UPLINK",
    "NO CABLE",
    "NO WIFI",
    "SEARCHING",
    "NO DHCP",
    "PORTAL",
    "STARTING",
    "STOPPED",
    "SHUTTING DOWN",
    "RESTARTING",
    "SAFE TO UNPLUG",
    "BRAMBLEGATE",
];

/// Returns whether a row of the display is the head's address or a part of it, the count of nodes,
/// or a fixed text.
fn is_plain(line: &Text, whole: &Snapshot) -> bool {
    let text = line.trim_end_matches(['♥', ' ']).trim();
    let of_address = || {
        let uplinks = whole.uplinks.iter().chain([&whole.uplink]);
        let mut addresses = uplinks.flat_map(|uplink| uplink.addresses.iter().flatten());
        let active = whole.uplink.address.iter();
        let is_part = |net: &ipnet::IpNet| net.addr().to_string().contains(text);
        addresses.any(is_part) || active.into_iter().any(is_part)
    };
    let count = format!("{}/{} up", whole.cluster.up, whole.cluster.total);
    let of_count = || {
        let port = |text: &str| {
            let uplinks = whole.uplinks.iter().filter_map(|uplink| uplink.interface.as_deref());
            text.is_empty() || uplinks.into_iter().any(|name| name == text)
        };
        text.strip_prefix(&count).is_some_and(|rest| port(rest.trim()))
    };
    text.is_empty() || WORDS.contains(&text) || of_address() || of_count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole() -> Snapshot {
        let text = r##"{"type":"snapshot","severity":"fault",
            "alerts":[
                {"code":"node-down","severity":"fault","subject":"rpi2","text":"rpi2 is down","acknowledged":false},
                {"code":"gateway-address-taken","severity":"fault","subject":null,"text":"b8:27:eb:00:00:02 has 192.168.50.1","acknowledged":false},
                {"code":"uplink-none","severity":"notice","subject":null,"text":"eth1 waits for an address","acknowledged":false},
                {"code":"host-hot","severity":"warning","subject":null,"text":"hot, ask RPI2:","acknowledged":false}],
            "uplink":{"address":"10.99.0.126/24","interface":"eth1"},
            "uplinks":[{"address":"10.99.0.126/24","addresses":["10.99.0.126/24"],"interface":"eth1"}],
            "cluster":{"up":1,"total":2},
            "shares":[{"name":"usb","path":"/mnt/rpi2","clients":["rpi1"]}],
            "shutdown":{"head":true,"left_s":20,"waiting":["rpi1"],"waiting_total":1},
            "nodes":[
                {"name":"rpi1","mac":"b8:27:eb:00:00:01","address":"192.168.50.11","addresses":["192.168.50.11","fd12:3456:789a:1::b"],"health":"up","rtt_us":310,"stage":"b8-27-eb-00-00-01/kernel"},
                {"name":"rpi2","mac":"b8:27:eb:00:00:02","address":"192.168.50.12","health":"down","group":"rack1"}],
            "panel":{"lcd":{"state":"ok","lines":["10.99.0.126     ","rpi2 down      ♥"]}}}"##;
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn a_summary_has_no_name_or_address_of_a_node() {
        let short = summary(&whole());
        let text = serde_json::to_string(&short).unwrap().to_lowercase();
        for private in ["rpi", "b8:27", "b8-27", "192.168.50", "fd12"] {
            assert!(!text.contains(private), "{private} is in {text}");
        }
        let texts: Vec<&str> = short.alerts.iter().map(|alert| &*alert.text).collect();
        assert_eq!(
            texts,
            ["node down", "gateway address taken", "eth1 waits for an address", "host hot"]
        );
        assert_eq!(short.shutdown.unwrap().waiting_total, 1, "how many is not who");
        assert_eq!(short.nodes.len(), 2);
        assert_eq!(
            short.nodes.iter().map(|node| node.rtt_us).collect::<Vec<_>>(),
            [Some(310), None]
        );
        let lines: Vec<&str> = short.panel.lcd.lines.iter().flatten().map(|line| &**line).collect();
        assert_eq!(lines, ["10.99.0.126     ", "                "]);
    }

    #[test]
    fn rows_without_a_node_stay() {
        let whole = whole();
        for (row, stays) in [
            ("1/2 up  eth1   ♥", true),
            ("10.99.  ", true),
            ("0.126  ♥", true),
            ("NO UPLINK       ", true),
            ("1/2 up  rpi2   ♥", false),
            ("192.168.50.12   ", false),
            ("bramble-head   ♥", false),
        ] {
            assert_eq!(is_plain(&row.into(), &whole), stays, "{row}");
        }
    }

    #[test]
    fn a_summary_is_cached() {
        let known = Known { snapshot: Some(Arc::new(whole())), ..Known::default() };
        let summaries = Summaries::default();
        let one = summaries.seen(known.clone(), Sight::Summary).snapshot.unwrap();
        let other = summaries.seen(known.clone(), Sight::Summary).snapshot.unwrap();
        assert!(Arc::ptr_eq(&one, &other));
        assert!(summaries.seen(known, Sight::Nothing).snapshot.is_none());
    }
}
