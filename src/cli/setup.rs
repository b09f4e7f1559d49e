//! `bramblegate setup`: asks what `detect` could not know, writes the settings, starts the service.

mod questions;
mod steps;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::detect::decide::decide;
use super::detect::look;
use super::doctor::cluster;
use super::doctor::dhcp;
use super::doctor::host::overlay_root;
use super::machine::Machine;
use super::output::Verbosity;
use super::settings::{self, DEFAULT_FILE, NotWritten};
use super::{demo, doctor, exit, output};
use crate::board::Board;
use crate::config::{self, Fault, PortPattern};
use crate::facts::link::port::is_glob;
use questions::{
    Ask, Refusal, ask_dhcp, ask_interfaces, ask_managers, ask_profiles, ask_snmp, ask_web,
};
use steps::{Step, install, release, replace, snmp, web};

const EXAMPLES: &str = "\
Examples:
  sudo bramblegate setup                                       asks
  bramblegate setup --dry-run                                  asks, and changes nothing
  sudo bramblegate setup --uplink wlan0 --cluster eth0 --yes   does not ask
  sudo bramblegate setup --from bramblegate.toml --yes         with settings that are written already";

const SERVICE: &str = "bramblegate.service";

/// Ask what detect cannot know, write the settings, start the service
///
/// NetworkManager, dhcpcd or systemd-networkd may manage the interface to the nodes. Then it offers
/// to write the file by which that program leaves the interface alone. Of netplan, cloud-init and
/// ifupdown it takes the interface out.
#[derive(Debug, Default, clap::Args)]
#[command(after_long_help = EXAMPLES)]
#[command(mut_arg("quiet", |arg| arg.help("Do not print the reasons")))]
#[command(mut_arg("verbose", |arg| arg.help("Print each step, too")))]
pub struct Args {
    /// The interface to the venue
    #[arg(long, value_name = "IF")]
    pub uplink: Option<String>,
    /// The interface to the nodes
    #[arg(long, value_name = "IF")]
    pub cluster: Option<String>,
    /// Do not give the nodes addresses and names
    #[arg(long, conflicts_with = "from")]
    pub no_dhcp: bool,
    /// Let the system's snmpd answer for the cluster
    ///
    /// Writes /etc/snmp/snmpd.conf.d/bramblegate.conf; see bramblegate-snmp(8).
    #[arg(long)]
    pub snmp: bool,
    /// Start the status page, and let the venue see it
    ///
    /// Adds "web" to uplink.allow; see bramblegate-web(8).
    #[arg(long)]
    pub web: bool,
    /// Take the settings from this file
    ///
    /// It is checked as a whole and becomes /etc/bramblegate/bramblegate.toml. An image may have it
    /// as /boot/firmware/bramblegate.toml: that file is taken at the first start.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["uplink", "cluster"])]
    pub from: Option<PathBuf>,
    /// Do not ask: take what was found
    #[arg(short, long)]
    pub yes: bool,
    /// Only write files; start and restart nothing
    #[arg(long)]
    pub no_start: bool,
    /// Print what would be written and done; change nothing
    #[arg(short = 'n', long)]
    pub dry_run: bool,
    #[command(flatten)]
    pub verbosity: Verbosity,
}

/// Asks, writes the settings and starts the service. Exits with 0; with 64 if the interfaces are
/// unclear and it may not ask, 69 inside the demo, 71 if a file cannot be written, 77 without root,
/// 78 if the settings have errors.
pub fn main(args: Args) -> ExitCode {
    if demo::is_inside() {
        output::error(
            "setup: it prepares a real head node, and this is the inside of the demo",
            "nothing was changed; run `sudo bramblegate setup` outside of the demo, on the head node",
        );
        return ExitCode::from(exit::UNAVAILABLE);
    }
    if !args.dry_run && !rustix::process::geteuid().is_root() {
        output::error(
            "setup: only root may write to /etc and start a service",
            "run it as `sudo bramblegate setup`, or add --dry-run to see what it would do",
        );
        return ExitCode::from(exit::NO_PERMISSION);
    }
    let machine = Machine::real();
    let compatible = machine.bytes(settings::COMPATIBLE);
    let board = match settings::boards().resolve("auto", compatible.as_deref()) {
        Ok(board) => board,
        Err(error) => {
            settings::report_board("setup", &error);
            return ExitCode::from(exit::CONFIG);
        }
    };
    let steps = match plan(&machine, &board, compatible.is_some(), &args) {
        Ok(steps) => steps,
        Err(error) => return report(&error),
    };
    if args.dry_run {
        return ExitCode::from(output::deliver(&dry_run(&machine, &steps, args.no_start)));
    }
    if args.verbosity.verbose {
        steps.iter().for_each(|step| output::err(&step.to_string()));
    }
    for step in &steps {
        if let Err(error) = step.carry_out(&machine) {
            return report(&error);
        }
    }
    if let Err(error) = check_whole(&machine) {
        return report(&error);
    }
    if args.no_start {
        return ExitCode::SUCCESS;
    }
    let code = start(&machine);
    if !args.verbosity.quiet {
        report_findings(&machine);
    }
    code
}

