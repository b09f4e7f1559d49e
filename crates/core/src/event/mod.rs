//! The one event type: everything that can wake the daemon is a variant, and every variant is plain
//! data.
//!
//! Beside them stands what each watch is to look at (`…Plan`): decided by `decide`, handed out by
//! the loop; an equal one wakes no task.
//!
//! Watches make events, [`crate::facts::Facts::apply`] takes them in, reconcilers answer with
//! [`Event::Applied`].

pub mod alert;
mod dhcp;
mod firewall;
mod host;
mod link;
mod output;
mod probe;
mod routing;
mod share;
mod uplink;
mod venue;
mod web;

use std::ops::Add;
use std::time::Duration;

pub use crate::api::control::{Order, Shutdown as Report};
pub use crate::config::{Mac, printable, printable_json, printable_line};
pub use alert::{Acknowledgement, AlertCode, AlertId, Severity};
pub use dhcp::{Dhcp, DhcpWatchPlan, Lease, ServerLog, ServerLogKind};
pub use firewall::{Blocker, COMMENT_ROUTER, Dropped, Firewall, FirewallWatch, RuleCount, Traffic};
pub use host::{Astray, Button, Conflict, Head, MARK_ELSEWHERE, Pressure, Vital, VitalsPlan, Way};
pub use link::{
    Address, Anycast, ConflictPlan, ConflictPort, Delegated, Flow, Link, LinkIndex, Neighbour,
    NeighbourPlan, Netconf, ROUTE_PROTOCOL, Route, Rule,
};
pub use output::{Applied, ApplyError, ApplyErrorKind, ApplyReport, Output, in_words};
pub use probe::{NodeId, NodeProbePlan, NodeTarget, Probe, Reachability, Round};
pub use probe::{UplinkProbePlan, UplinkTarget};
pub use routing::{EgressPlan, INTERNET};
pub use share::{Disk, ShareSeen};
pub use uplink::{Acquisition, ListeningPlan, PortalSource, PortalUrl, UplinkNews};
pub use venue::{Path, RouterOffer, VenueNews, VenuePlan};
pub use web::Web;

/// Holds a moment on the boot clock (`CLOCK_BOOTTIME`): never set back, counts through suspend.
///
/// Pure rooms get it as an argument and never read a clock themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Instant(Duration);

impl Instant {
    /// Returns the moment `since_boot` after the machine started.
    pub const fn from_boot(since_boot: Duration) -> Self {
        Self(since_boot)
    }

    /// Returns the time since the machine started.
    pub const fn since_boot(self) -> Duration {
        self.0
    }

    /// Returns the time from `earlier` to `self`; zero if `earlier` is later.
    pub fn saturating_since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

impl Add<Duration> for Instant {
    type Output = Self;
    fn add(self, rhs: Duration) -> Self {
        Self(self.0.saturating_add(rhs))
    }
}

/// Reports something that is there (new or changed), or that has gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change<T> {
    /// It exists and looks like this.
    Present(T),
    /// It is gone.
    Gone(T),
}

/// Bounds a full listing: what is not listed between `Begin` and `End` does not exist any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dump {
    Begin,
    End,
}

/// Reports that a device came or went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hotplug {
    /// An I²C adapter or GPIO chip appeared or vanished: the display tries again.
    Display,
    /// A USB HID device or kernel LED appeared or vanished: the indicator tries again.
    Indicator,
}

/// Says why the daemon ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// SIGTERM or SIGINT.
    Terminated,
    /// The service manager will start us again at once: nothing is to change.
    Restart,
    /// The machine powers off.
    PowerOff,
    /// The machine reboots.
    Reboot,
}

/// Lists everything that can wake the daemon.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    Dump(Dump),
    /// The kernel dropped messages (ENOBUFS): a new dump follows.
    Overrun,
    Link(Change<Link>),
    Address(Change<Address>),
    Anycast(Change<Anycast>),
    Delegated(Change<Delegated>),
    Route(Change<Route>),
    Rule(Change<Rule>),
    Netconf(Netconf),
    Neighbour(Change<Neighbour>),
    /// A DHCP lease given to a node, or its end.
    Lease(Change<Lease>),
    Dhcp(Dhcp),
    Order(Order),
    Acknowledgement(Acknowledgement),
    Button(Button),
    Probe(Probe),
    Uplink(UplinkNews),
    /// What the network behind an uplink offers.
    Venue(VenueNews),
    /// Where the status page is.
    Web(Web),
    /// How the shared disks are.
    Share(ShareSeen),
    Hotplug(Hotplug),
    Firewall(Firewall),
    Vital(Vital),
    Applied(ApplyReport),
    /// A deadline of [`crate::facts::Facts::next_deadline`] has come.
    Tick,
    /// Re-read the settings.
    Reload,
    Stop(Stop),
}
