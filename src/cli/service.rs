//! `start`, `stop`, `restart`, `reload` and `logs`: hidden verbs, each of which prints the command
//! of systemd to use instead.

use std::process::ExitCode;

use super::{exit, output};

/// What the service manager does.
#[derive(Debug, Clone, Copy, clap::Subcommand)]
#[command(hide = true)]
pub enum Verb {
    /// Print how the service is started
    #[command(hide = true)]
    Start,
    /// Print how the service is stopped
    #[command(hide = true)]
    Stop,
    /// Print how the service is restarted
    #[command(hide = true)]
    Restart,
    /// Print how the service reads its settings again
    #[command(hide = true)]
    Reload,
    /// Print how the service's journal is read
    #[command(hide = true, alias = "log")]
    Logs,
}

/// Prints the command of systemd to use instead. Always exits with 64.
pub fn main(verb: &Verb) -> ExitCode {
    let (name, command) = match verb {
        Verb::Start => ("start", "sudo systemctl start bramblegate"),
        Verb::Stop => ("stop", "sudo systemctl stop bramblegate"),
        Verb::Restart => ("restart", "sudo systemctl restart bramblegate"),
        Verb::Reload => ("reload", "sudo systemctl reload bramblegate"),
        Verb::Logs => ("logs", "sudo journalctl -u bramblegate"),
    };
    let who =
        if matches!(verb, Verb::Logs) { "journalctl shows the log" } else { "systemd does that" };
    output::error(&format!("{name}: {who}"), command);
    ExitCode::from(exit::USAGE)
}
