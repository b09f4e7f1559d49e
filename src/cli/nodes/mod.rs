//! `bramblegate nodes`: lists and edits the inventory.

mod change;
mod edit;
mod fold;
mod format;
pub mod known;
mod list;
mod order;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Subcommand;

use super::settings::ConfigArg;
use crate::api::control::Order;

pub use change::resolve_links;
pub use list::report;

const EXAMPLES: &str = "\
Examples:
  bramblegate nodes                        list them
  bramblegate nodes list --json | jq '.[] | select(.health == \"down\").name'
  bramblegate nodes --format ansible       for Ansible, mpirun, clush, pdsh, Slurm, Prometheus
  bramblegate nodes drain rpi2             maintenance: it raises no alarm
  bramblegate nodes resume 'rack[1-2]-slot[01-16]'
  sudo bramblegate nodes adopt node-00-00-07 --as rpi7
  sudo bramblegate nodes add rpi8 --mac b8:27:eb:00:00:08 --address 192.168.50.18";

/// Exit codes of this verb.
pub mod code {
    /// The request was refused.
    pub const REFUSED: u8 = 1;
    /// The daemon does not answer.
    pub const NOT_REACHABLE: u8 = 3;
}

/// List, add, name and forget nodes; put them into maintenance
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES, args_conflicts_with_subcommands = true)]
pub struct Args {
    #[command(subcommand)]
    pub action: Option<Action>,
    #[command(flatten)]
    pub list: list::ListArgs,
}

#[derive(Debug, Subcommand)]
pub enum Action {
    List(list::ListArgs),
    Hosts(list::HostsArgs),
    Add(change::Add),
    Adopt(change::Adopt),
    Rename(change::Rename),
    Forget(change::Forget),
    /// Put nodes into maintenance: they raise no alarm until `resume`
    Drain(order::OrderArgs),
    /// End the maintenance of nodes
    Resume(order::OrderArgs),
}

/// Returns the path of the inventory's own drop-in: `FILE.d/60-nodes.toml`.
fn drop_in(config: &ConfigArg) -> PathBuf {
    let mut folder = config.config.clone().into_os_string();
    folder.push(".d");
    PathBuf::from(folder).join("60-nodes.toml")
}

pub fn main(args: Args) -> ExitCode {
    match args.action.unwrap_or(Action::List(args.list)) {
        Action::List(args) => list::main(args),
        Action::Hosts(args) => list::hosts(args),
        Action::Add(args) => change::add(args),
        Action::Adopt(args) => change::adopt(args),
        Action::Rename(args) => change::rename(args),
        Action::Forget(args) => change::forget(args),
        Action::Drain(args) => order::main(args, "drain", Order::Drain),
        Action::Resume(args) => order::main(args, "resume", Order::Resume),
    }
}
