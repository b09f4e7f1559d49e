//! What is ordered of others: alerts are acknowledged, root brings the exports up to date, the machine
//! powers off.

use std::collections::BTreeSet;

use super::Daemon;
use super::state_file::first_few;
use crate::clock;
use crate::decide::alert::acknowledge;
use crate::decide::share;
use crate::event::{Acknowledgement, AlertId, Event};
use crate::facts::{Facts, Transition};
use crate::files::folder;
use crate::view::journal;

/// In the runtime directory: `bramblegate-poweroff.path` waits for it.
const POWER_OFF: &str = "power-off";
/// In the state directory: the acknowledged alerts by code and subject, one a line.
pub(super) const ACKNOWLEDGED: &str = "acknowledged";

/// Returns what the kept lines acknowledge, and what to say of lines that do not say which alert
/// they mean: earlier versions kept the words on the panel in place of the subject.
pub(super) fn restored(lines: &BTreeSet<String>) -> (Acknowledgement, Option<String>) {
    let (mut known, mut unclear) = (BTreeSet::new(), Vec::new());
    for line in lines {
        let meant: Vec<AlertId> =
            line.parse().map_or_else(|_| AlertId::from_panel_words(line), |id| vec![id]);
        if meant.is_empty() {
            unclear.push(line.as_str());
        }
        known.extend(meant);
    }
    let lost = (!unclear.is_empty()).then(|| {
        let unclear = first_few(&unclear);
        format!(
            "acknowledged before, and not clear now which is meant: {unclear}; acknowledge what still stands again \
             (bramblegate status --acknowledge)"
        )
    });
    (Acknowledgement::Restored(known), lost)
}

/// Returns the acknowledged alerts as they are kept.
pub(super) fn lines(facts: &Facts) -> BTreeSet<String> {
    facts.acknowledged().iter().map(ToString::to_string).collect()
}

impl Daemon {
    /// Acknowledges all that stood at the last decision, which is what users were shown.
    pub(super) fn acknowledge(&mut self) -> Vec<Transition> {
        let Some(desired) = &self.desired else { return Vec::new() };
        let standing = acknowledge::all_standing(&self.facts, desired);
        let transitions = self.facts.apply(&Event::Acknowledgement(standing), clock::now());
        if !transitions.is_empty() {
            self.remember();
        }
        transitions
    }

    /// Has the acknowledged alerts written down, if they changed.
    pub(super) fn remember(&mut self) {
        self.known.keep(&lines(&self.facts));
    }

    /// Has root's unit bring the exports up to date, if what they depend on changed.
    pub(super) fn order_shares(&mut self) {
        let Some(order) = share::order(&self.options.settings, &self.facts) else { return };
        if let Err(error) = self.share_orders.give(order) {
            let what = format!(
                "the order for shared disks cannot be written: {error}; bring them up to date with: \
                 sudo systemctl start bramblegate-share"
            );
            self.journal.write(&journal::not_written(&what));
        }
    }

    /// Asks for the end. The unit that carries it out takes the file away.
    pub(super) fn power_off(&mut self) {
        let path = self.options.run_directory.join(POWER_OFF);
        if let Err(error) = folder::replace(&path, "") {
            let what = format!(
                "{} cannot be made: {error}; power off with: sudo systemctl poweroff",
                path.display()
            );
            self.journal.write(&journal::not_written(&what));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_an_earlier_version_are_kept_where_they_report_which_alert_they_mean() {
        let kept = [
            "node-down rpi1 down",
            "node-down node=rpi2",
            "uplink-portal PORTAL",
            "uplink-none NO CABLE",
        ];
        let (known, lost) = restored(&kept.map(str::to_owned).into());
        let wanted = ["node-down node=rpi1", "node-down node=rpi2", "uplink-none"]
            .map(|line| line.parse().unwrap());
        assert_eq!(known, Acknowledgement::Restored(wanted.into()));
        let lost = lost.unwrap();
        assert!(
            lost.contains("uplink-portal PORTAL;") && lost.contains("status --acknowledge"),
            "{lost}"
        );
        let many = (0..10_000).map(|number| format!("uplink-portal {number}")).collect();
        let (_, lost) = restored(&many);
        assert!(lost.is_some_and(|lost| lost.len() < 1000), "a record of the journal is no list");
        assert_eq!(restored(&BTreeSet::new()), (Acknowledgement::Restored(BTreeSet::new()), None));
    }
}
