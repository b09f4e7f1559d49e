//! Services for the nodes: other servers in the way, the installed dnsmasq, the time, and boot
//! files.

use std::fs;
use std::net::IpAddr;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use super::sockets::{Process, listeners, stop};
use super::{CheckContext, Finding, FindingCode};
use crate::cli::machine::Machine;
use crate::config::TimeServer;
use crate::event::{AlertCode, Vital};
use crate::watch::dhcp::boot_files;
use crate::watch::host::ntp::TimeAnswer;
use crate::watch::host::time;

/// Returns the DHCP servers that start with the machine: (unit, description).
pub fn other_servers(machine: &Machine) -> Vec<(&'static str, &'static str)> {
    let known = [
        ("isc-dhcp-server.service", "isc-dhcp-server"),
        ("kea-dhcp4-server.service", "kea"),
        ("udhcpd.service", "udhcpd"),
        ("dnsmasq.service", "the system's own dnsmasq"),
    ];
    known.into_iter().filter(|(unit, _)| machine.is_enabled(unit)).collect()
}

/// Finds other DHCP servers, and programs on port 53 or 67 where the gateway would serve.
pub fn servers(context: &CheckContext<'_>) -> Vec<Finding> {
    let machine = context.machine;
    let mut findings: Vec<Finding> = other_servers(machine).into_iter().map(other_server).collect();
    if context.settings.cluster.dhcp.is_some() {
        findings.extend(listeners_in_the_way(context));
    }
    if context.settings.cluster.dhcp.is_some() && !machine.has_program("dnsmasq") {
        findings.push(Finding::new(
            AlertCode::GatewayDnsmasqMissing,
            "dnsmasq is not installed, so the nodes get no addresses from here",
            "`sudo apt install dnsmasq-base`, or leave [cluster.dhcp] out",
        ));
    }
    findings
}

/// Describes another DHCP server that starts with the machine: its unit, and what it is.
fn other_server((unit, what): (&str, &str)) -> Finding {
    Finding::new(
        FindingCode::GatewayDhcpOther,
        format!("{what} starts with the machine and would answer the nodes as well"),
        format!("`sudo systemctl disable --now {unit}`"),
    )
}

/// Finds programs that listen on port 53 or 67 at the head's address in the cluster.
fn listeners_in_the_way(context: &CheckContext<'_>) -> Vec<Finding> {
    let head = IpAddr::V4(context.settings.cluster.address.addr());
    let is_ours = |owner: &Process| {
        owner.name == "dnsmasq"
            && owner.parent_name(context.machine).as_deref() == Some("bramblegate")
    };
    let mut findings: Vec<Finding> = Vec::new();
    for listener in listeners(context.machine) {
        let name = match (listener.port, listener.tcp) {
            (53, _) => "DNS",
            (67, false) => "DHCP",
            _ => continue,
        };
        if !(listener.address.is_unspecified() || listener.address == head) {
            continue;
        }
        let owner = listener.owner(context.machine);
        if owner.as_ref().is_some_and(is_ours) {
            continue;
        }
        let who = owner.as_ref().map_or_else(|| "another program".to_owned(), ToString::to_string);
        let text = format!(
            "{who} has port {} on {}, where the nodes' {name} would be served",
            listener.port, listener.address
        );
        let known = findings.iter().any(|finding| finding.text == text);
        if !known {
            let remedy = format!(
                "{}; otherwise the gateway serves none",
                stop(context.machine, owner.as_ref())
            );
            findings.push(Finding::new(
                if name == "DNS" { FindingCode::HostPort53 } else { FindingCode::HostPort67 },
                text,
                remedy,
            ));
        }
    }
    findings
}

/// Vulnerabilities of dnsmasq by Debian's security tracker
/// (<https://security-tracker.debian.org/tracker/source-package/dnsmasq>) and the packages'
/// changelogs: release, fixed version, CVEs. `None`: not fixed in this release.
const VULNERABILITIES: [(&str, Option<&str>, &str); 4] = [
    ("12", Some("2.90-4~deb12u2"), CVES_MAY_2026),
    ("12", None, CVES_SEPTEMBER_2026),
    ("13", Some("2.91-1+deb13u1"), CVES_MAY_2026),
    ("13", Some("2.91-1+deb13u2"), CVES_SEPTEMBER_2026),
];
/// May 2026: heap overflows by DNS names, and by long client identifiers of DHCP.
const CVES_MAY_2026: &str = "CVE-2026-2291, CVE-2026-4890 to -4893, CVE-2026-5172";
/// September 2026.
const CVES_SEPTEMBER_2026: &str = "CVE-2026-12725, CVE-2026-12969";

