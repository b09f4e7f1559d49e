//! Constants of nfnetlink (`linux/netfilter/nfnetlink.h`).

/// `NFNL_SUBSYS_CTNETLINK`: connection tracking.
pub const CTNETLINK: u16 = 1;
/// `NFNL_SUBSYS_NFTABLES`: the rule set.
pub const NFTABLES: u16 = 10;
/// `NFNLGRP_NFTABLES`: changes of the rule set.
pub const GROUP_NFTABLES: u32 = 7;
