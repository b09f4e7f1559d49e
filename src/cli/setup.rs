//! `bramblegate setup`: asks what `detect` could not know, writes the settings, starts the service.

use std::io::BufRead;
use std::path::Path;
use std::process::ExitCode;

use super::detect::decide::{Proposal, decide, list, text};
use super::detect::look;
use super::detect::write::write;
use super::doctor::dhcp;
use super::doctor::host::overlay_root;
use super::machine::Machine;
use super::settings::{self, DEFAULT_FILE, NotWritten};
use super::{demo, doctor, exit, output};
use crate::board::Board;
use crate::config::{self, Fault};

const EXAMPLES: &str = "\
Examples:
  sudo bramblegate setup                                       asks
  sudo bramblegate setup --uplink wlan0 --cluster eth0 --yes   does not ask";

const SERVICE: &str = "bramblegate.service";

/// Ask what detect cannot know, write the settings, start the service
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The port that leads to the venue
    #[arg(long, value_name = "IF")]
    pub uplink: Option<String>,
    /// The port that leads to the nodes
    #[arg(long, value_name = "IF")]
    pub cluster: Option<String>,
    /// Do not ask: take what was found
    #[arg(long)]
    pub yes: bool,
}

/// Exit 0; 64 if it cannot be known and may not be asked, 69 inside the demo, 71 if the file cannot be written, 77
/// without root.
pub fn main(args: Args) -> ExitCode {
    if demo::is_inside() {
        output::err(
            "setup prepares a real head node, and this is the inside of the demo: nothing was \
             changed. Run `sudo bramblegate setup` outside of it, on the head node\n",
        );
        return ExitCode::from(exit::UNAVAILABLE);
    }
    if !rustix::process::geteuid().is_root() {
        output::err(
            "setup writes to /etc and starts a service: run it as `sudo bramblegate setup`\n",
        );
        return ExitCode::from(exit::NO_PERMISSION);
    }
    let machine = Machine::real();
    let compatible = machine.bytes(settings::COMPATIBLE);
    let board = match settings::boards().resolve("auto", compatible.as_deref()) {
        Ok(board) => board,
        Err(error) => {
            output::err(&format!("{error}\n"));
            return ExitCode::from(exit::CONFIG);
        }
    };
    let found = look::look(&machine, &board, compatible.is_some());
    let mut proposal = decide(&found, &board);
    for line in &proposal.reasons {
        output::err(&format!("{line}\n"));
    }
    let found = proposal.clone();
    let done = choose(&mut proposal, &args, &mut ask)
        .and_then(|()| are_there(&machine, &found, &proposal))
        .and_then(|()| serve(&mut proposal, &args, obstacle(&machine), &mut ask))
        .and_then(|()| install(&machine, &proposal, &board))
        .and_then(|()| check_whole(&machine));
    match done {
        Ok(()) => {
            let code = start(&machine);
            disturbances(&machine);
            code
        }
        Err(error) => {
            output::err(&format!("{error}\n"));
            ExitCode::from(error.exit())
        }
    }
}

/// Asks on the terminal; Enter takes the proposal. `None`: nobody answers.
fn ask(question: &str, proposal: &str) -> Option<String> {
    output::err(&format!("{question} [{proposal}] "));
    let mut line = String::new();
    let read = std::io::stdin().lock().read_line(&mut line).ok()?;
    let answer = line.trim();
    match (read, answer) {
        (0, _) => None,
        (_, "") => Some(proposal.to_owned()),
        _ => Some(answer.to_owned()),
    }
}

/// Why no settings were written, or those that were written do not hold.
#[derive(Debug, thiserror::Error)]
enum SetupError {
    #[error("nobody answers: give --uplink, --cluster and --yes")]
    NobodyAnswers,
    #[error(
        "which port leads where cannot be known on this machine: give --uplink IF and --cluster IF"
    )]
    PortsUnknown,
    #[error(
        "there is no port {name:?} here, but {}: name one of these, or one that comes later by a \
         glob, as \"usb*\"", .there.join(", ")
    )]
    NoSuchPort { name: String, there: Vec<String> },
    #[error("{}", settings::lines(.0))]
    Settings(Vec<Fault>),
    #[error("the settings cannot be written: {0}")]
    NotWritten(#[from] NotWritten),
}

impl SetupError {
    fn exit(&self) -> u8 {
        match self {
            Self::NobodyAnswers | Self::PortsUnknown | Self::NoSuchPort { .. } => exit::USAGE,
            Self::Settings(_) => exit::CONFIG,
            Self::NotWritten(_) => exit::CANNOT_CREATE,
        }
    }
}

