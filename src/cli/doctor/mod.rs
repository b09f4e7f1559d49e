//! `bramblegate doctor`: finds what would stop or disturb the gateway on this machine, with
//! remedies. Changes nothing.

mod ask;
pub mod cluster;
mod code;
mod daemon;
pub mod dhcp;
mod firewall;
mod forward;
pub mod host;
mod link;
mod panel;
mod report;
mod routing;
mod share;
mod snmp;
mod sockets;
#[cfg(test)]
mod tests;
mod uplink;
mod web;

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use glob::Pattern;

use super::detect::decide::decide;
use super::detect::look::{Found, ports};
use super::machine::Machine;
use super::output::{self, Verbosity};
use super::settings::{self, COMPATIBLE, ConfigArg, boards};
use crate::clock;
use crate::config::{self, Fault, LcdBus, PortPattern, Settings};
use crate::event::{Dump, Event};
use crate::facts::Facts;
use crate::facts::link::port::is_glob;
pub use code::{FindingCode, Rank};
pub use report::{count, report};

const EXAMPLES: &str = "\
Examples:
  bramblegate doctor                       exit 0 clean, 1 findings, 2 the gateway is blocked
  sudo bramblegate doctor -v               a line for each check; root sees more
  sudo bramblegate doctor --try            also ask the venue's servers and the head's own
  bramblegate doctor -j | jq '.checks[] | select(.result != \"ok\")'";

/// Find what would stop or disturb the gateway here; changes nothing
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
#[command(mut_arg("quiet", |arg| arg.help("Print findings only, no hints and no count")))]
#[command(mut_arg("verbose", |arg| arg.help("Print a line for each check")))]
pub struct Args {
    #[command(flatten)]
    pub config: ConfigArg,
    /// Also ask on the wire; nothing is requested
    ///
    /// The venue's DHCP server and resolvers, and the head's own dnsmasq. Each question is
    /// announced before it is asked.
    #[arg(long = "try")]
    pub try_it: bool,
    /// Print all checks as JSON
    #[arg(short, long)]
    pub json: bool,
    #[command(flatten)]
    pub verbosity: Verbosity,
}

/// A problem, or something that could be better.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    pub code: FindingCode,
    pub rank: Rank,
    pub text: String,
    /// What to do.
    pub remedy: String,
}

impl Finding {
    /// Returns a finding with the rank of its code.
    fn new(
        code: impl Into<FindingCode>,
        text: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        let code = code.into();
        Self { code, rank: code.rank(), text: text.into(), remedy: remedy.into() }
    }

    /// Returns a finding with the rank and the remedy of its code.
    fn of(code: impl Into<FindingCode>, text: impl Into<String>) -> Self {
        let code = code.into();
        Self::new(code, text, code.remedy().unwrap_or("bramblegate status says more"))
    }

    /// Returns it with another rank.
    fn ranked(self, rank: Rank) -> Self {
        Self { rank, ..self }
    }
}

/// The input of a check.
#[derive(Debug)]
pub struct CheckContext<'a> {
    pub machine: &'a Machine,
    pub settings: &'a Settings,
}

impl CheckContext<'_> {
    /// Returns the names of the machine's ports that match a pattern of the settings.
    fn ports(&self, pattern: &PortPattern) -> Vec<String> {
        let mut names = self.machine.list("/sys/class/net");
        names.retain(|name| name != "lo" && self.port_matches(name, pattern));
        names
    }

    fn port_matches(&self, name: &str, pattern: &PortPattern) -> bool {
        match pattern {
            PortPattern::Glob(glob) => {
                matches(glob, name)
                    || self.machine.alternative_names(name).iter().any(|name| matches(glob, name))
            }
            PortPattern::Mac(mac) => {
                let address = self.machine.read(&format!("/sys/class/net/{name}/address"));
                address.is_some_and(|address| address.eq_ignore_ascii_case(&mac.to_string()))
            }
        }
    }

    /// Returns the cluster's port, if it is there. A glob does not match a port that is named as an
    /// uplink.
    pub fn cluster_port(&self) -> Option<String> {
        let pattern = &self.settings.cluster.interface;
        let glob = is_glob(pattern);
        self.ports(pattern).into_iter().find(|name| !glob || !self.is_uplink_by_name(name))
    }

    fn is_uplink_by_name(&self, name: &str) -> bool {
        self.settings
            .uplink
            .interfaces
            .iter()
            .any(|pattern| !is_glob(pattern) && self.port_matches(name, pattern))
    }

    /// Returns the uplinks that are there, in order of preference.
    fn uplinks(&self) -> Vec<String> {
        let cluster = self.cluster_port();
        let mut names: Vec<String> = Vec::new();
        for name in self.settings.uplink.interfaces.iter().flat_map(|pattern| self.ports(pattern)) {
            if Some(&name) != cluster.as_ref() && !names.contains(&name) {
                names.push(name);
            }
        }
        names
    }

    /// Returns the facts of the kernel's current network state.
    fn facts(&self) -> Facts {
        let mut facts = Facts::new(Arc::new(self.settings.clone()), clock::now());
        let dump = std::iter::once(Event::Dump(Dump::Begin))
            .chain(self.machine.network())
            .chain([Event::Dump(Dump::End)]);
        for event in dump {
            facts.apply(&event, clock::now());
        }
        facts
    }

    fn i2c_device(&self) -> Option<String> {
        match &self.settings.lcd.bus {
            LcdBus::I2c { device, .. } => Some(device.display().to_string()),
            _ => None,
        }
    }
}

