//! What time it is on the wall, for the night of the settings.

use std::path::Path;
use std::time::SystemTime;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::files::reading;
use crate::watch::host::is_clock_set;

/// Most bytes of a time zone's file.
const LONGEST: u64 = 1 << 20;

/// Returns the minutes after midnight, local time; `None` while the clock is not set.
pub fn local_minute() -> Option<u16> {
    minute_of(Path::new("/"), SystemTime::now())
}

/// Returns the local minute of the machine whose files are below `root`.
fn minute_of(root: &Path, now: SystemTime) -> Option<u16> {
    if !is_clock_set(root, now) {
        return None;
    }
    let zone = reading::bytes(&root.join("etc/localtime"), LONGEST).ok();
    minute_at(zone.as_deref(), now)
}

/// Returns the minutes after midnight at `now` in the zone of a TZif file (RFC 9636, as
/// `/etc/localtime` is); UTC where there is none, or it does not parse.
fn minute_at(zone: Option<&[u8]>, now: SystemTime) -> Option<u16> {
    let zone = zone.and_then(|data| TimeZone::tzif("local", data).ok()).unwrap_or(TimeZone::UTC);
    let time = zone.to_datetime(Timestamp::try_from(now).ok()?);
    u16::try_from(i16::from(time.hour()) * 60 + i16::from(time.minute())).ok()
}

/// Returns whether `minute` lies in the night (`from` to `to`, minutes after midnight, which may
/// span midnight).
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

    /// A slim file, as Debian's tzdata has it: no transitions in it, only the footer's rule.
    fn slim(rule: &str) -> Vec<u8> {
        let counts = [0_u32, 0, 0, 0, 1, 4].map(u32::to_be_bytes).concat();
        let header = [b"TZif2".as_slice(), &[0; 15], &counts].concat();
        let kind = [3600_i32.to_be_bytes().as_slice(), &[0, 0], b"CET\0"].concat();
        let block = [header, kind].concat();
        [block.as_slice(), &block, format!("\n{rule}\n").as_bytes()].concat()
    }

    /// chrony and ntpd leave no mark: with them, and without a clock on the board, there is a night
    /// all the same.
    #[test]
    fn the_hour_is_known_once_the_clock_is_set_by_any_program() {
        let root = tempfile::tempdir().unwrap();
        let noon = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_784_116_800);
        assert_eq!(minute_of(root.path(), noon), Some(12 * 60));
        let timesyncd = root.path().join("run/systemd/timesync");
        std::fs::create_dir_all(&timesyncd).unwrap();
        assert_eq!(minute_of(root.path(), noon), None, "timesyncd has not heard from a server");
        std::fs::write(timesyncd.join("synchronized"), "").unwrap();
        assert_eq!(minute_of(root.path(), noon), Some(12 * 60));
    }

    #[test]
    fn a_rule_in_the_footer_knows_winter_from_summer() {
        let at = |text: &str| {
            let seconds = text.parse::<Timestamp>().unwrap().as_second();
            SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(u64::try_from(seconds).unwrap())
        };
        let zone = slim("CET-1CEST,M3.5.0,M10.5.0/3");
        assert_eq!(minute_at(Some(&zone), at("2026-01-15T12:00:00Z")), Some(13 * 60));
        assert_eq!(minute_at(Some(&zone), at("2026-07-15T12:00:00Z")), Some(14 * 60));
        assert_eq!(minute_at(Some(b"TZif2 but cut"), at("2026-07-15T12:00:00Z")), Some(12 * 60));
        assert_eq!(minute_at(None, at("2026-07-15T23:59:59Z")), Some(23 * 60 + 59));
    }
}
