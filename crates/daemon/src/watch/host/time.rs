//! Who has the time: whether the head serves it, and whom it asks. There is no notification when a
//! socket is bound, so it is looked at now and then; a server that listens is asked, for it may
//! answer no one.

use std::convert::Infallible;
use std::fs;
use std::io;
use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::sleep_until;

use super::ntp::{self, TimeAnswer};
use crate::event::{Event, Vital};
use crate::files::reading;
use crate::sync::{Closed, next_aligned};
use crate::watch::emit;

/// How often: a node that boots meanwhile asks for its lease again soon enough.
const INTERVAL: Duration = Duration::from_secs(60);
/// The port of NTP, as `/proc/net/udp` writes it at the end of an address.
const PORT: &str = ":007B";
/// Bound UDP sockets that are not connected (`TCP_CLOSE`).
const UNCONNECTED: &str = "07";
/// 127.0.0.0/8 and ::1, as the same files write them on machines of either byte order.
const LOOPBACK: [&str; 4] = [
    "0100007F",
    "7F000001",
    "00000000000000000000000001000000",
    "00000000000000000000000000000001",
];
/// Files of lines `server ADDRESS …` or `pool ADDRESS …` (chrony.conf(5)), or `NTP=ADDRESS …`
/// (timesyncd.conf(5), systemd-networkd's leases).
const FILES: [&str; 2] = ["etc/chrony/chrony.conf", "etc/systemd/timesyncd.conf"];
const FOLDERS: [&str; 5] = [
    "run/chrony-dhcp",
    "etc/chrony/sources.d",
    "etc/systemd/timesyncd.conf.d",
    "run/systemd/timesyncd.conf.d",
    "run/systemd/netif/leases",
];

/// Reports it at the start, and each change. `head` is the head's address in the cluster, where
/// nodes would ask.
///
/// # Errors
/// A channel is closed (`Closed`).
pub async fn run(
    events: mpsc::Sender<Event>,
    mut head: watch::Receiver<Option<Ipv4Addr>>,
) -> io::Result<Infallible> {
    let mut reported = None;
    loop {
        let mut seen = read(Path::new("/"));
        let address = *head.borrow_and_update();
        if let Vital::Time { served, .. } = &mut seen {
            *served = match address.filter(|_| *served) {
                Some(address) => ntp::ask(address).await == TimeAnswer::Serves,
                None => false,
            };
        }
        if reported.as_ref() != Some(&seen) {
            emit(&events, Event::Vital(seen.clone())).await?;
            reported = Some(seen);
        }
        tokio::select! {
            () = sleep_until(next_aligned(INTERVAL)) => {}
            changed = head.changed() => changed.map_err(|_| Closed)?,
        }
    }
}

/// Returns what the files below `root` say now; `served` of a server that listens, whether it
/// answers or not.
pub fn read(root: &Path) -> Vital {
    let text = |path: &Path| reading::text(path).unwrap_or_default();
    // Where a server has a socket for IPv4, that one decides: chrony keeps one for all of IPv6
    // beside it.
    let tables = ["proc/net/udp", "proc/net/udp6"];
    let served = tables.iter().find_map(|path| listens(&text(&root.join(path)))).unwrap_or(false);
    let mut files: Vec<_> = FILES.iter().map(|path| root.join(path)).collect();
    for folder in FOLDERS {
        let entries = fs::read_dir(root.join(folder)).into_iter().flatten().flatten();
        let mut within: Vec<_> = entries.map(|entry| entry.path()).collect();
        within.sort();
        files.extend(within);
    }
    let mut servers = Vec::new();
    for server in files.iter().flat_map(|path| addresses(&text(path))) {
        if !servers.contains(&server) {
            servers.push(server);
        }
    }
    Vital::Time { served, servers }
}

/// Returns whether a process serves NTP where others reach it, by a table of `/proc/net`
/// (proc_pid_net(5)); `None`: none at all.
fn listens(table: &str) -> Option<bool> {
    let reached = table.lines().skip(1).filter_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let address = words.get(1)?.strip_suffix(PORT)?;
        (words.get(3) == Some(&UNCONNECTED)).then(|| !LOOPBACK.contains(&address))
    });
    reached.reduce(|one, other| one || other)
}

/// Addresses of servers; names would have to be resolved, which DHCP's option 42 cannot wait for.
fn addresses(text: &str) -> Vec<Ipv4Addr> {
    text.lines().flat_map(servers_of).collect()
}

/// Returns the addresses of time servers in a line of chrony's, ntpd's or timesyncd's settings.
fn servers_of(line: &str) -> Vec<Ipv4Addr> {
    let words: Vec<&str> = line.split_whitespace().collect();
    match (words.as_slice(), line.trim().strip_prefix("NTP=")) {
        (_, Some(list)) => list.split_whitespace().filter_map(|word| word.parse().ok()).collect(),
        (["server" | "pool" | "peer", address, ..], _) => address.parse().into_iter().collect(),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_counts_where_nodes_can_reach_it() {
        let table = |local: &str| {
            format!(
                "  sl  local_address rem_address   st\n  1: {local} 00000000:0000 07 0 0 0 0 0 0\n"
            )
        };
        assert_eq!(listens(&table("00000000:007B")), Some(true));
        assert_eq!(listens(&table("0100007F:007B")), Some(false), "only for the head itself");
        assert_eq!(listens(&table("00000000:0143")), None, "chrony's own control port");
        assert_eq!(
            listens(&table("00000000:007B").replace(" 07 ", " 01 ")),
            None,
            "somebody's question"
        );
    }

    #[test]
    fn servers_are_read_by_address_from_either_ones_files() {
        let text = "# server 10.0.0.9\npool 2.debian.pool.ntp.org iburst\nserver 10.0.0.1 iburst\n\
         [Time]\nNTP=10.0.0.2 a.example 10.0.0.3\n";
        let reported: Vec<String> = addresses(text).iter().map(ToString::to_string).collect();
        assert_eq!(reported, ["10.0.0.1", "10.0.0.2", "10.0.0.3"]);
    }
}
