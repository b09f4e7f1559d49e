//! `nodes list` and `nodes hosts`.

use std::fmt::Display;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::builder::PossibleValuesParser;

use super::super::settings::ConfigArg;
use super::super::{exit, output, settings, status};
use super::code;
use super::format::{self, Extra, Format};
use super::known::{Inventory, Node, Unavailable, snapshot};
use crate::api::status::{self as api, NodeHealth};

const LIST_EXAMPLES: &str = "\
Examples:
  bramblegate nodes list
  bramblegate nodes list --json | jq -r '.[].name'
  clush -w \"$(bramblegate nodes list --format nodeset --health up)\" uptime
  bramblegate nodes list --format hostfile --health up --slots 4 > hosts; mpirun --hostfile hosts ./job
  bramblegate nodes list --format ansible > inventory.ini";
const HOSTS_EXAMPLES: &str = "\
Examples:
  bramblegate nodes hosts | sudo tee -a /etc/hosts";
const HEADINGS: [&str; 8] = ["NAME", "ADDRESS", "MAC", "HEALTH", "RTT", "SINCE", "ORIGIN", "GROUP"];
const NO_NODES: &str = "no nodes yet; they appear when they ask for an address\n";
const NO_MATCH: &str = "no node has this health\n";
/// Index of the column of the health.
const HEALTH_COLUMN: usize = 3;

/// List all nodes, with their health
#[derive(Debug, Clone, clap::Args)]
#[command(after_long_help = LIST_EXAMPLES)]
pub struct ListArgs {
    /// Print an array of JSON, as in the status
    ///
    /// Short for --format json.
    #[arg(short, long, conflicts_with = "format")]
    pub json: bool,
    /// As a table, or for another tool
    ///
    /// table, json, ansible (an inventory in INI), hosts (lines for /etc/hosts), hostfile (for
    /// mpirun), nodeset (for clush), pdsh. slurm has lines for slurm.conf, prometheus targets for
    /// file_sd_configs.
    #[arg(short, long, value_enum, default_value = "table", hide_possible_values = true)]
    pub format: Format,
    /// Only nodes with this health, such as up
    ///
    /// One of unknown, booting, up, degraded, down, maintenance. May be given more than once.
    #[arg(long, value_name = "HEALTH", hide_possible_values = true, value_parser = PossibleValuesParser::new(NodeHealth::ALL.map(NodeHealth::name)))]
    pub health: Vec<String>,
    /// Processes on each node, for --format hostfile
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub slots: Option<u16>,
    /// Port to ask, for --format prometheus
    ///
    /// 9100 is that of the node exporter.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub port: Option<u16>,
    /// Status socket, if not that of the settings
    #[arg(long, value_name = "PATH")]
    pub socket: Option<PathBuf>,
    #[command(flatten)]
    pub config: ConfigArg,
}

/// Print lines for /etc/hosts
#[derive(Debug, Clone, clap::Args)]
#[command(after_long_help = HOSTS_EXAMPLES)]
pub struct HostsArgs {
    /// Status socket, if not that of the settings
    #[arg(long, value_name = "PATH")]
    pub socket: Option<PathBuf>,
    #[command(flatten)]
    pub config: ConfigArg,
}

pub fn main(args: ListArgs) -> ExitCode {
    let format = if args.json { Format::Json } else { args.format };
    let printed = match format {
        Format::Table | Format::Json => listed(&args, format),
        _ => for_tools(&args, format),
    };
    printed.unwrap_or_else(|unknown| report("nodes list", &unknown))
}

/// Prints the nodes as the daemon reports them.
fn listed(args: &ListArgs, format: Format) -> Result<ExitCode, Unavailable> {
    let mut nodes = snapshot(args.socket.clone(), &args.config.config)?.nodes;
    let none_yet = nodes.is_empty();
    nodes.retain(|node| args.wants(&node.health.to_string()));
    Ok(ExitCode::from(match format {
        Format::Json => output::deliver_json(&format!("{}\n", serde_json::json!(nodes))),
        _ if nodes.is_empty() => output::deliver(if none_yet { NO_NODES } else { NO_MATCH }),
        _ => output::deliver_drawn(&table(&nodes, output::colours())),
    }))
}

/// Prints the nodes for another program; those of the settings if no daemon answers, unless a
/// health is requested.
fn for_tools(args: &ListArgs, format: Format) -> Result<ExitCode, Unavailable> {
    let known = if args.health.is_empty() {
        Inventory::load(args.socket.clone(), &args.config.config)?
    } else {
        Inventory::of_status(&snapshot(args.socket.clone(), &args.config.config)?)
    };
    let nodes: Vec<Node> =
        known.nodes.into_iter().filter(|node| args.wants(&node.health)).collect();
    let domain = domain(&args.config);
    let extra = Extra { domain: domain.as_deref(), slots: args.slots, port: args.port };
    let text = format::text(format, &nodes, extra).unwrap_or_default();
    Ok(ExitCode::from(output::deliver(&text)))
}

impl ListArgs {
    fn wants(&self, health: &str) -> bool {
        self.health.is_empty() || self.health.iter().any(|wanted| wanted == health)
    }
}

