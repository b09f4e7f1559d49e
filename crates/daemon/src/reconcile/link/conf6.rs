//! IPv6 settings of ports, for the nodes' IPv6. They can be written only through `/proc/sys`
//! (`inet6_set_link_af` of `net/ipv6/addrconf.c` handles none of them), with CAP_NET_ADMIN.
//!
//! Since Linux 6.17 packets that enter a port with `force_forwarding` are forwarded, and each port
//! stays a host or router as before. An older kernel forwards on all ports or on none. There a port
//! with `accept_ra` = 1 that starts to forward loses the default route from its router
//! (`Documentation/networking/ip-sysctl.rst`), so `accept_ra` is set to 2 before.

use std::collections::BTreeSet;
use std::path::Path;
use std::{fs, io};

use super::error::LinkError;
use super::faults::Faults;
use super::previous::Previous;
use super::settings6::{
    ACCEPT_RA, ALL, FORCE_FORWARDING, FORWARDING, SETTINGS, USE_OIF_ADDRS_ONLY,
};
use crate::api::clat;
use crate::decide::{Ipv6Role, LinkPlan};
use crate::files::reading;

const ROOT: &str = "/proc/sys/net/ipv6/conf";

/// The desired value of a port's setting.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Wanted {
    port: String,
    setting: &'static str,
    value: u32,
}

impl Wanted {
    fn new(port: &str, setting: &'static str, value: u32) -> Self {
        Self { port: port.to_owned(), setting, value }
    }
}

/// Brings the settings of all ports to the plan, and restores those that have left it.
pub fn apply(plan: &LinkPlan, previous: &mut Previous, faults: &mut Faults) {
    let wanted = wanted(plan, previous);
    for Wanted { port, setting, value } in &wanted {
        // The port was removed, or has no IPv6 (an MTU below 1280).
        let Some(now) = read(port, setting) else {
            continue;
        };
        if now == *value {
            // If bramblegate-clat set the value, the one before it is the one to restore.
            let before = before_translator(port, setting).filter(|old| old != value);
            if let Some(before) = before.or_else(|| previous.ipv6(port, setting)) {
                previous.remember_ipv6(port, setting, before, *value);
            }
            continue;
        }
        if port == ALL {
            remember_all(previous);
        }
        previous.remember_ipv6(port, setting, now, *value);
        faults.note(write(port, setting, *value));
    }
    let is_wanted = |port: &str, setting: &str| {
        let everywhere = || wanted.iter().any(|it| it.port == ALL) && setting == FORWARDING;
        wanted.iter().any(|it| it.port == port && it.setting == setting) || everywhere()
    };
    for (port, setting, value) in restore_order(previous) {
        if !is_wanted(&port, setting) {
            match restore(previous, &port, setting, value) {
                Ok(_) => previous.forget_ipv6(&port, setting),
                Err(error) => faults.note(Err(error)),
            }
        }
    }
}

/// Restores all settings. Returns a line for each change.
///
/// # Errors
/// The first failure, after all were tried.
pub fn put_back(previous: &mut Previous) -> Result<Vec<String>, LinkError> {
    let mut done = Vec::new();
    let mut failure = None;
    for (port, setting, value) in restore_order(previous) {
        match restore(previous, &port, setting, value) {
            Ok(true) => done.push(format!("{port}: put back IPv6 {setting}={value}")),
            Ok(false) => {}
            Err(error) => failure = failure.or(Some(error)),
        }
    }
    failure.map_or(Ok(done), Err)
}

