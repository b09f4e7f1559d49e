//! The questions of `setup`. A question is repeated until its answer is valid; an invalid option is
//! refused before the first question.

use super::{Args, SetupError, output};
use crate::cli::detect::decide::{Proposal, list, text};
use crate::cli::doctor::cluster::Profile;
use crate::cli::machine::Machine;
use crate::cli::{snmp, web};
use crate::watch::uplink::clients::Manager;

/// Asks a question with a proposed answer; `None` at the end of the input.
pub type Ask<'a> = dyn FnMut(&str, &str) -> Option<String> + 'a;

/// Why an answer is invalid, and the remedy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    pub message: String,
    pub help: String,
}

impl Refusal {
    fn new(message: impl Into<String>, help: impl Into<String>) -> Self {
        Self { message: message.into(), help: help.into() }
    }
}

/// Sets the interfaces in the proposal, from arguments and answers.
pub fn ask_interfaces(
    machine: &Machine,
    proposal: &mut Proposal,
    args: &Args,
    ask: &mut Ask<'_>,
) -> Result<(), SetupError> {
    let ports = Ports::of(machine, proposal);
    let given = args.uplink.is_some() && args.cluster.is_some();
    if args.yes && !proposal.certain && !given {
        return Err(SetupError::PortsUnknown);
    }
    let of_cluster = |answer: &str| ports.cluster(answer);
    let given = args.cluster.as_deref().map(of_cluster).transpose();
    let given_cluster = given.map_err(SetupError::Ports)?;
    // Without the cluster's interface, uplinks are only checked on their own.
    let of_uplink =
        |answer: &str, cluster: Option<&str>| ports.uplinks(answer, cluster.unwrap_or_default());
    let first = args.uplink.as_deref().map(|given| of_uplink(given, given_cluster.as_deref()));
    first.transpose().map_err(SetupError::Ports)?;

    let proposed = bare(proposal.value("cluster.interface"));
    let cluster = match given_cluster {
        Some(cluster) => cluster,
        None if args.yes => proposed,
        None => ask_until_valid(ask, "Which interface leads to the nodes?", &proposed, of_cluster)?,
    };
    let proposed = bare(proposal.value("uplink.interfaces"));
    let rest: Vec<&str> =
        proposed.split(',').map(str::trim).filter(|name| *name != cluster).collect();
    let rest = rest.join(", ");
    let check = |answer: &str| of_uplink(answer, Some(&cluster));
    let uplinks = match &args.uplink {
        Some(given) => check(given).map_err(SetupError::Ports)?,
        None if args.yes => words(&rest),
        None => ask_until_valid(
            ask,
            "Which interfaces may lead to the venue, the preferred one first?",
            &rest,
            check,
        )?,
    };
    proposal.set("cluster.interface", text(&cluster));
    proposal.set("uplink.interfaces", list(&uplinks));
    Ok(())
}

/// Asks until an answer is valid.
fn ask_until_valid<T>(
    ask: &mut Ask<'_>,
    question: &str,
    proposal: &str,
    check: impl Fn(&str) -> Result<T, Refusal>,
) -> Result<T, SetupError> {
    loop {
        let answer = ask(question, proposal).ok_or(SetupError::NoTerminal)?;
        match check(&answer) {
            Ok(value) => return Ok(value),
            Err(Refusal { message, help }) => output::error(&message, &help),
        }
    }
}

/// Returns a value of the settings without its brackets and quotes.
fn bare(value: Option<&str>) -> String {
    value.unwrap_or_default().replace(['[', ']', '"'], "")
}