pub fn hosts(args: HostsArgs) -> ExitCode {
    match Inventory::load(args.socket, &args.config.config) {
        Ok(known) => {
            let text = format::hosts(&known.nodes, domain(&args.config).as_deref());
            ExitCode::from(output::deliver(&text))
        }
        Err(unknown) => report("nodes hosts", &unknown),
    }
}

/// Returns the nodes' domain from the settings.
fn domain(config: &ConfigArg) -> Option<String> {
    settings::load(&config.config).ok().map(|merged| merged.settings.cluster.domain)
}

/// Reports why the nodes cannot be listed; returns the exit code.
pub fn report(verb: &str, why: &Unavailable) -> ExitCode {
    match why {
        Unavailable::Socket(socket, error) => {
            let message = format!("{verb}: {}: {error}", socket.display());
            output::error(&message, status::remedy(error));
            ExitCode::from(code::NOT_REACHABLE)
        }
        Unavailable::Settings(faults) => {
            faults.iter().for_each(|fault| output::err(&format!("{fault}\n")));
            output::error(
                &format!("{verb}: no daemon answers, and the settings have errors"),
                "correct those above first",
            );
            ExitCode::from(exit::CONFIG)
        }
    }
}

fn table(nodes: &[api::Node], colours: bool) -> String {
    let mut rows = vec![HEADINGS.map(str::to_owned)];
    rows.extend(nodes.iter().map(row));
    let widths: Vec<usize> = (0..HEADINGS.len()).map(|column| width(&rows, column)).collect();
    let mut text = String::new();
    for (number, row) in rows.iter().enumerate() {
        let mut line = String::new();
        for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
            let padding = " ".repeat(width - cell.chars().count() + 2);
            let cell = if colours && column == HEALTH_COLUMN && number > 0 {
                painted(cell)
            } else {
                cell.clone()
            };
            line += &format!("{cell}{padding}");
        }
        text += line.trim_end();
        text.push('\n');
    }
    text
}

/// Returns the width of a column, in characters.
fn width(rows: &[[String; 8]], column: usize) -> usize {
    rows.iter()
        .filter_map(|row| row.get(column))
        .map(|cell| cell.chars().count())
        .max()
        .unwrap_or(0)
}

fn row(node: &api::Node) -> [String; 8] {
    let stage = node.stage.as_ref().map(|stage| format!(" {stage}")).unwrap_or_default();
    [
        node.name.to_string(),
        or_dash(node.reached_at()),
        or_dash(node.mac.as_ref()),
        format!("{}{stage}", node.health),
        or_dash(node.rtt_us.map(status::round_trip)),
        status::age(node.since_s),
        node.origin.to_string(),
        or_dash(node.group.as_ref()),
    ]
}

fn or_dash(value: Option<impl Display>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

/// Colours a health and its boot stage.
fn painted(health: &str) -> String {
    let colour = match health.split(' ').next().unwrap_or_default() {
        "up" => 32,
        "down" => 31,
        "degraded" | "maintenance" => 33,
        _ => 36,
    };
    format!("\x1b[{colour}m{health}\x1b[0m")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::status::Snapshot;

    fn status() -> Snapshot {
        let status = serde_json::json!({
            "uplink": { "address": "10.99.0.126/24" },
            "nodes": [
                { "name": "rpi1", "mac": "b8:27:eb:00:00:01", "address": "192.168.50.11",
                  "addresses": ["192.168.50.11", "fd12:3456:789a:1:ba27:ebff:fe00:1"], "health": "up",
                  "rtt_us": 310, "since_s": 4000, "origin": "settings", "group": null },
                { "name": "node-00-00-07", "mac": null, "address": null, "health": "down",
                  "rtt_us": null, "since_s": 3, "origin": "found", "group": "rack1" },
                { "name": "\u{1b}[31m", "address": "192.168.50.13", "origin": "found" },
            ],
        });
        serde_json::from_value(status).unwrap()
    }

    #[test]
    fn the_table_has_a_line_for_each_node_and_optional_colours() {
        let nodes = status().nodes;
        let text = table(&nodes[..2], false);
        assert_eq!(
            text,
            "NAME           ADDRESS        MAC                HEALTH  RTT     SINCE   ORIGIN    \
             GROUP\n\
             rpi1           192.168.50.11  b8:27:eb:00:00:01  up      310 µs  66 min  settings  -\n\
             node-00-00-07  -              -                  down    -       3 s     found     \
             rack1\n"
        );
        assert!(table(&nodes, true).contains("\x1b[32mup\x1b[0m"));
        let boots = serde_json::json!({ "name": "rpi3", "health": "booting", "stage": "start.elf", "rtt_us": null });
        assert!(
            table(&[serde_json::from_value(boots).unwrap()], true)
                .contains("\x1b[36mbooting start.elf\x1b[0m")
        );
        assert!(!table(&nodes, false).contains('\x1b'), "a name paints nothing");
    }

    #[test]
    fn a_hosts_file_has_nodes_with_an_address_and_a_valid_name() {
        let known = Inventory::of_status(&status());
        assert_eq!(
            format::hosts(&known.nodes, Some("bramble")),
            "192.168.50.11\trpi1.bramble rpi1\n\
             fd12:3456:789a:1:ba27:ebff:fe00:1\trpi1.bramble rpi1\n"
        );
        assert_eq!(known.head, Some("10.99.0.126".parse().unwrap()));
    }
}
