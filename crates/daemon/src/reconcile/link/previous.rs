//! The previous settings of ports, in `previous.json` of the state directory, so that `off` can
//! restore them even if the daemon is dead. Like the settings, the record is valid for one boot.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::conf::{self, Change, Conf};
use super::error::LinkError;
use super::settings6;
use crate::decide::InterfaceConf;
use crate::files::folder::{self, Folder};

const SCHEMA: u32 = 1;
/// Mode of the state directory if it has to be created.
pub const STATE_MODE: u32 = 0o750;
/// Limits on ports, and on our addresses per port: a larger record is not ours.
const MOST_PORTS: usize = 1024;
const MOST_ADDRESSES: usize = 64;
/// Limit on removed ports in the record.
const MOST_GONE: usize = 32;

/// The record and its file.
#[derive(Debug)]
pub struct Previous {
    path: PathBuf,
    record: Record,
    /// The write error, if the file lacks a part of the record.
    unkept: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
struct Record {
    schema: u32,
    /// `/proc/sys/kernel/random/boot_id`
    boot: String,
    /// By name.
    ports: BTreeMap<String, Port>,
    /// IPv6 settings before our first change, by port (or "all", "default") and by name in
    /// `/proc/sys/net/ipv6/conf`.
    #[serde(default)]
    ipv6: BTreeMap<String, BTreeMap<String, u32>>,
    /// The values of `accept_ra` that we wrote, by port. It alone of the IPv6 settings has three
    /// values, so that another program may have written the third since.
    #[serde(default)]
    accept_ra: BTreeMap<String, u32>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
struct Port {
    /// Settings before our first change of this boot, by name in `/proc/sys/net/ipv4/conf`.
    conf: BTreeMap<String, u32>,
    /// Addresses that we added.
    added: BTreeSet<String>,
}

impl Record {
    /// Removes entries that we never write: the service's user can edit the file, and root acts on
    /// it.
    fn within_bounds(mut self) -> Self {
        self.ports.retain(|name, port| {
            port.conf.retain(|name, value| {
                conf::number(name).is_some_and(|setting| *value <= conf::highest(setting))
            });
            port.added
                .retain(|text| text.parse::<IpNet>().is_ok_and(|address| can_be_ours(&address)));
            is_port_name(name) && port.added.len() <= MOST_ADDRESSES
        });
        self.ipv6.retain(|name, conf| {
            conf.retain(|setting, value| settings6::is_ours(setting, *value));
            is_port_name(name) || settings6::is_pseudo_port(name)
        });
        self.accept_ra.retain(|name, _| self.ipv6.contains_key(name));
        if self.ports.len() > MOST_PORTS || self.ipv6.len() > MOST_PORTS {
            self.ports.clear();
            self.ipv6.clear();
            self.accept_ra.clear();
        }
        self
    }
}

/// Returns whether a port other than the loopback can have this name (the kernel's
/// `dev_valid_name`).
fn is_port_name(name: &str) -> bool {
    (1..16).contains(&name.len())
        && !matches!(name, "lo" | "." | "..")
        && name.chars().all(|c| !c.is_whitespace() && !matches!(c, '/' | ':'))
}

/// Returns whether the settings can assign this address to the cluster's port.
fn can_be_ours(address: &IpNet) -> bool {
    let host = address.addr();
    let broadcast = IpAddr::V4(Ipv4Addr::BROADCAST);
    !(host.is_loopback() || host.is_unspecified() || host.is_multicast() || host == broadcast)
}

pub fn path(state_directory: &Path) -> PathBuf {
    state_directory.join("previous.json")
}

impl Previous {
    /// Reads the record; one that is unreadable or from an earlier boot is replaced by an empty
    /// one.
    pub fn open(state_directory: &Path) -> Self {
        let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id")
            .unwrap_or_default()
            .trim()
            .to_owned();
        let path = path(state_directory);
        let read = folder::read(&path)
            .ok()
            .and_then(|bytes| serde_json::from_slice::<Record>(&bytes).ok());
        let record = read.filter(|record| record.schema == SCHEMA && record.boot == boot);
        let record = record.map(Record::within_bounds).unwrap_or(Record {
            schema: SCHEMA,
            boot,
            ..Record::default()
        });
        Self { path, record, unkept: None }
    }

