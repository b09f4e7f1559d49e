//! `make observability-test`, for SNMP: the subagent behind the real snmpd, queried by the real
//! tools. Each case has namespaces of its own, so that ports, files and processes of the machine
//! are not touched. Not part of `cargo test`: the programs are installed only for this.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod cases;
#[path = "../common/frame.rs"]
mod frame;
mod stage;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

use frame::Trial;

/// A name, and the function; it panics on failure.
pub type Case = (&'static str, fn());

/// The time limit of a case.
const LIMIT: Duration = Duration::from_secs(120);

/// They mostly wait.
const PLACES: usize = 2;

fn main() -> ExitCode {
    let play = |case: fn()| {
        let up = Command::new("ip").args(["link", "set", "lo", "up"]).status();
        assert!(up.is_ok_and(|status| status.success()), "ip link set lo up");
        case();
    };
    let trials = cases::ALL.iter().map(|(name, case)| Trial::new(*name, move || play(*case)));
    frame::run(PLACES, LIMIT, trials.collect())
}

/// Returns a program of this project: built beside this test by `make`, or in the folder
/// `BRAMBLEGATE_PROGRAMS`.
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
