//! Parsers of single values: durations, port patterns, allowed services, probes, addresses.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::str::FromStr;
use std::time::Duration;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::fault::ValueError;
use super::tree::Scalar;
use super::{
    Allow, HttpExpectation, Ipv6Prefix, NodeProbe, PortPattern, Threshold, Transport, WebAddress,
};
use crate::Mac;

pub(super) type Parsed<T> = Result<T, ValueError>;

/// `uplink.check.method`, before it is combined with the other keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ProbeMethod {
    Http,
    Ping,
    Off,
}

/// Longest alternative name, bytes: `ALTIFNAMSIZ` of linux/if.h without the final NUL. `IFNAMSIZ`
/// limits the main name.
const MAX_PORT_NAME: usize = 127;

/// Parses an integer with one of the units ms, s, m, h and d.
pub(super) fn duration(text: &str) -> Parsed<Duration> {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let milliseconds = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => 0,
    };
    let number = number.parse::<u64>().ok().filter(|_| milliseconds > 0);
    number
        .and_then(|number| number.checked_mul(milliseconds))
        .map(Duration::from_millis)
        .ok_or_else(|| {
            ValueError::new(
                format!("{text:?} is not a duration"),
                "write an integer and one of the units ms, s, m, h and d, such as \"90s\"",
            )
        })
}

/// Returns the shortest text that `duration` reads as this value.
pub fn show_duration(value: Duration) -> String {
    let milliseconds = u64::try_from(value.as_millis()).unwrap_or(u64::MAX);
    for (unit, size) in [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000)] {
        if milliseconds > 0 && milliseconds % size == 0 {
            return format!("{}{unit}", milliseconds / size);
        }
    }
    format!("{milliseconds}ms")
}

/// Parses a name, a glob, or `mac:` and a hardware address.
pub(super) fn port_pattern(text: &str) -> Parsed<PortPattern> {
    if let Some(rest) =
        text.get(..4).filter(|head| head.eq_ignore_ascii_case("mac:")).and_then(|_| text.get(4..))
    {
        return mac(rest).map(PortPattern::Mac);
    }
    let bad = |message: &str, remedy: &str| {
        Err(ValueError::new(format!("{text:?} {message}"), remedy.to_owned()))
    };
    if text == "lo" {
        return bad(
            "is the loopback interface",
            "write an interface that leads out of the machine, such as \"eth1\"",
        );
    }
    if text.is_empty() || text.len() > MAX_PORT_NAME || matches!(text, "." | "..") {
        return bad(
            "is not the name of an interface",
            "write a name such as \"eth1\"; names have at most 15 characters, alternative names at most \
             127",
        );
    }
    if text.chars().any(|c| c == '/' || c == ':' || c.is_whitespace() || c.is_control()) {
        return bad(
            "is not the name of an interface",
            "write a name such as \"eth1\", a glob such as \"usb*\", or \"mac:aa:bb:cc:dd:ee:ff\"",
        );
    }
    let closed = text.split('[').skip(1).all(|rest| rest.find(']').is_some_and(|end| end > 0));
    if !closed {
        return bad("has a '[' without its ']'", "write a set of characters such as \"eth[0-3]\"");
    }
    Ok(PortPattern::Glob(text.to_owned()))
}

/// Parses a hardware address with colons or dashes, or without either.
pub(super) fn mac(text: &str) -> Parsed<Mac> {
    let remedy = "write six pairs of hexadecimal digits, such as \"b8:27:eb:00:00:01\"";
    let mac: Mac = with_colons(text)
        .parse()
        .map_err(|()| ValueError::new(format!("{text:?} is not a hardware address"), remedy))?;
    match mac.0 {
        [first, ..] if first & 1 == 1 => Err(ValueError::new(
            format!("{text:?} is a group address, not that of one interface"),
            remedy,
        )),
        [0, 0, 0, 0, 0, 0] => {
            Err(ValueError::new(format!("{text:?} is not the address of an interface"), remedy))
        }
        _ => Ok(mac),
    }
}

fn with_colons(text: &str) -> String {
    if text.len() == 12 && text.is_ascii() {
        let digits: Vec<char> = text.chars().collect();
        return digits.chunks(2).map(String::from_iter).collect::<Vec<_>>().join(":");
    }
    // Colons and dashes must not be mixed.
    if text.contains(':') { text.to_owned() } else { text.replace('-', ":") }
}

