//! The one event type: everything that can wake the daemon is a variant, and every variant is plain
//! data.
//!
//! The `…Plan` types configure the watches: `decide` computes them, the event loop distributes
//! them, and a plan equal to the previous one wakes no task.
//!
//! Watches send events, [`crate::facts::Facts::apply`] processes them, reconcilers report back with
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
pub use probe::{
    NodeId, NodeProbePlan, NodeTarget, Probe, Reachability, Round, UplinkProbePlan, UplinkTarget,
};
pub use routing::{EgressPlan, INTERNET};
pub use share::{Disk, ShareSeen};
pub use uplink::{Acquisition, ListeningPlan, PortalSource, PortalUrl, UplinkNews};
pub use venue::{Path, RouterOffer, VenueNews, VenuePlan};
pub use web::Web;

/// Holds a point in time of `CLOCK_BOOTTIME`: monotonic, and includes time spent in suspend.
///
/// Pure code gets it as an argument and never reads a clock itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Instant(Duration);

impl Instant {
    /// Returns the instant `since_boot` after the machine started.
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

/// Reports that an object exists (new or changed), or was removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change<T> {
    Present(T),
    Gone(T),
}

/// Marks the bounds of a full dump: an object that is not listed between them no longer exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dump {
    Begin,
    End,
}

/// Reports that a device was plugged in or removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hotplug {
    /// An I²C adapter or GPIO chip: the display is opened again.
    Display,
    /// A USB HID device or kernel LED: the indicator is opened again.
    Indicator,
}

/// Gives the reason why the daemon stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// SIGTERM or SIGINT.
    Terminated,
    /// The service manager will start the daemon again at once, so the outputs stay as they are.
    Restart,
    PowerOff,
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
    /// IPv6 forwarding was switched off on an interface, or on all ([`Netconf::ALL`]).
    Ipv6ForwardingOff(LinkIndex),
    Neighbour(Change<Neighbour>),
    /// A DHCP lease of a node was granted, renewed, or has ended.
    Lease(Change<Lease>),
    Dhcp(Dhcp),
    Order(Order),
    Acknowledgement(Acknowledgement),
    Button(Button),
    Probe(Probe),
    Uplink(UplinkNews),
    Venue(VenueNews),
    Web(Web),
    Share(ShareSeen),
    Hotplug(Hotplug),
    Firewall(Firewall),
    Vital(Vital),
    Applied(ApplyReport),
    /// The deadline of [`crate::facts::Facts::next_deadline`] has passed.
    Tick,
    /// Re-read the settings.
    Reload,
    Stop(Stop),
}