/// Returns the settings of the plan in the order of writing.
fn wanted(plan: &LinkPlan, previous: &Previous) -> Vec<Wanted> {
    let ports = || plan.ports.iter().filter_map(|port| Some((port.name.as_str(), port.ipv6?)));
    let Some((cluster, _)) = ports().find(|(_, role)| *role == Ipv6Role::Cluster) else {
        return Vec::new();
    };
    let uplinks = || ports().filter(|(_, role)| *role == Ipv6Role::Uplink).map(|(name, _)| name);
    // The head is the cluster's only router, so an advertisement there is bogus.
    let mut all = vec![Wanted::new(cluster, ACCEPT_RA, 0)];
    all.extend(uplinks().map(|name| Wanted::new(name, USE_OIF_ADDRS_ONLY, 1)));
    let accepts_ra = |name: &str| {
        let now = read(name, ACCEPT_RA);
        let is_ours = now.is_some_and(|now| !previous.is_overwritten(name, ACCEPT_RA, now));
        let before = previous.ipv6(name, ACCEPT_RA).filter(|_| is_ours);
        name != cluster && (now == Some(1) || before == Some(1))
    };
    if read(ALL, FORCE_FORWARDING).is_some() {
        // The first port that forwards takes the advertised default routes from all ports whose
        // value is not 2 (`addrconf_fixup_forwarding` of `net/ipv6/addrconf.c`).
        let hosts = uplinks().filter(|name| accepts_ra(name));
        all.extend(hosts.map(|name| Wanted::new(name, ACCEPT_RA, 2)));
        // Sets the router flag in neighbour advertisements. Without it the nodes drop the head as a
        // router (RFC 4861 7.2.5).
        all.push(Wanted::new(cluster, FORWARDING, 1));
        all.push(Wanted::new(cluster, FORCE_FORWARDING, 1));
        all.extend(uplinks().map(|name| Wanted::new(name, FORCE_FORWARDING, 1)));
        return all;
    }
    let names = names();
    all.extend(
        names.iter().filter(|name| accepts_ra(name)).map(|name| Wanted::new(name, ACCEPT_RA, 2)),
    );
    all.push(Wanted::new(ALL, FORWARDING, 1));
    // Another program may have disabled it on one port since.
    all.extend(ports().map(|(name, _)| Wanted::new(name, FORWARDING, 1)));
    all
}

/// Records whether each port forwards, since a write to "all" overwrites it.
fn remember_all(previous: &mut Previous) {
    for name in names() {
        if let Some(value) = read(&name, FORWARDING) {
            previous.remember_ipv6(&name, FORWARDING, value, 1);
        }
    }
}

/// Returns the recorded settings in the order of [`SETTINGS`], each for "all" before single ports.
fn restore_order(previous: &Previous) -> Vec<(String, &'static str, u32)> {
    let mut all: Vec<(usize, bool, String, &'static str, u32)> = previous
        .all_ipv6()
        .filter_map(|(port, setting, value)| {
            let index = SETTINGS.iter().position(|(name, _)| *name == setting)?;
            let (name, _) = SETTINGS.get(index)?;
            Some((index, port != ALL, port.to_owned(), *name, value))
        })
        .collect();
    all.sort();
    all.into_iter().map(|(_, _, port, setting, value)| (port, setting, value)).collect()
}

/// Restores a value, unless the port was removed or another program has written one since. Returns
/// whether it differed.
fn restore(
    previous: &Previous,
    port: &str,
    setting: &'static str,
    value: u32,
) -> Result<bool, LinkError> {
    match read(port, setting) {
        Some(now) if now != value && !previous.is_overwritten(port, setting, now) => {
            write(port, setting, value).map(|()| true)
        }
        _ => Ok(false),
    }
}

/// Returns the names of the ports that have IPv6, and "default".
fn names() -> BTreeSet<String> {
    let entries = fs::read_dir(ROOT).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    names.filter(|name| name != ALL && name != "lo").collect()
}

/// Reads a setting; `None` if the kernel lacks the setting or the port has no IPv6.
fn read(port: &str, setting: &str) -> Option<u32> {
    fs::read_to_string(Path::new(ROOT).join(port).join(setting)).ok()?.trim().parse().ok()
}

fn write(port: &str, setting: &'static str, value: u32) -> Result<(), LinkError> {
    match fs::write(Path::new(ROOT).join(port).join(setting), value.to_string()) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result.map_err(|source| LinkError::Ipv6 {
            name: format!("{port}.{setting}"),
            value,
            source,
        }),
    }
}

/// Returns whether all ports forwarded IPv6 before us and before bramblegate-clat, as far as
/// recorded.
pub fn forwarded_everywhere(previous: &Previous) -> bool {
    let before = previous.ipv6(ALL, FORWARDING).or_else(|| before_translator(ALL, FORWARDING));
    before.or_else(|| read(ALL, FORWARDING)) == Some(1)
}

/// Returns the value of a setting before bramblegate-clat changed it, from that program's record.
fn before_translator(port: &str, setting: &str) -> Option<u32> {
    let record = reading::text(Path::new(clat::SYSCTLS)).ok()?;
    let name = format!("conf/{port}/{setting} ");
    record.lines().find_map(|line| line.strip_prefix(&name)?.trim().parse().ok())
}
