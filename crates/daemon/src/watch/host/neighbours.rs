//! How full the kernel's table of IPv4 neighbours is. Who finds no room in it is neither reached
//! nor given an address. The table is one for all network namespaces of the machine.

use bramblegate_netlink::packet::neighbour_table::NeighbourTableAttribute;
use bramblegate_netlink::rtnetlink::{self, Listing};
use bramblegate_netlink::{Message, Protocol, Socket};

/// Asks over one socket, which is opened by the first question.
#[derive(Debug, Default)]
pub struct Neighbours(Option<Socket>);

impl Neighbours {
    /// Returns (entries, the most that there may be); nothing where the kernel does not say.
    pub fn usage(&mut self) -> Option<(u32, u32)> {
        let socket = match &mut self.0 {
            Some(socket) => socket,
            none => none.insert(Socket::open(Protocol::Route, &[]).ok()?),
        };
        let Ok(tables) = socket.dump(&Listing::NeighbourTables.request(), read) else {
            self.0 = None;
            return None;
        };
        tables.items.first().copied()
    }
}

/// Reads a table's usage. The messages about single ports have none.
fn read(message: &Message<'_>) -> Option<(u32, u32)> {
    let (mut entries, mut size) = (None, None);
    for attribute in rtnetlink::neighbour_table(message)?.attributes() {
        match attribute {
            NeighbourTableAttribute::Config(config) => entries = Some(config.entries),
            // Beyond it no entry is taken in.
            NeighbourTableAttribute::Threshold3(threshold) => size = Some(threshold),
            _ => {}
        }
    }
    entries.zip(size)
}

#[cfg(test)]
mod tests {
    use bramblegate_netlink::push;
    use bramblegate_netlink::rtnetlink::kind;

    use super::*;

    /// `NDTA_THRESH3`, `NDTA_CONFIG`
    const SIZE: u16 = 4;
    const CONFIG: u16 = 5;

    fn message(payload: &[u8]) -> Message<'_> {
        Message { kind: kind::NEW_NEIGHBOUR_TABLE, flags: 0, sequence: 1, port: 0, payload }
    }

    fn table(config: &[u8]) -> Option<(u32, u32)> {
        let mut payload = vec![2, 0, 0, 0];
        push(&mut payload, 1, b"arp_cache\0").unwrap();
        push(&mut payload, SIZE, &1024_u32.to_ne_bytes()).unwrap();
        push(&mut payload, CONFIG, config).unwrap();
        read(&message(&payload))
    }

    #[test]
    fn entries_and_size_are_read_where_both_stand() {
        let config =
            [&4_u16.to_ne_bytes()[..], &400_u16.to_ne_bytes(), &970_u32.to_ne_bytes(), &[0; 24]]
                .concat();
        assert_eq!(table(&config), Some((970, 1024)));
        assert_eq!(table(&config[..7]), None);
        assert_eq!(read(&message(&[2])), None);
    }
}
