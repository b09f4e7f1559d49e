//! Discovers the venue's NAT64 prefix (RFC 7050): queries an uplink's resolvers for the IPv6
//! address of an IPv4-only name. The CD bit is clear, because a validating resolver does not
//! synthesise addresses when it is set.

use std::net::IpAddr;
use std::time::Duration;

use bramblegate_clat::{WELL_KNOWN_NAME, prefixes};
use tokio::sync::mpsc;
use tokio::time::{sleep_until, timeout};

use crate::event::{Event, UplinkTarget, VenueNews};
use crate::sync::next_aligned;
use crate::watch::emit;
use crate::watch::probe::dns;

/// Timeout of a query. Replies without addresses do not end it.
const TIMEOUT: Duration = Duration::from_secs(3);
/// Intervals between queries; the last one repeats. A resolver may start later than the router, and
/// a prefix may change.
const INTERVALS: [Duration; 3] =
    [Duration::from_secs(10), Duration::from_secs(60), Duration::from_secs(900)];
/// The interval of `INTERVALS` that repeats after a prefix was lost.
const LOST: usize = 1;

/// Queries at once and then at growing intervals. Reports changes, and each query without a prefix,
/// since a single one may be a lost packet.
pub async fn poll(target: UplinkTarget, events: mpsc::Sender<Event>) {
    let mut reported = None;
    let mut schedule = Schedule::default();
    loop {
        let found = timeout(TIMEOUT, dns::resolve(&target, WELL_KNOWN_NAME)).await;
        let addresses = found.ok().and_then(Result::ok).unwrap_or_default();
        let ipv6: Vec<_> = addresses
            .into_iter()
            .filter_map(|address| match address {
                IpAddr::V6(address) => Some(address),
                IpAddr::V4(_) => None,
            })
            .collect();
        let prefixes = prefixes(&ipv6);
        let pause = schedule.next(!prefixes.is_empty());
        if prefixes.is_empty() || reported.as_ref() != Some(&prefixes) {
            reported = Some(prefixes.clone());
            let news = VenueNews::Synthesised { index: target.index, prefixes };
            if emit(&events, Event::Venue(news)).await.is_err() {
                return;
            }
        }
        sleep_until(next_aligned(pause)).await;
    }
}

/// Holds the position in `INTERVALS`.
#[derive(Debug, Default)]
struct Schedule {
    round: usize,
    /// The last query found a prefix, or an earlier one did.
    found: bool,
    was_found: bool,
}

impl Schedule {
    /// Returns the pause after a query that `found` a prefix or did not. Losing one starts anew.
    fn next(&mut self, found: bool) -> Duration {
        if self.found && !found {
            self.round = 0;
        }
        (self.found, self.was_found) = (found, self.was_found || found);
        let last = if self.was_found && !found { LOST } else { INTERVALS.len() - 1 };
        let pause = INTERVALS.get(self.round.min(last)).copied().unwrap_or(TIMEOUT);
        self.round = self.round.saturating_add(1);
        pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pauses(found: &[bool]) -> Vec<u64> {
        let mut schedule = Schedule::default();
        found.iter().map(|found| schedule.next(*found).as_secs()).collect()
    }

    #[test]
    fn a_lost_prefix_is_asked_for_again_soon() {
        assert_eq!(pauses(&[false; 4]), [10, 60, 900, 900]);
        assert_eq!(pauses(&[true; 4]), [10, 60, 900, 900]);
        assert_eq!(
            pauses(&[true, true, true, false, false, false, true, true]),
            [10, 60, 900, 10, 60, 60, 900, 900]
        );
    }
}
