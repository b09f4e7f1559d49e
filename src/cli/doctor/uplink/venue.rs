//! What keeps the nodes from the internet in a venue without IPv4.

use crate::api::status::{ClatState, Snapshot, Uplink, VenueKind};
use crate::cli::doctor::{Finding, FindingCode, Rank};
use crate::config::Clat;

/// Finds a venue without IPv4 in which the nodes have no translator that works.
pub fn without_ipv4(
    setting: Clat,
    status: &Snapshot,
    port: &str,
    known: &Uplink,
) -> Option<Finding> {
    let kind = known.venue.as_ref()?.known()?;
    let ipv4 = known.address.is_none_or(|address| address.addr().is_ipv4());
    let translated = status.clat.as_ref().is_some_and(|clat| clat.state == ClatState::On);
    let lacks = [VenueKind::V6Mostly, VenueKind::V6Only, VenueKind::V6OnlyNat64].contains(&kind);
    if !lacks || ipv4 || translated {
        return None;
    }
    let reasons = known.venue_reasons.iter().flatten().map(|reason| reason.to_string());
    let reasons = reasons.collect::<Vec<_>>().join(", ");
    let because = if reasons.is_empty() { reasons } else { format!(" ({reasons})") };
    let text = format!("the venue of {port} is {kind}{because}: the nodes have no way out by IPv4");
    let (rank, remedy) = match setting {
        _ if kind == VenueKind::V6Only => (
            Rank::Hint,
            "it has no NAT64 that works: use an uplink with IPv4, such as a phone, or ask the venue",
        ),
        Clat::Off => (Rank::Finding, "write clat = \"auto\" in [uplink], and reload"),
        Clat::Auto | Clat::On => (
            Rank::Finding,
            "the translator is ordered, but it is not there: does the program bramblegate-clat run?",
        ),
    };
    Some(Finding::new(FindingCode::UplinkVenue, text, remedy).ranked(rank))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(clat: Clat, status: &str) -> Option<(Rank, String)> {
        let crate::api::status::Line::Snapshot(status) =
            crate::api::status::Line::parse(status.as_bytes()).unwrap()
        else {
            panic!("no snapshot")
        };
        let found = without_ipv4(clat, &status, "eth1", &status.uplinks[0]);
        found.map(|found| (found.rank, format!("{}; {}", found.text, found.remedy)))
    }

    #[test]
    fn what_is_missing_for_the_nodes_is_named() {
        let status = |venue: &str, address: &str, clat: &str| {
            format!(
                r#"{{"type":"snapshot","clat":{clat},"uplinks":[{{"interface":"eth1","address":"{address}","venue":"{venue}","venue_reasons":["pref64 64:ff9b::/96 by RA"]}}]}}"#
            )
        };
        let ipv6 = "2001:db8::1/64";
        let waiting = r#"{"state":"waiting","prefix":"64:ff9b::/96","by":"bramblegate"}"#;
        let on = r#"{"state":"on","prefix":"64:ff9b::/96","by":"bramblegate"}"#;
        let (rank, text) = found(Clat::Auto, &status("v6-only+nat64", ipv6, waiting)).unwrap();
        assert_eq!(rank, Rank::Finding);
        assert!(text.contains("(pref64 64:ff9b::/96 by RA)") && text.contains("bramblegate-clat"));
        let (_, text) = found(Clat::Off, &status("v6-mostly", ipv6, "null")).unwrap();
        assert!(text.contains("clat = \"auto\""), "{text}");
        let (rank, _) = found(Clat::Auto, &status("v6-only", ipv6, "null")).unwrap();
        assert_eq!(rank, Rank::Hint);
        for (venue, address, clat) in [
            ("v6-only+nat64", ipv6, on),
            ("v6-mostly", "10.0.0.2/24", "null"),
            ("dual", ipv6, "null"),
            ("levitating", ipv6, "null"),
        ] {
            assert_eq!(found(Clat::Auto, &status(venue, address, clat)), None, "{venue}");
        }
    }
}