/// Parses one entry of `uplink.allow`.
pub(super) fn allow(value: Scalar<'_>) -> Parsed<Allow> {
    let remedy = "write \"ssh\", \"icmp\", \"mdns\", \"web\", \"http\", \"https\", a TCP port such as 8080 or \
                 \"tcp:8000-8010\", or \"udp:51820\"";
    match value {
        Scalar::Integer(number) => integer_port(number).map(|port| Allow::Tcp(port, port)),
        Scalar::Text("ssh") => Ok(Allow::Ssh),
        Scalar::Text("icmp" | "ping") => Ok(Allow::Icmp),
        Scalar::Text("mdns") => Ok(Allow::Mdns),
        Scalar::Text("web") => Ok(Allow::Web),
        Scalar::Text("http") => Ok(Allow::Tcp(80, 80)),
        Scalar::Text("https") => Ok(Allow::Tcp(443, 443)),
        Scalar::Text(text) => {
            let parsed = transport(text).and_then(|(transport, ports)| {
                let (first, last) = port_range(ports)?;
                Some(match transport {
                    Transport::Tcp => Allow::Tcp(first, last),
                    Transport::Udp => Allow::Udp(first, last),
                })
            });
            parsed.ok_or_else(|| ValueError::new(format!("{text:?} cannot be allowed"), remedy))
        }
    }
}

/// Converts an integer to a port.
pub(super) fn integer_port(number: i64) -> Parsed<u16> {
    u16::try_from(number).ok().filter(|port| *port > 0).ok_or_else(|| {
        ValueError::new(format!("{number} is not a port"), "write a port from 1 to 65535")
    })
}

/// Splits "tcp:22", "tcp/22", "22/tcp" and "22" into transport and ports.
pub(super) fn transport(text: &str) -> Option<(Transport, &str)> {
    match text.split_once([':', '/']) {
        None => Some((Transport::Tcp, text)),
        Some((first, last)) => transport_named(first)
            .map(|transport| (transport, last))
            .or_else(|| transport_named(last).map(|transport| (transport, first))),
    }
}

/// Returns the transport protocol of that name.
fn transport_named(name: &str) -> Option<Transport> {
    match name {
        "tcp" => Some(Transport::Tcp),
        "udp" => Some(Transport::Udp),
        _ => None,
    }
}

fn port_range(text: &str) -> Option<(u16, u16)> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (port(first)?, port(last)?);
    (first <= last).then_some((first, last))
}

pub(super) fn port(text: &str) -> Option<u16> {
    number(text).filter(|port| *port > 0)
}

