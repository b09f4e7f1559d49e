//! What is known about an uplink from sources other than the kernel.

use std::fmt;
use std::net::Ipv4Addr;

use super::{LinkIndex, Mac};

/// Reports one observation about an uplink.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UplinkNews {
    /// Progress of the uplink's DHCP client; `None`: it cannot be observed.
    Acquisition { index: LinkIndex, state: Option<Acquisition> },
    /// URL of the venue's captive portal; `None`: no longer valid.
    Portal { index: LinkIndex, by: PortalSource, url: Option<PortalUrl> },
}

/// Names the source of a captive portal's URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PortalSource {
    /// The answer to a probe.
    Probe,
    /// A DHCP client's lease (RFC 8910).
    Lease,
    /// A router advertisement (RFC 8910).
    Router,
}

/// Describes the progress of the DHCP client of a port without an IPv4 address, as observed on the
/// wire and on this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Acquisition {
    /// No DHCP client runs for this port.
    NoClient,
    /// A client runs but has sent no request.
    Waiting,
    /// The client sent requests and no server has replied.
    Unanswered,
    /// The server sent an offer (DHCPOFFER).
    Offered { server: Ipv4Addr },
    /// The server requested IPv6-only mode (option 108, RFC 8925), which the client supports, so
    /// that the client takes no IPv4 address.
    Ipv6Only { server: Ipv4Addr },
    /// The server refused the requested address (DHCPNAK).
    Refused { server: Ipv4Addr },
    /// The client declined the address (DHCPDECLINE): another computer of the venue uses it.
    Declined,
}

/// Holds the URL of a captive portal: `http` or `https`, printable ASCII only, bounded in length,
/// as it comes from an untrusted network.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct PortalUrl(String);

impl PortalUrl {
    /// Maximum length, in bytes; a longer URL loses its query.
    pub const LONGEST: usize = 512;

    /// Parses what a venue sent; `None` if it is not such a URL.
    pub fn read(text: &str) -> Option<Self> {
        let text = text.trim();
        let (scheme, rest) = text.split_once("://")?;
        let known =
            ["http", "https"].into_iter().find(|known| scheme.eq_ignore_ascii_case(known))?;
        let rest = if text.len() > Self::LONGEST { rest.split(['?', '#']).next()? } else { rest };
        let host = rest.split(['/', '?', '#']).next()?;
        let visible =
            rest.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"'<>\\`".contains(&byte));
        // Userinfo before an `@` is used to disguise the host.
        let plain = !host.is_empty() && !host.contains('@');
        let url = Self(format!("{known}://{rest}"));
        (visible && plain && url.0.len() <= Self::LONGEST).then_some(url)
    }

    /// Parses a URL that may be relative to the page requested from `host`.
    pub fn relative_to(host: &str, port: u16, text: &str) -> Option<Self> {
        let text = text.trim();
        if let Some(rest) = text.strip_prefix("//") {
            return Self::read(&format!("http://{rest}"));
        }
        if !text.starts_with('/') {
            return Self::read(text);
        }
        let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
        let port = if port == 80 { String::new() } else { format!(":{port}") };
        Self::read(&format!("http://{host}{port}{text}"))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for PortalUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn only_plain_http_urls_are_read() {
        let read = |text: &str| PortalUrl::read(text).map(|url| url.to_string());
        for good in
            ["http://login.hotel/", "https://10.99.0.1:8443/x?y=1&z=%20", "http://[2001:db8::1]/"]
        {
            assert_eq!(read(good).as_deref(), Some(good));
        }
        assert_eq!(read(" HTTPS://login.hotel\r\n").as_deref(), Some("https://login.hotel"));
        for bad in [
            "",
            "login.hotel",
            "javascript://x",
            "ftp://x/",
            "http://",
            "http:///x",
            "http://a b/",
            "http://a/\u{1b}[2J",
            "http://a/\nb",
            "http://ä/",
            "http://bank.example@evil/",
            "http://a/\"onclick=",
            "http://a/<b>",
        ] {
            assert_eq!(read(bad), None, "{bad:?}");
        }
        let long = format!("http://login.hotel/start?token={}", "x".repeat(600));
        assert_eq!(read(&long).as_deref(), Some("http://login.hotel/start"));
        assert_eq!(read(&format!("http://login.hotel/{}", "x".repeat(600))), None);
    }

    #[test]
    fn a_relative_url_is_resolved_against_the_requested_host() {
        let read = |text: &str| {
            PortalUrl::relative_to("probe.example", 80, text).map(|url| url.to_string())
        };
        assert_eq!(read("/login").as_deref(), Some("http://probe.example/login"));
        assert_eq!(read("//login.hotel/").as_deref(), Some("http://login.hotel/"));
        assert_eq!(read("https://login.hotel/").as_deref(), Some("https://login.hotel/"));
        assert_eq!(
            read("login"),
            None,
            "a path without a slash is not resolved: it is rarely meant as one"
        );
        assert_eq!(
            PortalUrl::relative_to("2001:db8::1", 8080, "/x").unwrap().as_str(),
            "http://[2001:db8::1]:8080/x"
        );
    }

    proptest! {
        #[test]
        fn every_url_is_bounded_and_printable(text in "(http://)?.{0,700}") {
            if let Some(url) = PortalUrl::read(&text) {
                prop_assert!(url.as_str().len() <= PortalUrl::LONGEST);
                prop_assert!(url.as_str().bytes().all(|byte| byte.is_ascii_graphic()));
                prop_assert_eq!(PortalUrl::read(url.as_str()), Some(url));
            }
        }
    }
}

/// Names an uplink with a carrier and without an IPv4 address, whose DHCP traffic is observed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListeningPlan {
    pub index: LinkIndex,
    pub name: String,
    pub mac: Mac,
    /// Counts carrier-up transitions: each begins anew, as nothing from before is known any more.
    pub generation: u64,
}
