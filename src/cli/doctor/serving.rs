//! What the nodes are served beside addresses: the time, and files to boot from.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use super::{Finding, Patient};
use crate::cli::machine::Machine;
use crate::config::TimeServer;
use crate::event::Vital;
use crate::source::ntp::TimeAnswer;
use crate::source::time;

/// The daemon's user, as the package makes it.
const USER: &str = "bramblegate";

/// What the unit's sandbox hides from the service (`ProtectHome=`, `PrivateTmp=`; systemd.exec(5)).
const HIDDEN: [&str; 5] = ["/home", "/root", "/run/user", "/tmp", "/var/tmp"];

/// Nodes without a clock of their own are told nobody to ask: the head serves no time, and asks by names alone.
pub fn time(patient: &Patient<'_>) -> Vec<Finding> {
    let (cluster, machine) = (&patient.settings.cluster, patient.machine);
    let auto = cluster.dhcp.as_ref().is_some_and(|dhcp| dhcp.ntp == TimeServer::Auto);
    let Vital::Time { served, servers } = time::read(&machine.path("/")) else { return Vec::new() };
    if served && auto && patient.settings.gateway.enabled {
        return unserved(patient);
    }
    let told = served || servers.iter().any(|server| !server.is_loopback());
    if !patient.settings.gateway.enabled || !auto || told {
        return Vec::new();
    }
    let nets = std::iter::once(&cluster.address).chain(&cluster.alternatives);
    // The last line serves the time also while the head has no internet itself.
    let allow: String = nets.map(|net| format!("allow {}\\n", net.trunc())).collect();
    let install = if machine.exists("/etc/chrony/chrony.conf") { "" } else { "sudo apt install chrony && " };
    vec![Finding::hint(
        "gateway-no-time",
        "nothing on the head serves the time (systemd-timesyncd is a client only), so nodes are told no time server; those without a \
         clock of their own start with a wrong date",
        format!(
            "{install}printf '{allow}local stratum 10\\n' | sudo tee /etc/chrony/conf.d/bramblegate.conf && sudo systemctl restart \
             chrony; or name a server as cluster.dhcp.ntp, or \"off\" there"
        ),
    )]
}

/// A time server that listens, and of which the nodes get no time.
fn unserved(patient: &Patient<'_>) -> Vec<Finding> {
    let address = patient.settings.cluster.address;
    let (text, line) = match patient.machine.time_answer(address.addr()) {
        TimeAnswer::Serves | TimeAnswer::NoAddress => return Vec::new(),
        TimeAnswer::Silent => ("does not answer the cluster's addresses", format!("allow {}", address.trunc())),
        TimeAnswer::Unsynchronised => {
            ("has no time itself and says so (no source, or none yet)", "local stratum 10".to_owned())
        }
    };
    vec![Finding::hint(
        "gateway-no-time",
        format!("the head's time server {text}, so nodes are given no time server"),
        format!(
            "with chrony: echo '{line}' | sudo tee -a /etc/chrony/conf.d/bramblegate.conf && sudo systemctl restart chrony; or name \
             another server as cluster.dhcp.ntp"
        ),
    )]
}

/// The folder of boot files is not there, or not for the daemon's user.
pub fn boot_folder(patient: &Patient<'_>) -> Vec<Finding> {
    let cluster = &patient.settings.cluster;
    let Some(netboot) = cluster.netboot.as_ref().filter(|_| patient.settings.gateway.enabled && cluster.dhcp.is_some())
    else {
        return Vec::new();
    };
    let root = netboot.root.display().to_string();
    let found = |text: String, remedy: String| vec![Finding::new("gateway-netboot", text, remedy)];
    if !patient.machine.path(&root).is_dir() {
        let remedy = format!("sudo mkdir -p {root}, and put the boot files there; or correct cluster.netboot.root");
        return found(format!("no node can boot: the folder {root} is not there"), remedy);
    }
    if let Some(hidden) = HIDDEN.iter().find(|hidden| netboot.root.starts_with(hidden)) {
        return found(
            format!("no node can boot from {root}: the service's sandbox shows it another {hidden}, or none"),
            "move the folder to /srv/tftp, say, and correct cluster.netboot.root".to_owned(),
        );
    }
    match closed(patient.machine, &netboot.root) {
        Some(folder) => found(
            format!("no node can boot from {root}: user {USER} may not enter {folder}"),
            format!("sudo chmod o+rx {folder}"),
        ),
        None => Vec::new(),
    }
}

/// The first folder on the way that the daemon's user may not enter; `None` also where there is no such user.
fn closed(machine: &Machine, folder: &Path) -> Option<String> {
    let field = |line: &str, place: usize| line.split(':').nth(place).map(str::to_owned);
    let line =
        |text: Option<String>| text?.lines().find(|line| field(line, 0).as_deref() == Some(USER)).map(str::to_owned);
    let user = line(machine.read("/etc/passwd"))?;
    let number = |place| field(&user, place)?.parse::<u32>().ok();
    let (uid, gid) = (number(2)?, number(3)?);
    let may_enter = |data: &fs::Metadata| {
        let mode = data.permissions().mode();
        let right = match (data.uid() == uid, data.gid() == gid) {
            (true, _) => 0o100,
            (false, true) => 0o010,
            (false, false) => 0o001,
        };
        mode & right != 0
    };
    let mut way: Vec<&Path> = folder.ancestors().filter(|path| *path != Path::new("/")).collect();
    way.reverse();
    let shut = |path: &&Path| {
        let data = fs::metadata(machine.path(&path.display().to_string()));
        data.is_ok_and(|data| !may_enter(&data))
    };
    way.into_iter().find(shut).map(|path| path.display().to_string())
}
