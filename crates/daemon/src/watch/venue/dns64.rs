//! Asks an uplink's resolvers for a name that has no IPv6 address: where they give it one, they
//! show the venue's NAT64 prefix (RFC 7050). Without the CD bit: a resolver that validates makes no
//! addresses then.

use std::net::IpAddr;
use std::time::Duration;

use bramblegate_clat::{WELL_KNOWN_NAME, prefixes};
use tokio::sync::mpsc;
use tokio::time::{sleep_until, timeout};

use crate::event::{Event, UplinkTarget, VenueNews};
use crate::sync::next_aligned;
use crate::watch::emit;
use crate::watch::probe::dns;

/// An answer without addresses counts as none.
const PATIENCE: Duration = Duration::from_secs(3);
/// A resolver may begin later than the router; and a prefix may change while the cable stays.
const AGAIN: [Duration; 3] =
    [Duration::from_secs(10), Duration::from_secs(60), Duration::from_secs(900)];

/// Asks at once and then ever more seldom, and reports what is another answer.
pub async fn ask(target: UplinkTarget, events: mpsc::Sender<Event>) {
    let mut known = None;
    for round in 0.. {
        let found = timeout(PATIENCE, dns::resolve(&target, WELL_KNOWN_NAME)).await;
        let addresses = found.ok().and_then(Result::ok).unwrap_or_default();
        let ipv6: Vec<_> = addresses
            .into_iter()
            .filter_map(|address| match address {
                IpAddr::V6(address) => Some(address),
                IpAddr::V4(_) => None,
            })
            .collect();
        let prefixes = prefixes(&ipv6);
        if known.as_ref() != Some(&prefixes) {
            known = Some(prefixes.clone());
            let news = VenueNews::Synthesised { index: target.index, prefixes };
            if emit(&events, Event::Venue(news)).await.is_err() {
                return;
            }
        }
        let pause = AGAIN.get(round).or(AGAIN.last()).copied().unwrap_or(PATIENCE);
        sleep_until(next_aligned(pause)).await;
    }
}
