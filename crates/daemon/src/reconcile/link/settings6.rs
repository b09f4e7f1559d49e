//! The IPv6 settings of ports that are ever changed, by their names in `/proc/sys/net/ipv6/conf`.

/// Whose settings hold for all ports, and for those to come.
pub const ALL: &str = "all";
pub const DEFAULT: &str = "default";

pub const ACCEPT_RA: &str = "accept_ra";
pub const FORWARDING: &str = "forwarding";
pub const FORCE_FORWARDING: &str = "force_forwarding";
/// An address of another port is no source of what leaves by this one: that of the cluster's port
/// would be, for who masquerades at an uplink whose own are deprecated.
pub const USE_OIF_ADDRS_ONLY: &str = "use_oif_addrs_only";

/// The settings that are ever changed, and their highest values, in the order in which they are put
/// back: what forwards first.
pub const SETTINGS: [(&str, u32); 4] =
    [(FORWARDING, 1), (FORCE_FORWARDING, 1), (ACCEPT_RA, 2), (USE_OIF_ADDRS_ONLY, 1)];

/// Returns whether this is a value of a setting that we change.
pub fn is_ours(setting: &str, value: u32) -> bool {
    SETTINGS.iter().any(|(name, highest)| *name == setting && value <= *highest)
}

/// Returns whether it is a port's name: that of what holds for ports to come is none.
pub fn is_name(name: &str) -> bool {
    matches!(name, ALL | DEFAULT)
}
