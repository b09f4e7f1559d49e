//! Whether an NMS gets an answer: snmpd, its socket for subagents, its view, our subagent. Checked
//! only if SNMP was set up: the file of `setup --snmp` exists, or the subagent is enabled.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use super::sockets::is_running;
use super::{CheckContext, Finding, FindingCode};
use crate::cli::machine::Machine;
use crate::cli::snmp::{FILE, GROUP, ROOT, SERVICE, SETTINGS, SNMPD_FILE, SOCKET};

/// Returns what keeps snmpd from answering for the cluster.
pub fn answers(context: &CheckContext<'_>) -> Vec<Finding> {
    let machine = context.machine;
    if !machine.exists(FILE) && !machine.is_enabled(SERVICE) {
        return Vec::new();
    }
    if !machine.is_file("/usr/sbin/snmpd") {
        let text = "SNMP was set up, and snmpd, which answers for it, is not installed";
        return vec![Finding::of(FindingCode::HostSnmpdMissing, text)];
    }
    // Only the first is reported: it is the cause of the others.
    settings(machine)
        .or_else(|| socket(machine))
        .or_else(|| subagent(machine))
        .into_iter()
        .collect()
}

/// Finds settings that snmpd lacks. Finds nothing if its settings cannot be read: Debian lets only
/// root read them.
fn settings(machine: &Machine) -> Option<Finding> {
    let own = machine.read(SNMPD_FILE)?;
    let included = own.lines().any(|line| {
        let mut words = line.split_whitespace();
        words.next().is_some_and(|word| word.eq_ignore_ascii_case("includeDir"))
            && words.next().is_some_and(|folder| FILE.starts_with(folder))
    });
    let ours = machine.read(FILE).filter(|_| included).unwrap_or_default();
    let all = format!("{own}\n{ours}");
    let lines: Vec<Vec<&str>> = all.lines().map(|line| line.split_whitespace().collect()).collect();
    let wanted = SETTINGS.lines().filter(|line| !line.starts_with('#'));
    let missing: Vec<&str> = wanted
        .filter(|wanted| {
            let words: Vec<&str> = wanted.split_whitespace().collect();
            !lines.contains(&words)
        })
        .collect();
    if missing.is_empty() {
        return None;
    }
    let text = format!(
        "snmpd's settings lack what it needs to answer for the cluster: {}",
        missing.join("; ")
    );
    if !included {
        let remedy = format!(
            "`echo 'includeDir /etc/snmp/snmpd.conf.d' | sudo tee -a {SNMPD_FILE} && sudo \
             systemctl restart snmpd`"
        );
        return Some(Finding::new(FindingCode::HostSnmpdSettings, text, remedy));
    }
    Some(Finding::of(FindingCode::HostSnmpdSettings, text))
}

/// Checks that the socket is there, and that the daemon's group may use it.
fn socket(machine: &Machine) -> Option<Finding> {
    if !is_running(machine, "snmpd") {
        let text = "snmpd does not run: no program answers SNMP requests";
        return Some(Finding::of(FindingCode::HostSnmpdStopped, text));
    }
    let data = fs::metadata(machine.path(SOCKET)).ok();
    let usable = |data: &fs::Metadata| {
        data.permissions().mode() & 0o060 == 0o060 && Some(data.gid()) == machine.group(GROUP)
    };
    if data.is_some_and(|data| usable(&data)) {
        return None;
    }
    let text = format!(
        "the group {GROUP} cannot use {SOCKET}, snmpd's socket for subagents: snmpd was started \
         before it had the settings in {FILE}"
    );
    Some(Finding::of(FindingCode::HostSnmpdSocket, text))
}

fn subagent(machine: &Machine) -> Option<Finding> {
    if is_running(machine, "bramblegate-snm") {
        return None;
    }
    let text = format!("{SERVICE} does not run: snmpd knows nothing below {ROOT}");
    Some(Finding::of(FindingCode::HostSnmpStopped, text))
}
