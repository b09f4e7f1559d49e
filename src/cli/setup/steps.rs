//! The steps of `setup`: files and commands, to carry out or only to show.

use std::fmt;

use super::{SetupError, has_systemd, output};
use crate::board::Board;
use crate::cli::detect::decide::Proposal;
use crate::cli::detect::write::write;
use crate::cli::doctor::cluster::{Profile, unmanaged_by};
use crate::cli::machine::Machine;
use crate::cli::settings::DEFAULT_FILE;
use crate::cli::{snmp, web};
use crate::config;
use crate::watch::uplink::clients::Manager;

/// One step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Keeps an existing file under another name.
    Keep { path: String, kept: String },
    /// Writes a whole file.
    Write { path: String, text: String },
    /// Appends to a file.
    Append { path: String, text: String },
    /// Runs a program that changes its own files.
    Run { program: &'static str, arguments: Vec<String> },
    /// Makes a running program apply what was written; left out with `--no-start`.
    Apply { program: &'static str, arguments: Vec<&'static str> },
}

impl fmt::Display for Step {
    /// Writes a description.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut lines = |what: &str, path: &str, text: &str| {
            writeln!(f, "{what} {path}:")?;
            text.lines().try_for_each(|line| writeln!(f, "{}", format!("    {line}").trim_end()))
        };
        match self {
            Self::Keep { path, kept } => writeln!(f, "keep {path} as {kept}"),
            Self::Write { path, text } => lines("write", path, text),
            Self::Append { path, text } => lines("add to", path, text),
            Self::Run { program, arguments } => {
                writeln!(f, "run: {program} {}", arguments.join(" "))
            }
            Self::Apply { program, arguments } => {
                writeln!(f, "run: {program} {}", arguments.join(" "))
            }
        }
    }
}

impl Step {
    /// Carries out the step and reports it.
    ///
    /// # Errors
    /// A file cannot be written. A command that fails is only reported: its effect comes with that
    /// program's next start.
    pub fn carry_out(&self, machine: &Machine) -> Result<(), SetupError> {
        match self {
            Self::Keep { path, kept } => {
                machine.write(kept, &machine.bytes(path).unwrap_or_default())?;
                output::err(&format!("The settings that were there are kept as {kept}.\n"));
            }
            Self::Write { path, text } => {
                machine.write(path, text.as_bytes())?;
                output::out(&format!("{path} is written.\n"));
            }
            Self::Append { path, text } => {
                let mut whole = machine.bytes(path).unwrap_or_default();
                whole.extend_from_slice(text.as_bytes());
                machine.write(path, &whole)?;
                output::out(&format!("{path} has a new line: {}\n", text.trim()));
            }
            Self::Run { program, arguments } => {
                let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
                if let Err(error) = machine.act(program, &arguments) {
                    let advice = "`sudo bramblegate doctor` shows whether it is needed, and how";
                    output::note(&format!("setup: {error}"), advice);
                }
            }
            Self::Apply { program, arguments } => {
                if let Err(error) = machine.act(program, arguments) {
                    output::note(
                        &format!("setup: {error}"),
                        "restart the machine: it takes effect at that program's next start",
                    );
                }
            }
        }
        Ok(())
    }
}

/// Returns the steps that write the settings, after checking them; the old ones are kept.
pub fn install(
    machine: &Machine,
    proposal: &Proposal,
    board: &Board,
) -> Result<Vec<Step>, SetupError> {
    let text = write(proposal, board);
    config::load(&[(DEFAULT_FILE, text.as_str())], board).map_err(SetupError::Settings)?;
    Ok(replace(machine, text))
}

/// Returns the steps that write a checked settings file; the old one is kept.
pub fn replace(machine: &Machine, text: String) -> Vec<Step> {
    let path = DEFAULT_FILE.to_owned();
    let old = machine.bytes(DEFAULT_FILE).filter(|old| old != text.as_bytes());
    let kept = old.map(|_| Step::Keep {
        path: path.clone(),
        kept: unused(machine, &format!("{DEFAULT_FILE}.old")),
    });
    kept.into_iter().chain([Step::Write { path, text }]).collect()
}

/// Returns an unused path, so that files kept by an earlier setup are not overwritten.
fn unused(machine: &Machine, path: &str) -> String {
    let numbered = (2..).map(|number| format!("{path}.{number}"));
    let mut paths = std::iter::once(path.to_owned()).chain(numbered);
    paths.find(|path| !machine.exists(path)).unwrap_or_else(|| path.to_owned())
}

