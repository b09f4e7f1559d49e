//! Settings of the kernel that forwarding IPv6 to a TUN device takes. Without BPF only.

use std::fs;

/// Settings that were changed; they are set back when this is dropped.
#[derive(Debug, Default)]
pub struct Sysctls(Vec<(String, String)>);

impl Sysctls {
    /// Lets an interface forward IPv6 and answer for other addresses.
    ///
    /// # Errors
    /// The kernel's, with the setting.
    pub fn forward(uplink: &str) -> Result<Self, String> {
        let mut changed = Self::default();
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

    fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        let before = read(name)?;
        if before.trim() != value {
            fs::write(path(name), value).map_err(|error| format!("{}: {error}", path(name)))?;
            self.0.push((name.to_owned(), before));
        }
        Ok(())
    }
}

impl Drop for Sysctls {
    fn drop(&mut self) {
        for (name, before) in self.0.drain(..).rev() {
            let _ = fs::write(path(&name), before);
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

fn read(name: &str) -> Result<String, String> {
    fs::read_to_string(path(name)).map_err(|error| format!("{}: {error}", path(name)))
}