/// Finds vulnerabilities of the installed dnsmasq, if it serves the nodes.
pub fn dnsmasq(context: &CheckContext<'_>) -> Vec<Finding> {
    if context.settings.cluster.dhcp.is_none() {
        return Vec::new();
    }
    let machine = context.machine;
    let release = machine.read("/etc/os-release").unwrap_or_default();
    let release = release
        .lines()
        .find_map(|line| line.strip_prefix("VERSION_ID="))
        .unwrap_or_default()
        .trim_matches('"');
    let Some(version) = machine.run("dpkg-query", &["-W", "-f", "${Version}", "dnsmasq-base"])
    else {
        return Vec::new();
    };
    let version = version.trim();
    if version.is_empty() {
        return Vec::new();
    }
    let older =
        |fixed: &str| machine.run("dpkg", &["--compare-versions", version, "lt", fixed]).is_some();
    let of_release = || VULNERABILITIES.iter().filter(|(of, _, _)| *of == release);
    let open: Vec<&str> = of_release()
        .filter(|(_, fixed, _)| fixed.is_some_and(older))
        .map(|(_, _, holes)| *holes)
        .collect();
    let unfixed: Vec<&str> =
        of_release().filter(|(_, fixed, _)| fixed.is_none()).map(|(_, _, holes)| *holes).collect();
    let mut findings = Vec::new();
    if !open.is_empty() {
        let text = format!(
            "dnsmasq {version}, which answers the nodes, has known vulnerabilities: {}",
            open.join(", ")
        );
        findings.push(Finding::of(FindingCode::HostDnsmasqOld, text));
    }
    // A backport of a newer release is not in the table.
    if !unfixed.is_empty() && version.contains("deb12") {
        let text = format!(
            "dnsmasq {version} of Debian {release} has vulnerabilities that are not fixed there \
             yet: {}",
            unfixed.join(", ")
        );
        findings.push(Finding::of(FindingCode::HostDnsmasqOpen, text));
    }
    findings
}

/// The daemon's user, which the package creates.
const USER: &str = "bramblegate";

/// Folders that the unit's sandbox hides from the service (`ProtectHome=`, `PrivateTmp=`;
/// systemd.exec(5)).
const HIDDEN: [&str; 5] = ["/home", "/root", "/run/user", "/tmp", "/var/tmp"];

/// Finds that nodes get no time server: the head serves no time, and knows its own servers only by
/// name.
pub fn time(context: &CheckContext<'_>) -> Vec<Finding> {
    let (cluster, machine) = (&context.settings.cluster, context.machine);
    let auto = cluster.dhcp.as_ref().is_some_and(|dhcp| dhcp.ntp == TimeServer::Auto);
    let Vital::Time { served, servers } = time::read(&machine.path("/")) else { return Vec::new() };
    if served && auto && context.settings.gateway.enabled {
        return not_serving(context);
    }
    let has_server = served || servers.iter().any(|server| !server.is_loopback());
    if !context.settings.gateway.enabled || !auto || has_server {
        return Vec::new();
    }
    let nets = std::iter::once(&cluster.address).chain(&cluster.fallback_addresses);
    // `local stratum 10` serves the time also while the head has no internet access.
    let allow: String = nets.map(|net| format!("allow {}\\n", net.trunc())).collect();
    let install =
        if machine.exists("/etc/chrony/chrony.conf") { "" } else { "sudo apt install chrony && " };
    vec![Finding::new(
        FindingCode::GatewayNoTime,
        "nothing on the head serves the time (systemd-timesyncd is a client only), so nodes get \
         no time server. Those without a clock of their own start with a wrong date",
        format!(
            "`{install}printf '{allow}local stratum 10\\n\
             ' | sudo tee /etc/chrony/conf.d/bramblegate.conf && sudo systemctl restart \
             chrony`; or name a server as cluster.dhcp.ntp, or \"off\" there"
        ),
    )]
}

