//! Who the nodes are: those of the settings, and those that were found.

use super::{Counts, Fresh, NodeState, Nodes, Origin};
use crate::config::Settings;
use crate::event::{Instant, NodeId};

impl Nodes {
    /// The nodes of the settings; those known before keep their health.
    pub fn reload(&mut self, settings: &Settings, now: Instant) {
        self.regroup(settings);
        let gone: Vec<NodeId> = self
            .iter()
            .filter(|node| node.origin == Origin::Settings)
            .filter(|node| !settings.nodes.iter().any(|known| known.name.eq_ignore_ascii_case(&node.name)))
            .map(|node| node.id)
            .collect();
        for id in gone {
            self.remove(id);
        }
        let mut order = Vec::with_capacity(settings.nodes.len());
        for known in &settings.nodes {
            let id = match self.by_name(&known.name).map(|node| node.id) {
                Some(id) => {
                    self.identify(id, |node: &mut NodeState| {
                        node.name.clone_from(&known.name);
                        (node.mac, node.address) = (known.mac, known.address);
                        (node.origin, node.group) = (Origin::Settings, known.group);
                    });
                    id
                }
                None => self.insert(
                    Fresh {
                        name: known.name.clone(),
                        mac: known.mac,
                        address: known.address,
                        origin: Origin::Settings,
                        group: known.group,
                    },
                    now,
                ),
            };
            order.push(id);
        }
        let found: Vec<NodeId> = self.iter().filter(|node| node.origin == Origin::Found).map(|node| node.id).collect();
        order.extend(found);
        self.order = order;
        self.revision += 1;
        self.layout += 1;
    }

    /// Groups may be others now: count anew.
    fn regroup(&mut self, settings: &Settings) {
        self.groups = vec![Counts::default(); settings.groups.len()];
        let members: Vec<_> = self.iter().map(|node| (node.group, node.health)).collect();
        for (group, health) in members {
            if let Some(counts) = group.and_then(|group| self.groups.get_mut(group)) {
                counts.add(health);
            }
        }
    }
}
