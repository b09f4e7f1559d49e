//! Settings of the kernel that forwarding IPv6 to a TUN device takes, without BPF only, and one that
//! it takes to use an address while duplicates of it are looked for.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

/// Says which setting cannot be read or changed.
#[derive(Debug, Error)]
#[error("{path}: {source}")]
pub struct SysctlError {
    path: String,
    source: io::Error,
}

impl SysctlError {
    fn of(name: &str, source: io::Error) -> Self {
        Self { path: path(name), source }
    }
}

/// Settings that were changed; they are set back when this is dropped.
#[derive(Debug, Default)]
pub struct Sysctls {
    /// names with the values before
    changed: Vec<(String, String)>,
    /// where they are written down for the case that the process is killed
    record: Option<PathBuf>,
}

impl Sysctls {
    /// Lets an interface forward IPv6 and answer for other addresses.
    ///
    /// # Errors
    /// The kernel's, with the setting.
    pub fn forward(uplink: &str, record: Option<&Path>) -> Result<Self, SysctlError> {
        let record = record.map(Path::to_owned);
        let mut changed = Self { changed: Vec::new(), record };
        let accept = format!("conf/{uplink}/accept_ra");
        // A forwarding kernel heeds router advertisements only with 2, and forgets its default route
        // at the change with 1. 0: a DHCP client reads them itself.
        if read(&accept)?.trim() == "1" {
            changed.set(&accept, "2")?;
        }
        changed.set(&format!("conf/{uplink}/proxy_ndp"), "1")?;
        // Else the first answer comes up to 0.8 s late.
        changed.set(&format!("neigh/{uplink}/proxy_delay"), "0")?;
        changed.set("conf/all/forwarding", "1")?;
        Ok(changed)
    }

    /// Lets addresses be added to an interface that are used while duplicates of them are looked
    /// for. A kernel without that (`CONFIG_IPV6_OPTIMISTIC_DAD`) lacks the setting, and the address
    /// waits.
    pub fn optimistic(uplink: &str, record: Option<&Path>) -> Self {
        let mut changed = Self { changed: Vec::new(), record: record.map(Path::to_owned) };
        let _ = changed.set(&format!("conf/{uplink}/optimistic_dad"), "1");
        changed
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), SysctlError> {
        let before = read(name)?;
        if before.trim() != value {
            self.changed.push((name.to_owned(), before.trim().to_owned()));
            self.keep();
            fs::write(path(name), value).map_err(|source| SysctlError::of(name, source))?;
        }
        Ok(())
    }

    /// Writes down what is to be set back.
    fn keep(&self) {
        let line = |(name, before): &(String, String)| format!("{name} {before}\n");
        let text: String = self.changed.iter().map(line).collect();
        if let Some(Err(error)) = self.record.as_ref().map(|record| fs::write(record, text)) {
            eprintln!("bramblegate-clat: settings of IPv6 cannot be written down: {error}");
        }
    }
}

/// Sets back what a process that was killed wrote down.
pub fn set_back(record: &Path) {
    let Ok(text) = fs::read_to_string(record) else { return };
    let changed = text.lines().filter_map(|line| line.split_once(' '));
    let changed = changed.map(|(name, before)| (name.to_owned(), before.to_owned())).collect();
    drop(Sysctls { changed, record: Some(record.to_owned()) });
}

impl Drop for Sysctls {
    fn drop(&mut self) {
        for (name, before) in self.changed.drain(..).rev() {
            let _ = fs::write(path(&name), before);
        }
        if let Some(record) = &self.record {
            let _ = fs::remove_file(record);
        }
    }
}

/// Returns the IPv6 MTU of an interface, in octets.
pub fn mtu(interface: &str) -> Option<u32> {
    read(&format!("conf/{interface}/mtu")).ok()?.trim().parse().ok()
}

fn path(name: &str) -> String {
    format!("/proc/sys/net/ipv6/{name}")
}

fn read(name: &str) -> Result<String, SysctlError> {
    fs::read_to_string(path(name)).map_err(|source| SysctlError::of(name, source))
}
