//! Alerts of the uplinks: address, lease, internet.

use std::net::Ipv4Addr;

use ipnet::IpNet;

use super::link::no_port;
use super::routing;
use crate::config::{Settings, UplinkProbe};
use crate::decide::alert::{Alert, AlertCode, Severity};
use crate::decide::clat;
use crate::event::{Acquisition, Path, Reachability};
use crate::facts::Facts;
use crate::facts::uplink::{
    ANSWER_TIME, UplinkState, UplinkView, ipv4_source, leads_by_translator,
};

/// Raises what is wrong with the uplinks.
pub fn alerts(settings: &Settings, facts: &Facts, raised: &mut Vec<Alert>) {
    if facts.offline_since().is_some() {
        raised.push(offline(facts));
        return;
    }
    not_renewed(facts, raised);
    let Some(active) = facts.active().filter(|active| active.address.is_some()) else { return };
    raised.extend(without_internet(settings, facts, &active));
    if settings.gateway.enabled {
        raised.extend(without_ipv4(settings, facts));
    }
    translators_left_over(facts, raised);
    raised.extend(exit_by(facts));
    if settings.gateway.enabled {
        raised.extend(without_exit(facts, &active.link.name));
    }
}

/// Returns the alert that no uplink has an address.
fn offline(facts: &Facts) -> Alert {
    let severity = if facts.offline_for_long() { Severity::Warning } else { Severity::Notice };
    let (text, panel) = match facts.active() {
        None => {
            ("no uplink interface is there: plug in the network adapter".to_owned(), "NO UPLINK")
        }
        Some(active) => without_address(facts, &active),
    };
    Alert::whole(AlertCode::UplinkNone, text).graded(severity).shown_as(panel)
}

/// Returns the alert that the uplink has an address, but no internet.
fn without_internet(settings: &Settings, facts: &Facts, active: &UplinkView<'_>) -> Option<Alert> {
    let (port, index) = (&active.link.name, active.link.index);
    // Other routes than main's default may lead out: two halves (0.0.0.0/1 and 128.0.0.0/1), or
    // another table's.
    if facts.is_routeless(index) && facts.main_egress() != Some(index) {
        let why = match active.address {
            Some(IpNet::V6(_)) => "no router of the venue announces itself",
            _ => "the venue's DHCP server names no router",
        };
        let text = format!(
            "{port} has an address but no default route: {why}, or another tool removed the route"
        );
        return Some(Alert::of_port(AlertCode::UplinkNoRoute, port, text));
    }
    if active.settled == UplinkState::Portal {
        let page = match active.portal_url {
            Some(url) => format!("open {url}"),
            None => "open any http:// page".to_owned(),
        };
        let text =
            format!("{port}: a captive portal answers; {page} in a browser behind the gateway");
        return Some(Alert::of_port(AlertCode::UplinkPortal, port, text));
    }
    // Then another alert says by which port IPv4 leaves.
    let translated = facts.routing().detour().is_translated() && clat::is_nat64_online(facts);
    let unanswered = active.reachability == Some(Reachability::Nothing) && !translated;
    let ipv6 = facts.venue(index).and_then(|venue| venue.answer(Path::Ipv6));
    let text = match ipv6 {
        Some(Reachability::Online) => {
            format!("nothing answers from the internet by IPv4 on {port}; IPv6 works")
        }
        _ => format!("{port} has an address, but nothing answers from the internet"),
    };
    (unanswered && settings.uplink.probe != UplinkProbe::Off)
        .then(|| Alert::of_port(AlertCode::UplinkNoInternet, port, text))
}

/// Returns the alert that a routing rule refuses the nodes' traffic through the uplink `port`.
fn without_exit(facts: &Facts, port: &str) -> Option<Alert> {
    let cluster = facts.cluster_port().filter(|_| facts.is_without_exit())?;
    let text = match routing::restore_main_rule(facts) {
        Some(remedy) => format!(
            "another program deleted the routing rule for the main table: put it back ({remedy})"
        ),
        None => format!(
            "{port} has a default route, but a routing rule refuses the nodes' traffic (a VPN's \
             kill switch does that): look for \"prohibit\", \"unreachable\" or \"blackhole\" in \
             `ip rule` and `ip route show table all`, and exempt packets from {}",
            cluster.name
        ),
    };
    Some(Alert::of_port(AlertCode::UplinkNoExit, port, text))
}