    /// Forgets removed ports once there are more than [`MOST_GONE`], since an adapter may appear
    /// under ever new names. A port that comes back has the kernel's defaults. Fewer are kept: the
    /// port may only have been renamed for a while.
    pub fn forget_gone(&mut self, present: &BTreeSet<&str>) {
        let is_gone = |name: &String| !present.contains(name.as_str());
        let ipv6 = self.record.ipv6.keys().filter(|name| !settings6::is_pseudo_port(name));
        if self.record.ports.keys().chain(ipv6).filter(|name| is_gone(name)).count() > MOST_GONE {
            self.record.ports.retain(|name, _| !is_gone(name));
            self.record.ipv6.retain(|name, _| settings6::is_pseudo_port(name) || !is_gone(name));
            self.record.accept_ra.retain(|name, _| self.record.ipv6.contains_key(name));
            self.save();
        }
    }

    /// Returns the write error if the file lacks a part of the record.
    pub fn unkept(&self) -> Option<&str> {
        self.unkept.as_deref()
    }

    /// Retries a failed write.
    pub fn catch_up(&mut self) {
        if self.unkept.is_some() {
            self.save();
        }
    }

    /// Records the values that `changes` will overwrite, unless they are recorded already.
    pub fn remember_conf(&mut self, name: &str, changes: &[Change], now: &Conf) {
        let mut added = false;
        let port = self.record.ports.entry(name.to_owned()).or_default();
        for change in changes {
            if let Some(value) = now.get(change.setting) {
                port.conf.entry(conf::name(change.setting).to_owned()).or_insert_with(|| {
                    added = true;
                    value
                });
            }
        }
        if added {
            self.save();
        }
    }

    /// Forgets settings that were restored.
    pub fn forget_conf(&mut self, name: &str, changes: &[Change]) {
        let Some(port) = self.record.ports.get_mut(name).filter(|_| !changes.is_empty()) else {
            return;
        };
        for change in changes {
            port.conf.remove(conf::name(change.setting));
        }
        self.save();
    }

    /// Records the value of an IPv6 setting, unless it is recorded already, and that it is
    /// overwritten by `ours`.
    pub fn remember_ipv6(&mut self, name: &str, setting: &str, value: u32, ours: u32) {
        let port = self.record.ipv6.entry(name.to_owned()).or_default();
        let mut added = false;
        port.entry(setting.to_owned()).or_insert_with(|| {
            added = true;
            value
        });
        if setting == settings6::ACCEPT_RA {
            added |= self.record.accept_ra.insert(name.to_owned(), ours) != Some(ours);
        }
        if added {
            self.save();
        }
    }

    /// Returns whether another program has overwritten our value of an IPv6 setting: a DHCP client
    /// sets `accept_ra` to 0 when it begins to process router advertisements itself.
    pub fn is_overwritten(&self, name: &str, setting: &str, now: u32) -> bool {
        let ours = self.record.accept_ra.get(name).filter(|_| setting == settings6::ACCEPT_RA);
        ours.is_some_and(|ours| *ours != now)
    }

    /// Forgets an IPv6 setting that was restored.
    pub fn forget_ipv6(&mut self, name: &str, setting: &str) {
        let Some(port) = self.record.ipv6.get_mut(name) else { return };
        port.remove(setting);
        if port.is_empty() {
            self.record.ipv6.remove(name);
        }
        if setting == settings6::ACCEPT_RA {
            self.record.accept_ra.remove(name);
        }
        self.save();
    }

    /// Returns the recorded value of an IPv6 setting.
    pub fn ipv6(&self, name: &str, setting: &str) -> Option<u32> {
        self.record.ipv6.get(name)?.get(setting).copied()
    }

