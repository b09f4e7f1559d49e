//! `bramblegate check`: are the settings right?

use std::process::ExitCode;

use super::settings::{self, ConfigArg};
use super::{exit, output};
use crate::reconcile::dhcp;

const EXAMPLES: &str = "\
Examples:
  bramblegate check                        the settings of this machine
  bramblegate check -c bramblegate.toml    a file before it is installed

Every error is reported as FILE:LINE:COLUMN, what is wrong, and how to correct it. Exits with 0, or with 78 if there are
errors.";

/// Validate settings and board
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(flatten)]
    config: ConfigArg,
}

/// Exit 0 with one line and notes, or 78 with every error.
pub fn main(args: Args) -> ExitCode {
    let merged = match settings::load_or_report(&args.config.config) {
        Ok(merged) => merged,
        Err(code) => return code,
    };
    if let Some(fault) = merged.head_fault(&settings::host_name()) {
        output::err(&format!("{fault}\n"));
        return ExitCode::from(exit::CONFIG);
    }
    for note in merged.notes() {
        output::err(&format!("{}\n", note.as_note()));
    }
    let settings = &merged.settings;
    let nodes = match settings.nodes.len() {
        1 => "1 node".to_owned(),
        count => format!("{count} nodes"),
    };
    output::out(&format!(
        "{}: ok, board {}, {nodes}\n",
        args.config.config.display(),
        settings.board
    ));
    let served = settings.cluster.dhcp.is_some() || settings.cluster.dns.is_some();
    if served && settings.gateway.enabled && dhcp::program().is_none() {
        output::note(
            "dnsmasq is not installed, so the nodes would get no addresses and names",
            "sudo apt install dnsmasq-base",
        );
    }
    ExitCode::SUCCESS
}
