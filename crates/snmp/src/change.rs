//! Changes that cause notifications.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use agentx::encodings::{Value, VarBind};
use bramblegate_api::client::Known;
use bramblegate_api::status::{Node, Snapshot};

use crate::mib;

/// The limit of node notifications for one change: beyond it, bgSeverityChange and the table
/// suffice.
const NODES: usize = 50;
/// The grace period for a restart of the daemon, before its absence is notified.
const RESTART: Duration = Duration::from_secs(10);

/// The last notified state. It outlives sessions, so that changes during a restart of snmpd are
/// notified afterwards.
#[derive(Debug, Default)]
pub struct Changes {
    generation: u64,
    /// The daemon's last state.
    last: Option<Arc<Snapshot>>,
    severity: Option<i32>,
    /// Since when the daemon has not answered.
    silent: Option<Instant>,
}

impl Changes {
    /// Returns the objects of each notification that is due now.
    pub fn take(&mut self, known: &Known, now: Instant) -> Vec<Vec<VarBind>> {
        if known.generation != self.generation {
            self.generation = known.generation;
            // A different reason does not restart the grace period.
            self.silent = known.live().is_none().then(|| self.silent.unwrap_or(now));
        }
        let Some(new) = known.live() else {
            let silent = self.silent.is_some_and(|since| now >= since + RESTART);
            let unknown = self.severity.is_some() && silent;
            return unknown
                .then(|| self.severity(mib::SEVERITY_UNKNOWN))
                .into_iter()
                .flatten()
                .collect();
        };
        let mut due: Vec<_> = self.severity(mib::severity(&new.severity)).into_iter().collect();
        let old = self.last.replace(Arc::clone(new)).filter(|old| !Arc::ptr_eq(old, new));
        if let Some(old) = old {
            due.extend(changed(&old, new).take(NODES).filter_map(health));
        }
        due
    }

    /// Returns the end of the grace period, if a notification is due then.
    pub fn deadline(&self) -> Option<Instant> {
        // Before the first state, an absent daemon is not a change.
        let is_due = self.severity.is_some_and(|severity| severity != mib::SEVERITY_UNKNOWN);
        self.silent.filter(|_| is_due).map(|since| since + RESTART)
    }

    /// Sets the severity; returns a notification if it has changed.
    fn severity(&mut self, now: i32) -> Option<Vec<VarBind>> {
        let before = self.severity.replace(now)?;
        let value = VarBind::new(mib::id(&mib::scalar(1))?, Value::Integer(now));
        (before != now).then(|| notification(mib::SEVERITY_CHANGE, [value])).flatten()
    }
}

/// Returns the nodes whose health has changed.
fn changed<'a>(old: &'a Snapshot, new: &'a Snapshot) -> impl Iterator<Item = &'a Node> {
    let before: HashMap<&str, _> =
        old.nodes.iter().map(|node| (&*node.name, &node.health)).collect();
    new.nodes
        .iter()
        .filter(move |node| before.get(&*node.name).is_some_and(|health| **health != node.health))
}

fn health(node: &Node) -> Option<Vec<VarBind>> {
    notification(mib::NODE_HEALTH_CHANGE, mib::node_change(node)?)
}

