//! Forwarded ports that a program of the head listens on as well.

use super::sockets::listeners;
use super::{CheckContext, Finding};
use crate::config::{Allow, Forward, Transport};
use crate::decide::forward::{name, target};
use crate::event::AlertCode;
use crate::watch::host::name;

/// Finds programs whose port is forwarded to a node, and so hidden from the venue.
pub fn hidden_listeners(context: &CheckContext<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    if context.settings.forwards.is_empty() {
        return findings;
    }
    let listeners = listeners(context.machine);
    for forward in &context.settings.forwards {
        let tcp = forward.transport == Transport::Tcp;
        let here = listeners.iter().find(|listener| {
            listener.tcp == tcp
                && listener.port == forward.listen
                && !listener.address.is_loopback()
        });
        let Some(listener) = here else {
            findings.extend(forwarded_ssh(context, forward));
            continue;
        };
        let who = listener
            .owner(context.machine)
            .map_or_else(|| "a program".to_owned(), |who| who.to_string());
        let (port, to) = (name(forward), target(forward));
        findings.push(Finding::new(
            AlertCode::NodeForwardHides,
            format!(
                "{who} listens on {port} of the head, but for the venue that port leads to \
                 {to}: the forward wins"
            ),
            "if the venue is to reach that program, choose another forward.listen",
        ));
    }
    findings
}

/// Finds a forward of an ssh port of the head, which `uplink.allow` accepts; also if no sshd is
/// seen to listen.
fn forwarded_ssh(context: &CheckContext<'_>, forward: &Forward) -> Option<Finding> {
    let allowed = context.settings.uplink.allow.contains(&Allow::Ssh);
    let ssh = |port| port == 22 || name::ssh_ports(&context.machine.path("/")).contains(&port);
    (allowed && forward.transport == Transport::Tcp && ssh(forward.listen)).then(|| {
        let (port, to) = (name(forward), target(forward));
        Finding::new(
            AlertCode::NodeForwardHides,
            format!(
                "{port} leads to {to} for the venue: ssh from there reaches that node, not the \
                 head"
            ),
            "choose another forward.listen, such as 2201; if this is intended, take \"ssh\" out \
             of uplink.allow",
        )
    })
}
