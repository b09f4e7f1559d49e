//! The objects of BRAMBLEGATE-MIB: a snapshot as a sorted list of instances.

use std::collections::BTreeMap;

use agentx::encodings::{ID, OctetString, Value, VarBind};
use bramblegate_api::Word;
use bramblegate_api::status::{
    Alert, Node, NodeHealth, Severity, Share, Snapshot, Uplink, UplinkState,
};

/// The root of the MIB: net-snmp's branch for experiments (NET-SNMP-MIB, netSnmpPlaypen), until the
/// project has an enterprise number.
pub const ROOT: [u32; 10] = [1, 3, 6, 1, 4, 1, 8072, 9999, 9999, 7654];

/// snmpTrapOID.0 (RFC 3418), the object that names a notification.
pub const TRAP_OID: [u32; 11] = [1, 3, 6, 1, 6, 3, 1, 1, 4, 1, 0];

/// Notifications, below the root.
pub const SEVERITY_CHANGE: [u32; 2] = [0, 1];
pub const NODE_HEALTH_CHANGE: [u32; 2] = [0, 2];

/// A group of scalars, or the rows of a table.
#[derive(Debug)]
struct Columns {
    /// Below the root.
    path: &'static [u32],
    first: u32,
    last: u32,
}

const SCALARS: Columns = Columns { path: &[1, 1], first: 1, last: 14 };
// The first column of a table is its index, which is not accessible.
const UPLINKS: Columns = Columns { path: &[1, 2, 1], first: 2, last: 6 };
const NODES: Columns = Columns { path: &[1, 3, 1], first: 2, last: 7 };
const GROUPS: Columns = Columns { path: &[1, 4, 1], first: 2, last: 3 };
const ALERTS: Columns = Columns { path: &[1, 5, 1], first: 2, last: 6 };
const SHARES: Columns = Columns { path: &[1, 6, 1], first: 2, last: 9 };
const ALL: [Columns; 6] = [SCALARS, UPLINKS, NODES, GROUPS, ALERTS, SHARES];

/// The maximum length of a name, in octets: it is part of the identifier of its instances, which
/// has at most 128 numbers (RFC 2578, section 3.5).
const LONGEST_NAME: usize = 128 - ROOT.len() - 3 - 1 - 1;
/// The maximum length of BgText, in octets.
const LONGEST_TEXT: usize = 1024;

/// BgTruth.
fn truth(is: bool) -> Value {
    Value::Integer(if is { 1 } else { 2 })
}

/// All instances, sorted by identifier.
#[derive(Debug, Default, Clone)]
pub struct Tree(Vec<VarBind>);

impl Tree {
    /// Maps a snapshot to instances; `None`: the daemon does not answer.
    pub fn new(snapshot: Option<&Snapshot>) -> Self {
        let mut tree = Self::default();
        tree.scalars(snapshot);
        if let Some(snapshot) = snapshot {
            for uplink in &snapshot.uplinks {
                tree.uplink(uplink, snapshot.uplink.interface == uplink.interface);
            }
            for node in &snapshot.nodes {
                tree.node(node);
            }
            tree.groups(&snapshot.nodes);
            for (place, alert) in (1..).zip(&snapshot.alerts) {
                tree.alert(place, alert);
            }
            for share in &snapshot.shares {
                tree.share(share);
            }
        }
        tree.0.sort_by(|one, other| one.name.cmp(&other.name));
        tree.0.dedup_by(|one, other| one.name == other.name);
        tree
    }

    /// Returns an instance, or noSuchInstance or noSuchObject (RFC 2741, section 7.2.3.1).
    pub fn get(&self, name: ID) -> VarBind {
        let place = self.0.binary_search_by(|known| known.name.cmp(&name));
        match place.ok().and_then(|place| self.0.get(place)) {
            Some(found) => found.clone(),
            None if is_object(&name) => VarBind::new(name, Value::NoSuchInstance),
            None => VarBind::new(name, Value::NoSuchObject),
        }
    }

