//! Reads the files of DHCP clients: DNS resolvers, for the machine and for each uplink, and captive
//! portals. The files are watched by inotify, not polled.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use tokio::sync::mpsc;

use crate::event::{Event, LinkIndex, PortalSource, PortalUrl, UplinkNews, Vital};
use crate::files::inotify::Files;
use crate::files::reading;
use crate::watch::emit;

/// Maps an interface index to its resolvers; 0 stands for the machine.
pub type Resolvers = BTreeMap<LinkIndex, Vec<IpAddr>>;

/// Resolver files of the machine. The first with a non-loopback server counts, so the upstream
/// servers of a stub resolver precede the stub.
const MACHINE: [&str; 3] = [
    "run/systemd/resolve/resolv.conf",
    "run/NetworkManager/no-stub-resolv.conf",
    "etc/resolv.conf",
];
/// Folders of systemd-networkd: a file for each interface index, with a line `DNS=`.
const NETWORKD: [&str; 2] = ["run/systemd/netif/leases", "run/systemd/netif/links"];
/// Folders of dhcpcd and resolvconf: files `INTERFACE.protocol` in the format of resolv.conf(5).
const BY_NAME: [&str; 3] =
    ["run/dhcpcd/hook-state/resolv.conf", "run/resolvconf/interface", "run/resolvconf/interfaces"];
/// Parent folders of the above, watched because these may appear later.
const PARENTS: [&str; 8] = [
    "etc",
    "run",
    "run/systemd",
    "run/systemd/resolve",
    "run/systemd/netif",
    "run/NetworkManager",
    "run/dhcpcd",
    "run/dhcpcd/hook-state",
];

/// Reports resolvers and portals at the start, and each change.
///
/// # Errors
/// inotify is unavailable, or the receiver is gone (`Closed`).
pub async fn run(events: mpsc::Sender<Event>) -> io::Result<Infallible> {
    let root = Path::new("/");
    let files = Files::new()?;
    let (mut known, mut known_portals) = (Resolvers::new(), Portals::new());
    loop {
        for folder in PARENTS.iter().chain(&NETWORKD).chain(&BY_NAME) {
            files.folder(&root.join(folder));
        }
        for file in MACHINE {
            files.file(&root.join(file));
        }
        let now = read(root);
        let portals = portals(root);
        for event in resolver_changes(&known, &now)
            .into_iter()
            .chain(portal_changes(&known_portals, &portals))
        {
            emit(&events, event).await?;
        }
        (known, known_portals) = (now, portals);
        files.changed().await?;
    }
}

/// Maps an interface index to its captive portal.
pub type Portals = BTreeMap<LinkIndex, PortalUrl>;

/// Returns the captive portals that systemd-networkd (254 or newer) has learned from DHCP or router
/// advertisements (RFC 8910).
pub fn portals(root: &Path) -> Portals {
    let mut found = Portals::new();
    for (name, text) in files(&root.join("run/systemd/netif/links")) {
        let portal = text.lines().find_map(|line| line.strip_prefix("CAPTIVE_PORTAL="));
        if let (Ok(index), Some(url)) =
            (name.parse::<LinkIndex>(), portal.and_then(PortalUrl::read))
        {
            found.insert(index, url);
        }
    }
    found
}

fn portal_changes(before: &Portals, now: &Portals) -> Vec<Event> {
    let event = |(index, url): (_, Option<&PortalUrl>)| {
        let url = url.cloned();
        Event::Uplink(UplinkNews::Portal { index, by: PortalSource::Lease, url })
    };
    changed(before, now).map(event).collect()
}

fn resolver_changes(before: &Resolvers, now: &Resolvers) -> Vec<Event> {
    let event = |(index, servers): (_, Option<&Vec<_>>)| {
        Event::Vital(Vital::Resolvers { index, servers: servers.cloned().unwrap_or_default() })
    };
    changed(before, now).map(event).collect()
}

/// Returns the interfaces whose value differs: removed ones first, as `None`, then new values.
fn changed<'a, T: PartialEq>(
    before: &'a BTreeMap<LinkIndex, T>,
    now: &'a BTreeMap<LinkIndex, T>,
) -> impl Iterator<Item = (LinkIndex, Option<&'a T>)> {
    let gone = before.keys().filter(|index| !now.contains_key(index)).map(|&index| (index, None));
    let new = now.iter().filter(|&(index, value)| before.get(index) != Some(value));
    gone.chain(new.map(|(&index, value)| (index, Some(value))))
}

/// Returns the resolvers that the files below `root` name.
pub fn read(root: &Path) -> Resolvers {
    let mut found = Resolvers::new();
    let texts: Vec<_> =
        MACHINE.iter().filter_map(|path| reading::text(&root.join(path)).ok()).collect();
    let lists: Vec<_> =
        texts.iter().map(|text| nameservers(text)).filter(|list| !list.is_empty()).collect();
    let outside = lists.iter().find(|list| list.iter().any(|server| !server.is_loopback()));
    if let Some(servers) = outside.or(lists.first()) {
        found.insert(0, servers.clone());
    }
    for (name, text) in NETWORKD.iter().flat_map(|directory| files(&root.join(directory))) {
        if let Ok(index) = name.parse::<LinkIndex>() {
            append(&mut found, index, networkd(&text));
        }
    }
    for (name, text) in BY_NAME.iter().flat_map(|directory| files(&root.join(directory))) {
        let interface = name.split('.').next().unwrap_or_default();
        if let Some(index) = index_of(root, interface) {
            append(&mut found, index, nameservers(&text));
        }
    }
    found
}

