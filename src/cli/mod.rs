//! The verbs of the command line. Each has a module with `Args` and `main(Args) -> ExitCode`.

pub mod check;
pub mod completions;
pub mod control;
pub mod demo;
pub mod detect;
pub mod doctor;
mod help;
pub mod machine;
pub mod nodes;
pub mod off;
pub mod output;
pub mod panel;
pub mod panel_message;
pub mod print;
pub mod report;
pub mod run;
pub mod service;
pub mod settings;
pub mod setup;
pub mod share_apply;
pub mod shutdown;
pub mod snmp;
pub mod ssh_config;
pub mod status;
pub mod terminal;
pub mod web;
pub mod wifi;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{Parser, Subcommand};

/// Exit codes, after sysexits(3).
pub mod exit {
    /// The command line is wrong.
    pub const USAGE: u8 = 64;
    /// The kernel lacks something that is needed.
    pub const UNAVAILABLE: u8 = 69;
    /// Something that is needed cannot be created.
    pub const CANNOT_CREATE: u8 = 71;
    /// Another instance runs.
    pub const TEMPORARY: u8 = 75;
    /// A capability or right is missing.
    pub const NO_PERMISSION: u8 = 77;
    /// The settings have errors.
    pub const CONFIG: u8 = 78;
}

/// The version, and the commit where the program was built from a checkout: `0.1.0 (1a2b3c4d5e6f)`.
pub const VERSION: &str = env!("BRAMBLEGATE_VERSION");

const EXAMPLES: &str = "\
Examples:
  bramblegate demo                         try it here, without hardware
  bramblegate detect > bramblegate.toml    write settings for this machine
  bramblegate check bramblegate.toml       check it
  sudo bramblegate setup                   ask, write the settings, start
  bramblegate status --watch               show what it does now
  bramblegate doctor                       find what disturbs it on this machine";

/// Network gateway and status panel for the head node of a portable cluster
#[derive(Debug, Parser)]
#[command(name = "bramblegate", version = VERSION, after_long_help = EXAMPLES)]
struct Cli {
    /// When to use colours
    #[arg(long, global = true, value_enum, value_name = "WHEN", default_value = "auto")]
    #[arg(hide_possible_values = true, hide_default_value = true)]
    #[arg(help = "Use colours: auto, always or never [default: auto]")]
    color: output::Colours,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Run(run::Args),
    Check(check::Args),
    Print(print::Args),
    Detect(detect::Args),
    Status(status::Args),
    Panel(panel::Args),
    #[command(hide = true)]
    PanelMessage(panel_message::Args),
    Setup(setup::Args),
    #[command(hide = true)]
    ShareApply(share_apply::Args),
    Wifi(wifi::Args),
    Web(web::Args),
    Off(off::Args),
    Nodes(nodes::Args),
    Shutdown(shutdown::Args),
    SshConfig(ssh_config::Args),
    Doctor(doctor::Args),
    Report(report::Args),
    Demo(demo::Args),
    #[command(hide = true)]
    Completions(completions::Args),
    #[command(flatten)]
    Service(service::Verb),
}

