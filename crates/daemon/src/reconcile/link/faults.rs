//! Collects the errors of all ports into one report: an error of one port does not affect the
//! others.

use bramblegate_netlink::NetlinkError;
use ipnet::IpNet;
use rustix::io::Errno;

use super::conf::{self, Change};
use super::error::LinkError;
use crate::event::{Applied, ApplyError, ApplyErrorKind};
use crate::reconcile::error::{OutputError, Refused, reported};

/// The errors so far.
#[derive(Debug, Default)]
pub struct Faults {
    errors: Vec<LinkError>,
    /// Ports that may answer ARP requests of their network for an address of another port.
    exposed: Vec<String>,
}

impl Faults {
    /// Records the result of a step.
    pub fn note(&mut self, result: Result<(), LinkError>) {
        self.errors.extend(result.err());
    }

    /// Records a planned port that does not exist.
    pub fn gone(&mut self, port: &str) {
        self.note(Err(LinkError::Gone { port: port.to_owned() }));
    }

    /// Records a refused change of settings.
    pub fn settings_refused(&mut self, port: &str, changes: &[Change], error: NetlinkError) {
        // Without IPv4 (an MTU below 68) the kernel answers no ARP requests either.
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

    /// Returns whether `port` may get `address`. Otherwise another port would answer the venue's
    /// ARP requests for it, which is recorded as an error.
    pub fn permit(&mut self, port: &str, address: IpNet) -> bool {
        if !self.exposed.is_empty() {
            let others = self.exposed.join(", ");
            self.errors.push(LinkError::Exposed { port: port.to_owned(), address, others });
        }
        self.exposed.is_empty()
    }

    /// Combines the errors. Those of one kind, absent ports aside, keep that kind, mixed ones
    /// become `Failed`. `unkept` is the error of saving the previous settings.
    pub fn result(self, unkept: Option<String>) -> Result<Applied, ApplyError> {
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

    fn permits_cluster_address(faults: &mut Faults) -> bool {
        faults.permit("eth0", "192.168.50.1/24".parse().unwrap())
    }

    #[test]
    fn the_cluster_gets_no_address_while_an_uplink_would_answer_for_it() {
        let mut faults = Faults::default();
        faults.settings_refused("eth2", &ARP, refused(Errno::BUSY));
        assert!(!permits_cluster_address(&mut faults));
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
    fn an_absent_uplink_or_one_without_ipv4_is_reported_and_delays_no_address() {
        let mut faults = Faults::default();
        faults.settings_refused("eth2", &ARP, refused(Errno::NODEV));
        faults.settings_refused("eth3", &ARP, refused(Errno::AFNOSUPPORT));
        faults.gone("usb0");
        assert!(permits_cluster_address(&mut faults));
        let error = faults.result(None).unwrap_err();
        assert_eq!(error.kind, ApplyErrorKind::Absent);
        assert!(
            ["eth2", "eth3", "usb0"].iter().all(|port| error.message.contains(port)),
            "{error}"
        );
    }

    #[test]
    fn a_refused_setting_unrelated_to_arp_delays_no_address() {
        let mut faults = Faults::default();
        faults.gone("usb0");
        faults.settings_refused("eth2", &FILTER, refused(Errno::PERM));
        assert!(permits_cluster_address(&mut faults));
        assert_eq!(faults.result(None).unwrap_err().kind, ApplyErrorKind::Denied);
    }

    #[test]
    fn no_error_is_a_success() {
        let unkept = Some("the disk is full".to_owned());
        assert_eq!(Faults::default().result(unkept.clone()), Ok(Applied::Link { unkept }));
    }
}