/// Adds the servers that are not listed yet for this interface.
fn append(found: &mut Resolvers, index: LinkIndex, servers: Vec<IpAddr>) {
    if servers.is_empty() {
        return;
    }
    let known = found.entry(index).or_default();
    for server in servers {
        if !known.contains(&server) {
            known.push(server);
        }
    }
}

/// Returns names and texts of the files in a folder, sorted by name.
fn files(directory: &Path) -> Vec<(String, String)> {
    let named =
        |file: PathBuf| Some((file.file_name()?.to_str()?.to_owned(), reading::text(&file).ok()?));
    reading::entries(directory).into_iter().filter_map(named).collect()
}

fn index_of(root: &Path, interface: &str) -> Option<LinkIndex> {
    if interface.is_empty() || interface.contains('/') {
        return None;
    }
    let path: PathBuf =
        [root, Path::new("sys/class/net"), Path::new(interface), Path::new("ifindex")]
            .iter()
            .collect();
    reading::text(&path).ok()?.trim().parse().ok()
}

/// Parses `nameserver ADDRESS` lines (resolv.conf(5)); a scope ID after `%` is dropped.
fn nameservers(text: &str) -> Vec<IpAddr> {
    let lines = text.lines().map(|line| line.split(['#', ';']).next().unwrap_or_default());
    lines
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            (words.next()? == "nameserver").then(|| address(words.next()?))?
        })
        .collect()
}

/// Parses `DNS=ADDRESS ADDRESS…` lines.
fn networkd(text: &str) -> Vec<IpAddr> {
    text.lines()
        .filter_map(|line| line.strip_prefix("DNS="))
        .flat_map(str::split_whitespace)
        .filter_map(address)
        .collect()
}

/// Parses an address, optionally with a scope ID (`%eth1`) or a server name (`#dns.example`).
fn address(text: &str) -> Option<IpAddr> {
    text.split(['%', '#']).next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use proptest::prelude::*;

    fn ips(texts: &[&str]) -> Vec<IpAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn resolv_conf_is_parsed_with_comments_and_scope_ids() {
        let text = "# made by dhcpcd\nsearch lan\nnameserver 10.99.0.1 # venue\n\
         nameserver fe80::1%eth1\nnameserver x\n";
        assert_eq!(nameservers(text), ips(&["10.99.0.1", "fe80::1"]));
        assert_eq!(
            networkd("ADDRESS=10.99.0.9\nDNS=10.99.0.1 10.99.0.2#dns.example\n"),
            ips(&["10.99.0.1", "10.99.0.2"])
        );
    }

    #[test]
    fn upstream_servers_of_a_stub_are_preferred_and_each_uplink_has_its_own() {
        let temporary = tempfile::tempdir().unwrap();
        let root = temporary.path().to_owned();
        for (path, text) in [
            ("etc/resolv.conf", "nameserver 127.0.0.53\n"),
            ("run/systemd/resolve/resolv.conf", "nameserver 10.99.0.1\n"),
            ("run/systemd/netif/leases/7", "DNS=10.98.0.1\n"),
            (
                "run/systemd/netif/links/7",
                "ADMIN_STATE=configured\nCAPTIVE_PORTAL=https://login.hotel/api\n",
            ),
            ("run/systemd/netif/links/8", "CAPTIVE_PORTAL=javascript:x\n"),
            ("run/dhcpcd/hook-state/resolv.conf/wlan0.dhcp", "nameserver 10.97.0.1\n"),
            ("sys/class/net/wlan0/ifindex", "3\n"),
        ] {
            let path = root.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let found = read(&root);
        let portal = PortalUrl::read("https://login.hotel/api").unwrap();
        assert_eq!(portals(&root), Portals::from_iter([(7, portal)]));
        assert_eq!(found[&0], ips(&["10.99.0.1"]));
        assert_eq!(found[&7], ips(&["10.98.0.1"]));
        assert_eq!(found[&3], ips(&["10.97.0.1"]));
    }

    #[test]
    fn only_changes_are_reported_and_a_removed_list_is_reported_empty() {
        let before = Resolvers::from_iter([(0, ips(&["10.99.0.1"])), (7, ips(&["10.98.0.1"]))]);
        let now = Resolvers::from_iter([(0, ips(&["10.99.0.1"]))]);
        assert_eq!(
            resolver_changes(&before, &now),
            [Event::Vital(Vital::Resolvers { index: 7, servers: vec![] })]
        );
        assert!(resolver_changes(&now, &now).is_empty());
    }

    proptest! {
        #[test]
        fn arbitrary_text_never_panics(text: String) {
            nameservers(&text);
            networkd(&text);
        }
    }
}
