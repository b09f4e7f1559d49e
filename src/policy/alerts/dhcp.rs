//! Who else serves addresses on the cluster port.

use super::{Alert, Severity, alert};
use crate::state::State;
use crate::state::dhcp::OtherServers;

/// A foreign server, or nobody to ask: then no addresses are served, and that is said.
pub fn other_server(state: &State, raised: &mut Vec<Alert>) {
    let Some(port) = state.cluster_port().map(|port| &port.name) else { return };
    if let OtherServers::Foreign { server, mac } = state.other_servers() {
        let who = mac.map_or_else(|| server.to_string(), |mac| format!("{server} ({mac})"));
        let text = format!(
            "another DHCP server, {who}, answers on the cluster port {port}, so we serve none there: are the cables of uplink and \
             cluster swapped? (`bramblegate doctor`)"
        );
        raised.push(alert(Severity::Fault, "gateway-foreign-dhcp", text, "PORTS SWAPPED?"));
    }
    if let Some(why) = state.dhcp_unasked() {
        let text = format!(
            "no addresses are served on {port}: whether another DHCP server is there cannot be asked ({why}); the service needs CAP_NET_RAW"
        );
        raised.push(alert(Severity::Warning, "gateway-dhcp-unasked", text, "DHCP OFF"));
    }
}