/// Returns the steps that make a program release a port, as `doctor` advises (`Client::release`).
pub fn release(machine: &Machine, manager: Manager, port: &str) -> Vec<Step> {
    let (file, command) = match manager {
        Manager::NetworkManager => (
            Step::Write {
                path: unmanaged_by(port),
                text: format!("[keyfile]\nunmanaged-devices+=interface-name:{port}\n"),
            },
            ("nmcli", vec!["general", "reload"]),
        ),
        Manager::Networkd => (
            Step::Write {
                path: format!("/etc/systemd/network/00-{port}.network"),
                text: format!("[Match]\nName={port}\n[Link]\nUnmanaged=yes\n"),
            },
            ("networkctl", vec!["reload"]),
        ),
        Manager::Dhcpcd => (
            Step::Append {
                path: "/etc/dhcpcd.conf".to_owned(),
                text: format!("\ndenyinterfaces {port}\n"),
            },
            ("systemctl", vec!["restart", "dhcpcd"]),
        ),
    };
    let (program, arguments) = command;
    // Without systemd none of the three runs as a service.
    let command = has_systemd(machine).then_some(Step::Apply { program, arguments });
    std::iter::once(file).chain(command).collect()
}

/// Returns the steps that keep a port's profile from being restored at each boot, as `doctor`
/// advises.
pub fn take_out(machine: &Machine, profile: &Profile, port: &str) -> Vec<Step> {
    match profile {
        Profile::Netplan { file, definition, .. } => {
            let set = vec!["set".to_owned(), format!("{definition}=null")];
            let set = Step::Run { program: "netplan", arguments: set };
            let apply = Step::Apply { program: "netplan", arguments: vec!["apply"] };
            // Otherwise cloud-init writes it again.
            let first = file.contains("cloud-init").then(switch_off_cloud_init);
            first.into_iter().chain([set, apply]).collect()
        }
        Profile::CloudInit { .. } => vec![switch_off_cloud_init()],
        Profile::Generated { .. } => release(machine, Manager::NetworkManager, port),
        Profile::Ifupdown { file } => {
            let text = machine.read(file).unwrap_or_default();
            let kept = unused(machine, &format!("{file}.old"));
            let text = without_stanza(&text, port);
            vec![Step::Keep { path: file.clone(), kept }, Step::Write { path: file.clone(), text }]
        }
    }
}

/// Returns the step that disables cloud-init's network configuration.
fn switch_off_cloud_init() -> Step {
    Step::Write {
        path: "/etc/cloud/cloud.cfg.d/99-bramblegate.cfg".to_owned(),
        text: "network: {config: disabled}\n".to_owned(),
    }
}

/// Returns a file of `interfaces`(5) with the method of a port changed to `manual`, and its options
/// commented out.
fn without_stanza(text: &str, port: &str) -> String {
    let mut is_inside = false;
    let line = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let begins = words.first().is_some_and(|word| {
            ["iface", "auto", "mapping", "source", "source-directory", "no-auto-down", "no-scripts"]
                .contains(word)
                || word.starts_with("allow-")
        });
        if begins {
            is_inside = words.starts_with(&["iface", port, "inet"]);
            let manual = format!("iface {port} inet manual\n");
            return if is_inside { manual } else { format!("{line}\n") };
        }
        let is_option = is_inside && !line.trim().is_empty() && !line.trim().starts_with('#');
        if is_option { format!("# {line}\n") } else { format!("{line}\n") }
    };
    text.lines().map(line).collect()
}

/// Returns the steps that make snmpd answer for the cluster.
pub fn snmp(machine: &Machine) -> Vec<Step> {
    let file = Step::Write { path: snmp::FILE.to_owned(), text: snmp::SETTINGS.to_owned() };
    let run = |arguments| Step::Apply { program: "systemctl", arguments };
    let commands = [run(vec!["restart", "snmpd"]), run(vec!["enable", "--now", snmp::SERVICE])];
    let commands = has_systemd(machine).then_some(commands);
    std::iter::once(file).chain(commands.into_iter().flatten()).collect()
}

/// Returns the step that starts the status page, now and at boot.
pub fn web(machine: &Machine) -> Option<Step> {
    let arguments = vec!["enable", "--now", web::UNIT];
    let step = Step::Apply { program: "systemctl", arguments };
    has_systemd(machine).then_some(step)
}
