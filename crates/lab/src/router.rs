//! Sends the router advertisements of a venue file: neither dnsmasq nor Debian 12's radvd can send
//! a NAT64 prefix (RFC 8781). Packets are encoded here by the RFCs, independently of the crate that
//! decodes them.

use std::fmt;
use std::net::{Ipv6Addr, SocketAddrV6};
use std::str::FromStr;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use ipnet::Ipv6Net;
use rustix::net::{RecvFlags, recv};
use socket2::{Domain, Protocol, Socket, Type};

use super::{Error, Result, while_doing};

/// `ff02::1`
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
/// Interval of advertisements, beside one for each solicitation.
const INTERVAL: Duration = Duration::from_secs(3);
/// Interval of a router that floods.
const FLOOD_INTERVAL: Duration = Duration::from_millis(10);
/// Retry interval while the link-local address is tentative, for a second or two.
const NO_ADDRESS_YET: Duration = Duration::from_millis(20);
/// `IFA_F_TENTATIVE` of linux/if_addr.h.
const TENTATIVE: u32 = 0x40;
/// A prefix's valid and preferred lifetimes, in seconds.
const PREFIX_LIFETIME: u32 = 3600;

/// The contents of a router's advertisements; formatted as words, for the command line of its
/// process.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Advertised {
    /// The M flag: DHCPv6 assigns addresses.
    pub managed: bool,
    /// The prefixes lack the A flag: hosts form no addresses in them.
    pub no_slaac: bool,
    /// Lifetime as a default router, in seconds.
    pub lifetime: Option<u16>,
    pub mtu: Option<u32>,
    pub prefixes: Vec<Ipv6Net>,
    /// Deprecated prefixes: no longer preferred, but still valid.
    pub deprecated: Vec<Ipv6Net>,
    /// NAT64 prefixes, with their lifetimes in seconds.
    pub nat64: Vec<(Ipv6Net, u16)>,
    pub portal: Option<String>,
    /// Recursive DNS servers.
    pub resolvers: Vec<Ipv6Addr>,
    /// Sends a hundred advertisements per second, each different from the previous one.
    pub flood: bool,
}

impl fmt::Display for Advertised {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "lifetime={}", self.lifetime.unwrap_or(1800))?;
        let flags =
            [(self.managed, " managed"), (self.no_slaac, " no-slaac"), (self.flood, " flood")];
        for (flag, word) in flags {
            f.write_str(if flag { word } else { "" })?;
        }
        self.mtu.map_or(Ok(()), |mtu| write!(f, " mtu={mtu}"))?;
        self.prefixes.iter().try_for_each(|prefix| write!(f, " prefix={prefix}"))?;
        self.deprecated.iter().try_for_each(|prefix| write!(f, " deprecated={prefix}"))?;
        self.nat64.iter().try_for_each(|(prefix, time)| write!(f, " nat64={prefix}@{time}"))?;
        self.portal.as_ref().map_or(Ok(()), |url| write!(f, " portal={url}"))?;
        self.resolvers.iter().try_for_each(|resolver| write!(f, " resolver={resolver}"))
    }
}

/// The maximum lifetime of a NAT64 prefix, in units of 8 s: 13 bits.
const MAX_NAT64_UNITS: u16 = 0x1fff;

impl FromStr for Advertised {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let mut advertised = Self::default();
        for word in text.split_whitespace() {
            let wrong = || Error(format!("{word} is nothing that a router advertises"));
            let (name, value) = word.split_once('=').unwrap_or((word, ""));
            match name {
                "managed" => advertised.managed = true,
                "no-slaac" => advertised.no_slaac = true,
                "flood" => advertised.flood = true,
                "lifetime" => advertised.lifetime = Some(value.parse().map_err(|_| wrong())?),
                "mtu" => advertised.mtu = Some(value.parse().map_err(|_| wrong())?),
                "prefix" => advertised.prefixes.push(value.parse().map_err(|_| wrong())?),
                "deprecated" => advertised.deprecated.push(value.parse().map_err(|_| wrong())?),
                "portal" => advertised.portal = Some(value.to_owned()),
                "resolver" => advertised.resolvers.push(value.parse().map_err(|_| wrong())?),
                "nat64" => {
                    let (prefix, time) = value.split_once('@').ok_or_else(wrong)?;
                    let prefix: Ipv6Net = prefix.parse().map_err(|_| wrong())?;
                    length_code(prefix).ok_or_else(wrong)?;
                    advertised.nat64.push((prefix, time.parse().map_err(|_| wrong())?));
                }
                _ => return Err(wrong()),
            }
        }
        Ok(advertised)
    }
}