    /// Returns the first instance after `name` (or `name` itself, if `include`) and before `end`,
    /// unless that is null.
    pub fn next(&self, name: &ID, include: bool, end: &ID) -> Option<&VarBind> {
        let place = self.0.partition_point(|known| {
            let order = known.name.cmp(name);
            order.is_lt() || (order.is_eq() && !include)
        });
        self.0.get(place).filter(|found| end.is_null() || found.name < *end)
    }

    /// Adds an instance of each column.
    fn row<const N: usize>(&mut self, columns: &Columns, index: &[u32], values: [Value; N]) {
        for (column, value) in (columns.first..=columns.last).zip(values) {
            let name = id(&[ROOT.as_slice(), columns.path, &[column], index].concat());
            self.0.extend(name.map(|name| VarBind::new(name, value)));
        }
    }

    fn scalars(&mut self, snapshot: Option<&Snapshot>) {
        let known = snapshot.cloned().unwrap_or_default();
        let uplink = &known.uplink;
        let address = uplink.address.map(|net| net.addr().to_string()).unwrap_or_default();
        let values = [
            Value::Integer(severity(&known.severity)),
            string(&address),
            string(uplink.interface.as_deref().unwrap_or_default()),
            Value::Integer(uplink_state(&uplink.state)),
            gauge(uplink.lease_left_s.unwrap_or(0)),
            gauge(known.cluster.up as u64),
            gauge(known.cluster.total as u64),
            truth(snapshot.is_some()),
            string(&known.version),
            truth(known.gateway.forwarding),
            truth(known.gateway.masquerade == Some(true)),
            counter(known.gateway.repaired),
            gauge(known.alerts.len() as u64),
            Value::Integer(known.host.and_then(|host| host.temperature_c).unwrap_or(0)),
        ];
        self.row(&SCALARS, &[0], values);
    }

    fn uplink(&mut self, uplink: &Uplink, active: bool) {
        let Some(index) = uplink.interface.as_deref().and_then(index) else { return };
        let address = uplink.address.map(|net| net.to_string()).unwrap_or_default();
        let gateway = uplink.gateway.map(|gateway| gateway.to_string()).unwrap_or_default();
        let row = [
            string(&address),
            Value::Integer(uplink_state(&uplink.state)),
            string(&gateway),
            gauge(uplink.lease_left_s.unwrap_or(0)),
            truth(active),
        ];
        self.row(&UPLINKS, &index, row);
    }

    fn node(&mut self, node: &Node) {
        let Some(index) = index(&node.name) else { return };
        let row = [
            address(node),
            string(node.mac.as_deref().unwrap_or_default()),
            Value::Integer(health(&node.health)),
            gauge(node.rtt_us.unwrap_or(0)),
            gauge(node.since_s),
            string(node.group.as_deref().unwrap_or_default()),
        ];
        self.row(&NODES, &index, row);
    }

    fn groups(&mut self, nodes: &[Node]) {
        let mut groups: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
        for node in nodes {
            let Some(group) = node.group.as_deref() else { continue };
            let (up, total) = groups.entry(group).or_default();
            *up += u64::from(node.health == NodeHealth::Up);
            *total += 1;
        }
        for (name, (up, total)) in groups {
            let Some(index) = index(name) else { continue };
            self.row(&GROUPS, &index, [gauge(up), gauge(total)]);
        }
    }

    fn alert(&mut self, place: u32, alert: &Alert) {
        let row = [
            string(&alert.code),
            Value::Integer(severity(&alert.severity)),
            string(alert.subject.as_deref().unwrap_or_default()),
            string(&alert.text),
            truth(alert.acknowledged),
        ];
        self.row(&ALERTS, &[place], row);
    }

    fn share(&mut self, share: &Share) {
        let Some(index) = index(&share.name) else { return };
        let row = [
            string(&share.path),
            truth(&*share.access != "ro"),
            truth(share.mounted),
            truth(share.exported),
            truth(share.read_only == Some(true)),
            Value::Integer(share.free_percent.map_or(-1, i32::from)),
            counter(share.errors.unwrap_or(0)),
            gauge(share.clients.len() as u64),
        ];
        self.row(&SHARES, &index, row);
    }
}