/// Puts the arguments' and the answers' values into the proposal.
fn choose(
    proposal: &mut Proposal,
    args: &Args,
    ask: &mut dyn FnMut(&str, &str) -> Option<String>,
) -> Result<(), SetupError> {
    let bare = |value: Option<&str>| value.unwrap_or_default().replace(['[', ']', '"'], "");
    let uplink = bare(proposal.value("uplink.interfaces"));
    let cluster = bare(proposal.value("cluster.interface"));
    let given = args.uplink.is_some() && args.cluster.is_some();
    if args.yes && !proposal.certain && !given {
        return Err(SetupError::PortsUnknown);
    }
    let mut decide = |given: &Option<String>, question: &str, value: String| match given {
        Some(given) => Ok(given.clone()),
        None if args.yes => Ok(value),
        None => ask(question, &value).ok_or(SetupError::NobodyAnswers),
    };
    let cluster = decide(&args.cluster, "Which port leads to the nodes?", cluster)?;
    let rest: Vec<&str> =
        uplink.split(',').map(str::trim).filter(|name| *name != cluster).collect();
    let uplink = decide(
        &args.uplink,
        "Which ports may lead to the venue, the preferred one first?",
        rest.join(", "),
    )?;
    let names: Vec<String> =
        uplink.split([',', ' ']).filter(|name| !name.is_empty()).map(str::to_owned).collect();
    proposal.set("cluster.interface", text(&cluster));
    proposal.set("uplink.interfaces", list(&names));
    Ok(())
}

/// Checks that the ports which somebody named are there: one that comes and goes is meant by a
/// glob. What was proposed in the place of a port that is still to come stands.
fn are_there(machine: &Machine, found: &Proposal, chosen: &Proposal) -> Result<(), SetupError> {
    let mut there = machine.list("/sys/class/net");
    there.retain(|name| name != "lo");
    let names = |proposal: &Proposal| -> Vec<String> {
        let values = ["cluster.interface", "uplink.interfaces"]
            .map(|key| proposal.value(key).unwrap_or_default());
        let names = values.join(",");
        names
            .split(['[', ']', '"', ',', ' '])
            .filter(|name| !name.is_empty())
            .map(str::to_owned)
            .collect()
    };
    let proposed = names(found);
    let typed = |name: &String| !name.contains(['*', '?', ':']) && !proposed.contains(name);
    match names(chosen).into_iter().filter(typed).find(|name| !there.contains(name)) {
        None => Ok(()),
        Some(name) => Err(SetupError::NoSuchPort { name, there }),
    }
}

/// Returns what speaks against serving addresses from this machine.
fn obstacle(machine: &Machine) -> Option<String> {
    if let Some((unit, what)) = dhcp::other_servers(machine).first() {
        return Some(format!(
            "{what} serves addresses already (sudo systemctl disable --now {unit})"
        ));
    }
    let missing = "dnsmasq is not installed (sudo apt install dnsmasq-base)";
    (!dhcp::has_dnsmasq(machine)).then(|| missing.to_owned())
}

/// Whether the nodes get their addresses and names from here. That nobody else serves on the
/// cluster's port is found out by the gateway itself, each time before it serves.
fn serve(
    proposal: &mut Proposal,
    args: &Args,
    obstacle: Option<String>,
    ask: &mut dyn FnMut(&str, &str) -> Option<String>,
) -> Result<(), SetupError> {
    if let Some(obstacle) = &obstacle {
        output::err(&format!("dhcp: {obstacle}\n"));
    }
    let usual = if obstacle.is_none() { "yes" } else { "no" };
    let wanted = loop {
        let answer = if args.yes {
            usual.to_owned()
        } else {
            ask("Give the nodes addresses and names from here (DHCP)?", usual)
                .ok_or(SetupError::NobodyAnswers)?
        };
        match answer.to_ascii_lowercase().as_str() {
            "y" | "yes" => break true,
            "n" | "no" => break false,
            _ => output::err("Answer yes or no.\n"),
        }
    };
    if wanted {
        proposal.set("cluster.dhcp.enabled", "true".to_owned());
    }
    Ok(())
}

/// Checks the settings and writes them; what was there before is kept beside.
fn install(machine: &Machine, proposal: &Proposal, board: &Board) -> Result<(), SetupError> {
    let written = write(proposal, board);
    config::load(&[(DEFAULT_FILE, written.as_str())], board).map_err(SetupError::Settings)?;
    if overlay_root(machine) {
        output::err(
            "The root file system is an overlay in memory: what is written now is lost at \
             power-off.\n",
        );
    }
    if let Some(old) = machine.bytes(DEFAULT_FILE).filter(|old| old != written.as_bytes()) {
        let kept = unused(machine, &format!("{DEFAULT_FILE}.old"));
        machine.write(&kept, &old)?;
        output::err(&format!("The settings that were there are kept as {kept}.\n"));
    }
    machine.write(DEFAULT_FILE, written.as_bytes())?;
    output::out(&format!("{DEFAULT_FILE} is written.\n"));
    Ok(())
}

