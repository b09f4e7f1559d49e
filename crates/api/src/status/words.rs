//! The words of the status, which are the daemon's own as well.

use crate::word::words;

words! {
    /// How bad it is, from well to broken; ordered.
    Severity {
        Ok = "ok",
        Notice = "notice",
        Warning = "warning",
        Fault = "fault",
    }

    /// What an uplink is like.
    UplinkState {
        /// no such interface
        Absent = "absent",
        NoCarrier = "no-carrier",
        /// a carrier, no address yet
        Searching = "searching",
        /// a carrier and no address for 10 s, or just a link-local one
        NoDhcp = "no-dhcp",
        /// an address; nothing (yet) known of the internet
        Addressed = "addressed",
        Online = "online",
        /// a captive portal answers in the internet's place
        Portal = "portal",
        /// the venue leased the head an address of the cluster
        Clash = "clash",
    }

    /// What kind of network the venue has, as seen by one uplink.
    VenueKind {
        /// IPv4 alone
        V4 = "v4",
        /// IPv4 and IPv6
        Dual = "dual",
        /// IPv6 and NAT64 for all, IPv4 for those that ask for it (option 108, RFC 8925)
        V6Mostly = "v6-mostly",
        /// IPv6 alone, with a translator to the IPv4 internet (RFC 6146)
        V6OnlyNat64 = "v6-only+nat64",
        V6Only = "v6-only",
        /// a captive portal answers in the internet's place
        Portal = "portal",
        /// no address, or nothing answers
        Offline = "offline",
    }

    /// How IPv4 is translated to IPv6 on the head (464XLAT, RFC 6877).
    ClatState {
        /// it is wanted, and the translator's port is not there yet
        Waiting = "waiting",
        On = "on",
        /// an address and a default route have outlived their translator
        LeftOver = "left-over",
    }

    /// How far the DHCP client of an uplink without an IPv4 address has come.
    DhcpProgress {
        /// nothing on this machine asks for an address there
        NoClient = "no-client",
        /// a client is there, and asks nothing
        Waiting = "waiting",
        /// asked, and no server has answered
        Unanswered = "unanswered",
        /// a server has made an offer that is not taken
        Offered = "offered",
        /// the server asks for IPv6 only (option 108, RFC 8925)
        Ipv6Only = "ipv6-only",
        /// the server refused the address that the client asked for
        Refused = "refused",
        /// the client refused the address: another computer of the venue has it
        Declined = "declined",
    }

    /// How the venue's addresses and the cluster's get along.
    Overlap {
        None = "none",
        /// the venue uses the cluster's subnet: policy routing keeps both working
        Routed = "routed",
        /// the venue leased the head an address of the cluster: the cluster has moved
        Renumbered = "renumbered",
    }

    /// DHCP for the nodes.
    DhcpStatus {
        Serving = "serving",
        Off = "off",
        /// there is no cluster interface, or it is not known yet whether another server answers
        /// there
        Waiting = "waiting",
        /// another server answers on the cluster interface
        RefusedForeignServer = "refused-foreign-server",
        /// dnsmasq is missing or does not start
        Failed = "failed",
    }

    /// How a node is.
    NodeHealth {
        /// not probed, not yet, or has not answered since the start and may be starting still
        Unknown = "unknown",
        /// it loads its system from the head
        Booting = "booting",
        Up = "up",
        /// it answers, but slowly, with losses, or not all the time
        Degraded = "degraded",
        Down = "down",
        /// worked on: no alarm whatever its probes say
        Maintenance = "maintenance",
    }

    /// How a node is known.
    Origin {
        /// the settings name it
        Settings = "settings",
        /// it asked for an address, or was heard on the cluster interface
        Found = "found",
    }

    /// How a device of the panel is.
    DeviceState {
        Ok = "ok",
        Absent = "absent",
        Error = "error",
        Off = "off",
    }

    /// The rhythm of an LED.
    Pattern {
        Off = "off",
        Steady = "steady",
        /// 4 s
        Breathe = "breathe",
        /// 1.2 s
        QuickBreathe = "quick-breathe",
        /// two 150 ms flashes every 2 s
        DoubleBlink = "double-blink",
        /// 2 Hz
        FastBlink = "fast-blink",
    }
}

impl UplinkState {
    /// Returns whether there is an address to ssh to.
    pub const fn is_addressed(self) -> bool {
        matches!(self, Self::Addressed | Self::Online | Self::Portal | Self::Clash)
    }
}
