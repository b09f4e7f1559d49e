//! Reads the usage of the connection tracking table.

use bramblegate_netlink::netfilter::CTNETLINK;
use bramblegate_netlink::{Protocol, Request, Socket};
use rustix::io::Errno;

/// `IPCTNL_MSG_CT_GET_STATS`; `CTA_STATS_GLOBAL_ENTRIES`, `CTA_STATS_GLOBAL_MAX_ENTRIES` (kernel ≥
/// 4.18).
const GET_STATISTICS: u8 = 5;
const ENTRIES: u16 = 1;
const MAXIMUM: u16 = 2;

/// Returns whether at least half of the table is used, so that it is polled often.
pub(super) fn half_full((count, max): (u32, u32)) -> bool {
    count >= max / 2
}

/// Returns whether the usage has changed by at least a hundredth of the table.
pub(super) fn differs((before, before_max): (u32, u32), (count, max): (u32, u32)) -> bool {
    before_max != max || before.abs_diff(count) >= (max / 100).max(1)
}

/// Returns (entries, maximum) of the connection tracking table of this network namespace.
///
/// # Errors
/// The error of ctnetlink, if `/proc/sys/net/netfilter` does not have the numbers either.
pub fn usage() -> Result<(u32, u32), Errno> {
    usage_by(&mut None)
}

pub(super) fn usage_by(socket: &mut Option<Socket>) -> Result<(u32, u32), Errno> {
    statistics(socket).or_else(|errno| proc_usage().ok_or(errno))
}

/// Queries ctnetlink, which works even if a sandbox hides `/proc/sys`.
fn statistics(socket: &mut Option<Socket>) -> Result<(u32, u32), Errno> {
    let socket = Socket::keep(socket, Protocol::Netfilter)?;
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

/// Reads a sysctl of connection tracking.
fn number<T: std::str::FromStr>(name: &str) -> Option<T> {
    let text = std::fs::read_to_string(format!("/proc/sys/net/netfilter/{name}")).ok()?;
    text.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_of_a_hundredth_is_reported_and_less_is_not() {
        assert!(!differs((100, 10_000), (199, 10_000)));
        assert!(differs((100, 10_000), (200, 10_000)));
        assert!(differs((200, 10_000), (100, 10_000)));
        assert!(differs((100, 10_000), (100, 20_000)));
    }

    #[test]
    fn half_of_the_table_counts_as_half_full() {
        assert!(!half_full((4_999, 10_000)));
        assert!(half_full((5_000, 10_000)));
    }
}
