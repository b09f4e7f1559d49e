//! Detects changes by other programs, from messages of the multicast group `NFNLGRP_NFTABLES`.

use bramblegate_netlink::Message;
use bramblegate_netlink::netfilter::{INET, NFTABLES};

const NEW_GENERATION: u16 = 15;
/// `NFTA_GEN_PROC_PID`, `NFTA_GEN_PROC_NAME`.
const PROCESS: u16 = 2;
const PROCESS_NAME: u16 = 3;

/// Classifies a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Disturbance {
    None,
    /// A transaction of another program is complete, and did not touch our table.
    Foreign,
    /// A transaction of another program is complete, and touched our table.
    Ours {
        by: Option<String>,
    },
}

/// Collects the messages of a transaction until its end (`NFT_MSG_NEWGEN`) names the process.
#[derive(Debug, Clone, Default)]
pub struct Watcher {
    ours_touched: bool,
}

impl Watcher {
    /// Returns whether an unfinished transaction of another program has touched our table.
    pub fn is_touched(&self) -> bool {
        self.ours_touched
    }

    /// Processes one message. `table` is our table's name, `own_port` our netlink port ID (0 before
    /// the table is loaded).
    pub fn take(&mut self, message: &Message<'_>, table: &str, own_port: u32) -> Disturbance {
        if message.kind >> 8 != NFTABLES {
            return Disturbance::None;
        }
        let own = own_port != 0 && message.port == own_port;
        let attributes = message.attributes();
        if message.kind & 0xff != NEW_GENERATION {
            // Attribute 1 is the table name in every message but `NFT_MSG_NEWGEN`.
            let ours =
                message.family() == Some(INET) && attributes.text(1).as_deref() == Some(table);
            self.ours_touched |= ours && !own && own_port != 0;
            return Disturbance::None;
        }
        let touched = std::mem::take(&mut self.ours_touched);
        match (own, touched) {
            (true, _) => Disturbance::None,
            (false, false) => Disturbance::Foreign,
            (false, true) => Disturbance::Ours {
                by: attributes.text(PROCESS_NAME).map(|name| match attributes.be32(PROCESS) {
                    Some(process) => format!("{name} ({process})"),
                    None => name,
                }),
            },
        }
    }
}
