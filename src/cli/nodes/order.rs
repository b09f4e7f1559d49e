//! `nodes drain` and `nodes resume`: orders on the control socket.

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use super::super::settings::ConfigArg;
use super::super::{control, exit, output};
use super::{code, fold};
use crate::api::client::ControlClient;
use crate::api::control::Order;

const EXAMPLES: &str = "\
Examples:
  bramblegate nodes drain rpi2 rpi3        maintenance: no alarm
  bramblegate nodes drain 'rpi[1-16]'      many at once, as Slurm and ClusterShell fold them
  bramblegate nodes resume rpi2 rpi3";

/// Remedy if the daemon refuses.
const REFUSED: &str = "`bramblegate nodes` lists the nodes and their health";

/// Which nodes are meant.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct OrderArgs {
    /// Names of nodes, folded or not: rpi1, 'rpi[2-4,7]'
    #[arg(required = true, value_name = "NAME")]
    pub names: Vec<String>,
    /// Control socket, if not that of the settings
    #[arg(long, value_name = "PATH")]
    pub socket: Option<PathBuf>,
    #[command(flatten)]
    pub config: ConfigArg,
}

/// Sends an order for each of the nodes; `verb` is its name.
pub fn main(args: OrderArgs, verb: &str, order: fn(String) -> Order) -> ExitCode {
    let socket = args.socket.unwrap_or_else(|| control::configured_socket(&args.config.config));
    let names = match fold::unfold(&args.names) {
        Ok(names) => names,
        Err(error) => {
            output::error(&format!("nodes {verb}: {error}"), &error.help());
            return ExitCode::from(exit::USAGE);
        }
    };
    let not_reachable = |error: io::Error| {
        let message = format!("nodes {verb}: {}: {error}", socket.display());
        output::error(&message, control::remedy(&error));
        ExitCode::from(control::code(&error).unwrap_or(code::NOT_REACHABLE))
    };
    let mut client = match ControlClient::connect(&socket) {
        Ok(client) => client,
        Err(error) => return not_reachable(error),
    };
    let mut refused = false;
    for name in names {
        match client.send(&order(name.clone())) {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                output::failure(&format!("nodes {verb} {name}"), &error, REFUSED);
                refused = true;
            }
            Err(error) => return not_reachable(error),
        }
    }
    if refused { ExitCode::from(code::REFUSED) } else { ExitCode::SUCCESS }
}
