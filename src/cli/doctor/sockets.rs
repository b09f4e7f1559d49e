//! Listening sockets, and the processes that hold them, by `/proc`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::cli::machine::Machine;
use crate::event::printable_line;

/// A TCP socket in state LISTEN, or a bound UDP socket that is not connected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    pub tcp: bool,
    pub address: IpAddr,
    pub port: u16,
    inode: String,
}

/// Returns all listeners of this network namespace.
pub fn listeners(machine: &Machine) -> Vec<Listener> {
    let mut all = Vec::new();
    for (file, tcp) in [("tcp", true), ("tcp6", true), ("udp", false), ("udp6", false)] {
        let table = machine.read(&format!("/proc/net/{file}")).unwrap_or_default();
        all.extend(table.lines().skip(1).filter_map(|line| listener(line, tcp)));
    }
    all
}

/// Parses a line of `/proc/net/tcp` (proc_pid_net(5)): sl local rem st tx:rx tr:when retrnsmt uid
/// timeout inode.
fn listener(line: &str, tcp: bool) -> Option<Listener> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    // TCP_LISTEN; an unconnected UDP socket is in TCP_CLOSE.
    let wanted = if tcp { "0A" } else { "07" };
    if *fields.get(3)? != wanted {
        return None;
    }
    let (address, port) = fields.get(1)?.split_once(':')?;
    Some(Listener {
        tcp,
        address: parse_address(address)?,
        port: u16::from_str_radix(port, 16).ok()?,
        inode: (*fields.get(9)?).to_owned(),
    })
}

/// Parses 32-bit words in hexadecimal, each in the machine's byte order.
fn parse_address(text: &str) -> Option<IpAddr> {
    let word = |index: usize| {
        let digits = text.get(index * 8..index * 8 + 8)?;
        u32::from_str_radix(digits, 16).ok().map(u32::to_ne_bytes)
    };
    match text.len() {
        8 => word(0).map(|bytes| IpAddr::V4(Ipv4Addr::from(bytes))),
        32 => {
            let bytes: Vec<u8> = (0..4).filter_map(word).flatten().collect();
            let bytes: [u8; 16] = bytes.try_into().ok()?;
            let address = Ipv6Addr::from(bytes);
            Some(address.to_ipv4_mapped().map_or(IpAddr::V6(address), IpAddr::V4))
        }
        _ => None,
    }
}

impl Listener {
    /// Returns the process that holds it, if we may see that.
    pub fn owner(&self, machine: &Machine) -> Option<Process> {
        let wanted = format!("socket:[{}]", self.inode);
        processes(machine).into_iter().find(|process| process.holds(machine, &wanted))
    }
}

/// A process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    pub id: String,
    pub name: String,
}

impl std::fmt::Display for Process {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // A process can set its name to anything, line breaks too (prctl(2), PR_SET_NAME).
        write!(f, "{} ({})", printable_line(&self.name), self.id)
    }
}

impl Process {
    /// Returns whether one of its descriptors is `target`; needs root for processes of other users.
    pub fn holds(&self, machine: &Machine, target: &str) -> bool {
        let folder = format!("/proc/{}/fd", self.id);
        machine
            .list(&folder)
            .iter()
            .any(|fd| machine.link(&format!("{folder}/{fd}")).as_deref() == Some(target))
    }

    /// Returns the name of its parent.
    pub fn parent_name(&self, machine: &Machine) -> Option<String> {
        let status = machine.read(&format!("/proc/{}/status", self.id))?;
        machine.read(&format!("/proc/{}/comm", status_field(&status, "PPid")?))
    }
}

/// Returns a field of the text of `/proc/PID/status` (proc_pid_status(5)).
pub fn status_field<'s>(status: &'s str, name: &str) -> Option<&'s str> {
    status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
}

/// Returns whether a process with this `/proc/PID/status` holds `CAP_NET_RAW`
/// (`linux/capability.h`); true if unknown.
pub fn holds_net_raw(status: &str) -> bool {
    const NET_RAW: u64 = 1 << 13;
    let held = status_field(status, "CapEff").and_then(|mask| u64::from_str_radix(mask, 16).ok());
    held.is_none_or(|mask| mask & NET_RAW != 0)
}

/// Returns all processes but this one.
pub fn processes(machine: &Machine) -> Vec<Process> {
    let own = std::process::id().to_string();
    let mut ids = machine.list("/proc");
    ids.retain(|id| id.bytes().all(|byte| byte.is_ascii_digit()) && *id != own);
    let name = |id: &str| machine.read(&format!("/proc/{id}/comm"));
    ids.into_iter().filter_map(|id| Some(Process { name: name(&id)?, id })).collect()
}

/// Returns the processes that have this file open.
pub fn holders(machine: &Machine, path: &str) -> Vec<Process> {
    processes(machine).into_iter().filter(|process| process.holds(machine, path)).collect()
}

/// Returns whether a process has this name, of which the kernel keeps 15 bytes.
pub fn is_running(machine: &Machine, name: &str) -> bool {
    processes(machine).iter().any(|process| process.name == name)
}

/// Returns how to stop the owner of a port: its unit, else the process.
pub fn stop(machine: &Machine, owner: Option<&Process>) -> String {
    let Some(owner) = owner else {
        return "`sudo bramblegate doctor` names it; stop it, or bind it to the addresses that it \
                needs"
            .to_owned();
    };
    match unit(machine, owner) {
        Some(unit) => format!(
            "`sudo systemctl disable --now {unit}`, or bind it to the addresses that it needs"
        ),
        None => {
            format!(
                "`sudo kill {}`, and take it out of what starts it; or bind it to the addresses \
                 that it needs",
                owner.id
            )
        }
    }
}

/// Returns the system unit of a process, by its control group (cgroups(7)):
/// "0::/system.slice/udhcpd.service".
fn unit(machine: &Machine, process: &Process) -> Option<String> {
    let groups = machine.read(&format!("/proc/{}/cgroup", process.id))?;
    let path = groups.lines().find_map(|line| line.strip_prefix("0::/system.slice/"))?;
    let plain = |c: char| c.is_ascii_alphanumeric() || "@:._-\\".contains(c);
    let unit = path.split('/').find(|part| part.ends_with(".service"))?;
    unit.chars().all(plain).then(|| unit.to_owned())
}
