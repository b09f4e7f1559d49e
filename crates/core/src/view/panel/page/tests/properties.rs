//! Property tests: any address on any display.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use proptest::prelude::*;

use super::story::{ETH1, Story};
use crate::event::Reachability;
use crate::panel::{Geometry, Playlist, Role};

fn address() -> impl Strategy<Value = IpAddr> {
    let v4 = any::<u32>().prop_map(|bits| IpAddr::V4(Ipv4Addr::from(bits)));
    let v6 = any::<u128>().prop_map(|bits| IpAddr::V6(Ipv6Addr::from(bits)));
    // Typical addresses: groups with few digits, and runs of zeros.
    let short = proptest::array::uniform8(prop_oneof![Just(0_u16), 0..16_u16, any::<u16>()])
        .prop_map(|groups| IpAddr::V6(Ipv6Addr::from(groups)));
    prop_oneof![v4, v6, short]
}

fn at(address: IpAddr, alerting: bool) -> Story {
    let prefix = if address.is_ipv4() { 24 } else { 64 };
    let story = Story::new().port(ETH1, "eth1", true).address(ETH1, &format!("{address}/{prefix}"));
    let gateway = if address.is_ipv4() { "10.0.0.254" } else { "fe80::1" };
    let story = story
        .default_route(ETH1, gateway, 100)
        .reached(ETH1, Reachability::Online)
        .node("rpi1", 1, true);
    if alerting { story.node("rpi2", 3, false) } else { story }
}

/// Returns what a reader has seen after all parts of the address.
fn reported(playlist: &Playlist) -> String {
    let rows = usize::from(playlist.urgent_rows);
    let mut reported = String::new();
    // Guests come between the parts of an address that spans several screens.
    let filled = playlist.pages.iter().any(|page| page.role == Role::Address);
    for page in playlist.pages.iter().filter(|page| !filled || page.role == Role::Address) {
        let lines = page.frame.lines();
        let text = lines[..rows].iter().map(|line| line.trim()).collect::<Vec<_>>().concat();
        let Some((before, last)) = text.rsplit_once('/') else {
            // Not numbered: all of it is shown at once.
            return if reported.is_empty() { text } else { reported };
        };
        reported.push_str(before[..before.len() - 1].trim_end());
        if before.ends_with(last) {
            return reported;
        }
    }
    reported
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_address_is_shown_completely_on_every_display(address in address(), alerting: bool) {
        let story = at(address, alerting);
        // The state decides which address is shown.
        let Some(shown) = story.facts.active().and_then(|active| active.address) else { return Ok(()) };
        for geometry in Geometry::ALL {
            let playlist = story.playlist(&geometry.to_string());
            prop_assert!(reported(&playlist) == shown.addr().to_string(), "{geometry} {shown}:\n{}", story.drawn(&geometry.to_string()));
        }
    }

    #[test]
    fn the_address_has_at_least_six_of_every_eight_seconds(address in address(), alerting: bool) {
        let story = at(address, alerting);
        let Some(shown) = story.facts.active().and_then(|active| active.address) else { return Ok(()) };
        for geometry in Geometry::ALL {
            let playlist = story.playlist(&geometry.to_string());
            let mine: Vec<(bool, Duration)> = playlist.pages.iter().map(|page| {
                let row = page.frame.lines()[0].trim().to_owned();
                (shown.addr().to_string().contains(row.split(' ').next().unwrap()), page.dwell)
            }).collect();
            // A wider display keeps part of the address beside the alerts.
            if geometry.columns >= 16 && geometry.rows > 1 {
                continue;
            }
            // Guests are short, and the address is shown long enough between them.
            let (mut since_guest, mut guests) = (Duration::ZERO, Duration::ZERO);
            for (address, dwell) in mine.iter().chain(&mine) {
                if *address {
                    guests = Duration::ZERO;
                    since_guest = since_guest.saturating_add(*dwell);
                } else {
                    prop_assert!(!guests.is_zero() || since_guest >= Duration::from_secs(6), "{geometry} {shown}");
                    guests += *dwell;
                    prop_assert!(guests <= Duration::from_secs(2), "{geometry} {shown}");
                    since_guest = Duration::ZERO;
                }
            }
        }
    }

    #[test]
    fn an_address_on_row_1_is_the_uplinks(address in address(), alerting: bool) {
        let story = at(address, alerting);
        let Some(active) = story.facts.active() else { return Ok(()) };
        let known: Vec<String> = active.addresses.iter().map(|net| net.addr().to_string()).collect();
        for geometry in Geometry::ALL {
            for page in story.playlist(&geometry.to_string()).pages {
                let row = page.frame.lines()[0].clone();
                // A number by itself; one that follows a word is not mistaken for the head's
                // address.
                let word = row.split(' ').next().unwrap_or_default();
                let number = word.chars().all(|scalar| scalar.is_ascii_hexdigit() || matches!(scalar, '.' | ':'));
                if !number || !word.contains(['.', ':']) {
                    continue;
                }
                prop_assert!(known.iter().any(|k| k.contains(word)), "{geometry}: {word} is not of {known:?}");
            }
        }
    }
}
