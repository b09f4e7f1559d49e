//! Sysctls: those for forwarding IPv6 to a TUN device, without BPF only, and the one for optimistic
//! duplicate address detection.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

/// A sysctl cannot be read or changed.
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

/// Changed sysctls; dropping this restores them.
#[derive(Debug, Default)]
pub struct Sysctls {
    /// Names with their previous values.
    changed: Vec<(String, String)>,
    /// The file that records them, in case the process is killed.
    record: Option<PathBuf>,
}

impl Sysctls {
    /// Enables forwarding of IPv6, and the NDP proxy on an interface.
    ///
    /// # Errors
    /// A sysctl cannot be read or changed.
    pub fn forward(uplink: &str, record: Option<&Path>) -> Result<Self, SysctlError> {
        let record = record.map(Path::to_owned);
        let mut changed = Self { changed: Vec::new(), record };
        changed.keep_forwarding(uplink)?;
        Ok(changed)
    }

    /// Enables them again where another program has switched them off, such as the gateway at the
    /// end of the nodes' IPv6.
    ///
    /// # Errors
    /// A sysctl cannot be read or changed.
    pub fn keep_forwarding(&mut self, uplink: &str) -> Result<(), SysctlError> {
        let accept = format!("conf/{uplink}/accept_ra");
        // With 1, a forwarding kernel ignores router advertisements and drops its default route. 0
        // means that a DHCP client processes them.
        if read(&accept)?.trim() == "1" {
            self.set(&accept, "2")?;
        }
        self.set(&format!("conf/{uplink}/proxy_ndp"), "1")?;
        // The default delays the first answer by up to 0.8 s.
        self.set(&format!("neigh/{uplink}/proxy_delay"), "0")?;
        self.set("conf/all/forwarding", "1")
    }

    /// Enables optimistic duplicate address detection on an interface. A kernel without
    /// `CONFIG_IPV6_OPTIMISTIC_DAD` lacks the sysctl, and the address has to wait.
    pub fn optimistic(uplink: &str, record: Option<&Path>) -> Self {
        let mut changed = Self { changed: Vec::new(), record: record.map(Path::to_owned) };
        let _ = changed.set(&format!("conf/{uplink}/optimistic_dad"), "1");
        changed
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), SysctlError> {
        let before = read(name)?;
        if before.trim() != value {
            // The first one is that of before this program.
            if !self.changed.iter().any(|(known, _)| known == name) {
                self.changed.push((name.to_owned(), before.trim().to_owned()));
                self.save();
            }
            fs::write(path(name), value).map_err(|source| SysctlError::of(name, source))?;
        }
        Ok(())
    }

    /// Records the previous values.
    fn save(&self) {
        let line = |(name, before): &(String, String)| format!("{name} {before}\n");
        let text: String = self.changed.iter().map(line).collect();
        if let Some(Err(error)) = self.record.as_ref().map(|record| fs::write(record, text)) {
            eprintln!("bramblegate-clat: settings of IPv6 cannot be written down: {error}");
        }
    }
}

/// Restores the sysctls that a killed process recorded.
pub fn restore(record: &Path) {
    let Ok(text) = fs::read_to_string(record) else { return };
    let changed = text.lines().filter_map(|line| line.split_once(' '));
    let changed = changed.map(|(name, before)| (name.to_owned(), before.to_owned())).collect();
    drop(Sysctls { changed, record: Some(record.to_owned()) });
}

impl Drop for Sysctls {
    fn drop(&mut self) {
        for (name, before) in self.changed.drain(..).rev() {
            // A DHCP client that began to process router advertisements itself has set it to 0.
            let is_taken =
                name.ends_with("/accept_ra") && read(&name).is_ok_and(|now| now != "2\n");
            if !is_taken {
                let _ = fs::write(path(&name), before);
            }
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
