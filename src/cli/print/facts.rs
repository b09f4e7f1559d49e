//! Facts from a file, in the JSON of iproute2: `{"addresses": (ip -j -d address), "routes": (ip -j
//! -N route show table all)}`.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipnet::IpNet;
use serde_json::Value;

use crate::event::{Address, Change, Event, Link, LinkIndex, Route};
use crate::files::reading;

/// `valid_life_time` of an address that does not expire.
const FOR_EVER: u64 = u32::MAX as u64;

/// Why a file of facts cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{}: {mistake}", .path.display())]
pub struct FactsError {
    path: PathBuf,
    mistake: Mistake,
}

#[derive(Debug, thiserror::Error)]
enum Mistake {
    #[error(transparent)]
    Unreadable(#[from] io::Error),
    #[error(transparent)]
    NoJson(#[from] serde_json::Error),
    #[error("the list \"{0}\" is missing")]
    NoList(&'static str),
    #[error("not an interface of `ip -j address`: {0}")]
    NoLink(Value),
    #[error("not an address: {0}")]
    NoAddress(Value),
    #[error("not a route of `ip -j route`: {0}")]
    NoRoute(Value),
}

/// Reads the events of a file.
///
/// # Errors
/// It cannot be read, or has another format.
pub fn read(path: &Path) -> Result<Vec<Event>, FactsError> {
    read_events(path).map_err(|mistake| FactsError { path: path.to_owned(), mistake })
}

fn read_events(path: &Path) -> Result<Vec<Event>, Mistake> {
    events(&serde_json::from_slice(reading::text(path)?.as_bytes())?)
}

fn events(json: &Value) -> Result<Vec<Event>, Mistake> {
    let links = list(json, "addresses")?;
    let names =
        BTreeMap::from_iter(links.iter().filter_map(|l| Some((string(l, "ifname")?, index(l)?))));
    let mut events = Vec::new();
    for entry in links {
        let link = link(entry, &names).ok_or_else(|| Mistake::NoLink(entry.clone()))?;
        for item in entry.get("addr_info").and_then(Value::as_array).into_iter().flatten() {
            let address =
                address(item, link.index).ok_or_else(|| Mistake::NoAddress(item.clone()))?;
            events.push(Event::Address(Change::Present(address)));
        }
        events.insert(0, Event::Link(Change::Present(link)));
    }
    for entry in list(json, "routes")? {
        let kind = string(entry, "type").unwrap_or("unicast");
        if kind == "unicast" {
            let route = route(entry, &names).ok_or_else(|| Mistake::NoRoute(entry.clone()))?;
            events.push(Event::Route(Change::Present(route)));
        }
    }
    Ok(events)
}

fn list<'v>(json: &'v Value, key: &'static str) -> Result<&'v Vec<Value>, Mistake> {
    json.get(key).and_then(Value::as_array).ok_or(Mistake::NoList(key))
}

fn string<'v>(value: &'v Value, key: &str) -> Option<&'v str> {
    value.get(key).and_then(Value::as_str)
}

fn number(value: &Value, key: &str) -> Option<u32> {
    let found = value.get(key)?;
    found.as_u64().and_then(|n| u32::try_from(n).ok()).or_else(|| found.as_str()?.parse().ok())
}

fn index(value: &Value) -> Option<LinkIndex> {
    number(value, "ifindex")
}

fn has_flag(value: &Value, flag: &str) -> bool {
    value
        .get("flags")
        .and_then(Value::as_array)
        .is_some_and(|flags| flags.iter().any(|f| f.as_str() == Some(flag)))
}

fn link(entry: &Value, names: &BTreeMap<&str, LinkIndex>) -> Option<Link> {
    let name = string(entry, "ifname")?.to_owned();
    let alternatives = entry.get("altnames").and_then(Value::as_array).into_iter().flatten();
    let info = entry.get("linkinfo");
    Some(Link {
        index: index(entry)?,
        alternative_names: alternatives.filter_map(Value::as_str).map(str::to_owned).collect(),
        mac: string(entry, "address").and_then(|mac| mac.parse().ok()),
        up: has_flag(entry, "UP"),
        carrier: has_flag(entry, "LOWER_UP") && string(entry, "operstate") != Some("DOWN"),
        loopback: has_flag(entry, "LOOPBACK"),
        wireless: name.starts_with("wl"),
        master: string(entry, "master").and_then(|master| names.get(master).copied()),
        kind: info.and_then(|info| string(info, "info_kind")).map(str::to_owned),
        parent: string(entry, "link").and_then(|parent| names.get(parent).copied()),
        mtu: number(entry, "mtu").unwrap_or(1500),
        name,
    })
}

fn address(item: &Value, index: LinkIndex) -> Option<Address> {
    let local: std::net::IpAddr = string(item, "local")?.parse().ok()?;
    let flag = |name: &str| item.get(name).and_then(Value::as_bool).unwrap_or(false);
    let valid =
        item.get("valid_life_time").and_then(Value::as_u64).filter(|seconds| *seconds < FOR_EVER);
    Some(Address {
        index,
        address: IpNet::new(local, u8::try_from(number(item, "prefixlen")?).ok()?).ok()?,
        tentative: flag("tentative"),
        deprecated: flag("deprecated"),
        temporary: flag("temporary"),
        link_local: string(item, "scope") == Some("link"),
        valid_for: valid.map(Duration::from_secs),
        protocol: string(item, "protocol").and_then(|number| number.parse().ok()).unwrap_or(0),
    })
}

fn route(entry: &Value, names: &BTreeMap<&str, LinkIndex>) -> Option<Route> {
    let gateway = string(entry, "gateway").map(str::parse).transpose().ok()?;
    let destination = match string(entry, "dst")? {
        "default" if string(entry, "gateway").is_some_and(|gateway| gateway.contains(':')) => {
            "::/0".parse().ok()?
        }
        "default" => "0.0.0.0/0".parse().ok()?,
        text => text
            .parse::<IpNet>()
            .ok()
            .or_else(|| Some(IpNet::from(text.parse::<std::net::IpAddr>().ok()?)))?,
    };
    let flags = entry.get("flags").and_then(Value::as_array);
    let mut metrics = entry.get("metrics").and_then(Value::as_array).into_iter().flatten();
    let mtu = metrics.find_map(|metric| number(metric, "mtu"));
    Some(Route {
        table: match string(entry, "table") {
            None | Some("main") => 254,
            Some(table) => table.parse().ok()?,
        },
        destination,
        gateway,
        index: *names.get(string(entry, "dev")?)?,
        metric: number(entry, "metric").unwrap_or(0),
        protocol: u8::try_from(number(entry, "protocol").unwrap_or(0)).ok()?,
        onlink: flags.is_some_and(|flags| flags.iter().any(|f| f.as_str() == Some("onlink"))),
        preferred_source: string(entry, "prefsrc").and_then(|source| source.parse().ok()),
        mtu: mtu.filter(|_| destination.addr().is_ipv4()),
    })
}
