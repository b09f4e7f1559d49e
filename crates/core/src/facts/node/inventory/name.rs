//! Names for nodes without configured names.

use crate::event::Mac;

/// A label of the domain name system is no longer (RFC 1123, 2.1).
const LONGEST: usize = 63;
/// The machine's own name for itself is no node's, and neither are names at which others' programs
/// ask for what they then trust: a proxy (CERT VU#598349), a tunnel (RFC 5214, 9).
const RESERVED: [&str; 3] = ["localhost", "wpad", "isatap"];

/// Makes a legal host name of what a node calls itself: its first label, in lower case, other
/// characters as `-`. `None` if nothing is left.
pub fn legal(host_name: &str) -> Option<String> {
    let label = host_name.trim().split('.').next().unwrap_or_default();
    let shown = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
    let name: String = label.chars().map(shown).collect();
    let name = name.trim_matches('-');
    let name = name.get(..LONGEST.min(name.len())).unwrap_or_default().trim_end_matches('-');
    (!name.is_empty() && !RESERVED.contains(&name)).then(|| name.to_owned())
}

/// Makes a name for a board that has none: readable, and the same for the same board for ever. The
/// first that is not `taken`: the hardware address' own half (`node-00-00-01`), all of it, then
/// counted.
pub fn generated(mac: Mac, taken: impl Fn(&str) -> bool) -> String {
    let whole = mac.to_string().replace(':', "-");
    let half = whole.get(9..).unwrap_or(&whole);
    let short = format!("node-{half}");
    let long = format!("node-{whole}");
    let counted = (2_u32..).map(|count| format!("{long}-{count}"));
    [short, long.clone()].into_iter().chain(counted).find(|name| !taken(name)).unwrap_or(long)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_node_calls_itself_is_made_a_host_name() {
        assert_eq!(legal("raspberrypi").as_deref(), Some("raspberrypi"));
        assert_eq!(legal("Anna's Pi.local").as_deref(), Some("anna-s-pi"));
        assert_eq!(legal("--").as_deref(), None);
        assert_eq!(legal("").as_deref(), None);
        assert_eq!(legal("LOCALHOST.localdomain"), None);
        assert_eq!((legal("wpad.bramble"), legal("ISATAP")), (None, None));
        assert_eq!(legal(&"x".repeat(100)).map(|name| name.len()), Some(63));
        assert_eq!(legal(&format!("{}--y", "x".repeat(62))).map(|name| name.len()), Some(62));
        assert_eq!(legal("küche").as_deref(), Some("k-che"));
    }

    #[test]
    fn a_board_without_a_name_gets_a_readable_one_and_always_the_same() {
        let mac: Mac = "b8:27:eb:00:00:01".parse().unwrap();
        assert_eq!(generated(mac, |_| false), "node-00-00-01");
        assert_eq!(generated(mac, |name| name == "node-00-00-01"), "node-b8-27-eb-00-00-01");
        assert_eq!(generated(mac, |name| !name.ends_with("-3")), "node-b8-27-eb-00-00-01-3");
    }
}