/// Returns a path that is free: what an earlier setup has kept is not overwritten.
fn unused(machine: &Machine, path: &str) -> String {
    let numbered = (2..).map(|number| format!("{path}.{number}"));
    let mut paths = std::iter::once(path.to_owned()).chain(numbered);
    paths.find(|path| !machine.exists(path)).unwrap_or_else(|| path.to_owned())
}

/// Checks what is written and its drop-ins together.
fn check_whole(machine: &Machine) -> Result<(), SetupError> {
    settings::load(&machine.path(DEFAULT_FILE)).map(drop).map_err(SetupError::Settings)
}

/// Starts the service, or says how.
fn start(machine: &Machine) -> ExitCode {
    if !machine.exists("/run/systemd/system") {
        output::out("There is no systemd here: start it by `sudo bramblegate run`.\n");
        return ExitCode::SUCCESS;
    }
    let started = machine
        .act("systemctl", &["enable", SERVICE])
        .and_then(|()| machine.act("systemctl", &["restart", SERVICE]));
    match started {
        Ok(()) => {
            output::out(
                "The gateway runs. See it by `bramblegate status --watch`, and what disturbs it by \
                 `sudo bramblegate doctor`.\n",
            );
            ExitCode::SUCCESS
        }
        Err(error) => {
            output::err(&format!(
                "the service does not start: {error}; see `journalctl -u bramblegate`\n"
            ));
            ExitCode::from(exit::CANNOT_CREATE)
        }
    }
}

