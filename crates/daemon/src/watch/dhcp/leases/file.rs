//! dnsmasq's lease file: one line per lease, `EXPIRY MAC ADDRESS NAME CLIENT-ID`, with `*` for an
//! unknown name or ID.
//!
//! Parsed leniently: a power cut or a worn SD card may damage it, and one bad line must not cost
//! the others.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::Ipv4Addr;

use crate::event::Mac;

/// Holds one lease of the file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    pub address: Ipv4Addr,
    pub mac: Mac,
    /// Seconds since 1970; 0 means never.
    pub expiry: u64,
    /// Host name without domain.
    pub host_name: Option<String>,
    /// DHCP option 61 in hexadecimal, such as `01:b8:27:eb:00:00:01`.
    pub client_id: Option<String>,
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let or_star = |text: &Option<String>| text.clone().unwrap_or_else(|| "*".to_owned());
        let (name, id) = (or_star(&self.host_name), or_star(&self.client_id));
        write!(f, "{} {} {} {name} {id}", self.expiry, self.mac, self.address)
    }
}

/// Holds the content of a lease file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Leases {
    /// Leases in the order of the file, with unique addresses and hardware addresses.
    pub entries: Vec<Entry>,
    /// Numbers of damaged or duplicate lines, from 1.
    pub damaged: Vec<usize>,
}

impl Leases {
    /// Formats the leases for dnsmasq.
    pub fn to_text(&self) -> String {
        self.entries.iter().map(|entry| format!("{entry}\n")).collect()
    }

    /// Returns the leases by hardware address.
    pub fn by_mac(self) -> BTreeMap<Mac, Entry> {
        BTreeMap::from_iter(self.entries.into_iter().map(|entry| (entry.mac, entry)))
    }
}

/// Parses a lease file. Skips lines of DHCPv6, which we do not serve.
pub fn parse(bytes: &[u8]) -> Leases {
    let mut leases = Leases::default();
    let (mut addresses, mut macs) = (BTreeSet::new(), BTreeSet::new());
    for (number, line) in bytes.split_inclusive(|byte| *byte == b'\n').enumerate() {
        // A line without a line feed was truncated, and its last word may be incomplete.
        let (line, complete) = line.strip_suffix(b"\n").map_or((line, false), |line| (line, true));
        let text = String::from_utf8_lossy(line);
        let words: Vec<&str> = text.split(' ').collect();
        if is_of_ipv6(&words) || line.is_empty() {
            continue;
        }
        let entry = entry(&words).filter(|_| complete);
        if entry.is_none() {
            leases.damaged.push(number + 1);
        }
        // If a line feed was damaged, the next lease is on the same line.
        let Some(entry) = entry.or_else(|| last_entry(&words).filter(|_| complete)) else {
            continue;
        };
        if addresses.insert(entry.address) && macs.insert(entry.mac) {
            leases.entries.push(entry);
        } else if leases.damaged.last() != Some(&(number + 1)) {
            leases.damaged.push(number + 1);
        }
    }
    leases
}

/// Returns whether a line is `duid …`, or a lease with an IPv6 address.
fn is_of_ipv6(words: &[&str]) -> bool {
    words.first() == Some(&"duid")
        || words.get(2).is_some_and(|word| word.parse::<std::net::Ipv6Addr>().is_ok())
}

fn entry(words: &[&str]) -> Option<Entry> {
    let [expiry, mac, address, name, id] = words else { return None };
    let expiry =
        expiry.parse().ok().filter(|_| expiry.bytes().all(|byte| byte.is_ascii_digit()))?;
    entry_of(expiry, mac, address, name, id)
}

fn entry_of(expiry: u64, mac: &str, address: &str, name: &str, id: &str) -> Option<Entry> {
    Some(Entry {
        address: address.parse().ok()?,
        mac: mac.parse().ok()?,
        expiry,
        host_name: known(name, is_host_name)?,
        client_id: known(id, is_client_id)?,
    })
}

/// Parses an optional word: `Some(None)` for "*", `None` if invalid.
fn known(word: &str, valid: fn(&str) -> bool) -> Option<Option<String>> {
    match word {
        "*" => Some(None),
        _ => valid(word).then(|| Some(word.to_owned())),
    }
}