/// Returns the alert that the head has only IPv6, and the nodes have no way out, not even through
/// another program's port such as a translator (RFC 6877).
fn without_ipv4(settings: &Settings, facts: &Facts) -> Option<Alert> {
    let active = facts.active().filter(|_| facts.is_ipv6_only() && !leaves_elsewhere(facts))?;
    let port = &active.link.name;
    let why = match active.acquisition {
        Some(Acquisition::Ipv6Only { server }) => {
            format!(", because the venue's DHCP server {server} asks for IPv6 only (option 108)")
        }
        _ => String::new(),
    };
    let ordered = clat::plan(settings, facts).order().is_some();
    let until = if ordered {
        " until bramblegate-clat translates (bramblegate doctor shows more)"
    } else {
        ""
    };
    let text = format!(
        "{port} has no IPv4 address{why}: the head is reachable over IPv6, but the nodes have no \
         internet{until}"
    );
    Some(Alert::of_port(AlertCode::UplinkNoIpv4, port, text))
}

/// Returns whether the kernel would send the nodes' packets through a port with a carrier. Its
/// answer may name a port without one, or, if outdated, a port that is gone.
fn leaves_elsewhere(facts: &Facts) -> bool {
    let egress = facts.routing().egress().flatten();
    egress.is_some_and(|index| facts.kernel().link(index).is_none_or(|port| port.carrier))
}

/// Returns why an uplink has no address, and the panel text.
fn without_address(facts: &Facts, active: &UplinkView<'_>) -> (String, &'static str) {
    let port = &active.link.name;
    match active.state {
        UplinkState::NoCarrier if !active.link.up => {
            let right = if active.link.wireless { "rfkill unblock wifi, or " } else { "" };
            let words = if active.link.wireless { "NO WIFI" } else { "PORT OFF" };
            (format!("{port} is switched off ({right}sudo ip link set {port} up)"), words)
        }
        UplinkState::NoCarrier if active.link.wireless => {
            (format!("{port} is not connected to a wireless network"), "NO WIFI")
        }
        UplinkState::NoCarrier if facts.kernel().is_empty_bridge(active.link) => {
            (no_port(port), "NO CABLE")
        }
        UplinkState::NoCarrier => (format!("no cable in {port}"), "NO CABLE"),
        UplinkState::NoDhcp => (no_dhcp(facts, active), "NO DHCP"),
        UplinkState::Addressed if active.address.is_none() => {
            let text = format!(
                "{port} has only a translator's address, which the venue cannot reach: no router \
                 or DHCP server in the venue has given it another"
            );
            (text, "NO DHCP")
        }
        _ => (format!("{port} is waiting for an address"), "SEARCHING"),
    }
}

/// Returns why a port got no address in time, and the remedy.
pub fn no_dhcp(facts: &Facts, active: &UplinkView<'_>) -> String {
    let port = &active.link.name;
    let own = self_assigned(facts, active).map_or_else(String::new, |own| {
        format!(". The head gave itself {own}, which the venue cannot reach")
    });
    match active.acquisition {
        None => format!("{port} gets no address (bramblegate doctor looks for the reason){own}"),
        Some(Acquisition::NoClient) => {
            format!(
                "nothing on the head asks for an address on {port}: bramblegate doctor shows how \
                 to start a DHCP client there{own}"
            )
        }
        Some(Acquisition::Waiting) => {
            format!(
                "the DHCP client of {port} is not asking for an address now, perhaps because a \
                 server asked for IPv6 only (option 108): bramblegate doctor shows more{own}"
            )
        }
        Some(Acquisition::Unanswered) if may_be_slow(facts, active) => {
            format!(
                "no DHCP server has answered yet on {port}: a busy one takes 20 seconds. After \
                 that, check that the venue's socket is switched on and the cable is in the \
                 right one{own}"
            )
        }
        Some(Acquisition::Unanswered) => {
            format!(
                "no DHCP server answers on {port}: check that the venue's socket is switched on \
                 and the cable is in the right one{own}"
            )
        }
        Some(Acquisition::Offered { server }) => {
            format!(
                "the DHCP server {server} offers an address on {port}, but the head has not \
                 taken it yet: see the log of its client (journalctl){own}"
            )
        }
        Some(Acquisition::Ipv6Only { server }) => format!(
            "the DHCP server {server} asks for IPv6 only on {port} (option 108) and no router \
             gives an IPv6 address: bramblegate doctor shows how to take IPv4 anyway{own}"
        ),
        Some(Acquisition::Refused { server }) => {
            format!(
                "the DHCP server {server} refuses the address that {port} asks for: the client \
                 will ask for another{own}"
            )
        }
        Some(Acquisition::Declined) => {
            format!(
                "another computer in the venue has the address that {port} was given: its DHCP \
                 server needs attention{own}"
            )
        }
    }
}

