//! Words that stand in the address's place, and the first and last ones.

use crate::event::Stop;
use crate::facts::uplink::{UplinkState, UplinkView};
use crate::panel::{Frame, Geometry};

/// Returns why there is no address.
pub fn no_address(active: Option<&UplinkView<'_>>) -> &'static str {
    let Some(active) = active else { return "NO UPLINK" };
    match active.state {
        UplinkState::Absent => "NO UPLINK",
        UplinkState::NoCarrier if active.link.wireless => "NO WIFI",
        // Switched off: no cable is missing. Why stands below.
        UplinkState::NoCarrier if !active.link.up => "NO UPLINK",
        UplinkState::NoCarrier => "NO CABLE",
        // A translator's address alone, which answers no one.
        UplinkState::NoDhcp | UplinkState::Addressed => "NO DHCP",
        _ => "SEARCHING",
    }
}

/// Returns the words on rows: broken between words, or with a hyphen, where one row is too narrow.
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

/// Returns what stays on the display when the daemon has ended. On a restart by the service manager
/// the panel is not touched at all, so this is not asked for.
pub fn last_words(geometry: Geometry, stop: Option<Stop>) -> Frame {
    let words = match stop {
        None | Some(Stop::Terminated) => "STOPPED",
        Some(Stop::Restart | Stop::Reboot) => "RESTARTING",
        Some(Stop::PowerOff) => "SHUTTING DOWN",
    };
    Frame::from_lines(geometry, &rows(words, geometry))
}

/// Returns what is shown until the kernel has listed what there is.
pub fn starting(geometry: Geometry) -> Frame {
    Frame::from_lines(geometry, &rows("STARTING", geometry))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_last_word_is_whole_on_every_display() {
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