/// What `doctor` finds right after.
fn disturbances(machine: &Machine) {
    let Ok(merged) = settings::load(Path::new(DEFAULT_FILE)) else { return };
    let findings = doctor::examine(&doctor::CheckContext { machine, settings: &merged.settings });
    if !findings.is_empty() {
        output::err(&doctor::report(&findings, doctor::CHECKS.len()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proposal(certain: bool) -> Proposal {
        let values = vec![
            ("board", text("auto")),
            ("uplink.interfaces", list(&["wlan0".to_owned(), "eth1".to_owned()])),
            ("cluster.interface", text("eth0")),
        ];
        Proposal { values, reasons: Vec::new(), certain }
    }

    fn args(uplink: Option<&str>, cluster: Option<&str>, yes: bool) -> Args {
        Args { uplink: uplink.map(str::to_owned), cluster: cluster.map(str::to_owned), yes }
    }

    #[test]
    fn yes_takes_what_was_found_and_asks_nothing() {
        let mut proposal = proposal(true);
        choose(&mut proposal, &args(None, None, true), &mut |question, _| panic!("{question}"))
            .unwrap();
        assert_eq!(proposal.value("uplink.interfaces"), Some("[\"wlan0\", \"eth1\"]"));
    }

    #[test]
    fn what_cannot_be_known_is_not_guessed_without_asking() {
        let failure =
            choose(&mut proposal(false), &args(None, Some("eth0"), true), &mut |_, _| None)
                .unwrap_err();
        assert_eq!(failure.exit(), exit::USAGE);
        choose(&mut proposal(false), &args(Some("wlan0"), Some("eth0"), true), &mut |_, _| None)
            .unwrap();
    }

    #[test]
    fn an_answer_wins_and_the_clusters_port_is_no_uplink() {
        let mut proposal = proposal(true);
        let mut asked = Vec::new();
        let mut answer = |question: &str, value: &str| {
            asked.push(value.to_owned());
            Some(if question.contains("nodes?") { "eth1" } else { value }.to_owned())
        };
        choose(&mut proposal, &args(None, None, false), &mut answer).unwrap();
        assert_eq!(asked, ["eth0", "wlan0"]);
        assert_eq!(proposal.value("cluster.interface"), Some("\"eth1\""));
        assert_eq!(proposal.value("uplink.interfaces"), Some("[\"wlan0\"]"));
    }

    #[test]
    fn a_port_that_is_not_there_is_refused_unless_a_glob_means_it() {
        let held = tempfile::tempdir().unwrap();
        let root = held.path().to_owned();
        let machine = Machine::pretend(&root, &[]);
        for port in ["lo", "eth0", "wlan0"] {
            std::fs::create_dir_all(root.join("sys/class/net").join(port)).unwrap();
        }
        let chosen = |uplinks: &[&str], cluster: &str| {
            let mut proposal = proposal(true);
            proposal.set(
                "uplink.interfaces",
                list(&uplinks.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()),
            );
            proposal.set("cluster.interface", text(cluster));
            are_there(&machine, &self::proposal(true), &proposal)
        };
        // eth1 is what was proposed for a port that is still to come.
        chosen(&["wlan0", "eth1", "usb*", "mac:b8:27:eb:00:00:01"], "eth0").unwrap();
        let error = chosen(&["wlan0", "nosuch0"], "eth0").unwrap_err();
        let message = error.to_string();
        assert!(
            error.exit() == exit::USAGE
                && message.contains("nosuch0")
                && message.contains("eth0, wlan0:"),
            "{message}"
        );
        assert!(chosen(&["wlan0"], "eth7").unwrap_err().to_string().contains("eth7"));
    }

    /// The question whether to serve: what it proposed, and what was written for these answers.
    fn served(obstacle: Option<&str>, yes: bool, answers: &[&str]) -> (Vec<String>, bool) {
        let (mut proposal, mut proposed) = (proposal(true), Vec::new());
        let mut answers = answers.iter();
        let mut answer = |_: &str, value: &str| {
            proposed.push(value.to_owned());
            answers.next().map(|answer| if answer.is_empty() { value } else { answer }.to_owned())
        };
        serve(&mut proposal, &args(None, None, yes), obstacle.map(str::to_owned), &mut answer)
            .unwrap();
        (proposed, proposal.value("cluster.dhcp.enabled") == Some("true"))
    }

    #[test]
    fn addresses_are_served_unless_something_speaks_against_it_or_somebody_says_no() {
        let proposed =
            |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        assert_eq!(served(None, true, &[]), (proposed(&[]), true), "--yes asks nothing");
        assert_eq!(served(Some("no dnsmasq"), true, &[]), (proposed(&[]), false));
        assert_eq!(served(None, false, &[""]), (proposed(&["yes"]), true));
        assert_eq!(served(None, false, &["perhaps", "N"]), (proposed(&["yes", "yes"]), false));
        assert_eq!(served(Some("no dnsmasq"), false, &[""]), (proposed(&["no"]), false));
        assert_eq!(
            served(Some("no dnsmasq"), false, &["y"]),
            (proposed(&["no"]), true),
            "it will be installed"
        );
        let silent = serve(&mut proposal(true), &args(None, None, false), None, &mut |_, _| None);
        assert_eq!(silent.unwrap_err().exit(), exit::USAGE);
    }

    #[test]
    fn another_server_or_no_dnsmasq_speaks_against_serving() {
        let held = tempfile::tempdir().unwrap();
        let root = held.path().to_owned();
        let machine = Machine::pretend(&root, &[]);
        assert!(obstacle(&machine).unwrap().contains("dnsmasq-base"));
        machine.write("/usr/sbin/dnsmasq", b"").unwrap();
        assert_eq!(obstacle(&machine), None);
        machine
            .write("/etc/systemd/system/multi-user.target.wants/isc-dhcp-server.service", b"")
            .unwrap();
        assert!(obstacle(&machine).unwrap().contains("disable --now isc-dhcp-server.service"));
    }

    #[test]
    fn the_old_settings_are_kept_beside_the_new_ones() {
        let held = tempfile::tempdir().unwrap();
        let root = held.path().to_owned();
        let machine = Machine::pretend(&root, &[]);
        let old = b"name = \"K\xfcche\"\n";
        machine.write(DEFAULT_FILE, old).unwrap();
        let board = Board::built_in("raspberry-pi-4").unwrap();
        let mut wanted = proposal(true);
        wanted.set("cluster.dhcp.enabled", "true".to_owned());
        install(&machine, &wanted, &board).unwrap();
        let kept = format!("{DEFAULT_FILE}.old");
        assert_eq!(machine.bytes(&kept).as_deref(), Some(&old[..]), "byte by byte");
        let new = machine.read(DEFAULT_FILE).unwrap();
        let settings = config::load(&[("new", new.as_str())], &board).unwrap();
        assert!(settings.cluster.dhcp.is_some());
        wanted.set("cluster.interface", text("wlan0"));
        assert_eq!(
            install(&machine, &wanted, &board).unwrap_err().exit(),
            exit::CONFIG,
            "it is an uplink as well"
        );
        assert_eq!(machine.read(DEFAULT_FILE).unwrap(), new);
        install(&machine, &proposal(true), &board).unwrap();
        assert_eq!(
            machine.bytes(&kept).as_deref(),
            Some(&old[..]),
            "a second setup does not overwrite what the first kept"
        );
        assert!(machine.read(&format!("{kept}.2")).as_deref() == Some(new.as_str()));
        check_whole(&machine).unwrap();
        machine.write(&format!("{DEFAULT_FILE}.d/50-old.toml"), b"nonsense = 1\n").unwrap();
        let failure = check_whole(&machine).unwrap_err();
        assert_eq!(failure.exit(), exit::CONFIG);
        assert!(failure.to_string().contains("50-old.toml:1:1"), "{failure}");
    }
}