/// Parses an integer of digits alone, without a sign.
pub(super) fn number<T: FromStr>(text: &str) -> Option<T> {
    text.parse().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Parses one entry of `node.probe`.
pub(super) fn node_probe(text: &str) -> Parsed<NodeProbe> {
    let remedy = "write \"icmp\", \"arp\", \"tcp:22\" or \"http://:80/healthz\"";
    let bad = || ValueError::new(format!("{text:?} is not a probe"), remedy);
    match text {
        "icmp" | "ping" => return Ok(NodeProbe::Icmp),
        "arp" => return Ok(NodeProbe::Arp),
        "off" => {
            let remedy = "write the probes without \"off\"";
            return Err(ValueError::new("\"off\" is one of several", remedy));
        }
        _ => {}
    }
    if let Some(rest) = text.strip_prefix("tcp:") {
        return port(rest).map(NodeProbe::Tcp).ok_or_else(bad);
    }
    if text.starts_with("https:") {
        return Err(ValueError::new(
            format!("{text:?} is https, probes do not use TLS"),
            "write \"http://:80/healthz\" or \"tcp:443\"",
        ));
    }
    let rest = text.strip_prefix("http://").ok_or_else(bad)?;
    let (rest, expect) =
        rest.split_once(' ').map_or((rest, None), |(rest, expect)| (rest, Some(expect)));
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    if !authority.is_empty() && !authority.starts_with(':') {
        return Err(ValueError::new(
            format!("{text:?} names a host"),
            "write it without the host, which is the node, such as \"http://:80/healthz\"",
        ));
    }
    let port = authority.strip_prefix(':').map_or(Some(80), port).ok_or_else(bad)?;
    let path = url_path(path).ok_or_else(bad)?;
    let expect = expect
        .map(|text| expectation(text.parse().map_or(Scalar::Text(text), Scalar::Integer)))
        .transpose()?;
    Ok(NodeProbe::Http { port, path, expect })
}

/// Returns a path with query as a request sends it, "/" for an empty one. `None` if a character has
/// to be percent-encoded (RFC 3986).
fn url_path(path: &str) -> Option<String> {
    let clean = path.chars().all(|c| c.is_ascii_graphic() && !matches!(c, '#' | '<' | '>' | '`'));
    clean.then(|| if path.is_empty() { "/".to_owned() } else { path.to_owned() })
}

/// Parses one entry of `web.listen`.
pub(super) fn web_address(value: Scalar<'_>) -> Parsed<WebAddress> {
    let remedy = "write a port such as 80, \"192.168.50.1:80\" or \"[fd00::1]:80\"";
    match value {
        Scalar::Integer(number) => integer_port(number).map(WebAddress::Port),
        Scalar::Text(text) => {
            let at = || text.parse().ok().filter(|at: &SocketAddr| at.port() > 0);
            let parsed = port(text).map(WebAddress::Port).or_else(|| at().map(WebAddress::At));
            let error = || ValueError::new(format!("{text:?} is not a port to listen on"), remedy);
            parsed.ok_or_else(error)
        }
    }
}

/// Parses an IPv4 or IPv6 network; an address alone is a network of one host.
pub(super) fn network(text: &str) -> Parsed<IpNet> {
    let net = text.parse().ok().or_else(|| text.parse().ok().map(|ip: IpAddr| ip.into()));
    let error = || {
        let remedy = "write a network such as \"10.1.2.0/24\" or \"fd00:1::/64\"";
        ValueError::new(format!("{text:?} is not a network"), remedy)
    };
    net.as_ref().map(IpNet::trunc).ok_or_else(error)
}

/// Parses `shutdown.user`: a name that `useradd` accepts and `ssh` does not take for an option.
pub(super) fn user(text: &str) -> Parsed<String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    if text.is_empty() || text.len() > 32 || text.starts_with('-') || !text.chars().all(fits) {
        return Err(ValueError::new(
            format!("{text:?} is not the name of a user"),
            "write a name such as \"pi\"",
        ));
    }
    Ok(text.to_owned())
}

/// Parses `shutdown.key`: the absolute path of a file, without characters that `ssh` expands.
pub(super) fn key_file(text: &str) -> Parsed<std::path::PathBuf> {
    let is_file = text.starts_with('/') && !text.ends_with('/');
    if !is_file || text.contains(['\0', '%', '$', '"']) {
        return Err(ValueError::new(
            format!("{text:?} is not the absolute path of a key"),
            "write one such as \"/etc/bramblegate/shutdown_key\"",
        ));
    }
    Ok(text.into())
}

/// Parses one entry of `web.heads`: the URL of a head's page. The result has no final slash.
pub(super) fn web_head(text: &str) -> Parsed<String> {
    let remedy = "write a URL such as \"http://rack2.local\" or \"http://rack2.local:8080\"";
    let (host, port, path) = http_url(text)
        .map_err(|_| ValueError::new(format!("{text:?} is not an http URL"), remedy))?;
    if !matches!(path.as_str(), "" | "/") {
        return Err(ValueError::new(format!("{text:?} has a path"), remedy));
    }
    let host =
        if host.contains(':') && !host.starts_with('[') { format!("[{host}]") } else { host };
    Ok(if port == 80 { format!("http://{host}") } else { format!("http://{host}:{port}") })
}

/// Parses one entry of `web.names`: a DNS name. The result is in lower case, without a final dot.
pub(super) fn web_name(text: &str) -> Parsed<String> {
    let name = text.strip_suffix('.').unwrap_or(text);
    if name.parse::<IpAddr>().is_ok() {
        let remedy = "leave it out: the page answers to every address";
        return Err(ValueError::new(format!("{text:?} is an address"), remedy));
    }
    if is_domain_name(name) {
        return Ok(name.to_ascii_lowercase());
    }
    let remedy = "write a name alone, such as \"rack1.example.org\": no http://, no port";
    Err(ValueError::new(format!("{text:?} is not a name"), remedy))
}

