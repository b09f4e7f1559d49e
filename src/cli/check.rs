//! `bramblegate check`: checks the settings.

use std::path::PathBuf;
use std::process::ExitCode;

use super::output::Verbosity;
use super::settings::{self, ConfigArg};
use super::{exit, output, shutdown};
use crate::reconcile::dhcp;

const EXAMPLES: &str = "\
Examples:
  bramblegate check                        the settings of this machine
  bramblegate check bramblegate.toml       a file before it is installed
  bramblegate check -q && echo fine        no words if all is well

Every error is reported as FILE:LINE:COLUMN, what is wrong, and how to correct it. \
Exits with 0, or with 78 if there are errors.";

/// Check the settings and the board
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
#[command(mut_arg("quiet", |arg| arg.help("Print errors only")))]
#[command(mut_arg("verbose", |arg| arg.help("Name the files that are read, too")))]
pub struct Args {
    /// Settings file, as with -c
    #[arg(value_name = "FILE", conflicts_with = "config")]
    file: Option<PathBuf>,
    #[command(flatten)]
    config: ConfigArg,
    #[command(flatten)]
    verbosity: Verbosity,
}

/// Checks the settings. Exits with 0 after a summary and notes, or with 78 after every error.
pub fn main(args: Args) -> ExitCode {
    let file = args.file.unwrap_or(args.config.config);
    let merged = match settings::load_or_report(&file) {
        Ok(merged) => merged,
        Err(code) => return code,
    };
    if let Some(fault) = merged.head_fault(&settings::host_name()) {
        output::err(&format!("{fault}\n"));
        return ExitCode::from(exit::CONFIG);
    }
    for note in merged.notes().iter().filter(|_| !args.verbosity.quiet) {
        output::err(&format!("{}\n", note.as_note()));
    }
    let settings = &merged.settings;
    if args.verbosity.verbose {
        let (files, _) = settings::read_files(&file);
        files.iter().for_each(|(name, _)| output::out(&format!("{name}: read\n")));
    }
    if !args.verbosity.quiet {
        let nodes = match settings.nodes.len() {
            1 => "1 node".to_owned(),
            count => format!("{count} nodes"),
        };
        output::out(&format!("{}: ok, board {}, {nodes}\n", file.display(), settings.board));
    }
    let served = settings.cluster.dhcp.is_some() || settings.cluster.dns.is_some();
    if served && settings.gateway.enabled && dhcp::program().is_none() && !args.verbosity.quiet {
        output::note(
            "dnsmasq is not installed, so the nodes would get no addresses and names",
            "sudo apt install dnsmasq-base",
        );
    }
    let key = settings.shutdown.key.as_deref().map(shutdown::key::check_file);
    if let Some(Err((message, help))) = key.filter(|_| !args.verbosity.quiet) {
        output::note(&message, &help);
    }
    ExitCode::SUCCESS
}
