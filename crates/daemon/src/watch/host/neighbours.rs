//! Reads the usage of the kernel's IPv4 neighbour table. If it is full, new nodes can neither be
//! reached nor get an address. All network namespaces share the table.

use bramblegate_netlink::packet::neighbour_table::NeighbourTableAttribute;
use bramblegate_netlink::rtnetlink::{self, Listing};
use bramblegate_netlink::{Message, Protocol, Socket};

/// Holds the socket for the queries, opened by the first one.
#[derive(Debug, Default)]
pub struct Neighbours(Option<Socket>);

impl Neighbours {
    /// Returns (entries, maximum), or `None` if the kernel does not report them.
    pub fn usage(&mut self) -> Option<(u32, u32)> {
        let socket = Socket::keep(&mut self.0, Protocol::Route).ok()?;
        let Ok(tables) = socket.dump(&Listing::NeighbourTables.request(), read) else {
            self.0 = None;
            return None;
        };
        tables.items.first().copied()
    }
}

/// Parses a table's usage; messages about the parameters of one interface contain none.
fn read(message: &Message<'_>) -> Option<(u32, u32)> {
    let (mut entries, mut size) = (None, None);
    for attribute in rtnetlink::neighbour_table(message)?.attributes() {
        match attribute {
            NeighbourTableAttribute::Config(config) => entries = Some(config.entries),
            // `gc_thresh3`: the kernel refuses entries beyond it.
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

    /// `NDTA_THRESH3`, `NDTA_CONFIG`.
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
    fn usage_needs_both_entries_and_size() {
        let config =
            [&4_u16.to_ne_bytes()[..], &400_u16.to_ne_bytes(), &970_u32.to_ne_bytes(), &[0; 24]]
                .concat();
        assert_eq!(table(&config), Some((970, 1024)));
        assert_eq!(table(&config[..7]), None);
        assert_eq!(read(&message(&[2])), None);
    }
}
