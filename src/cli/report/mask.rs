//! Masks for addresses, hardware addresses and names: the same thing has the same mask in every
//! file of a report, and addresses of one subnet share the mask of the subnet.

use std::collections::{BTreeSet, HashMap};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Octets of a hardware address.
const MAC: usize = 6;

/// Returns whether an address identifies no machine, or is the same everywhere.
fn is_common(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => {
            let [first, ..] = address.octets();
            // A netmask is a row of ones, then zeros; 0.0.0.0 is one too.
            let bits = u32::from(address);
            let is_netmask = bits.leading_ones() + bits.trailing_zeros() >= u32::BITS;
            is_netmask || first == 127 || address.is_multicast() || address.is_broadcast()
        }
        IpAddr::V6(address) => {
            address.is_unspecified() || address.is_loopback() || address.is_multicast()
        }
    }
}

/// The masks, and what they stand for.
#[derive(Debug, Default)]
pub struct Masks {
    /// Known names and other words, in lower case; masked wherever they are a whole word.
    words: BTreeSet<String>,
    /// Kind and thing → mask.
    given: HashMap<(&'static str, String), String>,
    /// Number of masks of each kind.
    counts: HashMap<&'static str, usize>,
}

impl Masks {
    /// Masks a word wherever it is a whole word from now on. A number is left: it names no machine,
    /// and would be masked in addresses too.
    pub fn hide(&mut self, word: &str) {
        let word = word.trim().to_ascii_lowercase();
        if word.chars().any(char::is_alphabetic) {
            self.words.insert(word);
        }
    }

    /// Returns how many different things of a kind were masked: "NAME", "MAC", "NET", "HOST".
    pub fn count(&self, kind: &str) -> usize {
        self.counts.get(kind).copied().unwrap_or(0)
    }

    /// Returns a text with everything masked.
    pub fn mask(&mut self, text: &str) -> String {
        let mut masked = String::with_capacity(text.len());
        let mut rest = text;
        let mut before = ' ';
        while let Some(first) = rest.chars().next() {
            // udev names a USB adapter by `enx` and its hardware address.
            let is_start = !before.is_ascii_alphanumeric();
            let found = if masked.ends_with("enx") {
                self.bare_hardware(rest, true)
            } else {
                is_start.then(|| self.at(rest)).flatten()
            };
            let length = match found {
                Some((length, mask)) => {
                    masked.push_str(&mask);
                    length
                }
                None => {
                    masked.push(first);
                    first.len_utf8()
                }
            };
            let (gone, left) = rest.split_at(length);
            before = gone.chars().next_back().unwrap_or(' ');
            rest = left;
        }
        masked
    }

    /// Returns the length of the text's beginning that is masked, and the mask. A name such as `b8`
    /// or `fd12` may be the beginning of an address, which is masked as a whole.
    fn at(&mut self, text: &str) -> Option<(usize, String)> {
        self.hardware(text)
            .or_else(|| self.bare_hardware(text, false))
            .or_else(|| self.ipv6(text))
            .or_else(|| self.word(text))
            .or_else(|| self.ipv4(text))
    }

    /// Masks the longest known word at the text's beginning.
    fn word(&mut self, text: &str) -> Option<(usize, String)> {
        let is_part = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        let run = text.find(|c| !is_part(c)).unwrap_or(text.len());
        let run = text.get(..run)?.to_ascii_lowercase();
        let ends = (1..=run.len()).rev().filter(|end| ends_at(&run, *end));
        let known =
            ends.filter_map(|end| run.get(..end)).find(|word| self.words.contains(*word))?;
        let known = known.to_owned();
        Some((known.len(), self.mask_of("NAME", &known)))
    }

    /// Masks pairs of hexadecimal digits between colons or hyphens: six are a hardware address; of
    /// seven the first is its type (RFC 2132, 9.14); more are an identifier that contains one.
    fn hardware(&mut self, text: &str) -> Option<(usize, String)> {
        let bytes = text.as_bytes();
        let is_pair = |at: usize| {
            let pair = bytes.get(at..at + 2);
            pair.is_some_and(|pair| pair.iter().all(u8::is_ascii_hexdigit))
        };
        let separator = *bytes.get(2).filter(|byte| matches!(byte, b':' | b'-'))?;
        let mut pairs = usize::from(is_pair(0));
        while pairs > 0 && bytes.get(pairs * 3 - 1) == Some(&separator) && is_pair(pairs * 3) {
            pairs += 1;
        }
        let length = (pairs * 3).saturating_sub(1);
        if pairs < MAC || !ends_at(text, length) {
            return None;
        }
        let digits: String = text.get(..length)?.chars().filter(char::is_ascii_hexdigit).collect();
        let digits = digits.to_ascii_lowercase();
        let mask = match pairs {
            MAC => self.mac(&digits)?,
            7 => format!("{}:{}", digits.get(..2)?, self.mac(digits.get(2..)?)?),
            _ => self.mask_of("ID", &digits),
        };
        Some((length, mask))
    }