/// Finds a time server of the head that does not serve the nodes.
fn not_serving(context: &CheckContext<'_>) -> Vec<Finding> {
    let address = context.settings.cluster.address;
    let (text, line) = match context.machine.time_answer(address.addr()) {
        TimeAnswer::Serves | TimeAnswer::NoAddress => return Vec::new(),
        TimeAnswer::Silent => {
            ("does not answer the cluster's addresses", format!("allow {}", address.trunc()))
        }
        TimeAnswer::Unsynchronised => {
            ("has no time itself (no source, or none yet)", "local stratum 10".to_owned())
        }
    };
    vec![Finding::new(
        FindingCode::GatewayNoTime,
        format!("the head's time server {text}, so nodes get no time server"),
        format!(
            "with chrony: `echo '{line}' | sudo tee -a /etc/chrony/conf.d/bramblegate.conf && \
             sudo systemctl restart chrony`; or name \
             another server as cluster.dhcp.ntp"
        ),
    )]
}

/// Finds that the folder of boot files is missing, or that it or files in it are closed to the
/// daemon's user.
pub fn boot_folder(context: &CheckContext<'_>) -> Vec<Finding> {
    let cluster = &context.settings.cluster;
    let Some(netboot) = cluster
        .netboot
        .as_ref()
        .filter(|_| context.settings.gateway.enabled && cluster.dhcp.is_some())
    else {
        return Vec::new();
    };
    let root = netboot.root.display().to_string();
    let found =
        |text: String, remedy: String| vec![Finding::new(AlertCode::GatewayNetboot, text, remedy)];
    if !context.machine.path(&root).is_dir() {
        let remedy = format!(
            "`sudo mkdir -p {root}`, and put the boot files there; or correct cluster.netboot.root"
        );
        return found(format!("no node can boot: the folder {root} is not there"), remedy);
    }
    if let Some(hidden) = HIDDEN.iter().find(|hidden| netboot.root.starts_with(hidden)) {
        return found(
            format!("no node can boot from {root}: the service's sandbox hides {hidden}"),
            "move the folder, for example to /srv/tftp, and correct cluster.netboot.root"
                .to_owned(),
        );
    }
    let Some(user) = User::read(context.machine) else { return Vec::new() };
    if let Some(folder) = first_closed(context.machine, &netboot.root, &user) {
        return found(
            format!("no node can boot from {root}: user {USER} may not enter {folder}"),
            format!("`sudo chmod o+rx {folder}`"),
        );
    }
    let below = context.machine.path(&root);
    let Some(closed) = boot_files::closed(&below, |_, data| user.may_use(data)) else {
        return Vec::new();
    };
    // As users name it, also if the machine's root is another folder.
    let named = closed.to_string().replacen(&below.display().to_string(), &root, 1);
    let text = format!("nodes cannot load {named}: user {USER}, which serves it, may not read it");
    found(text, format!("`sudo chmod -R o+rX {root}`"))
}

/// The daemon's user on this machine.
struct User {
    uid: u32,
    gids: Vec<u32>,
}

impl User {
    /// Reads `/etc/passwd` and `/etc/group`; `None` if there is no such user.
    fn read(machine: &Machine) -> Option<Self> {
        let passwd = machine.read("/etc/passwd")?;
        let line = passwd.lines().find(|line| line.split(':').next() == Some(USER))?;
        let number = |line: &str, field: usize| line.split(':').nth(field)?.parse::<u32>().ok();
        let groups = machine.read("/etc/group").unwrap_or_default();
        let member = |line: &&str| {
            line.rsplit(':').next().is_some_and(|names| names.split(',').any(|name| name == USER))
        };
        let more = groups.lines().filter(member).filter_map(|line| number(line, 2));
        Some(Self {
            uid: number(line, 2)?,
            gids: number(line, 3).into_iter().chain(more).collect(),
        })
    }

    /// Returns whether the user may read a file, or enter a folder, by owner, group and mode.
    fn may_use(&self, data: &fs::Metadata) -> bool {
        let permission = if data.is_dir() { 0o1 } else { 0o4 };
        let shift = match (data.uid() == self.uid, self.gids.contains(&data.gid())) {
            (true, _) => 6,
            (false, true) => 3,
            (false, false) => 0,
        };
        data.permissions().mode() & (permission << shift) != 0
    }
}

/// Returns the first folder of a path that the daemon's user may not enter.
fn first_closed(machine: &Machine, folder: &Path, user: &User) -> Option<String> {
    let mut way: Vec<&Path> = folder.ancestors().filter(|path| *path != Path::new("/")).collect();
    way.reverse();
    let closed = |path: &&Path| {
        fs::metadata(machine.path(&path.display().to_string()))
            .is_ok_and(|data| !user.may_use(&data))
    };
    way.into_iter().find(closed).map(|path| path.display().to_string())
}