/// Parses the lease at the end of a line with too many words; its expiry is the digits before the
/// last four words.
fn last_entry(words: &[&str]) -> Option<Entry> {
    /// Digits of a time between 2001 and 2286.
    const DIGITS: usize = 10;
    let [_, _, .., before, mac, address, name, id] = words else { return None };
    let digits = before.len() - before.bytes().rev().take_while(u8::is_ascii_digit).count();
    let digits = before.get(digits.max(before.len().saturating_sub(DIGITS))..)?;
    entry_of(digits.parse().ok()?, mac, address, name, id)
}

/// Returns whether a word is a name that dnsmasq accepts: letters, digits, `-`, `_`, `.`.
fn is_host_name(word: &str) -> bool {
    let is_valid = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    !word.is_empty() && word.len() <= 255 && word.bytes().all(is_valid)
}

fn is_client_id(word: &str) -> bool {
    let pair = |pair: &str| pair.len() == 2 && pair.bytes().all(|byte| byte.is_ascii_hexdigit());
    word.len() <= 3 * 255 && word.split(':').all(pair)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FILE: &str = "1900000000 b8:27:eb:00:00:01 192.168.50.101 rpi1 01:b8:27:eb:00:00:01\n\
                        1900000060 b8:27:eb:00:00:02 192.168.50.102 * ff:eb:00:00:02:00:01\n\
                        0 b8:27:eb:00:00:03 192.168.50.103 rpi3 *\n";

    #[test]
    fn a_file_of_dnsmasq_survives_parsing_and_formatting() {
        let leases = parse(FILE.as_bytes());
        assert_eq!(leases.entries.len(), 3);
        assert_eq!(leases.damaged, Vec::<usize>::new());
        assert_eq!(leases.to_text(), FILE);
    }

    #[test]
    fn ipv6_leases_do_not_count_as_damaged() {
        let six = "duid 00:01:00:01\n1900000000 15379456 fd00::1 rpi1 00:01:00:01\n";
        assert_eq!(parse(format!("{FILE}{six}").as_bytes()), parse(FILE.as_bytes()));
    }

    #[test]
    fn truncation_loses_only_the_truncated_lease() {
        for length in 0..=FILE.len() {
            let whole = FILE[..length].matches('\n').count();
            let leases = parse(&FILE.as_bytes()[..length]);
            let reported: Vec<String> =
                leases.entries.iter().map(|entry| format!("{entry}\n")).collect();
            let expected: Vec<String> =
                FILE.split_inclusive('\n').take(whole).map(str::to_owned).collect();
            assert_eq!(reported, expected, "at {length}");
            let between = length == 0 || FILE.as_bytes()[length - 1] == b'\n';
            assert_eq!(leases.damaged.is_empty(), between, "damage is reported, at {length}");
        }
    }

    #[test]
    fn a_damaged_byte_does_not_affect_other_leases() {
        for place in 0..FILE.len() {
            for byte in [0, b'x', b' ', b'\n', b'7', 0xff] {
                let mut bytes = FILE.as_bytes().to_vec();
                bytes[place] = byte;
                let damaged_line = FILE[..place].matches('\n').count();
                let kept = parse(&bytes);
                for (number, line) in
                    FILE.lines().enumerate().filter(|(number, _)| *number != damaged_line)
                {
                    // A damaged digit may produce a duplicate address; the first lease keeps it.
                    let first = kept.entries.iter().any(|entry| entry.to_string() == line);
                    let doubled = number > damaged_line && !kept.damaged.is_empty();
                    assert!(first || doubled, "byte {byte} at {place}: line {number} of {kept:?}");
                }
            }
        }
    }

    #[test]
    fn a_duplicate_address_or_node_is_reported() {
        let twice = format!("{FILE}1900000000 b8:27:eb:00:00:09 192.168.50.101 rpi9 *\n");
        assert_eq!(parse(twice.as_bytes()).damaged, [4]);
        let twice = format!("{FILE}1900000000 b8:27:eb:00:00:01 192.168.50.109 rpi9 *\n");
        assert_eq!(parse(twice.as_bytes()).damaged, [4]);
    }

    proptest! {
        #[test]
        fn leases_parsed_from_any_bytes_survive_formatting(bytes: Vec<u8>) {
            let leases = parse(&bytes);
            let again = parse(leases.to_text().as_bytes());
            prop_assert_eq!(again, Leases { damaged: Vec::new(), ..leases });
        }
    }
}