/// Parses `uplink.check.url` into host, port, and path with query.
pub(super) fn http_url(text: &str) -> Parsed<(String, u16, String)> {
    let remedy = "write a URL such as \"http://example.org/generate_204\"";
    let bad = |message: &str| ValueError::new(format!("{text:?} {message}"), remedy);
    if text.get(..6).is_some_and(|head| head.eq_ignore_ascii_case("https:")) {
        let message =
            format!("{text:?} is https, but the clock may be wrong before there is a network");
        return Err(ValueError::new(message, remedy));
    }
    let rest = text.strip_prefix("http://").ok_or_else(|| bad("is not an http URL"))?;
    let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    if authority.contains('@') {
        return Err(bad("holds a user name"));
    }
    let (host, port_text) = match authority.strip_prefix('[').and_then(|v6| v6.split_once(']')) {
        Some((v6, after)) if v6.parse::<std::net::Ipv6Addr>().is_ok() => {
            (v6, if after.is_empty() { None } else { Some(after.strip_prefix(':').unwrap_or("")) })
        }
        Some(_) => return Err(bad("has no IPv6 address between its brackets")),
        None => {
            authority.split_once(':').map_or((authority, None), |(host, port)| (host, Some(port)))
        }
    };
    let port = port_text
        .map_or(Some(80), port)
        .ok_or_else(|| bad("has no port 1 to 65535 after its colon"))?;
    let is_host = host.parse::<IpAddr>().is_ok() || is_domain_name(host);
    if !is_host {
        return Err(bad("has no host name"));
    }
    let path = if path.starts_with('?') { format!("/{path}") } else { path.to_owned() };
    let path =
        url_path(&path).ok_or_else(|| bad("has a character that must be percent-encoded"))?;
    Ok((host.to_owned(), port, path))
}

/// Parses `uplink.check.expect`.
pub(super) fn expectation(value: Scalar<'_>) -> Parsed<HttpExpectation> {
    match value {
        Scalar::Integer(status) => match u16::try_from(status) {
            Ok(status @ 200..=599) => Ok(HttpExpectation::Status(status)),
            _ => Err(ValueError::new(
                format!("{status} is not an HTTP status"),
                "write a status from 200 to 599 such as 204, or a string of the body",
            )),
        },
        Scalar::Text("") => Err(ValueError::new(
            "an empty string is in every body",
            "write a string of the expected body, or a status such as 204",
        )),
        Scalar::Text(body) => Ok(HttpExpectation::Body(body.to_owned())),
    }
}

/// Parses `health.red_below`.
pub(super) fn threshold(value: Scalar<'_>) -> Parsed<Threshold> {
    let remedy = "write a count of nodes such as 3, or a share such as \"80%\"";
    match value {
        Scalar::Integer(count) => u32::try_from(count)
            .map(Threshold::Count)
            .map_err(|_| ValueError::new(format!("{count} is not a count"), remedy)),
        Scalar::Text(text) => {
            let percent = text.strip_suffix('%').and_then(|share| share.parse::<u8>().ok());
            let percent = percent.filter(|percent| *percent <= 100 && !text.starts_with('+'));
            percent.map(Threshold::Percent).ok_or_else(|| {
                ValueError::new(format!("{text:?} is not a share of the nodes"), remedy)
            })
        }
    }
}

/// Parses `led.quiet_hours` into minutes after midnight; `None` for "off".
pub(super) fn quiet_hours(text: &str) -> Parsed<Option<(u16, u16)>> {
    if text == "off" {
        return Ok(None);
    }
    let bad = || {
        ValueError::new(
            format!("{text:?} is not a time range"),
            "write a time range such as \"22:00-07:00\", or \"off\"",
        )
    };
    let (from, to) = text.split_once('-').ok_or_else(bad)?;
    let (from, to) = (time_of_day(from).ok_or_else(bad)?, time_of_day(to).ok_or_else(bad)?);
    if from == to { Err(bad()) } else { Ok(Some((from, to))) }
}

