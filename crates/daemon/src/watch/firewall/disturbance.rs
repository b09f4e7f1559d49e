//! Who changed what, from the messages of the group `NFNLGRP_NFTABLES`.

use bramblegate_netlink::Message;
use bramblegate_netlink::netfilter::NFTABLES;

const NEW_GENERATION: u16 = 15;
/// `NFTA_GEN_PROC_PID`, `NFTA_GEN_PROC_NAME`
const PROCESS: u16 = 2;
const PROCESS_NAME: u16 = 3;
/// `NFPROTO_INET`
const INET: u8 = 1;

/// Names what a message says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Disturbance {
    None,
    /// a transaction of another program is done; our table is as it was
    Foreign,
    /// a transaction of another program is done, and our table was part of it
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
    /// Returns whether a transaction of another program touches our table, and its end has not come
    /// yet.
    pub fn is_touched(&self) -> bool {
        self.ours_touched
    }

    /// Takes one message; `table` is the name of ours, `own_port` whose changes are our own (0:
    /// without an owner yet).
    pub fn take(&mut self, message: &Message<'_>, table: &str, own_port: u32) -> Disturbance {
        if message.kind >> 8 != NFTABLES {
            return Disturbance::None;
        }
        let own = own_port != 0 && message.port == own_port;
        let attributes = message.attributes();
        if message.kind & 0xff != NEW_GENERATION {
            // Attribute 1 is the table's name in every message but that of an event's end.
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
