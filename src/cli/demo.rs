//! `bramblegate demo`: starts `bramblegate-lab`, a separate program without privileges that has the
//! demo.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use super::{exit, output};

/// The program that has the demo.
const LAB: &str = "bramblegate-lab";
/// Folder where it is installed if it is not beside this program; SYSLIB changes it for `make
/// install`.
const INSTALLED: &str = "/usr/lib/bramblegate";
/// Environment variable with the path of this program, which the demo starts as the gateway.
const PROGRAM: &str = "BRAMBLEGATE_PROGRAM";

/// Exists only inside the demo, which has its own `/run`.
pub const MARK: &str = "/run/bramblegate/demo";

const EXAMPLES: &str = "\
Examples:
  bramblegate demo                         a tour of 75 seconds; then keys drive it
  bramblegate demo --plain --seconds 60    one line for each change, then ends
  bramblegate demo attach                  in a second terminal: its panel, or any verb inside it
  bramblegate demo --help                  all options";

/// Try it on this machine, without hardware, in private namespaces
#[derive(Debug, clap::Args)]
#[command(disable_help_flag = true, after_long_help = EXAMPLES)]
#[command(override_usage = "bramblegate demo [OPTIONS]\n       bramblegate demo attach [VERB]...")]
pub struct Args {
    /// Options of the demo: `bramblegate demo --help` lists them
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub options: Vec<OsString>,
}

/// Returns whether this process runs inside the demo, where nothing may change the machine.
pub fn is_inside() -> bool {
    Path::new(MARK).exists()
}

/// Replaces this process by the demo. Exits with 69 if its program is not installed.
pub fn main(args: Args) -> ExitCode {
    let Some(lab) = program() else {
        output::error(
            &format!("demo: there is no {LAB} beside this program or in {INSTALLED}"),
            "install the package bramblegate-lab, or, from the source, run `make install`",
        );
        return ExitCode::from(exit::UNAVAILABLE);
    };
    let mut command = Command::new(&lab);
    if let Ok(own) = std::env::current_exe() {
        command.env(PROGRAM, own);
    }
    if output::wanted_colours() == Some(false) {
        command.env("NO_COLOR", "1");
    }
    let error = command.arg("demo").args(args.options).exec();
    output::error(
        &format!("demo: {} cannot be started: {error}", lab.display()),
        "`make install` puts it there, ready to be started",
    );
    ExitCode::from(exit::UNAVAILABLE)
}

/// Returns the demo's program: beside this one, below its prefix, or in the default folder.
pub fn program() -> Option<PathBuf> {
    let own = std::env::current_exe().ok();
    let folder = own.as_deref().and_then(Path::parent);
    let near = folder
        .into_iter()
        .flat_map(|folder| [folder.join(LAB), folder.join("../lib/bramblegate").join(LAB)]);
    near.chain([Path::new(INSTALLED).join(LAB)]).find(|path| path.is_file())
}
