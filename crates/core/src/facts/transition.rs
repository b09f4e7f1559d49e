//! Changes of the facts, from which the journal's records are made.

use std::net::{IpAddr, Ipv4Addr};

use ipnet::IpNet;

use crate::api::status::{NodeHealth, UplinkState};
use crate::event::{Mac, Output, Reachability, ServerLog};

/// Describes one change of the facts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Transition {
    /// An uplink appeared, lost its carrier, got an address, and so on.
    UplinkState { port: String, from: UplinkState, to: UplinkState },
    /// An uplink has a new address.
    UplinkAddress { port: String, address: IpNet, gateway: Option<IpAddr> },
    /// An uplink's address was removed and added again, or its lease was extended after that.
    UplinkRenewed { port: String, address: IpNet },
    /// An uplink's address was removed, and not for a renewal.
    UplinkAddressLost { port: String, address: IpNet },
    /// Another uplink became the active one.
    ActiveUplink { from: Option<String>, to: Option<String> },
    /// The internet became reachable or unreachable through an uplink.
    Reachability { port: String, to: Reachability },
    /// A node's health changed; `why`: the reason if it is degraded.
    NodeHealth { name: String, from: NodeHealth, to: NodeHealth, why: Option<Trouble> },
    /// A booting node loads another file.
    NodeStage { name: String },
    /// The number of awaited nodes has grown.
    NodesAwaited,
    /// A node that is not in the settings was found.
    NodeFound { name: String, mac: Option<Mac>, address: Option<IpAddr> },
    /// A found node was removed from the list.
    NodeForgotten { name: String },
    /// The cluster port appeared or vanished.
    ClusterPort { port: String, present: bool },
    /// Another program changed our configuration, which is being restored.
    Disturbed { output: Output, what: String, by: Option<String> },
    /// An output recovered from an error.
    OutputHealed { output: Output },
    /// An output failed.
    OutputFailed { output: Output, message: String },
    /// The rule set was loaded. `flow_table` and `rejects` are set only if they are to be reported.
    RulesetApplied {
        generation: u64,
        adopted: bool,
        flow_table: Option<bool>,
        rejects: Option<bool>,
        owned: bool,
    },
    /// The cluster moved to another subnet, or back.
    ClusterMoved { from: IpNet, to: IpNet },
    /// Stale connection tracking entries were deleted.
    ConntrackFlushed { deleted: u32 },
    /// This hardware cannot detect that the display lost power.
    DisplayBlind,
    /// Our DHCP and DNS server logged a message.
    ServerSaid(ServerLog),
    /// The switch at the cluster port blocks traffic for this long, so that no DHCP probe is sent.
    DhcpHeld { seconds: u64 },
    /// A foreign DHCP server is active on the cluster port, so that ours is not.
    ForeignDhcp { server: Ipv4Addr, mac: Option<Mac> },
    /// The foreign server no longer replies, or the cable was pulled.
    ForeignDhcpGone { server: Ipv4Addr },
    /// Users acknowledged these alerts.
    Acknowledged { alerts: Vec<String> },
    /// The power button was held long enough.
    PowerOffOrdered,
    /// The machine did not power off in time.
    PowerOffUnheard,
    /// This number of nodes is being shut down; `head`: the head follows.
    ShutdownBegan { nodes: usize, head: bool },
    /// The shutdown ended; `up`: the first of `total` nodes that are still up.
    ShutdownEnded { up: Vec<String>, total: usize, head: bool },
    /// The shutdown's progress reports stopped before its end.
    ShutdownBrokenOff,
    /// Nodes that were shut down did not return with the others.
    NodesMissing { names: Vec<String> },
    /// Settings were read again.
    Reloaded,
}

/// Gives the reason why a node that replies is degraded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Trouble {
    /// It goes down and up repeatedly.
    Flapping,
    /// It loses first attempts.
    Lossy,
    /// Its round-trip time is long.
    Slow,
}

impl Trouble {
    /// Returns the word in alerts and journal.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Flapping => "flapping",
            Self::Lossy => "lossy",
            Self::Slow => "slow",
        }
    }
}
