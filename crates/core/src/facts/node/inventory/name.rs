//! Names for found nodes.

use crate::event::Mac;

/// Maximum length of a DNS label (RFC 1123, 2.1).
const LONGEST: usize = 63;
/// Names that no node may have: `localhost`, and well-known names by which clients find a proxy
/// (CERT VU#598349) or a tunnel (RFC 5214, 9) that they then trust.
const RESERVED: [&str; 3] = ["localhost", "wpad", "isatap"];

/// Returns the first label of a host name as a legal name: in lower case, other characters replaced
/// by `-`. `None` if nothing is left.
pub fn legal(host_name: &str) -> Option<String> {
    let label = host_name.trim().split('.').next().unwrap_or_default();
    let shown = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
    let name: String = label.chars().map(shown).collect();
    let name = name.trim_matches('-');
    let name = name.get(..LONGEST.min(name.len())).unwrap_or_default().trim_end_matches('-');
    (!name.is_empty() && !RESERVED.contains(&name)).then(|| name.to_owned())
}

/// Generates a readable and stable name for a board, the first that is not `taken`: from the device
/// half of its hardware address (`node-00-00-01`), from all of it, then with a number.
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
    fn host_names_are_made_legal() {
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
    fn generated_names_are_readable_and_stable() {
        let mac: Mac = "b8:27:eb:00:00:01".parse().unwrap();
        assert_eq!(generated(mac, |_| false), "node-00-00-01");
        assert_eq!(generated(mac, |name| name == "node-00-00-01"), "node-b8-27-eb-00-00-01");
        assert_eq!(generated(mac, |name| !name.ends_with("-3")), "node-b8-27-eb-00-00-01-3");
    }
}
