//! Acknowledged alerts, and the files that ask units of root to update the NFS exports or to power
//! off.

use std::collections::BTreeSet;

use super::Daemon;
use super::state_file::first_few;
use crate::clock;
use crate::decide::alert::acknowledge;
use crate::decide::{Desired, share};
use crate::event::{Acknowledgement, AlertId, Event};
use crate::facts::{Facts, Transition};
use crate::files::folder;
use crate::view::journal;

/// File in the runtime directory that `bramblegate-poweroff.path` watches.
const POWER_OFF: &str = "power-off";
/// State file: acknowledged alerts by code and subject, one a line.
pub(super) const ACKNOWLEDGED: &str = "acknowledged";

/// Parses the saved acknowledgements. Also returns an error for lines that match no alert: earlier
/// versions saved the panel's words instead of the subject.
pub(super) fn restored(lines: &BTreeSet<String>) -> (Acknowledgement, Option<String>) {
    let (mut acknowledged, mut ambiguous) = (BTreeSet::new(), Vec::new());
    for line in lines {
        let alerts: Vec<AlertId> =
            line.parse().map_or_else(|_| AlertId::from_panel_words(line), |id| vec![id]);
        if alerts.is_empty() {
            ambiguous.push(line.as_str());
        }
        acknowledged.extend(alerts);
    }
    let error = (!ambiguous.is_empty()).then(|| {
        let ambiguous = first_few(&ambiguous);
        format!(
            "acknowledged before, and not clear now which is meant: {ambiguous}; acknowledge what still stands again \
             (bramblegate status --acknowledge)"
        )
    });
    (Acknowledgement::Restored(acknowledged), error)
}

/// Formats the acknowledged alerts for the state file.
pub(super) fn lines(facts: &Facts) -> BTreeSet<String> {
    facts.acknowledged().iter().map(ToString::to_string).collect()
}

impl Daemon {
    /// Acknowledges all alerts of the last decision, which are those that users saw.
    pub(super) fn acknowledge(&mut self) -> Vec<Transition> {
        let Some(desired) = &self.desired else { return Vec::new() };
        let standing = acknowledge::all_standing(&self.facts, desired);
        let transitions = self.facts.apply(&Event::Acknowledgement(standing), clock::now());
        if !transitions.is_empty() {
            self.save_acknowledged();
        }
        transitions
    }

    /// Drops the acknowledgements of alerts that have ended.
    pub(super) fn drop_ended_acknowledgements(&mut self, desired: &Desired) {
        let Some(standing) = acknowledge::still_standing(&self.facts, desired) else { return };
        let count = self.facts.acknowledged().len();
        self.facts.apply(&Event::Acknowledgement(standing), clock::now());
        if self.facts.acknowledged().len() != count {
            self.save_acknowledged();
        }
    }

    /// Saves the acknowledged alerts if they changed.
    pub(super) fn save_acknowledged(&mut self) {
        self.state.acknowledged.save(&lines(&self.facts));
    }

    /// Asks root's unit to update the NFS exports, if their inputs changed.
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

    /// Asks root's unit to power off; the unit removes the file.
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
    fn lines_of_an_earlier_version_are_restored_unless_ambiguous() {
        let kept = [
            "node-down rpi1 down",
            "node-down node=rpi2",
            "uplink-portal PORTAL",
            "uplink-none NO CABLE",
        ];
        let (acknowledged, error) = restored(&kept.map(str::to_owned).into());
        let expected = ["node-down node=rpi1", "node-down node=rpi2", "uplink-none"]
            .map(|line| line.parse().unwrap());
        assert_eq!(acknowledged, Acknowledgement::Restored(expected.into()));
        let error = error.unwrap();
        assert!(
            error.contains("uplink-portal PORTAL;") && error.contains("status --acknowledge"),
            "{error}"
        );
        let many = (0..10_000).map(|number| format!("uplink-portal {number}")).collect();
        let (_, error) = restored(&many);
        assert!(error.is_some_and(|error| error.len() < 1000), "the record is bounded");
        assert_eq!(restored(&BTreeSet::new()), (Acknowledgement::Restored(BTreeSet::new()), None));
    }
}