/// Parses "HH:MM" into minutes after midnight.
fn time_of_day(text: &str) -> Option<u16> {
    let (hours, minutes) = text.split_once(':')?;
    let two_digits = |text: &str, end: u16| {
        number::<u16>(text).filter(|number| text.len() == 2 && *number < end)
    };
    Some(two_digits(hours, 24)? * 60 + two_digits(minutes, 60)?)
}

pub(super) fn ipv4(text: &str) -> Parsed<Ipv4Addr> {
    text.parse().map_err(|_| {
        ValueError::new(
            format!("{text:?} is not an IPv4 address"),
            "write one such as \"192.168.50.11\"",
        )
    })
}

pub(super) fn ip(text: &str) -> Parsed<IpAddr> {
    text.parse().map_err(|_| {
        ValueError::new(
            format!("{text:?} is not an IP address"),
            "write one such as \"9.9.9.9\", not a host name",
        )
    })
}

/// Parses one entry of `cluster.fallback_addresses`.
pub(super) fn fallback_address(text: &str) -> Parsed<Ipv4Net> {
    // The example in [`cidr`]'s remedy is the default cluster.address.
    cidr(text).map_err(|error| {
        let remedy = error.remedy.replace("\"192.168.50.1/24\"", "\"10.213.50.1/24\"");
        ValueError { remedy, ..error }
    })
}

/// Parses `cluster.ipv6.prefix`. SLAAC works in a /64 only (RFC 4862 5.5.3).
pub(super) fn ipv6_prefix(text: &str) -> Parsed<Ipv6Prefix> {
    if text == "auto" {
        return Ok(Ipv6Prefix::Auto);
    }
    if text == "unique-local" {
        return Ok(Ipv6Prefix::UniqueLocal);
    }
    let remedy = "write \"auto\", \"unique-local\", or a network of your own such as \
                 \"fd12:3456:789a:1::/64\"";
    let bad =
        |message: &str, remedy: String| Err(ValueError::new(format!("{text:?} {message}"), remedy));
    let Ok(net) = text.parse::<Ipv6Net>() else {
        return bad("is not an IPv6 network", remedy.to_owned());
    };
    // Unique local or global (RFC 4291 2.4, RFC 4193 3.1). First, so that the remedies below are
    // networks that nodes can have.
    let [first, ..] = net.network().octets();
    if first & 0xfe != 0xfc && first & 0xe0 != 0x20 {
        return bad("is not a network that nodes can have", remedy.to_owned());
    }
    let right = Ipv6Net::new(net.addr(), 64).map_or(net, |net| net.trunc());
    if net.prefix_len() != 64 {
        let remedy = format!("write \"{right}\"");
        return bad("is not a /64, and nodes make their own addresses in a /64 only", remedy);
    }
    if net != right {
        return bad("has a host part", format!("write \"{right}\""));
    }
    Ok(Ipv6Prefix::Given(net))
}

/// Parses the head's address with the prefix length of the cluster's subnet; keeps the host part.
pub(super) fn cidr(text: &str) -> Parsed<Ipv4Net> {
    let remedy = "write an address and its prefix length, such as \"192.168.50.1/24\"";
    let net: Ipv4Net = text.parse().map_err(|_| {
        ValueError::new(format!("{text:?} is not an IPv4 address with a prefix length"), remedy)
    })?;
    let bad =
        |message: &str, remedy: String| Err(ValueError::new(format!("{text:?} {message}"), remedy));
    if net.to_string() != text {
        return bad(
            "has leading zeros, which some programs read as octal",
            format!("write \"{net}\""),
        );
    }
    let address = net.addr();
    if !(8..=30).contains(&net.prefix_len()) {
        return bad(
            "leaves no useful room for nodes",
            format!("write a prefix length between 8 and 30, such as \"{}/24\"", net.addr()),
        );
    }
    let [first, ..] = address.octets();
    if address.is_loopback()
        || address.is_multicast()
        || address.is_link_local()
        || matches!(first, 0 | 240..)
    {
        return bad(
            "is reserved for other purposes",
            "write an address of a private subnet, such as \"192.168.50.1/24\"".to_owned(),
        );
    }
    if address == net.network() || address == net.broadcast() {
        let what = if address == net.network() {
            "is the subnet's own number"
        } else {
            "is the subnet's broadcast address"
        };
        let first = Ipv4Addr::from(u32::from(net.network()).saturating_add(1));
        return bad(
            what,
            format!("write the address of a host, such as \"{first}/{}\"", net.prefix_len()),
        );
    }
    Ok(net)
}

