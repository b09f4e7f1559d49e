//! What time it is on the wall, for people's nights.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::source::reading;

/// No time zone's file is longer, bytes.
const LONGEST: u64 = 1 << 20;

/// Minutes after midnight, local time; `None` while nobody has set the clock.
pub fn local_minute() -> Option<u16> {
    if !clock_is_set() {
        return None;
    }
    let now = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).ok()?.as_secs()).ok()?;
    let zone = reading::bytes(Path::new("/etc/localtime"), LONGEST).ok();
    let offset = zone.and_then(|zone| offset_at(&zone, now)).unwrap_or(0);
    u16::try_from((now + offset).rem_euclid(86_400) / 60).ok()
}

/// A Pi without a clock of its own has a guessed time until the network tells it: systemd-timesyncd leaves a mark.
fn clock_is_set() -> bool {
    ["/run/systemd/timesync/synchronized", "/dev/rtc0"].iter().any(|path| Path::new(path).exists())
}

/// Seconds east of Greenwich at `now`, by a TZif file (RFC 8536). Beyond its last transition that one's offset stands.
fn offset_at(zone: &[u8], now: i64) -> Option<i64> {
    let (first, counts) = header(zone)?;
    if zone.get(4).copied()? < b'2' {
        return in_block(first, counts, 4, now);
    }
    // The second block, with eight bytes a time, follows the first.
    let [utc, standard, leaps, times, types, letters] = counts;
    let second = first.get(times * 5 + types * 6 + letters + leaps * 8 + standard + utc..)?;
    let (block, counts) = header(second)?;
    in_block(block, counts, 8, now)
}

/// What follows the header, and its six counts.
fn header(data: &[u8]) -> Option<(&[u8], [usize; 6])> {
    if data.get(..4)? != b"TZif" {
        return None;
    }
    let mut counts = [0; 6];
    for (count, bytes) in counts.iter_mut().zip(data.get(20..44)?.chunks_exact(4)) {
        *count = usize::try_from(u32::from_be_bytes(bytes.try_into().ok()?)).ok()?;
    }
    Some((data.get(44..)?, counts))
}

fn in_block(block: &[u8], counts: [usize; 6], width: usize, now: i64) -> Option<i64> {
    let [_, _, _, times, _, _] = counts;
    let passed = block.get(..times * width)?.chunks_exact(width).take_while(|time| integer(time) <= now).count();
    let kind = match passed.checked_sub(1) {
        Some(last) => usize::from(*block.get(times * width + last)?),
        None => 0,
    };
    let types = block.get(times * (width + 1)..)?;
    types.get(kind * 6..kind * 6 + 4).map(integer)
}

/// A big-endian signed integer of four or eight bytes.
fn integer(bytes: &[u8]) -> i64 {
    let negative = bytes.first().is_some_and(|first| first & 0x80 != 0);
    bytes.iter().fold(if negative { -1 } else { 0 }, |value, byte| value << 8 | i64::from(*byte))
}

/// Whether `minute` lies in the night (`from` to `to`, minutes after midnight, which may span midnight).
pub fn is_night((from, to): (u16, u16), minute: u16) -> bool {
    if from <= to { (from..to).contains(&minute) } else { minute >= from || minute < to }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_night_may_span_midnight() {
        let night = (22 * 60, 7 * 60);
        assert!(is_night(night, 23 * 60));
        assert!(is_night(night, 0));
        assert!(!is_night(night, 7 * 60));
        assert!(!is_night((60, 120), 180));
    }

    fn block(version: u8, width: usize, transitions: &[(i64, u8)], offsets: &[i32]) -> Vec<u8> {
        let mut data = b"TZif".to_vec();
        data.push(version);
        data.extend([0; 15]);
        for count in [0, 0, 0, transitions.len(), offsets.len(), 4] {
            data.extend((count as u32).to_be_bytes());
        }
        for (time, _) in transitions {
            data.extend(&time.to_be_bytes()[8 - width..]);
        }
        data.extend(transitions.iter().map(|(_, kind)| *kind));
        for offset in offsets {
            data.extend(offset.to_be_bytes());
            data.extend([0, 0]);
        }
        data.extend(b"CET\0");
        data
    }

    #[test]
    fn the_zone_file_tells_winter_from_summer() {
        let transitions = [(1000, 1), (2000, 0)];
        let mut zone = block(b'2', 4, &[], &[0]);
        zone.extend(block(b'2', 8, &transitions, &[3600, 7200]));
        assert_eq!(offset_at(&zone, 500), Some(3600));
        assert_eq!(offset_at(&zone, 1500), Some(7200));
        assert_eq!(offset_at(&zone, 2500), Some(3600));
        let west = block(0, 4, &[(-5, 0)], &[-18000]);
        assert_eq!(offset_at(&west, 500), Some(-18000));
        assert_eq!(offset_at(b"TZif2 but cut", 500), None);
    }
}
