//! What the status socket tells: plain data here, its JSON in [`json`]. The contract is `docs/status.schema.json`.

pub mod json;
#[cfg(test)]
mod tests;

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use ipnet::{IpNet, Ipv4Net};

use super::light;
use crate::config::{LcdBus, LedDevice, Settings};
use crate::event::{
    Acquisition, Applied, ApplyErrorKind, Blocker, Head, Instant, Mac, NodeId, Output, PortalUrl, Traffic,
};
use crate::panel::Signal;
use crate::policy::alert::{Alert, Severity};
use crate::policy::service::{self, Verdict};
use crate::policy::{Desired, Overlap, traffic};
use crate::state::State;
use crate::state::node::{NodeHealth, NodeState, Origin};
use crate::state::output::Outputs;
use crate::state::uplink::{UplinkState, UplinkView};

/// Everything but the nodes. Holds moments, not ages, so that an equal value is no news; the writer subtracts.
#[derive(Debug, Clone, PartialEq)]
pub struct Snapshot {
    pub started: Instant,
    pub severity: Severity,
    pub alerts: Vec<Alert>,
    /// the active one
    pub uplink: UplinkStatus,
    /// those that exist, in the order of the settings
    pub uplinks: Vec<UplinkStatus>,
    pub gateway: GatewayStatus,
    pub cluster: ClusterStatus,
    /// `None`: not looked at yet
    pub host: Option<Head>,
    pub lcd: LcdStatus,
    pub led: LedStatus,
}

/// One uplink; all but `state` are `None` when there is none.
#[derive(Debug, Clone, PartialEq)]
pub struct UplinkStatus {
    pub state: UplinkState,
    pub interface: Option<String>,
    pub address: Option<IpNet>,
    pub gateway: Option<IpAddr>,
    pub since: Option<Instant>,
    /// `None`: for ever
    pub valid_until: Option<Instant>,
    pub addresses: Option<Vec<IpNet>>,
    /// since when the lease of `address`, or its prefix, is not renewed; `None`: it is
    pub not_renewed_since: Option<Instant>,
    /// how far the DHCP client has come that has no address of IPv4; `None`: it has, or that was not heard
    pub acquisition: Option<Acquisition>,
    /// where the captive portal is; `None`: there is none, or nobody says
    pub portal_url: Option<PortalUrl>,
}

/// What the kernel was seen to hold of the gateway.
#[derive(Debug, Clone, PartialEq)]
pub struct GatewayStatus {
    pub forwarding: bool,
    /// `None`: not known, for the rule set could not be applied
    pub masquerade: Option<bool>,
    pub applied: u64,
    pub repaired: u64,
    pub overlap: Overlap,
    pub blocked_by: Option<Blocker>,
    /// `Some(false)`: our rules, which are in the kernel, let no IPv6 of the cluster through; `None`: they are not there
    pub ipv6_forwarding: Option<bool>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct ClusterStatus {
    /// `None` while there is no such port
    pub interface: Option<String>,
    pub address: Ipv4Net,
    pub dhcp: DhcpStatus,
    pub up: usize,
    pub total: usize,
}

/// DHCP for the nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DhcpStatus {
    Serving,
    Off,
    /// there is no cluster port, or it is not known yet whether somebody else serves there
    Waiting,
    /// somebody else serves on the cluster port
    RefusedForeignServer,
    /// dnsmasq is missing or does not start
    Failed,
}

impl DhcpStatus {
    /// The word in the status.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Serving => "serving",
            Self::Off => "off",
            Self::Waiting => "waiting",
            Self::RefusedForeignServer => "refused-foreign-server",
            Self::Failed => "failed",
        }
    }

    fn of(settings: &Settings, state: &State) -> Self {
        if settings.cluster.dhcp.is_none() {
            return Self::Off;
        }
        match service::verdict(settings, state) {
            Verdict::Off => Self::Off,
            Verdict::Waiting => Self::Waiting,
            Verdict::Refused => Self::RefusedForeignServer,
            Verdict::Serve if state.outputs().error(Output::Dnsmasq).is_some() => Self::Failed,
            Verdict::Serve if state.outputs().serves() => Self::Serving,
            Verdict::Serve => Self::Waiting,
        }
    }
}

