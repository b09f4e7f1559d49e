//! Other programs' rules in the way of what the nodes send and of what is promised to them and to
//! the venue.

use super::raise::of_port;
use crate::decide::alert::Alert;
use crate::decide::alert::{Part, Severity, Subject};
use crate::decide::firewall::traffic;
use crate::event::alert::AlertCode;
use crate::event::{Blocker, Traffic, printable_line};
use crate::facts::State;

/// On the way out that is used, on those that may be it next, and at the head itself.
pub fn blocked(state: &State, raised: &mut Vec<Alert>) {
    match (state.firewall().blocker(), state.firewall().swallowed) {
        (Some(blocker), _) => {
            let text =
                format!("{} drops what the cluster sends: {}", place(blocker), blocker.remedy);
            raised.push(by_chain(blocker, text));
        }
        (None, true) => {
            let text = "packets of the cluster are accepted by our rules but do not leave: \
                        something else on this machine drops them (try: sudo iptables-legacy -S \
                        FORWARD)";
            raised.push(
                Alert::new(AlertCode::GatewayBlocked, Subject::Whole, text).shown_as("BLOCKED"),
            );
        }
        (None, false) => {}
    }
    for (uplink, blocker) in &state.firewall().spare {
        let text = format!(
            "{} would drop what the cluster sends by {uplink}, which is not the way out now: {}",
            place(blocker),
            blocker.remedy
        );
        raised.push(of_port(AlertCode::UplinkBlocked, uplink, text));
    }
    let traffic = &state.firewall().traffic;
    promised(traffic, raised);
    if state.firewall().unheard && !traffic.iter().any(|(what, _)| *what == Traffic::Addresses) {
        let text = "nodes ask for addresses on the cluster port, but their requests do not reach \
                    dnsmasq: something else on this machine drops them (look at `sudo nft list \
                    ruleset`, `sudo iptables-legacy-save`, `tc filter show dev PORT ingress`)";
        let subject = Subject::Part(Part::Dhcp);
        raised.push(Alert::new(AlertCode::GatewayBlocked, subject, text).shown_as("BLOCKED DHCP"));
    }
}

/// One alert for each chain, with all that it drops and each remedy once.
fn promised(blocked: &[(Traffic, Blocker)], raised: &mut Vec<Alert>) {
    let same = |a: &Blocker, b: &Blocker| a.table == b.table && a.chain == b.chain;
    for (number, (_, first)) in blocked.iter().enumerate() {
        if blocked.iter().take(number).any(|(_, earlier)| same(earlier, first)) {
            continue;
        }
        let here = || blocked.iter().filter(|(_, blocker)| same(blocker, first));
        let what: Vec<String> = here().map(|(traffic, _)| traffic::words(*traffic)).collect();
        let mut remedies: Vec<&str> = Vec::new();
        for command in here().flat_map(|(_, blocker)| blocker.remedy.split("; ")) {
            if !remedies.contains(&command) {
                remedies.push(command);
            }
        }
        let vital = here().any(|(traffic, _)| traffic::is_vital(*traffic));
        let severity = if vital { Severity::Fault } else { Severity::Warning };
        let text = format!("{} drops {}: {}", place(first), what.join(", "), remedies.join("; "));
        raised.push(by_chain(first, text).graded(severity));
    }
}

/// Returns an alert about the chain that drops something, where it is known.
fn by_chain(blocker: &Blocker, text: String) -> Alert {
    let known: Vec<&str> = blocker.table.iter().chain(&blocker.chain).map(String::as_str).collect();
    let chain = printable_line(&known.join(" ")).to_string();
    let subject = if chain.is_empty() { Subject::Whole } else { Subject::Chain(chain) };
    Alert::new(AlertCode::GatewayBlocked, subject, text).shown_as(panel(blocker))
}

fn panel(blocker: &Blocker) -> String {
    format!("BLOCKED {}", blocker.chain.as_deref().unwrap_or_default()).trim_end().to_owned()
}

fn place(blocker: &Blocker) -> String {
    match (&blocker.table, &blocker.chain) {
        (Some(table), Some(chain)) => format!("chain {chain} of table {table}"),
        _ => "another tool".to_owned(),
    }
}