/// Returns whether a name matches a shell's pattern: `* ? […]`, as in the settings.
pub fn matches(pattern: &str, name: &str) -> bool {
    Pattern::new(pattern).is_ok_and(|pattern| pattern.matches(name))
}

type Check = fn(&CheckContext<'_>) -> Vec<Finding>;

/// All checks, in the order of their findings.
pub static CHECKS: &[(&str, Check)] = &[
    ("the gateway answers, if it runs", daemon::answers),
    ("the interfaces are there, and not in a bridge", host::ports),
    ("the cables are in the right interfaces", link::swapped),
    ("every interface with an address has a role", link::unknown_ports),
    ("what Bramblegate's own rules dropped", link::drops),
    ("no forwarded port hides a program of the head", forward::hidden_listeners),
    ("no other table drops what is forwarded", firewall::foreign_drop),
    ("Bramblegate's table is not saved in another program's rules", firewall::saved_table),
    ("no masquerade of an older gateway", firewall::old_masquerade),
    ("sshd can be reached from the venue", firewall::ssh),
    ("no other program manages the cluster interface", cluster::managers),
    ("no profile for the cluster interface comes back at each boot", cluster::profiles),
    ("each uplink has one DHCP client", uplink::two_clients),
    ("each uplink gets its address", uplink::addresses),
    ("no other DHCP or DNS server is in the way", dhcp::servers),
    ("dnsmasq has no known vulnerability", dhcp::dnsmasq),
    ("boot files are there for the nodes", dhcp::boot_folder),
    ("nodes get a time server", dhcp::time),
    ("display and LED may be used", panel::rights),
    ("the gateway may send its probes", daemon::rights),
    ("no other program holds display or LED", panel::held),
    ("no driver of the kernel holds the display, none is missing for the LED", panel::claimed),
    ("connection tracking has room", host::conntrack),
    ("the kernel has room for all nodes as neighbours", host::neighbours),
    ("no other interface leads to the cluster's subnet", host::overlap),
    ("no default route uses the cluster interface", host::default_route),
    ("no other program's routing rule takes the cluster's packets", routing::rules),
    ("no other computer has an address of the head", routing::addresses),
    ("shared disks are there, and the nodes get them", share::disks),
    ("snmpd answers for the cluster, if that was set up", snmp::answers),
    ("the status page runs, and users reach it", web::page),
    ("what is written lasts", host::overlay),
    ("the journal does not wear a memory card out", host::journal_on_card),
    ("nothing is left of an older gateway", host::leftovers),
];

/// The result of one check.
#[derive(Debug, Clone, Default)]
pub struct CheckResult {
    /// What holds if all is well.
    pub name: String,
    pub findings: Vec<Finding>,
    /// Observations if all is well.
    pub notes: Vec<String>,
    /// It was a query on the network (`--try`).
    pub is_query: bool,
}

impl CheckResult {
    /// Returns the highest rank of its findings; `None` without any.
    fn rank(&self) -> Option<Rank> {
        self.findings.iter().map(|finding| finding.rank).max()
    }
}

/// Runs all checks.
pub fn checks(context: &CheckContext<'_>) -> Vec<CheckResult> {
    let made = |(name, check): &(&str, Check)| CheckResult {
        name: (*name).to_owned(),
        findings: check(context),
        ..CheckResult::default()
    };
    CHECKS.iter().map(made).chain([uplink::translator(context)]).collect()
}

/// Runs all checks; returns what they found.
pub fn examine(context: &CheckContext<'_>) -> Vec<Finding> {
    checks(context).into_iter().flat_map(|checked| checked.findings).collect()
}

/// Prints the findings. Exit 0 clean, 1 findings, 2 the gateway is blocked.
pub fn main(args: Args) -> ExitCode {
    let machine = Machine::real();
    let Args { config, try_it, json, verbosity } = args;
    let is_root = rustix::process::geteuid().is_root();
    let mut checks = run_checks(&machine, &config.config);
    if !is_root && !json && !verbosity.quiet {
        output::err("Without root some things stay hidden: `sudo bramblegate doctor` sees more.\n");
    }
    if try_it {
        checks.extend(ask::ask(&machine, &config.config));
    }
    let findings: Vec<Finding> =
        checks.iter().flat_map(|checked| checked.findings.iter().cloned()).collect();
    let written = if json {
        let report = report::as_json(&checks, &config.config.display().to_string(), is_root);
        output::deliver_json(&format!("{report}\n"))
    } else if verbosity.quiet {
        let grave = findings.iter().filter(|finding| finding.rank > Rank::Hint);
        output::deliver(&grave.map(report::entry).collect::<String>())
    } else {
        output::deliver_drawn(&report::text(&checks, &findings, verbosity.verbose))
    };
    ExitCode::from(if written == 0 { code(&findings) } else { written })
}

/// Runs all checks, that of the settings first. Without a settings file, with those that `detect`
/// would propose.
fn run_checks(machine: &Machine, file: &Path) -> Vec<CheckResult> {
    let settings_are_right = |findings| CheckResult {
        name: "the settings are right".to_owned(),
        findings,
        ..CheckResult::default()
    };
    let faults = match settings::load(file) {
        Ok(merged) => {
            let others = checks(&CheckContext { machine, settings: &merged.settings });
            return std::iter::once(settings_are_right(Vec::new())).chain(others).collect();
        }
        Err(faults) => faults,
    };
    if file.symlink_metadata().is_ok() {
        let bad = |fault: &Fault| {
            let check = format!("then run `bramblegate check -c {}`", file.display());
            let remedy = format!("{}; {check}", fault.remedy);
            Finding::new(FindingCode::HostSettings, fault.headline(), remedy)
        };
        return vec![settings_are_right(faults.iter().map(bad).collect())];
    }
    let presumed = presumed_settings(machine);
    let rest = if presumed.is_some() {
        "; the rest was checked with the settings that `bramblegate detect` would write"
    } else {
        ""
    };
    let text = format!("not set up yet: there is no {}{rest}", file.display());
    let none = Finding::new(FindingCode::HostSettings, text, "sudo bramblegate setup");
    // A machine that is not set up yet is not blocked.
    let none = settings_are_right(vec![none.ranked(Rank::Finding)]);
    let others = presumed
        .map(|settings| checks(&CheckContext { machine, settings: &settings }))
        .unwrap_or_default();
    std::iter::once(none).chain(others).collect()
}

/// Returns the settings that `detect` would propose, without probing for a panel.
fn presumed_settings(machine: &Machine) -> Option<Settings> {
    let compatible = machine.bytes(COMPATIBLE);
    let board = boards().resolve("auto", compatible.as_deref()).ok()?;
    let found = Found {
        device_tree: compatible.is_some(),
        ports: ports(machine, &board),
        default_route: machine.default_route(),
        subnets: machine.routes().into_iter().filter(|(net, _)| net.prefix_len() > 0).collect(),
        ..Found::default()
    };
    let values = decide(&found, &board).values;
    let text: String = values.iter().map(|(key, value)| format!("{key} = {value}\n")).collect();
    config::load(&[("detect", text)], &board).ok()
}

/// Returns the exit code: 0 clean, or hints alone; 1 findings, 2 blocked.
pub fn code(findings: &[Finding]) -> u8 {
    match findings.iter().map(|finding| finding.rank).max() {
        Some(Rank::Blocked) => 2,
        Some(Rank::Finding) => 1,
        Some(Rank::Hint) | None => 0,
    }
}
