//! What went wrong on the way over all ports: each port gets what it can, and all faults are
//! reported in one message.

use bramblegate_netlink::NetlinkError;
use ipnet::IpNet;
use rustix::io::Errno;

use super::conf::{self, Change};
use super::error::LinkError;
use crate::event::{Applied, ApplyError, ApplyErrorKind};
use crate::reconcile::error::{OutputError, Refused, reported};

/// The faults so far.
#[derive(Debug, Default)]
pub struct Faults {
    errors: Vec<LinkError>,
    /// ports that may answer the ARP of their network for an address of another port
    exposed: Vec<String>,
}

impl Faults {
    /// Takes the outcome of one step.
    pub fn note(&mut self, result: Result<(), LinkError>) {
        self.errors.extend(result.err());
    }

    /// Notes that a port in the plan is not there.
    pub fn gone(&mut self, port: &str) {
        self.note(Err(LinkError::Gone { port: port.to_owned() }));
    }

    /// Notes that a port did not take settings.
    pub fn settings_refused(&mut self, port: &str, changes: &[Change], error: NetlinkError) {
        // Where the kernel does no IPv4 (an MTU below 68) it answers no ARP either.
        if error.errno() == Some(Errno::AFNOSUPPORT) {
            self.note(Err(LinkError::NoIpv4 { port: port.to_owned() }));
            return;
        }
        let fault = Refused::new(format!("{port}: cannot set {}", conf::named(changes)), error);
        let of_arp = changes
            .iter()
            .any(|change| matches!(change.setting, conf::ARP_IGNORE | conf::ARP_ANNOUNCE));
        if of_arp && fault.kind() != ApplyErrorKind::Absent {
            self.exposed.push(port.to_owned());
        }
        self.errors.push(fault.into());
    }

    /// Returns whether `port` may be given `address` now, and notes an error where it may not:
    /// while another port would answer the venue's ARP for it.
    pub fn permit(&mut self, port: &str, address: IpNet) -> bool {
        if !self.exposed.is_empty() {
            let others = self.exposed.join(", ");
            self.errors.push(LinkError::Exposed { port: port.to_owned(), address, others });
        }
        self.exposed.is_empty()
    }

    /// Returns all of it as one answer. Faults of one kind are of that kind, mixed ones are just
    /// failures. `unkept`: why it could not be written down how the ports were before.
    pub fn result(self, unkept: Option<String>) -> Result<Applied, ApplyError> {
        // What is merely absent does not make the rest less clear.
        let mut kinds = self
            .errors
            .iter()
            .map(OutputError::kind)
            .filter(|kind| *kind != ApplyErrorKind::Absent);
        let kind = match (self.errors.is_empty(), kinds.next()) {
            (true, _) => return Ok(Applied::Link { unkept }),
            (false, None) => ApplyErrorKind::Absent,
            (false, Some(first)) if kinds.all(|kind| kind == first) => first,
            (false, Some(_)) => ApplyErrorKind::Failed,
        };
        let texts: Vec<_> = self.errors.iter().map(|error| reported(error).message).collect();
        Err(ApplyError { kind, message: texts.join("; ") })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ARP: [Change; 2] = [
        Change { setting: conf::ARP_IGNORE, value: 1 },
        Change { setting: conf::FORWARDING, value: 1 },
    ];
    const FILTER: [Change; 1] = [Change { setting: conf::RP_FILTER, value: 2 }];

    fn refused(errno: Errno) -> NetlinkError {
        NetlinkError::Refused { errno, reason: None }
    }

    fn may_have_its_address(faults: &mut Faults) -> bool {
        faults.permit("eth0", "192.168.50.1/24".parse().unwrap())
    }

    #[test]
    fn no_address_for_the_cluster_while_an_uplink_would_answer_for_it() {
        let mut faults = Faults::default();
        faults.settings_refused("eth2", &ARP, refused(Errno::BUSY));
        assert!(!may_have_its_address(&mut faults));
        let error = faults.result(None).unwrap_err();
        assert_eq!(error.kind, ApplyErrorKind::Failed);
        assert!(
            error.message.starts_with("eth2: cannot set arp_ignore=1, forwarding=1: "),
            "{error}"
        );
        assert!(
            error
                .message
                .ends_with("; eth0: 192.168.50.1/24 has to wait, or eth2 would answer ARP for it"),
            "{error}"
        );
    }

    #[test]
    fn an_uplink_that_cannot_answer_or_has_just_gone_is_named_and_holds_nothing_up() {
        let mut faults = Faults::default();
        faults.settings_refused("eth2", &ARP, refused(Errno::NODEV));
        faults.settings_refused("eth3", &ARP, refused(Errno::AFNOSUPPORT));
        faults.gone("usb0");
        assert!(may_have_its_address(&mut faults));
        let error = faults.result(None).unwrap_err();
        assert_eq!(error.kind, ApplyErrorKind::Absent);
        assert!(
            ["eth2", "eth3", "usb0"].iter().all(|port| error.message.contains(port)),
            "{error}"
        );
    }

    #[test]
    fn another_setting_that_fails_is_a_fault_and_no_danger() {
        let mut faults = Faults::default();
        faults.gone("usb0");
        faults.settings_refused("eth2", &FILTER, refused(Errno::PERM));
        assert!(may_have_its_address(&mut faults));
        assert_eq!(faults.result(None).unwrap_err().kind, ApplyErrorKind::Denied);
    }

    #[test]
    fn no_fault_is_well() {
        let unkept = Some("the disk is full".to_owned());
        assert_eq!(Faults::default().result(unkept.clone()), Ok(Applied::Link { unkept }));
    }
}
