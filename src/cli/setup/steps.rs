//! What `setup` does when everything has been asked: files and commands, to be carried out or only
//! shown.

use std::fmt;

use super::{SetupError, output};
use crate::board::Board;
use crate::cli::detect::decide::Proposal;
use crate::cli::detect::write::write;
use crate::cli::doctor::cluster::{Profile, unmanaged_by};
use crate::cli::machine::Machine;
use crate::cli::settings::DEFAULT_FILE;
use crate::cli::{snmp, web};
use crate::config;
use crate::watch::uplink::clients::Manager;

/// One thing to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// what is there is kept under another name
    Keep { path: String, kept: String },
    /// the whole file
    Write { path: String, text: String },
    /// at the end of a file
    Append { path: String, text: String },
    /// changes files by their own program
    Run { program: &'static str, arguments: Vec<String> },
    /// a program that runs takes up what was written; left out where nothing is to be started
    Apply { program: &'static str, arguments: Vec<&'static str> },
}

impl fmt::Display for Step {
    /// Writes what is to be done.
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
    /// Does it, and says so.
    ///
    /// # Errors
    /// A file cannot be written. A command that fails is reported and no error: what it would have
    /// done happens at the next start of that program.
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

/// Returns what writes the settings, after they have been checked; what was there before is kept
/// beside.
pub fn install(
    machine: &Machine,
    proposal: &Proposal,
    board: &Board,
) -> Result<Vec<Step>, SetupError> {
    let text = write(proposal, board);
    config::load(&[(DEFAULT_FILE, text.as_str())], board).map_err(SetupError::Settings)?;
    Ok(replace(machine, text))
}

/// Returns what writes a settings file that has been checked; what was there is kept beside.
pub fn replace(machine: &Machine, text: String) -> Vec<Step> {
    let path = DEFAULT_FILE.to_owned();
    let old = machine.bytes(DEFAULT_FILE).filter(|old| old != text.as_bytes());
    let kept = old.map(|_| Step::Keep {
        path: path.clone(),
        kept: unused(machine, &format!("{DEFAULT_FILE}.old")),
    });
    kept.into_iter().chain([Step::Write { path, text }]).collect()
}

/// Returns a path that is free: what an earlier setup has kept is not overwritten.
fn unused(machine: &Machine, path: &str) -> String {
    let numbered = (2..).map(|number| format!("{path}.{number}"));
    let mut paths = std::iter::once(path.to_owned()).chain(numbered);
    paths.find(|path| !machine.exists(path)).unwrap_or_else(|| path.to_owned())
}

/// Returns what makes a program leave a port alone: the same as `doctor` advises
/// (`Client::switch_off`).
pub fn let_go(machine: &Machine, manager: Manager, port: &str) -> Vec<Step> {
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
    // Without systemd neither of the three has been started by it.
    let command =
        machine.exists("/run/systemd/system").then_some(Step::Apply { program, arguments });
    std::iter::once(file).chain(command).collect()
}

/// Returns what keeps a profile for a port from coming back at each boot: as `doctor` advises.
pub fn take_out(machine: &Machine, profile: &Profile, port: &str) -> Vec<Step> {
    match profile {
        Profile::Netplan { file, definition, .. } => {
            let set = vec!["set".to_owned(), format!("{definition}=null")];
            let set = Step::Run { program: "netplan", arguments: set };
            let apply = Step::Apply { program: "netplan", arguments: vec!["apply"] };
            // Written again by cloud-init otherwise.
            let first = file.contains("cloud-init").then(switch_off_cloud_init);
            first.into_iter().chain([set, apply]).collect()
        }
        Profile::CloudInit { .. } => vec![switch_off_cloud_init()],
        Profile::Generated { .. } => let_go(machine, Manager::NetworkManager, port),
        Profile::Ifupdown { file } => {
            let text = machine.read(file).unwrap_or_default();
            let kept = unused(machine, &format!("{file}.old"));
            let text = without_stanza(&text, port);
            vec![Step::Keep { path: file.clone(), kept }, Step::Write { path: file.clone(), text }]
        }
    }
}

/// Returns the step that keeps cloud-init from writing settings of networks.
fn switch_off_cloud_init() -> Step {
    Step::Write {
        path: "/etc/cloud/cloud.cfg.d/99-bramblegate.cfg".to_owned(),
        text: "network: {config: disabled}\n".to_owned(),
    }
}

/// Returns a file of `interfaces`(5) in which a port is brought up without an address: its options
/// become comments.
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

/// Returns what makes snmpd answer for the cluster.
pub fn snmp(machine: &Machine) -> Vec<Step> {
    let file = Step::Write { path: snmp::FILE.to_owned(), text: snmp::SETTINGS.to_owned() };
    let run = |arguments| Step::Apply { program: "systemctl", arguments };
    let commands = [run(vec!["restart", "snmpd"]), run(vec!["enable", "--now", snmp::SERVICE])];
    let commands = machine.exists("/run/systemd/system").then_some(commands);
    std::iter::once(file).chain(commands.into_iter().flatten()).collect()
}

/// Returns what starts the status page, now and with the machine.
pub fn web(machine: &Machine) -> Option<Step> {
    let arguments = vec!["enable", "--now", web::UNIT];
    let step = Step::Apply { program: "systemctl", arguments };
    machine.exists("/run/systemd/system").then_some(step)
}
