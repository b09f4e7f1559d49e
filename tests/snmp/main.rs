//! `make observability-test`, of SNMP: the subagent behind the real snmpd, asked by the real tools.
//! Each case is the first process of namespaces of its own, so that ports, files and processes of the machine are
//! not touched and all that was started ends with it. No part of `cargo test`: the programs are
//! installed for this alone.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod cases;
mod stage;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use libtest_mimic::{Arguments, Failed, Trial};

/// A name, and what is played; it panics if something is not as it should be.
pub type Case = (&'static str, fn());

/// Set in the process that plays one case inside namespaces of its own.
const CASE: &str = "BRAMBLEGATE_SNMP_CASE";

fn main() -> ExitCode {
    if let Ok(name) = std::env::var(CASE) {
        return inner(&name);
    }
    let mut arguments = Arguments::from_args();
    arguments.test_threads = arguments.test_threads.or(Some(2));
    let trials =
        cases::ALL.iter().map(|(name, _)| Trial::test(*name, move || outer(name))).collect();
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// Returns a program of ours: built beside this test by `make`, or named by `BRAMBLEGATE_PROGRAMS`,
/// a folder.
pub fn program(name: &str) -> PathBuf {
    let folder = std::env::var_os("BRAMBLEGATE_PROGRAMS").map(PathBuf::from);
    let beside = || Path::new(env!("CARGO_BIN_EXE_bramblegate")).parent().unwrap().to_owned();
    let path = folder.unwrap_or_else(beside).join(name);
    assert!(path.exists(), "there is no {}: make build", path.display());
    path
}

/// Returns a path in the source.
pub fn source(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// Plays one case in a process that is the first of namespaces of its own.
fn outer(case: &str) -> Result<(), Failed> {
    let mut command = Command::new("timeout");
    command.args(["-k", "5", "120", "unshare", "--net", "--mount", "--pid"]);
    command.args(["--fork", "--kill-child", "--mount-proc"]).arg(std::env::current_exe()?);
    let output = command.env(CASE, case).stdin(Stdio::null()).output()?;
    if output.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    Err(format!("{}\n{text}", output.status).into())
}

fn inner(name: &str) -> ExitCode {
    let up = Command::new("ip").args(["link", "set", "lo", "up"]).status();
    assert!(up.is_ok_and(|status| status.success()), "ip link set lo up");
    let (_, case) = cases::ALL.iter().find(|(known, _)| *known == name).expect("a case");
    case();
    ExitCode::SUCCESS
}
