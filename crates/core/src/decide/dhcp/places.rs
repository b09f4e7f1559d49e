//! Addresses to reserve for boards whose lease is in another subnet, or that are away: each keeps
//! its host part if that is free and in the dynamic range.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use crate::config::keep_host;
use crate::event::Mac;
use crate::facts::node::most_claims;

/// First and last address of the dynamic range; `None` if there is none.
pub type Range = Option<(Ipv4Addr, Ipv4Addr)>;

/// Returns the reservations in `net` for boards with leases in another subnet (`moving`); `here`
/// are the current leases. If two boards share a host part the first keeps it; the head's own and
/// leased ones are taken. Addresses outside `range` belong to nodes of the settings.
pub fn reserved(
    moving: impl Iterator<Item = (Mac, Ipv4Addr)>,
    here: impl Iterator<Item = Ipv4Addr>,
    net: Ipv4Net,
    range: Range,
) -> Vec<(Mac, Ipv4Addr)> {
    let mut taken: BTreeSet<Ipv4Addr> = here.chain([net.addr()]).collect();
    let places = moving.map(|(mac, address)| (mac, keep_host(address, net)));
    let within = places
        .filter(|(_, address)| range.is_some_and(|(first, last)| (first..=last).contains(address)));
    within.filter(|(_, address)| taken.insert(*address)).collect()
}

/// Returns the reservations in `net` for boards that are `away`, as [`reserved`] does, for the first
/// of them up to half of the range.
pub fn expected(
    away: impl Iterator<Item = (Mac, Ipv4Addr)>,
    net: Ipv4Net,
    range: Range,
) -> Vec<(Mac, Ipv4Addr)> {
    let size = range.map_or(0, |(first, last)| {
        u32::from(last).saturating_sub(u32::from(first)).saturating_add(1)
    });
    let most = most_claims(usize::try_from(size).unwrap_or(usize::MAX));
    let mut places = reserved(away, std::iter::empty(), net, range);
    places.truncate(most);
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    fn boards(last: &[u8]) -> impl Iterator<Item = (Mac, Ipv4Addr)> {
        let board = |last: &u8| (Mac([0, 0, 0, 0, 0, *last]), [192, 168, 50, *last].into());
        last.iter().map(board)
    }

    fn last(places: &[(Mac, Ipv4Addr)]) -> Vec<u8> {
        places.iter().map(|(_, address)| address.octets()[3]).collect()
    }

    #[test]
    fn reservations_exclude_the_heads_address_and_leased_ones() {
        let net: Ipv4Net = "10.0.0.1/24".parse().unwrap();
        let whole = Some((net.network(), net.broadcast()));
        let here = || [Ipv4Addr::new(10, 0, 0, 101)].into_iter();
        assert_eq!(last(&reserved(boards(&[101, 1]), here(), net, whole)), [0_u8; 0]);
        assert_eq!(last(&reserved(boards(&[102, 1]), here(), net, whole)), [102]);
        assert_eq!(
            reserved(boards(&[102, 102]), here(), net, whole).len(),
            1,
            "the first keeps it"
        );
    }

    /// Boards may be away with addresses of several subnets.
    #[test]
    fn no_two_absent_boards_are_expected_at_one_address_and_none_at_the_heads() {
        let net: Ipv4Net = "10.0.0.1/24".parse().unwrap();
        let five = Some(([10, 0, 0, 1].into(), [10, 0, 0, 6].into()));
        assert_eq!(last(&expected(boards(&[2, 2, 2, 1, 3, 4, 5]), net, five)), [2, 3, 4]);
    }

    #[test]
    fn reservations_stay_within_the_range() {
        let place = |first: [u8; 4], end: [u8; 4], net: &str| {
            let range = Some((first.into(), end.into()));
            let net = net.parse().unwrap();
            last(&reserved(boards(&[101, 102]), std::iter::empty(), net, range))
        };
        assert_eq!(place([10, 0, 0, 102], [10, 0, 0, 199], "10.0.0.1/24"), [102]);
        let far = place([192, 168, 50, 40], [192, 168, 50, 60], "192.168.50.1/26");
        assert_eq!(far, [0_u8; 0], "101 is 37 there");
        let net = "10.0.0.1/24".parse().unwrap();
        let none = reserved(boards(&[101]), std::iter::empty(), net, None);
        assert_eq!((none, expected(boards(&[101]), net, None)), (vec![], vec![]), "none is given");
    }
}
