//! How full the kernel's table of IPv4 neighbours is. Who finds no room in it is neither reached nor given an address. The table
//! is one for all network namespaces of the machine.

use crate::source::netlink::{Attributes, Connection, Listing, Message, u32_of};

/// `RTM_GETNEIGHTBL` for `AF_INET`; `struct ndtmsg` of `linux/neighbour.h`
const TABLES: Listing = Listing { kind: 66, family: 2, header: 4 };
/// `NDTA_THRESH3`: beyond it nobody is taken in
const SIZE: u16 = 4;
/// `NDTA_CONFIG`: `struct ndt_config`, with `ndtc_entries` behind two numbers of 16 bits
const CONFIG: u16 = 5;
const ENTRIES: usize = 4;

/// Asks over one socket, which is opened by the first question.
#[derive(Debug, Default)]
pub struct Neighbours(Option<Connection>);

impl Neighbours {
    /// (entries, the most that there may be); nothing where the kernel does not say.
    pub fn usage(&mut self) -> Option<(u32, u32)> {
        let connection = match &mut self.0 {
            Some(connection) => connection,
            none => none.insert(Connection::open().ok()?),
        };
        let mut seen = None;
        if connection.dump(TABLES, |message| seen = seen.or(read(message))).is_err() {
            self.0 = None;
        }
        seen
    }
}

/// The messages about single ports have neither.
fn read(message: &Message<'_>) -> Option<(u32, u32)> {
    let attribute = |kind| Attributes::after(message.payload, TABLES.header).find(kind);
    let entries = attribute(CONFIG)?.get(ENTRIES..ENTRIES + 4).and_then(u32_of)?;
    Some((entries, attribute(SIZE).and_then(u32_of)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::netlink::push;

    fn table(config: &[u8]) -> Option<(u32, u32)> {
        let mut payload = vec![2, 0, 0, 0];
        push(&mut payload, 1, b"arp_cache\0");
        push(&mut payload, SIZE, &1024_u32.to_ne_bytes());
        push(&mut payload, CONFIG, config);
        read(&Message { kind: 64, flags: 0, sequence: 1, payload: &payload })
    }

    #[test]
    fn entries_and_size_are_read_where_both_stand() {
        let config = [&4_u16.to_ne_bytes()[..], &400_u16.to_ne_bytes(), &970_u32.to_ne_bytes(), &[0; 24]].concat();
        assert_eq!(table(&config), Some((970, 1024)));
        assert_eq!(table(&config[..7]), None);
        assert_eq!(read(&Message { kind: 64, flags: 0, sequence: 1, payload: &[2] }), None);
    }
}