fn words(text: &str) -> Vec<String> {
    text.split([',', ' ']).filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

/// The interfaces of this machine, and those proposed, of which one may not be there yet.
struct Ports {
    there: Vec<String>,
    proposed: Vec<String>,
}

impl Ports {
    fn of(machine: &Machine, proposal: &Proposal) -> Self {
        let mut there = machine.list("/sys/class/net");
        there.retain(|name| name != "lo");
        let values =
            ["cluster.interface", "uplink.interfaces"].map(|key| bare(proposal.value(key)));
        Self { there, proposed: words(&values.join(",")) }
    }

    /// Checks that an interface is there or was proposed, or is a glob.
    fn check(&self, name: &str) -> Result<(), Refusal> {
        let known = |names: &[String]| names.iter().any(|known| known == name);
        if name.contains(['*', '?', ':']) || known(&self.proposed) || known(&self.there) {
            return Ok(());
        }
        Err(Refusal::new(
            format!("there is no interface {name} here"),
            format!(
                "name one of {}, or one that comes later with a glob, such as usb*",
                self.there.join(", ")
            ),
        ))
    }

    fn cluster(&self, answer: &str) -> Result<String, Refusal> {
        match words(answer).as_slice() {
            [name] => self.check(name).map(|()| name.clone()),
            [] => Err(Refusal::new(
                "no interface is named",
                format!("name one of {}", self.there.join(", ")),
            )),
            _ => Err(Refusal::new("several are named", "name the one that leads to the nodes")),
        }
    }

    fn uplinks(&self, answer: &str, cluster: &str) -> Result<Vec<String>, Refusal> {
        let names = words(answer);
        names.iter().try_for_each(|name| self.check(name))?;
        if names.iter().any(|name| name == cluster) {
            return Err(Refusal::new(
                format!("{cluster} leads to the nodes"),
                "name other interfaces",
            ));
        }
        if names.is_empty() {
            let rest: Vec<&str> =
                self.there.iter().map(String::as_str).filter(|name| *name != cluster).collect();
            let rest = if rest.is_empty() { "a glob such as usb*".into() } else { rest.join(", ") };
            let help = format!("name at least one: {rest}");
            return Err(Refusal::new("no interface is named", help));
        }
        Ok(names)
    }
}

/// Asks for yes or no until the answer is one of them.
fn confirm(
    question: &str,
    usual: bool,
    args: &Args,
    ask: &mut Ask<'_>,
) -> Result<bool, SetupError> {
    if args.yes {
        return Ok(usual);
    }
    ask_until_valid(ask, question, if usual { "yes" } else { "no" }, |answer| {
        match answer.to_ascii_lowercase().as_str() {
            "y" | "yes" => Ok(true),
            "n" | "no" => Ok(false),
            _ => Err(Refusal::new("this is neither yes nor no", "answer yes or no")),
        }
    })
}

/// Asks whether to serve addresses and names to the nodes. The daemon itself checks, each time
/// before it serves, that no other server answers on the cluster's interface.
pub fn ask_dhcp(
    proposal: &mut Proposal,
    args: &Args,
    obstacle: Option<(String, String)>,
    ask: &mut Ask<'_>,
) -> Result<(), SetupError> {
    if args.no_dhcp {
        return Ok(());
    }
    if let Some(obstacle) = &obstacle {
        output::note(&obstacle.0, &obstacle.1);
    }
    let question = "Give the nodes addresses and names from here (DHCP)?";
    if confirm(question, obstacle.is_none(), args, ask)? {
        proposal.set("cluster.dhcp.enabled", "true".to_owned());
    }
    Ok(())
}

/// Asks for each program that manages the cluster's interface whether it should release it; returns
/// those that should.
pub fn ask_managers(
    managers: Vec<Manager>,
    port: &str,
    args: &Args,
    ask: &mut Ask<'_>,
) -> Result<Vec<Manager>, SetupError> {
    let mut chosen = Vec::new();
    for manager in managers {
        let name = manager.name();
        let question = format!(
            "{name} manages {port} and may take its address away. Let it leave {port} alone?"
        );
        if confirm(&question, true, args, ask)? {
            chosen.push(manager);
        }
    }
    Ok(chosen)
}

/// Asks for each profile that configures the cluster's interface at boot whether to take it out;
/// returns those to take out.
pub fn ask_profiles(
    profiles: Vec<Profile>,
    port: &str,
    args: &Args,
    ask: &mut Ask<'_>,
) -> Result<Vec<Profile>, SetupError> {
    let mut chosen = Vec::new();
    for profile in profiles {
        let (name, file) = profile.source();
        let question =
            format!("{name} configures {port} at each boot, by {file}. Take {port} out there?");
        if confirm(&question, true, args, ask)? {
            chosen.push(profile);
        }
    }
    Ok(chosen)
}

/// Asks whether the system's snmpd should answer for the cluster, if it is installed and not set up
/// for that.
pub fn ask_snmp(machine: &Machine, args: &Args, ask: &mut Ask<'_>) -> Result<bool, SetupError> {
    if args.snmp {
        return Ok(true);
    }
    if !machine.is_file("/usr/sbin/snmpd") || machine.exists(snmp::FILE) {
        return Ok(false);
    }
    confirm("Let snmpd answer SNMP requests about the cluster?", false, args, ask)
}

/// Asks whether the venue may see the status page, if its server is installed; sets that in the
/// proposal.
pub fn ask_web(
    machine: &Machine,
    proposal: &mut Proposal,
    args: &Args,
    ask: &mut Ask<'_>,
) -> Result<bool, SetupError> {
    let question = "Show the status page to computers in the venue?";
    let asked = || machine.exists(web::UNIT_FILE);
    let wanted = args.web || (asked() && confirm(question, false, args, ask)?);
    if wanted {
        // The default, and the page.
        let allowed = ["ssh", "icmp", "mdns", "web"].map(str::to_owned);
        proposal.set("uplink.allow", list(&allowed));
    }
    Ok(wanted)
}
