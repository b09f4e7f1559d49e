//! `bramblegate demo`: starts `bramblegate-lab`, which holds the demo's world and no rights.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use super::{exit, output};

/// The program that holds the demo.
const LAB: &str = "bramblegate-lab";
/// Where it is installed when it does not lie beside this program.
const INSTALLED: &str = "/usr/lib/bramblegate";

const EXAMPLES: &str = "\
Examples:
  bramblegate demo                         tells its story; keys cause events
  bramblegate demo --plain --seconds 60    one line for each change, then ends
  bramblegate demo --help                  all options";

/// The whole thing on this machine without hardware, in private namespaces
#[derive(Debug, clap::Args)]
#[command(disable_help_flag = true, after_help = EXAMPLES)]
pub struct Args {
    /// Options of the demo: `bramblegate demo --help` lists them
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub options: Vec<OsString>,
}

/// Becomes the demo. Exit 69 if its program is not installed, else that one's exit code.
pub fn main(args: Args) -> ExitCode {
    let Some(lab) = program() else {
        output::err(&format!("there is no {LAB}, beside this program or in {INSTALLED}: install the package {LAB}\n"));
        return ExitCode::from(exit::UNAVAILABLE);
    };
    let error = Command::new(&lab).arg("demo").args(args.options).exec();
    output::err(&format!("{} cannot be started: {error}\n", lab.display()));
    ExitCode::from(exit::UNAVAILABLE)
}

fn program() -> Option<PathBuf> {
    let beside = std::env::current_exe().ok().and_then(|own| Some(own.parent()?.join(LAB)));
    let installed = PathBuf::from(INSTALLED).join(LAB);
    beside.into_iter().chain([installed]).find(|path| path.is_file())
}
