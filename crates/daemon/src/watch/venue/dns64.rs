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

/// Queries at once and then at growing intervals, and reports changes.
pub async fn poll(target: UplinkTarget, events: mpsc::Sender<Event>) {
    let mut reported = None;
    for round in 0.. {
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
        if reported.as_ref() != Some(&prefixes) {
            reported = Some(prefixes.clone());
            let news = VenueNews::Synthesised { index: target.index, prefixes };
            if emit(&events, Event::Venue(news)).await.is_err() {
                return;
            }
        }
        let pause = INTERVALS.get(round).or(INTERVALS.last()).copied().unwrap_or(TIMEOUT);
        sleep_until(next_aligned(pause)).await;
    }
}