fn report(error: &SetupError) -> ExitCode {
    match error.help() {
        Some(help) => output::error(&format!("setup: {error}"), &help),
        None => output::err(&format!("{error}\n")),
    }
    ExitCode::from(error.exit())
}

/// Detects, asks, and returns the steps.
fn plan(
    machine: &Machine,
    board: &Board,
    device_tree: bool,
    args: &Args,
) -> Result<Vec<Step>, SetupError> {
    let ask: &mut Ask<'_> = &mut output::ask;
    let (mut steps, port) = match &args.from {
        Some(file) => {
            let (mut steps, port) = steps_from_file(machine, file)?;
            steps.extend(args.web.then(|| web(machine)).flatten());
            (steps, port)
        }
        None => steps_by_asking(machine, board, device_tree, args, ask)?,
    };
    // A glob may match nothing yet.
    let (managers, profiles) = match port.as_str() {
        "" => (Vec::new(), Vec::new()),
        port => (cluster::managed_by(machine, port), cluster::configured_by(machine, port)),
    };
    let managers = ask_managers(managers, &port, args, ask)?;
    let profiles = ask_profiles(profiles, &port, args, ask)?;
    let with_snmp = ask_snmp(machine, args, ask)?;
    steps.extend(managers.into_iter().flat_map(|manager| release(machine, manager, &port)));
    steps.extend(profiles.iter().flat_map(|profile| steps::take_out(machine, profile, &port)));
    steps.extend(with_snmp.then(|| snmp(machine)).into_iter().flatten());
    let mut seen = Vec::new();
    steps.retain(|step| {
        let is_wanted = !(args.no_start && matches!(step, Step::Apply { .. }));
        let is_new = !seen.contains(step);
        seen.push(step.clone());
        is_wanted && is_new
    });
    if overlay_root(machine) {
        output::note(
            "the root file system is an overlay in memory: what is written now is lost at power-off",
            "switch the overlay off first: `sudo bramblegate doctor` shows how",
        );
    }
    Ok(steps)
}

/// Detects and asks; returns the steps that write the settings, and the interface to the nodes.
fn steps_by_asking(
    machine: &Machine,
    board: &Board,
    device_tree: bool,
    args: &Args,
    ask: &mut Ask<'_>,
) -> Result<(Vec<Step>, String), SetupError> {
    let found = look::look(machine, board, device_tree);
    let mut proposal = decide(&found, board);
    if !args.verbosity.quiet {
        proposal.reasons.iter().for_each(|line| output::err(&format!("{line}\n")));
    }
    ask_interfaces(machine, &mut proposal, args, ask)?;
    ask_dhcp(&mut proposal, args, obstacle(machine), ask)?;
    let port = proposal.value("cluster.interface").unwrap_or_default().trim_matches('"').to_owned();
    let with_web = ask_web(machine, &mut proposal, args, ask)?;
    let mut steps = install(machine, &proposal, board)?;
    steps.extend(with_web.then(|| web(machine)).flatten());
    Ok((steps, port))
}

/// Returns what [`steps_by_asking`] does, for settings that are already written.
fn steps_from_file(machine: &Machine, file: &Path) -> Result<(Vec<Step>, String), SetupError> {
    let (files, faults) = settings::read_files(file);
    let (Some((name, text)), []) = (files.into_iter().next(), faults.as_slice()) else {
        return Err(SetupError::Settings(faults));
    };
    let compatible = machine.bytes(settings::COMPATIBLE);
    let files = [(name.as_str(), text.as_str())];
    let read = config::resolve(&files, &settings::boards(), compatible.as_deref(), None);
    let settings = read.map_err(SetupError::Settings)?.settings;
    let context = doctor::CheckContext { machine, settings: &settings };
    // An interface that is not there yet is taken by its name.
    let port = context.cluster_port().or(match &settings.cluster.interface {
        PortPattern::Glob(name) if !is_glob(&settings.cluster.interface) => Some(name.clone()),
        _ => None,
    });
    Ok((replace(machine, text), port.unwrap_or_default()))
}

