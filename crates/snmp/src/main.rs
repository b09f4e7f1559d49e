//! The program `bramblegate-snmp`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use bramblegate_snmp::follow::Follower;
use bramblegate_snmp::session;
use clap::Parser;

/// Pause before another try to reach snmpd, which may be restarting.
const RETRY: Duration = Duration::from_secs(1);

/// Answers SNMP questions about this cluster, through the system's snmpd.
#[derive(Debug, Parser)]
#[command(name = "bramblegate-snmp", version)]
struct Args {
    /// snmpd's socket for subagents
    #[arg(long, value_name = "SOCKET", default_value = "/run/agentx/master")]
    agentx: PathBuf,
    /// The daemon's status socket
    #[arg(long, value_name = "SOCKET", default_value = "/run/bramblegate/status.sock")]
    status: PathBuf,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let follower = match Follower::start(args.status) {
        Ok(follower) => follower,
        Err(error) => {
            eprintln!("bramblegate-snmp: cannot start a thread: {error}");
            return ExitCode::from(71);
        }
    };
    let mut reported = String::new();
    loop {
        let why = match session::run(&args.agentx, &follower) {
            Ok(never) => match never {},
            Err(error) => error.to_string(),
        };
        // One line for each reason, not for each try.
        if why != reported {
            eprintln!("bramblegate-snmp: {}: {why}; trying again", args.agentx.display());
            reported = why;
        }
        std::thread::sleep(RETRY);
    }
}