    /// Returns all recorded IPv6 settings: port, setting, value.
    pub fn all_ipv6(&self) -> impl Iterator<Item = (&str, &str, u32)> {
        self.record.ipv6.iter().flat_map(|(name, conf)| {
            conf.iter().map(move |(setting, value)| (name.as_str(), setting.as_str(), *value))
        })
    }

    pub fn remember_address(&mut self, name: &str, address: IpNet) {
        if self.record.ports.entry(name.to_owned()).or_default().added.insert(address.to_string()) {
            self.save();
        }
    }

    pub fn forget_address(&mut self, name: &str, address: IpNet) {
        if self
            .record
            .ports
            .get_mut(name)
            .is_some_and(|port| port.added.remove(&address.to_string()))
        {
            self.save();
        }
    }

    /// Removes an address from the record in memory, but not from the file.
    pub fn disown(&mut self, name: &str, address: IpNet) {
        if let Some(port) = self.record.ports.get_mut(name) {
            port.added.remove(&address.to_string());
        }
    }

    pub fn added(&self, name: &str, address: IpNet) -> bool {
        self.record.ports.get(name).is_some_and(|port| port.added.contains(&address.to_string()))
    }

    /// Returns all added addresses, by port.
    pub fn all_added(&self) -> Vec<(String, IpNet)> {
        let ports = self.record.ports.iter();
        ports
            .flat_map(|(name, port)| {
                port.added.iter().filter_map(|text| Some((name.clone(), text.parse().ok()?)))
            })
            .collect()
    }

    /// Returns the names of the ports on which forwarding was off before us.
    pub fn opened(&self) -> Vec<String> {
        let off = |port: &Port| port.conf.get(conf::name(conf::FORWARDING)) == Some(&0);
        self.record
            .ports
            .iter()
            .filter(|(_, port)| off(port))
            .map(|(name, _)| name.clone())
            .collect()
    }

    /// Returns the recorded settings of a port.
    pub fn conf(&self, name: &str) -> InterfaceConf {
        let value = |setting| {
            let port = self.record.ports.get(name)?;
            port.conf
                .get(conf::name(setting))
                .copied()
                .filter(|value| *value <= conf::highest(setting))
        };
        let small = |setting| value(setting).and_then(|value| u8::try_from(value).ok());
        InterfaceConf {
            forwarding: value(conf::FORWARDING).map(|value| value != 0),
            arp_ignore: small(conf::ARP_IGNORE),
            arp_announce: small(conf::ARP_ANNOUNCE),
            rp_filter: small(conf::RP_FILTER),
            accept_local: value(conf::ACCEPT_LOCAL).map(|value| value != 0),
            ignore_routes_with_linkdown: value(conf::IGNORE_ROUTES_WITH_LINKDOWN)
                .map(|value| value != 0),
            accept_redirects: small(conf::ACCEPT_REDIRECTS),
            send_redirects: small(conf::SEND_REDIRECTS),
            accept_source_route: small(conf::ACCEPT_SOURCE_ROUTE),
        }
    }

    /// Removes the file after everything was restored.
    pub fn remove(self) -> Result<(), LinkError> {
        folder::remove(&self.path)
            .map_err(|source| LinkError::RecordStays { path: self.path, source })
    }

    /// Writes the record. A failure is reported and retried, but not fatal: this run still has the
    /// record in memory, and our addresses carry our mark.
    fn save(&mut self) {
        let result = self.write();
        self.unkept =
            result.err().map(|error| format!("{} cannot be written: {error}", self.path.display()));
    }