impl Advertised {
    /// Encodes the message (RFC 4861, section 4.2); the kernel fills in its checksum.
    pub fn message(&self) -> Vec<u8> {
        let mut message = vec![134, 0, 0, 0, 64, if self.managed { 0x80 } else { 0 }];
        message.extend(self.lifetime.unwrap_or(1800).to_be_bytes());
        message.extend([0; 8]);
        if let Some(mtu) = self.mtu {
            message.extend([5, 1, 0, 0]);
            message.extend(mtu.to_be_bytes());
        }
        let current = self.prefixes.iter().map(|prefix| (prefix, PREFIX_LIFETIME));
        for (prefix, preferred) in current.chain(self.deprecated.iter().map(|prefix| (prefix, 0))) {
            let flags = if self.no_slaac { 0x80 } else { 0xc0 };
            message.extend([3, 4, prefix.prefix_len(), flags]);
            message.extend(PREFIX_LIFETIME.to_be_bytes());
            message.extend(preferred.to_be_bytes());
            message.extend([0; 4]);
            message.extend(prefix.network().octets());
        }
        for (prefix, lifetime) in &self.nat64 {
            // RFC 8781, section 4: 13 bits of lifetime in units of 8 s, rounded up, and 3 bits of
            // prefix length code.
            let Some(code) = length_code(*prefix) else { continue };
            let units = lifetime.div_ceil(8).min(MAX_NAT64_UNITS);
            message.extend([38, 2]);
            message.extend((units << 3 | code).to_be_bytes());
            message.extend(prefix.network().octets().iter().take(12));
        }
        if let Some(portal) = &self.portal {
            // RFC 8910, section 2.3: padded with zeros to units of eight bytes.
            let units = (portal.len() + 2).div_ceil(8);
            let end = message.len() + 8 * units;
            message.extend([37, u8::try_from(units).unwrap_or(u8::MAX)]);
            message.extend(portal.bytes());
            message.resize(end, 0);
        }
        for resolver in &self.resolvers {
            // RFC 8106, section 5.1: one address, for as long as a prefix.
            message.extend([25, 3, 0, 0]);
            message.extend(PREFIX_LIFETIME.to_be_bytes());
            message.extend(resolver.octets());
        }
        message
    }
}

/// Advertises on a port until killed: as soon as it has a link-local address, every few seconds,
/// and after each solicitation. Prints the time of the first advertisement, in seconds since 1970.
pub fn advertise(port: &str, index: u32, advertised: &Advertised) -> Result<()> {
    let doing = || while_doing(format!("cannot advertise at {port}"));
    let socket = Socket::new(Domain::IPV6, Type::RAW, Some(Protocol::ICMPV6)).map_err(doing())?;
    socket.bind_device(Some(port.as_bytes())).map_err(doing())?;
    socket.set_multicast_hops_v6(255).map_err(doing())?;
    socket.set_multicast_if_v6(index).map_err(doing())?;
    println!("ready");
    let to = SocketAddrV6::new(ALL_NODES, 0, 0, index).into();
    let mut message = advertised.message();
    let interval = if advertised.flood { FLOOD_INTERVAL } else { INTERVAL };
    let mut next = Instant::now();
    let (mut bound, mut first) = (false, true);
    loop {
        // Hosts ignore advertisements from any other source address (RFC 4861, section 6.1.2).
        if let Some(own) = (!bound).then(|| link_local(port)).flatten() {
            socket.bind(&SocketAddrV6::new(own, 0, 0, index).into()).map_err(doing())?;
            bound = true;
        }
        if Instant::now() >= next {
            let at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            let sent = bound && socket.send_to(&message, &to).is_ok();
            if sent && std::mem::take(&mut first) {
                println!("advertised {:.6}", at.as_secs_f64());
            }
            next = Instant::now() + if sent { interval } else { NO_ADDRESS_YET };
        }
        if advertised.flood {
            vary(&mut message);
        }
        let wait = next.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
        socket.set_read_timeout(Some(wait)).map_err(doing())?;
        let mut buffer = [0; 1500];
        // A solicitation triggers an advertisement at once; a timeout is no error.
        if recv(&socket, &mut buffer[..], RecvFlags::empty()).is_ok() && buffer[0] == 133 {
            next = Instant::now();
        }
    }
}

