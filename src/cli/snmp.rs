//! Settings of the system's snmpd by which it answers for the cluster: `print snmpd` shows them,
//! `setup --snmp` installs them, `doctor` looks whether they hold.

/// Where snmpd of Debian reads further settings.
pub const FILE: &str = "/etc/snmp/snmpd.conf.d/bramblegate.conf";
/// Its own settings.
pub const SNMPD_FILE: &str = "/etc/snmp/snmpd.conf";
/// The socket for subagents that these settings make.
pub const SOCKET: &str = "/run/agentx/master";
/// The service of the subagent.
pub const SERVICE: &str = "bramblegate-snmp.service";
/// The group whose members may use that socket.
pub const GROUP: &str = "bramblegate";
/// The tree (`bramblegate_snmp::mib::ROOT`).
pub const ROOT: &str = ".1.3.6.1.4.1.8072.9999.9999.7654";

/// The settings. Debian's snmpd gives its socket for subagents to root alone, and shows nothing
/// below `enterprises`.
pub const SETTINGS: &str = "\
# Written by bramblegate setup --snmp; see bramblegate-snmp(8).
# Subagents without root, in the group bramblegate.
agentXSocket unix:/run/agentx/master
agentXPerms 0660 0755 Debian-snmp bramblegate
# What the community \"public\" may see, besides what Debian shows.
view systemonly included .1.3.6.1.4.1.8072.9999.9999.7654
";
