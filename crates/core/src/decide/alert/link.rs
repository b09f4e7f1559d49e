//! Ports without a role, and what our own rules drop.

use std::net::Ipv4Addr;

use ipnet::IpNet;

use super::raise::of_port;
use crate::decide::alert::{Alert, AlertCode, Part, Subject};
use crate::decide::cluster::Placement;
use crate::decide::firewall::{
    COMMENT_ELSEWHERE, COMMENT_NOT_OURS, COMMENT_SPOOFED, COMMENT_STRAY,
};
use crate::facts::State;

/// A port that has an address and no role is closed, and may have been meant for something.
pub fn without_role(state: &State, raised: &mut Vec<Alert>) {
    for (link, held) in state.ports_without_role() {
        let port = &link.name;
        let text = format!(
            "{port} has the address {} and no role: it is closed but for uplink.allow, and new \
             connections from it do not reach the nodes. If it leads to the venue, add \"{port}\" \
             to uplink.interfaces; if its network may reach head and nodes, add it to \
             gateway.trust",
            held.address
        );
        raised.push(of_port(AlertCode::GatewayUnknownPort, port, text));
    }
}

/// What our rules drop that somebody probably wants to get through, or should not send.
pub fn drops(state: &State, placement: &Placement, raised: &mut Vec<Alert>) {
    for (rule, example) in state.firewall().drops.standing() {
        let latest = example.map_or_else(String::new, |address| format!(", as from {address}"));
        let (text, part) = match rule {
            COMMENT_NOT_OURS => {
                (unknown_clients(state, placement, example, &latest), Part::Strangers)
            }
            COMMENT_SPOOFED => {
                let text = format!(
                    "a computer at an uplink sends to the nodes from an address of the \
                     cluster{latest}, and our rules drop it, because the answers would stay in the \
                     cluster: if it is yours, give it an address outside {}",
                    placement.address.trunc()
                );
                (text, Part::Forged)
            }
            COMMENT_STRAY => {
                let text = format!(
                    "our rules drop answers of nodes to connections that did not come through the \
                     head{latest}: the nodes are reached by another way and answer by the head; \
                     let {} be their only way out and in",
                    placement.address.addr()
                );
                (text, Part::Strays)
            }
            COMMENT_ELSEWHERE => {
                let text = format!(
                    "our rules drop what enters by an uplink for other networks of the \
                     head{latest}: nothing was forwarded there before the gateway; to have it \
                     forwarded: sudo sysctl -w net.ipv4.ip_forward=1, and in /etc/sysctl.d/ for \
                     the next start"
                );
                (text, Part::Transit)
            }
            _ => continue,
        };
        raised.push(Alert::new(AlertCode::GatewayDrops, Subject::Part(part), text));
    }
}

/// Boards on the cluster port with addresses of another network: perhaps one that the head has an
/// address in.
fn unknown_clients(
    state: &State,
    placement: &Placement,
    example: Option<Ipv4Addr>,
    latest: &str,
) -> String {
    let cluster = placement.address.trunc();
    let port = state.cluster_port().map_or("the cluster port", |link| link.name.as_str());
    let held = state.cluster_port().map_or(&[][..], |link| state.facts().addresses(link.index));
    let second = held.iter().find_map(|held| match held.address {
        IpNet::V4(net) if !held.ours && example.is_some_and(|source| net.contains(&source)) => {
            Some(net.trunc())
        }
        _ => None,
    });
    match second {
        Some(net) => format!(
            "our rules drop what boards of {net} on {port} send to the venue{latest}: the gateway \
             translates {cluster} only; give them addresses of it, or make cluster.address wide \
             enough for both networks"
        ),
        None => format!(
            "our rules drop what is sent to the venue by {port} with a source outside \
             {cluster}{latest}: find the board (sudo tcpdump -eni {port} ip and not net {cluster}) \
             and give it an address of {cluster}"
        ),
    }
}