/// Parses `cluster.dhcp.range`.
pub(super) fn range(text: &str) -> Parsed<(Ipv4Addr, Ipv4Addr)> {
    let remedy = "write the first and the last address, such as \"192.168.50.100-192.168.50.199\"";
    let parts = text
        .split_once('-')
        .and_then(|(first, last)| Some((first.trim().parse().ok()?, last.trim().parse().ok()?)));
    let (first, last): (Ipv4Addr, Ipv4Addr) = parts.ok_or_else(|| {
        ValueError::new(format!("{text:?} is not a range of IPv4 addresses"), remedy)
    })?;
    if first > last {
        return Err(ValueError::new(
            format!("{text:?} ends before it begins"),
            format!("write \"{last}-{first}\""),
        ));
    }
    Ok((first, last))
}

/// Parses a host name of one label (RFC 1123, 2.1).
pub(super) fn host_name(text: &str) -> Parsed<String> {
    if is_label(text) {
        return Ok(text.to_owned());
    }
    Err(ValueError::new(
        format!("{text:?} is not a host name"),
        "write at most 63 letters, digits and '-', with no '-' at either end, such as \"rpi1\"",
    ))
}

/// Parses a node's name: a host name that has no other meaning in dnsmasq's `dhcp-host`, where
/// digits, or digits and a unit, are a lease time, and two words are keywords (dnsmasq(8)).
pub(super) fn node_name(text: &str) -> Parsed<String> {
    let name = host_name(text)?;
    let lower = name.to_ascii_lowercase();
    let number = lower.strip_suffix(['s', 'm', 'h', 'd', 'w']).unwrap_or(&lower);
    let other = match lower.as_str() {
        "localhost" | "ip6-localhost" | "ip6-loopback" => "every machine's name for itself",
        // CERT VU#598349, RFC 5214 9
        "wpad" => "where browsers ask for a proxy",
        "isatap" => "where systems ask for a tunnel",
        "ignore" | "infinite" => "a keyword of dnsmasq",
        _ if number.bytes().all(|byte| byte.is_ascii_digit()) && !number.is_empty() => {
            "a time to dnsmasq"
        }
        _ => return Ok(name),
    };
    Err(ValueError::new(
        format!("{text:?} cannot be the name of a node: it is {other}"),
        format!("put a letter before it, such as \"n{text}\""),
    ))
}

/// Parses a domain (RFC 1035, 2.3.1), without its final dot.
pub(super) fn domain(text: &str) -> Parsed<String> {
    if let Some(whose) = reserved_domain(&text.to_ascii_lowercase()) {
        return Err(ValueError::new(
            format!("{text:?} {whose}"),
            "choose another domain such as \"bramble\" or \"home.arpa\"",
        ));
    }
    if is_domain_name(text) {
        return Ok(text.to_owned());
    }
    Err(ValueError::new(
        format!("{text:?} is not a domain"),
        "write labels of letters, digits and '-' with dots between them, such as \"bramble\"",
    ))
}

/// Returns why resolvers never query the head for names in a domain; `None` if they do.
fn reserved_domain(lower: &str) -> Option<&'static str> {
    let within = |domain: &str| {
        lower.strip_suffix(domain).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    };
    if within("local") {
        return Some("belongs to multicast DNS (RFC 6762)");
    }
    if within("localhost") {
        return Some("is every machine's name for itself (RFC 6761)");
    }
    // home.arpa is for home networks (RFC 8375).
    (within("arpa") && !within("home.arpa"))
        .then_some("is where addresses are looked up (RFC 3172)")
}

fn is_domain_name(text: &str) -> bool {
    text.len() <= 253 && text.split('.').all(is_label)
}

fn is_label(text: &str) -> bool {
    let clean = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    clean && (1..=63).contains(&text.len()) && !text.starts_with('-') && !text.ends_with('-')
}
