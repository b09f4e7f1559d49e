//! What the nodes are served beside addresses: the time, and files to boot from.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use super::{CheckContext, Finding, FindingCode};
use crate::cli::machine::Machine;
use crate::config::TimeServer;
use crate::event::{AlertCode, Vital};
use crate::watch::dhcp::boot_files;
use crate::watch::host::ntp::TimeAnswer;
use crate::watch::host::time;

/// The daemon's user, as the package makes it.
const USER: &str = "bramblegate";

/// What the unit's sandbox hides from the service (`ProtectHome=`, `PrivateTmp=`; systemd.exec(5)).
const HIDDEN: [&str; 5] = ["/home", "/root", "/run/user", "/tmp", "/var/tmp"];

/// Nodes without a clock of their own are told nobody to ask: the head serves no time, and asks by
/// names alone.
pub fn time(context: &CheckContext<'_>) -> Vec<Finding> {
    let (cluster, machine) = (&context.settings.cluster, context.machine);
    let auto = cluster.dhcp.as_ref().is_some_and(|dhcp| dhcp.ntp == TimeServer::Auto);
    let Vital::Time { served, servers } = time::read(&machine.path("/")) else { return Vec::new() };
    if served && auto && context.settings.gateway.enabled {
        return unserved(context);
    }
    let reported = served || servers.iter().any(|server| !server.is_loopback());
    if !context.settings.gateway.enabled || !auto || reported {
        return Vec::new();
    }
    let nets = std::iter::once(&cluster.address).chain(&cluster.alternatives);
    // The last line serves the time also while the head has no internet itself.
    let allow: String = nets.map(|net| format!("allow {}\\n", net.trunc())).collect();
    let install =
        if machine.exists("/etc/chrony/chrony.conf") { "" } else { "sudo apt install chrony && " };
    vec![Finding::new(
        FindingCode::GatewayNoTime,
        "nothing on the head serves the time (systemd-timesyncd is a client only), so nodes get no time server; those without a \
         clock of their own start with a wrong date",
        format!(
            "`{install}printf '{allow}local stratum 10\\n' | sudo tee /etc/chrony/conf.d/bramblegate.conf && sudo systemctl restart \
             chrony`; or name a server as cluster.dhcp.ntp, or \"off\" there"
        ),
    )]
}

/// A time server that listens, and of which the nodes get no time.
fn unserved(context: &CheckContext<'_>) -> Vec<Finding> {
    let address = context.settings.cluster.address;
    let (text, line) = match context.machine.time_answer(address.addr()) {
        TimeAnswer::Serves | TimeAnswer::NoAddress => return Vec::new(),
        TimeAnswer::Silent => {
            ("does not answer the cluster's addresses", format!("allow {}", address.trunc()))
        }
        TimeAnswer::Unsynchronised => (
            "has no time itself and says so (no source, or none yet)",
            "local stratum 10".to_owned(),
        ),
    };
    vec![Finding::new(
        FindingCode::GatewayNoTime,
        format!("the head's time server {text}, so nodes get no time server"),
        format!(
            "with chrony: `echo '{line}' | sudo tee -a /etc/chrony/conf.d/bramblegate.conf && sudo systemctl restart chrony`; or name \
             another server as cluster.dhcp.ntp"
        ),
    )]
}

/// Finds that the folder of boot files is not there, or it or files in it are closed to the
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
            format!(
                "no node can boot from {root}: the service's sandbox shows it another {hidden}, or none"
            ),
            "move the folder to /srv/tftp, say, and correct cluster.netboot.root".to_owned(),
        );
    }
    let Some(user) = User::read(context.machine) else { return Vec::new() };
    if let Some(folder) = shut(context.machine, &netboot.root, &user) {
        return found(
            format!("no node can boot from {root}: user {USER} may not enter {folder}"),
            format!("`sudo chmod o+rx {folder}`"),
        );
    }
    let below = context.machine.path(&root);
    let Some(closed) = boot_files::closed(&below, |_, data| user.may_use(data)) else {
        return Vec::new();
    };
    // As the user calls it, also where doctor looks at another root.
    let named = closed.to_string().replacen(&below.display().to_string(), &root, 1);
    let text = format!(
        "nodes cannot load {named}: user {USER} may not read it, and so may not the server of boot files"
    );
    found(text, format!("`sudo chmod -R o+rX {root}`"))
}

/// The daemon's user, as the machine knows it.
struct User {
    uid: u32,
    gids: Vec<u32>,
}

impl User {
    /// Reads `/etc/passwd` and `/etc/group`; `None` where there is no such user.
    fn read(machine: &Machine) -> Option<Self> {
        let passwd = machine.read("/etc/passwd")?;
        let line = passwd.lines().find(|line| line.split(':').next() == Some(USER))?;
        let number = |line: &str, place: usize| line.split(':').nth(place)?.parse::<u32>().ok();
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

    /// Returns whether it may read a file, or enter a folder, by owner, group and mode.
    fn may_use(&self, data: &fs::Metadata) -> bool {
        let right = if data.is_dir() { 0o1 } else { 0o4 };
        let place = match (data.uid() == self.uid, self.gids.contains(&data.gid())) {
            (true, _) => 6,
            (false, true) => 3,
            (false, false) => 0,
        };
        data.permissions().mode() & (right << place) != 0
    }
}

/// Returns the first folder on the way that the daemon's user may not enter.
fn shut(machine: &Machine, folder: &Path, user: &User) -> Option<String> {
    let mut way: Vec<&Path> = folder.ancestors().filter(|path| *path != Path::new("/")).collect();
    way.reverse();
    let closed = |path: &&Path| {
        fs::metadata(machine.path(&path.display().to_string()))
            .is_ok_and(|data| !user.may_use(&data))
    };
    way.into_iter().find(closed).map(|path| path.display().to_string())
}
