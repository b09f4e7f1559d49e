//! Users that a user may be (`/etc/subuid`, subuid(5)): in a user namespace everybody can be each
//! of some 65,536 more.

use std::fs;
use std::ops::RangeInclusive;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::files::reading;

const FILE: &str = "/etc/subuid";

/// Holds the ranges of users that are given to a user. Ranges that a directory service gives
/// (`subid` in nsswitch.conf(5)) are not known.
#[derive(Debug)]
pub struct SubUsers {
    file: PathBuf,
    /// of the file that was read; `None`: there was none
    version: Option<Version>,
    ranges: Vec<RangeInclusive<u32>>,
}

/// Distinguishes one version of a file from the next: device, inode, length and time of the last
/// change (seconds, nanoseconds).
type Version = (u64, u64, u64, (i64, i64));

impl SubUsers {
    /// Reads the machine's ranges; none where there is no file.
    pub fn of_this_machine() -> Self {
        Self::of(Path::new(FILE))
    }

    /// Reads the ranges of this file.
    pub fn of(file: &Path) -> Self {
        let version = version(file);
        let ranges = parse(&reading::text(file).unwrap_or_default());
        Self { file: file.to_owned(), version, ranges }
    }

    /// Returns for whom a user counts: all of a range for its first, everybody else for themselves.
    /// Never for the range's owner: root's ranges are containers, which are not root. A file that
    /// has changed is read again: `useradd` and `usermod` add ranges at any time.
    pub fn counts_for(&mut self, user: u32) -> u32 {
        if version(&self.file) != self.version {
            *self = Self::of(&self.file);
        }
        self.ranges.iter().find(|range| range.contains(&user)).map_or(user, |range| *range.start())
    }
}

/// Returns which version of a file is there.
fn version(file: &Path) -> Option<Version> {
    let found = fs::metadata(file).ok()?;
    Some((found.dev(), found.ino(), found.len(), (found.ctime(), found.ctime_nsec())))
}

/// Reads lines `OWNER:FIRST:COUNT`; what is none is passed over.
fn parse(text: &str) -> Vec<RangeInclusive<u32>> {
    text.lines().filter_map(range).collect()
}

/// Reads a line of subuid(5): `name:first:count`.
fn range(line: &str) -> Option<RangeInclusive<u32>> {
    let mut numbers = line.trim().split(':').skip(1).map(str::parse::<u32>);
    let (first, count) = (numbers.next()?.ok()?, numbers.next()?.ok()?);
    Some(first..=first.checked_add(count.checked_sub(1)?)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_of_a_range_counts_for_its_first_user() {
        let text = "anna:100000:65536\n1001:165536:65536\nroot:300000:1\n# no range\n\
         ben:4294967295:2\ncarl:7:0\ndora:x:1\n";
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("subuid");
        fs::write(&file, text).unwrap();
        let mut users = SubUsers::of(&file);
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
    #[test]
    fn what_has_changed_is_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("subuid");
        let mut users = SubUsers::of(&file);
        assert_eq!(users.counts_for(100_001), 100_001, "there is no file yet");
        fs::write(&file, "anna:100000:65536\n").unwrap();
        assert_eq!(users.counts_for(100_001), 100_000, "anna was added");
        // As shadow's tools write it: another file in its place, of the same length.
        let other = folder.path().join("subuid+");
        fs::write(&other, "anna:200000:65536\n").unwrap();
        fs::rename(&other, &file).unwrap();
        assert_eq!(users.counts_for(100_001), 100_001);
        assert_eq!(users.counts_for(200_001), 200_000, "anna has another range");
        fs::remove_file(&file).unwrap();
        assert_eq!(users.counts_for(200_001), 200_001, "the file is gone");
    }
}