    fn write(&self) -> io::Result<()> {
        let text = serde_json::to_vec_pretty(&self.record)?;
        if let Some(parent) = self.path.parent() {
            Folder::make(parent, STATE_MODE)?;
        }
        folder::replace(&self.path, text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn adapters_with_ever_new_names_do_not_fill_the_record() {
        let held = tempfile::tempdir().unwrap();
        let directory = held.path().to_owned();
        let address: IpNet = "192.168.50.1/24".parse().unwrap();
        let mut previous = Previous::open(&directory);
        let rounds = 3 * MOST_GONE;
        for number in 0..rounds {
            let adapter = format!("usb{number}");
            previous.remember_address("eth0", address);
            previous.remember_address(&adapter, address);
            previous.forget_gone(&BTreeSet::from(["eth0", adapter.as_str()]));
        }
        assert!(
            previous.added("eth0", address)
                && previous.added(&format!("usb{}", rounds - 1), address)
        );
        let kept = Previous::open(&directory).record.ports.len();
        assert!(kept <= MOST_GONE + 2, "{kept} ports are kept");
        fs::remove_dir_all(&directory).unwrap();
    }

    /// The service's user can edit the record, on which root acts.
    #[test]
    fn entries_that_we_never_write_are_not_restored() {
        let held = tempfile::tempdir().unwrap();
        let directory = held.path().to_owned();
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
        let conf = r#"{"arp_ignore":255,"rp_filter":7,"accept_local":1,"forwarding":2,"disable_policy":1}"#;
        let ports = format!(
            r#""eth1":{{"conf":{conf},"added":["127.0.0.1/8","192.168.50.1/24","x"]}},"../all":{{"conf":{conf},"added":[]}},"lo":{{"conf":{conf},"added":["192.168.50.1/24"]}}"#
        );
        let text = format!(r#"{{"schema":1,"boot":"{}","ports":{{{ports}}}}}"#, boot.trim());
        fs::write(path(&directory), text).unwrap();
        let previous = Previous::open(&directory);
        fs::remove_dir_all(directory).unwrap();
        assert_eq!(
            previous.conf("eth1"),
            InterfaceConf { accept_local: Some(true), ..InterfaceConf::default() }
        );
        assert_eq!(previous.all_added(), [("eth1".to_owned(), "192.168.50.1/24".parse().unwrap())]);
        assert_eq!(previous.record.ports.len(), 1);
    }

    #[test]
    fn an_added_address_survives_a_restart_and_not_a_reboot() {
        let held = tempfile::tempdir().unwrap();
        let directory = held.path().to_owned();
        let address = "192.168.50.1/24".parse().unwrap();
        let mut previous = Previous::open(&directory);
        previous.remember_address("eth0", address);
        assert!(Previous::open(&directory).added("eth0", address));
        assert_eq!(Previous::open(&directory).all_added(), [("eth0".to_owned(), address)]);
        previous.record.boot = "another".into();
        previous.save();
        assert!(!Previous::open(&directory).added("eth0", address));
        fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn a_failed_write_is_reported_and_retried() {
        let held = tempfile::tempdir().unwrap();
        let directory = held.path().to_owned();
        let place = directory.join("state");
        fs::write(&place, "a file where the folder should be").unwrap();
        let address = "192.168.50.1/24".parse().unwrap();
        let mut previous = Previous::open(&place);
        previous.remember_address("eth0", address);
        assert!(previous.unkept().unwrap().contains("state/previous.json cannot be written"));
        assert!(previous.added("eth0", address), "this run knows it");
        fs::remove_file(&place).unwrap();
        previous.catch_up();
        assert_eq!(previous.unkept(), None);
        assert!(Previous::open(&place).added("eth0", address), "the folder is made");
        fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn the_first_recorded_value_is_restored() {
        let held = tempfile::tempdir().unwrap();
        let directory = held.path().to_owned();
        let mut previous = Previous::open(&directory);
        let change = [Change { setting: conf::RP_FILTER, value: 2 }];
        previous.remember_conf("eth1", &change, &Conf::of(&[(conf::RP_FILTER, 1)]));
        previous.remember_conf("eth1", &change, &Conf::of(&[(conf::RP_FILTER, 2)]));
        let put_back = Previous::open(&directory).conf("eth1");
        assert_eq!(put_back, InterfaceConf { rp_filter: Some(1), ..InterfaceConf::default() });
        fs::remove_dir_all(directory).unwrap();
    }
}
