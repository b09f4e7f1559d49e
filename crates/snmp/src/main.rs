//! The program `bramblegate-snmp`.

use std::path::PathBuf;
use std::process::ExitCode;

use bramblegate_snmp::session::{self, Follow};
use clap::Parser;

/// EX_OSERR (sysexits.h).
const CANNOT_CREATE: u8 = 71;

/// Answer SNMP requests about this cluster, through the system's snmpd
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
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => {
            let _ = error.print();
            return if error.use_stderr() { ExitCode::from(64) } else { ExitCode::SUCCESS };
        }
    };
    let follow = match Follow::start(args.status) {
        Ok(follow) => follow,
        Err(error) => {
            eprintln!("bramblegate-snmp: cannot start: {error}");
            return ExitCode::from(CANNOT_CREATE);
        }
    };
    session::keep(&args.agentx, &follow, &mut |line| {
        eprintln!("bramblegate-snmp: {}: {line}", args.agentx.display());
    })
}