/// How a device of the panel is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeviceState {
    Ok,
    Absent,
    Error,
    Off,
}

impl DeviceState {
    /// The word in the status.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Absent => "absent",
            Self::Error => "error",
            Self::Off => "off",
        }
    }

    /// Of what was reported last. Before the first report a device is absent.
    fn of(outputs: &Outputs, output: Output, switched_off: bool) -> Self {
        match outputs.error(output).map(|error| error.kind) {
            _ if switched_off => Self::Off,
            None if outputs.held(output).is_some() => Self::Ok,
            None | Some(ApplyErrorKind::Absent | ApplyErrorKind::Waiting) => Self::Absent,
            Some(ApplyErrorKind::Off) => Self::Off,
            Some(
                ApplyErrorKind::Failed | ApplyErrorKind::Unsupported | ApplyErrorKind::Denied | ApplyErrorKind::Held,
            ) => Self::Error,
        }
    }
}

/// The character display.
#[derive(Debug, Clone, PartialEq)]
pub struct LcdStatus {
    pub state: DeviceState,
    /// as the bus acknowledged them; `None` when nobody knows
    pub lines: Option<Vec<String>>,
    /// sent since the start
    pub bytes: u64,
    /// transfers that failed while the display was there, since the start
    pub errors: u64,
}

/// The LED, or the LEDs of a stick.
#[derive(Debug, Clone, PartialEq)]
pub struct LedStatus {
    pub state: DeviceState,
    /// what each LED says; `None` when nobody knows
    pub signals: Option<Vec<Signal>>,
}

/// One node.
#[derive(Debug, Clone, PartialEq)]
pub struct NodeStatus {
    /// by which it is found again; not told
    pub id: NodeId,
    pub name: String,
    pub mac: Option<Mac>,
    pub address: Option<Ipv4Addr>,
    pub health: NodeHealth,
    /// of one that boots: the file that it loaded last
    pub stage: Option<Box<str>>,
    pub rtt: Option<Duration>,
    pub since: Instant,
    pub origin: Origin,
    /// its group's name
    pub group: Option<String>,
}

impl NodeStatus {
    /// Whether `other` is worth a line after this: more than the round trip and the time differ.
    pub fn is_told_by(&self, other: &Self) -> bool {
        let told = |node: &Self| (node.mac, node.address, node.health, node.origin);
        (&self.name, &self.group, &self.stage, told(self)) == (&other.name, &other.group, &other.stage, told(other))
    }
}

/// What the status socket should tell, but for the nodes.
pub fn snapshot(settings: &Settings, state: &State, desired: &Desired) -> Snapshot {
    Snapshot {
        started: state.started(),
        severity: desired.severity,
        alerts: desired.alerts.clone(),
        uplink: state.active().map_or_else(no_uplink, |view| uplink(&view)),
        uplinks: state.uplinks().iter().map(uplink).collect(),
        gateway: gateway(state, desired),
        cluster: ClusterStatus {
            interface: state.cluster_port().map(|link| link.name.clone()),
            address: desired.cluster_address,
            dhcp: DhcpStatus::of(settings, state),
            up: state.nodes().count(NodeHealth::Up),
            total: state.nodes().total(),
        },
        host: state.vitals().head,
        lcd: lcd(settings, state),
        led: led(settings, state, desired),
    }
}

/// One node; `None` if there is none of this name.
pub fn node(state: &State, name: &str) -> Option<NodeStatus> {
    state.nodes().by_name(name).map(|node| node_status(state, node))
}

/// All nodes, in their order.
pub fn nodes(state: &State) -> Vec<NodeStatus> {
    state.nodes().iter().map(|node| node_status(state, node)).collect()
}