/// Returns the objects of a notification, snmpTrapOID.0 first (RFC 2741, section 6.2.10).
fn notification(name: [u32; 2], values: impl IntoIterator<Item = VarBind>) -> Option<Vec<VarBind>> {
    let name = mib::id(&[mib::ROOT.as_slice(), &name].concat())?;
    let first = VarBind::new(mib::id(&mib::TRAP_OID)?, Value::ObjectIdentifier(name));
    Some(std::iter::once(first).chain(values).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use bramblegate_api::status::{NodeHealth, Severity};

    fn known(generation: u64, severity: Severity, nodes: &[(&str, NodeHealth)]) -> Known {
        let nodes = nodes.iter().map(|(name, health)| Node {
            name: (*name).into(),
            health: (*health).into(),
            ..Node::default()
        });
        let snapshot =
            Snapshot { severity: severity.into(), nodes: nodes.collect(), ..Snapshot::default() };
        Known { generation, snapshot: Some(Arc::new(snapshot)), ..Known::default() }
    }

    /// Returns the stale state of a daemon that does not answer.
    fn lost(generation: u64, why: &str) -> Known {
        let lost = Some((why.to_owned(), std::time::SystemTime::UNIX_EPOCH));
        Known { generation, lost, ..known(0, Severity::Ok, &[("rpi1", NodeHealth::Up)]) }
    }

    fn names(due: &[Vec<VarBind>]) -> Vec<String> {
        due.iter()
            .map(|objects| {
                let Value::ObjectIdentifier(id) = &objects[0].data else { panic!("{objects:?}") };
                format!("{} {}", id.to_string().rsplit('.').next().unwrap(), objects[1].name)
            })
            .collect()
    }

    #[test]
    fn neither_the_first_state_nor_an_equal_one_is_a_change() {
        let mut changes = Changes::default();
        let first = known(1, Severity::Fault, &[("rpi1", NodeHealth::Down)]);
        assert_eq!(changes.take(&first, Instant::now()), Vec::<Vec<VarBind>>::new());
        let same = Known { generation: 2, ..first };
        assert_eq!(changes.take(&same, Instant::now()), Vec::<Vec<VarBind>>::new());
    }

    #[test]
    fn a_node_that_dies_while_the_daemon_restarts_is_notified() {
        let mut changes = Changes::default();
        let now = Instant::now();
        changes.take(&known(1, Severity::Ok, &[("rpi1", NodeHealth::Up)]), now);
        assert!(changes.take(&lost(2, "closed"), now).is_empty());
        let after = known(3, Severity::Fault, &[("rpi1", NodeHealth::Down)]);
        let due = changes.take(&after, now + Duration::from_secs(3));
        assert_eq!(names(&due).len(), 2, "{due:?}");
        assert!(names(&due)[1].starts_with("2 "), "{due:?}");
        assert_eq!(changes.deadline(), None);
    }

    #[test]
    fn a_daemon_that_stays_away_is_notified_once() {
        let mut changes = Changes::default();
        let now = Instant::now();
        changes.take(&known(1, Severity::Ok, &[]), now);
        assert!(changes.take(&lost(2, "closed"), now).is_empty());
        // A different reason does not restart the grace period.
        let gone = lost(3, "refused");
        assert!(changes.take(&gone, now + Duration::from_secs(4)).is_empty());
        assert_eq!(changes.deadline(), Some(now + RESTART));
        let due = changes.take(&gone, now + RESTART);
        assert_eq!(due[0][1].data, Value::Integer(mib::SEVERITY_UNKNOWN));
        assert!(changes.take(&gone, now + RESTART * 2).is_empty());
        assert_eq!(changes.deadline(), None);
    }

    #[test]
    fn a_daemon_that_never_answered_is_not_a_change() {
        let mut changes = Changes::default();
        let now = Instant::now();
        let absent = Known { snapshot: None, ..lost(1, "absent") };
        assert!(changes.take(&absent, now).is_empty());
        assert_eq!(changes.deadline(), None, "there is nothing to wake up for");
        assert!(changes.take(&absent, now + RESTART * 2).is_empty());
    }

    /// All nodes go down at once when their switch loses power.
    #[test]
    fn a_flood_of_changes_is_bounded() {
        let names: Vec<String> = (0..750).map(|number| format!("node{number}")).collect();
        let all = |health| names.iter().map(|name| (name.as_str(), health)).collect::<Vec<_>>();
        let mut changes = Changes::default();
        changes.take(&known(1, Severity::Ok, &all(NodeHealth::Up)), Instant::now());
        let due = changes.take(&known(2, Severity::Fault, &all(NodeHealth::Down)), Instant::now());
        assert_eq!(due.len(), 1 + NODES);
    }
}