/// Returns whether an identifier is within an object of the MIB, whatever the instance.
fn is_object(name: &ID) -> bool {
    ALL.iter().any(|columns| {
        let begins = |column: u32| id(&[ROOT.as_slice(), columns.path, &[column]].concat());
        match (begins(columns.first), begins(columns.last + 1)) {
            (Some(first), Some(end)) => *name >= first && *name < end,
            _ => false,
        }
    })
}

/// Returns a name as an index (RFC 2578, section 7.7): its length, then its bytes.
fn index(name: &str) -> Option<Vec<u32>> {
    let length = u32::try_from(name.len()).ok().filter(|_| name.len() <= LONGEST_NAME)?;
    Some(std::iter::once(length).chain(name.bytes().map(u32::from)).collect())
}

/// Returns the identifier of a scalar's instance.
pub fn scalar(number: u32) -> Vec<u32> {
    [ROOT.as_slice(), SCALARS.path, &[number, 0]].concat()
}

/// Returns the objects of bgNodeHealthChange; `None` if the node's name is too long for a row.
pub fn node_change(node: &Node) -> Option<[VarBind; 2]> {
    let index = index(&node.name)?;
    let object = |column, value| {
        let name = id(&[ROOT.as_slice(), NODES.path, &[column], &index].concat())?;
        Some(VarBind::new(name, value))
    };
    Some([object(4, Value::Integer(health(&node.health)))?, object(2, address(node))?])
}

fn address(node: &Node) -> Value {
    string(&node.reached_at().map(|address| address.to_string()).unwrap_or_default())
}

/// Returns a text, truncated with an ellipsis if it is too long.
fn string(text: &str) -> Value {
    let mut text = text.to_owned();
    if text.len() > LONGEST_TEXT {
        let mut room = (0..=LONGEST_TEXT - "…".len()).rev();
        text.truncate(room.find(|end| text.is_char_boundary(*end)).unwrap_or(0));
        text.push('…');
    }
    Value::OctetString(OctetString(text))
}

fn gauge(number: u64) -> Value {
    Value::Gauge32(u32::try_from(number).unwrap_or(u32::MAX))
}

/// Returns a counter, which wraps (RFC 2578, section 7.1.6).
fn counter(number: u64) -> Value {
    Value::Counter32((number & u64::from(u32::MAX)) as u32)
}

/// bgSeverity while the daemon does not answer.
pub const SEVERITY_UNKNOWN: i32 = 4;

/// bgSeverity.
pub fn severity(severity: &Word<Severity>) -> i32 {
    match severity.known() {
        Some(Severity::Ok) => 0,
        Some(Severity::Notice) => 1,
        Some(Severity::Warning) => 2,
        Some(Severity::Fault) => 3,
        None => SEVERITY_UNKNOWN,
    }
}

/// bgNodeHealth.
pub fn health(health: &Word<NodeHealth>) -> i32 {
    match health.known() {
        Some(NodeHealth::Unknown) | None => 0,
        Some(NodeHealth::Booting) => 1,
        Some(NodeHealth::Up) => 2,
        Some(NodeHealth::Degraded) => 3,
        Some(NodeHealth::Down) => 4,
        Some(NodeHealth::Maintenance) => 5,
    }
}

/// bgUplinkState.
fn uplink_state(state: &Word<UplinkState>) -> i32 {
    match state.known() {
        Some(UplinkState::Absent) => 0,
        Some(UplinkState::NoCarrier) => 1,
        Some(UplinkState::Searching) => 2,
        Some(UplinkState::NoDhcp) => 3,
        Some(UplinkState::Addressed) => 4,
        Some(UplinkState::Online) => 5,
        Some(UplinkState::Portal) => 6,
        Some(UplinkState::Clash) => 7,
        None => 8,
    }
}

/// Returns an identifier; `None` if it is too long.
pub fn id(numbers: &[u32]) -> Option<ID> {
    ID::try_from(numbers.to_vec()).ok()
}

#[cfg(test)]
mod tests;
