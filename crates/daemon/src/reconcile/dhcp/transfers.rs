//! TFTP transfers, which delay a restart of dnsmasq: a booting node cannot continue one with
//! another server.

use std::collections::BTreeSet;
use std::fs;
use std::net::Ipv4Addr;
use std::time::Duration;

use rustix::process::Pid;
use tokio::time::Instant;

/// A booting node loads several files; this is the longest gap between two.
const BETWEEN: Duration = Duration::from_secs(3);
/// The longest delay of a restart.
const LONGEST: Duration = Duration::from_secs(60);
/// Poll interval while a restart waits.
const POLL_INTERVAL: Duration = Duration::from_millis(250);
/// UDP ports of dnsmasq's services: DNS, DHCP, TFTP. Each transfer uses another port (RFC 1350 4).
const SERVICES: [u16; 4] = [53, 67, 68, 69];

/// Decides whether a restart has to wait.
#[derive(Debug, Default)]
pub struct Transfers {
    /// When dnsmasq last logged a transfer or had a socket for one.
    active: Option<Instant>,
    /// Until when a waiting restart waits at most.
    deadline: Option<Instant>,
    /// When to check again while a restart waits.
    next_check: Option<Instant>,
}

impl Transfers {
    /// Takes a log line, `text` from `part` of dnsmasq. Lines of the start ("TFTP root is …") are
    /// no transfer.
    pub fn on_line(&mut self, part: &str, text: &str, now: Instant) {
        if part == "tftp" && !text.starts_with("TFTP ") {
            self.active = Some(now);
        }
    }

    /// Returns whether a restart of `server`, which sends files from `head`, has to wait; then
    /// [`Self::next_check`] returns when to check again.
    pub fn delays_restart(&mut self, server: Option<Pid>, head: Ipv4Addr, now: Instant) -> bool {
        if server.is_some_and(|server| sends(server, head)) {
            self.active = Some(now);
        }
        let busy = self.active.is_some_and(|active| now - active < BETWEEN);
        let deadline = self.deadline.unwrap_or(now + LONGEST);
        if !busy || now >= deadline {
            self.restarted();
            return false;
        }
        (self.deadline, self.next_check) = (Some(deadline), Some(now + POLL_INTERVAL));
        true
    }

    /// Records that no restart waits any more.
    pub fn restarted(&mut self) {
        (self.deadline, self.next_check) = (None, None);
    }

    /// Returns when to check again, while a restart waits.
    pub const fn next_check(&self) -> Option<Instant> {
        self.next_check
    }
}

/// Returns whether a process has a UDP socket at `head` on another port than its services': dnsmasq
/// opens one for each transfer, which it logs only at the end.
fn sends(server: Pid, head: Ipv4Addr) -> bool {
    let folder = format!("/proc/{}", server.as_raw_nonzero());
    let Ok(table) = fs::read_to_string(format!("{folder}/net/udp")) else { return false };
    let candidates: BTreeSet<String> =
        table.lines().filter_map(|line| transfer(line, head)).collect();
    if candidates.is_empty() {
        return false;
    }
    let open = fs::read_dir(format!("{folder}/fd")).into_iter().flatten().flatten();
    let mut links = open.filter_map(|entry| fs::read_link(entry.path()).ok());
    links.any(|link| link.to_str().is_some_and(|link| candidates.contains(link)))
}

/// Returns the socket of a line of `/proc/net/udp` in the notation of `/proc/PID/fd`, if it may be
/// a transfer's: `SL: ADDRESS:PORT …`, the address in memory order, the inode in the tenth column.
fn transfer(line: &str, head: Ipv4Addr) -> Option<String> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let (address, port) = words.get(1)?.split_once(':')?;
    let address = u32::from_str_radix(address, 16).ok()?.to_ne_bytes();
    let port = u16::from_str_radix(port, 16).ok()?;
    (Ipv4Addr::from(address) == head && !SERVICES.contains(&port))
        .then(|| words.get(9).map(|inode| format!("socket:[{inode}]")))?
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use super::*;

    #[test]
    fn a_socket_at_the_heads_address_on_another_port_is_a_transfer() {
        let own = rustix::process::getpid();
        let address = Ipv4Addr::new(127, 98, 76, 54);
        assert!(!sends(own, address));
        let socket = UdpSocket::bind((address, 0)).unwrap();
        assert!(sends(own, address));
        assert!(!sends(own, Ipv4Addr::new(127, 98, 76, 55)), "at another address");
        drop(socket);
        assert!(!sends(own, address));
    }

    #[test]
    fn a_restart_waits_for_the_next_file_of_a_node_but_at_most_a_minute() {
        let head = Ipv4Addr::new(127, 98, 76, 53);
        let mut transfers = Transfers::default();
        let begin = Instant::now();
        assert!(!transfers.delays_restart(None, head, begin), "no node boots");
        transfers.on_line("dhcp", "DHCPACK(eth0)", begin);
        transfers.on_line("tftp", "TFTP root is /srv/tftp", begin);
        assert!(
            !transfers.delays_restart(None, head, begin),
            "an address is no file, nor is a folder"
        );
        transfers.on_line("tftp", "sent a to 10.0.0.2", begin);
        assert!(transfers.delays_restart(None, head, begin) && transfers.next_check().is_some());
        assert!(
            !transfers.delays_restart(None, head, begin + BETWEEN)
                && transfers.next_check().is_none()
        );
        let mut now = begin;
        loop {
            transfers.on_line("tftp", "file a not found for 10.0.0.2", now);
            if !transfers.delays_restart(None, head, now) {
                break;
            }
            now += POLL_INTERVAL;
        }
        assert_eq!(now - begin, LONGEST);
    }
}
