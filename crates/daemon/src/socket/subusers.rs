//! Subordinate user IDs (`/etc/subuid`, subuid(5)): in a user namespace each user can appear under
//! any of some 65,536 more.

use std::fs;
use std::ops::RangeInclusive;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::files::reading;

const FILE: &str = "/etc/subuid";

/// The ranges of subordinate user IDs. Those of a directory service (`subid` in nsswitch.conf(5))
/// are not read.
#[derive(Debug)]
pub struct SubUsers {
    file: PathBuf,
    /// Version of the file that was read; `None` if it does not exist.
    version: Option<Version>,
    ranges: Vec<RangeInclusive<u32>>,
}

/// Identifies a version of a file: device, inode, length and ctime (seconds, nanoseconds).
type Version = (u64, u64, u64, (i64, i64));

impl SubUsers {
    /// Reads `/etc/subuid`.
    pub fn of_this_machine() -> Self {
        Self::of(Path::new(FILE))
    }

    /// Reads the ranges of a file; a missing one has none.
    pub fn of(file: &Path) -> Self {
        let version = version(file);
        let ranges = parse(&reading::text(file).unwrap_or_default());
        Self { file: file.to_owned(), version, ranges }
    }

    /// Returns the user under which `user` is counted: the first of its range, or itself outside of
    /// all ranges. Never the range's owner: containers use root's ranges, and are not root. Reads
    /// the file again if it changed, since `useradd` and `usermod` add ranges at any time.
    pub fn counts_for(&mut self, user: u32) -> u32 {
        if version(&self.file) != self.version {
            *self = Self::of(&self.file);
        }
        self.ranges.iter().find(|range| range.contains(&user)).map_or(user, |range| *range.start())
    }
}

fn version(file: &Path) -> Option<Version> {
    let found = fs::metadata(file).ok()?;
    Some((found.dev(), found.ino(), found.len(), (found.ctime(), found.ctime_nsec())))
}

/// Parses the valid lines.
fn parse(text: &str) -> Vec<RangeInclusive<u32>> {
    text.lines().filter_map(range).collect()
}

/// Parses a line `name:first:count`.
fn range(line: &str) -> Option<RangeInclusive<u32>> {
    let mut numbers = line.trim().split(':').skip(1).map(str::parse::<u32>);
    let (first, count) = (numbers.next()?.ok()?, numbers.next()?.ok()?);
    Some(first..=first.checked_add(count.checked_sub(1)?)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_of_a_range_count_as_its_first_user() {
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
    fn a_changed_file_is_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("subuid");
        let mut users = SubUsers::of(&file);
        assert_eq!(users.counts_for(100_001), 100_001, "there is no file yet");
        fs::write(&file, "anna:100000:65536\n").unwrap();
        assert_eq!(users.counts_for(100_001), 100_000, "anna was added");
        // shadow's tools replace the file, here by one of the same length.
        let other = folder.path().join("subuid+");
        fs::write(&other, "anna:200000:65536\n").unwrap();
        fs::rename(&other, &file).unwrap();
        assert_eq!(users.counts_for(100_001), 100_001);
        assert_eq!(users.counts_for(200_001), 200_000, "anna has another range");
        fs::remove_file(&file).unwrap();
        assert_eq!(users.counts_for(200_001), 200_001, "the file is gone");
    }
}
