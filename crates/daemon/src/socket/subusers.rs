//! Users that a user may be (`/etc/subuid`, subuid(5)): in a user namespace everybody can be each
//! of some 65,536 more.

use std::ops::RangeInclusive;
use std::path::Path;

use crate::files::reading;

const FILE: &str = "/etc/subuid";

/// Holds the ranges of users that are given to somebody. Ranges that a directory service gives
/// (`subid` in nsswitch.conf(5)) are not known.
#[derive(Debug, Default)]
pub struct SubUsers(Vec<RangeInclusive<u32>>);

impl SubUsers {
    /// Reads the machine's ranges; none where there is no file.
    pub fn of_this_machine() -> Self {
        Self::parse(&reading::text(Path::new(FILE)).unwrap_or_default())
    }

    /// Reads lines `OWNER:FIRST:COUNT`; what is none is passed over.
    pub fn parse(text: &str) -> Self {
        let range = |line: &str| {
            let mut numbers = line.trim().split(':').skip(1).map(str::parse::<u32>);
            let (first, count) = (numbers.next()?.ok()?, numbers.next()?.ok()?);
            Some(first..=first.checked_add(count.checked_sub(1)?)?)
        };
        Self(text.lines().filter_map(range).collect())
    }

    /// Returns for whom a user counts: all of a range for its first, everybody else for themselves.
    /// Never for the range's owner: root's ranges are containers, which are not root.
    pub fn counts_for(&self, user: u32) -> u32 {
        self.0.iter().find(|range| range.contains(&user)).map_or(user, |range| *range.start())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_of_a_range_counts_for_its_first_user() {
        let text = "anna:100000:65536\n1001:165536:65536\nroot:300000:1\n# no range\n\
         ben:4294967295:2\ncarl:7:0\ndora:x:1\n";
        let users = SubUsers::parse(text);
        for (user, expected) in [
            (0, 0),
            (7, 7),
            (1001, 1001),
            (99_999, 99_999),
            (100_000, 100_000),
            (165_535, 100_000),
            (165_536, 165_536),
            (231_071, 165_536),
            (231_072, 231_072),
            (300_000, 300_000),
            (u32::MAX, u32::MAX),
        ] {
            assert_eq!(users.counts_for(user), expected, "{user}");
        }
    }
}
