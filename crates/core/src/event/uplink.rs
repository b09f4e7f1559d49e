//! What is learned of an uplink beside what the kernel says of it.

use std::fmt;
use std::net::Ipv4Addr;

use super::{LinkIndex, Mac};

/// Reports one thing that was learned of an uplink.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UplinkNews {
    /// How far the DHCP client of this uplink has come; `None`: that cannot be heard.
    Acquisition { index: LinkIndex, state: Option<Acquisition> },
    /// Where the venue's captive portal is; `None`: not any more.
    Portal { index: LinkIndex, by: PortalSource, url: Option<PortalUrl> },
}

/// Names the source of a captive portal's address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PortalSource {
    /// The answer to a probe.
    Probe,
    /// A DHCP client's lease (RFC 8910).
    Lease,
    /// A router's advertisement (RFC 8910).
    Router,
}

/// Says how far the DHCP client of a port has come that has no IPv4 address, as heard on the wire
/// and seen on this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Acquisition {
    /// Nothing on this machine asks for an address there.
    NoClient,
    /// A client is there, and asks nothing.
    Waiting,
    /// Asked, and no server has answered.
    Unanswered,
    /// This server has made an offer.
    Offered { server: Ipv4Addr },
    /// This server asks for IPv6 only (option 108, RFC 8925), as the client asked it to say: it
    /// takes no IPv4 address.
    Ipv6Only { server: Ipv4Addr },
    /// This server refused the address that the client asked for.
    Refused { server: Ipv4Addr },
    /// The client refused the address: another computer of the venue has it.
    Declined,
}

/// Holds the address of a captive portal's page, as it is typed into a browser: `http` or
/// `https`, visible ASCII alone, of a bounded length. It comes from strangers.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct PortalUrl(String);

impl PortalUrl {
    /// Bytes; of a longer one what follows its `?` is left out.
    pub const LONGEST: usize = 512;

    /// Reads what a venue sent; `None` for anything but an address of that kind.
    pub fn read(text: &str) -> Option<Self> {
        let text = text.trim();
        let (scheme, rest) = text.split_once("://")?;
        let known =
            ["http", "https"].into_iter().find(|known| scheme.eq_ignore_ascii_case(known))?;
        let rest = if text.len() > Self::LONGEST { rest.split(['?', '#']).next()? } else { rest };
        let host = rest.split(['/', '?', '#']).next()?;
        let visible =
            rest.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"'<>\\`".contains(&byte));
        // A name before an `@` is made to look like the host.
        let plain = !host.is_empty() && !host.contains('@');
        let url = Self(format!("{known}://{rest}"));
        (visible && plain && url.0.len() <= Self::LONGEST).then_some(url)
    }

    /// Reads an address that may be relative to the page of `host` that was asked for.
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

    /// Returns its text.
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
    fn a_portal_is_where_a_browser_would_go_and_nothing_else() {
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
    fn a_relative_address_is_of_the_host_that_was_asked() {
        let read = |text: &str| {
            PortalUrl::relative_to("probe.example", 80, text).map(|url| url.to_string())
        };
        assert_eq!(read("/login").as_deref(), Some("http://probe.example/login"));
        assert_eq!(read("//login.hotel/").as_deref(), Some("http://login.hotel/"));
        assert_eq!(read("https://login.hotel/").as_deref(), Some("https://login.hotel/"));
        assert_eq!(
            read("login"),
            None,
            "a browser would go there, and so seldom is it meant that it should not be typed"
        );
        assert_eq!(
            PortalUrl::relative_to("2001:db8::1", 8080, "/x").unwrap().as_str(),
            "http://[2001:db8::1]:8080/x"
        );
    }

    proptest! {
        #[test]
        fn whatever_is_read_is_short_and_visible(text in "(http://)?.{0,700}") {
            if let Some(url) = PortalUrl::read(&text) {
                prop_assert!(url.as_str().len() <= PortalUrl::LONGEST);
                prop_assert!(url.as_str().bytes().all(|byte| byte.is_ascii_graphic()));
                prop_assert_eq!(PortalUrl::read(url.as_str()), Some(url));
            }
        }
    }
}

/// Holds an uplink with a carrier and without an IPv4 address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListeningPlan {
    pub index: LinkIndex,
    pub name: String,
    pub mac: Mac,
}
