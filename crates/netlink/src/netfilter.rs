//! Constants of nfnetlink (`linux/netfilter/nfnetlink.h`) and nf_tables
//! (`linux/netfilter/nf_tables.h`).

/// `NFNL_SUBSYS_CTNETLINK`: connection tracking.
pub const CTNETLINK: u16 = 1;
/// `NFNL_SUBSYS_NFTABLES`: the rule set.
pub const NFTABLES: u16 = 10;
/// `NFNLGRP_NFTABLES`: changes of the rule set.
pub const GROUP_NFTABLES: u32 = 7;
/// `NFPROTO_*` (`linux/netfilter.h`).
pub const INET: u8 = 1;
pub const IPV4: u8 = 2;
pub const ARP: u8 = 3;
pub const NETDEV: u8 = 5;
pub const BRIDGE: u8 = 7;
pub const IPV6: u8 = 10;
/// `NFT_MSG_*`.
pub const GET_TABLE: u8 = 1;
pub const GET_CHAIN: u8 = 4;
pub const GET_RULE: u8 = 7;
pub const GET_SET: u8 = 10;
pub const GET_ELEMENTS: u8 = 13;
/// `NFTA_RULE_*`.
pub const RULE_TABLE: u16 = 1;
pub const RULE_CHAIN: u16 = 2;
pub const RULE_EXPRESSIONS: u16 = 4;
pub const RULE_USERDATA: u16 = 7;