/// Returns the link-local address that the head assigned itself there (RFC 3927).
fn self_assigned(facts: &Facts, active: &UplinkView<'_>) -> Option<Ipv4Addr> {
    let mut held = facts.kernel().addresses(active.link.index).iter();
    held.find_map(|held| match held.address {
        IpNet::V4(net) if net.addr().is_link_local() => Some(net.addr()),
        _ => None,
    })
}

/// Returns whether a slow server may still reply (see [`ANSWER_TIME`]).
fn may_be_slow(facts: &Facts, active: &UplinkView<'_>) -> bool {
    active.searching_since.is_some_and(|since| facts.now().saturating_since(since) < ANSWER_TIME)
}

/// Raises each lease that is not renewed: the address works until the lease expires, then the head
/// is unreachable from the venue.
fn not_renewed(facts: &Facts, raised: &mut Vec<Alert>) {
    for uplink in facts.uplinks() {
        let Some((address, _)) = uplink.not_renewed else { continue };
        let port = &uplink.link.name;
        let (who, what) = match address {
            IpNet::V4(_) => ("DHCP server", "lease of"),
            IpNet::V6(_) => ("router", "prefix of"),
        };
        let text = format!(
            "the venue's {who} does not renew the {what} {} on {port}: the address works until \
             that ends (see bramblegate status). Is the {who} switched on?",
            address.addr()
        );
        raised.push(Alert::of_port(AlertCode::UplinkLeaseNotRenewed, port, text));
    }
}

/// Raises each translator address that outlived its translator: IPv4 leaves by its default route
/// untranslated, and the venue drops it.
fn translators_left_over(facts: &Facts, raised: &mut Vec<Alert>) {
    for uplink in facts.uplinks().iter().filter(|uplink| uplink.is_translator_dead) {
        let (port, index) = (&uplink.link.name, uplink.link.index);
        let Some(address) = ipv4_source(facts.kernel(), index) else { continue };
        let text = format!(
            "{port} has a translator's address, {address}, but nothing answers through it: start its \
             program (NetworkManager) again, or remove the address (sudo ip addr del {address}/32 \
             dev {port})"
        );
        raised.push(Alert::of_port(AlertCode::UplinkTranslator, port, text));
    }
}

/// Returns the alert that the nodes' traffic leaves by a port that is no uplink.
fn exit_by(facts: &Facts) -> Option<Alert> {
    let roles = facts.roles();
    let exit = facts.routing().egress().flatten().filter(|index| !roles.uplinks.contains(index))?;
    let exit = facts.kernel().link(exit)?;
    let port = &exit.name;
    // No router in the cluster leads to the internet, though everything else looks right.
    let text = if roles.cluster == Some(exit.index) {
        format!(
            "a default route sends the nodes' traffic back to the cluster interface {port}: \
             remove the gateway from the settings of {port}, and the route (sudo ip route del \
             default dev {port})"
        )
    } else if !exit.carrier {
        format!(
            "a default route sends the nodes' traffic to {port}, which has no carrier and is not \
             an uplink, so nothing gets through: remove the route (sudo ip route del default dev \
             {port})"
        )
    } else if leads_by_translator(facts.kernel(), exit.index) {
        format!(
            "the nodes' traffic leaves through {port}, an IPv4-to-IPv6 translator, not through \
             an uplink: add {port} to the end of uplink.interfaces, so that NAT covers it"
        )
    } else {
        let around = routing::bypass_command(facts)
            .map_or_else(String::new, |command| format!(" ({command})"));
        format!(
            "the nodes' traffic leaves through {port}, not through an uplink, and without NAT. \
             If it should, add {port} to uplink.interfaces; if not, route it past {port}{around}"
        )
    };
    Some(Alert::of_port(AlertCode::UplinkExitBy, port, text))
}
