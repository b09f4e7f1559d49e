//! The IPv6 settings of ports that we change, by name in `/proc/sys/net/ipv6/conf`.

/// Pseudo-ports: the settings of all ports, and of future ports.
pub const ALL: &str = "all";
pub const DEFAULT: &str = "default";

pub const ACCEPT_RA: &str = "accept_ra";
pub const FORWARDING: &str = "forwarding";
pub const FORCE_FORWARDING: &str = "force_forwarding";
/// Restricts source addresses to those of the outgoing port. Otherwise masquerading at an uplink
/// whose addresses are all deprecated would use the cluster port's.
pub const USE_OIF_ADDRS_ONLY: &str = "use_oif_addrs_only";

/// All settings that we change, with their highest values, in the order of restoring: forwarding
/// first.
pub const SETTINGS: [(&str, u32); 4] =
    [(FORWARDING, 1), (FORCE_FORWARDING, 1), (ACCEPT_RA, 2), (USE_OIF_ADDRS_ONLY, 1)];

/// Returns whether this is a setting that we change, with a valid value.
pub fn is_ours(setting: &str, value: u32) -> bool {
    SETTINGS.iter().any(|(name, highest)| *name == setting && value <= *highest)
}

/// Returns whether this is a pseudo-port, [`ALL`] or [`DEFAULT`].
pub fn is_pseudo_port(name: &str) -> bool {
    matches!(name, ALL | DEFAULT)
}