/// Why no settings were written, or the written ones are invalid.
#[derive(Debug, thiserror::Error)]
enum SetupError {
    #[error("there is no terminal to ask on")]
    NoTerminal,
    #[error("it is not clear on this machine which interface leads where")]
    PortsUnknown,
    #[error("{}", .0.message)]
    Ports(Refusal),
    #[error("{}", settings::lines(.0))]
    Settings(Vec<Fault>),
    #[error(transparent)]
    NotWritten(#[from] NotWritten),
}

impl SetupError {
    /// Returns the remedy; `None` if the error itself has it.
    fn help(&self) -> Option<String> {
        match self {
            Self::NoTerminal => Some("use --uplink, --cluster and --yes".to_owned()),
            Self::PortsUnknown => Some("give --uplink IF and --cluster IF".to_owned()),
            Self::Ports(refusal) => Some(refusal.help.clone()),
            Self::Settings(_) => None,
            Self::NotWritten(error) => Some(error.help()),
        }
    }

    fn exit(&self) -> u8 {
        match self {
            Self::NoTerminal | Self::PortsUnknown | Self::Ports(_) => exit::USAGE,
            Self::Settings(_) => exit::CONFIG,
            Self::NotWritten(_) => exit::CANNOT_CREATE,
        }
    }
}

/// Returns an obstacle to serving addresses from this machine, and its remedy.
fn obstacle(machine: &Machine) -> Option<(String, String)> {
    if let Some((unit, what)) = dhcp::other_servers(machine).first() {
        return Some((
            format!("{what} serves addresses already"),
            format!("sudo systemctl disable --now {unit}"),
        ));
    }
    let missing = ("dnsmasq is not installed", "sudo apt install dnsmasq-base");
    (!machine.has_program("dnsmasq")).then(|| (missing.0.to_owned(), missing.1.to_owned()))
}

/// Checks the written settings together with their drop-ins.
fn check_whole(machine: &Machine) -> Result<(), SetupError> {
    settings::load(&machine.path(DEFAULT_FILE)).map(drop).map_err(SetupError::Settings)
}

fn has_systemd(machine: &Machine) -> bool {
    machine.exists("/run/systemd/system")
}

/// Describes what would be done, step by step.
fn dry_run(machine: &Machine, steps: &[Step], no_start: bool) -> String {
    let mut text = "This would be done:\n".to_owned();
    text.extend(steps.iter().map(Step::to_string));
    if has_systemd(machine) && !no_start {
        for verb in ["enable", "restart"] {
            text += &format!("run: systemctl {verb} {SERVICE}\n");
        }
    }
    text + "Nothing was changed.\n"
}

/// Starts the service, or shows how.
fn start(machine: &Machine) -> ExitCode {
    if !has_systemd(machine) {
        output::out("There is no systemd here: start it with `sudo bramblegate run`.\n");
        return ExitCode::SUCCESS;
    }
    let started = machine
        .act("systemctl", &["enable", SERVICE])
        .and_then(|()| machine.act("systemctl", &["restart", SERVICE]));
    match started {
        Ok(()) => {
            start_page(machine);
            output::out(
                "The gateway runs. `bramblegate status --watch` shows it, and `sudo bramblegate \
                 doctor` what disturbs it.\n",
            );
            ExitCode::SUCCESS
        }
        Err(error) => {
            output::error(
                &format!("setup: the service does not start: {error}"),
                "`sudo journalctl -u bramblegate` shows why",
            );
            ExitCode::from(exit::CANNOT_CREATE)
        }
    }
}

/// Starts the status page if it is enabled: without settings it has ended.
fn start_page(machine: &Machine) {
    let wants = format!("/etc/systemd/system/multi-user.target.wants/{}", super::web::UNIT);
    if !machine.exists(&wants) {
        return;
    }
    if let Err(error) = machine.act("systemctl", &["restart", super::web::UNIT]) {
        output::note(
            &format!("setup: {error}"),
            "the journal of bramblegate-web.service shows why",
        );
    }
}

/// Reports the findings of `doctor` after the start.
fn report_findings(machine: &Machine) {
    let Ok(merged) = settings::load(Path::new(DEFAULT_FILE)) else { return };
    let findings = doctor::examine(&doctor::CheckContext { machine, settings: &merged.settings });
    if !findings.is_empty() {
        let tally = format!("{} checks", doctor::count());
        output::err(&doctor::report(&findings, &tally));
    }
}