    /// Masks twelve hexadecimal digits without separators, if they are a known address or, in a
    /// name by udev, certainly one.
    fn bare_hardware(&mut self, text: &str, is_certain: bool) -> Option<(usize, String)> {
        let digits = text.get(..2 * MAC)?.to_ascii_lowercase();
        let fits = digits.chars().all(|c| c.is_ascii_hexdigit()) && ends_at(text, 2 * MAC);
        let known = is_certain || self.given.contains_key(&("MAC", digits.clone()));
        (fits && known).then(|| self.mac(&digits)).flatten().map(|mask| (2 * MAC, mask))
    }

    fn mac(&mut self, digits: &str) -> Option<String> {
        let is_common = ["000000000000", "ffffffffffff"].contains(&digits);
        (!is_common).then(|| self.mask_of("MAC", digits))
    }

    fn ipv6(&mut self, text: &str) -> Option<(usize, String)> {
        let is_part = |c: char| c.is_ascii_hexdigit() || c == ':' || c == '.';
        let run = text.get(..text.find(|c| !is_part(c)).unwrap_or(text.len()))?;
        if run.matches(':').count() < 2 {
            return None;
        }
        // A colon or a full stop at the end may belong to the sentence.
        let cut = run.strip_suffix([':', '.']);
        let tries = std::iter::once(run).chain(cut);
        let mut read = tries.filter_map(|run| Some((run.len(), run.parse::<Ipv6Addr>().ok()?)));
        let (length, address) = read.find(|(length, _)| ends_at(text, *length))?;
        if let Some(address) = address.to_ipv4_mapped() {
            return Some((length, format!("::ffff:{}", self.v4(address))));
        }
        if is_common(address.into()) {
            return Some((length, address.to_string()));
        }
        let segments = address.segments();
        let (net, host) = segments.split_at(4);
        let host = self.mask_of("HOST", &format!("{host:x?}"));
        let net = if address.is_unicast_link_local() {
            "fe80".to_owned()
        } else {
            self.mask_of("NET", &format!("{net:x?}"))
        };
        Some((length, format!("{net}::{host}")))
    }

    fn ipv4(&mut self, text: &str) -> Option<(usize, String)> {
        let is_part = |c: char| c.is_ascii_digit() || c == '.';
        let run = text.get(..text.find(|c| !is_part(c)).unwrap_or(text.len()))?;
        if run.ends_with('.') && text.get(run.len()..)?.starts_with("in-addr.arpa") {
            return Some((run.len() - 1, self.mask_of("REVERSE", run)));
        }
        let run = run.trim_end_matches('.');
        if !ends_at(text, run.len()) {
            return None;
        }
        if let Ok(address) = run.parse::<Ipv4Addr>() {
            return Some((run.len(), self.v4(address)));
        }
        // The panel shows a subnet in this form: CLASH 192.168.50.
        let numbers: Vec<&str> = run.split('.').collect();
        let known = self.given.contains_key(&("NET", run.to_owned()));
        (numbers.len() == 3 && known).then(|| (run.len(), self.mask_of("NET", run)))
    }

    /// Masks an IPv4 address. Its first three octets are the net, so addresses that share them stay
    /// recognizable.
    fn v4(&mut self, address: Ipv4Addr) -> String {
        if is_common(address.into()) {
            return address.to_string();
        }
        let [a, b, c, host] = address.octets();
        let net = self.mask_of("NET", &format!("{a}.{b}.{c}"));
        format!("{net}.h{host}")
    }

