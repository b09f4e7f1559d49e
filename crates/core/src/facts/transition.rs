//! What changed, as facts: the journal makes lines of them.

use std::net::{IpAddr, Ipv4Addr};

use ipnet::IpNet;

use crate::api::status::{NodeHealth, UplinkState};
use crate::event::{Mac, Output, Reachability, ServerLog};

/// One change of fact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Transition {
    /// An uplink appeared, lost its cable, searches, got an address, …
    UplinkState { port: String, from: UplinkState, to: UplinkState },
    /// An uplink has a new address.
    UplinkAddress { port: String, address: IpNet, gateway: Option<IpAddr> },
    /// An address was dropped and re-added, or its lease was prolonged after that.
    UplinkRenewed { port: String, address: IpNet },
    /// An uplink's address is gone for good (not a renewal).
    UplinkAddressLost { port: String, address: IpNet },
    /// Another uplink is the active one.
    ActiveUplink { from: Option<String>, to: Option<String> },
    /// The internet behind the uplink.
    Reachability { port: String, to: Reachability },
    /// A node's health, and why one is degraded.
    NodeHealth { name: String, from: NodeHealth, to: NodeHealth, why: Option<Trouble> },
    /// A node that boots has come further.
    NodeStage { name: String },
    /// More nodes than before have not answered yet.
    NodesAwaited,
    /// A node that the settings do not name was found.
    NodeFound { name: String, mac: Option<Mac>, address: Option<IpAddr> },
    /// A node that was found is gone for good.
    NodeForgotten { name: String },
    /// The cluster port appeared or vanished.
    ClusterPort { port: String, present: bool },
    /// Another program undid our work and it is being put back.
    Disturbed { output: Output, what: String, by: Option<String> },
    /// An output holds what it should after it did not.
    OutputHealed { output: Output },
    /// An output failed.
    OutputFailed { output: Output, message: String },
    /// The rule set is in the kernel; with or without its flow table and what it rejects, where
    /// that is worth a word.
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
    /// Whether the display has lost its power cannot be seen on this hardware.
    DisplayBlind,
    /// Our DHCP and DNS server had something to say.
    ServerSaid(ServerLog),
    /// The switch at the cluster port lets nothing through for so many seconds: no server can be
    /// asked until then.
    DhcpHeld { seconds: u64 },
    /// Another server gives addresses on the cluster port: we do not.
    ForeignDhcp { server: Ipv4Addr, mac: Option<Mac> },
    /// That one is not heard any more, or its cable was pulled.
    ForeignDhcpGone { server: Ipv4Addr },
    /// Users know of these alerts now; by their keys.
    Acknowledged { alerts: Vec<String> },
    /// The power button was held long enough.
    PowerOffOrdered,
    /// The order was not carried out.
    PowerOffUnheard,
    /// So many nodes are being shut down; `head`: the head follows.
    ShutdownBegan { nodes: usize, head: bool },
    /// The nodes are off, but for the first of `total` that are still up.
    ShutdownEnded { up: Vec<String>, total: usize, head: bool },
    /// Nothing more is heard of the shutdown.
    ShutdownBrokenOff,
    /// Nodes that were shut down have not come back with the others.
    NodesMissing { names: Vec<String> },
    /// Settings were read again.
    Reloaded,
}

/// Why a node that answers is degraded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Trouble {
    /// Goes down and comes back again and again.
    Flapping,
    /// Loses first tries.
    Lossy,
    /// Its round trips are long.
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
