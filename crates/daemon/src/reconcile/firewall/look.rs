//! Reads our table from the kernel.

use bramblegate_netlink::netfilter::{
    GET_RULE, GET_TABLE, INET, NFTABLES, RULE_CHAIN, RULE_EXPRESSIONS, RULE_TABLE,
};
use bramblegate_netlink::{Request, Socket};
use rustix::io::Errno;

use super::encode::comment_data;
use crate::decide::firewall::{HIDING, TABLE, TABLE_COMMENT};

/// `NFTA_TABLE_*`
const TABLE_NAME: u16 = 1;
const TABLE_FLAGS: u16 = 2;
const TABLE_USERDATA: u16 = 6;
const TABLE_OWNER: u16 = 7;
/// `NFTA_LIST_ELEM`, `NFTA_EXPR_NAME`
const EXPRESSION_NAME: u16 = 1;

/// The table of our name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// `NFT_TABLE_F_*`
    pub flags: u32,
    /// Netlink port ID of the process that owns it.
    pub owner: Option<u32>,
    /// It has our comment, so this program created it, now or in an earlier run.
    pub ours: bool,
}

/// Returns the table of our name, if it exists.
pub fn look(socket: &mut Socket) -> Result<Option<Seen>, Errno> {
    let mut seen = None;
    let request = Request::netfilter(NFTABLES, GET_TABLE, INET).text(TABLE_NAME, TABLE);
    let result = socket.request(&request, |message| {
        let table = message.attributes();
        seen = Some(Seen {
            flags: table.be32(TABLE_FLAGS).unwrap_or(0),
            owner: table.be32(TABLE_OWNER).filter(|port| *port != 0),
            ours: table.value(TABLE_USERDATA) == Some(comment_data(TABLE_COMMENT).as_slice()),
        });
    });
    match result.map_err(Errno::from) {
        Ok(()) => Ok(seen),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(errno),
    }
}

/// Returns whether a rule in our table masquerades the cluster's addresses.
pub(super) fn masquerades(socket: &mut Socket) -> Result<bool, Errno> {
    let request = Request::netfilter(NFTABLES, GET_RULE, INET).dump().text(RULE_TABLE, TABLE);
    let found = socket.dump(&request, |message| {
        let rule = message.attributes();
        let ours = rule.text(RULE_TABLE).as_deref() == Some(TABLE);
        let ours = ours && rule.text(RULE_CHAIN).as_deref() == Some(HIDING);
        let mut names =
            rule.nest(RULE_EXPRESSIONS).map(|element| element.nest().text(EXPRESSION_NAME));
        (ours && names.any(|name| name.as_deref() == Some("masq"))).then_some(())
    })?;
    Ok(!found.items.is_empty())
}
