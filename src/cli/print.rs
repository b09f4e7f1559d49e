//! `bramblegate print`: prints what would be applied, by the same pure code.

mod facts;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use super::machine::Machine;
use super::settings::{self, ConfigArg};
use super::{exit, output, snmp};
use crate::clock;
use crate::config::Settings;
use crate::decide::firewall::TABLE;
use crate::decide::{GatewayPlan, RoutingPlan, cluster, decide, dhcp};
use crate::event::{Applied, ApplyReport, Change, Dump, Event, Output, Vital};
use crate::facts::Facts;
use crate::view::panel::page;
use crate::watch::host::{name, time};
use crate::watch::link;
use crate::watch::uplink::resolvers;
use crate::{reconcile, view};
use facts::FactsError;

const EXAMPLES: &str = "\
Examples:
  bramblegate print ruleset | unshare -rn nft -c -f -    let nft check the rules
  bramblegate print dnsmasq | dnsmasq --test -C -        let dnsmasq check its settings
  bramblegate print settings                             every value, and where it was written
  bramblegate print frame                                what the display would hold
  bramblegate print snmpd                                what snmpd needs to answer for the cluster";

/// Print the rules, routes and files that would be applied
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Args {
    /// ruleset, routes, dnsmasq, frame, settings or snmpd
    #[arg(value_enum, hide_possible_values = true)]
    pub what: What,
    #[command(flatten)]
    pub config: ConfigArg,
    /// Read links, addresses and routes from FILE
    #[arg(long, value_name = "FILE")]
    pub facts: Option<PathBuf>,
    /// With "ruleset": what the kernel holds; needs root
    #[arg(long)]
    pub kernel: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum What {
    Ruleset,
    Routes,
    Dnsmasq,
    Frame,
    Settings,
    Snmpd,
}

/// Why there is nothing to print.
#[derive(Debug, thiserror::Error)]
enum PrintError {
    #[error(transparent)]
    Facts(#[from] FactsError),
    #[error("the kernel's interfaces cannot be read: {0}")]
    Kernel(io::Error),
}

impl PrintError {
    fn help(&self) -> &'static str {
        match self {
            Self::Facts(_) => "correct that file, or leave out --facts",
            Self::Kernel(_) => "name what is there instead with --facts FILE",
        }
    }

    fn exit(&self) -> u8 {
        match self {
            Self::Facts(_) => exit::CONFIG,
            Self::Kernel(_) => exit::CANNOT_CREATE,
        }
    }
}

/// Prints what would be applied. Exits with 0; with 78 if the settings or the facts have errors;
/// with 71 if the kernel cannot be read, or nothing can be written.
pub fn main(args: Args) -> ExitCode {
    // The same on each head node: no settings are needed.
    if args.what == What::Snmpd {
        return ExitCode::from(output::deliver(snmp::SETTINGS));
    }
    let merged = match settings::load_or_report(&args.config.config) {
        Ok(merged) => merged,
        Err(code) => return code,
    };
    if args.what == What::Settings {
        return ExitCode::from(output::deliver(&merged.to_toml()));
    }
    // With facts from a file nothing is loaded: the kernel's form is computed below.
    if args.what == What::Ruleset && args.kernel && args.facts.is_none() {
        return print_loaded(&Machine::real());
    }
    let facts = match facts_of(&merged.settings, args.facts.as_deref()) {
        Ok(facts) => facts,
        Err(error) => {
            output::error(&format!("print: {error}"), error.help());
            return ExitCode::from(error.exit());
        }
    };
    ExitCode::from(output::deliver(&text(&args, &merged.settings, &facts)))
}

/// Prints the table as the kernel holds it, in the syntax of nft.
fn print_loaded(machine: &Machine) -> ExitCode {
    match machine.run("nft", &["list", "table", "inet", TABLE]) {
        Some(listing) => {
            output::out(&listing);
            ExitCode::SUCCESS
        }
        None => {
            output::error(
                &format!("print: table inet {TABLE} cannot be listed"),
                "run it as root while the gateway runs, with nftables installed",
            );
            ExitCode::from(exit::CANNOT_CREATE)
        }
    }
}

/// Returns what the daemon would know right after its start, as if everything had been applied.
fn facts_of(settings: &Settings, file: Option<&Path>) -> Result<Facts, PrintError> {
    let mut facts = Facts::new(Arc::new(settings.clone()), clock::now());
    let events = match file {
        Some(path) => facts::read(path)?,
        None => machine_events().map_err(PrintError::Kernel)?,
    };
    let rules = Applied::Firewall {
        masquerade: true,
        owned: settings.gateway.protect,
        flow_table: None,
        rejects: None,
        adopted: false,
    };
    let applied = Event::Applied(ApplyReport { output: Output::Firewall, result: Ok(rules) });
    let applied = settings.gateway.enabled.then_some(applied);
    for event in std::iter::once(Event::Dump(Dump::Begin))
        .chain(events)
        .chain([Event::Dump(Dump::End)])
        .chain(applied)
    {
        facts.apply(&event, clock::now());
    }
    Ok(facts)
}

/// Returns what the daemon would read of this machine at its start.
fn machine_events() -> io::Result<Vec<Event>> {
    let root = Path::new("/");
    let mut events = link::snapshot()?;
    events.push(Event::Vital(name::read()));
    events.push(Event::Vital(forwarding_ports(&events)));
    events.push(Event::Vital(reconcile::link::ipv6(&super::run::state_directory())));
    events.push(Event::Vital(time::read(root)));
    let resolvers = resolvers::read(root).into_iter();
    events.extend(
        resolvers.map(|(index, servers)| Event::Vital(Vital::Resolvers { index, servers })),
    );
    Ok(events)
}

/// Returns the ports on which the daemon enabled forwarding; all ports if its record cannot be
/// read.
fn forwarding_ports(events: &[Event]) -> Vital {
    let directory = super::run::state_directory();
    let record = fs::metadata(reconcile::link::record(&directory));
    if !record.is_err_and(|error| error.kind() == io::ErrorKind::PermissionDenied) {
        return Vital::Opened(reconcile::link::opened(&directory));
    }
    let links = events.iter().filter_map(|event| match event {
        Event::Link(Change::Present(link)) => Some(link.name.clone()),
        _ => None,
    });
    Vital::Opened(links.collect())
}

fn text(args: &Args, settings: &Settings, facts: &Facts) -> String {
    if args.what == What::Dnsmasq {
        return dnsmasq_files(settings, facts);
    }
    let desired = decide(settings, facts);
    let Some(gateway) = desired.gateway.as_ref().filter(|_| args.what != What::Frame) else {
        if args.what != What::Frame {
            return "# gateway.enabled = false: nothing in the network is changed\n".to_owned();
        }
        let playlist = page::playlist(settings, facts, &desired);
        let frames = playlist.pages.iter().map(|page| page.frame.lines().join("\n"));
        return frames.collect::<Vec<_>>().join("\n\n") + "\n";
    };
    match args.what {
        What::Routes => routes(facts, &gateway.routing),
        _ if args.kernel => kernel_form(gateway),
        _ => gateway.firewall.ruleset.to_string(),
    }
}

/// Returns dnsmasq's main file, and the others as comments.
fn dnsmasq_files(settings: &Settings, facts: &Facts) -> String {
    let placement = cluster::place(settings, facts);
    let Some(plan) =
        dhcp::intended(settings, facts, &placement).filter(|_| settings.gateway.enabled)
    else {
        return "# neither addresses nor names are served: [cluster.dhcp] is left out or switched \
                off\n"
            .to_owned();
    };
    let folder = reconcile::dhcp::folder(&super::run::run_directory()).display().to_string();
    let files = view::dhcp::files(&plan, view::dhcp::nodes(&plan, settings, facts), &folder);
    let mut text = files.config;
    for (name, lines) in [
        ("servers", files.servers.as_str()),
        ("options", &files.options),
        ("hosts", &files.nodes.hosts),
        ("names", &files.nodes.names),
    ] {
        text += &format!("# {folder}/{name}:\n");
        text.extend(lines.lines().map(|line| format!("#   {line}\n")));
    }
    text
}

fn kernel_form(gateway: &GatewayPlan) -> String {
    gateway.firewall.ruleset.kernel(gateway.firewall.protect).to_string()
}

/// Returns our rules and routes in the syntax of `ip rule` and `ip route`.
fn routes(facts: &Facts, plan: &RoutingPlan) -> String {
    let mut lines = vec![
        "# Bramblegate's rules and routes; none are needed unless the venue's addresses overlap"
            .to_owned(),
    ];
    for rule in &plan.rules {
        let mut line = format!("ip rule add preference {}", rule.preference);
        let source = rule.source.map_or_else(|| "all".to_owned(), |net| net.to_string());
        line += &format!(" from {source}");
        line += &rule.destination.map_or_else(String::new, |net| format!(" to {net}"));
        line += &rule.output.as_ref().map_or_else(String::new, |name| format!(" oif {name}"));
        lines.push(format!("{line} lookup {} protocol {}", rule.table, rule.protocol));
    }
    for route in &plan.routes {
        let name = facts
            .kernel()
            .link(route.index)
            .map_or_else(|| route.index.to_string(), |link| link.name.clone());
        let mut line = format!("ip route add {}", route.destination);
        line += &route.gateway.map_or_else(String::new, |gateway| format!(" via {gateway}"));
        line += &format!(" dev {name} table {} protocol {}", route.table, route.protocol);
        line += &route.preferred_source.map_or_else(String::new, |source| format!(" src {source}"));
        line += &route.mtu.map_or_else(String::new, |mtu| format!(" mtu {mtu}"));
        lines.push(line);
    }
    lines.join("\n") + "\n"
}
