//! Texts in place of the address, and the first and last texts of a run.

use crate::event::Stop;
use crate::facts::uplink::{UplinkState, UplinkView};
use crate::panel::{Frame, Geometry};

/// Returns why there is no address.
pub fn no_address(active: Option<&UplinkView<'_>>) -> &'static str {
    let Some(active) = active else { return "NO UPLINK" };
    match active.state {
        UplinkState::Absent => "NO UPLINK",
        UplinkState::NoCarrier if active.link.wireless => "NO WIFI",
        // The port is down, not unplugged. The alert below shows the reason.
        UplinkState::NoCarrier if !active.link.up => "NO UPLINK",
        UplinkState::NoCarrier => "NO CABLE",
        // It has only a translator's address, which is unreachable.
        UplinkState::NoDhcp | UplinkState::Addressed => "NO DHCP",
        _ => "SEARCHING",
    }
}

/// Returns the text on rows, split between words, or by a hyphen if a row is too narrow.
pub fn rows(words: &str, geometry: Geometry) -> Vec<String> {
    if words.len() <= super::room::widths(geometry).first().copied().unwrap_or(0) {
        return vec![words.to_owned()];
    }
    let parts: Vec<&str> = match words {
        "SEARCHING" => vec!["SEARCH-", "ING"],
        "RESTARTING" => vec!["RESTART-", "ING"],
        _ => words.split(' ').collect(),
    };
    parts.into_iter().map(str::to_owned).collect()
}

/// Returns the frame that stays on the display after the daemon has ended. Not used for a restart
/// by the service manager, which leaves the panel untouched.
pub fn last_words(geometry: Geometry, stop: Option<Stop>) -> Frame {
    let words = match stop {
        None | Some(Stop::Terminated) => "STOPPED",
        Some(Stop::Restart | Stop::Reboot) => "RESTARTING",
        Some(Stop::PowerOff) => "SHUTTING DOWN",
    };
    Frame::from_lines(geometry, &rows(words, geometry))
}

/// Returns the frame until the kernel's tables have been read.
pub fn starting(geometry: Geometry) -> Frame {
    Frame::from_lines(geometry, &rows("STARTING", geometry))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_last_text_fits_every_display() {
        for geometry in Geometry::ALL {
            let stops = [
                (Some(Stop::Terminated), "STOPPED"),
                (Some(Stop::PowerOff), "SHUTTINGDOWN"),
                (Some(Stop::Reboot), "RESTARTING"),
            ];
            for (stop, words) in stops {
                let shown: String = last_words(geometry, stop).lines().concat();
                assert_eq!(shown.replace([' ', '-'], ""), words, "{geometry}");
            }
            assert_eq!(starting(geometry).lines().concat().trim(), "STARTING");
        }
        let small = last_words(Geometry { columns: 8, rows: 2 }, Some(Stop::PowerOff));
        assert_eq!(small.lines(), ["SHUTTING", "DOWN    "]);
    }
}
