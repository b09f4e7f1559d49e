//! The program `bramblegate-lab`: the demo, and the small servers of its world.

use std::process::ExitCode;

use bramblegate_lab::{demo, serve};
use clap::Parser;

/// Networks to try the gateway in, in private namespaces.
#[derive(Debug, Parser)]
// Users start it as `bramblegate demo`.
#[command(
    name = "bramblegate-lab",
    bin_name = "bramblegate",
    version = bramblegate::cli::VERSION,
    disable_help_subcommand = true
)]
enum Verb {
    Demo(demo::Args),
}

fn main() -> ExitCode {
    // The world's small servers are run by this same program; they are no commands for users.
    let words: Vec<String> =
        std::env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned()).collect();
    if let Some(code) = serve::helper(&words) {
        return code;
    }
    match Verb::try_parse() {
        Ok(Verb::Demo(args)) => demo::main(args),
        Err(error) => bramblegate::cli::usage(&error),
    }
}
