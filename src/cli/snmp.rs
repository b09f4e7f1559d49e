//! Settings with which the system's snmpd answers for the cluster: `print snmpd` shows them, `setup
//! --snmp` installs them, `doctor` checks them.

/// Drop-in of Debian's snmpd.
pub const FILE: &str = "/etc/snmp/snmpd.conf.d/bramblegate.conf";
/// The main settings file of snmpd.
pub const SNMPD_FILE: &str = "/etc/snmp/snmpd.conf";
/// The socket for subagents that these settings create.
pub const SOCKET: &str = "/run/agentx/master";
/// The service of the subagent.
pub const SERVICE: &str = "bramblegate-snmp.service";
/// The group whose members may use that socket.
pub const GROUP: &str = "bramblegate";
/// The root of the tree (`bramblegate_snmp::mib::ROOT`).
pub const ROOT: &str = ".1.3.6.1.4.1.8072.9999.9999.7654";

/// The settings. By default, Debian's snmpd lets only root use its socket for subagents, and shows
/// nothing below `enterprises`.
pub const SETTINGS: &str = "\
# Written by bramblegate setup --snmp; see bramblegate-snmp(8).
# Subagents without root, in the group bramblegate.
agentXSocket unix:/run/agentx/master
agentXPerms 0660 0755 Debian-snmp bramblegate
# What the community \"public\" may see, besides what Debian shows.
view systemonly included .1.3.6.1.4.1.8072.9999.9999.7654
";