    /// Returns the mask of a thing, or assigns one that is not itself a word to mask.
    fn mask_of(&mut self, kind: &'static str, thing: &str) -> String {
        let key = (kind, thing.to_owned());
        if let Some(mask) = self.given.get(&key) {
            return mask.clone();
        }
        let count = self.counts.entry(kind).or_default();
        let mask = loop {
            *count += 1;
            let mask = format!("{kind}{count}");
            if !self.words.contains(&mask.to_ascii_lowercase()) {
                break mask;
            }
        };
        self.given.insert(key, mask.clone());
        mask
    }
}

/// Returns whether a word of this length ends at a word boundary.
fn ends_at(text: &str, length: usize) -> bool {
    let after = text.get(length..).and_then(|rest| rest.chars().next());
    length > 0 && after.is_none_or(|c| !c.is_ascii_alphanumeric())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn masked(words: &[&str], text: &str) -> String {
        let mut masks = Masks::default();
        words.iter().for_each(|word| masks.hide(word));
        masks.mask(text)
    }

    #[test]
    fn equal_things_get_equal_masks_and_subnets_stay_visible() {
        let text = "eth0 192.168.50.1/24 b8:27:eb:00:00:01, rpi1.bramble at 192.168.50.11: \
                    B8-27-EB-00-00-01 b827eb000001 10.0.0.1 RPI1 rpi10 enxb827eb000001";
        assert_eq!(
            masked(&["rpi1", "bramble"], text),
            "eth0 NET1.h1/24 MAC1, NAME1.NAME2 at NET1.h11: MAC1 MAC1 NET2.h1 NAME1 rpi10 enxMAC1"
        );
        assert_eq!(
            masked(&[], "2001:db8::7/64 2001:db8::8 fe80::7%eth1 2001:db8:0:1::7: ::ffff:10.0.0.1"),
            "NET1::HOST1/64 NET1::HOST2 fe80::HOST1%eth1 NET2::HOST1: ::ffff:NET3.h1"
        );
        assert_eq!(
            masked(&[], "10.1.2.3 CLASH 10.1.2 CLASH 10.1.3 3.2.1.10.in-addr.arpa"),
            "NET1.h3 CLASH NET1 CLASH 10.1.3 REVERSE1.in-addr.arpa"
        );
        assert_eq!(
            masked(&[], "01:b8:27:eb:00:00:01 00:01:00:01:2c:b8:27:eb:00:00:01"),
            "01:MAC1 ID1"
        );
    }

    /// Addresses that identify no machine stay readable, as do words that only look like one.
    #[test]
    fn common_addresses_are_not_masked() {
        let text = "0.0.0.0/0 127.0.0.1:53 255.255.255.0 224.0.0.251 ::1 ff02::1 12:34:56 1.2 \
                    00:00:00:00:00:00 bramblegate::cli::run 2026-11-30T06:00:00 deadbeef0000 v1.2.3";
        assert_eq!(masked(&["rpi1"], text), text);
    }

    #[test]
    fn a_mask_is_never_a_masked_name() {
        assert_eq!(masked(&["name1", "net1"], "name1 10.0.0.1 net1"), "NAME2 NET2.h1 NAME3");
    }

    #[test]
    fn a_name_that_begins_an_address_does_not_break_its_mask() {
        let text = "10.0.0.1 b8:27:eb:00:00:01 fd12::7 b8 fd12: 10";
        let wanted = "NET1.h1 MAC1 NET2::HOST1 NAME1 NAME2: 10";
        assert_eq!(masked(&["10", "b8", "fd12"], text), wanted);
    }

    fn mac(octets: [u8; 6], separator: &str) -> String {
        octets.map(|octet| format!("{octet:02x}")).join(separator)
    }

    /// Returns whether a thing is a whole word in a text.
    fn survives(text: &str, thing: &str) -> bool {
        let (text, thing) = (text.to_ascii_lowercase(), thing.to_ascii_lowercase());
        text.match_indices(&thing).any(|(at, _)| {
            let before = text[..at].chars().next_back();
            let after = text[at + thing.len()..].chars().next();
            [before, after].iter().all(|c| c.is_none_or(|c| !c.is_ascii_alphanumeric()))
        })
    }

    proptest! {
        #[test]
        fn nothing_survives_in_any_surroundings(
            name in "[a-z][a-z0-9-]{0,8}[a-z0-9]",
            v4 in any::<[u8; 4]>(),
            v6 in any::<[u16; 8]>(),
            octets in any::<[u8; 6]>(),
            around in prop::collection::vec("[ ,;:/=\"'()<>@\\n-]{1,2}", 6),
        ) {
            let v4 = Ipv4Addr::from(v4);
            let v6 = Ipv6Addr::from(v6);
            prop_assume!(!is_common(v4.into()) && !is_common(v6.into()));
            prop_assume!(octets != [0; 6] && octets != [255; 6]);
            // A hyphen or colon before it makes one of two things of it, also for a reader.
            let clean = |text: &str| text.replace([':', '-'], " ");
            let things = [name.clone(), v4.to_string(), v6.to_string(), mac(octets, ":"), mac(octets, "-")];
            let text: String = things
                .iter()
                .zip(&around)
                .map(|(thing, around)| format!("{}{thing}{}", clean(around), clean(around)))
                .collect();
            let mut masks = Masks::default();
            masks.hide(&name);
            let masked = masks.mask(&text);
            for thing in &things {
                prop_assert!(!survives(&masked, thing), "{thing} survives: {text:?} {masked:?}");
            }
            prop_assert_eq!(masks.mask(&text), masked, "the same again");
        }
    }
}
