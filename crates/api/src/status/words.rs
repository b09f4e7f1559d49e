//! The enumerations of the status, which the daemon uses internally too.

use crate::word::words;

words! {
    /// Severities, in ascending order.
    Severity {
        Ok = "ok",
        Notice = "notice",
        Warning = "warning",
        Fault = "fault",
    }

    /// The state of an uplink.
    UplinkState {
        /// The interface does not exist.
        Absent = "absent",
        NoCarrier = "no-carrier",
        /// A carrier, no address yet.
        Searching = "searching",
        /// A carrier, but no address for 10 s, or only a link-local one.
        NoDhcp = "no-dhcp",
        /// An address; the internet does not answer, or was not probed yet.
        Addressed = "addressed",
        Online = "online",
        /// A captive portal answers instead of the internet.
        Portal = "portal",
        /// The venue leased the head an address of the cluster.
        Clash = "clash",
    }

    /// The kind of the venue's network, as seen through one uplink.
    VenueKind {
        /// IPv4 only.
        V4 = "v4",
        /// IPv4 and IPv6.
        Dual = "dual",
        /// IPv6 and NAT64 for all hosts, IPv4 for those that ask for it (option 108, RFC 8925).
        V6Mostly = "v6-mostly",
        /// IPv6 only, with a translator to the IPv4 internet (RFC 6146).
        V6OnlyNat64 = "v6-only+nat64",
        V6Only = "v6-only",
        /// A captive portal answers instead of the internet.
        Portal = "portal",
        /// No address, or nothing answers.
        Offline = "offline",
    }

    /// The state of the translator from IPv4 to IPv6 on the head (464XLAT, RFC 6877).
    ClatState {
        /// Wanted, but the translator's interface does not exist yet.
        Waiting = "waiting",
        On = "on",
        /// The translator has ended, but its address and default route remain.
        LeftOver = "left-over",
    }

    /// The progress of the DHCP client of an uplink without an IPv4 address.
    DhcpProgress {
        /// No DHCP client runs on the interface.
        NoClient = "no-client",
        /// A client runs, but has not sent a request.
        Waiting = "waiting",
        /// The client has sent requests, and no server has answered.
        Unanswered = "unanswered",
        /// A server has made an offer, which the client has not accepted.
        Offered = "offered",
        /// The server asks for IPv6 only (option 108, RFC 8925).
        Ipv6Only = "ipv6-only",
        /// The server refused the address that the client requested.
        Refused = "refused",
        /// The client declined the address, since another computer of the venue has it.
        Declined = "declined",
    }

    /// An overlap of the venue's addresses with the cluster's.
    Overlap {
        None = "none",
        /// The venue uses the cluster's subnet: policy routing keeps both working.
        Routed = "routed",
        /// The venue leased the head an address of the cluster: the cluster was renumbered.
        Renumbered = "renumbered",
    }

    /// The state of DHCP for the nodes.
    DhcpStatus {
        Serving = "serving",
        Off = "off",
        /// The cluster interface does not exist, or it is not known yet whether another server
        /// answers on it.
        Waiting = "waiting",
        /// Another server answers on the cluster interface.
        RefusedForeignServer = "refused-foreign-server",
        /// dnsmasq is missing or does not start.
        Failed = "failed",
    }

    /// The health of a node.
    NodeHealth {
        /// Not probed, not probed yet, or without an answer since the start: it may still be
        /// booting.
        Unknown = "unknown",
        /// Loading its system from the head.
        Booting = "booting",
        Up = "up",
        /// Answers slowly, with losses, or intermittently.
        Degraded = "degraded",
        Down = "down",
        /// In maintenance: no alert, whatever its probes report.
        Maintenance = "maintenance",
    }

    /// The origin of a node.
    Origin {
        /// The settings name it.
        Settings = "settings",
        /// It requested an address, or was seen on the cluster interface.
        Found = "found",
    }

    /// The state of a device of the panel.
    DeviceState {
        Ok = "ok",
        Absent = "absent",
        Error = "error",
        Off = "off",
    }

    /// The pattern of an LED.
    Pattern {
        Off = "off",
        Steady = "steady",
        /// A period of 4 s.
        Breathe = "breathe",
        /// A period of 1.2 s.
        QuickBreathe = "quick-breathe",
        /// Two 150 ms flashes every 2 s.
        DoubleBlink = "double-blink",
        /// 2 Hz.
        FastBlink = "fast-blink",
    }
}

impl UplinkState {
    /// Returns whether there is an address to ssh to.
    pub const fn is_addressed(self) -> bool {
        matches!(self, Self::Addressed | Self::Online | Self::Portal | Self::Clash)
    }
}
