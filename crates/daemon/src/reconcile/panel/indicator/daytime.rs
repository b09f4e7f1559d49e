//! Local time, for the quiet hours of the settings.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use tz::TimeZone;

use crate::files::reading;
use crate::watch::host::is_clock_set;

const DAY: i64 = 24 * 60 * 60;

/// Size limit of a time zone file, bytes.
const LONGEST: u64 = 1 << 20;

/// Returns the minutes since local midnight, `None` while the clock is not set.
pub fn local_minute() -> Option<u16> {
    minute_of(Path::new("/"), SystemTime::now())
}

/// Returns the local minute of the machine with this root directory.
fn minute_of(root: &Path, now: SystemTime) -> Option<u16> {
    if !is_clock_set(root, now) {
        return None;
    }
    let zone = reading::bytes(&root.join("etc/localtime"), LONGEST).ok();
    minute_at(zone.as_deref(), now)
}

/// Returns the minutes since midnight at `now` in the zone of a TZif file (RFC 9636), such as
/// `/etc/localtime`; in UTC if it is missing or invalid.
fn minute_at(zone: Option<&[u8]>, now: SystemTime) -> Option<u16> {
    let now = i64::try_from(now.duration_since(UNIX_EPOCH).ok()?.as_secs()).ok()?;
    let offset = zone.and_then(|data| {
        let zone = TimeZone::from_tz_data(data).ok()?;
        zone.find_local_time_type(now).ok().map(|kind| i64::from(kind.ut_offset()))
    });
    u16::try_from((now + offset.unwrap_or(0)).rem_euclid(DAY) / 60).ok()
}

/// Returns whether `minute` is between `from` and `to`, minutes since midnight, which may span
/// midnight.
pub fn is_night((from, to): (u16, u16), minute: u16) -> bool {
    if from <= to { (from..to).contains(&minute) } else { minute >= from || minute < to }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_night_may_span_midnight() {
        let night = (22 * 60, 7 * 60);
        assert!(is_night(night, 23 * 60));
        assert!(is_night(night, 0));
        assert!(!is_night(night, 7 * 60));
        assert!(!is_night((60, 120), 180));
    }

    /// Returns a slim file, as in Debian's tzdata: without transitions, only with the footer's
    /// rule.
    fn slim(rule: &str) -> Vec<u8> {
        let counts = [0_u32, 0, 0, 0, 1, 4].map(u32::to_be_bytes).concat();
        let header = [b"TZif2".as_slice(), &[0; 15], &counts].concat();
        let kind = [3600_i32.to_be_bytes().as_slice(), &[0, 0], b"CET\0"].concat();
        let block = [header, kind].concat();
        [block.as_slice(), &block, format!("\n{rule}\n").as_bytes()].concat()
    }

    /// chrony and ntpd leave no mark, but quiet hours must work with them, also on a board without
    /// a real-time clock.
    #[test]
    fn the_local_minute_is_known_once_any_program_has_set_the_clock() {
        let root = tempfile::tempdir().unwrap();
        let noon = UNIX_EPOCH + Duration::from_secs(1_784_116_800);
        assert_eq!(minute_of(root.path(), noon), Some(12 * 60));
        let timesyncd = root.path().join("run/systemd/timesync");
        std::fs::create_dir_all(&timesyncd).unwrap();
        assert_eq!(minute_of(root.path(), noon), None, "timesyncd has not heard from a server");
        std::fs::write(timesyncd.join("synchronized"), "").unwrap();
        assert_eq!(minute_of(root.path(), noon), Some(12 * 60));
    }

    #[test]
    fn the_rule_in_the_footer_has_winter_and_summer_time() {
        let at = |year, month, hour, minute| {
            let time = tz::UtcDateTime::new(year, month, 15, hour, minute, 59, 0).unwrap();
            UNIX_EPOCH + Duration::from_secs(u64::try_from(time.unix_time()).unwrap())
        };
        let zone = slim("CET-1CEST,M3.5.0,M10.5.0/3");
        assert_eq!(minute_at(Some(&zone), at(2026, 1, 12, 0)), Some(13 * 60));
        assert_eq!(minute_at(Some(&zone), at(2026, 7, 12, 0)), Some(14 * 60));
        assert_eq!(minute_at(Some(&zone), at(2026, 7, 23, 10)), Some(70), "the day after");
        let west = slim("PST8PDT,M3.2.0,M11.1.0");
        assert_eq!(minute_at(Some(&west), at(2026, 1, 1, 0)), Some(17 * 60), "the day before");
        assert_eq!(minute_at(Some(b"TZif2 but cut"), at(2026, 7, 12, 0)), Some(12 * 60));
        assert_eq!(minute_at(None, at(2026, 7, 23, 59)), Some(23 * 60 + 59));
    }
}