/// Returns the link-local address of a port, once duplicate address detection has ended.
fn link_local(port: &str) -> Option<Ipv6Addr> {
    let listed = std::fs::read_to_string("/proc/net/if_inet6").ok()?;
    listed.lines().find_map(|line| {
        let mut words = line.split_whitespace();
        let address = u128::from_str_radix(words.next()?, 16).ok().map(Ipv6Addr::from_bits)?;
        // Skips index, prefix length and scope.
        let flags = u32::from_str_radix(words.nth(3)?, 16).ok()?;
        let usable = address.is_unicast_link_local() && flags & TENTATIVE == 0;
        (words.next() == Some(port) && usable).then_some(address)
    })
}

/// Returns the code of a NAT64 prefix's length (RFC 8781, section 4); `None` for a length that RFC
/// 6052 does not allow.
fn length_code(prefix: Ipv6Net) -> Option<u16> {
    let mut codes = [96, 64, 56, 48, 40, 32].into_iter().zip(0..);
    codes.find_map(|(length, code)| (length == prefix.prefix_len()).then_some(code))
}

/// Increments the reachable time (RFC 4861, section 4.2) by about a minute, so that no two messages
/// are the same, without an effect on hosts.
fn vary(message: &mut [u8]) {
    if let Some(field) = message.get_mut(8..).and_then(<[u8]>::first_chunk_mut) {
        *field = u16::from_be_bytes(*field).wrapping_add(1).to_be_bytes();
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn advertisements_are_formatted_and_parsed_as_words() {
        let words = "lifetime=9 managed no-slaac flood mtu=1280 prefix=2001:db8:7::/64 \
                     deprecated=2001:db8:8::/64 nat64=2001:db8:64::/96@600 portal=https://p/ \
                     resolver=2001:db8:7::1";
        let advertised: Advertised = words.parse().unwrap();
        assert_eq!(advertised.to_string(), words);
        for wrong in ["lifetime=x", "nat64=2001:db8:64::/95@600", "nat64=2001:db8:64::/128@600"] {
            assert!(wrong.parse::<Advertised>().is_err(), "{wrong}");
        }
    }

    /// `tcpdump -vv` decodes these octets as "pref64 option (38), length 16 (2): 64:ff9b::/96 (plc
    /// 0), lifetime 600s".
    #[test]
    fn options_are_encoded_by_the_rfcs() {
        let message = |words: &str| words.parse::<Advertised>().unwrap().message();
        let nat64 = message("lifetime=1800 nat64=64:ff9b::/96@600");
        assert_eq!(nat64[..8], [134, 0, 0, 0, 64, 0, 7, 8]);
        assert_eq!(nat64[16..], [38, 2, 2, 0x58, 0, 0x64, 0xff, 0x9b, 0, 0, 0, 0, 0, 0, 0, 0]);
        for (words, lifetime) in [
            ("nat64=2001:db8::/32@5", [0, 8 | 5]),
            ("nat64=2001:db8::/32@0", [0, 5]),
            ("nat64=2001:db8::/40@65535", [0xff, 0xf8 | 4]),
        ] {
            assert_eq!(message(words)[18..20], lifetime, "{words}: rounded up to units of 8 s");
        }
        let portal = message("portal=https://p/");
        assert_eq!(portal[16..], *b"\x25\x02https://p/\0\0\0\0");
        assert_eq!(message("mtu=1280")[16..], [5, 1, 0, 0, 0, 0, 5, 0]);
        let resolver = message("resolver=2001:db8::1");
        assert_eq!(
            resolver[16..],
            *b"\x19\x03\0\0\0\0\x0e\x10\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01"
        );
    }
}
