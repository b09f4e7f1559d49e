//! The names of this head that a request's `Host` may have.
//!
//! A malicious site can let its own name resolve to the head's address (DNS rebinding). Its pages
//! then have the same origin as the status page: they can read it, and the browser sends the
//! viewer's session. Checking the name prevents that. Any address is accepted: it cannot be
//! rebound, and the head does not know the addresses that a venue's router forwards to it.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The configured names of the head, besides its host name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Names {
    /// Domains in which the head has its host name.
    pub domains: Vec<String>,
    /// Fully qualified names.
    pub names: Vec<String>,
}

impl Names {
    /// Returns whether a request's `Host` is an address or a name of this head, with or without a
    /// port.
    pub fn has(&self, host: &str) -> bool {
        let Some(name) = without_port(host) else { return false };
        if is_address(name) {
            return true;
        }
        let name = name.strip_suffix('.').unwrap_or(name);
        let is = |other: &str| name.eq_ignore_ascii_case(other);
        if is("localhost") || self.names.iter().any(|own| is(own)) {
            return true;
        }
        let own = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let own = own.trim();
        let short = own.split('.').next().unwrap_or(own);
        if own.is_empty() || is(own) || is(short) {
            return !own.is_empty();
        }
        let Some((first, domain)) = name.split_once('.') else { return false };
        // The search domains include what a home router appends to names, as in rack1.fritz.box:
        // the head got it with its lease.
        first.eq_ignore_ascii_case(short)
            && (domain.eq_ignore_ascii_case("local")
                || self.domains.iter().chain(&search()).any(|own| own.eq_ignore_ascii_case(domain)))
    }
}

/// Returns a host without its port (RFC 3986, section 3.2.2); `None` if it is malformed.
fn without_port(host: &str) -> Option<&str> {
    let end = host.find(']').map_or(0, |end| end + 1);
    let (name, rest) = match host.get(end..)?.find(':') {
        Some(colon) => host.split_at(end + colon),
        None => (host, ""),
    };
    let port = rest.strip_prefix(':').unwrap_or_default();
    (!name.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit())).then_some(name)
}

/// Returns the name in a `Host`, if it could be written into the settings.
pub fn name_in(host: &str) -> Option<&str> {
    let name = without_port(host)?;
    let clean = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-.".contains(&byte));
    (clean && name.len() <= 253).then_some(name)
}

fn is_address(name: &str) -> bool {
    match name.strip_prefix('[').and_then(|name| name.strip_suffix(']')) {
        // A zone follows a percent sign (RFC 6874).
        Some(inner) => inner.split('%').next().is_some_and(|own| own.parse::<Ipv6Addr>().is_ok()),
        None => name.parse::<Ipv4Addr>().map(IpAddr::V4).is_ok(),
    }
}

/// Returns the search domains of this machine's resolver (resolv.conf(5)).
fn search() -> Vec<String> {
    let text = fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    let lines = text
        .lines()
        .map(str::split_whitespace)
        .filter_map(|mut words| matches!(words.next(), Some("search" | "domain")).then_some(words));
    lines.flatten().map(|domain| domain.trim_end_matches('.').to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_own_names_are_the_head_and_others_are_not() {
        let own = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
        let own = own.trim().split('.').next().unwrap().to_owned();
        let names = Names { domains: vec!["bramble".into()], names: vec!["rack1.example".into()] };
        for host in [
            "10.0.0.1",
            "10.0.0.1:8080",
            "[fe80::1]:80",
            "[fe80::1%25eth0]",
            "[::1]",
            "localhost:80",
            "LocalHost",
            "rack1.example",
            "rack1.example.:80",
            &own,
            &own.to_uppercase(),
            &format!("{own}.local"),
            &format!("{own}.bramble:80"),
        ] {
            assert!(names.has(host), "{host}");
        }
        for host in [
            "",
            ":80",
            "evil.example",
            "evil.example:80",
            "10.0.0.1.evil.example",
            "10.0.0.1:80:80",
            "10.0.0.1:evil",
            "[::1].evil.example",
            "[evil]",
            "localhost.evil.example",
            "rack1.example.evil.example",
            "user@10.0.0.1",
            &format!("{own}.evil.example"),
            &format!("{own}.local.evil.example"),
        ] {
            assert!(!names.has(host), "{host}");
        }
    }

    #[test]
    fn only_what_is_a_name_is_shown_as_one() {
        assert_eq!(name_in("rack1.example:80"), Some("rack1.example"));
        for host in ["", "a\"b", "<b>", "a b", "[::1]", "a:b", &"a".repeat(300)] {
            assert_eq!(name_in(host), None, "{host}");
        }
    }
}