/// Parses the command line and runs the verb.
pub fn main() -> ExitCode {
    let line: Vec<OsString> = std::env::args_os().collect();
    if let Some(args) = run::Args::of_service(&line) {
        return run::main(args);
    }
    let cli = match Cli::try_parse_from(help::rewritten(line)) {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    output::set_colours(cli.color);
    match cli.verb {
        Verb::Run(args) => run::main(args),
        Verb::Check(args) => check::main(args),
        Verb::Print(args) => print::main(args),
        Verb::Detect(args) => detect::main(args),
        Verb::Status(args) => status::main(args),
        Verb::Panel(args) => panel::main(args),
        Verb::PanelMessage(args) => panel_message::main(args),
        Verb::Setup(args) => setup::main(args),
        Verb::ShareApply(args) => share_apply::main(args),
        Verb::Wifi(args) => wifi::main(args),
        Verb::Web(args) => web::main(args),
        Verb::Off(args) => off::main(args),
        Verb::Nodes(args) => nodes::main(args),
        Verb::Shutdown(args) => shutdown::main(args),
        Verb::SshConfig(args) => ssh_config::main(args),
        Verb::Doctor(args) => doctor::main(args),
        Verb::Report(args) => report::main(args),
        Verb::Demo(args) => demo::main(args),
        Verb::Completions(args) => completions::main(args),
        Verb::Service(verb) => service::main(&verb),
    }
}

/// Writes help and version to standard output, errors to standard error.
pub fn usage(error: &clap::Error) -> ExitCode {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            let text = error.to_string();
            output::out(&output::columns().map_or(text.clone(), |room| help::wrapped(&text, room)));
            ExitCode::SUCCESS
        }
        _ => {
            output::err(&error.to_string());
            ExitCode::from(exit::USAGE)
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::{Command, CommandFactory};

    use super::*;

    /// Every verb that help lists, and the verbs below it; but for clap's own `help`.
    fn verbs(command: &Command) -> Vec<Command> {
        let listed = |verb: &&Command| !verb.is_hide_set() && verb.get_name() != "help";
        let below = command.get_subcommands().filter(listed);
        below.flat_map(|verb| std::iter::once(verb.clone()).chain(verbs(verb))).collect()
    }

    fn built() -> Command {
        let mut cli = Cli::command();
        cli.build();
        cli
    }

    #[test]
    fn every_verb_explains_itself_with_examples() {
        let cli = built();
        cli.clone().debug_assert();
        for mut verb in verbs(&cli) {
            let help = verb.render_long_help().to_string();
            assert!(help.contains("Examples:"), "{} has no examples:\n{help}", verb.get_name());
            assert!(verb.get_about().is_some(), "{} has no description", verb.get_name());
        }
    }

    #[test]
    fn the_units_command_line_means_the_same_without_the_parser() {
        let line = |words: &str| words.split(' ').map(OsString::from).collect::<Vec<_>>();
        let parsed = |words: &str| match Cli::try_parse_from(line(words)).map(|cli| cli.verb) {
            Ok(Verb::Run(args)) => Some(format!("{args:?}")),
            _ => None,
        };
        for words in ["b run", "b run -c a.toml", "b run --config a.toml"] {
            let args = run::Args::of_service(&line(words)).map(|args| format!("{args:?}"));
            assert!(args.is_some() && args == parsed(words), "{words}: {args:?}");
        }
        for words in
            ["b", "b status", "b run -v", "b run -c", "b run -c -v", "b run -c ", "b run x"]
        {
            assert!(run::Args::of_service(&line(words)).is_none(), "{words}");
        }
    }

    /// `-h` is for a glance: a line for each verb and option, none wider than a terminal.
    #[test]
    fn short_help_has_a_line_for_each_thing_and_no_examples() {
        let cli = built();
        let mut wide = Vec::new();
        for mut verb in std::iter::once(cli.clone()).chain(verbs(&cli)) {
            let help = verb.render_help().to_string();
            assert!(!help.contains("Examples:"), "{help}");
            let usage = |line: &&str| line.starts_with("Usage:") || line.starts_with("       ");
            let lines = help.lines().filter(|line| !usage(line) && line.chars().count() > 80);
            wide.extend(lines.map(|line| format!("{}: {line}", verb.get_name())));
        }
        assert!(wide.is_empty(), "{}", wide.join("\n"));
    }

    #[test]
    fn the_verbs_are_those_of_the_contract() {
        let names: Vec<String> = Cli::command()
            .get_subcommands()
            .filter(|verb| !verb.is_hide_set())
            .map(|verb| verb.get_name().to_owned())
            .collect();
        let contract = [
            "run",
            "check",
            "print",
            "detect",
            "status",
            "panel",
            "setup",
            "wifi",
            "web",
            "off",
            "nodes",
            "shutdown",
            "ssh-config",
            "doctor",
            "report",
            "demo",
        ];
        assert_eq!(names, contract);
    }
}
