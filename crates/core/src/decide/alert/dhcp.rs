//! Addresses for the nodes: who else serves them on the cluster port, and that none is left.

use super::raise::alert;
use crate::config::Settings;
use crate::decide::alert::Alert;
use crate::decide::dhcp::{Verdict, verdict};
use crate::event::alert::AlertCode;
use crate::facts::State;
use crate::facts::dhcp::OtherServers;

/// A board asked for an address, and all are somebody's.
pub fn exhausted(settings: &Settings, state: &State, raised: &mut Vec<Alert>) {
    let Some((mac, dhcp)) = state.dhcp_want().zip(settings.cluster.dhcp.as_ref()) else { return };
    if verdict(settings, state) != Verdict::Serve {
        return;
    }
    let text = format!(
        "no address is left for {mac}: widen cluster.dhcp.range ({}-{}), or shorten \
         cluster.dhcp.lease where boards come and go \
         (`bramblegate nodes` lists who is there)",
        dhcp.first, dhcp.last
    );
    raised.push(alert(AlertCode::GatewayDhcpFull, text));
}

/// Twice the forward delay that switches are shipped with (802.1D, table 17-1), and what is waited
/// beyond it; seconds.
const USUAL_HOLD: u64 = 32;

/// Raises that a switch says it lets nothing through for longer than switches do as shipped:
/// anybody can send such frames.
pub fn held(state: &State, raised: &mut Vec<Alert>) {
    let port = state.cluster_port().map(|port| &port.name);
    let Some((port, seconds)) = port.zip(state.dhcp_held().filter(|seconds| *seconds > USUAL_HOLD))
    else {
        return;
    };
    let text = format!(
        "no addresses are served on {port} for up to {seconds} s: frames of a spanning tree say \
         that the switch lets nothing \
         through for so long, where 30 s are usual; set its port as an edge port (\"portfast\"), \
         or find who sends them (sudo \
         tcpdump -eni {port} stp)"
    );
    raised.push(alert(AlertCode::GatewayDhcpHeld, text));
}

/// A foreign server, or nobody to ask: then no addresses are served, and that is said.
pub fn other_server(state: &State, raised: &mut Vec<Alert>) {
    let Some(port) = state.cluster_port().map(|port| &port.name) else { return };
    if let OtherServers::Foreign { server, mac } = state.other_servers() {
        let who = mac.map_or_else(|| server.to_string(), |mac| format!("{server} ({mac})"));
        let text = format!(
            "another DHCP server, {who}, answers on the cluster port {port}, so we serve none there"
        );
        raised.push(alert(AlertCode::GatewayForeignDhcp, text));
    }
    if let Some(why) = state.dhcp_unasked() {
        let text = format!(
            "no addresses are served on {port}: whether another DHCP server is there cannot be \
             asked ({why}); the service needs CAP_NET_RAW"
        );
        raised.push(alert(AlertCode::GatewayDhcpUnasked, text));
    }
}
