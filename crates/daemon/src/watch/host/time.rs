//! Reports whether the head serves NTP, and which time servers it uses. The kernel does not notify
//! of bound sockets, so they are polled. A server found that way is queried too, since it may
//! ignore clients.

use std::convert::Infallible;
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

/// Polling interval. A node that boots in between gets the time server with its next lease renewal.
const INTERVAL: Duration = Duration::from_secs(60);
/// The NTP port in the format of `/proc/net/udp`.
const PORT: &str = ":007B";
/// State of UDP sockets that are not connected (`TCP_CLOSE`).
const UNCONNECTED: &str = "07";
/// 127.0.0.1 and ::1 in the format of those files, for either byte order.
const LOOPBACK: [&str; 4] = [
    "0100007F",
    "7F000001",
    "00000000000000000000000001000000",
    "00000000000000000000000000000001",
];
/// Files with lines `server ADDRESS …` or `pool ADDRESS …` (chrony.conf(5)), or `NTP=ADDRESS …`
/// (timesyncd.conf(5), leases of systemd-networkd).
const FILES: [&str; 2] = ["etc/chrony/chrony.conf", "etc/systemd/timesyncd.conf"];
const FOLDERS: [&str; 5] = [
    "run/chrony-dhcp",
    "etc/chrony/sources.d",
    "etc/systemd/timesyncd.conf.d",
    "run/systemd/timesyncd.conf.d",
    "run/systemd/netif/leases",
];

/// Reports [`Vital::Time`] at the start, and each change. `head` is the head's cluster address,
/// which nodes query.
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

/// Returns [`Vital::Time`] according to the files below `root`; `served` means that a server
/// listens, whether it answers or not.
pub fn read(root: &Path) -> Vital {
    let text = |path: &Path| reading::text(path).unwrap_or_default();
    // An IPv4 socket decides: chrony also has an IPv6 wildcard socket even if it serves no clients.
    let tables = ["proc/net/udp", "proc/net/udp6"];
    let served = tables.iter().find_map(|path| listens(&text(&root.join(path)))).unwrap_or(false);
    let mut files: Vec<_> = FILES.iter().map(|path| root.join(path)).collect();
    files.extend(FOLDERS.iter().flat_map(|folder| reading::entries(&root.join(folder))));
    let mut servers = Vec::new();
    for server in files.iter().flat_map(|path| addresses(&text(path))) {
        if !servers.contains(&server) {
            servers.push(server);
        }
    }
    Vital::Time { served, servers }
}

/// Returns whether a socket on the NTP port in a table of `/proc/net` (proc_pid_net(5)) is
/// reachable from other hosts; `None` without such a socket.
fn listens(table: &str) -> Option<bool> {
    let reachable = table.lines().skip(1).filter_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let address = words.get(1)?.strip_suffix(PORT)?;
        (words.get(3) == Some(&UNCONNECTED)).then(|| !LOOPBACK.contains(&address))
    });
    reachable.reduce(|one, other| one || other)
}

/// Returns the servers given by address. Names would have to be resolved first, for which DHCP
/// option 42 cannot wait.
fn addresses(text: &str) -> Vec<Ipv4Addr> {
    text.lines().flat_map(servers_of).collect()
}

/// Returns the server addresses in a line of a chrony, ntpd or timesyncd configuration.
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
            "a connected socket, that of a client"
        );
    }

    #[test]
    fn server_addresses_are_parsed_from_either_format() {
        let text = "# server 10.0.0.9\npool 2.debian.pool.ntp.org iburst\nserver 10.0.0.1 iburst\n\
         [Time]\nNTP=10.0.0.2 a.example 10.0.0.3\n";
        let reported: Vec<String> = addresses(text).iter().map(ToString::to_string).collect();
        assert_eq!(reported, ["10.0.0.1", "10.0.0.2", "10.0.0.3"]);
    }
}
