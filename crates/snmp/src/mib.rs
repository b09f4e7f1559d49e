//! The objects of BRAMBLEGATE-MIB: a snapshot as a sorted list of instances.

use std::collections::BTreeMap;

use agentx::encodings::{ID, OctetString, Value};
use bramblegate_api::Word;
use bramblegate_api::status::{Alert, Node, NodeHealth, Severity, Snapshot, Uplink, UplinkState};

/// Where the MIB is rooted: net-snmp's branch for experiments (NET-SNMP-MIB, netSnmpPlaypen), until
/// there is a number of our own.
pub const ROOT: [u32; 10] = [1, 3, 6, 1, 4, 1, 8072, 9999, 9999, 7654];

/// snmpTrapOID.0 (RFC 3418), the object that names a notification.
pub const TRAP_OID: [u32; 11] = [1, 3, 6, 1, 6, 3, 1, 1, 4, 1, 0];

/// Notifications, below the root.
pub const SEVERITY_CHANGED: [u32; 2] = [0, 1];
pub const NODE_CHANGED: [u32; 2] = [0, 2];

/// Scalars and tables, below the root.
const SCALARS: [u32; 2] = [1, 1];
const UPLINKS: [u32; 4] = [1, 2, 1, 0];
const NODES: [u32; 4] = [1, 3, 1, 0];
const GROUPS: [u32; 4] = [1, 4, 1, 0];
const ALERTS: [u32; 4] = [1, 5, 1, 0];

/// A name may be part of an object identifier up to this length; that has 128 numbers at most
/// (RFC 2578, section 3.5).
const NAME: usize = 64;

/// TruthValue (RFC 2579).
fn truth(is: bool) -> Value {
    Value::Integer(if is { 1 } else { 2 })
}

/// Every instance, in the order of its identifiers.
#[derive(Debug, Default, Clone)]
pub struct Tree(Vec<(Vec<u32>, Value)>);

impl Tree {
    /// Lays a snapshot out; `None`: the daemon does not answer.
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
        }
        tree.0.sort_by(|(one, _), (other, _)| one.cmp(other));
        tree.0.dedup_by(|(one, _), (other, _)| one == other);
        tree
    }

    /// Returns the value of an instance.
    pub fn get(&self, name: &[u32]) -> Value {
        let place = self.0.binary_search_by(|(known, _)| known.as_slice().cmp(name));
        match place.ok().and_then(|place| self.0.get(place)) {
            Some((_, value)) => value.clone(),
            None => Value::NoSuchInstance,
        }
    }

    /// Returns the first instance after `name` (or `name` itself, if `include`) and before `end`; an
    /// empty `end` is none.
    pub fn next(&self, name: &[u32], include: bool, end: &[u32]) -> Option<(&[u32], &Value)> {
        let place = self.0.partition_point(|(known, _)| {
            let order = known.as_slice().cmp(name);
            order.is_lt() || (order.is_eq() && !include)
        });
        let (found, value) = self.0.get(place)?;
        (end.is_empty() || found.as_slice() < end).then_some((found.as_slice(), value))
    }

    fn put(&mut self, below: &[u32], column: u32, index: &[u32], value: Value) {
        let mut name = ROOT.to_vec();
        match below {
            [table @ .., 0] => name.extend(table),
            scalars => name.extend(scalars),
        }
        name.push(column);
        name.extend(index);
        self.0.push((name, value));
    }

    fn scalars(&mut self, snapshot: Option<&Snapshot>) {
        let known = snapshot.cloned().unwrap_or_default();
        let uplink = &known.uplink;
        let address = uplink.address.map(|net| net.addr().to_string()).unwrap_or_default();
        let rows = [
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
        for (column, value) in (1..).zip(rows) {
            self.put(&SCALARS, column, &[0], value);
        }
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
        let address = node.address.map(|address| address.to_string()).unwrap_or_default();
        let row = [
            string(&address),
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

    /// Adds a row of a table; its first column, the index, is not accessible.
    fn row<const N: usize>(&mut self, table: &[u32], index: &[u32], values: [Value; N]) {
        for (column, value) in (2..).zip(values) {
            self.put(table, column, index, value);
        }
    }
}

/// Returns a name as an index (RFC 2578, section 7.7): its length, then its bytes.
fn index(name: &str) -> Option<Vec<u32>> {
    let length = u32::try_from(name.len()).ok().filter(|_| name.len() <= NAME)?;
    Some(std::iter::once(length).chain(name.bytes().map(u32::from)).collect())
}

/// Returns the identifier of an instance of a scalar, by its place.
pub fn scalar(place: u32) -> Vec<u32> {
    [ROOT.as_slice(), &SCALARS, &[place, 0]].concat()
}

/// Returns the identifier of a node's health; `None` of a name that has no row.
pub fn node_health(name: &str) -> Option<Vec<u32>> {
    Some([ROOT.as_slice(), &[1, 3, 1, 4], &index(name)?].concat())
}

fn string(text: &str) -> Value {
    Value::OctetString(OctetString(text.to_owned()))
}

fn gauge(number: u64) -> Value {
    Value::Gauge32(u32::try_from(number).unwrap_or(u32::MAX))
}

/// Returns a counter, which wraps (RFC 2578, section 7.1.6).
fn counter(number: u64) -> Value {
    Value::Counter32((number & u64::from(u32::MAX)) as u32)
}

/// bgSeverity; unknown(4).
pub fn severity(severity: &Word<Severity>) -> i32 {
    match severity.known() {
        Some(Severity::Ok) => 0,
        Some(Severity::Notice) => 1,
        Some(Severity::Warning) => 2,
        Some(Severity::Fault) => 3,
        None => 4,
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

/// Returns an identifier as the crate has it; `None` of one that is too long.
pub fn id(numbers: &[u32]) -> Option<ID> {
    ID::try_from(numbers.to_vec()).ok()
}

/// Returns the numbers of an identifier.
pub fn numbers(id: &ID) -> Vec<u32> {
    // The crate shows them in no other way.
    id.to_string().split('.').filter_map(|number| number.parse().ok()).collect()
}