fn node_status(state: &State, node: &NodeState) -> NodeStatus {
    NodeStatus {
        id: node.id,
        name: node.name.clone(),
        mac: node.mac,
        address: node.address,
        health: node.health,
        stage: node.stage().map(Into::into),
        rtt: node.rtt,
        since: node.since,
        origin: node.origin,
        group: node.group.and_then(|group| state.settings().groups.get(group)).map(|group| group.name.clone()),
    }
}

fn uplink(view: &UplinkView<'_>) -> UplinkStatus {
    UplinkStatus {
        state: view.state,
        interface: Some(view.link.name.clone()),
        address: view.address,
        // A route that outlives its cable leads nowhere.
        gateway: view.gateway.filter(|_| view.address.is_some()),
        since: Some(view.since),
        valid_until: view.valid_until,
        // Nor is a number that no cable leads to one to ssh to.
        addresses: Some(if view.link.carrier { view.addresses.clone() } else { Vec::new() }),
        not_renewed_since: view.not_renewed_since,
        acquisition: view.acquisition,
        portal_url: view.portal_url.cloned(),
    }
}

fn no_uplink() -> UplinkStatus {
    UplinkStatus {
        state: UplinkState::Absent,
        interface: None,
        address: None,
        gateway: None,
        since: None,
        valid_until: None,
        addresses: None,
        not_renewed_since: None,
        acquisition: None,
        portal_url: None,
    }
}

fn gateway(state: &State, desired: &Desired) -> GatewayStatus {
    let outputs = state.outputs();
    let masquerade = match (outputs.held(Output::Firewall), outputs.error(Output::Firewall)) {
        _ if desired.gateway.is_none() => Some(false),
        (_, Some(_)) => None,
        (Some(Applied::Firewall { masquerade, .. }), None) => Some(*masquerade),
        _ => Some(false),
    };
    let firewall = state.firewall();
    let swallowed = Blocker {
        table: None,
        chain: None,
        remedy: "sudo iptables-legacy -S FORWARD shows rules that nftables cannot see".to_owned(),
    };
    let vital = |(what, _): &&(Traffic, Blocker)| traffic::is_vital(*what);
    let promised = firewall.traffic.iter().find(vital).or_else(|| firewall.traffic.first());
    let blocked_by = firewall.blocker().cloned().or_else(|| firewall.swallowed.then_some(swallowed));
    let blocked_by = blocked_by.or_else(|| promised.map(|(_, blocker)| blocker.clone()));
    GatewayStatus {
        // Nodes get no IPv6 yet: as long as the rules stand nothing passes.
        ipv6_forwarding: masquerade.filter(|loaded| *loaded).map(|_| false),
        forwarding: state.forwarding(),
        masquerade,
        applied: outputs.applied,
        repaired: firewall.repaired,
        overlap: desired.overlap,
        blocked_by: blocked_by.filter(|_| desired.gateway.is_some()),
    }
}

fn lcd(settings: &Settings, state: &State) -> LcdStatus {
    let (outputs, errors) = (state.outputs(), state.vitals().display_errors);
    let state = DeviceState::of(outputs, Output::Display, settings.lcd.bus == LcdBus::Off);
    let (lines, bytes) = match outputs.held(Output::Display) {
        Some(Applied::Display { lines, bytes, .. }) => (Some(lines.clone()), *bytes),
        _ => (None, 0),
    };
    LcdStatus { state, lines: lines.filter(|_| state == DeviceState::Ok), bytes, errors }
}

fn led(settings: &Settings, state: &State, desired: &Desired) -> LedStatus {
    let device = DeviceState::of(state.outputs(), Output::Indicator, settings.led.device == LedDevice::Off);
    let signals = match state.outputs().held(Output::Indicator) {
        Some(Applied::Indicator { leds, .. }) if device == DeviceState::Ok => {
            let mut signals = light::lights(settings, state, desired);
            signals.truncate(usize::from(*leds).max(1));
            Some(signals)
        }
        _ => None,
    };
    LedStatus { state: device, signals }
}
