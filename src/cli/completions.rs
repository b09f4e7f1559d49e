//! `bramblegate completions SHELL`: prints completion scripts, which `make install` installs.

use std::process::ExitCode;

use clap::{Command, CommandFactory};
use clap_complete::{Generator, Shell};

use super::{Cli, VERSION, exit, output};

const EXAMPLES: &str = "\
Examples:
  bramblegate completions bash | sudo tee /usr/share/bash-completion/completions/bramblegate";

/// Print what a shell completes: bash, zsh or fish
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Args {
    /// The shell
    #[arg(value_enum)]
    pub shell: Shell,
}

/// Writes the completions of a shell. Exits with 0; with 71 if they cannot be written.
pub fn main(args: Args) -> ExitCode {
    let mut cli = visible();
    cli.set_bin_name("bramblegate");
    cli.build();
    let mut script = Vec::new();
    if args.shell.try_generate(&cli, &mut script).is_err() {
        return ExitCode::from(exit::CANNOT_CREATE);
    }
    ExitCode::from(output::deliver(&String::from_utf8_lossy(&script)))
}

/// Returns the command without its hidden verbs: a shell completes what help lists.
fn visible() -> Command {
    let cli = Cli::command();
    let listed = cli.get_subcommands().filter(|verb| !verb.is_hide_set()).cloned();
    Command::new("bramblegate")
        .version(VERSION)
        .args(cli.get_arguments().cloned())
        .subcommands(listed)
}
