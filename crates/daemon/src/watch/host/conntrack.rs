//! How full the connection tracking table is.

use bramblegate_netlink::netfilter::CTNETLINK;
use bramblegate_netlink::{Protocol, Request, Socket};
use rustix::io::Errno;

/// `IPCTNL_MSG_CT_GET_STATS`; `CTA_STATS_GLOBAL_ENTRIES`, `CTA_STATS_GLOBAL_MAX_ENTRIES` (kernel ≥
/// 4.18)
const GET_STATISTICS: u8 = 5;
const ENTRIES: u16 = 1;
const MAXIMUM: u16 = 2;

/// Returns whether the table is so full that it is looked at often.
pub(super) fn half_full((count, max): (u32, u32)) -> bool {
    count >= max / 2
}

/// Returns whether it has changed by a hundredth of the table.
pub(super) fn differs((before, before_max): (u32, u32), (count, max): (u32, u32)) -> bool {
    before_max != max || before.abs_diff(count) >= (max / 100).max(1)
}

/// Entries in the connection tracking table of this network namespace, and how many there may be.
///
/// # Errors
/// The kernel's answer where neither ctnetlink nor `/proc/sys/net/netfilter` has it.
pub fn usage() -> Result<(u32, u32), Errno> {
    usage_by(&mut None)
}

pub(super) fn usage_by(socket: &mut Option<Socket>) -> Result<(u32, u32), Errno> {
    statistics(socket).or_else(|errno| proc_usage().ok_or(errno))
}

/// Asks ctnetlink: also where a sandbox hides `/proc/sys`.
fn statistics(socket: &mut Option<Socket>) -> Result<(u32, u32), Errno> {
    let socket = match socket {
        Some(socket) => socket,
        None => socket.insert(Socket::open(Protocol::Netfilter, &[])?),
    };
    let mut seen = None;
    socket.request(&Request::netfilter(CTNETLINK, GET_STATISTICS, 0), |message| {
        let statistics = message.attributes();
        seen = statistics.be32(ENTRIES).zip(statistics.be32(MAXIMUM));
    })?;
    seen.ok_or(Errno::OPNOTSUPP)
}

fn proc_usage() -> Option<(u32, u32)> {
    Some((number("nf_conntrack_count")?, number("nf_conntrack_max")?))
}

/// Reads a number of connection tracking.
fn number<T: std::str::FromStr>(name: &str) -> Option<T> {
    let text = std::fs::read_to_string(format!("/proc/sys/net/netfilter/{name}")).ok()?;
    text.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hundredth_is_news_and_less_is_not() {
        assert!(!differs((100, 10_000), (199, 10_000)));
        assert!(differs((100, 10_000), (200, 10_000)));
        assert!(differs((200, 10_000), (100, 10_000)));
        assert!(differs((100, 10_000), (100, 20_000)));
    }

    #[test]
    fn from_half_full_on_it_looks_often() {
        assert!(!half_full((4_999, 10_000)));
        assert!(half_full((5_000, 10_000)));
    }
}
